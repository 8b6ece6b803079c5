"""How hard hypothesis tries: `HYPOTHESIS_PROFILE=thorough pytest tests/unit` takes minutes.

With CI=true the examples are the same each time: a change is judged by itself, not by luck.
Everywhere else they are new ones, to find what nobody has thought of.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from structlog.testing import capture_logs

_CALM = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
for _name, _examples in (("quick", 40), ("thorough", 2000)):
    settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=None,
        derandomize=os.environ.get("CI") == "true",
        suppress_health_check=_CALM,
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keep the server's log, which its threads write, out of the report."""
    with capture_logs():
        yield
