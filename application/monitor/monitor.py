"""Monitor commands about a dump, for one session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from kdump_gdbserver.application.monitor import monitor_dump, monitor_memory
from kdump_gdbserver.application.monitor.monitor_target import MonitorTarget
from kdump_gdbserver.ports.monitor import MonitorCommand

_Action = Callable[[MonitorTarget, Sequence[str]], Iterator[str | None]]

_COMMANDS: dict[str, tuple[_Action, str, str]] = {
    "info": (monitor_dump.info, "", "the dump, its kernel and its machine"),
    "dmesg": (monitor_dump.dmesg, "", "the kernel's log"),
    "vmcoreinfo": (monitor_dump.vmcoreinfo, "", "what the kernel says of itself"),
    "vtop": (
        monitor_memory.vtop,
        "ADDR",
        "walk the page tables to ADDR (digits alone are decimal, else hex)",
    ),
    "why": (monitor_memory.why, "ADDR", "why ADDR can, or cannot, be read"),
    "phys": (monitor_memory.phys, "ADDR LEN", "hex dump of physical memory"),
    "mode": (monitor_memory.mode, "[physical|virtual]", "what addresses this client gives are"),
}


class DumpMonitor:
    """The commands on one session's dump; implements `ports.monitor.Monitor`."""

    def __init__(self, target: MonitorTarget) -> None:
        self._target = target

    @property
    def commands(self) -> Sequence[MonitorCommand]:
        """See `Monitor.commands`."""
        return [
            MonitorCommand(name, arguments, summary, partial(action, self._target))
            for name, (action, arguments, summary) in _COMMANDS.items()
        ]
