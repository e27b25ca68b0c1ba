// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Option structs that may be older or newer than this library. */
#include <errno.h>
#include <string.h>

#include "base/opts.h"

int opts_copy(void *to, size_t size, const void *opts, const char *name,
	      struct kho_error *err)
{
	size_t theirs, i;

	memset(to, 0, size);
	if (!opts)
		return 0;
	memcpy(&theirs, opts, sizeof(theirs));
	if (theirs < sizeof(theirs))
		return kho_fail(err, -EINVAL,
				"%s: its size is not set: .size = sizeof(%s)",
				name, name);
	for (i = size; i < theirs; i++)
		if (((const char *)opts)[i])
			return kho_fail(err, -E2BIG,
					"%s: byte %zu is set, of which this "
					"library does not know: it is older "
					"than the headers of the program",
					name, i);
	memcpy(to, opts, theirs < size ? theirs : size);
	return 0;
}
