// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Attaching: what a good arena gives, what each kind of bad one gets, and
 * that a refusal changes no byte. The state tree, and kill -9 under writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <kho/arena.h>
#include <kho/tracker.h>
#include <kho/state.h>
#include <kho/tree.h>

#include "arena.h"
#include "arena/arena.h"
#include "base/crc32c.h"
#include "step.h"

#define MIB (1ul << 20)

/* Its versions differ in nothing. */
static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *err)
{
	(void)kho;
	(void)version;
	(void)arg;
	(void)err;
	return 0;
}

static const struct kho_component_ops ops = { .convert = convert };
KHO_COMPONENT_OPS(leaf, &ops, .write = { 1, 2 }, .read = { 1, 2 },
		  .flags = KHO_COMPONENT_STRUCTURE | KHO_COMPONENT_CONVERT);
KHO_COMPONENT_OPS(app, &ops, .write = { 1, 3 }, .read = { 1, 3 },
		  .deps = { "leaf" }, .flags = KHO_COMPONENT_CONVERT);

static struct kho_error why;

/* Memory comes when it is touched, and not before. */
static bool no_fallocate;

/* Calls for memory until one fails with this. */
static int fallocate_calls, fallocate_error;

int __real_fallocate64(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len);

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len)
{
	if (fallocate_error && !(mode & FALLOC_FL_PUNCH_HOLE) &&
	    fallocate_calls-- == 0) {
		errno = fallocate_error;
		return -1;
	}
	return no_fallocate ? 0 : __real_fallocate64(fd, mode, offset, len);
}

static int try_attach(struct kho **kho, int fd, struct kho_report **report)
{
	struct kho_attach_opts opts = { .size = sizeof(opts),
					.max_size = 64 * MIB,
					.report = report };

	why.text[0] = '\0';
	return kho_attach_fd(kho, fd, &opts, &why);
}

static struct kho *attach(int fd)
{
	struct kho *kho;

	if (try_attach(&kho, fd, NULL))
		fail_msg("%s", why.text);
	return kho;
}

/* An arena with a subtree "app" of version 3 that says "hello". */
static int make_arena(void)
{
	int fd = make_memfd();
	struct kho *kho = attach(fd);
	char *blob = kho_alloc_preserve(kho, 100);

	strcpy(blob, "hello");
	assert_int_equal(kho_add_subtree(kho, "app", &app_component, 0, blob, 6,
					 NULL),
			 0);
	assert_int_equal(kho_ready(kho, NULL), 0);
	kho_close(kho);
	return fd;
}

static uint32_t checksum(int fd)
{
	struct stat st;
	uint32_t crc;
	void *p;

	fstat(fd, &st);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	crc = crc32c(p, (size_t)st.st_size);
	munmap(p, (size_t)st.st_size);
	return crc;
}

/* Somebody who shares the arena cuts it short after a look at its size. */
static int shrink_after;

int __real_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st);

int __wrap_fstat64(int fd, struct stat *st)
{
	int ret = __real_fstat64(fd, st);

	if (shrink_after && --shrink_after == 0)
		(void)!ftruncate(fd, 4096);
	return ret;
}

/* Attaching is refused with this error and text, and changes nothing. */
static void refused(int fd, int code, const char *text)
{
	uint32_t before = checksum(fd);
	struct kho *kho = NULL;
	int ret = try_attach(&kho, fd, NULL);

	if (ret != code || !strstr(why.text, text))
		fail_msg("got %d \"%s\", expected %d \"%s\"", ret, why.text,
			 code, text);
	assert_null(kho);
	assert_null(strchr(why.text, '\n'));
	assert_int_equal(checksum(fd), before);
}

static void survives(void **state)
{
	int fd = make_arena();
	struct kho *kho = attach(fd);
	uint32_t version;
	size_t size;

	(void)state;
	assert_string_equal(kho_subtree(kho, "app", &size, &version), "hello");
	assert_int_equal(size, 6);
	assert_int_equal(version, 3);
	assert_null(kho_subtree(kho, "other", NULL, NULL));
	assert_int_equal(kho_remove_subtree(kho, "app", NULL), -EROFS);
	assert_int_equal(kho_ready(kho, NULL), 0);
	assert_int_equal(kho_ready(kho, NULL), 0);
	assert_int_equal(kho_generation(kho), 1);
	kho_close(kho);
	close(fd);
}

/* Every reason for a refusal has words. */
static void tree_words(void **state)
{
	static const char long_name[] = "12345678901234567890123456789012";
	int fd = make_arena(), local;
	struct kho *kho = attach(fd);
	void *blob = kho_subtree(kho, "app", NULL, NULL), *folio;
	const struct kho_component *app = &app_component;

	(void)state;
#define WORDS(call, error, words)                                              \
	do {                                                                   \
		assert_int_equal(call, error);                                 \
		assert_string_equal(why.text, words);                          \
		assert_int_equal(why.code, error);                             \
	} while (0)
	WORDS(kho_add_subtree(kho, "b", app, 0, blob, 6, &why), -EROFS,
	      "state tree: read-only until kho_ready()");
	WORDS(kho_free_unclaimed(kho, &why), -EROFS,
	      "pages: read-only until kho_ready()");
	assert_int_equal(kho_ready(kho, NULL), 0);
	folio = kho_alloc_folio(kho, 0);
	WORDS(kho_add_subtree(kho, "app", app, 0, blob, 6, &why), -EEXIST,
	      "subtree 'app': is there already");
	WORDS(kho_add_subtree(kho, long_name, app, 0, blob, 6, &why), -EINVAL,
	      "subtree '12345678901234567890123456789012': a name has 1 to 31 "
	      "characters of 0-9, a-z, A-Z and ,._+-");
	WORDS(kho_add_subtree(kho, "v", app, 4, blob, 6, &why), -ERANGE,
	      "subtree 'v': component 'app' cannot write version 4, only 1 to "
	      "3");
	WORDS(kho_add_subtree(kho, "b", app, 0, &local, 6, &why), -EINVAL,
	      "subtree 'b': its blob is not in the arena");
	WORDS(kho_add_subtree(kho, "b", app, 0, blob, 0, &why), -EINVAL,
	      "subtree 'b': its blob is empty");
	assert_int_equal(kho_replace_subtree(kho, "app", app, 0, folio, 9,
					     &why),
			 -EINVAL);
	assert_non_null(strstr(why.text, "is not preserved: "
					 "kho_alloc_preserve()"));
	WORDS(kho_replace_subtree(kho, "b", app, 0, blob, 6, &why), -ENOENT,
	      "subtree 'b': is not there");
	WORDS(kho_remove_subtree(kho, "b", &why), -ENOENT,
	      "subtree 'b': is not there");
	WORDS(kho_set_version(kho, app, 4, &why), -ERANGE,
	      "component 'app' cannot write version 4, only 1 to 3");
#undef WORDS
	kho_close(kho);
	close(fd);
}

static void tree_changes(void **state)
{
	int fd = make_arena();
	struct kho *kho = attach(fd);
	void *blob, *second;
	char name[40];
	uint32_t version;

	(void)state;
	blob = kho_subtree(kho, "app", NULL, NULL);
	assert_int_equal(kho_ready(kho, NULL), 0);
	assert_int_equal(kho_add_subtree(kho, "app", &app_component, 0, blob, 6,
					 NULL),
			 -EEXIST);
	assert_int_equal(kho_add_subtree(kho, "", &app_component, 0, blob, 6,
					 NULL),
			 -EINVAL);
	assert_int_equal(kho_add_subtree(kho, "a/b", &app_component, 0, blob, 6,
					 NULL),
			 -EINVAL);
	assert_int_equal(kho_add_subtree(kho,
					 "12345678901234567890123456789012",
					 &app_component, 0, blob, 6, NULL),
			 -EINVAL);
	assert_int_equal(kho_add_subtree(kho, "v", &app_component, 4, blob, 6,
					 NULL),
			 -ERANGE);
	/* Blobs must be preserved to the last byte. */
	assert_int_equal(kho_add_subtree(kho, "b", &app_component, 0, blob, MIB,
					 NULL),
			 -EINVAL);
	assert_int_equal(kho_add_subtree(kho, "b", &app_component, 0, blob, 0,
					 NULL),
			 -EINVAL);
	assert_int_equal(kho_add_subtree(kho, "b", &app_component, 0, &fd, 4,
					 NULL),
			 -EINVAL);
	second = kho_alloc_folio(kho, 0);
	assert_int_equal(kho_add_subtree(kho, "b", &app_component, 0, second, 4,
					 NULL),
			 -EINVAL);
	assert_int_equal(kho_preserve_folio(kho, second), 0);
	assert_int_equal(kho_replace_subtree(kho, "b", &app_component, 1,
					     second, 4, NULL),
			 -ENOENT);
	assert_int_equal(kho_replace_subtree(kho, "app", &app_component, 1,
					     second, 4, NULL),
			 0);
	assert_ptr_equal(kho_subtree(kho, "app", NULL, &version), second);
	assert_int_equal(version, 1);
	/* More than a page of root FDT. */
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "sub-%d", i);
		assert_int_equal(kho_add_subtree(kho, name, &app_component, 2,
						 blob, 6, NULL),
				 0);
	}
	kho_close(kho);
	kho = attach(fd);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "sub-%d", i);
		assert_string_equal(kho_subtree(kho, name, NULL, &version),
				    "hello");
		assert_int_equal(version, 2);
	}
	assert_int_equal(kho_ready(kho, NULL), 0);
	/* "app" was not retrieved: what it reaches must stay. */
	assert_int_equal(kho_free_unclaimed(kho, NULL), -EBUSY);
	assert_int_equal(kho_remove_subtree(kho, "app", NULL), 0);
	assert_int_equal(kho_remove_subtree(kho, "app", NULL), -ENOENT);
	assert_null(kho_subtree(kho, "app", NULL, NULL));
	assert_int_equal(kho_free_unclaimed(kho, NULL), 1);
	kho_close(kho);
	close(fd);
}

/* The root FDT, as an FDT tool and as Linux would see it. */
static void root_fdt_format(void **state)
{
	int fd = make_arena(), node, len;
	struct kho_arena_view *view;
	struct kho_arena_info info;
	const char *compatible;
	char fdt[8192];
	uint64_t val;

	(void)state;
	assert_int_equal(kho_arena_view(fd, &view, NULL), 0);
	assert_int_equal(kho_arena_view_info(view, &info, NULL), 0);
	assert_int_equal(kho_mem_read(kho_arena_view_mem(view), info.fdt, fdt,
				      info.fdt_size),
			 0);
	assert_int_equal(fdt_check_full(fdt, info.fdt_size), 0);
	compatible = fdt_getprop(fdt, 0, "compatible", &len);
	assert_int_equal(len, sizeof("kho-v4;radix-v1\0kho-v4"));
	assert_memory_equal(compatible, "kho-v4;radix-v1\0kho-v4", (size_t)len);
	assert_non_null(fdt_getprop(fdt, 0, "preserved-memory-map", &len));
	assert_int_equal(len, 8);
	node = fdt_subnode_offset(fdt, 0, "app");
	assert_true(node > 0);
	assert_string_equal(fdt_getprop(fdt, node, "compatible", NULL),
			    "app-v3;leaf-v2");
	memcpy(&val, fdt_getprop(fdt, node, "blob-size", &len), 8);
	assert_int_equal(val, 6);
	memcpy(&val, fdt_getprop(fdt, node, "preserved-data", &len), 8);
	assert_int_equal(kho_mem_read(kho_arena_view_mem(view), val, fdt, 6),
			 0);
	assert_string_equal(fdt, "hello");
	kho_arena_view_close(view);
	close(fd);
}

static void bad_files(void **state)
{
	char path[] = "/tmp/kho-test-XXXXXX", junk[4096];
	char shm[] = "/dev/shm/kho-test-XXXXXX"; /* a tmpfs */
	struct kho *kho;
	int fd, pipefd[2];

	(void)state;
	assert_int_equal(try_attach(&kho, -1, NULL), -EBADF);
	assert_int_equal(try_attach(&kho, 999, NULL), -EBADF);
	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(try_attach(&kho, pipefd[0], NULL), -EINVAL);
	assert_non_null(strstr(why.text, "not a memfd"));
	fd = mkstemp(path);
	unlink(path);
	assert_int_equal(try_attach(&kho, fd, NULL), -EINVAL);
	assert_non_null(strstr(why.text, "not a memfd"));
	close(fd);
	fd = mkstemp(shm);
	unlink(shm);
	assert_int_equal(try_attach(&kho, fd, NULL), -EINVAL);
	assert_non_null(strstr(why.text, "not a memfd"));
	close(fd);
	fd = memfd_create("unsealable", MFD_CLOEXEC);
	assert_int_equal(try_attach(&kho, fd, NULL), -EINVAL);
	assert_non_null(strstr(why.text, "not a memfd that can be sealed"));
	close(fd);

	fd = make_memfd();
	assert_int_equal(ftruncate(fd, 4096), 0);
	refused(fd, -EBADMSG, "all zeros");
	memset(junk, 'x', sizeof(junk));
	assert_int_equal(pwrite(fd, junk, sizeof(junk), 0), sizeof(junk));
	refused(fd, -EBADMSG, "not an arena: magic");
	assert_int_equal(ftruncate(fd, 17), 0);
	refused(fd, -EBADMSG, "truncated: 17 bytes");
	close(fd);
}

/* A copy of a good arena in a memfd without seals, to damage it. */
static int copy_arena(void)
{
	int from = make_arena(), to = make_memfd();
	struct stat st;
	char *buf;

	fstat(from, &st);
	buf = malloc((size_t)st.st_size);
	assert_int_equal(pread(from, buf, (size_t)st.st_size, 0), st.st_size);
	assert_int_equal(pwrite(to, buf, (size_t)st.st_size, 0), st.st_size);
	free(buf);
	close(from);
	return to;
}

static void put_super(int fd, struct kho_arena_super *super)
{
	super->crc = crc32c(super, offsetof(struct kho_arena_super, crc));
	assert_int_equal(pwrite(fd, super, sizeof(*super), 0), sizeof(*super));
}

static void damaged_superblocks(void **state)
{
	struct kho_arena_super good, super;
	int fd = copy_arena();

	(void)state;
	assert_int_equal(pread(fd, &good, sizeof(good), 0), sizeof(good));
	super = good;
	super.version = 2;
	put_super(fd, &super);
	refused(fd, -EPROTONOSUPPORT, "arena-v2, this program reads arena-v1");
	super = good;
	super.page_shift = 13;
	put_super(fd, &super);
	refused(fd, -EINVAL, "page size 2^13");
	super = good;
	arena_set_super_size(&super, 4 * MIB);
	put_super(fd, &super);
	refused(fd, -EBADMSG, "truncated: its superblock says 4194304");
	arena_set_super_size(&super, 0);
	put_super(fd, &super);
	refused(fd, -EBADMSG, "no chunk");
	/* A number of another arena, or of another place. */
	super = good;
	super.id[3] ^= 1;
	put_super(fd, &super);
	refused(fd, -EBADMSG, "CRC32C of its size");
	super = good;
	super.generation = super.chunks;
	put_super(fd, &super);
	refused(fd, -EBADMSG, "CRC32C of its generation");
	super = good;
	super.id[3] ^= 1;
	assert_int_equal(pwrite(fd, &super, sizeof(super), 0), sizeof(super));
	refused(fd, -EBADMSG, "CRC32C");
	super = good;
	super.slot[0].crc ^= 1;
	super.slot[1].crc ^= 1;
	put_super(fd, &super);
	refused(fd, -EBADMSG, "neither of its root slots");
	super = good;
	for (int i = 0; i < 2; i++) {
		super.slot[i].fdt = 64 * MIB;
		super.slot[i].crc =
			crc32c(&super.slot[i],
			       offsetof(struct kho_arena_slot, crc));
	}
	put_super(fd, &super);
	refused(fd, -EBADMSG, "outside");
	put_super(fd, &good);
	kho_close(attach(fd));
	/* From then on it is sealed. */
	assert_int_equal(ftruncate(fd, MIB), -1);
	close(fd);
	fd = copy_arena();
	assert_int_equal(ftruncate(fd, MIB), 0);
	refused(fd, -EBADMSG, "truncated");
	close(fd);
}

/* The last sequence number there is: nothing is published after it. */
static void last_sequence(void **state)
{
	struct kho_arena_super super;
	int fd = copy_arena(), newest;
	struct kho *kho;
	void *blob;

	(void)state;
	assert_int_equal(pread(fd, &super, sizeof(super), 0), sizeof(super));
	newest = arena_pick_slot(&super);
	super.slot[newest].seq = UINT64_MAX - 1;
	super.slot[newest].crc = crc32c(&super.slot[newest],
					offsetof(struct kho_arena_slot, crc));
	put_super(fd, &super);
	kho = attach(fd);
	assert_int_equal(kho_ready(kho, NULL), 0);
	blob = kho_subtree(kho, "app", NULL, NULL);
	assert_int_equal(kho_add_subtree(kho, "last", &app_component, 0, blob,
					 6, NULL),
			 0);
	assert_int_equal(kho_add_subtree(kho, "more", &app_component, 0, blob,
					 6, NULL),
			 -EOVERFLOW);
	assert_int_equal(kho_remove_subtree(kho, "last", NULL), -EOVERFLOW);
	assert_null(kho_subtree(kho, "more", NULL, NULL));
	kho_close(kho);
	kho = attach(fd);
	assert_non_null(kho_subtree(kho, "last", NULL, NULL));
	assert_null(kho_subtree(kho, "more", NULL, NULL));
	kho_close(kho);
	close(fd);
}

/* At whatever moment it is cut short, it is refused or too late. */
static void shrunk_while_attaching(void **state)
{
	int refusals = 0, n;

	(void)state;
	for (n = 1;; n++) {
		int fd = copy_arena();
		struct kho *kho = NULL;

		shrink_after = n;
		if (try_attach(&kho, fd, NULL)) {
			assert_non_null(strstr(why.text, "truncated"));
			refusals++;
		} else {
			assert_string_equal(kho_subtree(kho, "app", NULL, NULL),
					    "hello");
			assert_int_equal(arena_size(fd), 2 * MIB);
		}
		kho_close(kho);
		close(fd);
		if (shrink_after)
			break;
	}
	shrink_after = 0;
	assert_true(refusals > 1 && refusals < n - 1);
}

/* Seals under which it could not be used. */
static void sealed_too_much(void **state)
{
	static const struct {
		int seal;
		const char *text;
	} seals[] = {
		{ F_SEAL_SEAL, "that can be sealed" },
		{ F_SEAL_GROW, "sealed against growing" },
		{ F_SEAL_WRITE, "sealed against writing" },
		{ F_SEAL_FUTURE_WRITE, "sealed against writing" },
	};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		int fd = copy_arena();

		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals[i].seal), 0);
		refused(fd, -EINVAL, seals[i].text);
		close(fd);
	}
}

/* One slot damaged: the other one, one publication older, still counts. */
static void one_slot_is_enough(void **state)
{
	struct kho_arena_super super;
	int fd = copy_arena(), newest;
	struct kho *kho;

	(void)state;
	assert_int_equal(pread(fd, &super, sizeof(super), 0), sizeof(super));
	newest = super.slot[0].seq > super.slot[1].seq ? 0 : 1;
	super.slot[!newest].crc ^= 1;
	put_super(fd, &super);
	kho = attach(fd);
	assert_string_equal(kho_subtree(kho, "app", NULL, NULL), "hello");
	kho_close(kho);
	close(fd);
}

static uint64_t tracker_of(int fd, struct kho_arena_info *info)
{
	struct kho_arena_view *view;
	struct kho_state *st;
	uint64_t root;

	assert_int_equal(kho_arena_view(fd, &view, NULL), 0);
	assert_int_equal(kho_arena_view_info(view, info, NULL), 0);
	assert_int_equal(kho_state_read(kho_arena_view_mem(view), info->fdt,
					info->fdt_size, &st, NULL),
			 0);
	root = st->tracker;
	free(st);
	kho_arena_view_close(view);
	return root;
}

static void damaged_tracker(void **state)
{
	struct kho_arena_info info;
	int fd = copy_arena();
	uint64_t root = tracker_of(fd, &info), phys = root, good, bits;

	(void)state;
	/* Down to the leaf of order 0: slot 2, then always slot 0. */
	assert_int_equal(pread(fd, &phys, 8, (off_t)(root + 2 * 8)), 8);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pread(fd, &phys, 8, (off_t)phys), 8);
	assert_int_equal(pread(fd, &good, 8, (off_t)phys), 8);
	assert_int_not_equal(good, 0);
	/* The superblock, a tracker node, a page outside. */
	bits = good | 1;
	assert_int_equal(pwrite(fd, &bits, 8, (off_t)phys), 8);
	refused(fd, -EBADMSG, "in use twice");
	bits = good | 1ull << (root >> 12);
	assert_int_equal(pwrite(fd, &bits, 8, (off_t)phys), 8);
	refused(fd, -EBADMSG, "in use twice");
	assert_int_equal(pwrite(fd, &good, 8, (off_t)phys), 8);
	bits = 1;
	assert_int_equal(pwrite(fd, &bits, 8, (off_t)phys + 1024), 8);
	refused(fd, -EBADMSG, "outside the arena");
	close(fd);
	/* The subtree's blob is not preserved any more. */
	fd = copy_arena();
	bits = 0;
	assert_int_equal(pwrite(fd, &bits, 8, (off_t)phys), 8);
	refused(fd, -EBADMSG, "not in preserved pages");
	close(fd);
}

/*
 * Each byte of the superblock, the root FDT and the tracker's leaf, one at a
 * time: an error or an arena that says hello, never a crash.
 */
static void every_byte(void **state)
{
	struct kho_arena_info info;
	int fd = copy_arena(), refusals = 0;
	uint64_t root = tracker_of(fd, &info);
	const struct {
		uint64_t at, len;
	} areas[] = {
		{ 0, sizeof(struct kho_arena_super) },
		{ info.fdt, info.fdt_size },
		{ root, 64 },
	};

	(void)state;
	for (size_t a = 0; a < 3; a++) {
		for (uint64_t i = 0; i < areas[a].len; i++) {
			off_t at = (off_t)(areas[a].at + i);
			struct kho *kho = NULL;
			unsigned char good, bad;
			const char *blob;

			assert_int_equal(pread(fd, &good, 1, at), 1);
			bad = good ^ (unsigned char)(1 + rnd() % 255);
			assert_int_equal(pwrite(fd, &bad, 1, at), 1);
			if (try_attach(&kho, fd, NULL)) {
				refusals++;
				assert_true(why.text[0]);
			} else if ((blob = kho_subtree(kho, "app", NULL,
						       NULL))) {
				assert_true(strnlen(blob, 4096) <= 5);
			}
			/* Nothing counts there that no check covers. */
			if (at < (off_t)offsetof(struct kho_arena_super, slot))
				assert_null(kho);
			kho_close(kho);
			assert_int_equal(pwrite(fd, &good, 1, at), 1);
		}
	}
	assert_true(refusals > 100);
	close(fd);
}

static void one_at_a_time(void **state)
{
	int fd = make_arena();
	struct kho *kho = attach(fd), *second;

	(void)state;
	assert_int_equal(try_attach(&second, fd, NULL), -EBUSY);
	assert_non_null(strstr(why.text, "in use by another program"));
	kho_close(kho);
	kho_close(attach(fd));
	close(fd);
}

/* Somebody else's state: a version that is too new, and an unknown name. */
static void upfront_check_refuses(void **state)
{
	struct kho_arena_info info;
	struct kho_report *report;
	struct kho *kho = NULL;
	int fd = copy_arena();
	char fdt[4096], *at;

	(void)state;
	tracker_of(fd, &info);
	assert_int_equal(pread(fd, fdt, info.fdt_size, (off_t)info.fdt),
			 info.fdt_size);
	at = memmem(fdt, info.fdt_size, "app-v3", 6);
	assert_non_null(at);
	at[5] = '9';
	assert_int_equal(pwrite(fd, fdt, info.fdt_size, (off_t)info.fdt),
			 info.fdt_size);
	refused(fd, -EPROTONOSUPPORT, "app");
	assert_int_equal(try_attach(&kho, fd, &report), -EPROTONOSUPPORT);
	assert_false(report->outcome == KHO_OUTCOME_COMPATIBLE);
	assert_string_equal(report->findings[0].name, "app");
	assert_int_equal(report->findings[0].verdict, KHO_INCOMPATIBLE);
	assert_int_equal(report->findings[0].version, 9);
	assert_int_equal(report->findings[0].reader.max, 3);
	kho_report_free(report);

	memcpy(at, "apq-v3", 6);
	assert_int_equal(pwrite(fd, fdt, info.fdt_size, (off_t)info.fdt),
			 info.fdt_size);
	assert_int_equal(try_attach(&kho, fd, &report), -EPROTONOSUPPORT);
	assert_string_equal(report->findings[0].name, "apq");
	assert_int_equal(report->findings[0].verdict, KHO_UNKNOWN);
	kho_report_free(report);
	memcpy(at, "app-v0", 6);
	assert_int_equal(pwrite(fd, fdt, info.fdt_size, (off_t)info.fdt),
			 info.fdt_size);
	refused(fd, -EBADMSG, "app");
	close(fd);
}

/* Callers that were compiled with older and with newer headers. */
static void sizes_of_options(void **state)
{
	static const struct {
		size_t size, set; /* a byte that is set */
		int code;
		const char *words;
	} cases[] = {
		{ 0, 0, -EINVAL,
		  "struct kho_attach_opts: its size is not set: .size = "
		  "sizeof(struct kho_attach_opts)" },
		{ 7, 0, -EINVAL, NULL },
		{ sizeof(size_t), 0, 0, NULL },
		{ offsetof(struct kho_attach_opts, report), 0, 0, NULL },
		{ sizeof(struct kho_attach_opts), 0, 0, NULL },
		/* not what lies behind the size that it has */
		{ sizeof(struct kho_attach_opts),
		  sizeof(struct kho_attach_opts), 0, NULL },
		{ sizeof(struct kho_attach_opts) + 8, 0, 0, NULL },
		{ sizeof(struct kho_attach_opts) + 8,
		  sizeof(struct kho_attach_opts) + 7, -E2BIG,
		  "library does not know: it is older than the headers of the "
		  "program" },
		{ sizeof(struct kho_attach_opts) + 8,
		  sizeof(struct kho_attach_opts) + 8, 0, NULL },
	};
	struct {
		struct kho_attach_opts opts;
		char more[16];
	} theirs;
	struct kho *kho;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fd = make_memfd();
		memset(&theirs, 0, sizeof(theirs));
		if (cases[i].set)
			((char *)&theirs)[cases[i].set] = 1;
		theirs.opts.size = cases[i].size;
		assert_int_equal(kho_attach_fd(&kho, fd, &theirs.opts, &why),
				 cases[i].code);
		if (cases[i].words)
			assert_non_null(strstr(why.text, cases[i].words));
		if (!cases[i].code)
			kho_close(kho);
		close(fd);
	}
}

static void bad_options(void **state)
{
	struct kho_attach_opts opts = { .size = sizeof(opts) };
	int fd = make_memfd();
	struct kho *kho;

	(void)state;
	opts.page_shift = 13;
	assert_int_equal(kho_attach_fd(&kho, fd, &opts, &why), -EINVAL);
	opts.page_shift = 0;
	opts.max_size = UINT64_MAX;
	assert_int_equal(kho_attach_fd(&kho, fd, &opts, &why), -EINVAL);
	opts.max_size = KHO_ARENA_SIZE_MAX + 1;
	assert_int_equal(kho_attach_fd(&kho, fd, &opts, &why), -EINVAL);
	opts.max_size = 0;
	opts.flags = 8;
	assert_int_equal(kho_attach_fd(&kho, fd, &opts, &why), -EINVAL);
	opts.flags = KHO_ARENA_HUGE;
	assert_int_equal(kho_attach_fd(&kho, fd, &opts, &why), 0);
	kho_close(kho);
	close(fd);
}

/* In the child: a new arena, from an empty file. */
static void make_in_child(void *arg)
{
	int fd = *(int *)arg;
	struct kho *kho;

	step_begin();
	_exit(try_attach(&kho, fd, NULL) ? 1 : 0);
}

static int new_or_whole(const struct kho_mem *mem, void *arg,
			struct kho_error *err)
{
	int fd = *(int *)arg, ret;
	struct kho_arena_super super;
	bool is_new;

	(void)mem;
	ret = arena_is_new(fd, &is_new, err);
	if (ret || is_new)
		return ret;
	ret = arena_read_super(fd, &super, err);
	if (!ret && arena_pick_slot(&super) < 0)
		ret = kho_fail(err, -EBADMSG, "no root");
	return ret;
}

/* Killed after each single instruction, it is a new arena or a whole one. */
static void killed_while_making(void **state)
{
	uint64_t magic = KHO_ARENA_MAKING;
	int fd = make_memfd();
	struct kho *kho;

	(void)state;
	step_through(make_in_child, &fd, fd, 2 * MIB, new_or_whole, &fd);
	kho_close(attach(fd));
	close(fd);
	/* What was begun counts for nothing. */
	fd = copy_arena();
	assert_int_equal(pwrite(fd, &magic, 8, 0), 8);
	assert_int_equal(kho_arena_view(fd, &(struct kho_arena_view *){ NULL },
					&why),
			 -EBADMSG);
	assert_non_null(strstr(why.text, "not made to its end"));
	kho_close(attach(fd));
	kho = attach(fd);
	assert_int_equal(pages_info(kho).preserved, 1);
	kho_close(kho);
	close(fd);
}

/* A program that was killed when it had grown the file, and had not said so. */
static void killed_while_growing(void **state)
{
	int fd = make_arena();
	struct kho *kho;
	size_t n = 0;

	(void)state;
	assert_int_equal(ftruncate(fd, 32 * MIB), 0);
	kho = attach(fd);
	assert_int_equal(pages_info(kho).total << 12, 2 * MIB);
	assert_int_equal(kho_ready(kho, NULL), 0);
	while (kho_alloc_preserve(kho, 65536))
		n++;
	assert_int_equal(errno, ENOSPC);
	assert_true(n > 1000);
	assert_int_equal(pages_info(kho).total << 12, 64 * MIB);
	kho_close(kho);
	kho_close(attach(fd));
	close(fd);
}

/*
 * An arena of 16 TiB, the largest, all address space: the pages at its end are
 * told apart and survive. One chunk more is refused.
 */
static void largest(void **state)
{
	uint64_t size = KHO_ARENA_SIZE_MAX, at[2] = { 0 };
	struct kho_arena_super super;
	int fd = copy_arena();
	struct kho *kho;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)(size + CHUNK_SIZE)), 0);
	assert_int_equal(pread(fd, &super, sizeof(super), 0), sizeof(super));
	arena_set_super_size(&super, size + CHUNK_SIZE);
	put_super(fd, &super);
	assert_int_equal(try_attach(&kho, fd, NULL), -EFBIG);
	assert_non_null(strstr(why.text, "above the limit of 16 TiB"));
	arena_set_super_size(&super, size);
	put_super(fd, &super);
	kho = attach(fd);
	assert_int_equal(kho_ready(kho, NULL), 0);
	no_fallocate = true;
	for (int i = 0; i < 2; i++) {
		uint64_t *folio = kho_alloc_folio(kho, 18);

		assert_non_null(folio);
		at[i] = *folio = kho_phys(kho, folio);
		assert_int_equal(at[i], size - ((uint64_t)(i + 1) << 30));
		assert_int_equal(kho_preserve_folio(kho, folio), 0);
	}
	no_fallocate = false;
	kho_close(kho);
	kho = attach(fd);
	for (int i = 0; i < 2; i++) {
		uint64_t *folio = kho_restore_folio(kho, at[i]);

		assert_non_null(folio);
		assert_int_equal(*folio, at[i]);
	}
	kho_close(kho);
	close(fd);
}

/* The system has no memory for the arena: an error, and it goes on after. */
static void no_memory_to_grow(void **state)
{
	struct rlimit unlimited, limit = { 4 * MIB, 4 * MIB };
	int fd = make_arena();
	struct kho *kho = attach(fd);
	size_t n = 0;

	(void)state;
	assert_int_equal(kho_ready(kho, NULL), 0);
	getrlimit(RLIMIT_FSIZE, &unlimited);
	limit.rlim_max = unlimited.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
	while (kho_alloc_preserve(kho, 65536))
		n++;
	assert_int_equal(errno, ENOSPC);
	assert_true(n > 10 && n < 64);
	setrlimit(RLIMIT_FSIZE, &unlimited);
	assert_non_null(kho_alloc_preserve(kho, 65536));
	kho_close(kho);
	close(fd);
}

static blkcnt_t blocks(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_blocks;
}

/* There is memory for a part of a folio: none is kept, and it goes on after. */
static void memory_for_a_part(void **state)
{
	static const int errors[] = { ENOSPC, ENOMEM };
	int fd = make_arena();
	struct kho *kho = attach(fd);
	struct kho_pages_info before;
	blkcnt_t had;
	void *folio;

	(void)state;
	assert_int_equal(kho_ready(kho, NULL), 0);
	/* The file is long enough from now on. */
	folio = kho_alloc_folio(kho, 12);
	assert_non_null(folio);
	assert_int_equal(kho_free_folio(kho, folio), 0);
	pages_trim(kho);
	had = blocks(fd);
	before = pages_info(kho);
	for (int i = 0; i < 16; i++) {
		fallocate_error = errors[i % 2];
		fallocate_calls = i / 2;
		assert_null(kho_alloc_folio(kho, 12));
		assert_int_equal(errno, errors[i % 2]);
		fallocate_error = 0;
		assert_int_equal(blocks(fd), had);
		assert_int_equal(pages_info(kho).free, before.free);
		assert_int_equal(pages_info(kho).total, before.total);
	}
	/* A signal is no reason. */
	fallocate_error = EINTR;
	fallocate_calls = 3;
	folio = kho_alloc_folio(kho, 12);
	assert_non_null(folio);
	fallocate_error = 0;
	assert_int_equal(kho_free_folio(kho, folio), 0);
	kho_close(kho);
	close(fd);
}

/* Publishes numbered blobs without end, saying each number that is done. */
static void publish_forever(int fd, int out)
{
	struct kho *kho = attach(fd);
	uint64_t *blob = kho_subtree(kho, "number", NULL, NULL), *next;

	if (kho_ready(kho, NULL))
		_exit(1);
	for (uint64_t n = blob ? *blob + 1 : 1;; n++, blob = next) {
		int ret;

		next = kho_alloc_preserve(kho, 8 << rnd() % 12);
		if (!next)
			_exit(2);
		*next = n;
		ret = blob ? kho_replace_subtree(kho, "number", &app_component,
						 0, next, 8, NULL) :
			     kho_add_subtree(kho, "number", &app_component, 0,
					     next, 8, NULL);
		if (ret || kho_unpreserve_free(kho, blob))
			_exit(3);
		if (write(out, &n, 8) != 8)
			_exit(4);
	}
}

/* kill -9 at random moments: what was said to be done is there. */
static void killed_while_publishing(void **state)
{
	int fd = make_arena(), pipefd[2];
	uint64_t said = 0, number;

	(void)state;
	for (int round = 0; round < 60 || said <= 100; round++) {
		struct kho *kho;
		int status;
		pid_t pid;

		assert_int_equal(pipe(pipefd), 0);
		pid = fork();
		if (pid == 0) {
			close(pipefd[0]);
			publish_forever(fd, pipefd[1]);
		}
		close(pipefd[1]);
		usleep((useconds_t)(rnd() % 8000));
		kill(pid, SIGKILL);
		while (read(pipefd[0], &number, 8) == 8)
			said = number;
		close(pipefd[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));

		kho = attach(fd);
		assert_string_equal(kho_subtree(kho, "app", NULL, NULL),
				    "hello");
		if (said) {
			uint64_t *blob = kho_subtree(kho, "number", NULL, NULL);

			assert_non_null(blob);
			/* One more may be done than was said. */
			assert_in_range(*blob, said, said + 1);
			said = *blob;
		}
		kho_close(kho);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(survives),
		cmocka_unit_test(tree_words),
		cmocka_unit_test(tree_changes),
		cmocka_unit_test(root_fdt_format),
		cmocka_unit_test(bad_files),
		cmocka_unit_test(damaged_superblocks),
		cmocka_unit_test(last_sequence),
		cmocka_unit_test(shrunk_while_attaching),
		cmocka_unit_test(sealed_too_much),
		cmocka_unit_test(one_slot_is_enough),
		cmocka_unit_test(damaged_tracker),
		cmocka_unit_test(every_byte),
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(upfront_check_refuses),
		cmocka_unit_test(sizes_of_options),
		cmocka_unit_test(bad_options),
		cmocka_unit_test(killed_while_making),
		cmocka_unit_test(killed_while_growing),
		cmocka_unit_test(largest),
		cmocka_unit_test(no_memory_to_grow),
		cmocka_unit_test(memory_for_a_part),
		cmocka_unit_test(killed_while_publishing),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
