// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A program's life with an arena: find it, check it up front, take over.
 *
 * There are three ways in (handed over, out of custody, new) and one way to a
 * handle: attach_to(), which makes none before the upfront check has passed.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <kho/attach.h>
#include <kho/manifest.h>
#include <kho/pages.h>

#include "base/opts.h"
#include "base/text.h"
#include "handover/private.h"

static uint64_t default_max_size(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t max = pages > 0 && size > 0 ?
			       (uint64_t)pages * (uint64_t)size :
			       1ull << 32;

	return max < KHO_ARENA_SIZE_MAX ? max : KHO_ARENA_SIZE_MAX;
}

/* The upfront check: what is looked into. */
struct upfront {
	const struct kho_mem *mem;
	const struct kho_state *state;
	const struct kho_used *used; /* of the root, then of each subtree */
	size_t n_used;
};

/* The deeper test: let a component look into the blobs that it owns. */
static int ask_component(const char *name, uint32_t version, void *arg,
			 struct kho_error *why)
{
	const struct kho_component *component = kho_component_find(name);
	const struct upfront *upfront = arg;
	int ret = 0;

	if (!component->ops || !component->ops->check)
		return 0;
	for (size_t i = 0; !ret && i < upfront->state->n; i++) {
		const struct kho_state_subtree *sub =
			&upfront->state->subtrees[i];
		const struct kho_composite *composite =
			&upfront->used[i + 1].composite;
		const struct kho_blob blob = {
			.mem = upfront->mem,
			.phys = sub->phys,
			.size = sub->size,
			.subtree = sub->name,
		};

		if (composite->n && !strcmp(composite->tokens[0].name, name) &&
		    composite->tokens[0].version == version)
			ret = component->ops->check(version, &blob, why);
	}
	return ret;
}

/* Can this program read what is in the arena? */
static int check_upfront(struct kho *kho, struct upfront *upfront,
			 struct kho_error *err, struct kho_report **report)
{
	const struct kho_check_opts opts = {
		.size = sizeof(opts),
		.allow_degraded = kho->service->flags & KHO_ALLOW_DEGRADED,
		.ask = ask_component,
		.arg = upfront,
	};
	char from[64], summary[3 * KHO_ERROR_SIZE / 4];
	struct kho_manifest *self;
	int ret;

	ret = kho_manifest_self(&self);
	if (!ret) {
		snprintf(from, sizeof(from), "arena generation %u",
			 arena_generation(kho));
		ret = kho_check_state(upfront->used, upfront->n_used, from,
				      NULL, self, &opts, report, err);
		kho_manifest_free(self);
	}
	if (ret)
		return kho_fail(err, ret, "upfront check: out of memory");
	if ((*report)->outcome != KHO_OUTCOME_INCOMPATIBLE)
		return 0;
	kho_report_summary(*report, summary, sizeof(summary));
	return kho_fail(err, -EPROTONOSUPPORT,
			"upfront check: this program cannot read the state: %s",
			summary);
}

/* Read, check and take over the state of an arena that is mapped read-only. */
static int load(struct kho *kho, struct kho_error *err,
		struct kho_report **report)
{
	struct kho_mem_live live = mem_live(kho);
	const struct kho_arena_slot *slot;
	struct kho_state *state;
	struct kho_used *used = NULL;
	int i = arena_pick_slot(kho->super), ret;
	size_t n;

	if (i < 0)
		return kho_fail(err, -EBADMSG,
				"arena: damaged: neither of its root slots is valid");
	slot = &kho->super->slot[i];
	ret = kho_state_read(&live.mem, slot->fdt, slot->fdt_size, &state, err);
	if (ret)
		return ret == -EFAULT ? -EBADMSG : ret;
	ret = kho_state_used(&live.mem, state, &used, &n, err);
	if (!ret)
		ret = check_upfront(kho,
				    &(struct upfront){ &live.mem, state, used,
						       n },
				    err, report);
	if (!ret)
		ret = pages_init(kho, err);
	if (!ret)
		ret = pages_rebuild(kho, state->tracker, err);
	if (!ret)
		ret = tree_load(kho, state, used, *report, err);
	kho_used_free(used);
	kho_state_free(state);
	return ret == -EFAULT || ret == -ELOOP ? -EBADMSG : ret;
}

/* Make a new arena of an empty file. */
static int create(struct kho *kho, struct kho_error *err)
{
	int ret;

	ret = arena_init(kho, err);
	if (!ret)
		ret = pages_init(kho, err);
	if (!ret)
		ret = tree_init(kho, err);
	if (!ret)
		arena_made(kho);
	return ret;
}

static int check_opts(const struct kho_attach_opts *opts, struct kho_error *err)
{
	unsigned int shift = opts->page_shift;

	if (shift && shift != KHO_ARENA_PAGE_SHIFT_4K &&
	    shift != KHO_ARENA_PAGE_SHIFT_16K &&
	    shift != KHO_ARENA_PAGE_SHIFT_64K)
		return kho_fail(err, -EINVAL,
				"arena: page size 2^%u is not supported: only 4, 16 and 64 KiB are",
				shift);
	if (opts->max_size > KHO_ARENA_SIZE_MAX)
		return kho_fail(err, -EINVAL,
				"arena: max_size %llu is above the limit of 16 TiB",
				(unsigned long long)opts->max_size);
	if (opts->flags & ~(KHO_ARENA_HUGE | KHO_ALLOW_DEGRADED))
		return kho_fail(err, -EINVAL, "arena: unknown flags %#x",
				opts->flags);
	return 0;
}

/*
 * What is no arena is refused before it gets seals; but what counts is what it
 * says when nobody can shrink it any more.
 */
static int check_file(int fd, struct kho_arena_super *super,
		      struct kho_error *err)
{
	int ret = arena_read_super(fd, super, err);

	if (!ret)
		ret = arena_seal(fd, err);
	return ret ? ret : arena_read_super(fd, super, err);
}

/*
 * Attach to @kho->fd, which holds the arena's lock. On failure the handle is
 * the caller's to close, and nothing was changed in an arena that was there.
 */
static int attach_to(struct kho *kho, const struct kho_attach_opts *opts,
		     struct kho_error *err, struct kho_report **report)
{
	uint64_t max = opts->max_size ? opts->max_size : default_max_size();
	struct kho_arena_super super;
	int ret = arena_is_new(kho->fd, &kho->cold, err);
	if (ret)
		return ret;
	if (kho->cold) {
		ret = arena_begin(kho->fd, err);
		kho->page_shift = opts->page_shift ? opts->page_shift : 12;
		kho->size = CHUNK_SIZE;
		kho->stage = KHO_SERVING;
	} else {
		ret = check_file(kho->fd, &super, err);
		kho->page_shift = super.page_shift;
		kho->size = arena_super_size(&super);
		kho->stage = KHO_RESTORING;
	}
	if (ret)
		return ret;
	max = (max + CHUNK_SIZE - 1) & ~(CHUNK_SIZE - 1);
	if (max < kho->size)
		max = kho->size;
	ret = arena_map(kho, max, opts->flags & KHO_ARENA_HUGE, err);
	if (ret)
		return ret;
	return kho->cold ? create(kho, err) : load(kho, err, report);
}

static struct kho *new_handle(const struct kho_attach_opts *opts)
{
	struct service *service = calloc(1, sizeof(*service));
	struct kho *kho = service ? arena_new() : NULL;

	if (!kho) {
		free(service);
		return NULL;
	}
	service->handover = -1;
	service->flags = opts->flags;
	service->freeze = opts->freeze;
	service->unfreeze = opts->unfreeze;
	service->arg = opts->arg;
	kho->service = service;
	fds_init(kho);
	return kho;
}

/* A file in tmpfs has seals too, of which this one never goes. */
static bool is_memfd(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && seals != F_SEAL_SEAL;
}

/* Lock the arena that came from custody or from the caller, and attach. */
static int attach_foreign(struct kho *kho, int fd,
			  const struct kho_attach_opts *opts,
			  struct kho_error *err, struct kho_report **report)
{
	int ret;

	if (fcntl(fd, F_GETFD) < 0)
		return kho_fail(err, -EBADF, "arena: fd %d is not open", fd);
	if (!is_memfd(fd))
		return kho_fail(err, -EINVAL,
				"arena: fd %d is not a memfd that can be sealed",
				fd);
	ret = arena_lock(fd, &kho->fd, err);
	return ret ? ret : attach_to(kho, opts, err, report);
}

static int attach_new(struct kho *kho, const struct kho_attach_opts *opts,
		      struct kho_error *err)
{
	int ret, fd = arena_create_fd(err);

	if (fd < 0)
		return fd;
	ret = attach_foreign(kho, fd, opts, err, NULL);
	close(fd);
	return ret;
}

/* Handed over: the fd's description brings the lock along. */
static int attach_handed_over(struct kho *kho, const char *env,
			      const struct kho_attach_opts *opts,
			      struct kho_error *err, struct kho_report **report)
{
	char *end;
	long sock = strtol(env, &end, 10);
	int ret;

	if (*end || end == env || sock < 0 || sock > INT32_MAX ||
	    fcntl((int)sock, F_SETFD, FD_CLOEXEC) < 0)
		return kho_fail(err, -EINVAL,
				"handover: %s=%s is not an open file",
				KHO_UPDATE_ENV, env);
	unsetenv(KHO_UPDATE_ENV);
	kho->service->handover = (int)sock;
	ret = handover_receive(kho, kho->service->handover, &kho->fd, err);
	if (!ret && !is_memfd(kho->fd))
		ret = kho_fail(err, -EINVAL,
			       "arena: fd %d is not a memfd that can be sealed",
			       kho->fd);
	if (!ret)
		ret = attach_to(kho, opts, err, report);
	if (ret)
		handover_refuse(kho->service->handover, err);
	return ret;
}

/*
 * A program that was started through a fd is called by the fd's number, in ps
 * and for pkill: give it the name that it was given.
 */
static void fix_comm(void)
{
	char comm[16] = "";

	prctl(PR_GET_NAME, comm);
	if (comm[strspn(comm, "0123456789")] == '\0')
		prctl(PR_SET_NAME, program_invocation_short_name);
}

/* Without an error to write into, nobody else would say why it failed. */
static void complain(const struct kho_error *err,
		     const struct kho_report *report)
{
	fprintf(stderr, "%s: ", program_invocation_short_name);
	if (report)
		kho_report_print(report, stderr, false);
	else
		text_print(stderr, err->text, 0, 2);
}

/* Whoever started this program may have given it. */
static bool take_consent(void)
{
	const char *text = getenv(KHO_CONSENT_ENV);
	bool given = text && !strcmp(text, "1");

	unsetenv(KHO_CONSENT_ENV);
	return given;
}

/* Out of a session of the kernel: the arena, and the other files. */
static int take_session(struct kho *kho, int session, uint64_t token,
			int *arena, struct kho_error *err)
{
	struct kho_named_file *files;
	size_t n;
	int ret;

	*arena = -1;
	ret = kho_fdnames_load(session, token, &files, &n, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < n; i++) {
		if (*arena < 0 && !strcmp(files[i].name, FD_ARENA))
			*arena = files[i].fd;
		else if (ret ||
			 fds_put_in(kho, files[i].name, files[i].fd, true))
			ret = -ENOMEM, close(files[i].fd);
	}
	kho_fdnames_free(files);
	if (ret)
		return kho_fail(err, ret, "custody: out of memory");
	return *arena < 0 ?
		       kho_fail(err, -ENOENT,
				"custody: none of its files is an arena (%zu)",
				n) :
		       0;
}

static int attach_session(struct kho *kho, int session, uint64_t token,
			  const struct kho_attach_opts *opts,
			  struct kho_error *err, struct kho_report **report)
{
	int arena, ret = take_session(kho, session, token, &arena, err);

	if (!ret)
		ret = attach_foreign(kho, arena, opts, err, report);
	if (arena >= 0)
		close(arena);
	kho->service->adopted = !ret;
	return ret;
}

static int attach_anywhere(struct kho *kho, const struct kho_attach_opts *opts,
			   struct kho_error *err, struct kho_report **report)
{
	const char *env = getenv(KHO_UPDATE_ENV);
	int ret, custody;

	fix_comm();
	if (env)
		return attach_handed_over(kho, env, opts, err, report);
	ret = listen_take_fds(kho, &custody, err);
	if (!ret && custody >= 0)
		ret = attach_foreign(kho, custody, opts, err, report);
	else if (!ret)
		ret = attach_new(kho, opts, err);
	if (custody >= 0)
		close(custody);
	return ret;
}

/* Where the arena is to be found. */
struct place {
	enum { ANYWHERE, IN_FD, IN_SESSION } where;
	int fd; /* the arena, or the session */
	uint64_t token;
};

static int attach_at(struct kho *kho, const struct place *place,
		     const struct kho_attach_opts *opts, struct kho_error *err,
		     struct kho_report **report)
{
	int ret = check_opts(opts, err);

	if (!ret)
		ret = kho_components_check(err);
	if (ret)
		return ret;
	if (take_consent())
		kho->service->flags |= KHO_ALLOW_DEGRADED;
	switch (place->where) {
	case IN_FD:
		return attach_foreign(kho, place->fd, opts, err, report);
	case IN_SESSION:
		return attach_session(kho, place->fd, place->token, opts, err,
				      report);
	default:
		return attach_anywhere(kho, opts, err, report);
	}
}

static int attach(struct kho **khop, const struct place *place,
		  const struct kho_attach_opts *opts, struct kho_error *err)
{
	struct kho_report *report = NULL;
	struct kho_error why = { 0 };
	struct kho_attach_opts how;
	struct kho *kho = NULL;
	int ret = OPTS_COPY(&how, opts, kho_attach_opts, &why);

	if (how.report)
		*how.report = NULL;
	if (!ret) {
		kho = new_handle(&how);
		ret = kho ? attach_at(kho, place, &how, &why, &report) :
			    kho_fail(&why, -ENOMEM, "arena: out of memory");
	}
	if (ret && err)
		*err = why;
	else if (ret)
		complain(&why, report);
	if (how.report &&
	    (ret || (report && report->outcome == KHO_OUTCOME_DEGRADED))) {
		*how.report = report;
	} else {
		/* Nobody else would say what it goes on without. */
		if (!ret && report && report->outcome == KHO_OUTCOME_DEGRADED)
			kho_report_print(report, stderr, false);
		kho_report_free(report);
	}
	if (ret)
		kho_close(kho);
	else
		*khop = kho;
	return ret;
}

int kho_attach(struct kho **kho, const struct kho_attach_opts *opts,
	       struct kho_error *err)
{
	return attach(kho, &(struct place){ .where = ANYWHERE }, opts, err);
}

int kho_attach_fd(struct kho **kho, int fd, const struct kho_attach_opts *opts,
		  struct kho_error *err)
{
	return attach(kho, &(struct place){ .where = IN_FD, .fd = fd }, opts,
		      err);
}

int kho_attach_session(struct kho **kho, int session, uint64_t token,
		       const struct kho_attach_opts *opts,
		       struct kho_error *err)
{
	const struct place place = { IN_SESSION, session, token };

	return attach(kho, &place, opts, err);
}

/* The state is restored and the arena is ours: let it be written to. */
static int take_over(struct kho *kho, struct kho_error *err)
{
	int ret = arena_set_writable(kho, true);

	if (ret)
		return kho_fail(err, -EIO,
				"ready: the arena cannot be made writable: %s",
				strerror(-ret));
	arena_next_generation(kho);
	__atomic_store_n(&kho->stage, KHO_SERVING, __ATOMIC_RELEASE);
	/* Without memory for it, the next start needs consent once more. */
	tree_take_over(kho);
	pages_trim(kho);
	return 0;
}

/*
 * Let custody have the arena and the files that came through a kexec. Our own
 * lock would outlive this program there, and keep its next start out.
 */
static int store(struct kho *kho, struct kho_error *err)
{
	int ret = 0, fd;

	if (kho->cold || kho->service->adopted) {
		fd = arena_reopen(kho);
		ret = fd < 0 ? fd : notify_store(FD_ARENA, fd);
		if (fd >= 0)
			close(fd);
	}
	if (!ret && kho->service->adopted)
		ret = fds_store(kho);
	return ret ? kho_fail(err, -EIO,
			      "ready: custody cannot be told of the arena: %s",
			      strerror(-ret)) :
		     0;
}

int kho_ready(struct kho *kho, struct kho_error *err)
{
	char text[64];
	int ret = 0;

	if (kho->service->ready)
		return 0;
	snprintf(text, sizeof(text), "MAINPID=%d\n", (int)getpid());
	if (kho->service->handover >= 0) {
		ret = handover_ready(kho);
		if (ret)
			return kho_fail(err, ret,
					"ready: the old program goes on: it "
					"gave this one up, or is gone");
		/*
		 * Custody must know who this is before the state can become
		 * one that only this program reads.
		 */
		notify_send(text);
		notify_barrier();
	}
	ret = kho->cold ? 0 : take_over(kho, err);
	if (!ret)
		ret = store(kho, err);
	if (ret)
		return ret;
	/* Without custody it serves all the same. */
	notify_send("READY=1\n");
	kho->service->ready = true;
	return 0;
}

uint64_t kho_generation(const struct kho *kho)
{
	return arena_generation(kho);
}

int kho_arena_fd(const struct kho *kho)
{
	return kho->fd;
}

void kho_close(struct kho *kho)
{
	if (!kho)
		return;
	suspension_exit(kho);
	fds_exit(kho);
	if (kho->service->handover >= 0)
		close(kho->service->handover);
	free(kho->service);
	arena_free(kho);
}
