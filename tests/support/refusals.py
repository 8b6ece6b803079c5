"""What the user is told when something given cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import pytest

from kdump_gdbserver.domain.errors import InputError

P = ParamSpec("P")


def refused(call: Callable[P, object], *arguments: P.args, **more: P.kwargs) -> str:
    """Return the one line with which a call refuses its arguments."""
    with pytest.raises(InputError) as caught:
        call(*arguments, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message
