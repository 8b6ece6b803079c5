#!/usr/bin/env python3
"""Makes toy-vmlinux, toy-vmcore and facts.json anew, or checks that they are what it makes.

Needs gcc, binutils and the Python package unicorn. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import tempfile
from pathlib import Path

from builder import facts, layout, toolchain, vmcore
from builder.elfimage import ElfImage
from builder.kallsyms import Symbol
from builder.machine import Machine

HERE = Path(__file__).resolve().parent
PRODUCTS = ("toy-vmlinux", "toy-vmcore", "facts.json")


def check_kallsyms(machine: Machine, image: ElfImage) -> None:
    """The tables in memory must give each symbol's run-time address; else SystemExit."""
    decoded = facts.decoded_kallsyms(machine)
    for symbol in decoded:
        expected = image.symbols[symbol.name]
        if expected >= image.symbols["_text"]:
            expected += layout.KASLR_OFFSET
        if symbol != Symbol(expected, symbol.kind, symbol.name):
            raise SystemExit(f"kallsyms is wrong about {symbol.name}: {symbol.address:#x}")
    missing = {*facts.SYMBOLS, *facts.PER_CPU_SYMBOLS} - {symbol.name for symbol in decoded}
    if missing:
        raise SystemExit(f"kallsyms lacks {', '.join(sorted(missing))}")


def build(target: Path) -> None:
    """Write all products into the directory target."""
    from builder.emulator import boot_and_crash  # late: tells what is missing, below

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        linked = toolchain.build_vmlinux(HERE / "src", work)
        image = ElfImage(linked.read_bytes())
        toolchain.strip_relocations(linked, target / "toy-vmlinux")
    machine = Machine(image)
    check_kallsyms(machine, image)
    boot_and_crash(machine)
    vmcore.write(machine, image.build_id(), target / "toy-vmcore")
    facts.write(machine, image.symbols, image.build_id(), target / "facts.json")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name)
        try:
            build(fresh)
        except ModuleNotFoundError as error:
            raise SystemExit(f"missing {error.name}: pip install {error.name}") from error
        for product in PRODUCTS:
            same = (HERE / product).exists() and filecmp.cmp(
                fresh / product, HERE / product, shallow=False
            )
            print(f"{product}: {'same' if same else 'differs' if check else 'written'}")
            if check and not same:
                raise SystemExit("the committed sample is not what this compiler makes")
            if not same:
                shutil.copyfile(fresh / product, HERE / product)


if __name__ == "__main__":
    main()
