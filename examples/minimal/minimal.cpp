/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The counter of minimal.c in C++, with the same state: one can be updated to
 * the other.
 *
 *     c++ -std=c++17 minimal.cpp $(pkg-config --cflags --libs libkho)
 */
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <unistd.h>

#include <kho/attach.h>
#include <kho/compat.h>
#include <kho/control.h>
#include <kho/pages.h>
#include <kho/tree.h>

struct counter {
	uint64_t n;
};

KHO_COMPONENT(counter, .write = { 1, 1 }, .read = { 1, 1 });

static int fail(const char *why)
{
	std::fprintf(stderr, "minimal: %s\n", why);
	return 1;
}

int main()
{
	kho_error err;
	kho *arena;
	int ret;

	if (kho_attach(&arena, nullptr, nullptr))
		return 1; /* it has said why */
	auto *c = static_cast<counter *>(
		kho_subtree(arena, "counter", nullptr, nullptr));
	if (!c) {
		c = static_cast<counter *>(
			kho_alloc_preserve(arena, sizeof(*c)));
		if (!c)
			return fail(std::strerror(errno));
		if (kho_add_subtree(arena, "counter", &counter_component, 1, c,
				    sizeof(*c), &err))
			return fail(err.text);
	}
	if (kho_ready(arena, &err))
		return fail(err.text);
	std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
	while ((ret = kho_poll(arena, 1000)) == 0)
		std::printf("%d: %" PRIu64 "\n", int(getpid()), ++c->n);
	return ret == 1 ? 0 : fail(std::strerror(-ret));
}
