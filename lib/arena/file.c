// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The arena's file and superblock: making, checking, mapping, publishing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kho/arena.h>
#include <kho/compat.h>
#include <kho/pages.h>

#include "arena/private.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/mem.h"

KHO_COMPONENT(arena, .write = { KHO_ARENA_VERSION, KHO_ARENA_VERSION },
	      .read = { 1, KHO_ARENA_VERSION });

/* Nobody may shrink the file under a reader, or seal it under a writer. */
#define ARENA_SEALS (F_SEAL_SHRINK | F_SEAL_SEAL)

static uint32_t super_crc(const struct kho_arena_super *super)
{
	return crc32c(super, offsetof(struct kho_arena_super, crc));
}

static uint32_t slot_crc(const struct kho_arena_slot *slot)
{
	return crc32c(slot, offsetof(struct kho_arena_slot, crc));
}

uint64_t arena_super_word(const struct kho_arena_super *super, size_t offset,
			  uint32_t number)
{
	const uint32_t words[] = { (uint32_t)offset, number };
	uint32_t crc = crc32c_more(crc32c(super->id, sizeof(super->id)), words,
				   sizeof(words));

	return (uint64_t)crc << 32 | number;
}

#define CHUNKS offsetof(struct kho_arena_super, chunks)
#define GENERATION offsetof(struct kho_arena_super, generation)

uint64_t arena_super_size(const struct kho_arena_super *super)
{
	return (super->chunks & UINT32_MAX) << CHUNK_SHIFT;
}

void arena_set_super_size(struct kho_arena_super *super, uint64_t size)
{
	__atomic_store_n(&super->chunks,
			 arena_super_word(super, CHUNKS,
					  (uint32_t)(size >> CHUNK_SHIFT)),
			 __ATOMIC_RELEASE);
}

uint32_t arena_generation(const struct kho *kho)
{
	return (uint32_t)__atomic_load_n(&kho->super->generation,
					 __ATOMIC_ACQUIRE);
}

/* The last one there is stays. */
void arena_next_generation(struct kho *kho)
{
	uint32_t generation = arena_generation(kho);

	if (generation < UINT32_MAX)
		generation++;
	__atomic_store_n(&kho->super->generation,
			 arena_super_word(kho->super, GENERATION, generation),
			 __ATOMIC_RELEASE);
}

struct kho *arena_new(void)
{
	struct kho *kho = calloc(1, sizeof(*kho));

	if (!kho)
		return NULL;
	kho->fd = -1;
	pthread_mutex_init(&kho->mappings.lock, NULL);
	instances_init(kho);
	versions_init(kho);
	kho->tree = tree_new();
	if (!kho->tree) {
		arena_free(kho);
		return NULL;
	}
	return kho;
}

void arena_free(struct kho *kho)
{
	tree_free(kho->tree);
	pages_exit(kho);
	instances_exit(kho);
	versions_exit(kho);
	if (kho->base)
		munmap(kho->base, kho->max);
	if (kho->fd >= 0)
		close(kho->fd);
	free(kho);
}

int arena_create_fd(struct kho_error *err)
{
	int fd = memfd_create("kho-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return kho_fail(err, -errno, "arena: memfd_create: %s",
				strerror(errno));
	return fd;
}

/* A description of its own for a file. */
static int reopen(int fd)
{
	char path[64];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDWR | O_CLOEXEC);
	return own < 0 ? -errno : own;
}

int arena_reopen(const struct kho *kho)
{
	return reopen(kho->fd);
}

/*
 * A lock belongs to an open file description. The fd that came in shares its
 * description with whoever gave it, so make one of our own. It goes to the
 * successor together with the lock.
 */
int arena_lock(int fd, int *own, struct kho_error *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int ret;

	*own = reopen(fd);
	if (*own < 0)
		return kho_fail(err, *own,
				"arena: cannot open /proc/self/fd/%d: %s", fd,
				strerror(-*own));
	if (fcntl(*own, F_OFD_SETLK, &lock) == 0)
		return 0;
	ret = errno == EACCES ? -EAGAIN : -errno;
	close(*own);
	if (ret == -EAGAIN)
		return kho_fail(err, -EBUSY,
				"arena: in use by another program; end it, or use 'kho update' to replace it");
	return kho_fail(err, ret, "arena: cannot lock: %s", strerror(-ret));
}

/* Is the header sound, and does the file have what it promises? */
static int super_check(const struct kho_arena_super *super, uint64_t file_size,
		       struct kho_error *err)
{
	static const struct kho_arena_super zeros;
	uint64_t size = arena_super_size(super);

	if (!memcmp(super, &zeros, sizeof(zeros)))
		return kho_fail(err, -EBADMSG,
				"arena: not an arena: its superblock is all zeros");
	if (super->magic == KHO_ARENA_MAKING)
		return kho_fail(err, -EBADMSG,
				"arena: not made to its end: attach to it to begin anew");
	if (super->magic != KHO_ARENA_MAGIC)
		return kho_fail(err, -EBADMSG,
				"arena: not an arena: magic is %#llx, expected %#llx",
				(unsigned long long)super->magic,
				KHO_ARENA_MAGIC);
	if (super->version != KHO_ARENA_VERSION)
		return kho_fail(err, -EPROTONOSUPPORT,
				"arena: its format is arena-v%u, this program reads arena-v%u only",
				super->version, KHO_ARENA_VERSION);
	if (super->crc != super_crc(super))
		return kho_fail(err, -EBADMSG,
				"arena: superblock is damaged: CRC32C is %#x, expected %#x",
				super->crc, super_crc(super));
	if (super->page_shift != KHO_ARENA_PAGE_SHIFT_4K &&
	    super->page_shift != KHO_ARENA_PAGE_SHIFT_16K &&
	    super->page_shift != KHO_ARENA_PAGE_SHIFT_64K)
		return kho_fail(err, -EINVAL,
				"arena: page size 2^%u is not supported: only 4, 16 and 64 KiB are",
				super->page_shift);
	if (super->chunks !=
	    arena_super_word(super, CHUNKS, (uint32_t)super->chunks))
		return kho_fail(err, -EBADMSG,
				"arena: superblock is damaged: the CRC32C of its size is wrong");
	if (super->generation !=
	    arena_super_word(super, GENERATION, (uint32_t)super->generation))
		return kho_fail(err, -EBADMSG,
				"arena: superblock is damaged: the CRC32C of its generation is wrong");
	if (!size)
		return kho_fail(err, -EBADMSG,
				"arena: superblock is damaged: it has no chunk");
	if (size > KHO_ARENA_SIZE_MAX)
		return kho_fail(err, -EFBIG,
				"arena: %llu bytes are above the limit of 16 TiB",
				(unsigned long long)size);
	if (size > file_size)
		return kho_fail(err, -EBADMSG,
				"arena: truncated: its superblock says %llu bytes, the file has %llu",
				(unsigned long long)size,
				(unsigned long long)file_size);
	return 0;
}

int arena_read_super(int fd, struct kho_arena_super *super,
		     struct kho_error *err)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return kho_fail(err, -errno, "arena: fd %d: %s", fd,
				strerror(errno));
	if (!S_ISREG(st.st_mode))
		return kho_fail(err, -EBADMSG,
				"arena: fd %d is neither a memfd nor a file",
				fd);
	n = pread(fd, super, sizeof(*super), 0);
	/* Its size as of now: the arena may have grown before it was read. */
	if (n >= 0 && fstat(fd, &st) < 0)
		n = -1;
	if (n < 0)
		return kho_fail(err, -errno, "arena: cannot read: %s",
				strerror(errno));
	if ((size_t)n < sizeof(*super))
		return kho_fail(err, -EBADMSG,
				"arena: truncated: %zd bytes, too short for a superblock",
				n);
	return super_check(super, (uint64_t)st.st_size, err);
}

/* The valid slot with the higher sequence number; -1 when there is none. */
int arena_pick_slot(const struct kho_arena_super *super)
{
	int best = -1;

	for (int i = 0; i < KHO_ARENA_SLOTS; i++) {
		const struct kho_arena_slot *slot = &super->slot[i];

		if (slot->seq == 0 || slot->crc != slot_crc(slot))
			continue;
		if (best < 0 || slot->seq > super->slot[best].seq)
			best = i;
	}
	return best;
}

int arena_is_new(int fd, bool *is_new, struct kho_error *err)
{
	uint64_t magic;
	ssize_t n = pread(fd, &magic, sizeof(magic), 0);

	if (n < 0)
		return kho_fail(err, -errno, "arena: cannot read: %s",
				strerror(errno));
	*is_new = !n || (n == sizeof(magic) && magic == KHO_ARENA_MAKING);
	return 0;
}

/* Its first chunk of memory; it is an arena that is being made from here on. */
int arena_begin(int fd, struct kho_error *err)
{
	const uint64_t magic = KHO_ARENA_MAKING;
	int ret = arena_seal(fd, err);

	if (ret)
		return ret;
	ret = file_write(fd, &magic, sizeof(magic), 0);
	if (!ret)
		ret = file_allocate(fd, 0, CHUNK_SIZE);
	return ret ? kho_fail(err, ret,
			      "arena: no memory for its first %lu bytes: %s%s",
			      CHUNK_SIZE, strerror(-ret),
			      ret == -EFBIG ? ": raise ulimit -f" : "") :
		     0;
}

/* Its superblock, which has no root yet and does not count. */
int arena_init(struct kho *kho, struct kho_error *err)
{
	struct kho_arena_super super = {
		.magic = KHO_ARENA_MAGIC,
		.version = KHO_ARENA_VERSION,
		.page_shift = kho->page_shift,
	};

	if (getrandom(super.id, sizeof(super.id), 0) !=
	    (ssize_t)sizeof(super.id))
		return kho_fail(err, -EIO, "arena: getrandom: %s",
				strerror(errno));
	super.crc = super_crc(&super);
	arena_set_super_size(&super, kho_size(kho));
	super.generation = arena_super_word(&super, GENERATION, 0);
	super.magic = KHO_ARENA_MAKING;
	*kho->super = super;
	return 0;
}

/* There is a root: it is an arena. */
void arena_made(struct kho *kho)
{
	__atomic_store_n(&kho->super->magic, KHO_ARENA_MAGIC, __ATOMIC_RELEASE);
}

int arena_seal(int fd, struct kho_error *err)
{
	int failed = fcntl(fd, F_ADD_SEALS, ARENA_SEALS) < 0 ? errno : 0;
	int seals = fcntl(fd, F_GET_SEALS);

	if (!(seals & F_SEAL_SHRINK))
		return kho_fail(err, -EINVAL,
				"arena: cannot be sealed against shrinking: %s",
				strerror(failed));
	if (seals & (F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return kho_fail(err, -EINVAL,
				"arena: sealed against %s: copy it into a new memfd",
				seals & F_SEAL_GROW ? "growing" : "writing");
	return 0;
}

/*
 * Map all the address space that the arena may ever need, so that pointers
 * stay valid while the file grows. Beyond the file's end nothing may be
 * touched, which kho_ptr() sees to.
 */
int arena_map(struct kho *kho, uint64_t max, bool huge, struct kho_error *err)
{
	int prot = PROT_READ | (kho->cold ? PROT_WRITE : 0);
	void *base;

	base = mmap(NULL, max, prot, MAP_SHARED | MAP_NORESERVE, kho->fd, 0);
	if (base == MAP_FAILED)
		return kho_fail(err, -errno,
				"arena: cannot map %llu bytes: %s; a smaller max_size may help",
				(unsigned long long)max, strerror(errno));
	if (huge)
		madvise(base, max, MADV_HUGEPAGE);
	kho->base = base;
	kho->max = max;
	kho->super = base;
	kho->mappings.writable = kho->cold;
	return 0;
}

/* The others first: who is changing one now also writes to the arena. */
static int set_writable(struct kho *kho, bool writable)
{
	struct mapping *m;
	int ret;

	LIST_FOREACH(m, &kho->mappings.list, entry)
	{
		ret = m->set_writable(m, writable);
		if (ret)
			return ret;
	}
	if (mprotect(kho->base, kho->max,
		     PROT_READ | (writable ? PROT_WRITE : 0)) < 0)
		return -errno;
	kho->mappings.writable = writable;
	return 0;
}

int arena_set_writable(struct kho *kho, bool writable)
{
	int ret;

	pthread_mutex_lock(&kho->mappings.lock);
	ret = set_writable(kho, writable);
	if (ret)
		set_writable(kho, !writable);
	pthread_mutex_unlock(&kho->mappings.lock);
	return ret;
}

void arena_add_mapping(struct kho *kho, struct mapping *mapping)
{
	pthread_mutex_lock(&kho->mappings.lock);
	LIST_INSERT_HEAD(&kho->mappings.list, mapping, entry);
	/* Nothing is mapped yet, so this cannot fail. */
	mapping->set_writable(mapping, kho->mappings.writable);
	pthread_mutex_unlock(&kho->mappings.lock);
}

void arena_del_mapping(struct kho *kho, struct mapping *mapping)
{
	pthread_mutex_lock(&kho->mappings.lock);
	LIST_REMOVE(mapping, entry);
	pthread_mutex_unlock(&kho->mappings.lock);
}

/*
 * Grow the file. What is added has no memory yet. It may be that long already,
 * by a program that was killed before it could say so.
 */
int arena_resize(struct kho *kho, uint64_t size)
{
	struct stat st;
	int ret = 0;

	if (fstat(kho->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size < size)
		ret = file_truncate(kho->fd, size);
	if (ret)
		return ret == -EFBIG || ret == -EINVAL ? -ENOSPC : ret;
	arena_set_super_size(kho->super, size);
	__atomic_store_n(&kho->size, size, __ATOMIC_RELEASE);
	return 0;
}

/*
 * Make a root FDT the root. Goes into the slot that does not count at the
 * moment; it counts from the store of its sequence number on. Behind the last
 * one there is none that would count.
 */
int arena_publish(struct kho *kho, uint64_t fdt, uint64_t size)
{
	struct kho_arena_super *super = kho->super;
	int current = arena_pick_slot(super);
	struct kho_arena_slot *slot = &super->slot[current == 0 ? 1 : 0];
	struct kho_arena_slot next = {
		.seq = current < 0 ? 1 : super->slot[current].seq + 1,
		.fdt = fdt,
		.fdt_size = size,
	};

	if (!next.seq)
		return -EOVERFLOW;
	next.crc = slot_crc(&next);
	__atomic_store_n(&slot->seq, 0, __ATOMIC_SEQ_CST);
	slot->fdt = next.fdt;
	slot->fdt_size = next.fdt_size;
	slot->reserved = 0;
	__atomic_store_n(&slot->crc, next.crc, __ATOMIC_SEQ_CST);
	__atomic_store_n(&slot->seq, next.seq, __ATOMIC_SEQ_CST);
	return 0;
}

/* The view for tools. */
struct kho_arena_view {
	struct kho_mem mem;
	int fd;
};

/* Not through a mapping: the file may be cut short at any time. */
static int view_read(const struct kho_mem *mem, uint64_t phys, void *buf,
		     size_t len)
{
	const struct kho_arena_view *view = (const struct kho_arena_view *)mem;

	return mem_read_file(view->fd, phys, buf, len);
}

int kho_arena_view(int fd, struct kho_arena_view **view, struct kho_error *err)
{
	struct kho_arena_super super;
	struct kho_arena_view *v;
	int ret;

	ret = arena_read_super(fd, &super, err);
	if (ret)
		return ret;
	v = calloc(1, sizeof(*v));
	if (!v)
		return kho_fail(err, -ENOMEM, "arena: out of memory");
	v->mem.read = view_read;
	v->mem.page_shift = super.page_shift;
	v->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (v->fd < 0) {
		ret = kho_fail(err, -errno, "arena: fd %d: %s", fd,
			       strerror(errno));
		free(v);
		return ret;
	}
	*view = v;
	return 0;
}

int kho_arena_view_info(const struct kho_arena_view *view,
			struct kho_arena_info *info, struct kho_error *err)
{
	struct kho_arena_super super;
	struct stat st;
	int ret, slot;

	ret = arena_read_super(view->fd, &super, err);
	if (ret)
		return ret;
	if (fstat(view->fd, &st) < 0)
		return kho_fail(err, -errno, "arena: %s", strerror(errno));
	*info = (struct kho_arena_info){
		.version = super.version,
		.page_shift = super.page_shift,
		.size = arena_super_size(&super),
		.file_size = (uint64_t)st.st_size,
		.generation = (uint32_t)super.generation,
	};
	memcpy(info->id, super.id, sizeof(info->id));
	slot = arena_pick_slot(&super);
	if (slot >= 0) {
		info->seq = super.slot[slot].seq;
		info->fdt = super.slot[slot].fdt;
		info->fdt_size = super.slot[slot].fdt_size;
	}
	return 0;
}

const struct kho_mem *kho_arena_view_mem(const struct kho_arena_view *view)
{
	return &view->mem;
}

void kho_arena_view_close(struct kho_arena_view *view)
{
	if (!view)
		return;
	close(view->fd);
	free(view);
}

int arena_refuses(const struct kho *kho, const char *what, int code,
		  struct kho_error *err)
{
	switch (code) {
	case -EROFS:
		return kho_fail(err, code, "%s: %s", what,
				kho_stage(kho) == KHO_RESTORING ?
					"read-only until kho_ready()" :
				kho_stage(kho) == KHO_GONE ?
					"a successor has the arena" :
					"the arena is being handed over");
	case -ENOSPC:
		return kho_fail(err, code,
				"%s: the arena is full: max_size lets it have "
				"%llu MiB, and ulimit -f may let it have less",
				what, (unsigned long long)(kho->max >> 20));
	case -ENOMEM:
		return kho_fail(err, code, "%s: out of memory", what);
	default:
		return kho_fail(err, code, "%s: %s", what, strerror(-code));
	}
}
