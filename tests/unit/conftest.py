"""How hard hypothesis tries: `HYPOTHESIS_PROFILE=thorough pytest tests/unit` takes minutes.

With CI=true the examples are the same each time: a change is judged by itself, not by luck.
Everywhere else they are new ones, to find what nobody has thought of.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

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
