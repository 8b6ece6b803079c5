"""The gdb script sourced by a real gdb, in the ways that people do it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kdump_gdbserver.cli.gdb_script import script_modules, write_gdb_script
from tests.support.gdb_session import gdb

pytestmark = pytest.mark.usefixtures("each_debugger")

TOP = Path(__file__).parents[2]
FOLDER = TOP / "gdb"
SCRIPT = FOLDER / "KdumpGdbCommands.py"
HELP = "List every task of the kernel in the dump."
# The commands work as far as they do without a dump, and no name of ours is where all scripts are.
NOTE = "python import sys; sys.before = list(sys.path); sys.tops = {*sys.modules}"
CHECK = (
    "help kdump-kernel-ps",
    "kdump-kernel-ps",
    "python print('left behind:', [n for n in dir() if 'kdump' in n.lower()])",
    "python print('path kept:', sys.path == sys.before)",
    "python print('modules:', {n.split('.')[0] for n in sys.modules if 'kdump' in n or"
    " n.split('.')[0] in ('domain', 'kernel')} - sys.tops)",
)


def works(text: str, times: int = 1) -> bool:
    return (
        text.count(HELP) == times
        and text.count("no dump: connect first (`target remote HOST:PORT`)") == times
        and text.count("left behind: []") == times
        and text.count("path kept: True") == times
        and text.count("modules: {'kdump_gdb_script'}") == times
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


@pytest.mark.parametrize("name", ["kdump_commands", "kdump_gdb_script", "domain"])
def test_a_module_of_the_same_name_elsewhere_is_not_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise RuntimeError\n")
    text = gdb(None, f"python import sys; sys.path[:0] = ['{tmp_path}']", NOTE,
               f"source {SCRIPT}", *CHECK)  # fmt: skip
    assert works(text), text


def test_another_scripts_module_of_that_name_stays_as_it_is() -> None:
    other = "python import sys, types; sys.modules['domain'] = types.ModuleType('domain')"
    text = gdb(None, other, f"source {SCRIPT}", "kdump-kernel-ps",
               "python print(dir(sys.modules['domain']).count('kernel'))")  # fmt: skip
    assert text.splitlines()[-1] == "0", text
    assert "no dump: connect first" in text


def copied(folder: Path, *parts: Path) -> Path:
    for part in parts:
        shutil.copytree(part, folder / part.relative_to(TOP))
    return folder / "gdb" / SCRIPT.name


def test_copied_with_the_kernel_folder_it_works(tmp_path: Path) -> None:
    text = gdb(None, NOTE, f"source {copied(tmp_path / 'copy', FOLDER, TOP / 'domain')}", *CHECK)
    assert works(text), text


def test_copied_into_one_folder_it_works(tmp_path: Path) -> None:
    shutil.copy(SCRIPT, tmp_path)
    shutil.copytree(FOLDER / "kdump_commands", tmp_path / "kdump_commands")
    shutil.copytree(TOP / "domain", tmp_path / "domain")
    text = gdb(None, NOTE, f"source {tmp_path}/{SCRIPT.name}", *CHECK)
    assert works(text), text


def test_laid_out_as_in_a_wheel_it_works(tmp_path: Path) -> None:
    wheel = tmp_path / "site-packages" / "kdump_gdbserver"
    text = gdb(None, NOTE, f"source {copied(wheel, FOLDER, TOP / 'domain')}", *CHECK)
    assert works(text), text


def without_program(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Leave gdb on PATH, and no kdump-gdbserver."""
    (folder / "bin").mkdir()
    (folder / "bin" / "gdb").symlink_to(str(shutil.which("gdb")))
    monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")


@pytest.mark.parametrize("parts", ["script", "folder"])
def test_copied_alone_it_finds_the_program_or_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: str
) -> None:
    if parts == "folder":
        script = copied(tmp_path / "copy", FOLDER)
    else:
        script = Path(shutil.copy(SCRIPT, tmp_path))
    with monkeypatch.context() as patch:
        program = tmp_path / "on-path" / "kdump-gdbserver"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kdump_gdbserver.cli.main "$@"\n')
        program.chmod(0o755)
        patch.setenv("PATH", str(program.parent), prepend=":")
        text = gdb(None, NOTE, f"source {script}", *CHECK)
        assert works(text), text
    without_program(monkeypatch, tmp_path)
    text = gdb(None, f"source {script}")
    assert text.splitlines() == [
        "KdumpGdbCommands.py: domain and kdump_commands are not beside it: source the file "
        "that `kdump-gdbserver --print-gdb-script` names, or, to have it elsewhere, the one file "
        "that `kdump-gdbserver --write-gdb-script FILE` writes"
    ]


def test_one_file_alone_works_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_program(monkeypatch, tmp_path)
    alone = tmp_path / "alone"
    alone.mkdir()
    script = write_gdb_script(str(alone / "any name.py"))
    source = f"source {script.name}"
    text = gdb(None, NOTE, f"cd {alone}", source, "cd /", *CHECK,
               f"cd {alone}", source, *CHECK, "info unwinder")  # fmt: skip
    assert works(text, times=2), text
    assert text.count("kdump-interrupt-stacks") == 1
    assert list(alone.iterdir()) == [script]


def test_one_file_is_not_mixed_up_with_the_folders(tmp_path: Path) -> None:
    script = write_gdb_script(str(tmp_path / "script.py"))
    places = "python print({bool(getattr(m, '__file__', None)) for n, m in sys.modules.items()" \
             " if n.startswith('kdump_gdb_script.domain.kernel')})"  # fmt: skip
    text = gdb(None, NOTE, f"source {SCRIPT}", places, f"source {script}", places, *CHECK)
    assert works(text), text
    assert [line for line in text.splitlines() if line.startswith("{")] == ["{True}", "{False}"]


def test_no_module_is_loaded_that_the_one_file_lacks() -> None:
    names = "python print(sorted(n for n in sys.modules if n.startswith('kdump_gdb_script.')))"
    text = gdb(None, NOTE, f"source {SCRIPT}", names)
    for path, _ in script_modules():
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert f"'kdump_gdb_script.{name}'" in text
    assert text.count("'kdump_gdb_script.") == len(script_modules())
