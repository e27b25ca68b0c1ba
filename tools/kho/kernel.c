// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * What a kernel hands over: following a state from its root FDT to the last
 * page. What is wrong on the way is noted, and the rest is read all the same.
 */
#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kho/state.h>
#include <kho/abi/memblock.h>

#include "kernel.h"
#include "kho.h"

/* Of scratch areas; Linux has one for each node of memory, and two more. */
#define SCRATCH_MAX 4096

#define problem(kernel, severity, ...)                                         \
	problems_add(&(kernel)->problems, severity, __VA_ARGS__)

/* What a part of the state leads to, as luo_reach has it. */
struct follower {
	struct kernel *kernel;
	const char *owner;
	uint32_t use[LUO_PART_CONTENTS + 1]; /* NO_USE: none yet */
	uint64_t lost; /* folios that are not preserved as such */
	uint64_t first_lost;
	struct kernel_session *session;
};

static struct follower follow(struct kernel *kernel, const char *owner)
{
	struct follower f = { .kernel = kernel, .owner = owner };

	for (size_t i = 0; i <= LUO_PART_CONTENTS; i++)
		f.use[i] = NO_USE;
	return f;
}

static int on_pages(enum luo_part part, uint64_t phys, uint64_t size, void *arg)
{
	static const struct {
		enum use_class class;
		const char *what;
	} uses[] = {
		[LUO_PART_SESSIONS] = { USE_LUO, "session blocks" },
		[LUO_PART_FILES] = { USE_LUO, "file blocks" },
		[LUO_PART_FLBS] = { USE_LUO, "FLBs" },
		[LUO_PART_FILE] = { USE_FILE, "description" },
		[LUO_PART_LISTS] = { USE_FILE, "lists of the array" },
		[LUO_PART_ARRAY] = { USE_FILE, "array of folios" },
		[LUO_PART_CONTENTS] = { USE_CONTENTS, "contents" },
	};
	struct follower *f = arg;
	struct memory *memory = &f->kernel->memory;

	if (f->use[part] == NO_USE)
		f->use[part] = memory_use(memory, uses[part].class, f->owner,
					  uses[part].what);
	if (part == LUO_PART_FLBS)
		memory_reach_object(memory, f->use[part], phys, size);
	else
		memory_reach(memory, f->use[part], phys, size);
	return 0;
}

static int on_order(uint64_t phys, void *arg)
{
	struct follower *f = arg;
	int order = memory_order(&f->kernel->memory, phys);

	if (order < 0 && f->lost++ == 0)
		f->first_lost = phys;
	return order;
}

static int on_bytes(const void *bytes, size_t len, void *arg)
{
	sha256_update(arg, len, bytes);
	return 0;
}

static void sum_contents(struct kernel *kernel, struct kernel_file *file,
			 const char *owner)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;
	struct kho_error err;
	int ret;

	sha256_init(&ctx);
	ret = luo_memfd_contents(kernel->mem, file->memfd, on_bytes, &ctx,
				 &err);
	if (ret) {
		problem(kernel, ret == -EFBIG ? NOTE : DAMAGE, "%s: %s", owner,
			err.text);
		return;
	}
	sha256_digest(&ctx, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		sprintf(file->sha256 + 2 * i, "%02x", digest[i]);
}

/* What the descriptor of a memfd leads to. */
static void follow_memfd(struct follower *parent, struct kernel_file *file)
{
	struct kernel *kernel = parent->kernel;
	struct follower f;
	const struct luo_reach reach = { on_pages, on_order, &f };
	struct kho_error err;
	char *owner = format("%s/%#lx", parent->owner, file->file.token);

	f = follow(kernel, owner);
	if (luo_memfd_read(kernel->mem, file->file.data, &reach, &file->memfd,
			   &err))
		problem(kernel, DAMAGE, "%s: %s", owner, err.text);
	else if (!kernel->options->no_checksums)
		sum_contents(kernel, file, owner);
	if (f.lost && kernel->has_tracker)
		problem(kernel, DAMAGE,
			"%s: %lu of its folios, the first at %#lx, do not begin a preserved folio",
			owner, f.lost, f.first_lost);
	free(owner);
}

static int on_file(const struct luo_state_file *file, void *arg)
{
	struct follower *f = arg;
	struct kernel_session *session = f->session;

	*append(session->files, session->n) =
		(struct kernel_file){ .file = *file };
	return 0;
}

static void check_tokens(struct kernel *kernel,
			 const struct kernel_session *session)
{
	uint64_t *tokens = must(calloc(session->n + 1, sizeof(*tokens)));

	for (size_t i = 0; i < session->n; i++)
		tokens[i] = session->files[i].file.token;
	qsort(tokens, session->n, sizeof(*tokens), compare_numbers);
	for (size_t i = 1; i < session->n; i++)
		if (tokens[i] == tokens[i - 1])
			problem(kernel, DAMAGE, "%s: token %#lx is there twice",
				session->session.name, tokens[i]);
	free(tokens);
}

static void follow_session(struct kernel *kernel,
			   struct kernel_session *session)
{
	struct follower f = follow(kernel, session->session.name);
	const struct luo_reach reach = { on_pages, on_order, &f };
	struct kho_error err;

	f.session = session;
	if (luo_state_files(kernel->mem, &session->session, &reach, on_file, &f,
			    &err))
		problem(kernel, DAMAGE, "%s: %s", session->session.name,
			err.text);
	check_tokens(kernel, session);
	for (size_t i = 0; i < session->n; i++) {
		struct kernel_file *file = &session->files[i];

		if (luo_handler_is_memfd(file->file.handler)) {
			follow_memfd(&f, file);
			continue;
		}
		kernel->opaque++;
		problem(kernel, NOTE,
			"%s/%#lx: what a file of handler %s leads to is not known here",
			session->session.name, file->file.token,
			file->file.handler);
	}
}

static int on_session(const struct luo_state_session *session, void *arg)
{
	struct kernel *kernel = ((struct follower *)arg)->kernel;

	*append(kernel->sessions, kernel->n_sessions) =
		(struct kernel_session){ .session = *session };
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_names(struct kernel *kernel)
{
	const char **names =
		must(calloc(kernel->n_sessions + 1, sizeof(*names)));

	for (size_t i = 0; i < kernel->n_sessions; i++)
		names[i] = kernel->sessions[i].session.name;
	qsort(names, kernel->n_sessions, sizeof(*names), by_name);
	for (size_t i = 1; i < kernel->n_sessions; i++)
		if (!strcmp(names[i], names[i - 1]))
			problem(kernel, DAMAGE, "session %s is there twice",
				names[i]);
	free(names);
}

static int on_flb(const struct luo_state_flb *flb, void *arg)
{
	struct kernel *kernel = ((struct follower *)arg)->kernel;

	*append(kernel->flbs, kernel->n_flbs) = *flb;
	kernel->opaque++;
	problem(kernel, NOTE, "FLB %s: what it leads to is not known here",
		flb->name);
	return 0;
}

static void follow_luo(struct kernel *kernel,
		       const struct kho_state_subtree *subtree)
{
	struct follower f = follow(kernel, subtree->name);
	const struct luo_reach reach = { on_pages, on_order, &f };
	struct kho_error err;
	int ret;

	ret = luo_state_read(kernel->mem, subtree->phys, subtree->size,
			     &kernel->luo, &err);
	if (ret) {
		kernel->opaque++;
		problem(kernel, ret == -EPROTONOSUPPORT ? UNKNOWN : DAMAGE,
			"%s", err.text);
		return;
	}
	kernel->has_luo = true;
	if (luo_state_sessions(kernel->mem, &kernel->luo, &reach, on_session,
			       &f, &err))
		problem(kernel, DAMAGE, "%s", err.text);
	check_names(kernel);
	for (size_t i = 0; i < kernel->n_sessions; i++)
		follow_session(kernel, &kernel->sessions[i]);
	if (luo_state_flbs(kernel->mem, &kernel->luo, &reach, on_flb, &f, &err))
		problem(kernel, DAMAGE, "%s", err.text);
}

static void follow_metadata(struct kernel *kernel,
			    const struct kho_state_subtree *subtree)
{
	struct kho_error err;
	int ret = kho_linux_metadata(kernel->mem, subtree->phys, subtree->size,
				     &kernel->metadata, &err);

	kernel->has_metadata = !ret;
	if (ret)
		problem(kernel, ret == -EPROTONOSUPPORT ? NOTE : DAMAGE, "%s",
			err.text);
}

static int on_region(const struct kho_linux_region *region, void *arg)
{
	struct kernel *kernel = arg;
	struct memory *memory = &kernel->memory;

	*append(kernel->regions, kernel->n_regions) = *region;
	memory_reach(memory,
		     memory_use(memory, USE_REGION, region->name, "region"),
		     region->phys, region->size);
	return 0;
}

static void follow_memblock(struct kernel *kernel,
			    const struct kho_state_subtree *subtree)
{
	struct kho_error err;
	int ret = kho_linux_regions(kernel->mem, subtree->phys, subtree->size,
				    on_region, kernel, &err);

	if (!ret)
		return;
	kernel->opaque++;
	problem(kernel, ret == -EPROTONOSUPPORT ? UNKNOWN : DAMAGE, "%s",
		err.text);
}

static void follow_subtree(struct kernel *kernel,
			   const struct kho_state_subtree *subtree)
{
	struct memory *memory = &kernel->memory;

	memory_reach_object(memory,
			    memory_use(memory, USE_BLOB, subtree->name, "blob"),
			    subtree->phys, subtree->size);
	if (!strcmp(subtree->name, KHO_LUO_SUBTREE)) {
		follow_luo(kernel, subtree);
	} else if (!strcmp(subtree->name, KHO_KEXEC_METADATA_SUBTREE)) {
		follow_metadata(kernel, subtree);
	} else if (!strcmp(subtree->name, KHO_MEMBLOCK_SUBTREE)) {
		follow_memblock(kernel, subtree);
	} else {
		kernel->opaque++;
		problem(kernel, NOTE,
			"subtree %s: what it leads to is not known here",
			subtree->name);
	}
}

/* Where something of the dump was needed and is not in it, nobody knows. */
static void doubt(struct kernel *kernel)
{
	struct kho_dump_info now;

	kho_dump_info(kernel->core, &now);
	for (size_t i = 0;
	     now.misses > kernel->info.misses && i < kernel->problems.n; i++)
		if (kernel->problems.list[i].severity == DAMAGE)
			kernel->problems.list[i].severity = UNKNOWN;
}

void kernel_follow(struct kernel *kernel)
{
	const struct kho_state *state = kernel->state;
	struct memory *memory = &kernel->memory;
	struct kho_error err;

	kernel->has_tracker =
		memory_read(memory, kernel->mem, state->tracker, &err) == 0;
	if (!kernel->has_tracker)
		problem(kernel, DAMAGE, "%s", err.text);
	memory_reach_object(memory,
			    memory_use(memory, USE_TREE, "/", "root FDT"),
			    kernel->root.phys, kernel->root.size);
	for (size_t i = 0; i < state->n; i++)
		follow_subtree(kernel, &state->subtrees[i]);
	doubt(kernel);
}

/*
 * Accounting
 */

struct accountant {
	struct kernel *kernel;
	uint64_t unreached; /* pages of which it is no damage */
	uint64_t first_unreached;
};

/* Bytes of [@phys, @end) that are in none of the segments, sorted ones. */
static uint64_t outside(const struct kho_dump_segment *segments, size_t n,
			uint64_t phys, uint64_t end)
{
	uint64_t inside = 0;
	size_t low = 0, high = n;

	/* The first that ends behind @phys. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (segments[middle].phys + segments[middle].size <= phys)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < n && segments[low].phys < end; low++) {
		uint64_t from = segments[low].phys;
		uint64_t to = from + segments[low].size;

		inside += (to < end ? to : end) - (from > phys ? from : phys);
	}
	return end - phys - inside;
}

/* Is what is preserved there at all, and does it outlive the kexec? */
static void check_place(struct kernel *kernel, uint64_t phys, uint64_t end)
{
	uint64_t missing =
		outside(kernel->info.segments, kernel->info.n, phys, end);
	uint64_t absent =
		end - phys -
		outside(kernel->info.absent, kernel->info.n_absent, phys, end);

	kernel->absent += absent;
	missing -= absent;
	if (missing)
		problem(kernel, DAMAGE,
			"%#lx: %lu of %lu preserved bytes are not in the memory",
			phys, missing, end - phys);
	for (size_t i = 0; i < kernel->n_scratch; i++)
		if (outside(&kernel->scratch[i], 1, phys, end) < end - phys)
			problem(kernel, DAMAGE,
				"%#lx: preserved, but in scratch, which the next kernel overwrites",
				phys);
}

static void on_accounted(const struct accounted *a, void *arg)
{
	struct accountant *accountant = arg;
	struct kernel *kernel = accountant->kernel;
	const struct memory *memory = &kernel->memory;
	uint64_t phys = a->first << memory->page_shift;
	bool is_node = a->use != NO_USE &&
		       memory->uses[a->use].class == USE_TRACKER;

	if (a->account == UNREACHED &&
	    (kernel->opaque || (kernel->has_luo && !kernel->luo.written))) {
		if (!accountant->unreached)
			accountant->first_unreached = phys;
		accountant->unreached += a->end - a->first;
	} else {
		problems_add_pages(&kernel->problems, memory, a);
	}
	if (a->account == ACCOUNTED && !is_node)
		kernel->accounted += a->end - a->first;
	if (a->account != UNPRESERVED && !is_node)
		check_place(kernel, phys, a->end << memory->page_shift);
}

void kernel_account(struct kernel *kernel)
{
	struct accountant accountant = { .kernel = kernel };

	if (!kernel->has_tracker)
		return;
	memory_account(&kernel->memory, on_accounted, &accountant);
	if (kernel->absent)
		problem(kernel, kernel->info.missing ? UNKNOWN : NOTE,
			"%lu preserved bytes are not in the dump",
			kernel->absent);
	doubt(kernel);
	if (!accountant.unreached)
		return;
	problem(kernel, UNKNOWN,
		"%#lx and elsewhere: preserved, but nothing that can be followed from here leads there (pages: %lu)%s",
		accountant.first_unreached, accountant.unreached,
		kernel->has_luo && !kernel->luo.written ?
			": Linux writes sessions when the kexec starts" :
			"");
}

/*
 * Reading
 */

bool kernel_add_scratch(struct kernel *kernel, uint64_t phys, uint64_t size)
{
	if (phys + size < phys) {
		kernel->n_scratch = 0;
		return false;
	}
	/* Linux leaves some of them empty. */
	if (!size)
		return true;
	*append(kernel->scratch, kernel->n_scratch) =
		(struct kho_dump_segment){ .phys = phys, .size = size };
	return true;
}

/* The scratch areas, of which the parameters for the next kernel say where. */
static void read_scratch(struct kernel *kernel)
{
	uint64_t size = kernel->root.scratch_size;
	uint64_t area[2];

	if (!kernel->root.passed || !size || size % sizeof(area) ||
	    size / sizeof(area) > SCRATCH_MAX)
		return;
	for (uint64_t at = 0; at < size; at += sizeof(area)) {
		if (kho_mem_read(kernel->mem, kernel->root.scratch + at, area,
				 sizeof(area))) {
			kernel->n_scratch = 0;
			return;
		}
		if (!kernel_add_scratch(kernel, area[0], area[1]))
			return;
	}
	kernel->scratch_known = true;
}

static bool same_rank(const struct kho_dump_root *a,
		      const struct kho_dump_root *b)
{
	return a->readable == b->readable && a->passed == b->passed &&
	       a->preserved == b->preserved;
}

static int find_root(struct kernel *kernel, struct kho_error *err)
{
	struct kho_dump_root roots[KHO_DUMP_ROOTS];
	char list[KHO_DUMP_ROOTS * 24] = "";
	size_t n, len = 0;
	int ret;

	if (kernel->options->fdt)
		return kho_dump_root(kernel->core, kernel->options->fdt,
				     &kernel->root, err);
	ret = kho_dump_find(kernel->core, roots, &n, err);
	if (ret)
		return ret;
	kernel->root = roots[0];
	if (n == 1 || !same_rank(&roots[0], &roots[1]))
		return 0;
	for (size_t i = 0; i < n && same_rank(&roots[0], &roots[i]); i++)
		len += (size_t)sprintf(list + len, "%s%#lx", i ? ", " : "",
				       roots[i].phys);
	return kho_fail(err, -ENOTUNIQ,
			"core: it has several root FDTs, at %s: say which with --fdt",
			list);
}

int kernel_read(int fd, const struct kernel_options *options,
		struct kernel *kernel, struct kho_error *err)
{
	static const char *const kinds[] = {
		[KHO_DUMP_ELF] = "elf-core",
		[KHO_DUMP_KCORE] = "kcore",
		[KHO_DUMP_RAW] = "raw",
		[KHO_DUMP_KDUMP] = "kdump",
	};
	const struct kho_dump_opts opts = { .size = sizeof(opts),
					    .kind = options->kind,
					    .base = options->base };
	int ret;

	*kernel = (struct kernel){ .options = options };
	ret = kho_dump_open(fd, &opts, &kernel->core, err);
	if (ret)
		return ret;
	kernel->mem = kho_dump_mem(kernel->core);
	kho_dump_info(kernel->core, &kernel->info);
	kernel->kind = kinds[kernel->info.kind];
	ret = find_root(kernel, err);
	if (!ret)
		ret = kho_state_read(kernel->mem, kernel->root.phys,
				     kernel->root.size, &kernel->state, err);
	if (ret) {
		kernel_free(kernel);
		return ret;
	}
	if (kernel->info.missing)
		problem(kernel, NOTE,
			"the file is truncated: %lu bytes of memory are missing",
			kernel->info.missing);
	if (kernel->info.left_out)
		problem(kernel, NOTE,
			"%lu bytes of memory were left out of the dump",
			kernel->info.left_out);
	/* From here on they count. */
	kho_dump_info(kernel->core, &kernel->info);
	read_scratch(kernel);
	kernel_follow(kernel);
	return 0;
}

void kernel_free(struct kernel *kernel)
{
	for (size_t i = 0; i < kernel->n_sessions; i++) {
		for (size_t j = 0; j < kernel->sessions[i].n; j++)
			luo_memfd_free(kernel->sessions[i].files[j].memfd);
		free(kernel->sessions[i].files);
	}
	free(kernel->sessions);
	free(kernel->flbs);
	free(kernel->regions);
	free(kernel->scratch);
	free(kernel->incoming.state);
	kho_state_free(kernel->state);
	memory_free(&kernel->memory);
	problems_free(&kernel->problems);
	kho_dump_close(kernel->core);
	*kernel = (struct kernel){ 0 };
}
