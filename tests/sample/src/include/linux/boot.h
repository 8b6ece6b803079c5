/* What the boot loader (tests/sample/build.py) hands to start_kernel; all 64-bit words. */
#ifndef _LINUX_BOOT_H
#define _LINUX_BOOT_H

#include <linux/types.h>

struct boot_task {
	u64 task, stack, mm, pgd_phys, start_code, start_stack, fsbase;
};

struct boot_params {
	u64 percpu[NR_CPUS];
	u64 crash_notes; /* offset into each per-CPU area */
	struct boot_task idle1, init, shell;
};

extern struct boot_params boot_params;

#endif
