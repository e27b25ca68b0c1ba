/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The Redis protocol, RESP2 and RESP3: commands in, replies out. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resp.h"

/* ---- buffers ---- */

char *buf_reserve(struct buf *buf, size_t len)
{
	size_t cap = buf->cap ? buf->cap : 1024;
	char *data;

	if (buf->failed)
		return NULL;
	if (buf->cap - buf->len >= len)
		return buf->data + buf->len;
	/* Moving at most as much as was consumed costs little on the whole. */
	if (buf->pos && buf->pos >= buf_left(buf)) {
		memmove(buf->data, buf->data + buf->pos, buf_left(buf));
		buf->len -= buf->pos;
		buf->pos = 0;
	}
	while (cap - buf->len < len)
		cap *= 2;
	data = cap > buf->cap ? realloc(buf->data, cap) : buf->data;
	if (!data) {
		buf->failed = true;
		return NULL;
	}
	buf->data = data;
	buf->cap = cap;
	return buf->data + buf->len;
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
	char *p = len ? buf_reserve(buf, len) : NULL;

	if (!p)
		return;
	memcpy(p, data, len);
	buf->len += len;
}

/* An empty buffer gives its memory back if that was much. */
void buf_consume(struct buf *buf, size_t len)
{
	buf->pos += len;
	if (buf->pos < buf->len)
		return;
	buf->pos = 0;
	buf->len = 0;
	if (buf->cap > 64 << 10)
		buf_free(buf);
}

void buf_free(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){ .failed = buf->failed };
}

/* ---- commands in ---- */

bool str_int(struct str str, long long *n)
{
	bool negative = str.len && str.p[0] == '-';
	size_t i = negative;
	long long value = 0;

	if (i == str.len || (str.p[i] == '0' && str.len > 1))
		return false;
	for (; i < str.len; i++) {
		if (!isdigit((unsigned char)str.p[i]) ||
		    __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, str.p[i] - '0', &value))
			return false;
	}
	/* Counted downwards, as there is one more negative number. */
	if (!negative && __builtin_mul_overflow(value, -1, &value))
		return false;
	*n = value;
	return true;
}

void resp_next(struct resp_parser *parser, struct buf *in)
{
	size_t room = parser->room > 1024 ? 0 : parser->room;

	buf_consume(in, parser->pos);
	if (!room)
		free(parser->argv);
	*parser = (struct resp_parser){ .argv = room ? parser->argv : NULL,
					.room = room };
}

static int fail(struct resp_parser *parser, const char *error)
{
	snprintf(parser->error, sizeof(parser->error), "%s", error);
	return -1;
}

/*
 * Arguments are kept as offsets until the command is complete, as the buffer
 * may move.
 */
static int add_arg(struct resp_parser *parser, size_t offset, size_t len)
{
	size_t room = parser->room ? parser->room * 2 : 8;
	struct str *argv = parser->argv;

	if (parser->argc == parser->room) {
		argv = realloc(argv, room * sizeof(*argv));
		if (!argv)
			return fail(parser, "out of memory");
		parser->argv = argv;
		parser->room = room;
	}
	argv[parser->argc++] = (struct str){ (char *)(uintptr_t)offset, len };
	return 0;
}

static int complete(struct resp_parser *parser, const struct buf *in)
{
	size_t i;

	for (i = 0; i < parser->argc; i++)
		parser->argv[i].p =
			in->data + in->pos + (uintptr_t)parser->argv[i].p;
	return 1;
}

/* Takes one line, without its end. 1: a line; 0: not there yet; -1: too long. */
static int take_line(struct resp_parser *parser, const struct buf *in,
		     struct str *line)
{
	const char *p = in->data + in->pos + parser->pos;
	size_t left = buf_left(in) - parser->pos;
	const char *end = left ? memchr(p, '\n', left) : NULL;

	if ((end ? (size_t)(end - p) : left) > RESP_INLINE_MAX)
		return -1;
	if (!end)
		return 0;
	*line = (struct str){ p, (size_t)(end - p) };
	parser->pos += line->len + 1;
	if (line->len && line->p[line->len - 1] == '\r')
		line->len--;
	return 1;
}

static int hex(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	return isxdigit((unsigned char)c) ? tolower(c) - 'a' + 10 : -1;
}

/*
 * One word of an inline command, perhaps with quotes: "..." with escapes, '...'
 * with \' only. Unquotes it in place, to @to, as it cannot get longer.
 * Returns what follows it, NULL when the quotes do not match.
 */
static const char *unquote(const char *p, const char *end, char **to)
{
	static const char escapes[] = "n\nr\rt\tb\ba\a";
	char quote = 0;
	const char *e;

	for (; p < end; p++) {
		if (!quote && isspace((unsigned char)*p))
			return p;
		if (!quote && (*p == '"' || *p == '\'')) {
			quote = *p;
		} else if (quote && *p == quote) {
			if (p + 1 < end && !isspace((unsigned char)p[1]))
				return NULL;
			quote = 0;
		} else if (quote == '"' && *p == '\\' && p + 3 < end &&
			   p[1] == 'x' && hex(p[2]) >= 0 && hex(p[3]) >= 0) {
			*(*to)++ = (char)(hex(p[2]) << 4 | hex(p[3]));
			p += 3;
		} else if (quote == '"' && *p == '\\' && p + 1 < end) {
			e = strchr(escapes, *++p);
			*(*to)++ = e && *e && (e - escapes) % 2 == 0 ? e[1] :
								       *p;
		} else if (quote == '\'' && *p == '\\' && p + 1 < end &&
			   p[1] == '\'') {
			*(*to)++ = *++p;
		} else {
			*(*to)++ = *p;
		}
	}
	return quote ? NULL : p;
}

static int parse_inline(struct resp_parser *parser, const struct buf *in)
{
	char *base = in->data + in->pos, *to;
	const char *p, *end;
	struct str line;
	size_t start;
	int ret = take_line(parser, in, &line);

	if (ret <= 0)
		return ret ? fail(parser, "too big inline request") : 0;
	end = line.p + line.len;
	for (p = line.p; p < end;) {
		if (isspace((unsigned char)*p)) {
			p++;
			continue;
		}
		start = (size_t)(p - base);
		to = base + start;
		p = unquote(p, end, &to);
		if (!p)
			return fail(parser, "unbalanced quotes in request");
		if (add_arg(parser, start, (size_t)(to - base) - start))
			return -1;
	}
	return complete(parser, in);
}

/* The number behind a '*' or '$'; as take_line(). */
static int take_header(struct resp_parser *parser, const struct buf *in,
		       const char *too_big, const char *invalid, long long max,
		       long long *n)
{
	struct str line;
	int ret = take_line(parser, in, &line);

	if (ret <= 0)
		return ret ? fail(parser, too_big) : 0;
	if (!str_int((struct str){ line.p + 1, line.len - 1 }, n) || *n > max)
		return fail(parser, invalid);
	return 1;
}

static int parse_bulk(struct resp_parser *parser, const struct buf *in)
{
	const char *p = in->data + in->pos + parser->pos;
	long long n;
	int ret;

	if (!parser->bulk) {
		if (buf_left(in) == parser->pos)
			return 0;
		if (*p != '$') {
			snprintf(parser->error, sizeof(parser->error),
				 "expected '$', got '%c'", *p);
			return -1;
		}
		ret = take_header(parser, in, "too big bulk count string",
				  "invalid bulk length", RESP_BULK_MAX, &n);
		if (ret <= 0)
			return ret;
		if (n < 0)
			return fail(parser, "invalid bulk length");
		parser->bulk = (size_t)n + 1;
		if (parser->pos + parser->bulk > RESP_COMMAND_MAX)
			return fail(parser, "too big request");
	}
	if (buf_left(in) - parser->pos < parser->bulk + 1)
		return 0;
	if (add_arg(parser, parser->pos, parser->bulk - 1))
		return -1;
	parser->pos += parser->bulk + 1;
	parser->bulk = 0;
	return 1;
}

int resp_parse(struct resp_parser *parser, struct buf *in)
{
	long long n;
	int ret;

	if (!parser->multibulk) {
		if (!buf_left(in))
			return 0;
		if (in->data[in->pos] != '*')
			return parse_inline(parser, in);
		ret = take_header(parser, in, "too big mbulk count string",
				  "invalid multibulk length", RESP_ARGS_MAX,
				  &n);
		if (ret <= 0 || n <= 0)
			return ret;
		parser->multibulk = (size_t)n;
	}
	for (; parser->multibulk; parser->multibulk--) {
		ret = parse_bulk(parser, in);
		if (ret <= 0)
			return ret;
	}
	return complete(parser, in);
}

/* ---- replies out ---- */

void resp_line(struct buf *out, char type, const char *fmt, ...)
{
	char text[256] = { type };
	va_list ap;
	char *p;

	va_start(ap, fmt);
	vsnprintf(text + 1, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	/* What a client sent may be in it, and must not end the line. */
	for (p = text; *p; p++) {
		if (*p == '\r' || *p == '\n')
			*p = ' ';
	}
	buf_add(out, text, (size_t)(p - text));
	buf_add(out, "\r\n", 2);
}

void resp_head(struct buf *out, char type, long long n)
{
	unsigned long long left = n < 0 ? -(unsigned long long)n :
					  (unsigned long long)n;
	char text[32];
	char *p = text + sizeof(text);

	*--p = '\n';
	*--p = '\r';
	do {
		*--p = (char)('0' + left % 10);
		left /= 10;
	} while (left);
	if (n < 0)
		*--p = '-';
	*--p = type;
	buf_add(out, p, (size_t)(text + sizeof(text) - p));
}

void resp_bulk(struct buf *out, struct str str)
{
	resp_head(out, '$', (long long)str.len);
	buf_add(out, str.p, str.len);
	buf_add(out, "\r\n", 2);
}

void resp_text(struct buf *out, const char *text)
{
	resp_bulk(out, (struct str){ text, strlen(text) });
}
