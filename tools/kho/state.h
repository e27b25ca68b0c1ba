/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* A STATE, which kho inspect and kho verify look at: of an arena, or of a kernel. */
#ifndef TOOLS_KHO_STATE_H
#define TOOLS_KHO_STATE_H

#include "kernel.h"
#include "arena.h"

/*
 * struct state - a STATE
 * @verb: "inspect" or "verify"
 * @word: as it was given
 * @json: --json
 * @svg: --svg FILE, or NULL
 * @trim: --trim FILE, or NULL
 * @options: how to read a kernel's
 * @code: what to exit with when something could not be done
 * @is_kernel: it is a kernel's; otherwise that of an arena
 * @arena: what is in the arena
 * @kernel: what the kernel hands over
 */
struct state {
	const char *verb;
	const char *word;
	bool json;
	const char *svg;
	const char *trim;
	struct kernel_options options;
	int code;
	bool is_kernel;
	struct snapshot arena;
	struct kernel kernel;
};

/* The options and arguments: 0, or an exit code, and that was said. */
int state_options(struct state *state, const char *help, int argc, char **argv);

/*
 * Reads it. False when it cannot be read, and that was said: state->code is
 * EXIT_NO when it is an arena and damaged, otherwise EXIT_UNKNOWN.
 */
bool state_read(struct state *state);
void state_free(struct state *state);

static inline const struct memory *state_memory(const struct state *state)
{
	return state->is_kernel ? &state->kernel.memory : &state->arena.memory;
}

static inline const struct kho_state *state_tree(const struct state *state)
{
	return state->is_kernel ? state->kernel.state : state->arena.state;
}

/*
 * Draws the memory into a file (inspect-svg.c). False when that cannot be done,
 * and that was said.
 */
bool picture_write(const struct state *state, const char *path);

/*
 * Writes a new ELF core with only the pages that a kernel's state has (inspect-trim.c).
 * False when that cannot be done, and that was said.
 */
bool trim_write(const struct state *state, const char *path);

#endif
