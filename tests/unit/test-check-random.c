// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Verdicts of random programs and random states: against a second reading of
 * the rules, which knows nothing of ranges and closures but writes down sets of
 * versions and sets of components as the definitions do; and against what has to
 * hold whatever the rules are.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <kho/check.h>

#include "seed.h"

#define ROUNDS 20000
#define NAMES 6 /* components: "a" to "f" */
#define VERSIONS 5 /* from 1 */
#define OWNERS 4 /* subtrees of a state */
#define PARTS (OWNERS * NAMES)

/* A set of versions or of components: a bit for each. */
typedef uint32_t set_t;

static unsigned int below(unsigned int n)
{
	return (unsigned int)(rnd() % n);
}

static bool chance(unsigned int percent)
{
	return below(100) < percent;
}

static const char *name_of(unsigned int component)
{
	static const char names[NAMES][2] = { "a", "b", "c", "d", "e", "f" };

	return names[component];
}

/*
 * Random programs, states and questions
 */

struct random_manifest {
	struct kho_manifest manifest;
	struct kho_manifest_entry entries[NAMES];
};

/* With room for its pins. */
union random_profile {
	struct kho_profile profile;
	char room[sizeof(struct kho_profile) + NAMES * sizeof(struct kho_pin)];
};

static struct kho_range random_range(unsigned int none)
{
	struct kho_range range = { 0, 0 };

	if (chance(none))
		return range;
	range.min = 1 + below(VERSIONS);
	range.max = range.min + below(VERSIONS - range.min + 1);
	return range;
}

static void random_desc(struct kho_component_desc *desc, unsigned int component)
{
	unsigned int i, n = 0;

	memset(desc, 0, sizeof(*desc));
	strcpy(desc->name, name_of(component));
	do {
		desc->write = random_range(15);
		desc->read = random_range(15);
	} while (!desc->write.max && !desc->read.max);
	desc->flags = (chance(40) ? KHO_COMPONENT_STRUCTURE : 0) |
		      (chance(40) ? KHO_COMPONENT_OPTIONAL : 0);
	if (desc->write.min < desc->write.max || chance(30))
		desc->flags |= KHO_COMPONENT_CONVERT;
	for (i = 0; i < NAMES; i++)
		if (i != component && chance(15))
			strcpy(desc->deps[n++], name_of(i));
}

static void random_manifest(struct random_manifest *random, const char *target,
			    unsigned int percent)
{
	struct kho_manifest *manifest = &random->manifest;
	unsigned int i;

	*manifest = (struct kho_manifest){ .target = (char *)(uintptr_t)target,
					   .entries = random->entries };
	for (i = 0; i < NAMES; i++)
		if (chance(percent))
			random_desc(&random->entries[manifest->n++].desc, i);
}

/* One that reads much of what the other writes: else little is compatible. */
static void random_reader(struct random_manifest *random, const char *target,
			  const struct kho_manifest *writer)
{
	size_t i;

	random_manifest(random, target, 95);
	for (i = 0; i < random->manifest.n; i++) {
		struct kho_component_desc *desc = &random->entries[i].desc;
		const struct kho_manifest_entry *entry =
			kho_manifest_find(writer, desc->name);
		uint32_t v;

		if (!entry || !entry->desc.write.max || chance(10))
			continue;
		v = entry->desc.write.min +
		    below(entry->desc.write.max - entry->desc.write.min + 1);
		if (!desc->read.max)
			desc->read.min = desc->read.max = v;
		if (v < desc->read.min)
			desc->read.min = v;
		if (v > desc->read.max)
			desc->read.max = v;
	}
}

static void random_profile(union random_profile *random)
{
	struct kho_profile *profile = &random->profile;
	unsigned int i;

	memset(random, 0, sizeof(*random));
	strcpy(profile->name, "random");
	for (i = 0; i < NAMES; i++) {
		if (!chance(20))
			continue;
		strcpy(profile->pins[profile->n].name, name_of(i));
		profile->pins[profile->n++].version = 1 + below(VERSIONS);
	}
}

static size_t random_state(struct kho_used used[OWNERS])
{
	size_t n = below(OWNERS + 1), i;
	unsigned int j, base;

	memset(used, 0, OWNERS * sizeof(*used));
	for (i = 0; i < n; i++) {
		struct kho_composite *composite = &used[i].composite;
		uint32_t v = 1 + below(VERSIONS);

		used[i].owner[0] = (char)('s' + i);
		used[i].optional = chance(50);
		used[i].carried = chance(25);
		if (chance(3))
			continue;
		base = below(NAMES);
		for (j = 0; j < NAMES; j++) {
			/* The base first. */
			unsigned int name = (base + j) % NAMES;
			struct kho_token *token =
				&composite->tokens[composite->n];

			if (j && !chance(25))
				continue;
			strcpy(token->name, name_of(name));
			token->version = chance(70) ? v : 1 + below(VERSIONS);
			composite->n++;
		}
	}
	return n;
}

/* Whom @ask refuses: for each component a set of versions. */
struct refusals {
	set_t of[NAMES];
};

static int ask(const char *name, uint32_t version, void *arg,
	       struct kho_error *why)
{
	const struct refusals *refusals = arg;

	if (refusals->of[name[0] - 'a'] & 1u << version)
		return kho_fail(why, -EBUSY, "no");
	return 0;
}

/* A question of every kind. */
struct question {
	struct random_manifest from, to;
	struct refusals refusals;
	struct kho_check_opts opts;
	struct kho_used used[OWNERS];
	size_t n;
	bool state; /* of a state, not of two programs */
	bool converts; /* and @from could convert it */
	union random_profile profile; /* last: it ends with its pins */
};

static void random_question(struct question *q)
{
	unsigned int i;

	memset(q, 0, sizeof(*q));
	random_manifest(&q->from, "from", 80);
	random_reader(&q->to, "to", &q->from.manifest);
	q->state = chance(50);
	q->converts = chance(60);
	q->n = random_state(q->used);
	q->opts.size = sizeof(q->opts);
	q->opts.allow_degraded = chance(50);
	random_profile(&q->profile);
	if (chance(40))
		q->opts.profile = &q->profile.profile;
	for (i = 0; i < NAMES; i++)
		q->refusals.of[i] = chance(15) ? (set_t)rnd() : 0;
	if (chance(40))
		q->opts.ask = ask;
	q->opts.arg = &q->refusals;
}

static struct kho_report *check(const struct question *q)
{
	const struct kho_manifest *writer = q->converts ? &q->from.manifest :
							  NULL;
	struct kho_report *report;

	if (q->state)
		assert_int_equal(kho_check_state(q->used, q->n, "state", writer,
						 &q->to.manifest, &q->opts,
						 &report, NULL),
				 0);
	else
		assert_int_equal(kho_check_manifests(&q->from.manifest,
						     &q->to.manifest, &q->opts,
						     &report, NULL),
				 0);
	return report;
}

/*
 * The second reading
 */

/* What should be in the report of one component, with what there is of it. */
struct part {
	const char *name; /* of the subtree when it does not say what it is */
	uint32_t has, pin;
	struct kho_range writer;
	bool carried; /* by all who have it */
	set_t written;
	uint32_t best, version;
	enum kho_verdict verdict;
	bool optional;
};

struct reading {
	size_t n_parts, n_owners;
	struct part parts[PARTS];
	struct {
		set_t parts;
		size_t base;
		bool optional, carried;
		bool readable, gone;
	} owners[PARTS];
	enum kho_outcome outcome;
};

static set_t set_of(const struct kho_range *range)
{
	set_t set = 0;
	uint32_t v;

	for (v = 1; v <= VERSIONS; v++)
		if (range->min <= v && v <= range->max)
			set |= 1u << v;
	return set;
}

static uint32_t highest(set_t set)
{
	uint32_t v, best = 0;

	for (v = 1; v <= VERSIONS; v++)
		if (set & 1u << v)
			best = v;
	return best;
}

static const struct kho_component_desc *
find(const struct kho_manifest *manifest, const char *name)
{
	size_t i;

	for (i = 0; i < manifest->n; i++)
		if (!strcmp(manifest->entries[i].desc.name, name))
			return &manifest->entries[i].desc;
	return NULL;
}

static uint32_t pin_of(const struct question *q, const char *name)
{
	const struct kho_profile *profile = q->opts.profile;
	size_t i;

	for (i = 0; profile && i < profile->n; i++)
		if (!strcmp(profile->pins[i].name, name))
			return profile->pins[i].version;
	return 0;
}

/* Finds the part in the reading, or adds it. */
static size_t part_of(struct reading *r, const struct part *part)
{
	size_t i;

	for (i = 0; i < r->n_parts; i++) {
		struct part *other = &r->parts[i];

		if (part->written && !strcmp(other->name, part->name) &&
		    other->has == part->has && other->pin == part->pin &&
		    other->writer.min == part->writer.min &&
		    other->writer.max == part->writer.max) {
			other->carried = other->carried && part->carried;
			return i;
		}
	}
	r->parts[r->n_parts] = *part;
	return r->n_parts++;
}

static void read_manifests(const struct question *q, struct reading *r)
{
	const struct kho_manifest *from = &q->from.manifest;
	unsigned int i, j;
	size_t k;

	for (i = 0; i < NAMES; i++) {
		const struct kho_component_desc *desc = find(from, name_of(i));
		set_t needs = 1u << i, before;

		if (!desc || !desc->write.max ||
		    desc->flags & KHO_COMPONENT_STRUCTURE)
			continue;
		do {
			before = needs;
			for (j = 0; j < NAMES; j++) {
				desc = find(from, name_of(j));
				if (!desc || !(needs & 1u << j))
					continue;
				for (k = 0; k < KHO_DEPS_MAX; k++)
					if (desc->deps[k][0])
						needs |= 1u
							 << (desc->deps[k][0] -
							     'a');
			}
		} while (needs != before);
		desc = find(from, name_of(i));
		r->owners[r->n_owners].optional = desc->flags &
						  KHO_COMPONENT_OPTIONAL;
		for (j = 0; j < NAMES; j++) {
			struct part part = { .name = name_of(j),
					     .pin = pin_of(q, name_of(j)) };
			size_t at;

			if (!(needs & 1u << j))
				continue;
			desc = find(from, part.name);
			if (desc)
				part.writer = desc->write;
			part.written = set_of(&part.writer);
			for (at = 0; at < r->n_parts; at++)
				if (!strcmp(r->parts[at].name, part.name))
					break;
			if (at == r->n_parts)
				r->parts[r->n_parts++] = part;
			r->owners[r->n_owners].parts |= 1u << at;
			if (j == i)
				r->owners[r->n_owners].base = at;
		}
		r->n_owners++;
	}
}

static struct part read_token(const struct question *q,
			      const struct kho_used *used,
			      const struct kho_token *token)
{
	const struct kho_component_desc *desc =
		q->converts ? find(&q->from.manifest, token->name) : NULL;
	struct part part = { .name = token->name,
			     .has = token->version,
			     .carried = used->carried,
			     .writer = { token->version, token->version },
			     .written = 1u << token->version };

	if (used->carried)
		return part;
	part.pin = pin_of(q, token->name);
	if (desc && desc->flags & KHO_COMPONENT_CONVERT && desc->write.max) {
		part.writer = desc->write;
		part.written |= set_of(&desc->write);
	}
	return part;
}

static void read_state(const struct question *q, struct reading *r)
{
	size_t i, j;

	for (i = 0; i < q->n; i++, r->n_owners++) {
		const struct kho_used *used = &q->used[i];
		const struct part nameless = { .name = used->owner,
					       .carried = used->carried };

		r->owners[i].optional = used->optional;
		r->owners[i].carried = used->carried;
		if (!used->composite.n) {
			r->owners[i].base = part_of(r, &nameless);
			r->owners[i].parts |= 1u << r->owners[i].base;
		}
		for (j = 0; j < used->composite.n; j++) {
			const struct part part =
				read_token(q, used, &used->composite.tokens[j]);
			size_t at = part_of(r, &part);

			r->owners[i].parts |= 1u << at;
			if (!j)
				r->owners[i].base = at;
		}
	}
}

/* A part by itself. */
static void judge_part(const struct question *q, struct part *part)
{
	const struct kho_component_desc *desc =
		find(&q->to.manifest, part->name);
	set_t written = part->written;
	set_t readable = desc ? set_of(&desc->read) : 0;
	bool asked = q->opts.ask && !(q->state && q->converts && part->carried);

	part->best = highest(written);
	if (part->pin)
		written &= 1u << part->pin;
	part->version = highest(written & readable);
	if (!part->version)
		part->verdict = desc || (!written && part->name[0] < 's') ?
					KHO_INCOMPATIBLE :
					KHO_UNKNOWN;
	else if (asked &&
		 q->refusals.of[part->name[0] - 'a'] & 1u << part->version)
		part->verdict = KHO_INCOMPATIBLE;
	else
		part->verdict = part->version == part->best ? KHO_OK :
							      KHO_OLDER;
}

static bool fits(const struct part *part)
{
	return part->verdict == KHO_OK || part->verdict == KHO_OLDER;
}

/* Who can be gone without, and with them what. */
static void read_owners(const struct question *q, struct reading *r)
{
	bool dropped[PARTS], degraded = false, failed = false;
	size_t i, j;

	for (i = 0; i < r->n_owners; i++) {
		r->owners[i].readable = true;
		for (j = 0; j < r->n_parts; j++)
			if (r->owners[i].parts & 1u << j && !fits(&r->parts[j]))
				r->owners[i].readable = false;
		r->owners[i].gone =
			!r->owners[i].readable &&
			(r->owners[i].carried ||
			 (r->owners[i].optional && q->opts.allow_degraded));
		if (r->owners[i].gone && !r->owners[i].carried)
			degraded = true;
	}
	for (j = 0; j < r->n_parts; j++) {
		bool all_gone = true, base = false;

		r->parts[j].optional = true;
		for (i = 0; i < r->n_owners; i++) {
			if (!(r->owners[i].parts & 1u << j))
				continue;
			all_gone = all_gone && r->owners[i].gone;
			base = base || r->owners[i].base == j;
			if (!r->owners[i].optional && !r->owners[i].carried)
				r->parts[j].optional = false;
		}
		dropped[j] = all_gone && (!fits(&r->parts[j]) || base);
	}
	for (j = 0; j < r->n_parts; j++) {
		struct part *part = &r->parts[j];

		if (dropped[j])
			part->verdict = KHO_DROPPED;
		else if (!fits(part))
			failed = true;
		if (!fits(part))
			part->version = 0;
		if (q->state && (!q->converts || part->carried))
			part->version = part->has;
	}
	r->outcome = failed   ? KHO_OUTCOME_INCOMPATIBLE :
		     degraded ? KHO_OUTCOME_DEGRADED :
				KHO_OUTCOME_COMPATIBLE;
}

static void read_rules(const struct question *q, struct reading *r)
{
	size_t i;

	memset(r, 0, sizeof(*r));
	if (q->state)
		read_state(q, r);
	else
		read_manifests(q, r);
	for (i = 0; i < r->n_parts; i++)
		judge_part(q, &r->parts[i]);
	read_owners(q, r);
}

static bool same(const struct kho_finding *f, const struct part *part)
{
	return !strcmp(f->name, part->name) && f->verdict == part->verdict &&
	       f->version == part->version && f->has == part->has &&
	       f->pin == part->pin && f->optional == part->optional &&
	       f->writer.min == part->writer.min &&
	       f->writer.max == part->writer.max;
}

/*
 * What has to hold
 */

static unsigned int rank(enum kho_verdict verdict)
{
	return verdict == KHO_INCOMPATIBLE || verdict == KHO_UNKNOWN ? 0 :
	       verdict == KHO_DROPPED				     ? 1 :
								       2;
}

static void assert_order(const struct kho_report *report)
{
	size_t i;

	for (i = 1; i < report->n; i++) {
		const struct kho_finding *x = &report->findings[i - 1],
					 *y = x + 1;
		int order = strcmp(x->name, y->name);

		assert_true(rank(x->verdict) <= rank(y->verdict));
		if (rank(x->verdict) < rank(y->verdict))
			continue;
		assert_true(order <= 0);
		if (!order)
			assert_true(x->version >= y->version);
	}
}

/* Both readings of the rules come to the same. */
static void agreement(void **state)
{
	unsigned int outcomes[3] = { 0 }, verdicts[5] = { 0 };
	static struct question q;
	static struct reading r;
	unsigned int round;
	size_t i, j;

	(void)state;
	for (round = 0; round < ROUNDS; round++) {
		bool taken[PARTS] = { false };
		struct kho_report *report;

		random_question(&q);
		read_rules(&q, &r);
		report = check(&q);
		assert_int_equal(report->outcome, r.outcome);
		assert_int_equal(report->n, r.n_parts);
		for (i = 0; i < report->n; i++) {
			const struct kho_finding *f = &report->findings[i];

			for (j = 0; j < r.n_parts; j++)
				if (!taken[j] && same(f, &r.parts[j]))
					break;
			assert_true(j < r.n_parts);
			taken[j] = true;
			assert_int_equal(!f->reason[0], f->verdict == KHO_OK);
			verdicts[f->verdict]++;
		}
		assert_order(report);
		outcomes[report->outcome]++;
		kho_report_free(report);
	}
	for (i = 0; i < 3; i++)
		assert_true(outcomes[i] > ROUNDS / 50);
	for (i = 0; i < 5; i++)
		assert_true(verdicts[i] > ROUNDS / 50);
}

/* Of two reports of the same parts: the part of one in the other. */
static const struct kho_finding *counterpart(const struct kho_report *report,
					     const struct kho_finding *f)
{
	size_t i;

	for (i = 0; i < report->n; i++) {
		const struct kho_finding *g = &report->findings[i];

		if (!strcmp(f->name, g->name) && f->has == g->has &&
		    f->pin == g->pin &&
		    !memcmp(&f->writer, &g->writer, sizeof(f->writer)))
			return g;
	}
	return NULL;
}

static bool read_one_more(struct random_manifest *to)
{
	struct kho_component_desc *desc;

	if (!to->manifest.n)
		return false;
	desc = &to->entries[below((unsigned int)to->manifest.n)].desc;
	if (!desc->read.max)
		desc->read.min = desc->read.max = 1 + below(VERSIONS);
	else if (chance(50) && desc->read.min > 1)
		desc->read.min--;
	else if (desc->read.max < VERSIONS)
		desc->read.max++;
	else
		return false;
	return true;
}

static void assert_not_worse(const struct kho_report *before,
			     const struct kho_report *after)
{
	size_t i;

	assert_true(after->outcome <= before->outcome);
	assert_int_equal(after->n, before->n);
	for (i = 0; i < before->n; i++) {
		const struct kho_finding *f = &before->findings[i];
		const struct kho_finding *g = counterpart(after, f);

		assert_non_null(g);
		assert_true(rank(g->verdict) >= rank(f->verdict));
		assert_true(g->version >= f->version);
	}
}

/*
 * A reader that reads one version more never gets less, one after the other.
 * Without questions: who refuses a version may have accepted the lower one.
 */
static void one_version_more(void **state)
{
	unsigned int better = 0, round, step;
	static struct question q;

	(void)state;
	for (round = 0; round < ROUNDS / 10; round++) {
		struct kho_report *before, *after;

		random_question(&q);
		q.opts.ask = NULL;
		before = check(&q);
		for (step = 0; step < 3 * NAMES * VERSIONS; step++) {
			if (!read_one_more(&q.to))
				continue;
			after = check(&q);
			assert_not_worse(before, after);
			better += after->outcome < before->outcome;
			kho_report_free(before);
			before = after;
		}
		kho_report_free(before);
	}
	assert_true(better > ROUNDS / 100);
}

/* Consent helps or changes nothing, and never hurts who is required. */
static void consent(void **state)
{
	unsigned int better = 0, round;
	static struct question q;
	size_t i;

	(void)state;
	for (round = 0; round < ROUNDS; round++) {
		struct kho_report *before, *after;

		random_question(&q);
		q.opts.allow_degraded = false;
		before = check(&q);
		q.opts.allow_degraded = true;
		after = check(&q);
		assert_true(before->outcome != KHO_OUTCOME_DEGRADED);
		assert_true(after->outcome <= before->outcome);
		/* Where nothing is missing, nothing changes. */
		if (before->outcome == KHO_OUTCOME_COMPATIBLE)
			assert_int_equal(after->outcome, before->outcome);
		for (i = 0; i < before->n; i++) {
			const struct kho_finding *f = &before->findings[i];
			const struct kho_finding *g = counterpart(after, f);

			assert_non_null(g);
			if (f->optional)
				continue;
			assert_int_equal(g->verdict, f->verdict);
			assert_int_equal(g->version, f->version);
			assert_string_equal(g->reason, f->reason);
		}
		better += after->outcome < before->outcome;
		kho_report_free(before);
		kho_report_free(after);
	}
	assert_true(better > ROUNDS / 100);
}

/* Who reads the best that it writes hands over to itself as it is. */
static void self(void **state)
{
	static struct question q;
	unsigned int round;
	size_t i, j;

	(void)state;
	for (round = 0; round < ROUNDS; round++) {
		struct kho_report *report;

		random_question(&q);
		q.state = false;
		q.opts.ask = NULL;
		q.opts.profile = NULL;
		random_manifest(&q.from, "self", 100);
		for (i = 0; i < q.from.manifest.n; i++) {
			struct kho_component_desc *desc =
				&q.from.entries[i].desc;

			if (!desc->write.max)
				desc->write = desc->read;
			desc->read.max = desc->write.max;
			desc->read.min = 1 + below(desc->write.max);
		}
		q.to = q.from;
		q.to.manifest.entries = q.to.entries;
		report = check(&q);
		assert_int_equal(report->outcome, KHO_OUTCOME_COMPATIBLE);
		for (i = 0; i < report->n; i++) {
			const struct kho_finding *f = &report->findings[i];

			j = (size_t)(f->name[0] - 'a');
			assert_int_equal(f->verdict, KHO_OK);
			assert_int_equal(f->version,
					 q.from.entries[j].desc.write.max);
		}
		kho_report_free(report);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agreement),
		cmocka_unit_test(one_version_more),
		cmocka_unit_test(consent),
		cmocka_unit_test(self),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
