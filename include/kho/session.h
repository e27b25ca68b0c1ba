/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: The kernel's /dev/liveupdate
 *
 * Sessions that carry open files through a kexec: the ioctls of Linux 7.x
 * (uapi/linux/liveupdate.h), with errors that say what is the matter. Which
 * files a kernel can preserve is its own business; all of them can memfds.
 *
 * A session is a fd. Closing the last fd of an outgoing one takes everything in
 * it back, of an incoming one finishes it: whoever holds the session when the
 * kexec comes holds the files.
 *
 * All functions are thread-safe. The device can be open only once, so those that
 * open it wait some seconds for their turn.
 */
#ifndef KHO_SESSION_H
#define KHO_SESSION_H

#include <stdint.h>

#include <kho/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** KHO_SESSION_NAME_SIZE - bytes of a session's name, its NUL included. */
#define KHO_SESSION_NAME_SIZE 64

/**
 * kho_session_create() - make an outgoing session
 * @name: 1 to 63 bytes, unique
 * @err: why not; may be NULL
 *
 * Return: the session, close-on-exec; -ENOENT when this kernel has no
 * /dev/liveupdate; -EACCES; -EBUSY when another process keeps it open; -EIO
 * when the kernel could not read what it was given; -EEXIST for a name in use;
 * -EINVAL for a bad one; the errno of the system calls.
 */
int kho_session_create(const char *name, struct kho_error *err);

/**
 * kho_session_retrieve() - get an incoming session
 * @name: as it was made
 * @err: why not; may be NULL
 *
 * Return: as kho_session_create(); -ENOENT also when there is no such session;
 * -EINVAL also when somebody has it already.
 */
int kho_session_retrieve(const char *name, struct kho_error *err);

/**
 * kho_session_preserve_fd() - put an open file into an outgoing session
 * @session: the session
 * @fd: the file; may be closed afterwards
 * @token: unique in the session
 * @err: why not; may be NULL
 *
 * A memfd can neither grow nor shrink from now on, and its holes become memory.
 *
 * Return: 0; -ENOENT when the kernel cannot preserve such a file; -EBUSY when it
 * is preserved already, in any session; -EEXIST for a token in use; -EINVAL for
 * an incoming session; -ENOTTY when @session is none; -ENOMEM; the errno of the
 * kernel's file handler.
 */
int kho_session_preserve_fd(int session, int fd, uint64_t token,
			    struct kho_error *err);

/**
 * kho_session_retrieve_fd() - get a file of an incoming session
 * @session: the session
 * @token: as it was preserved
 * @err: why not; may be NULL
 *
 * Asked again, it gives the same file again.
 *
 * Return: the fd, close-on-exec; -ENOENT when there is no such token; as
 * kho_session_preserve_fd().
 */
int kho_session_retrieve_fd(int session, uint64_t token, struct kho_error *err);

/**
 * kho_session_finish() - an incoming session is not needed any more
 * @session: the session; still to be closed
 * @err: why not; may be NULL
 *
 * What was retrieved of it is an ordinary file from now on, the rest is gone.
 *
 * Return: 0; -EBUSY when a file cannot be finished yet; as
 * kho_session_preserve_fd().
 */
int kho_session_finish(int session, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
