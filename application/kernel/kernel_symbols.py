"""Addresses of kernel symbols and members of kernel structs, from the dump alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kdump_gdbserver.domain.address_space import AddressSpace, ByteOrder
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.domain.symbols.btf import Btf
from kdump_gdbserver.domain.symbols.kallsyms import KallsymsTables, parse_tokens
from kdump_gdbserver.domain.vmcoreinfo import Vmcoreinfo

# All that is ever asked for, so that the table is walked once.
WANTED = (
    "__cpu_online_mask",
    "__entry_text_end",
    "__entry_text_start",
    "__per_cpu_offset",
    "__start_BTF",
    "__start_orc_unwind",
    "__start_orc_unwind_ip",
    "__stop_BTF",
    "__stop_orc_unwind",
    "__stop_orc_unwind_ip",
    "__switch_to_asm",
    "_text",
    "asm_call_on_stack",
    "crash_notes",
    "crashing_cpu",
    "current_task",
    "entry_INT80_compat",
    "entry_SYSCALL_64",
    "entry_SYSCALL_compat",
    "entry_SYSENTER_compat",
    "hardirq_stack_inuse",
    "hardirq_stack_ptr",
    "nr_cpu_ids",
    "panic_cpu",
    "pcpu_hot",
    "preempt_schedule_notrace_thunk",
    "preempt_schedule_thunk",
    "ret_from_fork",
    "ret_from_fork_asm",
    "rewind_stack_and_make_dead",
    "rewind_stack_do_exit",
    "secondary_startup_64",
    "vdso_end",
    "vdso_image_32",
    "vdso_image_64",
    "vdso_start",
)

# Bounds on what a damaged dump can make us read, in bytes.
MAX_NAMES = 16 << 20
_MAX_TOKEN_TEXT = 8192
MAX_SYMBOLS = 2_000_000
MAX_BTF = 64 << 20

_TABLES = ("names", "num_syms", "token_table", "token_index", "offsets")


class KernelSymbols:
    """Looks symbols up in kallsyms (kernels since 6.0), else in the symbol file if given.

    `symbol_file` maps wanted names to run-time addresses; it is called only when the
    dump's own table is of no use. `source` says in words where the symbols are from.
    """

    def __init__(
        self,
        memory: AddressSpace,
        vmcoreinfo: Vmcoreinfo,
        byte_order: ByteOrder,
        symbol_file: Callable[[tuple[str, ...]], Mapping[str, int]] | None = None,
    ) -> None:
        self._memory = memory
        self._byte_order: ByteOrder = byte_order
        self._btf: Btf | None = None
        self.addresses: Mapping[str, int] = {}
        self.source = "none"
        try:
            self.addresses = self._from_kallsyms(vmcoreinfo)
            self.source = "kallsyms"
        except (MemoryFault, ValueError, LookupError):
            if symbol_file is not None:
                self.addresses = symbol_file(WANTED)
                self.source = "symbol file"

    def _from_kallsyms(self, info: Vmcoreinfo) -> Mapping[str, int]:
        at = {name: info.symbol(f"kallsyms_{name}") for name in (*_TABLES, "relative_base")}
        where = {name: address for name, address in at.items() if address is not None}
        count = self._memory.read_uint(where["num_syms"], 4, self._byte_order)
        if count > MAX_SYMBOLS:
            raise ValueError(f"kallsyms_num_syms is {count}")
        size = min(
            (a - where["names"] for a in where.values() if a > where["names"]), default=MAX_NAMES
        )
        tokens = parse_tokens(
            self._memory.read(where["token_table"], _MAX_TOKEN_TEXT),
            self._memory.read_exact(where["token_index"], 512),
            self._byte_order,
        )
        stext = info.symbol("_stext")
        return KallsymsTables(
            self._memory.read(where["names"], min(size, MAX_NAMES)),
            tokens,
            self._memory.read_exact(where["offsets"], 4 * count),
            self._memory.read_uint(where["relative_base"], 8, self._byte_order),
            self._byte_order,
        ).find(WANTED, None if stext is None else ("_stext", stext))

    def read_int(self, name: str) -> int | None:
        """Return the signed 32-bit variable `name`, or None when it cannot be read."""
        try:
            raw = self._memory.read_exact(self.addresses[name], 4)
        except (MemoryFault, KeyError):
            return None
        return int.from_bytes(raw, self._byte_order, signed=True)

    def member_offsets(self, struct: str) -> dict[str, int]:
        """Return the byte offsets of a kernel struct's members by BTF; empty when unknown."""
        if self._btf is None:
            try:
                start, stop = self.addresses["__start_BTF"], self.addresses["__stop_BTF"]
                blob = self._memory.read_exact(start, min(max(stop - start, 0), MAX_BTF))
                self._btf = Btf.parse(blob, self._byte_order)
            except (MemoryFault, KeyError, ValueError):
                return {}
        return self._btf.member_offsets(struct)
