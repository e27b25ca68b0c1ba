// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Names, tokens and composites: the text that versions are written down in.
 *
 * Reading takes a composite in any order and says precisely what is wrong with
 * one that it refuses; writing is always canonical. Both are bounded by
 * KHO_COMPOSITE_MAX, never by what the text claims.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compat/component.h"

#define NAME_MAX_LEN (KHO_TOKEN_NAME_SIZE - 1)

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-';
}

/* The length of what stands before a "-vN" that ends @text; @len if none. */
static size_t name_length(const char *text, size_t len)
{
	size_t i = len;

	while (i && is_digit(text[i - 1]))
		i--;
	if (i == len || i < 2 || text[i - 1] != 'v' || text[i - 2] != '-')
		return len;
	return i - 2;
}

/* A character for a message, whatever it is. */
struct shown {
	char text[8];
};

static struct shown show(char c)
{
	struct shown shown;

	if (c > ' ' && c <= '~')
		snprintf(shown.text, sizeof(shown.text), "'%c'", c);
	else
		snprintf(shown.text, sizeof(shown.text), "0x%02x",
			 (unsigned char)c);
	return shown;
}

/* @at: offset of the first character, for messages. */
static int name_check(const char *name, size_t len, size_t at,
		      struct kho_error *err)
{
	size_t i;

	if (!len)
		return kho_fail(err, -EINVAL, "empty name at byte %zu", at);
	if (name[0] < 'a' || name[0] > 'z')
		return kho_fail(err, -EINVAL,
				"%s at byte %zu: a name begins with one of a-z",
				show(name[0]).text, at);
	for (i = 0; i < len; i++)
		if (!is_name_char(name[i]))
			return kho_fail(err, -EINVAL,
					"%s at byte %zu: a name has only a-z, 0-9 and -",
					show(name[i]).text, at + i);
	if (len > NAME_MAX_LEN)
		return kho_fail(err, -ENAMETOOLONG,
				"name at byte %zu has %zu characters, at most %d are allowed",
				at, len, NAME_MAX_LEN);
	if (name_length(name, len) != len)
		return kho_fail(err, -EINVAL,
				"name '%.*s' at byte %zu ends like a version, in -vN",
				(int)len, name, at);
	return 0;
}

int kho_name_check(const char *name, struct kho_error *err)
{
	int ret = name_check(name, strlen(name), 0, err);

	/* For a name alone, too long is just one way of being none. */
	return ret == -ENAMETOOLONG ?
		       kho_fail(err, -EINVAL,
				"name '%.*s...' has more than %d characters",
				NAME_MAX_LEN, name, NAME_MAX_LEN) :
		       ret;
}

static int token_parse(const char *text, size_t len, size_t at,
		       struct kho_token *token, struct kho_error *err)
{
	size_t name_len = name_length(text, len);
	size_t digits = name_len + 2; /* where the version begins */
	uint64_t version = 0;
	size_t i;
	int ret;

	if (!len)
		return kho_fail(err, -EINVAL, "empty token at byte %zu", at);
	ret = name_check(text, name_len, at, err);
	if (ret)
		return ret;
	if (name_len == len)
		return kho_fail(err, -EINVAL,
				"'%.*s' at byte %zu has no version, expected name-vN",
				(int)len, text, at);
	if (text[digits] == '0' && len - digits > 1)
		return kho_fail(err, -EINVAL,
				"version at byte %zu begins with a zero",
				at + digits);
	for (i = digits; i < len && version <= UINT32_MAX; i++)
		version = version * 10 + (uint64_t)(text[i] - '0');
	if (!version || version > UINT32_MAX)
		return kho_fail(err, -ERANGE,
				"version at byte %zu is not from 1 to %u",
				at + digits, UINT32_MAX);

	memset(token, 0, sizeof(*token));
	memcpy(token->name, text, name_len);
	token->version = (uint32_t)version;
	return 0;
}

int kho_token_parse(const char *text, size_t len, struct kho_token *token,
		    struct kho_error *err)
{
	return token_parse(text, len, 0, token, err);
}

static int compare_tokens(const void *a, const void *b)
{
	const struct kho_token *x = a, *y = b;

	return strcmp(x->name, y->name);
}

void composite_sort(struct kho_composite *composite)
{
	qsort(composite->tokens + 1, composite->n - 1,
	      sizeof(composite->tokens[0]), compare_tokens);
}

int kho_composite_parse(const char *text, struct kho_composite *composite,
			struct kho_error *err)
{
	size_t at = 0, len, i;
	struct kho_token token;
	int ret;

	composite->n = 0;
	do {
		len = strcspn(text + at, ";");
		ret = token_parse(text + at, len, at, &token, err);
		if (ret)
			return ret;
		for (i = 0; i < composite->n; i++)
			if (!strcmp(composite->tokens[i].name, token.name))
				break;
		if (i == KHO_COMPOSITE_MAX)
			return kho_fail(err, -E2BIG,
					"token at byte %zu is one too many, "
					"at most %d are allowed",
					at, KHO_COMPOSITE_MAX);
		if (i < composite->n &&
		    composite->tokens[i].version != token.version)
			return kho_fail(err, -EINVAL,
					"'%s' at byte %zu has two versions, %u and %u",
					token.name, at,
					composite->tokens[i].version,
					token.version);
		if (i == composite->n)
			composite->tokens[composite->n++] = token;
		at += len;
	} while (text[at++] == KHO_COMPOSITE_SEPARATOR);
	composite_sort(composite);
	return 0;
}

int kho_composite_format(const struct kho_composite *composite, char *buf,
			 size_t size)
{
	size_t len = 0, i;

	if (!size)
		return -ENOSPC;
	*buf = '\0';
	for (i = 0; i < composite->n; i++) {
		const struct kho_token *token = &composite->tokens[i];
		int n = snprintf(buf + len, size - len, "%s%s-v%u",
				 i ? ";" : "", token->name, token->version);

		if ((size_t)n >= size - len)
			return -ENOSPC;
		len += (size_t)n;
	}
	return (int)len;
}
