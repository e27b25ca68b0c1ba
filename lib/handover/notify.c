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

#include "handover/private.h"

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
