/* Declarations shared by the toy kernel's files. */
#ifndef _LINUX_KERNEL_H
#define _LINUX_KERNEL_H

#include <linux/types.h>

struct pt_regs;

extern atomic_t panic_cpu;
extern int crashing_cpu;
extern u64 page_offset_base, vmalloc_base, phys_base;

void panic(const char *fmt, ...) __noreturn;
void pr_emerg(const char *text);
void __crash_kexec(struct pt_regs *regs);
void machine_crash_shutdown(struct pt_regs *regs);
void machine_kexec(void) __noreturn;
void crash_save_cpu(struct pt_regs *regs, int cpu);
void cpu_startup_entry(int state) __noreturn;
void arch_cpu_idle(void);
ssize_t ksys_write(unsigned int fd, const char __user *buf, size_t count);

#endif
