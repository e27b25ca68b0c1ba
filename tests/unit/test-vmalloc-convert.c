// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Areas in the version that is in effect, and their way to another one, as at
 * a handover: the memory stays what it is and where it is.
 */
#include <stdlib.h>

#include <kho/tree.h>
#include <kho/varray.h>

#include "heap.h"
#include "vmalloc.h"

#define BLOCK 4096ul

void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return heap_fails() ? NULL : __real_reallocarray(p, n, size);
}

static struct kho_vmalloc *make(struct fixture *f, uint64_t blocks)
{
	struct kho_vmalloc *area;

	assert_int_equal(kho_vmalloc_create(f->kho, 16 * MIB, BLOCK, &area,
					    &f->err),
			 0);
	assert_int_equal(kho_vmalloc_resize(area, blocks * BLOCK, &f->err), 0);
	return area;
}

static struct kho_vmalloc *make_preserved(struct fixture *f, uint64_t blocks)
{
	struct kho_vmalloc *area = make(f, blocks);

	assert_int_equal(kho_vmalloc_preserve(area, f->desc, &f->err), 0);
	return area;
}

static void change(struct fixture *f, int ret)
{
	if (ret)
		fail_msg("%s", f->err.text);
}

/* A refusal that says @text. */
static void refused(struct fixture *f, int code, int ret, const char *text)
{
	if (!strstr(f->err.text, text))
		fail_msg("no '%s' in '%s'", text, f->err.text);
	fails(f, code, ret);
}

static void version_is(struct fixture *f, struct kho_vmalloc *area,
		       uint32_t version)
{
	assert_int_equal(kho_vmalloc_version(area), version);
	assert_int_equal(verify(f).version, version);
	assert_int_equal(verify(f).size, kho_vmalloc_size(area));
	assert_int_equal(verify(f).populated, kho_vmalloc_populated(area));
}

/* ---- There and back ---- */

static void check_words(struct kho_vmalloc *area, uint64_t blocks,
			const uint64_t *phys)
{
	const uint64_t *word;

	assert_int_equal(kho_vmalloc_size(area), blocks * BLOCK);
	for (uint64_t i = 0; i < blocks; i++) {
		word = kho_vmalloc_ptr(area, i * BLOCK, BLOCK);
		assert_int_equal(kho_vmalloc_phys(area, word), phys[i]);
		for (uint64_t w = 0; w < BLOCK / 8; w++)
			assert_int_equal(word[w], i << 32 | w);
	}
}

static void keeps_every_byte(void **state)
{
	/* Up to three chunks of version 1. */
	static const uint64_t counts[] = { 0, 1, 2, 510, 511, 512, 1200 };
	uint64_t phys[1200], *word;
	struct kho_vmalloc *area;
	struct fixture f;
	char *base;

	(void)state;
	for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
		uint64_t n = counts[c];

		create(&f, 12, 64 * MIB);
		area = make_preserved(&f, n);
		base = kho_vmalloc_base(area);
		for (uint64_t i = 0; i < n; i++) {
			word = kho_vmalloc_ptr(area, i * BLOCK, BLOCK);
			phys[i] = kho_vmalloc_phys(area, word);
			for (uint64_t w = 0; w < BLOCK / 8; w++)
				word[w] = i << 32 | w;
		}
		for (uint32_t round = 1; round <= 4; round++) {
			uint32_t version = 1 + (round + 1) % 2;

			assert_int_equal(can_write(&f, version), 0);
			change(&f, convert(&f, version));
			version_is(&f, area, version);
			assert_ptr_equal(kho_vmalloc_base(area), base);
			check_words(area, n, phys);
			assert_int_equal(pages_info(f.kho).preserved - f.pages,
					 n + (version == 1 ? n / 511 + 1 : 1));
			kho_vmalloc_close(area);
			reattach(&f);
			area = restore(&f, 16 * MIB);
			assert_int_equal(kho_ready(f.kho, NULL), 0);
			assert_int_equal(kho_free_unclaimed(f.kho, NULL), 0);
			version_is(&f, area, version);
			check_words(area, n, phys);
			base = kho_vmalloc_base(area);
		}
		assert_int_equal(kho_vmalloc_destroy(area), 0);
		assert_int_equal(pages_info(f.kho).preserved, f.pages);
		discard(&f);
	}
}

/* ---- Nothing to do ---- */

static void what_is_right_is_not_touched(void **state)
{
	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		struct kho_vmalloc *area, *other;
		void *before, *after;
		struct fixture f;
		size_t len;

		create(&f, 12, 64 * MIB);
		set_version(&f, version);
		area = make_preserved(&f, 5);
		/* What does not survive has no version. */
		other = make(&f, 3);
		before = arena_copy(f.fd, &len);
		assert_int_equal(can_write(&f, 1), 0);
		assert_int_equal(can_write(&f, 2), 0);
		change(&f, convert(&f, version));
		assert_int_equal(kho_vmalloc_version(other), 0);
		assert_int_equal(arena_size(f.fd), len);
		after = arena_copy(f.fd, &len);
		assert_memory_equal(before, after, len);
		free(before);
		free(after);
		kho_vmalloc_close(other);
		kho_vmalloc_close(area);
		discard(&f);
	}
}

static void only_what_is_ours(void **state)
{
	struct kho_vmalloc *area;
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	kho_vmalloc_close(make_preserved(&f, 5));
	reattach(&f);
	area = restore(&f, 0);
	change(&f, convert(&f, 2));
	refused(&f, -EROFS, convert(&f, 1), "read-only");
	assert_int_equal(kho_ready(f.kho, NULL), 0);
	change(&f, convert(&f, 1));
	version_is(&f, area, 1);
	kho_vmalloc_close(area);
	discard(&f);
}

/* ---- Holes ---- */

static void holes_stand_in_the_way(void **state)
{
	struct kho_vmalloc *area, *other = NULL;
	unsigned char image[16];
	struct fixture f;
	char text[128];

	(void)state;
	create(&f, 12, 64 * MIB);
	area = make_preserved(&f, 5);
	change(&f, kho_vmalloc_populate(area, 8 * BLOCK, BLOCK, &f.err));
	memcpy(image, f.desc, 16);
	snprintf(text, sizeof(text),
		 "area at 0x%lx has holes (12288 bytes): populate or drop them",
		 f.phys);
	for (int i = 0; i < 2; i++) {
		refused(&f, -EOPNOTSUPP, can_write(&f, 1), text);
		refused(&f, -EOPNOTSUPP, convert(&f, 1), text);
		assert_memory_equal(image, f.desc, 16);
		assert_int_equal(can_write(&f, 2), 0);
		/* Nobody cares for those of what does not survive. */
		if (!i) {
			other = make(&f, 1);
			change(&f, kho_vmalloc_populate(other, 7 * BLOCK, 1,
							&f.err));
		}
	}
	change(&f, kho_vmalloc_populate(area, 0, 9 * BLOCK, &f.err));
	assert_int_equal(can_write(&f, 1), 0);
	change(&f, convert(&f, 1));
	version_is(&f, area, 1);
	assert_int_equal(kho_vmalloc_version(other), 0);
	/* The other way to get rid of them. */
	change(&f, convert(&f, 2));
	change(&f, kho_vmalloc_punch(area, 2 * BLOCK, 3 * BLOCK, &f.err));
	refused(&f, -EOPNOTSUPP, can_write(&f, 1), "(12288 bytes)");
	change(&f, kho_vmalloc_punch(area, 5 * BLOCK, 4 * BLOCK, &f.err));
	change(&f, convert(&f, 1));
	assert_int_equal(verify(&f).size, 2 * BLOCK);
	kho_vmalloc_close(other);
	kho_vmalloc_close(area);
	discard(&f);
}

/* Nothing is written above the version in effect. */
static void holes_need_version_2(void **state)
{
	struct kho_vmalloc *area;
	unsigned char image[16];
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	set_version(&f, 1);
	area = make(&f, 3);
	change(&f, kho_vmalloc_populate(area, 6 * BLOCK, 1, &f.err));
	refused(&f, -EOPNOTSUPP, kho_vmalloc_preserve(area, f.desc, &f.err),
		"kho_set_version()");
	change(&f, kho_vmalloc_punch(area, 6 * BLOCK, BLOCK, &f.err));
	change(&f, kho_vmalloc_preserve(area, f.desc, &f.err));
	version_is(&f, area, 1);
	memcpy(image, f.desc, 16);
	refused(&f, -EOPNOTSUPP,
		kho_vmalloc_populate(area, 4 * BLOCK, 1, &f.err),
		"kho_set_version()");
	refused(&f, -EOPNOTSUPP,
		kho_vmalloc_punch(area, 1 * BLOCK, BLOCK, &f.err),
		"kho_set_version()");
	assert_memory_equal(image, f.desc, 16);
	assert_int_equal(kho_vmalloc_size(area), 3 * BLOCK);
	change(&f, kho_vmalloc_resize(area, 5 * BLOCK, &f.err));
	change(&f, kho_vmalloc_punch(area, 2 * BLOCK, 9 * BLOCK, &f.err));
	version_is(&f, area, 1);
	/* As it says. */
	set_version(&f, 2);
	change(&f, kho_vmalloc_populate(area, 4 * BLOCK, 1, &f.err));
	version_is(&f, area, 2);
	change(&f, kho_vmalloc_punch(area, 0, BLOCK, &f.err));
	assert_int_equal(verify(&f).populated, 2 * BLOCK);
	assert_int_equal(kho_vmalloc_destroy(area), 0);
	assert_int_equal(pages_info(f.kho).preserved, f.pages);
	discard(&f);
}

/* ---- The version in effect ---- */

static void below_what_is_in_effect(void **state)
{
	struct kho_vmalloc *area;
	unsigned char image[16];
	struct fixture f;
	char *base;

	(void)state;
	for (int way = 0; way < 4; way++) {
		create(&f, 12, 64 * MIB);
		set_version(&f, 1);
		area = make_preserved(&f, 6);
		memset(kho_vmalloc_base(area), 'x', 6 * BLOCK);
		set_version(&f, 2);
		kho_vmalloc_close(area);
		reattach(&f);
		area = restore(&f, 16 * MIB);
		assert_int_equal(kho_ready(f.kho, NULL), 0);
		base = kho_vmalloc_base(area);
		/* It stays as it is while nothing changes. */
		memcpy(image, f.desc, 16);
		base[0] = 'y';
		change(&f, kho_vmalloc_populate(area, BLOCK, BLOCK, &f.err));
		change(&f, kho_vmalloc_punch(area, 7 * BLOCK, BLOCK, &f.err));
		assert_memory_equal(image, f.desc, 16);
		version_is(&f, area, 1);
		/* With a new list it is in the version in effect. */
		if (way == 0)
			change(&f, kho_vmalloc_punch(area, 2 * BLOCK, BLOCK,
						     &f.err));
		else if (way == 1)
			change(&f, kho_vmalloc_punch(area, 5 * BLOCK, BLOCK,
						     &f.err));
		else if (way == 2)
			change(&f, kho_vmalloc_resize(area, 9 * BLOCK, &f.err));
		else
			change(&f, kho_vmalloc_populate(area, 20 * BLOCK, 1,
							&f.err));
		version_is(&f, area, 2);
		assert_int_equal(base[0], 'y');
		assert_int_equal(base[5 * BLOCK - 1], 'x');
		kho_vmalloc_close(area);
		reattach(&f);
		area = restore(&f, 16 * MIB);
		version_is(&f, area, 2);
		kho_vmalloc_close(area);
		discard(&f);
	}
}

/* At freeze: it is agreed on already, but not converted yet. */
static void above_what_is_in_effect(void **state)
{
	struct kho_vmalloc *area;
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	area = make_preserved(&f, 6);
	set_version(&f, 1);
	version_is(&f, area, 2);
	refused(&f, -EOPNOTSUPP,
		kho_vmalloc_populate(area, 9 * BLOCK, 1, &f.err),
		"kho_set_version()");
	refused(&f, -EOPNOTSUPP, kho_vmalloc_punch(area, 0, BLOCK, &f.err),
		"kho_set_version()");
	version_is(&f, area, 2);
	change(&f, kho_vmalloc_resize(area, 8 * BLOCK, &f.err));
	version_is(&f, area, 1);
	assert_int_equal(verify(&f).size, 8 * BLOCK);
	/* What leaves no hole behind will do, and nothing less. */
	set_version(&f, 2);
	change(&f, kho_vmalloc_punch(area, 2 * BLOCK, BLOCK, &f.err));
	change(&f, kho_vmalloc_punch(area, 4 * BLOCK, BLOCK, &f.err));
	set_version(&f, 1);
	refused(&f, -EOPNOTSUPP,
		kho_vmalloc_punch(area, 5 * BLOCK, 3 * BLOCK, &f.err),
		"kho_set_version()");
	refused(&f, -EOPNOTSUPP,
		kho_vmalloc_populate(area, 2 * BLOCK, BLOCK, &f.err),
		"kho_set_version()");
	version_is(&f, area, 2);
	change(&f, kho_vmalloc_punch(area, 3 * BLOCK, 6 * BLOCK, &f.err));
	version_is(&f, area, 1);
	assert_int_equal(verify(&f).size, 2 * BLOCK);
	kho_vmalloc_close(area);
	discard(&f);
}

/* The holes are filled, so version 1 will do: the blocks in their order. */
static void holes_filled_above_what_is_in_effect(void **state)
{
	struct kho_vmalloc *area;
	struct fixture f;
	char *base;

	(void)state;
	create(&f, 12, 64 * MIB);
	area = make_preserved(&f, 6);
	base = kho_vmalloc_base(area);
	for (int i = 0; i < 6; i++)
		memset(base + i * BLOCK, 'a' + i, BLOCK);
	change(&f, kho_vmalloc_punch(area, 1 * BLOCK, BLOCK, &f.err));
	change(&f, kho_vmalloc_punch(area, 3 * BLOCK, BLOCK, &f.err));
	set_version(&f, 1);
	change(&f, kho_vmalloc_populate(area, 1 * BLOCK, 3 * BLOCK, &f.err));
	version_is(&f, area, 1);
	base[1 * BLOCK] = 'b';
	base[3 * BLOCK] = 'd';
	kho_vmalloc_close(area);
	reattach(&f);
	area = restore(&f, 16 * MIB);
	base = kho_vmalloc_base(area);
	for (int i = 0; i < 6; i++)
		assert_int_equal(base[i * BLOCK], 'a' + i);
	kho_vmalloc_close(area);
	discard(&f);
}

/* ---- Out of memory ---- */

static void without_memory(void **state)
{
	struct kho_pages_info before;
	unsigned char image[16];
	struct kho_vmalloc *area;
	void *page, *last = NULL;
	struct fixture f;
	int ret, n;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		create(&f, 12, 8 * MIB);
		set_version(&f, version);
		/* Two chunks in version 1. */
		area = make_preserved(&f, 600);
		for (n = 0;; n++) {
			before = pages_info(f.kho);
			memcpy(image, f.desc, 16);
			fail_in = n;
			ret = convert(&f, 3 - version);
			fail_in = -1;
			if (!ret)
				break;
			refused(&f, -ENOMEM, ret, "the area at 0x");
			assert_memory_equal(image, f.desc, 16);
			assert_int_equal(pages_info(f.kho).allocated,
					 before.allocated);
			assert_int_equal(pages_info(f.kho).preserved,
					 before.preserved);
			version_is(&f, area, version);
		}
		assert_true(n > 1);
		change(&f, convert(&f, version));

		while ((page = kho_alloc_preserve(f.kho, BLOCK)))
			last = page;
		memcpy(image, f.desc, 16);
		before = pages_info(f.kho);
		refused(&f, -ENOSPC, convert(&f, 3 - version), "no room");
		assert_memory_equal(image, f.desc, 16);
		assert_int_equal(pages_info(f.kho).preserved, before.preserved);
		version_is(&f, area, version);
		kho_unpreserve_free(f.kho, last);
		if (version == 2)
			refused(&f, -ENOSPC, convert(&f, 1), "no room");
		change(&f, kho_vmalloc_resize(area, 500 * BLOCK, &f.err));
		change(&f, convert(&f, 3 - version));
		version_is(&f, area, 3 - version);
		kho_vmalloc_close(area);
		discard(&f);
	}
}

/* ---- Several areas ---- */

#define AREAS 6

static void all_areas_are_converted(void **state)
{
	static const struct kho_varray_type type = { "number", 8 };
	struct kho_vmalloc *area[AREAS];
	struct kho_varray *array;
	struct kho_mem_array mem;
	struct kho_vmalloc_stats stats;
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	for (uint64_t i = 0; i < AREAS; i++) {
		area[i] = make(&f, i);
		if (i != 2)
			change(&f, kho_vmalloc_preserve(area[i], &f.desc[i],
							&f.err));
	}
	change(&f, kho_varray_create(f.kho, (void *)&f.desc[AREAS], &type, 1000,
				     &array, &f.err));
	change(&f, kho_varray_resize(array, 1000, &f.err));
	/* What is closed is nobody's to convert. */
	kho_vmalloc_close(area[4]);
	for (uint32_t round = 0; round < 4; round++) {
		uint32_t version = 1 + round % 2;

		change(&f, convert(&f, version));
		mem = arena_bytes(f.kho, f.fd);
		for (uint64_t i = 0; i <= AREAS; i++) {
			if (i == 2)
				continue;
			change(&f, kho_vmalloc_verify(&mem.mem, f.phys + i * 16,
						      &stats, &f.err));
			assert_int_equal(stats.version, i == 4 ? 2 : version);
		}
		assert_int_equal(kho_vmalloc_version(area[2]), 0);
		assert_int_equal(f.desc[2].first.phys, 0);
		assert_int_equal(kho_varray_count(array), 1000);
		change(&f, kho_varray_verify(&mem.mem, f.phys + AREAS * 16,
					     NULL, &f.err));
	}
	/* One that cannot be ends it; then all can go back. */
	change(&f, kho_vmalloc_populate(area[3], 5 * BLOCK, 1, &f.err));
	refused(&f, -EOPNOTSUPP, convert(&f, 1), "holes (8192 bytes)");
	assert_int_equal(kho_vmalloc_version(area[3]), 2);
	change(&f, convert(&f, 2));
	for (int i = 0; i < AREAS; i++)
		if (i != 2 && i != 4)
			assert_int_equal(kho_vmalloc_version(area[i]), 2);
	kho_varray_close(array);
	for (int i = 0; i < AREAS; i++)
		if (i != 4)
			kho_vmalloc_close(area[i]);
	discard(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_every_byte),
		cmocka_unit_test(what_is_right_is_not_touched),
		cmocka_unit_test(only_what_is_ours),
		cmocka_unit_test(holes_stand_in_the_way),
		cmocka_unit_test(holes_need_version_2),
		cmocka_unit_test(below_what_is_in_effect),
		cmocka_unit_test(above_what_is_in_effect),
		cmocka_unit_test(holes_filled_above_what_is_in_effect),
		cmocka_unit_test(without_memory),
		cmocka_unit_test(all_areas_are_converted),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
