"""What a packet handler returns.

A handler says what the answer is. The connection alone writes it in the form that the client
understands, and turns exceptions into error replies.
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from dataclasses import dataclass
from typing import NewType

# The payload of a reply exactly as it is sent, encoded and escaped. At run time it is plain bytes:
# a read of memory needs no further object.
Data = NewType("Data", bytes)


@dataclass(frozen=True, slots=True)
class Ok:
    """`OK`: done."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The empty reply: the packet, or this form of it, is not supported."""


@dataclass(frozen=True, slots=True)
class NoReply:
    """The packet has no reply, like `k` and `R`."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An error: a text for clients that take one, a number for all others."""

    text: str
    code: int = errno.EINVAL


@dataclass(frozen=True, slots=True)
class Refused:
    """An error because no dump can do what is asked for, such as to run.

    Only for packets whose reply is OK or an error: for these every gdb takes a text.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Working:
    """One step of the work is done and more follow: the client may interrupt."""


@dataclass(frozen=True, slots=True)
class Console:
    """A part of a monitor command's output, in whole lines."""

    text: str


OK, UNSUPPORTED, NO_REPLY, WORKING = Ok(), Unsupported(), NoReply(), Working()

Reply = Data | Ok | Unsupported | NoReply | Failed | Refused
Steps = Generator[Working | Console, None, Reply]


@dataclass(frozen=True, slots=True)
class Work:
    """Work that takes long, done in steps; the generator returns the reply."""

    steps: Steps
