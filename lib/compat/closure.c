// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * What is in use, by whom, and who can go on without whom.
 *
 * An owner is what can be gone as a whole: a subtree of a state or, as long as
 * there is none, a component that a program writes for its own sake. Its parts
 * are itself and all that it depends on, directly or not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compat/bundle.h"
#include "compat/closure.h"
#include "compat/manifest.h"

struct offer make_offer(const struct kho_range *write, uint32_t has,
			uint32_t pin)
{
	struct offer offer = {
		.write = *write,
		.has = has,
		.best = write->max > has ? write->max : has,
	};

	if (pin) {
		bool possible = pin == has || in_range(write, pin);

		offer.write.min = offer.write.max = possible ? pin : 0;
		offer.has = 0;
	} else if (!write->max) {
		offer.write.min = offer.write.max = has;
	}
	return offer;
}

void closure_free(struct closure *closure)
{
	free(closure->parts);
	free(closure->owners);
	free(closure->links);
}

bool is_owner(const struct kho_component_desc *desc)
{
	return desc && desc->write.max &&
	       !(desc->flags & KHO_COMPONENT_STRUCTURE);
}

static int compare_names(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void add_part(struct closure *closure, const struct kho_manifest *from,
		     const char *name)
{
	const struct kho_manifest_entry *entry;
	size_t i;

	for (i = 0; i < closure->n_parts; i++)
		if (!strcmp(closure->parts[i].name, name))
			return;
	entry = kho_manifest_find(from, name);
	closure->parts[closure->n_parts++] = (struct part){
		.name = entry ? entry->desc.name : name,
		.desc = entry ? &entry->desc : NULL,
		.implied = entry && entry->bundle,
	};
}

/* The owners, what they depend on, what that depends on, and so on. */
static void collect_parts(struct closure *closure,
			  const struct kho_manifest *from,
			  const struct kho_profile *profile)
{
	size_t i, j;

	for (i = 0; i < from->n; i++)
		if (is_owner(&from->entries[i].desc))
			add_part(closure, from, from->entries[i].desc.name);
	for (i = 0; i < closure->n_parts; i++) {
		const struct kho_component_desc *desc = closure->parts[i].desc;

		for (j = 0; desc && j < KHO_DEPS_MAX && desc->deps[j][0]; j++)
			add_part(closure, from, desc->deps[j]);
	}
	qsort(closure->parts, closure->n_parts, sizeof(*closure->parts),
	      compare_names);
	for (i = 0; i < closure->n_parts; i++) {
		struct part *part = &closure->parts[i];

		if (part->desc)
			part->write = part->desc->write;
		part->pin = kho_profile_pin(profile, part->name);
		part->offer = make_offer(&part->write, 0, part->pin);
	}
}

static size_t part_index(const struct closure *closure, const char *name)
{
	const struct part key = { .name = name };
	const struct part *part = bsearch(&key, closure->parts,
					  closure->n_parts, sizeof(key),
					  compare_names);

	return (size_t)(part - closure->parts);
}

/*
 * The links of one owner, which has found room for them. @seen: for each part,
 * the last owner that met it, counted from 1.
 */
static void link_owner(struct closure *closure, struct owner *owner,
		       size_t *seen)
{
	size_t *links = closure->links + owner->first;
	size_t number = (size_t)(owner - closure->owners) + 1;
	size_t i, j;

	links[0] = owner->base;
	seen[owner->base] = number;
	owner->n = 1;
	for (i = 0; i < owner->n; i++) {
		const struct kho_component_desc *desc =
			closure->parts[links[i]].desc;

		for (j = 0; desc && j < KHO_DEPS_MAX && desc->deps[j][0]; j++) {
			size_t dep = part_index(closure, desc->deps[j]);

			if (seen[dep] == number)
				continue;
			seen[dep] = number;
			links[owner->n++] = dep;
		}
	}
}

static int link_owners(struct closure *closure)
{
	size_t n = closure->n_parts, n_links = 0, i;
	size_t *seen = calloc(n + 1, sizeof(*seen));

	closure->owners = calloc(n + 1, sizeof(*closure->owners));
	if (!seen || !closure->owners)
		goto no_memory;
	for (i = 0; i < n; i++) {
		const struct kho_component_desc *desc = closure->parts[i].desc;
		struct owner *owner = &closure->owners[closure->n_owners];
		size_t *links;

		if (!is_owner(desc))
			continue;
		links = reallocarray(closure->links, n_links + n,
				     sizeof(*links));
		if (!links)
			goto no_memory;
		closure->links = links;
		*owner = (struct owner){
			.base = i,
			.first = n_links,
			.optional = desc->flags & KHO_COMPONENT_OPTIONAL,
		};
		link_owner(closure, owner, seen);
		n_links += owner->n;
		closure->n_owners++;
	}
	free(seen);
	return 0;

no_memory:
	free(seen);
	return -ENOMEM;
}

/* A kernel without KHO needs what it cannot write. */
static int closure_of_nothing(struct closure *closure)
{
	*closure = (struct closure){
		.n_parts = 1,
		.parts = calloc(1, sizeof(*closure->parts)),
		.n_owners = 1,
		.owners = calloc(1, sizeof(*closure->owners)),
		.links = calloc(1, sizeof(*closure->links)),
	};
	if (!closure->parts || !closure->owners || !closure->links) {
		closure_free(closure);
		return -ENOMEM;
	}
	closure->parts[0].name = "kho";
	closure->owners[0].n = 1;
	return 0;
}

int closure_of_manifest(const struct kho_manifest *from,
			const struct kho_profile *profile,
			struct closure *closure)
{
	struct part *parts;
	int ret;

	if (manifest_missing(from))
		return closure_of_nothing(closure);
	/* Every component, and every dependency should it be none. */
	*closure = (struct closure){
		.parts = calloc(from->n * (1 + KHO_DEPS_MAX) + 1,
				sizeof(*closure->parts)),
	};
	if (!closure->parts)
		return -ENOMEM;
	collect_parts(closure, from, profile);
	/* A fleet keeps thousands of closures. */
	parts = realloc(closure->parts,
			(closure->n_parts + 1) * sizeof(*parts));
	if (parts)
		closure->parts = parts;
	ret = link_owners(closure);
	if (ret)
		closure_free(closure);
	return ret;
}

/* A part of one subtree, not yet merged with the same part of another. */
struct use {
	struct part part;
	size_t link;
};

/* 0: the same component in the same version, of which the same can be made. */
static int compare_uses(const void *a, const void *b)
{
	const struct part *x = &((const struct use *)a)->part;
	const struct part *y = &((const struct use *)b)->part;
	int order = strcmp(x->name, y->name);

	if (!order)
		order = (x->has < y->has) - (x->has > y->has);
	if (!order)
		order = memcmp(&x->offer, &y->offer, sizeof(x->offer));
	return order;
}

static struct part used_part(const struct kho_used *used,
			     const struct kho_token *token,
			     const struct kho_manifest *writer,
			     const struct kho_profile *profile)
{
	const struct kho_manifest_entry *entry =
		writer ? kho_manifest_find(writer, token->name) : NULL;
	struct part part = {
		.name = token->name,
		.desc = entry ? &entry->desc : NULL,
		.has = token->version,
		.carried = used->carried,
	};

	if (!used->carried) {
		part.pin = kho_profile_pin(profile, token->name);
		if (entry && entry->desc.flags & KHO_COMPONENT_CONVERT)
			part.write = entry->desc.write;
	}
	/* To convert it to what it is is no conversion. */
	if (part.write.min == part.has && part.write.max == part.has)
		part.write = (struct kho_range){ 0, 0 };
	part.offer = make_offer(&part.write, part.has, part.pin);
	return part;
}

/* Parts that are the same become one, and the links point to it. */
static void merge_uses(struct closure *closure, struct use *uses, size_t n)
{
	struct part *part = NULL;
	size_t i;

	qsort(uses, n, sizeof(*uses), compare_uses);
	for (i = 0; i < n; i++) {
		if (i && !compare_uses(&uses[i - 1], &uses[i])) {
			part->carried &= uses[i].part.carried;
		} else {
			part = &closure->parts[closure->n_parts++];
			*part = uses[i].part;
		}
		closure->links[uses[i].link] = closure->n_parts - 1;
	}
}

/* An owner and its uses, which are not merged yet: link n is use n. */
static void add_used(struct closure *closure, const struct kho_used *used,
		     const struct kho_manifest *writer,
		     const struct kho_profile *profile, struct use *uses,
		     size_t *n_uses)
{
	const struct kho_composite *composite = &used->composite;
	struct owner *owner = &closure->owners[closure->n_owners++];
	size_t i;

	*owner = (struct owner){
		.first = *n_uses,
		.n = composite->n ? composite->n : 1,
		.optional = used->optional,
		.carried = used->carried,
		.used = used,
	};
	for (i = 0; i < owner->n; i++) {
		struct use *use = &uses[(*n_uses)++];

		use->link = owner->first + i;
		if (composite->n)
			use->part = used_part(used, &composite->tokens[i],
					      writer, profile);
		else
			use->part = (struct part){ .name = used->owner,
						   .carried = used->carried,
						   .nameless = true };
	}
}

int closure_of_state(const struct kho_used *used, size_t n,
		     const struct kho_manifest *writer,
		     const struct kho_profile *profile, struct closure *closure)
{
	size_t n_uses = 0, i;
	struct use *uses;

	for (i = 0; i < n; i++)
		n_uses += used[i].composite.n ? used[i].composite.n : 1;
	uses = calloc(n_uses + 1, sizeof(*uses));
	*closure = (struct closure){
		.parts = calloc(n_uses + 1, sizeof(*closure->parts)),
		.owners = calloc(n + 1, sizeof(*closure->owners)),
		.links = calloc(n_uses + 1, sizeof(*closure->links)),
	};
	if (!uses || !closure->parts || !closure->owners || !closure->links) {
		free(uses);
		closure_free(closure);
		return -ENOMEM;
	}
	n_uses = 0;
	for (i = 0; i < n; i++)
		add_used(closure, &used[i], writer, profile, uses, &n_uses);
	merge_uses(closure, uses, n_uses);
	free(uses);
	for (i = 0; i < n; i++)
		closure->owners[i].base =
			closure->links[closure->owners[i].first];
	return 0;
}

enum kho_outcome settle(const struct closure *closure, bool allow_degraded,
			struct judgement *judgements)
{
	enum kho_outcome outcome = KHO_OUTCOME_COMPATIBLE;
	size_t i, j;

	for (i = 0; i < closure->n_parts; i++)
		judgements[i].kept = judgements[i].base = false;
	for (i = 0; i < closure->n_owners; i++) {
		const struct owner *owner = &closure->owners[i];
		const size_t *links = closure->links + owner->first;
		bool readable = true;

		for (j = 0; j < owner->n; j++)
			readable = readable && judgements[links[j]].version;
		if (!readable &&
		    (owner->carried || (owner->optional && allow_degraded))) {
			judgements[owner->base].base = true;
			if (!owner->carried)
				outcome = KHO_OUTCOME_DEGRADED;
			continue;
		}
		for (j = 0; j < owner->n; j++)
			judgements[links[j]].kept = true;
	}
	for (i = 0; i < closure->n_parts; i++) {
		struct judgement *judgement = &judgements[i];

		if (!judgement->kept &&
		    (judgement->base || !judgement->version))
			judgement->verdict = KHO_DROPPED;
		else if (!judgement->version)
			outcome = KHO_OUTCOME_INCOMPATIBLE;
	}
	return outcome;
}
