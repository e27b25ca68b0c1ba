/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: The conversation of a handover (component ``update``)
 *
 * The old program starts its successor with one end of a SOCK_SEQPACKET
 * socketpair, whose number is in the environment variable KHO_UPDATE_FD. Each
 * datagram is a struct kho_update_header and a NUL-terminated text, maybe
 * with file descriptors (SCM_RIGHTS)::
 *
 *   successor                       old program
 *   HELLO    attached            ->
 *                                   freeze
 *                                <- FDS   at most KHO_UPDATE_FDS_MAX fds; the
 *                                         text has a line for each: its name,
 *                                         and " stored" when custody has it
 *                                <- STATE all fds are sent; the value is
 *                                         their number
 *            upfront check, restore
 *   READY                        ->
 *                                <- COMMIT the old program's arena is
 *                                         read-only now
 *   DONE     takes over          ->       exits
 *
 * Instead of READY the successor may say REFUSED: the text is a line for
 * people, the value a positive errno. End of file in either direction before
 * DONE is an abort; the successor changes nothing in the arena before it has
 * sent DONE.
 *
 * The fd named ``kho-arena`` is the arena, of a description that holds its
 * lock; ``kho-control`` is the socket for requests from outside.
 *
 * This header is a contract: a change needs a new KHO_UPDATE_VERSION.
 */
#ifndef KHO_ABI_UPDATE_H
#define KHO_ABI_UPDATE_H

#include <stdint.h>

#define KHO_UPDATE_VERSION 1

#define KHO_UPDATE_ENV "KHO_UPDATE_FD"

/** KHO_UPDATE_FDS_MAX - fds in one datagram. */
#define KHO_UPDATE_FDS_MAX 64

/** KHO_UPDATE_TEXT_MAX - bytes of a text, its NUL included. */
#define KHO_UPDATE_TEXT_MAX 65536

#define KHO_UPDATE_HELLO 1
#define KHO_UPDATE_FDS 2
#define KHO_UPDATE_STATE 3
#define KHO_UPDATE_READY 4
#define KHO_UPDATE_REFUSED 5
#define KHO_UPDATE_COMMIT 6
#define KHO_UPDATE_DONE 7

/**
 * struct kho_update_header - starts every datagram
 * @type: KHO_UPDATE_*
 * @value: depends on @type; otherwise 0
 */
struct kho_update_header {
	uint32_t type;
	uint32_t value;
};

#endif
