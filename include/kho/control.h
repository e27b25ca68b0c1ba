/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Requests from outside
 *
 * A program under ``kho run`` is asked through a socket for a check, an update, or
 * to suspend itself for a kexec. It answers in kho_poll().
 */
#ifndef KHO_CONTROL_H
#define KHO_CONTROL_H

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/**
 * kho_poll_fd() - fd that becomes readable when kho_poll() has work
 * @kho: the arena
 *
 * Return: the fd, the library's, the same until kho_close(); -ENOENT when
 * nobody can ask from outside (the program does not run under ``kho run``).
 * poll(2) takes that as well, and ignores it.
 */
int kho_poll_fd(const struct kho *kho);

/**
 * kho_poll() - answer requests from outside
 * @kho: the arena
 * @timeout_ms: how long to wait for one; 0: not at all, -1: for ever
 *
 * From one thread at a time. Where nobody can ask from outside, it just waits.
 * Before a kexec the program stands still in here: when kho_poll() returns, there
 * was none.
 *
 * Return: 0: serve on; 1: a successor has taken over, exit now; -EINTR; -EIO.
 */
int kho_poll(struct kho *kho, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
