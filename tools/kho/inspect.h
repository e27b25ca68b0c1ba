/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What kho inspect shows of arenas and of kernels alike. */
#ifndef TOOLS_KHO_INSPECT_H
#define TOOLS_KHO_INSPECT_H

#include <json-c/json.h>

#include "state.h"

void print_tree(const struct kho_state *state);
void print_preserved(const struct memory *memory);

/* Members of kho-inspect. */
struct json_object *root_json(const struct kho_state *state, uint64_t phys,
			      uint64_t size);
struct json_object *preserved_json(const struct memory *memory);

/* Shows what a kernel hands over; returns the exit code. */
int inspect_kernel(const struct state *state);

#endif
