"""Listening on a Unix socket that only its owner can connect to."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from kdump_gdbserver.adapters.rsp_tcp.transport.tcp import BACKLOG
from kdump_gdbserver.domain.errors import InputError

# To connect takes write permission (unix(7)), and only the owner has it.
_UMASK = 0o177
_SECONDS = 1.0  # for another server to accept


class UnixListener:
    """A listening socket in the file system; `remove` removes it."""

    def __init__(self, path: str) -> None:
        """Listen at `path`, and replace a socket there that no server uses any more.

        Raises `InputError` if that is not possible, or `path` is something else.
        """
        self._path = Path(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._remove_stale()
            before = os.umask(_UMASK)
            try:
                self.socket.bind(path)
            finally:
                os.umask(before)
            self.socket.listen(BACKLOG)
        except (OSError, ValueError) as error:
            self.socket.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"cannot listen on {path}: {reason}; choose another path with --unix"
            ) from error
        except BaseException:
            self.socket.close()
            raise

    def remove(self) -> None:
        """Stop listening and remove the socket's file, unless another server has replaced it."""
        with contextlib.suppress(OSError):
            # close(2) alone leaves it listening while another thread polls it.
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with contextlib.suppress(OSError, InputError):
            self._remove_stale()

    def _remove_stale(self) -> None:
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise InputError(
                f"{self._path} exists and is not a socket; choose another path with --unix"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_SECONDS)
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink(missing_ok=True)
                return
            except TimeoutError:
                pass
        raise InputError(
            f"{self._path} is in use by another server; choose another path with --unix"
        )
