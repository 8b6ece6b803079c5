"""How hard hypothesis tries: `HYPOTHESIS_PROFILE=thorough pytest tests/unit` takes minutes.

With CI=true the examples are the same each time: a change is judged by itself, not by luck.
Everywhere else they are new ones, to find what nobody has thought of.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from structlog.testing import capture_logs

from tests.support.backends import BACKENDS, reopened
from tests.support.fake_dump import FakeDump
from tests.support.own_cache import own_cache

__all__ = ["own_cache"]

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

# The views are tried over each implementation of a dump, but for what only a fake can be.
_OPENS = {
    "test_kernel_view": "open_kernel_view",
    "test_task_view": "open_task_view",
    "test_process_view": "open_process_view",
    "test_monitor": "open_kernel_view",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fake_alone: of a dump that no file can be")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in _OPENS:
        alone = metafunc.definition.get_closest_marker("fake_alone")
        metafunc.parametrize("backend", BACKENDS[:1] if alone else BACKENDS, indirect=True)


@pytest.fixture(autouse=True)
def backend(request: pytest.FixtureRequest) -> str:
    """Let the tests of views open them over another implementation of a fake dump."""
    name: str = getattr(request, "param", BACKENDS[0])
    if name == BACKENDS[0]:
        return name
    monkeypatch = request.getfixturevalue("monkeypatch")
    folder = request.getfixturevalue("tmp_path")
    opener = _OPENS[request.module.__name__.rpartition(".")[2]]
    open_view = getattr(request.module, opener)

    def open_reopened(dump: FakeDump, *arguments: Any, **options: Any) -> Any:
        return open_view(reopened(dump, name, folder), *arguments, **options)

    monkeypatch.setattr(request.module, opener, open_reopened)
    return name


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keep the server's log, which its threads write, out of the report."""
    with capture_logs():
        yield
