"""The structured log of every RSP exchange; costs one test per packet when it is off."""

from __future__ import annotations

from typing import Any

from kdump_gdbserver.domain.errors import MemoryFault

# More of a packet than this tells a reader of the log nothing.
_SHOWN = 120
# Malformed packets told of per client: more would only let it fill the disk under the log.
MOST_MALFORMED = 20


def _shown(payload: bytes) -> str:
    text = payload[:_SHOWN].decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(payload) <= _SHOWN else f"{text}... ({len(payload)} bytes)"


class ExchangeLog:
    """Writes packets and replies to a structlog logger that is bound to one client."""

    def __init__(self, logger: Any, enabled: bool) -> None:
        self._logger = logger
        self.enabled = enabled
        self._malformed = 0

    def exchange(
        self,
        request: bytes,
        reply: bytes | None,
        nanoseconds: int,
        fault: MemoryFault | None = None,
    ) -> None:
        """Log one packet, its reply (None: none was due) and the time it took.

        `fault` is why memory could not be read; most clients get no more than a number.
        """
        why = {} if fault is None else {"fault": str(fault)}
        self._logger.debug(
            "rsp",
            request=_shown(request),
            reply=None if reply is None else _shown(reply),
            reply_bytes=0 if reply is None else len(reply),
            microseconds=nanoseconds // 1000,
            **why,
        )

    def malformed(self, reason: str) -> None:
        """Log a packet that could not be taken; of a flood of them only the first few."""
        self._malformed += 1
        if self._malformed <= MOST_MALFORMED:
            self._logger.warning("malformed packet", reason=reason)
            if self._malformed == MOST_MALFORMED:
                self._logger.warning("this client's further malformed packets are not logged")

    def out_of_step(self) -> None:
        """Log that a client has gone on without an answer and is hung up on."""
        self._logger.warning("client has given an answer up; hung up, lest it take it for another")
