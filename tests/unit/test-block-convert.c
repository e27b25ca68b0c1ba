// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Chains that are taken to another version, as at a handover: every entry is
 * kept, and what cannot be done leaves the chain as it was.
 */
#include <errno.h>

#include <kho/tree.h>

#include "block.h"
#include "heap.h"

static const unsigned int page_shifts[] = { 12, 14, 16 };

static size_t header_size(uint32_t version)
{
	return version == 1 ? 16 : 24;
}

static uint64_t capacity(struct fixture *f, uint32_t version)
{
	return ((1ul << f->page_shift) - header_size(version)) / f->entry_size;
}

static uint64_t blocks_for(struct fixture *f, uint32_t version, uint64_t n)
{
	uint64_t each = capacity(f, version);

	return (n + each - 1) / each;
}

/* The chain has the entries 0 to @n - 1, and is of a version. */
static void check(struct fixture *f, uint32_t version, uint64_t n)
{
	struct kho_block_iter iter = kho_block_begin(f->blocks);
	struct kho_block_stats stats = verify(f);
	size_t size = f->entry_size;

	assert_int_equal(stats.version, n ? version : 0);
	assert_int_equal(stats.entries, n);
	assert_int_equal(kho_block_count(f->blocks), n);
	for (uint64_t i = 0; i < n; i++) {
		const void *entry = kho_block_next(&iter);

		assert_ptr_equal(kho_block_get(f->blocks, i), entry);
		assert_true(is_filled(entry, size, i));
	}
	assert_null(kho_block_next(&iter));
	for (uint64_t i = n; i-- > 0;)
		assert_true(is_filled(kho_block_prev(&iter), size, i));
	assert_null(kho_block_prev(&iter));
}

static void convert_ok(struct fixture *f, uint32_t version)
{
	if (convert(f, version))
		fail_msg("convert: %s", f->err.text);
}

/* As a handover does it: raised before, lowered after. */
static void bring(struct fixture *f, uint32_t version)
{
	if (version > kho_version(f->kho, block()))
		set_version(f, version);
	convert_ok(f, version);
	set_version(f, version);
}

/* What a refusal says, in one line. */
static void refused(struct fixture *f, int code, int ret, const char *text)
{
	assert_int_equal(ret, code);
	assert_int_equal(f->err.code, code);
	assert_null(strchr(f->err.text, '\n'));
	if (!strstr(f->err.text, text))
		fail_msg("no '%s' in '%s'", text, f->err.text);
}

static int can_write(struct fixture *f, uint32_t version)
{
	memset(&f->err, 0, sizeof(f->err));
	return block()->ops->can_write(f->kho, version, NULL, &f->err);
}

/* ---- There and back ---- */

static void there_and_back(unsigned int page_shift, size_t size, uint64_t n)
{
	struct fixture f;

	create(&f, page_shift, 1, size, 1 << 26);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(append(&f, i), i);
	for (uint32_t round = 1; round <= 4; round++) {
		uint32_t version = 1 + round % 2;

		bring(&f, version);
		check(&f, version, n);
		/* Not a page too many. */
		assert_int_equal(pages_preserved(&f) - f.pages,
				 blocks_for(&f, version, n));
		/* It is one of that version for whoever comes next. */
		if (round <= 2)
			hand_over(&f);
		assert_int_equal(kho_free_unclaimed(f.kho, NULL), 0);
		check(&f, version, n);
		if (round > 2)
			assert_int_equal(append(&f, n), n);
		n += round > 2;
		check(&f, version, n);
	}
	discard(&f);
}

static void keeps_every_entry(void **state)
{
	static const size_t sizes[] = { 1, 7, 8, 100, 1000, 2036, 4072 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		for (int s = 0; s < 7; s++) {
			uint64_t page = 1ul << page_shifts[i];
			uint64_t v1 = (page - 16) / sizes[s];
			uint64_t v2 = (page - 24) / sizes[s];
			uint64_t counts[] = { 0,      1,      v2 - 1, v2,
					      v2 + 1, v1 + 1, 5 * v1, 5 * v2 };

			for (int c = 0; c < (sizes[s] == 1 ? 5 : 8); c++)
				there_and_back(page_shifts[i], sizes[s],
					       counts[c]);
		}
	}
}

/* More blocks than the index's first segments have, some of them not full. */
static void what_somebody_else_wrote(void **state)
{
	uint64_t n = 0, at;
	struct kho_block_v1 *v1;
	struct fixture f;

	(void)state;
	create(&f, 12, 1, 1000, 1 << 26);
	for (uint64_t i = 0; i < 1000; i++)
		append(&f, i);
	for (at = f.root->first.phys; at; at = v1->next.phys) {
		uint8_t *entry;

		v1 = kho_ptr(f.kho, at, 4096);
		v1->count = 1 + below(4);
		entry = (uint8_t *)(v1 + 1);
		for (uint64_t i = 0; i < v1->count; i++, n++)
			for (size_t j = 0; j < 1000; j++)
				*entry++ = filler(n, j);
	}
	hand_over(&f);
	assert_int_equal(verify(&f).blocks, 250);
	check(&f, 1, n);
	convert_ok(&f, 2);
	check(&f, 2, n);
	assert_int_equal(verify(&f).blocks, (n + 3) / 4);
	assert_int_equal(pages_preserved(&f) - f.pages, (n + 3) / 4);
	convert_ok(&f, 1);
	check(&f, 1, n);
	assert_int_equal(verify(&f).blocks, (n + 3) / 4);
	for (; n < 1200; n++)
		assert_int_equal(append(&f, n), n);
	for (; n > 0; n -= 100) {
		assert_int_equal(kho_block_shrink(f.blocks, n), 0);
		check(&f, 1, n);
	}
	discard(&f);
}

/* ---- Nothing to do ---- */

static void what_is_right_is_not_touched(void **state)
{
	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		for (uint64_t n = 0; n < 100; n += 33) {
			void *before, *after;
			struct fixture f;
			size_t len;

			create(&f, 12, version, 100, 1 << 26);
			for (uint64_t i = 0; i < n; i++)
				append(&f, i);
			assert_int_equal(kho_block_grow(f.blocks, 200), 0);
			before = arena_copy(f.fd, &len);
			convert_ok(&f, version);
			assert_int_equal(can_write(&f, 1), 0);
			assert_int_equal(can_write(&f, 2), 0);
			assert_int_equal(arena_size(f.fd), len);
			after = arena_copy(f.fd, &len);
			assert_memory_equal(before, after, len);
			free(before);
			free(after);
			discard(&f);
		}
	}
}

/* Before kho_ready() it is not ours. */
static void only_what_is_ours(void **state)
{
	struct fixture f;

	(void)state;
	create(&f, 12, 1, 100, 1 << 26);
	append(&f, 0);
	detach(&f);
	attach(&f);
	restore(&f);
	convert_ok(&f, 1);
	refused(&f, -EROFS, convert(&f, 2), "read-only");
	assert_int_equal(kho_ready(f.kho, NULL), 0);
	convert_ok(&f, 2);
	check(&f, 2, 1);
	discard(&f);
}

/* ---- What cannot be done ---- */

struct before {
	uint64_t root;
	uint64_t pages;
	uint8_t *bytes; /* of the blocks */
	uint64_t blocks;
};

static struct before look(struct fixture *f)
{
	struct before before = {
		.root = f->root->first.phys,
		.pages = pages_preserved(f),
		.blocks = verify(f).blocks,
	};
	uint64_t each = capacity(f, verify(f).version);

	before.bytes = malloc(before.blocks << 12);
	for (uint64_t b = 0; b < before.blocks; b++) {
		uintptr_t at = (uintptr_t)kho_block_get(f->blocks, b * each);

		memcpy(before.bytes + (b << 12), (void *)(at & ~0xffful), 4096);
	}
	return before;
}

static void same(struct fixture *f, struct before *before)
{
	struct before now = look(f);

	assert_int_equal(now.root, before->root);
	assert_int_equal(now.pages, before->pages);
	assert_int_equal(now.blocks, before->blocks);
	assert_memory_equal(now.bytes, before->bytes, now.blocks << 12);
	free(now.bytes);
}

static void without_memory(void **state)
{
	void *page, *pages[6];

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		struct before before;
		struct fixture f;
		int n = 0;

		create(&f, 12, version, 1000, 1 << 22);
		for (uint64_t i = 0; i < 100; i++)
			append(&f, i);
		while ((page = kho_alloc_preserve(f.kho, 4096)))
			pages[n++ % 6] = page;
		/* Nothing at all, then less than the 25 pages that it takes. */
		for (int i = 0; i <= 6; i++) {
			before = look(&f);
			refused(&f, -ENOSPC, convert(&f, 3 - version),
				"no room to copy the 100 entries");
			same(&f, &before);
			check(&f, version, 100);
			free(before.bytes);
			if (i < 6)
				kho_unpreserve_free(f.kho, pages[i]);
		}
		/* It goes on as if nothing had been. */
		assert_int_equal(kho_block_shrink(f.blocks, 4), 0);
		convert_ok(&f, 3 - version);
		check(&f, 3 - version, 4);
		discard(&f);
	}
}

static void without_heap(void **state)
{
	struct before before;
	struct fixture f;
	int n, ret;

	(void)state;
	create(&f, 12, 1, 1000, 1 << 26);
	/* Enough for three segments of the index. */
	for (uint64_t i = 0; i < 250; i++)
		append(&f, i);
	for (n = 0;; n++) {
		before = look(&f);
		fail_in = n;
		ret = convert(&f, 2);
		fail_in = -1;
		if (ret)
			same(&f, &before);
		free(before.bytes);
		if (!ret)
			break;
		refused(&f, -ENOMEM, ret, "no room to copy");
	}
	assert_true(n >= 3);
	check(&f, 2, 250);
	discard(&f);
}

/* Linux's version has 8 bytes more for entries. */
static void entries_that_do_not_fit(void **state)
{
	struct before before;
	struct fixture f;

	(void)state;
	create(&f, 12, 1, 4080, 1 << 26);
	for (uint64_t i = 0; i < 3; i++)
		append(&f, i);
	before = look(&f);
	assert_int_equal(can_write(&f, 1), 0);
	refused(&f, -EOPNOTSUPP, can_write(&f, 2),
		"entries of 4080 bytes, and at most 4072 fit");
	refused(&f, -EOPNOTSUPP, convert(&f, 2), "at most 4072 fit");
	same(&f, &before);
	free(before.bytes);
	/* Nor does it get there by itself. */
	set_version(&f, 2);
	assert_int_equal(kho_block_shrink(f.blocks, 0), 0);
	assert_int_equal(append(&f, 0), 0);
	check(&f, 1, 1);
	discard(&f);
}

/* ---- Several chains ---- */

#define CHAINS 5

struct chains {
	struct fixture f;
	struct kho_block_root *root;
	struct kho_blocks *blocks[CHAINS];
};

/* Chain i has 600 * i entries; the one of the fixture has none. */
static void chains_make(struct chains *c, uint32_t version)
{
	create(&c->f, 12, version, 8, 1 << 26);
	c->root = kho_alloc_preserve(c->f.kho, CHAINS * sizeof(*c->root));
	for (uint64_t i = 0; i < CHAINS; i++) {
		assert_int_equal(kho_block_create(c->f.kho, 8, &c->root[i],
						  &c->blocks[i], NULL),
				 0);
		for (uint64_t j = 0; j < 600 * i; j++)
			assert_int_equal(kho_block_append(c->blocks[i], &j), j);
	}
}

static uint32_t chain_version(struct chains *c, uint64_t i)
{
	struct kho_mem_array mem = arena_bytes(c->f.kho, c->f.fd);
	struct kho_block_stats stats;

	assert_int_equal(kho_block_verify(&mem.mem, 0, 8, c->root[i].first.phys,
					  &stats, NULL),
			 0);
	assert_int_equal(stats.entries, 600 * i);
	return stats.version;
}

static void chains_free(struct chains *c)
{
	for (int i = 0; i < CHAINS; i++)
		kho_block_close(c->blocks[i]);
	discard(&c->f);
}

static void all_chains_are_converted(void **state)
{
	struct chains c;

	(void)state;
	chains_make(&c, 2);
	/* What is closed is nobody's to convert. */
	kho_block_close(c.blocks[1]);
	c.blocks[1] = NULL;
	for (uint32_t round = 0; round < 4; round++) {
		convert_ok(&c.f, 1 + round % 2);
		assert_int_equal(chain_version(&c, 0), 0);
		assert_int_equal(chain_version(&c, 1), 2);
		for (uint64_t i = 2; i < CHAINS; i++)
			assert_int_equal(chain_version(&c, i), 1 + round % 2);
	}
	chains_free(&c);
}

/* One that cannot be ends it: some are, some are not, and all can go back. */
static void some_chains_are_converted(void **state)
{
	struct kho_block_root *root;
	struct kho_blocks *large;
	uint64_t converted = 0;
	struct chains c;

	(void)state;
	chains_make(&c, 1);
	root = kho_alloc_preserve(c.f.kho, sizeof(*root));
	/* In the middle of the list. */
	kho_block_close(c.blocks[4]);
	assert_int_equal(kho_block_create(c.f.kho, 4080, root, &large, NULL),
			 0);
	assert_int_equal(kho_block_create(c.f.kho, 8, &c.root[4], &c.blocks[4],
					  NULL),
			 0);
	for (uint64_t j = 0; j < 2400; j++)
		assert_int_equal(kho_block_append(c.blocks[4], &j), j);
	refused(&c.f, -EOPNOTSUPP, convert(&c.f, 2), "4080");
	for (uint64_t i = 1; i < CHAINS; i++)
		converted += chain_version(&c, i) == 2;
	assert_in_range(converted, 1, CHAINS - 2);
	convert_ok(&c.f, 1);
	for (uint64_t i = 1; i < CHAINS; i++)
		assert_int_equal(chain_version(&c, i), 1);
	kho_block_close(large);
	chains_free(&c);
}

/* ---- The version in effect ---- */

static void follows_what_is_in_effect(void **state)
{
	struct fixture f;

	(void)state;
	create(&f, 12, 2, 8, 1 << 26);
	set_version(&f, 1);
	append(&f, 0);
	check(&f, 1, 1);
	/* With entries it stays what it is, until it is converted. */
	set_version(&f, 2);
	append(&f, 1);
	check(&f, 1, 2);
	hand_over(&f);
	assert_int_equal(kho_version(f.kho, block()), 2);
	append(&f, 2);
	check(&f, 1, 3);
	assert_int_equal(kho_block_shrink(f.blocks, 0), 0);
	append(&f, 0);
	check(&f, 2, 1);
	/* Room is made in it, too. */
	set_version(&f, 1);
	assert_int_equal(kho_block_shrink(f.blocks, 0), 0);
	append(&f, 0);
	assert_int_equal(kho_block_shrink(f.blocks, 0), 0);
	set_version(&f, 2);
	assert_int_equal(kho_block_grow(f.blocks, 510), 0);
	assert_int_equal(pages_preserved(&f), f.pages + 2);
	append(&f, 0);
	check(&f, 2, 1);
	/* Nothing came over but the version in effect. */
	assert_int_equal(kho_block_shrink(f.blocks, 0), 0);
	set_version(&f, 1);
	hand_over(&f);
	assert_int_equal(kho_version(f.kho, block()), 1);
	append(&f, 0);
	check(&f, 1, 1);
	discard(&f);
}

static void fill(struct fixture *f)
{
	while (kho_alloc_preserve(f->kho, 4096))
		;
}

/* What kho_block_grow() promised holds in any version. */
static void keeps_the_room(void **state)
{
	uint64_t n;
	struct fixture f;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		/* 510 to a block of version 1, 509 to one of version 2. */
		create(&f, 12, version, 8, 1 << 22);
		for (n = 0; n < 5; n++)
			append(&f, n);
		assert_int_equal(kho_block_grow(f.blocks, 1020), 0);
		for (int round = 0; round < 6; round++) {
			bring(&f, 1);
			assert_int_equal(pages_preserved(&f), f.pages + 2);
			bring(&f, 2);
			assert_int_equal(pages_preserved(&f), f.pages + 3);
		}
		bring(&f, version);
		fill(&f);
		for (; n < 1020; n++)
			assert_int_equal(append(&f, n), n);
		if (version == 1)
			assert_int_equal(append(&f, n), -ENOSPC);
		check(&f, version, 1020);
		discard(&f);
	}
}

/* The same for one without entries, whatever is in effect meanwhile. */
static void keeps_the_room_when_empty(void **state)
{
	struct fixture f;
	uint64_t n;

	(void)state;
	for (int i = 0; i < 3; i++) {
		create(&f, 12, i == 1 ? 2 : 1, 8, 1 << 22);
		assert_int_equal(kho_block_grow(f.blocks, 510), 0);
		if (i < 2)
			set_version(&f, i == 1 ? 1 : 2);
		else
			bring(&f, 2);
		fill(&f);
		for (n = 0; n < 510; n++)
			assert_int_equal(append(&f, n), n);
		check(&f, i < 2 ? 1 : 2, 510);
		/* Nothing is promised any more. */
		assert_int_equal(kho_block_shrink(f.blocks, 0), 0);
		set_version(&f, 2);
		assert_int_equal(append(&f, 0), 0);
		check(&f, 2, 1);
		discard(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_every_entry),
		cmocka_unit_test(what_somebody_else_wrote),
		cmocka_unit_test(what_is_right_is_not_touched),
		cmocka_unit_test(only_what_is_ours),
		cmocka_unit_test(without_memory),
		cmocka_unit_test(without_heap),
		cmocka_unit_test(entries_that_do_not_fit),
		cmocka_unit_test(all_chains_are_converted),
		cmocka_unit_test(some_chains_are_converted),
		cmocka_unit_test(follows_what_is_in_effect),
		cmocka_unit_test(keeps_the_room),
		cmocka_unit_test(keeps_the_room_when_empty),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
