"""Numbers of system calls, by the machine this runs on (not the one that was dumped).

From Linux's arch/x86/entry/syscalls/syscall_64.tbl, and scripts/syscall.tbl, which the newer
architectures share; AUDIT_ARCH_* from include/uapi/linux/audit.h.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Abi:
    """How one kind of machine calls the kernel: its AUDIT_ARCH_ number, and names' numbers.

    `newest` is the highest number that was known when this was written. What comes after it is
    not refused but said not to be there, so that the C library does without.
    """

    audit: int
    numbers: Mapping[str, int]
    newest: int = 462


def _table(text: str) -> dict[str, int]:
    return {name: int(number) for name, _, number in (pair.partition("=") for pair in text.split())}


# fmt: off
_X86_64 = _table(
    "read=0 write=1 open=2 close=3 stat=4 fstat=5 lstat=6 poll=7 lseek=8 mmap=9 mprotect=10"
    " munmap=11 brk=12 rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15 ioctl=16 pread64=17"
    " pwrite64=18 readv=19 writev=20 access=21 select=23 sched_yield=24 mremap=25 madvise=28"
    " dup=32 dup2=33 nanosleep=35 getpid=39 accept=43 sendto=44 recvfrom=45 recvmsg=47"
    " shutdown=48 getsockname=51 getpeername=52 socketpair=53 setsockopt=54 getsockopt=55"
    " clone=56 exit=60 uname=63 fcntl=72 ftruncate=77 getcwd=79 readlink=89 gettimeofday=96"
    " getrlimit=97 getrusage=98 sysinfo=99 times=100 getuid=102 getgid=104 geteuid=107"
    " getegid=108 getppid=110 getgroups=115 sigaltstack=131 fstatfs=138 sched_getparam=143"
    " sched_getscheduler=145 prctl=157 gettid=186 time=201 futex=202 sched_getaffinity=204"
    " getdents64=217 restart_syscall=219 fadvise64=221 clock_gettime=228 clock_getres=229"
    " clock_nanosleep=230 exit_group=231 epoll_wait=232 epoll_ctl=233 tgkill=234 openat=257"
    " newfstatat=262 readlinkat=267 faccessat=269 pselect6=270 ppoll=271 set_robust_list=273"
    " get_robust_list=274 epoll_pwait=281 accept4=288 eventfd2=290 epoll_create1=291 dup3=292"
    " pipe2=293 preadv=295 prlimit64=302 getcpu=309 seccomp=317 getrandom=318 memfd_create=319"
    " membarrier=324 statx=332 rseq=334 clone3=435 close_range=436 openat2=437 faccessat2=439"
)
_SHARED = _table(
    "getcwd=17 eventfd2=19 epoll_create1=20 epoll_ctl=21 epoll_pwait=22 dup=23 dup3=24 fcntl=25"
    " ioctl=29 fstatfs=44 ftruncate=46 faccessat=48 openat=56 close=57 pipe2=59 getdents64=61"
    " lseek=62 read=63 write=64 readv=65 writev=66 pread64=67 pwrite64=68 preadv=69 pselect6=72"
    " ppoll=73 readlinkat=78 newfstatat=79 fstat=80 exit=93 exit_group=94 futex=98"
    " set_robust_list=99 get_robust_list=100 nanosleep=101 clock_gettime=113 clock_getres=114"
    " clock_nanosleep=115 sched_getscheduler=120 sched_getparam=121 sched_getaffinity=123"
    " sched_yield=124 restart_syscall=128 tgkill=131 sigaltstack=132 rt_sigaction=134"
    " rt_sigprocmask=135 rt_sigreturn=139 times=153 getgroups=158 uname=160 getrlimit=163"
    " getrusage=165 prctl=167 getcpu=168 gettimeofday=169 getpid=172 getppid=173 getuid=174"
    " geteuid=175 getgid=176 getegid=177 gettid=178 sysinfo=179 socketpair=199 accept=202"
    " getsockname=204 getpeername=205 sendto=206 recvfrom=207 setsockopt=208 getsockopt=209"
    " shutdown=210 recvmsg=212 brk=214 munmap=215 mremap=216 clone=220 mmap=222 fadvise64=223"
    " mprotect=226 madvise=233 accept4=242 prlimit64=261 seccomp=277 getrandom=278"
    " memfd_create=279 membarrier=283 statx=291 rseq=293 clone3=435 close_range=436 openat2=437"
    " faccessat2=439"
)
# fmt: on
_ABIS = {
    "x86_64": Abi(0xC000003E, _X86_64),
    "aarch64": Abi(0xC00000B7, _SHARED),
    "riscv64": Abi(0xC00000F3, _SHARED),
    "loongarch64": Abi(0xC0000102, _SHARED),
}


def host_abi() -> Abi | None:
    """Return how this machine calls the kernel; None where that is not known here."""
    return _ABIS.get(os.uname().machine)
