/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * kvstore: a key-value server that speaks the Redis protocol and outlives its
 * own process.
 *
 * Its life, the same for a cold start, a restart after a crash, and a handover
 * from an older version:
 *
 * 1. kho_attach() finds the arena. A state this version cannot read ends here.
 * 2. restore: the state, the table and the connections are taken over. That
 *    takes no longer with more keys, and writes nothing.
 * 3. kho_ready(): the older version goes. From here on the arena is ours.
 * 4. After a crash only: tidy up what it left behind.
 * 5. The event loop. An older format is upgraded in small steps in between.
 * 6. ``kho update``: freeze() makes the state final, and the successor starts
 *    at 1. For one that is older than we are, the state is converted to what
 *    it reads; if that cannot be, it is refused before. If it does not make it
 *    to 3, unfreeze() lets us serve on.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <kho/compat.h>
#include <kho/pages.h>
#include <kho/tree.h>
#include <kho/update.h>

#include "kvstore.h"

/* Version 3 has a new kvtable, not a new kvstore. */
#if KVSTORE_VERSION == 1
#define STATE_VERSION 1
#else
#define STATE_VERSION 2
#endif

#define SUBTREE "kvstore"

/* Milliseconds between looks at what has expired; keys looked at each time. */
#define TICK 100
#define EXPIRE_STEP 2000
/* Entries upgraded between two rounds of the event loop. */
#define UPGRADE_STEP 100

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	stopped = sig;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- what we write and read ---- */

static int check_state(uint32_t version, const struct kho_blob *blob,
		       struct kho_error *why)
{
	struct kvstore state;

	(void)version;
	if (blob->size < sizeof(state) ||
	    kho_mem_read(blob->mem, blob->phys, &state, sizeof(state)))
		return kho_fail(why, -EBADMSG, "subtree '%s' is cut off",
				blob->subtree);
	return table_check(blob->mem, state.table, why);
}

#if KVSTORE_VERSION == 1

static const struct kho_component_ops kvstore_ops = { .check = check_state };
KHO_COMPONENT_OPS(kvstore, &kvstore_ops, .write = { 1, 1 }, .read = { 1, 1 },
		  .deps = { "kvtable" }, .flags = KHO_COMPONENT_CHECK);
KHO_COMPONENT(kvtable, .write = { 1, 1 }, .read = { 1, 1 },
	      .deps = { "kmalloc", "vmalloc" });

#else

/* What version 1 does not count is zero; unless it comes to nothing. */
static int convert_state(struct kho *kho, uint32_t version, void *arg,
			 struct kho_error *why)
{
	struct server *server = arg;

	(void)kho;
	(void)why;
	if (version < server->version) {
		server->before = *server->state;
		server->state->hits = 0;
		server->state->misses = 0;
	} else if (version > server->version) {
		server->state->hits = server->before.hits;
		server->state->misses = server->before.misses;
	}
	server->version = version;
	return 0;
}

static int can_write_table(struct kho *kho, uint32_t version, void *arg,
			   struct kho_error *why)
{
	const struct server *server = arg;

	(void)kho;
	return table_can_write(&server->table, version, server->now, why);
}

static int convert_table(struct kho *kho, uint32_t version, void *arg,
			 struct kho_error *why)
{
	struct server *server = arg;
	uint64_t clean = server->state->clean;
	int ret;

	(void)kho;
	/* Whoever comes after a kill in the middle has to recover. */
	server->state->clean = false;
	ret = table_convert(&server->table, version, server->now, why);
	server->state->clean = clean;
	return ret;
}

static const struct kho_component_ops kvstore_ops = {
	.check = check_state,
	.convert = convert_state,
};
KHO_COMPONENT_OPS(kvstore, &kvstore_ops, .write = { 1, STATE_VERSION },
		  .read = { 1, STATE_VERSION }, .deps = { "kvtable" },
		  .flags = KHO_COMPONENT_CHECK | KHO_COMPONENT_CONVERT);

static const struct kho_component_ops kvtable_ops = {
	.can_write = can_write_table,
	.convert = convert_table,
};
KHO_COMPONENT_OPS(kvtable, &kvtable_ops,
		  .write = { KVTABLE_OLDEST, KVTABLE_VERSION },
		  .read = { KVTABLE_OLDEST, KVTABLE_VERSION },
		  .deps = { "kmalloc", "vmalloc" },
		  .flags = KHO_COMPONENT_CAN_WRITE | KHO_COMPONENT_CONVERT);

#endif

/* ---- the state ---- */

static int create(struct server *server, struct kho_error *err)
{
	struct kvstore *state;
	int ret;

	state = kho_alloc_preserve(server->kho, sizeof(*state));
	if (!state)
		return kho_fail(err, -errno, "no memory for the state: %s",
				strerror(errno));
	ret = table_create(&server->table, server->kho);
	if (ret)
		return kho_fail(err, ret, "no memory for the table: %s",
				strerror(-ret));
	state->table = kho_phys(server->kho, server->table.root);
	state->created = server->now;
	state->clean = true;
	server->state = state;
	server->version = STATE_VERSION;
	ret = kho_add_subtree(server->kho, SUBTREE, &kvstore_component,
			      STATE_VERSION, state, sizeof(*state));
	if (ret)
		return kho_fail(err, ret, "cannot add subtree '%s': %s",
				SUBTREE, strerror(-ret));
	return 0;
}

static int restore(struct server *server, struct kho_error *err)
{
	server->state =
		kho_subtree(server->kho, SUBTREE, NULL, &server->version);
	if (!server->state)
		return create(server, err);
	return table_restore(&server->table, server->kho, server->state->table,
			     err);
}

/*
 * First the state tree says the new version, then it may be written: whoever
 * looks at the state at any time is told what may be in it. If there is no
 * memory for that we go on with the old one, and try again later.
 */
static void raise_version(struct server *server)
{
	if (server->version < STATE_VERSION &&
	    !kho_set_version(server->kho, &kvstore_component, STATE_VERSION))
		server->version = STATE_VERSION;
	if (table_version(&server->table) < KVTABLE_VERSION &&
	    !kho_set_version(server->kho, &kvtable_component, KVTABLE_VERSION))
		table_raise_version(&server->table);
}

static int recover(struct server *server, struct kho_error *err)
{
	int ret;
	int64_t pages;

	if (!server->state->clean) {
		ret = table_recover(&server->table);
		if (ret)
			return kho_fail(err, ret, "cannot recover: %s",
					strerror(-ret));
		pages = kho_free_unclaimed(server->kho);
		if (pages < 0)
			return kho_fail(err, (int)pages, "cannot recover: %s",
					strerror((int)-pages));
	}
	server->state->clean = false;
	return 0;
}

static int freeze(struct kho *kho, const struct kho_report *report, void *arg)
{
	struct server *server = arg;
	int ret = clients_freeze(server);

	(void)kho;
	(void)report;
	if (!ret)
		server->state->clean = true;
	return ret;
}

static void unfreeze(struct kho *kho, void *arg)
{
	struct server *server = arg;

	(void)kho;
	server->state->clean = false;
	clients_unfreeze(server);
}

/* ---- the event loop ---- */

static void background(struct server *server)
{
	static uint64_t next_tick, cursor;

	if (server->now >= next_tick) {
		next_tick = server->now + TICK;
		cursor = table_expire(&server->table, cursor, EXPIRE_STEP,
				      server->now);
		raise_version(server);
		server->upgrading = true;
	}
	if (server->upgrading)
		server->upgrading = table_upgrade(&server->table, server->now,
						  UPGRADE_STEP);
}

static int loop(struct server *server)
{
	struct epoll_event events[64];
	int n, i;

	while (!stopped) {
		n = epoll_wait(server->epoll, events, 64,
			       server->upgrading ? 0 : TICK);
		if (n < 0 && errno != EINTR)
			return -errno;
		server->now = now_ms();
		for (i = 0; i < n; i++) {
			if (events[i].data.ptr != server->kho)
				clients_event(server, events[i].data.ptr,
					      events[i].events);
			else if (kho_poll(server->kho, 0) == 1)
				return 0; /* the successor serves */
		}
		background(server);
	}
	server->state->clean = true;
	if (server->listeners[1] >= 0 && server->unix_path)
		unlink(server->unix_path);
	return 0;
}

static int serve(struct server *server, struct kho_error *err)
{
	struct epoll_event event = { .events = EPOLLIN,
				     .data.ptr = server->kho };
	int fd = kho_poll_fd(server->kho);
	int ret;

	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (server->epoll < 0 ||
	    (fd >= 0 && epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event)))
		return kho_fail(err, -errno, "epoll: %s", strerror(errno));
	ret = clients_start(server, err);
	if (ret)
		return ret;
	raise_version(server);
	server->upgrading = true;
	printf("kvstore: version %d, pid %d, generation %" PRIu64 ", %" PRIu64
	       " keys, port %u\n",
	       KVSTORE_VERSION, (int)getpid(), kho_generation(server->kho),
	       table_count(&server->table), server->port);
	fflush(stdout);
	ret = loop(server);
	if (ret)
		kho_fail(err, ret, "epoll_wait: %s", strerror(-ret));
	return ret;
}

static int run(struct server *server, struct kho_error *err)
{
	struct kho_report *report = NULL;
	struct kho_attach_opts opts = {
		.max_size = server->max_memory,
		.freeze = freeze,
		.unfreeze = unfreeze,
		.arg = server,
		.err = err,
		.report = &report,
	};
	int ret = kho_attach(&server->kho, &opts);

	if (ret) {
		if (report)
			kho_report_print(report, stderr, isatty(2));
		kho_report_free(report);
		return ret;
	}
	ret = restore(server, err);
	if (!ret)
		ret = clients_restore(server, err);
	if (!ret)
		ret = clients_listen(server, err);
	if (ret)
		return ret;
	ret = kho_ready(server->kho);
	if (ret)
		return kho_fail(err, ret, "did not take over: %s",
				strerror(-ret));
	ret = recover(server, err);
	return ret ? ret : serve(server, err);
}

/* ---- options ---- */

static const char usage[] =
	"usage: kvstore [--port N] [--bind ADDRESS] [--unix PATH] [--max-memory SIZE]\n"
	"A key-value server that speaks the Redis protocol. Run it under 'kho run', and\n"
	"its data survives crashes and updates.\n"
	"\n"
	"  --port N           TCP port; 0: any that is free (default 6379)\n"
	"  --bind ADDRESS     IPv4 address to listen on (default 127.0.0.1)\n"
	"  --unix PATH        also listen on a Unix socket\n"
	"  --max-memory SIZE  most that data may take, such as 512m or 2g\n"
	"                     (default: the machine's memory)\n"
	"  --help             this text\n"
	"  --version          what this is\n"
	"\n"
	"Sockets that came along with the data are used as they are.\n";

static bool parse_number(const char *text, uint64_t max, const char *units,
			 uint64_t *n)
{
	const char *unit;
	unsigned int shift = 0;
	char *end;

	errno = 0;
	*n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || errno)
		return false;
	unit = *end ? strchr(units, *end | 0x20) : NULL;
	if (unit) {
		shift = 10 * (unsigned int)(unit - units + 1);
		end++;
	}
	if (*end || *n > max >> shift)
		return false;
	*n <<= shift;
	return true;
}

static void bad_option(const char *option, const char *value, const char *want)
{
	fprintf(stderr, "kvstore: --%s %s: want %s\n", option, value, want);
	exit(2);
}

static void parse_options(struct server *server, int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "bind", required_argument, NULL, 'b' },
		{ "unix", required_argument, NULL, 'u' },
		{ "max-memory", required_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	uint64_t n = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			if (!parse_number(optarg, 65535, "", &n))
				bad_option("port", optarg, "0 to 65535");
			server->port = (uint16_t)n;
			break;
		case 'b':
			server->bind = optarg;
			break;
		case 'u':
			server->unix_path = optarg;
			break;
		case 'm':
			if (!parse_number(optarg, INT64_MAX, "kmgt", &n) || !n)
				bad_option("max-memory", optarg,
					   "bytes, such as 512m or 2g");
			server->max_memory = n;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		case 'v':
			printf("kvstore version %d\n", KVSTORE_VERSION);
			exit(0);
		default:
			exit(2); /* getopt_long() has said what is wrong */
		}
	}
	if (optind == argc)
		return;
	fprintf(stderr, "kvstore: unexpected argument '%s', see --help\n",
		argv[optind]);
	exit(2);
}

static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	static struct server server = {
		.port = 6379,
		.bind = "127.0.0.1",
		.listeners = { -1, -1 },
	};
	struct sigaction action = { .sa_handler = stop };
	struct kho_error err;

	parse_options(&server, argc, argv);
	raise_file_limit();
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	server.now = now_ms();
	server.started = server.now;
	if (run(&server, &err)) {
		fprintf(stderr, "kvstore: %s\n", err.text);
		return 1;
	}
	return 0;
}
