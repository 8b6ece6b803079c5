"""Loading packages without all that they load themselves."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, cast


@contextlib.contextmanager
def as_if_not_installed(name: str) -> Iterator[None]:
    """Hide an optional module from the imports in the block, unless it is loaded already."""
    loaded = name in sys.modules
    if not loaded:
        cast(dict[str, Any], sys.modules)[name] = None
    try:
        yield
    finally:
        if not loaded:
            del sys.modules[name]
