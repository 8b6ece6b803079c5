"""Many clients of one server for as long as asked: every byte checked, memory watched.

    python -m benchmarks.soak --minutes 10 --clients 50

Each client keeps a thread selection, an acknowledgement mode and a pace of its own, reads
memory that is compared with what the library itself reads, and leaves in some way, to come
back. Others beside them send garbage, half packets, floods whose answers they do not take,
and vanish. Ends with status 1 when any answer was wrong or anything grew.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.programs import workers_of
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.cli.container import Container
from kdump_gdbserver.domain.errors import MemoryFault

SAMPLE = Path(__file__).resolve().parents[1] / "tests" / "sample" / "toy-vmcore"
SECONDS = 30.0  # for an answer
# Seconds until caches, and the allocator's arenas of so many threads, have their size; memory
# is compared from then on.
_WARM_UP = 60.0
_GROWTH = 8192  # KiB of resident memory beyond that which are a leak


class Failed(Exception):
    """A wrong answer."""


class Soak:
    """What all clients share: where the server is, what memory holds, the tally."""

    def __init__(self, port: int, pages: dict[int, bytes], threads: int, until: float) -> None:
        self.port = port
        self.pages = pages
        self.addresses = list(pages)
        self.threads = threads
        self.until = until
        self.tally: Counter[str] = Counter()
        self.errors: list[str] = []
        self._lock = threading.Lock()

    def count(self, **figures: int) -> None:
        with self._lock:
            self.tally.update(figures)

    def keep(self, visit: Callable[[Soak, random.Random], None], seed: int) -> None:
        """Visit the server again and again until time is up."""
        dice = random.Random(seed)
        while time.monotonic() < self.until:
            try:
                visit(self, dice)
                self.count(visits=1)
            except (Failed, OSError, EOFError) as error:
                with self._lock:
                    self.errors.append(f"{visit.__name__} {seed}: {error!r}"[:300])


class Client:
    """Speaks RSP with or without acknowledgements."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.acknowledge = True
        self._left = b""

    def ask(self, payload: bytes) -> bytes:
        self.socket.sendall(frame(payload))
        while (end := self._left.find(b"#")) < 0 or len(self._left) < end + 3:
            part = self.socket.recv(0x10000)
            if not part:
                raise EOFError("the server hung up")
            self._left += part
        head, reply = self._left[: end + 3].split(b"$", 1)
        self._left = self._left[end + 3 :]
        if head != (b"+" if self.acknowledge else b"") or frame(reply[:-3])[-2:] != reply[-2:]:
            raise Failed(f"{payload!r} was answered by a bad frame")
        if self.acknowledge:
            self.socket.sendall(b"+")
        return reply[:-3]

    def abort(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def frame(payload: bytes) -> bytes:
    return b"$%b#%02x" % (payload, sum(payload) & 0xFF)


def expect(got: bytes, wanted: bytes, payload: bytes) -> None:
    if got != wanted:
        raise Failed(f"{payload!r} gave {got[:60]!r}, not {wanted[:60]!r}")


def expanded(reply: bytes) -> bytes:
    """Undo run-length encoding."""
    out = bytearray()
    at = 0
    while at < len(reply):
        if reply[at] == ord("*"):
            out += out[-1:] * (reply[at + 1] - 29)
            at += 2
        else:
            out.append(reply[at])
            at += 1
    return bytes(out)


def well_behaved(soak: Soak, dice: random.Random) -> None:
    """Look at one thread and at memory, as a debugger does, at a pace of its own."""
    client = Client(soak.port)
    asked = 0
    with client.socket:
        if dice.random() < 0.5:
            expect(client.ask(b"QStartNoAckMode"), b"OK", b"QStartNoAckMode")
            client.acknowledge = False
        thread = dice.randint(1, soak.threads)
        expect(client.ask(b"Hg%x" % thread), b"OK", b"Hg")
        registers = client.ask(b"g")
        pause = dice.choice((0, 0, 0.001, 0.02))
        for _ in range(dice.randint(5, 200)):
            page = dice.choice(soak.addresses)
            offset = dice.randrange(0, 4096)
            length = dice.choice((4, 64, 4096 - offset))
            length = min(length, 4096 - offset)
            payload = b"m%x,%x" % (page + offset, length)
            wanted = soak.pages[page][offset : offset + length].hex().encode()
            expect(expanded(client.ask(payload)), wanted, payload)
            expect(client.ask(b"qC"), b"QC%x" % thread, b"qC")
            expect(client.ask(b"g"), registers, b"g")
            asked += 3
            if pause:
                time.sleep(pause)
        how = dice.randrange(4)
        if how == 0:
            client.abort()
        elif how == 1:
            expect(client.ask(b"D"), b"OK", b"D")
        elif how == 2:
            client.socket.sendall(b"$m1234")
    soak.count(requests=asked)


def silent(soak: Soak, dice: random.Random) -> None:
    """Connect, say nothing, leave."""
    with Client(soak.port).socket:
        time.sleep(dice.random() * 2)


def garbage(soak: Soak, dice: random.Random) -> None:
    """Send random bytes and take what comes; what is no error is no concern."""
    with Client(soak.port).socket as connection, contextlib.suppress(ConnectionError):
        connection.sendall(dice.randbytes(dice.randint(1, 20000)))
        connection.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            while connection.recv(0x10000):
                pass


def greedy(soak: Soak, dice: random.Random) -> None:
    """Ask for much, take nothing, vanish in the middle of the reply."""
    client = Client(soak.port)
    with client.socket:
        client.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(50):
                client.socket.sendall(frame(b"m%x,1000" % dice.choice(soak.addresses)) * 100)
        client.abort()


def figures(pid: int) -> dict[str, int]:
    """Return resident memory in KiB, threads and open files of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "resident KiB": int(fields["VmRSS"].split()[0]),
        "threads": int(fields["Threads"]),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def sample_pages(path: Path) -> tuple[dict[int, bytes], int]:
    """Return pages around the kernel's symbols, and how many threads there are."""
    container = Container()
    container.config.file.from_value([str(path)])
    memory, info = DumpMemory(container.dump()).kernel(), container.dump().vmcoreinfo
    pages: dict[int, bytes] = {}
    for symbol in ("_stext", "init_uts_ns", "swapper_pg_dir", "linux_banner", "kallsyms_names"):
        start = info.symbol(symbol)
        for page in range((start or 0) & ~0xFFF, ((start or 0) & ~0xFFF) + (64 << 12), 4096):
            with contextlib.suppress(MemoryFault):
                pages[page] = memory.read_exact(page, 4096)
    return pages, len(container.target().open_session().inferior.threads)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--file", type=Path, default=SAMPLE, metavar="VMCORE")
    options = parser.parse_args()
    pages, threads = sample_pages(options.file)
    command = [sys.executable, "-m", "kdump_gdbserver.cli.main", "-f", str(options.file), "-p", "0"]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as server,
    ):
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rsplit(b" ", 1)[1])
            return run(workers_of(server.pid)[0], port, pages, threads, options)
        finally:
            server.terminate()
            server.wait()
            log.seek(0)
            unexpected = [line for line in log if "malformed" not in line]
            print(f"log lines but for malformed packets: {len(unexpected)}", *unexpected[:20])


def run(
    pid: int, port: int, pages: dict[int, bytes], threads: int, options: argparse.Namespace
) -> int:
    """Let the clients loose and report."""
    began = time.monotonic()
    soak = Soak(port, pages, threads, began + options.minutes * 60)
    kinds = [silent, garbage, greedy, *[well_behaved] * (options.clients - 3)]
    workers = [
        threading.Thread(target=soak.keep, args=(kind, seed)) for seed, kind in enumerate(kinds)
    ]
    for worker in workers:
        worker.start()
    first = figures(pid)
    time.sleep(min(_WARM_UP, options.minutes * 30))
    early = figures(pid)
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - began
    time.sleep(1)
    late = figures(pid)
    print(f"{options.clients} clients for {seconds:.0f} s on {len(pages)} pages, {threads} threads")
    print(f"visits {soak.tally['visits']}, requests checked {soak.tally['requests']}")
    print(f"errors {len(soak.errors)}", *soak.errors[:10], sep="\n  ")
    for name, before in early.items():
        print(f"{name}: {first[name]} at first, {before} warmed up, {late[name]} at the end")
    grown = late["resident KiB"] - early["resident KiB"] > _GROWTH or late["threads"] > 2
    return 1 if soak.errors or grown else 0


if __name__ == "__main__":
    sys.exit(main())
