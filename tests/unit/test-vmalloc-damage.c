// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Damaged areas: every byte of descriptor and lists in turn, and what an
 * attacker would write, with right checksums.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "vmalloc.h"

#define LISTS_MAX 4

/* A piece of an area, as kho_vmalloc_walk() finds it. */
struct piece {
	uint64_t offset, phys, size;
};

struct pieces {
	struct piece piece[600];
	size_t n;
};

/* A copy of an arena with an area. */
struct image {
	struct fixture f;
	char *bytes;
	size_t len;
	uint64_t list[LISTS_MAX]; /* in the order of the chain */
	size_t lists;
	uint32_t version;
	struct pieces pieces;
};

static int note_piece(uint64_t offset, uint64_t phys, uint64_t size, void *arg)
{
	struct pieces *pieces = arg;

	assert_true(pieces->n < 600);
	pieces->piece[pieces->n++] = (struct piece){ offset, phys, size };
	return 0;
}

static int image_walk(struct image *image, struct pieces *pieces,
		      struct kho_error *err)
{
	struct kho_mem_array mem =
		kho_mem_array(image->bytes, image->len, 0, 12);

	memset(pieces, 0, sizeof(*pieces));
	return kho_vmalloc_walk(&mem.mem, image->f.phys, note_piece, pieces,
				err);
}

static uint64_t get(struct image *image, uint64_t phys)
{
	uint64_t value;

	memcpy(&value, image->bytes + phys, 8);
	return value;
}

/* @n blocks of @pages, and none is what follows another one in memory. */
static void image_make(struct image *image, uint32_t version, uint64_t pages,
		       uint64_t n)
{
	struct kho_vmalloc *area;
	struct fixture *f = &image->f;
	uint64_t list, block = pages << 12;
	void *gap;

	memset(image, 0, sizeof(*image));
	image->version = version;
	create(f, 12, 32 * MIB);
	assert_int_equal(kho_vmalloc_create(f->kho, 2 * n * block, block, &area,
					    NULL),
			 0);
	set_version(f, version);
	assert_int_equal(kho_vmalloc_preserve(area, f->desc, NULL), 0);
	for (uint64_t i = 0; i < n; i++) {
		/* Not preserved: gone when the arena is attached again. */
		gap = kho_alloc_pages(f->kho, pages);
		assert_non_null(gap);
		if (kho_vmalloc_populate(area,
					 (version == 1 ? i : 2 * i) * block, 1,
					 &f->err))
			fail_msg("%s", f->err.text);
	}
	image->bytes = arena_copy(f->fd, &image->len);
	for (list = get(image, f->phys); list;
	     list = get(image, list + (version == 1 ? 0 : 8))) {
		assert_true(image->lists < LISTS_MAX);
		image->list[image->lists++] = list;
	}
	assert_int_equal(image_walk(image, &image->pieces, NULL), 0);
	assert_int_equal(image->pieces.n, n);
	kho_vmalloc_close(area);
	kho_close(f->kho);
}

static void image_free(struct image *image)
{
	free(image->bytes);
	close(image->f.fd);
}

/* The arena itself has one byte changed: is it restored all the same? */
static bool restores(struct image *image, uint64_t phys, char byte)
{
	struct fixture *f = &image->f;
	struct kho_vmalloc *area;
	int ret;

	assert_int_equal(pwrite(f->fd, &byte, 1, (off_t)phys), 1);
	attach(f);
	ret = kho_vmalloc_restore(f->kho, f->desc, 0, &area, &f->err);
	if (ret)
		fails(f, ret, ret);
	else
		kho_vmalloc_close(area);
	kho_close(f->kho);
	assert_int_equal(pwrite(f->fd, &image->bytes[phys], 1, (off_t)phys), 1);
	return ret == 0;
}

struct outcome {
	int found, refused, harmless;
};

/* Found, or of no effect; or, in version 1 only, refused by restore. */
static void check_flip(struct image *image, uint64_t phys, char bits,
		       struct outcome *outcome)
{
	struct kho_error err = { 0 };
	struct pieces pieces;
	int ret;

	image->bytes[phys] ^= bits;
	ret = image_walk(image, &pieces, &err);
	image->bytes[phys] ^= bits;
	if (ret) {
		assert_int_equal(err.code, ret);
		assert_int_equal(strncmp(err.text, "vmalloc: at 0x", 14), 0);
		outcome->found++;
	} else if (!memcmp(&pieces, &image->pieces, sizeof(pieces))) {
		outcome->harmless++;
	} else {
		if (restores(image, phys, image->bytes[phys] ^ bits))
			fail_msg("byte 0x%llx ^ 0x%x is not noticed",
				 (unsigned long long)phys, bits & 0xff);
		outcome->refused++;
	}
}

static struct outcome check_page(struct image *image, uint64_t page,
				 uint64_t all)
{
	struct outcome outcome = { 0 };

	for (uint64_t i = 0; i < 4096; i++)
		if (i < all)
			for (int bits = 1; bits < 256; bits++)
				check_flip(image, page + i, (char)bits,
					   &outcome);
		else
			check_flip(image, page + i, (char)(1 + below(255)),
				   &outcome);
	return outcome;
}

static void damaged_v2(void **state)
{
	struct outcome outcome;
	struct image image;

	(void)state;
	image_make(&image, 2, 1, 2 * 169 + 5);
	assert_int_equal(image.lists, 3);
	outcome = check_page(&image, image.f.phys, 24);
	/* Every change of the descriptor is found; the rest is not ours. */
	assert_int_equal(outcome.found, 16 * 255);
	assert_int_equal(outcome.refused, 0);
	outcome = check_page(&image, image.list[0], 24 * 7);
	assert_int_equal(outcome.found, 24 * 6 * 255);
	assert_int_equal(outcome.refused, 0);
	for (int i = 1; i < 3; i++) {
		outcome = check_page(&image, image.list[i], 24 * 4);
		/* 16 bytes behind the last run are of no use. */
		assert_int_equal(outcome.harmless, 16);
		assert_int_equal(outcome.refused, 0);
	}
	image_free(&image);
}

/* Linux's format has no checksum; the tracker knows what it cannot tell. */
static void damaged_v1(void **state)
{
	struct outcome outcome;
	struct image image;

	(void)state;
	image_make(&image, 1, 1, 20);
	outcome = check_page(&image, image.f.phys, 16);
	/* Without effect: bit 1 of the flags, bit 0, and both. */
	assert_in_range(outcome.harmless, 4096 - 16 + 1, 4096 - 16 + 3);
	outcome = check_page(&image, image.list[0], 24 * 8);
	assert_true(outcome.refused > 300);
	assert_true(outcome.found > 1000);
	image_free(&image);

	image_make(&image, 1, 4, 511);
	assert_int_equal(image.lists, 2);
	check_page(&image, image.f.phys, 16);
	outcome = check_page(&image, image.list[0], 0);
	/* Any page of zeros is as good an empty chunk as the next one. */
	assert_in_range(outcome.harmless, 0, 8);
	outcome = check_page(&image, image.list[1], 16);
	/* Behind the terminating zero is nothing. */
	assert_true(outcome.harmless >= 4096 - 16);
	image_free(&image);
}

/* The same on a real arena: restore refuses, and the next try is not worse. */
static void restores_nothing_damaged(void **state)
{
	struct kho_vmalloc *area;
	struct image image;
	uint64_t phys;

	(void)state;
	image_make(&image, 2, 2, 12);
	for (phys = 0; phys < 16; phys++)
		assert_false(restores(&image, image.f.phys + phys,
				      image.bytes[image.f.phys + phys] ^
					      (char)(1 + below(255))));
	for (phys = 0; phys < 24 * 13; phys++)
		assert_false(restores(&image, image.list[0] + phys,
				      image.bytes[image.list[0] + phys] ^
					      (char)(1 + below(255))));
	attach(&image.f);
	area = restore(&image.f, 0);
	assert_int_equal(kho_vmalloc_populated(area), 12 * 8192);
	assert_int_equal(pages_info(image.f.kho).unclaimed, 0);
	kho_vmalloc_close(area);
	kho_close(image.f.kho);
	image_free(&image);
}

/* ---- With right checksums ---- */

static struct kho_vmalloc_desc_v2 *image_desc(struct image *image)
{
	return (void *)(image->bytes + image->f.phys);
}

static struct kho_vmalloc_list *image_list(struct image *image, int i)
{
	return (void *)(image->bytes + image->list[i]);
}

/* Version 1 has nothing to be sealed. */
static void seal(struct image *image)
{
	struct kho_vmalloc_desc_v2 *desc = image_desc(image);

	if (image->version == 1)
		return;
	desc->crc = 0;
	desc->crc = crc32c(desc, sizeof(*desc));
	for (size_t i = 0; i < image->lists; i++) {
		struct kho_vmalloc_list *list = image_list(image, (int)i);

		list->crc = crc32c(list, offsetof(typeof(*list), crc));
		for (int r = 0; r < 169; r++)
			list->run[r].crc =
				crc32c(&list->run[r],
				       offsetof(struct kho_vmalloc_run, crc));
	}
}

static void forge(struct image *image, const char *name, void *field,
		  size_t size, uint64_t value, int code)
{
	struct kho_error err = { 0 };
	struct pieces pieces;
	uint64_t saved;
	int ret;

	memcpy(&saved, field, size);
	memcpy(field, &value, size);
	seal(image);
	ret = image_walk(image, &pieces, &err);
	if (ret != code || err.code != code)
		fail_msg("%s: %d instead of %d: %s", name, ret, code, err.text);
	memcpy(field, &saved, size);
	seal(image);
	assert_int_equal(image_walk(image, &pieces, NULL), 0);
}

/* With @field forged to be @value, verify returns @code. */
#define FORGE(field, value, code)                                              \
	forge(&image, #field " = " #value, &(field), sizeof(field), value, code)

static void forged_v2(void **state)
{
	struct kho_vmalloc_list *l0, *l1, *l2;
	struct kho_vmalloc_desc_v2 *desc;
	struct image image;

	(void)state;
	image_make(&image, 2, 2, 2 * 169 + 5);
	desc = image_desc(&image);
	l0 = image_list(&image, 0);
	l1 = image_list(&image, 1);
	l2 = image_list(&image, 2);
	FORGE(desc->first.phys, image.list[0] + 8, -EBADMSG);
	FORGE(desc->first.phys, 1ull << 40, -EFAULT);
	FORGE(desc->first.phys, ~0xfffull, -EFAULT);
	FORGE(desc->first.phys, 0, -EBADMSG);
	FORGE(desc->first.phys, image.f.phys, -EBADMSG);
	FORGE(desc->flags, 0x8003, -EPROTONOSUPPORT);
	FORGE(desc->flags, 0x8001, -EPROTONOSUPPORT);
	FORGE(desc->flags, 0x8000, -EPROTONOSUPPORT);
	FORGE(desc->flags, 0xffff, -EPROTONOSUPPORT);
	FORGE(desc->flags, 0x0002, -EBADMSG);
	FORGE(desc->flags, 0x0004, -EPROTONOSUPPORT);
	FORGE(desc->runs, 170, -EBADMSG);
	FORGE(desc->runs, 65535, -EBADMSG);
	FORGE(desc->runs, 6, -EBADMSG);
	FORGE(l2->next.phys, image.list[0], -EBADMSG);
	FORGE(l2->next.phys, image.list[1], -ELOOP);
	FORGE(l2->next.phys, image.list[2], -ELOOP);
	FORGE(l0->next.phys, image.list[0], -ELOOP);
	FORGE(l0->next.phys, 1, -EBADMSG);
	FORGE(l1->order, 2, -EBADMSG);
	FORGE(l0->order, 19, -EBADMSG);
	FORGE(l0->order, 65535, -EBADMSG);
	FORGE(l1->reserved, 1, -EBADMSG);
	FORGE(l1->magic, KHO_VMALLOC_LIST_MAGIC + 1, -EBADMSG);
	FORGE(l1->run[7].phys, 0, -EBADMSG);
	FORGE(l1->run[7].phys, l1->run[7].phys + 4096, -EBADMSG);
	FORGE(l1->run[7].phys, l2->run[7].phys, -EBADMSG);
	FORGE(l1->run[7].phys, image.list[0] & ~0x1fffull, -EBADMSG);
	FORGE(l1->run[7].phys, ~0x1fffull, -EFAULT);
	FORGE(l1->run[7].phys, image.len, -EFAULT);
	FORGE(l1->run[7].index, l2->run[7].index, -EBADMSG);
	FORGE(l1->run[7].index, l1->run[7].index + 1, -EBADMSG);
	FORGE(l1->run[7].index, ~1ull, -EBADMSG);
	FORGE(l1->run[7].index, KHO_VMALLOC_MAX_PAGES, -EBADMSG);
	FORGE(l1->run[7].index, KHO_VMALLOC_MAX_PAGES - 2, 0);
	FORGE(l1->run[7].pages, 0, -EBADMSG);
	FORGE(l1->run[7].pages, 3, -EBADMSG);
	FORGE(l1->run[7].pages, 6, -EBADMSG);
	FORGE(l1->run[7].pages, 0x10000000, -EFAULT);
	image_free(&image);
}

static void forged_v1(void **state)
{
	struct kho_vmalloc_chunk *c0, *c1;
	struct kho_vmalloc_desc *desc;
	struct image image;

	(void)state;
	image_make(&image, 1, 2, 511 + 5);
	desc = (void *)image_desc(&image);
	c0 = (void *)image_list(&image, 0);
	c1 = (void *)image_list(&image, 1);
	FORGE(desc->first.phys, 0, -EBADMSG);
	FORGE(desc->first.phys, 8, -EBADMSG);
	FORGE(desc->first.phys, 1ull << 40, -EFAULT);
	FORGE(desc->first.phys, image.list[1], -EBADMSG);
	FORGE(desc->total_pages, 0, -EBADMSG);
	FORGE(desc->total_pages, 2 * 515, -EBADMSG);
	FORGE(desc->total_pages, 2 * 516 + 1, -EBADMSG);
	FORGE(desc->total_pages, UINT32_MAX, -EBADMSG);
	FORGE(desc->flags, 4, -EPROTONOSUPPORT);
	FORGE(desc->flags, 0, 0);
	FORGE(desc->order, 0, -EBADMSG);
	FORGE(desc->order, 2, -EBADMSG);
	FORGE(desc->order, 19, -EBADMSG);
	FORGE(desc->order, 64, -EBADMSG);
	FORGE(desc->order, 65535, -EBADMSG);
	FORGE(c0->next.phys, 0, -EBADMSG);
	FORGE(c0->next.phys, image.list[0], -ELOOP);
	FORGE(c1->next.phys, image.list[0], -EBADMSG);
	FORGE(c0->phys[3], 0, -EBADMSG);
	FORGE(c0->phys[3], c0->phys[4], -EBADMSG);
	FORGE(c0->phys[3], image.list[0] & ~0x1fffull, -EBADMSG);
	FORGE(c0->phys[3], ~0x1fffull, -EFAULT);
	FORGE(c0->phys[3], c0->phys[3] + 4096, -EBADMSG);
	FORGE(c1->phys[4], c0->phys[3], -EBADMSG);
	image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_v2),
		cmocka_unit_test(damaged_v1),
		cmocka_unit_test(restores_nothing_damaged),
		cmocka_unit_test(forged_v2),
		cmocka_unit_test(forged_v1),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
