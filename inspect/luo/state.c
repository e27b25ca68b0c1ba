// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Reading sessions, files and shared state through a view of memory, where
 * every byte is hostile.
 */
#include <errno.h>
#include <string.h>

#include <kho/luo.h>

#include "data/block/read.h"

_Static_assert(sizeof(struct kho_luo_header) == 32, "format");
_Static_assert(sizeof(struct kho_luo_session) == 80, "format");
_Static_assert(sizeof(struct kho_luo_file) == 64, "format");
_Static_assert(sizeof(struct kho_luo_flbs) == 16, "format");
_Static_assert(sizeof(struct kho_luo_flb) == 64, "format");

/* Of FLBs; Linux has some pages. */
#define FLB_PAGES_MAX 4096

static int tell(const struct luo_reach *reach, enum luo_part part,
		uint64_t phys, uint64_t size)
{
	return reach ? reach->pages(part, phys, size, reach->arg) : 0;
}

/*
 * A name has a NUL, and is not empty. What is behind the NUL means nothing,
 * although Linux writes zeros.
 */
static bool name_ok(const char *name, size_t size)
{
	return name[0] && memchr(name, 0, size);
}

int luo_state_read(const struct kho_mem *mem, uint64_t phys, uint64_t size,
		   struct luo_state *state, struct kho_error *err)
{
	struct kho_luo_header header;
	struct kho_block_v1 block;

	if (size < sizeof(header))
		return kho_fail(err, -EBADMSG,
				"luo: a header of %llu bytes, it has %zu",
				(unsigned long long)size, sizeof(header));
	if (kho_mem_read(mem, phys, &header, sizeof(header)))
		return kho_fail(err, -EFAULT,
				"luo: the header at %#llx is outside the memory",
				(unsigned long long)phys);
	*state = (struct luo_state){
		.live_updates = header.live_updates,
		.sessions = header.sessions.phys,
		.flbs = header.flbs.phys,
	};
	memcpy(state->compatible, header.compatible, sizeof(header.compatible));
	if (!name_ok(header.compatible, sizeof(header.compatible)))
		return kho_fail(err, -EBADMSG,
				"luo: at %#llx is no header: it has no version",
				(unsigned long long)phys);
	if (strcmp(state->compatible, KHO_LUO_COMPATIBLE))
		return kho_fail(err, -EPROTONOSUPPORT,
				"luo: the state is %s, only " KHO_LUO_COMPATIBLE
				" can be read",
				state->compatible);
	/* What is no block is an error, but not of the header. */
	state->written = state->sessions;
	if (state->sessions &&
	    !(state->sessions & ((1ull << mem->page_shift) - 1)) &&
	    kho_mem_read(mem, state->sessions, &block, sizeof(block)) == 0)
		state->written = block.count;
	return 0;
}

/* A chain that is being read, of sessions or files. */
struct chain {
	const struct luo_reach *reach;
	enum luo_part part;
	struct kho_error *err;
	union {
		int (*session)(const struct luo_state_session *session,
			       void *arg);
		int (*file)(const struct luo_state_file *file, void *arg);
	};
	void *arg;
	uint64_t want; /* files that there shall be */
};

static int check_block(struct block_reader *r, uint64_t phys, uint64_t count)
{
	const struct chain *chain = r->arg;
	int ret = tell(chain->reach, chain->part, phys,
		       1ull << r->in.mem->page_shift);

	if (ret)
		return ret;
	if (r->stats.blocks >= KHO_LUO_MAX_BLOCKS)
		return kho_fail(chain->err, -E2BIG,
				"luo: more than %d blocks: Linux refuses them",
				KHO_LUO_MAX_BLOCKS);
	if (chain->part == LUO_PART_FILES &&
	    r->stats.entries + count > chain->want)
		return kho_fail(chain->err, -EBADMSG,
				"luo: at %#llx: more than the %llu files that the session has",
				(unsigned long long)phys,
				(unsigned long long)chain->want);
	return 0;
}

static int read_sessions(struct block_reader *r, uint64_t phys,
			 const char *entries, uint32_t count)
{
	const struct chain *chain = r->arg;
	int ret = check_block(r, phys, count);

	for (uint32_t i = 0; !ret && i < count; i++) {
		struct luo_state_session session;
		struct kho_luo_session raw;

		memcpy(&raw, entries + i * sizeof(raw), sizeof(raw));
		if (!name_ok(raw.name, sizeof(raw.name)))
			return kho_fail(chain->err, -EBADMSG,
					"luo: at %#llx: session %u has no name, or one without an end",
					(unsigned long long)phys, i);
		session.files = raw.files.phys;
		session.count = raw.count;
		memcpy(session.name, raw.name, sizeof(raw.name));
		ret = chain->session(&session, chain->arg);
	}
	return ret;
}

static int read_files(struct block_reader *r, uint64_t phys,
		      const char *entries, uint32_t count)
{
	const struct chain *chain = r->arg;
	int ret = check_block(r, phys, count);

	for (uint32_t i = 0; !ret && i < count; i++) {
		struct luo_state_file file;
		struct kho_luo_file raw;

		memcpy(&raw, entries + i * sizeof(raw), sizeof(raw));
		if (!name_ok(raw.compatible, sizeof(raw.compatible)))
			return kho_fail(chain->err, -EBADMSG,
					"luo: at %#llx: file %u has no handler, or one without an end",
					(unsigned long long)phys, i);
		file.data = raw.data;
		file.token = raw.token;
		memcpy(file.handler, raw.compatible, sizeof(raw.compatible));
		ret = chain->file(&file, chain->arg);
	}
	return ret;
}

/*
 * The pages of a chain that has no entries yet. It is in use by a kernel that
 * runs, so what is not as expected is not worth an error.
 */
static int reach_unwritten(const struct kho_mem *mem, uint64_t phys,
			   const struct luo_reach *reach)
{
	uint64_t size = 1ull << mem->page_shift;
	struct kho_block_v1 block;
	int ret = 0;

	for (unsigned int n = 0; !ret && phys && n < KHO_LUO_MAX_BLOCKS; n++) {
		if (phys & (size - 1) ||
		    kho_mem_read(mem, phys, &block, sizeof(block)))
			break;
		ret = tell(reach, LUO_PART_SESSIONS, phys, size);
		phys = block.next.phys;
	}
	return ret;
}

int luo_state_sessions(const struct kho_mem *mem, const struct luo_state *state,
		       const struct luo_reach *reach,
		       int (*session)(const struct luo_state_session *session,
				      void *arg),
		       void *arg, struct kho_error *err)
{
	struct chain chain = {
		.reach = reach,
		.part = LUO_PART_SESSIONS,
		.err = err,
		.session = session,
		.arg = arg,
	};
	struct block_reader reader = {
		.in = { "block", mem, err },
		.version = 1,
		.entry_size = sizeof(struct kho_luo_session),
		.block = read_sessions,
		.arg = &chain,
	};

	if (!state->written)
		return reach_unwritten(mem, state->sessions, reach);
	return block_read(&reader, state->sessions);
}

int luo_state_files(const struct kho_mem *mem,
		    const struct luo_state_session *session,
		    const struct luo_reach *reach,
		    int (*file)(const struct luo_state_file *file, void *arg),
		    void *arg, struct kho_error *err)
{
	struct chain chain = {
		.reach = reach,
		.part = LUO_PART_FILES,
		.err = err,
		.file = file,
		.arg = arg,
		.want = session->count,
	};
	struct block_reader reader = {
		.in = { "block", mem, err },
		.version = 1,
		.entry_size = sizeof(struct kho_luo_file),
		.block = read_files,
		.arg = &chain,
	};
	int ret = block_read(&reader, session->files);

	if (!ret && reader.stats.entries != session->count)
		ret = kho_fail(err, -EBADMSG,
			       "luo: session %s has %llu files, its blocks have %llu",
			       session->name,
			       (unsigned long long)session->count,
			       (unsigned long long)reader.stats.entries);
	return ret;
}

/* The header of the FLBs, when it is one. */
static int read_flbs(const struct kho_mem *mem, uint64_t phys,
		     struct kho_luo_flbs *flbs, struct kho_error *err)
{
	uint64_t size = 1ull << mem->page_shift;

	if (phys & (size - 1))
		return kho_fail(err, -EBADMSG,
				"luo: FLBs at %#llx, which no page is",
				(unsigned long long)phys);
	if (kho_mem_read(mem, phys, flbs, sizeof(*flbs)))
		return kho_fail(err, -EFAULT,
				"luo: FLBs at %#llx, outside the memory",
				(unsigned long long)phys);
	/* Nothing was written yet. */
	if (!flbs->pages && !flbs->count)
		return 0;
	if (!flbs->pages || flbs->pages > FLB_PAGES_MAX ||
	    flbs->count > ((flbs->pages << mem->page_shift) - sizeof(*flbs)) /
				  sizeof(struct kho_luo_flb))
		return kho_fail(err, -EBADMSG,
				"luo: at %#llx: %llu FLBs in %llu pages",
				(unsigned long long)phys,
				(unsigned long long)flbs->count,
				(unsigned long long)flbs->pages);
	return 0;
}

int luo_state_flbs(const struct kho_mem *mem, const struct luo_state *state,
		   const struct luo_reach *reach,
		   int (*flb)(const struct luo_state_flb *flb, void *arg),
		   void *arg, struct kho_error *err)
{
	uint64_t at = state->flbs;
	struct kho_luo_flbs flbs;
	int ret;

	if (!at)
		return 0;
	ret = read_flbs(mem, at, &flbs, err);
	if (!ret)
		ret = tell(reach, LUO_PART_FLBS, at,
			   (flbs.pages ?: 1) << mem->page_shift);
	at += sizeof(flbs);
	for (uint64_t i = 0; !ret && i < flbs.count; i++) {
		struct luo_state_flb one;
		struct kho_luo_flb raw;

		if (kho_mem_read(mem, at, &raw, sizeof(raw)))
			return kho_fail(err, -EFAULT,
					"luo: the FLB at %#llx is outside the memory",
					(unsigned long long)at);
		if (!name_ok(raw.name, sizeof(raw.name)))
			return kho_fail(err, -EBADMSG,
					"luo: the FLB at %#llx has no name, or one without an end",
					(unsigned long long)at);
		memcpy(one.name, raw.name, sizeof(raw.name));
		one.data = raw.data;
		one.count = raw.count;
		ret = flb(&one, arg);
		at += sizeof(raw);
	}
	return ret;
}
