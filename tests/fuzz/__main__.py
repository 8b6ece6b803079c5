"""Fuzz each target for some seconds: `python -m tests.fuzz --seconds 20 [TARGET...]`.

With `--short`, as in `make test`, the same inputs are tried each time: the corpus and some
thousand mutants of it, which must pass, then what the fuzzer makes of the corpus in a fixed
number of steps from a fixed seed. What that finds beyond them nobody has seen before: it is
shown and kept, and is no reason for this run to fail. Without `--short` it is.

What the fuzzer finds is kept in a folder that is printed; the corpus in the repository stays
as it is. With `--only TARGET`, run the fuzzer on that one in this process; what follows goes to
it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

# Mutants of each seed in a short run, and steps of the fuzzer: some 30 seconds in all.
MUTANTS = 500
STEPS = {
    "codec": 20_000, "dispatcher": 8_000, "sidecar": 25_000, "vmcoreinfo": 40_000, "btf": 5_000,
    "kallsyms": 10_000,
}  # fmt: skip
_LIMITS = ("-timeout=60", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1")


def same_addresses() -> list[str]:
    """Return how to start a program at the same addresses each time, if that can be had.

    The fuzzer's choices depend on them, too. Some containers forbid it.
    """
    command = ["setarch", "-R"]
    try:
        done = subprocess.run([*command, "true"], capture_output=True, check=False)
    except OSError:
        return []
    return command if done.returncode == 0 else []


def main() -> int:
    """Run the command line."""
    if sys.argv[1:2] == ["--only"]:
        return only(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seconds", type=int, default=20, help="for each target (20)")
    parser.add_argument("--short", action="store_true", help="the same few inputs each time")
    options = parser.parse_args()
    targets = options.targets or list(STEPS)
    good = not options.short or all(try_mutants(name) for name in targets)
    try:
        import atheris
    except ImportError:
        print(
            f"No fuzzer (atheris) for Python {sys.version.split()[0]} here; install it with"
            " pip install 'kdump-gdbserver[fuzz]', or use a Python that it is made for"
            + ("; the inputs above need none" if options.short else "")
        )
        return 0 if good else 1
    del atheris
    for name in targets:
        if options.short:
            good &= run(name, [f"-runs={STEPS[name]}", "-seed=1"], new_is_bad=False)
        else:
            good &= run(name, [f"-max_total_time={options.seconds}"])
    return 0 if good else 1


def try_mutants(name: str) -> bool:
    """Run one target on the corpus and its mutants; print and return what came of it."""
    from tests.fuzz.mutants import mutants, seeds
    from tests.fuzz.targets import TARGETS

    tried = 0
    for seed in seeds(name):
        for data in (seed, *mutants(seed, MUTANTS)):
            tried += 1
            try:
                TARGETS[name](data)
            except Exception:
                print(f"{name}: fails for {data!r}:\n{traceback.format_exc()}", flush=True)
                return False
    print(f"{name}: {tried:,} inputs of the corpus and like it tried, all is well", flush=True)
    return True


def run(name: str, how_long: Sequence[str], new_is_bad: bool = True) -> bool:
    """Fuzz one target in a process of its own and print what came of it.

    Return whether all went well; what was found is no matter unless `new_is_bad`.
    """
    from tests.fuzz.targets import SCRATCH, scratch_folder

    found = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    corpus = Path(__file__).parent / "corpus" / name
    command = [
        *same_addresses(), sys.executable, "-m", "tests.fuzz", "--only", name, *how_long, *_LIMITS,
        f"-artifact_prefix={found}/crash-", str(found), str(corpus),
    ]  # fmt: skip
    with scratch_folder() as scratch:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "PYTHONHASHSEED": "0", SCRATCH: scratch},
        )
    tried = re.findall(r"number_of_executed_units: (\d+)", done.stdout)
    covered = re.findall(r"cov: (\d+)", done.stdout)
    print(
        f"{name}: {int(tried[-1]) if tried else 0:,} inputs tried by the fuzzer,"
        f" {covered[-1] if covered else '?'} edges covered, status {done.returncode}",
        flush=True,
    )
    if done.returncode == 0:
        shutil.rmtree(found)
        return True
    print(done.stdout[-6000:], f"\nthe input is in {found}", sep="", flush=True)
    if new_is_bad or not any(found.glob("crash-*")):
        return False
    print(f"NEW: mend {name}, and put that input into {corpus}", flush=True)
    return True


def only(name: str, arguments: list[str]) -> int:
    """Run the fuzzer on one target."""
    import atheris

    with atheris.instrument_imports(include=["kdump_gdbserver"]):
        from tests.fuzz.targets import TARGETS

    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
