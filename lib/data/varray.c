// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Typed arrays: an area, and a record of what is in it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kho/compat.h>
#include <kho/pages.h>
#include <kho/varray.h>

#include "base/crc32c.h"
#include "arena/arena.h"

KHO_COMPONENT(varray, .write = { 1, KHO_VARRAY_VERSION },
	      .read = { 1, KHO_VARRAY_VERSION }, .deps = { "vmalloc" },
	      .flags = KHO_COMPONENT_STRUCTURE);

_Static_assert(sizeof(struct kho_varray_desc) == 56, "format");

#define COUNT_BITS 48
#define COUNT_MASK ((1ull << COUNT_BITS) - 1)

struct kho_varray {
	struct kho *kho;
	struct kho_varray_desc *desc;
	struct kho_vmalloc *area;
	uint32_t size;
	uint64_t count; /* atomic */
	pthread_mutex_t lock; /* for changes */
};

static uint64_t count_word(uint64_t n)
{
	uint64_t check = (n ^ n >> 16 ^ n >> 32 ^ KHO_VARRAY_COUNT_CHECK) &
			 0xffff;

	return n | check << COUNT_BITS;
}

static uint32_t desc_crc(const struct kho_varray_desc *desc)
{
	return crc32c_more(crc32c(desc->type, sizeof(desc->type)), &desc->size,
			   sizeof(desc->size));
}

static int array_fail(struct kho_error *err, int code, uint64_t at,
		      const char *what)
{
	return kho_fail(err, code, "varray: at 0x%llx: %s",
			(unsigned long long)at, what);
}

/* 1 to 23 printable characters, so that they can stand in a message. */
static bool is_name(const char *name)
{
	size_t len = strnlen(name, KHO_VARRAY_TYPE_SIZE);

	for (size_t i = 0; i < len; i++)
		if (name[i] < ' ' || name[i] > '~')
			return false;
	return len && len < KHO_VARRAY_TYPE_SIZE;
}

int kho_varray_verify(const struct kho_mem *mem, uint64_t phys,
		      struct kho_varray_stats *result, struct kho_error *err)
{
	struct kho_varray_stats stats = { 0 };
	struct kho_varray_desc desc;
	uint64_t bytes;
	int ret;

	ret = kho_vmalloc_verify(mem,
				 phys + offsetof(struct kho_varray_desc, area),
				 &stats.area, err);
	if (ret)
		return ret;
	if (kho_mem_read(mem, phys, &desc, sizeof(desc)) < 0)
		return array_fail(err, -EFAULT, phys,
				  "the descriptor is outside the memory");
	if (desc.crc != desc_crc(&desc))
		return array_fail(err, -EBADMSG, phys,
				  "the descriptor's CRC is wrong");
	if (!desc.size || !desc.type[0] || desc.type[KHO_VARRAY_TYPE_SIZE - 1])
		return array_fail(err, -EBADMSG, phys,
				  "the descriptor has no valid type");
	if (desc.count != count_word(desc.count & COUNT_MASK))
		return array_fail(err, -EBADMSG, phys, "the count is damaged");
	memcpy(stats.type, desc.type, sizeof(stats.type));
	stats.size = desc.size;
	stats.count = desc.count & COUNT_MASK;
	if (__builtin_mul_overflow(stats.count, stats.size, &bytes) ||
	    bytes > stats.area.size || stats.area.populated != stats.area.size)
		return array_fail(err, -EBADMSG, phys,
				  "the area has no room for all elements");
	if (result)
		*result = stats;
	return 0;
}

static int check_type(const struct kho_varray_type *type, uint64_t max,
		      uint64_t *bytes, struct kho_error *err)
{
	if (!is_name(type->name) || !type->size)
		return kho_fail(err, -EINVAL,
				"varray: a type has a name of 1 to %d printable characters, and a size",
				KHO_VARRAY_TYPE_SIZE - 1);
	if (max > COUNT_MASK || __builtin_mul_overflow(max, type->size, bytes))
		return kho_fail(err, -EINVAL,
				"varray: %llu elements of %u bytes are too much",
				(unsigned long long)max, type->size);
	return 0;
}

static struct kho_varray *array_new(struct kho *kho,
				    struct kho_varray_desc *desc, uint32_t size,
				    uint64_t count, struct kho_error *err)
{
	struct kho_varray *array = calloc(1, sizeof(*array));

	if (!array) {
		kho_fail(err, -ENOMEM, "varray: out of memory");
		return NULL;
	}
	array->kho = kho;
	array->desc = desc;
	array->size = size;
	array->count = count;
	pthread_mutex_init(&array->lock, NULL);
	return array;
}

static int check_desc(const struct kho *kho, const struct kho_varray_desc *desc,
		      struct kho_error *err)
{
	if ((uintptr_t)desc % _Alignof(struct kho_varray_desc) == 0 &&
	    kho_ptr(kho, kho_phys(kho, desc), sizeof(*desc)))
		return 0;
	return kho_fail(err, -EINVAL,
			"varray: the descriptor must be in the arena, at a multiple of 8 bytes");
}

int kho_varray_create(struct kho *kho, struct kho_varray_desc *desc,
		      const struct kho_varray_type *type, uint64_t max,
		      struct kho_varray **result, struct kho_error *err)
{
	struct kho_varray *array;
	uint64_t bytes;
	int ret;

	ret = check_type(type, max, &bytes, err);
	if (!ret)
		ret = check_desc(kho, desc, err);
	if (ret)
		return ret;
	if (!kho_writable(kho))
		return kho_fail(err, -EROFS, "varray: the arena is read-only");
	array = array_new(kho, desc, type->size, 0, err);
	if (!array)
		return -ENOMEM;
	ret = kho_vmalloc_create(kho, bytes, 0, &array->area, err);
	if (!ret) {
		/* It is no array before it has an area, which comes last. */
		memset(desc, 0, sizeof(*desc));
		strcpy(desc->type, type->name);
		desc->size = type->size;
		desc->crc = desc_crc(desc);
		desc->count = count_word(0);
		ret = kho_vmalloc_preserve(array->area, &desc->area, err);
	}
	if (ret)
		kho_varray_close(array);
	else
		*result = array;
	return ret;
}

int kho_varray_restore(struct kho *kho, struct kho_varray_desc *desc,
		       const struct kho_varray_type *type, uint64_t max,
		       struct kho_varray **result, struct kho_error *err)
{
	struct kho_mem_live live = mem_live(kho);
	struct kho_varray_stats stats;
	struct kho_varray *array;
	uint64_t bytes;
	int ret;

	ret = check_type(type, max, &bytes, err);
	if (!ret)
		ret = check_desc(kho, desc, err);
	if (!ret)
		ret = kho_varray_verify(&live.mem, kho_phys(kho, desc), &stats,
					err);
	if (ret)
		return ret;
	if (strcmp(stats.type, type->name) || stats.size != type->size)
		return kho_fail(err, -EPROTOTYPE,
				"varray: at 0x%llx: elements are '%s' of %u bytes, expected '%s' of %u bytes",
				(unsigned long long)kho_phys(kho, desc),
				stats.type, stats.size, type->name, type->size);
	array = array_new(kho, desc, stats.size, stats.count, err);
	if (!array)
		return -ENOMEM;
	ret = kho_vmalloc_restore(kho, &desc->area, bytes, &array->area, err);
	if (ret)
		kho_varray_close(array);
	else
		*result = array;
	return ret;
}

void kho_varray_close(struct kho_varray *array)
{
	if (!array)
		return;
	kho_vmalloc_close(array->area);
	pthread_mutex_destroy(&array->lock);
	free(array);
}

int kho_varray_destroy(struct kho_varray *array)
{
	int ret = array ? kho_vmalloc_unpreserve(array->area) : 0;

	if (!ret)
		kho_varray_close(array);
	return ret;
}

uint64_t kho_varray_count(const struct kho_varray *array)
{
	return __atomic_load_n(&array->count, __ATOMIC_ACQUIRE);
}

void *kho_varray_at(const struct kho_varray *array, uint64_t index)
{
	if (index >= kho_varray_count(array))
		return NULL;
	return (char *)kho_vmalloc_base(array->area) + index * array->size;
}

struct kho_vmalloc *kho_varray_area(const struct kho_varray *array)
{
	return array->area;
}

static void set_count(struct kho_varray *array, uint64_t count)
{
	__atomic_store_n(&array->desc->count, count_word(count),
			 __ATOMIC_RELEASE);
	__atomic_store_n(&array->count, count, __ATOMIC_RELEASE);
}

static int grow(struct kho_varray *array, uint64_t count, struct kho_error *err)
{
	uint64_t room = kho_vmalloc_size(array->area);
	uint64_t from = array->count * array->size, to = count * array->size;
	int ret = to > room ? kho_vmalloc_resize(array->area, to, err) : 0;

	if (ret)
		return ret;
	/* Fresh blocks are zeros; the last one may have had elements before. */
	if (from < room)
		memset((char *)kho_vmalloc_base(array->area) + from, 0,
		       (to < room ? to : room) - from);
	set_count(array, count);
	return 0;
}

int kho_varray_resize(struct kho_varray *array, uint64_t count,
		      struct kho_error *err)
{
	uint64_t max = kho_vmalloc_max(array->area) / array->size;
	int ret = 0;

	if (count > max)
		return kho_fail(err, -ERANGE,
				"varray: %llu elements are beyond the maximum of %llu",
				(unsigned long long)count,
				(unsigned long long)max);
	if (!kho_writable(array->kho))
		return kho_fail(err, -EROFS, "varray: the arena is read-only");
	pthread_mutex_lock(&array->lock);
	if (count > array->count) {
		ret = grow(array, count, err);
	} else if (count < array->count) {
		set_count(array, count);
		/* Fails for want of pages only: then it keeps some too many. */
		kho_vmalloc_resize(array->area, count * array->size, NULL);
	}
	pthread_mutex_unlock(&array->lock);
	return ret;
}
