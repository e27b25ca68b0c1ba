// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Typed arrays: type and count survive, a mismatch and damage are errors. */
#include <stdbool.h>
#include <stdlib.h>

#include <kho/varray.h>

#include "base/crc32c.h"
#include "vmalloc.h"

struct element {
	uint64_t a;
	uint32_t b, c;
	uint64_t d;
};

static const struct kho_varray_type type = { "element",
					     sizeof(struct element) };

static struct kho_varray *make(struct fixture *f, uint64_t max)
{
	struct kho_varray *array;

	if (kho_varray_create(f->kho, f->page, &type, max, &array, &f->err))
		fail_msg("create: %s", f->err.text);
	return array;
}

static struct kho_varray *restore_array(struct fixture *f, uint64_t max)
{
	struct kho_varray *array;

	if (kho_varray_restore(f->kho, f->page, &type, max, &array, &f->err))
		fail_msg("restore: %s", f->err.text);
	return array;
}

static void resize(struct fixture *f, struct kho_varray *array, uint64_t count)
{
	if (kho_varray_resize(array, count, &f->err))
		fail_msg("resize: %s", f->err.text);
	assert_int_equal(kho_varray_count(array), count);
}

static struct kho_varray_stats verify_array(struct fixture *f)
{
	struct kho_mem_array mem = arena_bytes(f->kho, f->fd);
	struct kho_varray_stats stats;

	if (kho_varray_verify(&mem.mem, f->phys, &stats, &f->err))
		fail_msg("verify: %s", f->err.text);
	return stats;
}

static void refusals(void **state)
{
	struct kho_varray_type other = type;
	struct kho_varray *array;
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	other.name = "";
	fails(&f, -EINVAL,
	      kho_varray_create(f.kho, f.page, &other, 1, &array, &f.err));
	other.name = "a name of 24 characters.";
	fails(&f, -EINVAL,
	      kho_varray_create(f.kho, f.page, &other, 1, &array, &f.err));
	other.name = "two\nlines";
	fails(&f, -EINVAL,
	      kho_varray_create(f.kho, f.page, &other, 1, &array, &f.err));
	other = (struct kho_varray_type){ "nothing", 0 };
	fails(&f, -EINVAL,
	      kho_varray_create(f.kho, f.page, &other, 1, &array, &f.err));
	fails(&f, -EINVAL,
	      kho_varray_create(f.kho, f.page, &type, 0, &array, &f.err));
	fails(&f, -EINVAL,
	      kho_varray_create(f.kho, f.page, &type, UINT64_MAX, &array,
				&f.err));
	fails(&f, -EINVAL,
	      kho_varray_create(f.kho, (void *)&type, &type, 1, &array,
				&f.err));
	fails(&f, -ENOENT,
	      kho_varray_restore(f.kho, f.page, &type, 1, &array, &f.err));

	array = make(&f, 1000);
	fails(&f, -ERANGE, kho_varray_resize(array, 2000000, &f.err));
	resize(&f, array, 10);
	kho_varray_close(array);
	reattach(&f);
	other = (struct kho_varray_type){ "elements", sizeof(struct element) };
	fails(&f, -EPROTOTYPE,
	      kho_varray_restore(f.kho, f.page, &other, 1, &array, &f.err));
	other = (struct kho_varray_type){ "element",
					  sizeof(struct element) + 8 };
	kho_varray_restore(f.kho, f.page, &other, 1, &array, &f.err);
	assert_non_null(strstr(f.err.text, "'element' of 24 bytes, expected "
					   "'element' of 32 bytes"));
	fails(&f, -EPROTOTYPE, f.err.code);
	/* That claimed nothing. */
	array = restore_array(&f, 0);
	fails(&f, -EROFS, kho_varray_resize(array, 1, &f.err));
	assert_int_equal(kho_varray_destroy(array), -EROFS);
	assert_int_equal(kho_ready(f.kho, NULL), 0);
	assert_int_equal(kho_varray_destroy(array), 0);
	assert_int_equal(pages_info(f.kho).preserved, f.pages);
	discard(&f);
}

/* To the byte. */
static void format(void **state)
{
	const struct {
		char type[24];
		uint32_t size;
	} constants = { "element", 24 };
	unsigned char expected[40] = "element";
	struct kho_varray *array;
	uint64_t n = 0x1234;
	struct fixture f;
	uint32_t crc;

	(void)state;
	create(&f, 12, 64 * MIB);
	array = make(&f, 1 << 20);
	resize(&f, array, n);
	n |= ((n ^ 0x7661) & 0xffff) << 48;
	crc = crc32c(&constants, 28);
	memcpy(expected + 24, &n, 8);
	expected[32] = 24;
	memcpy(expected + 36, &crc, 4);
	assert_memory_equal((char *)f.page + 16, expected, 40);
	assert_int_equal(f.desc->flags, 0x8002);
	assert_int_equal(convert(&f, 1), 0);
	assert_memory_equal((char *)f.page + 16, expected, 40);
	assert_int_equal(f.desc->flags, 3);
	assert_int_equal(verify_array(&f).count, 0x1234);
	assert_int_equal(verify_array(&f).area.version, 1);
	kho_varray_close(array);
	discard(&f);
}

/* What is raised is said before it is done, what is lowered after it. */
static void change_version(struct fixture *f, uint32_t version)
{
	if (version > kho_version(f->kho, vmalloc()) &&
	    kho_set_version(f->kho, vmalloc(), version, NULL))
		return;
	if (convert(f, version))
		fails(f, -ENOSPC, f->err.code);
	else
		kho_set_version(f->kho, vmalloc(), version, NULL);
}

/* Random sizes; every element is its index, or was never written. */
static void model(void **state)
{
	uint64_t count = 0, valid = 0, max = 300000;
	struct kho_varray *array;
	struct element *e;
	struct fixture f;

	(void)state;
	create(&f, 12, 8 * MIB);
	array = make(&f, max);
	for (int op = 0; op < 2000; op++) {
		uint64_t next = below(4) ? below(max) : count + below(100);

		next = next < max ? next : max;
		if (kho_varray_resize(array, next, &f.err)) {
			fails(&f, -ENOSPC, f.err.code);
			assert_true(next > count);
			next = count;
		}
		assert_int_equal(kho_varray_count(array), next);
		/* New elements are zeros, also where others have been. */
		for (uint64_t i = count; i < next;
		     i += 1 + below(next / 16 + 1)) {
			e = kho_varray_at(array, i);
			assert_int_equal(e->a | e->b | e->c | e->d, 0);
		}
		valid = valid < next ? valid : next;
		count = next;
		for (int i = 0; i < 20 && valid < count; i++, valid++) {
			e = kho_varray_at(array, valid);
			e->a = valid;
			e->d = ~valid;
		}
		if (below(50) == 0)
			change_version(&f, 1 + (uint32_t)below(2));
		if (below(20))
			continue;
		kho_varray_close(array);
		for (uint64_t again = below(2); again < 2; again++) {
			reattach(&f);
			array = restore_array(&f, max);
			assert_int_equal(kho_varray_count(array), count);
			assert_int_equal(pages_info(f.kho).unclaimed, 0);
			if (!again)
				kho_varray_close(array);
		}
		assert_int_equal(kho_ready(f.kho, NULL), 0);
		for (uint64_t i = 0; i < valid; i++) {
			e = kho_varray_at(array, i);
			assert_int_equal(e->a, i);
			assert_int_equal(e->d, ~i);
		}
		assert_null(kho_varray_at(array, count));
		assert_int_equal(verify_array(&f).count, count);
	}
	assert_int_equal(kho_varray_destroy(array), 0);
	assert_int_equal(pages_info(f.kho).preserved, f.pages);
	discard(&f);
}

/* A shrink that has no page for a new list: the elements go all the same. */
static void shrinks_when_full(void **state)
{
	uint64_t step = 1 << 16, count = 0;
	struct kho_varray *array;
	struct fixture f;

	(void)state;
	create(&f, 12, 8 * MIB);
	array = make(&f, 1 << 20);
	for (; step; step /= 2)
		while (!kho_varray_resize(array, count + step, NULL))
			count += step;
	while (kho_alloc_folio(f.kho, 0))
		;
	resize(&f, array, 1);
	assert_int_equal(verify_array(&f).count, 1);
	assert_true(verify_array(&f).area.size > MIB);
	resize(&f, array, count);
	assert_int_equal(((uint64_t *)kho_varray_at(array, count / 2))[0], 0);
	kho_varray_close(array);
	discard(&f);
}

static void forge(struct fixture *f, const char *name, uint32_t size, int code)
{
	struct kho_mem_array mem = arena_bytes(f->kho, f->fd);
	struct kho_varray_desc *desc = f->page, saved = *desc;

	memcpy(desc->type, name, sizeof(desc->type));
	desc->size = size;
	desc->crc = crc32c(desc->type, 24);
	desc->crc = crc32c_more(desc->crc, &desc->size, 4);
	if (code)
		fails(f, code,
		      kho_varray_verify(&mem.mem, f->phys, NULL, &f->err));
	else
		verify_array(f);
	*desc = saved;
}

/* Every byte of the descriptor, and what is wrong with a right CRC. */
static void damage(void **state)
{
	const char name[24] = "element";
	struct kho_varray *array;
	struct kho_mem_array mem;
	unsigned char *byte;
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	array = make(&f, 1000);
	resize(&f, array, 1000);
	mem = arena_bytes(f.kho, f.fd);
	byte = f.page;
	for (size_t i = 0; i < sizeof(struct kho_varray_desc); i++)
		for (int bits = 1; bits < 256; bits++) {
			byte[i] ^= (unsigned char)bits;
			if (!kho_varray_verify(&mem.mem, f.phys, NULL, &f.err))
				fail_msg("byte %zu ^ 0x%x is not noticed", i,
					 bits);
			byte[i] ^= (unsigned char)bits;
		}
	assert_int_equal(verify_array(&f).count, 1000);
	forge(&f, name, 24, 0);
	forge(&f, name, 0, -EBADMSG);
	forge(&f, name, 25, -EBADMSG);
	forge(&f, name, UINT32_MAX, -EBADMSG);
	forge(&f, "xxxxxxxxxxxxxxxxxxxxxxxx", 24, -EBADMSG);
	forge(&f, "a\nb\0xxxxxxxxxxxxxxxxxxxx", 24, -EBADMSG);
	kho_varray_close(array);
	discard(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals), cmocka_unit_test(format),
		cmocka_unit_test(model),    cmocka_unit_test(shrinks_when_full),
		cmocka_unit_test(damage),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
