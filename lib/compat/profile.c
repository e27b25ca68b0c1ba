// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Profiles: which version they pin. */
#include <string.h>

#include <kho/profile.h>

uint32_t kho_profile_pin(const struct kho_profile *profile, const char *name)
{
	size_t low = 0, high = profile ? profile->n : 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(name, profile->pins[mid].name);

		if (!order)
			return profile->pins[mid].version;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return 0;
}
