/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Files with names in a session of the kernel
 *
 * What kho_suspend() and ``kho run`` put into a session, and get out of it: see
 * <kho/abi/fdnames.h>.
 */
#ifndef KHO_FDNAMES_H
#define KHO_FDNAMES_H

#include <stddef.h>
#include <stdint.h>

#include <kho/abi/fdnames.h>
#include <kho/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** KHO_FDNAME_ARENA - name of the file that is the arena. */
#define KHO_FDNAME_ARENA "kho-arena"

/**
 * struct kho_named_file - a file that goes through a kexec
 * @name: NUL-terminated
 * @fd: the open file
 * @error: of kho_fdnames_save(): 0, or why it stays behind, a negative errno
 */
struct kho_named_file {
	char name[KHO_FDNAME_SIZE];
	int fd;
	int error;
};

/**
 * kho_fdnames_save() - put files and their names into a session
 * @session: outgoing
 * @token: the first of @n + 1 that are free
 * @files: what to preserve; nobody may be changing the one named
 *         KHO_FDNAME_ARENA
 * @n: files, at most KHO_FDNAMES_MAX
 * @err: why not; may be NULL
 *
 * A file that the kernel cannot preserve (-ENOENT), that is in a session already
 * (-EBUSY), or of a kind or state that its handler refuses (-EOPNOTSUPP) stays
 * behind: see its @error. Not so the arena: without it this fails. Of an arena
 * with more free space than data a copy is preserved that ends where its data
 * does, because all holes become memory.
 *
 * After a failure some of the files are in the session, which should be closed
 * then; the arena is not.
 *
 * Return: 0; -EINVAL for a bad name, two arenas, too many files or tokens; as
 * kho_session_preserve_fd(); -EBADMSG for an arena that is damaged.
 */
int kho_fdnames_save(int session, uint64_t token, struct kho_named_file *files,
		     size_t n, struct kho_error *err);

/**
 * kho_fdnames_load() - get files and their names out of a session
 * @session: incoming; stays open, so it can be done again
 * @token: as given to kho_fdnames_save()
 * @files: result; free with kho_fdnames_free(), the fds are to be closed before
 * @n: how many
 * @err: why not; may be NULL
 *
 * Return: 0; -ENOENT when nothing was saved under that token; -EBADMSG when what
 * was saved is damaged; -EPROTONOSUPPORT for a version that is not known;
 * -ENOMEM; as kho_session_retrieve_fd().
 */
int kho_fdnames_load(int session, uint64_t token, struct kho_named_file **files,
		     size_t *n, struct kho_error *err);

/** kho_fdnames_free() - free a list of files; closes none. NULL is allowed. */
void kho_fdnames_free(struct kho_named_file *files);

#ifdef __cplusplus
}
#endif

#endif
