/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Many TARGETs at once, in classes: for kho matrix and kho plan. */
#ifndef TOOLS_KHO_TARGETS_H
#define TOOLS_KHO_TARGETS_H

#include <stdbool.h>

#include <json-c/json.h>

#include <kho/fleet.h>

#include "options.h"

/**
 * struct target_class - targets that say the same
 * @manifest: what they say; its target is the first of them
 * @n: how many
 * @members: they, as they were given, in that order
 */
struct target_class {
	struct kho_manifest *manifest;
	size_t n;
	char **members;
};

/**
 * struct targets - what was asked about
 * @verb: for messages
 * @fleet: of the targets that can be read
 * @n: how many these are
 * @n_classes: of the fleet
 * @classes: by index
 * @n_unreadable: targets that cannot be read
 * @unreadable: they
 * @shared: bytes of the directory that all classes' names begin with
 */
struct targets {
	const char *verb;
	struct kho_fleet *fleet;
	size_t n;
	size_t n_classes;
	struct target_class *classes;
	size_t n_unreadable;
	char **unreadable;
	size_t shared;
};

/**
 * struct targets_options - the options that kho matrix and kho plan share
 * @json: --json
 * @opts: --allow-degraded and --profile
 * @profile: to free
 * @n_lists: how many times --targets was given
 * @lists: the files
 */
struct targets_options {
	bool json;
	struct kho_check_opts opts;
	struct kho_profile *profile;
	size_t n_lists;
	const char **lists;
};

/* Versions of clang-format differ. */
/* clang-format off */
#define TARGETS_OPTIONS(options)                                               \
	{ "allow-degraded", .flag = &(options)->opts.allow_degraded },         \
	{ "profile", .profile = &(options)->profile },                         \
	{ "targets", .take = targets_list, .to = (options) },                  \
	{ "json", .flag = &(options)->json }
/* clang-format on */

/* --targets */
void targets_list(void *options, const char *path);

void targets_options_free(struct targets_options *options);

void targets_init(struct targets *targets, const char *verb,
		  const struct kho_check_opts *opts);
void targets_free(struct targets *targets);

/*
 * Adds a target: its class, or -1 when it cannot be read, and that was said.
 */
long targets_add(struct targets *targets, const char *target);

/*
 * Adds those that files list, one in a line; "-" is standard input. Empty lines
 * and lines that begin with '#' say nothing. False when a list itself cannot be
 * read, and that was said.
 */
bool targets_add_lists(struct targets *targets,
		       const struct targets_options *options);

/* A class's first member, without the directory that all share. */
const char *targets_name(const struct targets *targets, size_t class);

/* A class as JSON: "members" and "components". */
struct json_object *targets_class_json(const struct target_class *class);

/*
 * What two classes say of each other, to kho_report_free(). @opts: as given
 * to targets_init().
 */
struct kho_report *targets_report(const struct targets *targets, size_t from,
				  size_t to, const struct kho_check_opts *opts);

#endif
