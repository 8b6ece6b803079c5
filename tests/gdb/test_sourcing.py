"""The gdb script sourced by a real gdb, in the ways that people do it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gdb_session import gdb

pytestmark = pytest.mark.usefixtures("each_debugger")

FOLDER = Path(__file__).parents[2] / "gdb"
SCRIPT = FOLDER / "KdumpGdbCommands.py"
HELP = "List every task of the kernel in the dump."
# The commands work as far as they do without a dump, and no name of ours is where all scripts are.
NOTE = "python import sys; sys.before = list(sys.path)"
CHECK = (
    "help kdump-kernel-ps",
    "kdump-kernel-ps",
    "python print('left behind:', [n for n in dir() if 'kdump' in n.lower()])",
    "python print('path kept:', sys.path == sys.before)",
)


def works(text: str, times: int = 1) -> bool:
    return (
        text.count(HELP) == times
        and text.count("no dump: connect first (`target remote HOST:PORT`)") == times
        and text.count("left behind: []") == times
        and text.count("path kept: True") == times
        and "Error" not in text
    )


def test_sourced_by_its_path_and_again() -> None:
    text = gdb(None, NOTE, f"source {SCRIPT}", *CHECK, f"source {SCRIPT}", *CHECK, "info unwinder")
    assert works(text, times=2), text
    assert text.count("kdump-interrupt-stacks") == 1


def test_the_file_that_the_program_names() -> None:
    command = [sys.executable, "-m", "kdump_gdbserver.cli.main", "--print-gdb-script"]
    named = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    text = gdb(None, NOTE, f"source {named}", *CHECK)
    assert works(text), text


def test_sourced_by_its_name_in_its_directory() -> None:
    text = gdb(None, NOTE, f"cd {FOLDER}", f"source {SCRIPT.name}", "cd /", *CHECK)
    assert works(text), text


def test_sourced_through_a_link_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "linked.py").symlink_to(SCRIPT)
    text = gdb(None, NOTE, f"cd {tmp_path}", "source linked.py", *CHECK)
    assert works(text), text


def test_sourced_by_another_script(tmp_path: Path) -> None:
    outer = tmp_path / "outer.py"
    outer.write_text(f"import gdb\ngdb.execute('source {SCRIPT}')\n")
    text = gdb(None, NOTE, f"source {outer}", *CHECK)
    assert works(text), text


def test_a_module_of_the_same_name_elsewhere_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "kdump_commands.py").write_text("raise RuntimeError\n")
    text = gdb(None, f"python import sys; sys.path[:0] = ['{tmp_path}']", NOTE,
               f"source {SCRIPT}", *CHECK)  # fmt: skip
    assert works(text), text


def test_copied_without_its_folder_it_says_what_to_do(tmp_path: Path) -> None:
    shutil.copy(SCRIPT, tmp_path)
    text = gdb(None, f"source {tmp_path}/{SCRIPT.name}")
    assert text.splitlines() == [
        f"KdumpGdbCommands.py: no folder kdump_commands in {tmp_path}: copy the folder too, or "
        "source the file that `kdump-gdbserver --print-gdb-script` names"
    ]


def test_copied_with_its_folder_it_works(tmp_path: Path) -> None:
    shutil.copy(SCRIPT, tmp_path)
    shutil.copytree(FOLDER / "kdump_commands", tmp_path / "kdump_commands")
    text = gdb(None, NOTE, f"source {tmp_path}/{SCRIPT.name}", *CHECK)
    assert works(text), text
