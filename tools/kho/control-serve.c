// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Requests that the supervisor answers, because no program runs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control-serve.h"
#include "handover/datagram.h"
#include "kho.h"

/* The supervisor has other things to do than to wait for a client. */
#define REQUEST_TIMEOUT_MS 200

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

/* False when it is nothing that can be done. */
static bool read_request(struct json_object *json, struct request *request)
{
	const char *what = get_text(json, "request");
	struct json_object *argv = get_json(json, "argv");

	if (!strcmp(what, "suspend"))
		return request->session >= 0;
	if (strcmp(what, "update") != 0 || get_text(json, "program")[0] != '/')
		return false;
	request->argv = read_argv(argv);
	if (argv && !request->argv)
		return false;
	request->program = must(strdup(get_text(json, "program")));
	request->allow_degraded =
		json_object_get_boolean(get_json(json, "allow_degraded"));
	return true;
}

static void close_session(struct request *request)
{
	if (request->session >= 0)
		close(request->session);
	request->session = -1;
}

int control_receive(int listener, struct request *request)
{
	struct json_object *json;
	struct kho_error err;
	bool ok;

	*request = (struct request){
		.sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC),
		.session = -1,
	};
	if (request->sock < 0)
		return -EAGAIN;
	json = request_receive(request->sock, REQUEST_TIMEOUT_MS,
			       &request->session);
	ok = read_request(json, request);
	json_object_put(json);
	/* Only one that is to be suspended has a use for it. */
	if (!ok || request->program)
		close_session(request);
	if (ok)
		return 0;
	kho_fail(&err, -EINVAL, "no request that can be understood");
	control_answer(request, 0, &err);
	return -EAGAIN;
}

/* Drops @json. */
static void answer(const struct request *request, struct json_object *json,
		   const char *result, const struct kho_error *err)
{
	json_add(json, J("result", err ? "aborted" : result),
		 J("errno", err ? (uint64_t)-err->code : 0));
	if (err)
		json_add(json, J("error", err->text));
	request_answer(request->sock, json);
	json_object_put(json);
}

void control_answer(struct request *request, pid_t pid,
		    const struct kho_error *err)
{
	answer(request, json_make(J("pid", (uint64_t)pid), J("frozen_us", 0)),
	       "updated", err);
	close(request->sock);
	free(request->program);
	free(request->argv);
}

void control_suspended(struct request *request, struct json_object *left,
		       const struct kho_error *err)
{
	/* It is to end with whoever asked, not with us. */
	close_session(request);
	answer(request, json_make(J("left_behind", left)), "suspended", err);
}
