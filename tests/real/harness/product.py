"""The harness's one public call: a real dump with the truth about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import scenarios
from .cache import cache_root, digest, locked, published, used
from .errors import HarnessError
from .kernels import Kernel, kernel
from .machines import machine
from .programs import SOURCES
from .tools import find_tool


@dataclass(frozen=True)
class RealDump:
    """One crash of one kernel.

    `dumps` tells the files of each form of the dump (more than one only for "split"), `facts` is
    facts.json (see facts.py), `programs` the unstripped user programs by name, and `sysroot` the
    tree that gdb's `set sysroot` wants for them. `module_debug` tells debug files by module.
    """

    dir: Path
    arch: str
    release: str
    vmlinux: Path
    module_debug: dict[str, Path]
    dumps: dict[str, list[Path]]
    facts: dict[str, Any]
    programs: dict[str, Path]
    sysroot: Path


def real_dump(release: str, scenario: str, arch: str = "x86_64") -> RealDump:
    """The dump of kernel series `release` ("6.1", "6.12") in `scenario`; made on first use.

    `arch` is one of `machines.MACHINES`, which tell the releases and scenarios that it has.
    Raises HarnessError if it cannot be had here: no QEMU, no packages, a guest that fails.
    """
    wanted = machine(arch)
    if scenario not in wanted.scenarios:
        known = ", ".join(wanted.scenarios)
        raise HarnessError(f"unknown scenario {scenario!r} for {arch}: known are {known}")
    dumps = cache_root() / "dumps" / arch / f"{release}-{scenario}"
    if not dumps.exists():
        # Better to fail before hundreds of megabytes are fetched than after.
        find_tool(wanted.qemu, wanted.qemu_package)
        find_tool("readelf")
        for compiler in filter(None, (wanted.compiler, wanted.compiler32)):
            find_tool(compiler.gcc, compiler.packages)
    source = kernel(wanted, release)
    folder = dumps / digest(_sources(arch), source.release, source.version)
    with locked(f"dump-{arch}-{release}-{scenario}"):
        if not (folder / "facts.json").exists():
            with published(folder) as scratch:
                scenarios.make(source, scenario, scratch)
        return _load(used(folder), source)


def _sources(arch: str) -> list[Path]:
    """All that makes a dump of `arch` what it is: the harness less the other machines."""
    here = Path(__file__).parent
    return [*here.glob("*.py"), here / "machines/base.py", here / f"machines/{arch}.py",
            *SOURCES.glob("*.[ch]"), SOURCES / f"arch/{arch}.h"]  # fmt: skip


def _load(folder: Path, wanted: Kernel) -> RealDump:
    facts = json.loads((folder / "facts.json").read_text())
    dumps: dict[str, list[Path]] = {}
    for path in sorted((folder / "dumps").iterdir()):
        dumps.setdefault(path.name.split(".")[0], []).append(path)
    sysroot = folder / "sysroot"
    programs = {name: sysroot / "bin" / name for name in facts["programs"]}
    return RealDump(folder, wanted.machine.name, wanted.release, wanted.vmlinux,
                    wanted.module_debug, dumps, facts, programs, sysroot)  # fmt: skip
