"""What all transports do with a client once they have one."""

from __future__ import annotations

import time
from typing import Any

from kdump_gdbserver.adapters.rsp_tcp.connection import Connection
from kdump_gdbserver.adapters.rsp_tcp.packets.exchange_log import ExchangeLog
from kdump_gdbserver.adapters.rsp_tcp.transport.channel import Channel
from kdump_gdbserver.adapters.rsp_tcp.transport.keep_alive import KeepAlive
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.ports.debug_session import DebugTarget

# Work of so many nanoseconds is followed by a pause of so many seconds, for other clients.
_SPELL = 5_000_000
_PAUSE = 0.0001


def serve_client(
    channel: Channel, target: DebugTarget, log: Any, log_exchanges: bool, keep_alive: KeepAlive
) -> None:
    """Serve one client until it leaves or is lost; never raises an `Exception`.

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
    """Take bytes from a client and send it the answers, until either side ends it.

    The client can interrupt or leave while an answer takes long.
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
    """Do what takes longer; return False when the client has closed its end.

    Python's threads take turns when the one that works is made to stop after a while. One
    that stops by itself now and then, but only for a moment, as to listen, is never made to,
    and the others hardly get a turn: so it pauses for long enough.
    """
    rested = time.perf_counter_ns()
    while connection.busy:
        if time.perf_counter_ns() - rested > _SPELL:
            time.sleep(_PAUSE)
            rested = time.perf_counter_ns()
        part = connection.more()
        if part:
            channel.send(part)
        if connection.busy and not _listen(channel, connection) and not part:
            return False
    return True


def _listen(channel: Channel, connection: Connection) -> bool:
    """Take what a client sends meanwhile; return False when it has closed its end.

    It may still read what it has asked for, or else cannot be sent to. Of one that has
    sent much ahead no more is read, lest that pile up.
    """
    if connection.crowded:
        return not channel.hung_up()
    news = channel.receive_now()
    if news:
        channel.send(connection.receive(news))
    return news != b""
