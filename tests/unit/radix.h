/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* An arena with a set of keys, for the tests of radix. */
#ifndef TEST_RADIX_H
#define TEST_RADIX_H

#include <kho/arena.h>
#include <kho/radix.h>

#include "arena.h"

static inline uint64_t below(uint64_t n)
{
	return rnd() % n;
}

struct fixture {
	int fd;
	unsigned int key_bits;
	unsigned int page_shift;
	uint64_t max;
	struct kho_error err;
	struct kho *kho;
	struct kho_radix *radix;
	uint64_t root;
};

static inline void attach(struct fixture *f)
{
	f->kho = arena_attach(f->fd, f->page_shift, f->max);
}

static inline void create(struct fixture *f, unsigned int page_shift,
			  unsigned int key_bits, uint64_t max)
{
	memset(f, 0, sizeof(*f));
	f->fd = make_memfd();
	f->key_bits = key_bits;
	f->page_shift = page_shift;
	f->max = max;
	attach(f);
	assert_int_equal(kho_ready(f->kho, NULL), 0);
	assert_int_equal(kho_radix_create(f->kho, key_bits, &f->radix, NULL),
			 0);
	f->root = kho_radix_root(f->radix);
	assert_int_not_equal(f->root, 0);
}

static inline void detach(struct fixture *f)
{
	kho_radix_close(f->radix);
	kho_close(f->kho);
	f->radix = NULL;
	f->kho = NULL;
}

static inline void restore(struct fixture *f)
{
	if (kho_radix_restore(f->kho, f->root, f->key_bits, &f->radix, &f->err))
		fail_msg("restore: %s", f->err.text);
	assert_int_equal(kho_radix_root(f->radix), f->root);
}

/* As the next program: nothing but the arena and a phys comes over. */
static inline void hand_over(struct fixture *f)
{
	detach(f);
	attach(f);
	restore(f);
	assert_int_equal(kho_ready(f->kho, NULL), 0);
}

static inline void discard(struct fixture *f)
{
	detach(f);
	close(f->fd);
}

static inline struct kho_radix_stats verify(struct fixture *f)
{
	struct kho_arena_view *view;
	struct kho_radix_stats stats;

	assert_int_equal(kho_arena_view(f->fd, &view, &f->err), 0);
	if (kho_radix_verify(kho_arena_view_mem(view), f->root, f->key_bits,
			     &stats, &f->err))
		fail_msg("verify: %s", f->err.text);
	kho_arena_view_close(view);
	return stats;
}

#endif
