// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The messages between the old program and its successor. The format is in
 * abi/update.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kho/compat.h>

#include "handover/private.h"

KHO_COMPONENT(update, .write = { 1, KHO_UPDATE_VERSION },
	      .read = { 1, KHO_UPDATE_VERSION });

union fd_control {
	struct cmsghdr header;
	char space[CMSG_SPACE(KHO_UPDATE_FDS_MAX * sizeof(int))];
};

int handover_send(int sock, uint32_t type, uint32_t value, const char *text,
		  const int *fds, size_t n_fds)
{
	struct kho_update_header header = { type, value };
	union fd_control control = { 0 };
	struct iovec iov[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)(uintptr_t)text,
		  .iov_len = strlen(text) + 1 },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (n_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
	}
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0) {
		/* Too many fds on the way: they get fewer as they arrive. */
		if (errno == ETOOMANYREFS)
			poll(NULL, 0, 1);
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static void collect_fds(struct msghdr *hdr, struct handover_msg *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c;
	     c = CMSG_NXTHDR(hdr, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		msg->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(msg->fds, CMSG_DATA(c), msg->n_fds * sizeof(int));
	}
}

/*
 * Wait for a message. -ETIMEDOUT; -EPIPE at the end of file; -EMFILE when fds
 * got lost because this process may not have more; -EBADMSG.
 */
int handover_recv(int sock, int timeout_ms, struct handover_msg *msg)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	struct kho_update_header header;
	union fd_control control;
	char *text = malloc(KHO_UPDATE_TEXT_MAX);
	struct iovec iov[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = text, .iov_len = KHO_UPDATE_TEXT_MAX },
	};
	struct msghdr hdr = { .msg_iov = iov,
			      .msg_iovlen = 2,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;
	int ret;

	msg->n_fds = 0;
	msg->text = NULL;
	if (!text)
		return -ENOMEM;
	do {
		ret = poll(&pfd, 1, timeout_ms);
	} while (ret < 0 && errno == EINTR);
	if (ret <= 0) {
		ret = ret == 0 ? -ETIMEDOUT : -errno;
		goto fail;
	}
	do {
		n = recvmsg(sock, &hdr, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0) {
		ret = n == 0 || errno == ECONNRESET ? -EPIPE : -errno;
		goto fail;
	}
	collect_fds(&hdr, msg);
	ret = -EBADMSG;
	if ((size_t)n <= sizeof(header) || hdr.msg_flags & MSG_TRUNC ||
	    text[(size_t)n - sizeof(header) - 1] != '\0')
		goto fail;
	ret = -EMFILE;
	if (hdr.msg_flags & MSG_CTRUNC)
		goto fail;
	msg->type = header.type;
	msg->value = header.value;
	msg->text = text;
	return 0;
fail:
	for (size_t i = 0; i < msg->n_fds; i++)
		close(msg->fds[i]);
	msg->n_fds = 0;
	free(text);
	return ret;
}
