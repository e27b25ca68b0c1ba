/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The commands: what several of them need, then one after the other, and at the
 * end the table of them all. A reply is added only when what it says is in the
 * arena.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <kho/pages.h>

#include "kvstore.h"

/* What client libraries look at to learn what they can use. */
#define REDIS_VERSION "7.0.0"

struct request {
	struct server *server;
	struct table *table;
	struct client *client;
	struct buf *out;
	const struct command *command;
	size_t argc;
	const struct str *argv;
	struct entry *e; /* of the command's only key; or NULL */
};

/* What a command does with its only key before it runs. */
enum use {
	NO_KEY,
	KEY, /* looks for it */
	VALUE, /* looks what is in it, which counts as use */
};

/*
 * With at least @least arguments and at most @most, itself among them; 0: any
 * number. @first, @last (negative: from the end) and @step say which of them
 * are keys. The only key may hold @kind, or anything. @run returns false when
 * it could not do it; @arg is its own.
 */
struct command {
	const char *name;
	size_t least, most;
	const char *flag;
	int first, last, step;
	enum use use;
	enum kind kind;
	bool (*run)(struct request *r);
	long long arg;
};

static struct str text(const char *s)
{
	return (struct str){ s, strlen(s) };
}

static bool is(struct str str, const char *word)
{
	return str.len == strlen(word) && !strncasecmp(str.p, word, str.len);
}

/* Does the first element of a pattern match @c? Moves @p behind it. */
static bool glob_one(const char **p, const char *end, char c)
{
	const char *q = *p;
	bool match = *q == '?', negate;

	if (*q != '[') {
		q += *q == '\\' && q + 1 < end;
		*p = q + 1;
		return match || *q == c;
	}
	q++;
	negate = q < end && *q == '^';
	for (q += negate; q < end && *q != ']'; q++) {
		q += *q == '\\' && q + 1 < end;
		if (q + 2 < end && q[1] == '-' && q[2] != ']') {
			match |= *q <= c && c <= q[2];
			q += 2;
		} else {
			match |= *q == c;
		}
	}
	*p = q + (q < end);
	return match != negate;
}

/* Shell-style patterns. It never has to go back beyond the last '*'. */
static bool glob(struct str pattern, struct str text)
{
	const char *p = pattern.p, *p_end = p + pattern.len;
	const char *t = text.p, *t_end = t + text.len;
	const char *star = NULL, *star_t = NULL;

	while (t < t_end) {
		if (p < p_end && *p == '*') {
			star = ++p;
			star_t = t;
		} else if (p < p_end && glob_one(&p, p_end, *t)) {
			t++;
		} else if (star) {
			p = star;
			t = ++star_t;
		} else {
			return false;
		}
	}
	while (p < p_end && *p == '*')
		p++;
	return p == p_end;
}

/* ---- replies ---- */

static bool integer(struct request *r, long long n)
{
	resp_head(r->out, ':', n);
	return true;
}

static void array(struct request *r, uint64_t n)
{
	resp_head(r->out, '*', (long long)n);
}

/* @n names, each with a value. */
static void map(struct request *r, size_t n)
{
	bool resp3 = r->client->kept.protocol == 3;

	resp_head(r->out, resp3 ? '%' : '*', (long long)(resp3 ? n : 2 * n));
}

static bool status(struct request *r, const char *line)
{
	resp_line(r->out, '+', "%s", line);
	return true;
}

static bool null(struct request *r)
{
	bool resp3 = r->client->kept.protocol == 3;

	buf_add(r->out, resp3 ? "_\r\n" : "$-1\r\n", resp3 ? 3 : 5);
	return true;
}

static bool bulk(struct request *r, struct str str)
{
	resp_bulk(r->out, str);
	return true;
}

static bool value(struct request *r, const struct entry *e)
{
	return e ? bulk(r, entry_value(e)) : null(r);
}

#define error(r, ...) (resp_line((r)->out, '-', __VA_ARGS__), false)

#define SYNTAX "ERR syntax error"
#define ARITY "ERR wrong number of arguments for '%s' command"
#define SUBCOMMAND                                                             \
	"ERR unknown subcommand or wrong number of arguments for '%s' command"

static bool out_of_memory(struct request *r)
{
	if (errno == EFBIG)
		return error(r,
			     "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
	return error(r,
		     "OOM command not allowed when used memory > 'maxmemory'.");
}

/* For "%.*s". */
#define SHOWN(str) (int)((str).len < 64 ? (str).len : 64), (str).p

/* ---- keys and arguments: false when what is wrong has been replied ---- */

/* An expired key is deleted by whoever comes across it. */
static struct entry *lookup(struct request *r, struct str key, enum use use)
{
	struct kvstore *state = r->server->state;
	struct entry *e = table_find(r->table, ENTRY_STRING, key);

	if (e && entry_expired(r->table, e)) {
		table_delete(r->table, ENTRY_STRING, key);
		e = NULL;
	}
	if (use == VALUE && e)
		entry_touch(r->table, e);
	if (use == VALUE && r->server->version >= 2)
		++*(e ? &state->hits : &state->misses);
	return e;
}

static bool drop(struct request *r, struct str key)
{
	return table_delete(r->table, ENTRY_STRING, key);
}

/* Nothing leads to it yet. NULL: there is no memory. */
static struct entry *new_string(struct request *r, struct str key,
				struct str val, uint64_t expires)
{
	return table_new(r->table, ENTRY_STRING, key, val, expires);
}

/* Not when the key holds something else. */
static bool typed(struct request *r, const struct entry *e, enum kind kind)
{
	if (!e || entry_kind(e) == kind)
		return true;
	return error(r, "WRONGTYPE Operation against a key holding the wrong "
			"kind of value");
}

static bool int_arg(struct request *r, struct str arg, long long *n)
{
	if (str_int(arg, n))
		return true;
	return error(r, "ERR value is not an integer or out of range");
}

/*
 * A point in time, in units of so many milliseconds; negative: since 1970, not
 * from now on. It is more than @least units.
 */
static bool time_arg(struct request *r, struct str arg, long long unit,
		     long long least, long long *when)
{
	long long base = unit > 0 ? (long long)r->table->now : 0;

	if (!int_arg(r, arg, when))
		return false;
	if (*when > least &&
	    !__builtin_mul_overflow(*when, llabs(unit), when) &&
	    !__builtin_add_overflow(*when, base, when))
		return true;
	return error(r, "ERR invalid expire time in '%s' command",
		     r->command->name);
}

/* ---- strings ---- */

static bool cmd_get(struct request *r)
{
	return value(r, r->e);
}

static bool cmd_strlen(struct request *r)
{
	return integer(r, r->e ? r->e->vlen : 0);
}

static bool cmd_mget(struct request *r)
{
	struct entry *e;
	size_t i;

	array(r, r->argc - 1);
	for (i = 1; i < r->argc; i++) {
		e = lookup(r, r->argv[i], VALUE);
		value(r, e && entry_kind(e) == ENTRY_STRING ? e : NULL);
	}
	return true;
}

struct set_options {
	bool nx, xx, get, keepttl, expiring;
	long long expires;
};

static bool set_options(struct request *r, struct set_options *set)
{
	static const char *const words[] = { "EX", "PX", "EXAT", "PXAT" };
	static const long long units[] = { 1000, 1, -1000, -1 };
	size_t i, k;

	for (i = 3; i < r->argc; i++) {
		for (k = 0; k < 4 && !is(r->argv[i], words[k]); k++)
			;
		if (k < 4 && i + 1 < r->argc && !set->keepttl &&
		    !set->expiring) {
			set->expiring = true;
			if (!time_arg(r, r->argv[++i], units[k], 0,
				      &set->expires))
				return false;
		} else if (is(r->argv[i], "NX") && !set->xx) {
			set->nx = true;
		} else if (is(r->argv[i], "XX") && !set->nx) {
			set->xx = true;
		} else if (is(r->argv[i], "GET")) {
			set->get = true;
		} else if (is(r->argv[i], "KEEPTTL") && !set->expiring) {
			set->keepttl = true;
		} else {
			return error(r, SYNTAX);
		}
	}
	return true;
}

static bool cmd_set(struct request *r)
{
	struct set_options set = { 0 };
	struct entry *old = NULL, *e;

	if (!set_options(r, &set))
		return false;
	if (set.nx || set.xx || set.get || set.keepttl)
		old = lookup(r, r->argv[1], KEY);
	if (set.get && !typed(r, old, ENTRY_STRING))
		return false;
	if (set.keepttl && old)
		set.expires = (long long)old->expires;
	if ((set.nx && old) || (set.xx && !old))
		return value(r, set.get ? old : NULL);
	e = new_string(r, r->argv[1], r->argv[2], (uint64_t)set.expires);
	if (!e)
		return out_of_memory(r);
	if (set.get)
		value(r, old);
	table_put(r->table, &e, 1);
	return set.get || status(r, "OK");
}

static bool cmd_mset(struct request *r)
{
	struct entry **entries;
	size_t n = r->argc / 2, i = 0;
	bool done;

	if (r->argc % 2 == 0)
		return error(r, ARITY, r->command->name);
	entries = calloc(n, sizeof(struct entry *));
	for (; entries && i < n; i++) {
		entries[i] = new_string(r, r->argv[2 * i + 1],
					r->argv[2 * i + 2], 0);
		if (!entries[i])
			break;
	}
	done = entries && i == n && !table_put(r->table, entries, n);
	if (!done)
		out_of_memory(r);
	while (!done && i)
		table_drop(r->table, entries[--i]);
	free(entries);
	return done && status(r, "OK");
}

/* INCR, DECR, INCRBY, DECRBY: @arg is 1 or -1, by which the number counts. */
static bool cmd_add(struct request *r)
{
	struct entry *e = r->e;
	long long delta = 1, n = 0;
	char digits[24];

	if (r->argc == 3 && !int_arg(r, r->argv[2], &delta))
		return false;
	if (__builtin_mul_overflow(delta, r->command->arg, &delta))
		return error(r, "ERR decrement would overflow");
	if (e && !int_arg(r, entry_value(e), &n))
		return false;
	if (__builtin_add_overflow(n, delta, &n))
		return error(r, "ERR increment or decrement would overflow");
	snprintf(digits, sizeof(digits), "%lld", n);
	e = new_string(r, r->argv[1], text(digits), e ? e->expires : 0);
	if (!e)
		return out_of_memory(r);
	table_put(r->table, &e, 1);
	return integer(r, n);
}

/* ---- lists ---- */

#if KVSTORE_VERSION >= 2

static long long length(const struct entry *e)
{
	return e ? (long long)entry_list(e)->length : 0;
}

/* LPUSH, RPUSH: @arg is the end. */
static bool cmd_push(struct request *r)
{
	struct entry *e = r->e;
	int ret;

	if (!e)
		e = list_new(r->table, r->argv[1]);
	if (!e)
		return out_of_memory(r);
	ret = list_push(r->table, e, (enum list_end)r->command->arg,
			&r->argv[2], r->argc - 2);
	if (ret && !r->e)
		table_drop(r->table, e);
	errno = -ret;
	if (ret)
		return out_of_memory(r);
	entry_touch(r->table, e);
	integer(r, length(e));
	if (!r->e)
		table_put(r->table, &e, 1);
	return true;
}

/* @n elements, one after the other in steps of 1 or -1. */
static bool elements(struct request *r, long long index, long long n, int step)
{
	for (; n; n--, index += step)
		value(r, list_at(r->table, r->e, (uint64_t)index));
	return true;
}

/* LPOP, RPOP: @arg is the end. A list that has no more elements is no more. */
static bool cmd_pop(struct request *r)
{
	bool first = r->command->arg == LIST_FIRST, some = r->argc == 3;
	long long n = 1;

	if (some && (!str_int(r->argv[2], &n) || n < 0))
		return error(r, "ERR value is out of range, must be positive");
	if (!typed(r, r->e, ENTRY_LIST))
		return false;
	if (!r->e && some && r->client->kept.protocol == 2) {
		resp_head(r->out, '*', -1);
		return true;
	}
	if (!r->e)
		return null(r);
	if (n > length(r->e))
		n = length(r->e);
	if (some)
		array(r, (uint64_t)n);
	elements(r, first ? 0 : length(r->e) - 1, n, first ? 1 : -1);
	entry_touch(r->table, r->e);
	if (n == length(r->e))
		return drop(r, r->argv[1]);
	list_pop(r->table, r->e, (enum list_end)r->command->arg, (uint64_t)n);
	return true;
}

static bool cmd_llen(struct request *r)
{
	return integer(r, length(r->e));
}

static bool cmd_lrange(struct request *r)
{
	long long first, last, len;

	if (!int_arg(r, r->argv[2], &first) || !int_arg(r, r->argv[3], &last))
		return false;
	len = length(r->e);
	first += first < 0 ? len : 0;
	last += last < 0 ? len : 0;
	first = first < 0 ? 0 : first;
	last = last < len ? last : len - 1;
	len = last < first ? 0 : last - first + 1;
	array(r, (uint64_t)len);
	return elements(r, first, len, 1);
}

static bool cmd_lindex(struct request *r)
{
	long long index;

	if (!r->e)
		return null(r);
	if (!int_arg(r, r->argv[2], &index))
		return false;
	index += index < 0 ? length(r->e) : 0;
	return value(r, list_at(r->table, r->e, (uint64_t)index));
}

/* When an entry that an older version wrote was last used is not known: 0. */
static bool cmd_object(struct request *r)
{
	uint64_t now = r->table->now, accessed;
	struct entry *e;

	if (!is(r->argv[1], "IDLETIME") || r->argc != 3)
		return error(r, SUBCOMMAND, r->command->name);
	e = lookup(r, r->argv[2], KEY);
	if (!e)
		return null(r);
	accessed = entry_accessed(r->table, e);
	if (!accessed || accessed > now)
		accessed = now;
	return integer(r, (long long)(now - accessed) / 1000);
}

#endif

/* ---- keys ---- */

/* DEL, UNLINK, EXISTS: @arg is false. */
static bool cmd_del(struct request *r)
{
	bool look = r->command->arg;
	long long n = 0;
	size_t i;

	for (i = 1; i < r->argc; i++)
		n += lookup(r, r->argv[i], look ? VALUE : KEY) &&
		     (look || drop(r, r->argv[i]));
	return integer(r, n);
}

static const char *type_name(const struct entry *e)
{
	return entry_kind(e) == ENTRY_LIST ? "list" : "string";
}

static bool cmd_type(struct request *r)
{
	return status(r, r->e ? type_name(r->e) : "none");
}

/* EXPIRE and its kin: @arg is the unit, as time_arg() wants it. */
static bool cmd_expire(struct request *r)
{
	long long when;

	if (!time_arg(r, r->argv[2], r->command->arg, LLONG_MIN, &when))
		return false;
	if (r->e && when <= (long long)r->table->now)
		drop(r, r->argv[1]);
	else if (r->e)
		entry_expire(r->e, (uint64_t)when);
	return integer(r, r->e != NULL);
}

static bool cmd_persist(struct request *r)
{
	integer(r, r->e && r->e->expires);
	if (r->e)
		entry_expire(r->e, 0);
	return true;
}

/* TTL, PTTL: @arg is the unit in ms. -1: it never expires; -2: there is none. */
static bool cmd_ttl(struct request *r)
{
	long long unit = r->command->arg, left;

	if (!r->e || !r->e->expires)
		return integer(r, r->e ? -1 : -2);
	left = (long long)(r->e->expires - r->table->now);
	return integer(r, (left + unit / 2) / unit);
}

static bool cmd_dbsize(struct request *r)
{
	return integer(r, (long long)r->table->root->count);
}

static bool cmd_flushall(struct request *r)
{
	if (r->argc > 2 || (r->argc == 2 && !is(r->argv[1], "ASYNC") &&
			    !is(r->argv[1], "SYNC")))
		return error(r, SYNTAX);
	table_flush(r->table);
	return status(r, "OK");
}

struct keys {
	struct buf found;
	size_t n;
	struct str pattern;
	struct str type;
};

static void add_key(struct table *table, struct entry *e, void *arg)
{
	struct keys *keys = arg;
	struct str key = entry_key(e);

	if (entry_kind(e) == ENTRY_ELEMENT || entry_expired(table, e) ||
	    (keys->pattern.p && !glob(keys->pattern, key)) ||
	    (keys->type.p && !is(keys->type, type_name(e))))
		return;
	resp_bulk(&keys->found, key);
	keys->n++;
}

/* KEYS, SCAN: each key that is there all the while comes exactly once. */
static bool cmd_keys(struct request *r)
{
	struct keys keys = { .pattern = r->argv[1] };

	table_walk(r->table, 0, UINT32_MAX, add_key, &keys);
	array(r, keys.n);
	buf_move(r->out, &keys.found);
	return true;
}

static bool cmd_scan(struct request *r)
{
	long long cursor, count = 10;
	struct keys keys = { 0 };
	char next[24];
	size_t i;

	if (!str_int(r->argv[1], &cursor) || cursor < 0)
		return error(r, "ERR invalid cursor");
	for (i = 2; i + 1 < r->argc && count > 0; i += 2) {
		if (is(r->argv[i], "MATCH"))
			keys.pattern = r->argv[i + 1];
		else if (is(r->argv[i], "TYPE"))
			keys.type = r->argv[i + 1];
		else if (!is(r->argv[i], "COUNT"))
			break;
		else if (!int_arg(r, r->argv[i + 1], &count))
			return false;
	}
	if (i < r->argc || count < 1)
		return error(r, SYNTAX);
	count = count > UINT32_MAX ? UINT32_MAX : count;
	snprintf(next, sizeof(next), "%" PRIu64,
		 table_walk(r->table, (uint64_t)cursor, (uint64_t)count,
			    add_key, &keys));
	array(r, 2);
	bulk(r, text(next));
	array(r, keys.n);
	buf_move(r->out, &keys.found);
	return true;
}

/* ---- connection ---- */

static bool cmd_ping(struct request *r)
{
	return r->argc == 2 ? bulk(r, r->argv[1]) : status(r, "PONG");
}

static bool cmd_quit(struct request *r)
{
	r->client->kept.closing = true;
	return status(r, "OK");
}

static bool cmd_select(struct request *r)
{
	long long n;

	if (!int_arg(r, r->argv[1], &n))
		return false;
	return n ? error(r, "ERR DB index is out of range") : status(r, "OK");
}

static bool set_name(struct request *r, struct str name)
{
	size_t i;

	for (i = 0; i < name.len && name.p[i] >= '!' && name.p[i] <= '~'; i++)
		;
	if (i < name.len || i >= CLIENT_NAME_SIZE)
		return error(r,
			     "ERR Client names cannot contain spaces, newlines or special characters, and have at most %d",
			     CLIENT_NAME_SIZE - 1);
	snprintf(r->client->kept.name, CLIENT_NAME_SIZE, "%.*s", (int)i,
		 name.p);
	return true;
}

static bool cmd_client(struct request *r)
{
	const char *name = r->client->kept.name;

	if (is(r->argv[1], "ID") && r->argc == 2)
		return integer(r, (long long)r->client->kept.id);
	if (is(r->argv[1], "GETNAME") && r->argc == 2)
		return *name ? bulk(r, text(name)) : null(r);
	if (is(r->argv[1], "SETNAME") && r->argc == 3)
		return set_name(r, r->argv[2]) && status(r, "OK");
	if (!is(r->argv[1], "SETINFO") || r->argc != 4)
		return error(r, SUBCOMMAND, r->command->name);
	if (is(r->argv[2], "LIB-NAME") || is(r->argv[2], "LIB-VER"))
		return status(r, "OK");
	return error(r, "ERR Unrecognized option '%.*s'", SHOWN(r->argv[2]));
}

/* There is no password: the default user may come with any, as in Redis. */
static bool hello_options(struct request *r)
{
	const struct str *arg = r->argv + 2, *end = r->argv + r->argc;

	for (; arg < end; arg++) {
		if (is(*arg, "AUTH") && arg + 2 < end) {
			if (!is(arg[1], "default"))
				return error(r,
					     "WRONGPASS invalid username-password pair or user is disabled.");
			arg += 2;
		} else if (is(*arg, "SETNAME") && arg + 1 < end) {
			if (!set_name(r, *++arg))
				return false;
		} else {
			return error(r,
				     "ERR Syntax error in HELLO option '%.*s'",
				     SHOWN(*arg));
		}
	}
	return true;
}

static void pair(struct request *r, const char *name, const char *val)
{
	bulk(r, text(name));
	bulk(r, text(val));
}

static bool cmd_hello(struct request *r)
{
	long long protocol = r->client->kept.protocol;

	if (r->argc > 1 && !str_int(r->argv[1], &protocol))
		return error(r,
			     "ERR Protocol version is not an integer or out of range");
	if (protocol < 2 || protocol > 3)
		return error(r, "NOPROTO unsupported protocol version");
	if (!hello_options(r))
		return false;
	r->client->kept.protocol = (uint32_t)protocol;
	map(r, 7);
	pair(r, "server", "redis");
	pair(r, "version", REDIS_VERSION);
	bulk(r, text("proto"));
	integer(r, protocol);
	bulk(r, text("id"));
	integer(r, (long long)r->client->kept.id);
	pair(r, "mode", "standalone");
	pair(r, "role", "master");
	bulk(r, text("modules"));
	array(r, 0);
	return true;
}

/* ---- the server ---- */

static bool wants(struct request *r, const char *name)
{
	size_t i;

	for (i = 2; i < r->argc; i++) {
		if (glob(r->argv[i], text(name)))
			return true;
	}
	return false;
}

static bool cmd_config(struct request *r)
{
	const struct server *s = r->server;
	char memory[24], port[8];
	const char *const config[][2] = {
		{ "appendonly", "no" },
		{ "bind", s->bind },
		{ "databases", "1" },
		{ "maxmemory", memory },
		{ "port", port },
		{ "save", "" },
		{ "unixsocket", s->unix_path ? s->unix_path : "" },
	};
	size_t n = 0, k;

	if (!is(r->argv[1], "GET") || r->argc < 3)
		return error(r, SUBCOMMAND, r->command->name);
	snprintf(memory, sizeof(memory), "%" PRIu64, s->max_memory);
	snprintf(port, sizeof(port), "%u", s->port);
	for (k = 0; k < 7; k++)
		n += wants(r, config[k][0]);
	map(r, n);
	for (k = 0; k < 7; k++) {
		if (wants(r, config[k][0]))
			pair(r, config[k][0], config[k][1]);
	}
	return true;
}

/* Adds a section of INFO if it was asked for. */
static void section(struct request *r, struct buf *info, const char *name,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void section(struct request *r, struct buf *info, const char *name,
		    const char *fmt, ...)
{
	bool wanted = r->argc == 1;
	char lines[512];
	va_list ap;
	size_t i;
	int len;

	for (i = 1; i < r->argc; i++)
		wanted |= is(r->argv[i], name) || is(r->argv[i], "all") ||
			  is(r->argv[i], "default") ||
			  is(r->argv[i], "everything");
	if (!wanted)
		return;
	len = snprintf(lines, sizeof(lines), "%s# %s\r\n",
		       info->len ? "\r\n" : "", name);
	va_start(ap, fmt);
	vsnprintf(lines + len, sizeof(lines) - (size_t)len, fmt, ap);
	va_end(ap);
	buf_add(info, lines, strlen(lines));
}

static bool cmd_info(struct request *r)
{
	const struct server *s = r->server;
	const struct kvtable *root = r->table->root;
	unsigned int shift = kho_page_shift(s->kho);
	bool resp3 = r->client->kept.protocol == 3;
	struct kho_pages_info pages;
	struct buf info = { 0 };

#define N "%" PRIu64 "\r\n"
	kho_pages_info(s->kho, &pages);
	section(r, &info, "Server",
		"redis_version:" REDIS_VERSION "\r\nkvstore_version:%d\r\n"
		"process_id:%d\r\ntcp_port:%u\r\nuptime_in_seconds:" N,
		KVSTORE_VERSION, (int)getpid(), s->port,
		(s->ticks - s->started) / 1000);
	section(r, &info, "Clients", "connected_clients:%zu\r\n",
		s->nr_clients);
	section(r, &info, "Memory", "used_memory:" N "maxmemory:" N,
		pages.allocated << shift, pages.max << shift);
#if KVSTORE_VERSION < 2
	section(r, &info, "Stats", "total_commands_processed:" N,
		s->state->commands);
#else
	section(r, &info, "Stats",
		"total_commands_processed:" N "keyspace_hits:" N
		"keyspace_misses:" N,
		s->state->commands, s->state->hits, s->state->misses);
#endif
	section(r, &info, "Kho",
		"generation:" N "state_version:%u\r\ntable_version:" N
		"state_age_in_seconds:" N
		"recovery_in_progress:%d\r\nbuckets:" N,
		kho_generation(s->kho), s->version, root->version,
		(s->table.now - s->state->created) / 1000, s->recovering,
		root->buckets);
	section(r, &info, "Keyspace", "%s%.0" PRIu64 "%s",
		root->count ? "db0:keys=" : "", root->count,
		root->count ? "\r\n" : "");
#undef N
	/* In RESP3, text for people says so. */
	resp_head(r->out, resp3 ? '=' : '$', (long long)info.len + 4 * resp3);
	buf_add(r->out, "txt:", 4 * resp3);
	buf_move(r->out, &info);
	buf_add(r->out, "\r\n", 2);
	return true;
}

/* ---- the table of commands ---- */

static bool cmd_command(struct request *r);

#define READ "readonly"
#define WRITE "write"
/* The first argument that is a key, the last one, and in which steps. */
#define NONE 0, 0, 0, NO_KEY, ANY
#define ONE 1, 1, 1
#define ALL 1, -1, 1, NO_KEY, ANY
#define PAIRS 1, -1, 2, NO_KEY, ANY
/* What a key may hold. */
#define ANY 0
#define STRING ENTRY_STRING
#define LIST ENTRY_LIST

static const struct command commands[] = {
	{ "client", 2, 0, READ, NONE, cmd_client, 0 },
	{ "command", 1, 0, READ, NONE, cmd_command, 0 },
	{ "config", 2, 0, READ, NONE, cmd_config, 0 },
	{ "dbsize", 1, 1, READ, NONE, cmd_dbsize, 0 },
	{ "decr", 2, 2, WRITE, ONE, KEY, STRING, cmd_add, -1 },
	{ "decrby", 3, 3, WRITE, ONE, KEY, STRING, cmd_add, -1 },
	{ "del", 2, 0, WRITE, ALL, cmd_del, false },
	{ "echo", 2, 2, READ, NONE, cmd_ping, 0 },
	{ "exists", 2, 0, READ, ALL, cmd_del, true },
	{ "expire", 3, 3, WRITE, ONE, KEY, ANY, cmd_expire, 1000 },
	{ "expireat", 3, 3, WRITE, ONE, KEY, ANY, cmd_expire, -1000 },
	{ "flushall", 1, 0, WRITE, NONE, cmd_flushall, 0 },
	{ "flushdb", 1, 0, WRITE, NONE, cmd_flushall, 0 },
	{ "get", 2, 2, READ, ONE, VALUE, STRING, cmd_get, 0 },
	{ "hello", 1, 0, READ, NONE, cmd_hello, 0 },
	{ "incr", 2, 2, WRITE, ONE, KEY, STRING, cmd_add, 1 },
	{ "incrby", 3, 3, WRITE, ONE, KEY, STRING, cmd_add, 1 },
	{ "info", 1, 0, READ, NONE, cmd_info, 0 },
	{ "keys", 2, 2, READ, NONE, cmd_keys, 0 },
	{ "mget", 2, 0, READ, ALL, cmd_mget, 0 },
	{ "mset", 3, 0, WRITE, PAIRS, cmd_mset, 0 },
	{ "persist", 2, 2, WRITE, ONE, KEY, ANY, cmd_persist, 0 },
	{ "pexpire", 3, 3, WRITE, ONE, KEY, ANY, cmd_expire, 1 },
	{ "pexpireat", 3, 3, WRITE, ONE, KEY, ANY, cmd_expire, -1 },
	{ "ping", 1, 2, READ, NONE, cmd_ping, 0 },
	{ "pttl", 2, 2, READ, ONE, KEY, ANY, cmd_ttl, 1 },
	{ "quit", 1, 0, READ, NONE, cmd_quit, 0 },
	{ "scan", 2, 0, READ, NONE, cmd_scan, 0 },
	{ "select", 2, 2, READ, NONE, cmd_select, 0 },
	{ "set", 3, 0, WRITE, ONE, NO_KEY, ANY, cmd_set, 0 },
	{ "strlen", 2, 2, READ, ONE, VALUE, STRING, cmd_strlen, 0 },
	{ "ttl", 2, 2, READ, ONE, KEY, ANY, cmd_ttl, 1000 },
	{ "type", 2, 2, READ, ONE, KEY, ANY, cmd_type, 0 },
	{ "unlink", 2, 0, WRITE, ALL, cmd_del, false },
#if KVSTORE_VERSION >= 2
	{ "lindex", 3, 3, READ, ONE, VALUE, LIST, cmd_lindex, 0 },
	{ "llen", 2, 2, READ, ONE, VALUE, LIST, cmd_llen, 0 },
	{ "lpop", 2, 3, WRITE, ONE, KEY, ANY, cmd_pop, LIST_FIRST },
	{ "lpush", 3, 0, WRITE, ONE, KEY, LIST, cmd_push, LIST_FIRST },
	{ "lrange", 4, 4, READ, ONE, VALUE, LIST, cmd_lrange, 0 },
	{ "object", 2, 0, READ, 2, 2, 1, NO_KEY, ANY, cmd_object, 0 },
	{ "rpop", 2, 3, WRITE, ONE, KEY, ANY, cmd_pop, LIST_LAST },
	{ "rpush", 3, 0, WRITE, ONE, KEY, LIST, cmd_push, LIST_LAST },
#endif
};

#define NR_COMMANDS (sizeof(commands) / sizeof(*commands))

/* redis-cli takes its hints from here. */
static bool cmd_command(struct request *r)
{
	const struct command *c;

	if (r->argc == 2 && is(r->argv[1], "COUNT"))
		return integer(r, NR_COMMANDS);
	if (r->argc > 1)
		return error(r, SUBCOMMAND, r->command->name);
	array(r, NR_COMMANDS);
	for (c = commands; c < commands + NR_COMMANDS; c++) {
		array(r, 6);
		bulk(r, text(c->name));
		/* Negative: or more. */
		integer(r, c->least == c->most ? (long long)c->least :
						 -(long long)c->least);
		resp_head(r->out, r->client->kept.protocol == 3 ? '~' : '*', 1);
		status(r, c->flag);
		integer(r, c->first);
		integer(r, c->last);
		integer(r, c->step);
	}
	return true;
}

static bool unknown(struct request *r)
{
	char args[256] = "";
	size_t at = 0, i;

	for (i = 1; i < r->argc && at < 128; i++)
		at += (size_t)snprintf(args + at, sizeof(args) - at, "'%.*s' ",
				       SHOWN(r->argv[i]));
	return error(r,
		     "ERR unknown command '%.*s', with args beginning with: "
		     "%s",
		     SHOWN(r->argv[0]), args);
}

/* A web page made somebody's browser send this, not knowing what it does. */
static void refuse_http(struct request *r)
{
	static uint64_t quiet_until;

	r->client->broken = true;
	if (r->server->ticks < quiet_until)
		return;
	quiet_until = r->server->ticks + 60000;
	fprintf(stderr, "kvstore: possible security attack: a client sent an "
			"HTTP request; its connection was closed\n");
}

void command_run(struct server *server, struct client *client)
{
	struct request r = {
		.server = server,
		.table = &server->table,
		.client = client,
		.out = &client->out,
		.argc = client->parser.argc,
		.argv = client->parser.argv,
	};
	const struct command *c = commands, *end = c + NR_COMMANDS;

	while (c < end && !is(r.argv[0], c->name))
		c++;
	r.command = c;
	if (is(r.argv[0], "post") || is(r.argv[0], "host:")) {
		refuse_http(&r);
	} else if (c == end) {
		unknown(&r);
	} else if (r.argc < c->least || (c->most && r.argc > c->most)) {
		resp_line(r.out, '-', ARITY, c->name);
	} else {
		server->state->commands++;
		if (c->use != NO_KEY)
			r.e = lookup(&r, r.argv[1], c->use);
		if (!c->kind || typed(&r, r.e, c->kind))
			c->run(&r);
	}
}
