// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kho kexec: checks that the next kernel takes over what this one hands over,
 * loads it and executes it.
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
#include "target.h"

static const char help[] =
	"Usage: kho kexec [OPTIONS] IMAGE\n"
	"       kho kexec [OPTIONS] --capture\n"
	"\n"
	"Checks whether the kernel IMAGE takes over what the running kernel hands over.\n"
	"Only then loads it and executes it: this kernel ends, without stopping services\n"
	"and without unmounting.\n"
	"\n"
	"  --initrd FILE      its initial RAM disk\n"
	"  --append TEXT      its command line\n"
	"  --reuse-cmdline    the command line of the running kernel\n"
	"  --capture          instead of a kernel, something that says on the first\n"
	"                     serial port where the handover is, and halts, so that a\n"
	"                     dump of the machine shows what a kernel would have got\n"
	"  --allow-degraded   consent to what is lost of optional components\n"
	"  --force            whatever the check says: says what will be lost\n"
	"  --load-only        load, do not execute\n"
	"  --help             this text\n"
	"\n"
	"Exit: 1 IMAGE cannot take over, and nothing has happened; 2 cannot tell, or it\n"
	"could not be loaded or executed; 0 loaded, with --load-only.\n"
	"\n"
	"Example: kho kexec --initrd /boot/initrd.img --reuse-cmdline /boot/vmlinuz\n";

struct kexec {
	const char *image;
	const char *initrd;
	char *cmdline; /* to free */
	bool capture;
	bool force;
	bool load_only;
	struct kho_check_opts how;
};

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

static int execute(struct kho_error *err)
{
	sync();
	reboot(LINUX_REBOOT_CMD_KEXEC);
	return kho_fail(err, -errno,
			"loaded, but not executed: %s: what is preserved is as "
			"it was, see the kernel's log",
			strerror(errno));
}

/* 0: go on; otherwise the exit code. */
static int check(const struct kexec *kexec)
{
	struct kho_manifest *from, *to;
	struct kho_report *report;
	struct kho_error err;
	char summary[KHO_ERROR_SIZE];
	int ret;

	if (target_manifest("running", &from, &err))
		return fail("kexec: %s", err.text);
	if (target_manifest(kexec->image, &to, &err)) {
		kho_manifest_free(from);
		return fail("kexec: %s", err.text);
	}
	ret = kho_check_manifests(from, to, &kexec->how, &report);
	kho_manifest_free(from);
	kho_manifest_free(to);
	if (ret)
		return fail("kexec: out of memory");
	ret = 0;
	if (report->outcome == KHO_OUTCOME_INCOMPATIBLE) {
		kho_report_print(report, stdout, want_color());
		fflush(stdout);
		if (!kexec->force) {
			say("kexec: %s: refused: nothing has happened",
			    kexec->image);
			ret = EXIT_NO;
		}
	}
	if (!ret && report->outcome != KHO_OUTCOME_COMPATIBLE) {
		kho_report_summary(report, summary, sizeof(summary));
		say("kexec: %s: %s: what needs these is lost: %s", kexec->image,
		    report->outcome == KHO_OUTCOME_DEGRADED ? "degraded" :
							      "forced",
		    summary);
	}
	kho_report_free(report);
	return ret;
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
			kexec->how.allow_degraded = true;
			break;
		case 'f':
			kexec->force = true;
			break;
		case 'l':
			kexec->load_only = true;
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
	struct kexec kexec = { 0 };
	struct kho_error err;
	int code = EXIT_YES, ret;

	ret = parse(&kexec, argc, argv, &code);
	if (!ret && !kexec.capture)
		ret = code = check(&kexec);
	if (!ret) {
		ret = load(&kexec, &err);
		if (!ret && !kexec.load_only)
			ret = execute(&err);
		code = ret ? fail("kexec: %s", err.text) : EXIT_YES;
	}
	free(kexec.cmdline);
	return code;
}
