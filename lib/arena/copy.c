// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * An arena's copy for a kexec. A kernel that preserves a memfd fills its holes
 * with memory, and the file cannot be cut where its data ends, for it is sealed
 * against that; a copy can.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kho/arena.h>
#include <kho/tracker.h>
#include <kho/state.h>

#include "arena/arena.h"
#include "base/file.h"
#include "base/mem.h"

#define PIECE (1ul << 20)

/* Where the pages in use end. */
struct extent {
	unsigned int page_shift;
	uint64_t end;
};

static void reach(struct extent *extent, uint64_t end)
{
	if (end > extent->end)
		extent->end = end;
}

static int reach_folio(uint64_t phys, unsigned int order, void *arg)
{
	struct extent *extent = arg;

	uint64_t end = phys + (1ull << (extent->page_shift + order));

	reach(extent, end > phys ? end : UINT64_MAX);
	return 0;
}

static int reach_node(uint64_t phys, void *arg)
{
	return reach_folio(phys, 0, arg);
}

/* @end: the first chunk behind all that is in use. */
static int find_end(const struct kho_arena_view *view, uint64_t *end,
		    struct kho_error *err)
{
	const struct kho_mem *mem = kho_arena_view_mem(view);
	struct extent extent = { mem->page_shift, CHUNK_SIZE };
	const struct kho_tracker_walk walk = { reach_folio, reach_node,
					       &extent };
	struct kho_arena_info info;
	struct kho_state *state;
	int ret = kho_arena_view_info(view, &info, err);

	if (!ret)
		ret = kho_state_read(mem, info.fdt, info.fdt_size, &state, err);
	if (ret)
		return ret;
	ret = kho_tracker_walk(mem, state->tracker, &walk, err);
	kho_state_free(state);
	if (!ret && extent.end > info.size)
		ret = kho_fail(err, -EBADMSG,
			       "arena: damaged: a page is preserved at %#llx, behind its end",
			       (unsigned long long)extent.end);
	*end = (extent.end + CHUNK_SIZE - 1) & ~(CHUNK_SIZE - 1);
	return ret == -EFAULT || ret == -ELOOP ? -EBADMSG : ret;
}

static int copy_piece(int from, int to, off_t at, size_t len, void *buf)
{
	if (mem_read_file(from, (uint64_t)at, buf, len))
		return -EIO;
	return file_write(to, buf, len, (uint64_t)at);
}

/* Without what is a hole anyway. */
static int copy_data(int from, int to, off_t end)
{
	void *buf = malloc(PIECE);
	int ret = buf ? 0 : -ENOMEM;
	off_t at = 0, hole;

	while (!ret && (at = lseek(from, at, SEEK_DATA)) >= 0 && at < end) {
		hole = lseek(from, at, SEEK_HOLE);
		if (hole < 0) {
			ret = -errno;
			break;
		}
		if (hole > end)
			hole = end;
		for (size_t len; !ret && at < hole; at += (off_t)len) {
			len = (size_t)(hole - at) < PIECE ?
				      (size_t)(hole - at) :
				      PIECE;
			ret = copy_piece(from, to, at, len, buf);
		}
	}
	/* ENXIO: no data behind. */
	if (!ret && at < 0 && errno != ENXIO)
		ret = -errno;
	free(buf);
	return ret;
}

static int make_copy(int fd, uint64_t end, int *copy, struct kho_error *err)
{
	struct kho_arena_super *super;
	int ret, to = arena_create_fd(err);

	if (to < 0)
		return to;
	ret = file_truncate(to, end);
	if (!ret)
		ret = copy_data(fd, to, (off_t)end);
	super = ret ? MAP_FAILED :
		      mmap(NULL, sizeof(*super), PROT_READ | PROT_WRITE,
			   MAP_SHARED, to, 0);
	if (super != MAP_FAILED) {
		arena_set_super_size(super, end);
		munmap(super, sizeof(*super));
		*copy = to;
		return 0;
	}
	ret = ret ? ret : -errno;
	close(to);
	return kho_fail(err, ret, "arena: cannot make a copy of %llu bytes: %s",
			(unsigned long long)end, strerror(-ret));
}

int arena_trimmed_copy(int fd, int *copy, struct kho_error *err)
{
	struct kho_arena_view *view;
	uint64_t end, there, holes;
	struct stat st;
	int ret;

	*copy = -1;
	if (fstat(fd, &st))
		return kho_fail(err, -errno, "arena: %s", strerror(errno));
	there = (uint64_t)st.st_blocks * 512;
	holes = (uint64_t)st.st_size > there ? (uint64_t)st.st_size - there : 0;
	/* Most of what is there is in use: no need to look. */
	if (holes < there)
		return 0;
	ret = kho_arena_view(fd, &view, err);
	if (ret)
		return ret;
	ret = find_end(view, &end, err);
	kho_arena_view_close(view);
	return ret || end >= holes ? ret : make_copy(fd, end, copy, err);
}
