/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * What the preserved pages of a state are for: what the tracker has on the one
 * side, what the state leads to on the other, page by page.
 */
#ifndef TOOLS_KHO_MEMORY_H
#define TOOLS_KHO_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include <kho/error.h>
#include <kho/mem.h>

/* Orders that a folio can have. */
#define ORDERS 64

/* What pages are for, in a few classes, for people and pictures. */
enum use_class {
	USE_SUPER, /* an arena's superblock, which the tracker does not have */
	USE_TREE, /* the root FDT */
	USE_BLOB, /* what a subtree points to */
	USE_LUO, /* blocks of sessions and files, FLBs */
	USE_FILE, /* how a file is described */
	USE_CONTENTS, /* what is in a file */
	USE_REGION, /* reserve_mem */
	USE_TRACKER, /* the tracker's own nodes, which it does not have */
};

/*
 * struct use - what pages are for
 * @class: in short
 * @owner: whose: a subtree, "SESSION/TOKEN", a region, "/" for the root
 * @what: what of it: "root FDT", "contents"
 * @pages: how many
 */
struct use {
	enum use_class class;
	char *owner;
	char *what;
	uint64_t pages;
};

/* Pages from @first to before @end, by number. */
struct extent {
	uint64_t first;
	uint64_t end;
	uint32_t use;
};

/* Of none. */
#define NO_USE UINT32_MAX

/*
 * struct memory - a state's pages
 * @page_shift: log2 of the page size
 * @folios: preserved: phys of the first page, plus the order; ascending
 * @n_folios: how many
 * @by_order: how many of each order
 * @pages: of all folios
 * @nodes: pages of the tracker
 * @uses: what pages are for
 * @extents: which pages they are; in the order in which they were found
 */
struct memory {
	unsigned int page_shift;
	uint64_t *folios;
	size_t n_folios;
	uint64_t by_order[ORDERS];
	uint64_t pages;
	uint64_t nodes;
	size_t n_uses;
	struct use *uses;
	size_t n_extents;
	struct extent *extents;
};

static inline uint64_t folio_phys(const struct memory *memory, size_t i)
{
	return memory->folios[i] & ~((1ull << memory->page_shift) - 1);
}

static inline unsigned int folio_order(const struct memory *memory, size_t i)
{
	return (unsigned int)(memory->folios[i] &
			      ((1ull << memory->page_shift) - 1));
}

/*
 * Reads a tracker. Returns 0 or a negative errno; @memory is to
 * memory_free() in any case.
 */
int memory_read(struct memory *memory, const struct kho_mem *mem,
		uint64_t tracker, struct kho_error *err);
void memory_free(struct memory *memory);

/* Order of the preserved folio that begins at @phys, -1 when none does. */
int memory_order(const struct memory *memory, uint64_t phys);

/* Says what pages are going to be for; returns the number of the use. */
uint32_t memory_use(struct memory *memory, enum use_class class,
		    const char *owner, const char *what);

/* The pages that have @size bytes at @phys. */
void memory_reach(struct memory *memory, uint32_t use, uint64_t phys,
		  uint64_t size);

/*
 * The same of what was allocated in one piece: with the folio it begins in,
 * which may be larger.
 */
void memory_reach_object(struct memory *memory, uint32_t use, uint64_t phys,
			 uint64_t size);

/*
 * What comes out when both sides are compared. Every page has one of these,
 * or none when it is neither preserved nor in use.
 */
enum account {
	ACCOUNTED, /* preserved, and for one thing; or a node, and not */
	UNREACHED, /* preserved, but nothing leads to it */
	UNPRESERVED, /* led to, but not preserved */
	SHARED, /* for two things */
	PRESERVED_TWICE, /* in two folios */
	PRESERVED_KEPT, /* a node of the tracker, or a superblock, and preserved */
};

/*
 * struct accounted - pages that are of one kind
 * @account: the kind
 * @first, @end: they, by number
 * @use: what for, NO_USE when unreached
 * @other: SHARED: what else for
 */
struct accounted {
	enum account account;
	uint64_t first;
	uint64_t end;
	uint32_t use;
	uint32_t other;
};

/*
 * Compares both sides; calls back in ascending order, without overlaps, each
 * run as long as possible.
 */
void memory_account(const struct memory *memory,
		    void (*each)(const struct accounted *accounted, void *arg),
		    void *arg);

#endif
