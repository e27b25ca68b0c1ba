// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading FDTs that are hostile. */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdt.h"

int fdt_check(const void *fdt, size_t size)
{
	if (size < sizeof(struct fdt_header))
		return -FDT_ERR_TRUNCATED;
	if (fdt_magic(fdt) != FDT_MAGIC)
		return -FDT_ERR_BADMAGIC;
	/* libfdt 1.6 follows a NULL in an FDT of a version before 16. */
	if (fdt_version(fdt) < 17)
		return -FDT_ERR_BADVERSION;
	return fdt_check_full(fdt, size);
}

int fdt_read(const struct reader *r, uint64_t phys, uint64_t size,
	     const char *thing, void **fdt)
{
	void *copy;
	int ret;

	if (size < sizeof(struct fdt_header) || size > FDT_SIZE_MAX)
		return reader_fail(r, -EBADMSG, phys,
				   "the %s cannot have %llu bytes", thing,
				   (unsigned long long)size);
	copy = malloc(size);
	if (!copy)
		return reader_fail(r, -ENOMEM, phys, "out of memory");
	ret = reader_get(r, phys, copy, size, thing);
	if (!ret) {
		ret = fdt_check(copy, size);
		if (ret)
			ret = reader_fail(r, -EBADMSG, phys,
					  "the %s is damaged: %s", thing,
					  fdt_strerror(ret));
	}
	if (ret)
		free(copy);
	else
		*fdt = copy;
	return ret;
}

int fdt_read_u64(const void *fdt, int node, const char *name, uint64_t *value)
{
	int len;
	const void *prop = fdt_getprop(fdt, node, name, &len);

	if (!prop || len != sizeof(*value))
		return -EBADMSG;
	memcpy(value, prop, sizeof(*value));
	return 0;
}
