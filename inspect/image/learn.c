// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * From what was found in a kernel's data to its manifest.
 *
 * Notes and .liveupdate_versions are in the manifest already and stay as they
 * are: they promise something. A string is only a guess. That it is the one
 * which the kernel writes and compares with is certain as long as there is one
 * version of the component, nothing contradicts it, and it is the kernel's own;
 * everything else is "cannot tell". So is an empty manifest of a kernel which
 * may have KHO all the same: it has to be sure that it was built without.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compat/bundle.h"
#include "compat/closure.h"
#include "compat/report.h"
#include "inspect/image/private.h"

#define CONFIG "embedded configuration"
#define PROMISE KHO_NOTE_SECTION " or " KHO_LIVEUPDATE_SECTION

static bool is_named(const char *composite, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(composite, name, len) && composite[len] == '-' &&
	       composite[len + 1] == 'v';
}

/* The options that a string's component needs, but for the last an old kernel. */
static bool is_on(const struct image *image, const struct config *config,
		  const char *string, int *ret)
{
	bool memfd = is_named(string, "memfd");
	bool luo = memfd || !strncmp(string, "luo-", 4);
	bool absent = config->kexec_handover == OPTION_ABSENT;

	*ret = 0;
	if (!config->known)
		return true;
	/* What was not built may have left a string behind, in a shared file. */
	if (config->kexec_handover == OPTION_OFF ||
	    (luo && config->liveupdate == OPTION_OFF) ||
	    (memfd && config->liveupdate_memfd == OPTION_OFF))
		return false;
	if (absent || (luo && config->liveupdate == OPTION_ABSENT))
		*ret = image_fail(image, -EBADMSG,
				  "cannot tell: '%.47s' is in it, but its "
				  "configuration does not have %s",
				  string,
				  absent ? "CONFIG_KEXEC_HANDOVER" :
					   "CONFIG_LIVEUPDATE");
	return true;
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
	if (len + strlen(reserve_mem) + 2 > VERSION_SIZE)
		return;
	memblock[len] = ';';
	strcpy(memblock + len + 1, reserve_mem);
	reserve_mem[0] = '\0';
}

static int contradicts(const struct image *image,
		       const struct kho_manifest_entry *entry,
		       const char *string, const struct kho_token *token)
{
	return image_fail(image, -EBADMSG,
			  "cannot tell which version of %s it reads: it has "
			  "v%u (in '%.47s') and %s, and only " PROMISE
			  " can promise more than one",
			  token->name, token->version, string,
			  range_text(&entry->desc.read).text);
}

/* A token of a string; nothing is added of a bundle's, which only must fit. */
static int see(struct image *image, const char *string,
	       const struct kho_token *token, size_t source, bool add)
{
	struct kho_manifest *manifest = image->collection.manifest;
	const struct kho_range version = { token->version, token->version };
	const struct kho_manifest_entry *entry =
		manifest_lookup(manifest, token->name);
	struct kho_component_desc desc = {
		/* Until it is a base. */
		.flags = KHO_COMPONENT_STRUCTURE,
		.write = version,
		.read = version,
	};

	if (entry && !in_range(&entry->desc.read, token->version))
		return contradicts(image, entry, string, token);
	if (entry || !add)
		return 0;
	strcpy(desc.name, token->name);
	return collect(&image->collection, &desc, 0, source, 0);
}

/* A bundle stands for what it does, whatever else the kernel says. */
static int add_string(struct image *image, const char *string, size_t source,
		      bool bundles)
{
	const struct bundle *bundle = bundle_find_token(string);
	struct kho_manifest_entry *base;
	char name[KHO_TOKEN_NAME_SIZE];
	struct kho_composite c;
	struct kho_error why;
	int ret = 0;
	size_t i;

	snprintf(name, sizeof(name), "%.*s",
		 (int)(strstr(string, "-v") - string), string);
	base = manifest_lookup(image->collection.manifest, name);
	/* A note or a section knows better. */
	if ((base && base->source != source) || (bundles && !bundle))
		return 0;
	if (kho_composite_parse(bundles ? bundle->composite : string, &c, &why))
		return image_fail(image, -EBADMSG,
				  "cannot tell: '%.47s' is in it, which is no "
				  "version that is known (%s): use a newer kho",
				  string, why.text);
	/* That of "luo-vfio-v1" is another one. */
	if (strcmp(c.tokens[0].name, name) != 0)
		return 0;
	for (i = 0; !ret && i < c.n; i++)
		ret = see(image, string, &c.tokens[i], source, !bundles);
	if (ret || bundles)
		return ret;
	base = manifest_lookup(image->collection.manifest, name);
	base->desc.flags = is_named(string, "memfd") ? KHO_COMPONENT_HANDLER :
						       0;
	for (i = 1; !ret && i < c.n; i++)
		if (!desc_add_dep(&base->desc, c.tokens[i].name))
			ret = image_fail(image, -EBADMSG,
					 "cannot tell: '%.47s' is in it, which "
					 "has more than %d dependencies",
					 string, KHO_DEPS_MAX);
	return ret;
}

static int add_metadata(struct image *image, size_t source)
{
	/* The only version that there is; the string does not say it. */
	static const struct kho_component_desc metadata = {
		.name = "kexec-metadata",
		/* A kernel that cannot read it says so and goes on. */
		.flags = KHO_COMPONENT_OPTIONAL,
		.write = { 1, 1 },
		.read = { 1, 1 },
	};

	return image->found.metadata ?
		       collect(&image->collection, &metadata, 0, source, 0) :
		       0;
}

static int add_versions(struct image *image, const struct config *config)
{
	struct finds *found = &image->found;
	const struct kho_manifest *manifest = image->collection.manifest;
	size_t i, n = 0, source = manifest->n_sources, before = manifest->n;
	int ret = image_add_source(image, MANIFEST_STRINGS);

	join_memblock(found);
	for (i = 0; !ret && i < found->n; i++) {
		char *string = found->versions[i];

		if (!string[0] || !is_on(image, config, string, &ret))
			string[0] = '\0';
		else if (!ret && ++n)
			ret = add_string(image, string, source, false);
	}
	/* When all is known that there is. */
	for (i = 0; !ret && i < found->n; i++)
		if (found->versions[i][0])
			ret = add_string(image, found->versions[i], source,
					 true);
	if (!ret && n)
		ret = add_metadata(image, source);
	if (!ret && manifest->n > before && found->initramfs)
		ret = image_fail(image, -EBADMSG,
				 "cannot tell: files of an initramfs are in it, "
				 "which may have the versions that were found: "
				 "name its vmlinux");
	return ret;
}

/* Something is there, but its version was not found. */
static int unknown_version(const struct image *image, const char *why,
			   const char *name)
{
	return image_fail(image, -EBADMSG,
			  "cannot tell: it %s, but there is no %s version in it "
			  "that is known: use a newer kho",
			  why, name);
}

static int conclude(struct image *image, const struct config *config)
{
	const struct kho_manifest *manifest = image->collection.manifest;
	const struct kho_manifest_entry *kho = manifest_lookup(manifest, "kho");
	bool luo = manifest_lookup(manifest, "luo");
	/* A promise is all that there is. */
	bool guessed = kho && kho->source == manifest->n_sources - 1;

	if (!kho && config->kexec_handover == OPTION_ON)
		return unknown_version(image,
				       "was built with CONFIG_KEXEC_HANDOVER",
				       "kho");
	if (!kho && config->kexec_handover != OPTION_OFF &&
	    (image->found.kho || image->found.metadata))
		return unknown_version(image, "knows KHO's state tree", "kho");
	if (!kho && manifest->n)
		return unknown_version(image, "has other versions", "kho");
	if (!kho) {
		strcpy(image->info->missing,
		       "was built without CONFIG_KEXEC_HANDOVER");
		return 0;
	}
	if (!luo && config->liveupdate == OPTION_ON)
		return unknown_version(image,
				       "was built with CONFIG_LIVEUPDATE",
				       "luo");
	if (!luo && config->liveupdate != OPTION_OFF && guessed &&
	    image->found.luo)
		return unknown_version(image, "knows /dev/liveupdate", "luo");
	if (manifest_lookup(manifest, "memfd"))
		return 0;
	if (config->liveupdate_memfd == OPTION_ON)
		return unknown_version(image,
				       "was built with CONFIG_LIVEUPDATE_MEMFD",
				       "memfd");
	if (luo && guessed && !config->known)
		return unknown_version(image, "has LUO and no configuration",
				       "memfd");
	return 0;
}

/* What decides together with the command line. */
static void add_settings(struct kho_image *info, const struct config *config)
{
	/* A bootconfig's text, which is not known, may say it too. */
	info->config = config->known &&
		       config->cmdline_from_bootconfig != OPTION_ON;
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
				  "kernel, or none that is known");
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
