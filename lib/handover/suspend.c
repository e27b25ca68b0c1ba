// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Into a session of the kernel, for a kexec: the freeze of update.c, but there
 * is no successor yet. What it will be able to read its manifest says.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/suspend.h>
#include <kho/manifest.h>

#include "base/opts.h"
#include "handover/private.h"

/* How long the kernel may take to let go of an arena. */
#define RELEASE_TRIES 500
#define RELEASE_PAUSE_MS 10

/* What kho_resume() is to undo; the negotiation's report is ours. */
struct suspension {
	struct negotiation negotiation;
	struct kho_report *report;
};

/* To free(); NULL when out of memory. */
static struct kho_named_file *list_files(struct kho *kho, int arena, size_t *n)
{
	struct kho_named_file *list;
	struct named_fd *fds = NULL;

	if (fds_snapshot(kho, &fds, n))
		return NULL;
	list = calloc(*n + 1, sizeof(*list));
	if (list) {
		strcpy(list[0].name, FD_ARENA);
		list[0].fd = arena;
		for (size_t i = 0; i < *n; i++) {
			strcpy(list[i + 1].name, fds[i].name);
			list[i + 1].fd = fds[i].fd;
		}
		++*n;
	}
	free(fds);
	return list;
}

static int save(struct kho *kho, int session, uint64_t token,
		const struct kho_suspend_opts *opts, struct kho_error *err)
{
	int arena = arena_reopen(kho), ret;
	struct kho_named_file *files;
	size_t n;

	if (arena < 0)
		return kho_fail(err, arena, "suspend: the arena: %s",
				strerror(-arena));
	files = list_files(kho, arena, &n);
	ret = files ? kho_fdnames_save(session, token, files, n, err) :
		      kho_fail(err, -ENOMEM, "suspend: out of memory");
	close(arena);
	if (!ret && opts->files) {
		files[0].fd = kho->fd;
		*opts->files = files;
		*opts->n_files = n;
		return 0;
	}
	kho_fdnames_free(files);
	return ret;
}

static void suspension_free(struct suspension *suspension)
{
	negotiation_exit(&suspension->negotiation);
	kho_report_free(suspension->report);
	free(suspension);
}

void suspension_exit(struct kho *kho)
{
	if (kho->service->suspension)
		suspension_free(kho->service->suspension);
	kho->service->suspension = NULL;
}

/* The caller's, for ours is needed until the end. */
static struct kho_report *copy_report(const struct kho_report *report)
{
	struct kho_report *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	copy->outcome = report->outcome;
	copy->from = strdup(report->from);
	copy->to = strdup(report->to);
	copy->findings = calloc(report->n + 1, sizeof(*copy->findings));
	if (!copy->from || !copy->to || !copy->findings) {
		kho_report_free(copy);
		return NULL;
	}
	copy->n = report->n;
	memcpy(copy->findings, report->findings,
	       report->n * sizeof(*copy->findings));
	return copy;
}

/* @to: who will go on. */
static int suspend(struct kho *kho, int session, uint64_t token,
		   const struct kho_suspend_opts *opts,
		   const struct kho_manifest *to, struct kho_error *err)
{
	const struct kho_update_opts how = {
		.allow_degraded = opts->allow_degraded,
		.profile = opts->profile,
	};
	struct suspension *suspension = calloc(1, sizeof(*suspension));
	struct negotiation *negotiation;
	int ret;

	if (!suspension)
		return kho_fail(err, -ENOMEM, "suspend: out of memory");
	negotiation = &suspension->negotiation;
	*negotiation = (struct negotiation){
		.through = opts->custodian ? NULL : "fdnames",
		.to = to,
		.opts = &how,
	};
	ret = negotiation_preflight(kho, negotiation, &suspension->report, err);
	if (suspension->report && opts->report)
		*opts->report = copy_report(suspension->report);
	if (!ret)
		ret = negotiation_freeze(kho, negotiation, err);
	if (!ret) {
		ret = save(kho, session, token, opts, err);
		if (ret)
			negotiation_thaw(kho, negotiation);
	}
	/* What is undone has no more use for these. */
	negotiation->to = NULL;
	negotiation->opts = NULL;
	if (ret)
		suspension_free(suspension);
	else
		kho->service->suspension = suspension;
	return ret;
}

int kho_suspend(struct kho *kho, int session, uint64_t token,
		const struct kho_suspend_opts *opts, struct kho_error *err)
{
	struct kho_manifest *self = NULL;
	struct kho_suspend_opts how;
	int ret = OPTS_COPY(&how, opts, kho_suspend_opts, err);

	if (ret)
		return ret;
	if (how.report)
		*how.report = NULL;
	if (how.files)
		*how.files = NULL;
	if (!kho->service->ready)
		ret = kho_fail(err, -EROFS,
			       "suspend: this program is not ready itself");
	else if (__atomic_exchange_n(&kho->service->updating, true,
				     __ATOMIC_ACQ_REL))
		ret = kho_fail(err, -EALREADY,
			       "suspend: an update is going on, or it is suspended already");
	else {
		ret = how.to ? 0 : kho_manifest_self(&self);
		ret = ret ? kho_fail(err, ret, "suspend: out of memory") :
			    suspend(kho, session, token, &how,
				    how.to ? how.to : self, err);
		kho_manifest_free(self);
		if (ret)
			__atomic_store_n(&kho->service->updating, false,
					 __ATOMIC_RELEASE);
	}
	return ret;
}

/*
 * As long as the arena is in a session it cannot grow, and asking for memory
 * that it has already is refused too.
 */
static bool released(const struct kho *kho)
{
	return !fallocate(kho->fd, FALLOC_FL_KEEP_SIZE, 0,
			  1l << kho->page_shift) ||
	       errno != EPERM;
}

void kho_resume(struct kho *kho)
{
	struct suspension *suspension = kho->service->suspension;

	if (!suspension)
		return;
	for (int i = 0; i < RELEASE_TRIES && !released(kho); i++)
		poll(NULL, 0, RELEASE_PAUSE_MS);
	negotiation_thaw(kho, &suspension->negotiation);
	/* The kernel has made memory of its holes. */
	pages_trim(kho);
	suspension_exit(kho);
	__atomic_store_n(&kho->service->updating, false, __ATOMIC_RELEASE);
}
