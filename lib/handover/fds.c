// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Open files that go to the successor, and into custody. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/update.h>

#include "handover/private.h"

void fds_init(struct kho *kho)
{
	pthread_mutex_init(&kho->service->fds.lock, NULL);
	kho->service->fds.control = -1;
}

void fds_exit(struct kho *kho)
{
	struct fds *fds = &kho->service->fds;

	/* What nobody took is ours to close. */
	for (size_t i = 0; i < fds->in.n; i++)
		if (fds->in.fds[i].fd >= 0)
			close(fds->in.fds[i].fd);
	if (fds->control >= 0)
		close(fds->control);
	free(fds->in.fds);
	free(fds->out.fds);
	free(fds->place);
}

bool fd_name_ok(const char *name)
{
	size_t len = strnlen(name, KHO_FDNAME_SIZE);

	if (len == 0 || len == KHO_FDNAME_SIZE)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

static void forget(struct fd_list *list, size_t i)
{
	list->fds[i].fd = -1;
	list->gone++;
	while (list->first < list->n && list->fds[list->first].fd < 0)
		list->first++;
}

/* Drop the entries that are gone, and note where the others are now. */
static void compact(struct fd_list *list, size_t *place)
{
	size_t n = 0;

	for (size_t i = list->first; i < list->n; i++) {
		if (list->fds[i].fd < 0)
			continue;
		list->fds[n] = list->fds[i];
		if (place)
			place[list->fds[n].fd] = n + 1;
		n++;
	}
	list->n = n;
	list->first = 0;
	list->gone = 0;
}

static int append(struct fd_list *list, size_t *place, const char *name, int fd,
		  bool stored)
{
	if (list->n == list->cap && list->gone > list->n / 2)
		compact(list, place);
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 16;
		struct named_fd *more =
			realloc(list->fds, cap * sizeof(*list->fds));

		if (!more)
			return -ENOMEM;
		list->fds = more;
		list->cap = cap;
	}
	strcpy(list->fds[list->n].name, name);
	list->fds[list->n].fd = fd;
	list->fds[list->n].stored = stored;
	list->n++;
	return 0;
}

int fds_put_in(struct kho *kho, const char *name, int fd, bool stored)
{
	if (!fd_name_ok(name))
		return -EINVAL;
	return append(&kho->service->fds.in, NULL, name, fd, stored);
}

/* Add to what goes to the successor; -EEXIST when it is there. */
static int put_out(struct fds *fds, const char *name, int fd, bool stored)
{
	int ret;

	if ((size_t)fd >= fds->n_place) {
		size_t n = 2 * ((size_t)fd + 1);
		size_t *more = realloc(fds->place, n * sizeof(*more));

		if (!more)
			return -ENOMEM;
		memset(more + fds->n_place, 0,
		       (n - fds->n_place) * sizeof(*more));
		fds->place = more;
		fds->n_place = n;
	}
	if (fds->place[fd])
		return -EEXIST;
	ret = append(&fds->out, fds->place, name, fd, stored);
	if (!ret)
		fds->place[fd] = fds->out.n;
	return ret;
}

static size_t copy(struct named_fd *to, const struct fd_list *list)
{
	size_t n = 0;

	for (size_t i = list->first; i < list->n; i++)
		if (list->fds[i].fd >= 0)
			to[n++] = list->fds[i];
	return n;
}

/* All that goes to the successor, also what nobody here took. */
int fds_snapshot(struct kho *kho, struct named_fd **list, size_t *n)
{
	struct fds *fds = &kho->service->fds;
	int ret = -ENOMEM;

	pthread_mutex_lock(&fds->lock);
	*list = calloc(fds->out.n + fds->in.n + 1, sizeof(**list));
	if (*list) {
		*n = copy(*list, &fds->out);
		*n += copy(*list + *n, &fds->in);
		ret = 0;
	}
	pthread_mutex_unlock(&fds->lock);
	return ret;
}

int fds_store(struct kho *kho)
{
	struct named_fd *list;
	int ret;
	size_t n;

	ret = fds_snapshot(kho, &list, &n);
	if (ret)
		return ret;
	for (size_t i = 0; !ret && i < n; i++)
		if (list[i].stored)
			ret = notify_store(list[i].name, list[i].fd);
	free(list);
	return ret;
}

int kho_add_fd(struct kho *kho, const char *name, int fd, unsigned int flags,
	       struct kho_error *err)
{
	struct fds *fds = &kho->service->fds;
	bool stored = flags & KHO_FD_STORE;
	int ret;

	if (!fd_name_ok(name))
		return kho_fail(err, -EINVAL,
				"fd %d: name '%.80s': 1 to %d characters of "
				"0-9, a-z, A-Z and ._-",
				fd, name, KHO_FDNAME_SIZE - 1);
	if (!strcmp(name, FD_ARENA) || !strcmp(name, FD_CONTROL))
		return kho_fail(err, -EINVAL,
				"fd %d: the name '%s' is the library's", fd,
				name);
	if (flags & ~KHO_FD_STORE)
		return kho_fail(err, -EINVAL, "fd %d: unknown flags %#x", fd,
				flags);
	if (fcntl(fd, F_GETFD) < 0)
		return kho_fail(err, -EBADF, "fd %d is not open", fd);
	pthread_mutex_lock(&fds->lock);
	ret = put_out(fds, name, fd, stored);
	if (!ret && stored && notify_store(name, fd)) {
		forget(&fds->out, fds->place[fd] - 1);
		fds->place[fd] = 0;
		ret = -EIO;
	}
	pthread_mutex_unlock(&fds->lock);
	if (ret)
		kho_fail(err, ret, "fd %d: %s", fd,
			 ret == -EEXIST ? "was added already" :
			 ret == -EIO	? "custody cannot be told of it" :
					  "out of memory");
	return ret;
}

/* Custody forgets by name, so tell it again of the others of that name. */
static int unstore(const struct fd_list *list, const char *name)
{
	int ret = notify_unstore(name);

	for (size_t i = list->first; !ret && i < list->n; i++)
		if (list->fds[i].fd >= 0 && list->fds[i].stored &&
		    !strcmp(list->fds[i].name, name))
			ret = notify_store(name, list->fds[i].fd);
	return ret ? -EIO : 0;
}

int kho_remove_fd(struct kho *kho, int fd)
{
	struct fds *fds = &kho->service->fds;
	int ret = -ENOENT;
	size_t i;

	pthread_mutex_lock(&fds->lock);
	if (fd >= 0 && (size_t)fd < fds->n_place && fds->place[fd]) {
		i = fds->place[fd] - 1;
		fds->place[fd] = 0;
		forget(&fds->out, i);
		ret = fds->out.fds[i].stored ?
			      unstore(&fds->out, fds->out.fds[i].name) :
			      0;
	}
	pthread_mutex_unlock(&fds->lock);
	return ret;
}

int kho_take_fd(struct kho *kho, const char *name)
{
	struct fds *fds = &kho->service->fds;
	int fd = -ENOENT, ret = 0;

	pthread_mutex_lock(&fds->lock);
	for (size_t i = fds->in.first; i < fds->in.n; i++) {
		struct named_fd *in = &fds->in.fds[i];

		if (in->fd < 0 || strcmp(in->name, name))
			continue;
		fd = in->fd;
		if (in->stored)
			ret = put_out(fds, name, fd, true);
		if (!ret)
			forget(&fds->in, i);
		break;
	}
	pthread_mutex_unlock(&fds->lock);
	return ret ? ret : fd;
}
