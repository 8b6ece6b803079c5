"""Monitor commands on a fake dump, as a client sees them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from kdump_gdbserver.application.kernel.kernel_view import open_kernel_view
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.page_table_map import PageTableMap, permissions_of
from kdump_gdbserver.domain.arch import AARCH64, ARCHITECTURES, RISCV64, X86_64, Arch
from kdump_gdbserver.domain.dump_facts import DumpFacts, FilePlace
from kdump_gdbserver.domain.errors import FaultReason
from kdump_gdbserver.domain.page_walk import PageWalk, TableEntry
from tests.support.backends import reopened
from tests.support.fake_dump import FakeDump, facts_of
from tests.support.sessions import GDB, Debugger
from tests.unit.domain.test_printk import plain_text

KERNEL = 0xFFFFFFFF81000000
PHYSICAL = KERNEL & (1 << 48) - 1
LOG = b"[    0.000000] Linux version 6.6.0-fake\n[   12.5] Kernel panic - not syncing: just so\n"


def dump_of(facts: DumpFacts | None = None, log: bytes = LOG) -> FakeDump:
    segments = {"text": (KERNEL, bytes(range(32)) + b"Linux version 6.6" + b"\x90" * 64)}
    info = "OSRELEASE=6.6.0-fake\nPAGESIZE=4096\nKERNELOFFSET=1000000\nCRASHTIME=1700000000\n"
    info += "BUILD-ID=00112233445566778899aabbccddeeff00112233\n"
    for number, name in enumerate(("log_buf", "log_buf_len", "log_end")):
        info += f"SYMBOL({name})={KERNEL + 0x10000 + 8 * number:x}\n"
    variables, ring = plain_text(log, 1 << 16).values()
    segments["log variables"] = (
        KERNEL + 0x10000,
        (KERNEL + 0x20000).to_bytes(8, "little") + variables[8:],
    )
    segments["log"] = (KERNEL + 0x20000, ring)
    return FakeDump(segments, vmcoreinfo=info, facts=facts)


def client(dump: FakeDump) -> Debugger:
    debugger = Debugger(open_kernel_view(dump))
    debugger.start(*GDB)
    return debugger


@pytest.mark.fake_alone
def test_info_tells_what_is_known() -> None:
    dump = dump_of(
        dataclasses.replace(
            facts_of(),
            dump_level=17,
            hypervisor=True,
            nodename="box",
            version="#1 SMP",
            library="libkdumpfile.so.12",
            codec="zlib",
            flattened=True,
        )
    )
    text = client(dump).monitor("info")
    lines = {line[:13].rstrip(): line[14:] for line in text.splitlines()}
    assert lines["format"] == "fake, zlib (flattened)"
    assert lines["release"] == "6.6.0-fake"
    assert lines["build-id"] == "00112233445566778899aabbccddeeff00112233"
    assert lines["KASLR offset"] == "0x1000000"
    assert lines["panic"] == "Kernel panic - not syncing: just so"
    assert lines["crash time"] == "2023-11-14 22:13:20 UTC"
    assert lines["dump level"] == "17 (without free pages)"
    assert lines["taken by"] == "a hypervisor (QEMU)"
    assert lines["memory"].endswith("MiB in the dump")
    assert lines["architecture"] == "x86_64"
    assert lines["host"] == "box"
    assert lines["shown"] == "1 thread of the kernel"


def test_info_of_a_live_kernel_names_no_panic() -> None:
    text = client(dump_of(log=b"all well\n")).monitor("info")
    assert re.search(r"^panic +none in the log$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (b"BUG: NULL\nOops: 0002\nKernel panic - not syncing: Fatal\n", "Kernel panic - not"),
        (b"sysrq: Trigger a crash\nBUG: unable to handle page fault\n", "BUG: unable"),
    ],
)
def test_the_most_telling_last_words_are_shown(log: bytes, words: str) -> None:
    assert f"panic         {words}" in client(dump_of(log=log)).monitor("info")


def test_info_without_a_log_says_why() -> None:
    text = client(FakeDump(vmcoreinfo="OSRELEASE=6.6\n")).monitor("info")
    assert "the log cannot be read: VMCOREINFO does not say where" in text


def test_dmesg_and_vmcoreinfo() -> None:
    debugger = client(dump_of())
    assert debugger.monitor("dmesg").encode() == LOG
    assert "CRASHTIME=1700000000\n" in debugger.monitor("vmcoreinfo")


def test_a_long_log_comes_whole_and_in_order() -> None:
    log = b"".join(b"[%5d.000000] message\n" % number for number in range(2000))
    assert client(dump_of(log=log)).monitor("dmesg").encode() == log


@pytest.mark.fake_alone
def test_without_vmcoreinfo_the_commands_say_so() -> None:
    debugger = client(FakeDump())
    assert "no VMCOREINFO" in debugger.monitor("vmcoreinfo")
    assert "does not say where the kernel log is" in debugger.monitor("dmesg")


@pytest.mark.fake_alone
def test_vtop_shows_entry_flags_page_and_file() -> None:
    assert client(dump_of()).monitor(f"vtop {KERNEL + 0x10:#x}").splitlines() == [
        "virtual   0xffffffff81000010",
        "PGD       at 0x1000: 0x0000ffff81000001 (present)",
        "physical  0xffff81000010, in a page of 4 KiB",
        "file      /nowhere/vmcore at 0xffff81000000 (0x1000 bytes, as it is)",
    ]


@pytest.mark.fake_alone
def test_vtop_of_nothing_says_where_it_ends() -> None:
    lines = client(dump_of()).monitor("vtop 0xffff888000000000").splitlines()
    assert lines[1].endswith("(empty)")
    assert lines[2] == "no page: address is not mapped"


@pytest.mark.fake_alone
def test_vtop_goes_through_every_table(tmp_path: Path) -> None:
    dump = reopened(dump_of(), "elf core", tmp_path)
    debugger = Debugger(open_kernel_view(dump))
    debugger.start(*GDB)
    lines = debugger.monitor(f"vtop {KERNEL + 0x10:#x}").splitlines()
    assert [line.split()[0] for line in lines] == [
        "virtual", "PGD", "PUD", "PMD", "PTE", "physical",
    ]  # fmt: skip
    assert lines[4].endswith(f"{PHYSICAL | 7:#018x} (present, write, user)")
    assert lines[5] == "physical  0xffff81000010, in a page of 4 KiB"
    assert "no page: address is not mapped" in debugger.monitor(f"vtop {KERNEL + 0x5000:#x}")


class Walking(FakeDump):
    """A dump whose every walk is the given one."""

    shown = PageWalk(0, (), 4096, fault=FaultReason.UNMAPPED)
    place: FilePlace | None = None

    def walk(self, address: int, root: int | None = None) -> PageWalk:
        return self.shown._replace(address=address)

    def find(self, physical: int) -> FilePlace | None:
        return self.place


@pytest.mark.fake_alone
def test_vtop_names_levels_large_pages_and_compressed_places() -> None:
    dump = Walking()
    entries = tuple(TableEntry(level, 0x1000 * level, 0x63) for level in (5, 4, 3))
    large = TableEntry(2, 0x5008, 1 << 63 | 0x2000_01E3)
    dump.shown = PageWalk(0, (*entries, large), 1 << 21, 0x20012345, 1 << 21)
    dump.place = FilePlace("/dump", 0x999, 77, "zlib", 0x345)
    lines = client(dump).monitor("vtop ffff888000012345").splitlines()
    assert [line.split()[0] for line in lines] == [
        "virtual", "PGD", "P4D", "PUD", "PMD", "physical", "file",
    ]  # fmt: skip
    assert lines[4].endswith(
        "0x80000000200001e3 (present, write, accessed, dirty, large/PAT, global, no-execute)"
    )
    assert lines[5] == "physical  0x20012345, in a page of 2 MiB"
    assert lines[6] == (
        "file      /dump at 0x999 (byte 0x345 of a page, 77 bytes compressed with zlib)"
    )


@pytest.mark.fake_alone
def test_vtop_of_a_hidden_page_says_so() -> None:
    dump = Walking({"x": (0x7000, b"x")})
    dump.shown = PageWalk(0, (TableEntry(1, 0x1000, 0x7100),), 4096, 0x7000, 4096)
    assert "hidden from the hardware" in client(dump).monitor("vtop 0x1000")


@pytest.mark.fake_alone
def test_vtop_of_a_page_that_was_left_out() -> None:
    dump = Walking(
        facts=dataclasses.replace(facts_of(), dump_level=8), physical={"x": (0x1000, b"x")}
    )
    dump.shown = PageWalk(0, (TableEntry(1, 0x1000, 1),), 4096, 0x7000, 4096)
    line = client(dump).monitor("vtop 0x1000").splitlines()[-1]
    assert line.startswith("file      nowhere: ")


def test_why_an_address_can_be_read() -> None:
    assert client(dump_of()).monitor(f"why {KERNEL:x}").splitlines() == [
        "0xffffffff81000000 can be read",
        f"it is at physical address {PHYSICAL:#x}",
    ]


@pytest.mark.fake_alone
@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (FaultReason.UNMAPPED, ["address is not mapped", "page tables have no page there"]),
        (FaultReason.SWAPPED, ["swapped out"]),
    ],
)
def test_why_not(reason: FaultReason, words: list[str]) -> None:
    dump = Walking()
    dump.shown = PageWalk(0, (TableEntry(1, 0x1000, 0x80),), 4096, fault=reason)
    text = client(dump).monitor("why 0x1234")
    assert text.startswith("0x1234 cannot be read")
    assert all(word in text for word in words), text


def test_physical_memory_as_hex() -> None:
    debugger = client(dump_of())
    assert debugger.monitor(f"phys {PHYSICAL + 30:#x} 20").splitlines() == [
        "0000ffff8100001e  1e 1f 4c 69 6e 75 78 20 76 65 72 73 69 6f 6e 20  ..Linux version ",
        "0000ffff8100002e  36 2e 36 90                                      6.6.",
    ]
    assert "cannot read memory at 0x50" in debugger.monitor("phys 0x50 1")
    assert "at most 0x100000 bytes" in debugger.monitor("phys 0 0x100001")


def test_mode_switches_this_clients_addresses() -> None:
    dump = dump_of()
    debugger, other = client(dump), client(dump)
    assert debugger.monitor("mode") == "addresses are virtual\n"
    assert debugger.monitor("mode physical").startswith("addresses are physical\n")
    assert debugger.data(b"m%x,3" % PHYSICAL) == b"000102"
    assert debugger.data(b"m%x,3" % KERNEL).startswith(b"E.")
    assert debugger.data(b"qqemu.PhyMemMode") == b"1"
    assert other.data(b"m%x,3" % KERNEL) == b"000102"
    assert "can be read" in debugger.monitor(f"why {PHYSICAL:x}")
    debugger.monitor("mode virtual")
    assert debugger.data(b"m%x,3" % KERNEL) == b"000102"


@pytest.mark.parametrize(
    "command",
    [
        "vtop", "vtop 1 2", "vtop -1", "vtop 0x", "vtop ١٢", "vtop 0x12345678901234567", "why",
        "phys", "phys 0", "phys 0 -1", "phys 0 1_0", "mode sideways", "info now", "dmesg -T",
        "log loud", "vmcoreinfo x", "\x1b[31m", "é" * 50,
    ],
)  # fmt: skip
def test_nonsense_is_one_clear_line(command: str) -> None:
    text = client(dump_of()).monitor(command)
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("0x7ffd2ef0f320", 0x7FFD_2EF0_F320),
        ("0X10", 0x10),
        ("140724078208224", 140724078208224),  # as gdb prints it with /d
        ("18446744071578845184", KERNEL),
        ("7ffd2ef0f320", 0x7FFD_2EF0_F320),  # as the kernel's log and /proc/PID/maps have it
        ("FFFF888000000000", 0xFFFF_8880_0000_0000),
        ("0000000000401a00", 0x401A00),
        ("0", 0),
        ("4096", 4096),
    ],
)
def test_how_numbers_are_read(typed: str, address: int) -> None:
    """As gdb reads them: digits alone are decimal. Letters can only be hex."""
    debugger = client(dump_of())
    assert debugger.monitor(f"vtop {typed}").startswith(f"virtual   {address:#x}\n")
    assert debugger.monitor(f"why {typed}").startswith(f"{address:#x} can")


@pytest.mark.parametrize(
    ("typed", "plain"), [("0401000", "401000"), ("0000700000000000", "7" + "0" * 11), ("00", "0")]
)
def test_digits_behind_a_zero_are_refused(typed: str, plain: str) -> None:
    """Octal to gdb, hex in the kernel's log: whoever types them must say."""
    assert client(dump_of()).monitor(f"vtop {typed}") == (
        f"'{typed}' may be hex or decimal; type 0x{typed} for hex, {plain} for decimal\n"
    )


@pytest.mark.parametrize(
    "typed", ["18446744073709551616", "0x10000000000000000", "10000000000000000f"]
)
def test_more_than_64_bits_are_no_address(typed: str) -> None:
    assert f"'{typed}' is no address" in client(dump_of()).monitor(f"vtop {typed}")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("vtop &init_task", 'eval "monitor vtop %p", &init_task'),
        ("why init_task.stack + 8", 'eval "monitor why %p", init_task.stack + 8'),
        ("vtop $pc\x1b[31m", 'eval "monitor vtop %p", EXPRESSION'),
        ("why " + "a+" * 99, 'eval "monitor why %p", EXPRESSION'),
        ("phys &x 0x10", 'eval "monitor phys %p 0x10", &x'),
    ],
)
def test_an_expression_is_for_gdb_to_work_out(typed: str, told: str) -> None:
    text = client(dump_of()).monitor(typed)
    assert text.endswith(f": {told}\n")
    assert text.count("\n") == 1
    assert text[:-1].isprintable()


def test_the_help_says_how_numbers_are_read() -> None:
    text = client(dump_of()).monitor("help")
    assert re.search(r"^  vtop ADDR +.*digits alone are decimal", text, re.MULTILINE)


def test_log_is_switched_for_this_client() -> None:
    debugger = client(dump_of())
    assert debugger.monitor("log") == "log of this client's packets is off\n"
    assert debugger.monitor("log on") == "log of this client's packets is on\n"
    assert debugger.connection._log.enabled
    debugger.monitor("log off")
    assert not debugger.connection._log.enabled


def entry(arch: Arch, *names: str) -> TableEntry:
    bits = dict(arch.entry_flags)
    return TableEntry(1, 0x1000, sum(1 << bits[name] for name in names))


@pytest.mark.parametrize(
    ("arch", "entries", "expected"),
    [
        (X86_64, [("present", "write"), ("present", "write")], "rwx"),
        (X86_64, [("present", "write"), ("present", "write", "no-execute")], "rw"),
        (X86_64, [("present",), ("present", "write")], "rx"),
        (X86_64, [("present", "no-execute"), ("present",)], "r"),
        (AARCH64, [("valid", "table/page"), ("valid",)], "rwx"),
        (AARCH64, [("valid",), ("valid", "read-only", "no-execute (kernel)")], "r"),
        (RISCV64, [("valid",), ("valid", "read", "write")], "rw"),
        (RISCV64, [("valid",), ("valid", "read", "execute")], "rx"),
    ],
)
def test_permissions(arch: Arch, entries: list[tuple[str, ...]], expected: str) -> None:
    walk = PageWalk(1 << 63, tuple(entry(arch, *names) for names in entries), 4096, 0, 4096)
    assert permissions_of(arch, walk) == expected


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
def test_every_architecture_names_its_page_table_flags(arch: Arch) -> None:
    bits = [bit for _, bit in arch.entry_flags]
    assert bits
    assert bits == sorted(set(bits))
    # The one that says that an entry counts.
    assert {"present", "valid", "invalid"} & {name for name, _ in arch.entry_flags}


def test_addresses_that_are_not_canonical_are_one_hole() -> None:
    dump = Walking()
    dump.shown = PageWalk(0, (), 1 << 47, fault=FaultReason.UNMAPPED)
    region = PageTableMap(DumpMemory(dump), None).region(0x1234_5678_9ABC_DEF0)
    assert (region.start, region.end, region.permissions) == (1 << 47, (1 << 64) - (1 << 47), "")
