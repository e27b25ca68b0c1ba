// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* From one program to the next: the successor's side of a handover. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handover/private.h"

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
		} else if (!strcmp(name, FD_CONTROL) &&
			   kho->service->fds.control < 0) {
			kho->service->fds.control = msg->fds[i];
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

	ret = handover_send(kho->service->handover, KHO_UPDATE_READY, 0, "",
			    NULL, 0);
	if (!ret)
		ret = handover_recv(kho->service->handover, -1, &msg);
	if (!ret) {
		free(msg.text);
		ret = msg.type == KHO_UPDATE_COMMIT ? 0 : -EBADMSG;
	}
	/* From here on the old program is gone, whether it hears this or not. */
	if (!ret)
		handover_send(kho->service->handover, KHO_UPDATE_DONE, 0, "",
			      NULL, 0);
	close(kho->service->handover);
	kho->service->handover = -1;
	return ret ? -ECANCELED : 0;
}
