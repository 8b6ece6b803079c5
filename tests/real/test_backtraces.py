"""Every stack of x86_64 kernels of every age, CPUs' and tasks', frame by frame against drgn's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.support.gdb_session import gdb, serve

SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"
WALK = Path(__file__).parents[1] / "support" / "walk_frames.py"
KERNEL = 1 << 63

# Each task's stack down to user mode: what comes behind is another program's, which drgn
# guesses at. The dead have given up their stack.
_CHAINS = """
import json, sys, drgn
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import idle_task
from drgn.helpers.linux.cpumask import for_each_possible_cpu
program = drgn.Program()
program.set_core_dump(sys.argv[1])
program.load_debug_info([sys.argv[2]])
tasks = [*for_each_task(program), *(idle_task(program, c) for c in for_each_possible_cpu(program))]
found = {}
for task in tasks:
    frames = []
    for frame in [] if task.exit_state else program.stack_trace(task):
        if not frame.is_inline:
            frames.append((frame.name, frame.pc, frame.sp))
        if frame.pc < 1 << 63:
            break
    name = task.comm.string_().decode()
    found[f"{int(task.pid)} {name}"] = frames
json.dump(found, sys.stdout)
"""


@dataclass
class Stacks:
    """By "pid comm": drgn's frames (name, pc, sp), and gdb's with why they end."""

    dump: RealDump
    truth: dict[str, list[tuple[str, int, int]]]
    found: dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=["5.10", "6.1", "6.12", "7"])
def stacks(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stacks:
    """All stacks of a panic, as a user with the script, vmlinux and `-k` sees them."""
    dump = get_dump(request.param, "panic")
    folder = tmp_path_factory.mktemp("stacks")
    sidecar, frames = folder / "tasks.json", folder / "frames.json"
    vmlinux = [f"file {dump.vmlinux}"]
    with serve(dump.dumps["elf"]) as server:
        gdb(server, f"source {SCRIPT}", f"kdump-save-kernel-json {sidecar}", before=vmlinux)
    with (
        pytest.MonkeyPatch.context() as patched,
        serve(dump.dumps["elf"], "-k", str(sidecar)) as server,
    ):
        patched.setenv("KDUMP_FRAMES", str(frames))
        text = gdb(
            server, "info threads", f"source {SCRIPT}", f"source {WALK}", before=vmlinux, ugly=True
        )
    titles = re.findall(
        r'Thread 1\.(\d+) \(pid \d+ LWP (\d+) "\[?(.*?)\]?"\) ', text, flags=re.MULTILINE
    )
    chains = json.loads(frames.read_text())
    assert len(titles) == len(chains)
    command = [sys.executable, "-c", _CHAINS, str(dump.dumps["elf"][0]), str(dump.vmlinux)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Stacks(
        dump,
        json.loads(done.stdout),
        {f"{pid} {name}": chains[number] for number, pid, name in titles},
    )


def of_kernel(frames: list[Any]) -> list[Any]:
    return [(frame[0], frame[1]) for frame in frames if frame[1] >= KERNEL]


def test_every_stack_is_the_one_that_drgn_finds(stacks: Stacks) -> None:
    """Frame by frame, names and addresses; there are as many as there are tasks."""
    living = {key: frames for key, frames in stacks.truth.items() if frames}
    different = {
        key: (of_kernel(frames), stacks.found[key])
        for key, frames in living.items()
        if of_kernel(frames)
        != of_kernel([frame for frame in stacks.found[key]["frames"] if not frame[3]])
    }
    assert different == {}
    dead = {key for key, frames in stacks.truth.items() if not frames}
    assert dead == {
        f"{task['tid']} {task['comm']}"
        for task in stacks.dump.facts["tasks"]
        if task["state"] in ("Z", "X")
    }
    assert stacks.found.keys() == stacks.truth.keys()


def test_every_stack_ends_where_nothing_called_it(stacks: Stacks) -> None:
    """Not in a frame that has no name, and not with "Backtrace stopped"."""
    for key, chain in stacks.found.items():
        dead = not stacks.truth[key]
        assert chain["end"] == ("value is not available" if dead else "outermost"), (key, chain)
        assert all(name for name, *_ in chain["frames"]), (key, chain)
        assert bool(chain["frames"]) is not dead


def test_a_user_programs_frame_has_its_pc_and_its_stack_pointer(stacks: Stacks) -> None:
    """It is the last one, and shown for tasks that were interrupted in user mode."""
    shown = 0
    for key, chain in stacks.found.items():
        for place, (name, pc, sp, _) in enumerate(chain["frames"]):
            if name == "user_mode":
                assert place == len(chain["frames"]) - 1
                assert [pc, sp] == stacks.truth[key][-1][1:3], key
                shown += 1
    assert shown == 1


@pytest.mark.parametrize("release", ["5.10", "6.1", "7"])
def test_the_stack_of_a_cpu_in_user_mode_is_one_frame(release: str) -> None:
    """The program's own, which no symbol file of the kernel has a name for."""
    dump = get_dump(release, "kdump")
    with serve(dump.dumps["elf"]) as server:
        text = gdb(
            server,
            "thread apply all -ascending bt",
            "thread 2",
            "info registers rip rsp cs",
            before=[f"file {dump.vmlinux}"],
            ugly=True,
        )
    second = re.split(r"^Thread \d+ .*$", text, flags=re.MULTILINE)[2]
    shown, *rest = [line for line in second.splitlines() if line]
    assert re.fullmatch(r"#0  0x0000[0-9a-f]{12} in user_mode \(\)", shown), text
    assert rest[:1] == [] or rest[0].startswith("[Switching to thread 2"), text
    pc = shown.split()[1]
    assert re.search(rf"^rip +{int(pc, 16):#x} ", text, re.MULTILINE)
    assert re.search(r"^cs +0x33 ", text, re.MULTILINE)


def test_symbols_may_be_loaded_after_connecting(stacks: Stacks) -> None:
    """By the printed line: the same backtrace, through entry code to its end."""
    dump = stacks.dump
    with serve(dump.dumps["elf"], "-v", str(dump.vmlinux)) as server:
        before = gdb(server, "bt", before=[server.file_command])
        after = gdb(server, server.file_command, "bt", ugly=True)
    shown = re.findall("^#.*$", before, re.MULTILINE)
    assert len(shown) > 5
    assert re.findall("^#.*$", after, re.MULTILINE) == shown
    assert re.findall("^warning: .*", after, re.MULTILINE) in (
        [],
        # The one for any file that a server hands over; there is no other way to give it.
        ['warning: File transfers from remote targets can be slow. Use "set sysroot" to access'
         " files locally instead."],
    )  # fmt: skip


def test_another_kernels_vmlinux_is_warned_about_in_gdb(stacks: Stacks) -> None:
    """And the right one is not; gdb takes the symbols away, which would only mislead."""
    other = get_dump("6.1" if stacks.dump.release.startswith("6.12") else "6.12", "panic")
    with serve(stacks.dump.dumps["elf"]) as server:
        text = gdb(server, "bt", before=[f"file {other.vmlinux}"], ugly=True)
        right = gdb(server, "bt", before=[f"file {stacks.dump.vmlinux}"])
    assert f"Build ID mismatch between current exec-file {other.vmlinux}" in text
    assert "exec-file /kernel-of-the-vmcore" in text
    assert "warning" not in right
