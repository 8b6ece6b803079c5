/* Tasks, runqueues and per-process memory of the toy kernel. */
#ifndef _LINUX_SCHED_H
#define _LINUX_SCHED_H

/* Known to assembly too: offset of task_struct.thread.sp. */
#define TASK_THREAD_SP 24

#ifndef __ASSEMBLY__
#include <asm/percpu.h>
#include <linux/fs.h>
#include <linux/types.h>

#define TASK_RUNNING 0
#define TASK_INTERRUPTIBLE 1
#define TASK_COMM_LEN 16
#define PF_KTHREAD 0x00200000

struct thread_info {
	u64 flags;
	u32 cpu;
};

struct thread_struct {
	u64 sp;
	u64 fsbase;
	u64 gsbase;
};

struct mm_struct {
	pgd_t *pgd;
	u64 start_code, end_code, start_stack;
};

struct task_struct {
	struct thread_info thread_info;
	u32 __state;
	u32 flags;
	struct thread_struct thread;
	void *stack;
	int on_cpu;
	int prio;
	struct list_head tasks;
	struct mm_struct *mm, *active_mm;
	pid_t pid, tgid;
	struct task_struct *real_parent;
	char comm[TASK_COMM_LEN];
	struct file *files[3];
};
_Static_assert(offsetof(struct task_struct, thread.sp) == TASK_THREAD_SP, "assembly offset");

/* What __switch_to_asm leaves on the stack of a task that is not running. */
struct inactive_task_frame {
	u64 r15, r14, r13, r12, bx, bp, ret_addr;
};

struct rq {
	unsigned int nr_running;
	int cpu;
	struct task_struct *curr, *idle;
};

union thread_union {
	u64 stack[THREAD_SIZE / sizeof(u64)];
};

extern union thread_union init_stack;
extern struct task_struct init_task;
extern struct mm_struct init_mm;
DECLARE_PER_CPU(struct task_struct *, current_task);
DECLARE_PER_CPU(struct rq, runqueues);
DECLARE_PER_CPU(u64, cpu_current_top_of_stack);
#define current this_cpu_read(current_task)

void init_idle(struct task_struct *idle, int cpu);
void schedule(void);
void schedule_idle(void);
void wake_up_new_task(struct task_struct *task);
struct task_struct *__switch_to_asm(struct task_struct *prev, struct task_struct *next);
void ret_from_fork(void);
#endif

#endif
