// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho check: can one program hand over to the other. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <kho/check.h>

#include "check.h"
#include "kho.h"
#include "runtime.h"
#include "state.h"
#include "target.h"

static const char help[] =
	"Usage: kho check [--json] FROM TO\n"
	"\n"
	"Says whether FROM can hand its state over to TO. Nothing is run and nothing\n"
	"changes.\n"
	"\n"
	"FROM and TO are programs' files, or NAMEs of services in custody. When FROM is\n"
	"a service, what its arena really contains is checked; when it is a file, all\n"
	"that the program could write.\n"
	"\n"
	"  --json  for programs; see docs/schemas.md, kho-report\n"
	"  --help  this text\n"
	"\n"
	"Exit: 0 it can, 1 it cannot, 2 cannot tell.\n"
	"\n"
	"Example: kho check cache ./cache-v2\n";

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

static int check_snapshot(const char *from, bool runs,
			  const struct snapshot *snapshot,
			  const struct kho_manifest *to,
			  struct kho_report **report, struct kho_error *err)
{
	struct kho_manifest *running = NULL;
	struct kho_used *used = NULL;
	size_t n;
	int ret = runs ? target_manifest(from, &running, err) : 0;

	if (ret)
		return ret;
	ret = kho_state_used(snapshot->state, &used, &n, err);
	if (!ret) {
		used = must(realloc(used, (n + 2) * sizeof(*used)));
		add_surroundings(running, snapshot, used, &n);
		ret = kho_check_state(used, n, from, to, report);
		if (ret)
			kho_fail(err, ret, "out of memory");
	}
	free(used);
	kho_manifest_free(running);
	return ret;
}

int check_service(const char *from, const struct kho_manifest *to,
		  struct kho_report **report, struct kho_error *err)
{
	struct snapshot snapshot;
	struct service service;
	int fd = state_open(from, err);
	bool runs;
	int ret;

	if (fd < 0)
		return fd;
	ret = service_read(from, &service, err);
	if (!ret) {
		runs = service.pid;
		service_free(&service);
		ret = snapshot_read(fd, false, &snapshot, err);
	}
	close(fd);
	if (ret)
		return ret;
	ret = check_snapshot(from, runs, &snapshot, to, report, err);
	snapshot_free(&snapshot);
	return ret;
}

static int check_file(const char *from, const struct kho_manifest *to,
		      struct kho_report **report, struct kho_error *err)
{
	struct kho_manifest *manifest;
	int ret = target_manifest(from, &manifest, err);

	if (ret)
		return ret;
	ret = kho_check_manifests(manifest, to, report);
	if (ret)
		kho_fail(err, ret, "out of memory");
	kho_manifest_free(manifest);
	return ret;
}

static void print_report_json(const struct kho_report *report)
{
	char *text = must(kho_report_json(report));

	print_json(must(json_tokener_parse(text)));
	free(text);
}

int cmd_check(int argc, char **argv)
{
	struct verb_options options = { 0 };
	struct kho_manifest *to;
	struct kho_report *report;
	struct kho_error err;
	int ret;

	if (!parse_options("check", help, argc, argv, &options))
		return options.code;
	argv += optind;
	if (argc - optind != 2)
		return fail_usage("check", "it takes FROM and TO");
	if (target_manifest(argv[1], &to, &err))
		return fail("check: %s", err.text);
	if (is_service(argv[0]))
		ret = check_service(argv[0], to, &report, &err);
	else
		ret = check_file(argv[0], to, &report, &err);
	kho_manifest_free(to);
	if (ret)
		return fail("check: %s", err.text);
	if (options.json)
		print_report_json(report);
	else
		kho_report_print(report, stdout, want_color());
	ret = report->compatible ? EXIT_YES : EXIT_NO;
	kho_report_free(report);
	return ret;
}
