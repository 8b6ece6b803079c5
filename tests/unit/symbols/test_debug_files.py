"""A vmlinux is found by build-id, by release and beside the dump, and only if it is proved."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdump_gdbserver.adapters.debug_files import DebugFiles
from kdump_gdbserver.adapters.host_files import HostDirectory
from kdump_gdbserver.ports.symbol_finder import FoundVmlinux, WantedKernel
from tests.unit.symbols.test_section_stub import BUILD_ID, VMLINUX

RELEASE = "6.1.0-56-cloud-amd64"
KERNEL = WantedKernel(BUILD_ID.hex(), 62, RELEASE, ("/dumps/vmcore",))
BY_BUILD_ID = f"usr/lib/debug/.build-id/ab/{BUILD_ID.hex()[2:]}.debug"
# In the order in which they are looked for.
PLACES = [
    (BY_BUILD_ID, "found by build-id"),
    (f"usr/lib/debug/boot/vmlinux-{RELEASE}", "found by release"),
    (f"usr/lib/debug/lib/modules/{RELEASE}/vmlinux", "found by release"),
    (f"lib/modules/{RELEASE}/build/vmlinux", "found by release"),
    ("dumps/vmlinux", "found beside the dump"),
    (f"dumps/vmlinux-{RELEASE}", "found beside the dump"),
    ("work/vmlinux", "found in the working directory"),
]


def put(root: Path, path: str, content: bytes = VMLINUX) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


def find(
    root: Path, monkeypatch: pytest.MonkeyPatch, kernel: WantedKernel = KERNEL
) -> FoundVmlinux | None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/work"))
    return DebugFiles(HostDirectory(str(root))).find(kernel)


@pytest.mark.parametrize(("path", "how"), PLACES)
def test_each_place_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, how: str
) -> None:
    put(tmp_path, path)
    assert find(tmp_path, monkeypatch) == FoundVmlinux(f"/{path}", how)


def test_the_first_in_order_is_taken_that_is_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, _ in PLACES:
        put(tmp_path, path)
    for number, (path, how) in enumerate(PLACES):
        assert find(tmp_path, monkeypatch) == FoundVmlinux(f"/{path}", how)
        # Another kernel's, one without DWARF, one cut short.
        wrong = [
            VMLINUX.replace(BUILD_ID, b"\x11" * 20),
            VMLINUX.replace(b".debug_info", b".debug_infx"),
            VMLINUX[:-1],
        ][number % 3]
        put(tmp_path, path, wrong)
    assert find(tmp_path, monkeypatch) is None


@pytest.mark.parametrize("release", [None, "", "../../work", "a/b", "x\0y", ".", "é"])
def test_a_release_that_is_no_name_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str | None
) -> None:
    put(tmp_path, f"usr/lib/debug/boot/vmlinux-{RELEASE}")
    put(tmp_path, "usr/lib/debug/lib/work/vmlinux")
    kernel = WantedKernel(KERNEL.build_id, 62, release, KERNEL.beside)
    assert find(tmp_path, monkeypatch, kernel) is None


@pytest.mark.parametrize("build_id", ["", "ab", "../x", "AB" * 20, "0" * 200])
def test_a_build_id_that_is_none_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build_id: str
) -> None:
    put(tmp_path, "work/vmlinux")
    kernel = WantedKernel(build_id, 62, RELEASE, KERNEL.beside)
    assert find(tmp_path, monkeypatch, kernel) is None


def test_a_directory_or_a_pipe_of_that_name_does_not_stop_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / PLACES[1][0]).mkdir(parents=True)
    (tmp_path / "dumps").mkdir()

    os.mkfifo(tmp_path / "dumps/vmlinux")
    put(tmp_path, "work/vmlinux")
    assert find(tmp_path, monkeypatch) == FoundVmlinux(
        "/work/vmlinux", "found in the working directory"
    )
