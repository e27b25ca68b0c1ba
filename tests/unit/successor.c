// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * What test-update hands over to: restores one number, and does what its
 * first argument says. Built twice: successor reads state-v1, successor-v2
 * does not.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/attach.h>
#include <kho/fds.h>
#include <kho/tree.h>

KHO_COMPONENT(state, .write = { STATE_VERSION, STATE_VERSION },
	      .read = { STATE_VERSION, STATE_VERSION });

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "serve";
	uint64_t *number;
	struct kho *kho;
	int fd, count = 0;

	if (!strcmp(mode, "exit-early"))
		return 3;
	if (!strcmp(mode, "never-attach"))
		pause();
	if (kho_attach(&kho, NULL, NULL))
		return 4;
	number = kho_subtree(kho, "state", NULL, NULL);
	if (!number)
		return 5;
	if (!strcmp(mode, "crash"))
		abort();
	if (!strcmp(mode, "write-early"))
		++*number; /* the arena is read-only: SIGSEGV */
	if (!strcmp(mode, "never-ready"))
		pause();
	if (kho_ready(kho, NULL))
		return 6;
	++*number;
	fd = kho_take_fd(kho, "out");
	while (kho_take_fd(kho, "many") >= 0)
		count++;
	dprintf(fd, "successor %llu %d\n", (unsigned long long)*number, count);
	kho_close(kho);
	return 0;
}
