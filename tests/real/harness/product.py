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
from .programs import SOURCES
from .tools import find_tool

SCENARIOS = ("panic", "kdump", "live")


@dataclass(frozen=True)
class RealDump:
    """One crash of one kernel.

    `dumps` tells the files of each form of the dump (more than one only for "split"), `facts` is
    facts.json (see facts.py), `programs` the unstripped user programs by name, and `sysroot` the
    tree that gdb's `set sysroot` wants for them. `module_debug` tells debug files by module.
    """

    dir: Path
    release: str
    vmlinux: Path
    module_debug: dict[str, Path]
    dumps: dict[str, list[Path]]
    facts: dict[str, Any]
    programs: dict[str, Path]
    sysroot: Path


def real_dump(release: str, scenario: str) -> RealDump:
    """The dump of kernel series `release` ("6.1", "6.12") in `scenario`; made on first use.

    Raises HarnessError if it cannot be had here: no QEMU, no packages, a guest that fails.
    """
    if scenario not in SCENARIOS:
        raise HarnessError(f"unknown scenario {scenario!r}: known are {', '.join(SCENARIOS)}")
    dumps, prefix = cache_root() / "dumps", f"{release}-{scenario}-"
    if not any(dumps.glob(f"{prefix}*")):
        for tool in ("qemu-system-x86_64", "gcc", "readelf"):
            find_tool(tool)  # better to fail before hundreds of megabytes are fetched than after
    wanted = kernel(release)
    sources = [*Path(__file__).parent.glob("*.py"), *SOURCES.glob("*.[ch]")]
    key = digest(sources, wanted.release, wanted.version)
    folder = dumps / f"{prefix}{key}"
    with locked(f"dump-{release}-{scenario}"):
        if not (folder / "facts.json").exists():
            with published(folder) as scratch:
                scenarios.make(wanted, scenario, scratch)
        return _load(used(folder, prefix), wanted)


def _load(folder: Path, wanted: Kernel) -> RealDump:
    facts = json.loads((folder / "facts.json").read_text())
    dumps: dict[str, list[Path]] = {}
    for path in sorted((folder / "dumps").iterdir()):
        dumps.setdefault(path.name.split(".")[0], []).append(path)
    sysroot = folder / "sysroot"
    programs = {name: sysroot / "bin" / name for name in facts["programs"]}
    return RealDump(folder, wanted.release, wanted.vmlinux, wanted.module_debug, dumps, facts,
                    programs, sysroot)  # fmt: skip
