"""Which dumps there are, and which of them a test run uses."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .machines import MACHINES

# `make test-everything` sets this; without it a test run uses the everyday dumps only.
EVERYTHING = "KDUMP_GDBSERVER_EVERYTHING"


@dataclass(frozen=True)
class Wanted:
    """The name of a dump: the arguments of real_dump()."""

    arch: str
    release: str
    scenario: str
    everyday: bool

    def __str__(self) -> str:
        return f"{self.arch}-{self.release}-{self.scenario}"


def catalogue(
    *, arch: str | None = None, release: str | None = None, scenario: str | None = None
) -> list[Wanted]:
    """The dumps that this test run uses, as far as they are of `arch`, `release`, `scenario`.

    For pytest: `@pytest.mark.parametrize("wanted", catalogue(scenario="panic"), ids=str)`.
    """
    everything = bool(os.environ.get(EVERYTHING))
    return [
        wanted
        for wanted in all_dumps()
        if (everything or wanted.everyday)
        and arch in (None, wanted.arch)
        and release in (None, wanted.release)
        and scenario in (None, wanted.scenario)
    ]


def all_dumps() -> list[Wanted]:
    """Every dump, those of everyday first."""
    found = [
        Wanted(machine.name, release, scenario, f"{release}-{scenario}" in machine.everyday)
        for machine in MACHINES.values()
        for release, source in machine.kernels.items()
        if source.listed
        for scenario in machine.scenarios
    ]
    return sorted(found, key=lambda wanted: not wanted.everyday)
