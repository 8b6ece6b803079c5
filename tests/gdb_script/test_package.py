"""The script and its package as a whole: what they leave behind, and what they are written in."""

import ast
import os
import runpy
import sys
from pathlib import Path

import pytest

GDB = Path(__file__).parents[2] / "gdb"
FILES = [GDB / "KdumpGdbCommands.py", *sorted((GDB / "kdump_commands").glob("*.py"))]


def source(path):
    """The names that sourcing a file leaves in the name space all scripts share."""
    return {name for name in runpy.run_path(str(path)) if not name.startswith("__")}


@pytest.fixture
def said(script, monkeypatch):
    """What the script writes; the session's modules are back afterwards."""
    lines = []
    for name in [name for name in sys.modules if name.startswith("kdump_commands")]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    gdb = script.target.gdb
    monkeypatch.setattr(gdb, "write", lambda text, _stream: lines.append(text), raising=False)
    monkeypatch.setattr(gdb, "commands", [])
    return lines


def test_nothing_is_left_in_the_shared_name_space(said):
    path = list(sys.path)
    assert source(FILES[0]) == set()
    assert sys.path == path
    assert said == []


def test_without_its_folder_it_says_so_in_one_line(script, said, tmp_path):
    alone = tmp_path / "KdumpGdbCommands.py"
    alone.write_bytes(FILES[0].read_bytes())
    assert source(alone) == set()
    assert said == [
        f"KdumpGdbCommands.py: no folder kdump_commands in {tmp_path}: copy the folder too, or "
        "source the file that `kdump-gdbserver --print-gdb-script` names\n"
    ]
    assert script.target.gdb.commands == []


def test_sourcing_again_brings_what_the_files_have_then(script, said, tmp_path):
    copy = tmp_path / FILES[0].name
    (tmp_path / "kdump_commands").mkdir()
    for file in FILES:
        (tmp_path / file.relative_to(GDB)).write_bytes(file.read_bytes())
    assert source(copy) == set()
    changed = tmp_path / "kdump_commands" / "command_kernel_ps.py"
    stamp = changed.stat().st_mtime
    changed.write_text(changed.read_text().replace("List every task", "Name all the tasks"))
    os.utime(changed, (stamp + 2, stamp + 2))  # as a later update; Python's cache counts seconds
    assert source(copy) == set()
    first, second = (c for c in script.target.gdb.commands if c.name == "kdump-kernel-ps")
    assert type(first).__doc__.startswith("List every task")
    assert type(second).__doc__.startswith("Name all the tasks")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_syntax_is_that_of_python_3_6(file):
    ast.parse(file.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("file", FILES[1:], ids=lambda file: file.stem)
def test_only_gdb_and_the_standard_library_are_imported(file):
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level]
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | {"gdb"}
    # What Python 3.6 has not.
    assert not {"dataclasses", "graphlib", "tomllib", "zoneinfo", "__future__"} & set(names)


def test_the_package_tells_of_each_module():
    text = FILES[1].read_text()
    assert FILES[1].name == "__init__.py"
    stems = [file.stem for file in FILES[2:]]
    plain = [s for s in stems if not s.startswith(("arch_", "command_"))]
    assert len(plain) > 20
    assert [stem for stem in plain if stem not in text] == []
