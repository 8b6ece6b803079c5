"""The structured log of RSP exchanges; while it is off, it costs one test for each packet."""

from __future__ import annotations

from typing import Any

# Bytes of a packet that are shown.
_SHOWN = 120
# What is logged of each kind for each client, so that no client fills the disk with it.
MOST_MALFORMED = 20
MOST_BUGS = 20
MOST_REFUSED = 20


def _shown(payload: bytes) -> str:
    text = payload[:_SHOWN].decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(payload) <= _SHOWN else f"{text}... ({len(payload)} bytes)"


class ExchangeLog:
    """Logs packets and replies to a structlog logger that is bound to one client."""

    def __init__(self, logger: Any, enabled: bool) -> None:
        self._logger = logger
        self.enabled = enabled
        self._malformed = 0
        self._bugs = 0
        self._refused = 0
        self._wrong = 0

    def exchange(
        self, request: bytes, reply: bytes | None, nanoseconds: int, error: str | None = None
    ) -> None:
        """Log one packet, its reply (None if it has none) and the time it took.

        `error` is the text of an error reply: many clients get only a number.
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
        """Log a packet that was rejected; only the first few of a flood."""
        self._malformed += 1
        if self._malformed <= MOST_MALFORMED:
            self._logger.warning("malformed packet", reason=reason)
            if self._malformed == MOST_MALFORMED:
                self._logger.warning("this client's further malformed packets are not logged")

    def bug(self, request: bytes) -> None:
        """Log the exception being handled, with its traceback, as a bug that this packet hit."""
        self._bugs += 1
        if self._bugs <= MOST_BUGS:
            self._logger.exception("internal error: this is a bug", request=_shown(request))
            if self._bugs == MOST_BUGS:
                self._logger.error("this client's further internal errors are not logged")

    def refused(self, reason: str) -> None:
        """Log why a client does not get what it asked for; the protocol has no words for it."""
        self._refused += 1
        if self._refused <= MOST_REFUSED:
            self._logger.warning("refused", reason=reason)

    def wrong_symbols(self, problem: str) -> None:
        """Log that what the client will show is wrong; the protocol has no words for it."""
        self._wrong += 1
        if self._wrong <= MOST_REFUSED:
            self._logger.warning("wrong symbols", problem=problem)

    def out_of_step(self) -> None:
        """Log that a client went on without an answer and is disconnected for that."""
        self._logger.warning("client gave up waiting for an answer; hung up to keep it in step")
