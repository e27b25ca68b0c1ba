// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Damaged arrays: every byte of every object in turn, and what an attacker
 * would write, with right checks.
 */
#include "xarray.h"

#define OBJECTS_MAX 32

/* A copy of a small array. */
struct image {
	struct xfixture x;
	char *bytes;
	size_t len;
	int n;
	struct object {
		uint64_t phys;
		size_t size;
	} object[OBJECTS_MAX]; /* the head first, then the root */
	struct kho_xa_stats stats;
};

static int image_verify(struct image *image, struct kho_xa_stats *stats,
			struct kho_error *err)
{
	struct kho_mem_array mem =
		kho_mem_array(image->bytes, image->len, 0, 12);

	return kho_xa_verify(&mem.mem, image->x.phys, stats, err);
}

static int collect(void *object, size_t size, void *arg)
{
	struct image *image = arg;

	assert_true(image->n < OBJECTS_MAX);
	if (object != kho_ptr(image->x.f.kho, image->x.phys, 1))
		image->object[image->n++] = (struct object){
			kho_phys(image->x.f.kho, object),
			size > 576 ? 576 : size,
		};
	return 0;
}

static struct kho_xarray_head *head_of(struct image *image)
{
	return (void *)(image->bytes + image->x.phys);
}

static struct kho_xarray_node *node_of(struct image *image, uint64_t entry)
{
	assert_int_equal(entry & 15, 2);
	return (void *)(image->bytes + (entry & ~15ull));
}

static void image_make(struct image *image)
{
	struct stat st;

	memset(image, 0, sizeof(*image));
	xcreate(&image->x, 12, 1 << 26);
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(kho_xa_store(image->x.xa, i * 3,
					      i << 59 | 0x1234),
				 0);
	assert_int_equal(kho_xa_store_order(image->x.xa, 64, 4, 5), 0);
	assert_int_equal(kho_xa_store_order(image->x.xa, 128, 7, UINT64_MAX),
			 0);
	assert_int_equal(kho_xa_store_ptr(image->x.xa, 4095, 0,
					  kho_ptr(image->x.f.kho, image->x.phys,
						  1)),
			 0);
	assert_int_equal(kho_xa_set_mark(image->x.xa, 70, KHO_XA_MARK_0), 0);
	assert_int_equal(kho_xa_set_mark(image->x.xa, 4095, KHO_XA_MARK_2), 0);
	image->object[image->n++] = (struct object){ image->x.phys, 48 };
	assert_int_equal(kho_kmem_walk(image->x.f.kmem, collect, image), 0);

	assert_int_equal(fstat(image->x.f.fd, &st), 0);
	image->len = (size_t)st.st_size;
	image->bytes = malloc(image->len);
	assert_int_equal(pread(image->x.f.fd, image->bytes, image->len, 0),
			 image->len);
	assert_int_equal(image_verify(image, &image->stats, NULL), 0);
	assert_int_equal(image->stats.entries, 23);
	assert_int_equal(image->stats.nodes, 4);
	assert_int_equal(image->stats.wide, 5);
	assert_int_equal(image->n, 1 + 4 + 5);
}

static void image_free(struct image *image)
{
	free(image->bytes);
	xdiscard(&image->x);
}

/* One of two checks may be wrong: that is what a kill can leave. */
static bool may_differ(const struct object *object, size_t at)
{
	return object->size != sizeof(struct kho_xarray_wide) && at < 16;
}

static void finds_every_damaged_byte(void **state)
{
	struct kho_xa_stats stats;
	struct kho_error err;
	struct image image;
	char *byte;
	int ret;

	(void)state;
	image_make(&image);
	for (int o = 0; o < image.n; o++) {
		for (size_t at = 0; at < image.object[o].size; at++) {
			byte = &image.bytes[image.object[o].phys + at];
			for (int bits = 1; bits < 256; bits++) {
				err.code = 0;
				*byte ^= (char)bits;
				ret = image_verify(&image, &stats, &err);
				*byte ^= (char)bits;
				if (!ret && may_differ(&image.object[o], at)) {
					assert_memory_equal(&stats,
							    &image.stats,
							    sizeof(stats));
					continue;
				}
				if (!ret)
					fail_msg("object %d: byte %zu ^ %#x is not noticed",
						 o, at, bits);
				assert_int_equal(err.code, ret);
				assert_int_equal(strncmp(err.text,
							 "xarray: at 0x", 13),
						 0);
			}
		}
	}
	image_free(&image);
}

/* All else in the memory makes no difference. */
static void nothing_else_matters(void **state)
{
	struct kho_xa_stats stats;
	struct image image;
	bool *ours;

	(void)state;
	image_make(&image);
	ours = calloc(image.len, sizeof(*ours));
	for (int o = 0; o < image.n; o++)
		for (size_t at = 0; at < image.object[o].size; at++)
			ours[image.object[o].phys + at] = true;
	for (size_t at = 0; at < image.len; at++)
		if (!ours[at])
			image.bytes[at] ^= (char)(1 + below(255));
	assert_int_equal(image_verify(&image, &stats, NULL), 0);
	assert_memory_equal(&stats, &image.stats, sizeof(stats));
	free(ours);
	image_free(&image);
}

/* The same on a real arena: restore refuses, and the next try is not worse. */
static void restores_nothing_damaged(void **state)
{
	struct image image;
	struct model before, after;
	struct xfixture *x = &image.x;
	struct kho_xa_entry entry;
	struct object *o;
	uint64_t phys;
	size_t at;
	char byte;
	int ret;

	(void)state;
	image_make(&image);
	before.n = 0;
	kho_xa_for_each(x->xa, &entry)
		before.e[before.n++] =
			(struct mentry){ entry.index, entry.last, entry.value,
					 entry.kind == KHO_XA_PHYS, 0 };
	xdetach(x);
	for (int i = 0; i < 400; i++) {
		o = &image.object[below((uint32_t)image.n)];
		at = below(i % 4 ? (uint32_t)o->size : 16);
		phys = o->phys + at;
		byte = image.bytes[phys] ^ (char)(1 + below(255));
		assert_int_equal(pwrite(x->f.fd, &byte, 1, (off_t)phys), 1);
		attach(&x->f);
		restore(&x->f);
		ret = kho_xa_restore(x->f.kho, x->f.kmem, x->phys, &x->xa,
				     &x->f.err);
		if (may_differ(o, at)) {
			assert_int_equal(ret, 0);
			after.n = 0;
			kho_xa_for_each(x->xa, &entry)
				after.e[after.n++] = (struct mentry){
					entry.index, entry.last, entry.value,
					entry.kind == KHO_XA_PHYS, 0
				};
			assert_int_equal(after.n, before.n);
			for (size_t e = 0; e < after.n; e++) {
				assert_int_equal(after.e[e].first,
						 before.e[e].first);
				assert_int_equal(after.e[e].last,
						 before.e[e].last);
				assert_int_equal(after.e[e].value,
						 before.e[e].value);
			}
			kho_xa_close(x->xa);
			x->xa = NULL;
		} else {
			assert_true(ret < 0);
		}
		detach(&x->f);
		assert_int_equal(pwrite(x->f.fd, &image.bytes[phys], 1,
					(off_t)phys),
				 1);
	}
	xrestore(x);
	image_free(&image);
}

static uint64_t sum(const char *at, size_t size)
{
	uint64_t total = 0, v;

	for (uint64_t i = 0; i < size / 8; i++) {
		memcpy(&v, at + i * 8, 8);
		v += (i + 1) * KHO_XARRAY_CHECK_STEP;
		v = (v ^ v >> 32) * KHO_XARRAY_CHECK_MIX;
		total += v ^ v >> 32;
	}
	return total;
}

/* Make the checks right again, as an attacker would. */
static void seal(struct image *image)
{
	for (int o = 0; o < image->n; o++) {
		char *at = image->bytes + image->object[o].phys;
		size_t skip = image->object[o].size == 32 ? 8 : 16;
		uint64_t check = sum(at + skip, image->object[o].size - skip);

		memcpy(at, &check, 8);
	}
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
	struct kho_xarray_node *root, *leaf, *second;
	struct kho_xarray_wide *wide;
	struct kho_xarray_head *head;
	struct image image;

	(void)state;
	image_make(&image);
	head = head_of(&image);
	root = node_of(&image, head->root);
	leaf = node_of(&image, root->slots[0]);
	second = node_of(&image, root->slots[1]);
	wide = (void *)(image.bytes + (root->slots[2] & ~15ull));
	assert_int_equal(wide->value, UINT64_MAX);

	FORGE(head->version, 2, -EPROTONOSUPPORT);
	FORGE(head->magic, 1, -EBADMSG);
	FORGE(head->reserved, 1, -EBADMSG);
	FORGE(head->root, 3, -EBADMSG);
	FORGE(head->root, head->root | 4, -EBADMSG);
	FORGE(head->root, 2, -EBADMSG);
	FORGE(head->root, (1ull << 40) | 2, -EFAULT);
	FORGE(head->root, ~13ull, -EFAULT);
	FORGE(head->root, root->slots[1], -EBADMSG);
	FORGE(head->root, (image.len - 64) | 2, -EFAULT);

	FORGE(root->magic, 0, -EBADMSG);
	FORGE(root->head.phys, image.x.phys + 16, -EBADMSG);
	FORGE(root->index, 64, -EBADMSG);
	FORGE(root->shift, 0, -EBADMSG);
	FORGE(root->shift, 12, -EBADMSG);
	FORGE(root->shift, 7, -EBADMSG);
	FORGE(root->shift, 66, -EBADMSG);
	FORGE(root->shift, UINT32_MAX, -EBADMSG);
	FORGE(leaf->shift, 6, -EBADMSG);

	/* Cycles, and nodes that are reached twice. */
	FORGE(root->slots[0], head->root, -EBADMSG);
	FORGE(root->slots[1], root->slots[0], -EBADMSG);
	FORGE(root->slots[9], root->slots[0], -EBADMSG);
	FORGE(leaf->slots[1], head->root, -EBADMSG);
	FORGE(leaf->slots[1], root->slots[1], -EBADMSG);
	FORGE(root->slots[9], root->slots[2], -EBADMSG);

	/* Siblings: second has an entry of 16 slots; root one of 2. */
	FORGE(leaf->slots[4], 3 << 4 | 10, -EBADMSG); /* not aligned */
	FORGE(second->slots[5], 0, -EBADMSG);
	FORGE(second->slots[5], 1, -EBADMSG);
	FORGE(second->slots[16], 10, -EBADMSG);
	FORGE(second->slots[20], 10, -EBADMSG);
	FORGE(second->slots[5], 5 << 4 | 10, -EBADMSG);
	FORGE(second->slots[5], 4 << 4 | 10, -EBADMSG);
	FORGE(second->slots[5], 63 << 4 | 10, -EBADMSG);
	FORGE(second->slots[5], 1 << 20 | 10, -EBADMSG);
	FORGE(root->slots[4], 1 << 4 | 10, -EBADMSG); /* of a node */
	FORGE(root->slots[3], 0, 0); /* just a smaller entry */
	/* Of an empty slot: what a kill leaves. */
	FORGE(second->slots[0], 0, 0);
	FORGE(second->slots[40], 33 << 4 | 10, 0);

	FORGE(leaf->slots[1], 14, -EBADMSG);
	FORGE(leaf->slots[1], (1 << 20) | 14, -EBADMSG);
	FORGE(leaf->slots[1], 6, -EBADMSG);
	FORGE(leaf->slots[1], (1ull << 40) | 6, -EFAULT);
	FORGE(leaf->slots[1], root->slots[2], -EBADMSG);
	FORGE(wide->value, (1ull << 63) - 1, -EBADMSG);
	FORGE(wide->index, 192, -EBADMSG);
	FORGE(wide->head.phys, 0, -EBADMSG);

	/* A mark below that is not above cannot be found; a kill leaves the
	 * reverse. */
	FORGE(root->marks[0], 0, -EBADMSG);
	FORGE(root->marks[2], 0, -EBADMSG);
	FORGE(second->marks[0], 1 << 6, -EBADMSG);
	FORGE(root->marks[1], 1, 0);
	FORGE(leaf->marks[0], 2, 0);
	FORGE(leaf->marks[0], 1, -EBADMSG);
	image_free(&image);
}

/* An index that does not exist: the topmost node has 16 slots. */
static void finds_an_index_too_high(void **state)
{
	struct kho_xarray_node *root;
	struct image image;

	(void)state;
	memset(&image, 0, sizeof(image));
	xcreate(&image.x, 12, 1 << 21);
	assert_int_equal(kho_xa_store_order(image.x.xa, 1ull << 63, 63, 1), 0);
	image.object[image.n++] = (struct object){ image.x.phys, 48 };
	assert_int_equal(kho_kmem_walk(image.x.f.kmem, collect, &image), 0);
	image.len = 1 << 21;
	image.bytes = malloc(image.len);
	assert_int_equal(pread(image.x.f.fd, image.bytes, image.len, 0),
			 image.len);
	root = node_of(&image, head_of(&image)->root);
	assert_int_equal(root->slots[15], 8 << 4 | 10);
	FORGE(root->slots[16], 1, -EBADMSG);
	FORGE(root->slots[16], 8 << 4 | 10, -EBADMSG);
	FORGE(root->slots[63], 1, -EBADMSG);
	FORGE(root->slots[0], 1, 0);
	image_free(&image);
}

/* A phys that is no head, and memory that ends too early. */
static void stays_inside_the_view(void **state)
{
	static const uint64_t some[] = { 0, 1, 8, 4096, ~15ull, ~0ull };
	struct image image;
	size_t len, last = 0;
	uint64_t phys;

	(void)state;
	image_make(&image);
	phys = image.x.phys;
	for (int i = 0; i < 6; i++) {
		image.x.phys = some[i];
		assert_true(image_verify(&image, NULL, NULL) < 0);
	}
	image.x.phys = phys;
	for (int o = 0; o < image.n; o++)
		if (image.object[o].phys + image.object[o].size > last)
			last = image.object[o].phys + image.object[o].size;
	len = image.len;
	for (image.len = last - 576; image.len < last; image.len++)
		assert_int_equal(image_verify(&image, NULL, NULL), -EFAULT);
	assert_int_equal(image_verify(&image, NULL, NULL), 0);
	image.len = len;
	image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_every_damaged_byte),
		cmocka_unit_test(nothing_else_matters),
		cmocka_unit_test(restores_nothing_damaged),
		cmocka_unit_test(finds_what_is_forged),
		cmocka_unit_test(finds_an_index_too_high),
		cmocka_unit_test(stays_inside_the_view),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
