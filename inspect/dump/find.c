// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The memory of a machine: looking for the state that its kernel hands over.
 *
 * One pass over all memory finds FDTs, at the starts of pages, and what a
 * kernel on its way to the next one leaves for it: on x86-64 a setup_data entry
 * anywhere, on arm64 a device tree. What may be a root is then looked at more
 * closely.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/abi/kexec_handover.h>
#include <kho/tracker.h>
#include <kho/state.h>

#include "inspect/dump/private.h"

/* What is read at a time. */
#define PIECE (1u << 20)
/* The smallest page size. */
#define STEP 4096u
/* A root FDT is a page at most, and of a few kinds of things there are few. */
#define ROOT_MAX 65536u
#define CANDIDATES_MAX 64
#define DEVICE_TREE_MAX (2u << 20)
#define DEVICE_TREES_MAX 64

/* setup_data of type SETUP_KEXEC_KHO: its type and length, as one number. */
#define SETUP_DATA_KHO (10ull | 32ull << 32)

/* What is passed to the next kernel, as in setup_data. */
struct parameters {
	uint64_t fdt;
	uint64_t fdt_size;
	uint64_t scratch;
	uint64_t scratch_size;
};

/* setup_data: u64 next, then type and length, then the parameters. */
#define SETUP_DATA_HEADER 16

/* Parameters, and what they are in. */
struct passed {
	struct parameters parameters;
	uint64_t at;
	uint64_t size;
};

struct search {
	struct kho_dump *core;
	bool x86;
	bool arm;
	char *piece;
	size_t n;
	uint64_t candidates[CANDIDATES_MAX];
	size_t n_passed;
	struct passed passed[CANDIDATES_MAX];
	size_t n_trees;
};

/* Is it a root FDT, by its first look? 0, and then *@state is to free(). */
static int read_root(const struct kho_mem *mem, uint64_t phys, uint32_t size,
		     struct kho_state **state, struct kho_error *err)
{
	static const char prefix[] = "kho-v";
	int ret = kho_state_read(mem, phys, size, state, err);

	if (ret || !strncmp((*state)->compatible, prefix, sizeof(prefix) - 1))
		return ret;
	free(*state);
	return kho_fail(err, -EBADMSG,
			"core: the FDT at %#llx is of something else: its compatible does not begin with %s",
			(unsigned long long)phys, prefix);
}

/* Two cells of 32 bits each for address and size, big endian. */
static bool read_reg(const void *fdt, int node, const char *name,
		     uint64_t *phys, uint64_t *size)
{
	fdt64_t cells[2];
	int len;
	const void *prop = fdt_getprop(fdt, node, name, &len);

	if (!prop || len != sizeof(cells))
		return false;
	memcpy(cells, prop, sizeof(cells));
	*phys = fdt64_to_cpu(cells[0]);
	*size = fdt64_to_cpu(cells[1]);
	return true;
}

static void add_passed(struct search *s, const struct passed *passed)
{
	if (s->n_passed < CANDIDATES_MAX)
		s->passed[s->n_passed++] = *passed;
}

/* A device tree may say in /chosen where the handover is. */
static void look_at_tree(struct search *s, uint64_t phys, uint32_t size)
{
	struct passed passed = { .at = phys, .size = size };
	struct parameters *to = &passed.parameters;
	void *copy;
	int node;

	if (!s->arm || size > DEVICE_TREE_MAX || s->n_trees == DEVICE_TREES_MAX)
		return;
	s->n_trees++;
	copy = malloc(size);
	if (!copy)
		return;
	if (kho_mem_read(&s->core->mem, phys, copy, size) == 0 &&
	    fdt_version(copy) >= 17 && fdt_check_full(copy, size) == 0) {
		node = fdt_path_offset(copy, "/chosen");
		if (node >= 0 &&
		    read_reg(copy, node, "linux,kho-fdt", &to->fdt,
			     &to->fdt_size) &&
		    read_reg(copy, node, "linux,kho-scratch", &to->scratch,
			     &to->scratch_size))
			add_passed(s, &passed);
	}
	free(copy);
}

static void look_at_fdt(struct search *s, uint64_t phys, uint32_t size)
{
	struct kho_state *state;

	if (size < sizeof(struct fdt_header))
		return;
	if (size <= ROOT_MAX && s->n < CANDIDATES_MAX &&
	    read_root(&s->core->mem, phys, size, &state, NULL) == 0) {
		kho_state_free(state);
		s->candidates[s->n++] = phys;
	} else {
		look_at_tree(s, phys, size);
	}
}

/* @phys: of its type. */
static void look_at_setup_data(struct search *s, uint64_t phys)
{
	struct passed passed = {
		.at = phys + 8 - SETUP_DATA_HEADER,
		.size = SETUP_DATA_HEADER + sizeof(passed.parameters),
	};

	/* Where it is no such thing, no root will be where it says. */
	if (kho_mem_read(&s->core->mem, phys + 8, &passed.parameters,
			 sizeof(passed.parameters)) == 0 &&
	    passed.parameters.fdt && passed.parameters.scratch)
		add_passed(s, &passed);
}

static void look_at_piece(struct search *s, uint64_t phys, size_t len)
{
	/* Segments may begin within a page. */
	size_t first = (size_t)(-phys & (STEP - 1));

	for (size_t at = first; at < len && len - at >= 8; at += STEP) {
		uint32_t word[2];

		memcpy(word, s->piece + at, sizeof(word));
		if (fdt32_to_cpu(word[0]) == FDT_MAGIC)
			look_at_fdt(s, phys + at, fdt32_to_cpu(word[1]));
	}
	if (!s->x86)
		return;
	for (size_t at = (size_t)(-phys & 7); at < len && len - at >= 8;
	     at += 8) {
		uint64_t word;

		memcpy(&word, s->piece + at, sizeof(word));
		if (word == SETUP_DATA_KHO)
			look_at_setup_data(s, phys + at);
	}
}

/* Bytes from @offset on that are a hole of the file. */
static uint64_t hole_at(int fd, uint64_t offset, uint64_t max)
{
	off_t data = offset <= INT64_MAX ? lseek(fd, (off_t)offset, SEEK_DATA) :
					   -1;

	if (data < 0)
		return errno == ENXIO ? max : 0;
	return (uint64_t)data - offset < max ? (uint64_t)data - offset : max;
}

static void search_segment(struct search *s,
			   const struct kho_dump_segment *segment)
{
	const struct kho_mem *mem = &s->core->mem;
	/* Of /proc/kcore, and where it is packed, a seek says nothing. */
	bool holes = s->core->info.kind == KHO_DUMP_ELF ||
		     s->core->info.kind == KHO_DUMP_RAW;
	uint64_t at = 0;

	while (at < segment->size) {
		uint64_t left = segment->size - at, hole = 0;
		size_t len = left < PIECE ? left : PIECE;

		if (holes)
			hole = hole_at(s->core->fd, segment->offset + at, left);
		/* To stay in step with the pages. */
		hole &= ~(uint64_t)(PIECE - 1);
		if (hole) {
			at += hole;
			continue;
		}
		if (kho_mem_read(mem, segment->phys + at, s->piece, len) == 0)
			look_at_piece(s, segment->phys + at, len);
		at += len;
	}
}

static int note_own_page(uint64_t phys, unsigned int order, void *arg)
{
	struct kho_dump_root *root = arg;
	unsigned int shift = order + root->page_shift;

	if (root->phys >= phys &&
	    (shift > 63 || (root->phys - phys) >> shift == 0))
		root->preserved = true;
	return 0;
}

/* Can its tracker be read with that page size? */
static bool try_tracker(struct kho_dump *core, uint64_t tracker,
			unsigned int page_shift, struct kho_dump_root *root)
{
	const struct kho_tracker_walk walk = { .folio = note_own_page,
					       .arg = root };

	core->mem.page_shift = root->page_shift = page_shift;
	root->preserved = false;
	return kho_tracker_walk(&core->mem, tracker, &walk, NULL) == 0;
}

/*
 * Look at a root closely. Where the page size is not known, it is that with
 * which the tracker can be read, and has the root itself, if there is such.
 */
static void judge(struct kho_dump *core, uint64_t tracker,
		  struct kho_dump_root *root)
{
	static const unsigned int shifts[] = { 12, 14, 16 };
	struct kho_dump_root best = *root;
	unsigned int guess = core->mem.page_shift;

	best.page_shift = guess;
	for (size_t i = 0; i < 3 && !best.preserved; i++) {
		struct kho_dump_root now = *root;

		if (core->page_shift_known && shifts[i] != guess)
			continue;
		now.readable = try_tracker(core, tracker, shifts[i], &now);
		if (now.readable && (now.preserved || !best.readable))
			best = now;
	}
	core->mem.page_shift = guess;
	*root = best;
}

int kho_dump_root(struct kho_dump *core, uint64_t phys,
		  struct kho_dump_root *root, struct kho_error *err)
{
	struct fdt_header header;
	struct kho_state *state;
	uint32_t size;
	int ret;

	if (kho_mem_read(&core->mem, phys, &header, sizeof(header)))
		return kho_fail(err, -EFAULT, "core: it has no memory at %#llx",
				(unsigned long long)phys);
	size = fdt32_to_cpu(header.totalsize);
	if (fdt32_to_cpu(header.magic) != FDT_MAGIC)
		return kho_fail(err, -EBADMSG,
				"core: no FDT at %#llx: it begins with %#x",
				(unsigned long long)phys,
				fdt32_to_cpu(header.magic));
	ret = read_root(&core->mem, phys, size, &state, err);
	if (ret)
		return ret;
	*root = (struct kho_dump_root){ .phys = phys, .size = size };
	judge(core, state->tracker, root);
	core->mem.page_shift = root->page_shift;
	kho_state_free(state);
	return 0;
}

static void add_scratch(const struct search *s, struct kho_dump_root *root)
{
	for (size_t i = 0; i < s->n_passed && !root->passed; i++) {
		const struct passed *passed = &s->passed[i];

		if (passed->parameters.fdt != root->phys)
			continue;
		root->passed = true;
		root->passed_at = passed->at;
		root->passed_size = passed->size;
		root->scratch = passed->parameters.scratch;
		root->scratch_size = passed->parameters.scratch_size;
	}
}

static int rank(const struct kho_dump_root *root)
{
	return root->readable * 4 + root->passed * 2 + root->preserved;
}

/* Insert, the best first; the worst falls off the end. */
static void insert(struct kho_dump_root roots[KHO_DUMP_ROOTS], size_t *n,
		   const struct kho_dump_root *root)
{
	size_t at = 0;

	while (at < *n && rank(&roots[at]) >= rank(root))
		at++;
	if (at == KHO_DUMP_ROOTS)
		return;
	if (*n < KHO_DUMP_ROOTS)
		(*n)++;
	memmove(&roots[at + 1], &roots[at], (*n - 1 - at) * sizeof(roots[0]));
	roots[at] = *root;
}

int kho_dump_find(struct kho_dump *core,
		  struct kho_dump_root roots[KHO_DUMP_ROOTS], size_t *n,
		  struct kho_error *err)
{
	const char *machine = core->info.machine;
	struct search *s = calloc(1, sizeof(*s));
	char *piece = malloc(PIECE);

	*n = 0;
	if (!s || !piece) {
		free(s);
		free(piece);
		return kho_fail(err, -ENOMEM, "core: out of memory");
	}
	s->core = core;
	s->piece = piece;
	s->x86 = !machine || !strcmp(machine, "x86-64");
	s->arm = !machine || !strcmp(machine, "arm64");
	for (size_t i = 0; i < core->info.n; i++)
		search_segment(s, &core->segments[i]);
	for (size_t i = 0; i < s->n; i++) {
		unsigned int shift = core->mem.page_shift;
		struct kho_dump_root root;

		/* It may have changed since, when it is the running kernel. */
		if (kho_dump_root(core, s->candidates[i], &root, NULL))
			continue;
		core->mem.page_shift = shift;
		add_scratch(s, &root);
		insert(roots, n, &root);
	}
	free(piece);
	free(s);
	if (!*n)
		return kho_fail(err, -ENOENT,
				"core: no root FDT in it, on any page: nothing was to be handed over, or not all memory is there");
	core->mem.page_shift = roots[0].page_shift;
	return 0;
}
