// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Names, tokens and composites: what is read, what is refused and why. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <kho/compat.h>

#include "seed.h"

#define NAME23 "abcdefghijklmnopqrstuvw"

static void names(void **state)
{
	static const struct {
		const char *name, *error;
	} cases[] = {
		{ "a", NULL },
		{ "kexec-metadata", NULL },
		{ "luo2-", NULL },
		{ "a-v", NULL },
		{ "av1", NULL },
		{ "v1", NULL },
		{ NAME23, NULL },
		{ "", "empty name at byte 0" },
		{ "1a", "'1' at byte 0: a name begins with one of a-z" },
		{ "-a", "'-' at byte 0: a name begins with one of a-z" },
		{ "A", "'A' at byte 0: a name begins with one of a-z" },
		{ "a_b", "'_' at byte 1: a name has only a-z, 0-9 and -" },
		{ "ab ", "0x20 at byte 2: a name has only a-z, 0-9 and -" },
		{ "a\xc3\xa4", "0xc3 at byte 1: a name has only a-z, 0-9 "
			       "and -" },
		{ "a;b", "';' at byte 1: a name has only a-z, 0-9 and -" },
		{ NAME23 "x",
		  "name '" NAME23 "...' has more than 23 characters" },
		{ "a-v1", "name 'a-v1' at byte 0 ends like a version, in -vN" },
		{ "a-v0", "name 'a-v0' at byte 0 ends like a version, in -vN" },
	};
	struct kho_error err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int ret = kho_name_check(cases[i].name, &err);

		assert_int_equal(kho_name_check(cases[i].name, NULL), ret);
		if (!cases[i].error) {
			assert_int_equal(ret, 0);
			continue;
		}
		assert_int_equal(ret, -EINVAL);
		assert_int_equal(err.code, -EINVAL);
		assert_string_equal(err.text, cases[i].error);
	}
}

static void tokens(void **state)
{
	static const struct {
		const char *text, *name;
		uint32_t version;
	} cases[] = {
		{ "a-v1", "a", 1 },
		{ "memfd-v2", "memfd", 2 },
		{ "a--v10", "a-", 10 },
		{ "a-v-v3", "a-v", 3 },
		{ "a-v4294967295", "a", UINT32_MAX },
		{ NAME23 "-v4294967295", NAME23, UINT32_MAX },
	};
	struct kho_token token;
	char text[64];
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* The characters need not be terminated. */
		len = strlen(cases[i].text);
		memset(text, '7', sizeof(text));
		memcpy(text, cases[i].text, len);
		assert_int_equal(kho_token_parse(text, len, &token, NULL), 0);
		assert_string_equal(token.name, cases[i].name);
		assert_int_equal(token.version, cases[i].version);
	}
}

#define T(n) "c" #n "-v1;"
#define T10(n)                                                                 \
	T(n##0)                                                                \
	T(n##1) T(n##2) T(n##3) T(n##4) T(n##5) T(n##6) T(n##7) T(n##8) T(n##9)
#define THIRTY_ONE T10(1) T10(2) T10(3) "c40-v1;"

static void refused(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *error;
	} cases[] = {
		{ "", -EINVAL, "empty token at byte 0" },
		{ ";", -EINVAL, "empty token at byte 0" },
		{ "a-v1;", -EINVAL, "empty token at byte 5" },
		{ ";a-v1", -EINVAL, "empty token at byte 0" },
		{ "a-v1;;b-v1", -EINVAL, "empty token at byte 5" },
		{ "a", -EINVAL,
		  "'a' at byte 0 has no version, expected "
		  "name-vN" },
		{ "a-v", -EINVAL,
		  "'a-v' at byte 0 has no version, expected "
		  "name-vN" },
		{ "a-1", -EINVAL,
		  "'a-1' at byte 0 has no version, expected "
		  "name-vN" },
		{ "av1", -EINVAL,
		  "'av1' at byte 0 has no version, expected "
		  "name-vN" },
		{ "a-v1;b-v1x", -EINVAL,
		  "'b-v1x' at byte 5 has no version, expected name-vN" },
		{ "a-v1;b-v-1", -EINVAL,
		  "'b-v-1' at byte 5 has no version, expected name-vN" },
		{ "-v1", -EINVAL, "empty name at byte 0" },
		{ "v1", -EINVAL,
		  "'v1' at byte 0 has no version, expected "
		  "name-vN" },
		{ "a-v1;B-v1", -EINVAL,
		  "'B' at byte 5: a name begins with one of a-z" },
		{ "a-v1; b-v1", -EINVAL,
		  "0x20 at byte 5: a name begins with one of a-z" },
		{ "a-v1;b.c-v1", -EINVAL,
		  "'.' at byte 6: a name has only a-z, 0-9 and -" },
		{ "a-v1\n", -EINVAL,
		  "0x0a at byte 4: a name has only a-z, 0-9 and -" },
		{ "a-v+1", -EINVAL,
		  "'+' at byte 3: a name has only a-z, 0-9 and -" },
		{ "a-v1-v2", -EINVAL,
		  "name 'a-v1' at byte 0 ends like a version, in -vN" },
		{ "a-v01", -EINVAL, "version at byte 3 begins with a zero" },
		{ "b-v2;a-v00", -EINVAL,
		  "version at byte 8 begins with a zero" },
		{ "a-v0", -ERANGE,
		  "version at byte 3 is not from 1 to 4294967295" },
		{ "a-v4294967296", -ERANGE,
		  "version at byte 3 is not from 1 to 4294967295" },
		{ "a-v18446744073709551617", -ERANGE,
		  "version at byte 3 is not from 1 to 4294967295" },
		{ "b-v1;" NAME23 "x-v1", -ENAMETOOLONG,
		  "name at byte 5 has 24 characters, at most 23 are allowed" },
		{ "a-v1;b-v1;b-v2", -EINVAL,
		  "'b' at byte 10 has two versions, 1 and 2" },
		{ "a-v1;a-v2", -EINVAL,
		  "'a' at byte 5 has two versions, 1 and 2" },
		{ THIRTY_ONE "a-v1;b-v1", -E2BIG,
		  "token at byte 222 is one too many, at most 32 are allowed" },
	};
	struct kho_composite composite;
	struct kho_error err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(kho_composite_parse(cases[i].text, &composite,
						     &err),
				 cases[i].code);
		assert_string_equal(err.text, cases[i].error);
		assert_int_equal(err.code, cases[i].code);
		assert_int_equal(kho_composite_parse(cases[i].text, &composite,
						     NULL),
				 cases[i].code);
	}
}

static void canonical(void **state)
{
	static const struct {
		const char *text, *canonical;
	} cases[] = {
		{ "a-v1", "a-v1" },
		{ "kho-v4;radix-v1", "kho-v4;radix-v1" },
		{ "z-v1;c-v3;b-v2;a-v1", "z-v1;a-v1;b-v2;c-v3" },
		{ "m-v1;b-v1;m-v1;b-v1", "m-v1;b-v1" },
		{ "m-v1;a-b-v1;ab-v1;a-v1;a0-v1",
		  "m-v1;a-v1;a-b-v1;a0-v1;ab-v1" },
		{ THIRTY_ONE "a-v1;c10-v1",
		  "c10-v1;a-v1;" T(11) T(12) T(13) T(14) T(15) T(16) T(17) T(18)
			  T(19) T10(2) T10(3) "c40-v1" },
	};
	struct kho_composite composite;
	char text[KHO_COMPOSITE_SIZE];
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(kho_composite_parse(cases[i].text, &composite,
						     NULL),
				 0);
		len = strlen(cases[i].canonical);
		assert_int_equal(kho_composite_format(&composite, text,
						      sizeof(text)),
				 (int)len);
		assert_string_equal(text, cases[i].canonical);
		assert_int_equal(kho_composite_format(&composite, text, len),
				 -ENOSPC);
		assert_int_equal(kho_composite_format(&composite, text, 0),
				 -ENOSPC);
		assert_int_equal(kho_composite_format(&composite, text,
						      len + 1),
				 (int)len);
	}
}

/* What is in a subtree that does not say what it is. */
static void none(void **state)
{
	const struct kho_composite composite = { 0 };
	char text[2] = "x";

	(void)state;
	assert_int_equal(kho_composite_format(&composite, text, 1), 0);
	assert_string_equal(text, "");
	assert_int_equal(kho_composite_format(&composite, text, 0), -ENOSPC);
}

/* The longest composite fits exactly where the header says it does. */
static void longest(void **state)
{
	struct kho_composite composite = { .n = KHO_COMPOSITE_MAX }, again;
	char text[KHO_COMPOSITE_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < KHO_COMPOSITE_MAX; i++) {
		snprintf(composite.tokens[i].name, KHO_TOKEN_NAME_SIZE,
			 "%.*s%02zu", 21, NAME23, i);
		composite.tokens[i].version = UINT32_MAX;
	}
	assert_int_equal(kho_composite_format(&composite, text, sizeof(text)),
			 KHO_COMPOSITE_SIZE - 1);
	assert_int_equal(kho_composite_parse(text, &again, NULL), 0);
	assert_memory_equal(&composite, &again, sizeof(again));
}

static size_t pick(size_t n)
{
	return (size_t)(rnd() % n);
}

static void random_token(struct kho_token *token)
{
	static const char chars[] = "abcxyz0129--v";
	size_t len = 1 + pick(KHO_TOKEN_NAME_SIZE - 1), i;

	memset(token, 0, sizeof(*token));
	do {
		token->name[0] = chars[pick(6)];
		for (i = 1; i < len; i++)
			token->name[i] = chars[pick(sizeof(chars) - 1)];
	} while (kho_name_check(token->name, NULL));
	token->version = (uint32_t)(1 + pick(pick(2) ? 3 : UINT32_MAX));
}

/* Tokens in any order, some twice, come out the same, and stay so. */
static void random_order(void **state)
{
	struct kho_composite a, b;
	struct kho_token tokens[KHO_COMPOSITE_MAX], swap;
	char shuffled[8 * KHO_COMPOSITE_SIZE];
	char text[KHO_COMPOSITE_SIZE], again[KHO_COMPOSITE_SIZE];
	size_t n, i, j, len;
	int round;

	(void)state;
	for (round = 0; round < 2000; round++) {
		n = 1 + pick(KHO_COMPOSITE_MAX);
		for (i = 0; i < n; i++) {
			random_token(&tokens[i]);
			for (j = 0; j < i; j++)
				if (!strcmp(tokens[j].name, tokens[i].name))
					break;
			if (j < i)
				i--;
		}
		text[0] = '\0';
		for (len = 0, i = 0; i < n; i++)
			len += (size_t)snprintf(shuffled + len,
						sizeof(shuffled) - len,
						"%s%s-v%u", i ? ";" : "",
						tokens[i].name,
						tokens[i].version);
		assert_int_equal(kho_composite_parse(shuffled, &a, NULL), 0);
		assert_int_equal(a.n, n);
		assert_string_equal(a.tokens[0].name, tokens[0].name);
		for (i = 2; i < n; i++)
			assert_true(strcmp(a.tokens[i - 1].name,
					   a.tokens[i].name) < 0);
		assert_true(kho_composite_format(&a, text, sizeof(text)) > 0);

		/* The base stays the first; the rest is mixed and repeated. */
		for (i = n - 1; i > 1; i--) {
			j = 1 + pick(i);
			swap = tokens[i];
			tokens[i] = tokens[j];
			tokens[j] = swap;
		}
		for (len = 0, i = 0; i < 2 * n; i++) {
			j = i < n ? i : pick(n);
			len += (size_t)snprintf(shuffled + len,
						sizeof(shuffled) - len,
						"%s%s-v%u", i ? ";" : "",
						tokens[j].name,
						tokens[j].version);
		}
		assert_int_equal(kho_composite_parse(shuffled, &b, NULL), 0);
		assert_true(kho_composite_format(&b, again, sizeof(again)) > 0);
		assert_string_equal(text, again);
		assert_int_equal(kho_composite_parse(again, &b, NULL), 0);
		assert_true(kho_composite_format(&b, again, sizeof(again)) > 0);
		assert_string_equal(text, again);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),	cmocka_unit_test(tokens),
		cmocka_unit_test(refused),	cmocka_unit_test(canonical),
		cmocka_unit_test(none),		cmocka_unit_test(longest),
		cmocka_unit_test(random_order),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
