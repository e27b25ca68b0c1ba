// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho check: can one program hand over to the other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/check.h>

#include "control-ask.h"
#include "check.h"
#include "jump.h"
#include "kho.h"
#include "options.h"
#include "service.h"
#include "arena.h"
#include "target.h"

/* How long a running program may take to answer; then we look ourselves. */
#define ASK_TIMEOUT_MS 5000

static const char help[] =
	"Usage: kho check [--allow-degraded] [--profile FILE] [--json] FROM TO\n"
	"       kho check [--cmdline TEXT | --reuse-cmdline] [--append TEXT]\n"
	"                 [--initrd FILE] running IMAGE\n"
	"\n"
	"Says whether FROM can hand its state over to TO, and in which versions. Nothing\n"
	"is handed over and nothing changes.\n"
	"\n"
	"FROM and TO are programs (files, or in PATH), kernel images, manifests (JSON),\n"
	"NAMEs in custody, or running, the kernel. When FROM is a service, what its\n"
	"arena really contains is checked, and its program is asked whether it can write\n"
	"that; otherwise all that it could write.\n"
	"\n"
	"  --allow-degraded  consent that TO goes on without optional components that it\n"
	"                    cannot read\n"
	"  --profile FILE    write the versions that the profile pins\n"
	"  --json            for programs; see docs/schemas.md, kho-report\n"
	"  --help            this text\n"
	"\n"
	"Whether a kernel takes over is decided by its command line too: without that\n"
	"kho cannot tell. What kho kexec is to be told:\n"
	"\n" JUMP_HELP "\n"
	"Exit: 0 it can, 1 it cannot, 2 cannot tell, 3 it can, without optional\n"
	"components.\n"
	"\n"
	"Example: kho check cache ./cache-v2\n"
	"         kho check --reuse-cmdline running /boot/vmlinuz\n";

/*
 * Besides what is in the state tree, the successor has to read the arena itself
 * and to speak the handover's language, as the running program writes them.
 * When none runs, there is no conversation: @from is NULL.
 */
static void add_surroundings(const struct kho_manifest *from,
			     const struct snapshot *snapshot,
			     struct kho_used *used, size_t *n)
{
	const struct kho_manifest_entry *update =
		from ? kho_manifest_find(from, "update") : NULL;

	used[*n] = (struct kho_used){
		.owner = "the arena",
		.composite = { 1, { { "arena", snapshot->info.version } } },
	};
	(*n)++;
	if (!update)
		return;
	used[*n] = (struct kho_used){
		.owner = "the handover",
		.composite = { 1, { { "update", update->desc.write.max } } },
	};
	(*n)++;
}

static int check_snapshot(const struct service *from,
			  const struct snapshot *snapshot,
			  const struct kho_manifest *to,
			  const struct kho_check_opts *opts,
			  struct json_object **report, struct kho_error *err)
{
	struct kho_manifest *running = NULL;
	struct kho_report *result;
	struct kho_used *used;
	size_t n = snapshot->n_used;
	int ret = from->pid ? target_manifest(from->name, &running, err) : 0;

	if (ret)
		return ret;
	used = must(calloc(n + 2, sizeof(*used)));
	memcpy(used, snapshot->used, n * sizeof(*used));
	add_surroundings(running, snapshot, used, &n);
	if (kho_check_state(used, n, from->name, running, to, opts, &result,
			    NULL))
		must(NULL);
	*report = report_json(result);
	free(used);
	kho_manifest_free(running);
	return 0;
}

int check_outside(const struct service *from, const struct kho_manifest *to,
		  const struct kho_check_opts *opts,
		  struct json_object **report, struct kho_error *err)
{
	int fd = service_arena(from, err), ret;
	struct snapshot snapshot;

	if (fd < 0)
		return fd;
	ret = snapshot_read(fd, SNAPSHOT_USED, &snapshot, err);
	close(fd);
	if (ret)
		return ret;
	ret = check_snapshot(from, &snapshot, to, opts, report, err);
	snapshot_free(&snapshot);
	return ret;
}

/* The running program knows best: what is there now, can it write that? */
static int check_inside(const struct service *from,
			const struct kho_manifest *to,
			const struct kho_check_opts *opts,
			struct json_object **report, struct kho_error *err)
{
	struct json_object *request =
		json_make(J("request", "check"),
			  J("manifest", json_of_text(kho_manifest_json(to))));
	struct json_object *answer = NULL;
	int ret;

	add_consent(request, opts);
	ret = ask_program(from, request, ASK_TIMEOUT_MS, &answer, err);
	json_object_put(request);
	if (ret)
		return ret;
	*report = json_object_get(report_in(answer));
	if (*report)
		json_add(*report, J("from", from->name));
	else
		ret = kho_fail(err, -EBADMSG, "%s", get_text(answer, "error"));
	json_object_put(answer);
	return ret;
}

int check_service(const char *name, const struct kho_manifest *to,
		  const struct kho_check_opts *opts,
		  struct json_object **report, struct kho_error *err)
{
	struct kho_error why;
	struct service from;
	int ret = service_read(name, &from, err);

	if (ret)
		return ret;
	ret = from.pid ? check_inside(&from, to, opts, report, &why) : -ENOENT;
	if (ret) {
		if (from.pid)
			say("check: %s: what its program would say is not known: %s",
			    name, why.text);
		ret = check_outside(&from, to, opts, report, err);
	}
	service_free(&from);
	return ret;
}

static bool jump_given(const struct jump *jump)
{
	return jump->cmdline || jump->initrd;
}

static int check_file(const char *from, const struct kho_manifest *to,
		      const struct kho_check_opts *opts,
		      const struct jump *jump, struct json_object **report,
		      struct kho_error *err)
{
	bool here = !strcmp(from, "running");
	struct kho_manifest *manifest;
	struct kho_report *result;
	int ret = target_manifest(from, &manifest, err);

	if (ret)
		return ret;
	if (kho_check_manifests(manifest, to, opts, &result, NULL))
		must(NULL);
	if (here || jump_given(jump))
		jump_judge(jump, here ? JUMP_HERE : JUMP_ELSEWHERE, manifest,
			   to, result);
	*report = report_json(result);
	kho_manifest_free(manifest);
	return 0;
}

static int check(char **argv, const struct kho_check_opts *opts,
		 const struct jump *jump, bool json)
{
	struct kho_manifest *to;
	struct json_object *report;
	struct kho_error err;
	int ret;

	if (target_manifest(argv[1], &to, &err))
		return fail("check: %s", err.text);
	if (jump_given(jump) && (!to->image || is_service(argv[0])))
		ret = kho_fail(&err, -EINVAL,
			       "a command line and an initrd are for kernels, FROM and TO");
	else if (is_service(argv[0]))
		ret = check_service(argv[0], to, opts, &report, &err);
	else
		ret = check_file(argv[0], to, opts, jump, &report, &err);
	kho_manifest_free(to);
	if (ret)
		return fail("check: %s", err.text);
	ret = report_exit(report);
	if (json)
		print_json(json_object_get(report));
	else
		report_print(report);
	json_object_put(report);
	return ret;
}

int cmd_check(int argc, char **argv)
{
	struct kho_check_opts opts = { .size = sizeof(opts) };
	struct kho_profile *profile = NULL;
	struct jump jump = { 0 };
	bool json = false;
	const struct verb_option options[] = {
		{ "allow-degraded", .flag = &opts.allow_degraded },
		{ "profile", .profile = &profile },
		{ "json", .flag = &json },
		JUMP_OPTIONS(&jump),
		{},
	};
	char **words = parse_options(argc, argv, help, "", options);
	struct kho_error err;
	int code;

	opts.profile = profile;
	if (!words[0] || !words[1] || words[2])
		code = fail_usage("check", "it takes FROM and TO");
	else if (jump_prepare(&jump, &err))
		code = fail("check: %s", err.text);
	else
		code = check(words, &opts, &jump, json);
	jump_free(&jump);
	kho_profile_free(profile);
	return code;
}
