"""A do-nothing server in Python: every read is answered with the same ready-made bytes.

`python -m benchmarks.python_stub` prints its port. What a server in Python needs for a round
trip cannot be less than this.
"""

from __future__ import annotations

import os
import socket

_REPLY = b"$0000000000000000#00"


def main() -> None:
    """Serve clients, one after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client:
            _converse(client.fileno())


def _converse(descriptor: int) -> None:
    while data := os.read(descriptor, 0x1000):
        if b"$m" in data:
            os.write(descriptor, _REPLY)
        elif b"$qSupported" in data:
            os.write(descriptor, b"+$PacketSize=1000;QStartNoAckMode+#00")
        elif b"$" in data:
            os.write(descriptor, b"+$OK#9a")


if __name__ == "__main__":
    main()
