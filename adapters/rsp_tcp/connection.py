"""One client's conversation, sans I/O: bytes received in, bytes to send out."""

from __future__ import annotations

import time
from collections.abc import Iterator

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.dispatch import find_handler
from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import ExchangeLog
from kdump_gdbserver.adapters.rsp_tcp.read_ahead import ReadAhead
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import (
    Event,
    Malformed,
    Packet,
    PacketReader,
    Signal,
    frame,
)
from kdump_gdbserver.domain.errors import MemoryFault
from kdump_gdbserver.ports.debug_session import DebugSession

_EFAULT = 0x0E
_EINTR = 0x04
_GREETING = b"qSupported"
_NO_ANSWER = (Signal.ACK, Signal.INTERRUPT)
_PARTS_AT_ONCE = 3  # a short output and its OK go out together
# Bytes to send beyond which further packets wait until those have been taken: a client that
# asks for much and takes nothing gets the server to hold no more than this and one reply.
MAX_HELD = 0x40000
# Packets that a client may send ahead while one is worked at, and their bytes in all; beyond
# either, its bytes are not read.
MAX_WAITING = 64
MAX_BYTES_WAITING = 0x100000
# So often gdb asks for an answer that does not come, every two seconds (MAX_TRIES in its
# remote.c). Then it goes on without, and would take the late answer for that to its next request.
_GIVES_UP_AFTER = 3


class Connection:
    """Answers the packets of one client.

    Acknowledgements, retransmission and error replies are dealt with here, once for
    all packets (GDB manual, "Packet Acknowledgment"). What is long in coming, such as the
    output of a monitor command, comes in parts: while `busy`, `more` has the next one.
    """

    def __init__(self, session: DebugSession, log: ExchangeLog) -> None:
        self._reader = PacketReader()
        self._client = Client(session, log)
        self._log = log
        self._last_frame = b""
        self._ahead = ReadAhead()
        self._fault: MemoryFault | None = None
        self._waiting: list[Event] = []
        self._stream: Iterator[bytes] | None = None
        self._greeting: bytes | None = None  # until the answer to it is acknowledged
        self._nacks = 0  # since the last packet

    @property
    def takes_signs_of_life(self) -> bool:
        """Whether a `+` may be sent while an answer is long in coming; LLDB takes it for one."""
        return not self._client.lldb

    @property
    def closed(self) -> bool:
        """Whether the client has taken its leave; no more bytes should be fed."""
        return self._client.leaving

    @property
    def busy(self) -> bool:
        """Whether there is more to do; call `more` for it."""
        return self._stream is not None or bool(self._waiting)

    @property
    def crowded(self) -> bool:
        """Whether so much waits that no more should be fed now."""
        waiting = self._waiting
        return len(waiting) >= MAX_WAITING or (
            sum(len(each.payload) for each in waiting if isinstance(each, Packet))
            >= MAX_BYTES_WAITING
        )

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the client and return the bytes to send back, maybe none.

        While `busy`, packets wait for their turn, and an interrupt ends what goes on.
        """
        out: list[bytes] = []
        if self._stream is None and not self._waiting:
            payload = self._reader.feed_packet(data)
            if payload is not None:
                self._answer(payload, out)
                return b"".join(out)
        events = self._reader.feed(data)
        if self.busy:
            self._wait_with(events)
            return b""
        self._take(events, out)
        return b"".join(out)

    def _wait_with(self, events: list[Event]) -> None:
        """Take what has come during, or right behind, the request for what goes on."""
        if self._stream is not None and Signal.INTERRUPT in events:
            self._stream = iter((self._client.error("interrupted", _EINTR),))
        self._waiting += (each for each in events if each not in _NO_ANSWER)

    def more(self) -> bytes:
        """Return the next part of what is long in coming, then what was asked since.

        No bytes mean that the work takes longer, if `busy` still holds: a good moment to
        see whether the client interrupts it or has left.
        """
        out: list[bytes] = []
        if self._stream is not None:
            self._send_part(out)
        if self._stream is None:
            waiting, self._waiting = self._waiting, []
            self._take(waiting, out)
        return b"".join(out)

    def work_ahead(self) -> None:
        """Do what the next packet is likely to want; call it when all has been sent."""
        if not self._ahead.wanted:
            return
        reply = self._reply(self._ahead.wanted)
        if isinstance(reply, bytes) and self._fault is None:
            self._ahead.keep(reply, frame(reply))
        self._ahead.wanted = b""

    def _take(self, events: list[Event], out: list[bytes]) -> None:
        held = 0
        for number, event in enumerate(events, start=1):
            before = len(out)
            if isinstance(event, Packet):
                if self._client.acknowledge and not self._acknowledge(event.payload, out):
                    continue
                self._answer(event.payload, out)
                if self._client.leaving:
                    break
                if self._stream is not None:
                    self._wait_with(events[number:])
                    break
            elif isinstance(event, Malformed):
                self._log.malformed(event.reason)
                if self._client.acknowledge:
                    out.append(b"-")
            elif event is Signal.NACK:
                self._send_again(out)
                if self._client.leaving:
                    break
            elif event is Signal.ACK:
                self._greeting = None
            # An interrupt needs no answer: nothing runs, so nobody waits for a stop.
            if number < len(events):
                held += sum(map(len, out[before:]))
                if held > MAX_HELD:
                    self._waiting = events[number:]
                    break

    def _acknowledge(self, payload: bytes, out: list[bytes]) -> bool:
        """Acknowledge a packet unless it is there only because gdb had waited too long for that."""
        if payload == self._greeting:
            return False
        out.append(b"+")
        self._greeting = payload if payload.startswith(_GREETING) else None
        return True

    def _send_again(self, out: list[bytes]) -> None:
        """Take a nack: without acknowledgements, gdb only says that it has waited for long.

        A second answer to one request would then be taken for that to the next.
        """
        if self._client.acknowledge:
            out.append(self._last_frame)
            return
        self._nacks += 1
        if self._nacks >= _GIVES_UP_AFTER:
            self._log.out_of_step()
            self._client.leaving = True

    def _answer(self, payload: bytes, out: list[bytes]) -> None:
        self._nacks = 0
        started = time.perf_counter_ns()
        kept = self._ahead.take(payload)
        if kept is None:
            reply = self._send(self._reply(payload), out)
        else:
            reply, framed = kept
            self._send_frame(framed, out)
        self._reader.verify_checksums = self._client.acknowledge
        elapsed = time.perf_counter_ns() - started
        self._client.statistics.count(len(payload), len(reply) if reply else 0, elapsed)
        if self._log.enabled:
            self._log.exchange(payload, reply, elapsed, self._fault)

    def _send(self, answer: bytes | Iterator[bytes] | None, out: list[bytes]) -> bytes | None:
        """Send an answer, or the first parts of one; return the last reply that was sent."""
        if answer is None:
            return None
        if isinstance(answer, bytes):
            self._send_frame(frame(answer), out)
            return answer
        self._stream = answer
        reply = None
        for _ in range(_PARTS_AT_ONCE):
            reply = self._send_part(out) or reply
        return reply

    def _send_part(self, out: list[bytes]) -> bytes | None:
        """Send the next part; an empty one says that the work takes longer."""
        part = next(self._stream, None) if self._stream is not None else None
        if part is None:
            self._stream = None
        elif part:
            self._send_frame(frame(part), out)
            if part[:1] != b"O" or part == b"OK":
                # The answer, which ends it: an interrupt that comes now must not bring another.
                self._stream = None
        return part

    def _send_frame(self, framed: bytes, out: list[bytes]) -> None:
        if self._client.acknowledge:
            self._last_frame = framed
        out.append(framed)

    def _reply(self, payload: bytes) -> bytes | Iterator[bytes] | None:
        handler, arguments = find_handler(payload)
        self._fault = None
        try:
            return handler(self._client, arguments)
        except MemoryFault as fault:
            self._fault = fault
            return self._client.error(str(fault), _EFAULT)
        except PacketError as error:
            return self._client.error(error.text, error.code)
