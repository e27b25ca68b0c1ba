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

#include "str.h"

/* What a client may send, as in Redis. */
#define RESP_INLINE_MAX (64ul << 10)
#define RESP_BULK_MAX (512ll << 20)
#define RESP_ARGS_MAX (1024 * 1024)
#define RESP_COMMAND_MAX (1ul << 30)

/**
 * struct buf - bytes, growing at the end, consumed at the front
 * @data: len bytes are in it, cap fit
 * @pos: where the bytes that were not consumed begin
 * @failed: there was no memory for something: nothing comes behind it any more
 */
struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t pos;
	bool failed;
};

/* Room for @len more bytes; NULL when there is no memory. */
char *buf_reserve(struct buf *buf, size_t len);
void buf_add(struct buf *buf, const void *data, size_t len);
void buf_consume(struct buf *buf, size_t len);
void buf_free(struct buf *buf);
static inline size_t buf_left(const struct buf *buf)
{
	return buf->len - buf->pos;
}

/**
 * struct resp_parser - where we are in a command
 * @pos: bytes behind the buffer's pos that were looked at
 * @multibulk: arguments still to come; 0 when a new command begins
 * @bulk: bytes of the argument that is next plus 1; 0 when its header is
 * @argc: arguments so far
 * @room: for so many
 * @argv: complete when the command is; good until the buffer changes
 * @error: what is wrong with the bytes
 *
 * It can be thrown away at any time: the command's bytes stay in the buffer
 * until it is complete, and can be parsed again.
 */
struct resp_parser {
	size_t pos;
	size_t multibulk;
	size_t bulk;
	size_t argc;
	size_t room;
	struct str *argv;
	char error[64];
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
void resp_text(struct buf *out, const char *text);

/* The whole of @str as a decimal number, nothing else. */
bool str_int(struct str str, long long *n);

#endif
