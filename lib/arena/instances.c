// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The structures that are alive in this process, so that a component can
 * rewrite all of its own when a handover wants them in another version.
 */
#include "arena/private.h"

void instances_init(struct kho *kho)
{
	pthread_mutex_init(&kho->instances.lock, NULL);
	LIST_INIT(&kho->instances.list);
}

void instances_exit(struct kho *kho)
{
	pthread_mutex_destroy(&kho->instances.lock);
}

void instances_add(struct kho *kho, struct instance *instance,
		   const struct kho_component *component)
{
	instance->component = component;
	pthread_mutex_lock(&kho->instances.lock);
	LIST_INSERT_HEAD(&kho->instances.list, instance, entry);
	pthread_mutex_unlock(&kho->instances.lock);
}

void instances_del(struct kho *kho, struct instance *instance)
{
	pthread_mutex_lock(&kho->instances.lock);
	LIST_REMOVE(instance, entry);
	pthread_mutex_unlock(&kho->instances.lock);
}

int instances_each(struct kho *kho, const struct kho_component *component,
		   int (*each)(struct instance *instance, uint32_t version,
			       struct kho_error *why),
		   uint32_t version, struct kho_error *why)
{
	struct instance *instance;
	int ret = 0;

	pthread_mutex_lock(&kho->instances.lock);
	LIST_FOREACH(instance, &kho->instances.list, entry)
	if (instance->component == component && !ret)
		ret = each(instance, version, why);
	pthread_mutex_unlock(&kho->instances.lock);
	return ret;
}
