/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What all decoders do: read, follow a chain, say what is wrong and where. */
#ifndef KHO_BASE_READER_H
#define KHO_BASE_READER_H

#include <stddef.h>
#include <stdint.h>

#include <kho/error.h>
#include <kho/mem.h>

#pragma GCC visibility push(hidden)

/**
 * struct reader - something that is being read; every byte of it is hostile
 * @what: its component, which messages begin with
 * @mem: the memory it is in
 * @err: what is wrong; may be NULL
 */
struct reader {
	const char *what;
	const struct kho_mem *mem;
	struct kho_error *err;
};

/* "WHAT: at 0xAT: ..."; returns @code. */
int reader_fail(const struct reader *r, int code, uint64_t at, const char *fmt,
		...) __attribute__((format(printf, 4, 5)));

/* Read @thing: 0; -EFAULT, said, when it is not all in the memory. */
int reader_get(const struct reader *r, uint64_t phys, void *buf, size_t len,
	       const char *thing);

/**
 * struct reader_chain - links that have been followed
 * @n: how many
 * @mark: one of them, a later one each time
 */
struct reader_chain {
	uint64_t n;
	uint64_t mark;
};

/* Another link: 0; -ELOOP, said, when the chain of @things does not end. */
int reader_follow(const struct reader *r, struct reader_chain *chain,
		  uint64_t phys, const char *things);

#pragma GCC visibility pop

#endif
