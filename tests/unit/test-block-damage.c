// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Damaged and forged chains: what is noticed, and that nothing else happens. */
#include <errno.h>
#include <stdlib.h>

#include "block.h"
#include "base/crc32c.h"

#define BLOCKS 3
#define LAST_ENTRIES 5

/* A copy of an arena with a chain of entries of 64 bytes. */
struct image {
	struct fixture f;
	uint8_t *bytes;
	size_t len;
	uint64_t block[BLOCKS];
	uint64_t capacity;
	size_t header;
	struct kho_block_stats stats;
};

static int image_verify(const struct image *image,
			struct kho_block_stats *stats, struct kho_error *err)
{
	struct kho_mem_array mem =
		kho_mem_array(image->bytes, image->len, 0, 12);
	int ret = kho_block_verify(&mem.mem, image->f.version, 64,
				   image->block[0], stats, err);

	/* Who does not know the version finds the same. */
	assert_int_equal(kho_block_verify(&mem.mem, 0, 64, image->block[0],
					  stats, err),
			 ret);
	return ret;
}

static struct kho_block_v1 *v1_of(struct image *image, int b)
{
	return (void *)(image->bytes + image->block[b]);
}

static struct kho_block_v2 *v2_of(struct image *image, int b)
{
	return (void *)(image->bytes + image->block[b]);
}

static void image_make(struct image *image, uint32_t version)
{
	create(&image->f, 12, version, 64, 1 << 21);
	image->header = version == 1 ? 16 : 24;
	image->capacity = (4096 - image->header) / 64;
	for (uint64_t n = 0; n < 2 * image->capacity + LAST_ENTRIES; n++)
		append(&image->f, n);
	for (uint64_t b = 0; b < BLOCKS; b++)
		image->block[b] = kho_phys(image->f.kho,
					   kho_block_get(image->f.blocks,
							 b * image->capacity)) -
				  image->header;
	image->bytes = arena_copy(image->f.fd, &image->len);
	assert_int_equal(image_verify(image, &image->stats, NULL), 0);
	assert_int_equal(image->stats.entries,
			 2 * image->capacity + LAST_ENTRIES);
}

static void image_free(struct image *image)
{
	free(image->bytes);
	discard(&image->f);
}

/* ---- One byte ---- */

struct walk {
	uint64_t entries;
	bool right;
};

static int look(const void *entry, size_t size, uint64_t index, void *arg)
{
	struct walk *walk = arg;

	walk->right &= index == walk->entries++ &&
		       is_filled(entry, size, index);
	return 0;
}

/* Bytes that say what the entries are. */
static bool means_something(const struct image *image, int b, size_t offset)
{
	uint64_t count = b < BLOCKS - 1 ? image->capacity : LAST_ENTRIES;

	if (image->f.version == 2 && b == BLOCKS - 1 && offset >= 16 &&
	    offset < 24)
		return false;
	return offset < image->header + count * 64;
}

static void check_flip(struct image *image, int b, size_t offset, uint8_t bits)
{
	struct kho_mem_array mem =
		kho_mem_array(image->bytes, image->len, 0, 12);
	struct walk walk = { 0, true };
	struct kho_error err = { 0 };
	int ret;

	image->bytes[image->block[b] + offset] ^= bits;
	ret = kho_block_walk(&mem.mem, below(2) ? image->f.version : 0, 64,
			     image->block[0], look, &walk, &err);
	image->bytes[image->block[b] + offset] ^= bits;
	walk.right &= walk.entries == image->stats.entries;
	if (!means_something(image, b, offset)) {
		assert_int_equal(ret, 0);
		assert_true(walk.right);
	} else if (image->f.version == 2) {
		if (!ret)
			fail_msg("block %d, byte %zu ^ %#x is not noticed", b,
				 offset, bits);
		assert_int_equal(err.code, ret);
		assert_int_equal(strncmp(err.text, "block: at 0x", 12), 0);
	} else {
		/* Version 1 cannot notice everything. */
		assert_true(ret || !walk.right);
	}
}

static void finds_every_damaged_byte(void **state)
{
	struct image image;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		image_make(&image, version);
		for (int b = 0; b < BLOCKS; b++) {
			for (size_t offset = 0; offset < 4096; offset++) {
				for (int bit = 0; bit < 8; bit++)
					check_flip(&image, b, offset,
						   (uint8_t)(1 << bit));
				check_flip(&image, b, offset,
					   (uint8_t)(1 + below(255)));
			}
			for (size_t offset = 0; offset < image.header; offset++)
				for (int bits = 1; bits < 256; bits++)
					check_flip(&image, b, offset,
						   (uint8_t)bits);
		}
		image_free(&image);
	}
}

/* The same on a real arena: restore refuses, and the next try is not worse. */
static void restores_nothing_damaged(void **state)
{
	uint64_t phys, tried = 0;
	struct image image;
	uint8_t byte;

	(void)state;
	image_make(&image, 2);
	detach(&image.f);
	for (int b = 0; b < BLOCKS; b++) {
		for (size_t offset = 0; offset < 4096; offset++) {
			if (!means_something(&image, b, offset) ||
			    (offset >= 40 && below(60)))
				continue;
			phys = image.block[b] + offset;
			byte = image.bytes[phys] ^ (uint8_t)(1 + below(255));
			assert_int_equal(pwrite(image.f.fd, &byte, 1,
						(off_t)phys),
					 1);
			attach(&image.f);
			assert_true(try_restore(&image.f) < 0);
			kho_close(image.f.kho);
			assert_int_equal(pwrite(image.f.fd, &image.bytes[phys],
						1, (off_t)phys),
					 1);
			tried++;
		}
	}
	assert_true(tried > 100);
	attach(&image.f);
	restore(&image.f);
	assert_int_equal(kho_block_count(image.f.blocks), image.stats.entries);
	image_free(&image);
}

/* ---- Forged, with the right CRC ---- */

static void seal(struct image *image, int b, uint32_t low)
{
	struct kho_block_v2 *v2 = v2_of(image, b);
	uint64_t count = low & KHO_BLOCK_COUNT_MASK;
	uint64_t next = low & KHO_BLOCK_LINKED ? v2->next.phys : 0;
	uint32_t crc;

	if (count > 4072 / 64)
		count = 4072 / 64;
	crc = crc32c_more(0, v2, 8);
	crc = crc32c_more(crc, v2 + 1, count * 64);
	crc = crc32c_more(crc, &next, 8);
	crc = crc32c_more(crc, &low, 4);
	v2->commit = (uint64_t)crc << 32 | low;
}

/* With @field forged, verify returns @code. */
static void forge(struct image *image, int b, void *field, size_t size,
		  uint64_t value, uint32_t low, int code)
{
	uint8_t saved[24], *block = image->bytes + image->block[b];
	struct kho_error err = { 0 };
	int ret;

	memcpy(saved, block, sizeof(saved));
	memcpy(field, &value, size);
	if (image->f.version == 2)
		seal(image, b, low);
	ret = image_verify(image, NULL, &err);
	memcpy(block, saved, sizeof(saved));
	if (ret != code || (code && err.code != code))
		fail_msg("v%u, block %d, 0x%lx: %d instead of %d: %s",
			 image->f.version, b, value, ret, code, err.text);
	assert_int_equal(image_verify(image, NULL, NULL), 0);
}

static void forge_next(struct image *image, int b, uint64_t value, int code)
{
	if (image->f.version == 1)
		forge(image, b, &v1_of(image, b)->next, 8, value, 0, code);
	else
		forge(image, b, &v2_of(image, b)->next, 8, value,
		      63 | KHO_BLOCK_LINKED, code);
}

static void finds_what_is_forged(void **state)
{
	struct kho_block_v2 *v2;
	struct image image;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		image_make(&image, version);
		/* The page of the root has zeros. */
		forge_next(&image, 0, image.f.root_phys, -EBADMSG);
		forge_next(&image, 0, image.block[1] + 8, -EBADMSG);
		forge_next(&image, 0, 1ull << 40, -EFAULT);
		forge_next(&image, 0, ~0xfffull, -EFAULT);
		forge_next(&image, 0, UINT64_MAX, -EBADMSG);
		forge_next(&image, 0, image.block[0], -ELOOP);
		forge_next(&image, 1, image.block[1], -ELOOP);
		forge_next(&image, 1, image.block[0], -ELOOP);
		/* One block less cannot be seen, when the CRC says so. */
		forge_next(&image, 0, image.block[2], 0);
		image_free(&image);
	}

	image_make(&image, 1);
	forge(&image, 1, &v1_of(&image, 1)->count, 8, 0, 0, -EBADMSG);
	forge(&image, 1, &v1_of(&image, 1)->count, 8, 64, 0, -EBADMSG);
	forge(&image, 1, &v1_of(&image, 1)->count, 8, 1ull << 32 | 1, 0,
	      -EBADMSG);
	forge(&image, 1, &v1_of(&image, 1)->count, 8, UINT64_MAX, 0, -EBADMSG);
	forge(&image, 1, &v1_of(&image, 1)->count, 8, 1, 0, 0);
	forge(&image, 2, &v1_of(&image, 2)->next, 8, image.block[0], 0, -ELOOP);
	image_free(&image);

	image_make(&image, 2);
	v2 = v2_of(&image, 1);
	forge(&image, 1, &v2->magic, 4, 0, 63 | KHO_BLOCK_LINKED, -EBADMSG);
	forge(&image, 1, &v2->entry_size, 4, 0, 63 | KHO_BLOCK_LINKED,
	      -EBADMSG);
	forge(&image, 1, &v2->entry_size, 4, UINT32_MAX, 63 | KHO_BLOCK_LINKED,
	      -EBADMSG);
	forge(&image, 1, &v2->next, 8, 0, 63 | KHO_BLOCK_LINKED, -EBADMSG);
	forge(&image, 1, &v2->next, 8, image.block[2], KHO_BLOCK_LINKED,
	      -EBADMSG);
	forge(&image, 1, &v2->next, 8, image.block[2], 62 | KHO_BLOCK_LINKED,
	      -EBADMSG);
	forge(&image, 1, &v2->next, 8, image.block[2], 64 | KHO_BLOCK_LINKED,
	      -EBADMSG);
	forge(&image, 1, &v2->next, 8, image.block[2], UINT32_MAX, -EBADMSG);
	forge(&image, 1, &v2->next, 8, 0, 0, -EBADMSG);
	forge(&image, 1, &v2->next, 8, 0, 64, -EBADMSG);
	forge(&image, 1, &v2->next, 8, 0, 1, 0);
	forge(&image, 2, &v2_of(&image, 2)->next, 8, image.block[0],
	      63 | KHO_BLOCK_LINKED, -ELOOP);
	image_free(&image);
}

/* Without an entry size, a forged one is not believed either. */
static void asks_the_block_for_the_size(void **state)
{
	static const uint32_t sizes[] = { 0, 4073, 1u << 31, UINT32_MAX };
	struct kho_mem_array mem;
	struct image image;

	(void)state;
	image_make(&image, 2);
	mem = kho_mem_array(image.bytes, image.len, 0, 12);
	assert_int_equal(kho_block_verify(&mem.mem, 2, 0, image.block[0], NULL,
					  NULL),
			 0);
	for (int i = 0; i < 4; i++) {
		v2_of(&image, 0)->entry_size = sizes[i];
		seal(&image, 0, 63 | KHO_BLOCK_LINKED);
		for (uint32_t version = 0; version <= 2; version += 2)
			assert_int_equal(kho_block_verify(&mem.mem, version, 0,
							  image.block[0], NULL,
							  NULL),
					 -EBADMSG);
	}
	image_free(&image);
}

/* ---- Versions ---- */

/* A first word that is neither a phys nor a magic, or another one's magic. */
static void no_version(void **state)
{
	static const uint64_t words[] = { 1, 0x4b4c424c, 0x800, UINT64_MAX };
	struct kho_error err;
	struct image image;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		image_make(&image, version);
		for (int i = 0; i < 4; i++) {
			memcpy(image.bytes + image.block[0], &words[i], 8);
			assert_int_equal(image_verify(&image, NULL, &err),
					 -EBADMSG);
			assert_non_null(
				strstr(err.text, "any of the versions"));
		}
		image_free(&image);
	}
}

/* All blocks are of the first one's version. */
static void mixed_versions(void **state)
{
	uint8_t page[4096];
	struct image v1, v2;

	(void)state;
	image_make(&v1, 1);
	image_make(&v2, 2);
	for (int b = 1; b < BLOCKS; b++) {
		uint8_t *one = v1.bytes + v1.block[b];
		uint8_t *two = v2.bytes + v2.block[b];

		memcpy(page, one, sizeof(page));
		memcpy(one, two, sizeof(page));
		assert_int_equal(image_verify(&v1, NULL, NULL), -EBADMSG);
		memcpy(one, page, sizeof(page));
		memcpy(page, two, sizeof(page));
		memcpy(two, one, sizeof(page));
		assert_int_equal(image_verify(&v2, NULL, NULL), -EBADMSG);
		memcpy(two, page, sizeof(page));
	}
	assert_int_equal(image_verify(&v1, NULL, NULL), 0);
	assert_int_equal(image_verify(&v2, NULL, NULL), 0);
	image_free(&v1);
	image_free(&v2);
}

/* ---- Cycles ---- */

#define CYCLE_BLOCKS 100

struct counted_mem {
	struct kho_mem mem;
	const struct kho_mem *under;
	uint64_t reads;
};

static int counted_read(const struct kho_mem *mem, uint64_t phys, void *buf,
			size_t len)
{
	struct counted_mem *counted = (struct counted_mem *)(uintptr_t)mem;

	counted->reads++;
	return counted->under->read(counted->under, phys, buf, len);
}

/* Whatever block the last one leads back to, it is noticed soon. */
static void finds_every_cycle(void **state)
{
	uint8_t *bytes = calloc(CYCLE_BLOCKS + 1, 4096);
	struct kho_mem_array mem =
		kho_mem_array(bytes, (CYCLE_BLOCKS + 1) * 4096, 0, 12);
	struct counted_mem counted = {
		.mem = { .read = counted_read, .page_shift = 12 },
		.under = &mem.mem,
	};
	struct kho_block_stats stats;
	struct kho_block_v1 *block;

	(void)state;
	for (uint64_t i = 1; i <= CYCLE_BLOCKS; i++) {
		block = (void *)(bytes + i * 4096);
		block->count = 1;
		block->next.phys = i < CYCLE_BLOCKS ? (i + 1) * 4096 : 0;
	}
	assert_int_equal(kho_block_verify(&mem.mem, 1, 8, 4096, &stats, NULL),
			 0);
	assert_int_equal(stats.blocks, CYCLE_BLOCKS);
	for (uint64_t back = 1; back <= CYCLE_BLOCKS; back++) {
		block->next.phys = back * 4096;
		counted.reads = 0;
		assert_int_equal(kho_block_verify(&counted.mem, 1, 8, 4096,
						  NULL, NULL),
				 -ELOOP);
		/* Two for each block. */
		assert_true(counted.reads <= 2 * 4 * CYCLE_BLOCKS);
	}
	free(bytes);
}

/* A phys that is no block, and memory that ends too early. */
static void stays_inside_the_view(void **state)
{
	uint64_t first, last = 0;
	struct image image;
	size_t len;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		image_make(&image, version);
		first = image.block[0];
		image.block[0] = first + 8;
		assert_int_equal(image_verify(&image, NULL, NULL), -EBADMSG);
		image.block[0] = image.f.root_phys;
		assert_int_equal(image_verify(&image, NULL, NULL), -EBADMSG);
		image.block[0] = ~0xfffull;
		assert_int_equal(image_verify(&image, NULL, NULL), -EFAULT);
		image.block[0] = image.len;
		assert_int_equal(image_verify(&image, NULL, NULL), -EFAULT);
		image.block[0] = first;

		last = 0;
		for (uint64_t b = 0; b < BLOCKS; b++) {
			uint64_t n = b < 2 ? image.capacity : LAST_ENTRIES;
			uint64_t end = image.block[b] + image.header + n * 64;

			last = end > last ? end : last;
		}
		len = image.len;
		for (image.len = last - 500; image.len < last; image.len++)
			assert_int_equal(image_verify(&image, NULL, NULL),
					 -EFAULT);
		assert_int_equal(image_verify(&image, NULL, NULL), 0);
		image.len = len;
		image_free(&image);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_every_damaged_byte),
		cmocka_unit_test(restores_nothing_damaged),
		cmocka_unit_test(finds_what_is_forged),
		cmocka_unit_test(asks_the_block_for_the_size),
		cmocka_unit_test(no_version),
		cmocka_unit_test(mixed_versions),
		cmocka_unit_test(finds_every_cycle),
		cmocka_unit_test(stays_inside_the_view),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
