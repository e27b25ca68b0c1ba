/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: The memory of a machine
 *
 * A view of the physical memory of a machine, for looking at what its kernel
 * hands over: a core that a hypervisor wrote (an ELF core, such as of QEMU's
 * dump-guest-memory), the memory of the running kernel (``/proc/kcore``), or a
 * raw image. x86-64 and arm64.
 *
 * Nothing in a core says where the handover is. kho_dump_find() looks for it;
 * or who knows it says so, to kho_dump_root().
 *
 * Every byte is taken as hostile. It is read with pread(2) when it is asked
 * for: a core may be larger than this machine's memory, and the running kernel
 * changes its own.
 */
#ifndef KHO_DUMP_H
#define KHO_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho_dump;

/**
 * enum kho_dump_kind - what the memory is in
 * @KHO_DUMP_AUTO: of a request: find out. A file is raw when it is
 *                 neither an ELF file nor a compressed dump
 * @KHO_DUMP_ELF: an ELF core, 64 bit and little endian, with a physical
 *                address (p_paddr) for each segment
 * @KHO_DUMP_KCORE: the same, by /proc/kcore, where segments without a physical
 *                  address (vmalloc, modules) do not count
 * @KHO_DUMP_RAW: phys is the offset in the file, plus a base
 * @KHO_DUMP_KDUMP: a compressed dump, as of makedumpfile(8) and of QEMU's
 *                  dump-guest-memory -z, flattened or not, packed with zlib, lzo
 *                  or zstd. An offset counts the pages that are in it
 */
enum kho_dump_kind {
	KHO_DUMP_AUTO,
	KHO_DUMP_ELF,
	KHO_DUMP_KCORE,
	KHO_DUMP_RAW,
	KHO_DUMP_KDUMP,
};

/**
 * struct kho_dump_opts - how to open a core; all other fields may be 0
 * @size: sizeof(struct kho_dump_opts)
 * @kind: what it is
 * @base: KHO_DUMP_RAW: phys of the first byte
 * @page_shift: 12, 14 or 16; 0: what the core says. An ELF core of x86-64 and
 *              one with a VMCOREINFO note does; for another one, the page size
 *              is found out with the root
 */
struct kho_dump_opts {
	size_t size;
	enum kho_dump_kind kind;
	uint64_t base;
	unsigned int page_shift;
};

/**
 * kho_dump_open() - open the memory of a machine
 * @fd: a file or block device; not closed, may be closed after
 * @opts: NULL for the defaults
 * @core: result; close with kho_dump_close()
 * @err: what is wrong; may be NULL
 *
 * Where segments overlap, the one that begins first counts.
 *
 * Return: 0; -EBADMSG for what is no such file, or damaged; -EPROTONOSUPPORT
 * for an ELF file of another class, byte order or machine, and a dump of another kind;
 * -EINVAL for bad @opts; -ENOMEM; the errno of the system calls.
 */
int kho_dump_open(int fd, const struct kho_dump_opts *opts,
		  struct kho_dump **core, struct kho_error *err);

/** kho_dump_close() - close it; NULL is allowed. */
void kho_dump_close(struct kho_dump *core);

/**
 * kho_dump_mem() - the memory
 * @core: the core
 *
 * Its page_shift may become known only with kho_dump_find() or
 * kho_dump_root(); until then it is 12.
 *
 * Return: the view, valid until the core is closed.
 */
const struct kho_mem *kho_dump_mem(const struct kho_dump *core);

/**
 * struct kho_dump_segment - contiguous memory
 * @phys: of its first byte
 * @size: bytes
 * @offset: where in the file they are
 */
struct kho_dump_segment {
	uint64_t phys;
	uint64_t size;
	uint64_t offset;
};

/**
 * struct kho_dump_info - what a core is
 * @kind: other than KHO_DUMP_AUTO
 * @machine: "x86-64", "arm64"; NULL: a raw image does not say
 * @size: bytes of memory in it
 * @missing: bytes that a file which was cut short does not have
 * @left_out: bytes of memory that whoever wrote the dump left out: zeros, or what
 *            a filter took for useless. They are not taken for zeros
 * @misses: how often something was read, so far, that is memory, but is not in
 *          the dump, or damaged in it: what follows from that is no damage of
 *          what was handed over
 * @n: segments
 * @segments: ascending, without overlaps; the core's
 * @n_absent: how many
 * @absent: memory that is not in the dump, cut off or left out: the same, and
 *          without overlaps with @segments; offset is 0
 */
struct kho_dump_info {
	enum kho_dump_kind kind;
	const char *machine;
	uint64_t size;
	uint64_t missing;
	uint64_t left_out;
	uint64_t misses;
	size_t n;
	const struct kho_dump_segment *segments;
	size_t n_absent;
	const struct kho_dump_segment *absent;
};

/** kho_dump_info() - what a core is; valid until it is closed. */
void kho_dump_info(const struct kho_dump *core, struct kho_dump_info *info);

/** KHO_DUMP_ROOTS - roots that kho_dump_find() returns, at most. */
#define KHO_DUMP_ROOTS 16

/**
 * struct kho_dump_root - a root FDT in a core
 * @phys: where it is
 * @size: its bytes
 * @page_shift: log2 of the page size with which its tracker can be read
 * @readable: its tracker can be read. That of a state which was taken over
 *            already usually cannot: its pages belong to somebody else by now
 * @preserved: its own page is in its tracker, as Linux does it
 * @passed: the parameters for the next kernel name it: the setup_data of
 *          x86-64 (type 10), or the device tree of arm64
 * @passed_at: with @passed: phys of those parameters
 * @passed_size: their bytes
 * @scratch: with @passed: phys of the array of scratch areas, each a u64 phys
 *           and a u64 size
 * @scratch_size: bytes of the array
 */
struct kho_dump_root {
	uint64_t phys;
	uint64_t size;
	unsigned int page_shift;
	bool readable;
	bool preserved;
	bool passed;
	uint64_t passed_at;
	uint64_t passed_size;
	uint64_t scratch;
	uint64_t scratch_size;
};

/**
 * kho_dump_find() - look for root FDTs
 * @core: where; gets the page size of the best
 * @roots: result: the best first, KHO_DUMP_ROOTS of them at most (of the first
 *         64 that there are). A root is better when it is readable, then when
 *         it is passed, then when it is preserved
 * @n: how many
 * @err: why not; may be NULL
 *
 * Looks at the start of each 4 KiB page, for an FDT whose compatible begins
 * with ``kho-v``. Takes as long as reading the core once from its file, in
 * pieces of 1 MiB; holes of a sparse file are skipped.
 *
 * Return: 0; -ENOENT when there is none; -ENOMEM.
 */
int kho_dump_find(struct kho_dump *core,
		  struct kho_dump_root roots[KHO_DUMP_ROOTS], size_t *n,
		  struct kho_error *err);

/**
 * kho_dump_root() - look at the root FDT at a place
 * @core: where; gets the page size
 * @phys: of the root FDT
 * @root: result
 * @err: why it is none; may be NULL
 *
 * Return: 0, and @root says whether it is readable; as kho_state_read().
 */
int kho_dump_root(struct kho_dump *core, uint64_t phys,
		  struct kho_dump_root *root, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
