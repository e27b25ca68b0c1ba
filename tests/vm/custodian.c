// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A program of the guest that has an arena and a file besides, and says what
 * became of both after a kexec:
 *
 *   custodian                  under kho run; serves
 *   custodian put SESSION      makes a state, puts it into a session of its own,
 *                              and jumps into the kernel that is loaded
 *   custodian get SESSION      gets it back, and says whether it may
 *
 * CUSTODIAN_VERSION is that of its state, which no other reads.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/reboot.h>

#include <kho/compat.h>
#include <kho/control.h>
#include <kho/fds.h>
#include <kho/manifest.h>
#include <kho/pages.h>
#include <kho/suspend.h>
#include <kho/tree.h>

/* Where a program's own files begin in its session. */
#define TOKEN (1ull << 32)

#define FILE_SIZE 100000

KHO_COMPONENT(custodian, .write = { CUSTODIAN_VERSION, CUSTODIAN_VERSION },
	      .read = { CUSTODIAN_VERSION, CUSTODIAN_VERSION });

struct state {
	uint64_t n;
};

static int frozen, thawed;

static int freeze(struct kho *kho, const struct kho_report *report, void *arg)
{
	(void)kho;
	(void)report;
	(void)arg;
	frozen++;
	return 0;
}

static void unfreeze(struct kho *kho, void *arg)
{
	(void)kho;
	(void)arg;
	thawed++;
}

static void die(const char *what, int error)
{
	printf("custodian: %s: %s\n", what, strerror(error));
	exit(1);
}

static void check(const char *what, int ret)
{
	if (ret)
		die(what, -ret);
}

static unsigned char byte_at(int i)
{
	return (unsigned char)(i * 7 + (i >> 8));
}

static int make_file(void)
{
	int fd = memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	unsigned char bytes[FILE_SIZE];

	for (int i = 0; i < FILE_SIZE; i++)
		bytes[i] = byte_at(i);
	if (fd < 0 || write(fd, bytes, FILE_SIZE) != FILE_SIZE ||
	    lseek(fd, 42, SEEK_SET) != 42)
		die("memfd", errno);
	return fd;
}

static void compare_file(struct kho *kho)
{
	int fd = kho_take_fd(kho, "file");
	unsigned char bytes[FILE_SIZE];

	if (fd < 0)
		die("file", -fd);
	if (lseek(fd, 0, SEEK_CUR) != 42 ||
	    pread(fd, bytes, FILE_SIZE, 0) != FILE_SIZE ||
	    lseek(fd, 0, SEEK_END) != FILE_SIZE)
		die("file", EBADMSG);
	for (int i = 0; i < FILE_SIZE; i++)
		if (bytes[i] != byte_at(i))
			die("content", EBADMSG);
}

/* Is there a pipe? No kernel takes one along. */
static void add_pipe(struct kho *kho)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		die("pipe", errno);
	check("pipe", kho_add_fd(kho, "pipe", ends[0], KHO_FD_STORE, NULL));
	check("pipe", kho_add_fd(kho, "pipe", ends[1], KHO_FD_STORE, NULL));
}

static struct state *make(struct kho *kho)
{
	struct state *state = kho_alloc_preserve(kho, sizeof(*state));

	if (!state)
		die("alloc", errno);
	check("subtree", kho_add_subtree(kho, "custodian", &custodian_component,
					 0, state, sizeof(*state), NULL));
	check("add", kho_add_fd(kho, "file", make_file(), KHO_FD_STORE, NULL));
	return state;
}

static const struct kho_attach_opts opts = {
	.size = sizeof(opts),
	.freeze = freeze,
	.unfreeze = unfreeze,
};

static int serve(void)
{
	struct state *state;
	struct kho *kho;

	if (kho_attach(&kho, &opts, NULL))
		die("attach", errno);
	state = kho_subtree(kho, "custodian", NULL, NULL);
	if (state)
		compare_file(kho);
	else
		state = make(kho);
	check("ready", kho_ready(kho, NULL));
	add_pipe(kho);
	printf("serving %lu\n", ++state->n);
	while (kho_poll(kho, 100) == 0) {
		if (frozen)
			printf("froze %d, thawed %d\n", frozen, thawed);
		frozen = thawed = 0;
	}
	return 0;
}

static long blocks(struct kho *kho)
{
	struct stat st;

	if (fstat(kho_arena_fd(kho), &st))
		die("fstat", errno);
	return st.st_blocks;
}

/* Less than there is data, so that it is no copy that goes into the session. */
static void make_holes(struct kho *kho)
{
	size_t pages = (64 << 20) >> kho_page_shift(kho);
	void *idle = kho_alloc_pages(kho, pages);

	if (!idle || !kho_alloc_preserve(kho, 64 << 20))
		die("alloc", errno);
	kho_free_pages(kho, idle, pages);
}

/* A suspension that comes to nothing, and one that is meant. */
static void suspend(struct kho *kho, const char *name, bool again)
{
	struct kho_named_file *files;
	struct kho_error err;
	size_t n;
	int session = kho_session_create(name, &err);
	long before = blocks(kho);

	if (session < 0)
		die(err.text, -session);
	if (kho_suspend(kho, session, TOKEN,
			&(struct kho_suspend_opts){
				.size = sizeof(struct kho_suspend_opts),
				.files = &files,
				.n_files = &n },
			&err))
		die(err.text, -err.code);
	if (n != 4 || strcmp(files[0].name, KHO_FDNAME_ARENA) != 0 ||
	    files[0].error || files[1].error || files[2].error != -ENOENT ||
	    files[3].error != -ENOENT)
		die("files", EBADMSG);
	kho_fdnames_free(files);
	if (kho_alloc_preserve(kho, 1) || errno != EROFS ||
	    kho_suspend(kho, session, 0, NULL, NULL) != -EALREADY)
		die("not suspended", EBADMSG);
	if (!again)
		return;
	if (blocks(kho) <= before)
		die("no holes were filled", EBADMSG);
	close(session);
	kho_resume(kho);
	if (blocks(kho) > before)
		die("holes are memory", EBADMSG);
	if (frozen != 1 || thawed != 1 || !kho_alloc_preserve(kho, 8 << 20))
		die("not resumed", errno);
	suspend(kho, name, false);
}

static int put(const char *name)
{
	struct kho_error err;
	struct state *state;
	struct kho *kho;

	if (kho_attach(&kho, &opts, NULL))
		die("attach", errno);
	state = make(kho);
	state->n = 4711;
	check("ready", kho_ready(kho, NULL));
	add_pipe(kho);
	/* Nothing that is no session does any harm. */
	if (kho_suspend(kho, 0, 0, NULL, &err) != -ENOTTY || frozen != thawed)
		die(err.text, EBADMSG);
	frozen = thawed = 0;
	make_holes(kho);
	suspend(kho, name, true);
	reboot(LINUX_REBOOT_CMD_KEXEC);
	die("reboot", errno);
	return 1;
}

static int get(const char *name)
{
	struct kho_attach_opts how = opts;
	struct kho_error err;
	struct state *state;
	struct kho *kho;
	char number[16];
	int session = kho_session_retrieve(name, &err), ret;

	if (session < 0)
		die(err.text, -session);
	if (kho_attach_session(&kho, session, TOKEN + 10, &how, &err) !=
	    -ENOENT)
		die("a token of nothing", EBADMSG);
	ret = kho_attach_session(&kho, session, TOKEN, &how, &err);
	if (ret) {
		/* Refused: somebody else may have more luck. */
		printf("refused: %s\n", err.text);
		fcntl(session, F_SETFD, 0);
		fflush(stdout);
		snprintf(number, sizeof(number), "%d", session);
		execl("/bin/custodian-v1", "custodian-v1", "take", number,
		      NULL);
		die("exec", errno);
	}
	state = kho_subtree(kho, "custodian", NULL, NULL);
	if (!state || state->n != 4711)
		die("state", EBADMSG);
	compare_file(kho);
	check("ready", kho_ready(kho, NULL));
	if (kho_session_finish(session, &err))
		die(err.text, -err.code);
	close(session);
	state->n++;
	printf("back, generation %lu\n", kho_generation(kho));
	kho_close(kho);
	return 0;
}

/* Out of the session that the one before could not read. */
static int take(const char *fd)
{
	struct state *state;
	struct kho *kho;

	if (kho_attach_session(&kho, atoi(fd), TOKEN, &opts, NULL))
		die("attach", errno);
	state = kho_subtree(kho, "custodian", NULL, NULL);
	if (!state || state->n != 4711)
		die("state", EBADMSG);
	compare_file(kho);
	printf("taken\n");
	return 0;
}

int main(int argc, char **argv)
{
	setlinebuf(stdout);
	if (argc < 3)
		return serve();
	return !strcmp(argv[1], "put") ? put(argv[2]) :
	       !strcmp(argv[1], "get") ? get(argv[2]) :
					 take(argv[2]);
}
