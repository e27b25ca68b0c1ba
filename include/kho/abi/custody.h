/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Files in a session (component ``custody``)
 *
 * A session of /dev/liveupdate keeps files by number (token), not by name. So a
 * program's files take consecutive tokens of one session: the first is that of
 * an index, a memfd with a struct kho_custody_index and what belongs to it,
 * which says the names of the others. One of these is ``kho-arena``.
 *
 * This header is a contract: a change needs a new KHO_CUSTODY_VERSION.
 */
#ifndef KHO_ABI_CUSTODY_H
#define KHO_ABI_CUSTODY_H

#include <stdint.h>

#define KHO_CUSTODY_VERSION 1

/** KHO_CUSTODY_MAGIC - "KHOFILES", read as a little-endian number. */
#define KHO_CUSTODY_MAGIC 0x53454c49464f484bull

/** KHO_CUSTODY_FILES_MAX - files of one index. */
#define KHO_CUSTODY_FILES_MAX 65536

/** KHO_CUSTODY_NAME_SIZE - bytes of a name, at least one NUL included. */
#define KHO_CUSTODY_NAME_SIZE 64

/**
 * struct kho_custody_entry - a file
 * @name: of 1 to 63 characters, NUL padded; several files may share one
 * @token: in the session
 */
struct kho_custody_entry {
	char name[KHO_CUSTODY_NAME_SIZE];
	uint64_t token;
};

/**
 * struct kho_custody_index - what the index begins with
 * @magic: KHO_CUSTODY_MAGIC
 * @version: KHO_CUSTODY_VERSION
 * @count: entries
 * @crc: CRC32C of @magic, @version, @count, and of the entries
 * @reserved: 0
 * @entries: the files, in the order in which the program gets them
 */
struct kho_custody_index {
	uint64_t magic;
	uint32_t version;
	uint32_t count;
	uint32_t crc;
	uint32_t reserved;
	struct kho_custody_entry entries[];
};

#endif
