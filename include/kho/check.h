/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Can one hand over to the other?
 *
 * Two questions, one kind of answer. kho_check_manifests() asks it of two
 * programs that may not even run. kho_check_state() asks whether a state that
 * exists can be read: it is the preflight (against the successor's file) and
 * the upfront check (against this process).
 *
 * The answer is a report with a verdict per component, the failing ones
 * first, each with who needs it, the versions on both sides and what would
 * help.
 */
#ifndef KHO_CHECK_H
#define KHO_CHECK_H

#include <stdbool.h>
#include <stdio.h>

#include <kho/compat.h>
#include <kho/manifest.h>

/**
 * enum kho_verdict - of one component
 * @KHO_OK: readable, in the writer's best version
 * @KHO_INCOMPATIBLE: known to the reader, but not in a version it can read
 * @KHO_UNKNOWN: the reader does not know the component
 */
enum kho_verdict {
	KHO_OK,
	KHO_INCOMPATIBLE,
	KHO_UNKNOWN,
};

/** kho_verdict_name() - "ok", "incompatible" or "unknown". */
const char *kho_verdict_name(enum kho_verdict verdict);

/**
 * struct kho_finding - the verdict of one component
 * @name: the component
 * @verdict: what came out
 * @version: version that will be (or was) written; 0 when none fits
 * @writer: versions the writing side offers; {v, v} for a state
 * @reader: versions the reading side can read; {0, 0} when unknown to it
 * @needed_by: who needs it: components or subtrees, ", " between them; empty
 *             when it is there for its own sake
 * @reason: one line for people: what is wrong and what would help; empty when
 *          ok
 */
struct kho_finding {
	char name[KHO_TOKEN_NAME_SIZE];
	enum kho_verdict verdict;
	uint32_t version;
	struct kho_range writer;
	struct kho_range reader;
	char needed_by[128];
	char reason[256];
};

/**
 * struct kho_report - the answer
 * @compatible: true when every component is ok
 * @from: who writes
 * @to: who reads
 * @n: findings
 * @findings: failing ones first, then by name
 */
struct kho_report {
	bool compatible;
	char *from;
	char *to;
	size_t n;
	struct kho_finding *findings;
};

/**
 * struct kho_used - a composite that is in a state
 * @owner: the subtree that carries it; "/" for the root
 * @composite: as parsed
 */
struct kho_used {
	char owner[64];
	struct kho_composite composite;
};

/**
 * kho_check_manifests() - can a program hand over to another
 * @from: the old program
 * @to: its successor
 * @report: result; free with kho_report_free()
 *
 * For each component that @from uses: v = the lower of the writer's highest
 * and the reader's highest; ok when v is in both ranges. A component with
 * KHO_COMPONENT_STRUCTURE counts only where another that counts depends on it.
 * Thread-safe.
 *
 * Return: 0, whatever the verdict; -ENOMEM.
 */
int kho_check_manifests(const struct kho_manifest *from,
			const struct kho_manifest *to,
			struct kho_report **report);

/**
 * kho_check_state() - can a program read a state
 * @used: the composites in it
 * @n: how many
 * @from: name of the state, for the report
 * @to: the reader
 * @report: result; free with kho_report_free()
 *
 * Thread-safe.
 *
 * Return: 0, whatever the verdict; -ENOMEM.
 */
int kho_check_state(const struct kho_used *used, size_t n, const char *from,
		    const struct kho_manifest *to, struct kho_report **report);

/**
 * kho_report_print() - write a report for people
 * @report: what to write
 * @out: where to
 * @color: with terminal colours
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
 * kho_report_summary() - a report's failing components in one line
 * @report: what to write
 * @buf: where to
 * @size: bytes at @buf; a longer text is cut
 */
void kho_report_summary(const struct kho_report *report, char *buf,
			size_t size);

/** kho_report_free() - free a report; NULL is allowed. */
void kho_report_free(struct kho_report *report);

#endif
