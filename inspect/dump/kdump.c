// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Compressed dumps, as makedumpfile(8) and QEMU's dump-guest-memory -z write
 * them: two bitmaps (which pages there are, which are in it), a descriptor for
 * each of the latter, and the pages, packed one by one. A flattened one has gone
 * through a pipe: it is pieces, each with its place in the file.
 *
 * libkdumpfile reads most of these too. But hostile bytes make it corrupt its heap,
 * and it does not read flattened dumps before Debian 13.
 */
#include <endian.h>
#include <errno.h>
#include <lzo/lzo1x.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"
#include "inspect/dump/private.h"

/* Far more than any dump has. */
#define PIECES_MAX (1u << 22)
#define RUNS_MAX (1u << 22)
/* log2 of the bytes that no machine has. */
#define MEMORY_MAX 48
/* Of bitmaps, read at a time. */
#define WINDOW (64u << 10)

#define FLAT "makedumpfile"
#define FLAT_HEADER 4096

/* Offsets in the header, which is the first block. */
#define MAGIC "KDUMP   "
#define VERSION 8 /* u32 */
#define MACHINE 272 /* of the utsname, 65 bytes */
#define STATUS 424 /* u32 */
#define STATUS_SNAPPY 4
#define BLOCK_SIZE 428 /* u32: also the page size */
#define SUB_HEADER 432 /* u32: its blocks */
#define BITMAPS 436 /* u32: blocks of both together */
#define MAX_PFN 440 /* u32 */
#define HEADER 464
/* Offsets in the header behind it. */
#define SPLIT 12 /* u32 */
#define MAX_PFN_64 96 /* u64, since version 6 */
#define SUB_HEADER_SIZE 104

/* Of a page, in the file. */
struct descriptor {
	uint64_t offset;
	uint32_t size;
	uint32_t flags;
	uint64_t page_flags;
};

enum {
	PACKED_ZLIB = 0x1,
	PACKED_LZO = 0x2,
	PACKED_ZSTD = 0x20,
};

/* Of a flattened dump. */
struct piece {
	uint64_t offset;
	uint64_t size;
	uint64_t at; /* in the file that there is */
};

/**
 * struct kdump - a compressed dump
 * @fd: the dump's
 * @n_pieces: 0: it is not flattened
 * @pieces: sorted, without overlaps
 * @size: of the file, or of what the pieces make
 * @shift: log2 of the page size
 * @descriptors: where they are
 * @lock: protects what follows
 * @page: the one that was read last
 * @bytes: of it
 * @packed: room for it
 */
struct kdump {
	int fd;
	size_t n_pieces;
	struct piece *pieces;
	uint64_t size;
	unsigned int shift;
	uint64_t descriptors;
	pthread_mutex_t lock;
	uint64_t page;
	unsigned char *bytes;
	unsigned char *packed;
};

static int damaged(struct kho_error *err, const char *what)
{
	return kho_fail(err, -EBADMSG,
			"core: a compressed dump that is damaged or truncated: %s",
			what);
}

static uint32_t get_u32(const unsigned char *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

/* What is at an offset of the file, flattened or not. */
static int file_read(const struct kdump *k, uint64_t offset, void *buf,
		     size_t len)
{
	size_t low = 0, high = k->n_pieces;
	char *to = buf;

	if (!k->n_pieces)
		return mem_read_file(k->fd, offset, buf, len);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (k->pieces[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	for (; len && low && low <= k->n_pieces; low++) {
		const struct piece *p = &k->pieces[low - 1];
		uint64_t skip = offset - p->offset;
		size_t n = p->size - skip < len ? p->size - skip : len;

		if (offset < p->offset || skip >= p->size ||
		    mem_read_file(k->fd, p->at + skip, to, n))
			return -EFAULT;
		to += n;
		offset += n;
		len -= n;
	}
	return len ? -EFAULT : 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

/* What was written twice counts as it was the last time. */
static int order_pieces(struct kdump *k, struct kho_error *err)
{
	size_t n = 0;

	qsort(k->pieces, k->n_pieces, sizeof(*k->pieces), by_offset);
	for (size_t i = 0; i < k->n_pieces; i++) {
		const struct piece *p = &k->pieces[i];
		struct piece *last = n ? &k->pieces[n - 1] : NULL;

		if (last && p->offset == last->offset && p->size == last->size)
			*last = *p;
		else if (last && p->offset < last->offset + last->size)
			return kho_fail(err, -EPROTONOSUPPORT,
					"core: a flattened dump whose pieces overlap: put it together with makedumpfile -R");
		else
			k->pieces[n++] = *p;
	}
	k->n_pieces = n;
	k->size = k->pieces[n - 1].offset + k->pieces[n - 1].size;
	return 0;
}

static int read_pieces(struct kdump *k, struct kho_error *err)
{
	uint64_t file_size = k->size, at = FLAT_HEADER, head[2];

	for (;; at += be64toh(head[1])) {
		struct piece *more;

		if (mem_read_file(k->fd, at, head, sizeof(head)))
			return damaged(err, "it is flattened, and has no end");
		if (head[0] == UINT64_MAX && head[1] == UINT64_MAX)
			break;
		at += sizeof(head);
		if (be64toh(head[0]) > INT64_MAX || !head[1] ||
		    be64toh(head[1]) > file_size - at)
			return damaged(err, "a piece that cannot be");
		if (k->n_pieces == PIECES_MAX)
			return kho_fail(err, -EPROTONOSUPPORT,
					"core: a flattened dump in too many pieces: put it together with makedumpfile -R");
		if (!(k->n_pieces & (k->n_pieces - 1))) {
			more = reallocarray(k->pieces,
					    k->n_pieces ? 2 * k->n_pieces : 1,
					    sizeof(*more));
			if (!more)
				return kho_fail(err, -ENOMEM,
						"core: out of memory");
			k->pieces = more;
		}
		k->pieces[k->n_pieces++] = (struct piece){ be64toh(head[0]),
							   be64toh(head[1]),
							   at };
	}
	return k->n_pieces ? order_pieces(k, err) : damaged(err, "it is empty");
}

static int unpack(const struct kdump *k, const struct descriptor *d)
{
	size_t size = (size_t)1 << k->shift, n = size;
	uLongf zlib = size;
	lzo_uint lzo = size;

	switch (d->flags) {
	case 0:
		n = d->size;
		memcpy(k->bytes, k->packed, n);
		break;
	case PACKED_ZLIB:
		if (uncompress(k->bytes, &zlib, k->packed, d->size) != Z_OK)
			return -EFAULT;
		n = zlib;
		break;
	case PACKED_LZO:
		if (lzo1x_decompress_safe(k->packed, d->size, k->bytes, &lzo,
					  NULL) != LZO_E_OK)
			return -EFAULT;
		n = lzo;
		break;
	case PACKED_ZSTD:
		n = ZSTD_decompress(k->bytes, size, k->packed, d->size);
		break;
	default:
		return -EFAULT;
	}
	return n == size ? 0 : -EFAULT;
}

/* With the lock. */
static int load(struct kdump *k, uint64_t page)
{
	struct descriptor d;
	int ret;

	if (k->page == page)
		return 0;
	k->page = UINT64_MAX;
	if (file_read(k, k->descriptors + page * sizeof(d), &d, sizeof(d)) ||
	    d.size > 1ull << k->shift ||
	    file_read(k, d.offset, k->packed, d.size))
		return -EFAULT;
	ret = unpack(k, &d);
	if (!ret)
		k->page = page;
	return ret;
}

/* An offset counts the pages that are in the dump. */
static int kdump_read(const struct kho_dump *core, uint64_t offset, void *buf,
		      size_t len)
{
	struct kdump *k = core->kdump;
	size_t size = (size_t)1 << k->shift, n;
	char *to = buf;
	int ret = 0;

	pthread_mutex_lock(&k->lock);
	for (; !ret && len; to += n, offset += n, len -= n) {
		size_t skip = offset & (size - 1);

		n = size - skip < len ? size - skip : len;
		ret = load(k, offset >> k->shift);
		if (!ret)
			memcpy(to, k->bytes + skip, n);
	}
	pthread_mutex_unlock(&k->lock);
	return ret;
}

/**
 * struct run - pages that follow each other and are all in the dump, or not
 * @core: what it becomes a segment of
 * @shift: log2 of the page size
 * @kind: 0: there is no memory; 1: it is not in the dump; 2: it is
 * @first: page
 * @before: pages that are in the dump before it
 * @n: runs so far
 */
struct run {
	struct kho_dump *core;
	unsigned int shift;
	unsigned int kind;
	uint64_t first;
	uint64_t before;
	size_t n;
};

static int end_run(struct run *run, uint64_t page, struct kho_error *err)
{
	uint64_t phys = run->first << run->shift;
	uint64_t size = (page - run->first) << run->shift;
	int ret = 0;

	if (run->kind && run->n++ == RUNS_MAX)
		return kho_fail(err, -EPROTONOSUPPORT,
				"core: a compressed dump with more than %u pieces of memory",
				RUNS_MAX);
	if (run->kind == 2) {
		ret = dump_add_segment(run->core, phys, size,
				       run->before << run->shift, err);
		run->before += page - run->first;
	} else if (run->kind) {
		run->core->info.left_out += size;
		ret = dump_add_absent(run->core, phys, size, err);
	}
	run->first = page;
	return ret;
}

/* The bits of the pages from @page on; @there: of those that there are. */
static int read_bits(struct run *run, const unsigned char *there,
		     const unsigned char *here, uint64_t page, size_t n,
		     struct kho_error *err)
{
	unsigned int kind;
	int ret;

	for (size_t i = 0; i < n; i++) {
		/* Where there is nothing, there is a lot of it. */
		if (!(i & 7) && !run->kind && !here[i / 8] && !there[i / 8]) {
			i += 7;
			continue;
		}
		kind = here[i / 8] >> (i & 7) & 1 ? 2 :
						    there[i / 8] >> (i & 7) & 1;
		ret = kind == run->kind ? 0 : end_run(run, page + i, err);
		if (ret)
			return ret;
		run->kind = kind;
	}
	return 0;
}

/* @at: of the first bitmap; @size: of each. */
static int read_bitmaps(struct kdump *k, struct kho_dump *core, uint64_t at,
			uint64_t size, uint64_t max_pfn, struct kho_error *err)
{
	unsigned char *bits = malloc(2 * WINDOW);
	struct run run = { .core = core, .shift = k->shift };
	uint64_t n = max_pfn / 8 < size ? max_pfn : size * 8, page = 0;
	int ret = bits ? 0 : kho_fail(err, -ENOMEM, "core: out of memory");

	if (!ret && n >> (MEMORY_MAX - k->shift))
		ret = damaged(err, "it has more memory than any machine");
	while (!ret && page < n) {
		size_t some = n - page < 8 * WINDOW ? n - page : 8 * WINDOW;
		size_t len = (some + 7) / 8;

		if (file_read(k, at + page / 8, bits, len) ||
		    file_read(k, at + size + page / 8, bits + WINDOW, len))
			ret = damaged(err, "its bitmaps are not all there");
		else
			ret = read_bits(&run, bits, bits + WINDOW, page, some,
					err);
		page += some;
	}
	if (!ret)
		ret = end_run(&run, n, err);
	free(bits);
	if (!ret && (k->descriptors > k->size ||
		     run.before > (k->size - k->descriptors) /
					  sizeof(struct descriptor)))
		ret = damaged(err, "its descriptors are not all there");
	return ret;
}

static int read_header(struct kdump *k, struct kho_dump *core,
		       struct kho_error *err)
{
	unsigned char header[HEADER], sub[SUB_HEADER_SIZE];
	uint64_t block, bitmaps, max_pfn;

	if (file_read(k, 0, header, sizeof(header)))
		return damaged(err, "its header is not there");
	if (memcmp(header, MAGIC, strlen(MAGIC)) != 0)
		return kho_fail(err, -EPROTONOSUPPORT,
				"core: a flattened dump of another kind: put it together with makedumpfile -R");
	block = get_u32(header + BLOCK_SIZE);
	bitmaps = get_u32(header + BITMAPS);
	max_pfn = get_u32(header + MAX_PFN);
	if (block != 4096 && block != 16384 && block != 65536)
		return kho_fail(err, -EPROTONOSUPPORT,
				"core: a compressed dump with pages of %llu bytes: only 4, 16 and 64 KiB are known",
				(unsigned long long)block);
	if (file_read(k, block, sub, sizeof(sub)))
		return damaged(err, "its second header is not there");
	if (get_u32(header + STATUS) & STATUS_SNAPPY)
		return kho_fail(err, -EPROTONOSUPPORT,
				"core: a dump compressed with snappy: makedumpfile -c writes it anew with zlib");
	if (get_u32(sub + SPLIT))
		return kho_fail(err, -EPROTONOSUPPORT,
				"core: a part of a dump: put them together with makedumpfile --reassemble");
	if (get_u32(header + VERSION) >= 6)
		memcpy(&max_pfn, sub + MAX_PFN_64, sizeof(max_pfn));
	k->shift = block == 4096 ? 12 : block == 16384 ? 14 : 16;
	core->mem.page_shift = k->shift;
	core->page_shift_known = true;
	if (!memcmp(header + MACHINE, "x86_64", 7))
		core->info.machine = "x86-64";
	else if (!memcmp(header + MACHINE, "aarch64", 8))
		core->info.machine = "arm64";
	k->bytes = malloc(block);
	k->packed = malloc(block);
	if (!k->bytes || !k->packed)
		return kho_fail(err, -ENOMEM, "core: out of memory");
	k->descriptors =
		(1 + (uint64_t)get_u32(header + SUB_HEADER) + bitmaps) * block;
	return read_bitmaps(k, core, k->descriptors - bitmaps * block,
			    bitmaps / 2 * block, max_pfn, err);
}

bool kdump_begins(int fd)
{
	char magic[sizeof(FLAT)];

	return mem_read_file(fd, 0, magic, sizeof(magic)) == 0 &&
	       (!memcmp(magic, MAGIC, strlen(MAGIC)) ||
		!memcmp(magic, FLAT, sizeof(FLAT)));
}

int kdump_open(struct kho_dump *core, uint64_t file_size, struct kho_error *err)
{
	struct kdump *k = calloc(1, sizeof(*k));
	char magic[sizeof(FLAT)] = "";
	int ret = 0;

	if (!k)
		return kho_fail(err, -ENOMEM, "core: out of memory");
	core->kdump = k;
	core->read = kdump_read;
	k->fd = core->fd;
	k->size = file_size;
	k->page = UINT64_MAX;
	pthread_mutex_init(&k->lock, NULL);
	if (mem_read_file(k->fd, 0, magic, sizeof(magic)) == 0 &&
	    !memcmp(magic, FLAT, sizeof(FLAT)))
		ret = read_pieces(k, err);
	return ret ? ret : read_header(k, core, err);
}

void kdump_close(struct kdump *k)
{
	if (!k)
		return;
	pthread_mutex_destroy(&k->lock);
	free(k->pieces);
	free(k->bytes);
	free(k->packed);
	free(k);
}
