/* Boot of CPU 0 on init_stack, and the tasks there are. */
#include <asm/percpu.h>
#include <linux/boot.h>
#include <linux/elfcore.h>
#include <linux/kernel.h>
#include <linux/sched.h>

__page_aligned __attribute__((section(".data..page_aligned"))) pgd_t init_top_pgt[512];
__page_aligned __attribute__((section(".bss..page_aligned"))) union thread_union init_stack;
__page_aligned __attribute__((section(".bss..page_aligned"))) char vmcoreinfo_note[PAGE_SIZE];
__page_aligned __attribute__((section(".bss..page_aligned"))) u64 nmi_stack[512];

u64 page_offset_base, vmalloc_base, phys_base;
u64 node_online_map = 1;
struct boot_params boot_params;

struct mm_struct init_mm = { .pgd = init_top_pgt };
struct task_struct init_task = {
	.flags = PF_KTHREAD,
	.stack = &init_stack,
	.prio = 120,
	.tasks = { &init_task.tasks, &init_task.tasks },
	.active_mm = &init_mm,
	.real_parent = &init_task,
	.comm = "swapper",
};

extern char __per_cpu_load[], __per_cpu_start[], __per_cpu_end[];

static void __init setup_per_cpu_areas(void)
{
	u64 size = (u64)__per_cpu_end - (u64)__per_cpu_start;

	for (int cpu = 0; cpu < NR_CPUS; cpu++) {
		memcpy((void *)boot_params.percpu[cpu], __per_cpu_load, size);
		__per_cpu_offset[cpu] = boot_params.percpu[cpu];
		*per_cpu_ptr(cpu_number, cpu) = cpu;
	}
}

static struct task_struct *__init copy_process(const struct boot_task *boot, pid_t pid,
					       const char *comm)
{
	struct task_struct *task = (void *)boot->task;
	struct list_head *last = init_task.tasks.prev;

	*task = init_task;
	task->stack = (void *)boot->stack;
	task->pid = task->tgid = pid;
	task->thread.fsbase = boot->fsbase;
	strscpy(task->comm, comm, sizeof(task->comm));
	if (!boot->mm)
		return task;

	task->flags = 0;
	task->mm = task->active_mm = (void *)boot->mm;
	task->mm->pgd = (void *)(boot->pgd_phys + page_offset_base);
	task->mm->start_code = boot->start_code;
	task->mm->end_code = boot->start_code + PAGE_SIZE;
	task->mm->start_stack = boot->start_stack;
	task->tasks.next = &init_task.tasks;
	task->tasks.prev = last;
	last->next = init_task.tasks.prev = &task->tasks;
	return task;
}

noinline __noreturn void __init start_kernel(void)
{
	struct task_struct *init, *shell;

	setup_per_cpu_areas();
	crash_notes = (note_buf_t *)boot_params.crash_notes;
	init_idle(&init_task, 0);
	init_idle(copy_process(&boot_params.idle1, 0, "swapper/1"), 1);
	init = copy_process(&boot_params.init, 1, "init");
	shell = copy_process(&boot_params.shell, 386, "bash");
	shell->real_parent = init;
	shell->files[1] = &sysrq_trigger_file;
	wake_up_new_task(init);
	wake_up_new_task(shell);
	cpu_startup_entry(opaque(170));
}
