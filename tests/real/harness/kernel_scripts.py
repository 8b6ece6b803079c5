"""The kernel's own gdb scripts (scripts/gdb in its source), as a kernel build sets them up."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from .cache import cache_root, published, used
from .errors import HarnessError
from .machines import X86_64
from .packages import Apt, Suite, unpack, with_apt
from .tools import find_tool, run

_MARK = "<!-- end-c-headers -->"
_FLAVOUR = "-cloud-amd64"


def kernel_scripts(series: str, release: str) -> Path:
    """A folder with `vmlinux-gdb.py` for the Debian kernel `release`, made on first use.

    Raises HarnessError if apt cannot provide the source and the headers.
    """
    source = f"linux-source-{series}"
    headers = [f"linux-headers-{release}", f"linux-headers-{release.removesuffix(_FLAVOUR)}-common"]

    def build(apt: Apt) -> Path:
        final = cache_root() / "scripts" / series / release
        if not (final / "vmlinux-gdb.py").exists():
            with published(final) as scratch:
                for package in (source, *headers):
                    [deb] = apt.download(scratch, package)
                    unpack(deb, scratch)
                    deb.unlink()
                _extract_scripts(scratch / "usr/src" / f"{source}.tar.xz", scratch)
                _make_constants(scratch, [scratch / "usr/src" / name for name in headers])
                shutil.rmtree(scratch / "usr")
        return used(final)

    suite = Suite(X86_64.kernels[series].suite, X86_64.debian)
    return with_apt(build, suite)


def _extract_scripts(source: Path, into: Path) -> None:
    with tarfile.open(source, mode="r|xz") as archive:
        for member in archive:
            _, _, name = member.name.partition("/")
            if not name.startswith("scripts/gdb/") or not member.isfile():
                continue
            content = archive.extractfile(member)
            assert content is not None
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())
    loader = into / "scripts/gdb/vmlinux-gdb.py"
    if not loader.exists():
        raise HarnessError(f"{source.name} has no scripts/gdb")
    loader.rename(into / "vmlinux-gdb.py")  # a kernel build links it beside vmlinux


def _make_constants(into: Path, headers: list[Path]) -> None:
    """Make linux/constants.py of constants.py.in, as scripts/gdb/linux/Makefile does."""
    configured, common = headers
    options = ["-E", "-x", "c", "-P", "-nostdinc", "-D__KERNEL__", '-DKBUILD_MODNAME="scripts"']
    for part in ("", "/uapi"):
        for folder, generated in ((common, ""), (configured, "/generated")):
            options += ["-I", f"{folder}/arch/x86/include{generated}{part}"]
            options += ["-I", f"{folder}/include{generated if part else ''}{part}"]
    for name in ("compiler-version", "kconfig", "compiler_types"):
        options += ["-include", f"{common}/include/linux/{name}.h"]
    scripts = into / "scripts/gdb/linux"
    text = run([find_tool("gcc"), *options, str(scripts / "constants.py.in")])
    if _MARK not in text:
        raise HarnessError("constants.py.in of this kernel is not of the form that is known")
    (scripts / "constants.py").write_text(text.split(_MARK, 1)[1])
