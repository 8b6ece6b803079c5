"""docs/trust.md says what the runs in docs/trust.json found, and comparisons find what is wrong."""

from __future__ import annotations

import json

import pytest

from tests.real.oracle import checks, documents
from tests.real.oracle.checks import Count
from tests.real.oracle.dumps import QUICK, every_dump
from tests.real.oracle.qemu_registers import general_registers


def test_documents_are_made_from_the_results_and_not_by_hand() -> None:
    for path, text in documents.made().items():
        assert path.read_text() == text, f"run scripts/trust --table for {path}"


def test_every_dump_of_the_table_is_one_that_the_harness_makes() -> None:
    told = json.loads(documents.RESULTS.read_text())
    named = {row["dump"] for row in told["rows"]}
    assert named <= set(every_dump())
    assert set(QUICK) <= named
    for row in told["rows"]:
        assert row["equal"] + row["different"] + row["absent"] > 0, row
        assert bool(row["different"]) == bool(row["examples"]), row
        assert bool(row["absent"]) == bool(row["why"]), row


def _chain(*frames: tuple[int, str | None], corrupt: str | None = None) -> dict[str, object]:
    return {"frames": list(frames), "corrupt": corrupt}


_TOP = 1 << 63
_TRUE = [(_TOP + 1, "schedule"), (_TOP + 2, "kthread")]


@pytest.mark.parametrize(
    ("shown", "right"),
    [
        (_chain(*_TRUE), True),
        (_chain(*_TRUE, (5, None)), False),  # a user frame that the oracle has not
        (_chain(*_TRUE[:1]), False),
        (_chain(*_TRUE, (_TOP + 3, "more")), False),
        (_chain(_TRUE[0], (_TOP + 2, None)), False),
        (_chain(*_TRUE, corrupt="previous frame identical to this frame (corrupt stack?)"), False),
        (_chain(), False),
    ],
)
def test_a_chain_counts_only_if_it_is_whole(shown: dict[str, object], right: bool) -> None:
    count = checks.chains("chains", {"1": shown}, {"1": _TRUE})
    assert (count.equal, count.different) == (int(right), int(not right))


def test_what_the_oracle_cannot_do_is_absent_with_its_reason() -> None:
    count = checks.chains("chains", {"1": _chain(*_TRUE)}, {"1": "no registers"})
    assert (count.equal, count.different, count.absent) == (0, 0, 1)
    assert count.why == ["drgn: no registers"]


def test_memory_in_vain_is_settled_by_what_the_same_file_holds() -> None:
    for said, filtered, outcome in (
        (None, False, "absent"), ("00ff", False, "different"), ("0000", False, "different"),
        ("0000", True, "absent"), ("00ff", True, "different"), ("", False, "different"),
    ):  # fmt: skip
        count = Count("memory", "drgn")
        checks.left_out([(count, 0x1000, 2, "00ff")], [said], filtered=filtered)
        assert getattr(count, outcome) == 1, (said, filtered)
        assert count.equal + count.different + count.absent == 1


_QEMU = {
    "x86_64": (
        "RAX=00000000000000ff R8 =0000000000000008\n"
        "RIP=ffffffff81000000 RFL=00000283 [--S---C]\n"
        "CS =0010 00 00",
        {"rax": 255, "r8": 8, "rip": 0xFFFFFFFF81000000, "eflags": 0x283, "cs": 16},
    ),
    "aarch64": (
        " PC=0000000000000001 X00=0000000000000002\n"
        "X10=0000000000000003  SP=0000000000000004\n"
        "PSTATE=80400005 N---",
        {"pc": 1, "x0": 2, "x10": 3, "sp": 4, "cpsr": 0x80400005},
    ),
    "riscv64": (
        " pc       ffffffff80dd3108\n mhartid  0000000000000000\n"
        " x0/zero  0000000000000000 x8/s0    0000000000000007",
        {"pc": 0xFFFFFFFF80DD3108, "fp": 7},
    ),
    "s390x": (
        "PSW=mask 0002000180000000 addr 000000000010fdee cc 02\n"
        "R00=0000000000000001 R15=0000000000000002",
        {"r0": 1, "r15": 2, "pswm": 0x0002200180000000, "pswa": 0x10FDEE},
    ),
    "ppc64le": (
        "NIP c000000000000010   LR 0000000000000001 CTR 0000000000000002 XER 00 CPU#0\n"
        "MSR 0000000000001002 HID0 0\n"
        "GPR04 0000000000000004 0000000000000005 0000000000000006 0000000000000007\n"
        "CR 00000009  [ - ]",
        {"r4": 4, "r5": 5, "r6": 6, "r7": 7, "pc": 0xC000000000000010, "lr": 1, "ctr": 2,
         "msr": 0x1002, "cr": 9},
    ),
}  # fmt: skip


@pytest.mark.parametrize("arch", _QEMU)
def test_registers_out_of_qemus_text(arch: str) -> None:
    text, registers = _QEMU[arch]
    assert general_registers(arch, text) == registers
