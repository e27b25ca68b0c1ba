/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Through a kexec
 *
 * A session of the kernel's LUO takes custody of an arena and of a program's
 * other files, as many of them as the kernel can preserve. ``kho run`` and
 * ``kho kexec`` do this for their services. A program that has a session of its
 * own does it like this:
 *
 * 1. session = kho_session_create("name"), see session.h;
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
#ifndef KHO_SUSPEND_H
#define KHO_SUSPEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/attach.h>
#include <kho/check.h>
#include <kho/error.h>
#include <kho/fdnames.h>
#include <kho/session.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kho_suspend_opts - how to suspend; all other fields may be 0
 * @size: sizeof(struct kho_suspend_opts)
 * @to: manifest of the program that will attach after the kexec; NULL: the same
 *      program
 * @allow_degraded: consent that it goes on without optional components that it
 *                  cannot read
 * @profile: versions to write; NULL: none are pinned
 * @custodian: somebody else will take the files out of the session and give them
 *             to the program, as ``kho run`` does: @to need not know how
 * @report: the preflight's report, NULL when it did not come that far; free
 *          with kho_report_free(); may be NULL
 * @files: the program's files and what became of them, the arena first; free
 *         with kho_fdnames_free(); may be NULL. The fds stay whose they are
 * @n_files: how many
 */
struct kho_suspend_opts {
	size_t size;
	const struct kho_manifest *to;
	bool allow_degraded;
	const struct kho_profile *profile;
	bool custodian;
	struct kho_report **report;
	struct kho_named_file **files;
	size_t *n_files;
};

/**
 * kho_suspend() - put the arena, and what was added with kho_add_fd(), into a session
 * @kho: the arena, after kho_ready()
 * @session: outgoing
 * @token: the first of as many as there are files, and one more
 * @opts: NULL for the defaults
 * @err: why it failed; may be NULL
 *
 * As kho_update() up to its freeze, preflight included: the freeze callback runs
 * in the calling thread, and nothing may be changed afterwards. From then on
 * the arena is read-only in the sense of -EROFS: nothing can be allocated.
 *
 * Return: 0: suspended, until kho_resume() or the kexec; any error: nothing has
 * changed, once the session is closed. -EPROTONOSUPPORT: @to cannot take the
 * state over, see the report; -EALREADY: suspended already, or an update is
 * going on; -EROFS: not ready; what the freeze callback returned; as
 * kho_fdnames_save().
 */
int kho_suspend(struct kho *kho, int session, uint64_t token,
		const struct kho_suspend_opts *opts, struct kho_error *err);

/**
 * kho_resume() - there is no kexec: serve on
 * @kho: the arena, after kho_suspend()
 *
 * All fds of the session must be closed, or about to be: waits some seconds for
 * the kernel to let go of the arena. Runs the unfreeze callback in the calling
 * thread.
 */
void kho_resume(struct kho *kho);

#ifdef __cplusplus
}
#endif

#endif
