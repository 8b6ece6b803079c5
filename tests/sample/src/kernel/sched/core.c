/* A scheduler that runs whatever task is new, else the idle task. */
#include <asm/percpu.h>
#include <linux/kernel.h>
#include <linux/sched.h>

DEFINE_PER_CPU(struct rq, runqueues);
DEFINE_PER_CPU(struct task_struct *, current_task) = &init_task;
DEFINE_PER_CPU(u64, cpu_current_top_of_stack);
DEFINE_PER_CPU(int, cpu_number);
u64 __per_cpu_offset[NR_CPUS];
unsigned int nr_cpu_ids = NR_CPUS;

static struct task_struct *new_tasks[4];

static struct task_struct *pick_next_task(struct rq *rq)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(new_tasks); i++) {
		struct task_struct *next = new_tasks[i];

		if (next) {
			new_tasks[i] = NULL;
			return next;
		}
	}
	return rq->idle;
}

static void switch_mm(struct mm_struct *mm)
{
	/* Page tables lie in the direct mapping. */
	u64 cr3 = (u64)mm->pgd - page_offset_base;

	asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
}

static noinline void __schedule(void)
{
	struct rq *rq = per_cpu_ptr(runqueues, smp_processor_id());
	struct task_struct *prev = rq->curr;
	struct task_struct *next = pick_next_task(rq);

	if (next == prev)
		return;
	if (prev->__state != TASK_RUNNING && prev != rq->idle)
		rq->nr_running--;
	if (next->mm)
		switch_mm(next->mm);
	rq->curr = next;
	prev->on_cpu = 0;
	next->on_cpu = 1;
	this_cpu_write(current_task, next);
	this_cpu_write(cpu_current_top_of_stack, (u64)next->stack + THREAD_SIZE);
	__switch_to_asm(prev, next);
	barrier();
}

noinline void schedule(void)
{
	__schedule();
	barrier();
}

noinline void schedule_idle(void)
{
	__schedule();
	barrier();
}

/* Task becomes runnable on CPU 0; its stack looks as if it had been switched away from. */
void wake_up_new_task(struct task_struct *task)
{
	struct inactive_task_frame *frame;

	frame = (void *)((u64)task->stack + THREAD_SIZE - sizeof(struct inactive_task_frame));
	memset(frame, 0, sizeof(*frame));
	frame->ret_addr = (u64)ret_from_fork;
	task->thread.sp = (u64)frame;
	task->__state = TASK_RUNNING;
	per_cpu_ptr(runqueues, 0)->nr_running++;
	for (unsigned int i = 0; i < ARRAY_SIZE(new_tasks); i++)
		if (!new_tasks[i]) {
			new_tasks[i] = task;
			return;
		}
}

void init_idle(struct task_struct *idle, int cpu)
{
	struct rq *rq = per_cpu_ptr(runqueues, cpu);

	rq->cpu = cpu;
	rq->curr = rq->idle = idle;
	idle->on_cpu = 1;
	idle->thread_info.cpu = cpu;
	strscpy(idle->comm, cpu ? "swapper/1" : "swapper/0", sizeof(idle->comm));
	*per_cpu_ptr(current_task, cpu) = idle;
	*per_cpu_ptr(cpu_current_top_of_stack, cpu) = (u64)idle->stack + THREAD_SIZE;
}
