/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The commands. A reply is added only when what it says is in the arena. */
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
};

/*
 * One of them; @first, @last (negative: from the end) and @step say which
 * arguments are keys. A negative @arity: at least so many arguments. @run
 * returns false when it could not do it; @arg is its own.
 */
struct command {
	const char *name;
	int arity;
	const char *flag;
	int first, last, step;
	bool (*run)(struct request *r);
	long long arg;
};

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
	bool resp3 = r->client->protocol == 3;

	resp_head(r->out, resp3 ? '%' : '*', (long long)(resp3 ? n : 2 * n));
}

static bool status(struct request *r, const char *text)
{
	resp_line(r->out, '+', "%s", text);
	return true;
}

static bool null(struct request *r)
{
	bool resp3 = r->client->protocol == 3;

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

static bool syntax(struct request *r)
{
	return error(r, "ERR syntax error");
}

static bool out_of_memory(struct request *r)
{
	if (errno == EFBIG)
		return error(r, "ERR string exceeds maximum allowed size "
				"(proto-max-bulk-len)");
	return error(r, "OOM command not allowed when used memory > "
			"'maxmemory'.");
}

static bool wrong_arity(struct request *r)
{
	return error(r, "ERR wrong number of arguments for '%s' command",
		     r->command->name);
}

static bool subcommand(struct request *r)
{
	return error(r,
		     "ERR unknown subcommand or wrong number of arguments "
		     "for '%s' command",
		     r->command->name);
}

static int shown(struct str str)
{
	return (int)(str.len < 64 ? str.len : 64);
}

/* ---- what most commands need: false when that has been replied to ---- */

/* An expired key is deleted by whoever comes across it. */
static struct entry *lookup(struct request *r, struct str key)
{
	struct entry *e = table_find(r->table, key);

	if (!e || !entry_expired(e, r->server->now))
		return e;
	table_delete(r->table, key);
	return NULL;
}

/* For reading its value: that is what counts as use. */
static struct entry *lookup_read(struct request *r, struct str key)
{
	struct entry *e = lookup(r, key);

	if (e)
		entry_touch(e, r->server->now);
	if (r->server->version >= 2) {
		r->server->state->hits += e != NULL;
		r->server->state->misses += e == NULL;
	}
	return e;
}

static const char *type_name(const struct entry *e)
{
	return entry_is_list(e) ? "list" : "string";
}

/* Not when the key holds something else. */
static bool typed(struct request *r, const struct entry *e, bool list)
{
	if (!e || entry_is_list(e) == list)
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
	long long base = unit > 0 ? (long long)r->server->now : 0;

	if (!int_arg(r, arg, when))
		return false;
	if (*when > least &&
	    !__builtin_mul_overflow(*when, llabs(unit), when) &&
	    !__builtin_add_overflow(*when, base, when))
		return true;
	return error(r, "ERR invalid expire time in '%s' command",
		     r->command->name);
}

/* Nothing leads to it yet. NULL: there is no memory. */
static struct entry *new_entry(struct request *r, struct str key,
			       struct str val, uint64_t expires)
{
	return table_new(r->table, key, val, expires, r->server->now);
}

/* ---- strings ---- */

static bool cmd_get(struct request *r)
{
	struct entry *e = lookup_read(r, r->argv[1]);

	return typed(r, e, false) && value(r, e);
}

static bool cmd_mget(struct request *r)
{
	struct entry *e;
	size_t i;

	array(r, r->argc - 1);
	for (i = 1; i < r->argc; i++) {
		e = lookup_read(r, r->argv[i]);
		value(r, e && !entry_is_list(e) ? e : NULL);
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
			return syntax(r);
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
		old = lookup(r, r->argv[1]);
	if (set.get && !typed(r, old, false))
		return false;
	if (set.keepttl && old)
		set.expires = (long long)old->expires;
	if ((set.nx && old) || (set.xx && !old))
		return value(r, set.get ? old : NULL);
	e = new_entry(r, r->argv[1], r->argv[2], (uint64_t)set.expires);
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
		return wrong_arity(r);
	entries = calloc(n, sizeof(struct entry *));
	for (; entries && i < n; i++) {
		entries[i] =
			new_entry(r, r->argv[2 * i + 1], r->argv[2 * i + 2], 0);
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
	struct entry *e = lookup(r, r->argv[1]);
	long long delta = 1, n = 0;
	char text[24];

	if (r->argc == 3 && !int_arg(r, r->argv[2], &delta))
		return false;
	if (__builtin_mul_overflow(delta, r->command->arg, &delta))
		return error(r, "ERR decrement would overflow");
	if (!typed(r, e, false) || (e && !int_arg(r, entry_value(e), &n)))
		return false;
	if (__builtin_add_overflow(n, delta, &n))
		return error(r, "ERR increment or decrement would overflow");
	snprintf(text, sizeof(text), "%lld", n);
	e = new_entry(r, r->argv[1], (struct str){ text, strlen(text) },
		      e ? e->expires : 0);
	if (!e)
		return out_of_memory(r);
	table_put(r->table, &e, 1);
	return integer(r, n);
}

static bool cmd_strlen(struct request *r)
{
	struct entry *e = lookup_read(r, r->argv[1]);

	return typed(r, e, false) && integer(r, e ? e->vlen : 0);
}

/* ---- lists ---- */

#if KVSTORE_VERSION >= 2

static uint64_t length(const struct entry *e)
{
	return e ? entry_list(e)->length : 0;
}

/* LPUSH, RPUSH: @arg is the end. */
static bool cmd_push(struct request *r)
{
	enum list_end end = (enum list_end)r->command->arg;
	struct entry *old = lookup(r, r->argv[1]), *e = old;
	int ret = 0;

	if (!typed(r, old, true))
		return false;
	if (!old)
		e = table_new_list(r->table, r->argv[1], r->server->now);
	if (e)
		ret = list_push(r->table, e, end, &r->argv[2], r->argc - 2);
	if (ret && !old)
		table_drop(r->table, e);
	errno = ret ? -ret : errno;
	if (!e || ret)
		return out_of_memory(r);
	entry_touch(e, r->server->now);
	if (!old)
		table_put(r->table, &e, 1);
	return integer(r, (long long)length(table_find(r->table, r->argv[1])));
}

/* @n elements, one after the other in steps of 1 or -1. */
static bool elements(struct request *r, const struct entry *e, uint64_t index,
		     uint64_t n, int step)
{
	const struct element *x;

	for (; n; n--, index += (uint64_t)step) {
		x = list_at(r->table, e, index);
		bulk(r, (struct str){ x->bytes, x->len });
	}
	return true;
}

/* LPOP, RPOP: @arg is the end. A list that has no more elements is no more. */
static bool cmd_pop(struct request *r)
{
	bool first = r->command->arg == LIST_FIRST, some = r->argc == 3;
	struct entry *e = lookup(r, r->argv[1]);
	long long count = 1;
	uint64_t n;

	if (r->argc > 3)
		return wrong_arity(r);
	if (some && (!str_int(r->argv[2], &count) || count < 0))
		return error(r, "ERR value is out of range, must be positive");
	if (!typed(r, e, true))
		return false;
	if (!e && some && r->client->protocol == 2)
		resp_head(r->out, '*', -1);
	else if (!e)
		null(r);
	if (!e)
		return true;
	n = (uint64_t)count < length(e) ? (uint64_t)count : length(e);
	if (some)
		array(r, n);
	elements(r, e, first ? 0 : length(e) - 1, n, first ? 1 : -1);
	entry_touch(e, r->server->now);
	if (n == length(e))
		return table_delete(r->table, r->argv[1]);
	list_pop(r->table, e, (enum list_end)r->command->arg, n);
	return true;
}

static bool cmd_llen(struct request *r)
{
	struct entry *e = lookup_read(r, r->argv[1]);

	return typed(r, e, true) && integer(r, (long long)length(e));
}

static bool cmd_lrange(struct request *r)
{
	long long first, last, len;
	struct entry *e;

	if (!int_arg(r, r->argv[2], &first) || !int_arg(r, r->argv[3], &last))
		return false;
	e = lookup_read(r, r->argv[1]);
	if (!typed(r, e, true))
		return false;
	len = (long long)length(e);
	first += first < 0 ? len : 0;
	last += last < 0 ? len : 0;
	first = first < 0 ? 0 : first;
	last = last < len ? last : len - 1;
	last = last < first ? first - 1 : last;
	array(r, (uint64_t)(last - first + 1));
	return elements(r, e, (uint64_t)first, (uint64_t)(last - first + 1), 1);
}

static bool cmd_lindex(struct request *r)
{
	struct entry *e = lookup_read(r, r->argv[1]);
	long long index;

	if (!e)
		return null(r);
	if (!typed(r, e, true) || !int_arg(r, r->argv[2], &index))
		return false;
	index += index < 0 ? (long long)length(e) : 0;
	if (index < 0 || index >= (long long)length(e))
		return null(r);
	return elements(r, e, (uint64_t)index, 1, 1);
}

/* When an entry that an older version wrote was last used is not known: 0. */
static bool cmd_object(struct request *r)
{
	uint64_t now = r->server->now, accessed;
	struct entry *e;

	if (!is(r->argv[1], "IDLETIME") || r->argc != 3)
		return subcommand(r);
	e = lookup(r, r->argv[2]);
	if (!e)
		return null(r);
	accessed = entry_accessed(e);
	if (!accessed || accessed > now)
		accessed = now;
	return integer(r, (long long)(now - accessed) / 1000);
}

#endif

/* ---- keys ---- */

/* DEL, UNLINK, EXISTS: @arg is false. */
static bool cmd_del(struct request *r)
{
	long long n = 0;
	size_t i;

	for (i = 1; i < r->argc; i++) {
		if (r->command->arg)
			n += lookup_read(r, r->argv[i]) != NULL;
		else if (lookup(r, r->argv[i]))
			n += table_delete(r->table, r->argv[i]);
	}
	return integer(r, n);
}

static bool cmd_type(struct request *r)
{
	struct entry *e = lookup(r, r->argv[1]);

	return status(r, e ? type_name(e) : "none");
}

/* EXPIRE and its kin: @arg is the unit, as time_arg() wants it. */
static bool cmd_expire(struct request *r)
{
	struct entry *e;
	long long when;

	if (!time_arg(r, r->argv[2], r->command->arg, LLONG_MIN, &when))
		return false;
	e = lookup(r, r->argv[1]);
	if (e && when <= (long long)r->server->now)
		table_delete(r->table, r->argv[1]);
	else if (e)
		publish(&e->expires, (uint64_t)when);
	return integer(r, e != NULL);
}

static bool cmd_persist(struct request *r)
{
	struct entry *e = lookup(r, r->argv[1]);

	integer(r, e && e->expires);
	if (e)
		publish(&e->expires, 0);
	return true;
}

/* TTL, PTTL: @arg is the unit in ms. -1: it never expires; -2: there is none. */
static bool cmd_ttl(struct request *r)
{
	struct entry *e = lookup(r, r->argv[1]);
	long long unit = r->command->arg, left;

	if (!e || !e->expires)
		return integer(r, e ? -1 : -2);
	left = (long long)(e->expires - r->server->now);
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
		return syntax(r);
	table_flush(r->table);
	return status(r, "OK");
}

struct keys {
	struct buf found;
	size_t n;
	uint64_t now;
	struct str pattern;
	struct str type;
};

static void add_key(struct table *table, struct entry *e, void *arg)
{
	struct keys *keys = arg;
	struct str key = entry_key(e);

	(void)table;
	if (entry_expired(e, keys->now) ||
	    (keys->pattern.p && !glob(keys->pattern, key)) ||
	    (keys->type.p && !is(keys->type, type_name(e))))
		return;
	resp_bulk(&keys->found, key);
	keys->n++;
}

static bool reply_keys(struct request *r, struct keys *keys)
{
	array(r, keys->n);
	buf_add(r->out, keys->found.data, keys->found.len);
	r->out->failed |= keys->found.failed;
	buf_free(&keys->found);
	return true;
}

/* Each key that is there all the while comes exactly once. */
static bool cmd_scan(struct request *r)
{
	struct keys keys = { .now = r->server->now };
	long long cursor, count = 10;
	char text[24];
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
		return syntax(r);
	count = count > UINT32_MAX ? UINT32_MAX : count;
	cursor = (long long)table_walk(r->table, (uint64_t)cursor,
				       (uint64_t)count, add_key, &keys);
	snprintf(text, sizeof(text), "%lld", cursor);
	array(r, 2);
	resp_text(r->out, text);
	return reply_keys(r, &keys);
}

static bool cmd_keys(struct request *r)
{
	struct keys keys = { .now = r->server->now, .pattern = r->argv[1] };

	table_walk(r->table, 0, UINT32_MAX, add_key, &keys);
	return reply_keys(r, &keys);
}

/* ---- connection ---- */

static bool cmd_ping(struct request *r)
{
	if (r->argc > 2)
		return wrong_arity(r);
	return r->argc == 2 ? bulk(r, r->argv[1]) : status(r, "PONG");
}

static bool cmd_echo(struct request *r)
{
	return bulk(r, r->argv[1]);
}

static bool cmd_quit(struct request *r)
{
	r->client->closing = true;
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
	if (i < name.len || name.len >= CLIENT_NAME_SIZE)
		return error(r,
			     "ERR Client names cannot contain spaces, "
			     "newlines or special characters, and have at "
			     "most %d",
			     CLIENT_NAME_SIZE - 1);
	memset(r->client->name, 0, sizeof(r->client->name));
	memcpy(r->client->name, name.p, name.len);
	return true;
}

static bool cmd_client(struct request *r)
{
	struct str name = { r->client->name, strlen(r->client->name) };

	if (is(r->argv[1], "ID") && r->argc == 2)
		return integer(r, (long long)r->client->id);
	if (is(r->argv[1], "GETNAME") && r->argc == 2)
		return name.len ? bulk(r, name) : null(r);
	if (is(r->argv[1], "SETNAME") && r->argc == 3)
		return set_name(r, r->argv[2]) && status(r, "OK");
	if (!is(r->argv[1], "SETINFO") || r->argc != 4)
		return subcommand(r);
	if (is(r->argv[2], "LIB-NAME") || is(r->argv[2], "LIB-VER"))
		return status(r, "OK");
	return error(r, "ERR Unrecognized option '%.*s'", shown(r->argv[2]),
		     r->argv[2].p);
}

/* There is no password: the default user may come with any, as in Redis. */
static bool hello_options(struct request *r)
{
	const struct str *arg = r->argv + 2, *end = r->argv + r->argc;

	while (arg < end) {
		if (is(*arg, "AUTH") && arg + 2 < end) {
			if (!is(arg[1], "default"))
				return error(r, "WRONGPASS invalid username-"
						"password pair or user is "
						"disabled.");
			arg += 3;
		} else if (is(*arg, "SETNAME") && arg + 1 < end) {
			if (!set_name(r, arg[1]))
				return false;
			arg += 2;
		} else {
			return error(r,
				     "ERR Syntax error in HELLO option "
				     "'%.*s'",
				     shown(*arg), arg->p);
		}
	}
	return true;
}

static bool cmd_hello(struct request *r)
{
	static const char *const texts[] = {
		"server", "redis",	"version", REDIS_VERSION,
		"mode",	  "standalone", "role",	   "master",
	};
	long long protocol = r->client->protocol;
	size_t i;

	if (r->argc > 1 && !str_int(r->argv[1], &protocol))
		return error(r, "ERR Protocol version is not an integer or out "
				"of range");
	if (protocol < 2 || protocol > 3)
		return error(r, "NOPROTO unsupported protocol version");
	if (!hello_options(r))
		return false;
	r->client->protocol = (int)protocol;
	map(r, 7);
	for (i = 0; i < 4; i++)
		resp_text(r->out, texts[i]);
	resp_text(r->out, "proto");
	integer(r, protocol);
	resp_text(r->out, "id");
	integer(r, (long long)r->client->id);
	for (; i < 8; i++)
		resp_text(r->out, texts[i]);
	resp_text(r->out, "modules");
	array(r, 0);
	return true;
}

/* ---- the server ---- */

static bool cmd_config(struct request *r)
{
	const char *path = r->server->unix_path;
	char memory[24], port[8];
	const char *const config[][2] = {
		{ "appendonly", "no" },
		{ "bind", r->server->bind },
		{ "databases", "1" },
		{ "maxmemory", memory },
		{ "port", port },
		{ "save", "" },
		{ "unixsocket", path ? path : "" },
	};
	bool match[7] = { 0 };
	size_t found = 0, i, k;

	if (!is(r->argv[1], "GET") || r->argc < 3)
		return subcommand(r);
	snprintf(memory, sizeof(memory), "%" PRIu64, r->server->max_memory);
	snprintf(port, sizeof(port), "%u", r->server->port);
	for (k = 0; k < 7; k++) {
		for (i = 2; i < r->argc && !match[k]; i++)
			match[k] = glob(r->argv[i],
					(struct str){ config[k][0],
						      strlen(config[k][0]) });
		found += match[k];
	}
	map(r, found);
	for (k = 0; k < 14; k++) {
		if (match[k / 2])
			resp_text(r->out, config[k / 2][k % 2]);
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
	char text[512];
	va_list ap;
	size_t i;
	int len;

	for (i = 1; i < r->argc; i++)
		wanted |= is(r->argv[i], name) || is(r->argv[i], "all") ||
			  is(r->argv[i], "default") ||
			  is(r->argv[i], "everything");
	if (!wanted)
		return;
	len = snprintf(text, sizeof(text), "%s# %s\r\n",
		       info->len ? "\r\n" : "", name);
	va_start(ap, fmt);
	vsnprintf(text + len, sizeof(text) - (size_t)len, fmt, ap);
	va_end(ap);
	buf_add(info, text, strlen(text));
}

static bool cmd_info(struct request *r)
{
	const struct server *s = r->server;
	const struct kvtable *root = r->table->root;
	unsigned int shift = kho_page_shift(s->kho);
	char hits[128] = "", keys[48] = "";
	struct kho_pages_info pages;
	struct buf info = { 0 };

	kho_pages_info(s->kho, &pages);
	if (KVSTORE_VERSION >= 2)
		snprintf(hits, sizeof(hits),
			 "keyspace_hits:%" PRIu64 "\r\nkeyspace_misses:%" PRIu64
			 "\r\n",
			 s->state->hits, s->state->misses);
	if (root->count)
		snprintf(keys, sizeof(keys), "db0:keys=%" PRIu64 "\r\n",
			 root->count);
	section(r, &info, "Server",
		"redis_version:" REDIS_VERSION "\r\nkvstore_version:%d\r\n"
		"process_id:%d\r\ntcp_port:%u\r\n"
		"uptime_in_seconds:%" PRIu64 "\r\n",
		KVSTORE_VERSION, (int)getpid(), s->port,
		(s->ticks - s->started) / 1000);
	section(r, &info, "Clients", "connected_clients:%zu\r\n",
		s->nr_clients);
	section(r, &info, "Memory",
		"used_memory:%" PRIu64 "\r\nmaxmemory:%" PRIu64 "\r\n",
		pages.allocated << shift, pages.max << shift);
	section(r, &info, "Stats", "total_commands_processed:%" PRIu64 "\r\n%s",
		s->state->commands, hits);
	section(r, &info, "Kho",
		"generation:%" PRIu64 "\r\nstate_version:%u\r\n"
		"table_version:%" PRIu64 "\r\nstate_age_in_seconds:%" PRId64
		"\r\nupgrade_in_progress:%d\r\nrecovery_in_progress:%d\r\n"
		"buckets:%" PRIu64 "\r\n",
		kho_generation(s->kho), s->version, root->version,
		(int64_t)(s->now - s->state->created) / 1000, s->upgrading,
		s->recovering, root->buckets);
	section(r, &info, "Keyspace", "%s", keys);
	/* In RESP3, text for people says so. */
	if (r->client->protocol == 3) {
		resp_head(r->out, '=', (long long)info.len + 4);
		buf_add(r->out, "txt:", 4);
		buf_add(r->out, info.data, info.len);
		buf_add(r->out, "\r\n", 2);
	} else {
		bulk(r, (struct str){ info.data, info.len });
	}
	r->out->failed |= info.failed;
	buf_free(&info);
	return true;
}

/* ---- the table of commands ---- */

static bool cmd_command(struct request *r);

#define READ "readonly"
#define WRITE "write"

static const struct command commands[] = {
	{ "client", -2, READ, 0, 0, 0, cmd_client, 0 },
	{ "command", -1, READ, 0, 0, 0, cmd_command, 0 },
	{ "config", -2, READ, 0, 0, 0, cmd_config, 0 },
	{ "dbsize", 1, READ, 0, 0, 0, cmd_dbsize, 0 },
	{ "decr", 2, WRITE, 1, 1, 1, cmd_add, -1 },
	{ "decrby", 3, WRITE, 1, 1, 1, cmd_add, -1 },
	{ "del", -2, WRITE, 1, -1, 1, cmd_del, false },
	{ "echo", 2, READ, 0, 0, 0, cmd_echo, 0 },
	{ "exists", -2, READ, 1, -1, 1, cmd_del, true },
	{ "expire", 3, WRITE, 1, 1, 1, cmd_expire, 1000 },
	{ "expireat", 3, WRITE, 1, 1, 1, cmd_expire, -1000 },
	{ "flushall", -1, WRITE, 0, 0, 0, cmd_flushall, 0 },
	{ "flushdb", -1, WRITE, 0, 0, 0, cmd_flushall, 0 },
	{ "get", 2, READ, 1, 1, 1, cmd_get, 0 },
	{ "hello", -1, READ, 0, 0, 0, cmd_hello, 0 },
	{ "incr", 2, WRITE, 1, 1, 1, cmd_add, 1 },
	{ "incrby", 3, WRITE, 1, 1, 1, cmd_add, 1 },
	{ "info", -1, READ, 0, 0, 0, cmd_info, 0 },
	{ "keys", 2, READ, 0, 0, 0, cmd_keys, 0 },
	{ "mget", -2, READ, 1, -1, 1, cmd_mget, 0 },
	{ "mset", -3, WRITE, 1, -1, 2, cmd_mset, 0 },
	{ "persist", 2, WRITE, 1, 1, 1, cmd_persist, 0 },
	{ "pexpire", 3, WRITE, 1, 1, 1, cmd_expire, 1 },
	{ "pexpireat", 3, WRITE, 1, 1, 1, cmd_expire, -1 },
	{ "ping", -1, READ, 0, 0, 0, cmd_ping, 0 },
	{ "pttl", 2, READ, 1, 1, 1, cmd_ttl, 1 },
	{ "quit", -1, READ, 0, 0, 0, cmd_quit, 0 },
	{ "scan", -2, READ, 0, 0, 0, cmd_scan, 0 },
	{ "select", 2, READ, 0, 0, 0, cmd_select, 0 },
	{ "set", -3, WRITE, 1, 1, 1, cmd_set, 0 },
	{ "strlen", 2, READ, 1, 1, 1, cmd_strlen, 0 },
	{ "ttl", 2, READ, 1, 1, 1, cmd_ttl, 1000 },
	{ "type", 2, READ, 1, 1, 1, cmd_type, 0 },
	{ "unlink", -2, WRITE, 1, -1, 1, cmd_del, false },
#if KVSTORE_VERSION >= 2
	{ "lindex", 3, READ, 1, 1, 1, cmd_lindex, 0 },
	{ "llen", 2, READ, 1, 1, 1, cmd_llen, 0 },
	{ "lpop", -2, WRITE, 1, 1, 1, cmd_pop, LIST_FIRST },
	{ "lpush", -3, WRITE, 1, 1, 1, cmd_push, LIST_FIRST },
	{ "lrange", 4, READ, 1, 1, 1, cmd_lrange, 0 },
	{ "object", -2, READ, 2, 2, 1, cmd_object, 0 },
	{ "rpop", -2, WRITE, 1, 1, 1, cmd_pop, LIST_LAST },
	{ "rpush", -3, WRITE, 1, 1, 1, cmd_push, LIST_LAST },
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
		return subcommand(r);
	array(r, NR_COMMANDS);
	for (c = commands; c < commands + NR_COMMANDS; c++) {
		array(r, 6);
		resp_text(r->out, c->name);
		integer(r, c->arity);
		resp_head(r->out, r->client->protocol == 3 ? '~' : '*', 1);
		status(r, c->flag);
		integer(r, c->first);
		integer(r, c->last);
		integer(r, c->step);
	}
	return true;
}

static bool unknown(struct request *r)
{
	char text[256] = "";
	size_t at = 0, i;

	for (i = 1; i < r->argc && at < 128; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "'%.*s' ",
				       shown(r->argv[i]), r->argv[i].p);
	return error(r,
		     "ERR unknown command '%.*s', with args beginning with: "
		     "%s",
		     shown(r->argv[0]), r->argv[0].p, text);
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
	size_t least;

	while (c < end && !is(r.argv[0], c->name))
		c++;
	least = c < end ? (size_t)abs(c->arity) : 0;
	r.command = c;
	if (is(r.argv[0], "post") || is(r.argv[0], "host:")) {
		refuse_http(&r);
	} else if (c == end) {
		unknown(&r);
	} else if (r.argc < least || (c->arity > 0 && r.argc > least)) {
		wrong_arity(&r);
	} else {
		server->state->commands++;
		c->run(&r);
	}
}
