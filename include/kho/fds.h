/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Open files
 *
 * What goes to the successor besides the arena, and into custody.
 */
#ifndef KHO_FDS_H
#define KHO_FDS_H

#include <kho/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/** KHO_FD_STORE - also keep the fd in custody, so that it survives a crash. */
#define KHO_FD_STORE (1u << 0)

/**
 * kho_add_fd() - let an open file go to the successor
 * @kho: the arena
 * @name: 1 to 63 characters of ``[0-9a-zA-Z._-]``; several fds may share one
 * @fd: the caller's; must stay open until kho_remove_fd(), or exit
 * @flags: KHO_FD_STORE or 0
 * @err: why not; may be NULL
 *
 * Fds reach the successor in the order in which they were added. Without a
 * custodian KHO_FD_STORE has no effect. Any thread, any time.
 *
 * Return: 0; -EINVAL; -EBADF; -EEXIST when @fd was added already; -ENOMEM; -EIO
 * when the custodian cannot be told.
 */
int kho_add_fd(struct kho *kho, const char *name, int fd, unsigned int flags,
	       struct kho_error *err);

/** kho_remove_fd() - take kho_add_fd() back; -ENOENT when it was not added. */
int kho_remove_fd(struct kho *kho, int fd);

/**
 * kho_take_fd() - get an open file that came with the arena
 * @kho: the arena
 * @name: as given to kho_add_fd()
 *
 * Asked again, it gives the next fd of that name. The fd is close-on-exec and
 * the caller's from now on; one that was kept in custody stays in custody
 * and counts as added, any other goes to the next successor only if it is added
 * again. Also before kho_ready(). Any thread, any time.
 *
 * Return: the fd; -ENOENT when there is no more.
 */
int kho_take_fd(struct kho *kho, const char *name);

#ifdef __cplusplus
}
#endif

#endif
