"""HostFiles on a directory of the host."""

from __future__ import annotations

from kdump_gdbserver.adapters.host_files.directory import HostDirectory

__all__ = ["HostDirectory"]
