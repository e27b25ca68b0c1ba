// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The versions that an arena's components are written in, what the state tree
 * says of them, and what a component says of a blob that comes in.
 */
#include <errno.h>

#include <kho/arena.h>
#include <kho/state.h>
#include <kho/tree.h>

#include "arena.h"
#include "arena/arena.h"

#define MIB (1ul << 20)

static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *why)
{
	(void)kho;
	(void)version;
	(void)arg;
	(void)why;
	return 0;
}

/* What check_blob() was asked, and what it answers. */
static struct {
	int calls;
	char subtree[KHO_SUBTREE_NAME_SIZE];
	uint32_t version;
	char content[8];
	int refuse;
} asked;

static int check_blob(uint32_t version, const struct kho_blob *blob,
		      struct kho_error *why)
{
	asked.calls++;
	asked.version = version;
	strcpy(asked.subtree, blob->subtree);
	assert_int_equal(blob->size, sizeof(asked.content));
	assert_int_equal(kho_mem_read(blob->mem, blob->phys, asked.content,
				      blob->size),
			 0);
	if (!asked.refuse)
		return 0;
	return kho_fail(why, asked.refuse, "its content is '%.8s'",
			asked.content);
}

static const struct kho_component_ops converts = { .convert = convert };
static const struct kho_component_ops checks = { .check = check_blob };
KHO_COMPONENT_OPS(bits, &converts, .write = { 1, 3 }, .read = { 1, 3 },
		  .flags = KHO_COMPONENT_STRUCTURE | KHO_COMPONENT_CONVERT);
KHO_COMPONENT_OPS(table, &converts, .write = { 1, 2 }, .read = { 1, 2 },
		  .deps = { "bits" }, .flags = KHO_COMPONENT_CONVERT);
KHO_COMPONENT_OPS(users, &converts, .write = { 2, 4 }, .read = { 1, 4 },
		  .deps = { "table" }, .flags = KHO_COMPONENT_CONVERT);
KHO_COMPONENT_OPS(photos, &checks, .write = { 1, 1 }, .read = { 1, 1 },
		  .deps = { "bits" },
		  .flags = KHO_COMPONENT_OPTIONAL | KHO_COMPONENT_CHECK);

static struct kho_error err;

static int try_attach(int fd, unsigned int flags, struct kho **kho,
		      struct kho_report **report)
{
	struct kho_attach_opts opts = {
		.size = sizeof(opts),
		.max_size = 64 * MIB,
		.flags = flags,
		.report = report,
	};

	return kho_attach_fd(kho, fd, &opts, &err);
}

static struct kho_state *read_state(int fd)
{
	struct kho_arena_view *view;
	struct kho_arena_info info;
	struct kho_state *state;

	assert_int_equal(kho_arena_view(fd, &view, NULL), 0);
	assert_int_equal(kho_arena_view_info(view, &info, NULL), 0);
	assert_int_equal(kho_state_read(kho_arena_view_mem(view), info.fdt,
					info.fdt_size, &state, NULL),
			 0);
	kho_arena_view_close(view);
	return state;
}

static void assert_compatible(int fd, const char *name, const char *compatible)
{
	struct kho_state *state = read_state(fd);
	size_t i;

	for (i = 0; i < state->n; i++)
		if (!strcmp(state->subtrees[i].name, name))
			break;
	assert_true(i < state->n);
	assert_string_equal(state->subtrees[i].compatible, compatible);
	kho_state_free(state);
}

static void *add(struct kho *kho, const char *name,
		 const struct kho_component *component, uint32_t version)
{
	char *blob = kho_alloc_preserve(kho, 8);

	assert_non_null(blob);
	memcpy(blob, "content", 8);
	assert_int_equal(kho_add_subtree(kho, name, component, version, blob, 8,
					 NULL),
			 0);
	return blob;
}

static void highest_at_first(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 64 * MIB);

	(void)state;
	assert_int_equal(kho_version(kho, &bits_component), 3);
	assert_int_equal(kho_version(kho, &users_component), 4);
	add(kho, "u", &users_component, 0);
	assert_compatible(fd, "u", "users-v4;bits-v3;table-v2");
	/* A version of the caller's choice, then the same again. */
	add(kho, "t", &table_component, 1);
	assert_compatible(fd, "t", "table-v1;bits-v3");
	kho_close(kho);
	close(fd);
}

static void everywhere_at_once(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 64 * MIB);

	(void)state;
	add(kho, "u", &users_component, 0);
	add(kho, "p", &photos_component, 0);
	assert_int_equal(kho_set_version(kho, &bits_component, 1, NULL), 0);
	assert_compatible(fd, "u", "users-v4;bits-v1;table-v2");
	assert_compatible(fd, "p", "photos-v1;bits-v1");
	assert_int_equal(kho_set_version(kho, &users_component, 2, NULL), 0);
	assert_compatible(fd, "u", "users-v2;bits-v1;table-v2");
	assert_int_equal(kho_version(kho, &users_component), 2);
	/* What comes later is in the same versions. */
	add(kho, "u2", &users_component, 0);
	assert_compatible(fd, "u2", "users-v2;bits-v1;table-v2");
	kho_close(kho);
	close(fd);
}

static void bad_versions(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 64 * MIB);
	void *blob = add(kho, "u", &users_component, 3);

	(void)state;
	assert_int_equal(kho_set_version(kho, &users_component, 0, NULL),
			 -ERANGE);
	assert_int_equal(kho_set_version(kho, &users_component, 1, NULL),
			 -ERANGE);
	assert_int_equal(kho_set_version(kho, &users_component, 5, NULL),
			 -ERANGE);
	assert_int_equal(kho_add_subtree(kho, "x", &users_component, 1, blob, 8,
					 NULL),
			 -ERANGE);
	assert_int_equal(kho_add_subtree(kho, "x", &users_component, 5, blob, 8,
					 NULL),
			 -ERANGE);
	assert_compatible(fd, "u", "users-v3;bits-v3;table-v2");
	assert_int_equal(kho_ready(kho, NULL), 0);
	kho_close(kho);

	/* Not yet ours. */
	assert_int_equal(try_attach(fd, 0, &kho, NULL), 0);
	assert_int_equal(kho_set_version(kho, &bits_component, 1, NULL),
			 -EROFS);
	kho_close(kho);
	close(fd);
}

static void learned_from_the_state(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 64 * MIB);

	(void)state;
	assert_int_equal(kho_set_version(kho, &bits_component, 2, NULL), 0);
	add(kho, "u", &users_component, 3);
	assert_int_equal(kho_ready(kho, NULL), 0);
	kho_close(kho);

	assert_int_equal(try_attach(fd, 0, &kho, NULL), 0);
	assert_int_equal(kho_version(kho, &bits_component), 2);
	assert_int_equal(kho_version(kho, &users_component), 3);
	/* What is not in the state is written in the best version. */
	assert_int_equal(kho_version(kho, &photos_component), 1);
	assert_int_equal(kho_ready(kho, NULL), 0);
	assert_compatible(fd, "u", "users-v3;bits-v2;table-v2");
	kho_close(kho);
	close(fd);
}

/* Without memory for a new tree nothing has changed. */
static void no_memory(void **state)
{
	int fd = make_memfd();
	struct kho *kho;
	struct kho_attach_opts opts = { .size = sizeof(opts),
					.max_size = 2 * MIB };
	void *page, *last = NULL;

	(void)state;
	assert_int_equal(kho_attach_fd(&kho, fd, &opts, &err), 0);
	add(kho, "u", &users_component, 0);
	while ((page = kho_alloc_preserve(kho, 1)))
		last = page;
	assert_int_equal(kho_set_version(kho, &bits_component, 1, NULL),
			 -ENOSPC);
	assert_int_equal(kho_version(kho, &bits_component), 3);
	assert_compatible(fd, "u", "users-v4;bits-v3;table-v2");
	/* The same as before needs no memory. */
	assert_int_equal(kho_set_version(kho, &bits_component, 3, NULL), 0);
	assert_int_equal(kho_unpreserve_free(kho, last), 0);
	assert_int_equal(kho_set_version(kho, &bits_component, 1, NULL), 0);
	kho_close(kho);
	close(fd);
}

/* A subtree that there was no memory for has let nothing be written. */
static void no_memory_to_publish(void **state)
{
	struct kho_attach_opts opts = { .size = sizeof(opts),
					.max_size = 2 * MIB };
	int fd = make_memfd();
	struct kho *kho;
	void *page, *blob;
	size_t n;

	(void)state;
	assert_int_equal(kho_attach_fd(&kho, fd, &opts, &err), 0);
	add(kho, "t", &table_component, 1);
	blob = kho_alloc_preserve(kho, 1);
	while ((page = kho_alloc_preserve(kho, 1)))
		;
	n = kho->versions.n;
	assert_int_equal(n, 2);
	assert_int_equal(kho_add_subtree(kho, "u", &users_component, 2, blob, 1,
					 NULL),
			 -ENOSPC);
	assert_int_equal(kho_add_subtree(kho, "a", &photos_component, 0, blob,
					 1, NULL),
			 -ENOSPC);
	assert_int_equal(kho_replace_subtree(kho, "t", &table_component, 2,
					     blob, 1, NULL),
			 -ENOSPC);
	assert_int_equal(kho->versions.n, n);
	assert_int_equal(kho_version(kho, &users_component), 4);
	assert_int_equal(kho_version(kho, &table_component), 1);
	assert_compatible(fd, "t", "table-v1;bits-v3");
	kho_close(kho);
	close(fd);
}

static int make_photos(void)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 64 * MIB);

	add(kho, "album", &photos_component, 0);
	add(kho, "t", &table_component, 0);
	assert_int_equal(kho_ready(kho, NULL), 0);
	kho_close(kho);
	memset(&asked, 0, sizeof(asked));
	return fd;
}

static void looks_first(void **state)
{
	int fd = make_photos();
	struct kho *kho;

	(void)state;
	assert_int_equal(try_attach(fd, 0, &kho, NULL), 0);
	assert_int_equal(asked.calls, 1);
	assert_int_equal(asked.version, 1);
	assert_string_equal(asked.subtree, "album");
	assert_string_equal(asked.content, "content");
	kho_close(kho);
	close(fd);
}

static void refuses(void **state)
{
	int fd = make_photos();
	struct kho_report *report;
	struct kho *kho = NULL;

	(void)state;
	asked.refuse = -EBADMSG;
	assert_int_equal(try_attach(fd, 0, &kho, &report), -EPROTONOSUPPORT);
	assert_null(kho);
	assert_string_equal(report->findings[0].name, "photos");
	assert_int_equal(report->findings[0].verdict, KHO_INCOMPATIBLE);
	assert_non_null(
		strstr(report->findings[0].reason, "its content is 'content'"));
	assert_non_null(strstr(err.text, "its content is 'content'"));
	kho_report_free(report);
	close(fd);
}

/* With consent it goes on without, and keeps what it does not understand. */
static void carries(void **state)
{
	int fd = make_photos();
	struct kho_pages_info before, after;
	struct kho_report *report;
	struct kho_state *tree;
	struct kho *kho;
	void *blob;

	(void)state;
	asked.refuse = -EBADMSG;
	assert_int_equal(try_attach(fd, KHO_ALLOW_DEGRADED, &kho, &report), 0);
	assert_non_null(report);
	assert_int_equal(report->outcome, KHO_OUTCOME_DEGRADED);
	assert_int_equal(kho_report_find(report, "photos")->verdict,
			 KHO_DROPPED);
	kho_report_free(report);
	assert_null(kho_subtree(kho, "album", NULL, NULL));
	assert_non_null(kho_subtree(kho, "t", NULL, NULL));
	assert_int_equal(kho_ready(kho, NULL), 0);

	/* It is somebody else's: not to be removed, replaced or freed. */
	blob = kho_subtree(kho, "t", NULL, NULL);
	assert_int_equal(kho_remove_subtree(kho, "album", NULL),
			 -EPROTONOSUPPORT);
	assert_int_equal(kho_replace_subtree(kho, "album", &photos_component, 0,
					     blob, 8, NULL),
			 -ENOENT);
	assert_int_equal(kho_add_subtree(kho, "album", &photos_component, 0,
					 blob, 8, NULL),
			 -EEXIST);
	before = pages_info(kho);
	assert_int_equal(kho_free_unclaimed(kho, NULL), 0);
	after = pages_info(kho);
	assert_int_equal(after.preserved, before.preserved);

	/* Nor does it follow what others are written in. */
	assert_int_equal(kho_set_version(kho, &bits_component, 1, NULL), 0);
	assert_compatible(fd, "t", "table-v2;bits-v1");
	assert_compatible(fd, "album", "photos-v1;bits-v3");
	tree = read_state(fd);
	assert_true(tree->subtrees[0].optional);
	assert_true(tree->subtrees[0].carried);
	assert_false(tree->subtrees[1].optional);
	assert_false(tree->subtrees[1].carried);
	free(tree);
	kho_close(kho);

	/* Who still cannot read it needs no new consent. */
	assert_int_equal(try_attach(fd, 0, &kho, &report), 0);
	assert_null(report);
	assert_null(kho_subtree(kho, "album", NULL, NULL));
	assert_int_equal(kho_ready(kho, NULL), 0);
	kho_close(kho);

	/* Who can, finds it as it was. */
	asked.refuse = 0;
	assert_int_equal(try_attach(fd, 0, &kho, NULL), 0);
	assert_string_equal(kho_subtree(kho, "album", NULL, NULL), "content");
	assert_int_equal(kho_ready(kho, NULL), 0);
	tree = read_state(fd);
	assert_false(tree->subtrees[0].carried);
	free(tree);
	kho_close(kho);

	/* And then it takes consent again. */
	asked.refuse = -EBADMSG;
	assert_int_equal(try_attach(fd, 0, &kho, NULL), -EPROTONOSUPPORT);
	close(fd);
}

/* Who does not say what he is may be carried, too, and stays as he is. */
static void carries_the_nameless(void **state)
{
	int fd = make_photos();
	size_t size = arena_size(fd), at = 0;
	char *bytes = arena_copy(fd, &size);
	struct kho_state *tree;
	struct kho *kho;

	(void)state;
	for (char *p = bytes; (p = memmem(p, size - (size_t)(p - bytes),
					  "photos-v1;bits-v3", 17));
	     p++) {
		at = (size_t)(p - bytes);
		assert_int_equal(pwrite(fd, "", 1, (off_t)at), 1);
	}
	free(bytes);
	assert_true(at);
	assert_int_equal(try_attach(fd, 0, &kho, NULL), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "album"));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(try_attach(fd, i ? 0 : KHO_ALLOW_DEGRADED,
					    &kho, NULL),
				 0);
		assert_null(kho_subtree(kho, "album", NULL, NULL));
		assert_int_equal(kho_ready(kho, NULL), 0);
		assert_int_equal(kho_set_version(kho, &bits_component, 1, NULL),
				 0);
		kho_close(kho);
	}
	tree = read_state(fd);
	assert_string_equal(tree->subtrees[0].name, "album");
	assert_string_equal(tree->subtrees[0].compatible, "");
	assert_true(tree->subtrees[0].carried);
	free(tree);
	close(fd);
}

static void consent_by_environment(void **state)
{
	int fd = make_photos();
	struct kho_report *report;
	struct kho *kho;

	(void)state;
	asked.refuse = -EBADMSG;
	setenv("KHO_ALLOW_DEGRADED", "0", 1);
	assert_int_equal(try_attach(fd, 0, &kho, NULL), -EPROTONOSUPPORT);
	assert_null(getenv("KHO_ALLOW_DEGRADED"));
	setenv("KHO_ALLOW_DEGRADED", "1", 1);
	assert_int_equal(try_attach(fd, 0, &kho, &report), 0);
	assert_null(getenv("KHO_ALLOW_DEGRADED"));
	kho_report_free(report);
	kho_close(kho);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(highest_at_first),
		cmocka_unit_test(everywhere_at_once),
		cmocka_unit_test(bad_versions),
		cmocka_unit_test(learned_from_the_state),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(no_memory_to_publish),
		cmocka_unit_test(looks_first),
		cmocka_unit_test(refuses),
		cmocka_unit_test(carries),
		cmocka_unit_test(carries_the_nameless),
		cmocka_unit_test(consent_by_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
