/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * What a kernel hands over: read from a core, or from the kernel that runs.
 */
#ifndef TOOLS_KHO_KERNEL_H
#define TOOLS_KHO_KERNEL_H

#include <kho/dump.h>
#include <kho/linux.h>
#include <kho/luo.h>
#include <kho/state.h>

#include "memory.h"
#include "state-problems.h"

/*
 * struct kernel_options - how to read
 * @kind: of a file; KHO_DUMP_AUTO: find out
 * @base: of a raw image
 * @fdt: phys of the root FDT; 0: look for it
 * @no_checksums: do not read the contents of files
 */
struct kernel_options {
	enum kho_dump_kind kind;
	uint64_t base;
	uint64_t fdt;
	bool no_checksums;
};

/* 64 hexadecimal digits and a NUL. */
#define SHA256_TEXT 65

/*
 * struct kernel_file - a preserved file
 * @file: as its session has it
 * @memfd: what it is; NULL: another handler's, or damaged
 * @sha256: of its contents; "" when these were not read
 */
struct kernel_file {
	struct luo_state_file file;
	struct luo_memfd *memfd;
	char sha256[SHA256_TEXT];
};

struct kernel_session {
	struct luo_state_session session;
	size_t n;
	struct kernel_file *files;
};

/*
 * struct kernel_incoming - what debugfs still has of what a kernel was given
 * @release, @kexecs: of the kernel before; "" when that is gone
 * @state: the root FDT
 */
struct kernel_incoming {
	char release[KHO_KEXEC_METADATA_RELEASE_SIZE];
	uint32_t kexecs;
	struct kho_state *state;
};

/*
 * struct kernel - what a kernel hands over
 * @options: how it is read
 * @kind: "elf-core", "kcore", "raw" or "running"
 * @core: its memory
 * @mem: the same
 * @info: of it
 * @root: the root FDT
 * @state: as read
 * @memory: all preserved pages, and what they are for
 * @has_tracker: the tracker could be read
 * @scratch_known: is it known where scratch is
 * @n_scratch, @scratch: the areas; their offset means nothing
 * @has_luo: there is a header, which is @luo
 * @n_sessions, @sessions, @n_flbs, @flbs: what it leads to
 * @has_metadata: there is @metadata
 * @n_regions, @regions: reserved memory
 * @incoming: of a running kernel; its state is NULL when nothing came in
 * @opaque: what only somebody else can follow: handlers, FLBs, subtrees
 * @accounted: preserved pages that are for one thing; by kernel_account()
 * @absent: preserved bytes that are not in the dump; the same
 * @problems: what is wrong
 */
struct kernel {
	const struct kernel_options *options;
	const char *kind;
	struct kho_dump *core;
	const struct kho_mem *mem;
	struct kho_dump_info info;
	struct kho_dump_root root;
	struct kho_state *state;
	struct memory memory;
	bool has_tracker;
	bool scratch_known;
	size_t n_scratch;
	struct kho_dump_segment *scratch;
	bool has_luo;
	struct luo_state luo;
	size_t n_sessions;
	struct kernel_session *sessions;
	size_t n_flbs;
	struct luo_state_flb *flbs;
	bool has_metadata;
	struct kho_linux_metadata metadata;
	size_t n_regions;
	struct kho_linux_region *regions;
	struct kernel_incoming incoming;
	size_t opaque;
	uint64_t accounted;
	uint64_t absent;
	struct problems problems;
};

/*
 * Reads a core. What is damaged beyond its root FDT and tracker is a problem,
 * no failure.
 *
 * Return: 0 or a negative errno; then there is nothing to free.
 */
int kernel_read(int fd, const struct kernel_options *options,
		struct kernel *kernel, struct kho_error *err);

/* The same, of the kernel that runs. */
int kernel_read_running(const struct kernel_options *options,
			struct kernel *kernel, struct kho_error *err);

/*
 * The sizes of its scratch areas, at most @max; 0 or a negative errno.
 */
int running_scratch(uint64_t *sizes, size_t max, size_t *n);

void kernel_free(struct kernel *kernel);

/*
 * Reads what the state leads to. Of @kernel there are options, kind, core, info, root,
 * state, and scratch.
 */
void kernel_follow(struct kernel *kernel);

/*
 * Adds a scratch area, but for an empty one. False when there can be none there:
 * then it is not known where any of them is.
 */
bool kernel_add_scratch(struct kernel *kernel, uint64_t phys, uint64_t size);

/* Compares what the tracker has with what was found: adds problems. */
void kernel_account(struct kernel *kernel);

#endif
