// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Locks and grace periods; private.h says why they are right. */
#include <stdlib.h>
#include <string.h>

#include "arena/radix/radix.h"

struct radix_sync *radix_sync_new(unsigned int levels)
{
	struct radix_sync *sync;
	size_t size = sizeof(*sync) + levels * sizeof(sync->stripes[0]);

	sync = aligned_alloc(_Alignof(struct radix_sync), size);
	if (!sync)
		return NULL;
	memset(sync, 0, size);
	grace_init(&sync->grace);
	pthread_mutex_init(&sync->pin_lock, NULL);
	sync->levels = levels;
	for (unsigned int l = 0; l < levels; l++)
		for (unsigned int i = 0; i < STRIPES; i++)
			pthread_mutex_init(&sync->stripes[l][i].lock, NULL);
	return sync;
}

void radix_sync_free(struct radix_sync *sync)
{
	for (unsigned int l = 0; l < sync->levels; l++)
		for (unsigned int i = 0; i < STRIPES; i++)
			pthread_mutex_destroy(&sync->stripes[l][i].lock);
	pthread_mutex_destroy(&sync->pin_lock);
	grace_exit(&sync->grace);
	free(sync);
}

/* A grace period. The caller holds no lock, and is in no section. */
void radix_synchronize(struct radix_sync *sync)
{
	if (sync)
		grace_wait(&sync->grace);
}

void radix_pin(struct kho_radix *radix, struct radix_pin *pin)
{
	struct radix_sync *sync = radix->sync;

	if (!sync)
		return;
	pthread_mutex_lock(&sync->pin_lock);
	pin->next = sync->pins;
	sync->pins = pin;
	pthread_mutex_unlock(&sync->pin_lock);
}

void radix_unpin(struct kho_radix *radix, struct radix_pin *pin)
{
	struct radix_sync *sync = radix->sync;
	struct radix_pin **p;

	if (!sync)
		return;
	pthread_mutex_lock(&sync->pin_lock);
	for (p = &sync->pins; *p != pin; p = &(*p)->next)
		;
	*p = pin->next;
	pthread_mutex_unlock(&sync->pin_lock);
}

/* Is the leaf of @key pinned? Its lock is held. */
bool radix_is_pinned(struct kho_radix *radix, uint64_t key)
{
	uint64_t mask = (1ull << radix_span(radix->page_shift, 0)) - 1;
	struct radix_sync *sync = radix->sync;
	struct radix_pin *p;

	if (!sync)
		return false;
	pthread_mutex_lock(&sync->pin_lock);
	for (p = sync->pins; p; p = p->next)
		if (p->first <= (key | mask) && p->last >= (key & ~mask))
			break;
	pthread_mutex_unlock(&sync->pin_lock);
	return p;
}
