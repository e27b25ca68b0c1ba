// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Texts of any bytes, made printable. */
#include "base/text.h"

void copy_text(char *to, size_t size, const char *from, size_t len)
{
	size_t i;

	for (i = 0; i < len && i < size - 1 && from[i]; i++)
		to[i] = from[i] < ' ' || from[i] > '~' ? ' ' : from[i];
	/* UKIs end their texts with newlines. */
	while (i && to[i - 1] == ' ')
		i--;
	to[i] = '\0';
}
