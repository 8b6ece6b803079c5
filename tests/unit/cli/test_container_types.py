"""The container is typed: what does not fit its port fails mypy --strict."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from dependency_injector import providers

from kdump_gdbserver.cli import container as module
from kdump_gdbserver.cli.container import Container

ROOT = Path(__file__).parents[3]


def test_what_goes_from_provider_to_provider_is_of_the_type_that_is_wanted() -> None:
    """mypy does not see through providers; their functions' own types have to agree."""
    compared = 0
    for name, provider in Container.providers.items():
        if not isinstance(provider, providers.Singleton):
            continue
        makes = provider.provides
        assert inspect.isfunction(makes), f"{name} has to be made by a function with types"
        wanted = typing.get_type_hints(makes, vars(module))
        assert wanted["return"] is not None
        parameters = inspect.signature(makes).parameters
        for parameter, given in zip(parameters, provider.args, strict=True):
            if isinstance(given, providers.Singleton) and wanted[parameter] is not typing.Any:
                assert wanted[parameter] == typing.get_type_hints(given.provides)["return"]
                compared += 1
    assert compared == 9  # opener; dump thrice; symbol file, store; symbols; sysroot; target


# A file, what stands there, and what a mistake would put in its place.
MISTAKES = [
    ("application/view.py", "    def memory_map(self)", "    def map(self)"),
    ("application/view.py", "self.inferior: Inferior = view", "self.whole: Inferior = view"),
    ("application/kernel/entry_code.py", "        auxv=", "        vector="),
    (
        "application/process/process_view.py",
        "placement=Placement(find_load_offset",
        'placement=Placement(first_segment=b"", offset=find_load_offset',
    ),
    ("adapters/kdumpfile/dump.py", "def cpu_notes(self)", "def notes(self)"),
    ("adapters/elf_symbols/reader.py", "def types(self", "def symbols_and_types(self"),
    ("adapters/json_sidecar/read.py", "def read_process(self", "def read_image(self"),
    ("adapters/host_files/directory.py", "def open(self", "def open_file(self"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mypy's cache of the code as it is; `make check` has filled one."""
    path = tmp_path_factory.mktemp("mypy") / "cache"
    if (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", path)
    assert mypy(path) == ""
    return path


def mypy(cache: Path, *options: str) -> str:
    """Check the program; return what is wrong."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), *options),
            *("-p", "kdump_gdbserver.cli"),
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return "" if done.returncode == 0 else done.stdout


@pytest.mark.parametrize(("file", "right", "wrong"), MISTAKES, ids=lambda text: str(text)[-30:])
def test_an_adapter_that_does_not_fit_its_port_is_noticed(
    cache: Path, tmp_path: Path, file: str, right: str, wrong: str
) -> None:
    text = (ROOT / file).read_text()
    assert right in text
    shadow = tmp_path / "shadow.py"
    shadow.write_text(text.replace(right, wrong))
    # mypy finds our packages by the links in .typing.
    found = mypy(cache, "--shadow-file", f".typing/kdump_gdbserver/{file}", str(shadow))
    assert "error:" in found
