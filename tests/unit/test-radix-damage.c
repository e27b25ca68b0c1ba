// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Damaged trees: every single byte of a small one, changed to every other
 * value. The format (Linux's) has no checksum, so there is damage that makes
 * another valid tree. What is promised, and shown here of each byte:
 *
 *  - a byte of an inner node: verify refuses it, or its count of nodes is
 *    another one, or restore refuses it;
 *  - a byte of a leaf: the keys that the byte stands for are others, and no
 *    other key is; verify's count of keys or its CRC is another one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include "radix.h"

#define KEY_BITS 33
#define NODES_MAX 16

/* Keys in four leaves, below three inner nodes and the root. */
static const uint64_t keys[] = { 0,	      1,	  63,	      64,
				 32767,	      32768 + 70, 32768 + 71, 1 << 28,
				 0x1fffffff0, 0x1ffffffff };

#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* A copy of a small arena. */
struct image {
	struct fixture f;
	char *bytes;
	size_t len;
	struct {
		uint64_t phys, first;
		bool leaf;
	} node[NODES_MAX];
	size_t nodes;
	struct kho_radix_stats stats;
};

static int image_verify(struct image *image, struct kho_radix_stats *stats,
			struct kho_error *err)
{
	struct kho_mem_array mem =
		kho_mem_array(image->bytes, image->len, 0, 12);

	return kho_radix_verify(&mem.mem, image->f.root, KEY_BITS, stats, err);
}

/* The nodes, and which are leaves: three levels, by hand. */
static void image_nodes(struct image *image)
{
	const uint64_t *root = (void *)(image->bytes + image->f.root), *inner;

	image->node[image->nodes++].phys = image->f.root;
	for (uint64_t i = 0; i < 512; i++) {
		if (!root[i])
			continue;
		image->node[image->nodes++].phys = root[i];
		inner = (void *)(image->bytes + root[i]);
		for (uint64_t j = 0; j < 512; j++) {
			if (!inner[j])
				continue;
			assert_true(image->nodes < NODES_MAX);
			image->node[image->nodes].phys = inner[j];
			image->node[image->nodes].first = i << 24 | j << 15;
			image->node[image->nodes++].leaf = true;
		}
	}
}

static void image_make(struct image *image)
{
	memset(image, 0, sizeof(*image));
	create(&image->f, 12, KEY_BITS, 1 << 21);
	for (size_t i = 0; i < KEYS; i++)
		assert_int_equal(kho_radix_add(image->f.radix, keys[i]), 0);
	image->bytes = arena_copy(image->f.fd, &image->len);
	image_nodes(image);
	assert_int_equal(image_verify(image, &image->stats, NULL), 0);
	assert_int_equal(image->stats.keys, KEYS);
	assert_int_equal(image->stats.nodes, 8);
	assert_int_equal(image->nodes, 8);
}

static void image_free(struct image *image)
{
	free(image->bytes);
	discard(&image->f);
}

/* With the byte damaged in the arena itself, does restore refuse? */
static bool restore_refuses(struct image *image, uint64_t phys)
{
	struct kho_radix *radix;
	struct kho_pages_info info;
	bool refused;

	detach(&image->f);
	assert_int_equal(pwrite(image->f.fd, image->bytes + phys, 1,
				(off_t)phys),
			 1);
	attach(&image->f);
	refused = kho_radix_restore(image->f.kho, image->f.root, KEY_BITS,
				    &radix, &image->f.err) != 0;
	if (refused) {
		assert_true(image->f.err.code < 0);
		assert_int_equal(strncmp(image->f.err.text, "radix: ", 7), 0);
	} else {
		/* Nodes that are missing stay behind. */
		kho_pages_info(image->f.kho, &info);
		refused = info.unclaimed > 0;
		kho_radix_close(radix);
	}
	return refused;
}

static void check_inner(struct image *image, uint64_t phys)
{
	struct kho_radix_stats stats;
	struct kho_error err = { 0 };
	int ret = image_verify(image, &stats, &err);

	if (ret) {
		assert_int_equal(err.code, ret);
		assert_int_equal(strncmp(err.text, "radix: ", 7), 0);
		return;
	}
	if (stats.nodes == image->stats.nodes && !restore_refuses(image, phys))
		fail_msg("inner byte 0x%" PRIx64 " is not noticed", phys);
}

struct compare {
	uint64_t from, to; /* keys of the damaged byte */
	uint64_t others; /* keys seen but these */
};

static int compare_key(uint64_t key, void *arg)
{
	struct compare *c = arg;

	if (key >= c->from && key < c->to)
		return 0;
	c->others++;
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i] == key)
			return 0;
	return -1;
}

static void check_leaf(struct image *image, size_t node, uint64_t phys)
{
	struct kho_mem_array mem =
		kho_mem_array(image->bytes, image->len, 0, 12);
	struct compare c = { 0 };
	const struct kho_radix_walk walk = { compare_key, NULL, &c };
	struct kho_radix_stats stats;
	uint64_t others = 0;

	c.from = image->node[node].first + phys % 4096 * 8;
	c.to = c.from + 8;
	for (size_t i = 0; i < KEYS; i++)
		others += keys[i] < c.from || keys[i] >= c.to;
	assert_int_equal(kho_radix_walk(&mem.mem, image->f.root, KEY_BITS,
					&walk, NULL),
			 0);
	assert_int_equal(c.others, others);
	assert_int_equal(image_verify(image, &stats, NULL), 0);
	assert_true(stats.keys != image->stats.keys ||
		    stats.crc != image->stats.crc);
}

static void every_byte_of_every_node(void **state)
{
	struct image image;
	uint64_t phys;
	char good;

	(void)state;
	image_make(&image);
	for (size_t n = 0; n < image.nodes; n++) {
		for (phys = image.node[n].phys;
		     phys < image.node[n].phys + 4096; phys++) {
			good = image.bytes[phys];
			for (int bits = 1; bits < 256; bits++) {
				/* Where nothing is, some will do. */
				if (!good && bits != 1 && below(50))
					continue;
				image.bytes[phys] = good ^ (char)bits;
				if (image.node[n].leaf)
					check_leaf(&image, n, phys);
				else
					check_inner(&image, phys);
			}
			image.bytes[phys] = good;
			assert_int_equal(pwrite(image.f.fd, &good, 1,
						(off_t)phys),
					 1);
		}
	}
	image_free(&image);
}

static bool is_node(const struct image *image, uint64_t phys)
{
	for (size_t n = 0; n < image->nodes; n++)
		if (phys >> 12 == image->node[n].phys >> 12)
			return true;
	return false;
}

/* What is no byte of a node makes no difference. */
static void every_other_byte(void **state)
{
	struct kho_radix_stats stats;
	struct image image;
	uint64_t phys;

	(void)state;
	image_make(&image);
	for (phys = 0; phys < image.len; phys += 1 + below(500)) {
		if (is_node(&image, phys))
			continue;
		image.bytes[phys] ^= (char)(1 + below(255));
		assert_int_equal(image_verify(&image, &stats, NULL), 0);
		assert_memory_equal(&stats, &image.stats, sizeof(stats));
	}
	image_free(&image);
}

/* Memory that ends too early, at each byte of the last node. */
static void stays_inside_the_view(void **state)
{
	struct image image;
	uint64_t last = 0;
	struct kho_error err;

	(void)state;
	image_make(&image);
	for (size_t n = 0; n < image.nodes; n++)
		if (image.node[n].phys > last)
			last = image.node[n].phys;
	for (image.len = last; image.len < last + 4096; image.len += 7) {
		/* Of exactly that length, for the sanitizer to see. */
		char *bytes = malloc(image.len);
		struct kho_mem_array mem =
			kho_mem_array(bytes, image.len, 0, 12);

		memcpy(bytes, image.bytes, image.len);
		assert_int_equal(kho_radix_verify(&mem.mem, image.f.root,
						  KEY_BITS, NULL, &err),
				 -EFAULT);
		assert_non_null(strstr(err.text, "outside"));
		free(bytes);
	}
	image_free(&image);
}

/* Pointers between nodes that make circles and crossings. */
static void cycles_and_crossings(void **state)
{
	struct image image;
	struct kho_error err;
	uint64_t *node, good;

	(void)state;
	image_make(&image);
	for (size_t n = 0; n < image.nodes; n++) {
		if (image.node[n].leaf)
			continue;
		node = (void *)(image.bytes + image.node[n].phys);
		for (int slot = 0; slot < 512; slot += 511) {
			for (size_t to = 0; to < image.nodes; to++) {
				good = node[slot];
				if (good == image.node[to].phys)
					continue;
				node[slot] = image.node[to].phys;
				if (!image_verify(&image, NULL, &err))
					fail_msg("node %zu to %zu", n, to);
				node[slot] = good;
			}
		}
	}
	assert_int_equal(image_verify(&image, NULL, NULL), 0);
	image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_of_every_node),
		cmocka_unit_test(every_other_byte),
		cmocka_unit_test(stays_inside_the_view),
		cmocka_unit_test(cycles_and_crossings),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
