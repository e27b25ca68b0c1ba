// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The options of the verbs. */
#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "kho.h"
#include "options.h"

/* What getopt_long() returns for the first of them: no letter. */
#define FIRST 256

/* More than a verb has, with --help and the end. */
#define MAX 16

/* What getopt_long() did not like: @c is '?' or ':'. */
static int fail_option(const char *verb, int c, const char *last)
{
	if (c == ':')
		return fail_usage(verb, "option %s needs a value", last);
	if (optopt && strncmp(last, "--", 2))
		return fail_usage(verb, "unknown option -%c", optopt);
	return fail_usage(verb, "unknown option %s", last);
}

/* Reads seconds into milliseconds; false when it is none. */
static bool parse_seconds(const char *text, unsigned int *ms)
{
	char *end;
	double seconds;

	if (!strchr("0123456789.", text[0]))
		return false;
	seconds = strtod(text, &end);
	if (end == text || *end || !(seconds >= 0.001 && seconds <= 86400))
		return false;
	*ms = (unsigned int)(seconds * 1000);
	return true;
}

static void take(const char *verb, const struct verb_option *option,
		 const char *value)
{
	struct kho_error err;

	if (option->flag) {
		*option->flag = true;
	} else if (option->text) {
		*option->text = value;
	} else if (option->take) {
		option->take(option->to, value);
	} else if (option->profile) {
		kho_profile_free(*option->profile);
		if (kho_profile_open(value, option->profile, &err))
			finish(fail("%s: %s", verb, err.text));
	} else if (!parse_seconds(value, option->ms)) {
		finish(fail_usage(verb, "--%s %s is not a number of seconds",
				  option->name, value));
	}
}

char **parse_options(int argc, char **argv, const char *help, const char *order,
		     const struct verb_option *options)
{
	struct option known[MAX] = { { "help", no_argument, NULL, 'h' } };
	const struct verb_option *named = options + (order[0] == '-');
	char letters[4];
	int c;

	for (int i = 0; named[i].name; i++) {
		assert(i + 2 < MAX);
		known[i + 1] = (struct option){ named[i].name, !named[i].flag,
						NULL, FIRST + i };
	}
	snprintf(letters, sizeof(letters), "%s:h", order);
	while ((c = getopt_long(argc, argv, letters, known, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			finish(EXIT_YES);
		}
		/* 1: a word, with the order "-". */
		if (c != 1 && c < FIRST)
			finish(fail_option(argv[0], c, argv[optind - 1]));
		take(argv[0], c == 1 ? options : &named[c - FIRST], optarg);
	}
	return argv + optind;
}
