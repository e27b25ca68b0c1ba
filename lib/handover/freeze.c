// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Negotiation with a successor: which version of each component it gets, and
 * bringing the state to these versions at freeze, and back after an abort.
 *
 * In every moment each composite of the state tree says at least the version in
 * which the blob's dependencies are there, so that a program that is killed in
 * between finds, at its next start, nothing that it would not read: structures
 * say themselves what they are. Hence the order: what is to be raised is raised
 * in the tree first, and what is to be lowered is lowered there last. The version
 * of the blob itself its owner's convert changes, together with the blob.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kho/manifest.h>
#include <kho/update.h>

#include "base/opts.h"
#include "handover/private.h"

/* Can the state of a component be written in @version? */
static int ask_writer(const char *name, uint32_t version, void *arg,
		      struct kho_error *why)
{
	const struct kho_component *component = kho_component_find(name);
	char subtree[KHO_SUBTREE_NAME_SIZE];
	struct kho *kho = arg;

	/* Carried for others: it goes on as it is. */
	if (!component)
		return 0;
	if (version != versions_get(kho, component) &&
	    tree_unseen(kho, name, subtree))
		return kho_fail(why, -EBUSY,
				"subtree %s has %s in another version, and was never looked at with kho_subtree(), so it cannot be converted",
				subtree, name);
	if (!component->ops || !component->ops->can_write)
		return 0;
	return component->ops->can_write(kho, version, kho->service->arg, why);
}

/* What the successor must be able to read besides the state tree. */
static void add_used(struct kho_used *used, const char *owner, const char *name,
		     uint32_t version)
{
	struct kho_token *token = &used->composite.tokens[0];

	strcpy(used->owner, owner);
	strcpy(token->name, name);
	token->version = version;
	used->composite.n = 1;
}

static struct kho_check_opts check_opts(const struct kho_update_opts *opts)
{
	return (struct kho_check_opts){
		.size = sizeof(struct kho_check_opts),
		.allow_degraded = opts && opts->allow_degraded,
		.profile = opts ? opts->profile : NULL,
	};
}

/* @through: how the state gets there, a component; NULL: of no concern to it. */
static int check(struct kho *kho, const struct kho_manifest *writer,
		 const struct kho_manifest *to, const char *through,
		 const struct kho_check_opts *opts, struct kho_report **report,
		 struct kho_error *err)
{
	struct kho_used *used, *more;
	char from[64];
	size_t n;
	int ret;

	ret = tree_used(kho, &used, &n, err);
	if (ret)
		return ret;
	more = reallocarray(used, n + 2, sizeof(*used));
	if (!more) {
		kho_used_free(used);
		return kho_fail(err, -ENOMEM, "update: out of memory");
	}
	used = more;
	memset(&used[n], 0, 2 * sizeof(*used));
	add_used(&used[n], "the arena", "arena", kho->super->version);
	if (through)
		add_used(&used[n + 1], "the handover", through,
			 kho_component_find(through)->desc->write.max);
	snprintf(from, sizeof(from), "arena generation %u",
		 arena_generation(kho));
	ret = kho_check_state(used, n + (through ? 2 : 1), from, writer, to,
			      opts, report, err);
	kho_used_free(used);
	return ret;
}

int negotiation_check(struct kho *kho, const struct kho_manifest *to,
		      const char *through, const struct kho_update_opts *opts,
		      struct kho_report **report, struct kho_error *err)
{
	struct kho_check_opts how = check_opts(opts);
	struct kho_manifest *self;
	int ret;

	if (!kho->service->ready || !kho_writable(kho))
		return kho_fail(err, -EROFS,
				"update: this program is not ready itself");
	how.ask = ask_writer;
	how.arg = kho;
	ret = kho_manifest_self(&self);
	if (ret)
		return kho_fail(err, ret, "update: out of memory");
	/* For people who read the report elsewhere. */
	free(self->target);
	self->target = strdup(program_invocation_short_name);
	ret = self->target ? check(kho, self, to, through, &how, report, err) :
			     kho_fail(err, -ENOMEM, "update: out of memory");
	kho_manifest_free(self);
	return ret;
}

/* What a message begins with. */
static const char *doing(const struct negotiation *n)
{
	return n->through ? n->through : "suspend";
}

int negotiation_preflight(struct kho *kho, struct negotiation *n,
			  struct kho_report **report, struct kho_error *err)
{
	char summary[3 * KHO_ERROR_SIZE / 4];
	int ret =
		negotiation_check(kho, n->to, n->through, n->opts, report, err);

	if (ret)
		return ret;
	n->report = *report;
	if (n->report->outcome != KHO_OUTCOME_INCOMPATIBLE)
		return 0;
	kho_report_summary(n->report, summary, sizeof(summary));
	return kho_fail(err, -EPROTONOSUPPORT,
			"%s: %s cannot take the state over: %s", doing(n),
			n->to->target, summary);
}

/*
 * The outcome for every component of this program, in use or not: what is
 * written from now on is in these versions.
 */
static int negotiate_all(struct kho *kho, const struct kho_manifest *to,
			 const struct kho_update_opts *opts,
			 struct kho_report **report)
{
	const struct kho_check_opts how = check_opts(opts);
	const struct kho_component *c;
	struct kho_manifest *self;
	struct kho_used *used;
	size_t n = 0, i;
	int ret;

	ret = kho_manifest_self(&self);
	if (ret)
		return ret;
	used = calloc(self->n + 1, sizeof(*used));
	ret = used ? 0 : -ENOMEM;
	for (i = 0; used && i < self->n; i++) {
		c = kho_component_find(self->entries[i].desc.name);
		/* It may be one that is only read. */
		if (versions_get(kho, c))
			add_used(&used[n++], "", c->desc->name,
				 versions_get(kho, c));
	}
	if (!ret)
		ret = kho_check_state(used, n, "", self, to, &how, report,
				      NULL);
	kho_used_free(used);
	kho_manifest_free(self);
	return ret;
}

/*
 * Set what is written to the outcome; @raise: only where that is higher. What the
 * successor cannot read stays as it is, if it may; so does what it could read,
 * but goes without for lack of something else: nobody converts it.
 */
static int apply(struct kho *kho, const struct negotiation *n, bool raise)
{
	const struct kho_report *report = n->versions;
	int ret = 0;

	for (size_t i = 0; !ret && i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];
		const struct kho_component *c = kho_component_find(f->name);
		const struct kho_finding *used =
			kho_report_find(n->report, f->name);

		if (f->verdict > KHO_OLDER ||
		    (used && used->verdict > KHO_OLDER))
			continue;
		ret = raise ? versions_learn(kho, c, f->version) :
			      versions_set(kho, c, f->version);
	}
	return ret;
}

/* Does a component depend on another, directly or not? */
static bool needs(const struct kho_component *component, const char *name)
{
	struct kho_composite composite;
	bool found = false;

	if (kho_component_composite(component, component->desc->write.max,
				    &composite, NULL))
		return false;
	for (size_t i = 1; i < composite.n; i++)
		found |= !strcmp(composite.tokens[i].name, name);
	return found;
}

/* The components of the state, those that need others before these. */
static size_t order_components(const struct kho_report *report,
			       const struct kho_component **list)
{
	size_t n = 0;

	for (size_t i = 0; i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];
		const struct kho_component *c = kho_component_find(f->name);

		if (f->verdict <= KHO_OLDER && c && c->ops && c->ops->convert)
			list[n++] = c;
	}
	for (size_t i = 0; i < n; i++) {
		const struct kho_component *first;
		size_t pick = i;

		for (size_t j = i; j < n; j++)
			if (needs(list[j], list[pick]->desc->name))
				pick = j;
		first = list[pick];
		list[pick] = list[i];
		list[i] = first;
	}
	return n;
}

/* Bring what is there into the versions that are in effect. */
static int convert(struct kho *kho, const struct kho_report *report,
		   struct kho_error *err)
{
	const struct kho_component **list =
		calloc(report->n + 1, sizeof(*list));
	struct kho_error why = { 0 };
	int ret = list ? 0 : kho_fail(err, -ENOMEM, "update: out of memory");
	size_t n = list ? order_components(report, list) : 0;

	for (size_t i = 0; !ret && i < n; i++) {
		uint32_t version = versions_get(kho, list[i]);

		ret = list[i]->ops->convert(kho, version, kho->service->arg,
					    &why);
		if (ret)
			kho_fail(err, ret,
				 "update: %s cannot be converted to v%u: %s",
				 list[i]->desc->name, version, why.text);
	}
	free(list);
	return ret;
}

/*
 * It comes to nothing before anything was converted. Structures that were raised
 * stay so: some may have been written in that version since.
 */
static void cancel(struct kho *kho, struct negotiation *n)
{
	if (n->before.list)
		versions_swap(kho, &n->before);
	for (size_t i = 0; n->before.list && i < n->before.n; i++) {
		const struct version *v = &n->before.list[i];

		if (v->component->desc->flags & KHO_COMPONENT_STRUCTURE &&
		    v->version > kho_version(kho, v->component))
			versions_learn(kho, v->component, v->version);
	}
	tree_refresh(kho);
}

/* From here on, what is written is what the successor reads. */
static int begin(struct kho *kho, struct negotiation *n, struct kho_error *err)
{
	int ret = versions_save(kho, &n->before);

	if (!ret)
		ret = negotiate_all(kho, n->to, n->opts, &n->versions);
	if (!ret)
		ret = apply(kho, n, true);
	if (!ret)
		ret = tree_refresh(kho);
	if (!ret)
		ret = apply(kho, n, false);
	if (!ret)
		return 0;
	cancel(kho, n);
	return kho_fail(err, ret, "%s: negotiation: %s", doing(n),
			strerror(-ret));
}

/* The application stands still: its state becomes what was negotiated. */
static int finish(struct kho *kho, struct negotiation *n, struct kho_error *err)
{
	const struct kho_check_opts how = { .size = sizeof(how),
					    .allow_degraded = true };
	struct kho_report *report = NULL;
	char summary[3 * KHO_ERROR_SIZE / 4];
	int ret = convert(kho, n->report, err);

	if (ret)
		return ret;
	ret = tree_reversion(kho, n->report);
	if (ret)
		return kho_fail(err, ret,
				"update: cannot write the state tree: %s",
				strerror(-ret));
	/* What freeze added was not there to be negotiated. */
	ret = check(kho, NULL, n->to, n->through, &how, &report, err);
	if (!ret && report->outcome == KHO_OUTCOME_INCOMPATIBLE) {
		kho_report_summary(report, summary, sizeof(summary));
		ret = kho_fail(err, -EPROTONOSUPPORT,
			       "%s: %s cannot take over what was added at freeze: %s",
			       doing(n), n->to->target, summary);
	}
	kho_report_free(report);
	return ret;
}

/*
 * The handover was aborted: back to the versions from before. Without memory
 * for that some components stay as they are, and the tree says so.
 */
static void undo(struct kho *kho, struct negotiation *n)
{
	versions_raise(kho, &n->before);
	if (tree_refresh(kho) == 0) {
		versions_swap(kho, &n->before);
		if (convert(kho, n->report, NULL) != 0)
			versions_raise(kho, &n->before);
	} else {
		apply(kho, n, false);
	}
	tree_reversion(kho, NULL);
}

int negotiation_freeze(struct kho *kho, struct negotiation *n,
		       struct kho_error *err)
{
	int ret = begin(kho, n, err);

	if (ret)
		return ret;
	ret = kho->service->freeze ?
		      kho->service->freeze(kho, n->report, kho->service->arg) :
		      0;
	if (ret) {
		cancel(kho, n);
		return kho_fail(err, ret, "%s: this program cannot freeze: %s",
				doing(n), strerror(-ret));
	}
	n->froze = true;
	ret = finish(kho, n, err);
	if (ret)
		negotiation_thaw(kho, n);
	else
		__atomic_store_n(&kho->stage, KHO_FROZEN, __ATOMIC_RELEASE);
	return ret;
}

void negotiation_thaw(struct kho *kho, struct negotiation *n)
{
	__atomic_store_n(&kho->stage, KHO_SERVING, __ATOMIC_RELEASE);
	undo(kho, n);
	if (kho->service->unfreeze)
		kho->service->unfreeze(kho, kho->service->arg);
}

void negotiation_exit(struct negotiation *n)
{
	free(n->before.list);
	kho_report_free(n->versions);
}
