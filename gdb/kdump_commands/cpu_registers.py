"""The registers a CPU had at the crash, from gdb's own thread for it."""

import re
from typing import Any, Dict

import gdb

from ...domain.kernel.tasks import Task
from .target import arch_of_gdb


def cpu_registers(task: Task) -> Dict[str, int]:
    """The registers that the task's CPU had, from gdb's own thread for it, or {}.

    In the kernel view the server calls such a thread "CPU #N ...", in the view with tasks
    'pid P LWP T "NAME"'.
    """
    if task.cpu is None:
        return {}
    wanted = re.compile(r"\((?:CPU #%d\b|pid \d+ LWP %d )" % (task.cpu, task.pid))
    before = gdb.selected_thread()
    for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
        text = gdb.execute("info threads %s" % thread.num, to_string=True)
        if wanted.search(text):
            try:
                thread.switch()
                return known_registers(gdb.newest_frame())
            except gdb.error:
                return {}
            finally:
                if before is not None:
                    before.switch()
    return {}


def known_registers(frame: Any) -> Dict[str, int]:
    """The general registers of a frame that are known, by name, unsigned."""
    state = arch_of_gdb(frame.architecture().name()).task_state
    assert state is not None
    names = list(state.user_frame.values()) + list(state.user_thread)
    for prefix in state.user_frame.values():  # of a member that is an array
        names += ["%s%d" % (prefix, n) for n in range(32)]
    registers = {}
    for name in names:
        try:
            value = frame.read_register(name)
            registers[name] = int(value) % 2 ** (8 * value.type.sizeof)
        except (gdb.error, ValueError):
            continue  # not known, or not of this architecture
    return registers
