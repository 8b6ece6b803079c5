/* The second CPU comes up. */
#include <asm/percpu.h>
#include <linux/kernel.h>
#include <linux/sched.h>

u64 __cpu_online_mask = 1;
u64 __cpu_possible_mask = 3;
u64 __cpu_present_mask = 3;

noinline __noreturn void start_secondary(void *unused)
{
	(void)unused;
	__cpu_online_mask |= 1UL << smp_processor_id();
	cpu_startup_entry(opaque(170));
}
