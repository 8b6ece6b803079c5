"""What a process that has given everything up can and cannot do."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdump_gdbserver.adapters.sandbox import landlock, lock, seccomp
from kdump_gdbserver.adapters.sandbox.abi import _ABIS, Abi
from kdump_gdbserver.adapters.sandbox.limits import Budget

ALLOWED, KILLED = 0x7FFF0000, 0x80000000
DENIED, MISSING = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PID = 4711
# Of what an attacker wants first: on x86_64, then on the others.
WANTED = {
    "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "connect": (42, 203),
    "socket": (41, 198), "bind": (49, 200), "kill": (62, 129), "unlinkat": (263, 35),
    "process_vm_writev": (311, 271), "io_uring_setup": (425, 425), "sendmsg": (46, 211),
    "userfaultfd": (323, 282), "bpf": (321, 280), "mount": (165, 40), "setrlimit": (160, 164),
    "pidfd_getfd": (438, 438), "landlock_create_ruleset": (444, 444), "mkdirat": (258, 34),
    "renameat2": (316, 276), "capset": (126, 91), "keyctl": (250, 219), "setns": (308, 268),
    "unshare": (272, 97), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
}  # fmt: skip


def decide(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """Run a filter as the kernel would, which knows these instructions and no loops."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, audit, 0, *values)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        code, yes, no, k = instructions[at]
        at += 1
        if code == 0x06:
            return int(k)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif code == 0x54:
            accumulator &= k
        else:
            truth = {0x15: accumulator == k, 0x25: accumulator > k}[code]
            at += yes if truth else no


@pytest.fixture(params=sorted(_ABIS))
def abi(request: pytest.FixtureRequest) -> Abi:
    return _ABIS[request.param]


def test_what_an_attacker_wants_is_denied(abi: Abi) -> None:
    program = seccomp.filter_program(abi, PID)
    for name, (first, second) in WANTED.items():
        number = first if abi.audit == 0xC000003E else second
        assert decide(program, abi.audit, number) == DENIED, name
        assert decide(program, abi.audit ^ 1, number) == KILLED


def test_what_serving_takes_is_allowed_and_no_more_of_it(abi: Abi) -> None:
    program, number = seccomp.filter_program(abi, PID), abi.numbers

    def say(name: str, *arguments: int) -> int:
        return decide(program, abi.audit, number[name], *arguments)

    assert {say(name) for name in ("read", "write", "ppoll", "futex", "accept4")} == {ALLOWED}
    thread = 0x3D0F00  # as pthread_create(3) calls it
    assert say("clone", thread) == ALLOWED
    assert say("clone", 0x1200011) == DENIED  # as fork(3)
    assert say("clone", thread | 0x10000000) == DENIED  # a new user namespace
    assert say("clone3") == say("openat2") == MISSING
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, os.O_PATH):
        assert say("openat", 3, 0, flags) == ALLOWED
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_TMPFILE, os.O_RDWR | 64):
        assert say("openat", 3, 0, flags) == DENIED
    assert say("sendto", 3, 5, 1, 0, 0, 0) == ALLOWED
    assert say("sendto", 3, 5, 1, 0, 1 << 40, 16) == DENIED  # to another address
    assert say("tgkill", PID, PID, 6) == ALLOWED
    assert say("tgkill", PID + 1, PID, 6) == DENIED
    assert say("ioctl", 0, 0x5421) == ALLOWED
    assert say("ioctl", 0, 0x5412) == DENIED  # TIOCSTI: types into the terminal
    assert say("fcntl", 0, 4) == ALLOWED
    assert say("fcntl", 0, 8) == DENIED  # F_SETOWN: signals to others
    assert say("prlimit64", 0, 9, 0, 1) == ALLOWED
    assert say("prlimit64", 0, 9, 1 << 33, 0) == DENIED
    assert say("socketpair", 1, 1 | 0o2000000) == ALLOWED
    assert say("socketpair", 1, 2) == say("socketpair", 16, 1) == DENIED
    assert say("setsockopt", 3, 6) == ALLOWED
    assert say("setsockopt", 3, 0) == DENIED


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_any_other_call_is_denied_or_said_not_to_be_there(number: int, given: list[int]) -> None:
    for abi in _ABIS.values():
        decided = decide(seccomp.filter_program(abi, PID), abi.audit, number, *given)
        if number not in abi.numbers.values():
            assert decided == (MISSING if number > abi.newest else DENIED)


TRY = """
import ctypes, json, os, socket, sys, threading, time
from kdump_gdbserver.adapters.sandbox.limits import Budget
from kdump_gdbserver.adapters.sandbox.lock import lock_down
folder, given, log = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
log = open(log, "a")
above = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
lock_down([given], Budget(address_space=1 << 30, file_size=1 << 20))

def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return True

def thread():
    started = threading.Thread(target=time.sleep, args=(0,))
    started.start()
    started.join()
    return True

def fill_log():
    return log.write("x" * (2 << 20)) and log.flush()

tries = {
    "open for writing": lambda: open(folder + "/new", "w"),
    "open for adding": lambda: open(given + "/file", "a"),
    "unlink": lambda: os.unlink(given + "/file"),
    "rename": lambda: os.rename(given + "/file", folder + "/other"),
    "mkdir": lambda: os.mkdir(folder + "/new"),
    "chmod": lambda: os.chmod(given + "/file", 0o777),
    "execve": lambda: os.execv("/bin/true", ["true"]),
    "fork": os.fork,
    "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "socket": socket.socket,
    "connect": lambda: above.connect("/run/nothing"),
    "bind": lambda: above.bind(folder + "/socket"),
    "sendto": lambda: above.sendto(b"x", "/run/nothing"),
    "kill": lambda: os.kill(os.getppid(), 0),
    "ptrace": lambda: called(libc.ptrace(16, os.getppid(), 0, 0)),
    "raise a limit": lambda: called(libc.prlimit(0, 9, (ctypes.c_ulong * 2)(1, 1), None)),
    "type into the terminal": lambda: called(libc.ioctl(0, 0x5412, b"x")),
    "read elsewhere": lambda: open(folder + "/secret").read(),
    "list elsewhere": lambda: os.listdir(folder),
    "memory": lambda: len(bytearray(2 << 30)),
    "fill the log": fill_log,
    "read": lambda: open(given + "/file").read(),
    "list": lambda: os.listdir(given),
    "thread": thread,
    "import": lambda: bool(__import__("numpy").zeros(9).size and __import__("drgn")),
    "anonymous file": lambda: os.write(os.memfd_create("x"), b"x"),
    "sockets": lambda: socket.socketpair()[0].fileno() > 0,
}
said = {}
for name, attempt in tries.items():
    try:
        said[name] = attempt()
    except MemoryError:
        said[name] = "ENOMEM"
    except OSError as error:
        said[name] = __import__("errno").errorcode[error.errno]
print(json.dumps(said, default=str))
sys.stdout.flush()
os._exit(0)
"""


def attempts(tmp_path: Path, before: str = "") -> dict[str, Any]:
    """Run the tries in a process that has given everything up, and return what came of each."""
    folder, given = tmp_path / "elsewhere", tmp_path / "given"
    for each in (folder, given):
        each.mkdir()
    (given / "file").write_text("of the dump")
    (folder / "secret").write_text("not of the dump")
    result = subprocess.run(
        [sys.executable, "-c", before + TRY, folder, given, tmp_path / "log"],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "log").stat().st_size <= 1 << 20
    assert (given / "file").read_text() == "of the dump"
    assert [each.name for each in folder.iterdir()] == ["secret"]
    said: dict[str, Any] = json.loads(result.stdout)
    return said


WORKS = {"read": "of the dump", "list": ["file"], "thread": True, "import": True}
WORKS |= {"anonymous file": 1, "sockets": True}
BOUNDED = {"memory": "ENOMEM", "fill the log": "EFBIG"}


@pytest.mark.skipif(not seccomp.has_seccomp(), reason="the kernel has no seccomp")
@pytest.mark.skipif(not landlock.landlock_version(), reason="the kernel has no Landlock")
def test_nothing_can_be_written_started_or_reached(tmp_path: Path) -> None:
    said = attempts(tmp_path)
    assert {name: said.pop(name) for name in WORKS} == WORKS
    assert {name: said.pop(name) for name in BOUNDED} == BOUNDED
    assert len(said) == 19
    assert said == {**dict.fromkeys(said, "EPERM"), **dict.fromkeys(READING, "EACCES")}


READING = ("read elsewhere", "list elsewhere")
NO_LANDLOCK = (
    "from kdump_gdbserver.adapters.sandbox import landlock\nlandlock.landlock_version = lambda: 0\n"
)
NO_SYSTEM_CALLS = """
import errno
from kdump_gdbserver.adapters.sandbox import landlock, seccomp
def missing(*arguments):
    raise OSError(errno.ENOSYS, "Function not implemented")
landlock.system_call = seccomp.system_call = missing
"""


@pytest.mark.skipif(not seccomp.has_seccomp(), reason="the kernel has no seccomp")
def test_without_landlock_seccomp_keeps_from_all_but_reading(tmp_path: Path) -> None:
    said = attempts(tmp_path, NO_LANDLOCK)
    assert said.pop("read elsewhere") == "not of the dump"
    assert said.pop("list elsewhere") == ["secret"]
    allowed = WORKS | BOUNDED
    assert said == {**dict.fromkeys(said, "EPERM"), **allowed}


def test_a_kernel_without_either_is_passed_over_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: Any) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(seccomp, "system_call", missing)
    monkeypatch.setattr(landlock, "system_call", missing)
    assert lock.describe() == (
        "limits on memory and files; no seccomp here: any system call can be made;"
        " no Landlock here: any file that you may read can be read"
    )
    code = NO_SYSTEM_CALLS + (
        "from kdump_gdbserver.adapters.sandbox.limits import Budget\n"
        "from kdump_gdbserver.adapters.sandbox.lock import lock_down\n"
        "import resource\n"
        "lock_down([], Budget(address_space=1 << 30))\n"
        "print(open('/etc/passwd').read(1) != '', resource.getrlimit(resource.RLIMIT_AS)[0])\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == (f"True {1 << 30}\n", "")


def test_a_machine_whose_calls_are_not_known_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seccomp, "host_abi", lambda: None)
    assert not seccomp.has_seccomp()
    assert not seccomp.install_filter()


def test_a_limit_that_is_lower_already_stays() -> None:
    code = (
        "import resource\n"
        "from kdump_gdbserver.adapters.sandbox.limits import Budget, set_limits\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 30))\n"
        "set_limits(Budget())\n"
        "for kind in (resource.RLIMIT_AS, resource.RLIMIT_CORE):\n"
        "    print(*resource.getrlimit(kind))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == f"{1 << 29} {1 << 29}\n0 0\n"
    assert Budget().address_space == 4 << 30
