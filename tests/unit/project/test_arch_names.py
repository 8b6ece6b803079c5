"""What is special about an architecture is in domain/arch alone: no name of one anywhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdump_gdbserver.domain.arch import ARCHITECTURES, COMPAT, Arch

ROOT = Path(__file__).parents[3]
NAMES = {
    name
    for arch in (*ARCHITECTURES.values(), *COMPAT.values())
    for name in (arch.name, *arch.aliases)
}
FOLDERS = ("adapters", "application", "cli", "domain", "ports")
# Machines that are told apart from ours, to name them in a message, and those that this runs on.
FOREIGN = {"adapters/kdumpfile/formats/elf_header.py", "adapters/sandbox/abi.py"}


def modules() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("domain/arch/") and name not in FOREIGN:
                yield path


def docstrings(tree: ast.AST) -> set[int]:
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }


def offences(source: str) -> list[str]:
    """Return what a module knows of single architectures, with its line numbers."""
    tree = ast.parse(source)
    words = docstrings(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in words:
            value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            if value in NAMES:
                found.append(f"{node.lineno}: the name {value!r}")
        if isinstance(node, ast.ImportFrom) and "domain.arch" in (node.module or ""):
            taken = {alias.name for alias in node.names}
            found += [f"{node.lineno}: imports {name}" for name in taken if name.lower() in NAMES]
        if isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                if isinstance(side, ast.Attribute) and ast.unparse(side).endswith("arch.name"):
                    others = [part for part in (node.left, *node.comparators) if part is not side]
                    if not all(isinstance(other, ast.Attribute) for other in others):
                        found.append(f"{node.lineno}: compares {ast.unparse(side)}")
    return found


def test_no_module_outside_of_domain_arch_knows_an_architecture() -> None:
    paths = list(modules())
    assert len(paths) > 100
    found = {
        path.relative_to(ROOT).as_posix(): offences(path.read_text(encoding="utf-8"))
        for path in paths
    }
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        'if arch.name == "x86_64": pass',
        'table = {"aarch64": 1}',
        'if kernel_arch.name in ("riscv64", "arm"): pass',
        "if dump.facts.arch.name not in SOME: pass",
        'formats = {1: b"riscv64"}',
        "from kdump_gdbserver.domain.arch import X86_64",
        "from kdump_gdbserver.domain.arch.aarch64 import AARCH64",
    ],
)
def test_the_guard_would_notice(source: str) -> None:
    assert offences(source)


def test_words_and_other_names_are_allowed() -> None:
    assert offences('"""Of x86_64."""\nprint(arch.name, dump.arch == other.arch)') == []


@pytest.mark.parametrize("arch", [*ARCHITECTURES.values(), *COMPAT.values()], ids=str)
def test_an_architecture_knows_no_other_but_the_one_whose_kernel_runs_it(arch: Arch) -> None:
    tree = ast.parse((ROOT / "domain" / "arch" / f"{arch.name}.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported & NAMES <= {arch.compat_of}
