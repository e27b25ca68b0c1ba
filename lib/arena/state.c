// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading a root FDT, where every byte is hostile. */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include <kho/abi/kexec_handover.h>
#include <kho/state.h>

#include "base/fdt.h"

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
