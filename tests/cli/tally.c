// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A small service for the tests of the command: a preserved number, and a
 * listening socket that is kept in custody.
 *
 * tally SOCKET [MISHAP]: MISHAP is what a bad successor does before it is
 * ready: crash, exit, hang. It answers one line per connection: "add N" and
 * "get" with "NUMBER GENERATION VERSION PID", "exit N", "abort", "busy S" (no
 * answers for a while), "store NAME" (an eventfd), "hangup NAME" (stores one
 * end of a socket pair and closes the other), "drop NAME", "fork" (leaves a
 * child behind), "many N" (stores N fds).
 *
 * Built with VERSION 1, 2 and 3, of which 3 cannot read what the others write.
 * Version 1 has a bug: it dies of the number 666 whenever it starts.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <kho/attach.h>
#include <kho/compat.h>
#include <kho/control.h>
#include <kho/fds.h>
#include <kho/pages.h>
#include <kho/tree.h>

#if VERSION == 3
KHO_COMPONENT(tally, .write = { 3, 3 }, .read = { 3, 3 });
#else
KHO_COMPONENT(tally, .write = { VERSION, VERSION }, .read = { 1, VERSION });
#endif

struct tally {
	uint64_t number;
};

static struct kho *kho;
static struct tally *tally;

static int listen_on(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(fd, 64)) {
		perror(path);
		exit(1);
	}
	return fd;
}

static void store(const char *name, int fd)
{
	int ret = fd < 0 ? -errno :
			   kho_add_fd(kho, name, fd, KHO_FD_STORE, NULL);

	if (ret) {
		fprintf(stderr, "store %s: %s\n", name, strerror(-ret));
		exit(1);
	}
}

static void hang_up(const char *name)
{
	int pair[2] = { -1, -1 };

	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
	store(name, pair[0]);
	close(pair[1]);
}

static void store_many(int n)
{
	struct rlimit limit = { 4096, 4096 };

	setrlimit(RLIMIT_NOFILE, &limit);
	while (n--)
		store("many", eventfd(0, EFD_CLOEXEC));
}

static void answer(FILE *client)
{
	char verb[16] = "", arg[300] = "";
	int fd;

	if (fscanf(client, "%15s %255s", verb, arg) < 1)
		return;
	if (!strcmp(verb, "add"))
		tally->number += strtoul(arg, NULL, 10);
	else if (!strcmp(verb, "exit"))
		exit(atoi(arg));
	else if (!strcmp(verb, "abort"))
		abort();
	else if (!strcmp(verb, "busy"))
		sleep((unsigned int)atoi(arg));
	else if (!strcmp(verb, "store"))
		store(arg, eventfd(0, EFD_CLOEXEC));
	else if (!strcmp(verb, "hangup"))
		hang_up(arg);
	else if (!strcmp(verb, "drop") && (fd = kho_take_fd(kho, arg)) >= 0)
		kho_remove_fd(kho, fd);
	else if (!strcmp(verb, "many"))
		store_many(atoi(arg));
	else if (!strcmp(verb, "fork") && !fork())
		for (;;)
			pause();
	fprintf(client, "%lu %lu %d %d\n", tally->number, kho_generation(kho),
		VERSION, getpid());
}

static void serve(int listener)
{
	struct pollfd fds[] = { { .fd = listener, .events = POLLIN },
				{ .fd = kho_poll_fd(kho), .events = POLLIN } };

	for (;;) {
		FILE *client;
		int fd;

		poll(fds, 2, -1);
		if (fds[1].revents && kho_poll(kho, 0) == 1)
			exit(0);
		if (!fds[0].revents)
			continue;
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		client = fd < 0 ? NULL : fdopen(fd, "r+");
		if (client) {
			answer(client);
			fclose(client);
		}
	}
}

static void mishap(const char *what)
{
	if (!strcmp(what, "crash"))
		abort();
	if (!strcmp(what, "exit"))
		exit(7);
	while (!strcmp(what, "hang"))
		pause();
}

int main(int argc, char **argv)
{
	uint32_t version = 0;
	int listener;

	if (argc < 2 || kho_attach(&kho, NULL, NULL))
		return 1;
	listener = kho_take_fd(kho, "listen");
	if (listener < 0)
		store("listen", listener = listen_on(argv[1]));
	else
		kho_add_fd(kho, "listen", listener, KHO_FD_STORE, NULL);
	tally = kho_subtree(kho, "tally", NULL, &version);
	if (!tally) {
		tally = kho_alloc_preserve(kho, sizeof(*tally));
		if (!tally || kho_add_subtree(kho, "tally", &tally_component, 0,
					      tally, sizeof(*tally), NULL))
			return 1;
		version = VERSION;
	}
	if (VERSION == 1 && tally->number == 666)
		abort();
	if (argc > 2)
		mishap(argv[2]);
	if (kho_ready(kho, NULL))
		return 1;
	if (version != VERSION &&
	    kho_replace_subtree(kho, "tally", &tally_component, 0, tally,
				sizeof(*tally), NULL))
		return 1;
	signal(SIGPIPE, SIG_IGN);
	serve(listener);
}
