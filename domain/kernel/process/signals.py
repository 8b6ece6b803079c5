"""The signal that a thread got, or was about to get."""

from typing import Any, Dict, Optional

from ..kernel import Kernel
from ..tasks import Task


class Signals:
    """What signal a thread was about to get."""

    SIZE = 128  # of the siginfo_t that user space sees
    FAULTS = (4, 5, 7, 8, 11)  # SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV: si_addr is set

    def __init__(self, kernel: Kernel) -> None:
        self.memory = kernel.memory
        self.task = kernel.layout("struct task_struct", ["last_siginfo", "pending.list.next"])
        self.signal = kernel.layout("struct signal_struct", ["shared_pending.list.next"])
        queue = kernel.layout("struct sigqueue", ["list.next", "info"])
        self.link, self.info = queue.offset("list.next"), queue.members["info"]

    def of(self, task: Task) -> Optional[Dict[str, Any]]:
        """The siginfo a tracer would see, else the first one waiting for the thread or process.

        A dict of its fields, `bytes` being the whole siginfo_t as hex; None if there is none.
        """
        values = self.task.read(self.memory, task.address)
        if values["last_siginfo"]:
            return self._read(values["last_siginfo"])
        own = task.address + self.task.offset("pending.list.next")
        shared = task.signal + self.signal.offset("shared_pending.list.next")
        for head in (own, shared):
            first = self.memory.pointer(head)
            if first != head:
                return self._read(first - self.link + self.info.offset)
        return None

    def _read(self, address: int) -> Dict[str, Any]:
        raw = self.memory.fetch(address, min(self.info.size, self.SIZE))
        raw += bytes(self.SIZE - len(raw))

        def field(at: int, size: int, signed: bool = False) -> int:
            return int.from_bytes(raw[at : at + size], self.memory.byte_order, signed=signed)

        number, code = field(0, 4), field(8, 4, signed=True)
        info: Dict[str, Any] = {
            "si_signo": number,
            "si_errno": field(4, 4, signed=True),
            "si_code": code,
        }
        if code > 0 and number in self.FAULTS:
            info["si_addr"] = field(16, 8)
        else:
            info.update(si_pid=field(16, 4), si_uid=field(20, 4))
        info["bytes"] = "".join("%02x" % byte for byte in raw)
        return info
