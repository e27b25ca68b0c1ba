// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The index of a session's files, from any bytes, with its checksum right: what
 * is accepted has names, and is what was in the file.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "handover/private.h"

#define CHECK(condition) ((condition) ? (void)0 : abort())

static void fix_checksum(uint8_t *data, size_t size)
{
	struct kho_fdnames index;
	uint32_t crc;

	if (size < sizeof(index))
		return;
	memcpy(&index, data, sizeof(index));
	crc = crc32c(data, offsetof(struct kho_fdnames, crc));
	crc = crc32c_more(crc, data + sizeof(index), size - sizeof(index));
	memcpy(data + offsetof(struct kho_fdnames, crc), &crc, sizeof(crc));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct kho_fdnames *index;
	uint8_t *copy = malloc(size + 1);
	struct kho_error err;

	CHECK(fd >= 0 && copy);
	memcpy(copy, data, size);
	fix_checksum(copy, size);
	CHECK(write(fd, copy, size) == (ssize_t)size);
	if (fdnames_read(fd, &index, &err)) {
		CHECK(err.code < 0 && err.text[0]);
	} else {
		CHECK(size == sizeof(*index) +
				      index->count * sizeof(index->entries[0]));
		CHECK(!memcmp(index, copy, size));
		for (uint32_t i = 0; i < index->count; i++)
			CHECK(fd_name_ok(index->entries[i].name));
		free(index);
	}
	free(copy);
	close(fd);
	return 0;
}
