/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Random numbers for tests, from a seed that is printed and can be given. */
#ifndef TEST_SEED_H
#define TEST_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t seed_state;

/* To stderr: TAP begins with its version. Call it first in main(); KHO_TEST_SEED repeats an earlier run. */
static inline void seed_init(void)
{
	const char *given = getenv("KHO_TEST_SEED");
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	seed_state = given ? strtoull(given, NULL, 0) :
			     (uint64_t)ts.tv_nsec << 20 ^ (uint64_t)ts.tv_sec;
	fprintf(stderr, "KHO_TEST_SEED=%#llx\n",
		(unsigned long long)seed_state);
}

/* splitmix64, a public domain generator by Sebastiano Vigna. */
static inline uint64_t rnd(void)
{
	uint64_t z = (seed_state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

#endif
