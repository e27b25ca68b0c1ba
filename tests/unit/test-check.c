// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Verdicts: of two programs, and of a state and a program; and reports. */
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

#define V(a, b)                                                                \
	{                                                                      \
		a, b                                                           \
	}
#define S .flags = KHO_COMPONENT_STRUCTURE
#define MAX 8

/* A manifest as it comes from a program: entries sorted by name. */
static struct kho_manifest program(const char *target,
				   const struct kho_component_desc *descs,
				   struct kho_manifest_entry entries[MAX])
{
	struct kho_manifest manifest = { .target = (char *)target,
					 .entries = entries };

	while (manifest.n < MAX && descs[manifest.n].name[0]) {
		entries[manifest.n].desc = descs[manifest.n];
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
};

static void assert_findings(const struct kho_report *report,
			    const struct expected *expected)
{
	bool compatible = true;
	size_t i;

	for (i = 0; i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];
		const struct expected *e = &expected[i];

		assert_non_null(e->name);
		assert_string_equal(f->name, e->name);
		assert_string_equal(kho_verdict_name(f->verdict),
				    kho_verdict_name(e->verdict));
		assert_int_equal(f->version, e->version);
		assert_memory_equal(&f->writer, &e->writer, sizeof(f->writer));
		assert_memory_equal(&f->reader, &e->reader, sizeof(f->reader));
		assert_string_equal(f->needed_by,
				    e->needed_by ? e->needed_by : "");
		assert_string_equal(f->reason, e->reason ? e->reason : "");
		compatible = compatible && f->verdict == KHO_OK;
	}
	assert_null(expected[i].name);
	assert_int_equal(report->compatible, compatible);
}

static void manifests(void **state)
{
	static const struct {
		struct kho_component_desc from[MAX], to[MAX];
		struct expected expected[MAX];
	} cases[] = {
		/* the same program */
		{ .from = { { .name = "a", .write = V(1, 1), .read = V(1, 1) } },
		  .to = { { .name = "a", .write = V(1, 1), .read = V(1, 1) } },
		  .expected = { { "a", KHO_OK, 1, V(1, 1), V(1, 1), NULL,
				  NULL } } },
		/* the highest version that both know */
		{ .from = { { .name = "a", .write = V(2, 5) } },
		  .to = { { .name = "a", .read = V(1, 3) } },
		  .expected = { { "a", KHO_OK, 3, V(2, 5), V(1, 3), NULL,
				  NULL } } },
		{ .from = { { .name = "a", .write = V(1, 3) } },
		  .to = { { .name = "a", .read = V(3, UINT32_MAX) } },
		  .expected = { { "a", KHO_OK, 3, V(1, 3), V(3, UINT32_MAX),
				  NULL, NULL } } },
		/* what a program writes, not what it reads, counts */
		{ .from = { { .name = "a", .write = V(2, 2), .read = V(1, 2) },
			    { .name = "b", .read = V(1, 1) } },
		  .to = { { .name = "a", .write = V(1, 1), .read = V(2, 2) } },
		  .expected = { { "a", KHO_OK, 2, V(2, 2), V(2, 2), NULL,
				  NULL } } },
		/* too old for the reader */
		{ .from = { { .name = "a", .write = V(1, 2) },
			    { .name = "b", .write = V(1, 1) } },
		  .to = { { .name = "a", .read = V(4, 5) },
			  { .name = "b", .read = V(1, 1) } },
		  .expected = { { "a", KHO_INCOMPATIBLE, 0, V(1, 2), V(4, 5),
				  NULL,
				  "old writes a v1-v2, new reads only v4-v5: "
				  "update through a program that reads a-v2 "
				  "and writes a-v4, or build the successor "
				  "with support for v2" },
				{ "b", KHO_OK, 1, V(1, 1), V(1, 1), NULL,
				  NULL } } },
		/* too new for the reader: the way back */
		{ .from = { { .name = "a", .write = V(3, 3) } },
		  .to = { { .name = "a", .read = V(1, 2) } },
		  .expected = { { "a", KHO_INCOMPATIBLE, 0, V(3, 3), V(1, 2),
				  NULL,
				  "old writes a v3, new reads only v1-v2: "
				  "build old so that it also writes v2, or the "
				  "successor with support for v3" } } },
		/* known, but only to be written */
		{ .from = { { .name = "a", .write = V(1, 2) } },
		  .to = { { .name = "a", .write = V(1, 2) } },
		  .expected = { { "a", KHO_INCOMPATIBLE, 0, V(1, 2), V(0, 0),
				  NULL,
				  "old writes a v1-v2, new can only write a: "
				  "build it with support for reading v2" } } },
		/* not known; the failing one comes first */
		{ .from = { { .name = "a", .write = V(1, 1) },
			    { .name = "z", .write = V(2, 4) } },
		  .to = { { .name = "a", .read = V(1, 1) } },
		  .expected = { { "z", KHO_UNKNOWN, 0, V(2, 4), V(0, 0), NULL,
				  "old writes z v2-v4, new does not know z: "
				  "build it with z in a version that reads "
				  "v2-v4" },
				{ "a", KHO_OK, 1, V(1, 1), V(1, 1), NULL,
				  NULL } } },
		/* a structure that nobody needs does not count */
		{ .from = { { .name = "a", .write = V(1, 1) },
			    { .name = "b", .write = V(1, 1), S },
			    { .name = "c",
			      .write = V(1, 1),
			      .deps = { "b" },
			      S } },
		  .to = { { .name = "a", .read = V(1, 1) } },
		  .expected = { { "a", KHO_OK, 1, V(1, 1), V(1, 1), NULL,
				  NULL } } },
		/* one that is needed does, by way of another too */
		{ .from = { { .name = "app",
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
		  .expected = { { "bits", KHO_INCOMPATIBLE, 0, V(1, 1), V(2, 2),
				  "log, table, app",
				  "old writes bits v1, new reads only v2: "
				  "update through a program that reads bits-v1 "
				  "and writes bits-v2, or build the successor "
				  "with support for v1" },
				{ "app", KHO_OK, 1, V(1, 1), V(1, 1), NULL,
				  NULL },
				{ "log", KHO_OK, 1, V(1, 1), V(1, 1), NULL,
				  NULL },
				{ "table", KHO_OK, 1, V(1, 2), V(1, 1), "app",
				  NULL } } },
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
		  .expected = { { "a", KHO_OK, 1, V(1, 1), V(1, 1), NULL, NULL },
				{ "b", KHO_OK, 1, V(1, 1), V(1, 1), "a, c",
				  NULL },
				{ "c", KHO_OK, 1, V(1, 1), V(1, 1), "b, a",
				  NULL } } },
		/* the writer does not have what it needs, or only reads it */
		{ .from = { { .name = "a",
			      .write = V(1, 1),
			      .deps = { "b", "c" } },
			    { .name = "c", .read = V(1, 1) } },
		  .to = { { .name = "a", .read = V(1, 1) },
			  { .name = "c", .read = V(1, 1) } },
		  .expected = { { "b", KHO_UNKNOWN, 0, V(0, 0), V(0, 0), "a",
				  "old needs b, but neither it nor its "
				  "libraries can write it: build it with a "
				  "version of b that can" },
				{ "c", KHO_INCOMPATIBLE, 0, V(0, 0), V(1, 1),
				  NULL,
				  "old needs c, but neither it nor its "
				  "libraries can write it: build it with a "
				  "version of c that can" },
				{ "a", KHO_OK, 1, V(1, 1), V(1, 1), NULL,
				  NULL } } },
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

		assert_int_equal(kho_check_manifests(&from, &to, &report), 0);
		assert_string_equal(report->from, "/bin/old");
		assert_string_equal(report->to, "new");
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
	assert_int_equal(kho_check_manifests(&manifest, &manifest, &report), 0);
	assert_int_equal(report->n, 41);
	assert_true(report->compatible);
	assert_string_equal(report->findings[0].name, "shared");
	assert_string_equal(report->findings[0].needed_by,
			    "user01, user02, user03, user04, user05, user06, "
			    "user07, user08, user09, user10, user11, user12, "
			    "user13, user14, user15, ...");
	kho_report_free(report);
}

static void states(void **state)
{
	static const struct {
		const char *used[4][2]; /* owner, composite */
		struct kho_component_desc to[MAX];
		struct expected expected[MAX];
	} cases[] = {
		/* nothing in it */
		{ .expected = { { 0 } } },
		/* readable: a version of the state is taken as it is */
		{ .used = { { "/", "kho-v4;radix-v1" }, { "n", "counter-v1" } },
		  .to = { { .name = "counter", .read = V(1, 2) },
			  { .name = "kho", .read = V(4, 4) },
			  { .name = "radix", .read = V(1, 1) } },
		  .expected = { { "counter", KHO_OK, 1, V(1, 1), V(1, 2), "n",
				  NULL },
				{ "kho", KHO_OK, 4, V(4, 4), V(4, 4), "/",
				  NULL },
				{ "radix", KHO_OK, 1, V(1, 1), V(1, 1),
				  "kho (/)", NULL } } },
		/* writing it is not reading it */
		{ .used = { { "n", "counter-v1" } },
		  .to = { { .name = "counter",
			    .write = V(1, 1),
			    .read = V(2, 2) } },
		  .expected = { { "counter", KHO_INCOMPATIBLE, 1, V(1, 1),
				  V(2, 2), "n",
				  "state has counter-v1, v3 reads only v2: "
				  "update through a program that reads "
				  "counter-v1 and writes counter-v2, or build "
				  "the successor with support for v1" } } },
		{ .used = { { "n", "counter-v9" } },
		  .to = { { .name = "counter", .read = V(1, 2) } },
		  .expected = { { "counter", KHO_INCOMPATIBLE, 9, V(9, 9),
				  V(1, 2), "n",
				  "state has counter-v9, v3 reads only v1-v2: "
				  "update through a program that reads "
				  "counter-v9 and writes counter-v2, or build "
				  "the successor with support for v9" } } },
		{ .used = { { "n", "counter-v1" } },
		  .to = { { .name = "counter", .write = V(1, 1) } },
		  .expected = { { "counter", KHO_INCOMPATIBLE, 1, V(1, 1),
				  V(0, 0), "n",
				  "state has counter-v1, v3 can only write "
				  "counter: build it with support for reading "
				  "v1" } } },
		{ .used = { { "n", "counter-v1" } },
		  .expected = { { "counter", KHO_UNKNOWN, 1, V(1, 1), V(0, 0),
				  "n",
				  "state has counter-v1, v3 does not know "
				  "counter: build it with counter in a version "
				  "that reads v1" } } },
		/* one component in two versions, each with its owners */
		{ .used = { { "x", "app-v1;table-v1" },
			    { "y", "app-v1;table-v2" },
			    { "z", "table-v2" },
			    { "w", "app-v1;table-v1" } },
		  .to = { { .name = "app", .read = V(1, 1) },
			  { .name = "table", .read = V(2, 3) } },
		  .expected = { { "table", KHO_INCOMPATIBLE, 1, V(1, 1),
				  V(2, 3), "app (x), app (w)",
				  "state has table-v1, v3 reads only v2-v3: "
				  "update through a program that reads "
				  "table-v1 and writes table-v2, or build "
				  "the successor with support for v1" },
				{ "app", KHO_OK, 1, V(1, 1), V(1, 1), "x, y, w",
				  NULL },
				{ "table", KHO_OK, 2, V(2, 2), V(2, 3),
				  "app (y), z", NULL } } },
	};
	struct kho_manifest_entry entries[MAX];
	struct kho_report *report;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kho_manifest to =
			program("/srv/v3", cases[i].to, entries);
		struct kho_used used[4];

		for (n = 0; n < 4 && cases[i].used[n][0]; n++) {
			strcpy(used[n].owner, cases[i].used[n][0]);
			assert_int_equal(kho_composite_parse(cases[i].used[n][1],
							     &used[n].composite,
							     NULL),
					 0);
		}
		assert_int_equal(kho_check_state(used, n, "state", &to,
						 &report),
				 0);
		assert_string_equal(report->from, "state");
		assert_string_equal(report->to, "/srv/v3");
		assert_findings(report, cases[i].expected);
		kho_report_free(report);
	}
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
	assert_int_equal(kho_check_state(used, 100, "from", &to, &report), 0);
	assert_int_equal(report->n, 2);
	assert_int_equal(strlen(report->findings[0].needed_by), 63 + 5);
	assert_string_equal(report->findings[0].needed_by + 60, "ooo, ...");
	assert_string_equal(report->findings[1].needed_by + 80,
			    "oooooooo), ...");
	kho_report_free(report);
}

/* The longest names there are: a reason is cut, never written over its end. */
static void long_names(void **state)
{
	static const char target[] =
		"/a-program-with-a-name-of-more-than-forty-characters-in-it";
	static const struct kho_component_desc from_desc[MAX] = {
		{ .name = "abcdefghijklmnopqrstuvw",
		  .write = V(4000000000, 4000000001) },
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
	assert_int_equal(kho_check_manifests(&from, &to, &report), 0);
	assert_int_equal(strlen(report->findings[0].reason),
			 sizeof(report->findings[0].reason) - 1);
	assert_memory_equal(report->findings[0].reason,
			    "a-program-with-a-name-of-more-than-forty writes",
			    47);
	kho_report_free(report);
}

static struct kho_report *example(void)
{
	static const struct kho_component_desc from_desc[MAX] = {
		{ .name = "app", .write = V(1, 2), .deps = { "table" } },
		{ .name = "gone", .write = V(1, 1) },
		{ .name = "table", .write = V(2, 2), S },
	};
	static const struct kho_component_desc to_desc[MAX] = {
		{ .name = "app", .read = V(1, 10) },
		{ .name = "table", .read = V(3, 3) },
	};
	struct kho_manifest_entry from_entries[MAX], to_entries[MAX];
	struct kho_manifest from = program("./v1", from_desc, from_entries);
	struct kho_manifest to = program("./v3", to_desc, to_entries);
	struct kho_report *report;

	assert_int_equal(kho_check_manifests(&from, &to, &report), 0);
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
	"in a version that reads v1"
#define TABLE                                                                  \
	"v1 writes table v2, v3 reads only v3: update through a "              \
	"program that reads table-v2 and writes table-v3, or build "           \
	"the successor with support for v2"

static void print(void **state)
{
	static const struct kho_report empty = { .compatible = true,
						 .from = (char *)"a\033[m",
						 .to = (char *)"b\n" };
	struct kho_report *report = example();
	char *text = printed(report, false);

	(void)state;
	assert_string_equal(text,
			    "incompatible: ./v1 -> ./v3\n"
			    "  gone: " GONE "\n"
			    "  table: " TABLE "\n"
			    "\n"
			    "  COMPONENT  VERDICT       VERSION  WRITER  READER  NEEDED BY\n"
			    "  gone       unknown       -        v1      -\n"
			    "  table      incompatible  -        v2      v3      app\n"
			    "  app        ok            v2       v1-v2   v1-v10\n");
	free(text);
	text = printed(report, true);
	assert_non_null(strstr(text, "\033[1;31mincompatible\033[0m: ./v1"));
	assert_non_null(strstr(text, "  \033[32mok          \033[0m  v2  "));
	free(text);
	kho_report_free(report);

	text = printed(&empty, false);
	assert_string_equal(text, "compatible: a?[m -> b?\n");
	free(text);
}

static void summary(void **state)
{
	static const char all[] = "gone unknown (" GONE "); table incompatible "
				  "(" TABLE ")";
	struct kho_report *report = example();
	char text[512], cut[20];

	(void)state;
	kho_report_summary(report, text, sizeof(text));
	assert_string_equal(text, all);
	kho_report_summary(report, cut, sizeof(cut));
	assert_memory_equal(cut, all, sizeof(cut) - 1);
	assert_int_equal(cut[sizeof(cut) - 1], '\0');
	report->findings[0].verdict = KHO_OK;
	kho_report_summary(report, text, sizeof(text));
	assert_string_equal(text, "compatible");
	kho_report_free(report);
	kho_report_free(NULL);
}

static void report_json(void **state)
{
	struct kho_report *report = example();
	char *text = kho_report_json(report);
	json_object *json = json_tokener_parse(text), *list, *expected;

	(void)state;
	assert_non_null(json);
	list = json_object_object_get(json, "components");
	assert_int_equal(json_object_array_length(list), 3);
	expected = json_tokener_parse(
		"{\"name\":\"gone\",\"verdict\":\"unknown\",\"version\":null,"
		"\"writer\":{\"min\":1,\"max\":1},\"reader\":null,"
		"\"needed_by\":\"\",\"reason\":\"" GONE "\"}");
	assert_true(json_object_equal(json_object_array_get_idx(list, 0),
				      expected));
	json_object_put(expected);
	expected = json_tokener_parse(
		"{\"name\":\"app\",\"verdict\":\"ok\",\"version\":2,"
		"\"writer\":{\"min\":1,\"max\":2},"
		"\"reader\":{\"min\":1,\"max\":10},"
		"\"needed_by\":\"\",\"reason\":\"\"}");
	assert_true(json_object_equal(json_object_array_get_idx(list, 2),
				      expected));
	json_object_put(expected);
	json_object_object_del(json, "components");
	expected = json_tokener_parse(
		"{\"schema\":\"kho-report\",\"version\":1,"
		"\"compatible\":false,\"from\":\"./v1\",\"to\":\"./v3\"}");
	assert_true(json_object_equal(json, expected));
	json_object_put(expected);
	json_object_put(json);
	free(text);
	kho_report_free(report);
}

static void manifest_json(void **state)
{
	static const struct kho_component_desc descs[MAX] = {
		{ .name = "a", .write = V(1, UINT32_MAX), .deps = { "c", "b" } },
		{ .name = "b", .read = V(2, 3), S },
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
	entries[1].source = 1;
	text = kho_manifest_json(&manifest);
	json = json_tokener_parse(text);
	expected = json_tokener_parse(
		"{\"schema\":\"kho-manifest\",\"version\":1,\"target\":\"a\","
		"\"sources\":[\"/bin/a\",\"/lib/\\\"b\\\".so\"],"
		"\"components\":[{\"name\":\"a\","
		"\"write\":{\"min\":1,\"max\":4294967295},\"read\":null,"
		"\"structure\":false,\"deps\":[\"c\",\"b\"],"
		"\"source\":\"/bin/a\"},"
		"{\"name\":\"b\",\"write\":null,"
		"\"read\":{\"min\":2,\"max\":3},\"structure\":true,"
		"\"deps\":[],\"source\":\"/lib/\\\"b\\\".so\"}]}");
	assert_true(json_object_equal(json, expected));
	json_object_put(expected);
	json_object_put(json);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manifests),	 cmocka_unit_test(crowd),
		cmocka_unit_test(states),	 cmocka_unit_test(many_owners),
		cmocka_unit_test(long_names),	 cmocka_unit_test(print),
		cmocka_unit_test(summary),	 cmocka_unit_test(report_json),
		cmocka_unit_test(manifest_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
