// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Before the jump. What a kernel can read is in its file; whether it will take
 * over is decided by its command line too, by the memory that it starts in, and
 * by what becomes of it when it does not like what it finds. The facts are
 * those of Linux 7.2 and 7.3.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kho/cmdline.h>
#include <kho/image.h>

#include "jump.h"
#include "kernel.h"
#include "proc.h"
#include "service.h"
#include "target.h"

/* Linux's loader for x86 keeps room for "elfcorehdr=0x..." and a NUL. */
#define LOADER_RESERVES 31

#define SCRATCH_MAX 256

/* Linux has a struct of so many bytes for each page of memory. */
#define PAGE_STRUCT 64

/* Others have the device open only for a moment. */
#define HELD_TRIES 20
#define HELD_PAUSE_MS 50

/*
 * Its command line and initrd
 */

void jump_append(void *arg, const char *text)
{
	struct jump *jump = arg;
	char *longer = format("%s%s%s", jump->append ? jump->append : "",
			      jump->append ? " " : "", text);

	free(jump->append);
	jump->append = longer;
}

/* What the running kernel was started with, as it is. */
static int read_cmdline(char **cmdline, struct kho_error *err)
{
	char *path = kernel_path("/proc/cmdline");
	FILE *file = fopen(path, "re");
	size_t size = 0;
	ssize_t len = -1;

	*cmdline = NULL;
	if (file) {
		len = getdelim(cmdline, &size, '\0', file);
		fclose(file);
	}
	if (len < 0)
		kho_fail(err, -EIO, "%s: %s", path,
			 file ? "cannot be read" : strerror(errno));
	else if (len && (*cmdline)[len - 1] == '\n')
		(*cmdline)[len - 1] = '\0';
	free(path);
	return len < 0 ? -EIO : 0;
}

static int check_initrd(const char *path, struct kho_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int ret = 0;
	char byte;

	if (fd < 0)
		return kho_fail(err, -errno, "%s: %m", path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		ret = kho_fail(err, -EINVAL,
			       "%s: not a regular file: name an initial RAM disk",
			       path);
	else if (!st.st_size)
		ret = kho_fail(err, -EINVAL,
			       "%s: is empty: name an initial RAM disk", path);
	else if (pread(fd, &byte, 1, 0) != 1)
		ret = kho_fail(err, -EIO, "%s: cannot be read", path);
	close(fd);
	return ret;
}

int jump_prepare(struct jump *jump, struct kho_error *err)
{
	char *base = NULL;
	int ret = jump->initrd ? check_initrd(jump->initrd, err) : 0;

	if (!ret && jump->replace && jump->reuse)
		return kho_fail(err, -EINVAL,
				"--cmdline or --reuse-cmdline, not both");
	if (!ret && jump->reuse)
		ret = read_cmdline(&base, err);
	else if (!ret && jump->replace)
		base = must(strdup(jump->replace));
	if (!ret && base && jump->append) {
		jump->cmdline = format("%s %s", base, jump->append);
		free(base);
	} else if (!ret) {
		jump->cmdline = base ? base : jump->append;
		jump->append = base ? jump->append : NULL;
	}
	return ret;
}

void jump_free(struct jump *jump)
{
	free(jump->append);
	free(jump->cmdline);
}

/* What the kernel will read; to free(). */
static char *effective(const struct kho_image *image, const char *given)
{
	bool with = image->builtin[0] && given[0] &&
		    image->builtin_use == KHO_BUILTIN_BEFORE;
	const char *one = image->builtin[0] && (image->builtin_use ==
							KHO_BUILTIN_INSTEAD ||
						!given[0]) ?
				  image->builtin :
				  given;
	char *text;

	text = format("%s%s%s", with ? image->builtin : one, with ? " " : "",
		      with ? given : "");
	if (strlen(text) >= KHO_CMDLINE_SIZE)
		text[KHO_CMDLINE_SIZE - 1] = '\0';
	return text;
}

/*
 * Conditions
 */

/* Adds to a report. */
#define add(report, ...)                                                       \
	must(kho_report_add(report, __VA_ARGS__) ? NULL : (report))

static void judge_length(const struct kho_image *image, const char *given,
			 const char *read, struct kho_report *report)
{
	size_t len = strlen(given), max = KHO_CMDLINE_SIZE - 1;
	char *text;

	if (image->cmdline_size)
		max = image->cmdline_size > LOADER_RESERVES ?
			      image->cmdline_size - LOADER_RESERVES :
			      0;
	if (len > max) {
		add(report, "command line", KHO_CONDITION_FATAL,
		    "it has %zu bytes, and no more than %zu can be given to it: shorten it",
		    len, max);
		return;
	}
	text = printable(read);
	add(report, "command line", KHO_CONDITION_OK, "%s%.300s%s",
	    image->builtin[0] && image->builtin_use == KHO_BUILTIN_INSTEAD ?
		    "only what is built in: " :
		    "",
	    text[0] ? text : "empty", strlen(text) > 300 ? "..." : "");
	free(text);
}

/*
 * struct parameter - switches something on
 * @name: of it
 * @unsaid: when the command line does not say it
 * @why: that is so
 * @lost: without it
 */
struct parameter {
	const char *name;
	enum kho_condition_verdict unsaid;
	const char *why;
	const char *lost;
};

/* False when it is known to be off. */
static bool judge_parameter(const struct parameter *p, const char *cmdline,
			    struct kho_report *report)
{
	struct kho_cmdline_switch said;
	enum kho_condition_verdict verdict;
	char name[24], note[96] = "";

	snprintf(name, sizeof(name), "%s=", p->name);
	kho_cmdline_switch(cmdline, p->name, &said);
	if (said.ignored[0])
		snprintf(note, sizeof(note),
			 "a value of it is not understood (%s); ",
			 said.ignored);
	else if (said.behind && !said.setting)
		snprintf(note, sizeof(note),
			 "behind '--' it is given to init; ");
	verdict = said.setting == KHO_SETTING_ON  ? KHO_CONDITION_OK :
		  said.setting == KHO_SETTING_OFF ? KHO_CONDITION_FAILS :
						    p->unsaid;
	if (said.setting && verdict == KHO_CONDITION_OK)
		add(report, name, verdict, "%s%s%s", note, name, said.value);
	else if (said.setting)
		add(report, name, verdict,
		    "%s%s%s is on its command line: %s: say %son instead", note,
		    name, said.value, p->lost, name);
	else if (verdict == KHO_CONDITION_OK)
		add(report, name, verdict, "%s%s", note, p->why);
	else
		add(report, name, verdict,
		    "%snot on its command line, and %s: %s: add %son", note,
		    p->why, p->lost, name);
	return verdict != KHO_CONDITION_FAILS;
}

/* Its KHO: false when it is known to be off. */
static bool judge_kho(const struct kho_image *image, const char *cmdline,
		      struct kho_report *report)
{
	const struct parameter kho = {
		.name = "kho",
		.unsaid = !image->config ? KHO_CONDITION_UNKNOWN :
			  image->kho_on	 ? KHO_CONDITION_OK :
					   KHO_CONDITION_FAILS,
		.why = !image->config ?
			       "whether KHO is on by default cannot be told without a built-in configuration (CONFIG_IKCONFIG), or with CONFIG_CMDLINE_FROM_BOOTCONFIG" :
		       image->kho_on ?
			       "on by default (CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT)" :
			       "KHO is off by default (no CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT)",
		.lost = image->config ? "all that is handed over is lost" :
					"all that is handed over may be lost",
	};

	return judge_parameter(&kho, cmdline, report);
}

static void judge_liveupdate(const char *cmdline, struct kho_report *report)
{
	static const struct parameter liveupdate = {
		.name = "liveupdate",
		.unsaid = KHO_CONDITION_FAILS,
		.why = "LUO is off by default",
		.lost = "all sessions of /dev/liveupdate are lost, services with them",
	};

	judge_parameter(&liveupdate, cmdline, report);
}

/* It has no say in a kernel that takes over, which people may not expect. */
static void note_scratch(const char *cmdline, struct kho_report *report)
{
	struct kho_cmdline_param param;

	while (kho_cmdline_next(&cmdline, &param)) {
		if (!kho_cmdline_is(&param, "kho_scratch"))
			continue;
		add(report, "kho_scratch=", KHO_CONDITION_OK,
		    "without effect: it takes over the running kernel's scratch");
		return;
	}
}

static bool is_read(const struct kho_report *report, const char *name)
{
	const struct kho_finding *f = kho_report_find(report, name);

	return f && (f->verdict == KHO_OK || f->verdict == KHO_OLDER);
}

/*
 * LUO looks at what came in even when liveupdate=off. A header that it does not
 * know is a panic; a file of an unknown handler makes the device useless.
 */
static void judge_luo(const struct kho_manifest *from,
		      struct kho_report *report)
{
	const struct kho_finding *luo = kho_report_find(report, "luo");

	if (!luo || !is_read(report, "kho"))
		return;
	if (luo->verdict == KHO_INCOMPATIBLE)
		add(report, "luo", KHO_CONDITION_FATAL,
		    "it panics when it finds a LUO version that it does not read, and the machine is down: with kho=off on its command line it starts, and all that is handed over is lost");
	for (size_t i = 0; i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];
		const struct kho_manifest_entry *entry =
			kho_manifest_find(from, f->name);

		if (entry && entry->desc.flags & KHO_COMPONENT_HANDLER &&
		    is_read(report, "luo") && !is_read(report, f->name))
			add(report, f->name, KHO_CONDITION_FAILS,
			    "one file of it in a session, and /dev/liveupdate answers EIO for good");
	}
}

/*
 * The running kernel
 */

/* Can both be placed, each in one piece? */
static bool fits(const uint64_t *sizes, size_t n, uint64_t kernel,
		 uint64_t initrd)
{
	for (size_t i = 0; i < n; i++) {
		if (sizes[i] < kernel)
			continue;
		for (size_t j = 0; j < n; j++)
			if (sizes[j] - (j == i ? kernel : 0) >= initrd)
				return true;
	}
	return false;
}

/* Of the machine, in bytes; 0: not known. */
static uint64_t memory_total(void)
{
	char *path = kernel_path("/proc/meminfo");
	FILE *file = fopen(path, "re");
	unsigned long kib = 0;

	if (file) {
		if (fscanf(file, "MemTotal: %lu", &kib) != 1)
			kib = 0;
		fclose(file);
	}
	free(path);
	return kib * 1024ull;
}

/*
 * Until the next kernel has read what is preserved, which takes a struct for
 * each page, it has nothing but scratch. Linux 7.3 adds what is free of each
 * GiB, 7.2 does not: with more than that it cannot be told.
 */
static void judge_start(uint64_t left, struct kho_report *report)
{
	uint64_t total = memory_total();
	uint64_t structs =
		total / (uint64_t)sysconf(_SC_PAGESIZE) * PAGE_STRUCT;
	struct text have = human_size(left), need = human_size(structs);

	if (left >= structs)
		add(report, "scratch", KHO_CONDITION_OK,
		    "%s are left to start in", have.text);
	else
		add(report, "scratch",
		    total < (960u << 20) ? KHO_CONDITION_FATAL :
					   KHO_CONDITION_UNKNOWN,
		    "too small: %s are left to start in, and its page structs alone take %s: it %s: start the running kernel with a larger kho_scratch=",
		    have.text, need.text,
		    total < (960u << 20) ? "would hang" : "may hang");
}

/* Not to be read, and that may mean that there are none. */
static void judge_no_scratch(enum jump_from where, int error,
			     struct kho_report *report)
{
	char *device = kernel_path("/dev/liveupdate");
	bool luo = !access(device, F_OK);

	free(device);
	if (where != JUMP_HERE && luo)
		add(report, "scratch", KHO_CONDITION_OK,
		    "not known; kexec_file_load(2) refuses what does not fit");
	else if (error == -ENOENT && !luo)
		add(report, "scratch", KHO_CONDITION_UNKNOWN,
		    "the running kernel shows none in debugfs: see its log, whether it has switched KHO off because its scratch did not fit; or mount debugfs");
	else
		add(report, "scratch", KHO_CONDITION_UNKNOWN,
		    "that of the running kernel cannot be read: %s: be root, with debugfs mounted",
		    strerror(-error));
}

/* The loader puts the next kernel into the scratch areas of this one. */
static void judge_scratch(const struct jump *jump, enum jump_from where,
			  const struct kho_image *image,
			  struct kho_report *report)
{
	uint64_t sizes[SCRATCH_MAX], total = 0, largest = 0, initrd = 0;
	size_t n;
	int ret = running_scratch(sizes, SCRATCH_MAX, &n);
	struct stat st;

	if (ret) {
		judge_no_scratch(where, ret, report);
		return;
	}
	if (jump->initrd && !stat(jump->initrd, &st))
		initrd = (uint64_t)st.st_size;
	for (size_t i = 0; i < n; i++) {
		total += sizes[i];
		largest = sizes[i] > largest ? sizes[i] : largest;
	}
	if (fits(sizes, n, image->memory, initrd)) {
		judge_start(total - image->memory - initrd, report);
		return;
	}
	add(report, "scratch", KHO_CONDITION_FATAL,
	    "too small: the kernel takes %s in one piece, its initrd %s, and the running kernel has %s, at most %s in one piece: start that with a larger kho_scratch=",
	    human_size(image->memory).text, human_size(initrd).text,
	    human_size(total).text, human_size(largest).text);
}

bool jump_holder(char *text, size_t size)
{
	char *device = kernel_path("/dev/liveupdate"), name[16];
	pid_t pid = process_holding(device, name);

	free(device);
	if (pid)
		snprintf(text, size, "process %d (%s)", pid, name);
	return pid;
}

/* Services go along in sessions, for which the device has to be free. */
static void judge_device(struct kho_report *report)
{
	char *path = kernel_path("/dev/liveupdate"), holder[64];
	struct service *services;
	struct kho_error err;
	size_t n;
	bool held;

	if (services_read(&services, &n, &err)) {
		add(report, "/dev/liveupdate", KHO_CONDITION_UNKNOWN,
		    "which services there are: %s", err.text);
		n = 0;
	} else if (n && access(path, F_OK)) {
		add(report, "/dev/liveupdate", KHO_CONDITION_FAILS,
		    "the running kernel has none, which services under kho run need to go along: start it with liveupdate=on, or stop them");
	} else if (n) {
		held = jump_holder(holder, sizeof(holder));
		for (int i = 0; held && i < HELD_TRIES; i++) {
			poll(NULL, 0, HELD_PAUSE_MS);
			held = jump_holder(holder, sizeof(holder));
		}
		if (held)
			add(report, "/dev/liveupdate", KHO_CONDITION_FAILS,
			    "%s has it open, so that services under kho run cannot go along: end that, or let it close it",
			    holder);
		else
			add(report, "/dev/liveupdate", KHO_CONDITION_OK,
			    "free for services (%zu)", n);
	}
	for (size_t i = 0; i < n; i++)
		service_free(&services[i]);
	free(services);
	free(path);
}

void jump_judge(const struct jump *jump, enum jump_from where,
		const struct kho_manifest *from, const struct kho_manifest *to,
		struct kho_report *report)
{
	static const struct kho_image no_image;
	const struct kho_image *image = to->image ? to->image : &no_image;
	/* Whoever loads it without one gives it an empty one. */
	const char *given = jump->cmdline ? jump->cmdline :
			    where == JUMP_NOW || where == JUMP_SUSPENDED ? "" :
			    image->cmdline[0] ? image->cmdline :
						NULL;
	bool on = true;
	char *read;

	/* Nothing is handed over, or nothing is taken: that has been said. */
	if ((from->image && from->image->missing[0]) || image->missing[0])
		return;
	if (given) {
		read = effective(image, given);
		judge_length(image, given, read, report);
		on = judge_kho(image, read, report);
		if (kho_manifest_find(from, "luo") &&
		    kho_manifest_find(to, "luo"))
			judge_liveupdate(read, report);
		note_scratch(read, report);
		free(read);
	} else {
		add(report, "command line", KHO_CONDITION_UNKNOWN,
		    "not known, and it decides: it takes kho=on and, for sessions, liveupdate=on: name it with --reuse-cmdline, --cmdline or --append");
	}
	if (on)
		judge_luo(from, report);
	if (where != JUMP_ELSEWHERE)
		judge_scratch(jump, where, image, report);
	if (where == JUMP_HERE || where == JUMP_SUSPENDED)
		judge_device(report);
}

bool jump_is_fatal(const struct kho_report *report)
{
	for (size_t i = 0; i < report->n_conditions; i++)
		if (report->conditions[i].verdict == KHO_CONDITION_FATAL)
			return true;
	return false;
}
