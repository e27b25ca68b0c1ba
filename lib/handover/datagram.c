// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Datagrams between a program, custody and the command. */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "handover/datagram.h"

/* A manifest can be in it. */
#define REQUEST_MAX (1u << 20)

/* One fd and no more: its padding would have room for another. */
union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int datagram_send(int sock, const struct sockaddr_un *to, size_t to_len,
		  const char *text, int fd, int flags)
{
	union control control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text,
			     .iov_len = strlen(text) };
	struct msghdr msg = { .msg_name = (void *)(uintptr_t)to,
			      .msg_namelen = (socklen_t)to_len,
			      .msg_iov = &iov,
			      .msg_iovlen = 1 };
	int size = (int)iov.iov_len + 4096;

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	}
	/* It must fit into the buffer as a whole. */
	setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	while (sendmsg(sock, &msg, flags | MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static bool may_ask(int sock)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) &&
	       (cred.uid == 0 || cred.uid == geteuid());
}

/* One datagram: its length, 0 when there is none. */
static size_t receive(int sock, char *buf, int *fd)
{
	union control control;
	struct iovec iov = { .iov_base = buf, .iov_len = REQUEST_MAX };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = CMSG_LEN(sizeof(int)) };
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	return n > 0 ? (size_t)n : 0;
}

struct json_object *request_receive(int sock, int timeout_ms, int *fd)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	struct json_object *request = NULL;
	char *buf;
	size_t n;

	*fd = -1;
	/* A client that gave up has told its user that nothing happens. */
	if (!may_ask(sock) || poll(&pfd, 1, timeout_ms) <= 0 ||
	    pfd.revents & POLLHUP)
		return NULL;
	buf = malloc(REQUEST_MAX + 1);
	n = buf ? receive(sock, buf, fd) : 0;
	if (n) {
		buf[n] = '\0';
		request = json_tokener_parse(buf);
	}
	free(buf);
	return request;
}

void request_answer(int sock, struct json_object *answer)
{
	const char *text =
		json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN);

	if (text)
		datagram_send(sock, NULL, 0, text, -1, MSG_DONTWAIT);
}
