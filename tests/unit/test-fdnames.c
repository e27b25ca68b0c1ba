// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Files with names in a session: the index and everything that can be wrong with
 * it, the copy of an arena that has more holes than data, and what happens
 * without a session. tests/vm has real ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include <kho/arena.h>
#include <kho/suspend.h>
#include <kho/manifest.h>
#include <kho/tracker.h>
#include <kho/state.h>
#include <kho/tree.h>

#include "handover/private.h"
#include "arena.h"
#include "base/crc32c.h"

#define MIB (1ul << 20)

static struct kho_error why;

/* ---- the index ---- */

#define FILES 3
static union {
	struct kho_fdnames index;
	char bytes[sizeof(struct kho_fdnames) +
		   FILES * sizeof(struct kho_fdnames_entry) + 1];
} good;
#define INDEX_SIZE                                                             \
	(sizeof(struct kho_fdnames) + FILES * sizeof(struct kho_fdnames_entry))

static void checksum(struct kho_fdnames *index)
{
	uint32_t crc = crc32c(index, offsetof(struct kho_fdnames, crc));

	index->crc = crc32c_more(crc, index->entries,
				 index->count * sizeof(index->entries[0]));
}

static int make_good(void **state)
{
	static const char *const names[FILES] = { "kho-arena", "a.b_c-D", "x" };

	(void)state;
	memset(&good, 0, sizeof(good));
	good.index.magic = KHO_FDNAMES_MAGIC;
	good.index.version = 1;
	good.index.count = FILES;
	for (int i = 0; i < FILES; i++) {
		strcpy(good.index.entries[i].name, names[i]);
		good.index.entries[i].token = (uint64_t)i << 40;
	}
	checksum(&good.index);
	return 0;
}

static int read_index(size_t size, struct kho_fdnames **index)
{
	int fd = make_memfd(), ret;

	assert_int_equal(write(fd, good.bytes, size), size);
	why.text[0] = '\0';
	ret = fdnames_read(fd, index, &why);
	close(fd);
	return ret;
}

static void accepted(void **state)
{
	struct kho_fdnames *index;

	(void)state;
	assert_int_equal(read_index(INDEX_SIZE, &index), 0);
	assert_memory_equal(index, &good, INDEX_SIZE);
	free(index);
	memset(good.index.entries[2].name, 'n', 63);
	checksum(&good.index);
	assert_int_equal(read_index(INDEX_SIZE, &index), 0);
	free(index);
	good.index.count = 0;
	checksum(&good.index);
	assert_int_equal(read_index(sizeof(good.index), &index), 0);
	free(index);
}

static void refused(size_t size, int code, const char *text)
{
	struct kho_fdnames *index;

	assert_int_equal(read_index(size, &index), code);
	assert_int_equal(why.code, code);
	if (!strstr(why.text, text))
		fail_msg("no '%s' in '%s'", text, why.text);
}

static void lengths(void **state)
{
	(void)state;
	for (size_t size = 0; size <= INDEX_SIZE + 1; size++)
		if (size != INDEX_SIZE)
			refused(size, -EBADMSG, "fdnames: the index is ");
	good.index.count = KHO_FDNAMES_MAX + 1;
	refused(INDEX_SIZE, -EBADMSG, "65537 files");
	good.index.count = UINT32_MAX;
	refused(INDEX_SIZE, -EBADMSG, "4294967295 files");
}

/* All else is right. */
static void too_many(void **state)
{
	const size_t n = KHO_FDNAMES_MAX + 1;
	size_t size = sizeof(good.index) + n * sizeof(good.index.entries[0]);
	struct kho_fdnames *index = calloc(1, size), *got;
	int fd = make_memfd();

	(void)state;
	assert_non_null(index);
	*index = good.index;
	index->count = (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		strcpy(index->entries[i].name, "x");
	checksum(index);
	assert_int_equal(write(fd, index, size), size);
	assert_int_equal(fdnames_read(fd, &got, &why), -EBADMSG);
	free(index);
	close(fd);
}

static void bits(void **state)
{
	struct kho_fdnames *index;

	(void)state;
	for (size_t bit = 0; bit < 8 * INDEX_SIZE; bit++) {
		good.bytes[bit / 8] ^= (char)(1 << bit % 8);
		assert_true(read_index(INDEX_SIZE, &index) < 0);
		good.bytes[bit / 8] ^= (char)(1 << bit % 8);
	}
}

/* With a checksum that is right. */
static void contents(void **state)
{
	static const char *const bad[] = { "",	  " ", "a b",  "a:b", "\n",
					   "a\\", "ä", "\x7f", "a/b", "%" };
	char *name = good.index.entries[1].name;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(name, 0, KHO_FDNAME_SIZE);
		strcpy(name, bad[i]);
		checksum(&good.index);
		refused(INDEX_SIZE, -EBADMSG, "file 1 has no name");
	}
	memset(name, 'n', KHO_FDNAME_SIZE);
	checksum(&good.index);
	refused(INDEX_SIZE, -EBADMSG, "file 1 has no name");
	name[4] = '\0';
	checksum(&good.index);
	refused(INDEX_SIZE, -EBADMSG, "file 1 has no name");
	make_good(NULL);
	strcpy(good.index.entries[2].name, "kho-arena");
	checksum(&good.index);
	refused(INDEX_SIZE, -EBADMSG, "2 files are named kho-arena");
	make_good(NULL);
	good.index.version = 2;
	checksum(&good.index);
	refused(INDEX_SIZE, -EPROTONOSUPPORT, "custody-v2");
	good.index.version = 1;
	good.index.reserved = 1;
	checksum(&good.index);
	refused(INDEX_SIZE, -EBADMSG, "checksum");
	good.index.magic++;
	refused(INDEX_SIZE, -EBADMSG, "no index");
}

/* ---- an arena's copy ---- */

KHO_COMPONENT(pattern, .write = { 1, 1 }, .read = { 1, 1 });

/* The lowest, or the highest, of some pieces that make up an arena. */
static void *pick(struct kho *kho, void **pieces, size_t n, bool highest)
{
	void *best = pieces[0];

	for (size_t i = 1; i < n; i++)
		if ((kho_phys(kho, pieces[i]) > kho_phys(kho, best)) == highest)
			best = pieces[i];
	return best;
}

/*
 * @used MiB, and 64 times as many that are free, behind them or before. Only
 * with @touched they are written to: others are holes of the file, in use all
 * the same.
 */
static int make_arena(unsigned int page_shift, size_t used, bool behind,
		      bool touched)
{
	int fd = make_memfd();
	/* Behind the highest there is not to be much more. */
	struct kho *kho =
		arena_attach(fd, page_shift, 65 * used * MIB + 8 * MIB);
	size_t pages = (used * MIB) >> kho_page_shift(kho);
	void *pieces[65];
	char *blob;

	for (size_t i = 0; i < 65; i++) {
		pieces[i] = kho_alloc_pages(kho, pages);
		assert_non_null(pieces[i]);
	}
	blob = pick(kho, pieces, 65, behind);
	for (size_t i = 0; touched && i < used * MIB; i += 4096)
		memcpy(blob + i, &i, sizeof(i));
	assert_int_equal(kho_preserve_pages(kho, blob, pages), 0);
	assert_int_equal(kho_add_subtree(kho, "pattern", &pattern_component, 0,
					 blob, used * MIB, NULL),
			 0);
	for (size_t i = 0; i < 65; i++)
		if (pieces[i] != blob)
			kho_free_pages(kho, pieces[i], pages);
	assert_int_equal(kho_ready(kho, NULL), 0);
	kho_close(kho);
	/* Whoever attaches makes holes of all that is free. */
	kho = arena_attach(fd, 0, 4096 * MIB);
	assert_int_equal(kho_ready(kho, NULL), 0);
	kho_close(kho);
	return fd;
}

static void check_arena(int fd, size_t used, bool touched)
{
	struct kho *kho = arena_attach(fd, 0, 4096 * MIB);
	size_t size, zero = 0;
	char *blob = kho_subtree(kho, "pattern", &size, NULL);

	assert_non_null(blob);
	assert_int_equal(size, used * MIB);
	for (size_t i = 0; i < size; i += 4096)
		assert_memory_equal(blob + i, touched ? &i : &zero, sizeof(i));
	/* It can grow, like any other. */
	assert_int_equal(kho_ready(kho, NULL), 0);
	assert_non_null(kho_alloc_preserve(kho, 64 * MIB));
	kho_close(kho);
}

static void copies(void **state)
{
	static const unsigned int shifts[] = { 12, 14, 16 };
	static char pages[2 * 65536];

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		bool touched = i % 2;
		int fd = make_arena(shifts[i / 2], 4, false, touched), copy;
		size_t before, after, end;
		void *bytes = arena_copy(fd, &before), *same;

		assert_int_equal(arena_trimmed_copy(fd, &copy, &why), 0);
		assert_true(copy >= 0);
		assert_true(arena_size(copy) < arena_size(fd) / 8);
		end = arena_size(copy);
		same = arena_copy(fd, &after);
		assert_int_equal(before, after);
		assert_memory_equal(bytes, same, before);
		check_arena(copy, 4, touched);
		close(copy);
		/* What is idle, right behind, can have memory for a while. */
		assert_int_equal(pread(fd, pages, 65536, (off_t)end - 65536),
				 65536);
		assert_int_equal(pwrite(fd, pages, sizeof(pages),
					(off_t)end - 65536),
				 sizeof(pages));
		assert_int_equal(arena_trimmed_copy(fd, &copy, &why), 0);
		assert_int_equal(arena_size(copy), end);
		check_arena(fd, 4, touched);
		free(bytes);
		free(same);
		close(copy);
		close(fd);
	}
}

/* Where the last folio, and the last page of the tracker, are. */
struct last {
	uint64_t folio, node;
};

static int see_folio(uint64_t phys, unsigned int order, void *arg)
{
	struct last *last = arg;

	(void)order;
	if (phys > last->folio)
		last->folio = phys;
	return 0;
}

static int see_node(uint64_t phys, void *arg)
{
	struct last *last = arg;

	if (phys > last->node)
		last->node = phys;
	return 0;
}

static struct last find_last(int fd)
{
	struct last last = { 0 };
	const struct kho_tracker_walk walk = { see_folio, see_node, &last };
	struct kho_arena_view *view;
	struct kho_arena_info info;
	struct kho_state *state;

	assert_int_equal(kho_arena_view(fd, &view, NULL), 0);
	assert_int_equal(kho_arena_view_info(view, &info, NULL), 0);
	assert_int_equal(kho_state_read(kho_arena_view_mem(view), info.fdt,
					info.fdt_size, &state, NULL),
			 0);
	assert_int_equal(kho_tracker_walk(kho_arena_view_mem(view),
					  state->tracker, &walk, NULL),
			 0);
	kho_state_free(state);
	kho_arena_view_close(view);
	return last;
}

/* Some folios of many, anywhere, are preserved. */
static int make_random(void)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 12, 4096 * MIB);
	void *folios[256];

	for (size_t i = 0; i < 256; i++) {
		folios[i] = kho_alloc_folio(kho, (unsigned int)(rnd() % 11));
		assert_non_null(folios[i]);
		if (rnd() % 32 == 0)
			assert_int_equal(kho_preserve_folio(kho, folios[i]), 0);
	}
	assert_int_equal(kho_ready(kho, NULL), 0);
	kho_close(kho);
	kho = arena_attach(fd, 0, 4096 * MIB);
	assert_int_equal(kho_ready(kho, NULL), 0);
	kho_close(kho);
	return fd;
}

/* The tracker's own pages are in use as well, sometimes behind all else. */
static void nodes(void **state)
{
	int behind = 0, copied = 0;

	(void)state;
	for (int i = 0; i < 60; i++) {
		int fd = make_random(), copy;
		struct last last = find_last(fd);

		assert_int_equal(arena_trimmed_copy(fd, &copy, &why), 0);
		behind += copy >= 0 && last.node >> 21 > last.folio >> 21;
		if (copy >= 0) {
			struct kho *kho = arena_attach(copy, 0, 4096 * MIB);

			assert_true(arena_size(copy) > last.node);
			assert_true(arena_size(copy) > last.folio);
			kho_close(kho);
			close(copy);
			copied++;
		}
		close(fd);
	}
	print_message("# %d copies, %d with a node behind all folios\n", copied,
		      behind);
	assert_true(copied > 0);
}

/* A copy would take more memory than the holes do. */
static void no_copies(void **state)
{
	int copy, fd = make_arena(12, 4, true, true);

	(void)state;
	assert_true(arena_size(fd) > 256 * MIB);
	assert_int_equal(arena_trimmed_copy(fd, &copy, &why), 0);
	assert_int_equal(copy, -1);
	check_arena(fd, 4, true);
	close(fd);
}

static void damaged(void **state)
{
	int fd = make_arena(12, 4, false, true), copy;
	struct kho_arena_super super;

	(void)state;
	assert_int_equal(pread(fd, &super, sizeof(super), 0), sizeof(super));
	memset(super.slot, 0x5a, sizeof(super.slot));
	assert_int_equal(pwrite(fd, &super, sizeof(super), 0), sizeof(super));
	assert_int_equal(arena_trimmed_copy(fd, &copy, &why), -EBADMSG);
	assert_int_equal(copy, -1);
	close(fd);
	assert_int_equal(arena_trimmed_copy(-1, &copy, &why), -EBADF);
}

/* ---- without a session ---- */

static int freezes, thaws;

static int freeze(struct kho *kho, const struct kho_report *report, void *arg)
{
	(void)kho;
	(void)report;
	(void)arg;
	freezes++;
	return 0;
}

static void thaw(struct kho *kho, void *arg)
{
	(void)kho;
	(void)arg;
	thaws++;
}

/* Whoever attaches to the session itself has to know how. */
static void successors(struct kho *kho, int session)
{
	struct kho_suspend_opts how = { .size = sizeof(how) };
	struct kho_manifest *manifest;
	size_t i = 0;

	assert_int_equal(kho_manifest_self(&manifest), 0);
	how.to = manifest;
	assert_int_equal(kho_suspend(kho, session, 0, &how, &why), -ENOTTY);
	while (strcmp(manifest->entries[i].desc.name, "fdnames") != 0)
		i++;
	manifest->entries[i].desc.read = (struct kho_range){ 2, 2 };
	assert_int_equal(kho_suspend(kho, session, 0, &how, &why),
			 -EPROTONOSUPPORT);
	assert_non_null(strstr(why.text, "fdnames"));
	how.custodian = true;
	assert_int_equal(kho_suspend(kho, session, 0, &how, &why), -ENOTTY);
	kho_manifest_free(manifest);
}

static void no_session(void **state)
{
	const struct kho_attach_opts opts = { .size = sizeof(opts),
					      .max_size = 64 * MIB,
					      .freeze = freeze,
					      .unfreeze = thaw };
	const struct kho_suspend_opts how = { .size = sizeof(how) };
	struct kho_named_file *files, file = { .name = "x", .fd = 0 };
	int fd = make_memfd(), other = make_memfd();
	struct kho *kho;
	size_t n;

	(void)state;
	assert_int_equal(kho_attach_fd(&kho, fd, &opts, &why), 0);
	assert_int_equal(kho_suspend(kho, other, 0, &how, &why), -EROFS);
	assert_int_equal(kho_ready(kho, NULL), 0);
	freezes = thaws = 0;
	assert_int_equal(kho_suspend(kho, other, 0, &how, &why), -ENOTTY);
	assert_int_equal(kho_suspend(kho, -1, 0, &how, &why), -EBADF);
	assert_int_equal(freezes, 2);
	assert_int_equal(thaws, 2);
	assert_non_null(kho_alloc_preserve(kho, 4 * MIB));
	kho_resume(kho);
	assert_int_equal(thaws, 2);
	successors(kho, other);
	kho_close(kho);
	assert_int_equal(kho_attach_session(&kho, other, 0, &opts, &why),
			 -ENOTTY);
	assert_int_equal(kho_attach_session(&kho, -1, 0, &opts, &why), -EBADF);
	assert_int_equal(kho_fdnames_load(other, 0, &files, &n, &why), -ENOTTY);
	assert_int_equal(kho_fdnames_save(other, 0, &file, 1, &why), -ENOTTY);
	assert_int_equal(kho_session_finish(other, &why), -ENOTTY);
	close(fd);
	close(other);
}

static void bad_files(void **state)
{
	struct kho_named_file two[2] = { { .name = "kho-arena", .fd = -1 },
					 { .name = "kho-arena", .fd = -1 } };

	(void)state;
	assert_int_equal(kho_fdnames_save(-1, 0, two, 2, &why), -EINVAL);
	assert_non_null(strstr(why.text, "2 files are named kho-arena"));
	strcpy(two[1].name, "a b");
	assert_int_equal(kho_fdnames_save(-1, 0, two, 2, &why), -EINVAL);
	assert_non_null(strstr(why.text, "'a b'"));
	memset(two[1].name, 'n', sizeof(two[1].name));
	assert_int_equal(kho_fdnames_save(-1, 0, two, 2, &why), -EINVAL);
	assert_int_equal(kho_fdnames_save(-1, 0, two, KHO_FDNAMES_MAX + 1,
					  &why),
			 -EINVAL);
	two[1].name[1] = '\0';
	assert_int_equal(kho_fdnames_save(-1, UINT64_MAX - 1, two, 2, &why),
			 -EINVAL);
	assert_non_null(strstr(why.text, "there are no 3 tokens"));
	assert_int_not_equal(kho_fdnames_save(-1, UINT64_MAX - 2, two, 2, &why),
			     -EINVAL);
	assert_int_equal(kho_session_create("", &why), -EINVAL);
	assert_int_equal(kho_session_retrieve("a name that has more than the sixty-three bytes that Linux takes",
					      &why),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(accepted, make_good),
		cmocka_unit_test_setup(lengths, make_good),
		cmocka_unit_test_setup(too_many, make_good),
		cmocka_unit_test_setup(bits, make_good),
		cmocka_unit_test_setup(contents, make_good),
		cmocka_unit_test(copies),
		cmocka_unit_test(nodes),
		cmocka_unit_test(no_copies),
		cmocka_unit_test(damaged),
		cmocka_unit_test(no_session),
		cmocka_unit_test(bad_files),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
