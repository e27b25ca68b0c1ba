// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The section .liveupdate_versions: what it says, and hostile ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <kho/manifest.h>

#include "files/versions_section.h"

#define OFFSET 0x1000
#define MAX_BYTES (8 + 1100 * 48)

struct section {
	size_t size;
	unsigned char bytes[MAX_BYTES];
};

static void begin(struct section *s)
{
	const struct kho_liveupdate_versions header = {
		KHO_LIVEUPDATE_MAGIC, KHO_LIVEUPDATE_VERSION
	};

	memset(s, 0, sizeof(*s));
	memcpy(s->bytes, &header, sizeof(header));
	s->size = sizeof(header);
}

static void add(struct section *s, const char *string)
{
	assert_true(strlen(string) <= KHO_LIVEUPDATE_STRING_SIZE);
	memcpy(s->bytes + s->size, string, strlen(string));
	s->size += KHO_LIVEUPDATE_STRING_SIZE;
}

static int read_section(const struct section *s, struct collection *c)
{
	/* A copy of that size: a sanitizer sees a byte too far. */
	unsigned char *copy = malloc(s->size ? s->size : 1);
	int ret;

	memcpy(copy, s->bytes, s->size);
	ret = versions_section_read(c, 0, copy, s->size, OFFSET);
	free(copy);
	return ret;
}

static struct kho_manifest *new_manifest(void)
{
	struct kho_manifest *manifest = manifest_new("vmlinux");

	assert_non_null(manifest);
	assert_int_equal(manifest_add_source(manifest, "vmlinux"), 0);
	return manifest;
}

static void describe(const struct kho_manifest *manifest, char *text,
		     size_t size)
{
	size_t i, j, len = 0;

	text[0] = '\0';
	for (i = 0; i < manifest->n; i++) {
		const struct kho_component_desc *d = &manifest->entries[i].desc;

		len += (size_t)snprintf(text + len, size - len,
					"%s w%u-%u r%u-%u f%u", d->name,
					d->write.min, d->write.max, d->read.min,
					d->read.max, d->flags);
		for (j = 0; j < KHO_DEPS_MAX && d->deps[j][0]; j++)
			len += (size_t)snprintf(text + len, size - len, " %s",
						d->deps[j]);
		len += (size_t)snprintf(text + len, size - len, "\n");
	}
}

static void sections(void **state)
{
	static const struct {
		const char *strings[8], *manifest;
	} cases[] = {
		{ { "luo-v5;block-v1" },
		  "block w1-1 r1-1 f1\n"
		  "luo w5-5 r5-5 f0 block\n" },
		{ { "luo-v5;block-v1", "kho-v4;vmalloc-v1;radix-v2",
		    "memfd-v2;vmalloc-v1", "vmalloc-v2" },
		  "block w1-1 r1-1 f1\n"
		  "kho w4-4 r4-4 f0 radix vmalloc\n"
		  "luo w5-5 r5-5 f0 block\n"
		  "memfd w2-2 r2-2 f0 vmalloc\n"
		  "radix w2-2 r2-2 f1\n"
		  "vmalloc w2-2 r1-2 f0\n" },
		/* several versions: those that follow each other */
		{ { "memfd-v3;vmalloc-v1", "memfd-v1", "memfd-v2;block-v1",
		    "memfd-v2;block-v1" },
		  "block w1-1 r1-1 f1\n"
		  "memfd w3-3 r1-3 f0 vmalloc block\n"
		  "vmalloc w1-1 r1-1 f1\n" },
		{ { "a-v1", "a-v2", "a-v4", "a-v5" }, "a w5-5 r4-5 f0\n" },
		{ { "a-v4294967295", "a-v1" },
		  "a w4294967295-4294967295 r4294967295-4294967295 f0\n" },
		{ { "a-v4294967295", "a-v4294967294" },
		  "a w4294967295-4294967295 r4294967294-4294967295 f0\n" },
		/* a cycle is not its business, and all of 48 bytes but one */
		{ { "a-v1;b-v1", "b-v1;a-v1",
		    "abcdefghijklmnopqrstuvw-v10;abcdefghijklmnop-v1" },
		  "a w1-1 r1-1 f0 b\n"
		  "abcdefghijklmnop w1-1 r1-1 f1\n"
		  "abcdefghijklmnopqrstuvw w10-10 r10-10 f0 "
		  "abcdefghijklmnop\n"
		  "b w1-1 r1-1 f0 a\n" },
		/* a monolith stands for what it stands for everywhere */
		{ { "kho-v4", "kho-v3" },
		  "block w1-1 r1-1 f1\n"
		  "kho w4-4 r3-4 f0 block radix vmalloc\n"
		  "radix w1-1 r1-1 f1\n"
		  "vmalloc w1-1 r1-1 f1\n" },
		{ { NULL }, "" },
	};
	char text[2048];
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kho_manifest *manifest = new_manifest();
		struct collection c = { .manifest = manifest };
		struct section s;

		begin(&s);
		for (j = 0; cases[i].strings[j]; j++)
			add(&s, cases[i].strings[j]);
		assert_int_equal(read_section(&s, &c), 0);
		assert_int_equal(manifest_finish(manifest, NULL), 0);
		describe(manifest, text, sizeof(text));
		assert_string_equal(text, cases[i].manifest);
		kho_manifest_free(manifest);
	}
}

/* What a note says of a component counts more, in either order. */
static void with_notes(void **state)
{
	const struct kho_component_desc desc = {
		.write = { 1, 2 },
		.read = { 1, 9 },
		.name = "luo",
		.flags = KHO_COMPONENT_CONVERT,
	};
	char text[512];
	struct section s;
	int order;

	(void)state;
	begin(&s);
	add(&s, "luo-v5;block-v1");
	for (order = 0; order < 2; order++) {
		struct kho_manifest *manifest = new_manifest();
		struct collection c = { .manifest = manifest };

		if (!order)
			assert_int_equal(collect(&c, &desc, true, 0, 0), 0);
		assert_int_equal(read_section(&s, &c), 0);
		if (order)
			assert_int_equal(collect(&c, &desc, true, 0, 0), 0);
		assert_int_equal(manifest_finish(manifest, NULL), 0);
		describe(manifest, text, sizeof(text));
		assert_string_equal(text, "block w1-1 r1-1 f1\n"
					  "luo w1-2 r1-9 f32\n");
		kho_manifest_free(manifest);
	}
}

static void assert_refused(const struct section *s, const char *error)
{
	struct kho_manifest *manifest = new_manifest();
	struct kho_error err;
	struct collection c = { .manifest = manifest, .err = &err };
	char expected[256];

	assert_int_equal(read_section(s, &c), -EBADMSG);
	snprintf(expected, sizeof(expected),
		 "vmlinux: .liveupdate_versions at offset %s", error);
	assert_string_equal(err.text, expected);
	assert_int_equal(err.code, -EBADMSG);
	kho_manifest_free(manifest);
}

static void refused(void **state)
{
	static const struct {
		const char *string, *error;
	} cases[] = {
		{ "", "0x1038: empty token at byte 0" },
		{ "kho", "0x1038: 'kho' at byte 0 has no version, expected "
			 "name-vN" },
		{ "kho-v4;", "0x1038: empty token at byte 7" },
		{ "kho-v4;radix-v1;radix-v2",
		  "0x1038: 'radix' at byte 16 has two versions, 1 and 2" },
		{ "Kho-v4", "0x1038: 'K' at byte 0: a name begins with one of "
			    "a-z" },
		{ "kho\xff-v4",
		  "0x1038: 0xff at byte 3: a name has only a-z, 0-9 and -" },
		{ "kho\x1b-v4",
		  "0x1038: 0x1b at byte 3: a name has only a-z, 0-9 and -" },
		{ "kho-v4294967296",
		  "0x1038: version at byte 5 is not from 1 to 4294967295" },
		{ "abcdefghijklmnopqrstuvw-v10;abcdefghijklmnopq-v1",
		  "0x1038: a string that is not terminated" },
	};
	struct section good, s;
	size_t i;

	(void)state;
	begin(&good);
	add(&good, "luo-v5;block-v1");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s = good;
		add(&s, cases[i].string);
		assert_refused(&s, cases[i].error);
	}
	for (i = 0; i < good.size; i++) {
		s = good;
		s.size = i;
		if (i < 8)
			assert_refused(&s, "0x1000: too short for its header");
		else if (i > 8)
			assert_refused(&s, "0x1000: its size is not that of a "
					   "header and strings of 48 bytes");
	}
	s = good;
	s.bytes[0] ^= 1;
	assert_refused(&s, "0x1000: its magic number is wrong");
	s = good;
	s.bytes[4] = 2;
	assert_refused(&s, "0x1000: it has a version that is not known: use a "
			   "newer kho");
}

/* As much as there may be, and one more. */
static void limits(void **state)
{
	struct kho_manifest *manifest = new_manifest();
	struct collection c = { .manifest = manifest };
	struct section s;
	char string[48];
	size_t i;

	(void)state;
	begin(&s);
	for (i = 0; i < 1024; i++) {
		snprintf(string, sizeof(string), "a-v%zu;c-v%zu", i + 1,
			 2 * i + 1);
		add(&s, string);
	}
	assert_int_equal(read_section(&s, &c), 0);
	assert_int_equal(manifest->n, 2);
	assert_int_equal(manifest->entries[0].desc.read.min, 1);
	assert_int_equal(manifest->entries[0].desc.read.max, 1024);
	assert_int_equal(manifest->entries[1].desc.read.min, 2047);
	kho_manifest_free(manifest);
	add(&s, "a-v1");
	assert_refused(&s, "0x1000: too many strings");

	manifest = c.manifest = new_manifest();
	begin(&s);
	for (i = 0; i < 256; i++) {
		snprintf(string, sizeof(string), "c%zu-v1", i);
		add(&s, string);
	}
	assert_int_equal(read_section(&s, &c), 0);
	assert_int_equal(manifest->n, 256);
	kho_manifest_free(manifest);
	add(&s, "one-more-v1");
	assert_refused(&s, "0x4008: too many components");

	begin(&s);
	add(&s, "a-v1;b-v1;c-v1;d-v1;e-v1;f-v1;g-v1;h-v1;i-v1");
	manifest = c.manifest = new_manifest();
	assert_int_equal(read_section(&s, &c), 0);
	assert_int_equal(manifest->n, 9);
	kho_manifest_free(manifest);
	add(&s, "a-v2;j-v1");
	assert_refused(&s, "0x1038: a component with more than 8 dependencies");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections),
		cmocka_unit_test(with_notes),
		cmocka_unit_test(refused),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
