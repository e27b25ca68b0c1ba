// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading a root FDT, where every byte is hostile. */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include <kho/abi/kexec_handover.h>
#include <kho/state.h>

/* No root FDT is larger: some thousand subtrees. */
#define FDT_SIZE_MAX (1u << 20)

/* A property that is eight raw bytes, only 4-byte aligned. */
static int read_u64(const void *fdt, int node, const char *name, uint64_t *val)
{
	int len;
	const void *prop = fdt_getprop(fdt, node, name, &len);

	if (!prop || len != sizeof(*val))
		return -EBADMSG;
	memcpy(val, prop, sizeof(*val));
	return 0;
}

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
	if (read_u64(fdt, node, KHO_FDT_SUBTREE_PHYS, &sub->phys) ||
	    read_u64(fdt, node, KHO_FDT_SUBTREE_SIZE, &sub->size))
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
		ret = read_u64(fdt, 0, KHO_FDT_MEMORY_MAP, &s->tracker);
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
	void *copy;
	int ret;

	if (size < sizeof(struct fdt_header) || size > FDT_SIZE_MAX)
		return kho_fail(err, -EBADMSG,
				"state tree: a root FDT of %llu bytes cannot be",
				(unsigned long long)size);
	copy = malloc(size);
	if (!copy)
		return kho_fail(err, -ENOMEM, "state tree: out of memory");
	ret = kho_mem_read(mem, fdt, copy, size);
	if (ret) {
		kho_fail(err, ret,
			 "state tree: the root FDT at %#llx is outside the memory",
			 (unsigned long long)fdt);
		goto out;
	}
	/* libfdt 1.6 follows a NULL in an FDT of a version before 16. */
	ret = fdt_magic(copy) != FDT_MAGIC ? -FDT_ERR_BADMAGIC :
	      fdt_version(copy) < 17	   ? -FDT_ERR_BADVERSION :
					     fdt_check_full(copy, size);
	if (ret)
		ret = kho_fail(err, -EBADMSG,
			       "state tree: the root FDT at %#llx is damaged: %s",
			       (unsigned long long)fdt, fdt_strerror(ret));
	else
		ret = read_fdt(copy, state, err);
out:
	free(copy);
	return ret;
}
