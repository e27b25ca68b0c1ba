// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kho update: replaces a service's program. The old program does the work,
 * see <kho/update.h>; this asks for it and says what came out. When no program
 * runs, because it dies at each start, the supervisor is asked, after a check
 * of what is in custody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/check.h>
#include <kho/image.h>
#include <kho/update.h>

#include "control-ask.h"
#include "check.h"
#include "kho.h"
#include "options.h"
#include "service.h"
#include "target.h"

/* What an update may take beyond its two timeouts: freeze, commit, answer. */
#define SLACK_MS 5000

#define READY_PAUSE_MS 20

static const char help[] =
	"Usage: kho update [--timeout S] [--allow-degraded] [--profile FILE] [--json]\n"
	"                  NAME PROGRAM [-- ARGS...]\n"
	"\n"
	"Replaces the program of the service NAME by PROGRAM, which takes over its\n"
	"state and its open files. PROGRAM's manifest is checked against the state\n"
	"first: both agree on the highest version of each component that the one can\n"
	"write and the other can read. Whatever goes wrong, the old program serves on\n"
	"and nothing is lost.\n"
	"When the old program dies at each start, PROGRAM is started in its place.\n"
	"\n"
	"  --timeout S       seconds that PROGRAM has to start, and again to get ready\n"
	"                    (10)\n"
	"  --allow-degraded  consent that PROGRAM goes on without optional components\n"
	"                    that it cannot read; they are carried along for one that can\n"
	"  --profile FILE    write the versions that the profile pins\n"
	"  --json            for programs; see docs/schemas.md, kho-update\n"
	"  --help            this text\n"
	"  -- ARGS...        PROGRAM's arguments; without --, those of the old program\n"
	"\n"
	"Exit: 0 PROGRAM serves; 1 it was refused or failed, the old one serves;\n"
	"2 cannot tell: there is no such service, PROGRAM is missing, cannot be executed\n"
	"or has no manifest, or the old program does not answer; 3 PROGRAM serves,\n"
	"without optional components.\n"
	"\n"
	"Example: kho update cache ./cache-v2\n";

struct update {
	const char *name;
	const char *given; /* PROGRAM */
	char *program;
	char **args; /* after --, NULL: not given */
	unsigned int timeout_ms;
	struct kho_check_opts how; /* consent and pins */
	struct kho_profile *profile; /* to free */
	bool json;
	struct service service;
	struct kho_error err;
};

/* Is the file one that could be a successor at all? Better said by us. */
static int check_program(struct update *update)
{
	struct kho_manifest *manifest;
	int ret = program_find(update->given, &update->program, &update->err);

	if (!ret)
		ret = kho_target_open(update->program, &manifest, &update->err);
	if (!ret)
		kho_manifest_free(manifest);
	return ret;
}

static struct json_object *make_request(const struct update *update)
{
	struct json_object *argv,
		*json = json_make(J("request", "update"),
				  J("program", update->program),
				  J("timeout_ms", update->timeout_ms));

	add_consent(json, &update->how);
	if (update->args) {
		argv = new_array();
		push_json(argv, json_of_string(update->program));
		for (char **arg = update->args; *arg; arg++)
			push_json(argv, json_of_string(*arg));
		json_add(json, J("argv", argv));
	}
	return json;
}

/* A number of an answer, 0 when it has none; null without an answer. */
static struct json_object *number_of(struct json_object *answer,
				     const char *key)
{
	struct json_object *number = get_json(answer, key);

	return answer ? json_of_number(json_object_get_uint64(number)) : NULL;
}

static void print_result_json(const struct update *update, const char *result,
			      struct json_object *answer)
{
	struct json_object *json = new_document("kho-update");
	struct json_object *report = get_json(answer, "report");
	bool updated = !strcmp(result, "updated");

	json_add(json, J("name", update->name), J("program", update->program),
		 J("result", result),
		 J("errno", updated ? 0 : (uint64_t)-update->err.code),
		 J("error", updated ? NULL : update->err.text),
		 J("old_pid", (uint64_t)update->service.pid),
		 J("pid", number_of(answer, "pid")),
		 J("frozen_us", number_of(answer, "frozen_us")),
		 J("report", json_object_get(report)));
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
	struct json_object *report = report_in(answer);
	const char *why = update->err.text;
	char *what = update->service.pid ?
			     format("not updated, process %d serves on",
				    update->service.pid) :
			     format("nothing serves");

	if (update->json)
		print_result_json(update, "aborted", answer);
	if (!strncmp(why, "update: ", strlen("update: ")))
		why += strlen("update: ");
	if (!report || report_outcome(report) != KHO_OUTCOME_INCOMPATIBLE) {
		say("update: %s: %s: %s", update->name, what, why);
	} else {
		/* The report has the reason. */
		if (!update->json)
			report_print(report);
		say("update: %s: %s", update->name, what);
	}
	free(what);
	return EXIT_NO;
}

static int ask(struct update *update, struct json_object **answer)
{
	struct json_object *request = make_request(update);
	int ret = ask_program(&update->service, request,
			      2 * update->timeout_ms + SLACK_MS, answer,
			      &update->err);

	json_object_put(request);
	if (ret == -EAGAIN)
		strncat(update->err.text, "; an update that has begun goes on",
			sizeof(update->err.text) - strlen(update->err.text) -
				1);
	return ret;
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
					"%s has ended as well, as process %d; it is tried again",
					update->program, pid);
		if (serving)
			return 0;
		usleep(READY_PAUSE_MS * 1000);
	}
	return kho_fail(&update->err, -ETIMEDOUT,
			"%s runs as process %d, but is not ready yet",
			update->program, pid);
}

/* PROGRAM serves: does it go without something? */
static int updated(const struct update *update, struct json_object *answer)
{
	struct json_object *report = report_in(answer);
	bool degraded = report &&
			report_outcome(report) == KHO_OUTCOME_DEGRADED;
	int frozen_us = get_int(answer, "frozen_us");

	if (update->json)
		print_result_json(update, "updated", answer);
	else if (update->service.pid)
		print_line("%s: updated to %s (pid %d -> %d), frozen %.1f ms",
			   update->name, update->program, update->service.pid,
			   get_int(answer, "pid"), frozen_us / 1000.);
	else
		print_line("%s: updated to %s (pid %d), nothing ran before",
			   update->name, update->program,
			   get_int(answer, "pid"));
	for (size_t i = 0; degraded && i < report_n(report); i++) {
		struct json_object *finding = report_get(report, i);

		if (finding_verdict(finding) == KHO_DROPPED)
			say("update: %s: degraded: %s: %s", update->name,
			    get_text(finding, "name"),
			    get_text(finding, "reason"));
	}
	return degraded ? EXIT_DEGRADED : EXIT_YES;
}

static int conclude(struct update *update, struct json_object *answer)
{
	/* Another update may have come first: it is not who was there before. */
	if (get_int(answer, "old_pid"))
		update->service.pid = get_int(answer, "old_pid");

	if (!strcmp(get_text(answer, "result"), "updated"))
		return update->service.pid || !await_ready(update, answer) ?
			       updated(update, answer) :
			       refused(update, answer);
	kho_fail(&update->err, -get_int(answer, "errno"), "%s",
		 get_text(answer, "error"));
	return refused(update, answer);
}

/*
 * Nothing runs that could check PROGRAM against the state. 0: it can read it;
 * 1: it cannot, and that was said, the exit code is in @code.
 */
static int check_custody(struct update *update, int *code)
{
	struct json_object *report = NULL, *answer;
	struct kho_manifest *manifest;
	int ret = kho_target_open(update->program, &manifest, &update->err);

	if (!ret) {
		ret = check_service(update->name, manifest, &update->how,
				    &report, &update->err);
		kho_manifest_free(manifest);
	}
	if (ret || report_outcome(report) != KHO_OUTCOME_INCOMPATIBLE) {
		json_object_put(report);
		return ret;
	}
	answer = json_make(J("report", report), J("pid", 0));
	kho_fail(&update->err, -EPROTONOSUPPORT,
		 "%s cannot take the state over", update->program);
	*code = refused(update, answer);
	json_object_put(answer);
	return 1;
}

static int parse(struct update *update, int argc, char **argv)
{
	const struct verb_option options[] = {
		{ "timeout", .ms = &update->timeout_ms },
		{ "allow-degraded", .flag = &update->how.allow_degraded },
		{ "profile", .profile = &update->profile },
		{ "json", .flag = &update->json },
		{},
	};
	char **words;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--")) {
			update->args = argv + i + 1;
			argv[i] = NULL;
			argc = i;
		}
	}
	words = parse_options(argc, argv, help, "", options);
	update->how.profile = update->profile;
	if (!words[0] || !words[1])
		return fail_usage("update", "it takes NAME and PROGRAM");
	if (words[2])
		return fail_usage("update",
				  "%s: PROGRAM's arguments come after --",
				  words[2]);
	update->name = words[0];
	update->given = words[1];
	return 0;
}

int cmd_update(int argc, char **argv)
{
	struct update update = { .how.size = sizeof(struct kho_check_opts),
				 .timeout_ms = KHO_UPDATE_TIMEOUT };
	struct json_object *answer = NULL;
	int code = EXIT_UNKNOWN;
	int ret = parse(&update, argc, argv);

	if (ret)
		return ret;
	ret = service_read(update.name, &update.service, &update.err);
	if (!ret)
		ret = check_program(&update);
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
	kho_profile_free(update.profile);
	free(update.program);
	return code;
}
