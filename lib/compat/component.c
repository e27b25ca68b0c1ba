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
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compat/component.h"

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
	if (desc->flags & ~(KHO_COMPONENT_STRUCTURE | KHO_COMPONENT_OPTIONAL |
			    KHO_COMPONENT_HANDLER | KHO_COMPONENT_CHECK |
			    KHO_COMPONENT_CAN_WRITE | KHO_COMPONENT_CONVERT))
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
	if (desc->write.min < desc->write.max &&
	    !(desc->flags & KHO_COMPONENT_CONVERT))
		return kho_fail(err, -EINVAL,
				"component '%s' writes versions %u to %u, and "
				"has no convert to get from one to the other",
				desc->name, desc->write.min, desc->write.max);
	return deps_check(desc, err);
}

static void die(const char *why)
{
	fprintf(stderr, "kho: cannot register a component: %s\n", why);
	abort();
}

static int flag_check(const struct kho_component_desc *desc, uint32_t flag,
		      bool there, const char *callback, const char *name,
		      struct kho_error *err)
{
	if (!!(desc->flags & flag) == there)
		return 0;
	return kho_fail(err, -EINVAL,
			there ? "component '%s' has a %s callback: add %s to "
				"its .flags" :
				"component '%s' has no %s callback, and %s in "
				"its .flags: see KHO_COMPONENT_OPS()",
			desc->name, callback, name);
}

/* Others know the callbacks by the flags in the note. */
static int ops_check(const struct kho_component *component,
		     struct kho_error *err)
{
	static const struct kho_component_ops none;
	const struct kho_component_desc *desc = component->desc;
	const struct kho_component_ops *ops = component->ops;
	int ret;

	if (!ops)
		ops = &none;
#define CHECK(flag, callback)                                                  \
	flag_check(desc, flag, ops->callback, #callback, #flag, err)
	ret = CHECK(KHO_COMPONENT_CHECK, check);
	if (!ret)
		ret = CHECK(KHO_COMPONENT_CAN_WRITE, can_write);
	if (!ret)
		ret = CHECK(KHO_COMPONENT_CONVERT, convert);
#undef CHECK
	return ret;
}

void kho_component_register(struct kho_component *component)
{
	struct kho_error err;

	if (desc_check(component->desc, &err) || ops_check(component, &err))
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

/* A composite that is computed. */
struct computed {
	struct kho_composite *composite;
	bool to_write; /* then what can only be read is a mistake */
	struct kho_error *err;
};

/* The highest version; 0 when there is none. */
static uint32_t highest(const struct kho_component_desc *desc, bool to_write)
{
	return desc->write.max || to_write ? desc->write.max : desc->read.max;
}

static int add_deps(struct computed *c, const struct kho_component_desc *desc,
		    const struct path *up);

static int add_dep(struct computed *c, const struct path *path,
		   const char *name)
{
	const struct kho_component *dep = kho_component_find(name);
	struct kho_composite *composite = c->composite;
	struct kho_token *token;
	const struct path *p;
	size_t i;

	for (p = path; p; p = p->up)
		if (!strcmp(p->name, name))
			return kho_fail(c->err, -ELOOP,
					"component '%s' depends on itself "
					"through '%s'",
					name, path->name);
	for (i = 0; i < composite->n; i++)
		if (!strcmp(composite->tokens[i].name, name))
			return 0;
	if (!dep)
		return kho_fail(c->err, -ENOENT,
				"component '%s' needs '%s', which is not in "
				"this program: link it in",
				path->name, name);
	if (!highest(dep->desc, c->to_write))
		return kho_fail(c->err, -ERANGE,
				"component '%s' needs '%s', which this program "
				"can only read",
				path->name, name);
	if (composite->n == KHO_COMPOSITE_MAX)
		return kho_fail(c->err, -E2BIG,
				"component '%s' needs more than %d others",
				composite->tokens[0].name,
				KHO_COMPOSITE_MAX - 1);
	token = &composite->tokens[composite->n++];
	memcpy(token->name, name, KHO_TOKEN_NAME_SIZE);
	token->version = highest(dep->desc, c->to_write);
	return add_deps(c, dep->desc, path);
}

static int add_deps(struct computed *c, const struct kho_component_desc *desc,
		    const struct path *up)
{
	const struct path here = { .up = up, .name = desc->name };
	int ret = 0;
	size_t i;

	/* At most KHO_COMPOSITE_MAX deep: each level added a token. */
	for (i = 0; !ret && i < KHO_DEPS_MAX && desc->deps[i][0]; i++)
		ret = add_dep(c, &here, desc->deps[i]);
	return ret;
}

static int compute(struct computed *c, const struct kho_component_desc *desc,
		   uint32_t version)
{
	struct kho_composite *composite = c->composite;
	int ret;

	composite->n = 1;
	memcpy(composite->tokens[0].name, desc->name, KHO_TOKEN_NAME_SIZE);
	composite->tokens[0].version = version;
	ret = add_deps(c, desc, NULL);
	if (!ret)
		composite_sort(composite);
	return ret;
}

int kho_component_composite(const struct kho_component *component,
			    uint32_t version, struct kho_composite *composite,
			    struct kho_error *err)
{
	const struct kho_component_desc *desc = component->desc;
	struct computed c = { composite, true, err };

	if (!desc->write.max)
		return kho_fail(err, -ERANGE, "component '%s' can only be read",
				desc->name);
	if (version < desc->write.min || version > desc->write.max)
		return kho_fail(err, -ERANGE,
				"component '%s' cannot write version %u, only "
				"%u to %u",
				desc->name, version, desc->write.min,
				desc->write.max);
	return compute(&c, desc, version);
}

static int check_one(const struct kho_component_desc *desc,
		     struct kho_error *err)
{
	struct kho_composite composite;
	struct computed c = { &composite, false, err };
	char text[KHO_COMPOSITE_SIZE];
	int ret = compute(&c, desc, highest(desc, false));

	if (ret || !(desc->flags & KHO_COMPONENT_HANDLER))
		return ret;
	/* The highest versions have the most digits. */
	ret = kho_composite_format(&composite, text, sizeof(text));
	if (ret < KHO_HANDLER_COMPATIBLE_SIZE)
		return 0;
	return kho_fail(err, -ENAMETOOLONG,
			"component '%s': its composite '%.128s' has %d "
			"characters, a file handler's has at most %d: give it "
			"fewer dependencies or a shorter name",
			desc->name, text, ret, KHO_HANDLER_COMPATIBLE_SIZE - 1);
}

int kho_components_check(struct kho_error *err)
{
	const struct kho_component *c;
	int ret = 0;

	for (c = component_first(); !ret && c; c = c->next)
		ret = check_one(c->desc, err);
	return ret;
}
