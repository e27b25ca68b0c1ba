/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Sessions and files (component ``luo``, uses ``block``)
 *
 * The state of the Live Update Orchestrator. The blob of the subtree ``LUO``
 * is a header, which leads to a chain of blocks with one entry for each
 * session. A session's entry leads to a chain of blocks with one entry for each
 * of its files, in the order in which they were preserved; what stands in @data
 * of a file is the business of the file handler that @compatible names. Shared
 * state (*FLB*, bound to the life cycle of files) is an array in contiguous
 * pages.
 *
 * The blocks are in the version of block that belongs to the header's: of
 * luo-v5, version 1. Linux writes sessions and files inside reboot(2), when a
 * kexec starts. Before that, @sessions is NULL, or, when a kexec was given up,
 * leads to blocks with the count 0.
 *
 * As in Linux 7.2 and 7.3 (include/linux/kho/abi/luo.h).
 *
 * This header is a contract: a change needs a new KHO_LUO_VERSION.
 */
#ifndef KHO_ABI_LUO_H
#define KHO_ABI_LUO_H

#include <stdint.h>

#include <kho/abi/block.h>
#include <kho/abi/ptr.h>

#define KHO_LUO_VERSION 5

/** KHO_LUO_SUBTREE - name of the entry of the state tree. */
#define KHO_LUO_SUBTREE "LUO"

/** KHO_LUO_COMPATIBLE - what a header begins with. */
#define KHO_LUO_COMPATIBLE "luo-v5"

/* Bytes of the strings, each with at least one NUL. */
#define KHO_LUO_COMPATIBLE_SIZE 8
#define KHO_LUO_SESSION_NAME_SIZE 64
#define KHO_LUO_HANDLER_SIZE 48
#define KHO_LUO_FLB_NAME_SIZE 48

/** KHO_LUO_MAX_BLOCKS - more than these in a chain are refused by Linux. */
#define KHO_LUO_MAX_BLOCKS 10000

/**
 * struct kho_luo_flbs - begins the array of FLBs, which follow
 * @pages: of the array, this header included; 0 while nothing was written
 * @count: FLBs
 */
struct kho_luo_flbs {
	uint64_t pages;
	uint64_t count;
};

/**
 * struct kho_luo_header - the blob of the subtree
 * @compatible: KHO_LUO_COMPATIBLE, NUL padded
 * @live_updates: kexecs so far that handed a state over, this one included
 * @sessions: the first block of sessions; NULL when there is none
 * @flbs: the FLBs; NULL when there is no such array
 */
struct kho_luo_header {
	char compatible[KHO_LUO_COMPATIBLE_SIZE];
	uint64_t live_updates;
	KHO_PTR(struct kho_block) sessions;
	KHO_PTR(struct kho_luo_flbs) flbs;
};

/**
 * struct kho_luo_session - an entry of a block of sessions
 * @name: unique, 1 to 63 characters, NUL padded
 * @files: the first block of files; NULL when there is none
 * @count: files
 */
struct kho_luo_session {
	char name[KHO_LUO_SESSION_NAME_SIZE];
	KHO_PTR(struct kho_block) files;
	uint64_t count;
};

/**
 * struct kho_luo_file - an entry of a block of files
 * @compatible: of the file handler, NUL padded
 * @data: the handler's; often a phys
 * @token: by which the file is asked for, unique in its session
 */
struct kho_luo_file {
	char compatible[KHO_LUO_HANDLER_SIZE];
	uint64_t data;
	uint64_t token;
};

/**
 * struct kho_luo_flb - shared state
 * @name: whose, NUL padded
 * @data: its own; often a phys
 * @count: files that depend on it
 */
struct kho_luo_flb {
	char name[KHO_LUO_FLB_NAME_SIZE];
	uint64_t data;
	uint64_t count;
};

#endif
