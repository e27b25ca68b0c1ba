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
 * 4. The event loop. In between, in small steps, what a crash lost is found.
 * 5. ``kho update``: freeze() makes the state final, and the successor starts
 *    at 1. For one that is older than we are, the state is converted to what
 *    it reads; if that cannot be, it is refused before. If it does not make it
 *    to 3, unfreeze() lets us serve on.
 *
 * The story goes on in clients.c (connections), resp.c (the protocol),
 * commands.c, and for what is kept in table.h.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <kho/compat.h>
#include <kho/control.h>
#include <kho/fds.h>
#include <kho/pages.h>
#include <kho/tree.h>

#include "kvstore.h"

/* Version 3 has a new kvtable, not a new kvstore. */
#define STATE_VERSION (KVSTORE_VERSION < 2 ? 1 : 2)

#define SUBTREE "kvstore"
/* Only a handover has it along: then there was no crash. */
#define CLEAN_FD "clean"

/* Milliseconds between looks at what has expired; keys looked at each time. */
#define TICK 100
#define EXPIRE_STEP 2000
/* Entries that are recovered between two rounds of the event loop. */
#define RECOVER_STEP 500

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	stopped = sig;
}

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("kvstore: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\n", stderr);
	exit(1);
}

static uint64_t milliseconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void look_at_clock(struct server *server)
{
	server->table.now = milliseconds(CLOCK_REALTIME);
	server->ticks = milliseconds(CLOCK_MONOTONIC);
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

/* What version 1 does not count stays, in case this comes to nothing. */
static int convert_state(struct kho *kho, uint32_t version, void *arg,
			 struct kho_error *why)
{
	(void)kho;
	(void)why;
	((struct server *)arg)->version = version;
	return 0;
}

static const struct kho_component_ops kvstore_ops = {
	.check = check_state,
	.convert = convert_state,
};
KHO_COMPONENT_OPS(kvstore, &kvstore_ops, .write = { 1, STATE_VERSION },
		  .read = { 1, STATE_VERSION }, .deps = { "kvtable" },
		  .flags = KHO_COMPONENT_CHECK | KHO_COMPONENT_CONVERT);

/* ---- the state ---- */

static void create(struct server *server)
{
	struct kvstore *state = kho_alloc_preserve(server->kho, sizeof(*state));
	struct kho_error err;
	int ret = state ? table_create(&server->table, server->kho) : -errno;

	if (ret)
		die("no memory for a state: %s", strerror(-ret));
	state->table = kho_phys(server->kho, server->table.root);
	state->created = server->table.now;
	state->clean = true;
	server->state = state;
	server->version = STATE_VERSION;
	if (kho_add_subtree(server->kho, SUBTREE, &kvstore_component,
			    STATE_VERSION, state, sizeof(*state), &err))
		die("%s", err.text);
}

static void restore(struct server *server)
{
	struct kho_error err;
	int fd;

	if (table_restore(&server->table, server->kho, server->state->table,
			  &err))
		die("%s", err.text);
	clients_restore(server);
	fd = kho_take_fd(server->kho, CLEAN_FD);
	server->recovering = fd < 0 && !server->state->clean;
	if (fd >= 0)
		close(fd);
}

/*
 * First the state tree says the new version, then it may be written: whoever
 * looks at the state at any time is told what may be in it. If there is no
 * memory for that we go on with the old one, and try again later.
 */
static void raise_version(struct server *server)
{
	if (server->version < STATE_VERSION &&
	    !kho_set_version(server->kho, &kvstore_component, STATE_VERSION,
			     NULL)) {
		server->version = STATE_VERSION;
		server->state->hits = 0;
		server->state->misses = 0;
	}
	table_upgrade(&server->table);
}

static int freeze(struct kho *kho, const struct kho_report *report, void *arg)
{
	struct server *server = arg;
	int ret = clients_freeze(server);

	(void)report;
	if (!ret && !server->recovering)
		ret = kho_add_fd(kho, CLEAN_FD, server->epoll, 0, NULL);
	if (ret)
		clients_unfreeze(server);
	return ret;
}

static void unfreeze(struct kho *kho, void *arg)
{
	struct server *server = arg;

	kho_remove_fd(kho, server->epoll);
	clients_unfreeze(server);
}

/* ---- the event loop ---- */

static void expire(struct table *table, struct entry *entry, void *arg)
{
	(void)arg;
	if (entry_expired(table, entry))
		table_delete(table, ENTRY_STRING, entry_key(entry));
}

static void background(struct server *server)
{
	static uint64_t next_tick, cursor;

	if (server->ticks >= next_tick) {
		next_tick = server->ticks + TICK;
		cursor = table_walk(&server->table, cursor, EXPIRE_STEP, expire,
				    NULL);
		raise_version(server);
	}
	if (server->recovering)
		server->recovering =
			table_recover_step(&server->table, RECOVER_STEP);
}

static void loop(struct server *server)
{
	struct epoll_event events[64];
	int n, i;

	while (!stopped) {
		n = epoll_wait(server->epoll, events, 64,
			       server->recovering ? 0 : TICK);
		if (n < 0 && errno != EINTR)
			die("epoll_wait: %s", strerror(errno));
		look_at_clock(server);
		for (i = 0; i < n; i++) {
			if (events[i].data.ptr != server->kho)
				clients_event(server, events[i].data.ptr,
					      events[i].events);
			else if (kho_poll(server->kho, 0) == 1)
				return; /* the successor serves */
		}
		background(server);
	}
	server->state->clean = !server->recovering;
	if (server->listeners[1] >= 0 && server->unix_path)
		unlink(server->unix_path);
}

static void start(struct server *server)
{
	struct epoll_event event = { .events = EPOLLIN,
				     .data.ptr = server->kho };
	int fd = kho_poll_fd(server->kho);
	uint64_t n;

	table_resume(&server->table);
	server->state->clean = false;
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (server->epoll < 0 ||
	    (fd >= 0 && epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event)))
		die("epoll: %s", strerror(errno));
	clients_start(server);
	raise_version(server);
	n = server->table.root->count;
	printf("kvstore: version %d, pid %d, generation %" PRIu64 ", %" PRIu64
	       " key%s, port %u\n",
	       KVSTORE_VERSION, (int)getpid(), kho_generation(server->kho), n,
	       n == 1 ? "" : "s", server->port);
	fflush(stdout);
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

/* A number, perhaps with one of the units, or the program ends. */
static uint64_t number(const char *option, uint64_t min, uint64_t max,
		       const char *units, const char *want)
{
	uint64_t n, shift = 0;
	const char *unit;
	char *end;

	errno = 0;
	n = strtoull(optarg, &end, 10);
	unit = *end ? strchr(units, *end | 0x20) : NULL;
	if (unit)
		shift = 10 * (uint64_t)(unit - units + 1);
	if (isdigit((unsigned char)*optarg) && !errno && !end[unit != NULL] &&
	    n >= min && n <= max >> shift)
		return n << shift;
	fprintf(stderr, "kvstore: --%s %s: want %s\n", option, optarg, want);
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
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			server->port = (uint16_t)number("port", 0, 65535, "",
							"0 to 65535");
		else if (c == 'b')
			server->bind = optarg;
		else if (c == 'u')
			server->unix_path = optarg;
		else if (c == 'm')
			server->max_memory =
				number("max-memory", 1, INT64_MAX, "kmgt",
				       "bytes, such as 512m or 2g");
		else if (c == 'h')
			fputs(usage, stdout);
		else if (c == 'v')
			printf("kvstore version %d\n", KVSTORE_VERSION);
		if (c == 'h' || c == 'v' || c == '?')
			exit(c == '?' ? 2 : 0);
	}
	if (optind == argc)
		return;
	fprintf(stderr, "kvstore: unexpected argument '%s', see --help\n",
		argv[optind]);
	exit(2);
}

int main(int argc, char **argv)
{
	static struct server server = {
		.port = 6379,
		.bind = "127.0.0.1",
		.listeners = { -1, -1 },
	};
	struct kho_error err;
	struct kho_attach_opts opts = {
		.size = sizeof(opts),
		.freeze = freeze,
		.unfreeze = unfreeze,
		.arg = &server,
	};
	struct sigaction action = { .sa_handler = stop };
	struct rlimit limit;

	parse_options(&server, argc, argv);
	/* As many connections as may be. */
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	look_at_clock(&server);
	server.started = server.ticks;

	opts.max_size = server.max_memory;
	if (kho_attach(&server.kho, &opts, &err))
		die("%s", err.text);
	server.state = kho_subtree(server.kho, SUBTREE, NULL, &server.version);
	if (server.state)
		restore(&server);
	else
		create(&server);
	clients_listen(&server);
	if (kho_ready(server.kho, &err))
		die("%s", err.text);
	start(&server);
	loop(&server);
	return 0;
}
