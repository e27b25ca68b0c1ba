// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* A bounded read-only view of memory. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <kho/mem.h>

#include "base/mem.h"

int kho_mem_read(const struct kho_mem *mem, uint64_t phys, void *buf,
		 size_t len)
{
	if (phys + len < phys)
		return -EFAULT;
	return mem->read(mem, phys, buf, len);
}

int mem_read_file(int fd, uint64_t offset, void *buf, size_t len)
{
	char *to = buf;

	while (len) {
		ssize_t n;

		if (offset > INT64_MAX)
			return -EFAULT;
		n = pread(fd, to, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EFAULT;
		to += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int array_read(const struct kho_mem *mem, uint64_t phys, void *buf,
		      size_t len)
{
	const struct kho_mem_array *array = (const struct kho_mem_array *)mem;

	if (phys < array->base || phys - array->base > array->len ||
	    len > array->len - (phys - array->base))
		return -EFAULT;
	memcpy(buf, (const char *)array->data + (phys - array->base), len);
	return 0;
}

struct kho_mem_array kho_mem_array(const void *data, size_t len, uint64_t base,
				   unsigned int page_shift)
{
	return (struct kho_mem_array){
		.mem = { .read = array_read, .page_shift = page_shift },
		.base = base,
		.data = data,
		.len = len,
	};
}
