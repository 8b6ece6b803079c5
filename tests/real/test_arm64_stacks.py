"""arm64 dumps: each CPU's and each task's stack as drgn has it, and QEMU's registers, counted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.support.gdb_session import SECONDS, Server, debuggers, find_program, serve

SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"
DUMPS = [
    (release, scenario)
    for release in ("6.1", "6.12", "6.12-16k")
    for scenario in ("panic", "nopac")  # with pointer authentication, and without
]
# Each gdb, and each form; what a debugger shows does not hang on the form.
NAMED = [("elf", "gdb-multiarch"), ("elf", "newest gdb"), ("kdump-zlib", "gdb-multiarch")]
RUNS = [(form, debuggers()[name]) for form, name in NAMED]
GENERAL = [f"x{number}" for number in range(31)] + ["sp", "pc", "cpsr"]

# What was inlined is no frame of the stack; nor is what a debugger puts between two of them.
_TRUTH = """
import json, sys, drgn
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import cpu_curr, idle_task
program = drgn.Program()
program.set_core_dump(sys.argv[1])
program.load_debug_info([sys.argv[2]])
cpus = json.load(sys.stdin)

def names(what):
    return [frame.name for frame in program.stack_trace(what) if not frame.is_inline]

out = {"cpus": [], "tasks": {}, "dead": []}
running = set()
for number, cpu in enumerate(cpus):
    regs = [cpu[f"x{n}"] for n in range(31)]
    value = {"regs": regs, "sp": cpu["sp"], "pc": cpu["pc"], "pstate": cpu["cpsr"]}
    out["cpus"].append(names(drgn.Object(program, "struct pt_regs", value)))
    running.add(int(cpu_curr(program, number)))
every = {int(task): task for task in for_each_task(program)}
for number in range(len(cpus)):
    idle = idle_task(program, number)
    every[int(idle)] = idle
for address, task in every.items():
    if address not in running:
        if task.exit_state:
            out["dead"].append(address)
        else:
            out["tasks"][address] = names(task)
json.dump(out, sys.stdout)
"""

_CHAINS = """
import gdb, json, sys
def chain():
    names, frame = [], gdb.newest_frame()
    while frame is not None:
        is_code = frame.pc() >> 63 or frame.level() == 0
        if frame.type() not in (gdb.INLINE_FRAME, gdb.SIGTRAMP_FRAME) and is_code:
            names.append(frame.name())
        last, frame = frame, frame.older()
    reason = last.unwind_stop_reason() if last.pc() else gdb.FRAME_UNWIND_OUTERMOST
    return [names, gdb.frame_stop_reason_string(reason)]
out = []
for thread in sorted(gdb.selected_inferior().threads(), key=lambda each: each.num):
    thread.switch()
    try:
        out.append(chain())
    except gdb.error as error:
        out.append([[], str(error)])
    regs = {}
    for name in NAMES:
        try:
            regs[name] = int(gdb.selected_frame().read_register(name)) % 2**64
        except (gdb.error, ValueError):
            pass
    out[-1].append(regs)
open(OUT, "w").write(json.dumps(out))
"""


def run(program: str, server: Server, before: str, *commands: str) -> str:
    arguments = [find_program(program), "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off"]
    arguments += ["-iex", f"set remotetimeout {SECONDS}", "-iex", "set width 0"]
    connect = f"target remote localhost:{server.port}"
    for command in (before, f"source {SCRIPT}", connect, *commands):
        arguments += ["-ex", command]
    done = subprocess.run(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=900,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    return done.stdout


def qemu_registers(dump: RealDump) -> list[dict[str, int]]:
    cpus = []
    for text in dump.facts["qemu_registers"]:
        for part in re.split(r"CPU#\d+", text)[1:] or [text]:
            found = re.findall(r"\b(PC|SP|X\d\d|PSTATE)=([0-9a-f]+)", part)
            names = {"PC": "pc", "SP": "sp", "PSTATE": "cpsr"}
            cpus.append(
                {names.get(name, f"x{name[1:].lstrip('0') or 0}"): int(v, 16) for name, v in found}
            )
    return cpus


def truth_of(dump: RealDump) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _TRUTH, str(dump.dumps["elf"][0]), str(dump.vmlinux)],
        input=json.dumps(qemu_registers(dump)),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def same_but_for_the_vector(ours: Sequence[str], truth: Sequence[str]) -> bool:
    """Whether chains are equal.

    Of a CPU at an exception's vector drgn leaves out the function that was interrupted: it
    follows x29 alone.
    """
    if ours and truth and ours[0] == truth[0] == "vectors":
        return list(ours) == list(truth) or [ours[0], *ours[2:]] == list(truth)
    return list(ours) == list(truth)


@pytest.mark.parametrize(("release", "scenario"), DUMPS)
@pytest.mark.parametrize(("form", "program"), RUNS, ids=[f"{form} {gdb}" for form, gdb in NAMED])
def test_every_stack_is_drgns_and_ends(
    release: str, scenario: str, form: str, program: str, tmp_path: Path
) -> None:
    dump = get_dump(release, scenario, "aarch64")
    truth, cpus = truth_of(dump), qemu_registers(dump)
    sidecar, out = tmp_path / "tasks.json", tmp_path / "chains.json"
    (tmp_path / "chains.py").write_text(f"OUT, NAMES = {str(out)!r}, {GENERAL!r}\n{_CHAINS}")
    vmlinux = ("-v", str(dump.vmlinux))
    with serve(dump.dumps[form], *vmlinux) as server:
        run(program, server, server.file_command, f"kdump-save-kernel-json {sidecar}")
    tasks = json.loads(sidecar.read_text())["threads"]
    with serve(dump.dumps[form], *vmlinux, "-k", str(sidecar)) as server:
        text = run(
            program,
            server,
            server.file_command,
            f"source {tmp_path / 'chains.py'}",
            "thread apply all -ascending bt",
        )
    # A dead task has no registers, and gdb no name for its only frame.
    for mark in (r"^#\d+ +0x\w+ (\[PAC\] )?in (\?\?)? ", "corrupt stack", "Python Exception"):
        assert re.search(mark, text, re.MULTILINE) is None, text
    found = json.loads(out.read_text())
    wrong, compared = [], 0
    for number, cpu in enumerate(cpus):
        names, reason, registers = found[number]
        compared += 1
        if registers != {name: cpu[name] for name in GENERAL}:
            wrong.append((number, registers))
        if not same_but_for_the_vector(names, truth["cpus"][number]) or reason != "outermost":
            wrong.append((number, names, reason, truth["cpus"][number]))
    addresses = [task["address"] for task in tasks]
    order = [int(address, 0) if isinstance(address, str) else address for address in addresses]
    asleep = [
        address for address in order if str(address) in truth["tasks"] or address in truth["dead"]
    ]
    assert len(found) == len(cpus) + len(asleep)
    for address, (names, reason, _) in zip(asleep, found[len(cpus) :], strict=True):
        compared += 1
        if address in truth["dead"]:
            if names:
                wrong.append((hex(address), names))
        elif names != truth["tasks"][str(address)] or reason != "outermost":
            wrong.append((hex(address), names, reason, truth["tasks"][str(address)]))
    assert wrong == []
    assert compared == len(found)
    assert compared > 70
