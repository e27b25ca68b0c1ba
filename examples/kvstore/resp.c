/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The Redis protocol, RESP2 and RESP3: commands in, replies out. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resp.h"

/* What a client may send, as in Redis. */
#define INLINE_MAX (64ul << 10)
#define BULK_MAX (512ll << 20)
#define ARGS_MAX (1024 * 1024)
#define COMMAND_MAX (1ul << 30)

/* ---- buffers ---- */

char *buf_reserve(struct buf *buf, size_t len)
{
	size_t cap = buf->cap ? buf->cap : 1024;
	char *data;

	if (buf->failed)
		return NULL;
	/* Moving at most as much as was consumed costs little on the whole. */
	if (buf->cap - buf->len < len && buf->pos >= buf_left(buf) &&
	    buf->pos) {
		memmove(buf->data, buf->data + buf->pos, buf_left(buf));
		buf->len -= buf->pos;
		buf->pos = 0;
	}
	while (cap - buf->len < len)
		cap *= 2;
	if (cap > buf->cap) {
		data = realloc(buf->data, cap);
		buf->failed = !data;
		if (!data)
			return NULL;
		buf->data = data;
		buf->cap = cap;
	}
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

void buf_move(struct buf *buf, struct buf *from)
{
	buf_add(buf, from->data, from->len);
	buf->failed |= from->failed;
	buf_free(from);
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
	*n = value;
	return negative || !__builtin_mul_overflow(value, -1, n);
}

void resp_next(struct resp_parser *parser, struct buf *in)
{
	struct resp_parser next = { .argv = parser->argv,
				    .room = parser->room };

	buf_consume(in, parser->pos);
	if (next.room > 1024) {
		free(next.argv);
		next = (struct resp_parser){ 0 };
	}
	*parser = next;
}

#define fail(parser, ...)                                                      \
	(snprintf((parser)->error, sizeof((parser)->error), __VA_ARGS__), -1)

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
	argv[parser->argc++] = (struct str){ (char *)offset, len };
	return 0;
}

static int complete(struct resp_parser *parser, const struct buf *in)
{
	struct str *arg = parser->argv, *end = arg + parser->argc;

	for (; arg < end; arg++)
		arg->p = in->data + in->pos + (uintptr_t)arg->p;
	return 1;
}

/* Takes one line, without its end. 1: a line; 0: not there yet; -1: too long. */
static int take_line(struct resp_parser *parser, const struct buf *in,
		     struct str *line)
{
	const char *p = in->data + in->pos + parser->pos;
	size_t left = buf_left(in) - parser->pos;
	const char *end = left ? memchr(p, '\n', left) : NULL;

	if ((end ? (size_t)(end - p) : left) > INLINE_MAX)
		return -1;
	if (!end)
		return 0;
	*line = (struct str){ p, (size_t)(end - p) };
	parser->pos += line->len + 1;
	if (line->len && line->p[line->len - 1] == '\r')
		line->len--;
	return 1;
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

	for (; p < end && (quote || !isspace((unsigned char)*p)); p++) {
		if (!quote && (*p == '"' || *p == '\'')) {
			quote = *p;
		} else if (quote && *p == quote) {
			quote = 0;
			if (p + 1 < end && !isspace((unsigned char)p[1]))
				return NULL;
		} else if (quote == '"' && *p == '\\' && p + 3 < end &&
			   p[1] == 'x' && isxdigit((unsigned char)p[2]) &&
			   isxdigit((unsigned char)p[3])) {
			*(*to)++ = (char)strtoul((char[]){ p[2], p[3], 0 },
						 NULL, 16);
			p += 3;
		} else if (quote == '"' && *p == '\\' && p + 1 < end) {
			e = strchr(escapes, *++p);
			*(*to)++ = e && *e && (e - escapes) % 2 == 0 ? e[1] :
								       *p;
		} else {
			p += quote == '\'' && *p == '\\' && p + 1 < end &&
			     p[1] == '\'';
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
	for (p = line.p; p < end; p += p < end) {
		if (isspace((unsigned char)*p))
			continue;
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
static int take_number(struct resp_parser *parser, const struct buf *in,
		       bool bulk, long long *n)
{
	struct str line;
	int ret = take_line(parser, in, &line);

	if (ret < 0)
		return fail(parser, "too big %sbulk count string",
			    bulk ? "" : "m");
	if (ret && (!str_int((struct str){ line.p + 1, line.len - 1 }, n) ||
		    *n > (bulk ? BULK_MAX : ARGS_MAX) || (bulk && *n < 0)))
		return fail(parser, "invalid %sbulk length",
			    bulk ? "" : "multi");
	return ret;
}

static int parse_bulk(struct resp_parser *parser, const struct buf *in)
{
	const char *p = in->data + in->pos + parser->pos;
	long long n;
	int ret;

	if (!parser->bulk) {
		if (buf_left(in) == parser->pos)
			return 0;
		if (*p != '$')
			return fail(parser, "expected '$', got '%c'", *p);
		ret = take_number(parser, in, true, &n);
		if (ret <= 0)
			return ret;
		parser->bulk = (size_t)n + 1;
		if (parser->pos + parser->bulk > COMMAND_MAX)
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
	int ret = 1;

	if (!parser->multibulk) {
		if (!buf_left(in))
			return 0;
		if (in->data[in->pos] != '*')
			return parse_inline(parser, in);
		ret = take_number(parser, in, false, &n);
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
