"""Building and running what is measured: our server, gdbserver, the stub, gdb, the client."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"
STUB_PACKET_SIZE = 0x100000
# A server that takes less CPU time in a tenth of a second has nothing to do, in seconds.
_IDLE = 0.005


class BenchError(Exception):
    """A measurement cannot be made; the text says why."""


class Unsupported(BenchError):
    """The server does not know the packet."""


class _EndedAtOnce(Exception):
    """A server printed nothing."""


def need(name: str) -> str:
    """Return a program's path."""
    found = shutil.which(name)
    if found is None:
        raise BenchError(f"{name} is not installed")
    return found


def _newest(name: str) -> str:
    """Return a program of the newest gdb, which `pip install .[debuggers]` brings."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise Unsupported(f"no newer {name}: pip install '.[debuggers]' brings it")
    return str(path)


def compiled(name: str, *libraries: str) -> Path:
    """Compile benchmarks/c/NAME.c if that has changed; return the program."""
    source, program = HERE / "c" / f"{name}.c", BUILD / name
    newest = max(path.stat().st_mtime for path in (source, HERE / "c" / "memory.h"))
    if not program.exists() or program.stat().st_mtime < newest:
        BUILD.mkdir(parents=True, exist_ok=True)
        command = [need("gcc"), "-O3", "-o", str(program), str(source), *libraries]
        subprocess.run(command, check=True)
    return program


def pinned(cpu: int | None, command: Sequence[str]) -> list[str]:
    """Return a command line that runs the command on one CPU only."""
    return list(command) if cpu is None else ["taskset", "-c", str(cpu), *command]


@dataclass(frozen=True)
class Running:
    """A server that listens on `port`; `process` is the one to account to it."""

    port: int
    process: subprocess.Popen[str]

    @property
    def cpu_seconds(self) -> float:
        """The CPU time of all its threads up to now, and of the process that serves for it.

        The clock id is what clock_getcpuclockid(3) makes of a pid.
        """
        pids = (self.process.pid, *workers_of(self.process.pid))
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)

    @property
    def peak_mib(self) -> float:
        """VmHWM, its peak resident memory.

        Where another process serves for it, that one's, and what it does not share with that.
        """
        (*workers,) = workers_of(self.process.pid)
        peak = _kib(self.process.pid, "status", "VmHWM:")
        if workers:
            own = ("Private_Clean:", "Private_Dirty:")
            peak = sum(_kib(self.process.pid, "smaps_rollup", name) for name in own)
            peak += sum(_kib(worker, "status", "VmHWM:") for worker in workers)
        return peak / 1024


def workers_of(pid: int) -> list[int]:
    """Return the processes that a server has started to serve for it."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _kib(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


@contextlib.contextmanager
def _run(command: Sequence[str], cpu: int | None) -> Iterator[subprocess.Popen[str]]:
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            pinned(cpu, command),
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        try:
            yield process
        except _EndedAtOnce:
            errors.seek(0)
            raise BenchError(f"{command[:3]} ended at once: {errors.read().strip()}") from None
        finally:
            process.kill()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise _EndedAtOnce
    return line


def server_command(dump: Path, *options: str) -> list[str]:
    """Return the command line of our server on a free port."""
    program = ["-m", "kdump_gdbserver.cli.main"]
    return [sys.executable, *program, "-f", str(dump), "-p", "0", *options]


@contextlib.contextmanager
def our_server(
    dump: Path, *options: str, cpu: int | None = None, settled: bool = True
) -> Iterator[Running]:
    """Run our server on a dump; settled, it has prepared what it does once it listens."""
    with _run(server_command(dump, *options), cpu) as process:
        server = Running(int(_first_line(process).rsplit(" ", 1)[1]), process)
        before = -1.0
        while settled and server.cpu_seconds > before + _IDLE:
            before = server.cpu_seconds
            time.sleep(0.1)
        yield server


@contextlib.contextmanager
def stub(parts: Sequence[str], cpu: int | None = None, ready: bool = False) -> Iterator[Running]:
    """Run the stub on ADDRESS=FILE parts; `ready` it keeps its replies, run-length encoded."""
    command = [str(compiled("stub")), *["ready"] * ready, hex(STUB_PACKET_SIZE), *parts]
    with _run(command, cpu) as process:
        yield Running(int(_first_line(process)), process)


@contextlib.contextmanager
def python_stub(cpu: int | None = None) -> Iterator[Running]:
    """Run the do-nothing server in Python."""
    with _run([sys.executable, "-m", "benchmarks.python_stub"], cpu) as process:
        yield Running(int(_first_line(process)), process)


@contextlib.contextmanager
def gdbserver(
    parts: Sequence[str], cpu: int | None = None, newest: bool = False
) -> Iterator[Running]:
    """Run gdbserver, attached to a process that holds ADDRESS=FILE parts."""
    with _run([str(compiled("holder")), *parts], cpu) as holder:
        _first_line(holder)
        program = _newest("gdbserver") if newest else need("gdbserver")
        command = [program, "--attach", "localhost:0", str(holder.pid)]
        with (
            subprocess.Popen(
                pinned(cpu, command),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
            ) as process,
        ):
            try:
                assert process.stderr is not None
                for line in process.stderr:
                    if line.startswith("Listening on port"):
                        yield Running(int(line.split()[-1]), process)
                        return
                raise BenchError("gdbserver could not attach")
            finally:
                process.kill()


def client(server: Running, *arguments: str, cpu: int | None = None) -> float:
    """Run the socket client; return the number it prints."""
    done = subprocess.run(
        pinned(cpu, [str(compiled("client")), str(server.port), *arguments]),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    if done.returncode == 3:
        raise Unsupported
    if done.returncode:
        raise BenchError(done.stderr.strip())
    return float(done.stdout)


def gdb(
    server: Running | None, *commands: str, newest: bool = False, cpu: int | None = None
) -> str:
    """Run gdb, connected to a server if one is given; return what it printed."""
    program = _newest("gdb") if newest else need("gdb")
    arguments = pinned(cpu, [program, "-nx", "-q", "-batch"])
    first = ("set width 0", "set confirm off", "set sysroot /nonexistent", "set arch i386:x86-64")
    connect = [f"target remote localhost:{server.port}"] if server else []
    for command in (*first, *connect, *commands):
        arguments += ["-ex", command]
    done = subprocess.run(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        timeout=600,
        check=False,
    )
    return done.stdout
