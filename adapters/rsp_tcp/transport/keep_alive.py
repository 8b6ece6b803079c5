"""KeepAlive: sends signs of life to clients that wait long for an answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
    from kdump_gdbserver.adapters.rsp_tcp.transport.channel import Channel

# In seconds. A sign of life is sent when an answer is late by one to two of these. gdb waits two
# seconds (`set remotetimeout`).
INTERVAL = 0.4


class KeepAlive:
    """One thread for all clients of a server; it runs while there are clients."""

    def __init__(self) -> None:
        self._interval = INTERVAL
        self._lock = threading.Lock()
        self._watched: dict[Channel, Connection] = {}
        self._running = False

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
