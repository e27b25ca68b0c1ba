// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * KHO_COMPONENT() against compilers and linkers: whatever the options, what is
 * in a program's file is what registers itself when the program runs, and the
 * compiler and the linker have nothing to say about it.
 *
 * Wants the compiler in CC and the folder of the public headers in
 * KHO_INCLUDE.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <kho/manifest.h>

/* It stands in for libkho itself, whose own build does not matter here. */
static const char main_c[] =
	"#include <stdio.h>\n"
	"#include <kho/compat.h>\n"
	"void kho_component_register(struct kho_component *c)\n"
	"{\n"
	"	const struct kho_component_desc *d = c->desc;\n"
	"\n"
	"	printf(\"%s w%u-%u r%u-%u f%u %s\\n\", d->name, d->write.min,\n"
	"	       d->write.max, d->read.min, d->read.max, d->flags,\n"
	"	       d->deps[0]);\n"
	"}\n"
	"KHO_COMPONENT(app, .read = { 1, 2 }, .write = { 2, 2 },\n"
	"	      .deps = { \"kexec-metadata\", \"other\" });\n"
	"KHO_COMPONENT_NAMED(metadata, \"kexec-metadata\",\n"
	"		    .write = { 1, 4294967295 },\n"
	"		    .flags = KHO_COMPONENT_STRUCTURE);\n"
	"int called(void);\n"
	"#ifndef CALL\n"
	"#define called() 0\n"
	"#endif\n"
	"int main(void)\n"
	"{\n"
	"	return called();\n"
	"}\n";

static const char other_c[] =
	"#include <kho/compat.h>\n"
	"int called(void);\n"
	"KHO_COMPONENT(other, .read = { 1, 1 }, .write = { 1, 1 });\n"
	"int called(void)\n"
	"{\n"
	"	return 0;\n"
	"}\n";

#define MAIN                                                                   \
	"app w2-2 r1-2 f0 kexec-metadata\n"                                    \
	"kexec-metadata w1-4294967295 r0-0 f1 \n"
#define ALL MAIN "other w1-1 r1-1 f0 \n"

#define BUILD(options) "$CC $W " options " main.c other.c -o prog"
#define ARCHIVE "$CC $W -O2 -c other.c && ar rc libother.a other.o && "
#define SHARED "$CC $W -O2 -fPIC -shared -s other.c -o libother.so && "

static const struct build {
	const char *name, *command, *components;
	const char *needs; /* what the compiler may not be able to do */
} builds[] = {
	{ "O0", BUILD("-O0"), ALL, NULL },
	{ "O1", BUILD("-O1 -std=c11"), ALL, NULL },
	{ "O2", BUILD("-O2 -g"), ALL, NULL },
	{ "O3", BUILD("-O3"), ALL, NULL },
	{ "Os", BUILD("-Os"), ALL, NULL },
	{ "pie", BUILD("-O2 -fPIE -pie"), ALL, NULL },
	{ "no pie", BUILD("-O2 -fno-pie -no-pie"), ALL, NULL },
	{ "static", BUILD("-O2 -static"), ALL, "-static" },
	{ "strip", BUILD("-O2") " && strip prog", ALL, NULL },
	{ "strip by the linker", BUILD("-O2 -s"), ALL, NULL },
	{ "gc-sections",
	  BUILD("-O2 -ffunction-sections -fdata-sections -Wl,--gc-sections"),
	  ALL, NULL },
	{ "lto", BUILD("-O2 -flto"), ALL, "-flto" },
	{ "lto, gc-sections, strip",
	  BUILD("-O3 -flto -fdata-sections -Wl,--gc-sections -s"), ALL,
	  "-flto" },
	{ "noseparate-code", BUILD("-O2 -Wl,-z,noseparate-code"), ALL, NULL },
	{ "lld", BUILD("-O2 -fuse-ld=lld -Wl,--gc-sections"), ALL,
	  "-fuse-ld=lld" },
	{ "gold", BUILD("-O2 -fuse-ld=gold -Wl,--gc-sections"), ALL,
	  "-fuse-ld=gold" },
	{ "address and undefined sanitizer",
	  BUILD("-O1 -g -fsanitize=address,undefined"), ALL,
	  "-fsanitize=address,undefined" },
	{ "thread sanitizer", BUILD("-O1 -g -fsanitize=thread"), ALL,
	  "-fsanitize=thread" },
	{ "archive, not pulled in",
	  ARCHIVE "$CC $W -O2 main.c -o prog -L. -lother", MAIN, NULL },
	{ "archive", ARCHIVE "$CC $W -O2 -DCALL main.c -o prog -L. -lother",
	  ALL, NULL },
	{ "archive, gc-sections",
	  ARCHIVE "$CC $W -O2 -DCALL main.c -o prog -L. -lother "
		  "-Wl,--gc-sections -s",
	  ALL, NULL },
	{ "shared library, not needed",
	  SHARED "$CC $W -O2 -rdynamic main.c -o prog "
		 "-Wl,--as-needed ./libother.so",
	  MAIN, NULL },
	{ "shared library by DT_RUNPATH",
	  SHARED "$CC $W -O2 -rdynamic -DCALL main.c -o prog -L. -lother "
		 "-Wl,--enable-new-dtags,-rpath,'$ORIGIN' -s",
	  ALL, NULL },
	{ "shared library by DT_RPATH",
	  SHARED "$CC $W -O2 -rdynamic -DCALL main.c -o prog -L. -lother "
		 "-Wl,--disable-new-dtags,-rpath,'${ORIGIN}'",
	  ALL, NULL },
};

static char dir[] = "/tmp/kho-test-note-XXXXXX";

/* What a shell command in the folder prints, errors included; its status. */
static int run(const char *command, char *output, size_t size)
{
	char full[1024];
	FILE *pipe;
	size_t n;

	snprintf(full, sizeof(full), "cd '%s' && { %s; } 2>&1", dir, command);
	pipe = popen(full, "r");
	assert_non_null(pipe);
	n = fread(output, 1, size - 1, pipe);
	output[n] = '\0';
	return pclose(pipe);
}

/* A manifest in main_c's words. */
static void describe(const struct kho_manifest *manifest, char *text,
		     size_t size)
{
	size_t i, len = 0;

	text[0] = '\0';
	for (i = 0; i < manifest->n && len < size; i++) {
		const struct kho_component_desc *d = &manifest->entries[i].desc;

		len += (size_t)snprintf(text + len, size - len,
					"%s w%u-%u r%u-%u f%u %s\n", d->name,
					d->write.min, d->write.max, d->read.min,
					d->read.max, d->flags, d->deps[0]);
	}
}

static void build(void **state)
{
	const struct build *b = *state;
	struct kho_manifest *manifest;
	char text[4096], command[256], path[64];
	struct kho_error err;

	if (b->needs) {
		snprintf(command, sizeof(command),
			 "echo 'int main(void) { return 0; }' > try.c && "
			 "$CC %s try.c -o try",
			 b->needs);
		if (run(command, text, sizeof(text)))
			skip();
	}
	if (run(b->command, text, sizeof(text)) || text[0])
		fail_msg("%s\n%s", b->command, text);

	assert_int_equal(run("./prog | LC_ALL=C sort", text, sizeof(text)), 0);
	assert_string_equal(text, b->components);

	/* Others read notes too, more strictly: they must not complain. */
	assert_int_equal(run("readelf -n prog >/dev/null", text, sizeof(text)),
			 0);
	assert_string_equal(text, "");

	snprintf(path, sizeof(path), "%s/prog", dir);
	if (kho_manifest_open(path, &manifest, &err))
		fail_msg("%s", err.text);
	describe(manifest, text, sizeof(text));
	kho_manifest_free(manifest);
	assert_string_equal(text, b->components);
}

static void write_text(const char *name, const char *text)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static int make_dir(void **state)
{
	const char *include = getenv("KHO_INCLUDE");
	char flags[512];

	(void)state;
	if (!include || !getenv("CC")) {
		print_error("CC and KHO_INCLUDE must be set\n");
		return -1;
	}
	snprintf(flags, sizeof(flags),
		 "-Werror -Wall -Wextra -Wshadow -Wconversion -I%s", include);
	setenv("W", flags, 1);
	if (!mkdtemp(dir))
		return -1;
	write_text("main.c", main_c);
	write_text("other.c", other_c);
	return 0;
}

static int remove_dir(void **state)
{
	char output[256];

	(void)state;
	return run("rm -rf \"$PWD\"", output, sizeof(output));
}

int main(void)
{
	struct CMUnitTest tests[sizeof(builds) / sizeof(builds[0])];
	size_t i;

	for (i = 0; i < sizeof(builds) / sizeof(builds[0]); i++)
		tests[i] = (struct CMUnitTest){
			.name = builds[i].name,
			.test_func = build,
			.initial_state = (void *)&builds[i],
		};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
