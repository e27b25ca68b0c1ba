/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Grace periods: when may memory be reused that readers without a lock can
 * still be looking at?
 *
 * A reader looks at shared memory between grace_enter() and grace_leave(). A
 * writer first unlinks what shall go, so that no new reader can find it, and
 * frees it after grace_wait(): then all who were inside have left.
 *
 * Everybody adds to a counter on entering and takes off the same one on
 * leaving. There are a few pairs of counters, so that threads do not fight for
 * a cache line, and the phase says which one of a pair to take: it sends
 * newcomers to the other one, so that each can get to zero.
 *
 * grace_wait() sees every counter at zero at some moment after the unlinking.
 * It looks with a read-modify-write, so a reader's addition comes either
 * before that look in the counter's order, and was waited for; or after it,
 * and then the reader has synchronized with the writer and finds the memory
 * unlinked.
 */
#ifndef KHO_GRACE_H
#define KHO_GRACE_H

#include <pthread.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

#define GRACE_PAIRS 16

struct grace {
	struct {
		_Alignas(64) uint64_t counter[2]; /* by phase */
	} readers[GRACE_PAIRS];
	_Alignas(64) unsigned int phase; /* atomic */
	pthread_mutex_t lock; /* one wait at a time */
};

void grace_init(struct grace *grace);
void grace_exit(struct grace *grace);

/* The caller is not inside, and holds no lock that somebody inside takes. */
void grace_wait(struct grace *grace);

/* Never waits. What it returns is for grace_leave(). */
static inline uint64_t *grace_enter(struct grace *grace)
{
	/* Threads that happen to share a counter are merely slower. */
	unsigned int pair = (unsigned int)((uintptr_t)pthread_self() *
						   0x9e3779b97f4a7c15ull >>
					   60);
	unsigned int phase = __atomic_load_n(&grace->phase, __ATOMIC_RELAXED);
	uint64_t *counter = &grace->readers[pair].counter[phase];

	__atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
	return counter;
}

static inline void grace_leave(uint64_t *counter)
{
	__atomic_fetch_sub(counter, 1, __ATOMIC_RELEASE);
}

#pragma GCC visibility pop

#endif
