/* Per-CPU variables: linked at address 0 and reached through %gs, as on x86_64 before 6.15. */
#ifndef _ASM_PERCPU_H
#define _ASM_PERCPU_H

#include <linux/types.h>

#define __percpu_section __attribute__((section(".data..percpu")))
#define DEFINE_PER_CPU(type, name) __percpu_section __typeof__(type) name
#define DECLARE_PER_CPU(type, name) extern __percpu_section __typeof__(type) name

#define this_cpu_read(var)                                                           \
	({                                                                           \
		__typeof__(var) _val;                                                \
		asm volatile("mov %%gs:" #var ", %0" : "=r"(_val));                  \
		_val;                                                                \
	})
#define this_cpu_write(var, val)                                                     \
	asm volatile("mov %0, %%gs:" #var : : "r"((__typeof__(var))(val)) : "memory")
/* Taken as an absolute 32-bit constant: the address must not be seen as rip-relative. */
#define per_cpu_ptr(var, cpu)                                                        \
	({                                                                           \
		u64 _ptr;                                                            \
		asm("mov $" #var ", %0" : "=r"(_ptr));                               \
		(__typeof__(var) *)(_ptr + __per_cpu_offset[cpu]);                   \
	})

/* The same for memory that was allocated, not linked: ptr is an offset into each area. */
#define this_alloc_ptr(ptr, cpu) ((__typeof__(ptr))((u64)(ptr) + __per_cpu_offset[cpu]))

extern u64 __per_cpu_offset[NR_CPUS];
extern unsigned int nr_cpu_ids;
DECLARE_PER_CPU(int, cpu_number);
#define smp_processor_id() this_cpu_read(cpu_number)

#endif
