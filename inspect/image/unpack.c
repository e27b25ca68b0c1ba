// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Unpacking: through two windows into a sink, which for a kernel is a memfd.
 * Whatever the packed bytes are, it ends: with them, or when more comes out than
 * may.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "inspect/image/private.h"

#define IN_WINDOW (64u << 10)
#define OUT_WINDOW (256u << 10)
/* bgzip makes one of 64 KiB; empty ones would take for ever. */
#define MEMBERS_MAX (1u << 16)

struct windows {
	uint8_t in[IN_WINDOW];
	uint8_t out[OUT_WINDOW];
};

/**
 * struct unpacking - one that is going on
 * @image: for messages
 * @piece: what is packed
 * @codec: how
 * @members: that follow the first
 * @at: bytes of @piece that were read
 * @size: bytes that came out
 */
struct unpacking {
	const struct image *image;
	const struct piece *piece;
	const struct codec *codec;
	unsigned int members;
	uint64_t at;
	uint64_t size;
};

static int bad(const struct unpacking *u, const char *why)
{
	return image_fail(u->image, -EBADMSG,
			  "what is packed with %s at offset 0x%llx is damaged "
			  "or truncated: %s",
			  u->codec->name, (unsigned long long)u->piece->offset,
			  why);
}

static int too_large(const struct unpacking *u, uint64_t max)
{
	return image_fail(u->image, -EBADMSG,
			  "what is packed with %s at offset 0x%llx has more "
			  "than the %llu bytes that it says, or that a kernel "
			  "can have",
			  u->codec->name, (unsigned long long)u->piece->offset,
			  (unsigned long long)max);
}

static int refill(struct unpacking *u, uint8_t *window, struct flow *flow)
{
	uint64_t left = u->piece->size - u->at;
	size_t len = left < IN_WINDOW ? left : IN_WINDOW;
	int ret = piece_read(u->image, u->piece, u->at, window, len);

	u->at += len;
	flow->in = window;
	flow->n_in = len;
	flow->last = u->at == u->piece->size;
	return ret;
}

static int failed(const struct unpacking *u, int code, const struct flow *flow)
{
	if (code == -ENOMEM)
		return kho_fail(u->image->err, code, "out of memory");
	if (code == -ENOTSUP)
		return image_fail(u->image, code,
				  "what is packed with %s at offset 0x%llx "
				  "cannot be unpacked: %s",
				  u->codec->name,
				  (unsigned long long)u->piece->offset,
				  flow->why);
	return bad(u, flow->why);
}

/* Is there something more, packed in the same way? Zeros may be between them. */
static int find_member(struct unpacking *u, uint8_t *window, struct flow *flow,
		       bool *found)
{
	uint8_t magic[sizeof(u->codec->magic)] = { 0 };
	size_t len = sizeof(magic);
	const struct codec *next;
	int ret = 0;

	while (!ret && (flow->n_in ? !*flow->in : !flow->last)) {
		if (flow->n_in) {
			flow->in++;
			flow->n_in--;
		} else {
			ret = refill(u, window, flow);
		}
	}
	/* Its begin may be in two windows. */
	if (!ret && flow->n_in < len && !flow->last) {
		u->at -= flow->n_in;
		ret = refill(u, window, flow);
	}
	if (len > flow->n_in)
		len = flow->n_in;
	if (len)
		memcpy(magic, flow->in, len);
	next = codec_of(magic);
	*found = !ret && next && next->step == u->codec->step;
	return ret;
}

static int pump(struct unpacking *u, void **unpacker, struct windows *windows,
		uint64_t max, bool exact, sink_fn sink, void *arg,
		uint64_t *rest)
{
	struct flow flow = { .last = !u->piece->size };
	int ret = 0, done = 0;
	bool more = false;

	while (!ret && !done) {
		size_t before, len;

		if (!flow.n_in && !flow.last) {
			ret = refill(u, windows->in, &flow);
			if (ret)
				return ret;
		}
		before = flow.n_in;
		flow.out = windows->out;
		flow.n_out = OUT_WINDOW;
		done = u->codec->step(*unpacker, &flow);
		if (done < 0)
			return failed(u, done, &flow);
		len = OUT_WINDOW - flow.n_out;
		if (len > max - u->size)
			return too_large(u, max);
		u->size += len;
		ret = len ? sink(arg, windows->out, len) : 0;
		if (!done && !len && before == flow.n_in)
			return bad(u, "its end is missing");
		if (!ret && done)
			ret = find_member(u, windows->in, &flow, &more);
		if (!ret && done && more) {
			flow.why = "it is in too many pieces";
			if (++u->members == MEMBERS_MAX)
				return failed(u, -ENOTSUP, &flow);
			u->codec->end(*unpacker);
			*unpacker = u->codec->begin();
			if (!*unpacker)
				return failed(u, -ENOMEM, &flow);
			done = 0;
		}
	}
	if (rest)
		*rest = u->piece->size - u->at + flow.n_in;
	if (!ret && exact && (u->size != max || flow.n_in || !flow.last))
		ret = bad(u, "it has not the size that its header says");
	return ret;
}

int unpack(const struct image *image, const struct piece *piece,
	   const struct codec *codec, uint64_t size, bool exact, sink_fn sink,
	   void *arg, uint64_t *rest)
{
	struct unpacking u = {
		.image = image,
		.piece = piece,
		.codec = codec,
	};
	struct windows *windows = malloc(sizeof(*windows));
	void *unpacker = codec->begin();
	int ret = -ENOMEM;

	if (windows && unpacker)
		ret = pump(&u, &unpacker, windows, size, exact, sink, arg,
			   rest);
	else
		kho_fail(image->err, ret, "out of memory");
	if (unpacker)
		codec->end(unpacker);
	free(windows);
	return ret;
}

struct spool {
	const struct image *image;
	int fd;
	uint64_t size;
};

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, len - 1);
}

static int spool_fail(const struct spool *spool, int ret)
{
	return image_fail(spool->image, ret,
			  "cannot unpack it into a memfd: %s%s", strerror(-ret),
			  ret == -EFBIG ? ": raise ulimit -f" : "");
}

/* Zeros become a hole, which takes no memory. */
static int spool_out(void *arg, const uint8_t *bytes, size_t len)
{
	struct spool *spool = arg;
	int ret = is_zero(bytes, len) ?
			  0 :
			  file_write(spool->fd, bytes, len, spool->size);

	spool->size += len;
	return ret ? spool_fail(spool, ret) : 0;
}

int unpack_payload(struct image *image, struct piece *piece,
		   const struct codec *codec, int64_t declared)
{
	bool known = declared >= 0;
	struct spool spool = { .image = image };
	uint64_t rest = 0;
	int ret;

	if (image->spool >= 0)
		return image_fail(image, -ENOEXEC,
				  "packed twice (%s, %s): unpack it first",
				  image->info->format, codec->name);
	image_add_format(image, codec->name);
	if (piece->size > KHO_IMAGE_MAX || declared > (int64_t)KHO_IMAGE_MAX)
		return image_fail(image, -EBADMSG,
				  "larger than any kernel: more than %u MiB",
				  KHO_IMAGE_MAX >> 20);
	spool.fd = image->spool = memfd_create("kho-image", MFD_CLOEXEC);
	if (spool.fd < 0)
		return kho_fail(image->err, -errno,
				"cannot create a memfd: %m");
	ret = unpack(image, piece, codec,
		     known ? (uint64_t)declared : KHO_IMAGE_MAX, known,
		     spool_out, &spool, &rest);
	if (!ret) {
		ret = file_truncate(spool.fd, spool.size);
		if (ret)
			spool_fail(&spool, ret);
	}
	/* An lz4 file ends anywhere. */
	image->whole = !rest && (known || strcmp(codec->name, "lz4") != 0);
	*piece = (struct piece){ spool.fd, 0, spool.size };
	return ret;
}

bool packed_begins(const struct piece *piece, const uint8_t *begin)
{
	(void)piece;
	return codec_of(begin);
}

int packed_open(struct image *image, struct piece *piece)
{
	uint8_t magic[8];
	int ret = piece_read(image, piece, 0, magic, sizeof(magic));
	const struct codec *codec = ret ? NULL : codec_of(magic);

	/* It may have become another file. */
	if (!ret && !codec)
		ret = image_fail(image, -EBADMSG,
				 "it changed while it was read");
	return ret ? ret : unpack_payload(image, piece, codec, -1);
}
