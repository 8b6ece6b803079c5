"""The architecture guard: what the inner layers load, and that importing does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.kdumpfile.kdumpfile_support import Machine, write

ROOT = Path(__file__).parents[3]
# What the domain and the ports may not pull in, neither directly nor by another module.
OUTER = (
    "_ctypes", "_socket", "cffi", "ctypes", "dependency_injector", "drgn", "elftools", "gdb",
    "logging.config", "numpy", "socket", "structlog",
    "kdump_gdbserver.adapters", "kdump_gdbserver.cli",
)  # fmt: skip
# The sans-I/O half of the RSP adapter; numpy waits for the first large packet.
PROTOCOL = [
    path
    for pattern in ("*.py", "wire/*.py", "packets/*.py")
    for path in sorted((ROOT / "adapters/rsp_tcp").glob(pattern))
]
# Standard library modules that open or change something by being imported are not checked;
# threads, files and sockets are.
CHECK = """
import importlib, sys, threading
before = threading.active_count()
importlib.import_module(sys.argv[1])
loaded = [name for name in sys.argv[2:] if name in sys.modules]
assert threading.active_count() == before, "a thread was started"
print(" ".join(loaded))
"""


def modules(folder: str) -> list[str]:
    paths = [ROOT / folder] if folder.endswith(".py") else sorted((ROOT / folder).rglob("*.py"))
    return [name_of(path) for path in paths]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("kdump_gdbserver", *parts)).removesuffix(".__init__")


def loaded_by(module: str, forbidden: tuple[str, ...]) -> str:
    """Import a module in a fresh interpreter; return which of `forbidden` that loaded."""
    result = subprocess.run(
        [sys.executable, "-c", CHECK, module, *forbidden],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.strip()


INNER = [*modules("domain"), *modules("ports"), *modules("application")]


def test_the_inner_layers_load_no_input_output() -> None:
    """All at once, which is quick; the module at fault is looked for when that fails."""
    code = "; ".join(f"import {module}" for module in INNER)
    code += "; import sys; print(*[name for name in sys.argv[1:] if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code, *OUTER], capture_output=True, text=True, check=True
    )
    if result.stdout.strip():
        guilty = {module: loaded_by(module, OUTER) for module in INNER}
        pytest.fail(f"{ {module: found for module, found in guilty.items() if found} }")
    assert len(INNER) > 20


def test_the_protocol_loads_no_socket_and_no_log() -> None:
    """Its codec, handlers and connection are values in, values out; I/O is the server's."""
    names = [name_of(path) for path in PROTOCOL]
    assert len(names) > 10
    code = "; ".join(f"import {name}" for name in names)
    forbidden = [name for name in OUTER if name != "kdump_gdbserver.adapters"]
    forbidden += ["kdump_gdbserver.application", "kdump_gdbserver.adapters.kdumpfile"]
    code += "; import sys; print(*[name for name in sys.argv[1:] if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code, *forbidden], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("kdump_gdbserver.domain.symbols.kallsyms", OUTER),
        ("kdump_gdbserver.adapters.rsp_tcp.wire.framing", (*OUTER[:-2], "kdump_gdbserver.domain")),
        (
            "kdump_gdbserver.adapters.rsp_tcp.transport.server",
            ("numpy", "ctypes", "dependency_injector"),
        ),
        ("kdump_gdbserver.cli.arguments", ("numpy", "ctypes", "dependency_injector", "structlog")),
        ("kdump_gdbserver.cli.container", ("drgn", "elftools", "numpy")),
    ],
)
def test_a_module_loads_no_more_than_it_needs(module: str, forbidden: tuple[str, ...]) -> None:
    assert loaded_by(module, forbidden) == ""


# Prints what is loaded at the moment when the server begins to listen.
LISTENING = """
import os, sys
def note(event, arguments):
    if event == "socket.bind":
        print(*sys.modules, flush=True)
        os._exit(0)
sys.addaudithook(note)
from kdump_gdbserver.cli.main import main
main(["-f", *sys.argv[1:], "-p", "0"])
"""
# By what their names begin with: other packages, and what of ours serves clients.
LATER = (
    "ssl", "structlog", "numpy", "drgn", "elftools", "msgspec",
    "kdump_gdbserver.adapters.rsp_tcp.packets", "kdump_gdbserver.adapters.rsp_tcp.wire",
    "kdump_gdbserver.adapters.json_sidecar", "kdump_gdbserver.adapters.host_files",
    "kdump_gdbserver.application.kernel", "kdump_gdbserver.application.process",
    "kdump_gdbserver.application.monitor", "kdump_gdbserver.domain.symbols",
    "kdump_gdbserver.domain.sidecars", "kdump_gdbserver.domain.kernel.tasks",
)  # fmt: skip


@pytest.mark.parametrize("options", [[], ["--no-sandbox"]], ids=["sandbox", "no sandbox"])
def test_what_clients_need_is_not_loaded_before_the_server_listens(
    tmp_path: Path, options: list[str]
) -> None:
    dump = write(tmp_path, Machine().elf())
    result = subprocess.run(
        [sys.executable, "-c", LISTENING, dump, *options],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = result.stdout.split()
    # In the sandbox another process opens the dump.
    assert ("kdump_gdbserver.adapters.kdumpfile.dump" in loaded) == bool(options)
    assert [name for name in loaded if name.startswith(LATER)] == []
    ours = [name for name in loaded if name.startswith("kdump_gdbserver.")]
    assert len(ours) < 125  # measured: 113; each takes half a millisecond


def test_the_guard_would_notice() -> None:
    assert loaded_by("kdump_gdbserver.adapters.rsp_tcp.transport.server", ("socket",)) == "socket"
