// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The messages between the old program and its successor, and the successor's
 * side of the conversation. The format is in abi/update.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kho/compat.h>

#include "private.h"

KHO_COMPONENT(update, .read = { 1, KHO_UPDATE_VERSION },
	      .write = { 1, KHO_UPDATE_VERSION });

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

/* One line of FDS for each fd. */
static int take_fds(struct kho *kho, struct handover_msg *msg, int *arena)
{
	char *rest = msg->text;
	int ret = 0;

	for (size_t i = 0; i < msg->n_fds; i++) {
		char *name = strsep(&rest, "\n");
		char *flag = name ? strchr(name, ' ') : NULL;

		if (flag)
			*flag++ = '\0';
		if (ret || !name) {
			ret = ret ? ret : -EBADMSG;
			close(msg->fds[i]);
		} else if (!strcmp(name, FD_ARENA) && *arena < 0) {
			*arena = msg->fds[i];
		} else if (!strcmp(name, FD_CONTROL) && kho->fds.control < 0) {
			kho->fds.control = msg->fds[i];
		} else {
			ret = fds_put_in(kho, name, msg->fds[i],
					 flag && !strcmp(flag, "stored"));
			if (ret)
				close(msg->fds[i]);
		}
	}
	return ret;
}

/*
 * Say hello and wait for the state. The old program freezes meanwhile, which
 * takes as long as it takes; when it gives up, the socket ends.
 */
int handover_receive(struct kho *kho, int sock, int *arena,
		     struct kho_error *err)
{
	struct handover_msg msg;
	uint32_t received = 0;
	int ret;

	*arena = -1;
	ret = handover_send(sock, KHO_UPDATE_HELLO, KHO_UPDATE_VERSION, "",
			    NULL, 0);
	if (ret)
		return kho_fail(err, ret,
				"handover: cannot talk to the old program: %s",
				strerror(-ret));
	for (;;) {
		ret = handover_recv(sock, -1, &msg);
		if (ret == -EPIPE)
			return kho_fail(err, -ECANCELED,
					"handover: the old program gave up before it sent its state");
		if (ret == -EMFILE)
			return kho_fail(err, ret,
					"handover: too many open files; raise RLIMIT_NOFILE");
		if (ret)
			return kho_fail(err, ret, "handover: %s",
					strerror(-ret));
		received += (uint32_t)msg.n_fds;
		ret = msg.type == KHO_UPDATE_FDS ? take_fds(kho, &msg, arena) :
						   0;
		free(msg.text);
		if (ret)
			return kho_fail(err, ret,
					"handover: cannot take the open files over: %s",
					strerror(-ret));
		if (msg.type == KHO_UPDATE_STATE)
			break;
		if (msg.type != KHO_UPDATE_FDS)
			return kho_fail(err, -EBADMSG,
					"handover: unexpected message %u",
					msg.type);
	}
	if (msg.value != received || *arena < 0)
		return kho_fail(err, -EBADMSG,
				"handover: %u of %u open files arrived%s",
				received, msg.value,
				*arena < 0 ? ", no arena among them" : "");
	return 0;
}

/*
 * Tell the old program that this one cannot take over. If that fails, the end
 * of file says the same.
 */
void handover_refuse(int sock, const struct kho_error *err)
{
	handover_send(sock, KHO_UPDATE_REFUSED, (uint32_t)-err->code, err->text,
		      NULL, 0);
}

/* The state is restored: offer to take over, and wait for the word. */
int handover_ready(struct kho *kho)
{
	struct handover_msg msg;
	int ret;

	ret = handover_send(kho->handover, KHO_UPDATE_READY, 0, "", NULL, 0);
	if (!ret)
		ret = handover_recv(kho->handover, -1, &msg);
	if (!ret) {
		free(msg.text);
		ret = msg.type == KHO_UPDATE_COMMIT ? 0 : -EBADMSG;
	}
	/* From here on the old program is gone, whether it hears this or not. */
	if (!ret)
		handover_send(kho->handover, KHO_UPDATE_DONE, 0, "", NULL, 0);
	close(kho->handover);
	kho->handover = -1;
	return ret ? -ECANCELED : 0;
}
