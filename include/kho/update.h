/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: From one program to the next
 *
 * kho_update(), in the old program:
 *
 * 1. preflight: the manifest of the successor's file is checked against what
 *    the state contains and could be converted to. A refusal ends it here;
 *    nothing has happened;
 * 2. the successor is started and waited for until it calls kho_attach();
 * 3. freeze: the application makes its state final, and what is not in the
 *    negotiated version is converted to it;
 * 4. the successor gets the arena and the other fds, does the upfront check
 *    and its restore on a read-only mapping, and says that it is ready;
 * 5. commit: its mapping becomes writable; the old program exits.
 *
 * Whatever goes wrong before 5 (a refusal, a crash, a timeout) ends in abort:
 * the successor is killed, the unfreeze callback runs, the old program serves
 * on, and the caller has the reason.
 *
 * From outside, ``kho update NAME PROGRAM`` asks for the same through a
 * socket that kho_poll() answers, see <kho/control.h>.
 */
#ifndef KHO_UPDATE_H
#define KHO_UPDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <kho/check.h>
#include <kho/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/** KHO_UPDATE_TIMEOUT - milliseconds a successor gets by default. */
#define KHO_UPDATE_TIMEOUT 10000

/**
 * struct kho_update_opts - how to update; all other fields may be 0
 * @size: sizeof(struct kho_update_opts)
 * @argv: the successor's arguments, NULL-terminated, its name first; NULL: the
 *        arguments of this program
 * @timeout_ms: milliseconds that the successor has until it attaches, and then
 *              again until it is ready; 0: KHO_UPDATE_TIMEOUT
 * @allow_degraded: consent that the successor goes on without optional
 *                  components that it cannot read
 * @profile: versions to write; NULL: none are pinned
 * @report: the preflight's report, NULL when it did not come that far; free
 *          with kho_report_free(); may be NULL
 * @frozen_us: microseconds from freeze to commit or unfreeze, 0 when it did not
 *             come that far; may be NULL
 * @pid: process ID of the successor, after success; may be NULL
 */
struct kho_update_opts {
	size_t size;
	char *const *argv;
	unsigned int timeout_ms;
	bool allow_degraded;
	const struct kho_profile *profile;
	struct kho_report **report;
	uint64_t *frozen_us;
	pid_t *pid;
};

/**
 * kho_update() - hand over to a successor
 * @kho: the arena, after kho_ready()
 * @path: the successor's file, an ELF program
 * @opts: NULL for the defaults
 * @err: why it failed; may be NULL
 *
 * Runs the freeze and unfreeze callbacks in the calling thread. One at a time.
 *
 * Return: 0: the successor serves, the caller must exit soon and must not
 * touch the arena, which is read-only from now on; any error: aborted, nothing
 * has changed. -EPROTONOSUPPORT: incompatible, see the report; -ENODATA,
 * -ELIBACC, -ENOEXEC, -ENOENT, -EACCES: something about the file; -ETIMEDOUT; -ECHILD:
 * the successor died; -EALREADY: an update is going on; -EROFS: not ready;
 * what the freeze callback returned.
 */
int kho_update(struct kho *kho, const char *path,
	       const struct kho_update_opts *opts, struct kho_error *err);

/**
 * kho_preflight() - could this program hand over to another
 * @kho: the arena, after kho_ready()
 * @to: manifest of the successor
 * @opts: its @allow_degraded and @profile count; NULL for the defaults
 * @report: result; free with kho_report_free()
 * @err: why there is none; may be NULL
 *
 * The first step of kho_update() alone: asks the components whether they can
 * write what would be negotiated, and changes nothing.
 *
 * Return: 0, whatever the verdict; -EROFS when not ready; -EBADMSG for a state
 * that is damaged; -ENOMEM.
 */
int kho_preflight(struct kho *kho, const struct kho_manifest *to,
		  const struct kho_update_opts *opts,
		  struct kho_report **report, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
