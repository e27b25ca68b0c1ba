// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kho update: replaces a service's program. The old program does the work,
 * see <kho/update.h>; this asks for it and says what came out. When no program
 * runs, because it dies at each start, the supervisor is asked, after a check
 * of what is in custody.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kho/check.h>
#include <kho/update.h>

#include "check.h"
#include "kho.h"
#include "runtime.h"
#include "target.h"

/* What an update may take beyond its two timeouts: freeze, commit, answer. */
#define SLACK_MS 5000

/* After a program's sudden death: until the supervisor has seen to it. */
#define AFTERMATH_TRIES 50
#define AFTERMATH_PAUSE_US 100000

#define ANSWER_MAX (1u << 20)

#define READY_PAUSE_MS 20

static const char help[] =
	"Usage: kho update [--timeout S] [--json] NAME PROGRAM [-- ARGS...]\n"
	"\n"
	"Replaces the program of the service NAME by PROGRAM, which takes over its\n"
	"state and its open files. PROGRAM's manifest is checked against the state\n"
	"first. Whatever goes wrong, the old program serves on and nothing is lost.\n"
	"When the old program dies at each start, PROGRAM is started in its place.\n"
	"\n"
	"  --timeout S  seconds that PROGRAM has to start, and again to get ready (10)\n"
	"  --json       for programs; see docs/schemas.md, kho-update\n"
	"  --help       this text\n"
	"  -- ARGS...   PROGRAM's arguments; without --, those of the old program\n"
	"\n"
	"Exit: 0 PROGRAM serves; 1 it was refused or failed, the old one serves;\n"
	"2 cannot tell: there is no such service, PROGRAM is missing, cannot be executed\n"
	"or has no manifest, or the old program does not answer.\n"
	"\n"
	"Example: kho update cache ./cache-v2\n";

struct update {
	const char *name;
	char *program;
	char **args; /* after --, NULL: not given */
	unsigned int timeout_ms;
	bool json;
	struct service service;
	struct kho_error err;
};

/* Is the file one that could be a successor at all? Better said by us. */
static int check_program(struct update *update, const char *program)
{
	struct kho_manifest *manifest;
	int ret = program_find(program, &update->program, &update->err);

	if (!ret)
		ret = kho_manifest_open(update->program, &manifest,
					&update->err);
	if (!ret)
		kho_manifest_free(manifest);
	return ret;
}

static struct json_object *make_request(const struct update *update)
{
	struct json_object *json = must(json_object_new_object());
	struct json_object *argv;

	add_text(json, "request", "update");
	add_text(json, "program", update->program);
	add_number(json, "timeout_ms", update->timeout_ms);
	if (update->args) {
		argv = must(json_object_new_array());
		json_object_array_add(argv,
				      json_object_new_string(update->program));
		for (char **arg = update->args; *arg; arg++)
			json_object_array_add(argv,
					      json_object_new_string(*arg));
		add_json(json, "argv", argv);
	}
	return json;
}

/* What became of a service whose program went silent for good? */
static int explain_silence(struct update *update)
{
	pid_t old = update->service.pid;
	struct service now = { 0 };
	int ret = 0;

	for (int i = 0; i < AFTERMATH_TRIES; i++) {
		service_free(&now);
		ret = service_read(update->name, &now, NULL);
		if (ret || (now.pid != old && !strcmp(now.state, "serving")))
			break;
		usleep(AFTERMATH_PAUSE_US);
	}
	if (ret)
		kho_fail(&update->err, -ECONNRESET,
			 "process %d died during the update, and the service "
			 "has ended",
			 old);
	else if (now.pid == old)
		kho_fail(&update->err, -ECONNRESET,
			 "process %d hung up without an answer; it is %s", old,
			 now.state);
	else
		kho_fail(&update->err, -ECONNRESET,
			 "process %d died during the update; the service is "
			 "%s now with %s: see 'kho list'",
			 old, now.state, now.program);
	service_free(&now);
	return -ECONNRESET;
}

static int receive_answer(struct update *update, int sock,
			  struct json_object **answer)
{
	char *text = must(malloc(ANSWER_MAX + 1));
	ssize_t len = recv(sock, text, ANSWER_MAX, 0);
	int ret = len < 0 ? -errno : 0;

	if (len > 0) {
		text[len] = 0;
		*answer = json_tokener_parse(text);
		if (!json_object_is_type(*answer, json_type_object))
			ret = kho_fail(&update->err, -EBADMSG,
				       "process %d gave an answer that cannot "
				       "be understood",
				       update->service.pid);
	} else if (ret == -EAGAIN) {
		kho_fail(&update->err, ret,
			 "no answer in %.0f s: the program is busy, does not "
			 "call kho_poll(), or does not run: see 'kho list'; "
			 "an update that has begun goes on",
			 (2. * update->timeout_ms + SLACK_MS) / 1000);
	} else {
		ret = explain_silence(update);
	}
	free(text);
	return ret;
}

static int ask(struct update *update, struct json_object **answer)
{
	struct json_object *request;
	struct folder folder;
	const char *text;
	int sock, ret, size;

	ret = folder_open(&folder, update->name, &update->err);
	if (ret)
		return ret;
	sock = folder_connect(&folder, "control", SOCK_SEQPACKET,
			      2 * update->timeout_ms + SLACK_MS, &update->err);
	folder_close(&folder);
	if (sock < 0)
		return sock;
	request = make_request(update);
	text = must(
		(void *)(uintptr_t)
			json_object_to_json_string_ext(request,
						       JSON_C_TO_STRING_PLAIN));
	size = (int)strlen(text) + 4096;
	setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (send(sock, text, strlen(text), MSG_NOSIGNAL) < 0)
		ret = errno == EPIPE ? explain_silence(update) :
				       kho_fail(&update->err, -errno,
						"cannot send the request: %s",
						strerror(errno));
	else
		ret = receive_answer(update, sock, answer);
	json_object_put(request);
	close(sock);
	return ret;
}

static void read_range(struct json_object *json, const char *key,
		       struct kho_range *range)
{
	struct json_object *value = json_object_object_get(json, key);

	range->min = (uint32_t)json_object_get_int64(
		json_object_object_get(value, "min"));
	range->max = (uint32_t)json_object_get_int64(
		json_object_object_get(value, "max"));
}

static void read_text(struct json_object *json, const char *key, char *buf,
		      size_t size)
{
	const char *text =
		json_object_get_string(json_object_object_get(json, key));

	snprintf(buf, size, "%s", text ? text : "");
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
	finding->version = (uint32_t)json_object_get_int64(
		json_object_object_get(json, "version"));
	read_range(json, "writer", &finding->writer);
	read_range(json, "reader", &finding->reader);
	read_text(json, "needed_by", finding->needed_by,
		  sizeof(finding->needed_by));
	read_text(json, "reason", finding->reason, sizeof(finding->reason));
}

/* A kho-report document, for people, when it is what made it fail. */
static void print_refusal(struct json_object *json)
{
	struct json_object *array = json_object_object_get(json, "components");
	struct kho_report report = { 0 };
	char from[256], to[256];

	if (!json_object_is_type(array, json_type_array) ||
	    json_object_get_boolean(json_object_object_get(json, "compatible")))
		return;
	read_text(json, "from", from, sizeof(from));
	read_text(json, "to", to, sizeof(to));
	report.from = from;
	report.to = to;
	report.n = json_object_array_length(array);
	report.findings = must(calloc(report.n + 1, sizeof(*report.findings)));
	for (size_t i = 0; i < report.n; i++)
		read_finding(json_object_array_get_idx(array, i),
			     report.findings + i);
	kho_report_print(&report, stdout, want_color());
	free(report.findings);
}

static int get_int(struct json_object *json, const char *key)
{
	return json_object_get_int(json_object_object_get(json, key));
}

static void print_result_json(const struct update *update, const char *result,
			      struct json_object *answer)
{
	struct json_object *json = new_document("kho-update");
	struct json_object *report = json_object_object_get(answer, "report");
	bool updated = !strcmp(result, "updated");

	add_text(json, "name", update->name);
	add_text(json, "program", update->program);
	add_text(json, "result", result);
	add_number(json, "errno", updated ? 0 : (uint64_t)-update->err.code);
	add_text(json, "error", updated ? NULL : update->err.text);
	add_number(json, "old_pid", (uint64_t)update->service.pid);
	if (answer) {
		add_number(json, "pid", (uint64_t)get_int(answer, "pid"));
		add_number(json, "frozen_us",
			   json_object_get_uint64(
				   json_object_object_get(answer,
							  "frozen_us")));
	} else {
		add_text(json, "pid", NULL);
		add_text(json, "frozen_us", NULL);
	}
	json_object_object_add(json, "report", json_object_get(report));
	print_json(json);
}

/* Without an answer, or with one that says that nothing could be tried. */
static int cannot_tell(const struct update *update)
{
	if (update->json)
		print_result_json(update, "unknown", NULL);
	return fail("update: %s: %s", update->name, update->err.text);
}

static int refused(const struct update *update, struct json_object *answer)
{
	const char *why = update->err.text;

	if (update->json)
		print_result_json(update, "aborted", answer);
	else
		print_refusal(json_object_object_get(answer, "report"));
	if (!strncmp(why, "update: ", strlen("update: ")))
		why += strlen("update: ");
	if (update->service.pid)
		say("update: %s: not updated, process %d serves on: %s",
		    update->name, update->service.pid, why);
	else
		say("update: %s: nothing serves: %s", update->name, why);
	return EXIT_NO;
}

/*
 * The supervisor has started it: does it get ready? If that takes longer than
 * we wait, it may still.
 */
static int await_ready(struct update *update, struct json_object *answer)
{
	pid_t pid = get_int(answer, "pid");
	struct service now;

	for (unsigned int ms = 0; ms < 2 * update->timeout_ms;
	     ms += READY_PAUSE_MS) {
		bool serving, lives;

		if (service_read(update->name, &now, &update->err))
			return -ENOENT;
		serving = !strcmp(now.state, "serving");
		lives = now.pid == pid;
		service_free(&now);
		if (!lives)
			return kho_fail(&update->err, -ECHILD,
					"%s has ended as well, as process %d; "
					"it is tried again",
					update->program, pid);
		if (serving)
			return 0;
		usleep(READY_PAUSE_MS * 1000);
	}
	return kho_fail(&update->err, -ETIMEDOUT,
			"%s runs as process %d, but is not ready yet",
			update->program, pid);
}

static int conclude(struct update *update, struct json_object *answer)
{
	const char *result = json_object_get_string(
		json_object_object_get(answer, "result"));
	int frozen_us = get_int(answer, "frozen_us");

	/* Another update may have come first: it is not who was there before. */
	if (get_int(answer, "old_pid"))
		update->service.pid = get_int(answer, "old_pid");

	if (result && !strcmp(result, "updated") && !update->service.pid &&
	    await_ready(update, answer))
		return refused(update, answer);
	if (result && !strcmp(result, "updated")) {
		if (update->json)
			print_result_json(update, result, answer);
		else if (update->service.pid)
			printf("%s: updated to %s (pid %d -> %d), frozen %.1f ms\n",
			       update->name, update->program,
			       update->service.pid, get_int(answer, "pid"),
			       frozen_us / 1000.);
		else
			printf("%s: updated to %s (pid %d), nothing ran before\n",
			       update->name, update->program,
			       get_int(answer, "pid"));
		return EXIT_YES;
	}
	update->err.code = -get_int(answer, "errno");
	read_text(answer, "error", update->err.text, sizeof(update->err.text));
	return refused(update, answer);
}

/*
 * Nothing runs that could check PROGRAM against the state. 0: it can read it;
 * 1: it cannot, and that was said, the exit code is in @code.
 */
static int check_custody(struct update *update, int *code)
{
	struct kho_report *report = NULL;
	struct kho_manifest *manifest;
	struct json_object *answer;
	char *text;
	int ret = kho_manifest_open(update->program, &manifest, &update->err);

	if (!ret) {
		ret = check_service(update->name, manifest, &report,
				    &update->err);
		kho_manifest_free(manifest);
	}
	if (ret || report->compatible) {
		kho_report_free(report);
		return ret;
	}
	answer = must(json_object_new_object());
	text = must(kho_report_json(report));
	add_json(answer, "report", must(json_tokener_parse(text)));
	add_number(answer, "pid", 0);
	kho_fail(&update->err, -EPROTONOSUPPORT,
		 "%s cannot take the state over", update->program);
	*code = refused(update, answer);
	json_object_put(answer);
	free(text);
	kho_report_free(report);
	return 1;
}

static int parse(struct update *update, int argc, char **argv)
{
	static const struct option options[] = {
		{ "timeout", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--")) {
			update->args = argv + i + 1;
			argv[i] = NULL;
			argc = i;
		}
	}
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'j') {
			update->json = true;
		} else if (c == 'h') {
			fputs(help, stdout);
			return -1;
		} else if (c != 't') {
			return fail_option("update", c, argv);
		} else if (!parse_seconds(optarg, &update->timeout_ms)) {
			return fail_usage("update",
					  "--timeout %s is not a number of seconds",
					  optarg);
		}
	}
	if (argc - optind > 2)
		return fail_usage("update",
				  "%s: PROGRAM's arguments come after --",
				  argv[optind + 2]);
	if (argc - optind < 2)
		return fail_usage("update", "it takes NAME and PROGRAM");
	return 0;
}

int cmd_update(int argc, char **argv)
{
	struct update update = { .timeout_ms = KHO_UPDATE_TIMEOUT };
	struct json_object *answer = NULL;
	int code = EXIT_UNKNOWN;
	int ret = parse(&update, argc, argv);

	if (ret)
		return ret < 0 ? EXIT_YES : ret;
	update.name = argv[optind];
	ret = service_read(update.name, &update.service, &update.err);
	if (!ret)
		ret = check_program(&update, argv[optind + 1]);
	if (!ret && !update.service.pid)
		ret = check_custody(&update, &code);
	if (!ret)
		ret = ask(&update, &answer);
	if (ret < 0)
		code = cannot_tell(&update);
	else if (!ret)
		code = conclude(&update, answer);
	json_object_put(answer);
	service_free(&update.service);
	free(update.program);
	return code;
}
