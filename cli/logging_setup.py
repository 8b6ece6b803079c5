"""Where the log goes, and in which form."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO, cast

from kdump_gdbserver.cli.imports import as_if_not_installed
from kdump_gdbserver.domain.errors import InputError
from kdump_gdbserver.domain.text import printable

if TYPE_CHECKING:
    from structlog.typing import EventDict

# A FIFO that nobody reads is an error; do not wait for a reader.
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_NO_LINK = os.O_NOFOLLOW


def set_up_logging(debug: bool = False, as_json: bool = False, path: str | None = None) -> Any:
    """Return a structlog logger that writes to a file, or to standard error.

    Without `debug` only warnings and errors are written, and the RSP exchanges of clients
    that ask for it (`monitor log on`); with it, every event. Raises `InputError` when the
    file cannot be written.
    """
    stream = sys.stderr if path is None else _log_file(path)
    return _Logger(lambda: _configure(stream, debug, as_json))


class _Logger:
    """Structlog's root logger, loaded when first used: a server listens by then."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load

    @functools.cached_property
    def _loaded(self) -> Any:
        return self._load()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loaded, name)


def _configure(stream: TextIO, debug: bool, as_json: bool) -> Any:
    # rich formats tracebacks, which are not needed here; loading it would take 50 ms.
    with as_if_not_installed("rich"):
        import structlog
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            *([] if debug else [_drop_unasked]),
            _on_one_line,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Forgiving(stream))),
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger()


def _log_file(path: str) -> TextIO:
    """Open a log for appending, readable only by its owner: it contains bytes of the dump.

    A link, or a file of somebody else's, may have been put there to have the dump's bytes read, or
    another file written to and its mode changed.
    """
    try:
        descriptor = os.open(path, _APPEND | _NO_LINK, 0o600)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            if status.st_uid != os.geteuid() or status.st_nlink > 1:
                os.close(descriptor)
                raise ValueError("is another user's file, or has more than one name")
            os.fchmod(descriptor, 0o600)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", 0) == errno.ELOOP:
            reason = "is a symbolic link"
        raise InputError(
            f"{path}: {reason}; --log-file takes a file that you can write to"
        ) from None
    return os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace")


def _drop_unasked(logger: Any, method: str, event: EventDict) -> EventDict:
    from structlog import DropEvent

    # Exchanges come here only when somebody asked for them.
    if method in ("debug", "info") and event["event"] != "rsp":
        raise DropEvent
    return event


def _on_one_line(logger: Any, method: str, event: EventDict) -> EventDict:
    """Make every value fit to print; what a traceback says is ours, but for the last lines."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = printable(value)
    return event


class _Forgiving:
    """A stream that drops lines rather than fail a client.

    A full disk, or a reader that has gone, does not stop the server. Each line is one write, so a
    sudden end of the process leaves no partial line.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()
