"""The errors of the domain.

Three kinds are kept apart: what the user gave is unusable (`InputError`), one
read of memory failed (`MemoryFault`, the session goes on), and everything else,
which is a bug of ours and is not caught.
"""

import enum


class InputError(Exception):
    """Something the user gave cannot be used; the message is one line, fit to print.

    It names what was wrong and what to do next.
    """


class DumpOpenError(InputError):
    """The dump file(s) cannot be opened or understood."""


class SidecarError(InputError):
    """A JSON sidecar cannot be used; names the file and the field."""


class RegisterError(ValueError):
    """A register name or value does not fit the architecture."""


class FaultReason(enum.Enum):
    """Why a byte of the dumped machine cannot be shown."""

    UNMAPPED = "address is not mapped"
    EXCLUDED = "page is not in the dump (filtered out or never saved)"
    TRUNCATED = "dump file ends before this page (truncated)"
    SWAPPED = "page was swapped out"
    CORRUPT = "page is damaged in the dump file"
    CHANGED = "dump file has changed since it was opened"
    IO = "dump file could not be read"


class MemoryFault(Exception):
    """Memory at `address` cannot be read.

    `address` is the first unreadable byte, in the address space that was asked;
    `reason` is the class of failure and `detail` the reader's own words.
    """

    def __init__(self, address: int, reason: FaultReason, detail: str = "") -> None:
        super().__init__(address, reason, detail)
        self.address = address
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        text = f"cannot read memory at {self.address:#x}: {self.reason.value}"
        return f"{text} ({self.detail})" if self.detail else text
