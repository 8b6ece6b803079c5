/* Stopping the CPUs and saving their registers. */
#include <asm/percpu.h>
#include <asm/ptrace.h>
#include <linux/elfcore.h>
#include <linux/kernel.h>
#include <linux/sched.h>

int crashing_cpu = -1;
note_buf_t *crash_notes; /* per-CPU memory */

static void copy_kernel_regs(struct user_regs_struct *to, const struct pt_regs *regs)
{
	memcpy(to, regs, sizeof(*regs));
	to->fs_base = current->thread.fsbase;
	to->gs_base = current->thread.gsbase;
	asm volatile("mov %%ds, %k0" : "=r"(to->ds));
	asm volatile("mov %%es, %k0" : "=r"(to->es));
	asm volatile("mov %%fs, %k0" : "=r"(to->fs));
	asm volatile("mov %%gs, %k0" : "=r"(to->gs));
}

noinline void crash_save_cpu(struct pt_regs *regs, int cpu)
{
	struct elf_prstatus prstatus;
	struct elf_note_header header = { 5, sizeof(prstatus), NT_PRSTATUS };
	char *note = (char *)this_alloc_ptr(crash_notes, cpu);

	memset(&prstatus, 0, sizeof(prstatus));
	prstatus.pid = current->pid;
	copy_kernel_regs(&prstatus.reg, regs);
	memcpy(note, &header, sizeof(header));
	memcpy(note + sizeof(header), "CORE\0\0\0", 8);
	memcpy(note + sizeof(header) + 8, &prstatus, sizeof(prstatus));
}

/* The other CPUs come here by an NMI, with the registers that it interrupted. */
noinline __noreturn void crash_nmi_callback(struct pt_regs *regs)
{
	if (smp_processor_id() != crashing_cpu)
		crash_save_cpu(regs, smp_processor_id());
	for (;;)
		asm volatile("hlt");
}

noinline void machine_crash_shutdown(struct pt_regs *regs)
{
	crashing_cpu = smp_processor_id();
	crash_save_cpu(regs, crashing_cpu);
}

/* Where the crash kernel would start. */
noinline __noreturn void machine_kexec(void)
{
	for (;;)
		asm volatile("hlt");
}
