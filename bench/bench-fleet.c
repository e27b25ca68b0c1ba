// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Many programs at once: time to add ten thousand manifests, to judge all
 * pairs of those that differ, against kho_check_manifests() of the same pairs,
 * and to plan a chain.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <kho/fleet.h>

#define MANIFESTS 10000
#define COMPONENTS 10
#define REPORTS 100000

static struct kho_manifest manifests[MANIFESTS];
static struct kho_manifest_entry entries[MANIFESTS][COMPONENTS];

static void die(const char *what)
{
	fprintf(stderr, "bench-fleet: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static uint64_t next_random(void)
{
	static uint64_t state = 1;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 32;
}

/*
 * A release of @n: each component's version grows with the releases, at a pace
 * of its own; all are read back to @back versions ago. With @cut, those of the
 * second half read nothing of the first, nor the other way round.
 */
static void release(size_t i, size_t n, uint32_t back, bool cut)
{
	struct kho_manifest *manifest = &manifests[i];
	size_t which = i % n, c;

	manifest->target = (char *)"program";
	manifest->n = COMPONENTS;
	manifest->entries = entries[i];
	for (c = 0; c < COMPONENTS; c++) {
		struct kho_component_desc *desc = &entries[i][c].desc;
		uint32_t v = 1 + (uint32_t)(which / (1 + c * 3));
		uint32_t low = v > back ? v - back : 1;

		memset(desc, 0, sizeof(*desc));
		snprintf(desc->name, sizeof(desc->name), "component-%zu", c);
		desc->write = (struct kho_range){ low, v };
		desc->read = desc->write;
		desc->flags = (c > 5 ? KHO_COMPONENT_STRUCTURE : 0) |
			      (low < v ? KHO_COMPONENT_CONVERT : 0);
		if (c < 5)
			snprintf(desc->deps[0], sizeof(desc->deps[0]),
				 "component-%zu", c + 5);
		if (cut && c == COMPONENTS - 1)
			desc->write = desc->read =
				which < n / 2 ? (struct kho_range){ 1, 1 } :
						(struct kho_range){ 3, 3 };
	}
}

static struct kho_fleet *make_fleet(void)
{
	struct kho_fleet *fleet;
	double start = now();
	size_t i;

	if (kho_fleet_create(NULL, &fleet, NULL))
		die("out of memory");
	for (i = 0; i < MANIFESTS; i++)
		if (kho_fleet_add(fleet, &manifests[i], NULL))
			die("out of memory");
	printf("  add %d manifests, %zu classes %18.1f ms\n", MANIFESTS,
	       kho_fleet_classes(fleet), (now() - start) / 1e6);
	return fleet;
}

static void bench_pairs(const struct kho_fleet *fleet)
{
	size_t n = kho_fleet_classes(fleet), compatible = 0, from, to, i;
	double start = now(), pair, report;

	for (from = 0; from < n; from++)
		for (to = 0; to < n; to++)
			compatible +=
				kho_fleet_check(fleet, from, to).outcome ==
				KHO_OUTCOME_COMPATIBLE;
	pair = (now() - start) / (double)(n * n);
	printf("  all %zu pairs, %.0f%% compatible %15.1f ms, %.1f ns each\n",
	       n * n, 100.0 * (double)compatible / (double)(n * n),
	       pair * (double)(n * n) / 1e6, pair);
	start = now();
	for (i = 0; i < REPORTS; i++) {
		struct kho_report *r;

		if (kho_check_manifests(kho_fleet_manifest(fleet,
							   next_random() % n),
					kho_fleet_manifest(fleet,
							   next_random() % n),
					NULL, &r, NULL))
			die("out of memory");
		kho_report_free(r);
	}
	report = (now() - start) / REPORTS;
	printf("  with a report each %30.1f ns each, %.0f times as long\n",
	       report, report / pair);
}

static void bench_plan(const struct kho_fleet *fleet, size_t from, size_t to)
{
	struct kho_fleet_plan plan;
	double start = now();

	if (kho_fleet_plan(fleet, from, to, NULL, &plan))
		die("out of memory");
	printf("  plan ");
	if (plan.n)
		printf("of %zu updates", plan.n - 1);
	else
		printf("that does not exist");
	printf(" %20.1f ms\n", (now() - start) / 1e6);
	kho_fleet_plan_free(&plan);
}

static void bench(size_t n, uint32_t back, bool cut)
{
	struct kho_fleet *fleet;
	size_t i;

	for (i = 0; i < MANIFESTS; i++)
		release(i, n, back, cut);
	printf("%zu releases, each reads %u versions back%s\n", n, back,
	       cut ? ", with a gap" : "");
	fleet = make_fleet();
	bench_pairs(fleet);
	bench_plan(fleet, 0, n - 1);
	kho_fleet_free(fleet);
}

int main(void)
{
	bench(300, 20, false);
	bench(MANIFESTS, 100, false);
	bench(MANIFESTS, MANIFESTS, false);
	bench(MANIFESTS, MANIFESTS, true);
	return 0;
}
