// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The version that each component is written in. What the state tree says
 * follows from it, so that the one who writes a component and the one who uses
 * it never have to name each other's versions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena/private.h"

void versions_init(struct kho *kho)
{
	pthread_mutex_init(&kho->versions.lock, NULL);
}

void versions_exit(struct kho *kho)
{
	free(kho->versions.list);
	pthread_mutex_destroy(&kho->versions.lock);
}

static struct version *find(const struct versions *versions,
			    const struct kho_component *component)
{
	for (size_t i = 0; i < versions->n; i++)
		if (versions->list[i].component == component)
			return &versions->list[i];
	return NULL;
}

/* What the state tree says of a component, even if nobody here writes that. */
uint32_t versions_get(struct kho *kho, const struct kho_component *component)
{
	struct version *v;
	uint32_t version;

	pthread_mutex_lock(&kho->versions.lock);
	v = find(&kho->versions, component);
	version = v ? v->version : component->desc->write.max;
	pthread_mutex_unlock(&kho->versions.lock);
	return version;
}

/* Set the version; @raise: only if there is no higher one. */
static int set(struct kho *kho, const struct kho_component *component,
	       uint32_t version, bool raise)
{
	struct versions *versions = &kho->versions;
	struct version *v;
	int ret = 0;

	pthread_mutex_lock(&versions->lock);
	v = find(versions, component);
	if (!v) {
		struct version *list = reallocarray(versions->list,
						    versions->n + 1,
						    sizeof(*list));

		if (list) {
			versions->list = list;
			v = &list[versions->n++];
			*v = (struct version){ .component = component };
		} else {
			ret = -ENOMEM;
		}
	}
	if (v && (!raise || v->version < version))
		v->version = version;
	pthread_mutex_unlock(&versions->lock);
	return ret;
}

int versions_set(struct kho *kho, const struct kho_component *component,
		 uint32_t version)
{
	return set(kho, component, version, false);
}

int versions_learn(struct kho *kho, const struct kho_component *component,
		   uint32_t version)
{
	return set(kho, component, version, true);
}

/* A copy of what is in effect, to go back to. */
int versions_save(struct kho *kho, struct versions *saved)
{
	struct versions *versions = &kho->versions;

	pthread_mutex_lock(&versions->lock);
	saved->n = versions->n;
	saved->list = calloc(versions->n + 1, sizeof(*saved->list));
	if (saved->list && saved->n)
		memcpy(saved->list, versions->list,
		       saved->n * sizeof(*saved->list));
	pthread_mutex_unlock(&versions->lock);
	return saved->list ? 0 : -ENOMEM;
}

/* Nothing is below what it was in a copy. There is a place for all of them. */
void versions_raise(struct kho *kho, const struct versions *saved)
{
	for (size_t i = 0; i < saved->n; i++)
		versions_learn(kho, saved->list[i].component,
			       saved->list[i].version);
}

/* Exchange what is in effect with a copy. */
void versions_swap(struct kho *kho, struct versions *saved)
{
	struct versions *versions = &kho->versions;
	struct version *list = saved->list;
	size_t n = saved->n;

	pthread_mutex_lock(&versions->lock);
	saved->list = versions->list;
	saved->n = versions->n;
	versions->list = list;
	versions->n = n;
	pthread_mutex_unlock(&versions->lock);
}
