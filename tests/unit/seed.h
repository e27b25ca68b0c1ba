/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Random numbers for tests, from a seed that is printed and can be given. */
#ifndef TEST_SEED_H
#define TEST_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t seed_state;

/*
 * Call it first in main(). The seed is always the same, but for what
 * KHO_TEST_SEED says: a number, or "random". To stderr, for TAP begins with its
 * version.
 */
static inline void seed_init(void)
{
	const char *given = getenv("KHO_TEST_SEED");

	seed_state = given ? strtoull(given, NULL, 0) : 1;
	if (given && !strcmp(given, "random") &&
	    getrandom(&seed_state, sizeof(seed_state), 0) < 0)
		abort();
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
