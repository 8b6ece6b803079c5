"""What happens when things break under a server that is running; docs/reliability.md lists it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
from kdump_gdbserver.adapters.kdumpfile.dump import KdumpfileDump
from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.view import DeferredTarget
from kdump_gdbserver.cli.main import main
from kdump_gdbserver.domain.address_space import AddressSpace
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.page_walk import RootTable
from tests.support.running import SERVER, running, started
from tests.support.sessions import packet, view_of
from tests.support.tcp import TIMEOUT, TcpClient, serving, wait_until
from tests.unit.kdumpfile.kdumpfile_support import Machine, write
from tests.unit.kdumpfile.vmcore_builder import Kdump, kdump

MACHINE = Machine()
TEXT = MACHINE.TEXT


def expected(address: int, length: int) -> bytes:
    at = address - TEXT + MACHINE.TEXT_AT
    return bytes(MACHINE.memory[at : at + length])


@pytest.fixture
def dump(tmp_path: Path) -> str:
    return write(tmp_path, MACHINE.elf())


def test_a_dump_truncated_while_served_gives_errors_and_never_zeros(dump: str) -> None:
    with running(dump) as server:
        assert server.read(TEXT) == expected(TEXT, 16)
        os.truncate(dump, MACHINE.TEXT_AT)
        beyond = [server.read(TEXT + page * 4096) for page in range(1, 16)]
        assert beyond == [None] * 15
        assert server.serves()


def test_a_dump_that_vanishes_while_served_is_served_on(dump: str) -> None:
    with running(dump) as server:
        Path(dump).unlink()
        for page in range(16):
            assert server.read(TEXT + page * 4096) == expected(TEXT + page * 4096, 16)


def test_a_dump_replaced_while_served_is_not_mixed_with_the_new_one(dump: str) -> None:
    with running(dump) as server:
        other = Path(dump).with_suffix(".new")
        other.write_bytes(bytes(Path(dump).stat().st_size))
        other.replace(dump)
        assert server.read(TEXT + 0x3000) == expected(TEXT + 0x3000, 16)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_the_server_with_status_0_and_no_word(
    dump: str, number: signal.Signals
) -> None:
    with running(dump) as server:
        assert server.serves()
        server.process.send_signal(number)
        assert server.process.wait(TIMEOUT) == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""
        assert server.client.hung_up()


def test_signals_remove_the_unix_socket(dump: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with started([*SERVER[:3], "-f", dump, "--unix", str(path)]) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            assert path.exists()
            process.send_signal(number)
            assert process.wait(TIMEOUT) == 0
        assert not path.exists()


def test_nohup_keeps_the_server_alive(dump: str) -> None:
    """A hang-up that is ignored from outside stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with running(dump) as server:
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
            assert server.serves()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_broken_pipe_signal_is_ignored(dump: str) -> None:
    with running(dump) as server:
        server.process.send_signal(signal.SIGPIPE)
        time.sleep(0.1)
        assert server.serves()


def test_a_reader_of_the_output_that_is_gone_stops_nothing(dump: str, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    path = tmp_path / "s"
    command = [*SERVER[:3], "-f", dump, "--unix", str(path)]
    with started(command, stdout=write_end) as process:
        os.close(write_end)
        wait_until(lambda: path.exists() or process.poll() is not None, "the socket")
        process.terminate()
        assert process.wait(TIMEOUT) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize("options", [(), ("--log-file", "/dev/full")], ids=["stderr", "file"])
def test_a_log_on_a_full_disk_costs_log_lines_and_nothing_else(
    dump: str, options: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w") as full, running(dump, "-d", *options, stderr=full) as server:
        for page in range(16):
            assert server.read(TEXT + page * 4096) == expected(TEXT + page * 4096, 16)
        server.client.socket.sendall(b"$bad#00" * 100)
        server.process.terminate()
        assert server.process.wait(TIMEOUT) == 0


def test_a_log_file_is_its_owners_alone_and_is_added_to(dump: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = os.umask(0)
    try:
        for visits in (1, 2):
            with running(dump, "-d", "--log-json", "--log-file", str(log)) as server:
                assert server.serves()
                server.process.terminate()
                assert server.process.wait(TIMEOUT) == 0
                assert server.process.stderr is not None
                assert server.process.stderr.read() == ""
            assert log.stat().st_mode & 0o777 == 0o600
            events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
            assert events.count("client connected") == visits
            log.chmod(0o644)  # as a user's own file may be
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", ["link", "second name", "another user's"])
def test_a_log_file_that_was_put_there_to_harm_is_not_written_to(
    dump: str, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target, log = tmp_path / "target", tmp_path / "log"
    target.write_text("mine")
    target.chmod(0o644)
    if kind == "link":
        log.symlink_to(target)
    elif kind == "second name":
        log.hardlink_to(target)
    elif os.geteuid() == 0:
        target = log
        log.write_text("mine")
        log.chmod(0o644)
        os.chown(log, 65534, 65534)
    else:
        pytest.skip("needs root to make a file another user's")
    assert main(["-f", dump, "-p", "0", "--log-file", str(log)]) == 2
    assert "--log-file takes a file" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert target.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", ["folder", "fifo", "none/there", "nul\0"])
def test_a_log_file_that_cannot_be_written_is_one_line(
    dump: str, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")  # nobody reads it, and nobody waits for that
    assert main(["-f", dump, "-p", "0", "--log-file", f"{tmp_path}/{kind}"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "--log-file takes a file" in shown.err


def test_an_error_that_cannot_be_printed_is_still_status_2() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*SERVER, "-f", "/nonexistent"], stdout=full, stderr=full, check=False, timeout=60
        )
    assert done.returncode == 2


def test_a_client_that_vanishes_in_the_middle_of_a_reply_is_forgotten(dump: str) -> None:
    with running(dump) as server:
        assert server.serves()
        before = server.sockets()
        for _ in range(5):
            client = TcpClient(server.client.socket.getpeername()[1])
            client.socket.sendall(packet(b"m%x,10000" % TEXT) * 200)
            client.socket.recv(100)
            client.abort()
        assert server.serves()
        wait_until(lambda: server.sockets() <= before, "the sockets to be closed")


@pytest.mark.parametrize("to_file", [False, True], ids=["stderr", "file"])
def test_kill_9_leaves_whole_lines_in_the_log(dump: str, tmp_path: Path, to_file: bool) -> None:
    log = tmp_path / "log"
    options = ("-d", "--log-json", *(("--log-file", str(log)) if to_file else ()))
    with (tmp_path / "log").open("a") as file, running(dump, *options, stderr=file) as server:
        for _ in range(200):
            server.client.send(b"qC")
        for _ in range(3):  # each is logged before it is answered
            server.client.receive()
        server.process.kill()
    text = log.read_text()
    *lines, rest = text.split("\n")
    # A line is one write(2). That much of it the kernel may cut, between two pages.
    assert not rest or len(text) % os.sysconf("SC_PAGE_SIZE") == 0
    assert [json.loads(line).get("request") for line in lines].count("qC") >= 3


SAVE_IN_GDB = """
import os
from kdump_gdbserver.gdb.kdump_commands import sidecar_file
rows = [{"number": number} for number in range(20000)]
for number in range(10**9):
    sidecar_file.write_whole(os.environ["SIDECAR"], sidecar_file.json_text({"rows": rows}))
    print(number, flush=True)
"""


def test_kill_9_while_the_gdb_script_saves_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    """The script's own writer, which runs in gdb's Python and shares nothing with the server."""
    path = tmp_path / "kernel.json"
    environment = {**os.environ, "SIDECAR": str(path)}
    for delay in (0, 0.001, 0.005, 0.02, 0.05):
        with started([sys.executable, "-c", SAVE_IN_GDB], env=environment) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "0\n"
            time.sleep(delay)
            child.kill()
        assert [row["number"] for row in json.loads(path.read_text())["rows"]] == [*range(20000)]
        for each in tmp_path.iterdir():  # what was begun, too
            assert each.stat().st_mode & 0o777 == 0o600


class Stalled(AddressSpace):
    """Memory on a disk that does not answer until it is let go."""

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self.go = threading.Event()

    def read(self, address: int, length: int) -> bytes:
        self.waiting.set()
        assert self.go.wait(TIMEOUT)
        return bytes(length)


def test_a_read_that_the_disk_keeps_waiting_holds_up_its_own_client_only() -> None:
    stalled = Stalled()
    spaces: list[AddressSpace] = [view_of({0: b"ab"}).open_memory(), stalled]

    class Target:
        def open_session(self) -> Any:
            view = view_of()
            session = view.open_session()
            session.read_memory = spaces.pop().read
            return session

    with capture_logs(), serving(RspServer(Target(), structlog.get_logger())) as served:
        slow = served.connect()
        slow.send(b"m0,2")
        assert stalled.waiting.wait(TIMEOUT)
        assert served.connect().ask(b"m0,2") == b"6162"
        stalled.go.set()
        assert slow.receive() == b"0000"


def test_a_library_that_waits_for_the_disk_leaves_what_is_in_memory_to_the_others(
    tmp_path: Path,
) -> None:
    """libkdumpfile takes one thread at a time; who needs no more of the file does not notice."""
    pages = MACHINE.pages()
    dump = KdumpfileOpener().open(
        [write(tmp_path, kdump(pages, len(pages), Kdump(notes=MACHINE.notes)))]
    )
    assert isinstance(dump, KdumpfileDump)
    context = dump._context
    stalled, go = threading.Event(), threading.Event()

    def read_and_stall() -> None:
        with context.lock:  # as a read under way has it
            stalled.set()
            go.wait(TIMEOUT)

    view = open_kernel_view(dump)
    server = RspServer(DeferredTarget(lambda: view), structlog.get_logger())
    with capture_logs(), serving(server) as served:
        client = served.connect()
        seen = client.ask(b"m%x,10" % TEXT)
        assert seen == expected(TEXT, 16).hex().encode()
        reader = threading.Thread(target=read_and_stall, daemon=True)
        reader.start()
        try:
            assert stalled.wait(TIMEOUT)
            assert client.ask(b"m%x,10" % TEXT) == seen
            assert client.ask(b"qfThreadInfo") == b"m1,2"
            assert client.ask(b"g")[:1] != b"E"
            client.send(b"m%x,10" % (TEXT + 0x5000))
            time.sleep(0.1)
            assert reader.is_alive()
        finally:
            go.set()
        assert client.receive() == expected(TEXT + 0x5000, 16).hex().encode()


def test_a_server_out_of_threads_refuses_a_client_and_serves_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = view_of()
    failures = [RuntimeError("can't start new thread")]
    server = RspServer(DeferredTarget(lambda: view), structlog.get_logger())
    start = threading.Thread.start

    def start_or_fail(thread: threading.Thread) -> None:
        if failures and "_serve_socket" in thread.name:
            raise failures.pop()
        start(thread)

    with capture_logs() as entries, serving(server) as served:
        monkeypatch.setattr(threading.Thread, "start", start_or_fail)
        assert served.connect().hung_up()
        assert served.connect().ask(b"qC") == b"QC1"
    assert [entry["reason"] for entry in entries if entry["event"] == "cannot take a client"] == [
        "can't start new thread"
    ]


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(Machine.USER_ROOT | 0x7, id="loops"),
        pytest.param((1 << 46) | 0x7, id="points outside memory"),
        pytest.param(0x000F_FFFF_FFFF_F007, id="points at the highest address"),
        pytest.param((1 << 64) - 1, id="all ones"),
    ],
)
def test_corrupted_page_tables_end_a_read_and_touch_no_other(tmp_path: Path, entry: int) -> None:
    broken = Machine()
    table = broken.USER_ROOT + 8 * (broken.USER >> 39)
    for at in range(table, table + 8 * 16, 8):
        broken.memory[at : at + 8] = entry.to_bytes(8, "little")
    opened = KdumpfileOpener().open([write(tmp_path, broken.elf())])
    process = DumpMemory(opened).process(RootTable(broken.USER_ROOT))
    for address in (broken.USER, broken.USER + 4096, 1 << 39, 7 << 39):
        try:
            data = process.read(address, 64)
        except MemoryFault as fault:
            assert fault.address == address
        else:  # what such a table leads to is read as the hardware would: from this memory
            assert bytes(data) in bytes(broken.memory)
    assert process.read(0x7FFF_FFFF_F000, 64) == bytes(broken.memory[0x4000:0x4040])
    assert DumpMemory(opened).kernel().read(TEXT, 64) == bytes(
        broken.memory[broken.TEXT_AT : broken.TEXT_AT + 64]
    )


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="numpy starts no threads for one CPU")
def test_no_library_starts_threads_that_take_memory(dump: str) -> None:
    """numpy's OpenBLAS takes memory for each CPU, and ends the process where there is none."""
    environment = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    with running(dump, env=environment) as server:
        assert len(server.client.ask(b"m%x,10000" % TEXT)) == 2 * 0x10000
        tasks = Path(f"/proc/{server.process.pid}/task")
        # The main thread, the client's, the one for signs of life; that of the start has ended.
        wait_until(lambda: len(list(tasks.iterdir())) <= 3, "three threads at most")
