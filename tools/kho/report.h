/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Reports, as JSON: this is how a program that runs gives them, and what --json
 * prints. See docs/schemas.md, kho-report.
 */
#ifndef TOOLS_KHO_REPORT_H
#define TOOLS_KHO_REPORT_H

#include <kho/check.h>

#include "kho.h"

/* Of the library's, which is freed. */
struct json_object *report_json(struct kho_report *report);

/* The one in a program's answer; NULL when there is none. */
struct json_object *report_in(struct json_object *answer);

enum kho_outcome report_outcome(struct json_object *report);

/* The exit code of an outcome. */
int report_exit(struct json_object *report);

/* Of its components: how many, one, and what came out for that. */
size_t report_n(struct json_object *report);
struct json_object *report_get(struct json_object *report, size_t i);
enum kho_verdict finding_verdict(struct json_object *finding);
uint32_t finding_version(struct json_object *finding, const char *key);
struct kho_range finding_range(struct json_object *finding, const char *key);

/* What is not "ok", without the reasons: "kho= fails, luo unknown"; to free(). */
char *report_names(struct json_object *report);

/* For people: what fails, and why, then a table of all. */
void report_print(struct json_object *report);

#endif
