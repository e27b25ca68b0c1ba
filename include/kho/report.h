/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Reports
 *
 * What a check found: for each component a verdict with a reason, and an outcome
 * of it all. See <kho/check.h>.
 */
#ifndef KHO_REPORT_H
#define KHO_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <kho/compat.h>

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
