// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho: the command. Finds the verb. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "kho.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *args;
	const char *summary;
} verbs[] = {
	{ "abi", cmd_abi, "[--diff OLD [NEW]]",
	  "component, version, layout fingerprint" },
	{ "check", cmd_check, "FROM TO", "can FROM hand over to TO" },
	{ "inspect", cmd_inspect, "STATE", "the state tree and its memory" },
	{ "kexec", cmd_kexec, "IMAGE", "into another kernel, if it can" },
	{ "list", cmd_list, "", "what is in custody" },
	{ "manifest", cmd_manifest, "TARGET...", "what it can write and read" },
	{ "matrix", cmd_matrix, "TARGET...", "everyone to everyone" },
	{ "plan", cmd_plan, "FROM TO --via TARGET...",
	  "a chain of updates when there is no direct one" },
	{ "run", cmd_run, "[--name N] -- PROGRAM [ARGS]",
	  "keep a program's state in custody" },
	{ "update", cmd_update, "NAME PROGRAM",
	  "replace a program, keep its state" },
	{ "verify", cmd_verify, "STATE", "is every page accounted for" },
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void help(void)
{
	printf("Usage: kho VERB [ARGUMENTS]\n\n"
	       "Replaces running programs without losing what they hold in memory.\n\n");
	for (size_t i = 0; i < VERBS; i++)
		printf("  %-9s%-30s%s\n", verbs[i].name, verbs[i].args,
		       verbs[i].summary);
	printf("\n"
	       "TARGET  a program's file, a kernel image, a manifest (JSON), the NAME of a\n"
	       "        service in custody, or running, the kernel\n"
	       "STATE   NAME, an arena's file, pid:PID[:FD], the memory of a machine\n"
	       "        (a dump, /proc/kcore, a raw image), or running\n\n"
	       "Exit: 0 yes, 1 no, 2 cannot tell (usage, unreadable, not found), 3 degraded.\n"
	       "'kho VERB --help' says more.\n\n"
	       "Example:\n"
	       "  kho run --name cache -- ./cache-v1 &\n"
	       "  kho update cache ./cache-v2\n");
}

/* Letters to insert, delete or replace to get from @a to @b. */
static size_t distance(const char *a, const char *b)
{
	size_t row[32];
	size_t n = strlen(b);

	if (n >= sizeof(row) / sizeof(row[0]) || strlen(a) > 2 * n)
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

static int unknown_verb(const char *name)
{
	const char *near = NULL;
	size_t least = 3;

	for (size_t i = 0; i < VERBS; i++) {
		size_t d = distance(name, verbs[i].name);

		if (d < least && d < strlen(verbs[i].name)) {
			least = d;
			near = verbs[i].name;
		}
	}
	if (near)
		return fail("%s: unknown verb: did you mean 'kho %s'?", name,
			    near);
	return fail("%s: unknown verb: see 'kho --help'", name);
}

static int dispatch(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name)
		return fail("no verb given: see 'kho --help'");
	if (!strcmp(name, "--help") || !strcmp(name, "-h") ||
	    !strcmp(name, "help")) {
		help();
		return EXIT_YES;
	}
	if (!strcmp(name, "--version")) {
		puts("kho " PROJECT_VERSION);
		return EXIT_YES;
	}
	if (name[0] == '-')
		return fail("unknown option %s: see 'kho --help'", name);
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(name, verbs[i].name))
			return verbs[i].run(argc - 1, argv + 1);
	return unknown_verb(name);
}

/* What is written beyond RLIMIT_FSIZE fails, and somebody says so. */
static void file_too_large(int sig)
{
	(void)sig;
}

int main(int argc, char **argv)
{
	/* Not ignored, which the programs that it starts would inherit. */
	signal(SIGXFSZ, file_too_large);
	finish(dispatch(argc, argv));
}
