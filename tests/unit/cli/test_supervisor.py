"""The process that the user starts outlives the one that reads the dump."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kdump_gdbserver.cli.outlet import Outlet, printable
from kdump_gdbserver.cli.supervisor import Deaths
from tests.support.running import SERVER, children_of, running, started, worker_of
from tests.support.sessions import packet
from tests.support.tcp import HOST, TIMEOUT, TcpClient, wait_until
from tests.unit.kdumpfile.kdumpfile_support import Machine, write
from tests.unit.symbols.test_debuginfod import Servers, file, stalled
from tests.unit.symbols.test_section_stub import BUILD_ID, VMLINUX

MACHINE = Machine()
TEXT = MACHINE.TEXT
Connect = Callable[[], socket.socket]
SOON = 1.0  # seconds, in which a signal ends everything


@pytest.fixture
def dump(tmp_path: Path) -> str:
    return write(tmp_path, MACHINE.elf())


# What a library does to the process that opens a dump with it.
SCRIPT = """
import ctypes, os, sys, time
from dependency_injector import providers
from kdump_gdbserver.adapters.sandbox.limits import Budget
from kdump_gdbserver.cli import supervisor
from kdump_gdbserver.cli.container import Container
from kdump_gdbserver.cli.main import main
libc, held = ctypes.CDLL(None), ctypes.PyDLL(None)  # the second holds the GIL
class Opener:
    def describe(self):
        return "a library made for this test"
    def open(self, paths, *, arch=None, vmcoreinfo=None):
        print("opening", file=sys.stderr)
        {body}
budget = Budget(address_space=1 << 30, opening_cpu={cpu})
Container.opener.override(providers.Object(Opener()))
Container.budget.override(providers.Object(budget))
supervisor.Supervisor.__init__.__kwdefaults__["opening"] = {opening}
raise SystemExit(main(sys.argv[1:]))
"""


def script(body: str, opening: float = 60, cpu: int = 1) -> list[str]:
    text = SCRIPT.format(body=body, opening=opening, cpu=cpu)
    return [sys.executable, "-c", text, "-f", "vmcore"]


CRASHES = {
    "ctypes.string_at(0)": "the C library crashed (SIGSEGV)",
    "libc.abort()": "the C library crashed (SIGABRT)",
    "__import__('signal').raise_signal(7)": "the C library crashed (SIGBUS)",
    "libc.free(ctypes.c_void_p(ctypes.addressof(ctypes.create_string_buffer(99)) + 40))": (
        "the C library crashed (SIGABRT: "
    ),
    "while True: pass": "opening it has taken more computing than it may",
    "held.sleep(1000)": "opening it has not come to an end in 0.5 s",
    "libc.sleep(1000)": "opening it has not come to an end in 0.5 s",
}


@pytest.mark.parametrize("body", CRASHES)
def test_what_becomes_of_opening_is_one_line_and_status_2(body: str) -> None:
    opening = 0.5 if "sleep" in body else 60
    result = subprocess.run(
        script(body, opening), capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout, lines[0]) == (2, "", "opening")
    (line,) = lines[1:]
    assert line.startswith(f"kdump-gdbserver: error: vmcore: {CRASHES[body]}")
    assert "--libkdumpfile" in line


def test_too_much_memory_at_opening_is_one_line_and_status_2() -> None:
    body = "pages = [bytearray(1 << 20) for page in range(1 << 20)]"
    result = subprocess.run(
        script(body, cpu=60), capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[1:] == [
        "kdump-gdbserver: error: vmcore: opening it takes more memory than the 1024 MiB that it"
        " may; the dump may be damaged, or made to do that"
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("body", ["held.sleep(1000)", "libc.sleep(1000)", "while True: pass"])
def test_a_signal_ends_an_opening_that_hears_none(body: str, number: signal.Signals) -> None:
    with started(script(body)) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "opening\n"
        worker = worker_of(process.pid)
        sent = time.monotonic()
        process.send_signal(number)
        assert process.wait(TIMEOUT) == 0
        assert time.monotonic() - sent < SOON
        assert process.stderr.read() == ""
        assert not Path(f"/proc/{worker}").exists()


def test_a_signal_at_any_moment_ends_everything_soon_and_without_a_word(dump: str) -> None:
    """From the start of the worker to where it waits for clients, in steps of 10 ms."""
    for step in range(20):
        with started([*SERVER, "-f", dump]) as process:
            try:
                worker = worker_of(process.pid)
            except AssertionError:
                continue
            time.sleep(step * 0.01)
            sent = time.monotonic()
            process.terminate()
            assert process.wait(TIMEOUT) == 0, step
            assert time.monotonic() - sent < SOON, step
            assert process.stderr is not None
            assert process.stderr.read() == "", step
            assert not Path(f"/proc/{worker}").exists()


def test_a_worker_that_hears_nothing_while_it_serves_is_ended(dump: str) -> None:
    with running(dump) as server:
        os.kill(server.worker, signal.SIGSTOP)
        sent = time.monotonic()
        server.process.terminate()
        assert server.process.wait(TIMEOUT) == 0
        assert time.monotonic() - sent < SOON
        assert server.client.hung_up()


def test_the_worker_ends_with_its_supervisor(dump: str) -> None:
    with running(dump) as server:
        worker = server.worker
        server.process.kill()
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker's end")
        assert server.client.hung_up()


@pytest.mark.parametrize("options", [(), ("--unix",)], ids=["tcp", "unix"])
def test_a_worker_that_dies_is_replaced_and_the_next_client_served(
    dump: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    with serving_at(dump, tmp_path / "socket" if options else None) as (process, connect):
        before = connect()
        worker = worker_of(process.pid)
        assert ask(before, b"qAttached") == b"1"
        os.kill(worker, signal.SIGSEGV)
        assert before.recv(99) == b""
        after = connect()
        expected = bytes(MACHINE.memory[MACHINE.TEXT_AT :][:4])
        assert ask(after, b"m%x,4" % TEXT) == expected.hex().encode()
        assert worker_of(process.pid) != worker
        process.terminate()
        assert process.wait(TIMEOUT) == 0
        assert process.stdout is not None
        assert process.stderr is not None
        assert "Waiting" not in process.stdout.read()
        assert process.stderr.read() == (
            f"kdump-gdbserver: warning: the process that serves {dump} has died (the C library"
            " crashed (SIGSEGV)); its clients were hung up on, and a fresh one serves the next\n"
        )
        for connection in (before, after):
            connection.close()


def ask(client: socket.socket, payload: bytes) -> bytes:
    client.sendall(packet(payload))
    heard = b""
    while heard.count(b"#") < 1 or len(heard.partition(b"#")[2]) < 2:
        heard += client.recv(0x1000)
    return heard.partition(b"$")[2].partition(b"#")[0]


@contextlib.contextmanager
def serving_at(dump: str, path: Path | None) -> Iterator[tuple[subprocess.Popen[str], Connect]]:
    options = ["--unix", str(path)] if path else []
    with started([*SERVER, "-f", dump, *options]) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        while "source" not in process.stdout.readline():
            pass
        for _ in range(3):  # what comes after it
            process.stdout.readline()

        def connect() -> socket.socket:
            if path is None:
                return socket.create_connection((HOST, int(words[-1])), TIMEOUT)
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(TIMEOUT)
            client.connect(str(path))
            return client

        yield process, connect
    assert path is None or not path.exists()


HANGING = """
import ctypes, os, sys
from kdump_gdbserver.adapters.rsp_tcp.transport import keep_alive
from kdump_gdbserver.cli.main import main
keep_alive.MAX_LEFT_BEHIND = 1
read = os.pread
def hang(file, count, offset):
    if {start} <= offset < {start} + 4096:
        ctypes.CDLL(None).sleep(1000)
    return read(file, count, offset)
os.pread = hang
raise SystemExit(main(sys.argv[1:]))
"""


def test_work_that_never_ends_is_ended_when_its_client_has_left(dump: str) -> None:
    page = 9
    at = Path(dump).read_bytes().index(bytes(MACHINE.memory[MACHINE.TEXT_AT + page * 4096 :][:64]))
    command = [sys.executable, "-c", HANGING.format(start=at), *SERVER[3:], "-f", dump]
    with started(command) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(" ", 1)[1])
        leaving, staying = TcpClient(port), TcpClient(port)
        assert staying.ask(b"qAttached") == leaving.ask(b"qAttached") == b"1"
        worker = worker_of(process.pid)
        leaving.send(b"m%x,8" % (TEXT + page * 4096))
        leaving.socket.shutdown(socket.SHUT_WR)
        assert staying.ask(b"qAttached") == b"1"
        assert staying.hung_up()
        fresh = TcpClient(port)
        assert fresh.ask(b"qAttached") == b"1"
        assert worker_of(process.pid) != worker
        process.terminate()
        assert process.wait(TIMEOUT) == 0
        assert process.stderr is not None
        assert "still at work for a client that had long left" in process.stderr.read()
        for client in (leaving, staying, fresh):
            client.close()


def test_workers_that_die_too_often_are_not_replaced(dump: str) -> None:
    with running(dump) as server:
        for left in range(5, 0, -1):
            client = TcpClient(server.port)
            assert client.ask(b"qAttached") == b"1"
            os.kill(server.worker, signal.SIGABRT)
            assert client.hung_up()
            client.close()
            assert left == 1 or server.process.poll() is None
        assert server.process.wait(TIMEOUT) == 2
        assert server.process.stderr is not None
        *warnings, error = server.process.stderr.read().splitlines()
        assert len(warnings) == 4
        assert error == (
            f"kdump-gdbserver: error: the process that serves {dump} has died 5 times in 60 s, the"
            " last time so: the C library crashed (SIGABRT)"
        )


def test_a_dump_that_was_replaced_is_not_opened_by_a_fresh_worker(dump: str) -> None:
    with running(dump) as server:
        assert server.read(TEXT) is not None
        other = Path(dump).with_suffix(".new")
        other.write_bytes(Path(dump).read_bytes())
        other.replace(dump)
        assert server.serves()
        os.kill(server.worker, signal.SIGBUS)
        assert server.process.wait(TIMEOUT) == 2
        assert server.process.stderr is not None
        assert server.process.stderr.read() == (
            f"kdump-gdbserver: error: the process that serves {dump} has died (the C library"
            " crashed (SIGBUS)), and the file is another one by now\n"
        )


@pytest.mark.parametrize("options", [("--once",), ("--stdio",)])
def test_with_one_client_to_serve_a_death_is_the_end(dump: str, options: tuple[str, ...]) -> None:
    command = [*SERVER, "-f", dump, *options]
    with started(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        client = None
        if options == ("--once",):
            client = TcpClient(int(process.stdout.readline().rsplit(" ", 1)[1]))
            assert client.ask(b"qAttached") == b"1"
        else:
            process.stdin.write(packet(b"qAttached").decode())
            process.stdin.flush()
            assert process.stdout.read(6) == "+$1#31"
        os.kill(worker_of(process.pid), signal.SIGSEGV)
        assert process.wait(TIMEOUT) == 2
        assert process.stderr is not None
        assert process.stderr.read() == (
            f"kdump-gdbserver: error: the process that serves {dump} has died: the C library"
            " crashed (SIGSEGV)\n"
        )
        if client is not None:
            assert client.hung_up()
            client.close()


def test_the_worker_has_given_everything_up_and_holds_nothing_of_ours(dump: str) -> None:
    log = Path(dump).with_name("log")
    needed = {"pipe", "socket", "/dev/null", "/memfd", dump, str(log)}
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    try:
        options = ("--log-file", str(log))
        with running(dump, *options, close_fds=False) as server:
            status = Path(f"/proc/{server.worker}/status").read_text()
            assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
            assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
            assert re.search(r"^CapEff:\s+000000000000000[04]$", status, re.MULTILINE)
            assert server.client.ask(b"qC") == b"QC1"  # it has imported all that takes
            wait_until(lambda: files_of(server.worker) == needed, "no other open files")
            os.close(write_end)
            write_end = -1
            limits = Path(f"/proc/{server.worker}/limits").read_text()
            assert re.search(rf"^Max address space +{4 << 30} ", limits, re.MULTILINE)
            assert re.search(r"^Max cpu time +unlimited ", limits, re.MULTILINE)
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)


def files_of(pid: int) -> set[str]:
    names = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            names.add(str(link.readlink()).partition(":")[0])
    return names


def test_without_the_sandbox_there_is_one_process(dump: str) -> None:
    with running(dump, "--no-sandbox") as server:
        assert children_of(server.process.pid) == []
        assert server.serves()


def test_version_tells_of_the_sandbox() -> None:
    for option, line in (
        ([], r"sandbox: (seccomp, )?(Landlock \d+, )?limits on memory and files.*"),
        (["--no-sandbox"], "sandbox: none, as told by --no-sandbox"),
    ):
        told = subprocess.run(
            [*SERVER[:3], "--version", *option], capture_output=True, text=True, check=True
        )
        assert re.fullmatch(line, told.stdout.splitlines()[1])


def test_files_by_descriptor_reach_the_worker(dump: str) -> None:
    given = Path(dump).with_name("info")
    given.write_text("SYMBOL(init_uts_ns)=ffffffff81e12345\nOSRELEASE=9.9.9-given\nPAGESIZE=4096\n")
    with given.open("rb") as file:
        options = ("--vmcoreinfo", f"/dev/fd/{file.fileno()}")
        with running(dump, *options, pass_fds=(file.fileno(),)) as server:
            reply = server.client.ask(b"qRcmd," + b"vmcoreinfo".hex().encode())
            assert b"9.9.9-given".hex().encode() in reply


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_standard_streams_that_are_closed_are_no_hindrance(dump: str, closed: str) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *SERVER, "-f", dump, "--once"]
    with started(command) as process:
        assert process.stdout is not None
        client = TcpClient(int(process.stdout.readline().rsplit(" ", 1)[1]))
        assert client.ask(b"m%x,1" % TEXT) == b"%02x" % MACHINE.memory[MACHINE.TEXT_AT]
        client.close()
        process.stdout.read()
        assert process.wait(TIMEOUT) == 0


ASKING = """
import sys
from kdump_gdbserver.cli.arguments import parse_arguments
from kdump_gdbserver.cli.container import Container
from kdump_gdbserver.cli.supervisor import Supervisor
from kdump_gdbserver.cli.worker import connect, give_up
from kdump_gdbserver.ports.symbol_finder import WantedKernel
options = parse_arguments(sys.argv[2:])
def work(front):
    container = Container()
    container.config.from_dict(vars(options))
    connect(container, front)
    give_up(container, options)
    store = container.symbol_store()
    print("kept before:", store.load("some-name"))
    store.save("some-name", b"what was made of it" * 99999)
    store.save("../no-name", b"")
    print("kept:", len(store.load("some-name") or b""))
    found, words = container.download()(WantedKernel(sys.argv[1], 62))
    print("found:", found and len(open(found.path, "rb").read()), words)
    return 0
raise SystemExit(Supervisor(options, work).run())
"""


def asking(tmp_path: Path, url: str, build_id: str = BUILD_ID.hex()) -> dict[str, Any]:
    (tmp_path / "kdump-gdbserver/symbols").mkdir(parents=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "DEBUGINFOD_URLS": url}
    return {"args": [sys.executable, "-c", ASKING, build_id, "-f", "vmcore"], "env": environment}


def test_what_a_worker_cannot_do_is_done_for_it(tmp_path: Path) -> None:
    servers = Servers()
    try:
        url = servers.start(file(VMLINUX))
        given = asking(tmp_path, url)
        told = subprocess.run(**given, capture_output=True, text=True, check=True)
    finally:
        servers.stop()
    assert told.stdout.splitlines() == [
        "kept before: None",
        f"kept: {19 * 99999}",
        f"found: {len(VMLINUX)} from {url} by debuginfod",
    ]
    assert [each.name for each in (tmp_path / "kdump-gdbserver/symbols").iterdir()] == ["some-name"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_download(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C goes on without what was downloaded."""
    servers = Servers()
    try:
        given = asking(tmp_path, servers.start(stalled))
        with subprocess.Popen(
            **given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert "downloading" in process.stderr.readline()
            sent = time.monotonic()
            process.send_signal(number)
            assert process.wait(TIMEOUT) == 0
            assert time.monotonic() - sent < SOON
            assert process.stdout is not None
            said = process.stdout.read()
            assert ("found: None debuginfod was interrupted" in said) == (number == signal.SIGINT)
            assert process.stderr.read() == ""
    finally:
        servers.stop()


# --- the parts


def test_deaths_are_counted_for_a_while() -> None:
    deaths = Deaths(most=3, within=10)
    assert [deaths.another(at) for at in (0, 1, 2)] == [True, True, False]
    deaths = Deaths(most=3, within=10)
    assert all(deaths.another(at) for at in (0, 5, 11, 16, 22))


def test_nothing_that_a_terminal_obeys_gets_through_but_colours() -> None:
    said = "plain\ttext\n\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \u202eabc \xe4\r\n".encode()
    assert printable(said).decode() == (
        "plain\ttext\n\x1b[31mred\x1b[0m \\x1b]0;title\\x07 \\x9b2J \\u202eabc \xe4\\r\n"
    )
    assert printable(b"\xff\xfe\n") == b"\\xff\\xfe\n"


def test_an_outlet_waits_for_its_reader_and_keeps_lines_whole() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as stream, os.fdopen(read_end, "rb", buffering=0) as reader:
        outlet = Outlet(stream)
        line = b"x" * 99 + b"\n"
        for _ in range(2000):
            outlet.write(line)
        assert outlet.full
        assert not outlet.flush()
        outlet.write(b"half a")
        taken = b""
        while outlet.full:
            poll = select.poll()
            outlet.wait_with(poll)
            taken += reader.read(0x10000)
            assert poll.poll(TIMEOUT * 1000)
            outlet.flush()
        outlet.write(b" line\n")
        taken += reader.read(0x10000)
        assert taken == line * 2000 + b"half a line\n"


def test_an_outlet_whose_reader_has_gone_drops_what_comes() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as stream:
        outlet = Outlet(stream)
        outlet.write(b"x" * 9999 + b"\n")
        assert not outlet.full
    Outlet(None).write(b"nowhere\n")
