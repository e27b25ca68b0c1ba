/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * A program whose components are whatever its file says: the test writes
 * names, versions, flags and dependencies into the notes of the slots below,
 * and by the notes they are registered.
 *
 * peer DIR: for each component that it can write and that is no structure it
 * has a subtree of the same name, with a struct note_book in it. It looks into
 * what comes in, whether it says of itself what the state tree says of it, and
 * writes what it has found into the file DIR/PID, "NAME VERSION PAYLOAD" a
 * line. These files in DIR, with a component's name in them, make it
 *
 *   can-write  refuse to write it in another version than it is in
 *   check      refuse it before it is restored
 *   convert    fail to convert it
 *   kill       die of SIGKILL when it is to be converted
 *   freeze     refuse to freeze, or, with "kill" in it, die of SIGKILL there
 *   crash      crash after it has restored it
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/attach.h>
#include <kho/compat.h>
#include <kho/control.h>
#include <kho/mem.h>
#include <kho/pages.h>
#include <kho/tree.h>

#define SLOTS 6

/* What a subtree holds. */
struct note_book {
	uint64_t version; /* that it was written in */
	uint64_t payload; /* says who wrote it */
};

static const char *dir;
static struct kho *kho;
static const struct kho_component *volatile slots[SLOTS];
static struct note_book *books[SLOTS];

/* Is there a file @what, and what is in it? */
static bool read_told(const char *what, char text[64])
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, what);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(text, 64, file))
		text[0] = '\0';
	fclose(file);
	return true;
}

/* Does the file @what have the name of the component of a slot in it? */
static bool told(const char *what, int slot)
{
	char name[64];

	return read_told(what, name) && !strcmp(name, slots[slot]->desc->name);
}

static int check(int slot, uint32_t version, const struct kho_blob *blob,
		 struct kho_error *why)
{
	struct note_book book;

	if (kho_mem_read(blob->mem, blob->phys, &book, sizeof(book)))
		return kho_fail(why, -EFAULT, "outside the memory");
	if (book.version != version)
		return kho_fail(why, -EBADMSG, "is v%u",
				(uint32_t)book.version);
	if (told("check", slot))
		return kho_fail(why, -EBADMSG, "told to refuse it");
	return 0;
}

static int can_write(int slot, uint32_t version, struct kho_error *why)
{
	if (books[slot] && books[slot]->version != version &&
	    told("can-write", slot))
		return kho_fail(why, -EOVERFLOW, "told not to write v%u",
				version);
	return 0;
}

static int convert(int slot, uint32_t version, struct kho_error *why)
{
	struct note_book *old = books[slot], *book;
	int ret;

	if (told("convert", slot))
		return kho_fail(why, -EOVERFLOW, "told not to convert");
	if (told("kill", slot))
		raise(SIGKILL);
	if (!old || old->version == version)
		return 0;
	/* Both the book and what the state tree says of it, in one step. */
	book = kho_alloc_preserve(kho, sizeof(*book));
	if (!book)
		return kho_fail(why, -errno, "no memory");
	book->version = version;
	book->payload = old->payload;
	ret = kho_replace_subtree(kho, slots[slot]->desc->name, slots[slot],
				  version, book, sizeof(*book), NULL);
	if (ret)
		return kho_fail(why, ret, "cannot replace the subtree");
	books[slot] = book;
	kho_unpreserve_free(kho, old);
	return 0;
}

/* Callbacks do not say whom they are called for, so each slot has its own. */
#define SLOT(n)                                                                \
	static int check_##n(uint32_t version, const struct kho_blob *blob,    \
			     struct kho_error *why)                            \
	{                                                                      \
		return check(n, version, blob, why);                           \
	}                                                                      \
	static int can_write_##n(struct kho *k, uint32_t version, void *arg,   \
				 struct kho_error *why)                        \
	{                                                                      \
		(void)k;                                                       \
		(void)arg;                                                     \
		return can_write(n, version, why);                             \
	}                                                                      \
	static int convert_##n(struct kho *k, uint32_t version, void *arg,     \
			       struct kho_error *why)                          \
	{                                                                      \
		(void)k;                                                       \
		(void)arg;                                                     \
		return convert(n, version, why);                               \
	}                                                                      \
	static const struct kho_component_ops slot##n##_ops = { check_##n,     \
								can_write_##n, \
								convert_##n }; \
	KHO_COMPONENT_NAMED(slot##n, "slot-" #n, &slot##n##_ops,               \
			    .write = { 1, 1 }, .read = { 1, 1 },               \
			    .flags = KHO_COMPONENT_CHECK |                     \
				     KHO_COMPONENT_CAN_WRITE |                 \
				     KHO_COMPONENT_CONVERT)

SLOT(0);
SLOT(1);
SLOT(2);
SLOT(3);
SLOT(4);
SLOT(5);

static int freeze(struct kho *k, const struct kho_report *report, void *arg)
{
	char how[64];

	(void)k;
	(void)report;
	(void)arg;
	if (!read_told("freeze", how))
		return 0;
	if (!strcmp(how, "kill"))
		raise(SIGKILL);
	return -EPERM;
}

static void die(const char *what, int slot)
{
	fprintf(stderr, "peer: %s: %s\n", slots[slot]->desc->name, what);
	exit(9);
}

static void restore(int slot)
{
	const struct kho_component_desc *desc = slots[slot]->desc;
	uint32_t version;
	size_t size;

	if (desc->flags & KHO_COMPONENT_STRUCTURE)
		return;
	books[slot] = kho_subtree(kho, desc->name, &size, &version);
	if (!books[slot])
		return;
	if (size != sizeof(struct note_book) || books[slot]->version != version)
		die("is not what the state tree says", slot);
	if (told("crash", slot))
		abort();
}

/* At a cold start everything that can be written is there. */
static void create(int slot)
{
	const struct kho_component_desc *desc = slots[slot]->desc;
	struct note_book *book;

	if (desc->flags & KHO_COMPONENT_STRUCTURE || !desc->write.max)
		return;
	book = kho_alloc_preserve(kho, sizeof(*book));
	if (!book)
		die("no memory", slot);
	book->version = desc->write.max;
	book->payload = (uint64_t)getpid() << 8 | (uint64_t)slot;
	if (kho_add_subtree(kho, desc->name, slots[slot], 0, book,
			    sizeof(*book), NULL))
		die("cannot be added", slot);
	books[slot] = book;
}

static void tell(void)
{
	char path[256], hidden[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%d", dir, (int)getpid());
	snprintf(hidden, sizeof(hidden), "%s/.%d", dir, (int)getpid());
	file = fopen(hidden, "w");
	if (!file)
		exit(8);
	for (int i = 0; i < SLOTS; i++)
		if (books[i])
			fprintf(file, "%s %u %llx\n", slots[i]->desc->name,
				(uint32_t)books[i]->version,
				(unsigned long long)books[i]->payload);
	if (fclose(file) || rename(hidden, path))
		exit(8);
}

int main(int argc, char **argv)
{
	struct kho_attach_opts opts = { .size = sizeof(opts),
					.freeze = freeze };
	struct kho_error err;
	int ret;

	slots[0] = &slot0_component;
	slots[1] = &slot1_component;
	slots[2] = &slot2_component;
	slots[3] = &slot3_component;
	slots[4] = &slot4_component;
	slots[5] = &slot5_component;
	if (argc != 2)
		return 7;
	dir = argv[1];
	if (kho_attach(&kho, &opts, &err)) {
		fprintf(stderr, "peer: %s\n", err.text);
		return 1;
	}
	for (int i = 0; i < SLOTS; i++)
		restore(i);
	if (kho_ready(kho, NULL))
		return 6;
	if (!kho_generation(kho))
		for (int i = 0; i < SLOTS; i++)
			create(i);
	tell();
	while ((ret = kho_poll(kho, -1)) == 0 || ret == -EINTR)
		;
	return ret == 1 ? 0 : 5;
}
