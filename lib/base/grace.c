// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Grace periods; grace.h says how they work. */
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/grace.h"

void grace_init(struct grace *grace)
{
	memset(grace, 0, sizeof(*grace));
	pthread_mutex_init(&grace->lock, NULL);
}

void grace_exit(struct grace *grace)
{
	pthread_mutex_destroy(&grace->lock);
}

/* Readers are quick: only one that lost its CPU is worth a sleep. */
static void wait_for_zero(uint64_t *counter)
{
	for (unsigned int i = 0;
	     __atomic_fetch_add(counter, 0, __ATOMIC_ACQ_REL); i++) {
		if (i < 100)
			sched_yield();
		else
			usleep(50);
	}
}

void grace_wait(struct grace *grace)
{
	pthread_mutex_lock(&grace->lock);
	for (int i = 0; i < 2; i++) {
		unsigned int old = grace->phase;

		__atomic_store_n(&grace->phase, !old, __ATOMIC_RELAXED);
		for (int pair = 0; pair < GRACE_PAIRS; pair++)
			wait_for_zero(&grace->readers[pair].counter[old]);
	}
	pthread_mutex_unlock(&grace->lock);
}
