"""The promise of docs/reliability.md, one sentence, tested as one sentence.

Any bytes from a client either form a packet that is answered by the protocol's rules or are
rejected by them; nothing else happens: no traceback, no hang, no wrong byte, no growth in
memory, no effect on another client.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
from pathlib import Path

from kdump_gdbserver.adapters.rsp_tcp.packets.dispatch import BY_LETTER, BY_WORD
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import MAX_PAYLOAD
from tests.fuzz.targets import CORPUS
from tests.support.running import Running, running
from tests.support.sessions import packet, sum_of
from tests.support.tcp import TIMEOUT, TcpClient
from tests.unit.kdumpfile.kdumpfile_support import Machine, write

MACHINE = Machine()
TEXT, PAGES = MACHINE.TEXT, 16
HOSTILE = 5  # clients at a time
VISITS = int(os.environ.get("PROMISE_VISITS", "40"))  # of each in each of three rounds
# So much of the server's memory may be other things than growth, in KiB: replies of a MiB,
# one for each client, and what the allocator keeps of them.
SLACK = 24 << 10
FRAME = re.compile(rb"\$([^#$]*)#([0-9a-f]{2})", re.DOTALL)
WORDS = [
    *(bytes([letter]) for letter in BY_LETTER),
    *(word + separator for word in BY_WORD for separator in (b"", b":", b",", b";")),
    b"vFile:open:", b"vFile:pread:", b"vFile:stat:", b"qXfer:threads:read:", b"qXfer:auxv:read:",
]  # fmt: skip
CRUMBS = [
    b":", b",", b";", b"#", b"$", b"}", b"*", b"p1.", b"-1", b"0", b"1", b"3", b"1000", b"read",
    b"%x" % TEXT, b"ffffffffffffffff", b"f" * 40, b"memory:", b"-", b"+", b"\x03",
]  # fmt: skip
# What debuggers do send.
SEEN = [
    line
    for path in sorted((CORPUS / "dispatcher").iterdir())
    for line in path.read_bytes().splitlines()
]
COMMANDS = [
    "info", "dmesg", "vmcoreinfo", "stats", "help", "mode physical", "mode virtual", "log on",
    "log off", "why 0", f"vtop {TEXT:x}", "phys 1000 0x8000", "phys 0 0x20000", "\udcff", "",
]  # fmt: skip


def anything(dice: random.Random) -> bytes:
    """Return bytes of some kind: none, noise, packets, cut and changed ones, signals."""
    kind = dice.randrange(8)
    if kind == 0:
        return dice.randbytes(dice.randrange(300))
    if kind == 1:
        return dice.choice([b"+", b"-", b"\x03", b"--", b"$", b"#", b"$#", b"$m", b"}"])
    if kind == 2:
        command = dice.choice(COMMANDS).encode("utf-8", "surrogateescape")
        return packet(b"qRcmd," + command.hex().encode())
    if kind == 3:
        length = dice.choice([0, 1, 0x40, 0x1000, 0x8000, 0xFFFFFFFF])
        return packet(b"%c%x,%x" % (dice.choice(b"mx"), TEXT + dice.randrange(0x20000), length))
    if kind == 4 and dice.random() < 0.05:
        return b"$m" + b"0" * (MAX_PAYLOAD + dice.randrange(3)) + b"#00"
    payload = dice.choice(WORDS) + b"".join(dice.choice(CRUMBS) for _ in range(dice.randrange(6)))
    if dice.random() < 0.5:
        payload = dice.choice(SEEN)
    data = bytearray(packet(payload))
    if kind >= 6:  # damaged
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(data) + 1)
            data[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
    return bytes(data) * (50 if dice.random() < 0.02 else 1)


def checked(data: bytes, cut: bool) -> None:
    """Look that these answers are frames with right sums, and acknowledgements, alone."""
    for payload, digits in FRAME.findall(data):
        assert sum_of(payload) == digits
    rest = FRAME.sub(b"", data)
    if cut:  # the connection ended, maybe within a frame
        rest = rest.partition(b"$")[0]
    assert not rest.strip(b"+-"), rest[:200]


def visit(port: int, dice: random.Random) -> bool:
    """Send anything, look at all answers; return whether the connection outlived it."""
    client = TcpClient(port)
    try:
        for _ in range(dice.randrange(1, 12)):
            client.socket.sendall(anything(dice))
        if dice.random() < 0.25:
            client.abort() if dice.random() < 0.5 else client.close()
            return False
        # What was left unfinished is ended by this, and what takes long is interrupted.
        token = b"%x" % dice.getrandbits(64)
        command = packet(b"qRcmd," + (b"no-" + token).hex().encode())
        client.socket.sendall(b"\x03#00#00" + command)
        received, seen, end = bytearray(), False, token.hex().encode()
        while not (seen and received.find(b"#", received.rfind(b"$")) in range(len(received) - 2)):
            part = client.socket.recv(0x10000)  # fails when nothing comes for long: a hang
            seen = seen or end in received[-1000:] + part
            received += part
            if not part:
                break
        checked(bytes(received), cut=not part)
        return bool(part)
    except ConnectionError:  # it asked to be left, or was out of step
        return False
    finally:
        client.close()


class WellBehaved(threading.Thread):
    """A client that reads memory all the while and compares every byte."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.reads = 0
        self.problem: object = None
        self._client = TcpClient(port)

    def run(self) -> None:
        dice = random.Random(1)
        try:
            while not self.done.is_set() and self.problem is None:
                at = dice.randrange(PAGES * 4096 - 64)
                start = MACHINE.TEXT_AT + at
                reply = self._client.ask(b"m%x,40" % (TEXT + at))
                if reply != MACHINE.memory[start : start + 64].hex().encode():
                    self.problem = (hex(TEXT + at), reply)
                self.reads += 1
        except Exception as error:  # a hang is one
            self.problem = error
        finally:
            self._client.close()


def round_of_visits(server: Running, number: int) -> int:
    """Let hostile clients loose; return how many connections outlived what was sent."""
    outlived: list[bool] = []
    problems: list[BaseException] = []

    def client(seed: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(VISITS):
                outlived.append(visit(server.port, dice))
        except BaseException as error:
            problems.append(error)

    clients = [
        threading.Thread(target=client, args=(100 * number + n,), daemon=True)
        for n in range(HOSTILE)
    ]
    for each in clients:
        each.start()
    for each in clients:
        each.join(TIMEOUT * VISITS)
        assert not each.is_alive()
    assert problems == []
    assert len(outlived) == HOSTILE * VISITS
    return sum(outlived)


def test_any_bytes_are_answered_or_rejected_and_nothing_else_happens(tmp_path: Path) -> None:
    log = tmp_path / "log"
    dump = write(tmp_path, MACHINE.elf())
    options = ("-d", "--log-json", "--log-file", str(log))
    with running(dump, *options) as server:
        others = [WellBehaved(server.port) for _ in range(2)]
        for other in others:
            other.start()
        memory = []
        for number in range(3):
            assert round_of_visits(server, number) > HOSTILE * VISITS // 4
            memory.append(server.resident())
        for other in others:
            other.done.set()
            other.join(TIMEOUT)
            assert other.problem is None
            assert other.reads > 100
        assert server.serves()
        assert memory[-1] - memory[0] < SLACK, memory
        server.process.terminate()
        assert server.process.wait(TIMEOUT) == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(entries) > 1000
    assert {entry["level"] for entry in entries} <= {"debug", "info", "warning"}
    assert not [entry for entry in entries if "exception" in entry]
