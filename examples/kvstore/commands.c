/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The commands. A reply is added only when what it says is in the arena. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <kho/pages.h>

#include "kvstore.h"
#include "list.h"

/* What client libraries look at to learn what they can use. */
#define REDIS_VERSION "7.0.0"

#define SYNTAX "ERR syntax error"
#define NOT_INTEGER "ERR value is not an integer or out of range"

struct request {
	struct server *server;
	struct client *client;
	struct buf *out;
	const char *name;
	size_t argc;
	const struct str *argv;
};

static bool is(struct str str, const char *word)
{
	return str.len == strlen(word) && !strncasecmp(str.p, word, str.len);
}

/* Does the first element of a pattern match @c? Moves @p behind it. */
static bool glob_one(const char **p, const char *end, char c)
{
	const char *q = *p;
	bool match = false, negate;

	if (*q == '?') {
		*p = q + 1;
		return true;
	}
	if (*q != '[') {
		if (*q == '\\' && q + 1 < end)
			q++;
		*p = q + 1;
		return *q == c;
	}
	q++;
	negate = q < end && *q == '^';
	for (q += negate; q < end && *q != ']'; q++) {
		if (*q == '\\' && q + 1 < end)
			q++;
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

/* ---- what most commands need ---- */

/* An expired key is deleted by whoever comes across it. */
static struct kvtable_entry *lookup(struct server *server, struct str key)
{
	struct kvtable_entry *entry = table_find(&server->table, key);

	if (!entry || !entry_expired(entry, server->now))
		return entry;
	table_delete(&server->table, key);
	return NULL;
}

/* For reading its value: that is what counts as use. */
static struct kvtable_entry *lookup_read(struct server *server, struct str key)
{
	struct kvtable_entry *entry = lookup(server, key);

	if (entry)
		entry_touch(entry, server->now);
#if KVSTORE_VERSION >= 2
	if (server->version >= 2 && entry)
		server->state->hits++;
	else if (server->version >= 2)
		server->state->misses++;
#endif
	return entry;
}

static void out_of_memory(struct request *r)
{
	if (errno == EFBIG)
		resp_error(r->out, "ERR string exceeds maximum allowed size "
				   "(proto-max-bulk-len)");
	else
		resp_error(r->out, "OOM command not allowed when used memory "
				   "> 'maxmemory'.");
}

/* A complete entry, not in the table yet; replies itself if there is no memory. */
static struct kvtable_entry *prepare(struct request *r, struct str key,
				     struct str value, uint64_t expires)
{
	struct kvtable_entry *entry = table_new(&r->server->table, key, value,
						expires, r->server->now);

	if (!entry)
		out_of_memory(r);
	return entry;
}

static const char *type_name(const struct kvtable_entry *entry)
{
	return entry_is_list(entry) ? "list" : "string";
}

/* Replies itself to a key that holds something else. */
static bool wrong_type(struct request *r, const struct kvtable_entry *entry,
		       bool want_list)
{
	if (!entry || entry_is_list(entry) == want_list)
		return false;
	resp_error(r->out, "WRONGTYPE Operation against a key holding the "
			   "wrong kind of value");
	return true;
}

static bool int_arg(struct request *r, struct str arg, long long *n)
{
	if (str_int(arg, n))
		return true;
	resp_error(r->out, NOT_INTEGER);
	return false;
}

static void wrong_arity(struct request *r)
{
	resp_error(r->out, "ERR wrong number of arguments for '%s' command",
		   r->name);
}

/*
 * A point in time from an argument: in units of @unit milliseconds, since @base.
 * Replies itself when that cannot be.
 */
static bool time_arg(struct request *r, struct str arg, long long unit,
		     uint64_t base, long long *when)
{
	if (!int_arg(r, arg, when))
		return false;
	if (!__builtin_mul_overflow(*when, unit, when) &&
	    !__builtin_add_overflow(*when, (long long)base, when))
		return true;
	resp_error(r->out, "ERR invalid expire time in '%s' command", r->name);
	return false;
}

/* ---- strings ---- */

static void cmd_get(struct request *r)
{
	struct kvtable_entry *entry = lookup_read(r->server, r->argv[1]);

	if (wrong_type(r, entry, false))
		return;
	if (entry)
		resp_bulk(r->out, entry_value(entry));
	else
		resp_null(r->out);
}

static void cmd_mget(struct request *r)
{
	struct kvtable_entry *entry;
	size_t i;

	resp_array(r->out, r->argc - 1);
	for (i = 1; i < r->argc; i++) {
		entry = lookup_read(r->server, r->argv[i]);
		if (entry && !entry_is_list(entry))
			resp_bulk(r->out, entry_value(entry));
		else
			resp_null(r->out);
	}
}

struct set_options {
	bool nx, xx, get, keepttl, expiring;
	uint64_t expires;
};

static const struct {
	const char *word;
	long long unit;
	bool relative;
} expiries[] = {
	{ "EX", 1000, true },
	{ "PX", 1, true },
	{ "EXAT", 1000, false },
	{ "PXAT", 1, false },
};

/* 1: it was one, 0: it was not; -1: it was, and has been replied to. */
static int expiry_option(struct request *r, size_t i, struct set_options *set)
{
	uint64_t base;
	long long when;
	size_t k;

	for (k = 0; k < sizeof(expiries) / sizeof(*expiries); k++) {
		if (is(r->argv[i], expiries[k].word))
			break;
	}
	if (k == sizeof(expiries) / sizeof(*expiries) || i + 1 == r->argc ||
	    set->keepttl || set->expiring)
		return 0;
	base = expiries[k].relative ? r->server->now : 0;
	if (!time_arg(r, r->argv[i + 1], expiries[k].unit, base, &when))
		return -1;
	if (when <= (long long)base) {
		resp_error(r->out, "ERR invalid expire time in '%s' command",
			   r->name);
		return -1;
	}
	set->expiring = true;
	set->expires = (uint64_t)when;
	return 1;
}

static bool set_options(struct request *r, struct set_options *set)
{
	size_t i;
	int ret;

	for (i = 3; i < r->argc; i++) {
		ret = expiry_option(r, i, set);
		if (ret < 0)
			return false;
		if (ret)
			i++;
		else if (is(r->argv[i], "NX") && !set->xx)
			set->nx = true;
		else if (is(r->argv[i], "XX") && !set->nx)
			set->xx = true;
		else if (is(r->argv[i], "GET"))
			set->get = true;
		else if (is(r->argv[i], "KEEPTTL") && !set->expiring)
			set->keepttl = true;
		else
			break;
	}
	if (i == r->argc)
		return true;
	resp_error(r->out, SYNTAX);
	return false;
}

static void cmd_set(struct request *r)
{
	struct set_options set = { 0 };
	struct kvtable_entry *old = NULL, *entry;

	if (!set_options(r, &set))
		return;
	if (set.nx || set.xx || set.get || set.keepttl)
		old = lookup(r->server, r->argv[1]);
	if (set.get && wrong_type(r, old, false))
		return;
	if (set.keepttl && old)
		set.expires = old->expires;
	if ((set.nx && old) || (set.xx && !old)) {
		if (set.get && old)
			resp_bulk(r->out, entry_value(old));
		else
			resp_null(r->out);
		return;
	}
	entry = prepare(r, r->argv[1], r->argv[2], set.expires);
	if (!entry)
		return;
	if (set.get && old)
		resp_bulk(r->out, entry_value(old));
	else if (set.get)
		resp_null(r->out);
	else
		resp_status(r->out, "OK");
	table_put(&r->server->table, &entry, 1);
}

static void cmd_mset(struct request *r)
{
	struct kvtable_entry **entries;
	size_t n = r->argc / 2, i;

	if (r->argc % 2 == 0) {
		wrong_arity(r);
		return;
	}
	entries = calloc(n, sizeof(struct kvtable_entry *));
	if (!entries) {
		out_of_memory(r);
		return;
	}
	for (i = 0; i < n; i++) {
		entries[i] =
			prepare(r, r->argv[2 * i + 1], r->argv[2 * i + 2], 0);
		if (!entries[i])
			break;
	}
	if (i == n && !table_put(&r->server->table, entries, n)) {
		resp_status(r->out, "OK");
	} else {
		if (i == n)
			out_of_memory(r);
		while (i)
			table_drop(&r->server->table, entries[--i]);
	}
	free(entries);
}

static void add(struct request *r, long long delta)
{
	struct kvtable_entry *entry = lookup(r->server, r->argv[1]);
	long long value = 0;
	char text[24];
	int len;

	if (wrong_type(r, entry, false) ||
	    (entry && !int_arg(r, entry_value(entry), &value)))
		return;
	if (__builtin_add_overflow(value, delta, &value)) {
		resp_error(r->out, "ERR increment or decrement would overflow");
		return;
	}
	len = snprintf(text, sizeof(text), "%lld", value);
	entry = prepare(r, r->argv[1], (struct str){ text, (size_t)len },
			entry ? entry->expires : 0);
	if (!entry)
		return;
	table_put(&r->server->table, &entry, 1);
	resp_int(r->out, value);
}

static void cmd_incr(struct request *r)
{
	add(r, 1);
}

static void cmd_decr(struct request *r)
{
	add(r, -1);
}

static void cmd_incrby(struct request *r)
{
	long long n;

	if (int_arg(r, r->argv[2], &n))
		add(r, n);
}

static void cmd_decrby(struct request *r)
{
	long long n;

	if (!int_arg(r, r->argv[2], &n))
		return;
	if (__builtin_sub_overflow(0, n, &n))
		resp_error(r->out, "ERR decrement would overflow");
	else
		add(r, n);
}

static void cmd_strlen(struct request *r)
{
	struct kvtable_entry *entry = lookup_read(r->server, r->argv[1]);

	if (!wrong_type(r, entry, false))
		resp_int(r->out, entry ? entry->vlen : 0);
}

/* ---- lists ---- */

#if KVSTORE_VERSION >= 2

static void push(struct request *r, enum list_end end)
{
	struct table *table = &r->server->table;
	struct kvtable_entry *old = lookup(r->server, r->argv[1]);
	struct kvtable_entry *entry = old;
	uint64_t length;
	int ret;

	if (wrong_type(r, old, true))
		return;
	if (!old)
		entry = table_new_list(table, r->argv[1], r->server->now);
	ret = entry ? list_push(table, entry, end, &r->argv[2], r->argc - 2) :
		      -errno;
	if (ret) {
		if (entry && !old)
			table_drop(table, entry);
		errno = -ret;
		out_of_memory(r);
		return;
	}
	entry_touch(entry, r->server->now);
	length = entry_list(entry)->length;
	if (!old)
		table_put(table, &entry, 1);
	resp_int(r->out, (long long)length);
}

static void cmd_lpush(struct request *r)
{
	push(r, LIST_FIRST);
}

static void cmd_rpush(struct request *r)
{
	push(r, LIST_LAST);
}

/* Replies @n elements, from an end inwards. */
static void reply_elements(struct request *r, const struct kvtable_entry *entry,
			   enum list_end end, uint64_t index, uint64_t n)
{
	const struct table *table = &r->server->table;
	const struct kvtable_element *element = list_at(table, entry, index);

	while (n--) {
		resp_bulk(r->out, element_value(element));
		element = end == LIST_FIRST ? list_next(table, element) :
					      list_prev(table, element);
	}
}

/* A list that has no more elements is no more. */
static void pop(struct request *r, enum list_end end)
{
	struct kvtable_entry *entry;
	long long count = 1;
	uint64_t length, n;

	if (r->argc > 3) {
		wrong_arity(r);
		return;
	}
	if (r->argc == 3 && (!str_int(r->argv[2], &count) || count < 0)) {
		resp_error(r->out,
			   "ERR value is out of range, must be positive");
		return;
	}
	entry = lookup(r->server, r->argv[1]);
	if (wrong_type(r, entry, true))
		return;
	if (!entry && r->argc == 3) {
		resp_null_array(r->out);
		return;
	}
	if (!entry) {
		resp_null(r->out);
		return;
	}
	length = entry_list(entry)->length;
	n = (uint64_t)count < length ? (uint64_t)count : length;
	if (r->argc == 3)
		resp_array(r->out, n);
	reply_elements(r, entry, end, end == LIST_FIRST ? 0 : length - 1, n);
	entry_touch(entry, r->server->now);
	if (n == length)
		table_delete(&r->server->table, r->argv[1]);
	else if (n)
		list_pop(&r->server->table, entry, end, n);
}

static void cmd_lpop(struct request *r)
{
	pop(r, LIST_FIRST);
}

static void cmd_rpop(struct request *r)
{
	pop(r, LIST_LAST);
}

static void cmd_llen(struct request *r)
{
	struct kvtable_entry *entry = lookup_read(r->server, r->argv[1]);

	if (!wrong_type(r, entry, true))
		resp_int(r->out,
			 entry ? (long long)entry_list(entry)->length : 0);
}

static void cmd_lrange(struct request *r)
{
	struct kvtable_entry *entry;
	long long first, last, length = 0;

	if (!int_arg(r, r->argv[2], &first) || !int_arg(r, r->argv[3], &last))
		return;
	entry = lookup_read(r->server, r->argv[1]);
	if (wrong_type(r, entry, true))
		return;
	if (entry)
		length = (long long)entry_list(entry)->length;
	first += first < 0 ? length : 0;
	last += last < 0 ? length : 0;
	if (first < 0)
		first = 0;
	if (last >= length)
		last = length - 1;
	if (first > last) {
		resp_array(r->out, 0);
		return;
	}
	resp_array(r->out, (size_t)(last - first + 1));
	reply_elements(r, entry, LIST_FIRST, (uint64_t)first,
		       (uint64_t)(last - first + 1));
}

static void cmd_lindex(struct request *r)
{
	struct kvtable_entry *entry = lookup_read(r->server, r->argv[1]);
	long long index, length;

	if (!entry) {
		resp_null(r->out);
		return;
	}
	if (wrong_type(r, entry, true) || !int_arg(r, r->argv[2], &index))
		return;
	length = (long long)entry_list(entry)->length;
	index += index < 0 ? length : 0;
	if (index < 0 || index >= length)
		resp_null(r->out);
	else
		reply_elements(r, entry, LIST_FIRST, (uint64_t)index, 1);
}

#endif

/* ---- keys ---- */

static void cmd_del(struct request *r)
{
	long long n = 0;
	size_t i;

	for (i = 1; i < r->argc; i++) {
		if (!lookup(r->server, r->argv[i]))
			continue;
		table_delete(&r->server->table, r->argv[i]);
		n++;
	}
	resp_int(r->out, n);
}

static void cmd_exists(struct request *r)
{
	long long n = 0;
	size_t i;

	for (i = 1; i < r->argc; i++)
		n += lookup_read(r->server, r->argv[i]) != NULL;
	resp_int(r->out, n);
}

static void cmd_type(struct request *r)
{
	struct kvtable_entry *entry = lookup(r->server, r->argv[1]);

	resp_status(r->out, entry ? type_name(entry) : "none");
}

static void expire(struct request *r, long long unit, uint64_t base)
{
	struct kvtable_entry *entry;
	long long when;

	if (!time_arg(r, r->argv[2], unit, base, &when))
		return;
	entry = lookup(r->server, r->argv[1]);
	if (entry && when <= (long long)r->server->now)
		table_delete(&r->server->table, r->argv[1]);
	else if (entry)
		entry_set_expires(entry, (uint64_t)when);
	resp_int(r->out, entry != NULL);
}

static void cmd_expire(struct request *r)
{
	expire(r, 1000, r->server->now);
}

static void cmd_pexpire(struct request *r)
{
	expire(r, 1, r->server->now);
}

static void cmd_expireat(struct request *r)
{
	expire(r, 1000, 0);
}

static void cmd_pexpireat(struct request *r)
{
	expire(r, 1, 0);
}

static void cmd_persist(struct request *r)
{
	struct kvtable_entry *entry = lookup(r->server, r->argv[1]);
	bool expires = entry && entry->expires;

	if (expires)
		entry_set_expires(entry, 0);
	resp_int(r->out, expires);
}

/* Milliseconds left; -1: it never expires; -2: there is no such key. */
static long long time_left(struct request *r)
{
	struct kvtable_entry *entry = lookup(r->server, r->argv[1]);

	if (!entry)
		return -2;
	return entry->expires ? (long long)(entry->expires - r->server->now) :
				-1;
}

static void cmd_ttl(struct request *r)
{
	long long left = time_left(r);

	resp_int(r->out, left < 0 ? left : (left + 500) / 1000);
}

static void cmd_pttl(struct request *r)
{
	resp_int(r->out, time_left(r));
}

static void cmd_dbsize(struct request *r)
{
	resp_int(r->out, (long long)table_count(&r->server->table));
}

static void cmd_flushall(struct request *r)
{
	if (r->argc > 2 || (r->argc == 2 && !is(r->argv[1], "ASYNC") &&
			    !is(r->argv[1], "SYNC"))) {
		resp_error(r->out, SYNTAX);
		return;
	}
	table_flush(&r->server->table);
	resp_status(r->out, "OK");
}

struct keys {
	struct buf found;
	size_t n;
	uint64_t now;
	struct str pattern;
	struct str type;
};

static void add_key(const struct kvtable_entry *entry, void *arg)
{
	struct keys *keys = arg;
	struct str key = entry_key(entry);

	if (entry_expired(entry, keys->now) ||
	    (keys->pattern.p && !glob(keys->pattern, key)) ||
	    (keys->type.p && !is(keys->type, type_name(entry))))
		return;
	resp_bulk(&keys->found, key);
	keys->n++;
}

static void reply_keys(struct request *r, struct keys *keys)
{
	resp_array(r->out, keys->n);
	buf_add(r->out, keys->found.data, keys->found.len);
	r->out->failed |= keys->found.failed;
	buf_free(&keys->found);
}

/* Each key that is there all the while comes exactly once. */
static void cmd_scan(struct request *r)
{
	struct keys keys = { .now = r->server->now };
	long long cursor, count = 10;
	char text[24];
	size_t i;

	if (!str_int(r->argv[1], &cursor) || cursor < 0) {
		resp_error(r->out, "ERR invalid cursor");
		return;
	}
	for (i = 2; i + 1 < r->argc; i += 2) {
		if (is(r->argv[i], "MATCH")) {
			keys.pattern = r->argv[i + 1];
		} else if (is(r->argv[i], "TYPE")) {
			keys.type = r->argv[i + 1];
		} else if (is(r->argv[i], "COUNT")) {
			if (!int_arg(r, r->argv[i + 1], &count))
				return;
			if (count < 1)
				break;
		} else {
			break;
		}
	}
	if (i < r->argc) {
		resp_error(r->out, SYNTAX);
		return;
	}
	if (count > UINT32_MAX)
		count = UINT32_MAX;
	cursor = (long long)table_scan(&r->server->table, (uint64_t)cursor,
				       (uint64_t)count, add_key, &keys);
	snprintf(text, sizeof(text), "%lld", cursor);
	resp_array(r->out, 2);
	resp_text(r->out, text);
	reply_keys(r, &keys);
}

static void cmd_keys(struct request *r)
{
	struct keys keys = { .now = r->server->now, .pattern = r->argv[1] };

	table_scan(&r->server->table, 0, UINT32_MAX, add_key, &keys);
	reply_keys(r, &keys);
}

#if KVSTORE_VERSION >= 2

/* When an entry that an older version wrote was last used is not known: 0. */
static void cmd_object(struct request *r)
{
	struct kvtable_entry *entry;
	uint64_t accessed;

	if (!is(r->argv[1], "IDLETIME") || r->argc != 3) {
		resp_error(r->out, "ERR unknown subcommand or wrong number of "
				   "arguments for 'object' command");
		return;
	}
	entry = lookup(r->server, r->argv[2]);
	if (!entry) {
		resp_null(r->out);
		return;
	}
	accessed = entry_accessed(entry);
	if (!accessed || accessed > r->server->now)
		accessed = r->server->now;
	resp_int(r->out, (long long)(r->server->now - accessed) / 1000);
}

#endif

/* ---- connection ---- */

static void cmd_ping(struct request *r)
{
	if (r->argc > 2)
		wrong_arity(r);
	else if (r->argc == 2)
		resp_bulk(r->out, r->argv[1]);
	else
		resp_status(r->out, "PONG");
}

static void cmd_echo(struct request *r)
{
	resp_bulk(r->out, r->argv[1]);
}

static void cmd_quit(struct request *r)
{
	resp_status(r->out, "OK");
	r->client->closing = true;
}

static void cmd_select(struct request *r)
{
	long long n;

	if (!int_arg(r, r->argv[1], &n))
		return;
	if (n)
		resp_error(r->out, "ERR DB index is out of range");
	else
		resp_status(r->out, "OK");
}

static bool set_name(struct request *r, struct str name)
{
	size_t i;

	for (i = 0; i < name.len; i++) {
		if (name.p[i] < '!' || name.p[i] > '~')
			break;
	}
	if (i < name.len || name.len >= CLIENT_NAME_SIZE) {
		resp_error(r->out,
			   "ERR Client names cannot contain spaces, newlines "
			   "or special characters, and have at most %d",
			   CLIENT_NAME_SIZE - 1);
		return false;
	}
	memset(r->client->name, 0, sizeof(r->client->name));
	memcpy(r->client->name, name.p, name.len);
	return true;
}

static void cmd_client(struct request *r)
{
	if (is(r->argv[1], "ID") && r->argc == 2) {
		resp_int(r->out, (long long)r->client->id);
	} else if (is(r->argv[1], "GETNAME") && r->argc == 2) {
		if (*r->client->name)
			resp_text(r->out, r->client->name);
		else
			resp_null(r->out);
	} else if (is(r->argv[1], "SETNAME") && r->argc == 3) {
		if (set_name(r, r->argv[2]))
			resp_status(r->out, "OK");
	} else if (is(r->argv[1], "SETINFO") && r->argc == 4) {
		resp_status(r->out, "OK");
	} else {
		resp_error(r->out, "ERR unknown subcommand or wrong number of "
				   "arguments for 'client' command");
	}
}

/* Client libraries that prefer RESP3 are told to stay with RESP2. */
static void cmd_hello(struct request *r)
{
	long long version = 2;
	size_t i;

	if (r->argc > 1 && !str_int(r->argv[1], &version)) {
		resp_error(r->out, "ERR Protocol version is not an integer or "
				   "out of range");
		return;
	}
	if (version != 2) {
		resp_error(r->out, "NOPROTO unsupported protocol version");
		return;
	}
	for (i = 2; i + 1 < r->argc && is(r->argv[i], "SETNAME"); i += 2) {
		if (!set_name(r, r->argv[i + 1]))
			return;
	}
	if (i < r->argc) {
		resp_error(r->out, "ERR Syntax error in HELLO option '%.*s'",
			   (int)(r->argv[i].len > 64 ? 64 : r->argv[i].len),
			   r->argv[i].p);
		return;
	}
	resp_array(r->out, 14);
	resp_text(r->out, "server");
	resp_text(r->out, "redis");
	resp_text(r->out, "version");
	resp_text(r->out, REDIS_VERSION);
	resp_text(r->out, "proto");
	resp_int(r->out, 2);
	resp_text(r->out, "id");
	resp_int(r->out, (long long)r->client->id);
	resp_text(r->out, "mode");
	resp_text(r->out, "standalone");
	resp_text(r->out, "role");
	resp_text(r->out, "master");
	resp_text(r->out, "modules");
	resp_array(r->out, 0);
}

/* ---- the server ---- */

struct config {
	const char *name;
	char value[128];
};

static void cmd_config(struct request *r)
{
	const struct server *server = r->server;
	struct config config[] = {
		{ "appendonly", "no" }, { "bind", "" }, { "databases", "1" },
		{ "maxmemory", "" },	{ "port", "" }, { "save", "" },
		{ "unixsocket", "" },
	};
	const size_t n = sizeof(config) / sizeof(*config);
	size_t found = 0, i, k;
	bool match[sizeof(config) / sizeof(*config)] = { 0 };

	if (!is(r->argv[1], "GET") || r->argc < 3) {
		resp_error(r->out, "ERR unknown subcommand or wrong number of "
				   "arguments for 'config' command");
		return;
	}
	snprintf(config[1].value, sizeof(config[1].value), "%s", server->bind);
	snprintf(config[3].value, sizeof(config[3].value), "%" PRIu64,
		 server->max_memory);
	snprintf(config[4].value, sizeof(config[4].value), "%u", server->port);
	snprintf(config[6].value, sizeof(config[6].value), "%s",
		 server->unix_path ? server->unix_path : "");
	for (k = 0; k < n; k++) {
		for (i = 2; i < r->argc && !match[k]; i++)
			match[k] = glob(r->argv[i],
					(struct str){ config[k].name,
						      strlen(config[k].name) });
		found += match[k];
	}
	resp_array(r->out, 2 * found);
	for (k = 0; k < n; k++) {
		if (!match[k])
			continue;
		resp_text(r->out, config[k].name);
		resp_text(r->out, config[k].value);
	}
}

static void __attribute__((format(printf, 2, 3)))
info_line(struct buf *info, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_add(info, text, strlen(text));
	buf_add(info, "\r\n", 2);
}

static void info_server(const struct server *server, struct buf *info)
{
	info_line(info, "redis_version:%s", REDIS_VERSION);
	info_line(info, "kvstore_version:%d", KVSTORE_VERSION);
	info_line(info, "process_id:%d", (int)getpid());
	info_line(info, "tcp_port:%u", server->port);
	info_line(info, "uptime_in_seconds:%" PRIu64,
		  (server->now - server->started) / 1000);
}

static void info_clients(const struct server *server, struct buf *info)
{
	info_line(info, "connected_clients:%zu", server->nr_clients);
}

static void info_memory(const struct server *server, struct buf *info)
{
	unsigned int shift = kho_page_shift(server->kho);
	struct kho_pages_info pages;

	kho_pages_info(server->kho, &pages);
	info_line(info, "used_memory:%" PRIu64, pages.allocated << shift);
	info_line(info, "maxmemory:%" PRIu64, pages.max << shift);
}

static void info_stats(const struct server *server, struct buf *info)
{
	info_line(info, "total_commands_processed:%" PRIu64,
		  server->state->commands);
#if KVSTORE_VERSION >= 2
	info_line(info, "keyspace_hits:%" PRIu64, server->state->hits);
	info_line(info, "keyspace_misses:%" PRIu64, server->state->misses);
#endif
}

static void info_kho(const struct server *server, struct buf *info)
{
	info_line(info, "generation:%" PRIu64, kho_generation(server->kho));
	info_line(info, "state_version:%u", server->version);
	info_line(info, "table_version:%" PRIu64,
		  table_version(&server->table));
	info_line(info, "state_age_in_seconds:%" PRIu64,
		  (server->now - server->state->created) / 1000);
	info_line(info, "upgrade_in_progress:%d", server->upgrading);
	info_line(info, "buckets:%" PRIu64, table_buckets(&server->table));
}

static void info_keyspace(const struct server *server, struct buf *info)
{
	if (table_count(&server->table))
		info_line(info, "db0:keys=%" PRIu64,
			  table_count(&server->table));
}

static void cmd_info(struct request *r)
{
	static const struct {
		const char *name;
		void (*write)(const struct server *server, struct buf *info);
	} sections[] = {
		{ "Server", info_server }, { "Clients", info_clients },
		{ "Memory", info_memory }, { "Stats", info_stats },
		{ "Kho", info_kho },	   { "Keyspace", info_keyspace },
	};
	struct buf info = { 0 };
	size_t i, k;
	bool match;

	for (k = 0; k < sizeof(sections) / sizeof(*sections); k++) {
		match = r->argc == 1;
		for (i = 1; i < r->argc; i++)
			match |= is(r->argv[i], sections[k].name) ||
				 is(r->argv[i], "all") ||
				 is(r->argv[i], "default") ||
				 is(r->argv[i], "everything");
		if (!match)
			continue;
		if (info.len)
			buf_add(&info, "\r\n", 2);
		info_line(&info, "# %s", sections[k].name);
		sections[k].write(r->server, &info);
	}
	r->out->failed |= info.failed;
	resp_bulk(r->out, (struct str){ info.data, info.len });
	buf_free(&info);
}

/* ---- the table of commands ---- */

static void cmd_command(struct request *r);

/**
 * struct command - one of them
 * @name: in lower case
 * @arity: number of arguments, its name included; negative: at least so many
 * @write: it changes something
 * @first: argument that is the first key; 0: none is
 * @last: and the last one; negative: counted from the end
 * @step: from key to key
 */
static const struct command {
	const char *name;
	int arity;
	bool write;
	int first, last, step;
	void (*run)(struct request *r);
} commands[] = {
	/* Keep sorted. */
	{ "client", -2, false, 0, 0, 0, cmd_client },
	{ "command", -1, false, 0, 0, 0, cmd_command },
	{ "config", -2, false, 0, 0, 0, cmd_config },
	{ "dbsize", 1, false, 0, 0, 0, cmd_dbsize },
	{ "decr", 2, true, 1, 1, 1, cmd_decr },
	{ "decrby", 3, true, 1, 1, 1, cmd_decrby },
	{ "del", -2, true, 1, -1, 1, cmd_del },
	{ "echo", 2, false, 0, 0, 0, cmd_echo },
	{ "exists", -2, false, 1, -1, 1, cmd_exists },
	{ "expire", 3, true, 1, 1, 1, cmd_expire },
	{ "expireat", 3, true, 1, 1, 1, cmd_expireat },
	{ "flushall", -1, true, 0, 0, 0, cmd_flushall },
	{ "flushdb", -1, true, 0, 0, 0, cmd_flushall },
	{ "get", 2, false, 1, 1, 1, cmd_get },
	{ "hello", -1, false, 0, 0, 0, cmd_hello },
	{ "incr", 2, true, 1, 1, 1, cmd_incr },
	{ "incrby", 3, true, 1, 1, 1, cmd_incrby },
	{ "info", -1, false, 0, 0, 0, cmd_info },
	{ "keys", 2, false, 0, 0, 0, cmd_keys },
#if KVSTORE_VERSION >= 2
	{ "lindex", 3, false, 1, 1, 1, cmd_lindex },
	{ "llen", 2, false, 1, 1, 1, cmd_llen },
	{ "lpop", -2, true, 1, 1, 1, cmd_lpop },
	{ "lpush", -3, true, 1, 1, 1, cmd_lpush },
	{ "lrange", 4, false, 1, 1, 1, cmd_lrange },
#endif
	{ "mget", -2, false, 1, -1, 1, cmd_mget },
	{ "mset", -3, true, 1, -1, 2, cmd_mset },
#if KVSTORE_VERSION >= 2
	{ "object", -2, false, 2, 2, 1, cmd_object },
#endif
	{ "persist", 2, true, 1, 1, 1, cmd_persist },
	{ "pexpire", 3, true, 1, 1, 1, cmd_pexpire },
	{ "pexpireat", 3, true, 1, 1, 1, cmd_pexpireat },
	{ "ping", -1, false, 0, 0, 0, cmd_ping },
	{ "pttl", 2, false, 1, 1, 1, cmd_pttl },
	{ "quit", -1, false, 0, 0, 0, cmd_quit },
#if KVSTORE_VERSION >= 2
	{ "rpop", -2, true, 1, 1, 1, cmd_rpop },
	{ "rpush", -3, true, 1, 1, 1, cmd_rpush },
#endif
	{ "scan", -2, false, 0, 0, 0, cmd_scan },
	{ "select", 2, false, 0, 0, 0, cmd_select },
	{ "set", -3, true, 1, 1, 1, cmd_set },
	{ "strlen", 2, false, 1, 1, 1, cmd_strlen },
	{ "ttl", 2, false, 1, 1, 1, cmd_ttl },
	{ "type", 2, false, 1, 1, 1, cmd_type },
	{ "unlink", -2, true, 1, -1, 1, cmd_del },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(*commands))

/* redis-cli takes its hints from here. */
static void cmd_command(struct request *r)
{
	const struct command *command;
	size_t i;

	if (r->argc == 2 && is(r->argv[1], "COUNT")) {
		resp_int(r->out, NR_COMMANDS);
		return;
	}
	if (r->argc > 1) {
		resp_error(r->out, "ERR unknown subcommand or wrong number of "
				   "arguments for 'command' command");
		return;
	}
	resp_array(r->out, NR_COMMANDS);
	for (i = 0; i < NR_COMMANDS; i++) {
		command = &commands[i];
		resp_array(r->out, 6);
		resp_text(r->out, command->name);
		resp_int(r->out, command->arity);
		resp_array(r->out, 1);
		resp_status(r->out, command->write ? "write" : "readonly");
		resp_int(r->out, command->first);
		resp_int(r->out, command->last);
		resp_int(r->out, command->step);
	}
}

static int compare(const void *key, const void *command)
{
	const struct str *name = key;
	const char *other = ((const struct command *)command)->name;
	size_t len = strlen(other);
	int ret =
		strncasecmp(name->p, other, name->len < len ? name->len : len);

	return ret ? ret : (name->len > len) - (name->len < len);
}

static void unknown(struct buf *out, size_t argc, const struct str *argv)
{
	char text[200] = "";
	size_t at = 0, i;

	for (i = 1; i < argc && at < 128; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "'%.*s' ",
				       (int)(argv[i].len < 64 ? argv[i].len :
								64),
				       argv[i].p);
	resp_error(out,
		   "ERR unknown command '%.*s', with args beginning with: %s",
		   (int)(argv[0].len < 64 ? argv[0].len : 64), argv[0].p, text);
}

void command_run(struct server *server, struct client *client)
{
	const struct resp_parser *parser = &client->parser;
	const struct command *command;
	struct request r = {
		.server = server,
		.client = client,
		.out = &client->out,
		.argc = parser->argc,
		.argv = parser->argv,
	};

	command = bsearch(&r.argv[0], commands, NR_COMMANDS, sizeof(*commands),
			  compare);
	if (!command) {
		unknown(r.out, r.argc, r.argv);
		return;
	}
	r.name = command->name;
	if (command->arity < 0 ? r.argc < (size_t)-command->arity :
				 r.argc != (size_t)command->arity) {
		wrong_arity(&r);
		return;
	}
	server->state->commands++;
	command->run(&r);
}
