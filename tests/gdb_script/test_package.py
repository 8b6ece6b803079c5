"""The script and what it loads as a whole: what is left behind, and what it is written in."""

import ast
import os
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from kdump_gdbserver.cli.gdb_script import one_file, script_modules
from tests.gdb_script.conftest import ROOT

TOP = Path(__file__).parents[2]
SCRIPT = TOP / "gdb" / "KdumpGdbCommands.py"
FILES = [SCRIPT, *(TOP / path for path, _ in script_modules())]


def source(path):
    """The names that sourcing a file leaves in the name space all scripts share."""
    return {name for name in runpy.run_path(str(path)) if not name.startswith("__")}


def loaded():
    return {name for name in sys.modules if name.split(".")[0] == ROOT}


@pytest.fixture
def said(script, monkeypatch):
    """What the script writes; the session's modules are back afterwards."""
    lines = []
    for name in loaded():
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    gdb = script.target.gdb
    monkeypatch.setattr(gdb, "write", lambda text, _stream: lines.append(text), raising=False)
    monkeypatch.setattr(gdb, "commands", [])
    monkeypatch.setenv("PATH", "")
    return lines


def copy_of_all(folder):
    for file in FILES:
        (folder / file.relative_to(TOP)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file.relative_to(TOP))
    return folder / SCRIPT.relative_to(TOP)


def test_nothing_is_left_in_the_shared_name_space(said):
    path, modules = list(sys.path), set(sys.modules) - loaded()
    assert source(SCRIPT) == set()
    assert sys.path == path
    assert set(sys.modules) - loaded() == modules
    assert said == []


@pytest.mark.parametrize("part", ["nothing", "kdump_commands", "domain"])
def test_without_the_rest_it_says_so_in_one_line(script, said, tmp_path, part):
    whole = tmp_path / "whole"
    copy_of_all(whole)
    alone = tmp_path / "alone" / SCRIPT.name
    alone.parent.mkdir()
    alone.write_bytes(SCRIPT.read_bytes())
    for folder in (whole / "gdb" / part, whole / part):
        if folder.is_dir():
            folder.rename(alone.parent / part)
    assert source(alone) == set()
    assert said == [
        "KdumpGdbCommands.py: domain and kdump_commands are not beside it: source the file "
        "that `kdump-gdbserver --print-gdb-script` names, or, to have it elsewhere, the one file "
        "that `kdump-gdbserver --write-gdb-script FILE` writes\n"
    ]
    assert script.target.gdb.commands == []


def test_sourcing_again_brings_what_the_files_have_then(script, said, tmp_path):
    copy = copy_of_all(tmp_path)
    assert source(copy) == set()
    changed = copy.parent / "kdump_commands" / "command_kernel_ps.py"
    stamp = changed.stat().st_mtime
    changed.write_text(changed.read_text().replace("List every task", "Name all the tasks"))
    os.utime(changed, (stamp + 2, stamp + 2))  # as a later update; Python's cache counts seconds
    assert source(copy) == set()
    first, second = (c for c in script.target.gdb.commands if c.name == "kdump-kernel-ps")
    assert type(first).__doc__.startswith("List every task")
    assert type(second).__doc__.startswith("Name all the tasks")


def test_one_file_has_the_very_same_in_it(script, said, tmp_path):
    alone = tmp_path / "script.py"
    alone.write_text(one_file())
    before = loaded()
    assert source(alone) == set()
    assert said == []
    assert loaded() == before
    for path, text in script_modules():
        assert (TOP / path).read_text() == text
        name = f"{ROOT}.{path.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
        module = sys.modules[name]
        assert getattr(module, "__file__", None) is None
        assert module.__doc__ == ast.get_docstring(ast.parse(text), clean=False)
        assert module.__package__ == (name if "__init__" in path else name.rpartition(".")[0])
    assert {"kdump-kernel-ps", "kdump-save-kernel-json"} < {
        c.name for c in script.target.gdb.commands
    }


def test_it_loads_nothing_of_ours_but_what_is_known_of_kernels_and_architectures():
    rooms = {str(file.parent.relative_to(TOP)) for file in FILES}
    assert rooms == {
        "domain",
        "domain/arch",
        "domain/kernel",
        "domain/kernel/process",
        "gdb",
        "gdb/kdump_commands",
    }
    assert {file.stem for file in FILES if file.parent == TOP / "domain"} == {
        "__init__",
        "address_space",
        "errors",
        "page_tables",
        "page_walk",
        "virtual_memory",
        "vmcoreinfo",
    }


@pytest.mark.parametrize("folder", ["domain/arch", "domain/kernel", "gdb/kdump_commands"])
def test_every_module_of_ours_is_loaded(folder):
    """But for what only the server needs."""
    there = set((TOP / folder).rglob("*.py"))
    assert {file.name for file in there - set(FILES)} <= {"current.py"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_syntax_is_that_of_python_3_6(file):
    """What the parser tells; `make check` looks for calls that Python 3.6 has not."""
    ast.parse(file.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("file", FILES[1:], ids=lambda file: file.stem)
def test_only_gdb_and_the_standard_library_are_imported(file):
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level]
    allowed = {"gdb"} if "gdb" in file.parts[-3:] else set()
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | allowed
    # What Python 3.6 has not.
    assert not {"dataclasses", "graphlib", "tomllib", "zoneinfo", "__future__"} & set(names)


@pytest.mark.parametrize("folder", ["domain/kernel", "gdb/kdump_commands"])
def test_the_package_tells_of_each_module(folder):
    text = (TOP / folder / "__init__.py").read_text()
    names = {path.stem for path in (TOP / folder).iterdir() if path.name[0] != "_"}
    plain = {name for name in names if not name.startswith("command_")}
    assert len(plain) > 7
    assert {name for name in plain if name not in text} == set()
