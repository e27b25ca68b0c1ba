/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Files in a session (component ``fdnames``)
 *
 * A session of /dev/liveupdate keeps files by number (token), not by name. So a
 * program's files take consecutive tokens of one session: the first is that of
 * an index, a memfd with a struct kho_fdnames and what belongs to it,
 * which says the names of the others. One of these is ``kho-arena``.
 *
 * This header is a contract: a change needs a new KHO_FDNAMES_VERSION.
 */
#ifndef KHO_ABI_FDNAMES_H
#define KHO_ABI_FDNAMES_H

#include <stdint.h>

#define KHO_FDNAMES_VERSION 1

/** KHO_FDNAMES_MAGIC - "KHOFILES", read as a little-endian number. */
#define KHO_FDNAMES_MAGIC 0x53454c49464f484bull

/** KHO_FDNAMES_MAX - files of one index. */
#define KHO_FDNAMES_MAX 65536

/** KHO_FDNAME_SIZE - bytes of a name, at least one NUL included. */
#define KHO_FDNAME_SIZE 64

/**
 * struct kho_fdnames_entry - a file
 * @name: of 1 to 63 characters, NUL padded; several files may share one
 * @token: in the session
 */
struct kho_fdnames_entry {
	char name[KHO_FDNAME_SIZE];
	uint64_t token;
};

/**
 * struct kho_fdnames - what the index begins with
 * @magic: KHO_FDNAMES_MAGIC
 * @version: KHO_FDNAMES_VERSION
 * @count: entries
 * @crc: CRC32C of @magic, @version, @count, and of the entries
 * @reserved: 0
 * @entries: the files, in the order in which the program gets them
 */
__extension__ struct kho_fdnames {
	uint64_t magic;
	uint32_t version;
	uint32_t count;
	uint32_t crc;
	uint32_t reserved;
	struct kho_fdnames_entry entries[];
};

#endif
