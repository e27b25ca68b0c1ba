/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The supervisor's store of file descriptors: what outlives the program. As
 * systemd's file descriptor store, and fed by the same messages.
 */
#ifndef TOOLS_KHO_STORE_H
#define TOOLS_KHO_STORE_H

#include <stddef.h>

#include <kho/error.h>

/* Fds in a store: what LISTEN_FDS can reasonably carry. */
#define STORE_MAX 1024

/* Bytes of a name, its NUL included. */
#define STORE_NAME_SIZE 256

struct stored_fd {
	int fd;
	char name[STORE_NAME_SIZE];
};

/*
 * struct store - fds in the order in which they came
 * @epoll: becomes readable when a stored fd's peer has hung up
 * @n: how many
 * @fds: they
 */
struct store {
	int epoll;
	size_t n;
	struct stored_fd fds[STORE_MAX];
};

int store_init(struct store *store);
void store_exit(struct store *store);

/*
 * Keeps a fd, which is the store's from now on, whatever comes out. The same
 * file under the same name is kept once.
 *
 * Return: 0; -EINVAL for a bad name; -ENOSPC when the store is full.
 */
int store_add(struct store *store, const char *name, int fd,
	      struct kho_error *err);

/* Drops all fds of a name. */
void store_remove(struct store *store, const char *name);

/* Drops fds whose peer has hung up: nobody can use them again. */
void store_drop_dead(struct store *store);

/* The first fd of a name, -1 when there is none. */
int store_find(const struct store *store, const char *name);

/*
 * In a child process: puts the fds at 3 and up, the @n fds of @others above
 * them, and says so in LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES.
 *
 * Return: 0 or a negative errno.
 */
int store_pass(const struct store *store, int *others, size_t n);

#endif
