"""Asks readers of symbols and types all there is to ask: nothing but ValueError may come of it."""

from __future__ import annotations

import contextlib

from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.btf_types import BtfTypes
from kdump_gdbserver.domain.symbols.kallsyms import Kallsyms

TYPES = ("struct task_struct", "task_t", "union thread_union", "pid_t", "enum wide", "int")
PATHS = ("pid", "thread.b", "grid", "a", "")


def ask_btf(btf: Btf) -> None:
    types = BtfTypes(btf)
    for name in TYPES:
        size = types.size(name)
        assert size is None or size >= 0
        for path in PATHS:
            member = types.member(name, path)
            assert member is None or (0 <= member.offset < 1 << 34 and member.size >= 0)
    for number in (*btf.numbers(), 0, len(btf) + 1):
        for ask in (
            btf.__getitem__, btf.members, btf.enumerators, btf.parameters, btf.variables,
            btf.array, btf.integer, btf.linkage, btf.component, btf.resolve, btf.size,
        ):  # fmt: skip
            with contextlib.suppress(ValueError):
                ask(number)


def ask_kallsyms(symbols: Kallsyms) -> None:
    everything = list(symbols.all())
    assert len(everything) == len(symbols)
    for symbol in everything[:40]:
        assert symbol.name.isprintable()
        assert 0 <= symbol.address < 1 << 64
        assert symbol.address in symbols.find((symbol.name,))[symbol.name]
        assert symbols.address(symbol.name) in (None, symbol.address)
        nearest = symbols.at(symbol.address)
        assert nearest is not None
        assert nearest.address == symbol.address
