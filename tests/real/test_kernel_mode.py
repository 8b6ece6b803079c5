"""Kernel mode on real dumps of real kernels, through a real gdb."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.conftest import get_dump
from tests.real.harness import RealDump
from tests.support.gdb_session import frames, gdb, serve

PANIC_PATH = [
    "panic",
    "sysrq_handle_crash",
    "__handle_sysrq",
    "write_sysrq_trigger",
    "proc_reg_write",
    "vfs_write",
    "ksys_write",
    "do_syscall_64",
]
ENTRY = {"entry_SYSCALL_64", "entry_SYSCALL_64_after_hwframe"}


def in_order(wanted: list[str], names: list[str]) -> bool:
    rest = iter(names)
    return all(any(name == w for name in rest) for w in wanted)


def assert_panic_backtrace(text: str) -> None:
    names = frames(text)
    assert in_order(PANIC_PATH, names), text
    assert names[-1] in ENTRY, text


@pytest.mark.parametrize("form", ["elf", "elf-paging", "kdump-zlib"])
def test_panicking_cpu_is_shown_whole(panicked: RealDump, form: str) -> None:
    """With no `-o` at all, KASLR on: the panic's backtrace down to the syscall entry."""
    if form not in panicked.dumps:
        pytest.fail(f"harness made no {form} dump; it has {sorted(panicked.dumps)}")
    with serve(panicked.dumps[form]) as server:
        text = gdb(server, "bt", before=[f"file {panicked.vmlinux}"])
    assert_panic_backtrace(text)


def test_printed_commands_work_as_printed(panicked: RealDump) -> None:
    """The server's own lines, typed in order, give the same backtrace."""
    with serve(panicked.dumps["elf"], "-v", str(panicked.vmlinux)) as server:
        assert server.printed[1] == "In gdb execute the following command(s) to connect:"
        assert re.fullmatch(r"file \S+ -o 0x[0-9a-f]+", server.file_command)
        assert server.printed[3] == f"target remote localhost:{server.port}"
        text = gdb(server, "bt", before=[server.file_command])
    assert_panic_backtrace(text)


_CURRENT_PIDS = """
import sys, drgn
from drgn.helpers.linux.sched import cpu_curr
program = drgn.Program()
program.set_core_dump(sys.argv[1])
program.load_debug_info([sys.argv[2]])
for cpu in range(int(sys.argv[3])):
    print(int(cpu_curr(program, cpu).pid))
"""


def current_pids(dump: RealDump, cpus: int) -> list[int]:
    """Return what each CPU was running, as drgn sees it through debuginfo."""
    done = subprocess.run(
        [sys.executable, "-c", _CURRENT_PIDS, str(dump.dumps["elf"][0]), str(dump.vmlinux)]
        + [str(cpus)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(line) for line in done.stdout.split()]


def test_only_a_wrong_vmlinux_is_warned_about(panicked: RealDump) -> None:
    """Its build-id is compared with the dump's."""
    other = get_dump("6.12" if panicked.release.startswith("6.1.") else "6.1", "panic")
    for vmlinux, warned in ((panicked.vmlinux, False), (other.vmlinux, True)):
        with serve(panicked.dumps["elf"], "-v", str(vmlinux)) as server:
            server.process.terminate()
            assert server.process.stderr is not None
            assert ("is not the dumped kernel" in server.process.stderr.read()) == warned


def test_files_in_the_wrong_place_are_said_to_be(panicked: RealDump) -> None:
    elf, packed = (str(panicked.dumps[form][0]) for form in ("elf", "kdump-zlib"))
    vmlinux = str(panicked.vmlinux)
    for dump, given, said in (
        (elf, elf, f"{elf}: is a vmcore, not a symbol file; give the vmlinux"),
        (elf, packed, f"{packed}: is a vmcore, not a symbol file; give the vmlinux"),
        (vmlinux, elf, f"they are swapped; give -f {elf} -v {vmlinux}"),
        (vmlinux, packed, f"they are swapped; give -f {packed} -v {vmlinux}"),
    ):
        command = [sys.executable, "-m", "kdump_gdbserver.cli.main", "-f", dump, "-v", given]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert said in done.stderr


def test_threads_are_the_cpus_with_their_true_pids(panicked: RealDump) -> None:
    with serve(panicked.dumps["elf"]) as server:
        text = gdb(server, "info threads", before=[f"file {panicked.vmlinux}"])
    pids = current_pids(panicked, 3)
    assert pids[0] == panicked.facts["crash_pid"]
    for cpu, pid in enumerate(pids):
        doing = f"pid {pid}" if pid else "idle"
        mark = "*" if cpu == 0 else " "
        line = rf"^{re.escape(mark)} {cpu + 1} +Thread 1\.{cpu + 1} \(CPU #{cpu} {doing}\) "
        assert re.search(line, text, re.MULTILINE), text


SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"

OUTERMOST = (*ENTRY, "secondary_startup_64", "secondary_startup_64_no_verify", "ret_from_fork",
             "ret_from_fork_asm", "user_mode")  # fmt: skip


def backtraces(dump: RealDump, *commands: str) -> list[str]:
    """Return each CPU's backtrace, after the commands."""
    with serve(dump.dumps["elf"]) as server:
        text = gdb(
            server,
            *commands,
            "thread apply all -ascending bt",
            before=[f"file {dump.vmlinux}"],
        )
    parts = re.split(r"^Thread \d+ .*$", text, flags=re.MULTILINE)[1:]
    assert len(parts) == 3, text
    return parts


def test_every_cpu_unwinds_to_its_end(panicked: RealDump) -> None:
    """Through the stop interrupt into what it interrupted; no junk frame, no message."""
    panicking, *others = backtraces(panicked, f"source {SCRIPT}")
    assert_panic_backtrace(panicking)
    _, *pids = current_pids(panicked, 3)
    for part, pid in zip(others, pids, strict=True):
        names = frames(part)
        assert in_order(["stop_this_cpu", "sysvec_reboot", "asm_sysvec_reboot"], names), part
        assert names[-1] in OUTERMOST, part
        assert "Backtrace stopped" not in part
        if pid == 0:
            idle = ["default_idle_call", "do_idle", "cpu_startup_entry", "start_secondary"]
            assert in_order(["asm_sysvec_reboot", *idle], names), part
            assert names[-1].startswith("secondary_startup_64"), part


def test_without_the_script_no_cpu_shows_a_junk_frame(panicked: RealDump) -> None:
    """`?? ()` would fail the session; gdb alone ends where the interrupt stack does."""
    panicking, *others = backtraces(panicked)
    assert_panic_backtrace(panicking)
    for part in others:
        assert "?? ()" not in part
        assert "sysvec_reboot" in frames(part), part
        assert frames(part)[-1] in (*OUTERMOST, "sysvec_reboot"), part


def test_symbols_loaded_by_the_script_unwind_no_worse(panicked: RealDump) -> None:
    """kdump-symbol-file makes gdb forget all symbols, the server's unwind data among them."""
    before = backtraces(panicked, f"source {SCRIPT}")
    after = backtraces(panicked, f"source {SCRIPT}", f"kdump-symbol-file {panicked.vmlinux}")
    assert [frames(part) for part in after] == [frames(part) for part in before]


def test_memory_of_every_kind_reads_right(panicked: RealDump) -> None:
    """.rodata, .data, text, vmalloc and module memory; and what is not mapped is an error."""
    facts = panicked.facts
    module = next(iter(facts["modules"].values()))["address"]
    with serve(panicked.dumps["elf"]) as server:
        text = gdb(
            server,
            "p linux_banner",
            "p init_task.comm",
            "x/8i do_syscall_64",
            "x/2gx init_task.stack",
            "x/2gx $sp",
            f"x/2gx {module:#x}",
            "x/2gx 0x1000",
            "x/2gx 0xffff000000000000",
            "p init_uts_ns.name.release",
            before=[f"file {panicked.vmlinux}"],
        )
    assert facts["version"][:60] in text
    assert '"swapper/0"' in text or '"swapper' in text
    assert len(re.findall(r"<do_syscall_64\+?\d*>:\t\w", text)) == 8, text
    assert f'"{panicked.release}"' in text
    assert "Cannot access memory at address 0x1000" in text
    assert "Cannot access memory at address 0xffff000000000000" in text
    assert text.count("Cannot access memory") == 2, text


def test_a_dump_cannot_be_changed_or_run(panicked: RealDump) -> None:
    """One clear line for each attempt, and the session goes on."""
    with serve(panicked.dumps["elf"]) as server:
        text = gdb(
            server,
            "p $rax = 1",
            "set var panic_cpu.counter = 5",
            "stepi",
            "continue",
            "p panic_cpu.counter",
            before=[f"file {panicked.vmlinux}"],
            ugly=True,
        )
    assert text.count("crash dump is read-only: registers cannot be written") == 1, text
    assert text.count("crash dump cannot run") == 2, text
    assert "Cannot access memory at address" in text
    assert text.rstrip().splitlines()[-2].endswith("= 0"), text
    assert "Traceback" not in text


def test_true_kdump_in_every_form(kdumped: RealDump) -> None:
    """What makedumpfile wrote, in every form; CPU 1 was offline, so note 1 is CPU 2."""
    wanted = {"elf", "flattened", "split"}
    assert wanted <= set(kdumped.dumps), sorted(kdumped.dumps)
    compressed = {name.split("-")[1] for name in kdumped.dumps if re.match(r"d\d+-", name)}
    assert {"zlib", "lzo", "zstd", "snappy"} <= compressed
    for form, files in kdumped.dumps.items():
        if form == "damaged":
            continue
        with serve(files) as server:
            text = gdb(server, "info threads", "bt", before=[f"file {kdumped.vmlinux}"], ugly=True)
        # The CPU that was in user mode is said to be; all else has a name of its own.
        assert ("?? ()" in text, text.count("in user_mode ()")) == (False, 1), text
        assert "warning" not in text
        assert "Traceback" not in text
        cpus = re.findall(r"Thread 1\.\d \(CPU #(\d+) ", text)
        assert cpus == ["0", "2", "3"], f"{form}: {text}"
        names = frames(text)
        assert in_order(PANIC_PATH, names), f"{form}: {text}"
        assert names[-1] in ENTRY, f"{form}: {text}"
        assert f"* 1    Thread 1.1 (CPU #0 pid {kdumped.facts['crash_pid']})" in text


def test_a_live_dump_has_no_panicking_cpu(live: RealDump) -> None:
    """No panic: the first thread is current, and every CPU has registers."""
    with serve(live.dumps["elf"]) as server:
        text = gdb(server, "info threads", before=[f"file {live.vmlinux}"], ugly=True)
    assert len(re.findall(r"Thread 1\.\d \(CPU #\d", text)) == 3, text


_READ_WITH_DRGN = """
import sys, drgn
program = drgn.Program()
program.set_core_dump(sys.argv[1])
for line in sys.stdin:
    address, length = (int(word, 0) for word in line.split())
    try:
        print(program.read(address, length, True).hex())
    except drgn.FaultError:
        print("fault")
"""


def test_bytes_equal_those_of_the_dump(tmp_path: Path) -> None:
    """Random physical ranges, across pages: ours through the server equal drgn's of the ELF."""
    dump = get_dump("6.1", "kdump")
    from kdump_gdbserver.adapters.kdumpfile import KdumpfileOpener
    from kdump_gdbserver.domain.errors import MemoryFault

    chance = random.Random(6)
    ranges = [(chance.randrange(512 << 20), chance.randrange(1, 20000)) for _ in range(300)]
    done = subprocess.run(
        [sys.executable, "-c", _READ_WITH_DRGN, str(dump.dumps["elf"][0])],
        input="".join(f"{a:#x} {n}\n" for a, n in ranges),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = done.stdout.split()
    for form in ("elf", "d0-zlib"):
        memory = KdumpfileOpener().open([str(dump.dumps[form][0])]).physical()
        differing = 0
        for (address, length), truth in zip(ranges, expected, strict=True):
            try:
                data = memory.read(address, length)
            except MemoryFault:
                data = b""
            if truth == "fault":
                assert len(data) < length
            elif len(data) == length:
                assert data.hex() == truth, f"{form} {address:#x}"
            else:
                differing += 1
        assert differing <= len(ranges) // 10, form


@pytest.mark.parametrize("form", ["elf", "kdump-zlib"])
def test_control_registers_are_those_that_qemu_shows(panicked: RealDump, form: str) -> None:
    """cr0, cr2, cr3, cr4, of each CPU; a dump whose notes lack them has no such registers."""
    names = ("cr0", "cr2", "cr3", "cr4")
    with serve(panicked.dumps[form]) as server:
        text = gdb(
            server,
            *(f"thread apply all -ascending p/x (unsigned long)${name}" for name in names),
            "p $cr4",
            "info registers cr3",
            before=[f"file {panicked.vmlinux}"],
        )
    shown = re.findall(r"^\$\d+ = (0x[0-9a-f]+)$", text, re.MULTILINE)
    by_name = [shown[number : number + 3] for number in range(0, 12, 3)]
    qemu = [
        dict(re.findall(r"\b(CR\d)=([0-9a-f]+)", told)) for told in panicked.facts["qemu_registers"]
    ]
    truth = [[f"{int(cpu[name.upper()], 16):#x}" for cpu in qemu] for name in names]
    assert by_name == truth
    assert re.search(r"= \[.* PSE PAE .*PGE.* OSFXSR .*\]$", text, re.MULTILINE), text
    assert re.search(r"^cr3 +0x[0-9a-f]+ ", text, re.MULTILINE), text


def test_where_the_notes_have_no_control_registers_there_are_none(kdumped: RealDump) -> None:
    with serve(kdumped.dumps["elf"]) as server:
        text = gdb(server, "p $cr3", before=[f"file {kdumped.vmlinux}"])
    assert re.search(r"^\$1 = void$", text, re.MULTILINE), text
