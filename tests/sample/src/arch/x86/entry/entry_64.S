/* The ways into the toy kernel. Outermost frames say so: the caller's rip is undefined. */
#include <linux/sched.h>

	.cfi_sections .debug_frame
	.text

/*
 * A system call from user mode: rcx = user rip, r11 = user flags, rax = number. Builds a
 * struct pt_regs at the top of the task's stack. It never returns in this kernel.
 */
	.globl entry_SYSCALL_64
	.type entry_SYSCALL_64, @function
entry_SYSCALL_64:
	.cfi_startproc simple
	.cfi_def_cfa %rsp, 0
	.cfi_undefined %rip
	swapgs
	movq	%rsp, %gs:user_rsp
	movq	%gs:cpu_current_top_of_stack, %rsp
	pushq	$0x2b			/* ss */
	pushq	%gs:user_rsp		/* sp */
	pushq	%r11			/* flags */
	pushq	$0x33			/* cs */
	pushq	%rcx			/* ip */
	.globl entry_SYSCALL_64_after_hwframe
entry_SYSCALL_64_after_hwframe:
	pushq	%rax			/* orig_ax */
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	$-38			/* ax: -ENOSYS */
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, %rdi
	movslq	%eax, %rsi
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%r12d, %r12d
	xorl	%r13d, %r13d
	xorl	%r14d, %r14d
	xorl	%r15d, %r15d
	call	do_syscall_64
	ud2
	.cfi_endproc
	.size entry_SYSCALL_64, . - entry_SYSCALL_64

/* Save prev's registers as struct inactive_task_frame, continue on next's stack. */
	.globl __switch_to_asm
	.type __switch_to_asm, @function
__switch_to_asm:
	.cfi_startproc
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	movq	%rsp, TASK_THREAD_SP(%rdi)
	movq	TASK_THREAD_SP(%rsi), %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	movq	%rdi, %rax
	ret
	.cfi_endproc
	.size __switch_to_asm, . - __switch_to_asm

/* First code of a new task. The boot loader plays user mode: halt and let it take over. */
	.globl ret_from_fork
	.type ret_from_fork, @function
ret_from_fork:
	.cfi_startproc simple
	.cfi_def_cfa %rsp, 0
	.cfi_undefined %rip
1:	hlt
	jmp	1b
	.cfi_endproc
	.size ret_from_fork, . - ret_from_fork

	.section .data..percpu, "aw"
	.globl user_rsp
	.type user_rsp, @object
	.balign 8
user_rsp:
	.quad	0
	.size user_rsp, 8
	.section .note.GNU-stack, "", @progbits
