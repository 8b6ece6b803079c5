"""The structured log of every RSP exchange; costs one test per packet when it is off."""

from __future__ import annotations

from typing import Any

# So much of a packet is shown, in bytes.
_SHOWN = 120
# Malformed packets, and bugs, logged for one client; a client must not fill the disk by them.
MOST_MALFORMED = 20
MOST_BUGS = 20


def _shown(payload: bytes) -> str:
    text = payload[:_SHOWN].decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(payload) <= _SHOWN else f"{text}... ({len(payload)} bytes)"


class ExchangeLog:
    """Writes packets and replies to a structlog logger that is bound to one client."""

    def __init__(self, logger: Any, enabled: bool) -> None:
        self._logger = logger
        self.enabled = enabled
        self._malformed = 0
        self._bugs = 0

    def exchange(
        self, request: bytes, reply: bytes | None, nanoseconds: int, error: str | None = None
    ) -> None:
        """Log one packet, its reply (None: none was due) and the time it took.

        `error` says what an error reply means: many clients get only a number.
        """
        why = {} if error is None else {"error": error}
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

    def bug(self, request: bytes) -> None:
        """Log the exception that is being handled as a bug that this packet has met."""
        self._bugs += 1
        if self._bugs <= MOST_BUGS:
            self._logger.exception("internal error: this is a bug", request=_shown(request))
            if self._bugs == MOST_BUGS:
                self._logger.error("this client's further internal errors are not logged")

    def out_of_step(self) -> None:
        """Log that a client has gone on without an answer and is hung up on."""
        self._logger.warning("client has given an answer up; hung up, lest it take it for another")
