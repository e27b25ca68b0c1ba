// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Asking a service's program through its socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control-ask.h"
#include "folder.h"
#include "handover/datagram.h"

/* After a program's sudden death: until the supervisor has seen to it. */
#define AFTERMATH_TRIES 50
#define AFTERMATH_PAUSE_US 100000

#define ANSWER_MAX (1u << 20)

/* What became of a service whose program went silent for good? */
static int explain_silence(const struct service *service, struct kho_error *err)
{
	pid_t old = service->pid;
	struct service now = { 0 };
	int ret = 0;

	for (int i = 0; i < AFTERMATH_TRIES; i++) {
		service_free(&now);
		ret = service_read(service->name, &now, NULL);
		if (ret || (now.pid != old && !strcmp(now.state, "serving")))
			break;
		usleep(AFTERMATH_PAUSE_US);
	}
	if (ret)
		kho_fail(err, -ECONNRESET,
			 "process %d died meanwhile, and the service has ended",
			 old);
	else if (now.pid == old)
		kho_fail(err, -ECONNRESET,
			 "process %d hung up without an answer; it is %s", old,
			 now.state);
	else
		kho_fail(err, -ECONNRESET,
			 "process %d died meanwhile; the service is %s now with %s: see 'kho list'",
			 old, now.state, now.program);
	service_free(&now);
	return -ECONNRESET;
}

static int receive_answer(const struct service *service, int sock,
			  unsigned int timeout_ms, struct json_object **answer,
			  struct kho_error *err)
{
	char *text = must(malloc(ANSWER_MAX + 1));
	ssize_t len = recv(sock, text, ANSWER_MAX, 0);
	int ret = len < 0 ? -errno : 0;

	if (len > 0) {
		text[len] = 0;
		*answer = json_tokener_parse(text);
		if (!json_object_is_type(*answer, json_type_object))
			ret = kho_fail(err, -EBADMSG,
				       "process %d gave an answer that cannot be understood",
				       service->pid);
	} else if (ret == -EAGAIN) {
		kho_fail(err, ret,
			 "no answer in %.0f s: the program is busy, does not call kho_poll(), or does not run: see 'kho list'",
			 timeout_ms / 1000.);
	} else {
		ret = explain_silence(service, err);
	}
	free(text);
	return ret;
}

int ask_and_hold(const struct service *service, struct json_object *request,
		 int fd, unsigned int timeout_ms, int *sock,
		 struct json_object **answer, struct kho_error *err)
{
	const char *text = json_object_to_json_string(request);
	struct folder folder;
	int ret;

	*sock = -1;
	ret = folder_open(&folder, service->name, err);
	if (ret)
		return ret;
	*sock = folder_connect(&folder, "control", SOCK_SEQPACKET,
			       (int)timeout_ms, err);
	folder_close(&folder);
	if (*sock < 0)
		return *sock;
	ret = datagram_send(*sock, NULL, 0, text, fd, 0);
	if (!ret)
		ret = receive_answer(service, *sock, timeout_ms, answer, err);
	else if (ret == -EPIPE)
		ret = explain_silence(service, err);
	else
		kho_fail(err, ret, "cannot send the request: %s",
			 strerror(-ret));
	if (ret) {
		close(*sock);
		*sock = -1;
	}
	return ret;
}

int ask_program(const struct service *service, struct json_object *request,
		unsigned int timeout_ms, struct json_object **answer,
		struct kho_error *err)
{
	int sock, ret = ask_and_hold(service, request, -1, timeout_ms, &sock,
				     answer, err);

	if (!ret)
		close(sock);
	return ret;
}

void add_consent(struct json_object *request, const struct kho_check_opts *opts)
{
	json_add(request, J("allow_degraded", opts->allow_degraded));
	if (opts->profile)
		json_add(request,
			 J("profile",
			   json_of_text(kho_profile_json(opts->profile))));
}
