"""The symbol image of real dumps beside vmlinux: every type, every stack, in drgn and gdb."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import drgn
import pytest

from kdump_gdbserver.adapters.kdumpfile.opener import KdumpfileOpener
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.domain.arch import X86_64
from kdump_gdbserver.domain.symbols.btf import Btf, Kind
from kdump_gdbserver.domain.symbols.dump_types import DumpTypes
from tests.real.harness import RealDump
from tests.real.oracle.image_side import chain_counts, make_image

_MOST_SECONDS = 5  # of CPU; measured: 1.8
_KINDS = {
    Kind.STRUCT: drgn.TypeKind.STRUCT,
    Kind.UNION: drgn.TypeKind.UNION,
    Kind.ENUM: drgn.TypeKind.ENUM,
    Kind.ENUM64: drgn.TypeKind.ENUM,
}


@functools.cache
def btf_of(dump: Path) -> Btf:
    opened = KdumpfileOpener().open([str(dump)])
    btf = DumpTypes(DumpMemory(opened).kernel(), opened.vmcoreinfo, X86_64).btf
    assert btf is not None
    return btf


def program(file: Path) -> Any:
    found = drgn.Program()
    found.extra_module("kernel", create=True).try_file(str(file), force=True)
    return found


def names(btf: Btf) -> Iterator[str]:
    """The names of one struct, union or enum only."""
    found: dict[str, int] = {}
    for number in btf.numbers():
        kind, name, parts, _, _ = btf[number]
        if name and kind in _KINDS and parts:
            full = f"{_KINDS[kind].name.lower()} {name}"
            found[full] = found.get(full, 0) + 1
    return (name for name, count in found.items() if count == 1)


def laid_out(type_: Any, depth: int = 0) -> Any:
    """All that `ptype/o` shows of a type, with what is inside nameless ones."""
    kind = type_.kind
    if kind is drgn.TypeKind.TYPEDEF:
        return kind, type_.name
    if kind in _KINDS.values():
        if depth and type_.tag is not None:
            return kind, type_.tag
        if kind is drgn.TypeKind.ENUM:
            values = tuple((each.name, each.value) for each in type_.enumerators)
            return kind, type_.tag, drgn.sizeof(type_), values
        members = tuple(
            (each.name, each.bit_offset, each.bit_field_size, laid_out(each.type, depth + 1))
            for each in type_.members or ()
        )
        return kind, type_.tag, type_.size, members
    if kind is drgn.TypeKind.ARRAY:
        # pahole writes a[2][5] as a[10], and BTF does not tell a[] from a[0].
        count = type_.length or 0
        while type_.type.kind is drgn.TypeKind.ARRAY:
            type_ = type_.type
            count *= type_.length or 0
        return kind, count, laid_out(type_.type, depth + 1)
    if kind is drgn.TypeKind.FUNCTION:
        parameters = tuple(laid_out(each.type, depth + 1) for each in type_.parameters)
        return kind, laid_out(type_.type, depth + 1), parameters, type_.is_variadic
    if kind is drgn.TypeKind.POINTER:
        return kind, type_.qualifiers, laid_out(type_.type, depth + 1)
    return str(type_)


def test_every_type_is_laid_out_as_in_vmlinux(panicked: RealDump, tmp_path: Path) -> None:
    started = time.process_time()
    image, _ = make_image(panicked)
    assert time.process_time() - started < _MOST_SECONDS
    path = tmp_path / "image"
    path.write_bytes(image.file)
    assert image.missing == ()
    ours, theirs = program(path), program(panicked.vmlinux)
    checked = 0
    wrong = []
    for name in names(btf_of(panicked.dumps["elf"][0])):
        try:
            expected = theirs.type(name)
        except LookupError:
            continue  # of a module
        if not expected.is_complete():
            continue
        checked += 1
        got = ours.type(name)
        if laid_out(got) != laid_out(expected):
            wrong.append((name, str(got), str(expected)))
    assert (len(wrong), wrong[:2]) == (0, [])
    assert checked > 8000


def gdbs() -> list[str]:
    """The system's, and the newest there is."""
    newest = Path(sys.executable).parent / "gdb"
    return ["", *([str(newest)] if newest.exists() else [])]


@pytest.mark.parametrize("gdb", gdbs(), ids=lambda gdb: "newest" if gdb else "system's")
def test_every_stack_is_drgns_without_vmlinux(panicked: RealDump, gdb: str) -> None:
    for count in chain_counts(panicked, gdb):
        assert (count.different, count.examples) == (0, [])
        assert count.equal >= (2 if "CPUs" in count.check else 75)


@pytest.mark.parametrize("gdb", gdbs(), ids=lambda gdb: "newest" if gdb else "system's")
def test_so_it_is_where_the_kernel_has_no_unwind_data(kdumped: RealDump, gdb: str) -> None:
    """The CPU that starts the crash kernel is in __crash_kexec, which ORC passes over."""
    cpus, tasks = chain_counts(kdumped, gdb)
    assert (cpus.different, cpus.examples, tasks.different, tasks.examples) == (0, [], 0, [])
    assert cpus.equal >= 3
    assert tasks.equal >= 75


def test_debuggers_have_nothing_to_say_against_it(panicked: RealDump, tmp_path: Path) -> None:
    path = tmp_path / "image"
    image, offset = make_image(panicked)
    path.write_bytes(image.relocated(offset))
    for program, *arguments in (
        ("readelf", "-hlSW"),
        ("llvm-dwarfdump", "--verify", "--quiet"),
        ("gdb", "-nx", "-q", "-batch", "-ex", "ptype/o struct task_struct"),
        (*gdbs()[1:], "-nx", "-q", "-batch", "-ex", "ptype/o struct task_struct"),
    ):
        if shutil.which(program) is None:
            continue
        done = subprocess.run(
            [program, *arguments, str(path)], capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert not re.search(r"\b(warning|error|complaint)\b", done.stderr, re.IGNORECASE), said
        if "ptype" in arguments[-1]:
            assert "char comm[16];" in said
