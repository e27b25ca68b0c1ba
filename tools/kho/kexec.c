// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kho kexec: checks that the next kernel takes over what this one hands over,
 * loads it, suspends the services, and executes it. Until the last step all of
 * it can be undone, and is, when one fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kexec.h>
#include <linux/reboot.h>

#include <kho/image.h>

#include "check.h"
#include "jump.h"
#include "kho.h"
#include "handover/notify.h"
#include "kexec-services.h"
#include "options.h"
#include "target.h"

static const char help[] =
	"Usage: kho kexec [OPTIONS] IMAGE\n"
	"       kho kexec [OPTIONS] --capture\n"
	"\n"
	"Checks whether the kernel IMAGE, with this command line and initrd, takes over\n"
	"what the running kernel hands over.\n"
	"Only then loads it, puts the state of all services under 'kho run' into\n"
	"sessions of the kernel, and executes it: this kernel ends, without stopping\n"
	"anything else and without unmounting. In the next one 'kho run' finds each\n"
	"service's state.\n"
	"\n" JUMP_HELP
	"  --capture          instead of a kernel, something that says on the first\n"
	"                     serial port where the handover is, and halts, so that a\n"
	"                     dump of the machine shows what a kernel would have got\n"
	"  --next NAME=PROGRAM\n"
	"                     the program that will go on for service NAME, if it is not\n"
	"                     the one that runs: checks that it can, and writes the state\n"
	"                     in versions that it reads\n"
	"  --timeout S        seconds that each service has to suspend (30)\n"
	"  --allow-degraded   consent to what is lost of optional components\n"
	"  --force            whatever the checks say, unless the machine would not come\n"
	"                     up: says what will be lost\n"
	"  --load-only        load, do not suspend and execute\n"
	"  --hold             do not execute, and stay: somebody else will execute, such\n"
	"                     as systemd; services go on when this ends before that\n"
	"  --json             for programs; see docs/schemas.md, kho-kexec\n"
	"  --help             this text\n"
	"\n"
	"Exit: 1 IMAGE, a PROGRAM or a service refuses, and everything goes on as\n"
	"before; 2 cannot tell, or it could not be loaded or executed; 0 loaded, with\n"
	"--load-only.\n"
	"\n"
	"Example: kho kexec --initrd /boot/initrd.img --reuse-cmdline /boot/vmlinuz\n";

struct kexec {
	const char *image;
	struct jump jump;
	bool capture;
	bool force;
	bool load_only;
	bool hold;
	bool json;
	struct suspend services;
	struct json_object *report; /* of the kernels, or NULL */
	struct kho_error err;
};

/* For a service: it may have much to write. */
#define TIMEOUT_MS 30000

extern const char kho_capture_image[], kho_capture_image_end[];

static int open_capture(struct kho_error *err)
{
#ifdef __x86_64__
	size_t size = (size_t)(kho_capture_image_end - kho_capture_image);
	int fd = memfd_create("kho-capture", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, kho_capture_image, size) == (ssize_t)size)
		return fd;
	return kho_fail(err, -errno, "cannot make the image: %m");
#else
	return kho_fail(err, -EOPNOTSUPP, "--capture is for x86-64 only");
#endif
}

static int open_file(const char *path, struct kho_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? kho_fail(err, -errno, "%s: %m", path) : fd;
}

/* A word of a file of the running kernel; "" without that. */
static void read_word(const char *name, char word[64])
{
	char *path = kernel_path(name);
	FILE *file = fopen(path, "re");

	if (!file || !fgets(word, 64, file))
		word[0] = '\0';
	if (file)
		fclose(file);
	free(path);
}

/* Why the kernel says EPERM, which it does not. */
static const char *explain_permission(void)
{
	char word[64];

	if (geteuid())
		return "not permitted: be root";
	read_word("/proc/sys/kernel/kexec_load_disabled", word);
	if (word[0] == '1')
		return "sysctl kernel.kexec_load_disabled is 1, and stays so until the next boot";
	read_word("/proc/sys/kernel/kexec_load_limit_reboot", word);
	if (word[0] == '0')
		return "sysctl kernel.kexec_load_limit_reboot is 0: no more kernels until the next boot";
	read_word("/sys/kernel/security/lockdown", word);
	if (strstr(word, "[integrity]") || strstr(word, "[confidentiality]"))
		return "this kernel is locked down, and the image has no signature that it trusts: sign it, or boot without lockdown=";
	return "not permitted: it takes CAP_SYS_BOOT, which a container does not have, and no security module against it";
}

/* Of kexec_file_load(2): the cause, and what to do. */
static const char *explain_load(int error)
{
	switch (error) {
	case EPERM:
		return explain_permission();
	case EACCES:
		return "a security module, such as IMA, refuses the image or its initrd: see the kernel's log";
	case ENOSYS:
		return "this kernel has no kexec_file_load (CONFIG_KEXEC_FILE)";
	case ENOEXEC:
		return "not an image that this kernel can execute: it takes a bzImage on x86-64, an Image on arm64; of a UKI take what is in its section .linux";
	case ENODATA:
	case ELIBBAD:
		return "it is not signed, and this kernel wants that (CONFIG_KEXEC_SIG_FORCE, or lockdown): sign it";
	case ENOKEY:
	case EKEYREJECTED:
	case EKEYEXPIRED:
	case EKEYREVOKED:
	case ENOPKG:
	case EBADMSG:
		return "this kernel does not trust its signature: sign it with a key of the kernel's keyrings, or enroll the key";
	case ENOMEM:
		return "out of memory: image and initrd are copied; free some, or take a smaller initrd";
	case EADDRNOTAVAIL:
		return "image and initrd do not fit into the scratch areas of this kernel, one of which they have to be in: start it with a larger kho_scratch=";
	case EINVAL:
		return "the command line is too long for it, or the image or its initrd is empty or malformed: see the kernel's log";
	case EFBIG:
		return "the image or its initrd is too large";
	case ETXTBSY:
		return "the image or its initrd is open for writing: wait until it is complete";
	case EBUSY:
		return "another process is loading or executing a kernel: try again";
	default:
		return strerror(error);
	}
}

static int load(const struct kexec *kexec, struct kho_error *err)
{
	const char *cmdline = kexec->jump.cmdline ? kexec->jump.cmdline : "";
	const char *path = kexec->jump.initrd;
	unsigned long flags = path ? 0 : KEXEC_FILE_NO_INITRAMFS;
	int initrd = -1, ret = 0, image;

	image = kexec->capture ? open_capture(err) :
				 open_file(kexec->image, err);
	if (image < 0)
		return image;
	if (path) {
		initrd = open_file(path, err);
		ret = initrd < 0 ? initrd : 0;
	}
	if (!ret && syscall(SYS_kexec_file_load, image, initrd,
			    strlen(cmdline) + 1, cmdline, flags))
		ret = kho_fail(err, -errno, "cannot load %s: %s",
			       kexec->capture ? "the capture image" :
						kexec->image,
			       explain_load(errno));
	close(image);
	if (initrd >= 0)
		close(initrd);
	return ret;
}

/* Whoever reboots by other means is not to get it. */
static void unload(void)
{
	syscall(SYS_kexec_file_load, -1, -1, 0, NULL,
		(unsigned long)KEXEC_FILE_UNLOAD);
}

/* Returns only when that fails. */
static void execute(struct kho_error *err)
{
	sync();
	reboot(LINUX_REBOOT_CMD_KEXEC);
	kho_fail(err, -errno,
		 "loaded, but not executed: %s: what is preserved is as it was, see the kernel's log",
		 errno == EINVAL ? "somebody has unloaded it meanwhile" :
		 errno == EBUSY	 ? "another process is loading a kernel" :
				   strerror(errno));
}

/* What the two kernels are, and how the next one is started. */
static int judge(struct kexec *kexec, struct kho_report **report)
{
	struct kho_manifest *from, *to;
	int ret = target_manifest("running", &from, &kexec->err);

	if (ret)
		return ret;
	ret = kho_target_open(kexec->image, &to, &kexec->err);
	if (ret) {
		kho_manifest_free(from);
		return ret;
	}
	ret = kho_check_manifests(from, to, &kexec->services.how, report,
				  &kexec->err);
	if (!ret)
		jump_judge(&kexec->jump,
			   kexec->load_only ? JUMP_NOW : JUMP_SUSPENDED, from,
			   to, *report);
	kho_manifest_free(from);
	kho_manifest_free(to);
	return ret;
}

/* Can the next kernel take over? 0: go on; otherwise the exit code. */
static int check_kernel(struct kexec *kexec)
{
	struct kho_report *report;
	enum kho_outcome outcome;
	bool fatal, degraded;
	char *names;

	if (judge(kexec, &report))
		return EXIT_UNKNOWN;
	outcome = report->outcome;
	degraded = outcome == KHO_OUTCOME_DEGRADED;
	fatal = jump_is_fatal(report);
	kexec->report = report_json(report);
	if (outcome == KHO_OUTCOME_COMPATIBLE)
		return 0;
	if (!kexec->json)
		report_print(kexec->report);
	if (!degraded && (!kexec->force || fatal)) {
		kho_fail(&kexec->err, -EPROTONOSUPPORT,
			 "%s: %s%s: nothing has happened", kexec->image,
			 outcome == KHO_OUTCOME_UNKNOWN ?
				 "cannot tell whether it takes over" :
				 "refused",
			 kexec->force ? ", --force or not" : "");
		return report_exit(kexec->report);
	}
	names = report_names(kexec->report);
	say("kexec: %s: %s: what needs these is lost: %s", kexec->image,
	    degraded ? "degraded" : "forced", names);
	free(names);
	return 0;
}

/* Can the programs that go on in the next kernel take over? */
static int check_services(struct kexec *kexec)
{
	int ret = kexec->load_only ?
			  0 :
			  suspend_check(&kexec->services, &kexec->err);

	if (!ret)
		return 0;
	if (ret == -EPROTONOSUPPORT && kexec->force) {
		say("kexec: forced: %s", kexec->err.text);
		return 0;
	}
	return ret == -EPROTONOSUPPORT ? EXIT_NO : EXIT_UNKNOWN;
}

/* What is suspended is so until this process ends, or the kernel. */
static _Noreturn void hold(void)
{
	notify_send("READY=1\n");
	for (;;)
		pause();
}

/* Returns only when there is no kexec: the exit code. */
static int suspend_and_execute(struct kexec *kexec)
{
	int ret = suspend_services(&kexec->services, kexec->force, &kexec->err);
	int code = ret ? EXIT_NO : EXIT_UNKNOWN;

	if (!ret)
		ret = suspend_intact(&kexec->services, &kexec->err);
	if (!ret && kexec->hold)
		hold();
	if (!ret)
		execute(&kexec->err);
	suspend_undo(&kexec->services);
	if (ret)
		unload();
	return code;
}

static int run(struct kexec *kexec)
{
	int code = kexec->capture ? 0 : check_kernel(kexec);

	if (!code)
		code = check_services(kexec);
	if (!code && load(kexec, &kexec->err))
		code = EXIT_UNKNOWN;
	if (!code && !kexec->load_only)
		code = suspend_and_execute(kexec);
	return code;
}

static void print_result_json(const struct kexec *kexec, int code)
{
	struct json_object *json = new_document("kho-kexec");

	json_add(json, J("image", kexec->image),
		 J("result", code == EXIT_YES ? "loaded" :
			     code == EXIT_NO  ? "refused" :
						"failed"),
		 J("error", code ? kexec->err.text : NULL),
		 J("report", json_object_get(kexec->report)),
		 J("services", suspend_json(&kexec->services)));
	print_json(json);
}

static void add_next(void *arg, const char *text)
{
	struct kho_error err;

	if (suspend_add_next(arg, text, &err))
		finish(fail("kexec: %s", err.text));
}

/* 0, or an exit code, and that was said. */
static int parse(struct kexec *kexec, int argc, char **argv)
{
	const struct verb_option options[] = {
		{ "capture", .flag = &kexec->capture },
		{ "allow-degraded",
		  .flag = &kexec->services.how.allow_degraded },
		{ "force", .flag = &kexec->force },
		{ "load-only", .flag = &kexec->load_only },
		{ "hold", .flag = &kexec->hold },
		{ "next", .take = add_next, .to = &kexec->services },
		{ "timeout", .ms = &kexec->services.timeout_ms },
		{ "json", .flag = &kexec->json },
		JUMP_OPTIONS(&kexec->jump),
		{},
	};
	char **words = parse_options(argc, argv, help, "", options);

	if (kexec->load_only && kexec->hold)
		return fail_usage("kexec", "--load-only or --hold, not both");
	if (kexec->capture ? words[0] != NULL : !words[0] || words[1])
		return fail_usage("kexec", kexec->capture ?
						   "--capture takes no IMAGE" :
						   "it takes one IMAGE");
	kexec->image = words[0];
	if (jump_prepare(&kexec->jump, &kexec->err))
		return fail("kexec: %s", kexec->err.text);
	return 0;
}

int cmd_kexec(int argc, char **argv)
{
	struct kexec kexec = { .services.how.size =
				       sizeof(struct kho_check_opts),
			       .services.timeout_ms = TIMEOUT_MS };
	int code = parse(&kexec, argc, argv);

	if (!code) {
		code = run(&kexec);
		if (code)
			say("kexec: %s", kexec.err.text);
		if (kexec.json)
			print_result_json(&kexec, code);
	}
	suspend_free(&kexec.services);
	json_object_put(kexec.report);
	jump_free(&kexec.jump);
	return code;
}
