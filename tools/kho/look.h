/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What kho inspect and kho verify look at: any STATE, of arena or kernel. */
#ifndef TOOLS_KHO_LOOK_H
#define TOOLS_KHO_LOOK_H

#include "kernel.h"
#include "state.h"

/*
 * struct look - a STATE
 * @verb: "inspect" or "verify"
 * @state: as it was given
 * @json: --json
 * @svg: --svg FILE, or NULL
 * @trim: --trim FILE, or NULL
 * @options: how to read a kernel's
 * @code: what to exit with when something could not be done
 * @is_kernel: it is a kernel's; otherwise that of an arena
 * @arena: what is in the arena
 * @kernel: what the kernel hands over
 */
struct look {
	const char *verb;
	const char *state;
	bool json;
	const char *svg;
	const char *trim;
	struct kernel_options options;
	int code;
	bool is_kernel;
	struct snapshot arena;
	struct kernel kernel;
};

/* The options and arguments; false: there is nothing left to do. */
bool look_options(struct look *look, const char *help, int argc, char **argv);

/*
 * Reads it. False when it cannot be read, and that was said: look->code is
 * EXIT_NO when it is an arena and damaged, otherwise EXIT_UNKNOWN.
 */
bool look_read(struct look *look);
void look_free(struct look *look);

static inline const struct memory *look_memory(const struct look *look)
{
	return look->is_kernel ? &look->kernel.memory : &look->arena.memory;
}

static inline const struct kho_state *look_tree(const struct look *look)
{
	return look->is_kernel ? look->kernel.state : look->arena.state;
}

/*
 * Draws the memory into a file (inspect-svg.c). False when that cannot be done,
 * and that was said.
 */
bool picture_write(const struct look *look, const char *path);

/*
 * Writes a new ELF core with only the pages that a kernel's state has (trim.c).
 * False when that cannot be done, and that was said.
 */
bool trim_write(const struct look *look, const char *path);

#endif
