// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kho_components_check(): what is wrong with a program's components all
 * together. Each family of components has a process of its own, and this
 * program has none itself.
 */
#include <errno.h>
#include <setjmp.h>
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

/* Versions of clang-format differ. */
/* clang-format off */
#define V(a, b) { a, b }
/* clang-format on */

#define FAMILY 6
static const struct family {
	const char *name;
	struct kho_component_desc desc[FAMILY];
	int code;
	const char *error;
} families[] = {
	{ "good",
	  { { .name = "base", .write = V(1, 1), .deps = { "a", "b" } },
	    { .name = "a", .write = V(1, 1), .deps = { "c" } },
	    { .name = "b", .write = V(1, 1), .deps = { "c" } },
	    { .name = "c", .read = V(1, 1) } },
	  0,
	  NULL },
	{ "missing",
	  { { .name = "base", .write = V(1, 1), .deps = { "a", "gone" } },
	    { .name = "a", .write = V(1, 1) } },
	  -ENOENT,
	  "component 'base' needs 'gone', which is not in this program: link "
	  "it in" },
	/* The one that reads it would be as lost. */
	{ "missing for a reader",
	  { { .name = "base", .read = V(1, 1), .deps = { "gone" } } },
	  -ENOENT,
	  "component 'base' needs 'gone', which is not in this program: link "
	  "it in" },
	{ "cycle of two",
	  { { .name = "a", .write = V(1, 1), .deps = { "b" } },
	    { .name = "b", .write = V(1, 1), .deps = { "a" } } },
	  -ELOOP,
	  "component 'b' depends on itself through 'a'" },
	{ "cycle of three, with a diamond before it",
	  { { .name = "a", .write = V(1, 1), .deps = { "b" } },
	    { .name = "b", .write = V(1, 1), .deps = { "c" } },
	    { .name = "c", .write = V(1, 1), .deps = { "a" } },
	    { .name = "d", .write = V(1, 1) } },
	  -ELOOP,
	  "component 'c' depends on itself through 'b'" },
	/* 47 characters */
	{ "handler that fits",
	  { { .name = "memfd",
	      .write = V(2, 2),
	      .flags = KHO_COMPONENT_HANDLER,
	      .deps = { "vmalloc", "abcdefghijklmnopqrstuvw" } },
	    { .name = "vmalloc", .read = V(1, 9), .write = V(1, 1) },
	    { .name = "abcdefghijklmnopqrstuvw", .write = V(10, 10) } },
	  0,
	  NULL },
	{ "handler that does not fit",
	  { { .name = "memfd",
	      .write = V(2, 2),
	      .flags = KHO_COMPONENT_HANDLER,
	      .deps = { "vmalloc", "abcdefghijklmnopqrstuvw" } },
	    { .name = "vmalloc", .read = V(1, 9), .write = V(1, 1) },
	    { .name = "abcdefghijklmnopqrstuvw",
	      .write = V(99, 100),
	      .flags = KHO_COMPONENT_CONVERT } },
	  -ENAMETOOLONG,
	  "component 'memfd': its composite "
	  "'memfd-v2;abcdefghijklmnopqrstuvw-v100;vmalloc-v1' has 48 "
	  "characters, a file handler's has at most 47: give it fewer "
	  "dependencies or a shorter name" },
	{ "the same, no handler",
	  { { .name = "memfd",
	      .write = V(2, 2),
	      .deps = { "vmalloc", "abcdefghijklmnopqrstuvw" } },
	    { .name = "vmalloc", .read = V(1, 9), .write = V(1, 1) },
	    { .name = "abcdefghijklmnopqrstuvw",
	      .write = V(99, 100),
	      .flags = KHO_COMPONENT_CONVERT } },
	  0,
	  NULL },
};

static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *why)
{
	return kho && arg && why ? (int)version : 0;
}

static struct kho_error check_family(const struct family *family)
{
	static const struct kho_component_ops converts = { .convert = convert };
	static struct kho_component components[FAMILY];
	struct kho_error err = { 0 };
	size_t i;

	for (i = 0; i < FAMILY && family->desc[i].name[0]; i++) {
		components[i].desc = &family->desc[i];
		if (family->desc[i].flags & KHO_COMPONENT_CONVERT)
			components[i].ops = &converts;
		kho_component_register(&components[i]);
	}
	if (kho_components_check(&err) != err.code ||
	    kho_components_check(NULL) != err.code)
		kho_fail(&err, -EINVAL, "not the code that was returned");
	return err;
}

static void check(void **state)
{
	const struct family *family = *state;
	struct kho_error err;
	int fds[2], status;
	pid_t child;

	assert_int_equal(pipe(fds), 0);
	child = fork();
	if (!child) {
		err = check_family(family);
		_exit(write(fds[1], &err, sizeof(err)) != sizeof(err));
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &err, sizeof(err)), sizeof(err));
	close(fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_string_equal(err.text, family->error ? family->error : "");
	assert_int_equal(err.code, family->code);
}

int main(void)
{
	enum { N_FAMILIES = sizeof(families) / sizeof(families[0]) };
	struct CMUnitTest tests[N_FAMILIES];
	size_t i;

	for (i = 0; i < N_FAMILIES; i++)
		tests[i] = (struct CMUnitTest){
			.name = families[i].name,
			.test_func = check,
			.initial_state = (void *)&families[i],
		};
	return cmocka_run_group_tests_name("components", tests, NULL, NULL);
}
