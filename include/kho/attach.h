/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: A program's life with an arena
 *
 * 1. kho_attach() finds the arena: handed over by an older program, kept in
 *    custody across a crash or a kexec, or new. It checks everything up
 *    front; a state that this program cannot read is refused, and nothing was
 *    touched.
 * 2. The program restores: kho_subtree(), kho_restore_folio() and so on. An
 *    arena that came from somebody else is mapped read-only until
 * 3. kho_ready(): the old program goes, the arena becomes writable.
 * 4. Plain memory, plain pointers. kho_poll() now and then, or from an event
 *    loop, answers ``kho update`` (see update.h) and ``kho kexec``.
 * 5. kho_close(). What is preserved stays in the arena for whoever holds it.
 *
 * A cold start, a restart after a crash and a handover all go through the same
 * lines. On a cold start the arena is writable from step 1.
 */
#ifndef KHO_ATTACH_H
#define KHO_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/check.h>
#include <kho/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kho - an attached arena
 *
 * Opaque. All objects of the library belong to one.
 */
struct kho;

/** KHO_ARENA_HUGE - ask for transparent huge pages (madvise). */
#define KHO_ARENA_HUGE (1u << 0)

/**
 * KHO_ALLOW_DEGRADED - consent: go on without optional subtrees that this
 * program cannot read. They are carried along for one that can. The environment
 * variable KHO_ALLOW_DEGRADED=1 says the same; ``kho update
 * --allow-degraded`` sets it.
 */
#define KHO_ALLOW_DEGRADED (1u << 1)

/**
 * struct kho_attach_opts - how to attach; all other fields may be 0
 * @size: sizeof(struct kho_attach_opts)
 * @max_size: bytes the arena can grow to, reserved as address space; 0: the
 *            machine's memory. An arena that is larger already may stay so
 * @page_shift: for a new arena: 12, 14 or 16; 0: 12
 * @flags: KHO_ARENA_*, KHO_ALLOW_DEGRADED
 * @freeze: called by kho_update() and kho_suspend() before the state is handed
 *          over: make it final, and change nothing until @unfreeze or exit.
 *          @report has the version that was negotiated for each component in
 *          use; what it writes from here on is in these (see kho_version()).
 *          Afterwards the components' convert callbacks run. Returns 0, or a
 *          negative errno to refuse. Optional
 * @unfreeze: called when the handover was aborted after @freeze, and what was
 *            converted is converted back: serve on. Optional
 * @arg: passed to both, and to the components' callbacks
 * @report: the upfront check's report when it refused or was degraded, NULL
 *          otherwise; free with kho_report_free(); may be NULL
 */
struct kho_attach_opts {
	size_t size;
	uint64_t max_size;
	unsigned int page_shift;
	unsigned int flags;
	int (*freeze)(struct kho *kho, const struct kho_report *report,
		      void *arg);
	void (*unfreeze)(struct kho *kho, void *arg);
	void *arg;
	struct kho_report **report;
};

/**
 * kho_attach() - find the arena and check it up front
 * @kho: result; close with kho_close()
 * @opts: NULL for the defaults
 * @err: why not; NULL: it is printed to stderr instead, with the report when
 *       the upfront check refused
 *
 * Looks, in this order, for an older program that hands over (KHO_UPDATE_FD),
 * for custody (``kho-arena`` in LISTEN_FDS, LISTEN_FDNAMES), and makes a new
 * arena if there is neither. Takes the environment variables away, so call it
 * once, before threads are started.
 *
 * Return: 0; -EPROTONOSUPPORT when the upfront check refused, or for an arena
 * format that is not known; as kho_components_check(); -EBUSY when another program has the arena;
 * -EBADMSG for an arena that is truncated or damaged; -EFBIG for one above 16
 * TiB; -EINVAL for a fd that is no memfd, or bad options; -ENOMEM; the errno of
 * the system calls.
 */
int kho_attach(struct kho **kho, const struct kho_attach_opts *opts,
	       struct kho_error *err);

/**
 * kho_attach_fd() - attach to a given arena
 * @kho: result; close with kho_close()
 * @fd: the arena's memfd; not closed, may be closed afterwards
 * @opts: NULL for the defaults
 * @err: as for kho_attach()
 *
 * As kho_attach(), but looks nowhere else: for programs that keep custody
 * themselves, and for tests.
 */
int kho_attach_fd(struct kho **kho, int fd, const struct kho_attach_opts *opts,
		  struct kho_error *err);

/**
 * kho_attach_session() - attach to an arena that came through a kexec
 * @kho: result; close with kho_close()
 * @session: incoming; stays open
 * @token: as given to kho_suspend()
 * @opts: as for kho_attach()
 * @err: as for kho_attach()
 *
 * As kho_attach(), but looks nowhere else. The other files are there for
 * kho_take_fd(). Where there is custody, it gets all of them in kho_ready().
 *
 * Return: as kho_attach(), kho_fdnames_load(); -ENOENT also when there is no
 * arena among the files.
 */
int kho_attach_session(struct kho **kho, int session, uint64_t token,
		       const struct kho_attach_opts *opts,
		       struct kho_error *err);

/**
 * kho_ready() - the state is restored, this program takes over
 * @kho: the arena
 * @err: why not; may be NULL
 *
 * In a handover, tells the old program, waits until it has committed, and
 * makes the arena writable. The caller must not serve before it returns 0.
 * Afterwards it does nothing.
 *
 * Return: 0; -ECANCELED when the old program aborted the handover or is gone:
 * exit without a trace; -EBUSY when another program took the arena; -EIO.
 */
int kho_ready(struct kho *kho, struct kho_error *err);

/** kho_generation() - handovers that the arena has survived, this one included. */
uint64_t kho_generation(const struct kho *kho);

/**
 * kho_arena_fd() - the arena's memfd
 * @kho: the arena
 *
 * Return: the fd; the library's, do not close it.
 */
int kho_arena_fd(const struct kho *kho);

/**
 * kho_close() - detach
 * @kho: the arena; NULL is allowed. Pointers into it become invalid
 *
 * No other thread may be using @kho.
 */
void kho_close(struct kho *kho);

#ifdef __cplusplus
}
#endif

#endif
