"""Process mode of every architecture but x86_64, in two gdbs, beside what the guest said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest

from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.support.gdb_session import debuggers, frames, gdb, serve

SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"
DUMPS = [
    ("aarch64", "6.1", "panic", "elf"),
    ("aarch64", "6.1", "panic", "kdump-zlib"),
    ("aarch64", "6.1", "kdump", "elf"),
    ("aarch64", "6.12", "panic", "elf"),
    ("aarch64", "6.12", "kdump", "elf"),
    ("aarch64", "6.12-16k", "panic", "elf"),
    ("aarch64", "6.12-16k", "kdump", "elf"),
    ("riscv64", "7", "panic", "elf"),
    ("riscv64", "7", "panic", "kdump-zlib"),
    ("riscv64", "7", "kdump", "elf"),
    ("riscv64", "7", "kdump", "d1-zlib"),
    ("s390x", "6.1", "panic", "elf"),
    ("s390x", "6.1", "panic", "kdump-zlib"),
]
FLOATS = {"aarch64": "p/x $v{}.b.u", "riscv64": "p/x $f{}"}
each_gdb = pytest.mark.parametrize("program", debuggers().values(), ids=debuggers())
each_dump = pytest.mark.parametrize("wanted", DUMPS, ids=" ".join)


def save(dump: RealDump, form: str, program: str, folder: Path, name: str) -> Path:
    """Make a process's sidecar as the readme does, with the gdb command."""
    path, pid = folder / f"{name}.json", dump.facts["programs"][name]["pid"]
    with serve(dump.dumps[form]) as server:
        before = [f"file {dump.vmlinux}", f"source {SCRIPT}"]
        command = f"kdump-save-process-json {path} {pid}"
        text = gdb(server, command, before=before, program=program, ugly=True)
    assert re.search(rf"^process {pid} \({name}\), \d+ thread\(s\) written", text, re.MULTILINE)
    return path


def value(text: str, number: int) -> str:
    match = re.search(rf"^\${number} = (.*)$", text, re.MULTILINE)
    assert match, text
    return match[1]


def as_bytes(dump: RealDump, shown: str) -> str:
    """Return the bytes of a vector, or of a floating-point register, as the guest wrote them."""
    words = [int(word, 16) for word in re.findall(r"0x[0-9a-f]+", shown)]
    if dump.arch == "aarch64":
        return bytes(words).hex()
    return f"{words[-1]:#x}"


@each_dump
@each_gdb
def test_a_process_is_as_the_guest_said(
    wanted: tuple[str, str, str, str], program: str, tmp_path: Path
) -> None:
    arch, release, scenario, form = wanted
    dump = get_dump(release, scenario, arch)
    told = dump.facts["programs"]["threads"]
    sidecar = save(dump, form, program, tmp_path, "threads")
    workers, registers = told["threads"], told["registers"]
    vectors = told.get("vectors") or [f"{number:#x}" for number in told["floats"]]
    if arch not in FLOATS:
        vectors = []  # the gdb script does not save them
    commands = ["info threads", "info proc mappings", "info auxv", "info proc"]
    commands += ["info sharedlibrary", "p $_siginfo", "bt"]
    commands += [f"thread {2 + [w['name'] for w in workers].index('vectors')}"]
    commands += [f"p/x ${name}" for name in registers]
    commands += [FLOATS.get(arch, "").format(number) for number in range(len(vectors))]
    for number in range(len(workers)):
        commands += [f"thread {2 + number}", "p (int)errno", "p *head", "bt"]
    before = [f"file {dump.programs['threads']}", f"set sysroot {dump.sysroot}"]
    with serve(dump.dumps[form], "-j", str(sidecar)) as server:
        text = gdb(server, *commands, before=before, program=program, ugly=True)

    # Each thread, the first one first, and what it was doing.
    pid = told["pid"]
    for tid, name in [(pid, "threads"), *((w["tid"], w["name"]) for w in workers)]:
        assert f'Thread {pid}.{tid} (pid {pid} LWP {tid} "{name}")' in text, text
    assert text.count(f"Thread {pid}.") >= 1 + len(workers)
    stacks = [frames(part) for part in re.split(r"^\[Switching", text, flags=re.MULTILINE)]
    if arch != "riscv64":  # whose libc has unwind tables only of what can be cancelled
        assert stacks[0][-1] == "main", text
    chains = [stack for stack in stacks[2:] if stack]
    for stack in chains:
        assert [n for n in stack if n in ("level3", "level2", "level1", "run")] == [
            "level3", "level2", "level1", "run",
        ], text  # fmt: skip
    assert len(chains) == len(workers)

    # Where files are mapped, and what the kernel handed the program.
    pattern = r"^[ \t]*(0x\w+) +(0x\w+) +0x\w+ +(0x\w+) +(\S{4}) +(.*?)$"
    shown = [
        (int(start, 16), int(end, 16), int(offset, 16), access, path.strip())
        for start, end, offset, access, path in re.findall(pattern, text, re.MULTILINE)
    ]
    expected = [
        (m["start"], m["end"], m["offset"], m["access"], m["path"])
        for m in told["maps"]
        if not m["path"].startswith("[v")
    ]
    assert [each for each in shown if not each[4].startswith("[v")] == expected
    order: Literal["big", "little"] = "big" if arch == "s390x" else "little"
    vector = bytes.fromhex(told["auxv"])
    pairs = [int.from_bytes(vector[at : at + 8], order) for at in range(0, len(vector), 8)]
    known = dict(zip(pairs[::2], pairs[1::2], strict=True))
    auxv = {
        int(number): int(word, 0)
        for number, word in re.findall(r"^(\d+) +\S+ .*? (0x\w+|\d+)(?: \".*\")?$", text, re.M)
    }
    assert {number: auxv[number] for number in known} == known
    assert f"exe = '{told['exe']}'" in text
    assert " ".join(told["cmdline"]) in text
    for library in ("libc.so.6", "ld"):
        assert re.search(rf"^0x\w+ +0x\w+ +Yes \(\*\) +\S+{re.escape(library)}", text, re.M), text
    assert "Unable to read siginfo" in text  # none was about to be delivered

    # Registers, vectors, and what is each thread's own.
    for place, name in enumerate(registers, start=1):
        assert value(text, place) == f"{registers[name]:#x}", name
    for place, vector_bytes in enumerate(vectors, start=1 + len(registers)):
        assert as_bytes(dump, value(text, place)) == vector_bytes, place
    first = 1 + len(registers) + len(vectors)
    for number, worker in enumerate(workers):
        assert value(text, first + 2 * number) == str(worker["errno"])
        assert 'label = "node-100' in value(text, first + 2 * number + 1)
    assert len(registers) >= 5
    assert len(vectors) == (32 if arch in FLOATS else 0)
    assert len(workers) == 5
