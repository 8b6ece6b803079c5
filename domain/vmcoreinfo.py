"""VMCOREINFO: what the kernel says of itself for readers of its dump."""

import re
from typing import Dict, Mapping, Optional

from .errors import InputError

_TAGGED = re.compile(r"(SYMBOL|SIZE|OFFSET|LENGTH|NUMBER)\(([^)]*)\)\Z")
_HEX = re.compile(r"[0-9a-f]+\Z")


class Vmcoreinfo:
    """The `KEY=VALUE` lines of the VMCOREINFO note.

    Source: the kernel's Documentation/admin-guide/kdump/vmcoreinfo.rst and
    kernel/vmcore_info.c. Symbols are run-time kernel virtual addresses (KASLR
    included); sizes and offsets are in bytes.
    """

    def __init__(self, lines: Mapping[str, str]) -> None:
        self.lines = dict(lines)

    @classmethod
    def parse(cls, raw: bytes) -> "Vmcoreinfo":
        """Parse the note's text, up to a NUL.

        Raises `InputError` when it has no `KEY=VALUE` line at all.
        """
        lines: Dict[str, str] = {}
        for line in raw.split(b"\0", 1)[0].decode("utf-8", "replace").splitlines():
            key, equals, value = line.partition("=")
            if equals and key.strip():
                lines[key.strip()] = value.strip()
        if not lines:
            raise InputError("VMCOREINFO has no KEY=VALUE line; give the note's own text")
        return cls(lines)

    def _number(self, key: str, base: int) -> Optional[int]:
        text = self.lines.get(key)
        try:
            return None if text is None else int(text, base)
        except ValueError:
            return None

    def _address(self, key: str) -> Optional[int]:
        """Return 64 bits in hex; what does not fit them is damaged and counts as not there."""
        value = self._number(key, 16)
        return value if value is not None and 0 <= value < 1 << 64 else None

    def symbol(self, name: str) -> Optional[int]:
        """Run-time address of a kernel symbol, or None."""
        return self._address(f"SYMBOL({name})")

    def number(self, name: str) -> Optional[int]:
        """Value of a NUMBER line, decimal or 0x-prefixed, or None."""
        return self._number(f"NUMBER({name})", 0)

    def size(self, name: str) -> Optional[int]:
        """Size of a kernel type in bytes, or None."""
        return self._number(f"SIZE({name})", 10)

    def offset(self, name: str) -> Optional[int]:
        """Offset of `struct.member` in bytes, or None."""
        return self._number(f"OFFSET({name})", 10)

    def length(self, name: str) -> Optional[int]:
        """Number of elements of an array, or None."""
        return self._number(f"LENGTH({name})", 10)

    @property
    def kaslr_offset(self) -> Optional[int]:
        """KERNELOFFSET: what KASLR added to every kernel address, or None if not told."""
        return self._address("KERNELOFFSET")

    @property
    def release(self) -> Optional[str]:
        """OSRELEASE: the kernel's `uname -r`."""
        return self.lines.get("OSRELEASE")

    @property
    def build_id(self) -> Optional[str]:
        """BUILD-ID of vmlinux as lower-case hex (kernels since 5.9)."""
        text = self.lines.get("BUILD-ID", "").lower()
        return text if _HEX.match(text) else None

    @property
    def crash_time(self) -> Optional[int]:
        """CRASHTIME in seconds since the epoch; only a kernel that crashed writes it."""
        return self._number("CRASHTIME", 10)

    @property
    def page_size(self) -> Optional[int]:
        """PAGESIZE in bytes."""
        return self._number("PAGESIZE", 10)

    def untagged(self, tag: str) -> Dict[str, str]:
        """All lines of one tag, e.g. SYMBOL, by the name inside the brackets."""
        found = ((_TAGGED.match(key), value) for key, value in self.lines.items())
        return {match[2]: value for match, value in found if match and match[1] == tag}
