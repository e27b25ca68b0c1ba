/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Can one hand over to the other?
 *
 * Two questions, one kind of answer. kho_check_manifests() asks it of two
 * programs that may not even run. kho_check_state() asks it of a state that
 * exists: it is the preflight (the successor's file against what is there, and
 * what the old program could make of it) and the upfront check (what is there
 * against this process).
 *
 * For each component that is in use, negotiation picks the highest version
 * that the one side can write, or has, and the other can read. The answer is
 * a report with a verdict per component, the failing ones first, each with who
 * needs it, the versions on both sides and what would help.
 */
#ifndef KHO_CHECK_H
#define KHO_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include <kho/compat.h>
#include <kho/manifest.h>
#include <kho/profile.h>
#include <kho/report.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kho_used - a composite that is in a state
 * @owner: the subtree that carries it; "/" for the root
 * @composite: as parsed; n = 0: the subtree does not say what it is
 * @optional: it may be gone without
 * @carried: an older program went on without it already: it takes no new
 *           consent, and nobody converts it
 */
struct kho_used {
	char owner[64];
	struct kho_composite composite;
	bool optional;
	bool carried;
};

/**
 * struct kho_check_opts - how to check; all other fields may be 0
 * @size: sizeof(struct kho_check_opts)
 * @allow_degraded: consent to go on without optional components
 * @profile: versions to write; NULL: none are pinned
 * @ask: the deeper question, asked of each component that would be readable, by
 *       its name, in @version. Returns 0, or a negative errno and why not in
 *       @why: then its verdict is KHO_INCOMPATIBLE. Where there is a writer, it
 *       is not asked of what is carried. Optional
 * @arg: passed to it
 */
struct kho_check_opts {
	size_t size;
	bool allow_degraded;
	const struct kho_profile *profile;
	int (*ask)(const char *name, uint32_t version, void *arg,
		   struct kho_error *why);
	void *arg;
};

/**
 * kho_check_manifests() - can a program hand over to another
 * @from: the old program
 * @to: its successor
 * @opts: NULL for the defaults
 * @report: result; free with kho_report_free()
 * @err: why there is none; may be NULL
 *
 * Takes it that @from uses everything that it can write. A component with
 * KHO_COMPONENT_STRUCTURE counts only where another that counts depends on it.
 * Thread-safe.
 *
 * Return: 0, whatever the verdict; -EINVAL, -E2BIG for bad @opts; -ENOMEM.
 */
int kho_check_manifests(const struct kho_manifest *from,
			const struct kho_manifest *to,
			const struct kho_check_opts *opts,
			struct kho_report **report, struct kho_error *err);

/**
 * kho_check_state() - can a program read a state
 * @used: the composites in it
 * @n: how many
 * @from: name of the state, for the report
 * @writer: the program that would hand it over, and may convert what is in it;
 *          NULL: nobody does, it is read as it is
 * @to: the reader
 * @opts: NULL for the defaults
 * @report: result; free with kho_report_free()
 * @err: why there is none; may be NULL
 *
 * Thread-safe.
 *
 * Return: 0, whatever the verdict; -EINVAL, -E2BIG for bad @opts; -ENOMEM.
 */
int kho_check_state(const struct kho_used *used, size_t n, const char *from,
		    const struct kho_manifest *writer,
		    const struct kho_manifest *to,
		    const struct kho_check_opts *opts,
		    struct kho_report **report, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
