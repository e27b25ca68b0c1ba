// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Many programs at once.
 *
 * What can be known of a class alone is prepared when it comes: its closure,
 * pins included, and a number for each name. A pair of classes is then one walk
 * along two short lists in the order of these numbers; the rules that it
 * applies are those of closure.c.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include <kho/fleet.h>

#include "base/opts.h"
#include "compat/closure.h"
#include "compat/manifest.h"

/* More than any number of steps, of classes, of failing parts. */
#define NONE SIZE_MAX

/* Farther apart than any two versions: no version would do. */
#define APART (UINT64_C(1) << 32)

/**
 * struct name - a component's name and its number
 * @name: of the component
 * @number: from 0, in the order in which names came
 */
struct name {
	char name[KHO_TOKEN_NAME_SIZE];
	uint32_t number;
};

/**
 * struct piece - what judge() needs of a part
 * @number: of its name
 * @required: an owner needs it that is not optional
 * @part: its index in the closure
 * @offer: what can be written of it
 */
struct piece {
	uint32_t number;
	bool required;
	size_t part;
	struct offer offer;
};

/**
 * struct readable - what a class reads of a component
 * @number: of its name
 * @read: versions
 */
struct readable {
	uint32_t number;
	struct kho_range read;
};

/**
 * struct class - manifests that say the same
 * @manifest: the first of them
 * @index: in the fleet
 * @closure: what it has in use
 * @pieces: one for each of the closure's parts, by number
 * @readables: one for each component it knows, by number; then one with a
 *             number that no name has
 */
struct class
{
	const struct kho_manifest *manifest;
	size_t index;
	struct closure closure;
	struct piece *pieces;
	struct readable *readables;
};

/**
 * struct kho_fleet
 * @allow_degraded: consent
 * @profile: pins, or NULL
 * @names: tree of struct name
 * @n_names: in it
 * @tree: of struct class, by what they say
 * @n: classes
 * @room: for so many in @classes
 * @classes: by index
 * @judgements: room for those of the largest closure
 * @n_judgements: so many
 */
struct kho_fleet {
	bool allow_degraded;
	const struct kho_profile *profile;
	void *names;
	uint32_t n_names;
	void *tree;
	size_t n;
	size_t room;
	struct class **classes;
	struct judgement *judgements;
	size_t n_judgements;
};

int kho_fleet_create(const struct kho_check_opts *opts,
		     struct kho_fleet **result, struct kho_error *err)
{
	struct kho_check_opts how;
	int ret = OPTS_COPY(&how, opts, kho_check_opts, err);
	struct kho_fleet *fleet;

	if (ret)
		return ret;
	fleet = calloc(1, sizeof(*fleet));
	if (!fleet)
		return kho_fail(err, -ENOMEM, "fleet: out of memory");
	fleet->allow_degraded = how.allow_degraded;
	fleet->profile = how.profile;
	*result = fleet;
	return 0;
}

static void free_class(struct class *class)
{
	closure_free(&class->closure);
	free(class->pieces);
	free(class->readables);
	free(class);
}

static void free_nothing(void *node)
{
	(void)node;
}

void kho_fleet_free(struct kho_fleet *fleet)
{
	size_t i;

	if (!fleet)
		return;
	for (i = 0; i < fleet->n; i++)
		free_class(fleet->classes[i]);
	tdestroy(fleet->tree, free_nothing);
	tdestroy(fleet->names, free);
	free(fleet->classes);
	free(fleet->judgements);
	free(fleet);
}

static int compare_names(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* The number of a name, a new one for a new name: 0; -ENOMEM. */
static int number_of(struct kho_fleet *fleet, const char *text,
		     uint32_t *number)
{
	struct name *name = calloc(1, sizeof(*name));
	struct name **found;

	if (!name)
		return -ENOMEM;
	strcpy(name->name, text);
	name->number = fleet->n_names;
	found = tsearch(name, &fleet->names, compare_names);
	if (found && *found == name)
		fleet->n_names++;
	else
		free(name);
	if (!found)
		return -ENOMEM;
	*number = (*found)->number;
	return 0;
}

static int compare_classes(const void *a, const void *b)
{
	const struct kho_manifest *x = ((const struct class *)a)->manifest;
	const struct kho_manifest *y = ((const struct class *)b)->manifest;
	int order = (x->n > y->n) - (x->n < y->n);
	size_t i;

	for (i = 0; !order && i < x->n; i++)
		order = memcmp(&x->entries[i].desc, &y->entries[i].desc,
			       sizeof(x->entries[i].desc));
	return order;
}

static int compare_pieces(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static int add_pieces(struct kho_fleet *fleet, struct class *class)
{
	const struct closure *closure = &class->closure;
	struct piece *pieces = calloc(closure->n_parts + 1, sizeof(*pieces));
	size_t i, j;
	int ret = 0;

	class->pieces = pieces;
	if (!pieces)
		return -ENOMEM;
	for (i = 0; !ret && i < closure->n_parts; i++) {
		ret = number_of(fleet, closure->parts[i].name,
				&pieces[i].number);
		pieces[i].part = i;
		pieces[i].offer = closure->parts[i].offer;
	}
	if (ret)
		return ret;
	for (i = 0; i < closure->n_owners; i++) {
		const struct owner *owner = &closure->owners[i];

		for (j = 0; !owner->optional && j < owner->n; j++)
			pieces[closure->links[owner->first + j]].required =
				true;
	}
	qsort(pieces, closure->n_parts, sizeof(*pieces), compare_pieces);
	return 0;
}

static int compare_readables(const void *a, const void *b)
{
	const struct readable *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static int add_readables(struct kho_fleet *fleet, struct class *class)
{
	const struct kho_manifest *manifest = class->manifest;
	struct readable *readables =
		calloc(manifest->n + 1, sizeof(*readables));
	size_t i;
	int ret;

	class->readables = readables;
	if (!readables)
		return -ENOMEM;
	for (i = 0; i < manifest->n; i++) {
		const struct kho_component_desc *desc =
			&manifest->entries[i].desc;

		ret = number_of(fleet, desc->name, &readables[i].number);
		if (ret)
			return ret;
		readables[i].read = desc->read;
	}
	readables[manifest->n].number = UINT32_MAX;
	qsort(readables, manifest->n, sizeof(*readables), compare_readables);
	return 0;
}

static int make_room(struct kho_fleet *fleet, size_t n_parts)
{
	if (fleet->n == fleet->room) {
		size_t room = fleet->room ? 2 * fleet->room : 16;
		struct class **classes =
			reallocarray(fleet->classes, room, sizeof(*classes));

		if (!classes)
			return -ENOMEM;
		fleet->classes = classes;
		fleet->room = room;
	}
	if (n_parts > fleet->n_judgements) {
		struct judgement *judgements =
			reallocarray(fleet->judgements, n_parts,
				     sizeof(*judgements));

		if (!judgements)
			return -ENOMEM;
		fleet->judgements = judgements;
		fleet->n_judgements = n_parts;
	}
	return 0;
}

static int add_class(struct kho_fleet *fleet,
		     const struct kho_manifest *manifest)
{
	struct class *class = calloc(1, sizeof(*class));
	int ret;

	if (!class)
		return -ENOMEM;
	class->manifest = manifest;
	class->index = fleet->n;
	ret = closure_of_manifest(manifest, fleet->profile, &class->closure);
	if (ret) {
		free(class);
		return ret;
	}
	ret = add_pieces(fleet, class);
	if (!ret)
		ret = add_readables(fleet, class);
	if (!ret)
		ret = make_room(fleet, class->closure.n_parts);
	if (!ret && !tsearch(class, &fleet->tree, compare_classes))
		ret = -ENOMEM;
	if (ret)
		free_class(class);
	else
		fleet->classes[fleet->n++] = class;
	return ret;
}

int kho_fleet_add(struct kho_fleet *fleet, const struct kho_manifest *manifest,
		  size_t *class)
{
	const struct class key = { .manifest = manifest };
	struct class **found = tfind(&key, &fleet->tree, compare_classes);
	size_t index = found ? (*found)->index : fleet->n;
	int ret = found ? 0 : add_class(fleet, manifest);

	if (!ret && class)
		*class = index;
	return ret;
}

size_t kho_fleet_classes(const struct kho_fleet *fleet)
{
	return fleet->n;
}

const struct kho_manifest *kho_fleet_manifest(const struct kho_fleet *fleet,
					      size_t class)
{
	return fleet->classes[class]->manifest;
}

/*
 * What is read of a component, NULL when it is not known. @next goes along
 * the reader's list, as the numbers asked for ascend.
 */
static inline const struct kho_range *read_of(const struct readable **next,
					      uint32_t number)
{
	const struct readable *r = *next;

	while (r->number < number)
		r++;
	*next = r;
	return r->number == number ? &r->read : NULL;
}

/* Is something older in a handover that goes on without optional owners? */
static bool older_without(const struct kho_fleet *fleet,
			  const struct class *from, const struct class *to)
{
	const struct readable *next = to->readables;
	const struct closure *closure = &from->closure;
	size_t i;

	for (i = 0; i < closure->n_parts; i++) {
		const struct piece *piece = &from->pieces[i];

		judge(&piece->offer, read_of(&next, piece->number),
		      &fleet->judgements[piece->part]);
	}
	settle(closure, true, fleet->judgements);
	for (i = 0; i < closure->n_parts; i++)
		if (fleet->judgements[i].verdict == KHO_OLDER)
			return true;
	return false;
}

struct kho_fleet_answer kho_fleet_check(const struct kho_fleet *fleet,
					size_t from, size_t to)
{
	static const struct kho_fleet_answer incompatible = {
		.outcome = KHO_OUTCOME_INCOMPATIBLE
	};
	const struct class *writer = fleet->classes[from];
	const struct class *reader = fleet->classes[to];
	const struct readable *next = reader->readables;
	bool older = false, dropped = false;
	struct judgement judgement;
	size_t i;

	for (i = 0; i < writer->closure.n_parts; i++) {
		const struct piece *piece = &writer->pieces[i];

		judge(&piece->offer, read_of(&next, piece->number), &judgement);
		if (judgement.verdict == KHO_OLDER)
			older = true;
		if (judgement.version)
			continue;
		if (piece->required || !fleet->allow_degraded)
			return incompatible;
		dropped = true;
	}
	if (!dropped)
		return (struct kho_fleet_answer){ .older = older };
	return (struct kho_fleet_answer){
		.outcome = KHO_OUTCOME_DEGRADED,
		.older = older && older_without(fleet, writer, reader),
	};
}

/**
 * struct gap - how much is missing between two classes
 * @failing: components that are incompatible or unknown
 * @versions: that lie between what is written and what is read of these
 */
struct gap {
	size_t failing;
	uint64_t versions;
};

static bool smaller(const struct gap *a, const struct gap *b)
{
	return a->failing != b->failing ? a->failing < b->failing :
					  a->versions < b->versions;
}

static uint64_t versions_between(const struct kho_range *write,
				 const struct kho_range *read)
{
	if (!write->max || !read || !read->max)
		return APART;
	return write->max < read->min ? read->min - write->max :
					write->min - read->max;
}

/*
 * What is missing, as far as it is less than @least. What consent leaves to be
 * missing is what a required owner needs, see settle().
 */
static struct gap measure(const struct kho_fleet *fleet, size_t from, size_t to,
			  const struct gap *least)
{
	const struct class *writer = fleet->classes[from];
	const struct readable *next = fleet->classes[to]->readables;
	struct gap gap = { 0 };
	size_t i;

	for (i = 0; i < writer->closure.n_parts && smaller(&gap, least); i++) {
		const struct piece *piece = &writer->pieces[i];
		const struct kho_range *read = read_of(&next, piece->number);

		if ((fleet->allow_degraded && !piece->required) ||
		    negotiate(&piece->offer,
			      read ? read : &(struct kho_range){ 0 }))
			continue;
		gap.failing++;
		gap.versions += versions_between(&piece->offer.write, read);
	}
	return gap;
}

/**
 * struct search - for a chain
 * @fleet: in it
 * @from: first class; no chain comes by it again
 * @first: how to get away from it, or NULL
 * @n: classes of the fleet
 * @steps: per class, updates from it to the last; NONE: not known to lead there
 * @degraded: the fewest degraded ones among these
 * @queue: classes that lead to the last, by @steps, then by index
 * @left: classes that do not, as far as is known, by index
 * @n_left: how many
 */
struct search {
	const struct kho_fleet *fleet;
	size_t from;
	const struct kho_fleet_answer *first;
	size_t n;
	size_t *steps;
	size_t *degraded;
	size_t *queue;
	size_t *left;
	size_t n_left;
};

/* How many degraded updates this one is, 0 or 1; NONE: it is none. */
static size_t cost(const struct search *s, size_t from, size_t to)
{
	enum kho_outcome outcome =
		from == s->from && s->first ?
			s->first[to].outcome :
			kho_fleet_check(s->fleet, from, to).outcome;

	return outcome == KHO_OUTCOME_COMPATIBLE ? 0 :
	       outcome == KHO_OUTCOME_DEGRADED	 ? 1 :
						   NONE;
}

/* Does a class lead to one of those in the queue from @begin to @end? */
static bool connect(struct search *s, size_t class, size_t begin, size_t end)
{
	size_t best = NONE, i, c;

	for (i = begin; best && i < end; i++) {
		size_t next = s->queue[i];

		if (s->degraded[next] >= best)
			continue;
		c = cost(s, class, next);
		if (c != NONE && s->degraded[next] + c < best)
			best = s->degraded[next] + c;
	}
	if (best == NONE)
		return false;
	s->degraded[class] = best;
	s->steps[class] = s->steps[s->queue[begin]] + 1;
	return true;
}

/*
 * Goes back from the last class, one update at a time, until it comes to the
 * first or there is nothing more: false, and the queue has all that lead to
 * the last. Returns how many are in the queue in @n_queue.
 */
static bool go_back(struct search *s, size_t to, size_t *n_queue)
{
	size_t begin = 0, end = 1, i, left;

	s->queue[0] = to;
	s->steps[to] = 0;
	for (i = 0; i < s->n; i++)
		if (i != to && i != s->from)
			s->left[s->n_left++] = i;
	while (begin < end) {
		*n_queue = end;
		if (connect(s, s->from, begin, end))
			return true;
		left = s->n_left;
		s->n_left = 0;
		for (i = 0; i < left; i++) {
			size_t class = s->left[i];

			if (connect(s, class, begin, end))
				s->queue[(*n_queue)++] = class;
			else
				s->left[s->n_left++] = class;
		}
		begin = end;
		end = *n_queue;
	}
	return false;
}

/* Goes along what go_back() has found. */
static int make_chain(const struct search *s, struct kho_fleet_plan *plan)
{
	size_t class = s->from, next, c;

	plan->classes = calloc(s->steps[s->from] + 1, sizeof(*plan->classes));
	if (!plan->classes)
		return -ENOMEM;
	plan->degraded = s->degraded[s->from];
	plan->classes[plan->n++] = class;
	while (s->steps[class]) {
		for (next = 0;; next++) {
			if (s->steps[next] != s->steps[class] - 1)
				continue;
			c = cost(s, class, next);
			if (c != NONE &&
			    s->degraded[next] + c == s->degraded[class])
				break;
		}
		class = next;
		plan->classes[plan->n++] = class;
	}
	return 0;
}

/*
 * There is no chain: what can be reached is among what go_back() has left.
 * Puts it at the end of the queue.
 */
static size_t go_forward(struct search *s, size_t n_queue)
{
	size_t begin = n_queue, end = n_queue, i, left;

	s->queue[end++] = s->from;
	for (; begin < end; begin++) {
		left = s->n_left;
		s->n_left = 0;
		for (i = 0; i < left; i++) {
			size_t class = s->left[i];

			if (cost(s, s->queue[begin], class) != NONE)
				s->queue[end++] = class;
			else
				s->left[s->n_left++] = class;
		}
	}
	return end - n_queue;
}

static int compare_indexes(const void *a, const void *b)
{
	const size_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Between what can be reached, in the queue behind @n, and the @n before. */
static void find_gap(struct search *s, size_t n, struct kho_fleet_plan *plan)
{
	size_t *reached = s->queue + n, i, j;
	struct gap least = { NONE, 0 }, gap;

	qsort(s->queue, n, sizeof(*s->queue), compare_indexes);
	qsort(reached, plan->reached, sizeof(*reached), compare_indexes);
	for (i = 0; i < plan->reached; i++) {
		for (j = 0; j < n; j++) {
			gap = measure(s->fleet, reached[i], s->queue[j],
				      &least);
			if (!smaller(&gap, &least))
				continue;
			least = gap;
			plan->gap_from = reached[i];
			plan->gap_to = s->queue[j];
		}
	}
}

int kho_fleet_plan(const struct kho_fleet *fleet, size_t from, size_t to,
		   const struct kho_fleet_answer *first,
		   struct kho_fleet_plan *plan)
{
	struct search s = { .fleet = fleet, .from = from, .first = first };
	size_t i, n_queue;
	size_t *memory;
	int ret = 0;

	*plan = (struct kho_fleet_plan){ 0 };
	s.n = fleet->n;
	memory = calloc(4 * s.n, sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	s.steps = memory;
	s.degraded = memory + s.n;
	s.queue = memory + 2 * s.n;
	s.left = memory + 3 * s.n;
	for (i = 0; i < s.n; i++)
		s.steps[i] = NONE;
	if (from == to)
		s.steps[from] = 0;
	if (from == to || go_back(&s, to, &n_queue)) {
		ret = make_chain(&s, plan);
	} else {
		plan->reached = go_forward(&s, n_queue);
		find_gap(&s, n_queue, plan);
	}
	free(memory);
	return ret;
}

void kho_fleet_plan_free(struct kho_fleet_plan *plan)
{
	free(plan->classes);
}
