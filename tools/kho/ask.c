// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Asking a service's program through its socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ask.h"

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
			 "process %d died meanwhile; the service is %s now "
			 "with %s: see 'kho list'",
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
				       "process %d gave an answer that cannot "
				       "be understood",
				       service->pid);
	} else if (ret == -EAGAIN) {
		kho_fail(err, ret,
			 "no answer in %.0f s: the program is busy, does not "
			 "call kho_poll(), or does not run: see 'kho list'",
			 timeout_ms / 1000.);
	} else {
		ret = explain_silence(service, err);
	}
	free(text);
	return ret;
}

/* A datagram, with a fd if that is not -1. */
static ssize_t send_request(int sock, const char *text, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text,
			     .iov_len = strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int size = (int)iov.iov_len + 4096;

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	}
	setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return sendmsg(sock, &msg, MSG_NOSIGNAL);
}

int ask_and_hold(const struct service *service, struct json_object *request,
		 int fd, unsigned int timeout_ms, int *sock,
		 struct json_object **answer, struct kho_error *err)
{
	const char *text = must(
		(void *)(uintptr_t)
			json_object_to_json_string_ext(request,
						       JSON_C_TO_STRING_PLAIN));
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
	if (send_request(*sock, text, fd) >= 0)
		ret = receive_answer(service, *sock, timeout_ms, answer, err);
	else if (errno == EPIPE)
		ret = explain_silence(service, err);
	else
		ret = kho_fail(err, -errno, "cannot send the request: %s",
			       strerror(errno));
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
	char *text;

	add_json(request, "allow_degraded",
		 must(json_object_new_boolean(opts->allow_degraded)));
	if (!opts->profile)
		return;
	text = must(kho_profile_json(opts->profile));
	add_json(request, "profile", must(json_tokener_parse(text)));
	free(text);
}

void read_text(struct json_object *json, const char *key, char *buf,
	       size_t size)
{
	const char *text =
		json_object_get_string(json_object_object_get(json, key));

	snprintf(buf, size, "%s", text ? text : "");
}

static uint32_t read_version(struct json_object *json, const char *key)
{
	return (uint32_t)json_object_get_int64(
		json_object_object_get(json, key));
}

static struct kho_range read_range(struct json_object *json, const char *key)
{
	struct json_object *value = json_object_object_get(json, key);

	return (struct kho_range){ read_version(value, "min"),
				   read_version(value, "max") };
}

static void read_finding(struct json_object *json, struct kho_finding *finding)
{
	char verdict[16];

	read_text(json, "name", finding->name, sizeof(finding->name));
	read_text(json, "verdict", verdict, sizeof(verdict));
	finding->verdict = KHO_UNKNOWN;
	for (int v = KHO_OK; v <= KHO_UNKNOWN; v++)
		if (!strcmp(verdict, kho_verdict_name((enum kho_verdict)v)))
			finding->verdict = (enum kho_verdict)v;
	finding->version = read_version(json, "version");
	finding->has = read_version(json, "has");
	finding->pin = read_version(json, "pin");
	finding->writer = read_range(json, "writer");
	finding->reader = read_range(json, "reader");
	finding->optional = json_object_get_boolean(
		json_object_object_get(json, "optional"));
	read_text(json, "needed_by", finding->needed_by,
		  sizeof(finding->needed_by));
	read_text(json, "reason", finding->reason, sizeof(finding->reason));
}

struct kho_report *report_read(struct json_object *json)
{
	struct json_object *array = json_object_object_get(json, "components");
	char from[256], to[256], outcome[16];
	struct kho_report *report;

	if (!json_object_is_type(array, json_type_array))
		return NULL;
	report = must(calloc(1, sizeof(*report)));
	read_text(json, "from", from, sizeof(from));
	read_text(json, "to", to, sizeof(to));
	read_text(json, "outcome", outcome, sizeof(outcome));
	report->from = must(strdup(from));
	report->to = must(strdup(to));
	report->outcome = KHO_OUTCOME_INCOMPATIBLE;
	for (int o = 0; o < KHO_OUTCOME_INCOMPATIBLE; o++)
		if (!strcmp(outcome, kho_outcome_name((enum kho_outcome)o)))
			report->outcome = (enum kho_outcome)o;
	report->n = json_object_array_length(array);
	report->findings =
		must(calloc(report->n + 1, sizeof(*report->findings)));
	for (size_t i = 0; i < report->n; i++)
		read_finding(json_object_array_get_idx(array, i),
			     report->findings + i);
	return report;
}
