"""The parts of tests/real/harness that need no guest, no apt and no network."""

from __future__ import annotations

import os
import re
import struct
import time
from pathlib import Path

import pytest

from tests.real.harness import HarnessError, all_dumps, catalogue, real_dump
from tests.real.harness.cache import GRACE_S, used
from tests.real.harness.catalogue import EVERYTHING
from tests.real.harness.elf_core import check_elf_size, prstatus_registers
from tests.real.harness.kdump import flattened_size
from tests.real.harness.kernels import _image_package
from tests.real.harness.machines import MACHINES, KernelSource
from tests.real.harness.packages import Apt, source_lines


class KnownPackages(Apt):
    """An apt that knows some packages and what they depend on."""

    def __init__(self, depends: dict[str, str]) -> None:
        self._depends = depends

    def show(self, *packages: str) -> list[dict[str, str]]:
        return [{"Package": name, "Depends": self._depends[name]} for name in packages]

    def names(self, pattern: str) -> list[str]:
        return [name for name in self._depends if re.fullmatch(pattern, name)]


def test_the_everyday_dumps_have_x86_64_and_aarch64_with_and_without_pointer_authentication(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(EVERYTHING, raising=False)
    names = {str(wanted) for wanted in catalogue()}
    assert {"x86_64-6.1-kdump", "x86_64-6.12-panic"} <= names
    assert {"aarch64-6.1-panic", "aarch64-6.1-nopac"} <= names
    assert {wanted.arch for wanted in catalogue()} == {"x86_64", "aarch64"}


def test_everything_is_all_machines_and_can_be_narrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EVERYTHING, "1")
    assert catalogue() == all_dumps()
    assert {wanted.arch for wanted in catalogue()} == set(MACHINES)
    chosen = catalogue(arch="aarch64", release="6.12-16k")
    assert {wanted.scenario for wanted in chosen} == {"panic", "nopac", "live", "kdump"}


def test_every_everyday_dump_is_one_that_its_machine_has() -> None:
    named = {f"{m.name}-{name}" for m in MACHINES.values() for name in m.everyday}
    assert named == {str(wanted) for wanted in all_dumps() if wanted.everyday}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("6.1", "panic", "vax"), "unknown architecture 'vax'.*x86_64, aarch64"),
        (("6.1", "boom", "aarch64"), "unknown scenario 'boom' for aarch64.*panic, nopac"),
        (("6.1", "kdump", "s390x"), "unknown scenario 'kdump' for s390x"),
    ],
)
def test_what_is_not_there_is_said_in_words(arguments: tuple[str, str, str], words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        real_dump(*arguments)


def test_an_unknown_kernel_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tests.real.harness.product.find_tool", lambda *_: "")
    with pytest.raises(HarnessError, match=r"no kernel series .2\.4. for aarch64: there are 6\.1"):
        real_dump("2.4", "panic", "aarch64")


@pytest.mark.parametrize(
    ("text", "mirror", "security"),
    [
        ("", "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"),
        (
            "deb [arch=amd64] https://mirror.example/pub/debian/ bookworm main\n",
            "https://mirror.example/pub/debian",
            "http://deb.debian.org/debian-security",
        ),
        (
            "Types: deb\nURIs: http://a.example/debian\nSuites: bookworm\n\n"
            "Types: deb\nURIs: http://a.example/debian-security\nSuites: x\n",
            "http://a.example/debian",
            "http://a.example/debian-security",
        ),
        ("deb http://ubuntu.example/ubuntu jammy main\n", "http://deb.debian.org/debian",
         "http://deb.debian.org/debian-security"),
    ],
)  # fmt: skip
def test_the_machine_s_own_mirror_serves_other_suites_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, mirror: str, security: str
) -> None:
    (tmp_path / "sources.list").write_text(text)
    monkeypatch.setattr("tests.real.harness.packages.SOURCES", tmp_path)
    lines = [line.split("] ")[-1].removeprefix("deb ") for line in source_lines("trixie")]
    assert lines == [f"{mirror} trixie main", f"{security} trixie-security main"]


def test_backports_come_with_their_suite_and_an_archived_suite_without_its_updates() -> None:
    assert [line.split()[-2] for line in source_lines("trixie-backports")] == [
        "trixie", "trixie-backports", "trixie-security",
    ]  # fmt: skip
    assert [line.split()[-2] for line in source_lines("bullseye")] == ["bullseye"]


def test_the_newest_kernel_of_a_series_that_has_debug_information_is_taken() -> None:
    names = [
        "linux-image-6.1.0-9-cloud-arm64", "linux-image-6.1.0-9-cloud-arm64-dbg",
        "linux-image-6.1.0-56-cloud-arm64", "linux-image-6.1.0-56-cloud-arm64-dbg",
        "linux-image-6.1.0-57-cloud-arm64",
        "linux-image-6.12.117+deb12-cloud-arm64", "linux-image-6.12.117+deb12-cloud-arm64-dbg",
        "linux-image-6.1.0-58-arm64", "linux-image-6.1.0-58-arm64-dbg",
    ]  # fmt: skip
    apt = KnownPackages(dict.fromkeys(names, ""))
    assert _image_package(apt, KernelSource("s", "6.1", "cloud-arm64")) == names[2]
    assert _image_package(apt, KernelSource("s", "6.12", "cloud-arm64")) == names[5]
    assert _image_package(apt, KernelSource("s", "6.1", "arm64")) == names[7]
    with pytest.raises(HarnessError, match=r"Debian s offers no linux-image-7"):
        _image_package(apt, KernelSource("s", "7", "cloud-arm64"))


def test_libraries_are_those_of_libraries_too_and_nothing_else() -> None:
    apt = KnownPackages({
        "makedumpfile": "perl:any, libc6 (>= 2.38), libdw1t64 (>= 0.143) | libdw1, zlib1g",
        "libc6": "libgcc-s1", "libgcc-s1": "gcc-12-base (= 12), libc6 (>= 2.35)",
        "libdw1t64": "zlib1g (>= 1:1.1)", "zlib1g": "libc6 (>= 2.14)",
    })  # fmt: skip
    assert sorted(apt.with_libraries("makedumpfile")) == [
        "libc6", "libdw1t64", "libgcc-s1", "makedumpfile", "zlib1g",
    ]  # fmt: skip


def elf_with_notes(order: str, notes: list[tuple[int, bytes]]) -> bytes:
    """The head of a 64-bit ELF file with a PT_LOAD and a PT_NOTE segment."""
    blob = b"".join(
        struct.pack(f"{order}III", 5, len(data), kind) + b"CORE\0\0\0\0" + data
        + bytes(-len(data) % 4) for kind, data in notes
    )  # fmt: skip
    ident = b"\x7fELF\x02" + (b"\x02" if order == ">" else b"\x01") + bytes(10)
    header = ident + struct.pack(f"{order}HHIQQQIHHHHHH", 4, 0, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    segments = struct.pack(f"{order}IIQQQQQQ", 1, 0, 4096, 0, 0, 0, 0, 0)
    segments += struct.pack(f"{order}IIQQQQQQ", 4, 0, 176, 0, 0, len(blob), len(blob), 0)
    return header + segments + blob


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_registers_of_each_cpu_are_found_in_a_vmcore(order: str, tmp_path: Path) -> None:
    registers = [tuple(range(start, start + 35)) for start in (1 << 40, 1 << 50)]
    notes = [(7, bytes(13))]
    for values in registers:
        notes.append((1, bytes(112) + struct.pack(f"{order}35Q", *values)))
    vmcore = tmp_path / "vmcore"
    vmcore.write_bytes(elf_with_notes(order, notes))
    assert prstatus_registers(vmcore) == registers


def test_an_elf_dump_shorter_than_its_segments_is_refused(tmp_path: Path) -> None:
    vmcore = tmp_path / "vmcore"
    whole = elf_with_notes("<", [(1, bytes(336))]).ljust(4096, b"\0")
    vmcore.write_bytes(whole)
    check_elf_size(vmcore)
    vmcore.write_bytes(whole[:-1])
    with pytest.raises(HarnessError, match="wrote 4095 bytes of a dump that says it has 4096"):
        check_elf_size(vmcore)


def test_a_flattened_stream_ends_where_its_last_pair_does(tmp_path: Path) -> None:
    stream = tmp_path / "stream"
    pieces = b"makedumpfile".ljust(4096, b"\0")
    for offset, data in ((0, b"head"), (4096, b"pages" * 100)):
        pieces += struct.pack(">qq", offset, len(data)) + data
    pieces += struct.pack(">qq", -1, -1)
    stream.write_bytes(pieces + bytes(9000))
    assert flattened_size(stream) == len(pieces)
    stream.write_bytes(bytes(9000))
    with pytest.raises(HarnessError, match="no flattened stream"):
        flattened_size(stream)


def test_products_of_older_keys_go_an_hour_after_their_last_use(tmp_path: Path) -> None:
    for name, age in (("new", 2 * GRACE_S), ("recent", GRACE_S / 2), ("old", 2 * GRACE_S)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert used(tmp_path / "new") == tmp_path / "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "recent"]
