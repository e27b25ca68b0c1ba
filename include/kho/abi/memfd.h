/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: A preserved memfd (component ``memfd``, uses ``vmalloc``)
 *
 * What @data of a file leads to whose handler is ``memfd``: struct kho_memfd at
 * the start of a page. The file's folios are listed in an array of struct
 * kho_memfd_folio that is in an area; how large a folio is, the tracker knows.
 * A file without bytes has neither folios nor an array, and a descriptor of
 * zeros. Linux lists the folios in the order of the file, and gives the holes
 * of a file memory when it preserves it.
 *
 * As in Linux 7.2 and 7.3 (include/linux/kho/abi/memfd.h).
 *
 * This header is a contract: a change needs a new KHO_MEMFD_VERSION.
 */
#ifndef KHO_ABI_MEMFD_H
#define KHO_ABI_MEMFD_H

#include <stdint.h>

#include <kho/abi/vmalloc.h>

#define KHO_MEMFD_VERSION 2

/**
 * KHO_MEMFD_SEALS - the seals that can be preserved, as fcntl(2) has them:
 * SEAL, SHRINK, GROW, WRITE, FUTURE_WRITE and EXEC.
 */
#define KHO_MEMFD_SEALS 0x3f

/* Of a folio's @bits: its page frame number, and flags. */
#define KHO_MEMFD_PFN_MASK 0x000fffffffffffffull
#define KHO_MEMFD_DIRTY 0x0010000000000000ull
#define KHO_MEMFD_UPTODATE 0x0020000000000000ull

/**
 * struct kho_memfd_folio - a folio of a file
 * @bits: page frame number of its first page; 0: a hole; and KHO_MEMFD_DIRTY,
 *        KHO_MEMFD_UPTODATE: without that one it reads as zeros
 * @index: where in the file it begins, in pages
 */
struct kho_memfd_folio {
	uint64_t bits;
	uint64_t index;
};

/**
 * struct kho_memfd - a file
 * @position: as lseek(2) has it
 * @size: bytes
 * @seals: of KHO_MEMFD_SEALS
 * @flags: 0
 * @folios: entries of the array
 * @array: where it is
 */
struct kho_memfd {
	uint64_t position;
	uint64_t size;
	uint32_t seals;
	uint32_t flags;
	uint64_t folios;
	struct kho_vmalloc_desc array;
};

#endif
