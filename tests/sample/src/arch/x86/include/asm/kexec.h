/* Catching the registers of the CPU that goes down. */
#ifndef _ASM_KEXEC_H
#define _ASM_KEXEC_H

#include <asm/ptrace.h>

/*
 * Fill newregs from oldregs or, without those, with the registers of this very place.
 * The saved rip lies inside the asm so that a debugger finds itself in this function.
 */
static inline __attribute__((always_inline)) void
crash_setup_regs(struct pt_regs *newregs, struct pt_regs *oldregs)
{
	if (oldregs) {
		*newregs = *oldregs;
		return;
	}
	newregs->orig_ax = -1UL;
	asm volatile("mov %%r15, 0x00(%0); mov %%r14, 0x08(%0)\n\t"
		     "mov %%r13, 0x10(%0); mov %%r12, 0x18(%0)\n\t"
		     "mov %%rbp, 0x20(%0); mov %%rbx, 0x28(%0)\n\t"
		     "mov %%r11, 0x30(%0); mov %%r10, 0x38(%0)\n\t"
		     "mov %%r9,  0x40(%0); mov %%r8,  0x48(%0)\n\t"
		     "mov %%rax, 0x50(%0); mov %%rcx, 0x58(%0)\n\t"
		     "mov %%rdx, 0x60(%0); mov %%rsi, 0x68(%0)\n\t"
		     "mov %%rdi, 0x70(%0); mov %%rsp, 0x98(%0)\n\t"
		     "xor %%eax, %%eax\n\t"
		     "mov %%cs, %%eax; mov %%rax, 0x88(%0)\n\t"
		     "mov %%ss, %%eax; mov %%rax, 0xa0(%0)\n\t"
		     "pushfq; popq 0x90(%0)\n\t"
		     "lea 1f(%%rip), %%rax\n"
		     "1:\tmov %%rax, 0x80(%0)"
		     : : "D"(newregs) : "rax", "cc", "memory");
}

#endif
