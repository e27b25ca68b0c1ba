// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Areas against a plain model: random changes to several areas in an arena
 * that is often full, with conversions, handovers, and handovers that come to
 * nothing.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "vmalloc.h"

#define AREAS 3
#define BLOCKS 128 /* of an area at most */
#define WORDS 4 /* of a block that the model knows */

#ifdef __SANITIZE_ADDRESS__
#define OPS 200000
#else
#define OPS 1000000
#endif

struct model {
	struct kho_vmalloc *area;
	uint64_t block;
	uint32_t version;
	bool there[BLOCKS];
	uint64_t word[BLOCKS][WORDS];
};

struct world {
	struct fixture f;
	unsigned int shift;
	struct model m[AREAS];
	uint32_t version; /* in effect */
	/* So that nothing is left out. */
	uint64_t full, refused, handovers, converted, in_passing;
};

static uint64_t *word_at(struct model *m, uint64_t block, unsigned int w)
{
	char *p = kho_vmalloc_ptr(m->area, block * m->block, m->block);

	assert_non_null(p);
	return (void *)(p + w * (m->block - 8) / (WORDS - 1) / 8 * 8);
}

static uint64_t model_size(const struct model *m)
{
	uint64_t n = BLOCKS;

	while (n && !m->there[n - 1])
		n--;
	return n * m->block;
}

static bool model_holes(const struct model *m)
{
	for (uint64_t i = 0; i < model_size(m) / m->block; i++)
		if (!m->there[i])
			return true;
	return false;
}

/* Of an area that survives, when blocks @from to @to come or go. */
static bool holes_after(const struct model *m, uint64_t from, uint64_t to,
			bool there)
{
	struct model after = *m;

	for (uint64_t b = from; b < to; b++)
		after.there[b] = there;
	return m->version && model_holes(&after);
}

static void check_word(struct model *m)
{
	uint64_t block = below(BLOCKS);
	unsigned int w = (unsigned int)below(WORDS);

	if (!m->there[block]) {
		assert_null(kho_vmalloc_ptr(m->area, block * m->block, 1));
		return;
	}
	assert_int_equal(*word_at(m, block, w), m->word[block][w]);
}

static void write_word(struct model *m)
{
	uint64_t block = below(BLOCKS);
	unsigned int w = (unsigned int)below(WORDS);

	if (m->there[block])
		*word_at(m, block, w) = m->word[block][w] = rnd();
}

static void check_all(struct world *world, int i)
{
	struct kho_vmalloc_stats stats;
	struct model *m = &world->m[i];
	struct kho_mem_array mem = arena_bytes(world->f.kho, world->f.fd);
	uint64_t n = 0;

	for (uint64_t b = 0; b < BLOCKS; b++) {
		n += m->there[b];
		for (unsigned int w = 0; m->there[b] && w < WORDS; w++)
			assert_int_equal(*word_at(m, b, w), m->word[b][w]);
	}
	assert_int_equal(kho_vmalloc_size(m->area), model_size(m));
	assert_int_equal(kho_vmalloc_populated(m->area), n * m->block);
	assert_int_equal(kho_vmalloc_version(m->area), m->version);
	assert_true(m->version <= world->version);
	if (!m->version)
		return;
	if (kho_vmalloc_verify(&mem.mem,
			       kho_phys(world->f.kho, world->f.desc + i),
			       &stats, &world->f.err))
		fail_msg("%s", world->f.err.text);
	assert_int_equal(stats.version, m->version);
	assert_int_equal(stats.block, m->block);
	assert_int_equal(stats.size, model_size(m));
	assert_int_equal(stats.populated, n * m->block);
}

static void model_create(struct world *world, int i)
{
	struct model *m = &world->m[i];

	memset(m, 0, sizeof(*m));
	m->block = 1ull << (world->shift + below(3));
	assert_int_equal(kho_vmalloc_create(world->f.kho, BLOCKS * m->block,
					    m->block, &m->area, NULL),
			 0);
}

/* What may go wrong: no room, or a hole in version 1. */
static void check_result(struct world *world, int ret, bool hole)
{
	if (hole) {
		fails(&world->f, -EOPNOTSUPP, ret);
		world->refused++;
	} else if (ret) {
		fails(&world->f, -ENOSPC, ret);
		world->full++;
	}
}

/* Memory came or went: a version below that in effect may end with that. */
static void changed(struct world *world, struct model *m, bool list)
{
	if (!m->version || (m->version != 1 && !list))
		return;
	world->in_passing += m->version < world->version;
	m->version = world->version;
}

static void there(struct world *world, struct model *m, uint64_t from,
		  uint64_t to)
{
	bool added = false;

	for (uint64_t b = from; b < to; b++) {
		if (m->there[b])
			continue;
		added = m->there[b] = true;
		memset(m->word[b], 0, sizeof(m->word[b]));
	}
	if (added)
		changed(world, m, false);
}

static void gone(struct world *world, struct model *m, uint64_t from,
		 uint64_t to)
{
	bool removed = false;

	for (uint64_t b = from; b < to; b++) {
		removed |= m->there[b];
		m->there[b] = false;
	}
	if (removed)
		changed(world, m, true);
}

static void populate(struct world *world, struct model *m, uint64_t from,
		     uint64_t to)
{
	bool hole = world->version == 1 && holes_after(m, from, to, true);
	uint64_t offset = from * m->block + below(m->block);
	uint64_t size = (to - 1) * m->block + 1 + below(m->block);
	int ret;

	if (offset >= size)
		size = offset + 1;
	ret = kho_vmalloc_populate(m->area, offset, size - offset,
				   &world->f.err);
	check_result(world, ret, hole);
	if (!ret)
		there(world, m, from, to);
}

static void punch(struct world *world, struct model *m, uint64_t from,
		  uint64_t to)
{
	bool hole = world->version == 1 && holes_after(m, from, to, false);
	int ret = kho_vmalloc_punch(m->area, from * m->block,
				    (to - from) * m->block, &world->f.err);

	check_result(world, ret, hole);
	if (!ret)
		gone(world, m, from, to);
}

static void resize(struct world *world, struct model *m, uint64_t blocks)
{
	uint64_t old = model_size(m) / m->block;
	int ret = kho_vmalloc_resize(m->area, blocks * m->block, &world->f.err);

	check_result(world, ret, false);
	if (ret)
		return;
	if (old < blocks)
		there(world, m, old, blocks);
	else
		gone(world, m, blocks, BLOCKS);
}

static void preserve(struct world *world, int i)
{
	struct model *m = &world->m[i];
	int ret;

	if (m->version) {
		assert_int_equal(kho_vmalloc_unpreserve(m->area), 0);
		m->version = 0;
		return;
	}
	assert_int_equal(kho_vmalloc_unpreserve(m->area), -ENOENT);
	ret = kho_vmalloc_preserve(m->area, world->f.desc + i, &world->f.err);
	check_result(world, ret, world->version == 1 && model_holes(m));
	if (!ret)
		m->version = world->version;
}

/* What is raised is said before it is done, what is lowered after it. */
static void change_version(struct world *world, uint32_t version)
{
	struct fixture *f = &world->f;
	bool hole = false;
	int ret;

	for (int i = 0; i < AREAS; i++)
		hole |= version == 1 && holes_after(&world->m[i], 0, 0, true);
	check_result(world, can_write(f, version), hole);
	if (version > world->version) {
		if (kho_set_version(f->kho, vmalloc(), version, NULL))
			return;
		world->version = version;
		/* It need not be done at once. */
		if (below(4))
			return;
	}
	ret = convert(f, version);
	/* There may be no room for one before the turn of one with holes. */
	check_result(world, ret, hole && ret != -ENOSPC);
	for (int i = 0; i < AREAS; i++) {
		struct model *m = &world->m[i];
		uint32_t now = kho_vmalloc_version(m->area);

		/* On failure some are, and some are not. */
		if (m->version && (!ret || now == version))
			m->version = version;
		check_all(world, i);
	}
	if (ret)
		return;
	world->converted++;
	if (!kho_set_version(f->kho, vmalloc(), version, NULL))
		world->version = version;
}

static void hand_over(struct world *world)
{
	struct fixture *f = &world->f;
	bool aborted = below(2);
	uint64_t preserved;

	for (int i = 0; i < AREAS; i++) {
		check_all(world, i);
		kho_vmalloc_close(world->m[i].area);
	}
	preserved = pages_info(f->kho).preserved;
	for (int again = aborted; again >= 0; again--) {
		reattach(f);
		assert_int_equal(kho_version(f->kho, vmalloc()),
				 world->version);
		assert_int_equal(pages_info(f->kho).preserved, preserved);
		for (int i = 0; i < AREAS; i++) {
			struct model *m = &world->m[i];

			if (!m->version)
				continue;
			if (kho_vmalloc_restore(f->kho, f->desc + i,
						BLOCKS * m->block, &m->area,
						&f->err))
				fail_msg("%s", f->err.text);
			check_all(world, i);
			if (again)
				kho_vmalloc_close(m->area);
		}
		assert_int_equal(pages_info(f->kho).unclaimed, 0);
		/* All that is in use is preserved. */
		assert_int_equal(pages_info(f->kho).allocated, preserved);
	}
	assert_int_equal(kho_ready(f->kho, NULL), 0);
	for (int i = 0; i < AREAS; i++)
		if (!world->m[i].version)
			model_create(world, i);
	world->handovers++;
}

static void change(struct world *world)
{
	int i = (int)below(AREAS);
	struct model *m = &world->m[i];
	uint64_t from = below(BLOCKS), to;

	to = from + 1 + below(below(4) ? 4 : BLOCKS - from);
	to = to < BLOCKS ? to : BLOCKS;
	switch (below(40)) {
	case 0:
		return hand_over(world);
	case 1:
		assert_int_equal(kho_vmalloc_destroy(m->area), 0);
		return model_create(world, i);
	case 2 ... 4:
		return preserve(world, i);
	case 5 ... 8:
		return change_version(world, 1 + (uint32_t)below(2));
	case 9 ... 15:
		return resize(world, m, below(BLOCKS + 1));
	case 16 ... 25:
		return punch(world, m, from, to);
	case 26 ... 27:
		return check_all(world, i);
	default:
		return populate(world, m, from, to);
	}
}

static void run(unsigned int shift)
{
	struct world *world = calloc(1, sizeof(*world));

	world->shift = shift;
	/* Room for less than half of what the areas could take. */
	create(&world->f, shift, (2 * BLOCKS << shift) + (1 << 20));
	world->version = 2;
	for (int i = 0; i < AREAS; i++)
		model_create(world, i);
	for (int op = 0; op < OPS; op++) {
		struct model *m = &world->m[below(AREAS)];

		if (below(80) == 0)
			change(world);
		else if (below(2))
			write_word(m);
		else
			check_word(m);
	}
	hand_over(world);
	for (int i = 0; i < AREAS; i++)
		assert_int_equal(kho_vmalloc_destroy(world->m[i].area), 0);
	assert_int_equal(pages_info(world->f.kho).preserved, world->f.pages);
	print_message("# %" PRIu64 " handovers, %" PRIu64
		      " times full, %" PRIu64 " refused; %" PRIu64
		      " conversions, %" PRIu64 " in passing\n",
		      world->handovers, world->full, world->refused,
		      world->converted, world->in_passing);
	assert_true(world->handovers > 10);
	assert_true(world->converted > 10);
	assert_true(world->in_passing > 0);
	assert_true(world->full > 10);
	assert_true(world->refused > 10);
	discard(&world->f);
	free(world);
}

static void model_4k(void **state)
{
	(void)state;
	run(12);
}

static void model_16k(void **state)
{
	(void)state;
	run(14);
}

static void model_64k(void **state)
{
	(void)state;
	run(16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(model_4k),
		cmocka_unit_test(model_16k),
		cmocka_unit_test(model_64k),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
