/* Idling, and the system call table. */
#include <asm/percpu.h>
#include <asm/ptrace.h>
#include <linux/kernel.h>
#include <linux/sched.h>

static noinline void mwait_idle(void)
{
	const void *flags = &current->thread_info.flags;

	asm volatile("monitor" : : "a"(flags), "c"(0), "d"(0));
	asm volatile("sti; mwait" : : "a"(0), "c"(0));
	asm volatile("cli");
}

noinline void arch_cpu_idle(void)
{
	void (*x86_idle)(void) = opaque(&mwait_idle);

	x86_idle();
	barrier();
}

static noinline long __x64_sys_write(const struct pt_regs *regs)
{
	ssize_t done = ksys_write(regs->di, (const char __user *)regs->si, regs->dx);

	keep(regs);
	return done;
}

static noinline long __x64_sys_pause(const struct pt_regs *regs)
{
	current->__state = TASK_INTERRUPTIBLE;
	schedule();
	keep(regs);
	return -514;
}

typedef long (*sys_call_ptr_t)(const struct pt_regs *regs);
#define __NR_write 1
#define __NR_pause 34
const sys_call_ptr_t sys_call_table[35] = {
	[__NR_write] = __x64_sys_write,
	[__NR_pause] = __x64_sys_pause,
};

noinline void do_syscall_64(struct pt_regs *regs, int nr)
{
	sys_call_ptr_t handler = NULL;

	if ((unsigned int)nr < ARRAY_SIZE(sys_call_table))
		handler = sys_call_table[nr];
	handler = opaque(handler);
	if (handler)
		regs->ax = handler(regs);
	keep(nr);
}
