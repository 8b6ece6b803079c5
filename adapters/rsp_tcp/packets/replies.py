"""What a handler answers a packet by.

A handler says what the answer is. How it is written for a client, and what becomes of an error,
is up to the connection alone.
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from dataclasses import dataclass
from typing import NewType

# The payload of the reply as it is sent, encoded and escaped. At run time it is bytes: there is no
# object to make for each read of memory.
Data = NewType("Data", bytes)


@dataclass(frozen=True, slots=True)
class Ok:
    """`OK`: it is done."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The empty reply: the server does not know the packet, or this form of it."""


@dataclass(frozen=True, slots=True)
class NoReply:
    """Nothing is sent, as the protocol has it for `k` and `R`."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An error: the text for clients that take words, the error number for all others."""

    text: str
    code: int = errno.EINVAL


@dataclass(frozen=True, slots=True)
class Refused:
    """An error for what no dump can do, such as to run.

    Only for packets that are answered by OK or an error: any gdb takes words for these.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Working:
    """A step of work is done, and more is to come: the client may interrupt now."""


@dataclass(frozen=True, slots=True)
class Console:
    """A piece of a monitor command's output, of whole lines."""

    text: str


OK, UNSUPPORTED, NO_REPLY, WORKING = Ok(), Unsupported(), NoReply(), Working()

Reply = Data | Ok | Unsupported | NoReply | Failed | Refused
Steps = Generator[Working | Console, None, Reply]


@dataclass(frozen=True, slots=True)
class Work:
    """What takes long, in steps; they return the reply at their end."""

    steps: Steps
