// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The registry: what may be registered, and the composites that follow. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <kho/compat.h>
#include <kho/manifest.h>

/* Versions of clang-format differ. */
/* clang-format off */
#define V(a, b) { a, b }
/* clang-format on */

static int check(uint32_t version, const struct kho_blob *blob,
		 struct kho_error *why)
{
	return blob && why ? (int)version : 0;
}

static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *why)
{
	return kho && arg && why ? (int)version : 0;
}

/* app -> table -> pages -> bits; app -> log -> bits */
static const struct kho_component_ops app_ops = { .check = check,
						  .convert = convert };
static const struct kho_component_ops converts = { .convert = convert };
KHO_COMPONENT_OPS(app, &app_ops, .write = V(2, 3), .read = V(1, 3),
		  .deps = { "table", "log" },
		  .flags = KHO_COMPONENT_CHECK | KHO_COMPONENT_CONVERT);
KHO_COMPONENT_OPS(table, &converts, .write = V(4, 7), .read = V(1, 9),
		  .deps = { "pages" },
		  .flags = KHO_COMPONENT_STRUCTURE | KHO_COMPONENT_CONVERT);
KHO_COMPONENT(log, .write = V(1, 1), .read = V(1, 1), .deps = { "bits" });
KHO_COMPONENT(pages, .write = V(1, 1), .read = V(1, 1), .deps = { "bits" });
KHO_COMPONENT_NAMED(a_bits, "bits", &converts, .write = V(1, 2),
		    .read = V(1, 2), .flags = KHO_COMPONENT_CONVERT);

KHO_COMPONENT(lonely, .write = V(1, 1), .read = V(1, 1), .deps = { "nobody" });
KHO_COMPONENT(reader, .read = V(1, 1));
KHO_COMPONENT(asker, .write = V(1, 1), .read = V(1, 1), .deps = { "reader" });
KHO_COMPONENT(snake, .write = V(1, 1), .read = V(1, 1), .deps = { "tail" });
KHO_COMPONENT(tail, .write = V(1, 1), .read = V(1, 1), .deps = { "snake" });
KHO_COMPONENT(watcher, .write = V(1, 1), .read = V(1, 1), .deps = { "snake" });

static void composites(void **state)
{
	static const struct {
		const char *name;
		uint32_t version;
		const char *composite;
	} cases[] = {
		{ "app", 3, "app-v3;bits-v2;log-v1;pages-v1;table-v7" },
		{ "app", 2, "app-v2;bits-v2;log-v1;pages-v1;table-v7" },
		{ "table", 4, "table-v4;bits-v2;pages-v1" },
		{ "bits", 1, "bits-v1" },
	};
	struct kho_composite composite, parsed;
	char text[KHO_COMPOSITE_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct kho_component *c =
			kho_component_find(cases[i].name);

		assert_non_null(c);
		assert_int_equal(kho_component_composite(c, cases[i].version,
							 &composite, NULL),
				 0);
		assert_true(kho_composite_format(&composite, text,
						 sizeof(text)) > 0);
		assert_string_equal(text, cases[i].composite);
		assert_int_equal(kho_composite_parse(text, &parsed, NULL), 0);
		assert_int_equal(parsed.n, composite.n);
	}
	assert_null(kho_component_find("nobody"));
	assert_ptr_equal(kho_component_find("bits"), &a_bits_component);
	assert_ptr_equal(app_component.ops, &app_ops);
	assert_null(log_component.ops);
}

static void composites_refused(void **state)
{
	static const struct {
		const char *name;
		uint32_t version;
		int code;
		const char *error;
	} cases[] = {
		{ "app", 1, -ERANGE,
		  "component 'app' cannot write version 1, only 2 to 3" },
		{ "app", 4, -ERANGE,
		  "component 'app' cannot write version 4, only 2 to 3" },
		{ "app", 0, -ERANGE,
		  "component 'app' cannot write version 0, only 2 to 3" },
		{ "reader", 1, -ERANGE, "component 'reader' can only be read" },
		{ "lonely", 1, -ENOENT,
		  "component 'lonely' needs 'nobody', which is not in this "
		  "program: link it in" },
		{ "asker", 1, -ERANGE,
		  "component 'asker' needs 'reader', which this program can "
		  "only read" },
		{ "snake", 1, -ELOOP,
		  "component 'snake' depends on itself through 'tail'" },
		{ "watcher", 1, -ELOOP,
		  "component 'snake' depends on itself through 'tail'" },
	};
	struct kho_composite composite;
	struct kho_error err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(kho_component_composite(kho_component_find(
								 cases[i].name),
							 cases[i].version,
							 &composite, &err),
				 cases[i].code);
		assert_string_equal(err.text, cases[i].error);
	}
}

#define CHAIN 33
static struct kho_component_desc chain_desc[CHAIN];
static struct kho_component chain[CHAIN];

static void register_chain(size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct kho_component_desc *desc = &chain_desc[i];

		snprintf(desc->name, sizeof(desc->name), "chain%zu", i);
		if (i)
			snprintf(desc->deps[0], sizeof(desc->deps[0]),
				 "chain%zu", i - 1);
		desc->write = desc->read = (struct kho_range){ 1, UINT32_MAX };
		desc->flags = KHO_COMPONENT_CONVERT;
		chain[i].desc = desc;
		chain[i].ops = &converts;
		kho_component_register(&chain[i]);
	}
}

/* A chain of as many components as a composite holds, and of one more. */
static void chain_length(void **state)
{
	struct kho_composite composite;
	struct kho_error err;

	(void)state;
	register_chain(CHAIN);
	assert_int_equal(kho_component_composite(&chain[KHO_COMPOSITE_MAX - 1],
						 1, &composite, NULL),
			 0);
	assert_int_equal(composite.n, KHO_COMPOSITE_MAX);
	assert_int_equal(composite.tokens[0].version, 1);
	assert_int_equal(composite.tokens[1].version, UINT32_MAX);
	assert_int_equal(kho_component_composite(&chain[KHO_COMPOSITE_MAX], 1,
						 &composite, &err),
			 -E2BIG);
	assert_string_equal(err.text,
			    "component 'chain32' needs more than 31 others");
}

/* Register @component in another process: what it says before it aborts. */
static void assert_aborts(struct kho_component *component, const char *message)
{
	char text[512] = "";
	int fds[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t child;

	assert_int_equal(pipe(fds), 0);
	child = fork();
	if (!child) {
		dup2(fds[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		kho_component_register(component);
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(n >= 0);
	if (message) {
		char line[512];

		snprintf(line, sizeof(line),
			 "kho: cannot register a component: %s\n", message);
		assert_string_equal(text, line);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
	} else {
		assert_string_equal(text, "");
		assert_int_equal(status, 0);
	}
}

#define GOOD .write = V(1, 1), .read = V(1, 1)

static void registration(void **state)
{
	static const struct {
		struct kho_component_desc desc;
		const char *error;
	} cases[] = {
		{ { .name = "fine", GOOD }, NULL },
		{ { .name = "fine", .write = V(UINT32_MAX, UINT32_MAX) },
		  NULL },
		{ { .name = "fine", .read = V(1, UINT32_MAX) }, NULL },
		{ { .name = "fine", GOOD, .flags = 7 }, NULL },
		{ { .name = "fine", GOOD, .flags = KHO_COMPONENT_STRUCTURE },
		  NULL },
		{ { .name = "fine",
		    GOOD,
		    .deps = { "a", "b", "c", "d", "e", "f", "g", "h" } },
		  NULL },
		{ { .name = "", GOOD },
		  "component name: empty name at byte 0" },
		{ { .name = "Bad", GOOD },
		  "component name: 'B' at byte 0: a name begins with one of "
		  "a-z" },
		{ { .name = "bad-v1", GOOD },
		  "component name: name 'bad-v1' at byte 0 ends like a "
		  "version, in -vN" },
		{ { .name = "abcdefghijklmnopqrstuvwx", GOOD },
		  "component name is not terminated" },
		{ { .name = "bad\0x", GOOD },
		  "component name has bytes behind its end" },
		{ { .name = "bad" }, "component 'bad' has no version at all" },
		{ { .name = "bad", .write = V(0, 1) },
		  "component 'bad': write range 0 to 1 is no range" },
		{ { .name = "bad", .write = V(2, 1) },
		  "component 'bad': write range 2 to 1 is no range" },
		{ { .name = "bad", .write = V(1, 1), .read = V(1, 0) },
		  "component 'bad': read range 1 to 0 is no range" },
		{ { .name = "bad", .write = V(1, 2) },
		  "component 'bad' writes versions 1 to 2, and has no convert "
		  "to get from one to the other" },
		{ { .name = "bad", GOOD, .flags = 0x41 },
		  "component 'bad' has unknown flags 0x41" },
		{ { .name = "bad", GOOD, .deps = { "bad" } },
		  "component 'bad' depends on itself" },
		{ { .name = "bad", GOOD, .deps = { "a", "b", "a" } },
		  "component 'bad' names dependency 'a' twice" },
		{ { .name = "bad", GOOD, .deps = { "a", "", "b" } },
		  "component 'bad': dependency 3 stands behind the end of "
		  "the list" },
		{ { .name = "bad", GOOD, .deps = { "a b" } },
		  "component 'bad': dependency 1: 0x20 at byte 1: a name has "
		  "only a-z, 0-9 and -" },
		{ { .name = "bad",
		    GOOD,
		    .deps = { "a", "abcdefghijklmnopqrstuvwx" } },
		  "component 'bad': dependency 2 is not terminated" },
		{ { .name = "bad", GOOD, .deps = { "\0x" } },
		  "component 'bad': dependency 1 has bytes behind its end" },
		{ { .name = "app", GOOD }, "two are called 'app'" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kho_component component = { .desc = &cases[i].desc };

		assert_aborts(&component, cases[i].error);
	}
}

/* What the flags say of callbacks is what there is. */
static void callbacks(void **state)
{
	static const struct kho_component_ops all = { check, convert, convert };
	static const struct {
		uint32_t flags;
		const struct kho_component_ops *ops;
		const char *error;
	} cases[] = {
		{ KHO_COMPONENT_CHECK | KHO_COMPONENT_CAN_WRITE |
			  KHO_COMPONENT_CONVERT,
		  &all, NULL },
		{ 0, NULL, NULL },
		{ KHO_COMPONENT_CONVERT, &converts, NULL },
		{ KHO_COMPONENT_CAN_WRITE | KHO_COMPONENT_CONVERT, &all,
		  "component 'fine' has a check callback: add "
		  "KHO_COMPONENT_CHECK to its .flags" },
		{ KHO_COMPONENT_CHECK | KHO_COMPONENT_CONVERT, &all,
		  "component 'fine' has a can_write callback: add "
		  "KHO_COMPONENT_CAN_WRITE to its .flags" },
		{ 0, &converts,
		  "component 'fine' has a convert callback: add "
		  "KHO_COMPONENT_CONVERT to its .flags" },
		{ KHO_COMPONENT_CHECK | KHO_COMPONENT_CONVERT, &converts,
		  "component 'fine' has no check callback, and "
		  "KHO_COMPONENT_CHECK in its .flags: see "
		  "KHO_COMPONENT_OPS()" },
		{ KHO_COMPONENT_CONVERT, NULL,
		  "component 'fine' has no convert callback, and "
		  "KHO_COMPONENT_CONVERT in its .flags: see "
		  "KHO_COMPONENT_OPS()" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct kho_component_desc desc = {
			.name = "fine",
			.write = V(1, 1),
			.flags = cases[i].flags,
		};
		struct kho_component component = { &desc, cases[i].ops, NULL };

		assert_aborts(&component, cases[i].error);
	}
}

static void self(void **state)
{
	static const char *const names[] = { "app",    "asker",	 "bits",
					     "log",    "lonely", "pages",
					     "reader", "snake",	 "table",
					     "tail",   "watcher" };
	const struct kho_manifest_entry *entry;
	struct kho_manifest *manifest;
	size_t i;

	(void)state;
	assert_int_equal(kho_manifest_self(&manifest), 0);
	assert_string_equal(manifest->target, "self");
	assert_int_equal(manifest->n_sources, 1);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		entry = kho_manifest_find(manifest, names[i]);
		assert_non_null(entry);
		assert_string_equal(entry->desc.name, names[i]);
		assert_memory_equal(&entry->desc,
				    kho_component_find(names[i])->desc,
				    sizeof(entry->desc));
	}
	for (i = 1; i < manifest->n; i++)
		assert_true(strcmp(manifest->entries[i - 1].desc.name,
				   manifest->entries[i].desc.name) < 0);
	assert_null(kho_manifest_find(manifest, "nobody"));
	assert_null(kho_manifest_find(manifest, ""));
	kho_manifest_free(manifest);
	kho_manifest_free(NULL);
}

#define THREADS 4
#define EACH 50
static struct kho_component_desc many_desc[THREADS][EACH];
static struct kho_component many[THREADS][EACH];

static void *register_many(void *arg)
{
	size_t t = (size_t)(uintptr_t)arg, i;

	for (i = 0; i < EACH; i++) {
		struct kho_component_desc *desc = &many_desc[t][i];

		snprintf(desc->name, sizeof(desc->name), "t%zu-%zu", t, i);
		desc->write.min = desc->write.max = 1;
		many[t][i].desc = desc;
		kho_component_register(&many[t][i]);
		if (kho_component_find(desc->name) != &many[t][i])
			return (void *)desc->name;
	}
	return NULL;
}

static void threads(void **state)
{
	pthread_t thread[THREADS];
	char name[KHO_TOKEN_NAME_SIZE];
	void *failed;
	size_t t, i;

	(void)state;
	for (t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&thread[t], NULL, register_many,
						(void *)t),
				 0);
	for (t = 0; t < THREADS; t++) {
		assert_int_equal(pthread_join(thread[t], &failed), 0);
		assert_null(failed);
	}
	for (t = 0; t < THREADS; t++) {
		for (i = 0; i < EACH; i++) {
			snprintf(name, sizeof(name), "t%zu-%zu", t, i);
			assert_ptr_equal(kho_component_find(name), &many[t][i]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(composites),
		cmocka_unit_test(composites_refused),
		cmocka_unit_test(chain_length),
		cmocka_unit_test(registration),
		cmocka_unit_test(callbacks),
		cmocka_unit_test(self),
		cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
