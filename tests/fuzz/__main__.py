"""Fuzz each target for some seconds: `python -m tests.fuzz --seconds 20 [TARGET...]`.

With `--only TARGET`, run the fuzzer on that one in this process; what follows goes to it.
What it finds is kept in a folder that is printed; the corpus in the repository stays as it is.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Run the command line."""
    if sys.argv[1:2] == ["--only"]:
        return only(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seconds", type=int, default=20, help="for each target (20)")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        print(
            f"No fuzzer (atheris) for Python {sys.version.split()[0]} here; install it with"
            " pip install 'kdump-gdbserver[fuzz]', or use a Python that it is made for"
        )
        return 0
    del atheris
    from tests.fuzz.targets import TARGETS

    failed = [name for name in options.targets or TARGETS if not run(name, options.seconds)]
    return 1 if failed else 0


def run(name: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own and print what came of it."""
    found = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    corpus = Path(__file__).parent / "corpus" / name
    command = [
        sys.executable, "-m", "tests.fuzz", "--only", name,
        f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096",
        "-print_final_stats=1", f"-artifact_prefix={found}/crash-", str(found), str(corpus),
    ]  # fmt: skip
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    tried = re.findall(r"number_of_executed_units: (\d+)", done.stdout)
    covered = re.findall(r"cov: (\d+)", done.stdout)
    print(
        f"{name}: {tried[-1] if tried else '?'} inputs tried,"
        f" {covered[-1] if covered else '?'} edges covered, status {done.returncode}",
        flush=True,
    )
    if done.returncode:
        print(done.stdout[-6000:], f"\nthe input is in {found}", sep="", flush=True)
    return done.returncode == 0


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
