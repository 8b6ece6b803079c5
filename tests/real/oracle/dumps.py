"""Which real dumps there are, by a name like x86_64/6.1-panic."""

from __future__ import annotations

import json
from pathlib import Path

from tests.real.harness import HarnessError, RealDump
from tests.real.harness.machines import MACHINES

# What `make test` compares; the rest is for `make test-everything`.
QUICK = ("x86_64/6.1-panic", "x86_64/6.1-kdump", "x86_64/6.12-panic", "aarch64/6.1-panic")


def every_dump() -> list[str]:
    """All that the harness can make."""
    return [
        f"{arch}/{release}-{scenario}"
        for arch, machine in MACHINES.items()
        for release in machine.kernels
        for scenario in machine.scenarios
    ]


def parted(name: str) -> tuple[str, str, str]:
    """Architecture, release and scenario of a name."""
    arch, rest = name.split("/")
    release, scenario = rest.rsplit("-", 1)
    return arch, release, scenario


def from_folder(folder: Path) -> RealDump:
    """A dump out of a folder that the harness made, with vmlinux beside facts.json."""
    try:
        facts = json.loads((folder / "facts.json").read_text())
    except OSError as error:
        raise HarnessError(str(error)) from None
    dumps: dict[str, list[Path]] = {}
    for path in sorted((folder / "dumps").iterdir()):
        dumps.setdefault(path.name.split(".")[0], []).append(path)
    sysroot = folder / "sysroot"
    programs = {name: sysroot / "bin" / name for name in facts["programs"]}
    return RealDump(folder, folder.parent.name, facts["release"], folder / "vmlinux", {}, dumps,
                    facts, programs, sysroot)  # fmt: skip
