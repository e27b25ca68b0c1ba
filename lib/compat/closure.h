/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Who uses what, and what comes of it, without a word about why.
 * check.c makes reports of it, fleet.c does without.
 *
 * 1. closure_of_manifest() or closure_of_state(): the parts and their owners;
 * 2. judge() each part against what the reader reads of it;
 * 3. settle(): who can go on without whom.
 */
#ifndef KHO_COMPAT_CLOSURE_H
#define KHO_COMPAT_CLOSURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/check.h>
#include <kho/compat.h>
#include <kho/manifest.h>

#pragma GCC visibility push(hidden)

/**
 * struct offer - what the writing side can make of a component
 * @write: versions that it can write; {0, 0}: none at all
 * @has: the version that is there and can stay; 0: none
 * @best: the highest of these, as if there were no pin
 *
 * A pin has left only its own version in @write, or nothing, and no @has.
 */
struct offer {
	struct kho_range write;
	uint32_t has;
	uint32_t best;
};

static inline bool in_range(const struct kho_range *range, uint32_t version)
{
	return version >= range->min && version <= range->max;
}

/* The highest version that can be written and is read; 0: there is none. */
static inline uint32_t negotiate(const struct offer *offer,
				 const struct kho_range *read)
{
	const struct kho_range *write = &offer->write;
	uint32_t v = write->max < read->max ? write->max : read->max;

	if (v < write->min || v < read->min)
		v = 0;
	return offer->has > v && in_range(read, offer->has) ? offer->has : v;
}

/**
 * struct part - a component in use
 * @name: lives in the manifest or the state
 * @offer: what can be written of it
 * @desc: what the writer says of it; NULL: nothing
 * @write: versions that the writer writes or converts it to, pinned or not
 * @has: version that is in the state; 0: there is no state
 * @pin: version that a profile wants; 0: none
 * @carried: all its owners are carried: nobody writes it
 * @nameless: it stands for a subtree that does not say what it is
 * @implied: only by the bundle that it is a part of
 */
struct part {
	const char *name;
	struct offer offer;
	const struct kho_component_desc *desc;
	struct kho_range write;
	uint32_t has;
	uint32_t pin;
	bool carried;
	bool nameless;
	bool implied;
};

/**
 * struct owner - who is readable or not as a whole
 * @base: its own part
 * @first: index into the closure's links: its parts, the base first
 * @n: how many they are
 * @optional: it may be gone without, with consent
 * @carried: it may be gone without, as before
 * @used: the subtree; NULL: it is a component of a manifest
 */
struct owner {
	size_t base;
	size_t first;
	size_t n;
	bool optional;
	bool carried;
	const struct kho_used *used;
};

/**
 * struct closure - all that is in use
 * @n_parts: how many
 * @parts: sorted by name
 * @n_owners: how many
 * @owners: a manifest's in its order, a state's in the order of its entries
 * @links: indexes of parts, see struct owner
 *
 * Points into the manifest or state that it was made from.
 */
struct closure {
	size_t n_parts;
	struct part *parts;
	size_t n_owners;
	struct owner *owners;
	size_t *links;
};

/* Does a program write it for its own sake? @desc may be NULL: it does not. */
bool is_owner(const struct kho_component_desc *desc);
/* @write: what is written or converted to, {0, 0} for none; @has, @pin: or 0. */
struct offer make_offer(const struct kho_range *write, uint32_t has,
			uint32_t pin);
/*
 * What a program can have in use: 0; -ENOMEM. To be freed with closure_free().
 * @profile may be NULL.
 */
int closure_of_manifest(const struct kho_manifest *from,
			const struct kho_profile *profile,
			struct closure *closure);
/* The same of a state; @writer: who could convert it, NULL: nobody. */
int closure_of_state(const struct kho_used *used, size_t n,
		     const struct kho_manifest *writer,
		     const struct kho_profile *profile,
		     struct closure *closure);
void closure_free(struct closure *closure);

/**
 * struct judgement - of one part
 * @verdict: what came out
 * @version: that was negotiated; 0: none
 * @kept: settle(): an owner that is not gone needs it
 * @base: settle(): it is the base of an owner that is gone
 */
struct judgement {
	enum kho_verdict verdict;
	uint32_t version;
	bool kept;
	bool base;
};

/* A part by itself. @read: what the reader reads; NULL: does not know it. */
static inline void judge(const struct offer *offer,
			 const struct kho_range *read,
			 struct judgement *judgement)
{
	static const struct kho_range none;

	judgement->version = negotiate(offer, read ? read : &none);
	if (judgement->version)
		judgement->verdict =
			judgement->version == offer->best ? KHO_OK : KHO_OLDER;
	else if (read || !offer->write.max)
		judgement->verdict = KHO_INCOMPATIBLE;
	else
		judgement->verdict = KHO_UNKNOWN;
}

/*
 * All parts together, once each has its version and its verdict: an owner of
 * which a part has no version is gone, when it can be; what only such owners
 * need becomes KHO_DROPPED if it failed or is one's base. @judgements: one for
 * each part.
 */
enum kho_outcome settle(const struct closure *closure, bool allow_degraded,
			struct judgement *judgements);

#pragma GCC visibility pop

#endif
