// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Requests from outside: `kho update NAME PROGRAM`, `kho check NAME TO` and `kho
 * kexec` connect to the socket that custody keeps for this program, send one
 * datagram of JSON and get one back.
 * Schema: docs/schemas.md, "control".
 */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kho/suspend.h>
#include <kho/update.h>

#include "files/json.h"
#include "files/manifest.h"
#include "handover/datagram.h"
#include "handover/private.h"

/* How long a client may take from connecting to its request. */
#define REQUEST_TIMEOUT_MS 1000

int kho_poll_fd(const struct kho *kho)
{
	return kho->service->fds.control >= 0 ? kho->service->fds.control :
						-ENOENT;
}

/* An array of strings, as for execve(); NULL when it is none. */
static const char **read_argv(struct json_object *array)
{
	size_t n = json_object_array_length(array);
	const char **argv = calloc(n + 1, sizeof(*argv));

	for (size_t i = 0; argv && i < n; i++) {
		struct json_object *arg = json_object_array_get_idx(array, i);

		if (!json_object_is_type(arg, json_type_string)) {
			free(argv);
			return NULL;
		}
		argv[i] = json_object_get_string(arg);
	}
	return argv;
}

static const char *get_string(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_string))
		return "";
	return json_object_get_string(value);
}

/* Consent and pins; @profile is to be freed. */
static int read_opts(struct json_object *request, struct kho_update_opts *opts,
		     struct kho_profile **profile, struct kho_error *err)
{
	struct json_object *value;
	int ret;

	if (json_object_object_get_ex(request, "allow_degraded", &value))
		opts->allow_degraded = json_object_get_boolean(value);
	if (!json_object_object_get_ex(request, "profile", &value))
		return 0;
	ret = profile_of_json(value, "control: profile", profile, err);
	if (!ret)
		opts->profile = *profile;
	return ret;
}

static void add_report(struct json_object *answer, struct kho_report *report)
{
	json_object_object_add(answer, "report", report_to_json(report));
	kho_report_free(report);
}

/* The manifest of a successor; NULL when there is none in the request. */
static int read_manifest(struct json_object *request,
			 struct kho_manifest **manifest, struct kho_error *err)
{
	struct json_object *value;
	const char *target;

	*manifest = NULL;
	if (!json_object_object_get_ex(request, "manifest", &value))
		return 0;
	target = get_string(value, "target");
	return manifest_of_json(value, *target ? target : "the successor",
				manifest, err);
}

/* Could this program hand over to one with the manifest in the request? */
static int serve_check(struct kho *kho, struct json_object *request,
		       const struct kho_update_opts *opts,
		       struct json_object *answer, struct kho_error *err)
{
	struct kho_manifest *manifest;
	struct kho_report *report;
	int ret = read_manifest(request, &manifest, err);

	if (ret)
		return ret;
	if (!manifest)
		return kho_fail(err, -EINVAL,
				"control: a check has no manifest");
	ret = kho_preflight(kho, manifest, opts, &report, err);
	kho_manifest_free(manifest);
	if (!ret)
		add_report(answer, report);
	return ret;
}

/* What the kernel does not take, by name. */
static void add_left_behind(struct json_object *answer,
			    const struct kho_named_file *files, size_t n)
{
	struct json_object *left = json_object_new_object(), *count;

	for (size_t i = 0; i < n; i++) {
		if (!files[i].error)
			continue;
		if (json_object_object_get_ex(left, files[i].name, &count))
			json_object_int_inc(count, 1);
		else
			json_object_object_add(left, files[i].name,
					       json_object_new_int(1));
	}
	json_object_object_add(answer, "left_behind", left);
}

/* Into the session that came with the request. */
static int serve_suspend(struct kho *kho, struct json_object *request,
			 int session, const struct kho_update_opts *how,
			 struct json_object *answer, struct kho_error *err)
{
	struct kho_named_file *files = NULL;
	struct kho_report *report = NULL;
	struct kho_manifest *manifest;
	size_t n = 0;
	int ret;

	if (session < 0)
		return kho_fail(err, -EINVAL,
				"control: no session came with the request");
	ret = read_manifest(request, &manifest, err);
	if (!ret)
		ret = kho_suspend(kho, session, 0,
				  &(struct kho_suspend_opts){
					  .size = sizeof(
						  struct kho_suspend_opts),
					  .to = manifest,
					  .allow_degraded = how->allow_degraded,
					  .profile = how->profile,
					  .custodian = true,
					  .report = &report,
					  .files = &files,
					  .n_files = &n,
				  },
				  err);
	kho_manifest_free(manifest);
	if (report)
		add_report(answer, report);
	if (!ret)
		add_left_behind(answer, files, n);
	kho_fdnames_free(files);
	return ret;
}

/* Whoever asked for it holds the connection until the kexec, or gives it up. */
static void wait_and_resume(struct kho *kho, int sock)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };

	while (poll(&pfd, 1, -1) < 0 && errno == EINTR)
		;
	notify_send("X_KHO_SUSPENDED=0\n");
	kho_resume(kho);
}

/* 0 when a successor has taken over. */
static int serve_update(struct kho *kho, struct json_object *request,
			struct kho_update_opts *opts,
			struct json_object *answer, struct kho_error *err)
{
	const char *program = get_string(request, "program"), **argv = NULL;
	struct kho_report *report = NULL;
	struct json_object *value;
	uint64_t frozen_us = 0;
	pid_t pid = getpid();
	int ret;

	opts->report = &report;
	opts->frozen_us = &frozen_us;
	opts->pid = &pid;
	if (program[0] != '/')
		return kho_fail(err, -EINVAL,
				"control: an update has no absolute path of a program");
	if (json_object_object_get_ex(request, "timeout_ms", &value)) {
		int64_t ms = json_object_get_int64(value);

		if (ms <= 0 || ms > INT32_MAX)
			return kho_fail(err, -EINVAL,
					"control: timeout_ms is out of range");
		opts->timeout_ms = (unsigned int)ms;
	}
	if (json_object_object_get_ex(request, "argv", &value)) {
		if (!json_object_is_type(value, json_type_array) ||
		    json_object_array_length(value) == 0 ||
		    !(argv = read_argv(value)))
			return kho_fail(err, -EINVAL,
					"control: argv is not an array of strings");
		opts->argv = (char *const *)(uintptr_t)argv;
	}
	ret = kho_update(kho, program, opts, err);
	free(argv);
	json_object_object_add(answer, "pid", json_object_new_int(pid));
	json_object_object_add(answer, "frozen_us",
			       json_object_new_uint64(frozen_us));
	if (report)
		add_report(answer, report);
	return ret;
}

/*
 * Do what @request asks for, and say in @result what came out. @fd came with it.
 */
static int serve(struct kho *kho, struct json_object *request, int fd,
		 struct json_object *answer, const char **result,
		 struct kho_error *err)
{
	const char *what = get_string(request, "request");
	struct kho_update_opts opts = { .size = sizeof(opts) };
	struct kho_profile *profile = NULL;
	int ret = read_opts(request, &opts, &profile, err);

	*result = "aborted";
	if (!ret && !strcmp(what, "check")) {
		ret = serve_check(kho, request, &opts, answer, err);
		*result = ret ? "unknown" : "checked";
	} else if (!ret && !strcmp(what, "update")) {
		ret = serve_update(kho, request, &opts, answer, err);
		*result = ret ? "aborted" : "updated";
	} else if (!ret && !strcmp(what, "suspend")) {
		ret = serve_suspend(kho, request, fd, &opts, answer, err);
		*result = ret ? "aborted" : "suspended";
	} else if (!ret) {
		ret = kho_fail(err, -EINVAL,
			       "control: request '%.40s' is not known", what);
	}
	kho_profile_free(profile);
	return ret;
}

static int handle(struct kho *kho, int sock)
{
	struct json_object *request, *answer = json_object_new_object();
	const char *result = "aborted";
	struct kho_error err = { 0 };
	int ret, fd;

	request = request_receive(sock, REQUEST_TIMEOUT_MS, &fd);
	if (!request)
		ret = kho_fail(&err, -EINVAL,
			       "control: no request that can be understood");
	else
		ret = serve(kho, request, fd, answer, &result, &err);
	/* The session is to end with whoever asked, not with us. */
	if (fd >= 0)
		close(fd);
	json_object_object_add(answer, "result",
			       json_object_new_string(result));
	json_object_object_add(answer, "errno", json_object_new_int(-ret));
	json_object_object_add(answer, "old_pid",
			       json_object_new_int(getpid()));
	if (ret)
		json_object_object_add(answer, "error",
				       json_object_new_string(err.text));
	/* Before anybody acts on it: a custodian who stops us need not wait. */
	if (!strcmp(result, "suspended"))
		notify_send("X_KHO_SUSPENDED=1\n");
	request_answer(sock, answer);
	json_object_put(answer);
	json_object_put(request);
	if (!strcmp(result, "suspended"))
		wait_and_resume(kho, sock);
	return !strcmp(result, "updated");
}

int kho_poll(struct kho *kho, int timeout_ms)
{
	struct pollfd pfd = { .fd = kho->service->fds.control,
			      .events = POLLIN };
	int sock, ret;

	/* poll() skips a negative fd, and just waits. */
	ret = poll(&pfd, 1, timeout_ms);
	if (ret <= 0)
		return ret < 0 ? -errno : 0;
	if (pfd.revents & ~POLLIN)
		return -EIO;
	sock = accept4(kho->service->fds.control, NULL, NULL,
		       SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (sock < 0)
		return errno == EAGAIN || errno == ECONNABORTED ? 0 : -errno;
	ret = handle(kho, sock);
	close(sock);
	return ret;
}
