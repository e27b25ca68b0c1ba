/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The options of the verbs, each said once, in a table. */
#ifndef TOOLS_KHO_OPTIONS_H
#define TOOLS_KHO_OPTIONS_H

#include <kho/check.h>

/*
 * struct verb_option - what one does; a table of them ends with no @name
 * @name: without "--"
 * @flag: becomes true; without, it has a value
 * @text: becomes the value
 * @ms: becomes the value, seconds such as 10 or 0.5, in milliseconds
 * @profile: becomes the one in the file that is the value; to kho_profile_free()
 * @take: takes the value to @to, or ends the command with finish()
 */
struct verb_option {
	const char *name;
	bool *flag;
	const char **text;
	unsigned int *ms;
	struct kho_profile **profile;
	void (*take)(void *to, const char *value);
	void *to;
};

/*
 * Parses these, and --help, which prints @help, and returns the words behind
 * them. It does not return when there is nothing left to do. @order: "" when
 * words can come before options, "+" when the first ends them, "-" when all
 * before "--" are for the first option, whose name is "".
 */
char **parse_options(int argc, char **argv, const char *help, const char *order,
		     const struct verb_option *options);

#endif
