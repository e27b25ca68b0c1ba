/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Fixed-size entries in a chain of pages
 *
 * A growing array that survives: entries of one size, appended at the end,
 * read by index or one after the other, dropped from the end. Every entry
 * survives crash and handover from kho_block_append() on; a kill leaves the
 * chain as it was before or after.
 *
 * 1. Put a struct kho_block_root, zeroed, into a blob of your own in the
 *    arena; your component declares ``.deps = { "block" }``. kho_block_create()
 *    makes an empty chain there.
 * 2. kho_block_append(), kho_block_shrink(). The root is kept up to date.
 * 3. After a handover or a crash, kho_block_restore() checks and claims the
 *    chain that begins in the root. It writes nothing.
 * 4. kho_block_close() at the end, or kho_block_destroy() to give all back.
 *
 * An entry does not change once it is appended; what must change belongs
 * elsewhere, with its phys in the entry.
 *
 * **Versions.** You never name one. A new chain is in the version that
 * kho_version() says, a restored one in any that this program reads. When the
 * successor needs another one, kho_update() converts all chains once your freeze
 * callback has returned: the entries are copied to new blocks, and the old ones
 * given back. No thread may use a chain then, and pointers to entries and
 * iterators from before are void, also after an abort, which converts back. At
 * other times a chain changes its version only while it is empty. A chain that
 * was not restored, or was closed, cannot be converted: keep those open that
 * your state has.
 *
 * **Threads.** Writers (append, grow, shrink) of one chain wait for each
 * other. Readers (count, get, iterate) take no lock and never wait: whoever
 * gets a count n finds the entries 0 to n - 1 complete, and they stay where
 * they are. Only kho_block_shrink() takes entries away: while it drops some,
 * no other thread may use one of them, by pointer, index or iterator, and an
 * iterator that was among them is of no use any more. Readers of the entries
 * that stay need not care.
 *
 * A chain belongs to a struct kho and must be closed before it. Before
 * kho_ready() on an arena that came from somebody else, a restored chain can be
 * read; what would change it fails with -EROFS.
 */
#ifndef KHO_BLOCK_H
#define KHO_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/abi/block.h>
#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/**
 * struct kho_blocks - a chain of blocks
 *
 * Opaque; volatile: the side of a chain that is in the process's own memory.
 */
struct kho_blocks;

/**
 * kho_block_create() - make an empty chain
 * @kho: the arena; must outlive the chain's close
 * @entry_size: bytes of an entry; at least one must fit into a page
 * @root: where it begins: in the arena, multiple of 8 bytes; the caller's to
 *        preserve. Set to NULL here, and kept up to date until the chain is
 *        closed
 * @blocks: result; close with kho_block_close(), or kho_block_destroy()
 * @err: why not; may be NULL
 *
 * Takes no page until there is an entry.
 *
 * Return: 0; -EINVAL for a bad @entry_size or @root; -ENOMEM; -EROFS.
 */
int kho_block_create(struct kho *kho, size_t entry_size,
		     struct kho_block_root *root, struct kho_blocks **blocks,
		     struct kho_error *err);

/**
 * kho_block_restore() - check and claim a chain after a handover or a crash
 * @kho: the arena; must outlive the chain's close
 * @entry_size: bytes of an entry
 * @root: where it begins, maybe damaged since: in the arena, multiple of 8
 *        bytes; kept up to date from now on
 * @blocks: result; close with kho_block_close(), or kho_block_destroy()
 * @err: what is wrong and where; may be NULL
 *
 * First checks everything, as kho_block_verify(), then claims each block with
 * kho_restore_folio(). Writes nothing. The blocks say of which version they
 * are.
 *
 * Return: 0; -EINVAL for a bad @entry_size or @root; as kho_block_verify(),
 * and then nothing was claimed; -ENOENT when a block is not preserved, -EBUSY
 * when it was claimed before, -EBADMSG when its folio is more than a page, and
 * then what was claimed so far stays claimed; -ENOMEM.
 */
int kho_block_restore(struct kho *kho, size_t entry_size,
		      struct kho_block_root *root, struct kho_blocks **blocks,
		      struct kho_error *err);

/**
 * kho_block_close() - free the volatile side of a chain
 * @blocks: the chain; NULL is allowed. No other thread may be using it
 *
 * Writes nothing to the arena; the entries stay. Pages that kho_block_grow()
 * got and nobody used are left to kho_free_unclaimed().
 */
void kho_block_close(struct kho_blocks *blocks);

/**
 * kho_block_destroy() - give a chain and all its entries back
 * @blocks: the chain, closed on success; NULL is allowed. No other thread may
 *          be using it
 *
 * The root becomes NULL first. Killed half-way, it leaves pages for
 * kho_free_unclaimed().
 *
 * Return: 0; -EROFS, and then nothing has changed.
 */
int kho_block_destroy(struct kho_blocks *blocks);

/**
 * kho_block_grow() - make room
 * @blocks: the chain
 * @count: entries in total that there shall be room for
 *
 * Until there are that many, kho_block_append() does not run out of memory.
 * Pages that are not in use yet do not survive: before a handover, give them
 * back with kho_block_shrink().
 *
 * Return: 0; -ENOSPC when the arena is full, -ENOMEM, -EROFS, and then there
 * is room for what there was.
 */
int kho_block_grow(struct kho_blocks *blocks, uint64_t count);

/**
 * kho_block_shrink() - drop entries and room
 * @blocks: the chain
 * @count: entries in total that there shall be room for
 *
 * Drops the entries from index @count on, and gives all pages back that are
 * not needed for @count. Look at the rule for threads above. Killed half-way,
 * the chain has all entries or @count; in version 1 also some in between.
 *
 * Return: 0; -EROFS.
 */
int kho_block_shrink(struct kho_blocks *blocks, uint64_t count);

/**
 * kho_block_append() - add an entry at the end
 * @blocks: the chain
 * @entry: its bytes, copied
 *
 * Return: index of the entry; -ENOSPC when the arena is full, -ENOMEM, -EROFS,
 * and then the chain is as it was.
 */
int64_t kho_block_append(struct kho_blocks *blocks, const void *entry);

/** kho_block_count() - entries in a chain; takes no lock. */
uint64_t kho_block_count(const struct kho_blocks *blocks);

/**
 * kho_block_get() - an entry by its index
 * @blocks: the chain
 * @index: of the entry, from 0
 *
 * Takes no lock.
 *
 * Return: the entry, where it is until it is dropped, the chain is closed or a
 * handover begins; NULL when there is none. An entry starts at a multiple of its size behind
 * a header whose size is a multiple of 8: it is aligned to 8 bytes when its
 * size is a multiple of 8, too.
 */
const void *kho_block_get(const struct kho_blocks *blocks, uint64_t index);

/**
 * struct kho_block_iter - a place between two entries
 * @blocks: the chain
 * @index: of the entry that comes next
 * @block: number of the block that the place is in
 * @slot: entries of that block before the place
 */
struct kho_block_iter {
	const struct kho_blocks *blocks;
	uint64_t index;
	uint64_t block;
	uint64_t slot;
};

/** kho_block_begin() - the place before the first entry; takes no lock. */
struct kho_block_iter kho_block_begin(const struct kho_blocks *blocks);

/** kho_block_end() - the place behind the last entry; takes no lock. */
struct kho_block_iter kho_block_end(const struct kho_blocks *blocks);

/**
 * kho_block_next() - step over an entry, towards the end
 * @iter: the place
 *
 * Takes no lock. Entries that are appended meanwhile are found.
 *
 * Return: the entry, as kho_block_get(); NULL at the end, and then the place
 * is the same.
 */
const void *kho_block_next(struct kho_block_iter *iter);

/** kho_block_prev() - as kho_block_next(), but towards the first entry. */
const void *kho_block_prev(struct kho_block_iter *iter);

/**
 * struct kho_block_stats - what is in a chain
 * @version: of its blocks; 0 when there are none, and it was not asked for
 * @blocks: blocks, of one page each
 * @entries: entries in them
 * @entry_size: bytes of an entry
 */
struct kho_block_stats {
	uint32_t version;
	uint64_t blocks;
	uint64_t entries;
	size_t entry_size;
};

/**
 * kho_block_verify() - check a chain and count what is in it
 * @mem: the memory it is in
 * @version: of the format; 0: what the first block says
 * @entry_size: bytes of an entry; 0: what the blocks say (not in version 1)
 * @first: phys of the first block; 0: an empty chain
 * @stats: result; may be NULL
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. The memory may be in use: then a block that
 * comes or goes meanwhile can look like damage, which is gone when asked
 * again. Whether the pages are preserved is the tracker's to say. In version
 * 1 not all damage can be seen.
 *
 * Return: 0; -EFAULT for a block that is outside the view; -EBADMSG for
 * damage, a bad count, another size of entries and a block of another version;
 * -ELOOP for a chain that does not end; -EPROTONOSUPPORT for a @version that is
 * not known; -EINVAL for a bad @entry_size; -ENOMEM.
 */
int kho_block_verify(const struct kho_mem *mem, uint32_t version,
		     size_t entry_size, uint64_t first,
		     struct kho_block_stats *stats, struct kho_error *err);

/**
 * kho_block_walk() - call back for every entry of a chain in a view of memory
 * @mem: the memory it is in
 * @version: of the format; 0: what the first block says
 * @entry_size: bytes of an entry; 0: what the blocks say (not in version 1)
 * @first: phys of the first block; 0: an empty chain
 * @entry: called with a copy of each entry, its size, its index and @arg;
 *         other than 0 ends the walk with that value
 * @arg: for @entry
 * @err: what is wrong and where; may be NULL
 *
 * Each block is checked before its entries are shown.
 *
 * Return: 0; the callback's value; as kho_block_verify().
 */
int kho_block_walk(const struct kho_mem *mem, uint32_t version,
		   size_t entry_size, uint64_t first,
		   int (*entry)(const void *entry, size_t size, uint64_t index,
				void *arg),
		   void *arg, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
