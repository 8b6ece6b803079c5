"""Debian's kexec and makedumpfile: in the guest, and on this machine for more forms of a dump."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import HarnessError
from .initramfs import Initramfs
from .kernels import Kernel
from .machines import X86_64
from .packages import Suite, fetched
from .recompress import recompress
from .tools import find_tool, run

_HOME = "tools"


def add_tool(tree: Initramfs, kernel: Kernel, name: str) -> None:
    """Add Debian's program `name`, kexec or makedumpfile, for the guest of `kernel`.

    It comes with libraries of its own, as those of the guest may be of another release.
    """
    suite = Suite(kernel.source.tools, kernel.machine.debian)
    root = fetched("crash-tools", ["makedumpfile", "kexec-tools"], suite, libraries=True)
    folders = ("sbin", "usr/sbin", "usr/bin")
    program = next((root / sub / name for sub in folders if (root / sub / name).exists()), None)
    if program is None:
        raise HarnessError(f"the packages unpacked in {root} hold no program {name}")
    tree.file(program, f"{_HOME}/{name}")
    loader = ""
    waiting, seen = [program], set()
    while waiting:
        text = run([find_tool("readelf"), "-l", "-d", waiting.pop()])
        if found := re.search(r"program interpreter: (\S+)\]", text):
            loader = Path(found.group(1)).name
        for library in re.findall(r"\(NEEDED\)\s+Shared library: \[(\S+)\]", text) + [loader]:
            if library not in seen:
                seen.add(library)
                waiting.append(_library(root, library))
                tree.file(waiting[-1], f"{_HOME}/{library}")
    tree.text(f"bin/{name}", "#!/bin/sh\n"
              f'exec /{_HOME}/{loader} --library-path /{_HOME} /{_HOME}/{name} "$@"\n')  # fmt: skip


def _library(root: Path, name: str) -> Path:
    """The file of library `name`: Debian's packages still spread over /lib and /usr/lib."""
    for folder in (root / "lib", root / "usr/lib"):
        for path in (folder / name, *folder.glob(f"*-linux-gnu*/{name}")):
            if path.exists():
                return path.resolve()
    raise HarnessError(f"the packages unpacked in {root} hold no {name}")


class HostMakedumpfile:
    """The makedumpfile of x86_64, run on this machine; it knows dumps of x86_64 only."""

    def __init__(self, suite: str) -> None:
        """Fetch it from Debian's `suite`."""
        packages = ["makedumpfile", "libzstd1", "libsnappy1v5"]
        self._root = fetched("makedumpfile", packages, Suite(suite, X86_64.debian), libraries=True)
        loader = _library(self._root, "ld-linux-x86-64.so.2")
        folders = [self._root / sub / "x86_64-linux-gnu" for sub in ("usr/lib", "lib")]
        self._start: list[str | Path] = [loader, "--library-path", ":".join(map(str, folders)),
                       self._root / "usr/bin/makedumpfile"]  # fmt: skip

    def rearrange(self, flattened: Path, target: Path) -> None:
        """Write the flattened dump as a plain one, which works for any architecture."""
        with flattened.open("rb") as stream:
            run([*self._start, "-R", target], stdin=stream)

    def other_forms(self, dumps: Path, level: int) -> None:
        """Make all other forms of `dumps`/elf and `dumps`/d`level`-zlib beside them."""
        elf, zlib = dumps / "elf", dumps / f"d{level}-zlib"
        run([*self._start, "-c", "-d", "0", elf, dumps / "d0-zlib"])
        run([*self._start, "-l", "-d", str(level), elf, dumps / f"d{level}-lzo"])
        run([*self._start, "-E", "-d", str(level), elf, dumps / f"elf-d{level}"])
        if level != 31:
            run([*self._start, "-c", "-d", "31", elf, dumps / "damaged"])
        # The default block of 1 GiB would put all of a small guest's memory into the first file.
        split = ["-c", "-d", str(level), "--split", "--splitblock-size", "16"]
        run([*self._start, *split, elf, dumps / "split.1", dumps / "split.2"])
        for method, name in (("zstd", "libzstd.so.1"), ("snappy", "libsnappy.so.1")):
            recompress(zlib, dumps / f"d{level}-{method}", method, _library(self._root, name))
