/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the library's files share among themselves and nobody else sees. */
#ifndef KHO_PRIVATE_H
#define KHO_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include <kho/abi/arena.h>
#include <kho/abi/update.h>
#include <kho/attach.h>
#include <kho/compat.h>
#include <kho/custody.h>
#include <kho/error.h>
#include <kho/mem.h>
#include <kho/tree.h>
#include <kho/update.h>

#include "radix/private.h"

#pragma GCC visibility push(hidden)

/* The arena backs, and gives back, memory in steps of this size. */
#define CHUNK_SHIFT 21
#define CHUNK_SIZE (1ul << CHUNK_SHIFT)

/* Names of fds in custody. */
#define FD_ARENA KHO_CUSTODY_ARENA
#define FD_CONTROL "kho-control"

/* Consent to start without what cannot be read: "1". */
#define KHO_CONSENT_ENV "KHO_ALLOW_DEGRADED"

/*
 * The page allocator's own state: volatile, rebuilt from the tracker. See
 * pages.c.
 */
struct page;
struct page_allocator {
	pthread_mutex_t lock;
	struct page *pages;
	size_t pages_bytes;
	uint64_t *backed; /* chunks that have memory */
	uint64_t *idle; /* chunks with no page in use */
	uint32_t free_head[32];
	uint32_t lazy[16]; /* idle chunks that still have memory, a ring */
	unsigned int lazy_next;
	uint64_t nr_free, nr_preserved, nr_unclaimed, nr_nodes;
	struct kho_radix tracker;
};

struct tree_entry {
	char name[KHO_SUBTREE_NAME_SIZE];
	char compatible[KHO_COMPOSITE_SIZE];
	const struct kho_component *component; /* the owner; NULL: foreign */
	uint32_t version;
	uint64_t phys;
	uint64_t size;
	bool optional;
	bool carried; /* the tree says so */
	bool foreign; /* this program cannot read it */
	bool retrieved; /* or added: the program knows what it reaches */
};

struct tree {
	pthread_mutex_t lock;
	size_t n;
	struct tree_entry *entries;
	uint64_t fdt; /* phys of the published root, 0 before the first */
};

struct named_fd {
	char name[KHO_CUSTODY_NAME_SIZE];
	int fd; /* -1: was taken or removed */
	bool stored; /* in custody */
};

/* In the order in which they were added; there may be thousands. */
struct fd_list {
	struct named_fd *fds;
	size_t n, cap;
	size_t first; /* the first that is there */
	size_t gone;
};

struct fds {
	pthread_mutex_t lock;
	struct fd_list in; /* came with the arena, not taken yet */
	struct fd_list out; /* go to the successor */
	size_t *place; /* of a fd in @out, plus 1; 0: is not there */
	size_t n_place;
	int control; /* listens for requests from outside, or -1 */
};

/*
 * Somebody who has mapped pages of the arena a second time: they become
 * writable, and cease to be, with the arena.
 */
struct mapping {
	LIST_ENTRY(mapping) entry;
	int (*set_writable)(struct mapping *mapping, bool writable);
};

struct mappings {
	pthread_mutex_t lock;
	LIST_HEAD(, mapping) list;
	bool writable; /* the arena is */
};

/* The version that a component is written in; others are in their highest. */
struct version {
	const struct kho_component *component;
	uint32_t version;
};

struct versions {
	pthread_mutex_t lock;
	size_t n;
	struct version *list;
};

/*
 * A structure that is alive in this process and can be rewritten in another
 * version: a chain of blocks, an area. Embedded in its volatile side.
 */
struct instance {
	LIST_ENTRY(instance) entry;
	const struct kho_component *component;
};

struct instances {
	pthread_mutex_t lock;
	LIST_HEAD(, instance) list;
};

/* A message of a handover, as received. */
struct handover_msg {
	uint32_t type;
	uint32_t value;
	char *text; /* to free(), NUL-terminated */
	int fds[KHO_UPDATE_FDS_MAX];
	size_t n_fds;
};

/*
 * A handover takes an arena through these: on an arena that came from
 * somebody else, nothing may be changed before it is ours.
 */
enum kho_stage {
	KHO_RESTORING, /* read-only until kho_ready() */
	KHO_SERVING,
	KHO_FROZEN, /* a successor is restoring */
	KHO_GONE, /* a successor has it */
};

struct kho {
	int fd; /* of a description of our own, which holds the lock */
	unsigned int page_shift;
	char *base;
	uint64_t max; /* bytes mapped */
	uint64_t size; /* bytes of the file, multiple of CHUNK_SIZE; atomic */
	enum kho_stage stage; /* atomic */
	bool cold; /* a new arena */
	bool adopted; /* from a session: custody has nothing of it yet */
	bool ready; /* kho_ready() was called */
	bool updating; /* or suspended */
	struct suspension *suspension; /* for kho_resume(), or NULL */
	int handover; /* socket to the old program, or -1 */
	struct kho_arena_super *super;
	struct mappings mappings;
	struct instances instances;
	struct versions versions;
	struct page_allocator alloc;
	struct tree tree;
	struct fds fds;
	unsigned int flags; /* KHO_ALLOW_DEGRADED */
	int (*freeze)(struct kho *kho, const struct kho_report *report,
		      void *arg);
	void (*unfreeze)(struct kho *kho, void *arg);
	void *arg;
};

static inline enum kho_stage kho_stage(const struct kho *kho)
{
	return __atomic_load_n(&kho->stage, __ATOMIC_ACQUIRE);
}

static inline bool kho_writable(const struct kho *kho)
{
	return kho_stage(kho) == KHO_SERVING;
}

static inline uint64_t kho_size(const struct kho *kho)
{
	return __atomic_load_n(&kho->size, __ATOMIC_ACQUIRE);
}

/* mem.c: pread(), all of it: 0 or -EFAULT */
int mem_read_file(int fd, uint64_t offset, void *buf, size_t len);

/* arena.c: the file and its superblock */
int arena_create_fd(struct kho_error *err);
/* A description without our lock: the fd, or a negative errno. */
int arena_reopen(const struct kho *kho);
int arena_lock(int fd, int *own, struct kho_error *err);
int arena_read_super(int fd, struct kho_arena_super *super,
		     struct kho_error *err);
int arena_pick_slot(const struct kho_arena_super *super);
int arena_init(struct kho *kho, struct kho_error *err);
int arena_map(struct kho *kho, uint64_t max, unsigned int flags,
	      struct kho_error *err);
int arena_set_writable(struct kho *kho, bool writable);
void arena_add_mapping(struct kho *kho, struct mapping *mapping);
void arena_del_mapping(struct kho *kho, struct mapping *mapping);
void arena_publish(struct kho *kho, uint64_t fdt, uint64_t size);
int arena_resize(struct kho *kho, uint64_t size);
/*
 * A copy of an arena that ends where its data does, when that takes less memory
 * than the arena without its holes would; otherwise @copy is -1. Nobody may be
 * changing it.
 */
int arena_compact(int fd, int *copy, struct kho_error *err);

/* custody.c: files in a session of the kernel */
int custody_read_index(int fd, struct kho_custody_index **index,
		       struct kho_error *err);

/* pages.c */
int pages_init(struct kho *kho, struct kho_error *err);
int pages_rebuild(struct kho *kho, uint64_t tracker, struct kho_error *err);
void pages_exit(struct kho *kho);
bool pages_are_preserved(struct kho *kho, uint64_t phys, uint64_t size);
void pages_trim(struct kho *kho);
struct kho_mem_live {
	struct kho_mem mem;
	const struct kho *kho;
};
struct kho_mem_live mem_live(const struct kho *kho);

/* tree.c */
int tree_init(struct kho *kho, struct kho_error *err);
int tree_load(struct kho *kho, const struct kho_state *state,
	      const struct kho_used *used, const struct kho_report *report,
	      struct kho_error *err);
int tree_take_over(struct kho *kho);
bool tree_has_foreign(struct kho *kho);
int tree_refresh(struct kho *kho);
int tree_reversion(struct kho *kho, const struct kho_report *report);
bool tree_unseen(struct kho *kho, const char *component,
		 char name[KHO_SUBTREE_NAME_SIZE]);
void tree_exit(struct kho *kho);
int tree_used(struct kho *kho, struct kho_used **used, size_t *n,
	      struct kho_error *err);
bool tree_all_retrieved(struct kho *kho);

/* versions.c */
void versions_init(struct kho *kho);
void versions_exit(struct kho *kho);
uint32_t versions_get(struct kho *kho, const struct kho_component *component);
int versions_set(struct kho *kho, const struct kho_component *component,
		 uint32_t version);
int versions_learn(struct kho *kho, const struct kho_component *component,
		   uint32_t version);
int versions_save(struct kho *kho, struct versions *saved);
void versions_raise(struct kho *kho, const struct versions *saved);
void versions_swap(struct kho *kho, struct versions *saved);

/* instances.c */
void instances_init(struct kho *kho);
void instances_exit(struct kho *kho);
void instances_add(struct kho *kho, struct instance *instance,
		   const struct kho_component *component);
void instances_del(struct kho *kho, struct instance *instance);
/* Calls @each for those of one component, until it returns other than 0. */
int instances_each(struct kho *kho, const struct kho_component *component,
		   int (*each)(struct instance *instance, uint32_t version,
			       struct kho_error *why),
		   uint32_t version, struct kho_error *why);

/*
 * negotiate.c: what is agreed with a successor
 * @through: the component that says how the state gets to it; NULL: others see
 *           to that
 * @to: its manifest
 * @opts: consent and pins
 * @report: of the preflight
 * @froze: the application did
 */
struct negotiation {
	const char *through;
	const struct kho_manifest *to;
	const struct kho_update_opts *opts;
	const struct kho_report *report;
	bool froze;
	struct kho_report *versions; /* the outcome for every component */
	struct versions before;
};
/* Can it take over what is there? The report is the caller's, to free. */
int negotiation_preflight(struct kho *kho, struct negotiation *n,
			  struct kho_report **report, struct kho_error *err);
/* The application's state becomes final, in the versions that were agreed. */
int negotiation_freeze(struct kho *kho, struct negotiation *n,
		       struct kho_error *err);
/* After that: the successor does not take over, serve on. */
void negotiation_thaw(struct kho *kho, struct negotiation *n);
void negotiation_exit(struct negotiation *n);

/* suspend.c */
void suspension_exit(struct kho *kho);

/* fds.c */
void fds_init(struct kho *kho);
void fds_exit(struct kho *kho);
bool fd_name_ok(const char *name);
int fds_put_in(struct kho *kho, const char *name, int fd, bool stored);
int fds_snapshot(struct kho *kho, struct named_fd **list, size_t *n);
/* Tell custody of all that it is to keep. */
int fds_store(struct kho *kho);

/* notify.c: the program's side of custody, sd_notify(3)'s protocol */
bool notify_custody(void);
int notify_send(const char *text);
void notify_barrier(void);
int notify_store(const char *name, int fd);
int notify_unstore(const char *name);
int notify_listen_fds(struct kho *kho, int *arena, struct kho_error *err);

/* handover.c: the messages between the programs, and the successor's side */
int handover_send(int sock, uint32_t type, uint32_t value, const char *text,
		  const int *fds, size_t n_fds);
int handover_recv(int sock, int timeout_ms, struct handover_msg *msg);
int handover_receive(struct kho *kho, int sock, int *arena,
		     struct kho_error *err);
int handover_ready(struct kho *kho);
void handover_refuse(int sock, const struct kho_error *err);

#pragma GCC visibility pop

#endif
