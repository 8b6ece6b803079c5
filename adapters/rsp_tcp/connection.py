"""One client's conversation, sans I/O: bytes received in, bytes to send out."""

from __future__ import annotations

import time

from kdump_gdbserver.adapters.rsp_tcp.client import Client
from kdump_gdbserver.adapters.rsp_tcp.dispatch import find_handler
from kdump_gdbserver.adapters.rsp_tcp.encoding import PacketError
from kdump_gdbserver.adapters.rsp_tcp.exchange_log import ExchangeLog
from kdump_gdbserver.adapters.rsp_tcp.framing import Malformed, Packet, PacketReader, Signal, frame
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.ports.debug_session import DebugSession

_EFAULT = 0x0E


class Connection:
    """Answers the packets of one client.

    Acknowledgements, retransmission and error replies are dealt with here, once for
    all packets (GDB manual, "Packet Acknowledgment").
    """

    def __init__(self, session: DebugSession, log: ExchangeLog) -> None:
        self._reader = PacketReader()
        self._client = Client(session)
        self._log = log
        self._last_frame = b""

    @property
    def closed(self) -> bool:
        """Whether the client has taken its leave; no more bytes should be fed."""
        return self._client.leaving

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the client and return the bytes to send back, maybe none."""
        out: list[bytes] = []
        for event in self._reader.feed(data):
            if isinstance(event, Packet):
                if self._client.acknowledge:
                    out.append(b"+")
                self._answer(event.payload, out)
                if self._client.leaving:
                    break
            elif isinstance(event, Malformed):
                self._log.malformed(event.reason)
                if self._client.acknowledge:
                    out.append(b"-")
            elif event is Signal.NACK:
                out.append(self._last_frame)
            # An interrupt needs no answer: nothing runs, so nobody waits for a stop.
        return b"".join(out)

    def _answer(self, payload: bytes, out: list[bytes]) -> None:
        started = time.perf_counter_ns() if self._log.enabled else 0
        reply = self._reply(payload)
        if reply is not None:
            self._last_frame = frame(reply)
            out.append(self._last_frame)
        self._reader.verify_checksums = self._client.acknowledge
        if self._log.enabled:
            self._log.exchange(payload, reply, time.perf_counter_ns() - started)

    def _reply(self, payload: bytes) -> bytes | None:
        handler, arguments = find_handler(payload)
        try:
            return handler(self._client, arguments)
        except MemoryFault as fault:
            return self._client.error(str(fault), _EFAULT)
        except PacketError as error:
            return self._client.error(error.text, error.code)
