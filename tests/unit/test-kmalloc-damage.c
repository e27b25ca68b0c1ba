// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Damaged caches: every byte of head, header and map in turn, and what an
 * attacker would write, with right checksums.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include <kho/abi/kmalloc.h>

#include "base/crc32c.h"
#include "kmalloc.h"

#define IMAGE_SLABS 3

/* A copy of a small cache: head, and slabs of 8, 100 and 2000 bytes. */
struct image {
	struct fixture f;
	char *bytes;
	size_t len;
	uint64_t slab[IMAGE_SLABS]; /* in the order of the chain */
	struct kho_kmem_stats stats;
};

static struct kho_kmalloc_head *image_head(struct image *image)
{
	return (void *)(image->bytes + image->f.phys);
}

static struct kho_kmalloc_slab *image_slab(struct image *image, int i)
{
	return (void *)(image->bytes + image->slab[i]);
}

static int image_verify(struct image *image, struct kho_kmem_stats *stats,
			struct kho_error *err)
{
	struct kho_mem_array mem =
		kho_mem_array(image->bytes, image->len, 0, 12);

	return kho_kmem_verify(&mem.mem, image->f.phys, stats, err);
}

static void image_make(struct image *image)
{
	static const size_t size[] = { 2000, 100, 8 };
	uint64_t link;

	create(&image->f, 12, 1 << 26);
	/* The head shall not be where a link could not point to anyway. */
	while (image->f.phys < 65536) {
		kho_kmem_close(image->f.kmem);
		assert_int_equal(kho_kmem_create(image->f.kho, &image->f.kmem,
						 NULL),
				 0);
		image->f.phys = kho_kmem_phys(image->f.kmem);
	}
	for (int s = 0; s < 3; s++)
		for (int i = 0; i < 20; i++)
			assert_non_null(kho_kmalloc(image->f.kmem, size[s]));
	image->bytes = arena_copy(image->f.fd, &image->len);
	link = image_head(image)->slabs;
	for (int s = 0; s < IMAGE_SLABS; s++) {
		image->slab[s] = link & ~0xffffull;
		link = image_slab(image, s)->next;
	}
	assert_int_equal(link & ~0xffffull, 0);
	assert_int_equal(image_verify(image, &image->stats, NULL), 0);
	assert_int_equal(image->stats.objects, 60);
	assert_int_equal(image->stats.slabs, 3);
	assert_int_equal(image->stats.slab_size, 65536);
	assert_int_equal(image->stats.bytes, 20 * (2048 + 112 + 8));
}

static void image_free(struct image *image)
{
	free(image->bytes);
	discard(&image->f);
}

static size_t metadata_size(struct image *image, int slab)
{
	struct kho_kmalloc_slab *hdr = image_slab(image, slab);

	return sizeof(*hdr) + (hdr->objects + 31) / 32 * sizeof(uint64_t);
}

/* Bytes that say what is allocated; the others are contents, or nothing. */
static bool is_metadata(struct image *image, uint64_t phys)
{
	if (phys >= image->f.phys &&
	    phys < image->f.phys + sizeof(struct kho_kmalloc_head))
		return true;
	for (int s = 0; s < IMAGE_SLABS; s++)
		if (phys >= image->slab[s] &&
		    phys < image->slab[s] + metadata_size(image, s))
			return true;
	return false;
}

static void check_flip(struct image *image, uint64_t phys, char bits)
{
	struct kho_kmem_stats stats;
	struct kho_error err = { 0 };
	int ret;

	image->bytes[phys] ^= bits;
	ret = image_verify(image, &stats, &err);
	image->bytes[phys] ^= bits;
	if (is_metadata(image, phys)) {
		if (!ret)
			fail_msg("byte 0x%" PRIx64 " ^ 0x%x is not noticed",
				 phys, bits & 0xff);
		assert_int_equal(err.code, ret);
		assert_int_equal(strncmp(err.text, "kmalloc: at 0x", 14), 0);
	} else {
		assert_int_equal(ret, 0);
		assert_memory_equal(&stats, &image->stats, sizeof(stats));
	}
}

static void finds_every_damaged_byte(void **state)
{
	struct image image;
	uint64_t base, phys;

	(void)state;
	image_make(&image);
	for (int s = -1; s < IMAGE_SLABS; s++) {
		base = s < 0 ? image.f.phys : image.slab[s];
		for (phys = base; phys < base + (s < 0 ? 4096 : 65536);
		     phys++) {
			check_flip(&image, phys, (char)(1 + below(255)));
			if (!is_metadata(&image, phys))
				continue;
			for (int bits = 1; bits < 256; bits++)
				check_flip(&image, phys, (char)bits);
		}
	}
	image_free(&image);
}

/* The same on a real arena: restore refuses, and the next try is not worse. */
static void restores_nothing_damaged(void **state)
{
	struct kho_kmem *kmem;
	struct image image;
	uint64_t phys;
	char byte;
	int tried = 0;

	(void)state;
	image_make(&image);
	detach(&image.f);
	for (phys = 0; phys < image.len; phys++) {
		if (!is_metadata(&image, phys))
			continue;
		/* Of the long map of 8 byte objects, some will do. */
		if (phys > image.slab[0] + 100 &&
		    phys < image.slab[0] + metadata_size(&image, 0) - 20 &&
		    below(20))
			continue;
		byte = image.bytes[phys] ^ (char)(1 + below(255));
		assert_int_equal(pwrite(image.f.fd, &byte, 1, (off_t)phys), 1);
		attach(&image.f);
		assert_true(kho_kmem_restore(image.f.kho, image.f.phys, &kmem,
					     &image.f.err) < 0);
		kho_close(image.f.kho);
		assert_int_equal(pwrite(image.f.fd, &image.bytes[phys], 1,
					(off_t)phys),
				 1);
		tried++;
	}
	assert_true(tried > 300);
	attach(&image.f);
	restore(&image.f);
	assert_int_equal(count(&image.f), 60);
	image_free(&image);
}

static uint64_t make_link(uint64_t phys)
{
	return phys | ((phys >> 16 ^ phys >> 32 ^ phys >> 48 ^
			KHO_KMALLOC_LINK_CHECK) &
		       0xffff);
}

/* Make the checksums right again, as an attacker would. */
static void seal(struct image *image)
{
	struct kho_kmalloc_head *head = image_head(image);

	head->crc = crc32c(head, offsetof(struct kho_kmalloc_head, crc));
	for (int s = 0; s < IMAGE_SLABS; s++)
		image_slab(image, s)->crc =
			crc32c(image_slab(image, s),
			       offsetof(struct kho_kmalloc_slab, crc));
}

static void forge(struct image *image, const char *name, void *field,
		  size_t size, uint64_t value, int code)
{
	struct kho_error err = { 0 };
	uint64_t saved;
	int ret;

	memcpy(&saved, field, size);
	memcpy(field, &value, size);
	seal(image);
	ret = image_verify(image, NULL, &err);
	if (ret != code || err.code != code)
		fail_msg("%s: %d instead of %d: %s", name, ret, code, err.text);
	memcpy(field, &saved, size);
	seal(image);
	assert_int_equal(image_verify(image, NULL, NULL), 0);
}

/* With @field forged to be @value, verify returns @code. */
#define FORGE(field, value, code)                                              \
	forge(&image, #field " = " #value, &(field), sizeof(field), value, code)

static void finds_what_is_forged(void **state)
{
	struct kho_kmalloc_slab *s0, *s1, *s2;
	struct kho_kmalloc_head *head;
	struct image image;
	uint64_t *map;

	(void)state;
	image_make(&image);
	head = image_head(&image);
	s0 = image_slab(&image, 0);
	s1 = image_slab(&image, 1);
	s2 = image_slab(&image, 2);
	map = (uint64_t *)(s0 + 1);

	FORGE(head->version, 2, -EPROTONOSUPPORT);
	FORGE(head->reserved, 1, -EBADMSG);
	FORGE(head->slab_shift, 15, -EBADMSG);
	FORGE(head->slab_shift, 24, -EBADMSG);
	FORGE(head->slab_shift, 25, -EBADMSG);
	FORGE(head->slab_shift, UINT32_MAX, -EBADMSG);

	FORGE(s2->next, make_link(image.slab[0]), -ELOOP);
	FORGE(s2->next, make_link(image.slab[1]), -ELOOP);
	FORGE(s1->next, make_link(image.slab[1]), -ELOOP);
	FORGE(s0->next, make_link(image.slab[0]), -ELOOP);
	FORGE(s1->next, make_link(1ull << 40), -EFAULT);
	FORGE(s1->next, make_link(~0xffffull), -EFAULT);
	FORGE(s1->next, make_link(image.len - 65536), -EBADMSG);
	FORGE(s1->next, make_link(image.f.phys & ~0xffffull), -EBADMSG);
	FORGE(s1->next, 0, -EBADMSG);
	FORGE(head->slabs, 0, -EBADMSG);

	FORGE(s2->head.phys, image.f.phys + 4096, -EBADMSG);
	FORGE(s0->size, 0, -EBADMSG);
	FORGE(s0->size, 9, -EBADMSG);
	FORGE(s0->size, 16, -EBADMSG);
	FORGE(s0->size, 4096, -EBADMSG);
	FORGE(s0->size, UINT32_MAX & ~7u, -EBADMSG);
	FORGE(s0->objects, 0, -EBADMSG);
	FORGE(s0->objects, s0->objects + 1, -EBADMSG);
	FORGE(s0->objects, UINT32_MAX, -EBADMSG);
	/* Then there are bits beyond the last object. */
	FORGE(s0->objects, s0->objects - 1, -EBADMSG);
	FORGE(s0->first, s0->first - 8, -EBADMSG);
	FORGE(s0->first, s0->first + 1, -EBADMSG);
	FORGE(s0->first, s0->first + 8, -EBADMSG);
	/* Would fit, but the objects have to be aligned to 16. */
	FORGE(s1->first, s1->first + 8, -EBADMSG);
	FORGE(s0->first, UINT32_MAX & ~7u, -EBADMSG);
	FORGE(map[0], 0, -EBADMSG);
	FORGE(map[0], UINT64_MAX, -EBADMSG);

	image_free(&image);
}

/* A phys that is no head, and memory that ends too early. */
static void stays_inside_the_view(void **state)
{
	struct image image;
	size_t len, last = 0;
	uint64_t phys;

	(void)state;
	image_make(&image);
	phys = image.f.phys;
	image.f.phys = 0;
	assert_int_equal(image_verify(&image, NULL, NULL), -EBADMSG);
	image.f.phys = phys + 8;
	assert_int_equal(image_verify(&image, NULL, NULL), -EBADMSG);
	image.f.phys = image.slab[0];
	assert_int_equal(image_verify(&image, NULL, NULL), -EBADMSG);
	image.f.phys = ~0xfffull;
	assert_int_equal(image_verify(&image, NULL, NULL), -EFAULT);
	image.f.phys = phys;

	for (int s = 0; s < IMAGE_SLABS; s++)
		if (image.slab[s] + metadata_size(&image, s) > last)
			last = image.slab[s] + metadata_size(&image, s);
	len = image.len;
	for (image.len = last - 300; image.len < last; image.len++)
		assert_int_equal(image_verify(&image, NULL, NULL), -EFAULT);
	assert_int_equal(image_verify(&image, NULL, NULL), 0);
	image.len = len;
	image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_every_damaged_byte),
		cmocka_unit_test(restores_nothing_damaged),
		cmocka_unit_test(finds_what_is_forged),
		cmocka_unit_test(stays_inside_the_view),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
