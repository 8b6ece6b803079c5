/* First instructions of each CPU; paging is on, rsp and the base of %gs are set. */
	.cfi_sections .debug_frame
	.section .head.text, "ax"

	.globl _stext, startup_64
_stext:
	.type startup_64, @function
startup_64:
	.cfi_startproc simple
	.cfi_def_cfa %rsp, 0
	.cfi_undefined %rip
	lgdt	early_gdt_descr(%rip)
	movl	$0x18, %eax
	movl	%eax, %ss
	pushq	$0x10
	leaq	1f(%rip), %rax
	pushq	%rax
	lretq
1:	call	start_kernel
	ud2
	.cfi_endproc
	.size startup_64, . - startup_64

	.globl secondary_startup_64_no_verify
	.type secondary_startup_64_no_verify, @function
secondary_startup_64_no_verify:
	.cfi_startproc simple
	.cfi_def_cfa %rsp, 0
	.cfi_undefined %rip
	lgdt	early_gdt_descr(%rip)
	movl	$0x18, %eax
	movl	%eax, %ss
	pushq	$0x10
	leaq	1f(%rip), %rax
	pushq	%rax
	lretq
1:	call	start_secondary
	ud2
	.cfi_endproc
	.size secondary_startup_64_no_verify, . - secondary_startup_64_no_verify

	.section .rodata, "a"
	.balign 8
	.type early_gdt, @object
early_gdt:
	.quad	0
	.quad	0
	.quad	0x00af9b000000ffff	/* 0x10: kernel code, 64 bits */
	.quad	0x00cf93000000ffff	/* 0x18: kernel data */
	.size early_gdt, . - early_gdt
	.type early_gdt_descr, @object
early_gdt_descr:
	.word	31
	.quad	early_gdt
	.size early_gdt_descr, . - early_gdt_descr
	.section .note.GNU-stack, "", @progbits
