// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The program's side of custody: what sd_notify(3) and sd_listen_fds(3)
 * describe, as spoken by systemd and by `kho run`.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "private.h"

#define LISTEN_FDS_START 3

#define BARRIER_TIMEOUT_MS 2000

/* Is somebody there who keeps fds for us? */
bool notify_custody(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path && (path[0] == '/' || path[0] == '@');
}

static int send_with_fd(const char *text, int fd)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text,
			     .iov_len = strlen(text) };
	struct msghdr msg = { .msg_name = &addr,
			      .msg_iov = &iov,
			      .msg_iovlen = 1 };
	int sock, ret = 0;

	if (!notify_custody())
		return 0;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	msg.msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				      strlen(path));
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	}
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		ret = -errno;
		break;
	}
	close(sock);
	return ret;
}

/* Tell custody something; nothing to do without one. */
int notify_send(const char *text)
{
	return send_with_fd(text, -1);
}

/*
 * Wait until custody has heard all that it was told, as sd_notify_barrier(3)
 * does: it closes the fd when it gets to it. One that does not get to it in
 * time must not keep us from serving.
 */
void notify_barrier(void)
{
	struct pollfd pfd = { .events = 0 };
	int ends[2];

	if (!notify_custody() || pipe2(ends, O_CLOEXEC) < 0)
		return;
	if (send_with_fd("BARRIER=1\n", ends[1]) == 0) {
		close(ends[1]);
		ends[1] = -1;
		pfd.fd = ends[0];
		poll(&pfd, 1, BARRIER_TIMEOUT_MS);
	}
	if (ends[1] >= 0)
		close(ends[1]);
	close(ends[0]);
}

int notify_store(const char *name, int fd)
{
	char text[128];

	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\n", name);
	return send_with_fd(text, fd);
}

int notify_unstore(const char *name)
{
	char text[128];

	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s\n", name);
	return notify_send(text);
}

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
		kho->fds.control = fd;
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
int notify_listen_fds(struct kho *kho, int *arena, struct kho_error *err)
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
