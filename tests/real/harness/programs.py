"""The user programs of the guest: compiling them and collecting the libraries they need."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import HarnessError
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


def program_list(spinner_cpu: int) -> list[Program]:
    """All programs of a guest whose spinner occupies CPU `spinner_cpu`."""
    library = ("-DWITH_LIBRARY", "-L.", "-lshared")
    return [
        Program("threads", "threads.c", ("-fPIE", "-pie")),
        Program("nonpie", "plain.c", ("-fno-pie", "-no-pie", *library)),
        Program("static", "plain.c", ("-fno-pie", "-no-pie", "-static")),
        Program("staticpie", "plain.c", ("-fPIE", "-static-pie")),
        Program("plain32", "plain.c", ("-m32", "-fPIE", "-pie"), bits=32),
        Program(ODD_NAME, "plain.c", ("-fPIE", "-pie", *library), ("1000",)),
        Program("zombies", "zombies.c", ("-fPIE", "-pie")),
        Program("spinner", "spinner.c", ("-fPIE", "-pie"), (str(spinner_cpu),)),
    ]


def build(sysroot: Path, programs: list[Program]) -> dict[str, Path]:
    """Compile `programs` into `sysroot`/bin and copy the libraries they load beside them.

    The result tells each program's unstripped file. Raises HarnessError if gcc fails.
    """
    gcc = find_tool("gcc")
    (sysroot / "bin").mkdir(parents=True)
    (sysroot / "lib").mkdir()
    shared = sysroot / "lib" / "libshared.so"
    run([gcc, *_FLAGS, "-fPIC", "-shared", "-Wl,-soname,libshared.so", "-o", shared,
         SOURCES / "shared.c"])  # fmt: skip
    built = {}
    for program in programs:
        target = sysroot / "bin" / program.name
        extra = _flags_32() if program.bits == 32 else []
        flags = [f"-L{sysroot / 'lib'}" if flag == "-L." else flag for flag in program.flags]
        run([gcc, *_FLAGS, SOURCES / program.source, "-o", target, *flags, *extra])
        built[program.name] = target
        _copy_libraries(target, sysroot, program.bits)
    for tool in ("report", "kexec_crash"):
        run([gcc, *_FLAGS, "-static", SOURCES / f"{tool}.c", "-o", sysroot / "bin" / tool])
    return built


def _root_32() -> Path:
    major = run([find_tool("gcc"), "-dumpversion"]).strip().partition(".")[0]
    packages = ["libc6-i386", "libc6-dev-i386", "lib32gcc-s1", f"lib32gcc-{major}-dev"]
    return fetched("i386", packages)


def _flags_32() -> list[str]:
    """What makes `gcc -m32` find the unpacked 32-bit C library instead of an installed one."""
    root = _root_32()
    runtime = next((root / "usr/lib/gcc/x86_64-linux-gnu").glob("*/32"), None)
    if runtime is None:
        raise HarnessError("the 32-bit gcc package holds no run-time objects")
    crt = root / "usr" / "lib32"
    return [f"-B{crt}", f"-B{runtime}", f"-L{crt}", f"-L{runtime}", f"-Wl,-rpath-link,{crt}",
            f"-Wl,--sysroot={root}", "-idirafter", str(root / "usr/include/x86_64-linux-gnu"),
            "-idirafter", "/usr/include/x86_64-linux-gnu"]  # fmt: skip


def _copy_libraries(binary: Path, sysroot: Path, bits: int) -> None:
    """Copy the loader and the libraries of `binary` into `sysroot`, at the paths it asks for."""
    text = run([find_tool("readelf"), "-l", "-d", binary])
    loader = re.search(r"program interpreter: (\S+)\]", text)
    if not loader:
        return
    folders = [_root_32() / "lib32"] if bits == 32 else _host_folders()
    where = "lib32" if bits == 32 else str(folders[0]).lstrip("/")
    path = loader.group(1).lstrip("/")
    _copy(_find(Path(path).name, [*folders, Path("/") / Path(path).parent]), sysroot / path)
    needed = re.findall(r"\(NEEDED\)\s+Shared library: \[(\S+)\]", text)
    for name in needed:
        if (sysroot / "lib" / name).exists() or name.startswith("ld-linux"):
            continue
        _copy(_find(name, folders), sysroot / where / name)


def _host_folders() -> list[Path]:
    libc = run([find_tool("gcc"), "-print-file-name=libc.so.6"]).strip()
    return [Path(libc).resolve().parent, Path("/lib/x86_64-linux-gnu"), Path("/lib64")]


def _find(name: str, folders: list[Path]) -> Path:
    for folder in folders:
        if (folder / name).exists():
            return (folder / name).resolve()
    raise HarnessError(f"library {name} not found in {', '.join(map(str, folders))}")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(source, target)
        target.chmod(0o755)
