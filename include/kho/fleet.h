/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Many programs at once
 *
 * Who can hand over to whom, and by which chain of updates one gets from here
 * to there. Programs that say the same of themselves are one *class*, so that
 * ten thousand hosts with a dozen programs are a small question; and a pair
 * of classes is judged without making a report.
 *
 * 1. kho_fleet_create(), kho_fleet_add() each manifest.
 * 2. kho_fleet_check() a pair of classes; kho_check_manifests() of two of their
 *    manifests says why.
 * 3. kho_fleet_plan() a chain of updates.
 *
 * A fleet is one thread's at a time.
 */
#ifndef KHO_FLEET_H
#define KHO_FLEET_H

#include <stdbool.h>
#include <stddef.h>

#include <kho/check.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kho_fleet - manifests, in classes
 *
 * Opaque.
 */
struct kho_fleet;

/**
 * kho_fleet_create() - a fleet without members
 * @opts: its @allow_degraded and @profile count for every question; @profile
 *        must outlive the fleet; NULL for the defaults
 * @fleet: result; free with kho_fleet_free()
 * @err: why not; may be NULL
 *
 * Return: 0; -EINVAL, -E2BIG for bad @opts; -ENOMEM.
 */
int kho_fleet_create(const struct kho_check_opts *opts,
		     struct kho_fleet **fleet, struct kho_error *err);

/** kho_fleet_free() - free a fleet; NULL is allowed. */
void kho_fleet_free(struct kho_fleet *fleet);

/**
 * kho_fleet_add() - add a manifest
 * @fleet: to it
 * @manifest: stays the caller's; the first of its class must outlive the fleet
 * @index: index of its class, from 0 in the order in which they came; may be
 *         NULL
 *
 * Two manifests are in one class when all their components have equal
 * descriptors. Where these were found does not count.
 *
 * Return: 0; -ENOMEM.
 */
int kho_fleet_add(struct kho_fleet *fleet, const struct kho_manifest *manifest,
		  size_t *index);

/** kho_fleet_classes() - how many classes there are. */
size_t kho_fleet_classes(const struct kho_fleet *fleet);

/** kho_fleet_manifest() - the first manifest that was added to a class. */
const struct kho_manifest *kho_fleet_manifest(const struct kho_fleet *fleet,
					      size_t index);

/**
 * struct kho_fleet_answer - how a handover would come out
 * @outcome: as kho_check_manifests() says
 * @older: a component would be written in a version below the writer's best;
 *         false when incompatible
 */
struct kho_fleet_answer {
	enum kho_outcome outcome;
	bool older;
};

/**
 * kho_fleet_check() - can one class hand over to another
 * @fleet: the fleet
 * @from: class of the old program
 * @to: class of its successor
 *
 * Return: the answer.
 */
struct kho_fleet_answer kho_fleet_check(const struct kho_fleet *fleet,
					size_t from, size_t to);

/**
 * struct kho_fleet_plan - a chain of updates, or why there is none
 * @n: classes in the chain, the first and the last included; 1 when both are
 *     the same class; 0: there is no chain
 * @classes: the chain, when there is one
 * @degraded: updates in it that are degraded
 * @reached: when there is none: how many classes can be reached from the first,
 *           itself included
 * @gap_from: and the class among them from which least is missing...
 * @gap_to: ...to this one, from which the last can be reached: the fewest
 *          failing components, then the fewest versions between what is
 *          written and what is read of them; then the classes that came first
 */
struct kho_fleet_plan {
	size_t n;
	size_t *classes;
	size_t degraded;
	size_t reached;
	size_t gap_from;
	size_t gap_to;
};

/**
 * kho_fleet_plan() - the shortest chain of updates
 * @fleet: through any of its classes
 * @from: the first class
 * @to: the last class
 * @first: per class, whether what is there now can be handed over to it; NULL:
 *         as kho_fleet_check() says of @from. For a state that is in use.
 *         What it says of @from itself does not count: to hand over to the
 *         same program changes nothing
 * @plan: result; free with kho_fleet_plan_free()
 *
 * Among the shortest it is one with the fewest degraded updates, and of these
 * the one whose classes came first.
 *
 * Return: 0, also when there is no chain; -ENOMEM.
 */
int kho_fleet_plan(const struct kho_fleet *fleet, size_t from, size_t to,
		   const struct kho_fleet_answer *first,
		   struct kho_fleet_plan *plan);

/** kho_fleet_plan_free() - free what is in a plan; all zeros are allowed. */
void kho_fleet_plan_free(struct kho_fleet_plan *plan);

#ifdef __cplusplus
}
#endif

#endif
