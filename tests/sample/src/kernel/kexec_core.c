/* From a panic to the crash kernel. */
#include <asm/kexec.h>
#include <linux/kernel.h>

noinline void __crash_kexec(struct pt_regs *regs)
{
	struct pt_regs fixed_regs;

	crash_setup_regs(&fixed_regs, regs);
	machine_crash_shutdown(&fixed_regs);
	machine_kexec();
}
