/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The Redis protocol, RESP2 and RESP3: commands in, replies out. Knows nothing
 * of what the commands mean, nor where the bytes come from.
 */
#ifndef RESP_H
#define RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that are somebody else's, and may well be binary. */
struct str {
	const char *p;
	size_t len;
};

/* The whole of @str as a decimal number, nothing else. */
bool str_int(struct str str, long long *n);

/* Bytes, growing at the end, consumed at the front. */
struct buf {
	char *data;
	size_t len;
	size_t cap; /* bytes that fit into data */
	size_t pos; /* where those begin that were not consumed */
	bool failed; /* no memory: nothing comes behind it any more */
};

/* Room for @len more bytes; NULL when there is no memory. */
char *buf_reserve(struct buf *buf, size_t len);
void buf_add(struct buf *buf, const void *data, size_t len);
void buf_consume(struct buf *buf, size_t len);
/* All of @from, which is freed. */
void buf_move(struct buf *buf, struct buf *from);
void buf_free(struct buf *buf);
static inline size_t buf_left(const struct buf *buf)
{
	return buf->len - buf->pos;
}

/*
 * Where we are in a command. It can be thrown away at any time: the command's
 * bytes stay in the buffer until it is complete, and can be parsed again.
 */
struct resp_parser {
	size_t pos; /* bytes behind the buffer's pos that were looked at */
	size_t multibulk; /* arguments still to come; 0: a new command */
	size_t bulk; /* bytes of the next one plus 1; 0: its header is next */
	size_t argc; /* arguments so far */
	size_t room; /* for so many */
	struct str
		*argv; /* complete with the command, until the buffer changes */
	char error[64]; /* what is wrong with the bytes */
};

/* 1: a command, of argc (perhaps 0) arguments; 0: needs more; -1: error. */
int resp_parse(struct resp_parser *parser, struct buf *in);
/* Done with the command: on to the next one. */
void resp_next(struct resp_parser *parser, struct buf *in);

/* A number: ':' an integer, '$' bytes, '*' elements, '~' of a set, '%' pairs. */
void resp_head(struct buf *out, char type, long long n);
/* A line: '+' a status, '-' an error, which begins with a code such as ERR. */
void resp_line(struct buf *out, char type, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void resp_bulk(struct buf *out, struct str str);

#endif
