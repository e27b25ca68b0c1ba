// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * From what was found in a kernel's data to its manifest.
 *
 * Notes and .liveupdate_versions are in the manifest already and stay as they
 * are; what only the strings know is added. A kernel reads exactly the versions
 * that it has strings of. An empty manifest has to be sure: it says that the
 * kernel was built without KHO.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "files/versions_section.h"
#include "inspect/image/private.h"

#define STRINGS "version strings"
#define CONFIG "embedded configuration"

/* The strings, in the form of the section that could have had them. */
struct listed {
	struct kho_liveupdate_versions header;
	char strings[MAX_VERSIONS + 1][KHO_LIVEUPDATE_STRING_SIZE];
};

static bool is_named(const char *composite, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(composite, name, len) && composite[len] == '-' &&
	       composite[len + 1] == 'v';
}

/* What was not built may have left a string behind, in a shared file. */
static bool is_off(const struct config *config, const char *composite)
{
	bool luo = !strncmp(composite, "luo-", 4);
	bool memfd = is_named(composite, "memfd");

	return config->known &&
	       (config->kexec_handover != OPTION_ON ||
		((luo || memfd) && config->liveupdate != OPTION_ON) ||
		(memfd && config->liveupdate_memfd == OPTION_OFF));
}

/* reserve-mem is the format of what memblock's subtree consists of. */
static void join_memblock(struct finds *found)
{
	char *memblock = NULL, *reserve_mem = NULL;
	size_t i, len;

	for (i = 0; i < found->n; i++) {
		if (is_named(found->versions[i], "memblock"))
			memblock = found->versions[i];
		else if (is_named(found->versions[i], "reserve-mem"))
			reserve_mem = found->versions[i];
	}
	if (!memblock || !reserve_mem || strchr(memblock, ';'))
		return;
	len = strlen(memblock);
	if (len + strlen(reserve_mem) + 2 > KHO_LIVEUPDATE_STRING_SIZE)
		return;
	memblock[len] = ';';
	strcpy(memblock + len + 1, reserve_mem);
	reserve_mem[0] = '\0';
}

/* What no string says. */
static void add_flags(const struct kho_manifest *manifest, size_t source)
{
	static const struct {
		const char *name;
		uint32_t flag;
	} flags[] = {
		/* A kernel that cannot read it says so and goes on. */
		{ "kexec-metadata", KHO_COMPONENT_OPTIONAL },
		{ "memfd", KHO_COMPONENT_HANDLER },
	};
	struct kho_manifest_entry *entry;
	size_t i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		entry = manifest_lookup(manifest, flags[i].name);
		if (entry && entry->source == source)
			entry->desc.flags |= flags[i].flag;
	}
}

static int add_versions(struct image *image, const struct config *config)
{
	struct finds *found = &image->found;
	struct kho_manifest *manifest = image->collection.manifest;
	struct listed listed = { .header = { KHO_LIVEUPDATE_MAGIC,
					     KHO_LIVEUPDATE_VERSION } };
	size_t i, n = 0;
	int ret;

	join_memblock(found);
	for (i = 0; i < found->n; i++)
		if (found->versions[i][0] &&
		    !is_off(config, found->versions[i]))
			strcpy(listed.strings[n++], found->versions[i]);
	/* The only version that there is; the string does not say it. */
	if (n && found->metadata)
		strcpy(listed.strings[n++], "kexec-metadata-v1");
	ret = image_add_source(image, STRINGS);
	if (ret || !n)
		return ret;
	ret = versions_section_read(&image->collection, manifest->n_sources - 1,
				    &listed,
				    sizeof(listed.header) +
					    n * KHO_LIVEUPDATE_STRING_SIZE,
				    0);
	add_flags(manifest, manifest->n_sources - 1);
	return ret;
}

/* Something is on, but its version was not found. */
static int unknown_version(const struct image *image, const char *option,
			   const char *name)
{
	return image_fail(image, -EBADMSG,
			  "built with %s, but there is no %s version in it "
			  "that is known: damaged, or use a newer kho",
			  option, name);
}

static int conclude(struct image *image, const struct config *config)
{
	const struct kho_manifest *manifest = image->collection.manifest;
	bool kho = manifest_lookup(manifest, "kho");

	if (!kho && config->kexec_handover == OPTION_ON)
		return unknown_version(image, "CONFIG_KEXEC_HANDOVER", "kho");
	if (!kho && manifest->n)
		return image_fail(image, -EBADMSG,
				  "there is a version of %s in it, but none of "
				  "kho: damaged",
				  manifest->entries[0].desc.name);
	if (!kho) {
		strcpy(image->info->missing,
		       "was built without CONFIG_KEXEC_HANDOVER");
		return 0;
	}
	if (config->liveupdate == OPTION_ON &&
	    !manifest_lookup(manifest, "luo"))
		return unknown_version(image, "CONFIG_LIVEUPDATE", "luo");
	if (config->liveupdate_memfd == OPTION_ON &&
	    !manifest_lookup(manifest, "memfd"))
		return unknown_version(image, "CONFIG_LIVEUPDATE_MEMFD",
				       "memfd");
	return 0;
}

/* What decides together with the command line. */
static void add_settings(struct kho_image *info, const struct config *config)
{
	info->config = config->known;
	info->kho_on = config->kexec_handover_enable_default == OPTION_ON;
	strcpy(info->builtin, config->cmdline);
	if (config->cmdline_force == OPTION_ON ||
	    config->cmdline_override == OPTION_ON)
		info->builtin_use = KHO_BUILTIN_INSTEAD;
	else if (config->cmdline_from_bootloader == OPTION_ON)
		info->builtin_use = KHO_BUILTIN_OTHERWISE;
}

int learn(struct image *image)
{
	struct config config;
	int ret;

	if (!image->found.release[0])
		return image_fail(image, -ENOEXEC,
				  "no 'Linux version' in it: not a Linux "
				  "kernel, or damaged");
	strcpy(image->info->release, image->found.release);
	ret = config_read_embedded(image, &config);
	if (ret)
		return ret;
	add_settings(image->info, &config);
	if (config.known)
		ret = image_add_source(image, CONFIG);
	if (!ret)
		ret = add_versions(image, &config);
	if (!ret)
		ret = conclude(image, &config);
	return ret ? ret :
		     manifest_finish(image->collection.manifest, image->err);
}
