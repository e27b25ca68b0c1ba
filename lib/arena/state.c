// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Reading a root FDT, where every byte is hostile, and which composites are in a
 * state.
 *
 * Where the state tree says so, it counts. A Linux state says it only of its
 * root; what else is in there follows from the names of the subtrees and from
 * the versions that their blobs begin with. Such a version is monolithic and
 * stands for a bundle.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include <kho/abi/kexec_handover.h>
#include <kho/state.h>

#include "base/fdt.h"
#include "compat/bundle.h"

/* The first string of `compatible`; "" when there is no such property. */
static int read_compatible(const void *fdt, int node,
			   char buf[KHO_COMPOSITE_SIZE])
{
	int len;
	const char *prop = fdt_getprop(fdt, node, KHO_PROP_COMPATIBLE, &len);

	buf[0] = '\0';
	if (!prop)
		return 0;
	if (len <= 0 || strnlen(prop, (size_t)len) == (size_t)len ||
	    strlen(prop) >= KHO_COMPOSITE_SIZE)
		return -EBADMSG;
	strcpy(buf, prop);
	return 0;
}

static int read_subtree(const void *fdt, int node,
			struct kho_state_subtree *sub, struct kho_error *err)
{
	const char *name = fdt_get_name(fdt, node, NULL);

	if (!name || strlen(name) == 0 || strlen(name) >= sizeof(sub->name))
		return kho_fail(err, -EBADMSG,
				"state tree: a subtree's name has more than %zu characters",
				sizeof(sub->name) - 1);
	strcpy(sub->name, name);
	if (fdt_read_u64(fdt, node, KHO_FDT_SUBTREE_PHYS, &sub->phys) ||
	    fdt_read_u64(fdt, node, KHO_FDT_SUBTREE_SIZE, &sub->size))
		return kho_fail(err, -EBADMSG,
				"state tree: subtree %s has no %s or %s of 8 bytes",
				name, KHO_FDT_SUBTREE_PHYS,
				KHO_FDT_SUBTREE_SIZE);
	sub->optional = fdt_getprop(fdt, node, KHO_PROP_OPTIONAL, NULL);
	sub->carried = fdt_getprop(fdt, node, KHO_PROP_CARRIED, NULL);
	if (read_compatible(fdt, node, sub->compatible))
		return kho_fail(err, -EBADMSG,
				"state tree: subtree %s has a malformed %s",
				name, KHO_PROP_COMPATIBLE);
	return 0;
}

static int read_fdt(const void *fdt, struct kho_state **state,
		    struct kho_error *err)
{
	struct kho_state *s;
	size_t n = 0;
	int node, ret;

	fdt_for_each_subnode(node, fdt, 0)
		n++;
	s = calloc(1, sizeof(*s) + n * sizeof(s->subtrees[0]));
	if (!s)
		return kho_fail(err, -ENOMEM, "state tree: out of memory");
	ret = read_compatible(fdt, 0, s->compatible);
	if (ret || !s->compatible[0]) {
		ret = kho_fail(err, -EBADMSG,
			       "state tree: the root has no %s, or a malformed one",
			       KHO_PROP_COMPATIBLE);
		goto fail;
	}
	/* Linux leaves the property out as long as nothing is preserved. */
	if (fdt_getprop(fdt, 0, KHO_FDT_MEMORY_MAP, NULL)) {
		ret = fdt_read_u64(fdt, 0, KHO_FDT_MEMORY_MAP, &s->tracker);
		if (ret) {
			kho_fail(err, ret, "state tree: %s is not 8 bytes",
				 KHO_FDT_MEMORY_MAP);
			goto fail;
		}
	}
	fdt_for_each_subnode(node, fdt, 0) {
		ret = read_subtree(fdt, node, &s->subtrees[s->n], err);
		if (ret)
			goto fail;
		for (size_t i = 0; i < s->n; i++) {
			if (strcmp(s->subtrees[i].name, s->subtrees[s->n].name))
				continue;
			ret = kho_fail(err, -EBADMSG,
				       "state tree: subtree %s is there twice",
				       s->subtrees[i].name);
			goto fail;
		}
		s->n++;
	}
	*state = s;
	return 0;
fail:
	free(s);
	return ret;
}

int kho_state_read(const struct kho_mem *mem, uint64_t fdt, uint64_t size,
		   struct kho_state **state, struct kho_error *err)
{
	const struct reader r = { "state tree", mem, err };
	void *copy;
	int ret = fdt_read(&r, fdt, size, "root FDT", &copy);

	if (ret)
		return ret;
	ret = read_fdt(copy, state, err);
	free(copy);
	return ret;
}

void kho_state_free(struct kho_state *state)
{
	free(state);
}

/* ---- What is in it ---- */

/* Of LUO's blob, a string that is padded with NULs. */
#define LUO_COMPATIBLE_SIZE 8

static int bad_blob(const struct kho_state_subtree *sub, int code,
		    const char *why, struct kho_error *err)
{
	return kho_fail(err, code, "state tree: blob of %s: %s", sub->name,
			why);
}

static int read_blob(const struct kho_mem *mem,
		     const struct kho_state_subtree *sub, void *buf, size_t len,
		     struct kho_error *err)
{
	if (sub->size < len)
		return bad_blob(sub, -EBADMSG, "too short for its version",
				err);
	if (kho_mem_read(mem, sub->phys, buf, len))
		return bad_blob(sub, -EFAULT, "outside of the memory", err);
	return 0;
}

/* What a version that stands there alone is. */
static void set_used(struct kho_used *used, struct kho_token token)
{
	const struct bundle *bundle = bundle_find(token.name, token.version);

	if (bundle)
		kho_composite_parse(bundle->composite, &used->composite, NULL);
	else
		used->composite = (struct kho_composite){ 1, { token } };
}

/* @text: a token of the component @name, terminated. */
static int set_token(struct kho_used *used, const struct kho_state_subtree *sub,
		     const char *name, const char *text, struct kho_error *err)
{
	struct kho_token token;
	struct kho_error why;

	if (kho_token_parse(text, strlen(text), &token, &why))
		return bad_blob(sub, -EBADMSG, why.text, err);
	if (strcmp(token.name, name) != 0)
		return bad_blob(sub, -EBADMSG,
				"its version is of something else", err);
	set_used(used, token);
	return 0;
}

static int read_luo(const struct kho_mem *mem,
		    const struct kho_state_subtree *sub, struct kho_used *used,
		    struct kho_error *err)
{
	char text[LUO_COMPATIBLE_SIZE];
	int ret = read_blob(mem, sub, text, sizeof(text), err);

	if (ret)
		return ret;
	if (text[sizeof(text) - 1])
		return bad_blob(sub, -EBADMSG, "its version is not terminated",
				err);
	return set_token(used, sub, "luo", text, err);
}

static int read_memblock(const struct kho_mem *mem,
			 const struct kho_state_subtree *sub,
			 struct kho_used *used, struct kho_error *err)
{
	const struct reader r = { "state tree: blob of memblock", mem, err };
	const char *text;
	void *fdt;
	int len, ret = fdt_read(&r, sub->phys, sub->size, "FDT", &fdt);

	if (ret)
		return ret;
	text = fdt_getprop(fdt, 0, KHO_PROP_COMPATIBLE, &len);
	if (!text || len <= 0 || strnlen(text, (size_t)len) == (size_t)len)
		ret = bad_blob(sub, -EBADMSG, "an FDT without its version",
			       err);
	else
		ret = set_token(used, sub, "memblock", text, err);
	free(fdt);
	return ret;
}

static int read_kexec_metadata(const struct kho_mem *mem,
			       const struct kho_state_subtree *sub,
			       struct kho_used *used, struct kho_error *err)
{
	struct kho_token token = { .name = "kexec-metadata" };
	int ret =
		read_blob(mem, sub, &token.version, sizeof(token.version), err);

	if (ret)
		return ret;
	/* Nobody depends on it: a page of zeros is no reason to stop here. */
	if (token.version)
		set_used(used, token);
	return 0;
}

/* The subtrees of Linux: what their blobs say. */
static const struct {
	const char *name;
	int (*read)(const struct kho_mem *mem,
		    const struct kho_state_subtree *sub, struct kho_used *used,
		    struct kho_error *err);
} linux_subtrees[] = {
	{ "LUO", read_luo },
	{ "memblock", read_memblock },
	{ "kexec-metadata", read_kexec_metadata },
};

#define N_LINUX (sizeof(linux_subtrees) / sizeof(linux_subtrees[0]))

static int parse_compatible(struct kho_composite *composite, const char *owner,
			    const char *compatible, struct kho_error *err)
{
	struct kho_error why;

	if (kho_composite_parse(compatible, composite, &why))
		return kho_fail(err, -EBADMSG, "state tree: %s of %s: %s",
				KHO_PROP_COMPATIBLE, owner, why.text);
	return 0;
}

static int use_root(const struct kho_state *state, struct kho_used *used,
		    struct kho_error *err)
{
	struct kho_composite *c = &used->composite;

	strcpy(used->owner, "/");
	if (parse_compatible(c, used->owner, state->compatible, err))
		return -EBADMSG;
	if (c->n == 1)
		set_used(used, c->tokens[0]);
	return 0;
}

static int use_subtree(const struct kho_mem *mem,
		       const struct kho_state_subtree *sub,
		       struct kho_used *used, struct kho_error *err)
{
	size_t i;

	strcpy(used->owner, sub->name);
	used->optional = sub->optional;
	used->carried = sub->carried;
	if (sub->compatible[0])
		return parse_compatible(&used->composite, sub->name,
					sub->compatible, err);
	for (i = 0; i < N_LINUX; i++)
		if (!strcmp(sub->name, linux_subtrees[i].name))
			return linux_subtrees[i].read(mem, sub, used, err);
	return 0;
}

int kho_state_used(const struct kho_mem *mem, const struct kho_state *state,
		   struct kho_used **used, size_t *n, struct kho_error *err)
{
	struct kho_used *u = calloc(state->n + 1, sizeof(*u));
	size_t i;
	int ret;

	if (!u)
		return kho_fail(err, -ENOMEM, "state tree: out of memory");
	ret = use_root(state, &u[0], err);
	for (i = 0; !ret && i < state->n; i++)
		ret = use_subtree(mem, &state->subtrees[i], &u[i + 1], err);
	if (ret) {
		free(u);
		return ret;
	}
	*used = u;
	*n = state->n + 1;
	return 0;
}

void kho_used_free(struct kho_used *used)
{
	free(used);
}
