"""KeepAlive: tells clients whose answers are long in coming that the server lives."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
from kdump_gdbserver.adapters.rsp_tcp.transport.channel import Channel

# In seconds. An answer that is late by one to two of these is announced; gdb loses patience
# after two seconds (`set remotetimeout`).
INTERVAL = 0.4


class KeepAlive:
    """One thread for all clients of a server, there as long as there are clients."""

    def __init__(self) -> None:
        self._interval = INTERVAL
        self._lock = threading.Lock()
        self._watched: dict[Channel, Connection | None] = {}
        self._running = False

    @contextlib.contextmanager
    def watching(self, channel: Channel) -> Iterator[None]:
        """Look after a client while the block runs; after it its descriptors may be closed."""
        with self._lock:
            self._watched[channel] = None
            if not self._running:
                # Without a thread to be had, clients can do without.
                with contextlib.suppress(RuntimeError):
                    threading.Thread(target=self._run, name="keep-alive", daemon=True).start()
                    self._running = True
        try:
            yield
        finally:
            with self._lock:
                del self._watched[channel]
            channel.end()

    def begin(self, channel: Channel, connection: Connection) -> bytes:
        """Know of a client's connection from now on; return what it has sent before."""
        with self._lock:
            self._watched[channel] = connection
        return channel.begin()

    def _run(self) -> None:
        while True:
            time.sleep(self._interval)
            with self._lock:
                watched = list(self._watched.items())
                if not watched:
                    self._running = False
                    return
            for channel, connection in watched:
                if connection is None:
                    channel.early_sign_of_life()
                elif connection.takes_signs_of_life:
                    channel.sign_of_life()
