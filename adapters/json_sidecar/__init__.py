"""Sidecars as JSON files, format version 1 and the earlier script's; see docs/sidecar.md."""

from __future__ import annotations

from kdump_gdbserver.adapters.json_sidecar.read import JsonSidecarReader

__all__ = ["JsonSidecarReader"]
