/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: The Live Update Orchestrator
 *
 * Sessions, files and shared state as a kernel hands them over: the formats of
 * abi/luo.h and abi/memfd.h.
 *
 * Reading: from the blob of the subtree ``LUO`` to the sessions, from a session
 * to its files, from a file of handler ``memfd`` to its folios and its bytes.
 * Each step reads only its own part, so that what is damaged does not hide the
 * rest. Every byte is taken as hostile. All functions are thread-safe.
 */
#ifndef KHO_LUO_H
#define KHO_LUO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/abi/luo.h>
#include <kho/abi/memfd.h>
#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum luo_part - what pages of a state are for
 * @LUO_PART_SESSIONS: blocks of sessions
 * @LUO_PART_FILES: blocks of a session's files
 * @LUO_PART_FLBS: the array of shared state
 * @LUO_PART_FILE: what a file's handler begins with: struct kho_memfd
 * @LUO_PART_LISTS: pages that say where an array is
 * @LUO_PART_ARRAY: an array that says where a file's contents are
 * @LUO_PART_CONTENTS: the contents of a file
 */
enum luo_part {
	LUO_PART_SESSIONS,
	LUO_PART_FILES,
	LUO_PART_FLBS,
	LUO_PART_FILE,
	LUO_PART_LISTS,
	LUO_PART_ARRAY,
	LUO_PART_CONTENTS,
};

/**
 * struct luo_reach - who wants to know which pages belong to a state
 * @pages: called for contiguous pages as they are found, whatever is found
 *         wrong afterwards; @size is in bytes. Other than 0 ends the reading
 *         with that value
 * @order: the tracker's answer: order of the preserved folio that begins at
 *         @phys, -1 when none does. Optional: then all are of order 0
 * @arg: passed to both
 */
struct luo_reach {
	int (*pages)(enum luo_part part, uint64_t phys, uint64_t size,
		     void *arg);
	int (*order)(uint64_t phys, void *arg);
	void *arg;
};

/**
 * struct luo_state - the header
 * @compatible: NUL-terminated
 * @live_updates: kexecs so far that handed a state over, this one included
 * @sessions: phys of the first block of sessions, or 0
 * @flbs: phys of the array of shared state, or 0
 * @written: there are sessions. Otherwise there were none to write, or the
 *           kernel that runs has not written them yet
 */
struct luo_state {
	char compatible[KHO_LUO_COMPATIBLE_SIZE + 1];
	uint64_t live_updates;
	uint64_t sessions;
	uint64_t flbs;
	bool written;
};

/**
 * luo_state_read() - read the header
 * @mem: the memory it is in
 * @phys: of the subtree's blob
 * @size: bytes of the blob
 * @state: result
 * @err: what is wrong and where; may be NULL
 *
 * Return: 0; -EFAULT outside the view; -EBADMSG damaged; -EPROTONOSUPPORT for
 * a version that is not known.
 */
int luo_state_read(const struct kho_mem *mem, uint64_t phys, uint64_t size,
		   struct luo_state *state, struct kho_error *err);

/**
 * struct luo_state_session - a session, as read
 * @name: NUL-terminated, not empty
 * @files: phys of the first block of files, or 0
 * @count: of its files
 */
struct luo_state_session {
	char name[KHO_LUO_SESSION_NAME_SIZE];
	uint64_t files;
	uint64_t count;
};

/**
 * luo_state_sessions() - call back for every session
 * @mem: the memory they are in
 * @state: the header
 * @reach: whom to tell which pages; may be NULL
 * @session: called for each; other than 0 ends the reading with that value
 * @arg: for @session
 * @err: what is wrong and where; may be NULL
 *
 * When they are not written yet, there are none, but pages for them.
 *
 * Return: 0; a callback's value; -EFAULT, -EBADMSG, -ELOOP for damage; -E2BIG
 * for more than Linux takes; -ENOMEM.
 */
int luo_state_sessions(const struct kho_mem *mem, const struct luo_state *state,
		       const struct luo_reach *reach,
		       int (*session)(const struct luo_state_session *session,
				      void *arg),
		       void *arg, struct kho_error *err);

/**
 * struct luo_state_file - a file, as read
 * @handler: its compatible, NUL-terminated
 * @data: the handler's
 * @token: unique in the session
 */
struct luo_state_file {
	char handler[KHO_LUO_HANDLER_SIZE];
	uint64_t data;
	uint64_t token;
};

/**
 * luo_state_files() - call back for every file of a session
 * @mem: the memory they are in
 * @session: the session
 * @reach: whom to tell which pages; may be NULL
 * @file: called for each; other than 0 ends the reading with that value
 * @arg: for @file
 * @err: what is wrong and where; may be NULL
 *
 * Return: as luo_state_sessions(); -EBADMSG also when there are not as many as
 * the session says.
 */
int luo_state_files(const struct kho_mem *mem,
		    const struct luo_state_session *session,
		    const struct luo_reach *reach,
		    int (*file)(const struct luo_state_file *file, void *arg),
		    void *arg, struct kho_error *err);

/**
 * struct luo_state_flb - shared state, as read
 * @name: NUL-terminated, not empty
 * @data: its own
 * @count: files that depend on it
 */
struct luo_state_flb {
	char name[KHO_LUO_FLB_NAME_SIZE];
	uint64_t data;
	uint64_t count;
};

/**
 * luo_state_flbs() - call back for every FLB
 * @mem: the memory they are in
 * @state: the header
 * @reach: whom to tell which pages; may be NULL
 * @flb: called for each; other than 0 ends the reading with that value
 * @arg: for @flb
 * @err: what is wrong and where; may be NULL
 *
 * Return: as luo_state_sessions().
 */
int luo_state_flbs(const struct kho_mem *mem, const struct luo_state *state,
		   const struct luo_reach *reach,
		   int (*flb)(const struct luo_state_flb *flb, void *arg),
		   void *arg, struct kho_error *err);

/**
 * luo_handler_is_memfd() - is a file one for luo_memfd_read()
 * @handler: as read: ``memfd-v2``, or a composite that begins with it
 */
bool luo_handler_is_memfd(const char *handler);

/**
 * struct luo_memfd_folio - a folio of a memfd
 * @phys: of its first byte
 * @index: where in the file it begins, in pages
 * @pages: that it has
 * @uptodate: otherwise it reads as zeros
 */
struct luo_memfd_folio {
	uint64_t phys;
	uint64_t index;
	uint32_t pages;
	bool uptodate;
};

/**
 * struct luo_memfd - a memfd, as read
 * @position: as lseek(2) has it
 * @size: bytes
 * @seals: F_SEAL_*, see fcntl(2)
 * @n: folios
 * @folios: ascending by index, without overlaps
 * @pages: of all folios
 */
struct luo_memfd {
	uint64_t position;
	uint64_t size;
	uint32_t seals;
	size_t n;
	struct luo_memfd_folio *folios;
	uint64_t pages;
};

/**
 * luo_memfd_read() - read a memfd
 * @mem: the memory it is in
 * @phys: the file's data
 * @reach: whom to tell which pages, and to ask how large the folios are; may be
 *         NULL
 * @memfd: result; free with luo_memfd_free()
 * @err: what is wrong and where; may be NULL
 *
 * Return: 0; a callback's value; -EFAULT outside the view; -EBADMSG for what
 * Linux does not write; -EOPNOTSUPP for seals or flags that are not known; as
 * kho_vmalloc_verify(); -ENOMEM.
 */
int luo_memfd_read(const struct kho_mem *mem, uint64_t phys,
		   const struct luo_reach *reach, struct luo_memfd **memfd,
		   struct kho_error *err);

/** luo_memfd_free() - free it; NULL is allowed. */
void luo_memfd_free(struct luo_memfd *memfd);

/** LUO_MEMFD_HOLES_MAX - bytes of holes that luo_memfd_contents() fills. */
#define LUO_MEMFD_HOLES_MAX (1ull << 30)

/**
 * luo_memfd_contents() - call back with the bytes of a file
 * @mem: the memory it is in
 * @memfd: the file
 * @bytes: called with one piece after the other, from the first byte to the
 *         last, holes as zeros; other than 0 ends it with that value
 * @arg: for @bytes
 * @err: why not; may be NULL
 *
 * Return: 0; the callback's value; -EFAULT when a folio is outside the view;
 * -EFBIG for more holes than LUO_MEMFD_HOLES_MAX: Linux leaves none; -ENOMEM.
 */
int luo_memfd_contents(const struct kho_mem *mem, const struct luo_memfd *memfd,
		       int (*bytes)(const void *bytes, size_t len, void *arg),
		       void *arg, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
