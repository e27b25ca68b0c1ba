// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* What custody kept for this program, sd_listen_fds(3)'s protocol. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handover/private.h"

/* The first of the fds. */
#define LISTEN_FDS_START 3

static int take_listen_fd(struct kho *kho, const char *name, int fd, int *arena,
			  struct kho_error *err)
{
	int ret;

	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return kho_fail(err, -errno, "custody: fd %d (%s): %s", fd,
				name, strerror(errno));
	if (!strcmp(name, FD_ARENA)) {
		if (*arena >= 0)
			return kho_fail(err, -EINVAL,
					"custody: two fds are named %s: %d and %d",
					FD_ARENA, *arena, fd);
		*arena = fd;
		return 0;
	}
	if (!strcmp(name, FD_CONTROL)) {
		kho->service->fds.control = fd;
		return 0;
	}
	ret = fds_put_in(kho, name, fd, true);
	return ret ? kho_fail(err, ret, "custody: fd %d (%s): %s", fd, name,
			      strerror(-ret)) :
		     0;
}

/*
 * Take what custody kept, and the variables that say so, so that no child
 * takes them for its own. @arena is -1 when there was none.
 */
int listen_take_fds(struct kho *kho, int *arena, struct kho_error *err)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	char *names, *rest;
	long n;
	int ret = 0;

	*arena = -1;
	if (!pid || !fds || strtol(pid, NULL, 10) != getpid())
		return 0;
	n = strtol(fds, NULL, 10);
	if (n < 0 || n > sysconf(_SC_OPEN_MAX))
		return kho_fail(err, -EINVAL, "custody: LISTEN_FDS is \"%s\"",
				fds);
	names = strdup(getenv("LISTEN_FDNAMES") ? getenv("LISTEN_FDNAMES") :
						  "");
	if (!names)
		return kho_fail(err, -ENOMEM, "custody: out of memory");
	rest = names;
	for (int fd = LISTEN_FDS_START; !ret && fd < LISTEN_FDS_START + n;
	     fd++) {
		const char *name = strsep(&rest, ":");

		ret = take_listen_fd(kho, name && *name ? name : "unknown", fd,
				     arena, err);
	}
	free(names);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return ret;
}
