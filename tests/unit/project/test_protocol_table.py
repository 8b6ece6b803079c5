"""docs/protocol.md has a row for every packet, and every row's test is there."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.rsp_tcp.packets.dispatch import BY_LETTER, BY_WORD
from kdump_gdbserver.adapters.rsp_tcp.packets.monitor import _OWN
from kdump_gdbserver.adapters.rsp_tcp.packets.objects import _OBJECTS
from kdump_gdbserver.application.monitor.monitor import _COMMANDS

TESTS = Path(__file__).parents[2]
DOCUMENT = TESTS.parent / "docs" / "protocol.md"
_ROW = re.compile(r"^\| `([^`]+)` \| (.+) \| (.+) \| (\S+)::(\w+) \|$", re.MULTILINE)
ROWS = _ROW.findall(DOCUMENT.read_text())
NAMED = [row[0] for row in ROWS]


@lru_cache
def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_line_of_a_table_is_a_row() -> None:
    lines = [
        line
        for line in DOCUMENT.read_text().splitlines()
        if line.startswith("|") and not line.startswith(("| packet |", "|---"))
    ]
    assert len(lines) == len(ROWS) > 60


def test_no_packet_has_two_rows() -> None:
    assert sorted(NAMED) == sorted(set(NAMED))


def test_every_packet_that_is_dispatched_has_a_row() -> None:
    dispatched = {chr(letter) for letter in BY_LETTER} | {word.decode() for word in BY_WORD}
    dispatched.remove("qXfer")  # by object
    dispatched |= {f"qXfer:{name}:read" for name in _OBJECTS}
    dispatched |= {f"monitor {name}" for name in (*_COMMANDS, *_OWN)}
    assert set(NAMED) == dispatched


@pytest.mark.parametrize("row", ROWS, ids=NAMED)
def test_the_test_of_a_row_is_there(row: tuple[str, str, str, str, str]) -> None:
    _, _, _, file, function = row
    assert (TESTS / file).is_file(), file
    assert function in functions_of(TESTS / file)
