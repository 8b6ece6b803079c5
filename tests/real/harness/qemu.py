"""One QEMU guest: starting it, waiting for words on its console, dumping its memory."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import HarnessError
from .machines import Machine, Scenario
from .tools import find_tool

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    # A killed test run must not leave a spinning guest behind.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def escaped(path: Path) -> str:
    """`path` as a value in one of QEMU's comma-separated options."""
    return str(path).replace(",", ",,")


def command_line(machine: Machine, scenario: Scenario) -> str:
    """The command line of a guest's kernel."""
    words = f"console={machine.console} quiet loglevel=3 rdinit=/init no_hash_pointers"
    return " ".join(f"{words} {machine.command_line} {scenario.command_line}".split())


class Qemu:
    """A running guest, software emulated so that it works without /dev/kvm.

    Use as a context manager; the guest is killed at the end. Its serial line is the console
    (kept in memory); what else it has to tell it writes to its disks.
    """

    def __init__(
        self, machine: Machine, scenario: str, image: Path, initrd: Path, disks: Sequence[Path],
    ) -> None:  # fmt: skip
        """Start the guest; it knows the files `disks` as vda, vdb, ... in this order.

        Raises HarnessError if QEMU is missing.
        """
        how = machine.scenarios[scenario]
        ours, theirs = socket.socketpair()
        command = [
            find_tool(machine.qemu, machine.qemu_package), *machine.options,
            "-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg", "-cpu", how.cpu,
            "-m", str(how.memory_mib), "-smp", str(how.cpus), "-action", "panic=pause",
            "-kernel", str(image), "-initrd", str(initrd), "-append", command_line(machine, how),
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-chardev", f"socket,id=monitor,fd={theirs.fileno()}",
            "-mon", "chardev=monitor,mode=control",
        ]  # fmt: skip
        if machine.vmcoreinfo:
            command += ["-device", "vmcoreinfo"]
        for number, disk in enumerate(disks):
            drive = f"file={escaped(disk)},format=raw,if=none,id=disk{number},cache=unsafe"
            command += ["-drive", drive, "-device", f"{machine.disk},drive=disk{number}"]
        self._console = bytearray()
        self._ended = False
        self._news = threading.Condition()
        with theirs:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()], preexec_fn=_die_with_parent,  # noqa: PLW1509
            )  # fmt: skip
        self._monitor = ours
        self._greeted = False
        self._lines = ours.makefile("rb")
        self._reader = threading.Thread(target=self._read_console, daemon=True)
        self._reader.start()

    def __enter__(self) -> Qemu:
        """The guest itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Kill the guest."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._lines.close()
        self._monitor.close()

    def _read_console(self) -> None:
        assert self._process.stdout and self._process.stdin
        with self._process.stdout, self._process.stdin:
            while chunk := os.read(self._process.stdout.fileno(), 65536):
                with self._news:
                    self._console += chunk
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def console(self) -> str:
        """All that the guest has printed on its console so far."""
        with self._news:
            return self._console.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """Wait until the console shows the regular expression `pattern`.

        Raises HarnessError with the console's last lines if the time is up or the guest ends.
        """
        deadline = time.monotonic() + timeout_s
        with self._news:
            while not (found := re.search(pattern, self._console.decode(errors="replace"))):
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "the guest ended" if self._ended else f"{timeout_s:g} s went by"
                    raise HarnessError(f"{why} without {pattern!r}; console:\n{self._tail()}")
                self._news.wait(left)
            return found

    def wait_end(self, timeout_s: float) -> None:
        """Wait until the guest has powered off; else HarnessError with the console's last lines."""
        with self._news:
            if not self._news.wait_for(lambda: self._ended, timeout_s):
                raise HarnessError(f"still running after {timeout_s:g} s; console:\n{self._tail()}")

    def wait_stopped(self, timeout_s: float) -> None:
        """Wait until QEMU has stopped the guest because it told of its panic, else HarnessError."""
        deadline = time.monotonic() + timeout_s
        while self.qmp("query-status")["running"]:
            if time.monotonic() > deadline:
                raise HarnessError(f"not stopped after {timeout_s:g} s; console:\n{self._tail()}")
            time.sleep(0.1)

    def _tail(self) -> str:
        return "\n".join(self._console.decode(errors="replace").splitlines()[-25:])

    def qmp(
        self, command: str, arguments: dict[str, Any] | None = None, timeout_s: float = 120
    ) -> Any:
        """Run one QMP command and return its result (QEMU's docs/interop/qmp-spec).

        Raises HarnessError if QEMU refuses it or does not answer within `timeout_s`.
        """
        self._monitor.settimeout(timeout_s)
        try:
            if not self._greeted:
                self._receive()
                self._greeted = True
                self._exchange("qmp_capabilities", {})
            return self._exchange(command, arguments or {})
        except (OSError, ValueError) as error:
            raise HarnessError(f"QEMU's monitor failed at {command}: {error}") from error

    def _exchange(self, command: str, arguments: dict[str, Any]) -> Any:
        self._monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = self._receive()  # events come in between
            if "error" in answer:
                raise HarnessError(f"QEMU refused {command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]

    def _receive(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ValueError("connection closed")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def cpu_registers(self, cpu: int) -> str:
        """QEMU's own text of the registers of CPU number `cpu`."""
        arguments = {"command-line": "info registers", "cpu-index": cpu}
        return str(self.qmp("human-monitor-command", arguments))

    def dump_formats(self) -> list[str]:
        """The formats that this QEMU's dump-guest-memory can write for a Linux guest."""
        formats = self.qmp("query-dump-guest-memory-capability")["formats"]
        return [name for name in formats if name != "win-dmp"]

    def dump(self, target: Path, format_name: str = "elf", paging: bool = False) -> None:
        """Write the guest's memory and registers to the file `target`."""
        arguments: dict[str, Any] = {"paging": paging, "protocol": f"file:{target}"}
        if format_name != "elf":
            arguments["format"] = format_name
        self.qmp("dump-guest-memory", arguments, timeout_s=300)
