// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Open files that go to the successor, and into custody. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/update.h>

#include "private.h"

void fds_init(struct kho *kho)
{
	pthread_mutex_init(&kho->fds.lock, NULL);
	kho->fds.control = -1;
}

void fds_exit(struct kho *kho)
{
	/* What nobody took is ours to close. */
	for (size_t i = 0; i < kho->fds.n_in; i++)
		close(kho->fds.in[i].fd);
	if (kho->fds.control >= 0)
		close(kho->fds.control);
	free(kho->fds.in);
	free(kho->fds.out);
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= sizeof(((struct named_fd *)NULL)->name))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

/* Append; the array doubles, for there may be thousands. */
static int append(struct named_fd **list, size_t *n, const char *name, int fd,
		  bool stored)
{
	if ((*n & (*n - 1)) == 0) {
		struct named_fd *more =
			realloc(*list, (*n ? 2 * *n : 1) * sizeof(**list));

		if (!more)
			return -ENOMEM;
		*list = more;
	}
	strcpy((*list)[*n].name, name);
	(*list)[*n].fd = fd;
	(*list)[*n].stored = stored;
	++*n;
	return 0;
}

static void delete (struct named_fd *list, size_t *n, size_t i)
{
	memmove(&list[i], &list[i + 1], (*n - i - 1) * sizeof(*list));
	--*n;
}

int fds_put_in(struct kho *kho, const char *name, int fd, bool stored)
{
	if (!name_ok(name))
		return -EINVAL;
	return append(&kho->fds.in, &kho->fds.n_in, name, fd, stored);
}

/* All that goes to the successor, also what nobody here took. */
int fds_snapshot(struct kho *kho, struct named_fd **list, size_t *n)
{
	struct fds *fds = &kho->fds;
	int ret = 0;

	pthread_mutex_lock(&fds->lock);
	*n = fds->n_out + fds->n_in;
	*list = calloc(*n + 1, sizeof(**list));
	if (*list) {
		if (fds->n_out)
			memcpy(*list, fds->out, fds->n_out * sizeof(**list));
		if (fds->n_in)
			memcpy(*list + fds->n_out, fds->in,
			       fds->n_in * sizeof(**list));
	} else {
		ret = -ENOMEM;
	}
	pthread_mutex_unlock(&fds->lock);
	return ret;
}

int kho_add_fd(struct kho *kho, const char *name, int fd, unsigned int flags)
{
	struct fds *fds = &kho->fds;
	bool stored = flags & KHO_FD_STORE;
	int ret;

	if (!name_ok(name) || flags & ~KHO_FD_STORE ||
	    !strcmp(name, FD_ARENA) || !strcmp(name, FD_CONTROL))
		return -EINVAL;
	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	pthread_mutex_lock(&fds->lock);
	ret = -EEXIST;
	for (size_t i = 0; i < fds->n_out; i++)
		if (fds->out[i].fd == fd)
			goto out;
	ret = append(&fds->out, &fds->n_out, name, fd, stored);
	if (!ret && stored && notify_store(name, fd)) {
		fds->n_out--;
		ret = -EIO;
	}
out:
	pthread_mutex_unlock(&fds->lock);
	return ret;
}

int kho_remove_fd(struct kho *kho, int fd)
{
	struct fds *fds = &kho->fds;
	struct named_fd removed;
	int ret = -ENOENT;
	size_t i;

	pthread_mutex_lock(&fds->lock);
	/* From the end: what was added last is often removed first. */
	for (i = fds->n_out; i > 0 && fds->out[i - 1].fd != fd; i--)
		;
	if (i == 0)
		goto out;
	ret = 0;
	removed = fds->out[i - 1];
	delete (fds->out, &fds->n_out, i - 1);
	if (!removed.stored)
		goto out;
	/* Custody forgets by name: all, so tell it the others again. */
	if (notify_unstore(removed.name))
		ret = -EIO;
	for (i = 0; i < fds->n_out; i++)
		if (fds->out[i].stored &&
		    !strcmp(fds->out[i].name, removed.name) &&
		    notify_store(fds->out[i].name, fds->out[i].fd))
			ret = -EIO;
out:
	pthread_mutex_unlock(&fds->lock);
	return ret;
}

int kho_take_fd(struct kho *kho, const char *name)
{
	struct fds *fds = &kho->fds;
	int fd = -ENOENT;

	pthread_mutex_lock(&fds->lock);
	for (size_t i = 0; i < fds->n_in; i++) {
		if (strcmp(fds->in[i].name, name))
			continue;
		fd = fds->in[i].fd;
		if (fds->in[i].stored &&
		    append(&fds->out, &fds->n_out, name, fd, true))
			fd = -ENOMEM;
		else
			delete (fds->in, &fds->n_in, i);
		break;
	}
	pthread_mutex_unlock(&fds->lock);
	return fd;
}
