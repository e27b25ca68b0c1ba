// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* What a program tells its supervisor. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "run-notify.h"

#define TEXT_MAX 4096

int notify_init(int sock)
{
	int on = 1;

	if (setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)))
		return -errno;
	return 0;
}

static const char *value(const char *line, const char *key)
{
	size_t len = strlen(key);

	return strncmp(line, key, len) ? NULL : line + len;
}

static void parse_line(const char *line, struct message *message)
{
	const char *v;

	if (!strcmp(line, "READY=1")) {
		message->ready = true;
	} else if (!strcmp(line, "FDSTORE=1")) {
		message->store = true;
	} else if (!strcmp(line, "FDSTOREREMOVE=1")) {
		message->remove = true;
	} else if ((v = value(line, "X_KHO_SUSPENDED="))) {
		message->suspended = atoi(v);
	} else if ((v = value(line, "MAINPID="))) {
		message->main_pid = atoi(v);
	} else if ((v = value(line, "FDNAME="))) {
		message->name[0] = 0;
		if (strlen(v) < sizeof(message->name))
			strcpy(message->name, v);
	}
}

static void take_control(struct msghdr *msg, struct message *message)
{
	struct cmsghdr *cmsg;
	struct ucred cred;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t len = cmsg->cmsg_len - CMSG_LEN(0);

		if (cmsg->cmsg_level != SOL_SOCKET)
			continue;
		if (cmsg->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&cred, CMSG_DATA(cmsg), sizeof(cred));
			message->sender = cred.pid;
		} else if (cmsg->cmsg_type == SCM_RIGHTS) {
			memcpy(message->fds, CMSG_DATA(cmsg), len);
			message->n = len / sizeof(int);
		}
	}
}

bool notify_receive(int sock, struct message *message)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) +
			   CMSG_SPACE(MESSAGE_FDS * sizeof(int))];
	} control;
	char text[TEXT_MAX + 1];
	struct iovec iov = { .iov_base = text, .iov_len = TEXT_MAX };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t len;
	char *rest;

	do
		len = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return false;
	*message = (struct message){ .name = "stored", .suspended = -1 };
	take_control(&msg, message);
	message->cut = msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	if (message->cut)
		return true;
	text[len] = 0;
	rest = text;
	while (rest)
		parse_line(strsep(&rest, "\n"), message);
	return true;
}
