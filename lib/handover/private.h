/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the files of the handover share among themselves. */
#ifndef KHO_HANDOVER_PRIVATE_H
#define KHO_HANDOVER_PRIVATE_H

#include <sys/types.h>

#include <kho/abi/update.h>
#include <kho/attach.h>
#include <kho/check.h>
#include <kho/control.h>
#include <kho/fdnames.h>
#include <kho/fds.h>
#include <kho/suspend.h>
#include <kho/update.h>

#include "arena/arena.h"
#include "handover/notify.h"

#pragma GCC visibility push(hidden)

/* Names of fds in custody. */
#define FD_ARENA KHO_FDNAME_ARENA
#define FD_CONTROL "kho-control"

/* Consent to start without what cannot be read: "1". */
#define KHO_CONSENT_ENV "KHO_ALLOW_DEGRADED"

struct named_fd {
	char name[KHO_FDNAME_SIZE];
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

/* What there is of a program besides its arena. */
struct service {
	bool adopted; /* from a session: custody has nothing of it yet */
	bool ready; /* kho_ready() was called */
	bool updating; /* or suspended */
	struct suspension *suspension; /* for kho_resume(), or NULL */
	int handover; /* socket to the old program, or -1 */
	struct fds fds;
	unsigned int flags; /* KHO_ALLOW_DEGRADED */
	int (*freeze)(struct kho *kho, const struct kho_report *report,
		      void *arg);
	void (*unfreeze)(struct kho *kho, void *arg);
	void *arg;
};

/* A message of a handover, as received. */
struct handover_msg {
	uint32_t type;
	uint32_t value;
	char *text; /* to free(), NUL-terminated */
	int fds[KHO_UPDATE_FDS_MAX];
	size_t n_fds;
};

/* session_index.c */
int fdnames_read(int fd, struct kho_fdnames **index, struct kho_error *err);

/*
 * freeze.c: what is agreed with a successor
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
/* Judges whoever @to describes, reached by @through: kho_preflight(). */
int negotiation_check(struct kho *kho, const struct kho_manifest *to,
		      const char *through, const struct kho_update_opts *opts,
		      struct kho_report **report, struct kho_error *err);
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

/* listen.c */
int listen_take_fds(struct kho *kho, int *arena, struct kho_error *err);

/* protocol.c: the messages between the programs */
int handover_send(int sock, uint32_t type, uint32_t value, const char *text,
		  const int *fds, size_t n_fds);
int handover_recv(int sock, int timeout_ms, struct handover_msg *msg);

/* successor.c: its side of the conversation */
int handover_receive(struct kho *kho, int sock, int *arena,
		     struct kho_error *err);
int handover_ready(struct kho *kho);
void handover_refuse(int sock, const struct kho_error *err);

#pragma GCC visibility pop

#endif
