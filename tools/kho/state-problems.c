// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* What is to be said about a state: damage, and what cannot be known. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "kho.h"
#include "state-problems.h"

void problems_add(struct problems *problems, enum severity severity,
		  const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	text = vformat(fmt, ap);
	va_end(ap);
	*append(problems->list, problems->n) =
		(struct problem){ severity, text };
}

void problems_free(struct problems *problems)
{
	for (size_t i = 0; i < problems->n; i++)
		free(problems->list[i].text);
	free(problems->list);
	*problems = (struct problems){ 0 };
}

size_t problems_count(const struct problems *problems, enum severity severity)
{
	size_t n = 0;

	for (size_t i = 0; i < problems->n; i++)
		n += problems->list[i].severity == severity;
	return n;
}

void problems_add_pages(struct problems *problems, const struct memory *memory,
			const struct accounted *pages)
{
	const struct use *use =
		pages->use == NO_USE ? NULL : &memory->uses[pages->use];
	uint64_t phys = pages->first << memory->page_shift;
	uint64_t n = pages->end - pages->first;

	switch (pages->account) {
	case ACCOUNTED:
		break;
	case UNREACHED:
		problems_add(problems, DAMAGE,
			     "%#lx: preserved, but nothing leads there (pages: %lu)",
			     phys, n);
		break;
	case UNPRESERVED:
		problems_add(problems, DAMAGE,
			     "%#lx: not preserved: %s of %s (pages: %lu)", phys,
			     use->what, use->owner, n);
		break;
	case SHARED:
		problems_add(problems, DAMAGE,
			     "%#lx: in use twice: %s of %s and %s of %s (pages: %lu)",
			     phys, use->what, use->owner,
			     memory->uses[pages->other].what,
			     memory->uses[pages->other].owner, n);
		break;
	case PRESERVED_TWICE:
		problems_add(problems, DAMAGE,
			     "%#lx: preserved twice, in two folios (pages: %lu)",
			     phys, n);
		break;
	case PRESERVED_KEPT:
		problems_add(problems, DAMAGE,
			     "%#lx: preserved, although it is the %s (pages: %lu)",
			     phys, use->what, n);
		break;
	}
}

struct json_object *problems_json(const struct problems *problems)
{
	static const char *const severities[] = { "note", "unknown", "damage" };
	struct json_object *json = new_array();

	for (size_t i = 0; i < problems->n; i++) {
		const struct problem *problem = &problems->list[i];

		push_json(json, json_make(J("severity",
					    severities[problem->severity]),
					  J("text", problem->text)));
	}
	return json;
}
