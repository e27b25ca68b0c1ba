// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Programs that are killed while they change an area. */
#include <stdbool.h>
#include <stdlib.h>

#include <kho/tree.h>

#include "clear.h"
#include "step.h"
#include "vmalloc.h"

#define BLOCK 4096ul
#define BLOCKS 2000
#define ROUNDS 60

/* ---- At any time ---- */

/* Each block says which one it is. */
static void mark(struct kho_vmalloc *area, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		uint64_t *p = kho_vmalloc_ptr(area, i * BLOCK, BLOCK);

		if (p)
			*p = i + 1;
	}
}

static void kill_child(void *fixture, void *arg)
{
	struct fixture *f = fixture;
	uint64_t *ready = arg;
	struct kho_vmalloc *area;
	unsigned int seed = (unsigned int)rnd();

	if (kho_attach_fd(&f->kho, f->fd, NULL, NULL) ||
	    kho_vmalloc_restore(f->kho, kho_ptr(f->kho, f->phys, 16),
				BLOCKS * BLOCK, &area, NULL) ||
	    kho_ready(f->kho, NULL))
		abort();
	__atomic_store_n(ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		uint64_t from = (uint64_t)rand_r(&seed) % BLOCKS;
		uint64_t n = 1 + (uint64_t)rand_r(&seed) % 40, size;

		n = from + n < BLOCKS ? n : BLOCKS - from;
		size = kho_vmalloc_size(area) / BLOCK;
		switch (rand_r(&seed) % 8) {
		case 0:
			if (!convert(f, 1))
				kho_set_version(f->kho, vmalloc(), 1, NULL);
			break;
		case 1:
			if (!kho_set_version(f->kho, vmalloc(), 2, NULL))
				convert(f, 2);
			break;
		case 2:
			kho_vmalloc_resize(area, from * BLOCK, NULL);
			mark(area, size, from);
			break;
		case 3:
			kho_vmalloc_punch(area, from * BLOCK, n * BLOCK, NULL);
			break;
		default:
			kho_vmalloc_populate(area, from * BLOCK, n * BLOCK,
					     NULL);
			mark(area, from, from + n);
			break;
		}
	}
}

/* As the next program after a crash: blocks are there, or not, as a whole. */
static void recover(struct fixture *f)
{
	struct kho_vmalloc *area;
	struct kho_vmalloc_stats stats;

	attach(f);
	area = restore(f, BLOCKS * BLOCK);
	stats = verify(f);
	assert_int_equal(stats.populated, kho_vmalloc_populated(area));
	assert_true(stats.version <= kho_version(f->kho, vmalloc()));
	for (uint64_t i = 0; i < BLOCKS; i++) {
		uint64_t *p = kho_vmalloc_ptr(area, i * BLOCK, BLOCK);

		assert_true(!p || *p == 0 || *p == i + 1);
	}
	assert_int_equal(kho_ready(f->kho, NULL), 0);
	/* One change's memory and lists at most were on their way. */
	assert_in_range(kho_free_unclaimed(f->kho, NULL), 0, BLOCKS + 20);
	assert_int_equal(pages_info(f->kho).preserved,
			 f->pages + stats.populated / BLOCK + stats.lists);
	assert_int_equal(pages_info(f->kho).allocated,
			 pages_info(f->kho).preserved);
	kho_vmalloc_close(area);
}

static void kills(void **state)
{
	uint64_t *ready = shared_memory(sizeof(*ready));
	struct kho_vmalloc *area;
	struct fixture f;

	(void)state;
	create(&f, 12, 32 * MIB);
	assert_int_equal(kho_vmalloc_create(f.kho, BLOCKS * BLOCK, BLOCK, &area,
					    NULL),
			 0);
	assert_int_equal(kho_vmalloc_preserve(area, f.desc, NULL), 0);
	kho_vmalloc_close(area);
	for (int i = 0; i < ROUNDS; i++) {
		kho_close(f.kho);
		kill_soon(kill_child, &f, ready, ready, 20000);
		recover(&f);
	}
	munmap(ready, sizeof(*ready));
	discard(&f);
}

/* ---- After each single instruction ---- */

/* How many blocks there are after each change, 0 when no area is preserved. */
static const uint64_t blocks_after[] = { 3, 3, 5, 6, 3, 3, 4, 7, 2, 0, 2, 2, 3 };
#define CHANGES (sizeof(blocks_after) / sizeof(*blocks_after))

static int step_changes(struct fixture *f, struct kho_vmalloc *area)
{
	int ret = kho_vmalloc_resize(area, 3 * BLOCK, NULL);

	ret |= kho_set_version(f->kho, vmalloc(), 2, NULL);
	ret |= convert(f, 2);
	ret |= kho_vmalloc_resize(area, 5 * BLOCK, NULL);
	ret |= kho_vmalloc_populate(area, 50 * BLOCK, 1, NULL);
	ret |= kho_vmalloc_punch(area, 3 * BLOCK, 200 * BLOCK, NULL);
	ret |= convert(f, 1);
	ret |= kho_set_version(f->kho, vmalloc(), 1, NULL);
	ret |= kho_vmalloc_resize(area, 4 * BLOCK, NULL);
	ret |= kho_vmalloc_resize(area, 7 * BLOCK, NULL);
	ret |= kho_vmalloc_resize(area, 2 * BLOCK, NULL);
	ret |= kho_vmalloc_unpreserve(area);
	ret |= kho_set_version(f->kho, vmalloc(), 2, NULL);
	ret |= kho_vmalloc_preserve(area, f->desc, NULL);
	ret |= convert(f, 1);
	/* To version 2 in passing. */
	return ret | kho_vmalloc_populate(area, 9 * BLOCK, 1, NULL);
}

static void step_child(void *fixture)
{
	struct fixture *f = fixture;
	struct kho_vmalloc *area;

	if (kho_attach_fd(&f->kho, f->fd, NULL, NULL))
		_exit(1);
	f->desc = kho_ptr(f->kho, f->phys, 16);
	if (kho_vmalloc_restore(f->kho, f->desc, BLOCKS * BLOCK, &area, NULL) ||
	    kho_ready(f->kho, NULL))
		_exit(1);
	step_begin();
	stepping = true;
	_exit(step_changes(f, area) != 0);
}

struct progress {
	uint64_t phys; /* of the descriptor */
	uint32_t version;
	uint64_t blocks;
	size_t change;
};

/* Seen from outside, between two instructions the area is the old or the new. */
static int look_on(const struct kho_mem *mem, void *arg, struct kho_error *err)
{
	struct progress *p = arg;
	struct kho_vmalloc_stats stats;
	int ret = kho_vmalloc_verify(mem, p->phys, &stats, err);

	if (ret == -ENOENT)
		memset(&stats, 0, sizeof(stats));
	else if (ret)
		return ret;
	if (stats.populated / BLOCK == p->blocks && stats.version == p->version)
		return 0;
	/* Nothing in between, and nothing left out. */
	assert_true(p->change < CHANGES);
	p->blocks = stats.populated / BLOCK;
	p->version = stats.version;
	assert_int_equal(p->blocks, blocks_after[p->change++]);
	return 0;
}

static void every_instruction(void **state)
{
	struct progress p = { .version = 1 };
	struct kho_vmalloc *area;
	struct fixture f;

	(void)state;
	create(&f, 12, 2 * MIB);
	p.phys = f.phys;
	assert_int_equal(kho_vmalloc_create(f.kho, BLOCKS * BLOCK, BLOCK, &area,
					    NULL),
			 0);
	set_version(&f, 1);
	assert_int_equal(kho_vmalloc_preserve(area, f.desc, NULL), 0);
	kho_vmalloc_close(area);
	kho_close(f.kho);
	step_through(step_child, &f, f.fd, 2 * MIB, look_on, &p);
	assert_int_equal(p.change, CHANGES);
	attach(&f);
	area = restore(&f, 0);
	assert_int_equal(kho_vmalloc_size(area), 10 * BLOCK);
	assert_int_equal(kho_vmalloc_version(area), 2);
	kho_vmalloc_close(area);
	discard(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kills),
		cmocka_unit_test(every_instruction),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
