"""Real dumps for the tests here: made on first use, or skipped with the reason."""

from __future__ import annotations

import pytest

from tests.real.harness import HarnessError, RealDump, real_dump
from tests.support.gdb_session import missing

_made: dict[tuple[str, str, str], RealDump | str] = {}


def get_dump(release: str, scenario: str, arch: str = "x86_64") -> RealDump:
    """Return a real dump; skip (under CI: fail) when it cannot be had here."""
    key = (arch, release, scenario)
    if key not in _made:
        try:
            _made[key] = real_dump(release, scenario, arch=arch)
        except HarnessError as error:
            _made[key] = str(error)
    made = _made[key]
    if isinstance(made, str):
        missing(f"no real {release} {scenario} dump of {arch}: {made}")
        raise AssertionError
    return made


@pytest.fixture(scope="session", params=["6.1", "6.12"])
def panicked(request: pytest.FixtureRequest) -> RealDump:
    """A guest that panicked, dumped by QEMU."""
    return get_dump(request.param, "panic")


@pytest.fixture(scope="session", params=["6.1", "6.12"])
def kdumped(request: pytest.FixtureRequest) -> RealDump:
    """A guest that panicked into a capture kernel, CPU 1 offline."""
    return get_dump(request.param, "kdump")


@pytest.fixture(scope="session")
def live() -> RealDump:
    """A running guest, dumped by QEMU without a panic."""
    return get_dump("6.1", "live")
