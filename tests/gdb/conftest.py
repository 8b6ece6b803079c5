"""The debuggers that tests here run with."""

from __future__ import annotations

from tests.support.debuggers import each_debugger
from tests.support.own_cache import own_cache

__all__ = ["each_debugger", "own_cache"]
