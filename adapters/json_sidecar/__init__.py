"""Sidecars as JSON files, format version 1 and the earlier script's; see docs/sidecar.md."""

from __future__ import annotations

from kdump_gdbserver.adapters.json_sidecar.store import JsonSidecarStore

__all__ = ["JsonSidecarStore"]
