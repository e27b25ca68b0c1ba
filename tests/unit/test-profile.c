// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Profiles: read from text and from files, strictly, and written. */
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
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <kho/profile.h>

#define LIMIT (1 << 20)

/* Exactly @len bytes: a sanitizer sees the first one over. */
static int parse(const char *text, size_t len, struct kho_profile **profile,
		 struct kho_error *err)
{
	char *copy = malloc(len ? len : 1);
	int ret;

	memcpy(copy, text, len);
	*profile = NULL;
	ret = kho_profile_parse(copy, len, "f.json", profile, err);
	free(copy);
	return ret;
}

static struct kho_profile *parsed(const char *text)
{
	struct kho_profile *profile;
	struct kho_error err = { 0 };

	if (parse(text, strlen(text), &profile, &err))
		fail_msg("%s: %s", text, err.text);
	return profile;
}

#define BEGIN "{\"schema\":\"kho-profile\",\"version\":1,\"name\":\"q3\","
#define PINS(pins) BEGIN "\"pins\":{" pins "}}"

static void accepted(void **state)
{
	struct kho_profile *profile =
		parsed("\n {\"name\": \"fleet \\u00fc\", \"schema\": "
		       "\"kho-profile\", \"pins\": {\"vmalloc\": 1, \"block\": "
		       "4294967295, \"kexec-metadata\": 10, \"a\": 2}, "
		       "\"note\": [null, {\"pins\": 1}], \"version\": 1}\n");

	(void)state;
	assert_string_equal(profile->name, "fleet ü");
	assert_int_equal(profile->n, 4);
	assert_string_equal(profile->pins[0].name, "a");
	assert_string_equal(profile->pins[1].name, "block");
	assert_int_equal(profile->pins[1].version, UINT32_MAX);
	assert_string_equal(profile->pins[2].name, "kexec-metadata");
	assert_string_equal(profile->pins[3].name, "vmalloc");
	assert_int_equal(kho_profile_pin(profile, "a"), 2);
	assert_int_equal(kho_profile_pin(profile, "block"), UINT32_MAX);
	assert_int_equal(kho_profile_pin(profile, "kexec-metadata"), 10);
	assert_int_equal(kho_profile_pin(profile, "vmalloc"), 1);
	assert_int_equal(kho_profile_pin(profile, ""), 0);
	assert_int_equal(kho_profile_pin(profile, "kexec"), 0);
	assert_int_equal(kho_profile_pin(profile, "w"), 0);
	kho_profile_free(profile);

	profile = parsed(PINS(""));
	assert_int_equal(profile->n, 0);
	assert_int_equal(kho_profile_pin(profile, "a"), 0);
	kho_profile_free(profile);
	assert_int_equal(kho_profile_pin(NULL, "a"), 0);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "" },
		{ "null", "object" },
		{ "[]", "object" },
		{ "\"kho-profile\"", "object" },
		{ BEGIN "\"pins\":{}", "" },
		{ PINS("") "x", "" },
		{ PINS("") PINS(""), "" },
		{ PINS("") "\n// that was it", "" },
		{ "{}", "schema" },
		{ "{\"schema\":\"kho-manifest\",\"version\":1,\"name\":\"a\","
		  "\"pins\":{}}",
		  "schema" },
		{ "{\"schema\":7,\"version\":1,\"name\":\"a\",\"pins\":{}}",
		  "schema" },
		{ "{\"schema\":\"kho-profile\",\"version\":2,\"name\":\"a\","
		  "\"pins\":{}}",
		  "version" },
		{ "{\"schema\":\"kho-profile\",\"version\":\"1\",\"name\":\"a\","
		  "\"pins\":{}}",
		  "version" },
		{ "{\"schema\":\"kho-profile\",\"name\":\"a\",\"pins\":{}}",
		  "version" },
		/* the name */
		{ "{\"schema\":\"kho-profile\",\"version\":1,\"pins\":{}}",
		  "f.json: name: is missing" },
		{ "{\"schema\":\"kho-profile\",\"version\":1,\"name\":null,"
		  "\"pins\":{}}",
		  "f.json: name: not a string" },
		{ "{\"schema\":\"kho-profile\",\"version\":1,\"name\":\"\","
		  "\"pins\":{}}",
		  "f.json: name: is empty" },
		{ "{\"schema\":\"kho-profile\",\"version\":1,\"name\":\"a\\nb\","
		  "\"pins\":{}}",
		  "f.json: name: has a control character" },
		{ "{\"schema\":\"kho-profile\",\"version\":1,"
		  "\"name\":\"\\u007f\",\"pins\":{}}",
		  "f.json: name: has a control character" },
		{ "{\"schema\":\"kho-profile\",\"version\":1,"
		  "\"name\":\"a\\u0000b\",\"pins\":{}}",
		  "f.json: name: has a NUL in it" },
		{ "{\"schema\":\"kho-profile\",\"version\":1,\"name\":\""
		  "0123456789012345678901234567890123456789012345678901234567890"
		  "123\",\"pins\":{}}",
		  "f.json: name: has 64 bytes, more than 63" },
		{ "{\"schema\":\"kho-profile\",\"version\":1,\"name\":\"\xc3\","
		  "\"pins\":{}}",
		  "UTF-8" },
		/* the pins */
		{ "{\"schema\":\"kho-profile\",\"version\":1,\"name\":\"a\"}",
		  "f.json: pins: is missing" },
		{ BEGIN "\"pins\":[\"block\",1]}",
		  "f.json: pins: not an object" },
		{ BEGIN "\"pins\":null}", "f.json: pins: not an object" },
		{ PINS("\"Block\":1"), "f.json: pins: " },
		{ PINS("\"\":1"), "f.json: pins: " },
		{ PINS("\"block-v1\":1"), "f.json: pins: " },
		{ PINS("\"a-name-of-24-characters-\":1"),
		  "f.json: pins: name 'a-name-of-24-characters...' has more "
		  "than 23 characters" },
		{ PINS("\"a\":1,\"b\":1,\"a\":1"), "'a' is there twice" },
		{ BEGIN "\"pins\":{},\"pins\":{}}", "'pins' is there twice" },
		{ PINS("\"a\":0"), "f.json: pins.a: " },
		{ PINS("\"a\":-1"), "f.json: pins.a: " },
		{ PINS("\"a\":4294967296"), "f.json: pins.a: " },
		{ PINS("\"a\":18446744073709551617"), "f.json: pins.a: " },
		{ PINS("\"a\":1.0"), "f.json: pins.a: " },
		{ PINS("\"a\":1e0"), "f.json: pins.a: " },
		{ PINS("\"a\":\"1\""), "f.json: pins.a: " },
		{ PINS("\"a\":true"), "f.json: pins.a: " },
		{ PINS("\"a\":null"), "f.json: pins.a: " },
		{ PINS("\"a\":{\"min\":1,\"max\":1}"), "f.json: pins.a: " },
		{ PINS("\"b\":1,\"a\":[1]"), "f.json: pins.a: " },
		{ PINS("\"a\":01"), "" },
		{ PINS("\"a\":NaN"), "" },
		{ PINS("\"a\":1,"), "" },
		{ PINS("'a':1"), "" },
	};
	struct kho_profile *profile;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kho_error err = { 0 };

		if (parse(cases[i].text, strlen(cases[i].text), &profile,
			  &err) != -EBADMSG)
			fail_msg("%s: accepted", cases[i].text);
		assert_int_equal(err.code, -EBADMSG);
		assert_int_equal(strncmp(err.text, "f.json: ", 8), 0);
		assert_null(strchr(err.text, '\n'));
		if (!strstr(err.text, cases[i].why))
			fail_msg("%s: %s", cases[i].text, err.text);
		assert_int_equal(parse(cases[i].text, strlen(cases[i].text),
				       &profile, NULL),
				 -EBADMSG);
	}
}

/* The longest name there is. */
static void longest_name(void **state)
{
	struct kho_profile *profile =
		parsed("{\"schema\":\"kho-profile\",\"version\":1,\"name\":\""
		       "0123456789012345678901234567890123456789012345678901234"
		       "56789012\",\"pins\":{\"abcdefghijklmnopqrstuvw\":1}}");

	(void)state;
	assert_int_equal(strlen(profile->name), KHO_PROFILE_NAME_SIZE - 1);
	assert_int_equal(kho_profile_pin(profile, "abcdefghijklmnopqrstuvw"),
			 1);
	kho_profile_free(profile);
}

static void size_limit(void **state)
{
	static const char text[] = PINS("\"a\":1");
	char *large = malloc(LIMIT + 1);
	struct kho_profile *profile;
	struct kho_error err;

	(void)state;
	memset(large, ' ', LIMIT + 1);
	memcpy(large, text, strlen(text));
	assert_int_equal(parse(large, LIMIT, &profile, &err), 0);
	kho_profile_free(profile);
	assert_int_equal(parse(large, LIMIT + 1, &profile, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "has more than 1 MiB"));
	free(large);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct kho_pin *)a)->name,
		      ((const struct kho_pin *)b)->name);
}

/* Names in an order that is not theirs; each is found, no other is. */
static void many_pins(void **state)
{
	struct kho_profile *profile;
	char *text = NULL, name[16];
	size_t size, i;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	fputs(BEGIN "\"pins\":{", out);
	for (i = 0; i < 5000; i++)
		fprintf(out, "%s\"n%zu\":%zu", i ? "," : "", i * 1777 % 5000,
			i + 1);
	fputs("}}", out);
	fclose(out);
	profile = parsed(text);
	free(text);
	assert_int_equal(profile->n, 5000);
	for (i = 1; i < profile->n; i++)
		assert_true(by_name(&profile->pins[i - 1], &profile->pins[i]) <
			    0);
	for (i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "n%zu", i * 1777 % 5000);
		assert_int_equal(kho_profile_pin(profile, name), i + 1);
	}
	assert_int_equal(kho_profile_pin(profile, "n5000"), 0);
	kho_profile_free(profile);
}

static void written(void **state)
{
	struct kho_profile *profile = parsed(PINS("\"b\":4294967295,\"a\":1")),
			   *again;
	char *text = kho_profile_json(profile);
	char *a = strstr(text, "\"a\""), *b = strstr(text, "\"b\"");

	(void)state;
	assert_non_null(a);
	assert_true(a < b);
	again = parsed(text);
	assert_string_equal(again->name, profile->name);
	assert_int_equal(again->n, 2);
	assert_memory_equal(again->pins, profile->pins,
			    2 * sizeof(profile->pins[0]));
	free(text);
	free(again);
	kho_profile_free(profile);
}

static void open_path(const char *name, int expected, const char *why)
{
	struct kho_profile *profile;
	struct kho_error err = { 0 };
	int ret = kho_profile_open(name, &profile, &err);

	assert_int_equal(ret, expected);
	assert_int_equal(kho_profile_open(name, &profile, NULL), expected);
	assert_int_equal(err.code, expected);
	assert_memory_equal(err.text, name, strlen(name));
	assert_non_null(strstr(err.text, why));
}

static char dir[] = "/tmp/kho-profile-XXXXXX", path[64];

static int make_dir(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/p.json", dir);
	return 0;
}

/* Also when the test failed. */
static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void files(void **state)
{
	static const char text[] = PINS("\"a\":3");
	struct kho_profile *profile;
	struct kho_error err = { 0 };
	int fd;

	(void)state;
	open_path(path, -ENOENT, "No such file");
	open_path(dir, -EISDIR, "Is a directory");
	/* Opened, it would wait for ever. */
	assert_int_equal(mkfifo(path, 0600), 0);
	open_path(path, -EBADMSG, "not a regular file");
	unlink(path);

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	open_path(path, -EBADMSG, "");
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	if (kho_profile_open(path, &profile, &err))
		fail_msg("%s", err.text);
	assert_string_equal(profile->name, "q3");
	assert_int_equal(kho_profile_pin(profile, "a"), 3);
	kho_profile_free(profile);
	/* A hole of 4 GiB is not read to its end. */
	assert_int_equal(ftruncate(fd, 1ll << 32), 0);
	open_path(path, -EBADMSG, "MiB");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
		cmocka_unit_test(longest_name),
		cmocka_unit_test(size_limit),
		cmocka_unit_test(many_pins),
		cmocka_unit_test(written),
		cmocka_unit_test_setup_teardown(files, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
