/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Before the jump: what decides, besides the versions, whether the next kernel
 * takes over. The same for `kho check` and `kho kexec`.
 */
#ifndef TOOLS_KHO_JUMP_H
#define TOOLS_KHO_JUMP_H

#include <kho/check.h>

#include "kho.h"
#include "options.h"

/*
 * struct jump - how the next kernel is started; all fields may be 0
 * @initrd: its initial RAM disk, or NULL
 * @replace: of --cmdline
 * @reuse: of --reuse-cmdline
 * @append: of --append, one behind the other; to free()
 * @cmdline: what comes of these three, NULL when none was given; to free()
 */
struct jump {
	const char *initrd;
	const char *replace;
	bool reuse;
	char *append;
	char *cmdline;
};

/* These options, and what to say of them. Versions of clang-format differ. */
/* clang-format off */
#define JUMP_OPTIONS(jump)                                                     \
	{ "initrd", .text = &(jump)->initrd },                                 \
	{ "cmdline", .text = &(jump)->replace },                               \
	{ "append", .take = jump_append, .to = (jump) },                       \
	{ "reuse-cmdline", .flag = &(jump)->reuse }
/* clang-format on */
#define JUMP_HELP                                                              \
	"  --initrd FILE      the next kernel's initial RAM disk\n"            \
	"  --cmdline TEXT     its command line\n"                              \
	"  --reuse-cmdline    instead: that of the running kernel\n"           \
	"  --append TEXT      behind these two, or alone\n"

/* --append */
void jump_append(void *jump, const char *text);

/* When all options were given: 0, or a negative errno. */
int jump_prepare(struct jump *jump, struct kho_error *err);

void jump_free(struct jump *jump);

/*
 * enum jump_from - where it begins
 * @JUMP_ELSEWHERE: in a kernel that does not run here
 * @JUMP_HERE: in the running kernel
 * @JUMP_NOW: in the running kernel, which will have to load it first
 * @JUMP_SUSPENDED: the same, and services go along
 */
enum jump_from {
	JUMP_ELSEWHERE,
	JUMP_HERE,
	JUMP_NOW,
	JUMP_SUSPENDED,
};

/*
 * Adds to the report of a check of two kernels' manifests what else decides.
 */
void jump_judge(const struct jump *jump, enum jump_from where,
		const struct kho_manifest *from, const struct kho_manifest *to,
		struct kho_report *report);

/* Is there something that not even --force goes past? */
bool jump_is_fatal(const struct kho_report *report);

/* Who has /dev/liveupdate open: "process 12 (name)"; false: nobody is known. */
bool jump_holder(char *text, size_t size);

#endif
