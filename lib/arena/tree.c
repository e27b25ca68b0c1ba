// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The state tree of an attached arena.
 *
 * It is kept as a list. A change writes a whole new FDT to fresh
 * pages and publishes it; only then are the old one's pages given back.
 */
#include <ctype.h>
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include <kho/abi/kexec_handover.h>
#include <kho/pages.h>
#include <kho/tree.h>

#include "arena/private.h"
#include "base/fdt.h"
#include "compat/component.h"

struct tree_entry {
	char name[KHO_SUBTREE_NAME_SIZE];
	char compatible[KHO_COMPOSITE_SIZE];
	const struct kho_component *component; /* the owner; NULL: foreign */
	uint32_t version;
	uint64_t phys;
	uint64_t size;
	bool optional;
	bool carried; /* the tree says so */
	bool foreign; /* this program cannot read it */
	bool retrieved; /* or added: the program knows what it reaches */
};

struct tree {
	pthread_mutex_t lock;
	size_t n;
	struct tree_entry *entries;
	uint64_t fdt; /* phys of the published root, 0 before the first */
};

static int put_subtree(void *fdt, const struct tree_entry *e)
{
	int err = fdt_begin_node(fdt, e->name);

	/* What is carried may not have one. */
	if (!err && e->compatible[0])
		err = fdt_property(fdt, KHO_PROP_COMPATIBLE, e->compatible,
				   (int)strlen(e->compatible) + 1);
	if (!err)
		err = fdt_property(fdt, KHO_FDT_SUBTREE_PHYS, &e->phys,
				   sizeof(e->phys));
	if (!err)
		err = fdt_property(fdt, KHO_FDT_SUBTREE_SIZE, &e->size,
				   sizeof(e->size));
	if (!err && e->optional)
		err = fdt_property(fdt, KHO_PROP_OPTIONAL, NULL, 0);
	if (!err && e->carried)
		err = fdt_property(fdt, KHO_PROP_CARRIED, NULL, 0);
	if (!err)
		err = fdt_end_node(fdt);
	return err;
}

/* The root's compatible: the composite, then what Linux looks for. */
static int root_compatible(char *buf, size_t size)
{
	struct kho_composite composite;
	int len, err;

	err = kho_component_composite(kho_component_find("kho"), KHO_VERSION,
				      &composite, NULL);
	if (err)
		return err;
	len = kho_composite_format(&composite, buf,
				   size - sizeof(KHO_FDT_COMPATIBLE_LINUX));
	if (len < 0)
		return len;
	memcpy(buf + len + 1, KHO_FDT_COMPATIBLE_LINUX,
	       sizeof(KHO_FDT_COMPATIBLE_LINUX));
	return len + 1 + (int)sizeof(KHO_FDT_COMPATIBLE_LINUX);
}

static int put_tree(void *fdt, size_t size, uint64_t tracker,
		    const struct tree_entry *entries, size_t n)
{
	char compatible[KHO_COMPOSITE_SIZE + sizeof(KHO_FDT_COMPATIBLE_LINUX)];
	int len = root_compatible(compatible, sizeof(compatible));
	int err;

	if (len < 0)
		return len;
	err = fdt_create(fdt, (int)size);
	if (!err)
		err = fdt_finish_reservemap(fdt);
	if (!err)
		err = fdt_begin_node(fdt, "");
	if (!err)
		err = fdt_property(fdt, KHO_PROP_COMPATIBLE, compatible, len);
	if (!err)
		err = fdt_property(fdt, KHO_FDT_MEMORY_MAP, &tracker,
				   sizeof(tracker));
	for (size_t i = 0; !err && i < n; i++)
		err = put_subtree(fdt, &entries[i]);
	if (!err)
		err = fdt_end_node(fdt);
	if (!err)
		err = fdt_finish(fdt);
	return err ? -ENOSPC : 0;
}

/* Publish @entries as the state tree. Called with the lock held. */
static int publish(struct kho *kho, const struct tree_entry *entries, size_t n)
{
	uint64_t old = kho->tree->fdt;
	size_t size = 1ul << kho->page_shift;
	void *fdt;
	int err;

	/* Take as many pages as it needs; one is enough for most. */
	for (;; size *= 2) {
		if (size > FDT_SIZE_MAX)
			return -ENOSPC;
		fdt = kho_alloc_preserve(kho, size);
		if (!fdt)
			return -errno;
		err = put_tree(fdt, size, pages_tracker(kho), entries, n);
		if (!err)
			err = arena_publish(kho, kho_phys(kho, fdt),
					    fdt_totalsize(fdt));
		if (!err)
			break;
		kho_unpreserve_free(kho, fdt);
		if (err != -ENOSPC)
			return err;
	}
	kho->tree->fdt = kho_phys(kho, fdt);
	kho_unpreserve_free(kho, kho_ptr(kho, old, 1));
	return 0;
}

/* The first, empty tree of a new arena. */
int tree_init(struct kho *kho, struct kho_error *err)
{
	int ret = publish(kho, NULL, 0);

	return ret ? kho_fail(err, ret,
			      "arena: cannot write its state tree: %s",
			      strerror(-ret)) :
		     0;
}

/* Did the upfront check find all of a composite readable? */
static bool is_readable(const struct kho_report *report,
			const struct kho_composite *composite)
{
	for (size_t i = 0; i < composite->n; i++) {
		const struct kho_token *token = &composite->tokens[i];
		bool found = false;

		for (size_t j = 0; j < report->n && !found; j++) {
			const struct kho_finding *f = &report->findings[j];

			found = !strcmp(f->name, token->name) &&
				f->has == token->version &&
				f->verdict <= KHO_OLDER;
		}
		if (!found)
			return false;
	}
	return composite->n;
}

/* What the state has is what is written from now on: the highest of each. */
static int learn_versions(struct kho *kho,
			  const struct kho_composite *composite)
{
	for (size_t i = 0; i < composite->n; i++) {
		const struct kho_token *token = &composite->tokens[i];
		int ret = versions_learn(kho, kho_component_find(token->name),
					 token->version);

		if (ret)
			return ret;
	}
	return 0;
}

static int load_entry(struct kho *kho, struct tree_entry *e,
		      const struct kho_state_subtree *sub,
		      const struct kho_composite *composite,
		      const struct kho_report *report, struct kho_error *err)
{
	if (!pages_are_preserved(kho, sub->phys, sub->size))
		return kho_fail(err, -EBADMSG,
				"state tree: damaged: subtree %s, %llu bytes at %#llx, is not in preserved pages",
				sub->name, (unsigned long long)sub->size,
				(unsigned long long)sub->phys);
	strcpy(e->name, sub->name);
	strcpy(e->compatible, sub->compatible);
	e->phys = sub->phys;
	e->size = sub->size;
	e->optional = sub->optional;
	e->carried = sub->carried;
	e->foreign = !is_readable(report, composite);
	if (e->foreign)
		return 0;
	e->version = composite->tokens[0].version;
	e->component = kho_component_find(composite->tokens[0].name);
	if (learn_versions(kho, composite))
		return kho_fail(err, -ENOMEM, "state tree: out of memory");
	return 0;
}

/*
 * Take over the tree that came with the arena, as the upfront check judged.
 * @used: of the root, then of each subtree
 */
int tree_load(struct kho *kho, const struct kho_state *state,
	      const struct kho_used *used, const struct kho_report *report,
	      struct kho_error *err)
{
	int slot = arena_pick_slot(kho->super), ret;

	kho->tree->entries = calloc(state->n + 1, sizeof(struct tree_entry));
	if (!kho->tree->entries)
		return kho_fail(err, -ENOMEM, "state tree: out of memory");
	for (size_t i = 0; i < state->n; i++) {
		ret = load_entry(kho, &kho->tree->entries[i],
				 &state->subtrees[i], &used[i + 1].composite,
				 report, err);
		if (ret)
			return ret;
	}
	kho->tree->n = state->n;
	kho->tree->fdt = kho->super->slot[slot].fdt;
	if (!kho_restore_folio(kho, kho->tree->fdt))
		return kho_fail(err, -EBADMSG,
				"state tree: damaged: the root FDT at %#llx is not preserved",
				(unsigned long long)kho->tree->fdt);
	return 0;
}

struct tree *tree_new(void)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	if (tree)
		pthread_mutex_init(&tree->lock, NULL);
	return tree;
}

void tree_free(struct tree *tree)
{
	if (tree)
		free(tree->entries);
	free(tree);
}

static struct tree_entry *find(struct kho *kho, const char *name)
{
	for (size_t i = 0; i < kho->tree->n; i++)
		if (!strcmp(kho->tree->entries[i].name, name))
			return &kho->tree->entries[i];
	return NULL;
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= KHO_SUBTREE_NAME_SIZE)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) &&
		    !strchr(",._+-", name[i]))
			return false;
	return true;
}

/*
 * The composite of an entry: what the program says of its owner, with the
 * dependencies in the versions in which they are written.
 */
static int write_composite(struct kho *kho, struct tree_entry *e,
			   struct kho_error *err)
{
	struct kho_composite composite;
	int ret;

	/* A component that is only read is left as its writer wrote it. */
	if (e->component->desc->write.max)
		ret = kho_component_composite(e->component,
					      e->component->desc->write.max,
					      &composite, err);
	else
		ret = kho_composite_parse(e->compatible, &composite, err);
	if (ret)
		return ret;
	composite.tokens[0].version = e->version;
	for (size_t i = 1; i < composite.n; i++) {
		struct kho_token *token = &composite.tokens[i];
		const struct kho_component *dep =
			kho_component_find(token->name);

		token->version = versions_get(kho, dep);
	}
	ret = kho_composite_format(&composite, e->compatible,
				   sizeof(e->compatible));
	return ret < 0 ? ret : 0;
}

static int fill_entry(struct kho *kho, struct tree_entry *e, const char *name,
		      const struct kho_component *component, uint32_t version,
		      void *blob, size_t size, struct kho_error *err)
{
	const struct kho_range *write = &component->desc->write;
	uint64_t phys = kho_phys(kho, blob);

	if (!name_ok(name))
		return kho_fail(err, -EINVAL,
				"subtree '%.64s': a name has 1 to %d characters "
				"of 0-9, a-z, A-Z and ,._+-",
				name, KHO_SUBTREE_NAME_SIZE - 1);
	if (!phys)
		return kho_fail(err, -EINVAL,
				"subtree '%s': its blob is not in the arena",
				name);
	if (!size)
		return kho_fail(err, -EINVAL, "subtree '%s': its blob is empty",
				name);
	if (!pages_are_preserved(kho, phys, size))
		return kho_fail(err, -EINVAL,
				"subtree '%s': its blob of %zu bytes at %#llx is "
				"not preserved: kho_alloc_preserve()",
				name, size, (unsigned long long)phys);
	if (!version)
		version = kho_version(kho, component);
	if (version < write->min || version > write->max)
		return kho_fail(err, -ERANGE,
				"subtree '%s': component '%s' cannot write "
				"version %u, only %u to %u",
				name, component->desc->name, version,
				write->min, write->max);
	*e = (struct tree_entry){
		.component = component,
		.version = version,
		.phys = phys,
		.size = size,
		.optional = component->desc->flags & KHO_COMPONENT_OPTIONAL,
		.retrieved = true,
	};
	strcpy(e->name, name);
	return write_composite(kho, e, err);
}

/*
 * Publish @n entries, of which @e has a version of the caller's choice. From
 * now on its dependencies have theirs by being there, not by default.
 */
static int publish_owned(struct kho *kho, const struct tree_entry *e, size_t n,
			 struct kho_error *err)
{
	struct kho_composite composite;
	struct versions before;
	int ret = kho_composite_parse(e->compatible, &composite, err);

	if (ret)
		return ret;
	ret = versions_save(kho, &before);
	if (!ret)
		ret = learn_versions(kho, &composite);
	if (!ret)
		ret = publish(kho, kho->tree->entries, n);
	if (ret && before.list)
		versions_swap(kho, &before);
	free(before.list);
	return ret ? arena_refuses(kho, "state tree", ret, err) : 0;
}

static int add(struct kho *kho, const struct tree_entry *e,
	       struct kho_error *err)
{
	struct tree *tree = kho->tree;
	struct tree_entry *entries =
		realloc(tree->entries, (tree->n + 1) * sizeof(*entries));
	int ret;

	if (!entries)
		return arena_refuses(kho, "state tree", -ENOMEM, err);
	tree->entries = entries;
	entries[tree->n] = *e;
	ret = publish_owned(kho, e, tree->n + 1, err);
	if (!ret)
		tree->n++;
	return ret;
}

int kho_add_subtree(struct kho *kho, const char *name,
		    const struct kho_component *component, uint32_t version,
		    void *blob, size_t size, struct kho_error *err)
{
	const struct tree_entry *there;
	struct tree_entry e;
	int ret;

	if (!kho_writable(kho))
		return arena_refuses(kho, "state tree", -EROFS, err);
	pthread_mutex_lock(&kho->tree->lock);
	there = find(kho, name);
	if (there)
		ret = kho_fail(err, -EEXIST, "subtree '%s': is there already%s",
			       name,
			       there->foreign ?
				       ", carried for a program that can read it" :
				       "");
	else
		ret = fill_entry(kho, &e, name, component, version, blob, size,
				 err);
	if (!ret)
		ret = add(kho, &e, err);
	pthread_mutex_unlock(&kho->tree->lock);
	return ret;
}

int kho_replace_subtree(struct kho *kho, const char *name,
			const struct kho_component *component, uint32_t version,
			void *blob, size_t size, struct kho_error *err)
{
	struct tree_entry *e, old;
	int ret;

	if (!kho_writable(kho))
		return arena_refuses(kho, "state tree", -EROFS, err);
	pthread_mutex_lock(&kho->tree->lock);
	e = find(kho, name);
	if (!e || e->foreign) {
		ret = kho_fail(err, -ENOENT, "subtree '%s': %s", name,
			       e ? "is carried for another program" :
				   "is not there");
	} else {
		old = *e;
		ret = fill_entry(kho, e, name, component, version, blob, size,
				 err);
		if (!ret)
			ret = publish_owned(kho, e, kho->tree->n, err);
		if (ret)
			*e = old;
	}
	pthread_mutex_unlock(&kho->tree->lock);
	return ret;
}

static int remove_entry(struct kho *kho, struct tree_entry *e,
			struct kho_error *err)
{
	struct tree *tree = kho->tree;
	struct tree_entry removed = *e;
	int ret;

	*e = tree->entries[tree->n - 1];
	ret = publish(kho, tree->entries, tree->n - 1);
	if (ret) {
		*e = removed;
		return arena_refuses(kho, "state tree", ret, err);
	}
	tree->n--;
	return 0;
}

int kho_remove_subtree(struct kho *kho, const char *name, struct kho_error *err)
{
	struct tree_entry *e;
	int ret;

	if (!kho_writable(kho))
		return arena_refuses(kho, "state tree", -EROFS, err);
	pthread_mutex_lock(&kho->tree->lock);
	e = find(kho, name);
	if (!e)
		ret = kho_fail(err, -ENOENT, "subtree '%s': is not there",
			       name);
	else if (e->foreign)
		ret = kho_fail(err, -EPROTONOSUPPORT,
			       "subtree '%s': is carried for another program",
			       name);
	else
		ret = remove_entry(kho, e, err);
	pthread_mutex_unlock(&kho->tree->lock);
	return ret;
}

void *kho_subtree(struct kho *kho, const char *name, size_t *size,
		  uint32_t *version)
{
	struct tree_entry *e;
	void *blob = NULL;

	pthread_mutex_lock(&kho->tree->lock);
	e = find(kho, name);
	if (e && !e->foreign) {
		e->retrieved = true;
		blob = kho_ptr(kho, e->phys, e->size);
		/* Fails when it was restored already, which is fine. */
		kho_restore_folio(kho, e->phys);
		if (size)
			*size = e->size;
		if (version)
			*version = e->version;
	}
	pthread_mutex_unlock(&kho->tree->lock);
	return blob;
}

static int64_t free_unclaimed(struct kho *kho, struct kho_error *err)
{
	bool foreign = false;

	for (size_t i = 0; i < kho->tree->n; i++) {
		const struct tree_entry *e = &kho->tree->entries[i];

		foreign |= e->foreign;
		if (!e->retrieved && !e->foreign)
			return kho_fail(err, -EBUSY,
					"subtree '%s' was not retrieved yet: "
					"what it reaches would be freed",
					e->name);
	}
	/* Nobody here knows what that reaches. */
	return foreign ? 0 : (int64_t)pages_free_unclaimed(kho);
}

int64_t kho_free_unclaimed(struct kho *kho, struct kho_error *err)
{
	int64_t ret;

	if (!kho_writable(kho))
		return arena_refuses(kho, "pages", -EROFS, err);
	pthread_mutex_lock(&kho->tree->lock);
	ret = free_unclaimed(kho, err);
	pthread_mutex_unlock(&kho->tree->lock);
	return ret;
}

/*
 * A subtree that has @component and that the program never looked at: what it
 * holds is not in its hands.
 */
bool tree_unseen(struct kho *kho, const char *component,
		 char name[KHO_SUBTREE_NAME_SIZE])
{
	struct kho_composite composite;
	bool unseen = false;

	pthread_mutex_lock(&kho->tree->lock);
	for (size_t i = 0; !unseen && i < kho->tree->n; i++) {
		const struct tree_entry *e = &kho->tree->entries[i];

		if (e->foreign || e->retrieved)
			continue;
		kho_composite_parse(e->compatible, &composite, NULL);
		for (size_t j = 0; j < composite.n; j++)
			unseen |= !strcmp(composite.tokens[j].name, component);
		if (unseen)
			strcpy(name, e->name);
	}
	pthread_mutex_unlock(&kho->tree->lock);
	return unseen;
}

/*
 * Rewrite the entries with @change, and publish them if that made a
 * difference: all or nothing. Called with the lock held.
 */
static int change_entries(struct kho *kho,
			  int (*change)(struct kho *kho, struct tree_entry *e,
					const void *arg),
			  const void *arg)
{
	struct tree *tree = kho->tree;
	size_t size = tree->n * sizeof(*tree->entries);
	struct tree_entry *entries = malloc(size + 1);
	int ret = entries ? 0 : -ENOMEM;

	if (entries && size)
		memcpy(entries, tree->entries, size);
	for (size_t i = 0; !ret && i < tree->n; i++)
		ret = change(kho, &entries[i], arg);
	if (!ret && size && memcmp(entries, tree->entries, size)) {
		ret = publish(kho, entries, tree->n);
		if (!ret)
			memcpy(tree->entries, entries, size);
	}
	free(entries);
	return ret;
}

static int refresh(struct kho *kho, struct tree_entry *e, const void *arg)
{
	(void)arg;
	e->carried = e->foreign;
	return e->foreign ? 0 : write_composite(kho, e, NULL);
}

/*
 * Every composite has its dependencies in the versions that are in effect; what
 * a blob itself is in only its owner changes. What this program can read is not
 * carried, the rest is.
 */
int tree_refresh(struct kho *kho)
{
	int ret;

	pthread_mutex_lock(&kho->tree->lock);
	ret = change_entries(kho, refresh, NULL);
	pthread_mutex_unlock(&kho->tree->lock);
	return ret;
}

/*
 * This program has taken over. It goes on without what it cannot read: from now
 * on, whoever cannot read it either loses nothing that was in use. And the
 * structures that it makes are in no older version than it writes.
 */
int tree_take_over(struct kho *kho)
{
	const struct kho_component *c;
	int ret = 0;

	for (c = component_first(); c && !ret; c = c->next)
		if (c->desc->flags & KHO_COMPONENT_STRUCTURE &&
		    c->desc->write.max)
			ret = versions_learn(kho, c, kho_version(kho, c));
	return ret ? ret : tree_refresh(kho);
}

static int set_version(struct kho *kho, struct tree_entry *e, const void *arg)
{
	const struct kho_component *component = arg;

	if (e->foreign)
		return 0;
	if (e->component == component)
		e->version = versions_get(kho, component);
	return write_composite(kho, e, NULL);
}

uint32_t kho_version(struct kho *kho, const struct kho_component *component)
{
	uint32_t version = versions_get(kho, component);
	uint32_t min = component->desc->write.min;

	return version < min ? min : version;
}

int kho_set_version(struct kho *kho, const struct kho_component *component,
		    uint32_t version, struct kho_error *err)
{
	const struct kho_range *write = &component->desc->write;
	uint32_t old;
	int ret;

	if (!version || version < write->min || version > write->max)
		return kho_fail(err, -ERANGE,
				"component '%s' cannot write version %u, only "
				"%u to %u",
				component->desc->name, version, write->min,
				write->max);
	if (!kho_writable(kho))
		return arena_refuses(kho, "state tree", -EROFS, err);
	pthread_mutex_lock(&kho->tree->lock);
	old = versions_get(kho, component);
	ret = versions_set(kho, component, version);
	if (!ret) {
		ret = change_entries(kho, set_version, component);
		if (ret)
			versions_set(kho, component, old);
	}
	pthread_mutex_unlock(&kho->tree->lock);
	return ret ? arena_refuses(kho, "state tree", ret, err) : 0;
}

static int follow_versions(struct kho *kho, struct tree_entry *e,
			   const void *arg)
{
	const struct kho_report *report = arg;
	const struct kho_finding *f;

	if (e->foreign)
		return 0;
	f = report ? kho_report_find(report, e->component->desc->name) : NULL;
	e->carried = f && f->verdict == KHO_DROPPED;
	e->version = versions_get(kho, e->component);
	return write_composite(kho, e, NULL);
}

/*
 * As tree_refresh(), but blobs too are in the versions that are in effect: they
 * have been converted. With the outcome of a preflight, what it drops is
 * carried.
 */
int tree_reversion(struct kho *kho, const struct kho_report *report)
{
	int ret;

	pthread_mutex_lock(&kho->tree->lock);
	ret = change_entries(kho, follow_versions, report);
	pthread_mutex_unlock(&kho->tree->lock);
	return ret;
}

/* The composites in the live tree, for the preflight. */
int tree_used(struct kho *kho, struct kho_used **used, size_t *n,
	      struct kho_error *err)
{
	struct kho_mem_live live = mem_live(kho);
	struct kho_state *state;
	int slot, ret;

	pthread_mutex_lock(&kho->tree->lock);
	slot = arena_pick_slot(kho->super);
	ret = kho_state_read(&live.mem, kho->super->slot[slot].fdt,
			     kho->super->slot[slot].fdt_size, &state, err);
	pthread_mutex_unlock(&kho->tree->lock);
	if (ret)
		return ret;
	ret = kho_state_used(&live.mem, state, used, n, err);
	kho_state_free(state);
	return ret;
}
