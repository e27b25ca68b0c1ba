// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The registry of this process's components, and the composites that follow
 * from what they declare.
 *
 * The registry only grows: a component is published with one store, so that
 * looking one up takes no lock.
 */
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN && sizeof(void *) == 8,
	       "kho-tools is for little endian, 64-bit machines");
_Static_assert(sizeof(struct kho_component_desc) == 236 &&
		       sizeof(struct kho_component_note) == 252,
	       "the manifest note is a contract");

static struct kho_component *components;
static pthread_mutex_t register_lock = PTHREAD_MUTEX_INITIALIZER;

const struct kho_component *component_first(void)
{
	return __atomic_load_n(&components, __ATOMIC_ACQUIRE);
}

const struct kho_component *kho_component_find(const char *name)
{
	const struct kho_component *c;

	for (c = component_first(); c; c = c->next)
		if (!strcmp(c->desc->name, name))
			return c;
	return NULL;
}

/* A name in a fixed field: terminated, and nothing behind the NUL. */
static int field_check(const char field[KHO_TOKEN_NAME_SIZE], const char *what,
		       struct kho_error *err)
{
	size_t len = strnlen(field, KHO_TOKEN_NAME_SIZE);
	struct kho_error why;
	size_t i;

	if (len == KHO_TOKEN_NAME_SIZE)
		return kho_fail(err, -EINVAL, "%s is not terminated", what);
	for (i = len; i < KHO_TOKEN_NAME_SIZE; i++)
		if (field[i])
			return kho_fail(err, -EINVAL,
					"%s has bytes behind its end", what);
	if (kho_name_check(field, &why))
		return kho_fail(err, -EINVAL, "%s: %s", what, why.text);
	return 0;
}

static int range_check(const struct kho_range *range, const char *name,
		       const char *what, struct kho_error *err)
{
	if (!range->min && !range->max)
		return 0;
	if (!range->min || range->min > range->max)
		return kho_fail(err, -EINVAL,
				"component '%s': %s range %u to %u is no range",
				name, what, range->min, range->max);
	return 0;
}

static int deps_check(const struct kho_component_desc *desc,
		      struct kho_error *err)
{
	char what[64];
	bool ended = false;
	size_t i, j;
	int ret;

	for (i = 0; i < KHO_DEPS_MAX; i++) {
		const char *dep = desc->deps[i];

		for (j = 0; j < KHO_TOKEN_NAME_SIZE && !dep[j]; j++)
			;
		if (j == KHO_TOKEN_NAME_SIZE) {
			ended = true;
			continue;
		}
		if (ended)
			return kho_fail(err, -EINVAL,
					"component '%s': dependency %zu stands "
					"behind the end of the list",
					desc->name, i + 1);
		snprintf(what, sizeof(what), "component '%s': dependency %zu",
			 desc->name, i + 1);
		ret = field_check(dep, what, err);
		if (ret)
			return ret;
		if (!strcmp(dep, desc->name))
			return kho_fail(err, -EINVAL,
					"component '%s' depends on itself",
					desc->name);
		for (j = 0; j < i; j++)
			if (!strcmp(dep, desc->deps[j]))
				return kho_fail(err, -EINVAL,
						"component '%s' names "
						"dependency '%s' twice",
						desc->name, dep);
	}
	return 0;
}

int desc_check(const struct kho_component_desc *desc, struct kho_error *err)
{
	int ret = field_check(desc->name, "component name", err);

	if (ret)
		return ret;
	if (desc->flags & ~KHO_COMPONENT_STRUCTURE)
		return kho_fail(err, -EINVAL,
				"component '%s' has unknown flags 0x%x",
				desc->name, desc->flags);
	ret = range_check(&desc->write, desc->name, "write", err);
	if (ret)
		return ret;
	ret = range_check(&desc->read, desc->name, "read", err);
	if (ret)
		return ret;
	if (!desc->write.max && !desc->read.max)
		return kho_fail(err, -EINVAL,
				"component '%s' has no version at all",
				desc->name);
	return deps_check(desc, err);
}

static void die(const char *why)
{
	fprintf(stderr, "kho: cannot register a component: %s\n", why);
	abort();
}

void kho_component_register(struct kho_component *component)
{
	struct kho_error err;

	if (desc_check(component->desc, &err))
		die(err.text);
	pthread_mutex_lock(&register_lock);
	if (kho_component_find(component->desc->name)) {
		kho_fail(&err, -EEXIST, "two are called '%s'",
			 component->desc->name);
		die(err.text);
	}
	component->next = components;
	__atomic_store_n(&components, component, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&register_lock);
}

/* The components from the base to the one that is looked at. */
struct path {
	const struct path *up;
	const char *name;
};

static int add_deps(const struct kho_component_desc *desc,
		    const struct path *up, struct kho_composite *composite,
		    struct kho_error *err)
{
	const struct path here = { .up = up, .name = desc->name };
	size_t i, j;
	int ret;

	for (i = 0; i < KHO_DEPS_MAX && desc->deps[i][0]; i++) {
		const char *name = desc->deps[i];
		const struct kho_component *dep = kho_component_find(name);
		const struct path *p;
		struct kho_token *token;

		for (p = &here; p; p = p->up)
			if (!strcmp(p->name, name))
				return kho_fail(err, -ELOOP,
						"component '%s' depends on "
						"itself through '%s'",
						name, desc->name);
		for (j = 0; j < composite->n; j++)
			if (!strcmp(composite->tokens[j].name, name))
				break;
		if (j < composite->n)
			continue;
		if (!dep)
			return kho_fail(err, -ENOENT,
					"component '%s' needs '%s', which is "
					"not in this program: link it in",
					desc->name, name);
		if (!dep->desc->write.max)
			return kho_fail(err, -ERANGE,
					"component '%s' needs '%s', which this "
					"program can only read",
					desc->name, name);
		if (composite->n == KHO_COMPOSITE_MAX)
			return kho_fail(err, -E2BIG,
					"component '%s' needs more than %d "
					"others",
					composite->tokens[0].name,
					KHO_COMPOSITE_MAX - 1);
		token = &composite->tokens[composite->n++];
		memcpy(token->name, name, KHO_TOKEN_NAME_SIZE);
		token->version = dep->desc->write.max;
		/* At most KHO_COMPOSITE_MAX deep: each level added a token. */
		ret = add_deps(dep->desc, &here, composite, err);
		if (ret)
			return ret;
	}
	return 0;
}

int kho_component_composite(const struct kho_component *component,
			    uint32_t version, struct kho_composite *composite,
			    struct kho_error *err)
{
	const struct kho_component_desc *desc = component->desc;
	int ret;

	if (!desc->write.max)
		return kho_fail(err, -ERANGE, "component '%s' can only be read",
				desc->name);
	if (version < desc->write.min || version > desc->write.max)
		return kho_fail(err, -ERANGE,
				"component '%s' cannot write version %u, only "
				"%u to %u",
				desc->name, version, desc->write.min,
				desc->write.max);
	composite->n = 1;
	memcpy(composite->tokens[0].name, desc->name, KHO_TOKEN_NAME_SIZE);
	composite->tokens[0].version = version;
	ret = add_deps(desc, NULL, composite, err);
	if (ret)
		return ret;
	composite_sort(composite);
	return 0;
}
