"""debuginfod: what a server sends is proved, kept in the client's own cache, and bounded."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.debuginfod import Debuginfod
from kdump_gdbserver.adapters.host_files import HostDirectory
from kdump_gdbserver.ports.symbol_finder import FoundVmlinux, WantedKernel
from tests.unit.symbols.test_section_stub import BUILD_ID, VMLINUX

KERNEL = WantedKernel(BUILD_ID.hex(), 62)
PATH = f"/buildid/{BUILD_ID.hex()}/debuginfo"
Answer = Callable[[BaseHTTPRequestHandler], None]


def file(content: bytes, told: int | None = -1) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        length = len(content) if told == -1 else told
        if length is not None:
            request.send_header("Content-Length", str(length))
        request.end_headers()
        request.wfile.write(content)

    return answer


def not_found(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def stalled(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(VMLINUX[:10])
    request.wfile.flush()
    request.server.leave.wait(30)  # type: ignore[attr-defined]


class Servers:
    """Servers on this machine; `asked` are the paths they were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._running: list[ThreadingHTTPServer] = []

    def start(self, answer: Answer) -> str:
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.leave = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self._running.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def stop(self) -> None:
        for server in self._running:
            server.leave.set()  # type: ignore[attr-defined]
            server.shutdown()
            server.server_close()


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.stop()


class Client:
    """A client whose cache is in a directory, and what it told of its progress."""

    def __init__(self, cache: Path, urls: str, **environment: str) -> None:
        self.told: list[tuple[str, int, int | None]] = []
        self.cache = cache
        names = {"DEBUGINFOD_URLS": urls, "DEBUGINFOD_CACHE_PATH": str(cache)} | environment
        self.client = Debuginfod(HostDirectory("/"), names, self._tell)

    def _tell(self, url: str, size: int, total: int | None) -> None:
        self.told.append((url, size, total))

    def find(self) -> FoundVmlinux | None:
        return self.client.find(KERNEL)

    @property
    def kept(self) -> list[str]:
        return sorted(str(p.relative_to(self.cache)) for p in self.cache.rglob("*") if p.is_file())


def test_a_vmlinux_is_got_once_and_kept_where_other_clients_look(
    servers: Servers, tmp_path: Path
) -> None:
    url = servers.start(file(VMLINUX))
    client = Client(tmp_path, url + "/")
    path = tmp_path / BUILD_ID.hex() / "debuginfo"
    assert client.find() == FoundVmlinux(str(path), f"from {url} by debuginfod")
    assert path.read_bytes() == VMLINUX
    assert client.kept == [f"{BUILD_ID.hex()}/debuginfo"]
    assert client.told[0] == (url + PATH, 0, len(VMLINUX))
    assert client.told[-1] == (url + PATH, len(VMLINUX), len(VMLINUX))
    assert client.find() == FoundVmlinux(str(path), "kept from debuginfod")
    assert servers.asked == [PATH]


def test_servers_are_asked_in_order_until_one_has_it(servers: Servers, tmp_path: Path) -> None:
    missing, having, never = (servers.start(each) for each in (not_found, file(VMLINUX), not_found))
    found = Client(tmp_path, f"{missing} file:///etc {having} {never}").find()
    assert found is not None
    assert found.how == f"from {having} by debuginfod"
    assert servers.asked == [PATH, PATH]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (not_found, "Not Found"),
        (file(VMLINUX.replace(BUILD_ID, b"\x22" * 20)), "is not the vmlinux"),
        (file(VMLINUX[:-8]), "is not the vmlinux"),
        (file(b""), "is not the vmlinux"),
        (file(VMLINUX, told=len(VMLINUX) + 5), "IncompleteRead|sent .* of .* bytes"),
        (file(VMLINUX, told=1 << 50), "is longer than"),
    ],
)  # fmt: skip
def test_what_is_not_proved_is_not_kept(
    servers: Servers, tmp_path: Path, answer: Answer, problem: str
) -> None:
    client = Client(tmp_path, servers.start(answer))
    assert client.find() is None
    assert client.kept == []
    assert client.client.problem is not None

    assert re.search(problem, client.client.problem)


def test_more_bytes_than_are_allowed_are_not_read(servers: Servers, tmp_path: Path) -> None:
    client = Client(tmp_path, servers.start(file(VMLINUX, told=None)), DEBUGINFOD_MAXSIZE="100")
    assert client.find() is None
    assert client.client.problem is not None
    assert "is longer than 100 bytes" in client.client.problem
    assert client.kept == []


def test_a_server_that_stalls_is_given_up(servers: Servers, tmp_path: Path) -> None:
    client = Client(tmp_path, servers.start(stalled), DEBUGINFOD_TIMEOUT="0.2")
    assert client.find() is None
    assert client.client.problem is not None
    assert "timed out" in client.client.problem
    assert client.kept == []


def test_nobody_listening_is_no_more_than_a_problem(tmp_path: Path) -> None:
    client = Client(tmp_path, "http://127.0.0.1:1")
    assert client.find() is None
    assert client.client.problem is not None
    assert client.client.problem.startswith("http://127.0.0.1:1: ")


def test_an_interrupt_leaves_nothing_behind(servers: Servers, tmp_path: Path) -> None:
    client = Client(tmp_path, servers.start(file(VMLINUX)))

    def interrupt(url: str, size: int, total: int | None) -> None:
        if size:
            raise KeyboardInterrupt

    client.client._progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.find()
    assert client.kept == []


def test_without_urls_no_cache_is_looked_at(servers: Servers, tmp_path: Path) -> None:
    url = servers.start(file(VMLINUX))
    assert Client(tmp_path, url).find() is not None
    assert Client(tmp_path, "").find() is None


@pytest.mark.parametrize(
    ("environment", "cache"),
    [
        ({"XDG_CACHE_HOME": "{}/x"}, "x/debuginfod_client"),
        ({"HOME": "{}/h"}, "h/.cache/debuginfod_client"),
        ({"HOME": "{}/h", "DEBUGINFOD_CACHE_PATH": "{}/p"}, "p"),
    ],
)
def test_the_cache_is_debuginfods_own(
    servers: Servers, tmp_path: Path, environment: dict[str, str], cache: str
) -> None:
    names = {name: value.format(tmp_path) for name, value in environment.items()}
    names["DEBUGINFOD_URLS"] = servers.start(file(VMLINUX))
    found = Debuginfod(HostDirectory("/"), names, lambda *_: None).find(KERNEL)
    assert found is not None
    assert found.path == str(tmp_path / cache / BUILD_ID.hex() / "debuginfo")


def test_a_damaged_file_in_the_cache_is_got_anew(servers: Servers, tmp_path: Path) -> None:
    path = tmp_path / BUILD_ID.hex() / "debuginfo"
    path.parent.mkdir()
    path.write_bytes(VMLINUX[:100])
    assert Client(tmp_path, servers.start(file(VMLINUX))).find() is not None
    assert path.read_bytes() == VMLINUX
