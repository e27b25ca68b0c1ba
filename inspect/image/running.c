// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The kernel that runs. No single place says all of it:
 *
 * - its image has all versions, if it is still there and still the same;
 * - the state tree that it would hand over (debugfs, for root) has the versions
 *   that it really writes, but not those of file handlers: these come in when
 *   the kexec begins;
 * - its configuration says whether there is KHO at all, and its command line
 *   whether it was switched on.
 */
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/abi/kexec_handover.h>

#include "base/fdt.h"
#include "compat/closure.h"
#include "inspect/image/private.h"

#define DEBUGFS "/sys/kernel/debug/kho/out/"
#define CMDLINE "/proc/cmdline"

/* The root FDT and the subtrees are a page or a few; no limit is known. */
#define MAX_BLOB (1u << 20)
#define MAX_TOKENS 64

/* Around the release. */
struct place {
	const char *before;
	const char *after;
};

static const struct place images[] = {
	{ "/boot/vmlinuz-", "" },
	{ "/usr/lib/modules/", "/vmlinuz" },
	{ "/lib/modules/", "/vmlinuz" },
	{ "/boot/vmlinux-", "" },
};
static const struct place configs[] = {
	{ "/boot/config-", "" },
	{ "/usr/lib/modules/", "/config" },
	{ "/lib/modules/", "/config" },
};

#define N_IMAGES (sizeof(images) / sizeof(images[0]))
#define N_CONFIGS (sizeof(configs) / sizeof(configs[0]))

/**
 * struct running - what was learnt so far
 * @root: prefix of all paths
 * @release: of the kernel
 * @config: its configuration
 * @config_path: where that is from; empty: nowhere
 * @cmdline: its command line could be read
 * @kho: whether it is switched on; OPTION_ABSENT: not known
 * @luo: the same
 * @tree: there is a state tree
 * @n_tokens: how many tokens are in that
 * @tokens: them
 * @manifest: of the image; NULL: there is no image
 * @err: why it fails
 */
struct running {
	const char *root;
	char release[66];
	struct config config;
	char config_path[PATH_MAX];
	bool cmdline;
	enum option kho;
	enum option luo;
	bool tree;
	size_t n_tokens;
	struct kho_token tokens[MAX_TOKENS];
	struct kho_manifest *manifest;
	struct kho_error *err;
};

static int no_memory(struct running *r)
{
	return kho_fail(r->err, -ENOMEM, "out of memory");
}

static int cannot_read(struct running *r, const char *path, int ret)
{
	return ret == -ENOMEM ?
		       no_memory(r) :
		       kho_fail(r->err, ret, "%s: %s", path, strerror(-ret));
}

/* A file below the root, whose path goes to @path: the fd, or a negative errno. */
static int open_file(const struct running *r, char path[PATH_MAX],
		     const char *name, const char *rest)
{
	int fd;

	snprintf(path, PATH_MAX, "%s%s%s", r->root, name, rest);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* The first of some places that there is: the fd; -ENOENT. */
static int open_place(const struct running *r, char path[PATH_MAX],
		      const struct place *places, size_t n)
{
	char name[PATH_MAX];
	int fd = -ENOENT;
	size_t i;

	for (i = 0; fd < 0 && i < n; i++) {
		snprintf(name, sizeof(name), "%s%s%s", places[i].before,
			 r->release, places[i].after);
		fd = open_file(r, path, name, "");
	}
	return fd;
}

/* All of a small file, to free(): 0 or a negative errno. */
static int read_file(int fd, char **bytes, size_t *len)
{
	size_t room = 0;
	ssize_t n = 1;

	*bytes = NULL;
	for (*len = 0; n > 0; *len += (size_t)n) {
		if (*len + 1 >= room) {
			char *more;

			room = room ? 2 * room : 4096;
			more = room <= 2 * MAX_BLOB ? realloc(*bytes, room) :
						      NULL;
			if (!more)
				break;
			*bytes = more;
		}
		n = read(fd, *bytes + *len, room - *len - 1);
		if (n < 0)
			break;
	}
	if (!n) {
		(*bytes)[*len] = '\0';
		return 0;
	}
	n = n < 0 ? -errno : *len >= MAX_BLOB ? -EFBIG : -ENOMEM;
	free(*bytes);
	*bytes = NULL;
	return (int)n;
}

static int read_release(struct running *r)
{
	char path[PATH_MAX], *text = NULL;
	int fd = open_file(r, path, "/proc/sys/kernel/osrelease", "");
	size_t len;
	int ret = fd < 0 ? fd : read_file(fd, &text, &len);

	if (fd >= 0)
		close(fd);
	if (ret)
		return cannot_read(r, path, ret);
	copy_text(r->release, sizeof(r->release), text, len);
	free(text);
	/* It becomes a part of paths. */
	if (!r->release[0] || strchr(r->release, '/'))
		return kho_fail(r->err, -EBADMSG, "%s: not a release", path);
	return 0;
}

static int read_config(struct running *r)
{
	struct image image = { .path = r->config_path, .err = r->err };
	int fd = open_file(r, r->config_path, "/proc/config.gz", "");
	int ret;

	if (fd < 0)
		fd = open_place(r, r->config_path, configs, N_CONFIGS);
	if (fd < 0) {
		r->config_path[0] = '\0';
		return 0;
	}
	ret = config_read_file(&image, fd, &r->config);
	close(fd);
	return ret;
}

/* In words of struct running. */
static enum option setting_of(const char *cmdline, const char *name)
{
	struct kho_cmdline_switch said;

	kho_cmdline_switch(cmdline, name, &said);
	return said.setting == KHO_SETTING_ON  ? OPTION_ON :
	       said.setting == KHO_SETTING_OFF ? OPTION_OFF :
						 OPTION_ABSENT;
}

static int read_cmdline(struct running *r)
{
	char path[PATH_MAX], *text = NULL;
	int fd = open_file(r, path, CMDLINE, "");
	size_t len;
	int ret = fd < 0 ? 0 : read_file(fd, &text, &len);

	if (fd >= 0)
		close(fd);
	if (ret)
		return cannot_read(r, path, ret);
	if (!text)
		return 0;
	r->cmdline = true;
	r->kho = setting_of(text, "kho");
	r->luo = setting_of(text, "liveupdate") == OPTION_ON ? OPTION_ON :
							       OPTION_OFF;
	free(text);
	return 0;
}

static int add_token(struct running *r, const char *path,
		     const struct kho_token *token)
{
	size_t i;

	for (i = 0; i < r->n_tokens; i++) {
		if (strcmp(r->tokens[i].name, token->name) != 0)
			continue;
		if (r->tokens[i].version == token->version)
			return 0;
		return kho_fail(r->err, -EBADMSG, "%s: has %s-v%u and %s-v%u",
				path, token->name, token->version, token->name,
				r->tokens[i].version);
	}
	if (r->n_tokens == MAX_TOKENS)
		return kho_fail(r->err, -EBADMSG, "%s: too many components",
				path);
	r->tokens[r->n_tokens++] = *token;
	return 0;
}

/* Of at most @max bytes, with a NUL in them. */
static int add_composite(struct running *r, const char *path, const char *text,
			 size_t max)
{
	struct kho_composite composite;
	struct kho_error why;
	size_t i;
	int ret = 0;

	if (!memchr(text, '\0', max))
		return kho_fail(r->err, -EBADMSG,
				"%s: no terminated version string", path);
	if (kho_composite_parse(text, &composite, &why))
		return kho_fail(r->err, -EBADMSG, "%s: %s", path, why.text);
	for (i = 0; !ret && i < composite.n; i++)
		ret = add_token(r, path, &composite.tokens[i]);
	return ret;
}

/* The compatible of a node; 1: it has none. */
static int add_node(struct running *r, const char *path, const void *fdt,
		    int node)
{
	int len;
	const char *text = fdt_getprop(fdt, node, KHO_PROP_COMPATIBLE, &len);

	return text ? add_composite(r, path, text, (size_t)len) : 1;
}

/*
 * An FDT: what it is, and what the nodes in it are. A node that does not say it
 * is @other's, or, when that is NULL, of no interest.
 */
static int add_fdt(struct running *r, const char *path, const void *fdt,
		   size_t len,
		   int (*other)(struct running *r, const char *name))
{
	int node, ret = fdt_check(fdt, len);

	if (ret)
		return kho_fail(r->err, -EBADMSG, "%s: %s", path,
				fdt_strerror(ret));
	ret = add_node(r, path, fdt, 0);
	if (ret > 0)
		return kho_fail(r->err, -EBADMSG, "%s: does not say what it is",
				path);
	fdt_for_each_subnode(node, fdt, 0) {
		if (ret < 0)
			break;
		ret = add_node(r, path, fdt, node);
		if (ret > 0)
			ret = other ? other(r, fdt_get_name(fdt, node, NULL)) :
				      0;
	}
	return ret;
}

static int add_blob(struct running *r, const char *path, const char *name,
		    const char *blob, size_t len)
{
	struct kho_token metadata = { .name = "kexec-metadata" };

	if (len >= sizeof(struct fdt_header) && fdt_magic(blob) == FDT_MAGIC)
		return add_fdt(r, path, blob, len, NULL);
	if (!strcmp(name, metadata.name) && len >= sizeof(uint32_t)) {
		metadata.version = get_u32(blob);
		return metadata.version ? add_token(r, path, &metadata) :
					  kho_fail(r->err, -EBADMSG,
						   "%s: version 0", path);
	}
	/* What else there is begins with its version string. */
	return add_composite(r, path, blob, len < 48 ? len : 48);
}

/* A subtree that does not say itself what it is: its blob does. */
static int read_subtree(struct running *r, const char *name)
{
	char path[PATH_MAX], *blob = NULL;
	size_t len;
	int fd, ret;

	if (strchr(name, '/'))
		return kho_fail(r->err, -EBADMSG,
				"the running kernel's subtree '%s' has no name "
				"of a file",
				name);
	fd = open_file(r, path, DEBUGFS "sub_fdts/", name);
	ret = fd < 0 ? fd : read_file(fd, &blob, &len);
	if (fd >= 0)
		close(fd);
	ret = ret ? cannot_read(r, path, ret) :
		    add_blob(r, path, name, blob, len);
	free(blob);
	return ret;
}

static bool has_token(const struct running *r, const char *name)
{
	size_t i;

	for (i = 0; i < r->n_tokens; i++)
		if (!strcmp(r->tokens[i].name, name))
			return true;
	return false;
}

/*
 * debugfs shows the root FDT in the size that it had at boot; what was added
 * since has moved its strings, which come last, out of sight. There are only
 * these, in this order: put back what is missing. When more than that is out of
 * sight, it stays too short.
 */
static int complete_strings(char **fdt, size_t *len)
{
	static const char strings[] = KHO_FDT_MEMORY_MAP
		"\0" KHO_PROP_COMPATIBLE "\0" KHO_FDT_SUBTREE_PHYS
		"\0" KHO_FDT_SUBTREE_SIZE;
	size_t start, total;
	char *whole;

	if (*len < sizeof(struct fdt_header) || fdt_magic(*fdt) != FDT_MAGIC)
		return 0;
	start = fdt_off_dt_strings(*fdt);
	total = start + sizeof(strings);
	if (fdt_size_dt_strings(*fdt) != sizeof(strings) || start > *len ||
	    total <= *len || fdt_totalsize(*fdt) != total ||
	    memcmp(*fdt + start, strings, *len - start) != 0)
		return 0;
	whole = realloc(*fdt, total);
	if (!whole)
		return -ENOMEM;
	memcpy(whole + start, strings, sizeof(strings));
	*fdt = whole;
	*len = total;
	return 0;
}

static bool is_cut(const char *fdt, size_t len)
{
	return len >= sizeof(struct fdt_header) &&
	       fdt_magic(fdt) == FDT_MAGIC && fdt_totalsize(fdt) > len;
}

static int read_tree(struct running *r)
{
	char path[PATH_MAX], *fdt = NULL;
	int fd = open_file(r, path, DEBUGFS "fdt", "");
	size_t len;
	int ret;

	/* Not root, no debugfs, switched off: the other places have to do. */
	if (fd < 0)
		return 0;
	ret = read_file(fd, &fdt, &len);
	close(fd);
	if (!ret)
		ret = complete_strings(&fdt, &len);
	if (ret) {
		free(fdt);
		return cannot_read(r, path, ret);
	}
	if (is_cut(fdt, len)) {
		free(fdt);
		return 0;
	}
	ret = add_fdt(r, path, fdt, len, read_subtree);
	free(fdt);
	r->tree = true;
	r->kho = OPTION_ON;
	r->luo = has_token(r, "luo") ? OPTION_ON : OPTION_OFF;
	return ret;
}

static int read_image(struct running *r)
{
	char path[PATH_MAX];
	int fd = open_place(r, path, images, N_IMAGES);
	int ret;

	if (fd < 0)
		return 0;
	ret = image_read(fd, path, &r->manifest, r->err);
	close(fd);
	if (ret)
		return ret;
	if (strcmp(r->manifest->image->release, r->release) != 0)
		return kho_fail(r->err, -EBADMSG,
				"%s: is Linux %s, but Linux %s is running",
				path, r->manifest->image->release, r->release);
	return 0;
}

static int add_source(struct running *r, const char *path, size_t *source)
{
	if (source)
		*source = r->manifest->n_sources;
	return manifest_add_source(r->manifest, path) ? no_memory(r) : 0;
}

/* The running kernel is right, but it must be the same as the image. */
static int merge_tree(struct running *r)
{
	struct kho_manifest *m = r->manifest;
	char path[PATH_MAX];
	size_t i, source;
	int ret;

	snprintf(path, sizeof(path), "%s" DEBUGFS "fdt", r->root);
	ret = add_source(r, path, &source);
	for (i = 0; !ret && i < r->n_tokens; i++) {
		const struct kho_token *token = &r->tokens[i];
		struct kho_manifest_entry *entry =
			manifest_lookup(m, token->name);

		if (!entry || !in_range(&entry->desc.write, token->version))
			return kho_fail(r->err, -EBADMSG,
					"%s: not the image of the running "
					"kernel, which writes %s-v%u: install "
					"the image again, or reboot",
					m->target, token->name, token->version);
		entry->source = source;
	}
	return ret;
}

/* There is only the tree. */
static int make_from_tree(struct running *r)
{
	char path[PATH_MAX];
	size_t i;
	int ret;

	snprintf(path, sizeof(path), "%s" DEBUGFS "fdt", r->root);
	ret = add_source(r, path, NULL);
	for (i = 0; !ret && i < r->n_tokens; i++) {
		const struct kho_token *token = &r->tokens[i];
		struct kho_component_desc desc = {
			.write = { token->version, token->version },
			.read = { token->version, token->version },
		};

		strcpy(desc.name, token->name);
		if (!strcmp(desc.name, "kexec-metadata"))
			desc.flags = KHO_COMPONENT_OPTIONAL;
		if (manifest_append(r->manifest, &desc, 0))
			ret = no_memory(r);
	}
	return ret ? ret : manifest_finish(r->manifest, r->err);
}

static int make_manifest(struct running *r)
{
	r->manifest = manifest_new("running");
	if (r->manifest)
		r->manifest->image = calloc(1, sizeof(*r->manifest->image));
	if (!r->manifest || !r->manifest->image)
		return no_memory(r);
	strcpy(r->manifest->image->release, r->release);
	return 0;
}

static int make_missing(struct running *r, const char *why)
{
	r->manifest->n = 0;
	strcpy(r->manifest->image->missing, why);
	return r->config_path[0] ? add_source(r, r->config_path, NULL) : 0;
}

static int make_switched_off(struct running *r)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s" CMDLINE, r->root);
	if (add_source(r, path, NULL))
		return -ENOMEM;
	return make_missing(r, "has KHO switched off: boot it with kho=on");
}

/* What needs LUO is not handed over without. */
static void drop_luo(struct kho_manifest *m)
{
	size_t i, n = 0;

	for (i = 0; i < m->n; i++) {
		const char *name = m->entries[i].desc.name;

		if (strcmp(name, "luo") != 0 && strncmp(name, "luo-", 4) != 0 &&
		    strcmp(name, "memfd") != 0)
			m->entries[n++] = m->entries[i];
	}
	m->n = n;
}

static int cannot_tell(struct running *r, const char *why)
{
	return kho_fail(r->err, -ENODATA,
			"running: cannot tell what Linux %s understands: %s; "
			"its image was looked for as %s/boot/vmlinuz-%s and "
			"%s/usr/lib/modules/%s/vmlinuz",
			r->release, why, r->root, r->release, r->root,
			r->release);
}

static int combine_without_image(struct running *r)
{
	const struct config *config = &r->config;
	bool built = config->known && config->kexec_handover == OPTION_ON;
	int ret;

	/* A handler's version is nowhere else; an old kernel has no such option. */
	if (r->tree && r->luo == OPTION_ON &&
	    config->liveupdate_memfd != OPTION_OFF)
		return cannot_tell(r,
				   "only its image has the version of memfd");
	if (!r->tree && !(config->known && !built) &&
	    !(built && r->kho == OPTION_OFF))
		return cannot_tell(r, "neither its image nor, as root, " DEBUGFS
				      "fdt can be read");
	ret = make_manifest(r);
	if (!ret && r->tree)
		return make_from_tree(r);
	if (!ret)
		ret = built ? make_switched_off(r) :
			      make_missing(r, "was built without "
					      "CONFIG_KEXEC_HANDOVER");
	return ret;
}

/* When its command line does not say whether KHO is on. */
static void read_default(struct running *r)
{
	const struct kho_image *image = r->manifest ? r->manifest->image : NULL;
	bool on = r->config.kexec_handover_enable_default == OPTION_ON;

	if (r->kho || !r->cmdline)
		return;
	if (r->config.known)
		r->kho = on ? OPTION_ON : OPTION_OFF;
	else if (image && image->config)
		r->kho = image->kho_on ? OPTION_ON : OPTION_OFF;
}

static int combine(struct running *r)
{
	int ret = 0;

	read_default(r);
	if (!r->manifest)
		return combine_without_image(r);
	if (r->tree)
		ret = merge_tree(r);
	else if (!r->manifest->image->missing[0] && r->kho == OPTION_OFF)
		ret = make_switched_off(r);
	else if (!r->manifest->image->missing[0] && !r->kho)
		ret = kho_fail(r->err, -ENODATA,
			       "running: cannot tell whether its KHO is on: "
			       "neither its command line nor its configuration "
			       "says it, and only root can look into %s" DEBUGFS
			       "fdt",
			       r->root);
	if (!ret && r->luo == OPTION_OFF)
		drop_luo(r->manifest);
	free(r->manifest->target);
	r->manifest->target = strdup("running");
	if (!ret && !r->manifest->target)
		ret = no_memory(r);
	return ret;
}

int kho_manifest_running(const char *root, struct kho_manifest **manifest,
			 struct kho_error *err)
{
	struct running *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return kho_fail(err, -ENOMEM, "out of memory");
	r->root = root ? root : "";
	r->err = err;
	ret = read_release(r);
	if (!ret)
		ret = read_config(r);
	if (!ret)
		ret = read_cmdline(r);
	if (!ret)
		ret = read_tree(r);
	if (!ret)
		ret = read_image(r);
	if (!ret)
		ret = combine(r);
	if (ret)
		kho_manifest_free(r->manifest);
	else
		*manifest = r->manifest;
	free(r);
	return ret;
}
