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

/**
 * struct kvstore - the server's state in the arena (component kvstore)
 * @table: phys of the table
 * @clean: nothing was going on: no need to look for what a crash left behind
 * @created: when, milliseconds since the epoch
 * @commands: answered since then
 * @hits: lookups that found a key; since version 2
 * @misses: and that did not; since version 2
 * @reserved: for later ones
 *
 * Zeros are what an older version did not know.
 */
struct kvstore {
	uint64_t table;
	uint64_t clean;
	uint64_t created;
	uint64_t commands;
	uint64_t hits;
	uint64_t misses;
	uint64_t reserved[2];
};

#define CLIENT_NAME_SIZE 64

/**
 * struct client - a connection
 * @next: in the server's list
 * @prev: what points to it there
 * @fd: the socket
 * @events: what epoll watches it for
 * @id: unique, survives updates
 * @closing: goes when its replies are sent
 * @name: as CLIENT SETNAME gave it
 * @in: bytes received and not yet executed
 * @out: replies not yet sent
 * @parser: how far @in is understood
 */
struct client {
	struct client *next;
	struct client **prev;
	int fd;
	uint32_t events;
	uint64_t id;
	bool closing;
	char name[CLIENT_NAME_SIZE];
	struct buf in;
	struct buf out;
	struct resp_parser parser;
};

/**
 * struct server - the server in this process
 * @version: of the state in the arena: not this program's while it still
 *           serves an older one's
 * @before: the state, before it was converted to another version
 * @now: milliseconds since the epoch
 * @started: this process
 * @upgrading: entries of an older version are left
 * @listeners: TCP and Unix socket, or -1
 * @paused: no more files: connections have to wait
 * @saved: connections on their way to or from another process; or NULL
 */
struct server {
	const char *bind;
	const char *unix_path;
	uint64_t max_memory;
	uint16_t port;

	struct kho *kho;
	struct kvstore *state;
	struct table table;
	uint32_t version;
	struct kvstore before;
	uint64_t now;
	uint64_t started;
	bool upgrading;

	int epoll;
	int listeners[2];
	bool paused;
	struct client *clients;
	size_t nr_clients;
	uint64_t last_id;
	struct kho_blocks *saved;
};

/* commands.c: executes the command that the client's parser has. */
void command_run(struct server *server, struct client *client);

/* clients.c */
int clients_restore(struct server *server, struct kho_error *err);
int clients_listen(struct server *server, struct kho_error *err);
int clients_start(struct server *server, struct kho_error *err);
int clients_freeze(struct server *server);
void clients_unfreeze(struct server *server);
void clients_event(struct server *server, void *source, uint32_t events);

#endif
