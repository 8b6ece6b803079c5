"""The command line: options, printed lines, exit status, one-line errors."""

from __future__ import annotations

import itertools
import json
import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import structlog
from dependency_injector import providers

from kdump_gdbserver.adapters.rsp_tcp.transport import server as server_module
from kdump_gdbserver.adapters.rsp_tcp.transport import unix
from kdump_gdbserver.adapters.rsp_tcp.transport.server import RspServer
from kdump_gdbserver.cli import console
from kdump_gdbserver.cli.arguments import parse_arguments
from kdump_gdbserver.cli.container import Container
from kdump_gdbserver.cli.main import main
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo
from kdump_gdbserver.ports.crash_dump import CrashDump
from tests.support.elf_writer import write_elf
from tests.support.fake_dump import FakeDump, FakeSymbolFile, facts_of
from tests.support.fake_kernel import fake_kernel
from tests.support.tcp import HOST, TIMEOUT, TcpClient, wait_until
from tests.unit.kdumpfile.kdumpfile_support import Machine
from tests.unit.kdumpfile.vmcore_builder import Kdump, flatten, kdump

KERNEL = fake_kernel(possible=3, pids={2: 42}, panic_cpu=2)


class FakeOpener:
    """An opener that gives one dump and remembers what it was asked."""

    def __init__(self, dump: FakeDump) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._dump = dump

    def describe(self) -> str:
        return "libfake 1.0 from nowhere"

    def open(
        self, paths: Any, *, arch: str | None = None, vmcoreinfo: bytes | None = None
    ) -> CrashDump:
        self.asked.append((tuple(paths), arch, vmcoreinfo))
        if paths == ["/no/such"]:
            raise InputError("/no/such: No such file or directory; give the path of a vmcore")
        return self._dump


@pytest.fixture
def opener() -> Iterator[FakeOpener]:
    """The container gives out a fake dump, whatever file is named."""
    fake = FakeOpener(KERNEL.dump())
    with Container.opener.override(providers.Object(fake)):
        yield fake


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """`main` takes over SIGTERM and the log; give them back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
    structlog.reset_defaults()


def served(*options: str, ask: Callable[[TcpClient], None]) -> int:
    """Run `main` with `--once` and one client; return the exit status."""
    ports: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    failures: list[BaseException] = []
    listen = RspServer.listen

    def listen_and_tell(server: RspServer, host: str, port: int) -> int:
        taken = listen(server, host, port)
        ports.put(taken)
        return taken

    def visit() -> None:
        port = ports.get()
        if port is None:
            return
        client = TcpClient(port)
        try:
            ask(client)
        except BaseException as error:
            failures.append(error)
        client.close()

    visitor = threading.Thread(target=visit, daemon=True)
    visitor.start()
    with mock.patch.object(RspServer, "listen", listen_and_tell):
        status = main(["-f", "vmcore", "-a", HOST, "-p", "0", "--once", "--no-sandbox", *options])
    ports.put(None)
    visitor.join(TIMEOUT)
    assert not visitor.is_alive()
    if failures:
        raise failures[0]
    return status


def test_serving_prints_how_to_connect_and_ends_with_status_0(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(client: TcpClient) -> None:
        assert client.ask(b"qC") == b"QC3"
        text = KERNEL.symbols["_text"]
        assert client.ask(b"qOffsets") == b"TextSeg=%x" % text
        assert client.ask(b"m%x,4" % text) == b"90909090"

    assert served(ask=ask) == 0
    out, err = capsys.readouterr()
    assert f"Waiting for incoming connection on {HOST} port " in out
    assert "file <vmlinux> -o 0x1e000000" in out
    assert f"target remote {HOST}:" in out
    assert err == ""
    assert opener.asked == [(("vmcore",), None, None)]


def test_options_reach_the_opener(opener: FakeOpener, tmp_path: Path) -> None:
    note = tmp_path / "vmcoreinfo"
    note.write_bytes(b"OSRELEASE=6.1\n")
    status = served(
        "-f", "part2", "--arch", "x86_64", "--vmcoreinfo", str(note), ask=lambda _: None
    )
    assert status == 0
    assert opener.asked == [(("vmcore", "part2"), "x86_64", b"OSRELEASE=6.1\n")]


def test_a_vmlinux_of_another_kernel_is_warned_of(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    vmlinux = tmp_path / "vmlinux"
    vmlinux.write_bytes(write_elf({"_text": 1}, build_id=b"\x11" * 20))
    kernel = KERNEL.with_vmcoreinfo(lambda text: text + f"BUILD-ID={'22' * 20}\n")
    with Container.opener.override(providers.Object(FakeOpener(kernel.dump()))):
        assert served("-v", str(vmlinux), ask=lambda _: None) == 0
    out, err = capsys.readouterr()
    assert f"file {vmlinux} -o 0x1e000000" in out
    assert err.count("\n") == 1
    for word in ("warning", str(vmlinux), "11" * 20, "22" * 20):
        assert word in err


def test_every_packet_is_logged_as_json_when_asked(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(client: TcpClient) -> None:
        client.ask(b"qC")

    served("-d", "--log-json", ask=ask)
    entries = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    exchanges = [entry for entry in entries if entry["event"] == "rsp"]
    assert [(entry["request"], entry["reply"]) for entry in exchanges] == [("qC", "QC3")]
    assert all(entry["client"].startswith(f"{HOST}:") for entry in entries)


def test_packets_are_logged_for_a_client_that_asks_for_it(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(client: TcpClient) -> None:
        client.ask(b"qC")
        printed = client.ask(b"qRcmd," + b"log on".hex().encode())
        assert bytes.fromhex(printed.decode()).startswith(b"log of this client")
        assert client.ask(b"qAttached") == b"1"

    assert served("--log-json", ask=ask) == 0
    entries = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {"rsp"} == {entry["event"] for entry in entries}
    requests = [entry["request"] for entry in entries]
    assert "qC" not in requests
    assert "qAttached" in requests


def test_a_symbol_file_that_goes_bad_is_told_in_one_line_when_a_client_comes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Bad(FakeSymbolFile):
        def types(self, load_offset: int) -> Any:
            raise InputError("vmlinux: Stale file handle; give the vmlinux again")

    def hang_on(client: TcpClient) -> None:
        client.send(b"qC")
        assert client.hung_up()

    opener = FakeOpener(KERNEL.without("kallsyms_names").dump())
    with (
        Container.opener.override(providers.Object(opener)),
        Container.symbol_file.override(providers.Object(Bad({}))),
    ):
        assert served(ask=hang_on) == 0
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "vmlinux: Stale file handle" in err


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run `main`, which must fail with status 2 and one line; return the line."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kdump-gdbserver: error: ")
    assert err.count("\n") == 1
    return err


def test_a_dump_that_cannot_be_opened(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "/no/such: No such file" in failing(capsys, "-f", "/no/such")


def test_a_vmlinux_that_is_none(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image = tmp_path / "vmlinuz"
    image.write_bytes(b"MZ" + bytes(100))
    assert str(image) in failing(capsys, "-f", "vmcore", "-v", str(image))


def vmcores(folder: Path) -> list[str]:
    """Write a dump in each form that is told by its first bytes."""
    machine = Machine()
    packed = kdump(machine.pages(), 512, Kdump(notes=machine.notes))
    forms = {"elf": machine.elf(), "kdump": packed, "flat": flatten(packed)}
    for name, content in forms.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in forms]


@pytest.mark.parametrize("form", range(3))
def test_a_vmcore_is_no_vmlinux(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, form: int
) -> None:
    path = vmcores(tmp_path)[form]
    error = failing(capsys, "-f", path, "-v", path)
    assert f"{path}: is a vmcore, not a symbol file; give the vmlinux of the dumped" in error


@pytest.mark.parametrize("form", range(3))
def test_swapped_files_are_said_to_be_swapped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, form: int
) -> None:
    path = vmcores(tmp_path)[form]
    vmlinux = tmp_path / "vmlinux"
    vmlinux.write_bytes(write_elf({"_text": 1}))
    error = failing(capsys, "-f", str(vmlinux), "-v", path)
    assert f"-f {vmlinux} is no vmcore and -v {path} is one: they are swapped; give" in error
    assert f"give -f {path} -v {vmlinux}" in error
    assert "they are swapped" not in failing(capsys, "-f", f"{vmlinux}.gone", "-v", path)


def test_a_vmlinux_of_another_architecture(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    vmlinux = tmp_path / "vmlinux"
    vmlinux.write_bytes(write_elf({"_text": 1}, machine=183))
    error = failing(capsys, "-f", "vmcore", "-v", str(vmlinux))
    assert f"{vmlinux}: is for aarch64, not for x86_64; give the vmlinux of the" in error
    vmlinux.write_bytes(write_elf({"_text": 1}, machine=0xFEED))
    assert "is for ELF machine 65261" in failing(capsys, "-f", "vmcore", "-v", str(vmlinux))


def test_an_executable_of_another_architecture(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program, sidecar = tmp_path / "program", tmp_path / "process.json"
    program.write_bytes(write_elf({}, machine=3))
    thread = {"pid": 7, "tid": 7, "comm": "x", "registers": {"rip": 1}}
    sidecar.write_text(json.dumps({"rootpgt": 4096, "loadaddr": 0, "threads": [thread]}))
    error = failing(capsys, "-f", "vmcore", "-j", str(sidecar), "-v", str(program))
    assert f"{program}: is for i386, not for x86_64; with -j, give the process's exec" in error
    core = vmcores(tmp_path)[0]
    error = failing(capsys, "-f", "vmcore", "-j", str(sidecar), "-v", core)
    assert f"{core}: is a vmcore, not a symbol file; with -j, give the process's exec" in error


def test_a_vmlinux_without_symbols_is_warned_of(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It may do: gdb finds a debug file by the build-id."""
    vmlinux = tmp_path / "vmlinux"
    vmlinux.write_bytes(write_elf({}))
    assert served("-v", str(vmlinux), ask=lambda _: None) == 0
    _, err = capsys.readouterr()
    assert err.startswith(f"kdump-gdbserver: warning: {vmlinux} has no symbol table (stripped)")
    assert err.count("\n") == 1


def test_vmcoreinfo_that_is_not_there(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for path in (tmp_path / "gone", tmp_path):
        assert f"{path}: " in failing(capsys, "-f", "vmcore", "--vmcoreinfo", str(path))


@pytest.mark.parametrize("option", ["--vmcoreinfo", "-v"])
@pytest.mark.parametrize("kind", ["fifo", "/dev/zero"])
def test_a_file_without_end_is_not_waited_for(
    opener: FakeOpener,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    option: str,
    kind: str,
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    message = failing(capsys, "-f", "vmcore", option, str(path) if kind == "fifo" else kind)
    assert "is not a regular file; " in message


def test_vmcoreinfo_that_is_too_large(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "info"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "has more than 1024 KiB; " in failing(capsys, "-f", "x", "--vmcoreinfo", str(path))


def test_a_port_in_use(opener: FakeOpener, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = str(other.getsockname()[1])
        message = failing(capsys, "-f", "vmcore", "-a", HOST, "-p", port)
    assert f"port {port}: Address already in use" in message
    assert "--port 0" in message


def test_version_names_the_library(opener: FakeOpener, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("kdump-gdbserver ")
    assert out.endswith("\nlibfake 1.0 from nowhere\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "-f VMCORE"),
        (["-f"], "expected one argument"),
        (["-f", "x", "-p", "http"], "'http' is not a port"),
        (["-f", "x", "-p", "65536"], "'65536' is not a port"),
        (["-f", "x", "-p", "-1"], "'-1' is not a port"),
        (["-f", "x", "--ver"], "unrecognized arguments"),
        (["-f", "x", "y"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_ends_with_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"kdump-gdbserver: error: .*\n", error), error
    assert said in error


def test_defaults() -> None:
    options = parse_arguments(["-f", "a", "-f", "b"])
    assert (options.file, options.address, options.port) == (["a", "b"], "localhost", 1234)
    assert not (options.once or options.debug or options.log_json)
    assert (options.vmlinux, options.arch, options.vmcoreinfo) == (None, None, None)


def test_the_container_wants_only_what_is_asked_of_it() -> None:
    """A library user sets a path and takes the view; no server, no logging."""
    container = Container()
    container.opener.override(providers.Object(FakeOpener(KERNEL.dump())))
    container.config.file.from_value(["vmcore"])
    session = container.target().open_session()
    assert session.inferior.current.extra == "CPU #2 pid 42"
    assert container.target() is container.target()


def test_the_script_is_said_to_be_needed_where_return_addresses_are_signed() -> None:
    place, info = console.tcp_place("localhost", 1), Vmcoreinfo({})
    signed = console.invitation(place, None, info, signed_returns=True).splitlines()
    plain = console.invitation(place, None, info).splitlines()
    (more,) = [line for line in signed if line not in plain]
    assert more == "# (before gdb 14: for any, as return addresses are signed here)"
    assert signed[signed.index(more) + 1].startswith("source ")


def test_nothing_is_read_when_a_container_is_made() -> None:
    fake = FakeOpener(KERNEL.dump())
    container = Container()
    container.opener.override(providers.Object(fake))
    container.config.file.from_value(["vmcore"])
    assert fake.asked == []
    container.dump()
    container.dump()
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("a/vmlinux-6.1", "a/vmlinux-6.1"),
        ("a b", '"a b"'),
        ('a"b', '"a\\"b"'),
        ("it's", '"it\'s"'),
        ("a\\b", '"a\\\\b"'),
    ],
)
def test_a_path_is_one_word_for_gdb(path: str, word: str) -> None:
    """gdb takes words apart as libiberty's buildargv() does."""
    lines = console.invitation(console.tcp_place("localhost", 1), path, Vmcoreinfo({})).splitlines()
    assert lines[2] == f"file {word}"
    assert lines[-1] == f"# kdump-symbol-file {word}"
    process = console.process_invitation(console.tcp_place("localhost", 1), path, 0x1000)
    assert f"\nfile {word} -o 0x1000\n" in process


def test_the_invitation_without_kaslr_has_no_offset() -> None:
    lines = console.invitation(
        console.tcp_place("localhost", 1234), "vmlinux", Vmcoreinfo({})
    ).splitlines()
    assert lines[:4] == [
        "Waiting for incoming connection on localhost port 1234",
        "In gdb execute the following command(s) to connect:",
        "file vmlinux",
        "target remote localhost:1234",
    ]


def test_what_takes_long_is_said_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ""

    def hear() -> str:
        nonlocal said
        said += capsys.readouterr().err
        return said

    for terminal, line in ((False, ""), (True, "kdump-gdbserver: opening vmcore ...\n")):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with console.progress("opening vmcore", after=0):
            time.sleep(0.1)
            wait_until(lambda line=line: hear() == line, "the line")  # type: ignore[misc]
        with console.progress("nothing slow", after=TIMEOUT):
            pass
        assert hear() == line


def test_warnings() -> None:
    import dataclasses

    sound = KERNEL.dump()
    assert console.warnings_about(sound, None, None) == []
    assert console.warnings_about(sound, FakeSymbolFile({}, build_id="11"), "v") == []
    broken = FakeDump(facts=dataclasses.replace(facts_of(), truncated=True))
    truncated, unregistered, bare = console.warnings_about(broken, None, None)
    assert "/nowhere/vmcore is truncated" in truncated
    assert "no CPU registers" in unregistered
    assert "--vmcoreinfo" in bare


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kdump_gdbserver.cli.main", *arguments],
        capture_output=True, text=True, timeout=60, check=False, **options,
    )  # fmt: skip


def test_the_program_itself_has_help_and_no_traceback(tmp_path: Path) -> None:
    helped = run("--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--file" in helped.stdout
    failed = run("-f", str(tmp_path / "no such dump"))
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "kdump-gdbserver: error: " in failed.stderr


class SignalAtStep:
    """Sends this process a signal at one step from where it begins to listen.

    A step is a call or a return in the server's or the program's code, seen by sys.setprofile;
    the last one is when it begins to wait for clients.
    """

    def __init__(self, number: signal.Signals, step: int) -> None:
        self.waited = False
        self._number, self._left, self._serving, self._sent = number, step, False, False

    def __call__(self, frame: types.FrameType, event: str, what: Any) -> None:
        code = frame.f_code
        self._serving |= code is RspServer.listen_unix.__code__
        if not self._serving or self._sent or code.co_filename not in OURS:
            return
        self._left -= 1
        self.waited = event == "c_call" and what.__name__ == "poll" and what.__self__ is not select
        if self.waited or self._left <= 0:
            self._sent = True
            signal.raise_signal(self._number)


OURS = {server_module.__file__, unix.__file__, main.__code__.co_filename}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_at_any_step_of_serving_ends_it_with_status_0_and_no_word(
    opener: FakeOpener, capsys: pytest.CaptureFixture[str], tmp_path: Path, number: signal.Signals
) -> None:
    path, before = tmp_path / "s", signal.getsignal(number)
    for step in itertools.count(1):
        sender = SignalAtStep(number, step)
        sys.setprofile(sender)
        try:
            status = main(["-f", "vmcore", "--unix", str(path), "--no-sandbox"])
        finally:
            sys.setprofile(None)
            after = signal.signal(number, before)
        assert (status, capsys.readouterr().err, path.exists()) == (0, "", False), step
        assert number != signal.SIGINT or after == before
        if sender.waited:
            break
    assert step > 10


def test_sigterm_and_sigint_end_a_serving_program_with_status_0(tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text(
        "from dependency_injector import providers\n"
        "from kdump_gdbserver.cli.container import Container\n"
        "from kdump_gdbserver.cli.main import main\n"
        "from tests.support.fake_kernel import fake_kernel\n"
        "Container.dump.override(providers.Object(fake_kernel().dump()))\n"
        f"raise SystemExit(main(['-f', 'x', '-a', '{HOST}', '-p', '0']))\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                assert "Waiting" in process.stdout.readline()
                process.send_signal(number)
                assert process.wait(TIMEOUT) == 0
                assert process.stderr.read() == ""
            finally:
                process.kill()
