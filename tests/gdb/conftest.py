"""The debuggers that tests here run with."""

from __future__ import annotations

from tests.support.debuggers import each_debugger

__all__ = ["each_debugger"]
