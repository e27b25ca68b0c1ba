// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading the small subtrees of Linux, where every byte is hostile. */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include <kho/abi/memblock.h>
#include <kho/abi/reserve_mem.h>
#include <kho/linux.h>

#include "base/fdt.h"

_Static_assert(sizeof(struct kho_kexec_metadata) == 73, "format");

int kho_linux_metadata(const struct kho_mem *mem, uint64_t phys, uint64_t size,
		       struct kho_linux_metadata *metadata,
		       struct kho_error *err)
{
	struct kho_kexec_metadata raw;

	if (size < sizeof(raw.version) ||
	    kho_mem_read(mem, phys, &raw,
			 size < sizeof(raw) ? size : sizeof(raw)))
		return kho_fail(err, -EFAULT,
				"kexec-metadata: the %llu bytes at %#llx are not in the memory",
				(unsigned long long)size,
				(unsigned long long)phys);
	if (raw.version != KHO_KEXEC_METADATA_VERSION)
		return kho_fail(err, -EPROTONOSUPPORT,
				"kexec-metadata: version %u, only %d can be read: the next kernel goes on without it",
				raw.version, KHO_KEXEC_METADATA_VERSION);
	if (size < sizeof(raw) ||
	    !memchr(raw.previous_release, 0, sizeof(raw.previous_release)))
		return kho_fail(err, -EBADMSG, "kexec-metadata: at %#llx: %s",
				(unsigned long long)phys,
				size < sizeof(raw) ?
					"it is too short" :
					"the kernel's release has no end");
	memcpy(metadata->release, raw.previous_release,
	       sizeof(metadata->release));
	metadata->kexecs = raw.kexec_count;
	return 0;
}

static int read_region(const void *fdt, int node,
		       struct kho_linux_region *region, struct kho_error *err)
{
	const char *name = fdt_get_name(fdt, node, NULL);

	if (!name || strlen(name) >= sizeof(region->name))
		return kho_fail(err, -EBADMSG,
				"memblock: a region's name has more than %zu characters",
				sizeof(region->name) - 1);
	strcpy(region->name, name);
	if (fdt_node_check_compatible(fdt, node, KHO_RESERVE_MEM_COMPATIBLE))
		return kho_fail(err, -EPROTONOSUPPORT,
				"memblock: region %s is not " KHO_RESERVE_MEM_COMPATIBLE
				", nothing else can be read",
				name);
	if (fdt_read_u64(fdt, node, KHO_RESERVE_MEM_START, &region->phys) ||
	    fdt_read_u64(fdt, node, KHO_RESERVE_MEM_SIZE, &region->size) ||
	    !region->size || region->phys + region->size < region->phys)
		return kho_fail(err, -EBADMSG,
				"memblock: region %s has no sound %s and %s",
				name, KHO_RESERVE_MEM_START,
				KHO_RESERVE_MEM_SIZE);
	return 0;
}

static int read_fdt(const void *fdt,
		    int (*call)(const struct kho_linux_region *region,
				void *arg),
		    void *arg, struct kho_error *err)
{
	struct kho_linux_region region;
	int node, ret;

	if (fdt_node_check_compatible(fdt, 0, KHO_MEMBLOCK_COMPATIBLE))
		return kho_fail(err, -EPROTONOSUPPORT,
				"memblock: it is not " KHO_MEMBLOCK_COMPATIBLE
				", nothing else can be read");
	fdt_for_each_subnode(node, fdt, 0) {
		ret = read_region(fdt, node, &region, err);
		if (!ret)
			ret = call(&region, arg);
		if (ret)
			return ret;
	}
	return 0;
}

int kho_linux_regions(const struct kho_mem *mem, uint64_t phys, uint64_t size,
		      int (*region)(const struct kho_linux_region *region,
				    void *arg),
		      void *arg, struct kho_error *err)
{
	const struct reader r = { "memblock", mem, err };
	void *copy;
	int ret = fdt_read(&r, phys, size, "FDT", &copy);

	if (ret)
		return ret;
	ret = read_fdt(copy, region, arg, err);
	free(copy);
	return ret;
}
