/* The idle loop. */
#include <asm/percpu.h>
#include <linux/kernel.h>
#include <linux/sched.h>

static noinline void default_idle_call(void)
{
	arch_cpu_idle();
	barrier();
}

static noinline void cpuidle_idle_call(void)
{
	default_idle_call();
	barrier();
}

static noinline void do_idle(void)
{
	struct rq *rq = per_cpu_ptr(runqueues, smp_processor_id());

	while (rq->nr_running == 0)
		cpuidle_idle_call();
	schedule_idle();
}

noinline void cpu_startup_entry(int state)
{
	for (;;) {
		do_idle();
		keep(state);
	}
}
