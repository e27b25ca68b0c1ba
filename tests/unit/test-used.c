// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kho_state_used(): what is in a state, as libkho writes it and as Linux does,
 * in Linux's bytes.
 */
#include <errno.h>
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <kho/state.h>

#define BLOB 0x5000 /* where the blobs are */
#define MAX_BLOB 0x2000

/* One subtree, besides the root, and its blob. */
static int read_used(const char *root, const struct kho_state_subtree *sub,
		     const void *blob, struct kho_used **used, size_t *n,
		     struct kho_error *err)
{
	struct kho_mem_array mem = kho_mem_array(blob, MAX_BLOB, BLOB, 12);
	struct kho_state *state =
		calloc(1, sizeof(*state) + sizeof(state->subtrees[0]));
	int ret;

	assert_non_null(state);
	strcpy(state->compatible, root);
	if (sub)
		state->subtrees[state->n++] = *sub;
	ret = kho_state_used(&mem.mem, state, used, n, err);
	kho_state_free(state);
	return ret;
}

static void assert_composite(const struct kho_used *used, const char *owner,
			     const char *text)
{
	char is[KHO_COMPOSITE_SIZE] = "";

	assert_string_equal(used->owner, owner);
	if (used->composite.n)
		assert_true(kho_composite_format(&used->composite, is,
						 sizeof(is)) > 0);
	assert_string_equal(is, text);
}

static struct kho_state_subtree subtree(const char *name, uint64_t size)
{
	struct kho_state_subtree sub = { .phys = BLOB, .size = size };

	strcpy(sub.name, name);
	return sub;
}

static void roots(void **state)
{
	static const struct {
		const char *compatible, *composite;
	} cases[] = {
		{ "kho-v4", "kho-v4;block-v1;radix-v1;vmalloc-v1" },
		{ "kho-v4;radix-v1", "kho-v4;radix-v1" },
		{ "kho-v4;vmalloc-v1;radix-v2", "kho-v4;radix-v2;vmalloc-v1" },
		{ "kho-v3", "kho-v3" },
		{ "kho-v5", "kho-v5" },
	};
	struct kho_used *used;
	struct kho_error err;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(read_used(cases[i].compatible, NULL, NULL,
					   &used, &n, NULL),
				 0);
		assert_int_equal(n, 1);
		assert_composite(used, "/", cases[i].composite);
		assert_false(used->optional);
		assert_false(used->carried);
		kho_used_free(used);
	}
	assert_int_equal(read_used("kho", NULL, NULL, &used, &n, &err),
			 -EBADMSG);
	assert_string_equal(err.text,
			    "state tree: compatible of /: 'kho' at byte 0 has "
			    "no version, expected name-vN");
}

/* A subtree that says what it is: its blob does not count. */
static void subtrees(void **state)
{
	struct kho_state_subtree sub = subtree("LUO", 32);
	struct kho_used *used;
	struct kho_error err;
	size_t n;

	(void)state;
	strcpy(sub.compatible, "memfd-v2");
	sub.optional = true;
	sub.phys = UINT64_MAX;
	assert_int_equal(read_used("kho-v4;radix-v1", &sub, NULL, &used, &n,
				   NULL),
			 0);
	assert_int_equal(n, 2);
	/* It could have said more, so it is no bundle. */
	assert_composite(&used[1], "LUO", "memfd-v2");
	assert_true(used[1].optional);
	assert_false(used[1].carried);
	kho_used_free(used);

	sub.optional = false;
	sub.carried = true;
	assert_int_equal(read_used("kho-v4;radix-v1", &sub, NULL, &used, &n,
				   NULL),
			 0);
	assert_false(used[1].optional);
	assert_true(used[1].carried);
	kho_used_free(used);

	strcpy(sub.compatible, "memfd-v2;");
	assert_int_equal(read_used("kho-v4", &sub, NULL, &used, &n, &err),
			 -EBADMSG);
	assert_string_equal(err.text, "state tree: compatible of LUO: empty "
				      "token at byte 9");
}

static void blobs(void **state)
{
	static const struct {
		const char *name;
		const char bytes[8];
		size_t size;
		const char *composite; /* NULL: refused */
		const char *error;
		int code;
	} cases[] = {
		{ "LUO", "luo-v5", 32, "luo-v5;block-v1", NULL, 0 },
		{ "LUO", "luo-v4\0", 32, "luo-v4", NULL, 0 },
		{ "LUO", "luo-v12", 8, "luo-v12", NULL, 0 },
		{ "LUO", "luo-v123", 32, NULL, "its version is not terminated",
		  -EBADMSG },
		{ "LUO", "luo-v5\0\0", 7, NULL, "too short for its version",
		  -EBADMSG },
		{ "LUO", "\0\0\0\0\0\0\0\0", 32, NULL, "empty token at byte 0",
		  -EBADMSG },
		{ "LUO", "\xff\xff\xff\0\0\0\0\0", 32, NULL,
		  "0xff at byte 0: a name begins with one of a-z", -EBADMSG },
		{ "LUO", "luo-v0", 32, NULL,
		  "version at byte 5 is not from 1 to 4294967295", -EBADMSG },
		{ "LUO", "kho-v4", 32, NULL, "its version is of something else",
		  -EBADMSG },
		{ "kexec-metadata", "\1\0\0\0", 73, "kexec-metadata-v1", NULL,
		  0 },
		{ "kexec-metadata", "\2\1\0\0", 4, "kexec-metadata-v258", NULL,
		  0 },
		{ "kexec-metadata", "\xff\xff\xff\xff", 4,
		  "kexec-metadata-v4294967295", NULL, 0 },
		{ "kexec-metadata", "\0\0\0\0", 73, "", NULL, 0 },
		{ "kexec-metadata", "\1\0\0\0", 3, NULL,
		  "too short for its version", -EBADMSG },
		/* not known: nothing is said of them, nothing is read */
		{ "luo", "luo-v5", 32, "", NULL, 0 },
		{ "else", "", 0, "", NULL, 0 },
		{ "else", "", UINT64_MAX, "", NULL, 0 },
		{ "memblock", "x", UINT64_MAX, NULL,
		  "at 0x5000: the FDT cannot have 18446744073709551615 bytes",
		  -EBADMSG },
		{ "memblock", "x", 20, NULL,
		  "at 0x5000: the FDT cannot have 20 bytes", -EBADMSG },
		{ "memblock", "x", MAX_BLOB, NULL,
		  "at 0x5000: the FDT is damaged: FDT_ERR_BADMAGIC", -EBADMSG },
		{ "memblock", "x", MAX_BLOB + 1, NULL,
		  "at 0x5000: the FDT is outside the memory", -EFAULT },
	};
	unsigned char blob[MAX_BLOB];
	struct kho_used *used;
	struct kho_error err;
	char expected[128];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kho_state_subtree sub =
			subtree(cases[i].name, cases[i].size);
		int ret;

		memset(blob, 0, sizeof(blob));
		memcpy(blob, cases[i].bytes, sizeof(cases[i].bytes));
		ret = read_used("kho-v4", &sub, blob, &used, &n, &err);
		assert_int_equal(ret, cases[i].code);
		if (!ret) {
			assert_int_equal(n, 2);
			assert_composite(&used[1], cases[i].name,
					 cases[i].composite);
			kho_used_free(used);
			continue;
		}
		snprintf(expected, sizeof(expected),
			 "state tree: blob of %s: %s", cases[i].name,
			 cases[i].error);
		assert_string_equal(err.text, expected);
		assert_int_equal(err.code, ret);
	}

	/* Where there is no memory. */
	for (i = 0; i < 3; i++) {
		static const char *const names[] = { "LUO", "kexec-metadata",
						     "memblock" };
		struct kho_state_subtree sub = subtree(names[i], 64);

		sub.phys = BLOB + MAX_BLOB - 3;
		assert_int_equal(read_used("kho-v4", &sub, blob, &used, &n,
					   &err),
				 -EFAULT);
		sub.phys = UINT64_MAX - 1;
		assert_int_equal(read_used("kho-v4", &sub, blob, &used, &n,
					   &err),
				 -EFAULT);
	}
}

/* As Linux's reserve_mem writes it. */
static size_t make_memblock(void *fdt, const char *compatible, size_t len)
{
	const uint64_t start = 0x1000000, size = 0x200000;

	fdt_create(fdt, MAX_BLOB);
	fdt_finish_reservemap(fdt);
	fdt_begin_node(fdt, "");
	if (compatible)
		fdt_property(fdt, "compatible", compatible, (int)len);
	fdt_begin_node(fdt, "trace");
	fdt_property_string(fdt, "compatible", "reserve-mem-v1");
	fdt_property(fdt, "start", &start, sizeof(start));
	fdt_property(fdt, "size", &size, sizeof(size));
	fdt_end_node(fdt);
	fdt_end_node(fdt);
	assert_int_equal(fdt_finish(fdt), 0);
	return fdt_totalsize(fdt);
}

static void memblock(void **state)
{
	static const struct {
		const char *compatible;
		size_t len;
		const char *composite, *error;
	} cases[] = {
		{ "memblock-v1", 12, "memblock-v1;reserve-mem-v1", NULL },
		{ "memblock-v1\0x", 14, "memblock-v1;reserve-mem-v1", NULL },
		{ "memblock-v2", 12, "memblock-v2", NULL },
		{ "memblock-v1", 11, NULL, "an FDT without its version" },
		{ "memblock-v1", 0, NULL, "an FDT without its version" },
		{ NULL, 0, NULL, "an FDT without its version" },
		{ "memblock", 9, NULL,
		  "'memblock' at byte 0 has no version, expected name-vN" },
		{ "kho-v4", 7, NULL, "its version is of something else" },
	};
	unsigned char blob[MAX_BLOB] = { 0 };
	struct kho_state_subtree sub;
	struct kho_used *used;
	struct kho_error err;
	char expected[128];
	size_t i, n, size;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size = make_memblock(blob, cases[i].compatible, cases[i].len);
		/* Linux gives the size of its pages. */
		sub = subtree("memblock", i % 2 ? size : 4096);
		if (!cases[i].error) {
			assert_int_equal(read_used("kho-v4", &sub, blob, &used,
						   &n, NULL),
					 0);
			assert_composite(&used[1], "memblock",
					 cases[i].composite);
			kho_used_free(used);
			continue;
		}
		assert_int_equal(read_used("kho-v4", &sub, blob, &used, &n,
					   &err),
				 -EBADMSG);
		snprintf(expected, sizeof(expected),
			 "state tree: blob of memblock: %s", cases[i].error);
		assert_string_equal(err.text, expected);
	}

	/* Cut anywhere; and of a version that libfdt itself trips over. */
	size = make_memblock(blob, "memblock-v1", 12);
	for (i = 0; i < size; i++) {
		sub = subtree("memblock", i);
		assert_int_equal(read_used("kho-v4", &sub, blob, &used, &n,
					   &err),
				 -EBADMSG);
	}
	sub = subtree("memblock", size);
	fdt_set_version(blob, 16);
	assert_int_equal(read_used("kho-v4", &sub, blob, &used, &n, &err),
			 -EBADMSG);
	assert_string_equal(
		err.text,
		"state tree: blob of memblock: at 0x5000: the FDT is damaged: FDT_ERR_BADVERSION");
}

/* A whole state of Linux 7.3, from its root FDT on. */
static void linux_state(void **state)
{
	static unsigned char memory[0x4000];
	const uint64_t base = 0x22a0000, tracker = 0x29f0000;
	const uint64_t luo = base + 0x1000, luo_size = 32;
	const uint64_t metadata = base + 0x2000, metadata_size = 73;
	struct kho_mem_array mem =
		kho_mem_array(memory, sizeof(memory), base, 12);
	struct kho_state *read;
	struct kho_used *used;
	size_t n;

	(void)state;
	fdt_create(memory, 4096);
	fdt_finish_reservemap(memory);
	fdt_begin_node(memory, "");
	fdt_property_string(memory, "compatible", "kho-v4");
	fdt_property(memory, "preserved-memory-map", &tracker, 8);
	fdt_begin_node(memory, "LUO");
	fdt_property(memory, "blob-size", &luo_size, 8);
	fdt_property(memory, "preserved-data", &luo, 8);
	fdt_end_node(memory);
	fdt_begin_node(memory, "kexec-metadata");
	fdt_property(memory, "blob-size", &metadata_size, 8);
	fdt_property(memory, "preserved-data", &metadata, 8);
	fdt_end_node(memory);
	fdt_end_node(memory);
	assert_int_equal(fdt_finish(memory), 0);
	memcpy(memory + 0x1000, "luo-v5\0\0\1", 9);
	memcpy(memory + 0x2000, "\1\0\0\0007.3.4", 10);

	assert_int_equal(kho_state_read(&mem.mem, base, 4096, &read, NULL), 0);
	assert_int_equal(kho_state_used(&mem.mem, read, &used, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_composite(&used[0], "/", "kho-v4;block-v1;radix-v1;vmalloc-v1");
	assert_composite(&used[1], "LUO", "luo-v5;block-v1");
	assert_composite(&used[2], "kexec-metadata", "kexec-metadata-v1");
	kho_used_free(used);
	free(read);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roots),       cmocka_unit_test(subtrees),
		cmocka_unit_test(blobs),       cmocka_unit_test(memblock),
		cmocka_unit_test(linux_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
