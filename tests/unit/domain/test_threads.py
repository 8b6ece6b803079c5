"""Thread and ThreadTable."""

from __future__ import annotations

import pytest

from kdump_gdbserver.domain.arch import X86_64
from kdump_gdbserver.domain.registers import RegisterSet
from kdump_gdbserver.domain.threads import Thread, ThreadId, ThreadTable


def thread(tid: int) -> Thread:
    return Thread(ThreadId(1, tid), lambda: RegisterSet.unavailable(X86_64.layout()))


def test_registers_are_made_once_and_only_when_asked_for() -> None:
    made: list[RegisterSet] = []

    def load() -> RegisterSet:
        made.append(RegisterSet.from_values(X86_64.layout(), {"rip": 1}))
        return made[-1]

    one = Thread(ThreadId(1, 2), load, extra="CPU #1", name="bash", core=1)
    assert made == []
    assert one.registers is one.registers
    assert len(made) == 1
    assert repr(one) == "Thread(1.2 (CPU #1))"
    assert (one.name, one.core) == ("bash", 1)


def test_a_table_keeps_the_order_and_finds_by_id() -> None:
    table = ThreadTable([thread(30), thread(10), thread(20)])
    assert [one.id.tid for one in table] == [30, 10, 20]
    assert (len(table), table[2].id.tid) == (3, 20)
    assert table.by_tid(10) is table[1]
    assert table.by_tid(11) is None


def test_an_empty_table_and_doubled_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ThreadTable([])
    with pytest.raises(ValueError, match="same id"):
        ThreadTable([thread(1), thread(1)])
