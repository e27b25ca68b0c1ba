// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* What is to be said about a state: damage, and what cannot be known. */
#include <stdlib.h>

#include "kho.h"
#include "state-problems.h"

void problems_add_text(struct problems *problems, enum severity severity,
		       char *text)
{
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

/* To free(); NULL: there is nothing wrong. */
static char *wrong_with(const struct memory *memory,
			const struct accounted *pages)
{
	const struct use *use =
		pages->use == NO_USE ? NULL : &memory->uses[pages->use];

	switch (pages->account) {
	case UNREACHED:
		return format("preserved, but nothing leads there");
	case UNPRESERVED:
		return format("not preserved: %s of %s", use->what, use->owner);
	case SHARED:
		return format("in use twice: %s of %s and %s of %s", use->what,
			      use->owner, memory->uses[pages->other].what,
			      memory->uses[pages->other].owner);
	case PRESERVED_TWICE:
		return format("preserved twice, in two folios");
	case PRESERVED_KEPT:
		return format("preserved, although it is the %s", use->what);
	case ACCOUNTED:
		break;
	}
	return NULL;
}

void problems_add_pages(struct problems *problems, const struct memory *memory,
			const struct accounted *pages)
{
	char *wrong = wrong_with(memory, pages);

	if (wrong)
		problems_add(problems, DAMAGE, "%#lx: %s (pages: %lu)",
			     pages->first << memory->page_shift, wrong,
			     pages->end - pages->first);
	free(wrong);
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
