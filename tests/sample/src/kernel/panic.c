/* The end of the world. */
#include <asm/percpu.h>
#include <linux/kernel.h>

#define PANIC_CPU_INVALID -1

atomic_t panic_cpu = { PANIC_CPU_INVALID };
char log_text[256];

noinline void pr_emerg(const char *text)
{
	size_t used = strlen(log_text);

	strscpy(log_text + used, text, sizeof(log_text) - used);
}

noinline void panic(const char *fmt, ...)
{
	int this_cpu = smp_processor_id();
	int old_cpu = PANIC_CPU_INVALID;

	__atomic_compare_exchange_n(&panic_cpu.counter, &old_cpu, this_cpu, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (old_cpu != PANIC_CPU_INVALID && old_cpu != this_cpu)
		for (;;)
			asm volatile("hlt");

	pr_emerg("Kernel panic - not syncing: ");
	pr_emerg(fmt);
	__crash_kexec(NULL);

	pr_emerg("---[ end Kernel panic - not syncing: ");
	pr_emerg(fmt);
	for (;;)
		asm volatile("hlt");
}
