/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * What kho kexec --capture runs instead of a kernel: says on the first serial
 * port where the handover is, and halts. Nothing is touched, so that a dump of
 * the machine from outside shows exactly what the next kernel would have got.
 *
 * The whole file is here, in the format of a bzImage, protocol 2.15 (Linux'
 * Documentation/arch/x86/boot.rst): kexec_file_load(2) wants a header it knows.
 * The code runs wherever it is loaded, in 64-bit mode, with memory mapped one to
 * one; %rsi is the phys of the boot parameters.
 */
#ifdef __x86_64__

#define SETUP_DATA 0x250 /* in the boot parameters: u64 phys of the list */
#define SETUP_KEXEC_KHO 10 /* as 7.2 and 7.3 have it */
#define PORT 0x3f8

	.section .rodata
	.globl kho_capture_image, kho_capture_image_end
	.hidden kho_capture_image, kho_capture_image_end
	.balign 16
kho_capture_image:
	.org kho_capture_image + 0x1f1
	.byte 1 /* setup_sects: the code begins at 0x400 */
	.org kho_capture_image + 0x1f4
	.long (kho_capture_image_end - code) / 16 /* syssize */
	.org kho_capture_image + 0x1fe
	.short 0xaa55 /* boot_flag */
	.byte 0xeb, 0x6a /* jump over the header, which has this length */
	.ascii "HdrS"
	.short 0x20f /* version */
	.org kho_capture_image + 0x211
	.byte 1 /* loadflags: LOADED_HIGH */
	.org kho_capture_image + 0x22c
	.long 0x7fffffff /* initrd_addr_max */
	.long 0x200000 /* kernel_alignment */
	.byte 1, 0 /* relocatable_kernel */
	.short 0x63 /* xloadflags: 64-bit entry, above 4 GiB, 5 levels */
	.long 2047 /* cmdline_size */
	.org kho_capture_image + 0x258
	.quad 0x1000000 /* pref_address */
	.long 0x10000 /* init_size */

	.org kho_capture_image + 0x400
	.code64
code:
	.org code + 0x200 /* the 64-bit entry */
	cld
	lea stack_end(%rip), %rsp
	mov SETUP_DATA(%rsi), %rbx
1:	test %rbx, %rbx
	jz 3f
	cmpl $SETUP_KEXEC_KHO, 8(%rbx)
	je 2f
	mov (%rbx), %rbx
	jmp 1b

	/* u64 fdt, fdt size, scratch, scratch size; behind next, type, length */
2:	lea fdt_text(%rip), %rsi
	call print
	mov 16(%rbx), %rax
	call print_hex
	lea fdt_size_text(%rip), %rsi
	call print
	mov 24(%rbx), %rax
	call print_hex
	lea scratch_text(%rip), %rsi
	call print
	mov 32(%rbx), %rax
	call print_hex
	lea scratch_size_text(%rip), %rsi
	call print
	mov 40(%rbx), %rax
	call print_hex
	lea end_text(%rip), %rsi
	jmp 4f
3:	lea none_text(%rip), %rsi
4:	call print
5:	cli
	hlt
	jmp 5b

	/* The string at %rsi. */
print:	lodsb
	test %al, %al
	jz 1f
	call putc
	jmp print
1:	ret

	/* %rax as 16 digits. */
print_hex:
	mov %rax, %rdi
	mov $16, %ecx
1:	rol $4, %rdi
	mov %edi, %eax
	and $15, %eax
	cmp $10, %al
	jb 2f
	add $('a' - '0' - 10), %al
2:	add $'0', %al
	call putc
	dec %ecx
	jnz 1b
	ret

	/* %al; a port that is not there says that it is ready. */
putc:	mov %eax, %r8d
	mov $(PORT + 5), %edx
1:	in %dx, %al
	test $0x20, %al
	jz 1b
	mov %r8d, %eax
	mov $PORT, %edx
	out %al, %dx
	ret

fdt_text:
	.asciz "\r\nkho capture: fdt 0x"
fdt_size_text:
	.asciz " size 0x"
scratch_text:
	.asciz " scratch 0x"
scratch_size_text:
	.asciz " size 0x"
none_text:
	.asciz "\r\nkho capture: nothing was handed over\r\n"
end_text:
	.asciz "\r\n"
	.balign 16
	.skip 256
stack_end:
	.balign 16
kho_capture_image_end:
#endif
	.section .note.GNU-stack, "", @progbits
