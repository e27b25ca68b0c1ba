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

#include "check.h"
#include "kho.h"
#include "notify.h"
#include "suspend.h"
#include "target.h"

static const char help[] =
	"Usage: kho kexec [OPTIONS] IMAGE\n"
	"       kho kexec [OPTIONS] --capture\n"
	"\n"
	"Checks whether the kernel IMAGE takes over what the running kernel hands over.\n"
	"Only then loads it, puts the state of all services under 'kho run' into\n"
	"sessions of the kernel, and executes it: this kernel ends, without stopping\n"
	"anything else and without unmounting. In the next one 'kho run' finds each\n"
	"service's state.\n"
	"\n"
	"  --initrd FILE      its initial RAM disk\n"
	"  --append TEXT      its command line\n"
	"  --reuse-cmdline    the command line of the running kernel\n"
	"  --capture          instead of a kernel, something that says on the first\n"
	"                     serial port where the handover is, and halts, so that a\n"
	"                     dump of the machine shows what a kernel would have got\n"
	"  --next NAME=PROGRAM\n"
	"                     the program that will go on for service NAME, if it is not\n"
	"                     the one that runs: checks that it can, and writes the state\n"
	"                     in versions that it reads\n"
	"  --timeout S        seconds that each service has to suspend (30)\n"
	"  --allow-degraded   consent to what is lost of optional components\n"
	"  --force            whatever the checks say: says what will be lost\n"
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
	const char *initrd;
	char *cmdline; /* to free */
	bool capture;
	bool force;
	bool load_only;
	bool hold;
	bool json;
	struct suspend services;
	struct kho_report *report; /* of the kernels, or NULL */
	struct kho_error err;
};

/* For a service: it may have much to write. */
#define TIMEOUT_MS 30000

extern const char kho_capture_image[], kho_capture_image_end[];

/* What the command line of the running kernel is. */
static int read_cmdline(char **cmdline)
{
	FILE *file = fopen("/proc/cmdline", "r");
	size_t size = 0;
	ssize_t len;

	if (!file)
		return -errno;
	free(*cmdline);
	*cmdline = NULL;
	len = getline(cmdline, &size, file);
	fclose(file);
	if (len < 0)
		return -EIO;
	(*cmdline)[strcspn(*cmdline, "\n")] = '\0';
	return 0;
}

static int open_capture(struct kho_error *err)
{
#ifdef __x86_64__
	size_t size = (size_t)(kho_capture_image_end - kho_capture_image);
	int fd = memfd_create("kho-capture", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, kho_capture_image, size) == (ssize_t)size)
		return fd;
	return kho_fail(err, -errno, "cannot make the image: %s",
			strerror(errno));
#else
	return kho_fail(err, -EOPNOTSUPP, "--capture is for x86-64 only");
#endif
}

static int open_file(const char *path, struct kho_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? kho_fail(err, -errno, "%s: %s", path, strerror(errno)) :
			fd;
}

static int explain_load(const struct kexec *kexec, int error,
			struct kho_error *err)
{
	const char *image = kexec->capture ? "the capture image" : kexec->image;

	switch (error) {
	case EPERM:
		return kho_fail(err, -error,
				"cannot load %s: not permitted: be root, and see "
				"sysctl kernel.kexec_load_disabled and lockdown",
				image);
	case ENOSYS:
		return kho_fail(err, -error,
				"cannot load %s: this kernel has no "
				"kexec_file_load (CONFIG_KEXEC_FILE)",
				image);
	case ENOEXEC:
		return kho_fail(err, -error,
				"cannot load %s: not an image that this kernel "
				"can execute",
				image);
	default:
		return kho_fail(err, -error, "cannot load %s: %s", image,
				strerror(error));
	}
}

static int load(const struct kexec *kexec, struct kho_error *err)
{
	const char *cmdline = kexec->cmdline ? kexec->cmdline : "";
	unsigned long flags = kexec->initrd ? 0 : KEXEC_FILE_NO_INITRAMFS;
	int initrd = -1, ret = 0, image;

	image = kexec->capture ? open_capture(err) :
				 open_file(kexec->image, err);
	if (image < 0)
		return image;
	if (kexec->initrd) {
		initrd = open_file(kexec->initrd, err);
		ret = initrd < 0 ? initrd : 0;
	}
	if (!ret && syscall(SYS_kexec_file_load, image, initrd,
			    strlen(cmdline) + 1, cmdline, flags))
		ret = explain_load(kexec, errno, err);
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
		 "loaded, but not executed: %s: what is preserved is as "
		 "it was, see the kernel's log",
		 strerror(errno));
}

/* Can the next kernel take over? 0: go on; otherwise the exit code. */
static int check_kernel(struct kexec *kexec)
{
	struct kho_manifest *from, *to;
	char summary[KHO_ERROR_SIZE / 2];
	int ret;

	if (target_manifest("running", &from, &kexec->err))
		return EXIT_UNKNOWN;
	if (target_manifest(kexec->image, &to, &kexec->err)) {
		kho_manifest_free(from);
		return EXIT_UNKNOWN;
	}
	ret = kho_check_manifests(from, to, &kexec->services.how,
				  &kexec->report);
	kho_manifest_free(from);
	kho_manifest_free(to);
	if (ret) {
		kho_fail(&kexec->err, ret, "out of memory");
		return EXIT_UNKNOWN;
	}
	if (kexec->report->outcome == KHO_OUTCOME_COMPATIBLE)
		return 0;
	kho_report_summary(kexec->report, summary, sizeof(summary));
	if (kexec->report->outcome == KHO_OUTCOME_INCOMPATIBLE) {
		if (!kexec->json)
			kho_report_print(kexec->report, stdout, want_color());
		fflush(stdout);
		if (!kexec->force) {
			kho_fail(&kexec->err, -EPROTONOSUPPORT,
				 "%s: refused: nothing has happened",
				 kexec->image);
			return EXIT_NO;
		}
	}
	say("kexec: %s: %s: what needs these is lost: %s", kexec->image,
	    kexec->report->outcome == KHO_OUTCOME_DEGRADED ? "degraded" :
							     "forced",
	    summary);
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
	notify_ready();
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
	char *report = kexec->report ? must(kho_report_json(kexec->report)) :
				       NULL;

	add_text(json, "image", kexec->image);
	add_text(json, "result",
		 code == EXIT_YES ? "loaded" :
		 code == EXIT_NO  ? "refused" :
				    "failed");
	add_text(json, "error", code ? kexec->err.text : NULL);
	json_object_object_add(json, "report",
			       report ? must(json_tokener_parse(report)) :
					NULL);
	add_json(json, "services", suspend_json(&kexec->services));
	print_json(json);
	free(report);
}

/* 0, or an exit code, and that was said. */
static int add_next(struct kexec *kexec, const char *text)
{
	if (!suspend_add_next(&kexec->services, text, &kexec->err))
		return 0;
	return fail("kexec: %s", kexec->err.text);
}

/* -1: there is nothing left to do, and the exit code is in @code. */
static int parse(struct kexec *kexec, int argc, char **argv, int *code)
{
	static const struct option options[] = {
		{ "initrd", required_argument, NULL, 'i' },
		{ "append", required_argument, NULL, 'a' },
		{ "reuse-cmdline", no_argument, NULL, 'r' },
		{ "capture", no_argument, NULL, 'c' },
		{ "allow-degraded", no_argument, NULL, 'd' },
		{ "force", no_argument, NULL, 'f' },
		{ "load-only", no_argument, NULL, 'l' },
		{ "hold", no_argument, NULL, 'o' },
		{ "next", required_argument, NULL, 'n' },
		{ "timeout", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool reuse = false;
	int c, ret;

	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (c) {
		case 'i':
			kexec->initrd = optarg;
			break;
		case 'a':
			free(kexec->cmdline);
			kexec->cmdline = must(strdup(optarg));
			break;
		case 'r':
			reuse = true;
			break;
		case 'c':
			kexec->capture = true;
			break;
		case 'd':
			kexec->services.how.allow_degraded = true;
			break;
		case 'f':
			kexec->force = true;
			break;
		case 'l':
			kexec->load_only = true;
			break;
		case 'o':
			kexec->hold = true;
			break;
		case 'n':
			*code = add_next(kexec, optarg);
			if (*code)
				return -1;
			break;
		case 't':
			if (parse_seconds(optarg, &kexec->services.timeout_ms))
				break;
			*code = fail_usage("kexec",
					   "--timeout %s is not a number of seconds",
					   optarg);
			return -1;
		case 'j':
			kexec->json = true;
			break;
		case 'h':
			fputs(help, stdout);
			*code = EXIT_YES;
			return -1;
		default:
			*code = fail_option("kexec", c, argv);
			return -1;
		}
	}
	*code = EXIT_UNKNOWN;
	if (reuse && kexec->cmdline)
		return fail_usage("kexec",
				  "--append or --reuse-cmdline, not both"),
		       -1;
	if (kexec->load_only && kexec->hold)
		return fail_usage("kexec", "--load-only or --hold, not both"),
		       -1;
	if (argc - optind != !kexec->capture)
		return fail_usage("kexec", kexec->capture ?
						   "--capture takes no IMAGE" :
						   "it takes one IMAGE"),
		       -1;
	kexec->image = argv[optind];
	ret = reuse ? read_cmdline(&kexec->cmdline) : 0;
	if (ret)
		return fail("kexec: /proc/cmdline: %s", strerror(-ret)), -1;
	return 0;
}

int cmd_kexec(int argc, char **argv)
{
	struct kexec kexec = { .services.timeout_ms = TIMEOUT_MS };
	int code = EXIT_YES;

	if (!parse(&kexec, argc, argv, &code)) {
		code = run(&kexec);
		if (code)
			say("kexec: %s", kexec.err.text);
		if (kexec.json)
			print_result_json(&kexec, code);
	}
	suspend_free(&kexec.services);
	kho_report_free(kexec.report);
	free(kexec.cmdline);
	return code;
}
