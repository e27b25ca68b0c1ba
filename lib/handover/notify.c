// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The program's side of custody: what sd_notify(3) and sd_listen_fds(3)
 * describe, as spoken by systemd and by `kho run`.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "handover/datagram.h"
#include "handover/notify.h"

#define LISTEN_FDS_START 3

#define BARRIER_TIMEOUT_MS 2000

bool notify_custody(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path && (path[0] == '/' || path[0] == '@');
}

static int send_with_fd(const char *text, int fd)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len;
	int sock, ret;

	if (!notify_custody())
		return 0;
	len = strlen(path);
	if (len >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	ret = datagram_send(sock, &addr,
			    offsetof(struct sockaddr_un, sun_path) + len, text,
			    fd, 0);
	close(sock);
	return ret;
}

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
