// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Requests that the supervisor answers, because no program runs. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "kho.h"

#define REQUEST_MAX (1u << 20)

/* The supervisor has other things to do than to wait for a client. */
#define REQUEST_TIMEOUT_MS 200

static bool allowed(int sock)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) &&
	       (cred.uid == 0 || cred.uid == geteuid());
}

static struct json_object *receive(int sock)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	static char text[REQUEST_MAX + 1];
	ssize_t len;

	if (!allowed(sock) || poll(&pfd, 1, REQUEST_TIMEOUT_MS) <= 0 ||
	    pfd.revents & POLLHUP)
		return NULL;
	len = recv(sock, text, REQUEST_MAX, MSG_DONTWAIT);
	if (len <= 0)
		return NULL;
	text[len] = 0;
	return json_tokener_parse(text);
}

static const char *get_text(struct json_object *json, const char *key)
{
	struct json_object *value = json_object_object_get(json, key);

	return json_object_is_type(value, json_type_string) ?
		       json_object_get_string(value) :
		       "";
}

/* Pointers, and behind them the strings; NULL when it is no such array. */
static char **read_argv(struct json_object *array)
{
	size_t n, size = 0;
	char **argv, *to;

	if (!json_object_is_type(array, json_type_array))
		return NULL;
	n = json_object_array_length(array);
	for (size_t i = 0; i < n; i++) {
		struct json_object *arg = json_object_array_get_idx(array, i);

		if (!json_object_is_type(arg, json_type_string))
			return NULL;
		size += strlen(json_object_get_string(arg)) + 1;
	}
	argv = n ? must(malloc((n + 1) * sizeof(*argv) + size)) : NULL;
	if (!argv)
		return NULL;
	to = (char *)(argv + n + 1);
	for (size_t i = 0; i < n; i++) {
		argv[i] = to;
		to = stpcpy(to, json_object_get_string(
					json_object_array_get_idx(array, i))) +
		     1;
	}
	argv[n] = NULL;
	return argv;
}

int control_receive(int listener, struct replacement *replacement)
{
	struct json_object *json, *argv;
	struct kho_error err;

	*replacement = (struct replacement){
		.sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC),
	};
	if (replacement->sock < 0)
		return -EAGAIN;
	json = receive(replacement->sock);
	argv = json_object_object_get(json, "argv");
	if (!strcmp(get_text(json, "request"), "update") &&
	    get_text(json, "program")[0] == '/') {
		replacement->program = must(strdup(get_text(json, "program")));
		replacement->argv = read_argv(argv);
		replacement->allow_degraded = json_object_get_boolean(
			json_object_object_get(json, "allow_degraded"));
	}
	if (replacement->program && (!argv || replacement->argv)) {
		json_object_put(json);
		return 0;
	}
	json_object_put(json);
	kho_fail(&err, -EINVAL, "no request that can be understood");
	control_answer(replacement, 0, &err);
	return -EAGAIN;
}

void control_answer(struct replacement *replacement, pid_t pid,
		    const struct kho_error *err)
{
	struct json_object *json = must(json_object_new_object());
	const char *text;

	add_text(json, "result", err ? "aborted" : "updated");
	add_number(json, "errno", err ? (uint64_t)-err->code : 0);
	if (err)
		add_text(json, "error", err->text);
	add_number(json, "pid", (uint64_t)pid);
	add_number(json, "frozen_us", 0);
	text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
	/* A client that left does not get it. */
	send(replacement->sock, text, strlen(text),
	     MSG_NOSIGNAL | MSG_DONTWAIT);
	json_object_put(json);
	close(replacement->sock);
	free(replacement->program);
	free(replacement->argv);
}
