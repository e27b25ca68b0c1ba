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
#include <stdio.h>

#include <kho/compat.h>
#include <kho/manifest.h>
#include <kho/profile.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum kho_verdict - of one component
 * @KHO_OK: readable, in the writer's best version
 * @KHO_OLDER: readable, in a version below the writer's best
 * @KHO_DROPPED: not readable, but optional, and the reader goes on without it;
 *               it is carried along for whoever reads it later
 * @KHO_INCOMPATIBLE: known to the reader, but not in a version it can read; or
 *                    the writer cannot write it, or not in the version that a
 *                    profile pins; or a side refuses the version that was picked
 * @KHO_UNKNOWN: the reader does not know the component
 */
enum kho_verdict {
	KHO_OK,
	KHO_OLDER,
	KHO_DROPPED,
	KHO_INCOMPATIBLE,
	KHO_UNKNOWN,
};

/** kho_verdict_name() - "ok", "older", "dropped" and so on. */
const char *kho_verdict_name(enum kho_verdict verdict);

/**
 * enum kho_outcome - of a whole check
 * @KHO_OUTCOME_COMPATIBLE: everything is handed over
 * @KHO_OUTCOME_DEGRADED: optional components are dropped, with consent
 * @KHO_OUTCOME_INCOMPATIBLE: nothing is
 * @KHO_OUTCOME_UNKNOWN: cannot tell, because of a condition
 */
enum kho_outcome {
	KHO_OUTCOME_COMPATIBLE,
	KHO_OUTCOME_DEGRADED,
	KHO_OUTCOME_INCOMPATIBLE,
	KHO_OUTCOME_UNKNOWN,
};

/** kho_outcome_name() - "compatible", "degraded", "incompatible" or "unknown". */
const char *kho_outcome_name(enum kho_outcome outcome);

/**
 * struct kho_finding - the verdict of one component
 * @name: the component
 * @verdict: what came out
 * @version: version that will be written; 0 when none fits, or it is dropped. Of
 *           what nobody writes, in a state, that which is there
 * @has: version that is in the state; 0 when there is no state
 * @writer: versions the writing side writes, or converts to; {v, v} for a state
 *          that nobody converts
 * @reader: versions the reading side can read; {0, 0} when unknown to it
 * @pin: version that a profile wants; 0 for none
 * @optional: all who need it can be gone without
 * @needed_by: who needs it: components or subtrees, ", " between them; empty
 *             when it is there for its own sake
 * @reason: one line for people: what is wrong and what would help; why it is
 *          older; empty when ok
 */
struct kho_finding {
	char name[KHO_TOKEN_NAME_SIZE];
	enum kho_verdict verdict;
	uint32_t version;
	uint32_t has;
	struct kho_range writer;
	struct kho_range reader;
	uint32_t pin;
	bool optional;
	char needed_by[128];
	char reason[KHO_ERROR_SIZE];
};

/**
 * enum kho_condition_verdict - of one condition
 * @KHO_CONDITION_OK: it is met
 * @KHO_CONDITION_UNKNOWN: cannot tell, so it is not taken to be met
 * @KHO_CONDITION_FAILS: it is not: what is handed over is lost
 * @KHO_CONDITION_FATAL: it is not: more is lost than that, so it takes no consent
 */
enum kho_condition_verdict {
	KHO_CONDITION_OK,
	KHO_CONDITION_UNKNOWN,
	KHO_CONDITION_FAILS,
	KHO_CONDITION_FATAL,
};

/** kho_condition_name() - "ok", "unknown", "fails" or "fatal". */
const char *kho_condition_name(enum kho_condition_verdict verdict);

/**
 * struct kho_condition - what decides besides the versions of components
 * @name: what it is about, such as "kho=", a kernel's parameter
 * @verdict: is it met
 * @reason: one line for people: why, and what would help
 */
struct kho_condition {
	char name[24];
	enum kho_condition_verdict verdict;
	char reason[KHO_ERROR_SIZE];
};

/**
 * struct kho_report - the answer
 * @outcome: of the whole
 * @from: who writes
 * @to: who reads
 * @n: findings
 * @findings: failing ones first, then dropped ones, then the others, each by
 *            name, and a component in several versions from the highest
 * @n_conditions: conditions
 * @conditions: in the order in which they were added
 */
struct kho_report {
	enum kho_outcome outcome;
	char *from;
	char *to;
	size_t n;
	struct kho_finding *findings;
	size_t n_conditions;
	struct kho_condition *conditions;
};

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

/**
 * kho_report_find() - look a component up
 * @report: in it
 * @name: NUL-terminated
 *
 * A state can have a component in several versions: then it is one that fails
 * or, if none does, the highest that is not dropped.
 *
 * Return: the finding, NULL when the component is not in use.
 */
const struct kho_finding *kho_report_find(const struct kho_report *report,
					  const char *name);

/**
 * kho_report_add() - add a condition to a report
 * @report: to it; its outcome becomes KHO_OUTCOME_INCOMPATIBLE when the
 *          condition is not met and, if it is not that, KHO_OUTCOME_UNKNOWN when
 *          that cannot be told
 * @name: what it is about
 * @verdict: is it met
 * @fmt: why, as of printf(); what does not fit is cut behind a word
 *
 * Return: 0; -ENOMEM.
 */
int kho_report_add(struct kho_report *report, const char *name,
		   enum kho_condition_verdict verdict, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/**
 * kho_report_print() - say what came out, and what is wrong with whom
 * @report: what to write
 * @out: where to
 * @color: with terminal colours
 *
 * A line for the outcome and one for each condition that is not met and each
 * component that is not KHO_OK, broken between words where @out is a terminal.
 */
void kho_report_print(const struct kho_report *report, FILE *out, bool color);

/**
 * kho_report_json() - write a report as JSON
 * @report: what to write
 *
 * Schema: docs/schemas.md, "kho-report", version 1.
 *
 * Return: a string to free(); NULL when out of memory.
 */
char *kho_report_json(const struct kho_report *report);

/**
 * kho_report_summary() - what fails of a report, in one line
 * @report: what to write
 * @buf: where to
 * @size: bytes at @buf; a longer text is cut behind a word, and ends with "..."
 */
void kho_report_summary(const struct kho_report *report, char *buf,
			size_t size);

/** kho_report_free() - free a report; NULL is allowed. */
void kho_report_free(struct kho_report *report);

#ifdef __cplusplus
}
#endif

#endif
