"""The parts of a split dump: whether they belong together, and whether all are there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kdump_gdbserver.adapters.kdumpfile.formats.header import FileHeader
from kdump_gdbserver.domain.errors import DumpOpenError


def check_parts(paths: Sequence[str], headers: Sequence[FileHeader]) -> None:
    """Raise `DumpOpenError` unless the files are parts of one dump."""
    if len(headers) == 1:
        return
    for path, header in zip(paths, headers, strict=True):
        if not header.split:
            raise DumpOpenError(
                f"{path}: is not a part of a split dump; name several files only for the "
                "parts that 'makedumpfile --split' made of one dump"
            )
        if header.identity != headers[0].identity:
            raise DumpOpenError(
                f"{path}: is a part of another dump than {paths[0]}; name the parts of one dump"
            )
    ordered = sorted(zip((header.frames[:2] for header in headers), paths, strict=True))
    for (earlier, one), (later, other) in pairwise(ordered):
        if later[0] < earlier[1]:
            raise DumpOpenError(
                f"{other}: holds the same pages as {one}; name each part of the dump once"
            )


def parts_missing(headers: Sequence[FileHeader]) -> bool:
    """Whether some page frames of a split dump are in none of the files."""
    if not headers[0].split:
        return False
    covered = 0
    for first, end, _ in sorted(header.frames for header in headers):
        if first > covered:
            return True
        covered = max(covered, end)
    return covered < headers[0].frames[2]
