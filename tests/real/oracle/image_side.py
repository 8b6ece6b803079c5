"""A real dump's call chains in a gdb that has the symbol image alone: no vmlinux, no script.

usage: python -m tests.real.oracle.image_side FOLDER...
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kdump_gdbserver.adapters.kdumpfile.opener import KdumpfileOpener
from kdump_gdbserver.application.memory import DumpMemory
from kdump_gdbserver.application.symbols.symbol_image import make_symbol_image
from kdump_gdbserver.domain.symbols.writers.symbol_image import SymbolImage
from tests.real.harness import RealDump
from tests.real.harness.machines import MACHINES
from tests.real.oracle import checks, gdb_side
from tests.real.oracle.checks import Count
from tests.real.oracle.dumps import from_folder
from tests.real.oracle.run import ask_drgn
from tests.real.oracle.server_side import Asked, cpu_of, task_of
from tests.support.gdb_session import serve


def make_image(dump: RealDump) -> tuple[SymbolImage, int]:
    """The image of a dump's kernel, and how far above it the kernel runs."""
    opened = KdumpfileOpener().open([str(dump.dumps["elf"][0])])
    memory = DumpMemory(opened).kernel()
    info = opened.vmcoreinfo
    return make_symbol_image(memory, info, opened.facts.arch), info.kaslr_offset or 0


def chain_counts(dump: RealDump, gdb: str = "") -> Iterator[Count]:
    """The chains of all CPUs, then of all tasks, beside drgn's with vmlinux."""
    truth = ask_drgn({"pids": []}, "tell", dump.dir, dump.vmlinux)
    order = MACHINES[dump.arch].byte_order
    files = dump.dumps["elf"]
    with tempfile.TemporaryDirectory() as work:
        image, offset = make_image(dump)
        path = Path(work) / "image"
        path.write_bytes(image.relocated(offset))
        sidecar = Path(work) / "tasks.json"

        def ask(*options: object) -> tuple[dict[str, object], dict[int, str]]:
            with serve(files, *map(str, options)) as server:
                asked = Asked(server.port, order)
                threads = asked.threads()
                asked.close()
                shown = gdb_side.ask(
                    server, dump.arch, f"file {path}", Path(work), {}, with_script=False, gdb=gdb
                )
                return {str(tid): shown.chains.get(str(tid)) for tid in threads}, threads

        chains, threads = ask()
        by_cpu = {f"CPU {cpu_of(said)}": chains[str(tid)] for tid, said in threads.items()}
        yield checks.chains(
            "chains of CPUs",
            by_cpu,  # type: ignore[arg-type]
            {f"CPU {cpu}": chain for cpu, chain in truth["cpu_chains"].items()},
        )
        with serve(files) as server:
            gdb_side.ask(
                server, dump.arch, f"file {dump.vmlinux}", Path(work), {},
                (f"kdump-save-kernel-json {sidecar}",), chains=False,
            )  # fmt: skip
        chains, threads = ask("-k", sidecar)
        keyed = {}
        for tid, said in threads.items():
            task = task_of(said)
            if task is not None:
                keyed[str(task[1]) if task[1] else task[2].strip("[]")] = chains[str(tid)]
        dead = {str(task["pid"]) for task in truth["tasks"] if task["state"] in "XZ"}
        yield checks.chains("chains of tasks", keyed, truth["chains"], dead)  # type: ignore[arg-type]


def main() -> None:
    """Print the counts of dumps in folders that the harness made."""
    for folder in sys.argv[1:]:
        for count in chain_counts(from_folder(Path(folder)), os.environ.get("GDB", "")):
            print(folder, json.dumps(vars(count) if hasattr(count, "__dict__") else str(count)))


if __name__ == "__main__":
    main()
