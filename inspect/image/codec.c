// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The ways in which kernels are packed, each by the library that is made for
 * it, behind one interface.
 */
#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "inspect/image/private.h"

static int broken(struct flow *flow, const char *why)
{
	flow->why = why;
	return -EBADMSG;
}

static int unsupported(struct flow *flow, const char *why)
{
	flow->why = why;
	return -ENOTSUP;
}

/*
 * gzip
 */

static void *gzip_begin(void)
{
	z_stream *z = calloc(1, sizeof(*z));

	/* The 16 is for gzip's header. */
	if (!z || inflateInit2(z, 15 + 16) == Z_OK)
		return z;
	free(z);
	return NULL;
}

static int gzip_step(void *unpacker, struct flow *flow)
{
	z_stream *z = unpacker;
	int ret;

	z->next_in = (Bytef *)(uintptr_t)flow->in;
	z->avail_in = (uInt)flow->n_in;
	z->next_out = flow->out;
	z->avail_out = (uInt)flow->n_out;
	ret = inflate(z, Z_NO_FLUSH);
	flow->in = z->next_in;
	flow->n_in = z->avail_in;
	flow->out = z->next_out;
	flow->n_out = z->avail_out;
	if (ret == Z_MEM_ERROR)
		return -ENOMEM;
	if (ret != Z_OK && ret != Z_BUF_ERROR && ret != Z_STREAM_END)
		return broken(flow, z->msg ? z->msg : "wrong data");
	return ret == Z_STREAM_END;
}

static void gzip_end(void *unpacker)
{
	inflateEnd(unpacker);
	free(unpacker);
}

/*
 * xz, and lzma as it was before xz
 */

static lzma_stream *lzma_begin(bool legacy)
{
	lzma_stream *s = calloc(1, sizeof(*s));
	lzma_ret ret;

	if (!s)
		return NULL;
	ret = legacy ? lzma_alone_decoder(s, KHO_IMAGE_UNPACK_MEMORY) :
		       lzma_stream_decoder(s, KHO_IMAGE_UNPACK_MEMORY, 0);
	if (ret == LZMA_OK)
		return s;
	free(s);
	return NULL;
}

static void *xz_begin(void)
{
	return lzma_begin(false);
}

static void *lzma_legacy_begin(void)
{
	return lzma_begin(true);
}

static int lzma_step(void *unpacker, struct flow *flow)
{
	lzma_stream *s = unpacker;
	lzma_ret ret;

	s->next_in = flow->in;
	s->avail_in = flow->n_in;
	s->next_out = flow->out;
	s->avail_out = flow->n_out;
	ret = lzma_code(s, LZMA_RUN);
	flow->in = s->next_in;
	flow->n_in = s->avail_in;
	flow->out = s->next_out;
	flow->n_out = s->avail_out;
	switch (ret) {
	case LZMA_OK:
	case LZMA_BUF_ERROR:
		return 0;
	case LZMA_STREAM_END:
		return 1;
	case LZMA_MEM_ERROR:
		return -ENOMEM;
	case LZMA_MEMLIMIT_ERROR:
		return unsupported(flow,
				   "it needs more memory than a kernel's may");
	case LZMA_OPTIONS_ERROR:
		return unsupported(flow, "it has options that are not known");
	default:
		return broken(flow, "wrong data");
	}
}

static void lzma_finish(void *unpacker)
{
	lzma_end(unpacker);
	free(unpacker);
}

/*
 * zstd
 */

/* 128 MiB, what the kernel is packed with. */
#define ZSTD_WINDOW_LOG 27

static void *zstd_begin(void)
{
	ZSTD_DStream *s = ZSTD_createDStream();

	if (s)
		ZSTD_DCtx_setParameter(s, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	return s;
}

static int zstd_step(void *unpacker, struct flow *flow)
{
	ZSTD_inBuffer in = { flow->in, flow->n_in, 0 };
	ZSTD_outBuffer out = { flow->out, flow->n_out, 0 };
	size_t ret = ZSTD_decompressStream(unpacker, &out, &in);

	flow->in += in.pos;
	flow->n_in -= in.pos;
	flow->out += out.pos;
	flow->n_out -= out.pos;
	switch (ZSTD_getErrorCode(ret)) {
	case ZSTD_error_no_error:
		return !ret;
	case ZSTD_error_memory_allocation:
		return -ENOMEM;
	case ZSTD_error_frameParameter_windowTooLarge:
		return unsupported(flow,
				   "it needs more memory than a kernel's may");
	case ZSTD_error_frameParameter_unsupported:
	case ZSTD_error_version_unsupported:
	case ZSTD_error_dictionary_wrong:
		return unsupported(flow, ZSTD_getErrorName(ret));
	default:
		return broken(flow, ZSTD_getErrorName(ret));
	}
}

static void zstd_end(void *unpacker)
{
	ZSTD_freeDStream(unpacker);
}

/*
 * bzip2
 */

static void *bzip2_begin(void)
{
	bz_stream *s = calloc(1, sizeof(*s));

	if (!s || BZ2_bzDecompressInit(s, 0, 0) == BZ_OK)
		return s;
	free(s);
	return NULL;
}

static int bzip2_step(void *unpacker, struct flow *flow)
{
	bz_stream *s = unpacker;
	int ret;

	s->next_in = (char *)(uintptr_t)flow->in;
	s->avail_in = (unsigned int)flow->n_in;
	s->next_out = (char *)flow->out;
	s->avail_out = (unsigned int)flow->n_out;
	ret = BZ2_bzDecompress(s);
	flow->in = (uint8_t *)s->next_in;
	flow->n_in = s->avail_in;
	flow->out = (uint8_t *)s->next_out;
	flow->n_out = s->avail_out;
	if (ret == BZ_MEM_ERROR)
		return -ENOMEM;
	if (ret != BZ_OK && ret != BZ_STREAM_END)
		return broken(flow, "wrong data");
	return ret == BZ_STREAM_END;
}

static void bzip2_end(void *unpacker)
{
	BZ2_bzDecompressEnd(unpacker);
	free(unpacker);
}

/*
 * lz4, the legacy format: a magic number, then chunks, each with its size before
 * it, to the end of the file.
 */

#define LZ4_MAGIC 0x184c2102
#define LZ4_CHUNK (8 << 20) /* when it is unpacked, at most */
/* A byte stands for no more of them. */
#define LZ4_RATIO 255

/**
 * struct lz4 - unpacks chunk by chunk
 * @in: of the chunk, after its size
 * @n_in: bytes that are there
 * @size: bytes that it has; 0: not known yet
 * @header: its size, as far as @n_header bytes of it are there
 * @out: what it was unpacked to
 * @n_out: bytes of that
 * @at_out: of which so many are gone
 */
struct lz4 {
	char *in;
	size_t n_in;
	uint32_t size;
	uint8_t header[4];
	size_t n_header;
	char *out;
	size_t n_out;
	size_t at_out;
};

static void *lz4_begin(void)
{
	return calloc(1, sizeof(struct lz4));
}

/* Take bytes until @n of @size are there. */
static bool lz4_fill(struct flow *flow, void *bytes, size_t *n, size_t size)
{
	size_t len = size - *n;

	if (len > flow->n_in)
		len = flow->n_in;
	if (len)
		memcpy((char *)bytes + *n, flow->in, len);
	*n += len;
	flow->in += len;
	flow->n_in -= len;
	return *n == size;
}

/* A chunk begins, or the next file. */
static int lz4_chunk(struct lz4 *s, struct flow *flow)
{
	uint32_t size = get_u32(s->header);
	uint64_t room = (uint64_t)size * LZ4_RATIO;
	char *in, *out;

	s->n_header = 0;
	if (size == LZ4_MAGIC)
		return 0;
	if (!size || size > LZ4_COMPRESSBOUND(LZ4_CHUNK))
		return broken(flow, "a chunk of a wrong size, or something "
				    "else is behind it");
	in = realloc(s->in, size);
	if (!in)
		return -ENOMEM;
	s->in = in;
	out = realloc(s->out, room < LZ4_CHUNK ? room : LZ4_CHUNK);
	if (!out)
		return -ENOMEM;
	s->out = out;
	s->n_in = 0;
	s->size = size;
	return 0;
}

static int lz4_unpack(struct lz4 *s, struct flow *flow)
{
	uint64_t room = (uint64_t)s->size * LZ4_RATIO;
	int n = LZ4_decompress_safe(s->in, s->out, (int)s->size,
				    room < LZ4_CHUNK ? (int)room : LZ4_CHUNK);

	if (n < 0)
		return broken(flow, "wrong data");
	s->size = 0;
	s->n_out = (size_t)n;
	s->at_out = 0;
	return 0;
}

static void lz4_drain(struct lz4 *s, struct flow *flow)
{
	size_t len = s->n_out - s->at_out;

	if (len > flow->n_out)
		len = flow->n_out;
	if (len)
		memcpy(flow->out, s->out + s->at_out, len);
	s->at_out += len;
	flow->out += len;
	flow->n_out -= len;
}

static int lz4_step(void *unpacker, struct flow *flow)
{
	struct lz4 *s = unpacker;
	int ret = 0;

	if (s->at_out < s->n_out) {
		lz4_drain(s, flow);
	} else if (s->size) {
		if (lz4_fill(flow, s->in, &s->n_in, s->size))
			ret = lz4_unpack(s, flow);
	} else if (lz4_fill(flow, s->header, &s->n_header, sizeof(s->header))) {
		ret = lz4_chunk(s, flow);
	} else {
		/* The end is where nothing begins any more. */
		ret = flow->last && !s->n_header;
	}
	return ret;
}

static void lz4_end(void *unpacker)
{
	struct lz4 *s = unpacker;

	free(s->in);
	free(s->out);
	free(s);
}

static const struct codec codecs[] = {
	{ "gzip", { 0x1f, 0x8b, 0x08 }, 3, gzip_begin, gzip_step, gzip_end },
	{ "xz",
	  { 0xfd, '7', 'z', 'X', 'Z', 0 },
	  6,
	  xz_begin,
	  lzma_step,
	  lzma_finish },
	{ "lzma",
	  { 0x5d, 0x00, 0x00 },
	  3,
	  lzma_legacy_begin,
	  lzma_step,
	  lzma_finish },
	{ "zstd",
	  { 0x28, 0xb5, 0x2f, 0xfd },
	  4,
	  zstd_begin,
	  zstd_step,
	  zstd_end },
	/* A frame that is to be skipped, as pzstd(1) puts before each other. */
	{ "zstd",
	  { 0x50, 0x2a, 0x4d, 0x18 },
	  4,
	  zstd_begin,
	  zstd_step,
	  zstd_end },
	{ "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4, lz4_begin, lz4_step, lz4_end },
	{ "bzip2", { 'B', 'Z', 'h' }, 3, bzip2_begin, bzip2_step, bzip2_end },
};

#define N_CODECS (sizeof(codecs) / sizeof(codecs[0]))

const struct codec *codec_of(const uint8_t *begin)
{
	size_t i;

	for (i = 0; i < N_CODECS; i++)
		if (!memcmp(begin, codecs[i].magic, codecs[i].magic_len))
			return &codecs[i];
	return NULL;
}

const struct codec *codec_find(const char *name)
{
	size_t i;

	for (i = 0; i < N_CODECS; i++)
		if (!strcmp(codecs[i].name, name))
			return &codecs[i];
	return NULL;
}
