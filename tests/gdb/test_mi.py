"""gdb's machine interface, as VS Code's C/C++ extension and other front ends use it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.gdb_session import SECONDS, find_program, serve

pytestmark = pytest.mark.usefixtures("each_debugger")

ROOT = Path(__file__).parent.parent.parent
SAMPLE = ROOT / "tests" / "sample"
VMLINUX = SAMPLE / "toy-vmlinux"
FACTS = json.loads((SAMPLE / "facts.json").read_text())
BANNER = FACTS["symbols"]["linux_banner"]


PATIENT = ("-iex", f"set remotetimeout {SECONDS}")


def converse(interpreter: str, commands: str) -> str:
    """Give gdb commands on its standard input and return all it printed."""
    done = subprocess.run(
        [find_program("gdb"), "-nx", "-q", f"--interpreter={interpreter}", *PATIENT],
        input=commands,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    return done.stdout


def results(output: str) -> dict[int, str]:
    """Return the result record of each numbered command."""
    return {
        int(number): record for number, record in re.findall(r"^(\d+)(\^.*)$", output, re.MULTILINE)
    }


@pytest.mark.parametrize("interpreter", ["mi3", "mi2"])
def test_a_front_ends_session(interpreter: str) -> None:
    with serve(SAMPLE / "toy-vmcore") as server:
        output = converse(
            interpreter,
            f"1-file-exec-and-symbols {VMLINUX}\n"
            f"2-target-select remote localhost:{server.port}\n"
            "3-thread-info\n"
            "4-stack-list-frames\n"
            "5-stack-list-frames --thread 2\n"
            f"6-data-read-memory-bytes {BANNER} 16\n"
            "7-stack-list-arguments --simple-values 0 2\n"
            "8-data-list-register-values x 16\n"
            "9-var-create banner * linux_banner\n"
            "10-data-evaluate-expression sizeof(int)\n"
            f"11-data-read-memory-bytes {FACTS['unmapped'][0]['virtual']} 8\n"
            '12-interpreter-exec console "monitor info"\n'
            "13-exec-continue\n"
            "14-target-detach\n"
            "15-gdb-exit\n",
        )
    found = results(output)
    errors = [number for number, record in found.items() if record.startswith("^error")]
    assert errors == [11]
    assert "a crash dump cannot run" in output
    assert found[2].startswith("^connected")
    assert 'target-id="Thread 1.1"' in found[3]
    assert 'details="CPU #0 pid 386"' in found[3]
    assert 'current-thread-id="1"' in found[3]
    functions = re.findall(r'func="(\w+)"', found[4])
    assert (functions[0], functions[-1]) == ("crash_setup_regs", "entry_SYSCALL_64")
    assert re.findall(r'func="(\w+)"', found[5])[-1] == "secondary_startup_64_no_verify"
    assert f'contents="{FACTS["linux_banner"].encode()[:16].hex()}"' in found[6]
    assert f'number="16",value="{FACTS["threads"][0]["registers"]["rip"]}"' in found[8]
    assert "release       6.1.0-toy" in output


def test_the_documented_launch_configurations_are_valid() -> None:
    """docs/editors.md: each is JSON, and says what this server needs."""
    text = (ROOT / "docs" / "editors.md").read_text()
    launches = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    configurations = [entry for launch in launches for entry in launch["configurations"]]
    by_type = {entry["type"]: entry for entry in configurations}
    assert by_type["cppdbg"]["miDebuggerServerAddress"] == "localhost:1234"
    assert by_type["cppdbg"]["MIMode"] == "gdb"
    assert by_type["cppdbg"]["request"] == "launch"
    assert by_type["gdb"]["target"] == "localhost:1234"
    assert by_type["gdb"]["request"] == "attach"


def test_gdbs_own_adapter_attaches() -> None:
    """gdb's DAP interpreter (gdb 14 and later) with the attach request of docs/editors.md."""
    version = subprocess.run(
        [find_program("gdb"), "--version"], stdout=subprocess.PIPE, text=True, check=True
    )
    major = re.search(r" (\d+)\.", version.stdout)
    assert major
    if int(major[1]) < 14:
        pytest.skip(f"gdb {major[1]} has no DAP interpreter; it came with gdb 14")
    with serve(SAMPLE / "toy-vmcore") as server:
        requests = [
            ("initialize", {"adapterID": "gdb"}),
            ("attach", {"program": str(VMLINUX), "target": f"localhost:{server.port}"}),
            ("configurationDone", {}),
            ("threads", {}),
            ("stackTrace", {"threadId": 1}),
            ("disconnect", {}),
        ]
        stream = ""
        for number, (command, arguments) in enumerate(requests, start=1):
            body = json.dumps(
                {"seq": number, "type": "request", "command": command, "arguments": arguments}
            )
            stream += f"Content-Length: {len(body)}\r\n\r\n{body}"
        output = converse("dap", stream)
    assert "CPU #0 pid 386" in output or "Thread 1.1" in output
    assert "crash_setup_regs" in output
