"""Serves one client, over any transport."""

from __future__ import annotations

import time
from typing import Any

from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import ExchangeLog
from kdump_gdbserver.adapters.rsp_tcp.transport.channel import Channel
from kdump_gdbserver.adapters.rsp_tcp.transport.keep_alive import KeepAlive
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.ports.debug_session import DebugTarget

# After this many nanoseconds of work comes a pause of this many seconds, for other clients.
_SPELL = 5_000_000
_PAUSE = 0.0001


def serve_client(
    channel: Channel, target: DebugTarget, log: Any, log_exchanges: bool, keep_alive: KeepAlive
) -> None:
    """Serve one client until it leaves or is lost; raises no `Exception`.

    `log` is a structlog logger that is bound to the client.
    """
    log.info("client connected")
    try:
        connection = Connection(target.open_session, ExchangeLog(log, log_exchanges))
        with keep_alive.watching(channel, connection):
            converse(channel, connection)
        log.info("client left")
    except TimeoutError as error:
        log.info("client dropped", reason=str(error))
    except OSError as error:
        log.info("client lost", reason=str(error))
    except InputError as error:
        log.error("cannot show this dump; the client is dropped", reason=str(error))
    except Exception:
        log.exception("internal error; this client is dropped")


def converse(channel: Channel, connection: Connection) -> None:
    """Receive from a client and send it the answers until it leaves.

    It can also interrupt or leave while an answer takes long.
    """
    data = channel.receive()
    while data:
        channel.send(connection.receive(data))
        if connection.busy and not _finish(channel, connection):
            return
        if connection.closed:
            return
        connection.work_ahead()
        data = channel.receive()


def _finish(channel: Channel, connection: Connection) -> bool:
    """Do long work; return False if the client has left meanwhile.

    One that has closed its end alone may still read the answer, as a script does that has sent all
    it wants to ask. A sign of life tells it from one that is gone, whose machine then refuses more.

    A thread that releases the GIL for short system calls mostly gets it back before another thread
    wakes up, and is never forced to drop it. So this sleeps from time to time, for other clients.
    """
    closed = False
    rested = time.perf_counter_ns()
    while connection.busy:
        if time.perf_counter_ns() - rested > _SPELL:
            time.sleep(_PAUSE)
            rested = time.perf_counter_ns()
        part = connection.more()
        if part:
            channel.send(part)
        closed = closed or (connection.busy and not _listen(channel, connection))
        if closed and not part and (not connection.sign_of_life or channel.broken()):
            return False
    return True


def _listen(channel: Channel, connection: Connection) -> bool:
    """Take what a client sends meanwhile; return False if it has closed its end.

    Such a client may still read its answers; if not, sending fails. From a client that has sent
    much ahead nothing more is read, so that packets do not pile up.
    """
    if connection.crowded:
        return not channel.hung_up()
    news = channel.receive_now()
    if news:
        channel.send(connection.receive(news))
    return news != b""
