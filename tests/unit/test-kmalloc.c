// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Small objects: sizes, refusals, handover, running out of memory, and a model
 * that does all of it at random.
 */
#include <errno.h>

#include <kho/abi/kmalloc.h>
#include <kho/tree.h>

#include "base/crc32c.h"
#include "heap.h"
#include "kmalloc.h"

static const unsigned int page_shifts[] = { 12, 14, 16 };

/* ---- Failing allocations on the heap: linked with --wrap ---- */

void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return heap_fails() ? NULL : __real_aligned_alloc(align, size);
}

/* ---- Sizes ---- */

static size_t check_size(struct fixture *f, size_t size)
{
	size_t align = size & (size - 1) ? (size % 16 ? 8 : 16) : size;
	void *object = kho_kmalloc(f->kmem, size);
	size_t usable;

	assert_non_null(object);
	usable = kho_ksize(f->kmem, object);
	if (align > 4096)
		align = 4096;
	if (align < 8)
		align = 8;
	assert_true(usable >= size);
	assert_int_equal((uintptr_t)object % align, 0);
	memset(object, 0xff, usable);
	assert_int_equal(kho_kfree(f->kmem, object), 0);
	assert_int_equal(kho_ksize(f->kmem, object), 0);
	return usable;
}

static void sizes(void **state)
{
	struct fixture f;
	size_t size, step;

	(void)state;
	for (int i = 0; i < 3; i++) {
		create(&f, page_shifts[i], 1 << 28);
		assert_int_equal(kho_kmem_max_size(f.kmem),
				 1u << (page_shifts[i] - 1));
		for (size = 1; size <= kho_kmem_max_size(f.kmem);
		     size += step) {
			step = size < 4096 ? 1 : 7;
			assert_true(check_size(&f, size) <=
				    (size < 64 ? size + 7 : size + size / 4));
		}
		check_size(&f, kho_kmem_max_size(f.kmem));

		errno = 0;
		assert_null(kho_kmalloc(f.kmem, 0));
		assert_int_equal(errno, EINVAL);
		errno = 0;
		assert_null(kho_kmalloc(f.kmem, kho_kmem_max_size(f.kmem) + 1));
		assert_int_equal(errno, EINVAL);
		errno = 0;
		assert_null(kho_kmalloc(f.kmem, SIZE_MAX));
		assert_int_equal(errno, EINVAL);
		assert_int_equal(verify(&f).objects, 0);
		discard(&f);
	}
}

/* All objects of some slabs are distinct, and so are their bytes. */
static void objects_do_not_overlap(void **state)
{
	static const uint32_t some[] = { 8, 24, 72, 600, 2048 };
	struct fixture f;
	uint32_t n, i;
	char **object;

	(void)state;
	create(&f, 12, 1 << 26);
	for (int s = 0; s < 5; s++) {
		n = 3 * 65536 / some[s];
		object = malloc(n * sizeof(*object));
		for (i = 0; i < n; i++) {
			object[i] = kho_kmalloc(f.kmem, some[s]);
			assert_non_null(object[i]);
			memset(object[i], (int)i, kho_ksize(f.kmem, object[i]));
		}
		assert_int_equal(verify(&f).objects, n);
		assert_true(verify(&f).slabs >= 3);
		for (i = 0; i < n; i++) {
			assert_int_equal(object[i][0], (char)i);
			assert_int_equal(object[i][some[s] - 1], (char)i);
			assert_int_equal(kho_kfree(f.kmem, object[i]), 0);
		}
		free(object);
	}
	assert_int_equal(verify(&f).objects, 0);
	discard(&f);
}

/* ---- Refusals ---- */

static void refuses_what_is_no_object(void **state)
{
	struct kho_kmem *other;
	char *a, *b, *foreign;
	struct fixture f;
	char local[64];

	(void)state;
	create(&f, 12, 1 << 26);
	assert_int_equal(kho_kmem_create(f.kho, &other, NULL), 0);
	foreign = kho_kmalloc(other, 64);
	a = kho_kmalloc(f.kmem, 64);
	b = kho_kmalloc(f.kmem, 64);
	assert_true(foreign && a && b);
	assert_int_equal(kho_kfree(f.kmem, b), 0);

	assert_int_equal(kho_kfree(f.kmem, b), -EINVAL);
	assert_int_equal(kho_kfree(f.kmem, a + 1), -EINVAL);
	assert_int_equal(kho_kfree(f.kmem, a + 8), -EINVAL);
	assert_int_equal(kho_kfree(f.kmem, a - 64), -EINVAL);
	assert_int_equal(kho_kfree(f.kmem, a + 65536), -EINVAL);
	assert_int_equal(kho_kfree(f.kmem, foreign), -EINVAL);
	assert_int_equal(kho_kfree(f.kmem, local), -EINVAL);
	assert_int_equal(kho_kfree(f.kmem, (void *)~(uintptr_t)0), -EINVAL);
	assert_int_equal(kho_kfree(f.kmem, kho_ptr(f.kho, f.phys, 1)), -EINVAL);
	assert_int_equal(kho_kfree(f.kmem, NULL), 0);

	assert_int_equal(kho_ksize(f.kmem, b), 0);
	assert_int_equal(kho_ksize(f.kmem, a + 1), 0);
	assert_int_equal(kho_ksize(f.kmem, a - 64), 0);
	assert_int_equal(kho_ksize(f.kmem, foreign), 0);
	assert_int_equal(kho_ksize(f.kmem, local), 0);
	assert_int_equal(kho_ksize(f.kmem, NULL), 0);

	assert_int_equal(kho_ksize(f.kmem, a), 64);
	assert_int_equal(kho_ksize(other, foreign), 64);
	assert_int_equal(count(&f), 1);
	kho_kmem_close(other);
	discard(&f);
}

/* ---- Giving back ---- */

static void gives_everything_back(void **state)
{
	struct fixture f;
	void *object[500];

	(void)state;
	create(&f, 12, 1 << 26);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 500; i++) {
			object[i] = kho_kmalloc(f.kmem, 2000);
			assert_non_null(object[i]);
		}
		assert_true(pages_preserved(&f) > f.pages + 500 / 2);
		for (int i = 0; i < 500; i++)
			assert_int_equal(kho_kfree(f.kmem,
						   object[(i * 7) % 500]),
					 0);
		/* One empty slab is kept, and used again. */
		assert_int_equal(pages_preserved(&f), f.pages + 16);
	}
	assert_int_equal(verify(&f).slabs, 1);
	object[0] = kho_kmalloc(f.kmem, 2000);
	assert_non_null(object[0]);
	assert_int_equal(pages_preserved(&f), f.pages + 16);

	assert_int_equal(kho_kmem_destroy(f.kmem), 0);
	assert_int_equal(pages_preserved(&f), f.pages - 1);
	f.kmem = NULL;
	assert_int_equal(kho_kmem_destroy(NULL), 0);
	discard(&f);
}

/* ---- Handover ---- */

static bool is_kept(void *object, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	return *(uint64_t *)object % 3;
}

static void survives_handover(void **state)
{
	static uint64_t phys[3000];
	uint64_t *object;
	struct fixture f;
	int64_t swept;

	(void)state;
	for (int s = 0; s < 3; s++) {
		create(&f, page_shifts[s], 1 << 28);
		for (uint64_t i = 0; i < 3000; i++) {
			object = kho_kmalloc(f.kmem, 8 + i % 1000);
			assert_non_null(object);
			*object = i;
			phys[i] = kho_phys(f.kho, object);
		}
		detach(&f);
		attach(&f);
		restore(&f);

		/* Not ours yet: can be read, not changed. */
		for (uint64_t i = 0; i < 3000; i++) {
			object = kho_ptr(f.kho, phys[i], 8 + i % 1000);
			assert_non_null(object);
			assert_int_equal(*object, i);
			assert_true(kho_ksize(f.kmem, object) >= 8 + i % 1000);
		}
		assert_int_equal(count(&f), 3000);
		errno = 0;
		assert_null(kho_kmalloc(f.kmem, 8));
		assert_int_equal(errno, EROFS);
		assert_int_equal(kho_kfree(f.kmem, object), -EROFS);
		assert_int_equal(kho_kmem_sweep(f.kmem, is_kept, NULL), -EROFS);
		assert_int_equal(kho_kmem_sweep_slab(f.kmem, &(uint64_t){ 0 },
						     is_kept, NULL),
				 -EROFS);
		assert_int_equal(kho_kmem_destroy(f.kmem), -EROFS);
		assert_int_equal(kho_kmem_create(f.kho, &f.kmem, NULL), -EROFS);

		assert_int_equal(kho_ready(f.kho, NULL), 0);
		assert_int_equal(count(&f), 3000);
		swept = kho_kmem_sweep(f.kmem, is_kept, NULL);
		assert_int_equal(swept, 1000);
		assert_int_equal(count(&f), 2000);
		assert_int_equal(verify(&f).objects, 2000);
		for (uint64_t i = 0; i < 3000; i++) {
			object = kho_ptr(f.kho, phys[i], 8);
			assert_int_equal(kho_ksize(f.kmem, object) != 0,
					 i % 3 != 0);
		}
		/* Restored slabs serve allocations again. */
		for (int i = 0; i < 1000; i++)
			assert_non_null(kho_kmalloc(f.kmem, 8 + i % 1000));
		assert_int_equal(kho_free_unclaimed(f.kho, NULL), 0);
		hand_over(&f);
		assert_int_equal(count(&f), 3000);
		discard(&f);
	}
}

static void refuses_to_restore_twice(void **state)
{
	struct kho_kmem *again;
	struct fixture f;

	(void)state;
	create(&f, 12, 1 << 26);
	assert_non_null(kho_kmalloc(f.kmem, 100));
	hand_over(&f);
	assert_int_equal(kho_kmem_restore(f.kho, f.phys, &again, &f.err),
			 -EBUSY);
	assert_non_null(strstr(f.err.text, "claimed before"));
	assert_int_equal(count(&f), 1);
	discard(&f);
}

static void refuses_what_is_not_preserved(void **state)
{
	struct kho_kmem *kmem;
	struct fixture f;
	void *object;

	(void)state;
	create(&f, 12, 1 << 26);
	object = kho_kmalloc(f.kmem, 100);
	assert_non_null(object);
	object = kho_ptr(f.kho, kho_phys(f.kho, object) & ~0xffffull, 1);
	assert_int_equal(kho_unpreserve_folio(f.kho, object), 0);
	detach(&f);
	attach(&f);
	assert_int_equal(kho_kmem_restore(f.kho, f.phys, &kmem, &f.err),
			 -ENOENT);
	assert_non_null(strstr(f.err.text, "no preserved folio"));
	discard(&f);
}

static int stop_at(void *object, size_t size, void *arg)
{
	(void)object;
	(void)size;
	return --*(int *)arg ? 0 : 42;
}

static int free_it(void *object, size_t size, void *arg)
{
	(void)size;
	return kho_kfree(arg, object);
}

static void walks(void **state)
{
	struct fixture f;
	int left = 700;

	(void)state;
	create(&f, 12, 1 << 26);
	for (int i = 0; i < 1000; i++)
		assert_non_null(kho_kmalloc(f.kmem, i % 2 ? 2048 : 64));
	assert_int_equal(kho_kmem_walk(f.kmem, stop_at, &left), 42);
	assert_int_equal(left, 0);
	/* The callback may free, even the slab that is being walked. */
	assert_int_equal(kho_kmem_walk(f.kmem, free_it, f.kmem), 0);
	assert_int_equal(count(&f), 0);
	assert_int_equal(verify(&f).slabs, 2);
	discard(&f);
}

/* ---- Out of memory ---- */

static void a_full_arena(void **state)
{
	uint64_t n = 0, half;
	struct fixture f;
	void **object;

	(void)state;
	create(&f, 12, 1 << 22);
	object = calloc(1 << 22, sizeof(*object));
	while ((object[n] = kho_kmalloc(f.kmem, 128)))
		n++;
	assert_int_equal(errno, ENOSPC);
	assert_true(n > (1 << 21) / 128);
	assert_int_equal(verify(&f).objects, n);
	assert_null(kho_kmalloc(f.kmem, 2048));
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(count(&f), n);

	/* All but one slab's worth: the last one is given up for another. */
	half = n / 2;
	while (n > half)
		assert_int_equal(kho_kfree(f.kmem, object[--n]), 0);
	assert_non_null(kho_kmalloc(f.kmem, 2048));
	while (n)
		assert_int_equal(kho_kfree(f.kmem, object[--n]), 0);
	while ((object[n] = kho_kmalloc(f.kmem, 1024)))
		n++;
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(verify(&f).objects, n + 1);
	while (n)
		assert_int_equal(kho_kfree(f.kmem, object[--n]), 0);
	/* An empty slab of 1024 must not stand in the way of the last ones. */
	while ((object[n] = kho_kmalloc(f.kmem, 512)))
		n++;
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(verify(&f).slabs, 1 + (n + 126) / 127);
	free(object);
	discard(&f);
}

static void a_full_heap(void **state)
{
	struct kho_kmem *kmem = NULL;
	struct fixture f;
	void *object;
	int ret, n;

	(void)state;
	create(&f, 12, 1 << 26);
	for (n = 0;; n++) {
		fail_in = n;
		ret = kho_kmem_create(f.kho, &kmem, NULL);
		fail_in = -1;
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(pages_preserved(&f), f.pages);
	}
	assert_true(n >= 2);
	assert_int_equal(kho_kmem_destroy(kmem), 0);

	for (n = 0;; n++) {
		fail_in = n;
		errno = 0;
		object = kho_kmalloc(f.kmem, 100);
		fail_in = -1;
		if (object)
			break;
		assert_int_equal(errno, ENOMEM);
		assert_int_equal(pages_preserved(&f), f.pages);
	}
	assert_true(n >= 1);
	assert_int_equal(count(&f), 1);

	for (n = 0;; n++) {
		detach(&f);
		attach(&f);
		fail_in = n;
		ret = kho_kmem_restore(f.kho, f.phys, &f.kmem, &f.err);
		fail_in = -1;
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_non_null(strstr(f.err.text, "memory"));
	}
	assert_true(n >= 5);
	assert_int_equal(count(&f), 1);
	discard(&f);
}

/* Sizes are the writer's choice: another writer may choose others. */
static void reads_other_size_classes(void **state)
{
	uint64_t *map, slab;
	struct kho_kmalloc_slab *hdr;
	struct fixture f;
	char *object, *p;

	(void)state;
	create(&f, 12, 1 << 26);
	object = kho_kmalloc(f.kmem, 80);
	assert_non_null(object);
	slab = kho_phys(f.kho, object) & ~0xffffull;
	hdr = kho_ptr(f.kho, slab, 65536);
	hdr->size = 72;
	hdr->objects = 40;
	hdr->first = 1032;
	hdr->crc = crc32c(hdr, offsetof(struct kho_kmalloc_slab, crc));
	map = (uint64_t *)(hdr + 1);
	map[0] = 0xfffffffe00000001;
	map[1] = 0x000000ff00000000;
	hand_over(&f);

	object = kho_ptr(f.kho, slab + 1032, 72);
	assert_int_equal(kho_ksize(f.kmem, object), 72);
	for (size_t size = 1; size <= 128; size++)
		check_size(&f, size);
	/* It serves the largest class that fits. */
	for (int i = 1; i < 40; i++) {
		p = kho_kmalloc(f.kmem, 56);
		assert_int_equal(kho_ksize(f.kmem, p), 72);
		assert_int_equal((p - object) % 72, 0);
	}
	assert_int_equal(kho_ksize(f.kmem, kho_kmalloc(f.kmem, 56)), 56);
	assert_int_equal(kho_kfree(f.kmem, object), 0);
	assert_int_equal(count(&f), 40);
	verify(&f);
	discard(&f);
}

/* ---- The model ---- */

#define MODEL_SLOTS 20000

struct model {
	struct fixture f;
	struct {
		uint64_t phys; /* 0: free */
		uint32_t size;
		uint8_t fill;
	} slot[MODEL_SLOTS];
	uint32_t n;
	uint16_t *by_phys; /* slot + 1 of the object at phys / 8 */
	uint64_t limit;
	uint32_t failed[2]; /* allocations: ENOSPC, ENOMEM */
	uint32_t handovers;
};

static bool all_bytes_are(const uint8_t *p, size_t n, uint8_t byte)
{
	return p[0] == byte && !memcmp(p, p + 1, n - 1);
}

static void model_alloc(struct model *m, uint32_t s)
{
	uint32_t max = (uint32_t)kho_kmem_max_size(m->f.kmem);
	uint32_t size = 1 + below(below(4) ? max / 16 : max);
	bool no_heap = below(4) == 0;
	void *object;

	if (no_heap)
		fail_in = 0;
	object = kho_kmalloc(m->f.kmem, size);
	fail_in = -1;
	if (!object) {
		assert_true(errno == ENOSPC || (no_heap && errno == ENOMEM));
		m->failed[errno == ENOMEM]++;
		return;
	}
	m->slot[s].phys = kho_phys(m->f.kho, object);
	m->slot[s].size = size;
	m->slot[s].fill = (uint8_t)rnd();
	assert_true(m->slot[s].phys && m->slot[s].phys < m->limit);
	assert_int_equal(m->by_phys[m->slot[s].phys / 8], 0);
	m->by_phys[m->slot[s].phys / 8] = (uint16_t)(s + 1);
	memset(object, m->slot[s].fill, size);
	m->n++;
}

static void model_check(struct model *m, uint32_t s)
{
	uint8_t *object = kho_ptr(m->f.kho, m->slot[s].phys, m->slot[s].size);

	assert_non_null(object);
	assert_true(kho_ksize(m->f.kmem, object) >= m->slot[s].size);
	assert_true(all_bytes_are(object, m->slot[s].size, m->slot[s].fill));
	assert_int_equal(kho_kfree(m->f.kmem, object + 1), -EINVAL);
}

static void model_forget(struct model *m, uint32_t s)
{
	m->by_phys[m->slot[s].phys / 8] = 0;
	m->slot[s].phys = 0;
	m->n--;
}

static void model_free(struct model *m, uint32_t s)
{
	void *object = kho_ptr(m->f.kho, m->slot[s].phys, 1);

	model_check(m, s);
	assert_int_equal(kho_kfree(m->f.kmem, object), 0);
	assert_int_equal(kho_kfree(m->f.kmem, object), -EINVAL);
	assert_int_equal(kho_ksize(m->f.kmem, object), 0);
	model_forget(m, s);
}

static int model_seen(void *object, size_t size, void *arg)
{
	struct model *m = arg;
	uint32_t s = m->by_phys[kho_phys(m->f.kho, object) / 8];

	assert_int_not_equal(s, 0);
	assert_true(size >= m->slot[s - 1].size);
	assert_true(all_bytes_are(object, m->slot[s - 1].size,
				  m->slot[s - 1].fill));
	m->n++;
	return 0;
}

/* Both sides have the same objects. */
static void model_compare(struct model *m)
{
	uint32_t n = m->n;

	m->n = 0;
	assert_int_equal(kho_kmem_walk(m->f.kmem, model_seen, m), 0);
	assert_int_equal(m->n, n);
	assert_int_equal(verify(&m->f).objects, n);
}

static bool model_reaches(void *object, size_t size, void *arg)
{
	struct model *m = arg;

	(void)size;
	return m->by_phys[kho_phys(m->f.kho, object) / 8];
}

/* Forget some; a sweep frees exactly these. */
static void model_sweep(struct model *m)
{
	int64_t forgotten = 0, swept = 0;
	uint64_t cursor = 0;

	for (uint32_t s = 0; s < MODEL_SLOTS; s++) {
		if (!m->slot[s].phys || below(4))
			continue;
		model_forget(m, s);
		forgotten++;
	}
	if (below(2)) {
		swept = kho_kmem_sweep(m->f.kmem, model_reaches, m);
	} else {
		do {
			swept += kho_kmem_sweep_slab(m->f.kmem, &cursor,
						     model_reaches, m);
		} while (cursor);
	}
	assert_int_equal(swept, forgotten);
}

static void model_hand_over(struct model *m)
{
	detach(&m->f);
	attach(&m->f);
	restore(&m->f);
	model_compare(m);
	if (below(2)) {
		/* Aborted: the old one goes on. */
		detach(&m->f);
		attach(&m->f);
		restore(&m->f);
	}
	assert_int_equal(kho_ready(m->f.kho, NULL), 0);
	assert_int_equal(kho_free_unclaimed(m->f.kho, NULL), 0);
	m->handovers++;
}

static void model_run(unsigned int page_shift, uint32_t ops)
{
	struct model *m = calloc(1, sizeof(*m));
	uint32_t s, what, grow = 60;

	/* From what is rarely full to what is mostly full. */
	m->limit = 512ull << page_shift;
	m->by_phys = calloc(m->limit / 8, sizeof(*m->by_phys));
	create(&m->f, page_shift, m->limit);
	while (ops--) {
		/* The cache grows until it is full, and shrinks again. */
		if (!below(5000))
			grow = 30 + below(60);
		s = below(MODEL_SLOTS);
		what = below(4000);
		if (what == 0)
			model_compare(m);
		else if (what == 1)
			model_hand_over(m);
		else if (what == 2)
			model_sweep(m);
		else if (!m->slot[s].phys && below(100) < grow)
			model_alloc(m, s);
		else if (m->slot[s].phys && below(100) < 10)
			model_check(m, s);
		else if (m->slot[s].phys && below(100) >= grow)
			model_free(m, s);
	}
	model_compare(m);
	print_message("# page shift %u: %u objects at the end, %u handovers, %u ENOSPC, %u ENOMEM\n",
		      page_shift, m->n, m->handovers, m->failed[0],
		      m->failed[1]);
	assert_true(m->handovers && m->failed[0] && m->failed[1]);
	for (s = 0; s < MODEL_SLOTS; s++)
		if (m->slot[s].phys)
			model_free(m, s);
	assert_int_equal(count(&m->f), 0);
	discard(&m->f);
	free(m->by_phys);
	free(m);
}

static void model_4k(void **state)
{
	(void)state;
	model_run(12, 2000000);
}

static void model_16k(void **state)
{
	(void)state;
	model_run(14, 500000);
}

static void model_64k(void **state)
{
	(void)state;
	model_run(16, 500000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(objects_do_not_overlap),
		cmocka_unit_test(refuses_what_is_no_object),
		cmocka_unit_test(gives_everything_back),
		cmocka_unit_test(survives_handover),
		cmocka_unit_test(refuses_to_restore_twice),
		cmocka_unit_test(refuses_what_is_not_preserved),
		cmocka_unit_test(walks),
		cmocka_unit_test(reads_other_size_classes),
		cmocka_unit_test(a_full_arena),
		cmocka_unit_test(a_full_heap),
		cmocka_unit_test(model_4k),
		cmocka_unit_test(model_16k),
		cmocka_unit_test(model_64k),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
