// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The supervisor's store of file descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kho.h"
#include "fd-store.h"

/* The first fd that is passed on, as in sd_listen_fds(3). */
#define FIRST_FD 3

int store_init(struct store *store)
{
	store->n = 0;
	store->epoll = epoll_create1(EPOLL_CLOEXEC);
	return store->epoll < 0 ? -errno : 0;
}

static void close_fd(struct store *store, size_t i)
{
	/* The program still has the file open: closing does not unwatch it. */
	epoll_ctl(store->epoll, EPOLL_CTL_DEL, store->fds[i].fd, NULL);
	close(store->fds[i].fd);
}

static void forget(struct store *store, size_t i)
{
	close_fd(store, i);
	store->n--;
	memmove(store->fds + i, store->fds + i + 1,
		(store->n - i) * sizeof(store->fds[0]));
}

void store_exit(struct store *store)
{
	for (size_t i = 0; i < store->n; i++)
		close_fd(store, i);
	close(store->epoll);
}

/* As FDNAME in sd_notify(3): no control characters, no separator. */
static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (name[i] < 0x20 || name[i] == 0x7f || name[i] == ':')
			return false;
	return len && len < STORE_NAME_SIZE;
}

/* Are two fds the same open file? */
static bool same_file(int a, int b)
{
	long order = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b);
	struct stat sa, sb;

	if (order >= 0)
		return !order;
	/*
	 * A kernel without kcmp(). All anonymous inodes (eventfd, pidfd...)
	 * are one inode, so that two of them may be different files.
	 */
	return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_mode & S_IFMT &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

int store_add(struct store *store, const char *name, int fd,
	      struct kho_error *err)
{
	struct epoll_event event = { .events = EPOLLET };
	int ret = 0;

	for (size_t i = 0; i < store->n; i++) {
		if (!strcmp(store->fds[i].name, name) &&
		    same_file(store->fds[i].fd, fd)) {
			close(fd);
			return 0;
		}
	}
	if (!name_ok(name))
		ret = kho_fail(err, -EINVAL,
			       "a fd is not kept: its name is empty, too long, or has a ':' or a control character");
	else if (store->n == STORE_MAX)
		ret = kho_fail(err, -ENOSPC,
			       "fd \"%s\" is not kept: there are %d already",
			       name, STORE_MAX);
	if (ret) {
		close(fd);
		return ret;
	}
	store->fds[store->n].fd = fd;
	strcpy(store->fds[store->n++].name, name);
	/* A memfd or a regular file cannot hang up, and is refused here. */
	event.data.fd = fd;
	epoll_ctl(store->epoll, EPOLL_CTL_ADD, fd, &event);
	return 0;
}

void store_remove(struct store *store, const char *name)
{
	for (size_t i = 0; i < store->n;) {
		if (strcmp(store->fds[i].name, name))
			i++;
		else
			forget(store, i);
	}
}

void store_drop_dead(struct store *store)
{
	struct epoll_event event;

	while (epoll_wait(store->epoll, &event, 1, 0) == 1) {
		if (!(event.events & EPOLLHUP))
			continue;
		for (size_t i = 0; i < store->n; i++) {
			if (store->fds[i].fd == event.data.fd) {
				forget(store, i);
				break;
			}
		}
	}
}

int store_find(const struct store *store, const char *name)
{
	for (size_t i = 0; i < store->n; i++)
		if (!strcmp(store->fds[i].name, name))
			return store->fds[i].fd;
	return -1;
}

static int describe(const struct store *store)
{
	char *names = must(calloc(store->n + 1, STORE_NAME_SIZE + 1));
	char pid[16], n[16];
	char *end = names;
	int ret;

	for (size_t i = 0; i < store->n; i++) {
		if (i)
			*end++ = ':';
		end = stpcpy(end, store->fds[i].name);
	}
	snprintf(pid, sizeof(pid), "%d", getpid());
	snprintf(n, sizeof(n), "%zu", store->n);
	ret = setenv("LISTEN_PID", pid, 1) || setenv("LISTEN_FDS", n, 1) ||
	      setenv("LISTEN_FDNAMES", names, 1);
	free(names);
	return ret ? -ENOMEM : 0;
}

int store_pass(const struct store *store, int *others, size_t n)
{
	int above = FIRST_FD + (int)store->n;
	int *fds = must(calloc(store->n + 1, sizeof(*fds)));
	int ret = describe(store);

	/* First out of the way of each other, then into place. */
	for (size_t i = 0; !ret && i < n; i++) {
		others[i] = fcntl(others[i], F_DUPFD_CLOEXEC, above);
		if (others[i] < 0)
			ret = -errno;
	}
	for (size_t i = 0; !ret && i < store->n; i++) {
		fds[i] = fcntl(store->fds[i].fd, F_DUPFD_CLOEXEC, above);
		if (fds[i] < 0)
			ret = -errno;
	}
	for (size_t i = 0; !ret && i < store->n; i++)
		if (dup2(fds[i], FIRST_FD + (int)i) < 0)
			ret = -errno;
	free(fds);
	return ret;
}
