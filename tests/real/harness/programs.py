"""The user programs of the guest: compiling them and collecting the libraries they need."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import HarnessError
from .kernels import Kernel
from .machines import Compiler, Machine
from .packages import fetched
from .tools import find_tool, run

SOURCES = Path(__file__).resolve().parent.parent / "guest"
ODD_NAME = "odd (na) me"

_FLAGS = ["-g", "-O0", "-Wall", "-Wextra", "-pthread", "-fno-omit-frame-pointer"]


@dataclass(frozen=True)
class Program:
    """How one program is compiled and started.

    `name` is both the file in the guest's /bin and the key of its facts; `arguments` follow the
    name of the facts file on its command line.
    """

    name: str
    source: str
    flags: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    bits: int = 64


def program_list(kernel: Kernel, spinner_cpu: int) -> list[Program]:
    """All programs of a guest of `kernel` whose spinner occupies CPU `spinner_cpu`."""
    library = ("-DWITH_LIBRARY", "-L.", "-lshared")
    programs = [
        Program("threads", "threads.c", ("-fPIE", "-pie")),
        Program("nonpie", "plain.c", ("-fno-pie", "-no-pie", *library)),
        Program("static", "plain.c", ("-fno-pie", "-no-pie", "-static")),
        Program("staticpie", "plain.c", ("-fPIE", "-static-pie")),
        Program("plain32", "plain.c", ("-fPIE", "-pie"), bits=32),
        Program(ODD_NAME, "plain.c", ("-fPIE", "-pie", *library), ("1000",)),
        Program("zombies", "zombies.c", ("-fPIE", "-pie")),
        Program("spinner", "spinner.c", ("-fPIE", "-pie"), (str(spinner_cpu),)),
    ]
    machine = kernel.machine
    missing = set() if machine.static_pie else {"staticpie"}
    if not (machine.compiler32 and kernel.source.runs_32_bits):
        missing.add("plain32")
    return [program for program in programs if program.name not in missing]


def build(machine: Machine, sysroot: Path, programs: list[Program]) -> None:
    """Compile `programs` into `sysroot`/bin and copy the libraries they load beside them.

    Raises HarnessError if a compiler is missing or fails.
    """
    toolchain = _Toolchain(machine.compiler)
    (sysroot / "bin").mkdir(parents=True)
    (sysroot / "lib").mkdir()
    shared = sysroot / "lib" / "libshared.so"
    toolchain.compile(
        SOURCES / "shared.c", shared, ["-fPIC", "-shared", "-Wl,-soname,libshared.so"]
    )
    for program in programs:
        target = sysroot / "bin" / program.name
        flags = [f"-L{sysroot / 'lib'}" if flag == "-L." else flag for flag in program.flags]
        used = toolchain if program.bits == 64 else _toolchain_32(machine)
        used.compile(SOURCES / program.source, target, flags)
        used.copy_libraries(target, sysroot)
    toolchain.compile(SOURCES / "report.c", sysroot / "bin/report", ["-static"])


class _Toolchain:
    """A compiler, what it must be told, and where the libraries of its programs are."""

    def __init__(self, compiler: Compiler, extra: list[str] | None = None,
                 folders: list[Path] | None = None) -> None:  # fmt: skip
        """Find the compiler, and its C library's folder unless `folders` are told."""
        self._gcc = find_tool(compiler.gcc, compiler.packages)
        self._extra = extra or []
        libc = run([self._gcc, "-print-file-name=libc.so.6"]).strip()
        self._folders = folders or [Path(libc).resolve().parent, Path("/lib64")]

    def compile(self, source: Path, target: Path, flags: list[str]) -> None:
        run([self._gcc, *_FLAGS, source, "-o", target, *flags, *self._extra])

    def copy_libraries(self, binary: Path, sysroot: Path) -> None:
        """Copy the loader and the libraries of `binary` into `sysroot`, to where it looks."""
        text = run([find_tool("readelf"), "-l", "-d", binary])
        loader = re.search(r"program interpreter: (\S+)\]", text)
        if not loader:
            return
        path = loader.group(1).lstrip("/")
        _copy(self._find(Path(path).name), sysroot / path)
        for name in re.findall(r"\(NEEDED\)\s+Shared library: \[(\S+)\]", text):
            if not (sysroot / "lib" / name).exists() and name != Path(path).name:
                _copy(self._find(name), sysroot / self._library_folder() / name)

    def _library_folder(self) -> str:
        if self._folders[0].name == "lib32":
            return "lib32"
        return f"usr/lib/{run([self._gcc, '-print-multiarch']).strip()}"

    def _find(self, name: str) -> Path:
        for folder in self._folders:
            if (folder / name).exists():
                return (folder / name).resolve()
        raise HarnessError(f"library {name} not found in {', '.join(map(str, self._folders))}")


def _toolchain_32(machine: Machine) -> _Toolchain:
    assert machine.compiler32
    if machine.compiler32.gcc != machine.compiler.gcc:
        return _Toolchain(machine.compiler32)
    root = _root_32()
    return _Toolchain(machine.compiler32, _flags_32(root), [root / "lib32", root / "lib"])


def _root_32() -> Path:
    major = run([find_tool("gcc"), "-dumpversion"]).strip().partition(".")[0]
    packages = ["libc6-i386", "libc6-dev-i386", "lib32gcc-s1", f"lib32gcc-{major}-dev"]
    return fetched("i386", packages)


def _flags_32(root: Path) -> list[str]:
    """What makes `gcc -m32` find the unpacked 32-bit C library instead of an installed one."""
    runtime = next((root / "usr/lib/gcc/x86_64-linux-gnu").glob("*/32"), None)
    if runtime is None:
        raise HarnessError("the 32-bit gcc package holds no run-time objects")
    crt = root / "usr" / "lib32"
    return ["-m32", f"-B{crt}", f"-B{runtime}", f"-L{crt}", f"-L{runtime}",
            f"-Wl,-rpath-link,{crt}", f"-Wl,--sysroot={root}",
            "-idirafter", str(root / "usr/include/x86_64-linux-gnu"),
            "-idirafter", "/usr/include/x86_64-linux-gnu"]  # fmt: skip


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(source, target)
        target.chmod(0o755)
