// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading the state in an arena that may be in use. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kho.h"
#include "arena.h"

/* A state that cannot be read so many times is damaged, not busy. */
#define TRIES 20
#define PAUSE_US 2000

/* The pages of an arena: the tracker's account, and what is known of them. */
static int read_memory(const struct kho_mem *mem, struct snapshot *snapshot,
		       struct kho_error *err)
{
	const struct kho_state *state = snapshot->state;
	struct memory *memory = &snapshot->memory;
	int ret = memory_read(memory, mem, state->tracker, err);

	if (ret)
		return ret;
	memory_reach(memory, memory_use(memory, USE_SUPER, "/", "superblock"),
		     0, 1);
	memory_reach_object(memory,
			    memory_use(memory, USE_TREE, "/", "root FDT"),
			    snapshot->info.fdt, snapshot->info.fdt_size);
	for (size_t i = 0; i < state->n; i++) {
		const struct kho_state_subtree *subtree = &state->subtrees[i];

		memory_reach(memory,
			     memory_use(memory, USE_BLOB, subtree->name,
					"blob"),
			     subtree->phys, subtree->size);
	}
	return 0;
}

static int read_once(const struct kho_arena_view *view, unsigned int what,
		     struct snapshot *snapshot, struct kho_error *err)
{
	const struct kho_mem *mem = kho_arena_view_mem(view);
	struct kho_arena_info after;
	int ret;

	*snapshot = (struct snapshot){ 0 };
	ret = kho_arena_view_info(view, &snapshot->info, err);
	if (!ret && !snapshot->info.fdt)
		ret = kho_fail(err, -EBADMSG,
			       "arena: damaged: neither of its root slots is valid");
	if (ret)
		return ret;
	ret = kho_state_read(mem, snapshot->info.fdt, snapshot->info.fdt_size,
			     &snapshot->state, err);
	if (!ret && what & SNAPSHOT_MEMORY)
		ret = read_memory(mem, snapshot, err);
	if (!ret && what & SNAPSHOT_USED)
		ret = kho_state_used(mem, snapshot->state, &snapshot->used,
				     &snapshot->n_used, err);
	if (!ret)
		ret = kho_arena_view_info(view, &after, err);
	if (!ret && after.seq != snapshot->info.seq)
		ret = kho_fail(err, -EAGAIN, "it changes all the time");
	if (ret)
		snapshot_free(snapshot);
	return ret;
}

int snapshot_read(int fd, unsigned int what, struct snapshot *snapshot,
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
		ret = read_once(view, what, snapshot, err);
		kho_arena_view_close(view);
	}
	if (!ret && !fstat(fd, &st))
		snapshot->allocated = (uint64_t)st.st_blocks * 512;
	return ret;
}

void snapshot_free(struct snapshot *snapshot)
{
	kho_state_free(snapshot->state);
	kho_used_free(snapshot->used);
	memory_free(&snapshot->memory);
	snapshot->state = NULL;
	snapshot->used = NULL;
}
