// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A root FDT of hostile bytes: kho_state_read() and kho_state_used(). The blobs of
 * a Linux state are behind it.
 */
#include <stdint.h>
#include <stdlib.h>

#include <kho/state.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kho_mem_array mem = kho_mem_array(data, size, 0x1000, 12);
	struct kho_state *state;
	struct kho_used *used;
	struct kho_error err;
	size_t n;

	if (kho_state_read(&mem.mem, 0x1000, size, &state, &err))
		return 0;
	if (kho_state_used(&mem.mem, state, &used, &n, &err) == 0)
		kho_used_free(used);
	kho_state_free(state);
	return 0;
}
