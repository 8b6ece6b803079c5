"""Compiles and links toy-vmlinux so that the same compiler gives the same bytes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from builder import kallsyms, layout

SOURCE_PREFIX = "/usr/src/linux-toy"
COMMON = ["-g", "-gdwarf-4", "-gno-record-gcc-switches", "-Iinclude", "-Iarch/x86/include"]
CODE = """
    -std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -nostdinc -mcmodel=kernel -mno-red-zone
    -mno-sse -mno-mmx -mno-80387 -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none
    -fno-asynchronous-unwind-tables -fno-optimize-sibling-calls -fno-strict-aliasing -fno-common
    -fno-ipa-icf -fno-ipa-cp -fno-ipa-sra -fno-partial-inlining -fno-reorder-blocks-and-partition
    -fno-tree-loop-distribute-patterns -falign-functions=16
""".split()
LINK = """
    -nostdlib -static -q --build-id=sha1 -z max-page-size=0x1000 -z noexecstack
    --no-warn-rwx-segments
""".split()
MAX_PASSES = 6


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a tool and return what it prints; a failing tool ends the build with its message."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, text=True, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"build of the sample failed: {' '.join(words)}")
    return done.stdout


def _compile(source: Path, work: Path) -> list[Path]:
    objects = []
    for path in sorted([*source.rglob("*.c"), *source.rglob("*.S")]):
        name = path.relative_to(source)
        target = work / (str(name).replace("/", "_") + ".o")
        flags = [f"-ffile-prefix-map={source}={SOURCE_PREFIX}", *COMMON]
        if path.suffix == ".c":
            flags += [*CODE, f'-DRELEASE="{layout.RELEASE}"', f'-DVERSION="{layout.VERSION}"']
        else:
            flags.append("-D__ASSEMBLY__")
        run("gcc", *flags, "-c", name, "-o", target, cwd=source)
        objects.append(target)
    return objects


def _symbols(image: Path) -> list[kallsyms.Symbol]:
    """Symbols for kallsyms: all but its own tables; per-CPU ones count as absolute."""
    symbols = []
    for line in run("nm", "-n", image).splitlines():
        address, kind, name = line.split()
        if name.startswith(("kallsyms_", ".L", "phys_startup_64")):
            continue
        value = int(address, 16)
        kind = kind if value >= layout.START_KERNEL_MAP else "A"
        symbols.append(kallsyms.Symbol(value, kind, name))
    return sorted(symbols, key=lambda s: (s.address, s.name))


def _link(objects: list[Path], tables: str, source: Path, work: Path, target: Path) -> None:
    (work / "kallsyms.S").write_text(tables)
    run("gcc", "-c", "kallsyms.S", "-o", "kallsyms.o", cwd=work)
    script = source / "arch/x86/kernel/vmlinux.lds"
    run("ld", *LINK, "-T", script, "-o", target, *objects, work / "kallsyms.o")


def build_vmlinux(source: Path, work: Path) -> Path:
    """Compile and link; the result still has its relocations. Raises SystemExit on failure.

    The symbol table is part of the image whose symbols it lists, so linking repeats until the
    table no longer changes, as the kernel's own build does.
    """
    image = work / "vmlinux.relocs"
    objects = _compile(source, work)
    text = 0xFFFFFFFF81000000
    tables = kallsyms.assembly([kallsyms.Symbol(text, "T", "_text")], text)
    for _ in range(MAX_PASSES):
        _link(objects, tables, source, work, image)
        again = kallsyms.assembly(_symbols(image), text)
        if again == tables:
            return image
        tables = again
    raise SystemExit("build of the sample failed: kallsyms does not settle")


def strip_relocations(image: Path, target: Path) -> None:
    """Copy image without the relocations, which a debugger has no use for."""
    run("objcopy", "--wildcard", "--remove-section=.rela*", image, target)
    target.chmod(0o644)
