"""KeepAlive: sends signs of life to clients that wait long for an answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
    from kdump_gdbserver.adapters.rsp_tcp.transport.channel import Channel

# In seconds. A sign of life is sent when an answer is late by one to two of these. gdb waits two
# seconds (`set remotetimeout`).
INTERVAL = 0.4
# In seconds. A client may close its end and still wait for an answer; so long it is believed to.
MAX_LEFT_BEHIND = 30


class KeepAlive:
    """One thread for all clients of a server; it runs while there are clients.

    It also notices work that goes on and on though its client has left: a C function, maybe, that
    never returns, and that nothing in this process can stop. `when_stuck` is called for that.
    """

    when_stuck: Callable[[], None] | None = None

    def __init__(self) -> None:
        self._interval = INTERVAL
        self._lock = threading.Lock()
        self._watched: dict[Channel, Connection] = {}
        self._running = False
        self._left: dict[Channel, tuple[int, float]] = {}  # at what turn, and since when

    @contextlib.contextmanager
    def watching(self, channel: Channel, connection: Connection) -> Iterator[None]:
        """Watch a client while the block runs; its descriptors may be closed afterwards."""
        with self._lock:
            self._watched[channel] = connection
            if not self._running:
                # If no thread can be started, clients do without.
                with contextlib.suppress(RuntimeError):
                    threading.Thread(target=self._run, name="keep-alive", daemon=True).start()
                    self._running = True
        try:
            yield
        finally:
            with self._lock:
                del self._watched[channel]
            channel.end()

    def _run(self) -> None:
        while True:
            time.sleep(self._interval)
            with self._lock:
                watched = list(self._watched.items())
                if not watched:
                    self._running = False
                    return
            for channel, connection in watched:
                sign = connection.sign_of_life
                if sign:
                    channel.send_meanwhile(sign)
            if self.when_stuck is not None and self._is_stuck([one for one, _ in watched]):
                self.when_stuck()

    def _is_stuck(self, channels: Iterable[Channel]) -> bool:
        now, left = time.monotonic(), self._left
        self._left = {}
        for channel in channels:
            # Its descriptor may have been closed meanwhile; then it is not in the next list.
            turn = channel.left_at_work
            if turn is not None:
                before, since = left.get(channel, (turn, now))
                self._left[channel] = turn, since if before == turn else now
        return any(now - since > MAX_LEFT_BEHIND for _, since in self._left.values())
