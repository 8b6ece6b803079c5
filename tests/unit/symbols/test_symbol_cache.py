"""The cache of symbols: whole or not there, bounded, and of this user alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.symbol_cache import SymbolCache, directory

CONTENT = b"symbols" * 100


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_there_for_the_next_run(tmp_path: Path) -> None:
    SymbolCache(tmp_path / "a" / "b").save("1234", CONTENT)
    assert SymbolCache(tmp_path / "a" / "b").load("1234") == CONTENT
    assert names(tmp_path / "a" / "b") == ["1234"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert SymbolCache(tmp_path / "a" / "b").load("5678") is None


@given(st.integers(0, 800), st.integers(1, 255), st.booleans())
def test_a_damaged_file_is_not_there(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    cache = SymbolCache(folder)
    cache.save("1234", CONTENT)
    raw = bytearray((folder / "1234").read_bytes())
    place %= len(raw)
    if cut:
        del raw[place:]
    else:
        raw[place] ^= change
    (folder / "1234").write_bytes(raw)
    assert cache.load("1234") is None
    cache.save("1234", CONTENT)
    assert cache.load("1234") == CONTENT


def test_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    cache = SymbolCache(tmp_path)
    cache.save("1234", CONTENT)
    (tmp_path / "5678").symlink_to(tmp_path / "1234")
    os.mkfifo(tmp_path / "9abc")
    assert cache.load("5678") is None
    assert cache.load("9abc") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_file_is_not_read(tmp_path: Path) -> None:
    cache = SymbolCache(tmp_path)
    cache.save("1234", CONTENT)
    os.chown(tmp_path / "1234", 65534, 65534)
    assert cache.load("1234") is None


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "A", "x" * 300])
def test_a_name_that_is_none_leads_nowhere(tmp_path: Path, name: str) -> None:
    cache = SymbolCache(tmp_path / "cache")
    cache.save(name, CONTENT)
    assert cache.load(name) is None
    assert list(tmp_path.iterdir()) == []


def test_the_longest_unused_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MAX_FILES", 3)
    cache = SymbolCache(tmp_path)
    for number in range(3):
        cache.save(f"{number}", CONTENT)
        os.utime(tmp_path / f"{number}", (1000 + number, 1000 + number))
    assert cache.load("0") == CONTENT  # now the last used
    cache.save("3", CONTENT)
    assert names(tmp_path) == ["0", "2", "3"]


def test_their_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MAX_BYTES", 2 * (len(CONTENT) + 100))
    cache = SymbolCache(tmp_path)
    for number in range(4):
        cache.save(f"{number}", CONTENT)
        os.utime(tmp_path / f"{number}", (1000 + number, 1000 + number))
    assert names(tmp_path) == ["2", "3"]
    monkeypatch.setattr(directory, "MAX_CONTENT", 700)
    cache.save("9", CONTENT)
    assert "9" not in names(tmp_path)


def test_what_an_interrupted_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".new-old").write_bytes(b"half")
    os.utime(tmp_path / ".new-old", (1000, 1000))
    (tmp_path / ".new-running").write_bytes(b"half")
    os.utime(tmp_path / ".new-running", (time.time(), time.time()))
    SymbolCache(tmp_path).save("1", CONTENT)
    assert names(tmp_path) == [".new-running", "1"]


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = SymbolCache(tmp_path / "file" / "below")
    cache.save("1", CONTENT)
    assert cache.load("1") is None


def test_it_is_below_the_users_cache(tmp_path: Path) -> None:
    for environment, folder in (
        ({"XDG_CACHE_HOME": f"{tmp_path}/x"}, "x/kdump-gdbserver/symbols"),
        ({"HOME": f"{tmp_path}/h"}, "h/.cache/kdump-gdbserver/symbols"),
    ):
        cache = SymbolCache.of_user(environment)
        assert cache is not None
        cache.save("1", CONTENT)
        assert names(tmp_path / folder) == ["1"]
    assert SymbolCache.of_user({}) is None
