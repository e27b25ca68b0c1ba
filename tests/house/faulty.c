// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Does one thing wrong, for test-sanitizer.py: faulty leak|overflow|undefined.
 * Without sanitizers each of them goes unnoticed.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	char *volatile p = malloc(16);
	volatile int n = INT_MAX;

	if (argc != 2 || !p)
		return 0;
	if (!strcmp(argv[1], "leak"))
		p = NULL;
	if (!strcmp(argv[1], "overflow"))
		p[16] = 1;
	if (!strcmp(argv[1], "undefined"))
		n++;
	free(p);
	return 0;
}
