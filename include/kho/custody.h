/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Through a kexec
 *
 * A session of the kernel's LUO takes custody of an arena and of a program's
 * other files, as many of them as the kernel can preserve. ``kho run`` and
 * ``kho kexec`` do this for their services. A program that has a session of its
 * own does it like this:
 *
 * 1. session = kho_session_create("name"), see liveupdate.h;
 * 2. kho_suspend(): the state is checked and becomes final, and the arena goes
 *    into the session. From here on the program stands still;
 * 3. the kexec, with the session open. If there is none after all: close the
 *    session, then kho_resume();
 * 4. in the next kernel: session = kho_session_retrieve("name"), then
 *    kho_attach_session() instead of kho_attach(). On a refusal the session is
 *    still open, and with it nothing is lost: give it to a program that can read
 *    the state. When it is closed, it is finished, and the arena gone;
 * 5. after kho_ready(): kho_session_finish(), and close it.
 */
#ifndef KHO_CUSTODY_H
#define KHO_CUSTODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/abi/custody.h>
#include <kho/attach.h>
#include <kho/check.h>
#include <kho/error.h>
#include <kho/liveupdate.h>

/** KHO_CUSTODY_ARENA - name of the file that is the arena. */
#define KHO_CUSTODY_ARENA "kho-arena"

/**
 * struct kho_custody_file - a file that goes through a kexec
 * @name: NUL-terminated
 * @fd: the open file
 * @error: of kho_custody_save(): 0, or why it stays behind, a negative errno
 */
struct kho_custody_file {
	char name[KHO_CUSTODY_NAME_SIZE];
	int fd;
	int error;
};

/**
 * kho_custody_save() - put files and their names into a session
 * @session: outgoing
 * @token: the first of @n + 1 that are free
 * @files: what to preserve; nobody may be changing the one named
 *         KHO_CUSTODY_ARENA
 * @n: files, at most KHO_CUSTODY_FILES_MAX
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
 * Return: 0; -EINVAL for a bad name, two arenas, or too many files; as
 * kho_session_preserve_fd(); -EBADMSG for an arena that is damaged.
 */
int kho_custody_save(int session, uint64_t token,
		     struct kho_custody_file *files, size_t n,
		     struct kho_error *err);

/**
 * kho_custody_load() - get files and their names out of a session
 * @session: incoming; stays open, so it can be done again
 * @token: as given to kho_custody_save()
 * @files: result; free with free() after closing the fds
 * @n: how many
 * @err: why not; may be NULL
 *
 * Return: 0; -ENOENT when nothing was saved under that token; -EBADMSG when what
 * was saved is damaged; -EPROTONOSUPPORT for a version that is not known;
 * -ENOMEM; as kho_session_retrieve_fd().
 */
int kho_custody_load(int session, uint64_t token,
		     struct kho_custody_file **files, size_t *n,
		     struct kho_error *err);

/**
 * struct kho_suspend_opts - how to suspend; all fields may be 0
 * @to: manifest of the program that will attach after the kexec; NULL: the same
 *      program
 * @allow_degraded: consent that it goes on without optional components that it
 *                  cannot read
 * @profile: versions to write; NULL: none are pinned
 * @custodian: somebody else will take the files out of the session and give them
 *             to the program, as ``kho run`` does: @to need not know how
 * @report: the preflight's report, NULL when it did not come that far; free
 *          with kho_report_free(); may be NULL
 * @files: the program's files and what became of them, the arena first; to
 *         free(); may be NULL. The fds stay whose they are
 * @n_files: how many
 * @err: why it failed; may be NULL
 */
struct kho_suspend_opts {
	const struct kho_manifest *to;
	bool allow_degraded;
	const struct kho_profile *profile;
	bool custodian;
	struct kho_report **report;
	struct kho_custody_file **files;
	size_t *n_files;
	struct kho_error *err;
};

/**
 * kho_suspend() - put the arena, and what was added with kho_add_fd(), into a session
 * @kho: the arena, after kho_ready()
 * @session: outgoing
 * @token: the first of as many as there are files, and one more
 * @opts: NULL for the defaults
 *
 * As kho_update() up to its freeze, preflight included: the freeze callback runs
 * in the calling thread, and nothing may be changed afterwards. From then on
 * the arena is read-only in the sense of -EROFS: nothing can be allocated.
 *
 * Return: 0: suspended, until kho_resume() or the kexec; any error: nothing has
 * changed, once the session is closed. -EPROTONOSUPPORT: @to cannot take the
 * state over, see the report; -EALREADY: suspended already, or an update is
 * going on; -EROFS: not ready; what the freeze callback returned; as
 * kho_custody_save().
 */
int kho_suspend(struct kho *kho, int session, uint64_t token,
		const struct kho_suspend_opts *opts);

/**
 * kho_resume() - there is no kexec: serve on
 * @kho: the arena, after kho_suspend()
 *
 * All fds of the session must be closed, or about to be: waits some seconds for
 * the kernel to let go of the arena. Runs the unfreeze callback in the calling
 * thread.
 */
void kho_resume(struct kho *kho);

/**
 * kho_attach_session() - attach to an arena that came through a kexec
 * @kho: result; close with kho_close()
 * @session: incoming; stays open
 * @token: as given to kho_suspend()
 * @opts: as for kho_attach()
 *
 * As kho_attach(), but looks nowhere else. The other files are there for
 * kho_take_fd(). Where there is custody, it gets all of them in kho_ready().
 *
 * Return: as kho_attach(), kho_custody_load(); -ENOENT also when there is no
 * arena among the files.
 */
int kho_attach_session(struct kho **kho, int session, uint64_t token,
		       const struct kho_attach_opts *opts);

#endif
