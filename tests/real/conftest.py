"""Real dumps for the tests here: made on first use, or skipped with the reason."""

from __future__ import annotations

import pytest

from tests.real.harness import HarnessError, RealDump, Wanted, all_dumps, catalogue, real_dump
from tests.support.gdb_session import missing

_made: dict[tuple[str, str, str], RealDump | str] = {}


def get_dump(release: str, scenario: str, arch: str = "x86_64") -> RealDump:
    """Return a real dump; skip (under CI: fail) when it cannot be had here.

    Dumps that are not for every day are skipped but by `make test-everything`.
    """
    key = (release, scenario, arch)
    listed = {(w.release, w.scenario, w.arch) for w in all_dumps()}
    if key in listed and key not in {(w.release, w.scenario, w.arch) for w in catalogue()}:
        pytest.skip(f"`make test-everything` has {arch} {release} {scenario}")
    if key not in _made:
        try:
            _made[key] = real_dump(release, scenario, arch)
        except HarnessError as error:
            _made[key] = str(error)
    made = _made[key]
    if isinstance(made, str):
        missing(f"no real {arch} {release} {scenario} dump: {made}")
        raise AssertionError
    return made


@pytest.fixture(scope="session", params=catalogue(), ids=str)
def any_dump(request: pytest.FixtureRequest) -> RealDump:
    """Each dump that this run uses, of every architecture."""
    wanted: Wanted = request.param
    return get_dump(wanted.release, wanted.scenario, wanted.arch)


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
