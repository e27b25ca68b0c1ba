/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* An arena with a cache, for the tests of kmalloc. */
#ifndef TEST_KMALLOC_H
#define TEST_KMALLOC_H

#include <kho/kmalloc.h>

#include "arena.h"

static inline uint32_t below(uint32_t n)
{
	return (uint32_t)(rnd() % n);
}

struct fixture {
	int fd;
	unsigned int page_shift;
	uint64_t max;
	struct kho_error err;
	struct kho *kho;
	struct kho_kmem *kmem;
	uint64_t phys;
	uint64_t pages; /* preserved for an empty cache, and the state tree */
};

static inline void attach(struct fixture *f)
{
	f->kho = arena_attach(f->fd, f->page_shift, f->max);
}

static inline uint64_t pages_preserved(struct fixture *f)
{
	return pages_info(f->kho).preserved;
}

static inline void create(struct fixture *f, unsigned int page_shift,
			  uint64_t max)
{
	memset(f, 0, sizeof(*f));
	f->fd = make_memfd();
	f->page_shift = page_shift;
	f->max = max;
	attach(f);
	assert_int_equal(kho_ready(f->kho, NULL), 0);
	assert_int_equal(kho_kmem_create(f->kho, &f->kmem, NULL), 0);
	f->phys = kho_kmem_phys(f->kmem);
	assert_int_not_equal(f->phys, 0);
	f->pages = pages_preserved(f);
}

static inline void detach(struct fixture *f)
{
	kho_kmem_close(f->kmem);
	kho_close(f->kho);
	f->kmem = NULL;
	f->kho = NULL;
}

static inline void restore(struct fixture *f)
{
	if (kho_kmem_restore(f->kho, f->phys, &f->kmem, &f->err))
		fail_msg("restore: %s", f->err.text);
	assert_int_equal(kho_kmem_phys(f->kmem), f->phys);
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

static inline struct kho_kmem_stats verify(struct fixture *f)
{
	struct kho_mem_array mem = arena_bytes(f->kho, f->fd);
	struct kho_kmem_stats stats;

	if (kho_kmem_verify(&mem.mem, f->phys, &stats, &f->err))
		fail_msg("verify: %s", f->err.text);
	return stats;
}

static inline int count_object(void *object, size_t size, void *arg)
{
	(void)object;
	(void)size;
	++*(uint64_t *)arg;
	return 0;
}

static inline uint64_t count(struct fixture *f)
{
	uint64_t n = 0;

	assert_int_equal(kho_kmem_walk(f->kmem, count_object, &n), 0);
	return n;
}

#endif
