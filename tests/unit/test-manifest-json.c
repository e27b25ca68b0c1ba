// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Manifests in JSON: written and read back, written by hand, and hostile. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include <kho/manifest.h>

#include "compat/component.h"
#include "compat/manifest.h"
#include "seed.h"

#define HEAD "{\"schema\":\"kho-manifest\",\"version\":1,"
#define ONE "\"name\":\"one\",\"read\":{\"min\":1,\"max\":1}"
#define COMPONENTS(list) HEAD "\"components\":[" list "]}"
#define COMPONENT(members) COMPONENTS("{" ONE "," members "}")

static int parse(const char *text, struct kho_manifest **manifest,
		 struct kho_error *err)
{
	/* A copy of that size: a sanitizer sees a byte too far. */
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);
	int ret;

	assert_non_null(copy);
	memcpy(copy, text, len);
	ret = kho_manifest_parse(copy, len, "F", manifest, err);
	free(copy);
	return ret;
}

static void assert_same(const struct kho_manifest *a,
			const struct kho_manifest *b)
{
	size_t i;

	assert_int_equal(a->n_sources, b->n_sources);
	for (i = 0; i < a->n_sources; i++)
		assert_string_equal(a->sources[i], b->sources[i]);
	assert_int_equal(a->n, b->n);
	for (i = 0; i < a->n; i++) {
		assert_memory_equal(&a->entries[i].desc, &b->entries[i].desc,
				    sizeof(a->entries[i].desc));
		assert_int_equal(a->entries[i].source, b->entries[i].source);
		assert_ptr_equal(a->entries[i].bundle, b->entries[i].bundle);
	}
}

static void assert_round_trip(const struct kho_manifest *manifest)
{
	char *text = kho_manifest_json(manifest), *again;
	struct kho_manifest *read;
	struct kho_error err;

	assert_non_null(text);
	if (parse(text, &read, &err))
		fail_msg("%s\n%s", err.text, text);
	assert_string_equal(read->target, "F");
	assert_same(manifest, read);
	/* And once more, the target aside. */
	free(read->target);
	read->target = strdup(manifest->target);
	again = kho_manifest_json(read);
	assert_string_equal(again, text);
	free(again);
	free(text);
	kho_manifest_free(read);
}

static size_t pick(size_t n)
{
	return (size_t)(rnd() % n);
}

static uint32_t random_version(void)
{
	return (uint32_t)(1 + pick(pick(2) ? 4 : UINT32_MAX));
}

static struct kho_range random_range(void)
{
	uint32_t a = random_version(), b = random_version();

	return a < b ? (struct kho_range){ a, b } : (struct kho_range){ b, a };
}

static void random_desc(struct kho_component_desc *desc, size_t i)
{
	size_t j, n = pick(KHO_DEPS_MAX + 1);

	snprintf(desc->name, sizeof(desc->name), "c%zu", i);
	for (j = 0; j < n; j++)
		snprintf(desc->deps[j], sizeof(desc->deps[j]), "%s%zu",
			 pick(2) ? "d" : "no-such-component-0", 10 * i + j);
	desc->flags = (uint32_t)pick(64);
	if (pick(4))
		desc->write = random_range();
	if (pick(4) || !desc->write.max)
		desc->read = random_range();
	if (desc->write.min < desc->write.max)
		desc->flags |= KHO_COMPONENT_CONVERT;
}

/* As the loader might have left it: any paths, as long as they are UTF-8. */
static struct kho_manifest *random_manifest(void)
{
	static const char *const paths[] = {
		"prog",
		"./a b",
		"/lib/\"quoted\"\\.so",
		"/lib/\xc3\xa4\n\t\x7f",
		"/lib/\xf0\x9f\x90\xa7",
	};
	struct kho_manifest *manifest = manifest_new(paths[pick(5)]);
	size_t i, n = 1 + pick(pick(8) ? 8 : MANIFEST_MAX);
	size_t n_sources = 1 + pick(5);

	assert_non_null(manifest);
	for (i = 0; i < n_sources; i++)
		assert_int_equal(manifest_add_source(manifest, paths[i]), 0);
	for (i = 0; i < n; i++) {
		struct kho_component_desc desc = { 0 };

		random_desc(&desc, i);
		assert_int_equal(desc_check(&desc, NULL), 0);
		assert_int_equal(manifest_append(manifest, &desc,
						 pick(n_sources)),
				 0);
	}
	assert_int_equal(manifest_finish(manifest, NULL), 0);
	return manifest;
}

static void round_trips(void **state)
{
	int round;

	(void)state;
	for (round = 0; round < 300; round++) {
		struct kho_manifest *manifest = random_manifest();

		assert_round_trip(manifest);
		kho_manifest_free(manifest);
	}
}

/* What a path has that is not UTF-8 is not in a document. */
static void not_utf8(void **state)
{
	struct kho_component_desc desc = { .name = "one", .read = { 1, 1 } };
	struct kho_manifest *manifest = manifest_new("x"), *read;
	char *text;

	(void)state;
	manifest_add_source(manifest, "a\xff\xc0\x80z\xfc\x80\x80\x80");
	manifest_append(manifest, &desc, 0);
	text = kho_manifest_json(manifest);
	assert_int_equal(parse(text, &read, NULL), 0);
#define BAD "\xef\xbf\xbd"
	assert_string_equal(read->sources[0],
			    "a" BAD BAD BAD "z" BAD BAD BAD BAD);
	assert_int_equal(read->entries[0].source, 0);
	free(text);
	kho_manifest_free(read);
	kho_manifest_free(manifest);
}

/* By hand, and as the first version of the library wrote it. */
static void defaults(void **state)
{
	static const char text[] =
		"\n\t" HEAD "\"x\":[null,{\"y\":1e9}],\"components\":["
		"{\"name\":\"b\",\"write\":{\"min\":1,\"max\":2,\"z\":0},"
		"\"read\":null,\"structure\":true,\"deps\":[\"d\",\"a\"]},"
		"{\"name\":\"a\",\"read\":{\"min\":3,\"max\":4294967295}},"
		"{\"name\":\"c\",\"write\":{\"min\":1,\"max\":1},"
		"\"check\":true,\"can_write\":true,\"convert\":true,"
		"\"optional\":true,\"handler\":true}]}\r\n ";
	struct kho_component_desc b = {
		.flags = KHO_COMPONENT_STRUCTURE | KHO_COMPONENT_CONVERT,
		.write = { 1, 2 },
		.name = "b",
		.deps = { "d", "a" },
	};
	struct kho_component_desc a = { .read = { 3, UINT32_MAX },
					.name = "a" };
	struct kho_component_desc c = {
		.flags = KHO_COMPONENT_OPTIONAL | KHO_COMPONENT_HANDLER |
			 KHO_COMPONENT_CHECK | KHO_COMPONENT_CAN_WRITE |
			 KHO_COMPONENT_CONVERT,
		.write = { 1, 1 },
		.name = "c",
	};
	struct kho_manifest *manifest;

	(void)state;
	assert_int_equal(parse(text, &manifest, NULL), 0);
	assert_int_equal(manifest->n, 3);
	assert_memory_equal(&manifest->entries[0].desc, &a, sizeof(a));
	assert_memory_equal(&manifest->entries[1].desc, &b, sizeof(b));
	assert_memory_equal(&manifest->entries[2].desc, &c, sizeof(c));
	assert_int_equal(manifest->n_sources, 1);
	assert_string_equal(manifest->sources[0], "F");
	assert_int_equal(manifest->entries[2].source, 0);
	assert_null(manifest->entries[2].bundle);
	kho_manifest_free(manifest);
}

static void file(void **state)
{
	static const char text[] = " \n" COMPONENT("\"deps\":[\"two\"]");
	struct kho_manifest *manifest;
	struct kho_error err;
	const size_t limit = 16 << 20;
	char *blanks;
	int fd = memfd_create("json", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(kho_manifest_read(fd, "path", &manifest, NULL), 0);
	assert_string_equal(manifest->target, "path");
	assert_string_equal(manifest->entries[0].desc.name, "one");
	kho_manifest_free(manifest);

	/* As large as is read, and a byte larger. */
	blanks = malloc(limit + 1);
	memset(blanks, ' ', limit + 1);
	assert_true(pwrite(fd, blanks, limit - strlen(text),
			   (off_t)strlen(text)) > 0);
	assert_int_equal(kho_manifest_read(fd, "path", &manifest, NULL), 0);
	kho_manifest_free(manifest);
	assert_int_equal(pwrite(fd, " ", 1, (off_t)limit), 1);
	assert_int_equal(kho_manifest_read(fd, "path", &manifest, &err),
			 -EBADMSG);
	assert_string_equal(err.text, "path: has more than 16 MiB: JSON that "
				      "large is not read");
	assert_int_equal(kho_manifest_parse(blanks, limit + 1, "F", &manifest,
					    &err),
			 -EBADMSG);
	assert_string_equal(err.text, "F: has more than 16 MiB: JSON that "
				      "large is not read");
	free(blanks);
	close(fd);
}

struct refused {
	const char *text;
	const char *error; /* NULL: any that names the line */
	int code; /* 0: -EBADMSG */
};

static void assert_refused(const struct refused *cases, size_t n)
{
	struct kho_manifest *manifest;
	struct kho_error err;
	size_t i;

	for (i = 0; i < n; i++) {
		int code = cases[i].code ? cases[i].code : -EBADMSG;

		if (parse(cases[i].text, &manifest, &err) != code)
			fail_msg("was not refused: %s", cases[i].text);
		assert_int_equal(err.code, code);
		assert_null(strchr(err.text, '\n'));
		if (cases[i].error ? strcmp(err.text, cases[i].error) != 0 :
				     strncmp(err.text, "F: line ", 8) != 0)
			fail_msg("%s\n  %s\ninstead of\n  %s", cases[i].text,
				 err.text,
				 cases[i].error ? cases[i].error : "a line");
		assert_int_equal(parse(cases[i].text, &manifest, NULL), code);
	}
}

#define ASSERT_REFUSED(cases)                                                  \
	assert_refused(cases, sizeof(cases) / sizeof(cases[0]))

/* The text as such. */
static void bad_text(void **state)
{
	static const char not_object[] =
		"F: not a JSON object, which begins with '{'";
	static const struct refused cases[] = {
		{ "", not_object, 0 },
		{ "  \n", not_object, 0 },
		{ "null", not_object, 0 },
		{ "[1]", not_object, 0 },
		{ "\"{\"", not_object, 0 },
		{ "\xef\xbb\xbf{}",
		  "F: begins with a byte order mark, which is no JSON: save it "
		  "as UTF-8 without one",
		  0 },
		{ "{", "F: line 1, column 2: the end is missing", 0 },
		{ "{\n\n \"a\":\n1", "F: line 4, column 2: the end is missing",
		  0 },
		{ "{} {}", "F: line 1, column 4: something behind the end", 0 },
		{ "{}\n}", "F: line 2, column 1: something behind the end", 0 },
		{ "{} x", "F: line 1, column 4: unexpected 'x'", 0 },
		{ "{}\x01", "F: line 1, column 3: unexpected byte 0x01", 0 },
		{ "{\"a\":1,}", NULL, 0 },
		{ "{\"a\":[1,]}", NULL, 0 },
		{ "{\"a\":01}", NULL, 0 },
		{ "{\"a\":+1}", NULL, 0 },
		{ "{\"a\":.5}", NULL, 0 },
		{ "{\"a\":0x1}", "F: line 1, column 7: unexpected 'x'", 0 },
		{ "{\"a\":NaN}", "F: line 1, column 6: unexpected 'N'", 0 },
		{ "{\"a\":-Infinity}",
		  "F: line 1, column 6: '-' is neither a number nor true, "
		  "false or null",
		  0 },
		{ "{\"a\":True}", "F: line 1, column 6: unexpected 'T'", 0 },
		{ "{\"a\":nul}", NULL, 0 },
		{ "{\"a\":truE}", NULL, 0 },
		{ "{\"a\":nulll}", NULL, 0 },
		{ "{\"a\":-}", NULL, 0 },
		{ "{\"a\":--1}", NULL, 0 },
		{ "{\"a\":-01}", NULL, 0 },
		{ "{\"a\":00}", NULL, 0 },
		{ "{\"a\":1.}", NULL, 0 },
		{ "{\"a\":1.e1}", NULL, 0 },
		{ "{\"a\":1e}", NULL, 0 },
		{ "{\"a\":1e+}", NULL, 0 },
		{ "{\"a\":1-2}",
		  "F: line 1, column 6: '1-2' is neither a number nor true, "
		  "false or null",
		  0 },
		{ "{\"a\":[1,\n ]}", "F: line 2, column 2: a comma before ']'",
		  0 },
		{ "{'a':1}", "F: line 1, column 2: unexpected '''", 0 },
		{ "{a:1}", NULL, 0 },
		{ "{\"a\" 1}", NULL, 0 },
		{ "{\"a\":1 \"b\":2}", NULL, 0 },
		{ "{/**/}", "F: line 1, column 2: unexpected '/'", 0 },
		{ "{\"a\":\"b\nc\"}",
		  "F: line 1, column 8: a control character in a string", 0 },
		{ "{\"a\":\"\\x\"}", NULL, 0 },
		{ "{\"a\":\"\\u12\"}", NULL, 0 },
		{ "{\"a\":]}", NULL, 0 },
		{ "{\"a\":[}", NULL, 0 },
		{ "{]", NULL, 0 },
		/* UTF-8: alone, overlong, a surrogate, too high, cut */
		{ "{\"a\":\"\x80\"}", "F: line 1, column 7: this is not UTF-8",
		  0 },
		{ "{\"a\":\"x\xc0\x80\"}",
		  "F: line 1, column 8: this is not UTF-8", 0 },
		{ "{\"a\":\"\xe0\x80\x80\"}",
		  "F: line 1, column 7: this is not UTF-8", 0 },
		{ "{\"a\":\"\xed\xa0\x80\"}",
		  "F: line 1, column 7: this is not UTF-8", 0 },
		{ "{\"a\":\"\xf4\x90\x80\x80\"}",
		  "F: line 1, column 7: this is not UTF-8", 0 },
		{ "{\"a\":\"\xfc\x80\x80\x80\"}",
		  "F: line 1, column 7: this is not UTF-8", 0 },
		{ "{\"a\":\"\xe2\x82", "F: line 1, column 7: this is not UTF-8",
		  0 },
		{ "{\"\xff\":1}", "F: line 1, column 3: this is not UTF-8", 0 },
		/* members */
		{ "{\"a\":1,\n \"b\":2,\n \"a\":3}",
		  "F: line 3, column 3: member 'a' is there twice", 0 },
		{ "{\"b\":{\"a\":1,\"c\":2,\"a\":3,\"c\":4}}",
		  "F: line 1, column 20: member 'a' is there twice", 0 },
		{ "{\"x\":[{\"a\":1},{\"a\":1,\"a\" : 1}]}",
		  "F: line 1, column 23: member 'a' is there twice", 0 },
		{ "{\"\":1,\"\":1}",
		  "F: line 1, column 8: member '' is there twice", 0 },
		{ "{\"a\\u0062\":1}",
		  "F: line 1, column 3: an escape in the name of a member", 0 },
		{ "{\"a\\\"\":1}",
		  "F: line 1, column 3: an escape in the name of a member", 0 },
	};

	(void)state;
	ASSERT_REFUSED(cases);
}

/* Whatever is JSON, in members that nobody knows. */
static void good_text(void **state)
{
	static const char *const cases[] = {
		"0",
		"-0",
		"-0.5e-3",
		"1E+2",
		"1e400",
		"10203",
		"true",
		"[ ]",
		"{ }",
		"[false , null]",
		"\"\"",
		"\",\"",
		"\"[1,]\"",
		"\"\x7f\"",
		"\"\\u00e4\"",
		"\"ä\"",
		"\"\u20ac\"",
		"\"\U0001f600\"",
		"-18446744073709551616",
		"100000000000000000000000000000000000000000000000000000000000",
	};
	struct kho_manifest *manifest;
	struct kho_error err;
	char text[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text),
			 COMPONENT("\"write\":null,\"ä\":%s"), cases[i]);
		if (parse(text, &manifest, &err))
			fail_msg("%s: %s", cases[i], err.text);
		kho_manifest_free(manifest);
	}
}

/* What is in it. */
static void bad_document(void **state)
{
	static const char version[] =
		"F: components[0].write.min: not an integer from 1 to "
		"4294967295";
	static const char boolean[] = "neither true nor false";
	static const struct refused cases[] = {
		{ "{}", "F: schema: is missing", 0 },
		{ "{\"schema\":1}", "F: schema: not a string", 0 },
		{ "{\"schema\":null}", "F: schema: not a string", 0 },
		{ "{\"schema\":\"kho-report\"}",
		  "F: schema: not 'kho-manifest'", 0 },
		{ "{\"schema\":\"kho-manifest\\u0000\"}",
		  "F: schema: has a NUL in it", 0 },
		{ "{\"schema\":\"kho-manifest\"}", "F: version: is missing",
		  0 },
		{ "{\"schema\":\"kho-manifest\",\"version\":\"1\"}",
		  "F: version: not an integer from 1 to 4294967295", 0 },
		{ "{\"schema\":\"kho-manifest\",\"version\":1.0}",
		  "F: version: not an integer from 1 to 4294967295", 0 },
		{ "{\"schema\":\"kho-manifest\",\"version\":2}",
		  "F: version: is 2, only version 1 is known", 0 },
		{ HEAD "\"target\":1}", "F: target: not a string", 0 },
		{ HEAD "\"sources\":{}}", "F: sources: not an array", 0 },
		{ HEAD "\"sources\":[\"a\",1]}", "F: sources[1]: not a string",
		  0 },
		{ HEAD "\"sources\":[\"a\",null]}",
		  "F: sources[1]: not a string", 0 },
		{ HEAD "\"x\":1}", "F: components: is missing", 0 },
		{ HEAD "\"components\":null}", "F: components: not an array",
		  0 },
		{ HEAD "\"components\":{}}", "F: components: not an array", 0 },
		{ COMPONENTS(""), "F: has no component", -ENODATA },
		{ COMPONENTS("1"), "F: components[0]: not an object", 0 },
		{ COMPONENTS("null"), "F: components[0]: not an object", 0 },
		{ COMPONENTS("{" ONE "},[]"), "F: components[1]: not an object",
		  0 },
		{ COMPONENTS("{}"), "F: components[0].name: is missing", 0 },
		{ COMPONENTS("{\"name\":1}"),
		  "F: components[0].name: not a string", 0 },
		{ COMPONENTS("{\"name\":\"\"}"),
		  "F: components[0].name: empty name at byte 0", 0 },
		{ COMPONENTS("{\"name\":\"A\"}"),
		  "F: components[0].name: 'A' at byte 0: a name begins with "
		  "one of a-z",
		  0 },
		{ COMPONENTS("{\"name\":\"a\\u001b\"}"),
		  "F: components[0].name: 0x1b at byte 1: a name has only a-z, "
		  "0-9 and -",
		  0 },
		{ COMPONENTS("{\"name\":\"a\\u0000b\"}"),
		  "F: components[0].name: has a NUL in it", 0 },
		{ COMPONENTS("{\"name\":\"abcdefghijklmnopqrstuvwx\"}"),
		  "F: components[0].name: name 'abcdefghijklmnopqrstuvw...' has "
		  "more than 23 characters",
		  0 },
		{ COMPONENTS("{\"name\":\"a\"}"),
		  "F: components[0]: component 'a' has no version at all", 0 },
		{ COMPONENTS("{" ONE "},{" ONE "}"),
		  "F: components[1]: component 'one' is there twice", 0 },
		/* versions */
		{ COMPONENT("\"write\":1"),
		  "F: components[0].write: neither a range of versions nor "
		  "null",
		  0 },
		{ COMPONENT("\"write\":[1,1]"),
		  "F: components[0].write: neither a range of versions nor "
		  "null",
		  0 },
		{ COMPONENT("\"write\":{}"),
		  "F: components[0].write.min: is missing", 0 },
		{ COMPONENT("\"write\":{\"min\":1}"),
		  "F: components[0].write.max: is missing", 0 },
		{ COMPONENT("\"write\":{\"min\":2,\"max\":1}"),
		  "F: components[0].write: 2 to 1 is no range", 0 },
		{ COMPONENT("\"write\":{\"min\":0,\"max\":1}"), version, 0 },
		{ COMPONENT("\"write\":{\"min\":-1,\"max\":1}"), version, 0 },
		{ COMPONENT("\"write\":{\"min\":1e3,\"max\":1}"), version, 0 },
		{ COMPONENT("\"write\":{\"min\":1.5,\"max\":1}"), version, 0 },
		{ COMPONENT("\"write\":{\"min\":4294967296,\"max\":1}"),
		  version, 0 },
		{ COMPONENT("\"write\":{\"min\":18446744073709551615,"
			    "\"max\":1}"),
		  version, 0 },
		{ COMPONENT("\"write\":{\"min\":18446744073709551616,"
			    "\"max\":1}"),
		  version, 0 },
		{ COMPONENT("\"write\":{\"min\":18446744073709551617,"
			    "\"max\":1}"),
		  version, 0 },
		{ COMPONENT("\"write\":{\"min\":-18446744073709551615,"
			    "\"max\":1}"),
		  version, 0 },
		{ COMPONENT("\"write\":{\"min\":\"1\",\"max\":1}"), version,
		  0 },
		{ COMPONENT("\"write\":{\"min\":true,\"max\":1}"), version, 0 },
		{ COMPONENT("\"write\":{\"min\":null,\"max\":1}"), version, 0 },
		{ COMPONENT("\"write\":{\"min\":[1],\"max\":1}"), version, 0 },
		{ COMPONENT("\"write\":{\"min\":1,\"max\":4294967296}"),
		  "F: components[0].write.max: not an integer from 1 to "
		  "4294967295",
		  0 },
		{ COMPONENTS("{\"name\":\"a\",\"read\":{\"min\":1,\"max\":0}}"),
		  "F: components[0].read.max: not an integer from 1 to "
		  "4294967295",
		  0 },
		{ COMPONENT("\"write\":{\"min\":1,\"max\":2},"
			    "\"convert\":false"),
		  "F: components[0]: component 'one' writes versions 1 to 2, "
		  "and has no convert to get from one to the other",
		  0 },
		/* dependencies */
		{ COMPONENT("\"deps\":null"),
		  "F: components[0].deps: not an array", 0 },
		{ COMPONENT("\"deps\":\"a\""),
		  "F: components[0].deps: not an array", 0 },
		{ COMPONENT("\"deps\":[1]"),
		  "F: components[0].deps[0]: not a string", 0 },
		{ COMPONENT("\"deps\":[\"a\",\"a-v1\"]"),
		  "F: components[0].deps[1]: name 'a-v1' at byte 0 ends like a "
		  "version, in -vN",
		  0 },
		{ COMPONENT("\"deps\":[\"a\",\"b\",\"a\"]"),
		  "F: components[0]: component 'one' names dependency 'a' "
		  "twice",
		  0 },
		{ COMPONENT("\"deps\":[\"one\"]"),
		  "F: components[0]: component 'one' depends on itself", 0 },
		{ COMPONENT("\"deps\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\","
			    "\"g\",\"h\",\"i\"]"),
		  "F: components[0].deps: has 9 elements, more than 8", 0 },
		{ COMPONENT("\"source\":1"),
		  "F: components[0].source: not a string", 0 },
		{ COMPONENT("\"source\":\"x\""),
		  "F: components[0].source: not one of the document's sources",
		  0 },
		{ COMPONENT("\"bundle\":1"),
		  "F: components[0].bundle: not a string", 0 },
	};
	static const char *const booleans[] = {
		"structure", "optional",  "handler",
		"check",     "can_write", "convert",
	};
	static const char *const values[] = { "null",	  "0",	"1",
					      "\"true\"", "[]", "{}" };
	char text[512], error[128];
	size_t i, j;

	(void)state;
	ASSERT_REFUSED(cases);
	for (i = 0; i < sizeof(booleans) / sizeof(booleans[0]); i++) {
		for (j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			const struct refused one = { text, error, 0 };

			snprintf(text, sizeof(text),
				 COMPONENTS("{" ONE ",\"%s\":%s}"), booleans[i],
				 values[j]);
			snprintf(error, sizeof(error),
				 "F: components[0].%s: %s", booleans[i],
				 boolean);
			assert_refused(&one, 1);
		}
	}
}

/* Very much of something, each once as much as there may be. */
static void limits(void **state)
{
	static const struct {
		const char *begin, *each, *end;
		size_t good; /* copies of @each */
		const char *error; /* with one more */
	} cases[] = {
		{ HEAD "\"components\":[{" ONE "}],\"sources\":[\"\"", ",\"a\"",
		  "]}", 1023, "F: sources: has 1025 elements, more than 1024" },
		{ HEAD "\"components\":[{" ONE "}],\"x\":", "[", NULL, 31,
		  "F: line 1, column 128: more than 32 objects and arrays in "
		  "each other" },
		{ HEAD "\"components\":[{" ONE "}],\"x\":[[]", ",[]", "]}",
		  49994, "F: line 1, column 150083: more than 100000 values" },
	};
	struct kho_manifest *manifest;
	struct kho_error err;
	size_t i, j, more;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (more = 0; more < 2; more++) {
			size_t n = cases[i].good + more, size;
			char *text;
			FILE *out = open_memstream(&text, &size);

			fputs(cases[i].begin, out);
			for (j = 0; j < n; j++)
				fputs(cases[i].each, out);
			for (j = 0; !cases[i].end && j < n; j++)
				fputc(']', out);
			fputs(cases[i].end ? cases[i].end : "}", out);
			fclose(out);
			if (more) {
				assert_int_equal(parse(text, &manifest, &err),
						 -EBADMSG);
				assert_string_equal(err.text, cases[i].error);
			} else if (parse(text, &manifest, &err)) {
				fail_msg("%s", err.text);
			} else {
				kho_manifest_free(manifest);
			}
			free(text);
		}
	}
}

static void many_components(void **state)
{
	struct kho_manifest *manifest;
	struct kho_error err;
	size_t n, i, size;

	(void)state;
	for (n = MANIFEST_MAX; n <= MANIFEST_MAX + 1; n++) {
		char *text;
		FILE *out = open_memstream(&text, &size);

		fputs(HEAD "\"components\":[", out);
		for (i = 0; i < n; i++)
			fprintf(out,
				"%s{\"name\":\"c%zu\","
				"\"write\":{\"min\":1,\"max\":1}}",
				i ? "," : "", i);
		fputs("]}", out);
		fclose(out);
		if (n == MANIFEST_MAX) {
			assert_int_equal(parse(text, &manifest, NULL), 0);
			assert_int_equal(manifest->n, MANIFEST_MAX);
			kho_manifest_free(manifest);
		} else {
			assert_int_equal(parse(text, &manifest, &err),
					 -EBADMSG);
			assert_string_equal(err.text,
					    "F: components: has 257 elements, "
					    "more than 256");
		}
		free(text);
	}
}

/* Cut anywhere it is an error. */
static void truncated(void **state)
{
	struct kho_manifest *manifest = random_manifest(), *read;
	char *text = kho_manifest_json(manifest);
	size_t len, whole = strlen(text);
	struct kho_error err;

	(void)state;
	for (len = 0; len < whole && len < 20000; len++) {
		char *copy = malloc(len ? len : 1);

		memcpy(copy, text, len);
		assert_int_equal(kho_manifest_parse(copy, len, "F", &read,
						    &err),
				 -EBADMSG);
		if (len && !strstr(err.text, ": the end is missing") &&
		    !strstr(err.text, ": this is not UTF-8"))
			fail_msg("%s", err.text);
		free(copy);
	}
	free(text);
	kho_manifest_free(manifest);
}

/* A component of a manifest, as text: "name w1-1 r1-1 f1 dep,dep BUNDLE". */
static void describe(const struct kho_manifest *manifest, char *text,
		     size_t size)
{
	size_t i, j, len = 0;

	text[0] = '\0';
	for (i = 0; i < manifest->n; i++) {
		const struct kho_manifest_entry *e = &manifest->entries[i];

		len += (size_t)snprintf(text + len, size - len,
					"%s w%u-%u r%u-%u f%u ", e->desc.name,
					e->desc.write.min, e->desc.write.max,
					e->desc.read.min, e->desc.read.max,
					e->desc.flags);
		for (j = 0; j < KHO_DEPS_MAX && e->desc.deps[j][0]; j++)
			len += (size_t)snprintf(text + len, size - len, "%s%s",
						j ? "," : "", e->desc.deps[j]);
		len += (size_t)snprintf(text + len, size - len, " %s\n",
					e->bundle ? e->bundle : "-");
	}
}

/* Linux's monolithic versions stand for others. */
static void bundles(void **state)
{
#define R(min, max) "{\"min\":" #min ",\"max\":" #max "}"
#define RW(name, version)                                                      \
	"{\"name\":\"" name                                                    \
	"\",\"read\":" R(version, version) ",\"write\":" R(version, version)
	static const struct {
		const char *text, *manifest;
	} cases[] = {
		{ COMPONENTS(RW("kho", 4) "}"),
		  "block w1-1 r1-1 f1  kho-v4\n"
		  "kho w4-4 r4-4 f0 block,radix,vmalloc -\n"
		  "radix w1-1 r1-1 f1  kho-v4\n"
		  "vmalloc w1-1 r1-1 f1  kho-v4\n" },
		/* all of Linux; a part belongs to who came first by name */
		{ COMPONENTS(
			  RW("memfd",
			     2) "}," RW("kho",
					4) "}," RW("luo",
						   5) "}," RW("memblock",
							      1) "}," RW("kexec-"
									 "metadata",
									 1) "}"),
		  NULL },
		/* what is there is what counts */
		{ COMPONENTS(RW("luo", 5) "}," RW("block", 2) "}"),
		  "block w2-2 r2-2 f0  -\n"
		  "luo w5-5 r5-5 f0 block -\n" },
		/* no monoliths: dependencies, another version */
		{ COMPONENTS(RW("kho", 4) ",\"deps\":[\"radix\"]}"),
		  "kho w4-4 r4-4 f0 radix -\n" },
		{ COMPONENTS(RW("kho", 3) "}"), "kho w3-3 r3-3 f0  -\n" },
		{ COMPONENTS(RW("memfd", 1) "}"), "memfd w1-1 r1-1 f0  -\n" },
		/* the version that is written is the one in use */
		{ COMPONENTS(
			  "{\"name\":\"memfd\",\"read\":" R(1,
							    2) ",\"write\":" R(2,
									       2) "}"),
		  "memfd w2-2 r1-2 f0 vmalloc -\n"
		  "vmalloc w1-1 r1-1 f1  memfd-v2\n" },
		{ COMPONENTS("{\"name\":\"memfd\",\"read\":" R(1, 2) "}"),
		  "memfd w0-0 r1-2 f0 vmalloc -\n"
		  "vmalloc w1-1 r1-1 f1  memfd-v2\n" },
		{ COMPONENTS(
			  "{\"name\":\"memfd\",\"read\":" R(2,
							    3) ",\"write\":" R(3,
									       3) "}"),
		  "memfd w3-3 r2-3 f0  -\n" },
		{ COMPONENTS(
			  "{\"name\":\"memfd\",\"read\":" R(1,
							    3) ",\"write\":" R(2,
									       2) "}"),
		  "memfd w2-2 r1-3 f0 vmalloc -\n"
		  "vmalloc w1-1 r1-1 f1  memfd-v2\n" },
		/* read back from what an older or newer library wrote */
		{ COMPONENTS(RW("radix", 1) ",\"bundle\":\"kho-v4\"}"),
		  "radix w1-1 r1-1 f0  kho-v4\n" },
		{ COMPONENTS(RW("radix", 1) ",\"bundle\":\"kho-v99\"}"),
		  "radix w1-1 r1-1 f0  -\n" },
		{ COMPONENTS(RW("radix", 1) ",\"bundle\":null}"),
		  "radix w1-1 r1-1 f0  -\n" },
	};
	static const char all[] = "block w1-1 r1-1 f1  kho-v4\n"
				  "kexec-metadata w1-1 r1-1 f0  -\n"
				  "kho w4-4 r4-4 f0 block,radix,vmalloc -\n"
				  "luo w5-5 r5-5 f0 block -\n"
				  "memblock w1-1 r1-1 f0 reserve-mem -\n"
				  "memfd w2-2 r2-2 f0 vmalloc -\n"
				  "radix w1-1 r1-1 f1  kho-v4\n"
				  "reserve-mem w1-1 r1-1 f1  memblock-v1\n"
				  "vmalloc w1-1 r1-1 f1  kho-v4\n";
	struct kho_manifest *manifest;
	struct kho_error err;
	char text[2048];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (parse(cases[i].text, &manifest, &err))
			fail_msg("%s\n%s", cases[i].text, err.text);
		describe(manifest, text, sizeof(text));
		assert_string_equal(text, cases[i].manifest ?
						  cases[i].manifest :
						  all);
		assert_round_trip(manifest);
		kho_manifest_free(manifest);
	}
}

/* No room for what a bundle stands for. */
static void too_many_for_a_bundle(void **state)
{
	struct kho_component_desc desc = { .read = { 4, 4 } };
	struct kho_manifest *manifest = manifest_new("x");
	struct kho_error err;
	size_t i;

	(void)state;
	manifest_add_source(manifest, "x");
	for (i = 0; i < MANIFEST_MAX - 2; i++) {
		snprintf(desc.name, sizeof(desc.name), "c%zu", i);
		if (!i)
			strcpy(desc.name, "kho");
		manifest_append(manifest, &desc, 0);
	}
	assert_int_equal(manifest_finish(manifest, &err), -EBADMSG);
	assert_string_equal(err.text, "x: more than 256 components, with what "
				      "kho-v4 stands for");
	kho_manifest_free(manifest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(not_utf8),
		cmocka_unit_test(defaults),
		cmocka_unit_test(file),
		cmocka_unit_test(bad_text),
		cmocka_unit_test(good_text),
		cmocka_unit_test(bad_document),
		cmocka_unit_test(limits),
		cmocka_unit_test(many_components),
		cmocka_unit_test(truncated),
		cmocka_unit_test(bundles),
		cmocka_unit_test(too_many_for_a_bundle),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
