"""An allow list of system calls, as a program for the kernel's filter (seccomp(2), bpf(4)).

What is not on the list fails with EPERM: no program is started, no process, no connection, no
file is opened but for reading, nobody else's process is touched. Calls that the C library has
another way for fail with ENOSYS, which it understands.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from kdump_gdbserver.adapters.sandbox.abi import Abi, host_abi
from kdump_gdbserver.adapters.sandbox.system_calls import system_call

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
# Without it, kernels before 5.16 switch speculation off for the process, which costs a lot.
_SPEC_ALLOW = 4
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
# struct seccomp_data: nr, arch, instruction_pointer, args[6] (their low halves come first)
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_RET|K
_EQUAL, _GREATER = 0x15, 0x25  # BPF_JMP|JEQ|K, BPF_JMP|JGT|K

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


@dataclass(frozen=True)
class _Is:
    """An argument, under a mask, is one of some values; both halves of it are 0 for `null`."""

    argument: int
    values: tuple[int, ...] = (0,)
    mask: int | None = None
    null: bool = False


_READ_ONLY = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | 0x400000
_THREAD = 0x00010100  # CLONE_THREAD | CLONE_VM
_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_STREAM, _UNIX = 1, 1
_LEVELS = (1, 6)  # SOL_SOCKET, IPPROTO_TCP
_IOCTLS = (0x5401, 0x5421, 0x541B, 0x5450, 0x5451)  # TCGETS FIONBIO FIONREAD FIONCLEX FIOCLEX
# F_DUPFD, GETFD, SETFD, GETFL, SETFL, F_DUPFD_CLOEXEC, ADD_SEALS, GET_SEALS: not F_SETOWN, which
# has signals sent.
_FCNTLS = (0, 1, 2, 3, 4, 1030, 1033, 1034)
_PRCTLS = (15, 0x53564D41)  # PR_SET_NAME, PR_SET_VMA
# The busiest first; kernels before 5.11 go through them one by one.
_FREELY = """
    read write poll ppoll sched_yield futex pread64 recvfrom clock_gettime clock_nanosleep
    accept accept4 access brk clock_getres close close_range dup dup2 dup3 epoll_create1
    epoll_ctl epoll_pwait epoll_wait eventfd2 exit exit_group faccessat faccessat2 fadvise64
    fstat fstatfs ftruncate get_robust_list getcpu getcwd getdents64 getegid geteuid getgid
    getgroups getpeername getpid getppid getrandom getrlimit getrusage getsockname gettid
    gettimeofday getuid lseek lstat madvise membarrier memfd_create mmap mprotect mremap munmap
    nanosleep newfstatat pipe2 preadv pselect6 pwrite64 readlink readlinkat readv recvmsg
    restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity
    sched_getparam sched_getscheduler select set_robust_list shutdown sigaltstack stat statx
    sysinfo time times uname writev
""".split()
# fmt: off
_IF: dict[str, tuple[_Is, ...]] = {
    "sendto": (_Is(4, null=True),),  # to where the socket is connected
    "open": (_Is(1, mask=_READ_ONLY),),
    "openat": (_Is(2, mask=_READ_ONLY),),
    "clone": (_Is(0, (_THREAD,), mask=_THREAD | _NAMESPACES),),
    "socketpair": (_Is(0, (_UNIX,)), _Is(1, (_STREAM,), mask=0xF)),
    "getsockopt": (_Is(1, _LEVELS),),
    "setsockopt": (_Is(1, _LEVELS),),
    "ioctl": (_Is(1, _IOCTLS),),
    "fcntl": (_Is(1, _FCNTLS),),
    "prctl": (_Is(0, _PRCTLS),),
    "prlimit64": (_Is(2, null=True),),  # only to read them
}
# fmt: on
_NOT_THERE = ("clone3", "openat2")


class _FilterProgram(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def has_seccomp() -> bool:
    """Whether `install_filter` would work: the kernel has it, and this knows the machine."""
    abi = host_abi()
    if abi is None:
        return False
    try:
        action = ctypes.c_uint32(_ERRNO)
        system_call(abi.numbers["seccomp"], _GET_ACTION_AVAIL, 0, ctypes.byref(action))
    except OSError:
        return False
    return True


def install_filter() -> bool:
    """Allow this process and its threads no other calls than the list's, from now on.

    To come after `forbid_new_privileges`, before there are threads. Returns False where the
    kernel has no such filter.
    """
    abi = host_abi()
    if abi is None:
        return False
    program = filter_program(abi, os.getpid())
    given = _FilterProgram(len(program) // 8, program)
    for flags in (_SPEC_ALLOW, 0):
        try:
            system_call(abi.numbers["seccomp"], _SET_MODE_FILTER, flags, ctypes.byref(given))
        except OSError as error:
            if flags and error.errno == errno.EINVAL:  # before 4.17
                continue
            return False
        return True
    return False


def filter_program(abi: Abi, pid: int) -> bytes:
    """Return the filter as an array of struct sock_filter, for a process with this pid."""
    rules = {**_IF, "tgkill": (_Is(0, (pid,)),)}  # abort(3) sends itself a signal
    program = [*_load(_ARCH), *_unless_equal(abi.audit, [_end(_KILL_PROCESS)]), *_load(_NUMBER)]
    for name in _FREELY:
        if name in abi.numbers:
            program += _if_equal(abi.numbers[name], [_end(_ALLOW)])
    for name, conditions in rules.items():
        if name in abi.numbers:
            program += _if_equal(abi.numbers[name], list(_allowed_if(conditions)))
    for name in _NOT_THERE:
        program += _if_equal(abi.numbers[name], [_end(_ERRNO | errno.ENOSYS)])
    program += [(_GREATER, 0, 1, abi.newest), _end(_ERRNO | errno.ENOSYS)]
    program.append(_end(_ERRNO | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _allowed_if(conditions: Iterable[_Is]) -> Iterable[_Instruction]:
    refused = _end(_ERRNO | errno.EPERM)
    for one in conditions:
        at = _ARGUMENTS + 8 * one.argument
        for half in (at, at + 4) if one.null else (at,):
            yield from _load(half)
            if one.mask is not None:
                yield (_AND, 0, 0, one.mask)
            for left, value in zip(range(len(one.values), 0, -1), one.values, strict=True):
                yield (_EQUAL, left, 0, value)
            yield refused
    yield _end(_ALLOW)


def _load(at: int) -> list[_Instruction]:
    return [(_LOAD, 0, 0, at)]


def _end(action: int) -> _Instruction:
    return (_RETURN, 0, 0, action)


def _if_equal(value: int, then: list[_Instruction]) -> list[_Instruction]:
    return [(_EQUAL, 0, len(then), value), *then]


def _unless_equal(value: int, then: list[_Instruction]) -> list[_Instruction]:
    return [(_EQUAL, len(then), 0, value), *then]
