"""The gdb script as a module, with a stand-in for the `gdb` module it runs in."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "gdb" / "KdumpGdbCommands.py"


class StandInCommand:
    """gdb.Command as far as the script's module level needs it."""

    def __init__(self, name, command_class, completer=None):
        self.name = name
        self.completer = completer

    def dont_repeat(self):
        pass


def stand_in() -> types.ModuleType:
    gdb = types.ModuleType("gdb")
    gdb.Command = StandInCommand
    gdb.error = type("error", (RuntimeError,), {})
    gdb.MemoryError = type("MemoryError", (gdb.error,), {})
    gdb.GdbError = type("GdbError", (Exception,), {})
    gdb.COMMAND_DATA, gdb.COMPLETE_FILENAME, gdb.STDERR = 1, 2, 1
    return gdb


@pytest.fixture(scope="session")
def script():
    """KdumpGdbCommands.py, loaded once."""
    before = sys.modules.get("gdb")
    sys.modules["gdb"] = stand_in()
    try:
        spec = importlib.util.spec_from_file_location("KdumpGdbCommands", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        if before is None:
            del sys.modules["gdb"]
        else:
            sys.modules["gdb"] = before
