/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * kvstore-client: fills a server with data, hammers it, and checks every reply
 * against what it remembers itself. For the demo, which starts it with the
 * server's socket and then asks it, one line at a time:
 *
 *   load FILE KEYS   set each "key US value RS" of FILE (US and RS are the
 *                    control characters 31 and 30), and generated ones up to KEYS
 *   verify           compare all of them, and how many keys there are
 *   hammer N         N connections that never pause until the end, each
 *                    reading those keys and writing keys of its own
 *   mark             what they saw since the last mark
 *   crash            from here on the server may die: connect again and check
 *                    that whatever was acknowledged is there
 *
 * Each answer is one line, "ok ..." or "failed: ...". At the end of the input
 * the hammering ends, each connection compares its own keys once more, and the
 * exit code is 0 if nothing at all was wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../examples/kvstore/resp.h"

#define UNIT_SEPARATOR 31
#define RECORD_SEPARATOR 30

#define BATCH 500
#define OWN_KEYS 64
#define VALUE_MAX 6000
/* Seconds without an answer, or without a server, that count as failure. */
#define PATIENCE 30
/* Keys that redis-benchmark -t set,get,incr leaves behind. */
#define BENCHMARK_KEY "key:__rand_int__"
#define BENCHMARK_COUNTER "counter:__rand_int__"

/* ---- what we expect ---- */

struct pair {
	struct str key;
	struct str value;
};

static const char *socket_path;
static struct pair *pairs;
static size_t nr_pairs;

struct hammer {
	pthread_t thread;
	unsigned int id;
	unsigned int versions[OWN_KEYS];
	long long counter;
};

static struct hammer *hammers;
static unsigned int nr_hammers;
static atomic_bool stopping;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint64_t replies;
	uint64_t wrong;
	uint64_t reconnects;
	uint64_t longest_us;
	bool may_crash;
	char why[256];
} seen;

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void __attribute__((format(printf, 1, 2))) wrong(const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&lock);
	va_start(ap, fmt);
	if (!seen.wrong++)
		vsnprintf(seen.why, sizeof(seen.why), fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&lock);
}

/* ---- one connection ---- */

/* @used: bytes of @in that the last reply took. */
struct connection {
	int fd;
	struct buf in;
	struct buf out;
	size_t used;
};

static int try_connect(struct connection *c)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = PATIENCE };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", socket_path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd >= 0 &&
	    !connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) &&
	    !setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
			sizeof(patience)))
		return 0;
	if (c->fd >= 0)
		close(c->fd);
	return -1;
}

static void disconnect(struct connection *c)
{
	close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
	c->used = 0;
}

static bool reconnect(struct connection *c)
{
	uint64_t end = now_us() + PATIENCE * 1000000ull;

	disconnect(c);
	while (try_connect(c)) {
		if (now_us() > end)
			return false;
		usleep(1000);
	}
	return true;
}

static void command(struct connection *c, size_t argc, ...)
{
	va_list ap;

	va_start(ap, argc);
	resp_head(&c->out, '*', (long long)(argc));
	while (argc--)
		resp_bulk(&c->out, va_arg(ap, struct str));
	va_end(ap);
}

static struct str str(const char *text)
{
	return (struct str){ text, strlen(text) };
}

static bool send_all(struct connection *c)
{
	ssize_t n;

	while (buf_left(&c->out)) {
		n = send(c->fd, c->out.data + c->out.pos, buf_left(&c->out),
			 MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		buf_consume(&c->out, (size_t)n);
	}
	return true;
}

static bool more(struct connection *c)
{
	char *p = buf_reserve(&c->in, 64 << 10);
	ssize_t n = p ? recv(c->fd, p, 64 << 10, 0) : -1;

	if (n <= 0)
		return false;
	c->in.len += (size_t)n;
	return true;
}

/* A reply: its type, its number or its bytes; good until the next one. */
struct reply {
	char type;
	long long n;
	struct str bytes;
};

static bool receive(struct connection *c, struct reply *reply)
{
	const char *p, *end;
	size_t len;

	buf_consume(&c->in, c->used);
	c->used = 0;
	for (;;) {
		p = c->in.data + c->in.pos;
		len = buf_left(&c->in);
		end = len ? memchr(p, '\n', len) : NULL;
		if (end)
			break;
		if (!more(c))
			return false;
	}
	reply->type = *p;
	reply->bytes = (struct str){ p + 1, (size_t)(end - p) - 2 };
	c->used = (size_t)(end - p) + 1;
	reply->n = 0;
	if (strchr(":$*", reply->type) && !str_int(reply->bytes, &reply->n))
		return false;
	if (reply->type != '$' || reply->n < 0)
		return true;
	len = (size_t)reply->n;
	while (buf_left(&c->in) < c->used + len + 2) {
		if (!more(c))
			return false;
	}
	reply->bytes = (struct str){ c->in.data + c->in.pos + c->used, len };
	c->used += len + 2;
	return true;
}

static bool is(const struct reply *reply, char type, struct str bytes)
{
	return reply->type == type && (type != '$' || reply->n >= 0) &&
	       reply->bytes.len == bytes.len &&
	       !memcmp(reply->bytes.p, bytes.p, bytes.len);
}

/* ---- loading and comparing ---- */

static void __attribute__((format(printf, 1, 2))) answer(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static struct str generated_value(const char *key)
{
	uint64_t state = 0x9e3779b97f4a7c15;
	struct str value;
	size_t len, i;
	char *p;

	for (i = 0; key[i]; i++)
		state = (state ^ (uint8_t)key[i]) * 0x100000001b3;
	len = 16 + next_random(&state) % 64;
	p = malloc(len);
	value = (struct str){ p, len };
	for (i = 0; p && i < len; i++)
		p[i] = (char)next_random(&state);
	return value;
}

static const char *read_pairs(const char *path, size_t keys)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *data, *end, *unit, *record;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return strerror(errno);
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	pairs = calloc(keys, sizeof(*pairs));
	if (data == MAP_FAILED || !pairs)
		return "no memory";
	for (end = data + st.st_size; data < end && nr_pairs < keys;) {
		unit = memchr(data, UNIT_SEPARATOR, (size_t)(end - data));
		record = unit ? memchr(unit, RECORD_SEPARATOR,
				       (size_t)(end - unit)) :
				NULL;
		if (!record)
			return "not records of key US value RS";
		pairs[nr_pairs].key =
			(struct str){ data, (size_t)(unit - data) };
		pairs[nr_pairs++].value =
			(struct str){ unit + 1, (size_t)(record - unit) - 1 };
		data = record + 1;
	}
	return NULL;
}

static bool generate_pairs(size_t keys)
{
	char *key;

	for (; nr_pairs < keys; nr_pairs++) {
		if (asprintf(&key, "generated:%zu", nr_pairs) < 0)
			return false;
		pairs[nr_pairs].key = str(key);
		pairs[nr_pairs].value = generated_value(key);
		if (!pairs[nr_pairs].value.p)
			return false;
	}
	return true;
}

static void load(struct connection *c, const char *path, size_t keys)
{
	const char *why = read_pairs(path, keys);
	struct reply reply;
	size_t real = nr_pairs, i, k;

	if (why || !generate_pairs(keys)) {
		answer("failed: %s: %s", path, why ? why : "no memory");
		return;
	}
	for (i = 0; i < nr_pairs; i += BATCH) {
		for (k = i; k < i + BATCH && k < nr_pairs; k++)
			command(c, 3, str("SET"), pairs[k].key, pairs[k].value);
		if (!send_all(c))
			goto fail;
		for (k = i; k < i + BATCH && k < nr_pairs; k++) {
			if (!receive(c, &reply) || !is(&reply, '+', str("OK")))
				goto fail;
		}
	}
	answer("ok real=%zu generated=%zu", real, nr_pairs - real);
	return;
fail:
	answer("failed: SET number %zu was not acknowledged", i);
}

static long long count_benchmark_keys(struct connection *c)
{
	struct reply reply;

	command(c, 3, str("EXISTS"), str(BENCHMARK_KEY),
		str(BENCHMARK_COUNTER));
	if (!send_all(c) || !receive(c, &reply) || reply.type != ':')
		return -1;
	return reply.n;
}

static void verify(struct connection *c)
{
	uint64_t start = now_us();
	struct reply reply;
	long long expected;
	size_t i, k, end;

	for (i = 0; i < nr_pairs; i = end) {
		end = i + BATCH < nr_pairs ? i + BATCH : nr_pairs;
		resp_head(&c->out, '*', (long long)(end - i + 1));
		resp_bulk(&c->out, (struct str){ "MGET", 4 });
		for (k = i; k < end; k++)
			resp_bulk(&c->out, pairs[k].key);
		if (!send_all(c) || !receive(c, &reply) || reply.type != '*' ||
		    reply.n != (long long)(end - i)) {
			answer("failed: no reply to MGET");
			return;
		}
		for (k = i; k < end; k++) {
			if (receive(c, &reply) &&
			    is(&reply, '$', pairs[k].value))
				continue;
			answer("failed: key '%.*s' does not have its value",
			       (int)pairs[k].key.len, pairs[k].key.p);
			return;
		}
	}
	expected = count_benchmark_keys(c) + (long long)nr_pairs +
		   (long long)nr_hammers * (OWN_KEYS + 1);
	command(c, 1, str("DBSIZE"));
	if (!send_all(c) || !receive(c, &reply) || reply.type != ':') {
		answer("failed: no reply to DBSIZE");
		return;
	}
	if (reply.n != expected)
		answer("failed: %lld keys instead of %lld", reply.n, expected);
	else
		answer("ok compared=%zu keys=%lld ms=%" PRIu64, nr_pairs,
		       reply.n, (now_us() - start) / 1000);
}

/* ---- hammering ---- */

/* What a key of ours has in some version: mostly short, sometimes some pages. */
static struct str own_value(unsigned int hammer, unsigned int key,
			    unsigned int version, char *buf)
{
	size_t len = (version * 7919 + key) % 97;
	size_t at;

	if (version % 50 == 0)
		len *= VALUE_MAX / 100;
	at = (size_t)snprintf(buf, VALUE_MAX, "%u:%u:%u:", hammer, key,
			      version);
	memset(buf + at, 'a' + (int)(version % 26), len);
	return (struct str){ buf, at + len };
}

struct own_key {
	char text[32];
};

static struct own_key own_key(unsigned int hammer, unsigned int key)
{
	struct own_key own;

	snprintf(own.text, sizeof(own.text), "hammer:%u:%u", hammer, key);
	return own;
}

static struct own_key own_counter(unsigned int hammer)
{
	struct own_key own;

	snprintf(own.text, sizeof(own.text), "hammer:%u:counter", hammer);
	return own;
}

static struct str decimal(long long n, char buf[24])
{
	snprintf(buf, 24, "%lld", n);
	return str(buf);
}

/*
 * Each of these does one thing and compares the replies. False: the connection
 * broke, and what was written last may have happened or not.
 */
static bool read_some(struct connection *c, uint64_t *random)
{
	const struct pair *pair[16];
	struct reply reply;
	size_t i;

	for (i = 0; i < 16; i++) {
		pair[i] = &pairs[next_random(random) % nr_pairs];
		command(c, 2, str("GET"), pair[i]->key);
	}
	if (!send_all(c))
		return false;
	for (i = 0; i < 16; i++) {
		if (!receive(c, &reply))
			return false;
		if (!is(&reply, '$', pair[i]->value))
			wrong("GET %.*s: wrong reply", (int)pair[i]->key.len,
			      pair[i]->key.p);
	}
	return true;
}

static bool write_one(struct connection *c, struct hammer *h, unsigned int key)
{
	struct own_key name = own_key(h->id, key);
	unsigned int version = h->versions[key] + 1;
	char buf[VALUE_MAX + 64];
	struct str value = own_value(h->id, key, version, buf);
	struct reply reply;

	command(c, 3, str("SET"), str(name.text), value);
	command(c, 2, str("GET"), str(name.text));
	if (!send_all(c) || !receive(c, &reply))
		return false;
	if (is(&reply, '+', str("OK")))
		h->versions[key] = version;
	else
		wrong("SET %s: wrong reply", name.text);
	if (!receive(c, &reply))
		return false;
	if (!is(&reply, '$', value))
		wrong("GET %s: wrong reply", name.text);
	return true;
}

static bool count_one(struct connection *c, struct hammer *h)
{
	struct own_key name = own_counter(h->id);
	struct reply reply;

	command(c, 2, str("INCR"), str(name.text));
	if (!send_all(c) || !receive(c, &reply))
		return false;
	if (reply.type != ':' || reply.n != h->counter + 1)
		wrong("INCR %s: wrong reply", name.text);
	else
		h->counter++;
	return true;
}

/* After a crash each key is as acknowledged, or one step further. */
static bool check_own(struct connection *c, struct hammer *h)
{
	struct own_key name = own_counter(h->id);
	char buf[VALUE_MAX + 64], n[24];
	struct reply reply;
	unsigned int key;

	command(c, 2, str("GET"), str(name.text));
	for (key = 0; key < OWN_KEYS; key++)
		command(c, 2, str("GET"), str(own_key(h->id, key).text));
	if (!send_all(c) || !receive(c, &reply))
		return false;
	if (is(&reply, '$', decimal(h->counter + 1, n)))
		h->counter++;
	else if (!is(&reply, '$', decimal(h->counter, n)))
		wrong("%s lost an acknowledged INCR", name.text);
	for (key = 0; key < OWN_KEYS; key++) {
		if (!receive(c, &reply))
			return false;
		if (is(&reply, '$',
		       own_value(h->id, key, h->versions[key] + 1, buf)))
			h->versions[key]++;
		else if (!is(&reply, '$',
			     own_value(h->id, key, h->versions[key], buf)))
			wrong("hammer:%u:%u lost an acknowledged SET", h->id,
			      key);
	}
	return true;
}

static bool recover(struct connection *c, struct hammer *h)
{
	bool allowed;

	pthread_mutex_lock(&lock);
	seen.reconnects++;
	allowed = seen.may_crash;
	pthread_mutex_unlock(&lock);
	if (!allowed)
		wrong("the server closed a connection");
	do {
		if (!reconnect(c)) {
			wrong("no server for %d seconds", PATIENCE);
			return false;
		}
	} while (!check_own(c, h));
	return true;
}

static void *hammer_thread(void *arg)
{
	struct hammer *h = arg;
	struct connection c = { .fd = -1 };
	uint64_t random = 88172645463325252 + h->id, start, took;
	unsigned int turn;
	bool ok = !try_connect(&c);

	for (turn = 0; ok && !stopping; turn++) {
		start = now_us();
		if (turn % 4 == 0)
			ok = count_one(&c, h);
		else if (turn % 4 == 1)
			ok = write_one(&c, h, turn / 4 % OWN_KEYS);
		else
			ok = read_some(&c, &random);
		if (!ok)
			ok = recover(&c, h);
		took = now_us() - start;
		pthread_mutex_lock(&lock);
		seen.replies += turn % 4 == 0 ? 1 : turn % 4 == 1 ? 2 : 16;
		if (took > seen.longest_us)
			seen.longest_us = took;
		pthread_mutex_unlock(&lock);
	}
	if (!ok || !check_own(&c, h))
		wrong("no connection at the end");
	disconnect(&c);
	return NULL;
}

static void hammer(struct connection *c, unsigned int n)
{
	unsigned int i, key;
	struct hammer *h;

	hammers = calloc(n, sizeof(*hammers));
	if (!hammers || !nr_pairs) {
		answer("failed: load first");
		return;
	}
	for (i = 0; i < n; i++) {
		h = &hammers[i];
		h->id = i;
		for (key = 0; key < OWN_KEYS; key++) {
			if (!write_one(c, h, key))
				goto fail;
		}
		if (!count_one(c, h) ||
		    pthread_create(&h->thread, NULL, hammer_thread, h))
			goto fail;
		nr_hammers++;
	}
	answer("ok");
	return;
fail:
	answer("failed: no connection");
}

static void mark(void)
{
	pthread_mutex_lock(&lock);
	if (seen.wrong)
		answer("failed: wrong=%" PRIu64 " first: %s", seen.wrong,
		       seen.why);
	else
		answer("ok replies=%" PRIu64 " reconnects=%" PRIu64
		       " longest_us=%" PRIu64,
		       seen.replies, seen.reconnects, seen.longest_us);
	seen.replies = 0;
	seen.reconnects = 0;
	seen.longest_us = 0;
	pthread_mutex_unlock(&lock);
}

static void crash(void)
{
	pthread_mutex_lock(&lock);
	seen.may_crash = true;
	pthread_mutex_unlock(&lock);
	answer("ok");
}

static void obey(struct connection *c, const char *line)
{
	char path[4096];
	unsigned int n;
	size_t keys;

	if (sscanf(line, "load %4095s %zu", path, &keys) == 2)
		load(c, path, keys);
	else if (sscanf(line, "hammer %u", &n) == 1 && !hammers)
		hammer(c, n);
	else if (!strcmp(line, "verify\n"))
		verify(c);
	else if (!strcmp(line, "mark\n"))
		mark();
	else if (!strcmp(line, "crash\n"))
		crash();
	else
		answer("failed: no such command");
}

int main(int argc, char **argv)
{
	struct connection c = { .fd = -1 };
	char line[8192];
	unsigned int i;

	if (argc != 2) {
		fputs("usage: kvstore-client SOCKET\n", stderr);
		return 2;
	}
	socket_path = argv[1];
	while (fgets(line, sizeof(line), stdin)) {
		/* A new connection each time: the last one may have crashed. */
		if (try_connect(&c)) {
			answer("failed: %s: %s", socket_path, strerror(errno));
			continue;
		}
		obey(&c, line);
		disconnect(&c);
	}
	stopping = true;
	for (i = 0; i < nr_hammers; i++)
		pthread_join(hammers[i].thread, NULL);
	if (seen.wrong)
		fprintf(stderr, "kvstore-client: %" PRIu64 " wrong: %s\n",
			seen.wrong, seen.why);
	return seen.wrong ? 1 : 0;
}
