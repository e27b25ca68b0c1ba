/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the files of the server share; each says above what it is for. */
#ifndef KVSTORE_H
#define KVSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/attach.h>
#include <kho/block.h>

#include "resp.h"
#include "table.h"

/*
 * The server's state in the arena (component kvstore). Zeros are what an older
 * version did not know.
 */
struct kvstore {
	uint64_t table; /* phys */
	uint64_t clean; /* the last program came to its end, and lost nothing */
	uint64_t created; /* milliseconds since the epoch */
	uint64_t commands; /* answered since then */
	uint64_t hits; /* lookups that found a key; since version 2 */
	uint64_t misses; /* and that did not; since version 2 */
	uint64_t reserved[2];
};

#define CLIENT_NAME_SIZE 64

/* What is handed over of a connection (component kvclients). */
struct kvclient {
	uint64_t id;
	uint64_t in; /* bytes received and not executed */
	uint64_t out; /* bytes of replies that were not sent */
	uint32_t closing; /* goes when its replies are sent */
	uint32_t protocol; /* of its replies: RESP 2 or 3 */
	char name[CLIENT_NAME_SIZE];
};

/* A connection. */
struct client {
	struct client *next;
	struct client **prev; /* what points to it in the server's list */
	int fd;
	uint32_t events; /* what epoll watches it for */
	bool broken; /* goes at once */
	struct kvclient kept;
	struct buf in; /* received and not yet executed */
	struct buf out; /* replies not yet sent */
	struct resp_parser parser;
};

/* The server in this process. */
struct server {
	struct table table; /* first, for the sake of its component */
	const char *bind;
	const char *unix_path;
	uint64_t max_memory;
	uint16_t port;

	struct kho *kho;
	struct kvstore *state;
	uint32_t version; /* not this program's while it serves an older one's */
	uint64_t ticks; /* milliseconds, whatever is done to the clock */
	uint64_t started; /* in ticks */
	bool recovering; /* what a crash lost is looked for */

	int epoll;
	int listeners[2]; /* TCP and Unix socket, or -1 */
	bool paused; /* no more files: connections have to wait */
	struct client *clients;
	size_t nr_clients;
	uint64_t last_id;
	struct kho_blocks *saved; /* on their way between processes; or NULL */
};

/* main.c: says why, and ends the program. */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* commands.c: executes the command that the client's parser has. */
void command_run(struct server *server, struct client *client);

/* clients.c */
void clients_restore(struct server *server);
void clients_listen(struct server *server);
void clients_start(struct server *server);
int clients_freeze(struct server *server);
void clients_unfreeze(struct server *server);
void clients_event(struct server *server, void *source, uint32_t events);

#endif
