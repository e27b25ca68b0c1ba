/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Linux's monolithic versions, and what they stand for. */
#ifndef KHO_COMPAT_BUNDLE_H
#define KHO_COMPAT_BUNDLE_H

#include <stdint.h>

#include <kho/compat.h>
#include <kho/manifest.h>

#pragma GCC visibility push(hidden)

/**
 * struct bundle - a version that stands for versions of several components
 * @token: the monolithic version
 * @composite: what it stands for, itself first
 */
struct bundle {
	const char *token;
	const char *composite;
};

/* NULL when that version of that component is no bundle. */
const struct bundle *bundle_find(const char *name, uint32_t version);
/* By its token; @token may be any text. */
const struct bundle *bundle_find_token(const char *token);
/* Add what the bundles in a manifest stand for: 0; -EBADMSG; -ENOMEM. */
int bundles_add(struct kho_manifest *manifest, struct kho_error *err);

#pragma GCC visibility pop

#endif
