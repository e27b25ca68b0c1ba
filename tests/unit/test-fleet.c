// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Many programs at once: classes, pairs, plans. Linked with --wrap, so that
 * allocations can be counted and fail.
 *
 * Random fleets are compared with what kho_check_manifests() says of each pair,
 * and with plans that are found by trying everything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <kho/fleet.h>

#include "heap.h"
#include "seed.h"

#define PROGRAMS 8
#define COMPONENTS 6
#define FAR (UINT64_C(1) << 32)
#define NO_PATH 1000u
#define ROUNDS 6000

/* ---- Failing allocations on the heap ---- */

void *__real_reallocarray(void *old, size_t n, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size);

void *__wrap_reallocarray(void *old, size_t n, size_t size)
{
	return heap_fails() ? NULL : __real_reallocarray(old, n, size);
}

/* ---- Manifests ---- */

struct program {
	struct kho_manifest manifest;
	struct kho_manifest_entry entries[COMPONENTS];
	char target[16];
};

static void init(struct program *program, const char *target)
{
	memset(program, 0, sizeof(*program));
	snprintf(program->target, sizeof(program->target), "%s", target);
	program->manifest.target = program->target;
	program->manifest.entries = program->entries;
}

/* Components are added in the order of their names. */
static struct kho_component_desc *add(struct program *program, const char *name,
				      struct kho_range write,
				      struct kho_range read)
{
	struct kho_component_desc *desc =
		&program->entries[program->manifest.n++].desc;

	assert_true(program->manifest.n <= COMPONENTS);
	strcpy(desc->name, name);
	desc->write = write;
	desc->read = read;
	desc->flags = write.min < write.max ? KHO_COMPONENT_CONVERT : 0;
	return desc;
}

static struct kho_range range(uint32_t min, uint32_t max)
{
	return (struct kho_range){ min, max };
}

/* One component, "app", that writes and reads these versions. */
static void app(struct program *program, uint32_t write_min, uint32_t write_max,
		uint32_t read_min, uint32_t read_max)
{
	init(program, "app");
	add(program, "app", range(write_min, write_max),
	    range(read_min, read_max));
}

static struct kho_fleet *new_fleet(const struct kho_check_opts *opts)
{
	struct kho_fleet *fleet;

	assert_int_equal(kho_fleet_create(opts, &fleet, NULL), 0);
	return fleet;
}

static struct kho_fleet *fleet_of(struct program *programs, size_t n,
				  const struct kho_check_opts *opts)
{
	struct kho_fleet *fleet = new_fleet(opts);
	size_t i;

	for (i = 0; i < n; i++)
		assert_int_equal(kho_fleet_add(fleet, &programs[i].manifest,
					       NULL),
				 0);
	return fleet;
}

/* ---- Classes ---- */

static void classes(void **state)
{
	struct program programs[4];
	struct kho_fleet *fleet = new_fleet(NULL);
	size_t class, i;

	(void)state;
	assert_int_equal(kho_fleet_classes(fleet), 0);
	for (i = 0; i < 4; i++) {
		init(&programs[i], "app");
		add(&programs[i], "app", range(1, 1), range(1, 2));
		add(&programs[i], "log", range(1, 1), range(1, 1));
	}
	programs[1].manifest.n = 1;
	programs[2].entries[1].source = 7;
	strcpy(programs[2].target, "elsewhere");
	for (i = 0; i < 4; i++) {
		assert_int_equal(kho_fleet_add(fleet, &programs[i].manifest,
					       &class),
				 0);
		assert_int_equal(class, i == 1);
	}
	assert_int_equal(kho_fleet_classes(fleet), 2);
	assert_ptr_equal(kho_fleet_manifest(fleet, 0), &programs[0].manifest);
	assert_ptr_equal(kho_fleet_manifest(fleet, 1), &programs[1].manifest);
	kho_fleet_free(fleet);
	kho_fleet_free(NULL);
}

/* Each byte of a descriptor tells two classes apart. */
static void descriptors(void **state)
{
	struct program first, second;
	size_t i, class;

	(void)state;
	for (i = 0; i < sizeof(struct kho_component_desc); i++) {
		struct kho_fleet *fleet = new_fleet(NULL);

		app(&first, 1, 1, 1, 1);
		app(&second, 1, 1, 1, 1);
		((unsigned char *)&second.entries[0].desc)[i] ^= 1;
		assert_int_equal(kho_fleet_add(fleet, &first.manifest, NULL),
				 0);
		assert_int_equal(kho_fleet_add(fleet, &second.manifest, &class),
				 0);
		assert_int_equal(class, 1);
		kho_fleet_free(fleet);
	}
}

/* Allocations that fail leave a fleet as it was. */
static void out_of_memory(void **state)
{
	static struct program programs[64];
	struct kho_fleet *fleet;
	size_t i, class;
	int n;

	(void)state;
	fail_in = 0;
	assert_int_equal(kho_fleet_create(NULL, &fleet, NULL), -ENOMEM);
	fail_in = -1;
	fleet = new_fleet(NULL);
	for (i = 0; i < 64; i++) {
		init(&programs[i], "app");
		add(&programs[i], "app", range(1, (uint32_t)i + 1),
		    range(1, 9));
		add(&programs[i], "log", range(1, 1), range(1, 1));
		for (n = 0;; n++) {
			int ret;

			fail_in = n;
			ret = kho_fleet_add(fleet, &programs[i].manifest,
					    &class);
			fail_in = -1;
			assert_int_equal(kho_fleet_classes(fleet), i + !ret);
			if (!ret)
				break;
			assert_int_equal(ret, -ENOMEM);
		}
		assert_true(n > 3);
		assert_int_equal(class, i);
	}
	kho_fleet_free(fleet);
}

static void plan_out_of_memory(void **state)
{
	struct program programs[2];
	struct kho_fleet_plan plan;
	struct kho_fleet *fleet;
	int n;

	(void)state;
	app(&programs[0], 1, 1, 1, 1);
	app(&programs[1], 1, 1, 1, 2);
	fleet = fleet_of(programs, 2, NULL);
	for (n = 0;; n++) {
		int ret;

		fail_in = n;
		ret = kho_fleet_plan(fleet, 0, 1, NULL, &plan);
		fail_in = -1;
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_null(plan.classes);
	}
	assert_int_equal(n, 2);
	kho_fleet_plan_free(&plan);
	kho_fleet_free(fleet);
}

/* ---- Plans, by hand ---- */

static void assert_plan(const struct kho_fleet *fleet, size_t from, size_t to,
			const size_t *chain, size_t n, size_t degraded)
{
	struct kho_fleet_plan plan;
	size_t i;

	assert_int_equal(kho_fleet_plan(fleet, from, to, NULL, &plan), 0);
	assert_int_equal(plan.n, n);
	assert_int_equal(plan.degraded, degraded);
	for (i = 0; i < n; i++)
		assert_int_equal(plan.classes[i], chain[i]);
	kho_fleet_plan_free(&plan);
}

static void chains(void **state)
{
	struct program p[6];
	struct kho_fleet *fleet;
	size_t i;

	(void)state;
	/* Each reads its own version and the one before, the way back is cut. */
	for (i = 0; i < 4; i++)
		app(&p[i], (uint32_t)i + 1, (uint32_t)i + 1,
		    i ? (uint32_t)i : 1, (uint32_t)i + 1);
	/* Two more that lead from 1 to 4. */
	app(&p[4], 4, 4, 1, 4);
	app(&p[5], 3, 4, 1, 4);
	fleet = fleet_of(p, 4, NULL);
	assert_plan(fleet, 0, 3, (size_t[]){ 0, 1, 2, 3 }, 4, 0);
	assert_plan(fleet, 1, 2, (size_t[]){ 1, 2 }, 2, 0);
	assert_plan(fleet, 2, 2, (size_t[]){ 2 }, 1, 0);
	assert_plan(fleet, 3, 0, NULL, 0, 0);
	assert_int_equal(kho_fleet_add(fleet, &p[4].manifest, NULL), 0);
	assert_int_equal(kho_fleet_add(fleet, &p[5].manifest, NULL), 0);
	/* Of two that are as short, the one whose classes came first. */
	assert_plan(fleet, 0, 3, (size_t[]){ 0, 4, 3 }, 3, 0);
	kho_fleet_free(fleet);
}

/* Of two that are as short, the one that loses less. */
static void fewest_degraded(void **state)
{
	struct kho_check_opts opts = { .size = sizeof(opts),
				       .allow_degraded = true };
	struct program p[4];
	struct kho_fleet *fleet;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		uint32_t v = (uint32_t[]){ 1, 2, 2, 3 }[i];

		init(&p[i], "app");
		add(&p[i], "app", range(v, v), range(v > 1 ? v - 1 : 1, v));
		if (i != 1)
			add(&p[i], "cache", range(1, 1), range(1, 1))->flags =
				KHO_COMPONENT_OPTIONAL;
	}
	fleet = fleet_of(p, 4, &opts);
	assert_plan(fleet, 0, 3, (size_t[]){ 0, 2, 3 }, 3, 0);
	assert_plan(fleet, 0, 1, (size_t[]){ 0, 1 }, 2, 1);
	kho_fleet_free(fleet);
	fleet = fleet_of(p, 4, NULL);
	assert_plan(fleet, 0, 1, NULL, 0, 0);
	kho_fleet_free(fleet);
}

static void gap(void **state)
{
	struct kho_fleet_plan plan;
	struct kho_fleet *fleet;
	struct program p[5];

	(void)state;
	app(&p[0], 1, 1, 1, 1);
	app(&p[1], 2, 2, 1, 2);
	app(&p[2], 9, 9, 9, 9);
	app(&p[3], 7, 9, 6, 9);
	app(&p[4], 30, 30, 30, 30);
	fleet = fleet_of(p, 5, NULL);
	assert_int_equal(kho_fleet_plan(fleet, 0, 2, NULL, &plan), 0);
	assert_int_equal(plan.n, 0);
	assert_null(plan.classes);
	assert_int_equal(plan.reached, 2);
	assert_int_equal(plan.gap_from, 1);
	assert_int_equal(plan.gap_to, 3);
	kho_fleet_free(fleet);
}

/* What is there now may be more, or less, than the program could write. */
static void first_update(void **state)
{
	const struct kho_fleet_answer yes = { .outcome =
						      KHO_OUTCOME_COMPATIBLE };
	const struct kho_fleet_answer no = { .outcome =
						     KHO_OUTCOME_INCOMPATIBLE };
	struct kho_fleet_answer first[3];
	struct kho_fleet_plan plan;
	struct kho_fleet *fleet;
	struct program p[3];

	(void)state;
	app(&p[0], 2, 2, 1, 2);
	app(&p[1], 1, 1, 1, 1);
	app(&p[2], 2, 2, 1, 3);
	fleet = fleet_of(p, 3, NULL);
	first[0] = yes;
	first[1] = yes;
	first[2] = no;
	assert_int_equal(kho_fleet_plan(fleet, 0, 2, first, &plan), 0);
	assert_int_equal(plan.n, 3);
	assert_int_equal(plan.classes[1], 1);
	kho_fleet_plan_free(&plan);
	/* Not by way of itself, although its manifest would be read. */
	first[1] = no;
	assert_int_equal(kho_fleet_plan(fleet, 0, 2, first, &plan), 0);
	assert_int_equal(plan.n, 0);
	assert_int_equal(plan.reached, 1);
	assert_int_equal(plan.gap_from, 0);
	/* Nothing is missing but in what is there now. */
	assert_int_equal(plan.gap_to, 2);
	kho_fleet_free(fleet);
}

/* ---- Random fleets ---- */

struct world {
	struct program programs[PROGRAMS];
	size_t n;
	struct kho_check_opts opts;
	struct kho_fleet *fleet;
	struct kho_fleet_answer answer[PROGRAMS][PROGRAMS];
	size_t failing[PROGRAMS][PROGRAMS];
	uint64_t versions[PROGRAMS][PROGRAMS];
};

static const char *const names[COMPONENTS] = { "app",	"block", "index",
					       "radix", "table", "vmalloc" };

static size_t below(size_t n)
{
	return rnd() % n;
}

static void random_deps(struct kho_component_desc *desc, size_t n_names)
{
	size_t n = below(4) ? below(3) : 0, i, j;

	for (i = 0; i < n; i++) {
		const char *dep = below(40) ? names[below(n_names)] : "missing";

		for (j = 0; j < i; j++)
			if (!strcmp(desc->deps[j], dep))
				return;
		if (strcmp(desc->name, dep) != 0)
			strcpy(desc->deps[i], dep);
		else
			return;
	}
}

/*
 * Few versions and components, or nothing ever fits. @release: 0, or the
 * version of all components, each of which reads those shortly before.
 */
static void random_program(struct program *program, size_t n_names,
			   uint32_t versions, uint32_t release)
{
	char target[16];
	size_t i;

	snprintf(target, sizeof(target), "p%zu", below(1000));
	init(program, target);
	for (i = 0; i < n_names; i++) {
		uint32_t v = (uint32_t)below(versions) + 1;
		uint32_t w = below(3) ? v : (uint32_t)below(v) + 1;
		uint32_t r = (uint32_t)below(w) + 1;
		struct kho_component_desc *desc;

		if (release) {
			v = w = release;
			r = v > 2 && !below(4) ? v - 2 :
			    v > 1 && below(12) ? v - 1 :
						 v;
		} else if (!below(6)) {
			continue;
		}
		desc = add(program, names[i], range(w, v), range(r, v));
		if (!release && !below(12))
			desc->write = range(0, 0);
		else if (!release && !below(12))
			desc->read = range(0, 0);
		desc->flags = desc->write.min < desc->write.max ?
				      KHO_COMPONENT_CONVERT :
				      0;
		if (!below(3))
			desc->flags |= KHO_COMPONENT_OPTIONAL;
		if (!below(4))
			desc->flags |= KHO_COMPONENT_STRUCTURE;
		random_deps(desc, n_names);
	}
	if (!program->manifest.n)
		add(program, names[0], range(1, 1), range(1, 1));
}

static const struct kho_profile *random_profile(void)
{
	static union {
		struct kho_profile profile;
		char bytes[sizeof(struct kho_profile) +
			   COMPONENTS * sizeof(struct kho_pin)];
	} memory;
	struct kho_profile *profile = &memory.profile;
	size_t i;

	memset(&memory, 0, sizeof(memory));
	strcpy(profile->name, "random");
	for (i = 0; i < COMPONENTS; i++) {
		if (below(4))
			continue;
		strcpy(profile->pins[profile->n].name, names[i]);
		profile->pins[profile->n].version = (uint32_t)below(3) + 1;
		profile->n++;
	}
	return profile;
}

static bool fails(const struct kho_finding *f)
{
	return f->verdict == KHO_INCOMPATIBLE || f->verdict == KHO_UNKNOWN;
}

/* Versions between what the finding's sides write, under the pin, and read. */
static uint64_t between(const struct kho_finding *f)
{
	struct kho_range write = f->writer;

	if (f->pin && f->pin >= write.min && f->pin <= write.max)
		write.min = write.max = f->pin;
	else if (f->pin)
		return FAR;
	if (!write.max || !f->reader.max)
		return FAR;
	return write.max < f->reader.min ? f->reader.min - write.max :
					   write.min - f->reader.max;
}

/* What kho_check_manifests() says of each pair of classes. */
static void ask_reports(struct world *w)
{
	size_t from, to, i;

	for (from = 0; from < w->n; from++) {
		for (to = 0; to < w->n; to++) {
			struct kho_fleet_answer *answer = &w->answer[from][to];
			struct kho_report *report;

			assert_int_equal(
				kho_check_manifests(kho_fleet_manifest(w->fleet,
								       from),
						    kho_fleet_manifest(w->fleet,
								       to),
						    &w->opts, &report, NULL),
				0);
			answer->outcome = report->outcome;
			answer->older = false;
			w->failing[from][to] = w->versions[from][to] = 0;
			for (i = 0; i < report->n; i++) {
				const struct kho_finding *f =
					&report->findings[i];

				if (f->verdict == KHO_OLDER)
					answer->older = true;
				if (!fails(f))
					continue;
				w->failing[from][to]++;
				w->versions[from][to] += between(f);
			}
			if (answer->outcome == KHO_OUTCOME_INCOMPATIBLE)
				answer->older = false;
			kho_report_free(report);
		}
	}
}

static void random_world(struct world *w)
{
	size_t n_names = 1 + below(COMPONENTS);
	uint32_t versions = 2 + (uint32_t)below(4);
	size_t n = 2 + below(PROGRAMS - 1), i;
	bool releases = !below(3);

	memset(w, 0, sizeof(*w));
	for (i = 0; i < n; i++)
		random_program(&w->programs[i], n_names, versions,
			       releases ? (uint32_t)i + 1 : 0);
	w->opts.size = sizeof(w->opts);
	w->opts.allow_degraded = below(2);
	w->opts.profile = below(3) ? NULL : random_profile();
	w->fleet = fleet_of(w->programs, n, &w->opts);
	w->n = kho_fleet_classes(w->fleet);
	ask_reports(w);
}

/* A pair is judged as by kho_check_manifests(), and takes no memory. */
static void pairs(void **state)
{
	size_t outcomes[3] = { 0 }, older[3] = { 0 }, i;
	struct kho_fleet_answer answer;
	struct world w;

	(void)state;
	for (i = 0; i < ROUNDS; i++) {
		random_world(&w);
		for (size_t from = 0; from < w.n; from++) {
			for (size_t to = 0; to < w.n; to++) {
				fail_in = 0;
				answer = kho_fleet_check(w.fleet, from, to);
				assert_int_equal(fail_in, 0);
				fail_in = -1;
				assert_int_equal(answer.outcome,
						 w.answer[from][to].outcome);
				assert_int_equal(answer.older,
						 w.answer[from][to].older);
				outcomes[answer.outcome]++;
				older[answer.outcome] += answer.older;
			}
		}
		kho_fleet_free(w.fleet);
	}
	/* It has seen some of each. */
	for (i = 0; i < 3; i++)
		assert_true(outcomes[i] > 1000);
	assert_true(older[KHO_OUTCOME_COMPATIBLE] > 100);
	assert_true(older[KHO_OUTCOME_DEGRADED] > 100);
}

/* By way of JSON, where Linux's monolithic versions are taken apart. */
static struct kho_manifest *parsed(struct program *program)
{
	char *sources[] = { program->target };
	struct kho_manifest *result;
	struct kho_error err;
	char *text;

	program->manifest.n_sources = 1;
	program->manifest.sources = sources;
	text = kho_manifest_json(&program->manifest);
	assert_non_null(text);
	if (kho_manifest_parse(text, strlen(text), "bundle", &result, &err))
		fail_msg("%s", err.text);
	free(text);
	return result;
}

/* kho-v4 stands for block-v1, radix-v1 and vmalloc-v1. */
static void bundles(void **state)
{
	static const char *const expected[] = { "..X", "...", "X.." };
	static const char *const deps[] = { "block", "radix", "vmalloc" };
	struct kho_manifest *manifests[3];
	struct kho_component_desc *kho;
	struct program program;
	struct world w = { .n = 3, .opts.size = sizeof(w.opts) };
	size_t i, j;

	(void)state;
	w.fleet = new_fleet(NULL);
	for (i = 0; i < 3; i++) {
		init(&program, "kho");
		if (i)
			add(&program, "block", range(1, 1), range(1, 1));
		kho = add(&program, "kho", range(4, 4), range(4, 4));
		for (j = 0; i && j < 3; j++)
			strcpy(kho->deps[j], deps[j]);
		if (i) {
			add(&program, "radix", range(1, 1), range(1, 1));
			add(&program, "vmalloc", range((uint32_t)i, 2),
			    range((uint32_t)i, 2));
		}
		for (j = 0; j < program.manifest.n; j++)
			if (&program.entries[j].desc != kho)
				program.entries[j].desc.flags |=
					KHO_COMPONENT_STRUCTURE;
		manifests[i] = parsed(&program);
		assert_int_equal(kho_fleet_add(w.fleet, manifests[i], NULL), 0);
	}
	assert_int_equal(kho_fleet_classes(w.fleet), 3);
	ask_reports(&w);
	for (i = 0; i < 3; i++) {
		for (j = 0; j < 3; j++) {
			struct kho_fleet_answer answer =
				kho_fleet_check(w.fleet, i, j);

			assert_int_equal(answer.outcome,
					 w.answer[i][j].outcome);
			assert_int_equal(answer.older, w.answer[i][j].older);
			assert_int_equal(answer.outcome,
					 expected[i][j] == '.' ?
						 KHO_OUTCOME_COMPATIBLE :
						 KHO_OUTCOME_INCOMPATIBLE);
		}
	}
	kho_fleet_free(w.fleet);
	for (i = 0; i < 3; i++)
		kho_manifest_free(manifests[i]);
}

/**
 * struct paths - all shortest chains between two classes, by trying everything
 * @steps: how many updates; NO_PATH: there is none
 * @degraded: the fewest degraded ones
 * @classes: the first of these
 */
struct paths {
	size_t steps;
	size_t degraded;
	size_t classes[PROGRAMS];
};

/* One update: 0, or 1 when it is degraded; NO_PATH. */
static size_t update(const struct world *w, size_t from,
		     const struct kho_fleet_answer *first, size_t a, size_t b)
{
	const struct kho_fleet_answer *answer =
		first && a == from ? &first[b] : &w->answer[a][b];

	if (answer->outcome == KHO_OUTCOME_INCOMPATIBLE)
		return NO_PATH;
	return answer->outcome == KHO_OUTCOME_DEGRADED;
}

/* Goes on from a chain of @steps updates, in the order of the classes. */
static void try_all(const struct world *w, const struct kho_fleet_answer *first,
		    size_t to, size_t *chain, size_t steps, size_t degraded,
		    struct paths *best)
{
	size_t class = chain[steps], next, i, cost;

	if (class == to) {
		if (steps < best->steps ||
		    (steps == best->steps && degraded < best->degraded)) {
			best->steps = steps;
			best->degraded = degraded;
			memcpy(best->classes, chain,
			       (steps + 1) * sizeof(*chain));
		}
		return;
	}
	if (steps >= best->steps)
		return;
	for (next = 0; next < w->n; next++) {
		for (i = 0; i <= steps; i++)
			if (chain[i] == next)
				break;
		cost = update(w, chain[0], first, class, next);
		if (i <= steps || cost == NO_PATH)
			continue;
		chain[steps + 1] = next;
		try_all(w, first, to, chain, steps + 1, degraded + cost, best);
	}
}

/* Floyd and Warshall's: updates from each class to each. */
static void distances(const struct world *w, size_t from,
		      const struct kho_fleet_answer *first,
		      size_t d[PROGRAMS][PROGRAMS])
{
	size_t i, j, k;

	for (i = 0; i < w->n; i++) {
		for (j = 0; j < w->n; j++)
			d[i][j] = i == j ? 0 :
				  update(w, from, first, i, j) == NO_PATH ?
					   NO_PATH :
					   1;
		/* Nobody needs to come back to where it began. */
		if (i != from)
			d[i][from] = NO_PATH;
	}
	for (k = 0; k < w->n; k++)
		for (i = 0; i < w->n; i++)
			for (j = 0; j < w->n; j++)
				if (d[i][k] + d[k][j] < d[i][j])
					d[i][j] = d[i][k] + d[k][j];
}

static void assert_chain(const struct world *w,
			 const struct kho_fleet_answer *first, size_t from,
			 size_t to, const struct kho_fleet_plan *plan,
			 size_t d[PROGRAMS][PROGRAMS])
{
	struct paths best = { .steps = NO_PATH, .degraded = NO_PATH };
	size_t chain[PROGRAMS + 1] = { from };
	size_t degraded = 0, i;

	assert_int_equal(plan->n, d[from][to] + 1);
	assert_int_equal(plan->classes[0], from);
	assert_int_equal(plan->classes[plan->n - 1], to);
	for (i = 1; i < plan->n; i++) {
		size_t cost = update(w, from, first, plan->classes[i - 1],
				     plan->classes[i]);

		assert_true(cost != NO_PATH);
		degraded += cost;
	}
	assert_int_equal(plan->degraded, degraded);
	try_all(w, first, to, chain, 0, 0, &best);
	assert_int_equal(plan->n, best.steps + 1);
	assert_int_equal(plan->degraded, best.degraded);
	for (i = 0; i < plan->n; i++)
		assert_int_equal(plan->classes[i], best.classes[i]);
}

static void assert_no_chain(const struct world *w, size_t from, size_t to,
			    const struct kho_fleet_plan *plan,
			    size_t d[PROGRAMS][PROGRAMS])
{
	size_t reached = 0, failing = SIZE_MAX, a, b, gap_from = 0, gap_to = 0;
	uint64_t versions = 0;

	assert_int_equal(d[from][to], NO_PATH);
	assert_null(plan->classes);
	for (a = 0; a < w->n; a++) {
		if (d[from][a] == NO_PATH)
			continue;
		reached++;
		for (b = 0; b < w->n; b++) {
			size_t n = w->failing[a][b];

			if (b == from || d[b][to] == NO_PATH || n > failing ||
			    (n == failing && w->versions[a][b] >= versions))
				continue;
			failing = n;
			versions = w->versions[a][b];
			gap_from = a;
			gap_to = b;
		}
	}
	assert_int_equal(plan->reached, reached);
	assert_int_equal(plan->gap_from, gap_from);
	assert_int_equal(plan->gap_to, gap_to);
}

/* With and without @first. */
static void plans(bool with_first)
{
	size_t d[PROGRAMS][PROGRAMS], i, lengths[PROGRAMS + 1] = { 0 };
	struct kho_fleet_answer first[PROGRAMS];
	struct kho_fleet_plan plan;
	struct world w;

	for (i = 0; i < ROUNDS; i++) {
		size_t from, to, j;

		random_world(&w);
		from = below(w.n);
		to = below(w.n);
		for (j = 0; j < w.n; j++)
			first[j].outcome =
				(enum kho_outcome)(below(3) ? below(2) : 2);
		assert_int_equal(kho_fleet_plan(w.fleet, from, to,
						with_first ? first : NULL,
						&plan),
				 0);
		distances(&w, from, with_first ? first : NULL, d);
		if (plan.n)
			assert_chain(&w, with_first ? first : NULL, from, to,
				     &plan, d);
		else
			assert_no_chain(&w, from, to, &plan, d);
		lengths[plan.n]++;
		kho_fleet_plan_free(&plan);
		kho_fleet_free(w.fleet);
	}
	/* It has seen some of each. */
	for (i = 0; i <= 4; i++)
		assert_true(lengths[i] > 10);
}

static void random_plans(void **state)
{
	(void)state;
	plans(false);
}

static void random_first_updates(void **state)
{
	(void)state;
	plans(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes),
		cmocka_unit_test(descriptors),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(plan_out_of_memory),
		cmocka_unit_test(chains),
		cmocka_unit_test(fewest_degraded),
		cmocka_unit_test(gap),
		cmocka_unit_test(first_update),
		cmocka_unit_test(pairs),
		cmocka_unit_test(bundles),
		cmocka_unit_test(random_plans),
		cmocka_unit_test(random_first_updates),
	};

	seed_init();
	return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
