// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading the state in an arena that may be in use. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kho/tracker.h>

#include "kho.h"
#include "state.h"

/* A state that cannot be read so many times is damaged, not busy. */
#define TRIES 20
#define PAUSE_US 2000

static int count_folio(uint64_t phys, unsigned int order, void *arg)
{
	struct snapshot *snapshot = arg;

	(void)phys;
	snapshot->folios[order]++;
	return 0;
}

static int count_node(uint64_t phys, void *arg)
{
	struct snapshot *snapshot = arg;

	(void)phys;
	snapshot->nodes++;
	return 0;
}

static int read_once(const struct kho_arena_view *view, bool count,
		     struct snapshot *snapshot, struct kho_error *err)
{
	const struct kho_tracker_walk walk = { .folio = count_folio,
					       .node = count_node,
					       .arg = snapshot };
	const struct kho_mem *mem = kho_arena_view_mem(view);
	struct kho_arena_info after;
	int ret;

	*snapshot = (struct snapshot){ 0 };
	ret = kho_arena_view_info(view, &snapshot->info, err);
	if (!ret && !snapshot->info.fdt)
		ret = kho_fail(err, -EBADMSG,
			       "arena: damaged: neither of its root slots is "
			       "valid");
	if (ret)
		return ret;
	ret = kho_state_read(mem, snapshot->info.fdt, snapshot->info.fdt_size,
			     &snapshot->state, err);
	if (!ret && count)
		ret = kho_tracker_walk(mem, snapshot->state->tracker, &walk,
				       err);
	if (!ret)
		ret = kho_arena_view_info(view, &after, err);
	if (!ret && after.seq != snapshot->info.seq)
		ret = kho_fail(err, -EAGAIN, "it changes all the time");
	if (ret)
		snapshot_free(snapshot);
	return ret;
}

int snapshot_read(int fd, bool count, struct snapshot *snapshot,
		  struct kho_error *err)
{
	struct kho_arena_view *view;
	struct stat st;
	int ret = -EAGAIN;

	for (int i = 0; ret && i < TRIES; i++) {
		if (i)
			usleep(PAUSE_US);
		/* Anew each time: it may have grown. */
		ret = kho_arena_view(fd, &view, err);
		if (ret)
			return ret;
		ret = read_once(view, count, snapshot, err);
		kho_arena_view_close(view);
	}
	if (!ret && !fstat(fd, &st))
		snapshot->allocated = (uint64_t)st.st_blocks * 512;
	return ret;
}

void snapshot_free(struct snapshot *snapshot)
{
	free(snapshot->state);
	snapshot->state = NULL;
}
