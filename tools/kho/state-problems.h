/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What is to be said about a state: damage, and what cannot be known. */
#ifndef TOOLS_KHO_PROBLEMS_H
#define TOOLS_KHO_PROBLEMS_H

#include <stddef.h>

#include "memory.h"

struct json_object;

enum severity {
	NOTE, /* nothing is wrong */
	UNKNOWN, /* something cannot be judged from here */
	DAMAGE,
};

/* In one line. */
struct problem {
	enum severity severity;
	char *text;
};

struct problems {
	size_t n;
	struct problem *list;
};

/* As for printf(). */
#define problems_add(problems, severity, ...)                                  \
	problems_add_text(problems, severity, format(__VA_ARGS__))
void problems_add_text(struct problems *problems, enum severity severity,
		       char *text);
void problems_free(struct problems *problems);

/* How many are so severe. */
size_t problems_count(const struct problems *problems, enum severity severity);

/* Says what is wrong with pages, when something is. */
void problems_add_pages(struct problems *problems, const struct memory *memory,
			const struct accounted *pages);

/* An array of objects with "severity" and "text". */
struct json_object *problems_json(const struct problems *problems);

#endif
