// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Verdicts: of two programs, and of a state and a program; and reports. Linked
 * with --wrap, so that allocations can fail.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <json-c/json.h>

#include <kho/check.h>

#include "heap.h"

/* Versions of clang-format differ. */
/* clang-format off */
#define V(a, b) { a, b }
/* clang-format on */
#define S .flags = KHO_COMPONENT_STRUCTURE
#define OPT .flags = KHO_COMPONENT_OPTIONAL
#define MAX 8

/* A manifest as it comes from a program: entries sorted by name. */
static struct kho_manifest program(const char *target,
				   const struct kho_component_desc *descs,
				   struct kho_manifest_entry entries[MAX])
{
	struct kho_manifest manifest = { .target = (char *)target,
					 .entries = entries };

	while (manifest.n < MAX && descs[manifest.n].name[0]) {
		entries[manifest.n] = (struct kho_manifest_entry){
			.desc = descs[manifest.n],
		};
		manifest.n++;
	}
	return manifest;
}

struct expected {
	const char *name;
	enum kho_verdict verdict;
	uint32_t version;
	struct kho_range writer, reader;
	const char *needed_by, *reason;
	uint32_t has, pin;
	bool optional;
};

/* Versions of clang-format differ. */
/* clang-format off */
/* One of them; what is not named is 0. */
#define F(n, v, picked, write, read, by, why, ...)                             \
	{                                                                      \
		.name = n, .verdict = v, .version = picked, .writer = write,   \
		.reader = read, .needed_by = by, .reason = why, __VA_ARGS__    \
	}
/* clang-format on */
#define FINE(n, by, ...)                                                       \
	F(n, KHO_OK, 1, V(1, 1), V(1, 1), by, NULL, __VA_ARGS__)

static void assert_findings(const struct kho_report *report,
			    const struct expected *expected)
{
	size_t i;

	for (i = 0; i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];
		const struct expected *e = &expected[i];

		assert_non_null(e->name);
		assert_string_equal(f->name, e->name);
		assert_string_equal(kho_verdict_name(f->verdict),
				    kho_verdict_name(e->verdict));
		assert_int_equal(f->version, e->version);
		assert_int_equal(f->has, e->has);
		assert_int_equal(f->pin, e->pin);
		assert_int_equal(f->optional, e->optional);
		assert_memory_equal(&f->writer, &e->writer, sizeof(f->writer));
		assert_memory_equal(&f->reader, &e->reader, sizeof(f->reader));
		assert_string_equal(f->needed_by,
				    e->needed_by ? e->needed_by : "");
		assert_string_equal(f->reason, e->reason ? e->reason : "");
	}
	assert_null(expected[i].name);
}

static void assert_outcome(const struct kho_report *report,
			   enum kho_outcome outcome)
{
	assert_string_equal(kho_outcome_name(report->outcome),
			    kho_outcome_name(outcome));
}

static void manifests(void **state)
{
	static const struct {
		enum kho_outcome outcome;
		struct kho_component_desc from[MAX], to[MAX];
		struct expected expected[MAX];
	} cases[] = {
		/* the same program */
		{ .from = { { .name = "a", .write = V(1, 1), .read = V(1, 1) } },
		  .to = { { .name = "a", .write = V(1, 1), .read = V(1, 1) } },
		  .expected = { FINE("a", NULL) } },
		/* the highest version that both know */
		{ .from = { { .name = "a", .write = V(2, 5) } },
		  .to = { { .name = "a", .read = V(1, 3) } },
		  .expected = { F("a", KHO_OLDER, 3, V(2, 5), V(1, 3), NULL,
				  "new reads only up to v3") } },
		{ .from = { { .name = "a", .write = V(1, 3) } },
		  .to = { { .name = "a", .read = V(3, UINT32_MAX) } },
		  .expected = { F("a", KHO_OK, 3, V(1, 3), V(3, UINT32_MAX),
				  NULL, NULL) } },
		/* what a program writes, not what it reads, counts */
		{ .from = { { .name = "a", .write = V(2, 2), .read = V(1, 2) },
			    { .name = "b", .read = V(1, 1) } },
		  .to = { { .name = "a", .write = V(1, 1), .read = V(2, 2) } },
		  .expected = { F("a", KHO_OK, 2, V(2, 2), V(2, 2), NULL,
				  NULL) } },
		/* too old for the reader */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .from = { { .name = "a", .write = V(1, 2) },
			    { .name = "b", .write = V(1, 1) } },
		  .to = { { .name = "a", .read = V(4, 5) },
			  { .name = "b", .read = V(1, 1) } },
		  .expected = { F("a", KHO_INCOMPATIBLE, 0, V(1, 2), V(4, 5),
				  NULL,
				  "old writes a v1-v2, new reads only v4-v5: "
				  "update through a program that reads a-v2 "
				  "and writes a-v4, or build the successor "
				  "with support for v2"),
				FINE("b", NULL) } },
		/* too new for the reader: the way back */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .from = { { .name = "a", .write = V(3, 3) } },
		  .to = { { .name = "a", .read = V(1, 2) } },
		  .expected = { F("a", KHO_INCOMPATIBLE, 0, V(3, 3), V(1, 2),
				  NULL,
				  "old writes a v3, new reads only v1-v2: "
				  "build old so that it also writes v2, or the "
				  "successor with support for v3") } },
		/* known, but only to be written */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .from = { { .name = "a", .write = V(1, 2) } },
		  .to = { { .name = "a", .write = V(1, 2) } },
		  .expected = { F("a", KHO_INCOMPATIBLE, 0, V(1, 2), V(0, 0),
				  NULL,
				  "old writes a v1-v2, new can only write a: "
				  "build it with support for reading v2") } },
		/* not known; the failing one comes first */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .from = { { .name = "a", .write = V(1, 1) },
			    { .name = "z", .write = V(2, 4) } },
		  .to = { { .name = "a", .read = V(1, 1) } },
		  .expected = { F("z", KHO_UNKNOWN, 0, V(2, 4), V(0, 0), NULL,
				  "old writes z v2-v4, new does not know z: "
				  "build it with z in a version that reads "
				  "v2-v4"),
				FINE("a", NULL) } },
		/* a structure that nobody needs does not count */
		{ .from = { { .name = "a", .write = V(1, 1) },
			    { .name = "b", .write = V(1, 1), S },
			    { .name = "c",
			      .write = V(1, 1),
			      .deps = { "b" },
			      S } },
		  .to = { { .name = "a", .read = V(1, 1) } },
		  .expected = { FINE("a", NULL) } },
		/* one that is needed does, by way of another too */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .from = { { .name = "app",
			      .write = V(1, 1),
			      .deps = { "table", "log" } },
			    { .name = "bits", .write = V(1, 1), S },
			    { .name = "idle",
			      .write = V(1, 1),
			      .deps = { "bits" },
			      S },
			    { .name = "log",
			      .write = V(1, 1),
			      .deps = { "bits" } },
			    { .name = "table",
			      .write = V(1, 2),
			      .deps = { "bits" },
			      S } },
		  .to = { { .name = "app", .read = V(1, 1) },
			  { .name = "bits", .read = V(2, 2) },
			  { .name = "log", .read = V(1, 1) },
			  { .name = "table", .read = V(1, 1) } },
		  .expected = { F("bits", KHO_INCOMPATIBLE, 0, V(1, 1), V(2, 2),
				  "log, table, app",
				  "old writes bits v1, new reads only v2: "
				  "update through a program that reads bits-v1 "
				  "and writes bits-v2, or build the successor "
				  "with support for v1"),
				FINE("app", NULL), FINE("log", NULL),
				F("table", KHO_OLDER, 1, V(1, 2), V(1, 1),
				  "app", "new reads only up to v1") } },
		/* structures in a circle end */
		{ .from = { { .name = "a", .write = V(1, 1), .deps = { "b" } },
			    { .name = "b", .write = V(1, 1), .deps = { "c" }, S },
			    { .name = "c",
			      .write = V(1, 1),
			      .deps = { "b" },
			      S } },
		  .to = { { .name = "a", .read = V(1, 1) },
			  { .name = "b", .read = V(1, 1) },
			  { .name = "c", .read = V(1, 1) } },
		  .expected = { FINE("a", NULL), FINE("b", "a, c"),
				FINE("c", "b, a") } },
		/* the writer does not have what it needs, or only reads it */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .from = { { .name = "a",
			      .write = V(1, 1),
			      .deps = { "b", "c" } },
			    { .name = "c", .read = V(1, 1) } },
		  .to = { { .name = "a", .read = V(1, 1) },
			  { .name = "c", .read = V(1, 1) } },
		  .expected = { F("b", KHO_INCOMPATIBLE, 0, V(0, 0), V(0, 0),
				  "a",
				  "old needs b, but neither it nor its "
				  "libraries can write it: build it with a "
				  "version of b that can"),
				F("c", KHO_INCOMPATIBLE, 0, V(0, 0), V(1, 1),
				  "a",
				  "old needs c, but neither it nor its "
				  "libraries can write it: build it with a "
				  "version of c that can"),
				FINE("a", NULL) } },
		/* other flags do not make it optional */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .from = { { .name = "a",
			      .write = V(1, 1),
			      .flags = KHO_COMPONENT_HANDLER } },
		  .to = { { .name = "b", .read = V(1, 1) } },
		  .expected = { F("a", KHO_UNKNOWN, 0, V(1, 1), V(0, 0), NULL,
				  "old writes a v1, new does not know a: build "
				  "it with a in a version that reads v1") } },
		/* nothing to hand over */
		{ .from = { { .name = "a", .read = V(1, 1) } },
		  .to = { { .name = "b", .read = V(1, 1) } },
		  .expected = { { 0 } } },
	};
	struct kho_manifest_entry from_entries[MAX], to_entries[MAX];
	struct kho_report *report;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kho_manifest from =
			program("/bin/old", cases[i].from, from_entries);
		struct kho_manifest to =
			program("new", cases[i].to, to_entries);

		assert_int_equal(kho_check_manifests(&from, &to, NULL, &report,
						     NULL),
				 0);
		assert_string_equal(report->from, "/bin/old");
		assert_string_equal(report->to, "new");
		assert_outcome(report, cases[i].outcome);
		assert_findings(report, cases[i].expected);
		kho_report_free(report);
	}
}

/* A structure that very many need: the nearest, and that there are more. */
static void crowd(void **state)
{
	static struct kho_manifest_entry entries[41];
	struct kho_manifest manifest = { .target = (char *)"crowd",
					 .n = 41,
					 .entries = entries };
	struct kho_report *report;
	size_t i;

	(void)state;
	for (i = 0; i < 41; i++) {
		struct kho_component_desc *desc = &entries[i].desc;

		snprintf(desc->name, sizeof(desc->name),
			 i ? "user%02zu" : "shared", i);
		desc->write = desc->read = (struct kho_range){ 1, 1 };
		if (i)
			strcpy(desc->deps[0], "shared");
		else
			desc->flags = KHO_COMPONENT_STRUCTURE;
	}
	assert_int_equal(kho_check_manifests(&manifest, &manifest, NULL,
					     &report, NULL),
			 0);
	assert_int_equal(report->n, 41);
	assert_int_equal(report->outcome, KHO_OUTCOME_COMPATIBLE);
	assert_string_equal(report->findings[0].name, "shared");
	assert_string_equal(report->findings[0].needed_by,
			    "user01, user02, user03, user04, user05, user06, "
			    "user07, user08, user09, user10, user11, user12, "
			    "user13, user14, user15, ...");
	kho_report_free(report);
}

/* What @ask refuses, or whether it was asked, as "name-vN"; see states(). */
struct asked {
	const char *refuse;
	const char *expected;
	char seen[256];
};

static int ask(const char *name, uint32_t version, void *arg,
	       struct kho_error *why)
{
	struct asked *asked = arg;
	size_t len = strlen(asked->seen);
	char token[KHO_TOKEN_SIZE];

	snprintf(token, sizeof(token), "%s-v%u", name, version);
	snprintf(asked->seen + len, sizeof(asked->seen) - len, "%s%s",
		 len ? " " : "", token);
	if (!asked->refuse || strcmp(asked->refuse, token))
		return 0;
	return kho_fail(why, -EBUSY, "3 keys stand in the way: a, b, c");
}

/* What is done with the subtree that it is said of. */
enum { REQUIRED, OPTIONAL, CARRIED };

struct state_case {
	enum kho_outcome outcome;
	struct {
		const char *owner, *composite;
		int kind;
	} used[4];
	struct kho_component_desc writer[MAX]; /* "old"; none: nobody */
	struct kho_component_desc to[MAX]; /* "/srv/v3" */
	bool allow_degraded;
	struct kho_pin pin; /* of the profile "fleet" */
	struct asked asked;
	struct expected expected[MAX];
};

/* The only component of a writer that also converts what there is. */
#define CONVERTS(range)                                                        \
	{                                                                      \
		{                                                              \
			.name = "counter", .write = range,                     \
			.flags = KHO_COMPONENT_CONVERT                         \
		}                                                              \
	}

static void check_state_case(const struct state_case *c)
{
	struct kho_profile *profile =
		calloc(1, sizeof(*profile) + sizeof(profile->pins[0]));
	struct kho_manifest_entry entries[MAX], writer_entries[MAX];
	struct kho_manifest writer =
		program("/bin/old", c->writer, writer_entries);
	struct kho_manifest to = program("/srv/v3", c->to, entries);
	struct asked asked = c->asked;
	struct kho_check_opts opts = {
		.size = sizeof(opts),
		.allow_degraded = c->allow_degraded,
		.profile = c->pin.version ? profile : NULL,
		.ask = asked.expected ? ask : NULL,
		.arg = &asked,
	};
	struct kho_report *report;
	struct kho_used used[4];
	size_t n;

	assert_non_null(profile);
	strcpy(profile->name, "fleet");
	profile->pins[profile->n++] = c->pin;
	memset(used, 0, sizeof(used));
	for (n = 0; n < 4 && c->used[n].owner; n++) {
		strcpy(used[n].owner, c->used[n].owner);
		used[n].optional = c->used[n].kind == OPTIONAL;
		used[n].carried = c->used[n].kind == CARRIED;
		if (c->used[n].composite)
			assert_int_equal(kho_composite_parse(c->used[n]
								     .composite,
							     &used[n].composite,
							     NULL),
					 0);
	}
	assert_int_equal(kho_check_state(used, n, "state",
					 writer.n ? &writer : NULL, &to, &opts,
					 &report, NULL),
			 0);
	assert_string_equal(report->from, "state");
	assert_string_equal(report->to, "/srv/v3");
	assert_outcome(report, c->outcome);
	assert_findings(report, c->expected);
	if (asked.expected)
		assert_string_equal(asked.seen, asked.expected);
	kho_report_free(report);
	kho_profile_free(profile);
}

static void check_state_cases(const struct state_case *cases, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		check_state_case(&cases[i]);
}

/* As it is: nobody could write it otherwise. */
static void states(void **state)
{
	static const struct state_case cases[] = {
		/* nothing in it */
		{ .expected = { { 0 } } },
		/* readable: a version of the state is taken as it is */
		{ .used = { { "/", "kho-v4;radix-v1", 0 },
			    { "n", "counter-v1", 0 } },
		  .to = { { .name = "counter", .read = V(1, 2) },
			  { .name = "kho", .read = V(4, 4) },
			  { .name = "radix", .read = V(1, 1) } },
		  .expected = { F("counter", KHO_OK, 1, V(1, 1), V(1, 2), "n",
				  NULL, .has = 1),
				F("kho", KHO_OK, 4, V(4, 4), V(4, 4), "/", NULL,
				  .has = 4),
				FINE("radix", "kho (/)", .has = 1) } },
		/* writing it is not reading it */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v1", 0 } },
		  .to = { { .name = "counter",
			    .write = V(1, 1),
			    .read = V(2, 2) } },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 1, V(1, 1),
				  V(2, 2), "n",
				  "state has counter-v1, v3 reads only v2: "
				  "update through a program that reads "
				  "counter-v1 and writes counter-v2, or build "
				  "the successor with support for v1",
				  .has = 1) } },
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v9", 0 } },
		  .to = { { .name = "counter", .read = V(1, 2) } },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 9, V(9, 9),
				  V(1, 2), "n",
				  "state has counter-v9, v3 reads only v1-v2: "
				  "update through a program that reads "
				  "counter-v9 and writes counter-v2, or build "
				  "the successor with support for v9",
				  .has = 9) } },
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v1", 0 } },
		  .to = { { .name = "counter", .write = V(1, 1) } },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 1, V(1, 1),
				  V(0, 0), "n",
				  "state has counter-v1, v3 can only write "
				  "counter: build it with support for reading "
				  "v1",
				  .has = 1) } },
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v1", 0 } },
		  .expected = { F("counter", KHO_UNKNOWN, 1, V(1, 1), V(0, 0),
				  "n",
				  "state has counter-v1, v3 does not know "
				  "counter: build it with counter in a version "
				  "that reads v1",
				  .has = 1) } },
		/* one component in two versions, each with its owners */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "x", "app-v1;table-v1", 0 },
			    { "y", "app-v1;table-v2", 0 },
			    { "z", "table-v2", 0 },
			    { "w", "app-v1;table-v1", 0 } },
		  .to = { { .name = "app", .read = V(1, 1) },
			  { .name = "table", .read = V(2, 3) } },
		  .expected = { F("table", KHO_INCOMPATIBLE, 1, V(1, 1),
				  V(2, 3), "app (x), app (w)",
				  "state has table-v1, v3 reads only v2-v3: "
				  "update through a program that reads "
				  "table-v1 and writes table-v2, or build "
				  "the successor with support for v1",
				  .has = 1),
				FINE("app", "x, y, w", .has = 1),
				F("table", KHO_OK, 2, V(2, 2), V(2, 3),
				  "app (y), z", NULL, .has = 2) } },
		/* both readable: the higher one first */
		{ .used = { { "x", "table-v1", 0 }, { "y", "table-v2", 0 } },
		  .to = { { .name = "table", .read = V(1, 3) } },
		  .expected = { F("table", KHO_OK, 2, V(2, 2), V(1, 3), "y",
				  NULL, .has = 2),
				F("table", KHO_OK, 1, V(1, 1), V(1, 3), "x",
				  NULL, .has = 1) } },
		/* a pin does not convert what nobody converts */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v2", 0 } },
		  .to = { { .name = "counter", .read = V(1, 2) } },
		  .pin = { "counter", 1 },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 2, V(2, 2),
				  V(1, 2), "n",
				  "profile 'fleet' pins counter to v1, the "
				  "state has v2, which nobody converts: change "
				  "the pin",
				  .has = 2, .pin = 1) } },
		{ .used = { { "n", "counter-v2", 0 } },
		  .to = { { .name = "counter", .read = V(1, 2) } },
		  .pin = { "counter", 2 },
		  .expected = { F("counter", KHO_OK, 2, V(2, 2), V(1, 2), "n",
				  NULL, .has = 2, .pin = 2) } },
	};

	(void)state;
	check_state_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

/* The preflight: there is somebody who could convert it. */
static void conversions(void **state)
{
	static const struct state_case cases[] = {
		/* to convert it to what it is is no conversion */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v2", 0 } },
		  .writer = CONVERTS(V(2, 2)),
		  .to = { { .name = "counter", .read = V(1, 1) } },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 0, V(2, 2),
				  V(1, 1), "n",
				  "state has counter-v2, v3 reads only v1: "
				  "update through a program that reads "
				  "counter-v2 and writes counter-v1, or build "
				  "the successor with support for v2",
				  .has = 2) } },
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "c", "counter-v2", CARRIED },
			    { "n", "counter-v2", 0 } },
		  .writer = CONVERTS(V(2, 2)),
		  .to = { { .name = "counter", .read = V(1, 1) } },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 0, V(2, 2),
				  V(1, 1), "c, n",
				  "state has counter-v2, v3 reads only v1: "
				  "update through a program that reads "
				  "counter-v2 and writes counter-v1, or build "
				  "the successor with support for v2",
				  .has = 2) } },
		/* as high as both can */
		{ .used = { { "n", "counter-v1", 0 } },
		  .writer = CONVERTS(V(1, 3)),
		  .to = { { .name = "counter", .read = V(2, 9) } },
		  .expected = { F("counter", KHO_OK, 3, V(1, 3), V(2, 9), "n",
				  NULL, .has = 1) } },
		{ .used = { { "n", "counter-v3", 0 } },
		  .writer = CONVERTS(V(1, 3)),
		  .to = { { .name = "counter", .read = V(1, 2) } },
		  .expected = { F("counter", KHO_OLDER, 2, V(1, 3), V(1, 2),
				  "n", "v3 reads only up to v2", .has = 3) } },
		/* who cannot convert leaves it as it is, whatever it writes */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v1", 0 } },
		  .writer = { { .name = "counter", .write = V(2, 2) } },
		  .to = { { .name = "counter", .read = V(2, 2) } },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 0, V(1, 1),
				  V(2, 2), "n",
				  "state has counter-v1, v3 reads only v2: "
				  "update through a program that reads "
				  "counter-v1 and writes counter-v2, or build "
				  "the successor with support for v1",
				  .has = 1) } },
		{ .used = { { "n", "counter-v1", 0 } },
		  .writer = { { .name = "counter", .write = V(2, 2) } },
		  .to = { { .name = "counter", .read = V(1, 2) } },
		  .expected = { F("counter", KHO_OK, 1, V(1, 1), V(1, 2), "n",
				  NULL, .has = 1) } },
		/* it may also stay as it is, outside of what is written */
		{ .used = { { "n", "counter-v1", 0 } },
		  .writer = CONVERTS(V(3, 4)),
		  .to = { { .name = "counter", .read = V(1, 2) } },
		  .expected = { F("counter", KHO_OLDER, 1, V(3, 4), V(1, 2),
				  "n", "v3 reads only up to v2", .has = 1) } },
		{ .used = { { "n", "counter-v9", 0 } },
		  .writer = CONVERTS(V(3, 4)),
		  .to = { { .name = "counter", .read = V(1, 9) } },
		  .expected = { F("counter", KHO_OK, 9, V(3, 4), V(1, 9), "n",
				  NULL, .has = 9) } },
		{ .used = { { "n", "counter-v9", 0 } },
		  .writer = CONVERTS(V(3, 4)),
		  .to = { { .name = "counter", .read = V(1, 8) } },
		  .expected = { F("counter", KHO_OLDER, 4, V(3, 4), V(1, 8),
				  "n", "v3 reads only up to v8", .has = 9) } },
		/* on both sides of the reader */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v1", 0 } },
		  .writer = CONVERTS(V(3, 4)),
		  .to = { { .name = "counter", .read = V(2, 2) } },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 0, V(3, 4),
				  V(2, 2), "n",
				  "state has counter-v1, old can convert it to "
				  "v3-v4, v3 reads only v2: update through a "
				  "program that reads counter-v4 and writes "
				  "counter-v2, or build the successor with "
				  "support for v4",
				  .has = 1) } },
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v3", 0 } },
		  .writer = CONVERTS(V(3, 4)),
		  .expected = { F("counter", KHO_UNKNOWN, 0, V(3, 4), V(0, 0),
				  "n",
				  "state has counter-v3, old can convert it to "
				  "v3-v4, v3 does not know counter: build it "
				  "with counter in a version that reads v3-v4",
				  .has = 3) } },
		/* pins */
		{ .used = { { "n", "counter-v3", 0 } },
		  .writer = CONVERTS(V(1, 3)),
		  .to = { { .name = "counter", .read = V(1, 3) } },
		  .pin = { "counter", 2 },
		  .expected = { F("counter", KHO_OLDER, 2, V(1, 3), V(1, 3),
				  "n", "profile 'fleet' pins it to v2",
				  .has = 3, .pin = 2) } },
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v3", 0 } },
		  .writer = CONVERTS(V(1, 3)),
		  .to = { { .name = "counter", .read = V(3, 3) } },
		  .pin = { "counter", 2 },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 0, V(1, 3),
				  V(3, 3), "n",
				  "profile 'fleet' pins counter to v2, v3 reads "
				  "only v3: change the pin to v3, or build the "
				  "successor with support for v2",
				  .has = 3, .pin = 2) } },
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", "counter-v3", 0 } },
		  .writer = CONVERTS(V(2, 3)),
		  .to = { { .name = "counter", .read = V(1, 3) } },
		  .pin = { "counter", 1 },
		  .expected = { F("counter", KHO_INCOMPATIBLE, 0, V(2, 3),
				  V(1, 3), "n",
				  "profile 'fleet' pins counter to v1, the "
				  "state has v3, which old can only convert to "
				  "v2-v3: change the pin",
				  .has = 3, .pin = 1) } },
		/* a pin to what is there needs nobody who writes it */
		{ .used = { { "n", "counter-v1", 0 } },
		  .writer = CONVERTS(V(2, 3)),
		  .to = { { .name = "counter", .read = V(1, 3) } },
		  .pin = { "counter", 1 },
		  .expected = { F("counter", KHO_OLDER, 1, V(2, 3), V(1, 3),
				  "n", "profile 'fleet' pins it to v1",
				  .has = 1, .pin = 1) } },
		/* one of what is not in use has no effect */
		{ .used = { { "n", "counter-v1", 0 } },
		  .writer = { { .name = "counter", .write = V(1, 1) } },
		  .to = { { .name = "counter", .read = V(1, 1) } },
		  .pin = { "other", 7 },
		  .expected = { FINE("counter", "n", .has = 1) } },
	};

	(void)state;
	check_state_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

/* Subtrees that one can be without. */
static void optional_subtrees(void **state)
{
	static const struct state_case cases[] = {
		/* without consent */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "a", "app-v1", 0 },
			    { "c", "cache-v1", OPTIONAL } },
		  .to = { { .name = "app", .read = V(1, 1) } },
		  .expected = { F("cache", KHO_UNKNOWN, 1, V(1, 1), V(0, 0), "c",
				  "state has cache-v1, v3 does not know cache: "
				  "build it with cache in a version that reads "
				  "v1; it is optional: --allow-degraded would "
				  "go on without it",
				  .has = 1, .optional = true),
				FINE("app", "a", .has = 1) } },
		/* with it */
		{ .outcome = KHO_OUTCOME_DEGRADED,
		  .used = { { "a", "app-v1", 0 },
			    { "c", "cache-v1", OPTIONAL } },
		  .to = { { .name = "app", .read = V(1, 1) } },
		  .allow_degraded = true,
		  .expected = { F("cache", KHO_DROPPED, 1, V(1, 1), V(0, 0), "c",
				  "state has cache-v1, v3 does not know cache: "
				  "build it with cache in a version that reads "
				  "v1; optional: goes on without it and carries "
				  "it along",
				  .has = 1, .optional = true),
				FINE("app", "a", .has = 1) } },
		/* one that is readable is not dropped */
		{ .used = { { "c", "cache-v1", OPTIONAL } },
		  .to = { { .name = "cache", .read = V(1, 1) } },
		  .allow_degraded = true,
		  .expected = { FINE("cache", "c", .has = 1,
				     .optional = true) } },
		/* it goes as a whole, but not with what others have too */
		{ .outcome = KHO_OUTCOME_DEGRADED,
		  .used = { { "a", "app-v1;block-v1", 0 },
			    { "c", "cache-v1;block-v1;log-v1;table-v2",
			      OPTIONAL } },
		  .to = { { .name = "app", .read = V(1, 1) },
			  { .name = "block", .read = V(1, 1) },
			  { .name = "cache", .read = V(1, 1) },
			  { .name = "log", .read = V(1, 1) },
			  { .name = "table", .read = V(1, 1) } },
		  .allow_degraded = true,
		  .expected = { F("cache", KHO_DROPPED, 1, V(1, 1), V(1, 1), "c",
				  "needs table, which cannot be handed over; optional: "
				  "goes on without it and carries it along",
				  .has = 1, .optional = true),
				F("table", KHO_DROPPED, 2, V(2, 2), V(1, 1),
				  "cache (c)",
				  "state has table-v2, v3 reads only v1: update "
				  "through a program that reads table-v2 and "
				  "writes table-v1, or build the successor with "
				  "support for v2; optional: goes on without it "
				  "and carries it along",
				  .has = 2, .optional = true),
				FINE("app", "a", .has = 1),
				FINE("block", "app (a), cache (c)", .has = 1),
				FINE("log", "cache (c)", .has = 1,
				     .optional = true) } },
		/* a part that others need makes it fail for all */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "a", "app-v1;table-v2", 0 },
			    { "c", "cache-v1;table-v2", OPTIONAL } },
		  .to = { { .name = "app", .read = V(1, 1) },
			  { .name = "cache", .read = V(1, 1) } },
		  .allow_degraded = true,
		  .expected = { F("table", KHO_UNKNOWN, 2, V(2, 2), V(0, 0),
				  "app (a), cache (c)",
				  "state has table-v2, v3 does not know table: "
				  "build it with table in a version that reads "
				  "v2",
				  .has = 2),
				F("cache", KHO_DROPPED, 1, V(1, 1), V(1, 1), "c",
				  "needs table, which cannot be handed over; optional: "
				  "goes on without it and carries it along",
				  .has = 1, .optional = true),
				FINE("app", "a", .has = 1) } },
		/* two of a component: one is dropped, one is read */
		{ .outcome = KHO_OUTCOME_DEGRADED,
		  .used = { { "x", "cache-v1;table-v2", OPTIONAL },
			    { "y", "cache-v1;table-v1", OPTIONAL } },
		  .to = { { .name = "cache", .read = V(1, 1) },
			  { .name = "table", .read = V(1, 1) } },
		  .allow_degraded = true,
		  .expected = { F("table", KHO_DROPPED, 2, V(2, 2), V(1, 1),
				  "cache (x)",
				  "state has table-v2, v3 reads only v1: update "
				  "through a program that reads table-v2 and "
				  "writes table-v1, or build the successor with "
				  "support for v2; optional: goes on without it "
				  "and carries it along",
				  .has = 2, .optional = true),
				FINE("cache", "x, y", .has = 1,
				     .optional = true),
				FINE("table", "cache (y)", .has = 1,
				     .optional = true) } },
		/* in the preflight nothing is written of what is dropped */
		{ .outcome = KHO_OUTCOME_DEGRADED,
		  .used = { { "c", "cache-v2", OPTIONAL } },
		  .writer = { { .name = "cache",
				.write = V(2, 3),
				.flags = KHO_COMPONENT_OPTIONAL |
					 KHO_COMPONENT_CONVERT } },
		  .to = { { .name = "cache", .read = V(1, 1) } },
		  .allow_degraded = true,
		  .expected = { F("cache", KHO_DROPPED, 0, V(2, 3), V(1, 1), "c",
				  "state has cache-v2, old can convert it to "
				  "v2-v3, v3 reads only v1: update through a "
				  "program that reads cache-v3 and writes "
				  "cache-v1, or build the successor with support "
				  "for v3; optional: goes on without it and "
				  "carries it along",
				  .has = 2, .optional = true) } },
	};

	(void)state;
	check_state_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

#define CARRIED_CACHE                                                          \
	F("cache", KHO_DROPPED, 1, V(1, 1), V(2, 3), "c",                      \
	  "state has cache-v1, v3 reads only v2-v3: update through a program " \
	  "that reads cache-v1 and writes cache-v2, or build the successor "   \
	  "with support for v1; carried along as before",                      \
	  .has = 1, .optional = true)

/* Subtrees that an older program went on without. */
static void carried_subtrees(void **state)
{
	static const struct state_case cases[] = {
		/* it takes no new consent, and degrades nothing */
		{ .used = { { "c", "cache-v1", CARRIED } },
		  .to = { { .name = "cache", .read = V(2, 3) } },
		  .expected = { CARRIED_CACHE } },
		/* nobody converts it, and no pin is meant for it */
		{ .used = { { "c", "cache-v1", CARRIED } },
		  .writer = { { .name = "cache",
				.write = V(1, 3),
				.flags = KHO_COMPONENT_CONVERT } },
		  .to = { { .name = "cache", .read = V(2, 3) } },
		  .pin = { "cache", 3 },
		  .expected = { CARRIED_CACHE } },
		/* found again */
		{ .used = { { "c", "cache-v1", CARRIED } },
		  .writer = { { .name = "cache",
				.write = V(1, 3),
				.flags = KHO_COMPONENT_CONVERT } },
		  .to = { { .name = "cache", .read = V(1, 3) } },
		  .expected = { F("cache", KHO_OK, 1, V(1, 1), V(1, 3), "c",
				  NULL, .has = 1, .optional = true) } },
		/* beside one that is not carried */
		{ .used = { { "c", "cache-v1", CARRIED },
			    { "d", "cache-v1", 0 } },
		  .writer = { { .name = "cache",
				.write = V(1, 3),
				.flags = KHO_COMPONENT_CONVERT } },
		  .to = { { .name = "cache", .read = V(2, 3) } },
		  .expected = { CARRIED_CACHE,
				F("cache", KHO_OK, 3, V(1, 3), V(2, 3), "d",
				  NULL, .has = 1) } },
		/* the same offer: then it is up to the one that is not */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "c", "cache-v1", CARRIED },
			    { "d", "cache-v1", OPTIONAL } },
		  .to = { { .name = "cache", .read = V(2, 3) } },
		  .expected = { F("cache", KHO_INCOMPATIBLE, 1, V(1, 1),
				  V(2, 3), "c, d",
				  "state has cache-v1, v3 reads only v2-v3: "
				  "update through a program that reads cache-v1 "
				  "and writes cache-v2, or build the successor "
				  "with support for v1; it is optional: "
				  "--allow-degraded would go on without it",
				  .has = 1, .optional = true) } },
		/* consent for another one is for that one */
		{ .outcome = KHO_OUTCOME_DEGRADED,
		  .used = { { "c", "cache-v1", CARRIED },
			    { "l", "log-v1", OPTIONAL } },
		  .to = { { .name = "cache", .read = V(2, 3) } },
		  .allow_degraded = true,
		  .expected = { CARRIED_CACHE,
				F("log", KHO_DROPPED, 1, V(1, 1), V(0, 0), "l",
				  "state has log-v1, v3 does not know log: "
				  "build it with log in a version that reads "
				  "v1; optional: goes on without it and carries "
				  "it along",
				  .has = 1, .optional = true) } },
	};

	(void)state;
	check_state_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

#define NAMELESS                                                               \
	"n does not say what it is, and nothing is known of one of this "      \
	"name: its writer has to add a composite"

/* Subtrees that do not say what they are. */
static void nameless_subtrees(void **state)
{
	static const struct state_case cases[] = {
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "n", NULL, 0 }, { "m", "n-v1", 0 } },
		  .to = { { .name = "n", .read = V(1, 1) } },
		  .pin = { "n", 1 },
		  .expected = { F("n", KHO_UNKNOWN, 0, V(0, 0), V(0, 0), "n",
				  NAMELESS),
				FINE("n", "m", .has = 1, .pin = 1) } },
		/* two are two, and each is judged by itself */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "a-name-that-is-cut-to-what-fits", NULL, 0 },
			    { "n", NULL, OPTIONAL } },
		  .allow_degraded = true,
		  .expected = { F("a-name-that-is-cut-to-w", KHO_UNKNOWN, 0,
				  V(0, 0), V(0, 0),
				  "a-name-that-is-cut-to-what-fits",
				  "a-name-that-is-cut-to-what-fits does not "
				  "say what it is, and nothing is known of one "
				  "of this name: its writer has to add a "
				  "composite"),
				F("n", KHO_DROPPED, 0, V(0, 0), V(0, 0), "n",
				  NAMELESS "; optional: goes on without it and "
					   "carries it along",
				  .optional = true) } },
		{ .used = { { "n", NULL, CARRIED } },
		  .expected = { F("n", KHO_DROPPED, 0, V(0, 0), V(0, 0), "n",
				  NAMELESS "; carried along as before",
				  .optional = true) } },
	};

	(void)state;
	check_state_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

#define KEYS "3 keys stand in the way: a, b, c"

/* Somebody who knows more than the versions. */
static void questions(void **state)
{
	static const struct state_case cases[] = {
		/* of each that would be readable, in the version it would have */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "a", "app-v2;table-v1", 0 }, { "x", "x-v1", 0 } },
		  .writer = { { .name = "app",
				.write = V(1, 2),
				.flags = KHO_COMPONENT_CONVERT } },
		  .to = { { .name = "app", .read = V(1, 1) },
			  { .name = "table", .read = V(1, 1) } },
		  .asked = { .expected = "app-v1 table-v1" },
		  .expected = { F("x", KHO_UNKNOWN, 0, V(1, 1), V(0, 0), "x",
				  "state has x-v1, v3 does not know x: build it "
				  "with x in a version that reads v1",
				  .has = 1),
				F("app", KHO_OLDER, 1, V(1, 2), V(1, 1), "a",
				  "v3 reads only up to v1", .has = 2),
				FINE("table", "app (a)", .has = 1) } },
		/* a refusal is told in its own words */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "a", "app-v2", 0 } },
		  .writer = { { .name = "app",
				.write = V(1, 2),
				.flags = KHO_COMPONENT_CONVERT } },
		  .to = { { .name = "app", .read = V(1, 1) } },
		  .asked = { .expected = "app-v1", .refuse = "app-v1" },
		  .expected = { F("app", KHO_INCOMPATIBLE, 0, V(1, 2), V(1, 1),
				  "a", KEYS, .has = 2) } },
		/* what nobody writes is still what it is */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "a", "app-v2", 0 } },
		  .to = { { .name = "app", .read = V(1, 2) } },
		  .asked = { .expected = "app-v2", .refuse = "app-v2" },
		  .expected = { F("app", KHO_INCOMPATIBLE, 2, V(2, 2), V(1, 2),
				  "a", KEYS, .has = 2) } },
		/* one can be without who refuses */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "a", "app-v1", OPTIONAL } },
		  .to = { { .name = "app", .read = V(1, 1) } },
		  .asked = { .expected = "app-v1", .refuse = "app-v1" },
		  .expected = { F("app", KHO_INCOMPATIBLE, 1, V(1, 1), V(1, 1),
				  "a",
				  KEYS "; it is optional: --allow-degraded "
				       "would go on without it",
				  .has = 1, .optional = true) } },
		{ .outcome = KHO_OUTCOME_DEGRADED,
		  .used = { { "a", "app-v1;table-v1", OPTIONAL } },
		  .to = { { .name = "app", .read = V(1, 1) },
			  { .name = "table", .read = V(1, 1) } },
		  .allow_degraded = true,
		  .asked = { .expected = "app-v1 table-v1",
			     .refuse = "table-v1" },
		  .expected = { F("app", KHO_DROPPED, 1, V(1, 1), V(1, 1), "a",
				  "needs table, which cannot be handed over; optional: "
				  "goes on without it and carries it along",
				  .has = 1, .optional = true),
				F("table", KHO_DROPPED, 1, V(1, 1), V(1, 1),
				  "app (a)",
				  KEYS "; optional: goes on without it and "
				       "carries it along",
				  .has = 1, .optional = true) } },
		/* the writer has nothing to say of what it carries */
		{ .used = { { "c", "cache-v1", CARRIED } },
		  .writer = { { .name = "cache", .write = V(1, 1) } },
		  .to = { { .name = "cache", .read = V(1, 1) } },
		  .asked = { .expected = "", .refuse = "cache-v1" },
		  .expected = { FINE("cache", "c", .has = 1,
				     .optional = true) } },
		/* but the reader has */
		{ .used = { { "c", "cache-v1", CARRIED } },
		  .to = { { .name = "cache", .read = V(1, 1) } },
		  .asked = { .expected = "cache-v1", .refuse = "cache-v1" },
		  .expected = { F("cache", KHO_DROPPED, 1, V(1, 1), V(1, 1),
				  "c", KEYS "; carried along as before",
				  .has = 1, .optional = true) } },
		/* and the writer has of another that has the same */
		{ .outcome = KHO_OUTCOME_INCOMPATIBLE,
		  .used = { { "c", "cache-v1", CARRIED },
			    { "d", "cache-v1", 0 } },
		  .writer = { { .name = "cache", .write = V(1, 1) } },
		  .to = { { .name = "cache", .read = V(1, 1) } },
		  .asked = { .expected = "cache-v1", .refuse = "cache-v1" },
		  .expected = { F("cache", KHO_INCOMPATIBLE, 0, V(1, 1),
				  V(1, 1), "c, d", KEYS, .has = 1) } },
	};

	(void)state;
	check_state_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t n, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size);
char *__real_strdup(const char *string);
char *__wrap_strdup(const char *string);

void *__wrap_realloc(void *old, size_t size)
{
	return heap_fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t n, size_t size)
{
	return heap_fails() ? NULL : __real_reallocarray(old, n, size);
}

char *__wrap_strdup(const char *string)
{
	return heap_fails() ? NULL : __real_strdup(string);
}

/* Every allocation fails once; those that are not needed may. */
static void out_of_memory(void **state)
{
	static const struct kho_component_desc descs[MAX] = {
		{ .name = "a", .write = V(1, 1), .deps = { "b" } },
		{ .name = "b", .write = V(1, 1), .read = V(1, 1), S },
		{ .name = "c", .write = V(1, 1), .read = V(1, 1) },
	};
	struct kho_manifest_entry entries[MAX];
	struct kho_manifest self = program("a", descs, entries);
	struct kho_used used[2] = { { .owner = "x" }, { .owner = "y" } };
	int ret, n, failed = 0;

	(void)state;
	kho_composite_parse("a-v1;b-v1", &used[0].composite, NULL);
	for (n = 0; n < 100; n++) {
		struct kho_report *report;

		fail_in = n / 2;
		ret = n % 2 ? kho_check_state(used, 2, "s", &self, &self, NULL,
					      &report, NULL) :
			      kho_check_manifests(&self, &self, NULL, &report,
						  NULL);
		fail_in = -1;
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			failed++;
			continue;
		}
		assert_outcome(report, KHO_OUTCOME_INCOMPATIBLE);
		assert_int_equal(report->n, 3);
		kho_report_free(report);
	}
	assert_in_range(failed, 15, 30);
}

static int refuse_wordless(const char *name, uint32_t version, void *arg,
			   struct kho_error *why)
{
	(void)name;
	(void)version;
	(void)arg;
	(void)why;
	return -EFBIG;
}

static int refuse_at_length(const char *name, uint32_t version, void *arg,
			    struct kho_error *why)
{
	char text[KHO_ERROR_SIZE];

	(void)name;
	(void)version;
	(void)arg;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	return kho_fail(why, -EBUSY, "%s", text);
}

/* Of two programs too; a text of any length is kept as far as there is room. */
static void refusals(void **state)
{
	static const struct kho_component_desc descs[MAX] = {
		{ .name = "a", .write = V(1, 1), .read = V(1, 1), OPT },
	};
	struct kho_check_opts opts = { .size = sizeof(opts),
				       .ask = refuse_wordless };
	struct kho_manifest_entry entries[MAX];
	struct kho_manifest self = program("a", descs, entries);
	struct kho_report *report;
	size_t i, length;

	(void)state;
	assert_int_equal(kho_check_manifests(&self, &self, &opts, &report,
					     NULL),
			 0);
	assert_outcome(report, KHO_OUTCOME_INCOMPATIBLE);
	assert_int_equal(report->findings[0].verdict, KHO_INCOMPATIBLE);
	assert_int_equal(report->findings[0].version, 0);
	assert_non_null(strstr(report->findings[0].reason, strerror(EFBIG)));
	kho_report_free(report);

	opts.ask = refuse_at_length;
	opts.allow_degraded = true;
	assert_int_equal(kho_check_manifests(&self, &self, &opts, &report,
					     NULL),
			 0);
	assert_outcome(report, KHO_OUTCOME_DEGRADED);
	length = strlen(report->findings[0].reason);
	assert_int_equal(length, KHO_ERROR_SIZE - 1);
	for (i = 0; i < length - strlen(" ..."); i++)
		assert_int_equal(report->findings[0].reason[i], 'x');
	assert_string_equal(report->findings[0].reason + i, " ...");
	kho_report_free(report);
}

/* Which of several one finds. */
static void find(void **state)
{
	struct kho_finding findings[] = {
		{ .name = "a", .verdict = KHO_DROPPED, .version = 1 },
		{ .name = "b", .verdict = KHO_DROPPED, .version = 1 },
		{ .name = "b", .verdict = KHO_DROPPED, .version = 2 },
		{ .name = "a", .verdict = KHO_OK, .version = 3 },
		{ .name = "a", .verdict = KHO_OK, .version = 2 },
	};
	struct kho_report report = { .n = 5, .findings = findings };

	(void)state;
	assert_ptr_equal(kho_report_find(&report, "a"), &findings[3]);
	assert_ptr_equal(kho_report_find(&report, "b"), &findings[1]);
	assert_null(kho_report_find(&report, "c"));
	findings[0].verdict = KHO_UNKNOWN;
	assert_ptr_equal(kho_report_find(&report, "a"), &findings[0]);
}

/* As many owners as there is no room for, with the longest names. */
static void many_owners(void **state)
{
	static struct kho_used used[100];
	struct kho_manifest to = { .target = (char *)"to" };
	struct kho_report *report;
	size_t i;

	(void)state;
	for (i = 0; i < 100; i++) {
		memset(used[i].owner, 'o', sizeof(used[i].owner) - 1);
		kho_composite_parse("abcdefghijklmnopqrstuvw-v4294967295;"
				    "bbcdefghijklmnopqrstuvw-v4294967295",
				    &used[i].composite, NULL);
	}
	assert_int_equal(kho_check_state(used, 100, "from", NULL, &to, NULL,
					 &report, NULL),
			 0);
	assert_int_equal(report->n, 2);
	assert_int_equal(strlen(report->findings[0].needed_by), 63 + 5);
	assert_string_equal(report->findings[0].needed_by + 60, "ooo, ...");
	assert_string_equal(report->findings[1].needed_by + 80,
			    "oooooooo), ...");
	kho_report_free(report);
}

/* The longest names there are: there is room for all of them. */
static void long_names(void **state)
{
	char target[256 + sizeof(" writes abcdefghijklmnopqrstuvw")] = "/";
	static const struct kho_component_desc from_desc[MAX] = {
		{ .name = "abcdefghijklmnopqrstuvw",
		  .write = V(4000000000, 4000000001),
		  OPT },
	};
	static const struct kho_component_desc to_desc[MAX] = {
		{ .name = "abcdefghijklmnopqrstuvw",
		  .read = V(4200000000, 4200000001) },
	};
	struct kho_manifest_entry from_entries[MAX], to_entries[MAX];
	struct kho_manifest from = program(target, from_desc, from_entries);
	struct kho_manifest to = program(target, to_desc, to_entries);
	struct kho_report *report;

	(void)state;
	memset(target + 1, 'n', 255);
	assert_int_equal(kho_check_manifests(&from, &to, NULL, &report, NULL),
			 0);
	strcat(target, " writes abcdefghijklmnopqrstuvw");
	assert_memory_equal(report->findings[0].reason, target + 1,
			    strlen(target + 1));
	assert_non_null(strstr(report->findings[0].reason,
			       "build the successor with support for "
			       "v4000000001; it is optional: --allow-degraded "
			       "would go on without it"));
	kho_report_free(report);
}

static struct kho_report *example(bool allow_degraded, uint32_t table)
{
	static const struct kho_component_desc from_desc[MAX] = {
		{ .name = "app", .write = V(1, 2), .deps = { "table" } },
		{ .name = "gone", .write = V(1, 1), OPT },
		{ .name = "table", .write = V(2, 3), S },
	};
	const struct kho_component_desc to_desc[MAX] = {
		{ .name = "app", .read = V(1, 10) },
		{ .name = "table", .read = V(table, table) },
	};
	const struct kho_check_opts opts = { .size = sizeof(opts),
					     .allow_degraded = allow_degraded };
	struct kho_manifest_entry from_entries[MAX], to_entries[MAX];
	struct kho_manifest from = program("./v1", from_desc, from_entries);
	struct kho_manifest to = program("./v3", to_desc, to_entries);
	struct kho_report *report;

	assert_int_equal(kho_check_manifests(&from, &to, &opts, &report, NULL),
			 0);
	return report;
}

static char *printed(const struct kho_report *report, bool color)
{
	size_t size;
	char *text;
	FILE *out = open_memstream(&text, &size);

	kho_report_print(report, out, color);
	fclose(out);
	return text;
}

#define GONE                                                                   \
	"v1 writes gone v1, v3 does not know gone: build it with gone "        \
	"in a version that reads v1; "
#define REFUSED GONE "it is optional: --allow-degraded would go on without it"
#define DROPPED GONE "optional: goes on without it and carries it along"
#define TABLE                                                                  \
	"v1 writes table v2-v3, v3 reads only v4: update through a "           \
	"program that reads table-v3 and writes table-v4, or build "           \
	"the successor with support for v3"

static void print(void **state)
{
	static const struct kho_report empty = {
		.outcome = KHO_OUTCOME_COMPATIBLE,
		.from = (char *)"a\033[m",
		.to = (char *)"b\n",
	};
	struct kho_report *report = example(false, 4);
	char *text = printed(report, false);

	(void)state;
	assert_string_equal(text, "incompatible: ./v1 -> ./v3\n"
				  "  gone: " REFUSED "\n"
				  "  table: " TABLE "\n");
	free(text);
	text = printed(report, true);
	assert_non_null(strstr(text, "\033[1;31mincompatible\033[0m: ./v1"));
	free(text);
	kho_report_free(report);

	report = example(true, 2);
	text = printed(report, false);
	assert_string_equal(text, "degraded: ./v1 -> ./v3\n"
				  "  gone: " DROPPED "\n"
				  "  table: v3 reads only up to v2\n");
	free(text);
	text = printed(report, true);
	assert_non_null(strstr(text, "\033[33mdegraded\033[0m: ./v1"));
	free(text);
	kho_report_free(report);

	text = printed(&empty, true);
	assert_string_equal(text, "\033[32mcompatible\033[0m: a?[m -> b?\n");
	free(text);
}

static void assert_summary(const struct kho_report *report,
			   const char *expected)
{
	char text[1024];

	kho_report_summary(report, text, sizeof(text));
	assert_string_equal(text, expected);
}

static void summary(void **state)
{
	static const char all[] = "gone unknown (" REFUSED "); table "
				  "incompatible (" TABLE ")";
	struct kho_report *report = example(false, 4);
	char cut[20];

	(void)state;
	assert_summary(report, all);
	kho_report_summary(report, cut, sizeof(cut));
	assert_string_equal(cut, "gone unknown ...");
	kho_report_free(report);

	/* what is dropped is worth telling only when nothing is worse */
	report = example(true, 4);
	assert_summary(report, "table incompatible (" TABLE ")");
	kho_report_free(report);
	report = example(true, 2);
	assert_summary(report, "gone dropped (" DROPPED ")");
	report->outcome = KHO_OUTCOME_COMPATIBLE;
	assert_summary(report, "compatible");
	kho_report_free(report);
	kho_report_free(NULL);
}

/* What decides besides versions changes the outcome, to the worse only. */
static void conditions(void **state)
{
	struct kho_report *report = example(true, 2);
	json_object *json, *expected;
	char *text = NULL;
	size_t size;
	FILE *out;

	(void)state;
	assert_int_equal(report->outcome, KHO_OUTCOME_DEGRADED);
	assert_int_equal(kho_report_add(report, "a=", KHO_CONDITION_OK, "%s",
					"on"),
			 0);
	assert_int_equal(report->outcome, KHO_OUTCOME_DEGRADED);
	kho_report_add(report, "b", KHO_CONDITION_UNKNOWN, "perhaps");
	assert_int_equal(report->outcome, KHO_OUTCOME_UNKNOWN);
	kho_report_add(report, "b", KHO_CONDITION_OK, "on");
	assert_int_equal(report->outcome, KHO_OUTCOME_UNKNOWN);
	kho_report_add(report, "c", KHO_CONDITION_FAILS, "off");
	assert_int_equal(report->outcome, KHO_OUTCOME_INCOMPATIBLE);
	kho_report_add(report, "b", KHO_CONDITION_UNKNOWN, "perhaps");
	assert_int_equal(report->outcome, KHO_OUTCOME_INCOMPATIBLE);
	assert_summary(report, "b unknown (perhaps); c fails (off); "
			       "b unknown (perhaps)");
	text = kho_report_json(report);
	json = json_tokener_parse(text);
	free(text);
	expected = json_tokener_parse(
		"{\"name\":\"c\",\"verdict\":\"fails\",\"reason\":\"off\"}");
	assert_true(json_object_equal(
		json_object_array_get_idx(json_object_object_get(json,
								 "conditions"),
					  3),
		expected));
	json_object_put(expected);
	json_object_put(json);

	out = open_memstream(&text, &size);
	kho_report_print(report, out, false);
	fclose(out);
	/* What fails, and nothing else. */
	assert_non_null(strstr(text, "\n  c: off\n"));
	assert_null(strstr(text, "a="));
	free(text);
	kho_report_free(report);
}

static void report_json(void **state)
{
	struct kho_report *report = example(false, 4);
	json_object *json, *list, *expected;
	char *text;

	(void)state;
	report->findings[2].has = 7;
	report->findings[2].pin = 2;
	text = kho_report_json(report);
	json = json_tokener_parse(text);
	assert_non_null(json);
	list = json_object_object_get(json, "components");
	assert_int_equal(json_object_array_length(list), 3);
	expected = json_tokener_parse(
		"{\"name\":\"gone\",\"verdict\":\"unknown\",\"version\":null,"
		"\"has\":null,\"writer\":{\"min\":1,\"max\":1},"
		"\"reader\":null,\"pin\":null,\"optional\":true,"
		"\"needed_by\":\"\",\"reason\":\"" REFUSED "\"}");
	assert_true(json_object_equal(json_object_array_get_idx(list, 0),
				      expected));
	json_object_put(expected);
	expected = json_tokener_parse(
		"{\"name\":\"app\",\"verdict\":\"ok\",\"version\":2,"
		"\"has\":7,\"writer\":{\"min\":1,\"max\":2},"
		"\"reader\":{\"min\":1,\"max\":10},\"pin\":2,"
		"\"optional\":false,\"needed_by\":\"\",\"reason\":\"\"}");
	assert_true(json_object_equal(json_object_array_get_idx(list, 2),
				      expected));
	json_object_put(expected);
	json_object_object_del(json, "components");
	expected = json_tokener_parse(
		"{\"schema\":\"kho-report\",\"version\":1,"
		"\"outcome\":\"incompatible\",\"compatible\":false,"
		"\"from\":\"./v1\",\"to\":\"./v3\",\"conditions\":[]}");
	assert_true(json_object_equal(json, expected));
	json_object_put(expected);
	json_object_put(json);
	free(text);
	kho_report_free(report);
}

static void manifest_json(void **state)
{
	static const struct kho_component_desc descs[MAX] = {
		{ .name = "a",
		  .write = V(1, UINT32_MAX),
		  .deps = { "c", "b" },
		  .flags = KHO_COMPONENT_OPTIONAL | KHO_COMPONENT_HANDLER |
			   KHO_COMPONENT_CHECK | KHO_COMPONENT_CONVERT },
		{ .name = "b",
		  .read = V(2, 3),
		  .flags = KHO_COMPONENT_STRUCTURE | KHO_COMPONENT_CAN_WRITE },
	};
	char *sources[] = { (char *)"/bin/a", (char *)"/lib/\"b\".so" };
	struct kho_manifest_entry entries[MAX];
	struct kho_manifest manifest = program("a", descs, entries);
	json_object *json, *expected;
	char *text;

	(void)state;
	manifest.sources = sources;
	manifest.n_sources = 2;
	entries[0].source = 0;
	entries[0].bundle = NULL;
	entries[1].source = 1;
	entries[1].bundle = "b-v3";
	text = kho_manifest_json(&manifest);
	json = json_tokener_parse(text);
	expected = json_tokener_parse(
		"{\"schema\":\"kho-manifest\",\"version\":1,\"target\":\"a\","
		"\"sources\":[\"/bin/a\",\"/lib/\\\"b\\\".so\"],"
		"\"components\":[{\"name\":\"a\","
		"\"write\":{\"min\":1,\"max\":4294967295},\"read\":null,"
		"\"structure\":false,\"optional\":true,\"handler\":true,"
		"\"check\":true,\"can_write\":false,\"convert\":true,"
		"\"deps\":[\"c\",\"b\"],\"source\":\"/bin/a\","
		"\"bundle\":null},"
		"{\"name\":\"b\",\"write\":null,"
		"\"read\":{\"min\":2,\"max\":3},\"structure\":true,"
		"\"optional\":false,\"handler\":false,\"check\":false,"
		"\"can_write\":true,\"convert\":false,\"deps\":[],"
		"\"source\":\"/lib/\\\"b\\\".so\",\"bundle\":\"b-v3\"}],"
		"\"image\":null}");
	assert_true(json_object_equal(json, expected));
	json_object_put(expected);
	json_object_put(json);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manifests),
		cmocka_unit_test(crowd),
		cmocka_unit_test(states),
		cmocka_unit_test(conversions),
		cmocka_unit_test(optional_subtrees),
		cmocka_unit_test(carried_subtrees),
		cmocka_unit_test(nameless_subtrees),
		cmocka_unit_test(questions),
		cmocka_unit_test(refusals),
		cmocka_unit_test(find),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(many_owners),
		cmocka_unit_test(long_names),
		cmocka_unit_test(print),
		cmocka_unit_test(summary),
		cmocka_unit_test(conditions),
		cmocka_unit_test(report_json),
		cmocka_unit_test(manifest_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
