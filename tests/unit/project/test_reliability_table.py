"""docs/reliability.md promises nothing that no test shows."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/reliability.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
LIMITS = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|[^|]+\| `([\w/]+)\.py` \|$", TEXT, re.MULTILINE)
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
ROWS = [line for line in TEXT.splitlines() if line.startswith("|") and "tests/" in line]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)} | {
        target.id for target in targets if isinstance(target, ast.Name)
    }


def test_every_fault_has_a_test() -> None:
    assert len(ROWS) == len(NAMED) > 30
    tables = re.findall(r"^\| Fault \|", TEXT, re.MULTILINE)
    assert len(tables) == 4


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_named_test_exists(file: str, name: str) -> None:
    assert name in names_in(ROOT / file)


@pytest.mark.parametrize(("name", "value", "module"), LIMITS)
def test_the_named_limit_is_as_said(name: str, value: str, module: str) -> None:
    number, _, unit = value.replace(",", "").partition(" ")
    found = importlib.import_module(f"kdump_gdbserver.{module.replace('/', '.')}")
    assert getattr(found, name) == int(number) * UNITS.get(unit, 1)


def test_limits_are_found() -> None:
    assert len(LIMITS) == 41
