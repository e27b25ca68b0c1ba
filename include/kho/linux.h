/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: The small subtrees of Linux
 *
 * Besides LUO (luo.h), Linux hands over which kernel it was, and its regions of
 * reserved memory: the formats of abi/kexec_metadata.h, abi/memblock.h and
 * abi/reserve_mem.h. Every byte is taken as hostile. Thread-safe.
 */
#ifndef KHO_LINUX_H
#define KHO_LINUX_H

#include <stdint.h>

#include <kho/abi/kexec_metadata.h>
#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kho_linux_metadata - which kernel it was
 * @release: of the kernel that hands over, NUL-terminated
 * @kexecs: that handed a state over, this one included
 */
struct kho_linux_metadata {
	char release[KHO_KEXEC_METADATA_RELEASE_SIZE];
	uint32_t kexecs;
};

/**
 * kho_linux_metadata() - read the subtree kexec-metadata
 * @mem: the memory it is in
 * @phys: of its blob
 * @size: bytes of the blob
 * @metadata: result
 * @err: what is wrong; may be NULL
 *
 * Return: 0; -EFAULT outside the view; -EBADMSG for damage; -EPROTONOSUPPORT
 * for a version that is not known: Linux goes on without it.
 */
int kho_linux_metadata(const struct kho_mem *mem, uint64_t phys, uint64_t size,
		       struct kho_linux_metadata *metadata,
		       struct kho_error *err);

/** KHO_LINUX_REGION_NAME_SIZE - of a region, its NUL included. */
#define KHO_LINUX_REGION_NAME_SIZE 64

/**
 * struct kho_linux_region - a region of reserved memory (``reserve_mem=``)
 * @name: NUL-terminated
 * @phys: of its first byte
 * @size: bytes
 */
struct kho_linux_region {
	char name[KHO_LINUX_REGION_NAME_SIZE];
	uint64_t phys;
	uint64_t size;
};

/**
 * kho_linux_regions() - read the subtree memblock
 * @mem: the memory it is in
 * @phys: of its blob
 * @size: bytes of the blob, at most 1 MiB
 * @region: called for each region; other than 0 ends it with that value
 * @arg: for @region
 * @err: what is wrong; may be NULL
 *
 * Return: 0; the callback's value; -EFAULT outside the view; -EBADMSG for
 * damage; -EPROTONOSUPPORT for a version that is not known; -ENOMEM.
 */
int kho_linux_regions(const struct kho_mem *mem, uint64_t phys, uint64_t size,
		      int (*region)(const struct kho_linux_region *region,
				    void *arg),
		      void *arg, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
