/* The NT_PRSTATUS note as x86_64 defines it. */
#ifndef _LINUX_ELFCORE_H
#define _LINUX_ELFCORE_H

#include <linux/types.h>

#define NT_PRSTATUS 1
#define CRASH_CORE_NOTE_BYTES 512

typedef u32 note_buf_t[CRASH_CORE_NOTE_BYTES / sizeof(u32)];
extern note_buf_t *crash_notes;

struct elf_note_header {
	u32 namesz, descsz, type;
};

struct user_regs_struct {
	u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax;
	u64 ip, cs, flags, sp, ss, fs_base, gs_base, ds, es, fs, gs;
};

struct elf_prstatus {
	int si_signo, si_code, si_errno;
	short cursig;
	u64 sigpend, sighold;
	pid_t pid, ppid, pgrp, sid;
	u64 utime[2], stime[2], cutime[2], cstime[2];
	struct user_regs_struct reg;
	int fpvalid;
};
_Static_assert(sizeof(struct elf_prstatus) == 336, "x86_64 ABI");

#endif
