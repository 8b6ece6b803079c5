"""One client's conversation, sans I/O: bytes received in, bytes to send out."""

from __future__ import annotations

import errno
from collections.abc import Callable
from time import perf_counter_ns

from kdump_gdbserver.adapters.rsp_tcp.packets.client import Client
from kdump_gdbserver.adapters.rsp_tcp.packets.dispatch import find_handler
from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import ExchangeLog
from kdump_gdbserver.adapters.rsp_tcp.packets.replies import (
    OK,
    Console,
    Failed,
    Refused,
    Reply,
    Steps,
    Work,
)
from kdump_gdbserver.adapters.rsp_tcp.read_ahead import ReadAhead
from kdump_gdbserver.adapters.rsp_tcp.rendering import Output, payload_of
from kdump_gdbserver.adapters.rsp_tcp.wire.encoding import PacketError
from kdump_gdbserver.adapters.rsp_tcp.wire.framing import (
    Event,
    Malformed,
    Packet,
    PacketReader,
    Signal,
    frame,
)
from kdump_gdbserver.domain.errors import InputError, MemoryFault
from kdump_gdbserver.ports.debug_session import DebugSession

_GREETING = b"qSupported"
# gdb (since 7.2) offers this feature in its greeting, and no other client does.
_SAID_BY_GDB = b"qRelocInsn+"
# gdb ignores it while it waits for a packet, with or without acknowledgements.
_SIGN_OF_LIFE = b"+"
_NO_ANSWER = (Signal.ACK, Signal.INTERRUPT)
_STEPS_AT_ONCE = 3  # the reply to a short command goes out with its output
# With more bytes than this to send, further packets wait until the client has taken them. A client
# that asks for much and takes nothing makes the server hold no more than this and one reply.
MAX_HELD = 0x40000
# Packets, and bytes of them, that a client may send ahead during long work; beyond either, nothing
# is read from it.
MAX_WAITING = 64
MAX_BYTES_WAITING = 0x100000
# gdb asks for a late answer this many times, every two seconds (MAX_TRIES in its remote.c). Then it
# goes on without it, and would take it for the answer to its next packet.
_GIVES_UP_AFTER = 3


class _Job:
    """A packet that is being answered in steps."""

    __slots__ = ("interrupted", "output", "payload", "started", "steps")

    def __init__(self, steps: Steps, payload: bytes, started: int, output: Output) -> None:
        self.steps = steps
        self.payload = payload
        self.started = started
        self.output = output
        self.interrupted = False


class Connection:
    """Answers the packets of one client.

    It handles acknowledgement and retransmission (GDB manual, "Packet Acknowledgment"). It alone
    turns what handlers return or raise into frames, whether in a call or in a step of long work.
    While it is `busy`, `more` does the next step.
    """

    def __init__(self, open_session: Callable[[], DebugSession], log: ExchangeLog) -> None:
        self._open_session: Callable[[], DebugSession] | None = open_session  # None once it is open
        self._reader = PacketReader()
        self._client = Client(log)
        self._log = log
        self._last_frame = b""
        self._ahead = ReadAhead()
        self._waiting: list[Event] = []
        self._job: _Job | None = None
        self._greeting: bytes | None = None  # until its reply is acknowledged
        self._is_gdb = False  # by the first packet
        self._nacks = 0  # since the last packet

    @property
    def sign_of_life(self) -> bytes:
        """The bytes to send, between two frames, while an answer takes long; maybe none.

        LLDB gets none, since it would take them for the answer. While the session is being opened
        only a client known to be gdb gets them. Other threads may call this.
        """
        if self._open_session is None:
            return b"" if self._client.lldb else _SIGN_OF_LIFE
        return _SIGN_OF_LIFE if self._is_gdb else b""

    @property
    def closed(self) -> bool:
        """Whether the client has left; no more bytes should be fed."""
        return self._client.leaving

    @property
    def busy(self) -> bool:
        """Whether there is more to do, by calls of `more`."""
        return self._job is not None or bool(self._waiting)

    @property
    def crowded(self) -> bool:
        """Whether so many packets wait that no more should be fed now."""
        waiting = self._waiting
        return len(waiting) >= MAX_WAITING or (
            sum(len(each.payload) for each in waiting if isinstance(each, Packet))
            >= MAX_BYTES_WAITING
        )

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the client and return the bytes to send, maybe none.

        While `busy`, packets wait for their turn, and an interrupt ends the work. The first packet
        opens the session; this raises what that raises, such as `InputError`, and nothing else.
        """
        out: list[bytes] = []
        if self._job is None and not self._waiting:
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
        """Keep what arrives during long work, or directly after the packet that started it."""
        if self._job is not None and Signal.INTERRUPT in events:
            self._job.interrupted = True
        self._waiting += (each for each in events if each not in _NO_ANSWER)

    def more(self) -> bytes:
        """Do the next step, then answer what waits, and return the bytes to send, maybe none.

        If still `busy`, this is the moment to see whether the client interrupts or has left.
        """
        out: list[bytes] = []
        if self._job is not None:
            self._step(self._job, out)
        if self._job is None:
            waiting, self._waiting = self._waiting, []
            self._take(waiting, out)
        return b"".join(out)

    def work_ahead(self) -> None:
        """Prepare the reply to the packet that is likely to come next, once all is sent."""
        wanted = self._ahead.wanted
        if not wanted:
            return
        self._ahead.wanted = b""
        handler, arguments = find_handler(wanted)
        try:
            reply = handler(self._client, arguments)
        except Exception:  # raised again, and reported, if the packet comes
            return
        if isinstance(reply, bytes):
            self._ahead.keep(wanted, reply, frame(reply))

    def _take(self, events: list[Event], out: list[bytes]) -> None:
        """Handle events in order, as long as there is no long work and not too much to send."""
        held = 0
        for number, event in enumerate(events, start=1):
            before = len(out)
            self._handle(self._believed(event), out)
            if self._client.leaving:
                break
            if self._job is not None:
                self._wait_with(events[number:])
                break
            if number < len(events):
                held += sum(map(len, out[before:]))
                if held > MAX_HELD:
                    self._waiting = events[number:]
                    break

    def _handle(self, event: Event, out: list[bytes]) -> None:
        if isinstance(event, Packet):
            if self._open_session is not None:
                self._begin(self._open_session, event.payload)
            if not self._client.acknowledge or self._acknowledge(event.payload, out):
                self._answer(event.payload, out)
        elif isinstance(event, Malformed):
            self._log.malformed(event.reason)
            if self._client.acknowledge:
                out.append(b"-")
        elif event is Signal.NACK:
            self._send_again(out)
        elif event is Signal.ACK:
            self._greeting = None
        # An interrupt needs no answer: nothing runs, so the client waits for no stop reply.

    def _believed(self, event: Event) -> Event:
        """Take a packet with a wrong checksum for one, if checksums have come not to count."""
        if isinstance(event, Malformed) and event.payload is not None:
            return event if self._client.acknowledge else Packet(event.payload)
        return event

    def _begin(self, open_session: Callable[[], DebugSession], first: bytes) -> None:
        """Open the session, which may take long; the first packet tells which client waits."""
        self._is_gdb = first.startswith(_GREETING) and _SAID_BY_GDB in first
        self._client.begin(open_session())
        self._open_session = None

    def _acknowledge(self, payload: bytes, out: list[bytes]) -> bool:
        """Acknowledge a packet; False for a greeting that gdb repeated because it had to wait."""
        if payload == self._greeting:
            return False
        out.append(b"+")
        self._greeting = payload if payload.startswith(_GREETING) else None
        return True

    def _send_again(self, out: list[bytes]) -> None:
        """Handle a nack: send the last frame again, but not without acknowledgements.

        Then gdb sends a nack because it has waited long. It would take a second answer for the
        answer to its next packet.
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
        started = perf_counter_ns()
        kept = self._ahead.take(payload)
        if kept is not None:
            self._send(kept[1], out)
            self._count(payload, kept[0], kept[0], started)
            return
        handler, arguments = find_handler(payload)
        try:
            answer = handler(self._client, arguments)
        except Exception as error:
            answer = self._failure(error, payload)
        if isinstance(answer, bytes):  # first, as most are
            self._send(frame(answer), out)
            self._count(payload, answer, answer, started)
        elif isinstance(answer, Work):
            self._job = job = _Job(answer.steps, payload, started, Output(self._client))
            for _ in range(_STEPS_AT_ONCE):
                self._step(job, out)
                if self._job is None:
                    break
        else:
            self._finish(answer, payload, started, out)

    def _step(self, job: _Job, out: list[bytes]) -> None:
        """Do one step of long work, and send the reply if it was the last."""
        steps, output = job.steps, job.output
        try:
            if job.interrupted:
                steps.close()
                reply: Reply = Failed("interrupted", errno.EINTR)
            else:
                part = next(steps)
                if isinstance(part, Console):
                    for piece in output.add(part.text):
                        self._send(frame(piece), out)
                if not output.full:
                    return
                steps.close()
                reply = OK
        except StopIteration as end:
            reply = end.value
        except Exception as error:
            reply = self._failure(error, job.payload)
        # From now on an interrupt must not cause another reply.
        self._job = None
        self._finish(output.end(reply), job.payload, job.started, out)

    def _failure(self, error: Exception, payload: bytes) -> Failed:
        """Return the error reply for an exception of a handler; log it if it is a bug."""
        if isinstance(error, MemoryFault):
            return Failed(str(error), errno.EFAULT)
        if isinstance(error, PacketError):
            return Failed(error.text, error.code)
        if isinstance(error, InputError):
            return Failed(str(error))
        self._log.bug(payload)
        return Failed("internal error; the server's log has the traceback", errno.EIO)

    def _finish(self, reply: Reply, payload: bytes, started: int, out: list[bytes]) -> None:
        """Send the reply to a packet, unless it has none."""
        written = payload_of(reply, self._client)
        if written is not None:
            self._send(frame(written), out)
        # Only `QStartNoAckMode` changes this, and its reply comes this way.
        self._reader.verify_checksums = self._client.acknowledge
        self._count(payload, reply, written, started)

    def _send(self, framed: bytes, out: list[bytes]) -> None:
        if self._client.acknowledge:
            self._last_frame = framed
        out.append(framed)

    def _count(self, payload: bytes, reply: Reply, written: bytes | None, started: int) -> None:
        """Count and log a packet that has been answered."""
        elapsed = perf_counter_ns() - started
        self._client.statistics.count(len(payload), len(written) if written else 0, elapsed)
        if self._log.enabled:
            error = reply.text if isinstance(reply, Failed | Refused) else None
            self._log.exchange(payload, written, elapsed, error)
