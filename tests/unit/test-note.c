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
	"	const struct kho_component_def *f = c->def;\n"
	"\n"
	"	if (d->check != !!f->check || d->can_write != !!f->can_write ||\n"
	"	    d->convert != !!f->convert)\n"
	"		printf(\"%s is not what it is\\n\", d->name);\n"
	"	printf(\"%s w%u-%u r%u-%u f%u %d%d%d %s\\n\", d->name,\n"
	"	       d->write.min, d->write.max, d->read.min, d->read.max,\n"
	"	       d->flags, !!f->check, !!f->can_write, !!f->convert,\n"
	"	       d->deps[0]);\n"
	"}\n"
	"static int check(uint32_t version, const struct kho_blob *blob,\n"
	"		 struct kho_error *why)\n"
	"{\n"
	"	return blob && why ? (int)version : 0;\n"
	"}\n"
	"int can_write(struct kho *kho, uint32_t version, void *arg,\n"
	"	      struct kho_error *why);\n"
	"static int convert(struct kho *kho, uint32_t version, void *arg,\n"
	"		   struct kho_error *why);\n"
	"KHO_COMPONENT(app, .read = { 1, 2 }, .write = { 2, 2 },\n"
	"	      .deps = { \"kexec-metadata\", \"other\" });\n"
	"KHO_COMPONENT_NAMED(metadata, \"kexec-metadata\",\n"
	"		    .write = { 1, 4294967295 }, .convert = convert,\n"
	"		    .flags = KHO_COMPONENT_STRUCTURE);\n"
	"KHO_COMPONENT(checks, .read = { 1, 1 }, .check = check);\n"
	"KHO_COMPONENT(also, .read = { 1, 1 }, .check = &check,\n"
	"	      .flags = KHO_COMPONENT_OPTIONAL);\n"
	"#define ALL_THREE .check = check, .can_write = can_write, \\\n"
	"	.convert = convert, .write = { 1, 2 }\n"
	"KHO_COMPONENT(all, ALL_THREE,\n"
	"	      .flags = KHO_COMPONENT_HANDLER | KHO_COMPONENT_OPTIONAL);\n"
	"KHO_COMPONENT(asks, .can_write=can_write, .write = { 1, 1 });\n"
	"int can_write(struct kho *kho, uint32_t version, void *arg,\n"
	"	      struct kho_error *why)\n"
	"{\n"
	"	return kho && arg && why ? (int)version : 0;\n"
	"}\n"
	"static int convert(struct kho *kho, uint32_t version, void *arg,\n"
	"		   struct kho_error *why)\n"
	"{\n"
	"	return can_write(kho, version, arg, why);\n"
	"}\n"
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

/* As a kernel has it, and no start files. */
static const char kernel_c[] =
	"#include <kho/abi/compat.h>\n"
	"static const struct {\n"
	"	struct kho_liveupdate_versions header;\n"
	"	char strings[4][KHO_LIVEUPDATE_STRING_SIZE];\n"
	"} versions __attribute__((section(KHO_LIVEUPDATE_SECTION), used)) = {\n"
	"	{ KHO_LIVEUPDATE_MAGIC, KHO_LIVEUPDATE_VERSION },\n"
	"	{ \"kho-v4;radix-v1;vmalloc-v1\", \"luo-v5;block-v1\",\n"
	"	  \"memfd-v1\", \"memfd-v2;vmalloc-v1\" },\n"
	"};\n"
	"void _start(void);\n"
	"void _start(void)\n"
	"{\n"
	"}\n";

#define KERNEL                                                                 \
	"block w1-1 r1-1 f1 000 \n"                                            \
	"kho w4-4 r4-4 f0 000 radix\n"                                         \
	"luo w5-5 r5-5 f0 000 block\n"                                         \
	"memfd w2-2 r1-2 f0 000 vmalloc\n"                                     \
	"radix w1-1 r1-1 f1 000 \n"                                            \
	"vmalloc w1-1 r1-1 f1 000 \n"

#define OTHER "other w1-1 r1-1 f0 000 \n"
#define MAIN                                                                   \
	"all w1-2 r0-0 f6 111 \n"                                              \
	"also w0-0 r1-1 f2 100 \n"                                             \
	"app w2-2 r1-2 f0 000 kexec-metadata\n"                                \
	"asks w1-1 r0-0 f0 010 \n"                                             \
	"checks w0-0 r1-1 f0 100 \n"                                           \
	"kexec-metadata w1-4294967295 r0-0 f1 001 \n"
#define ALL MAIN OTHER

#define BUILD(options) "$CC $W " options " main.c other.c -o prog"
#define ARCHIVE "$CC $W -O2 -c other.c && ar rc libother.a other.o && "
#define SHARED "$CC $W -O2 -fPIC -shared -s other.c -o libother.so && "

static const struct build {
	const char *name, *command, *components;
	const char *needs; /* what the compiler may not be able to do */
} builds[] = {
	{ "O0", BUILD("-O0"), ALL, NULL },
	{ "O0, c11, pedantic", BUILD("-O0 -std=c11 -pedantic"), ALL, NULL },
	{ "O1, c11, pedantic", BUILD("-O1 -std=c11 -pedantic"), ALL, NULL },
	{ "O2, gnu17", BUILD("-O2 -g -std=gnu17"), ALL, NULL },
	{ "O3", BUILD("-O3"), ALL, NULL },
	{ "Os", BUILD("-Os"), ALL, NULL },
	{ "freestanding", BUILD("-O0 -ffreestanding"), ALL, NULL },
	{ "coverage", BUILD("-O0 --coverage"), ALL, "--coverage" },
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
	{ "undefined sanitizer, O0", BUILD("-O0 -fsanitize=undefined"), ALL,
	  "-fsanitize=undefined" },
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
					"%s w%u-%u r%u-%u f%u %d%d%d %s\n",
					d->name, d->write.min, d->write.max,
					d->read.min, d->read.max, d->flags,
					d->check, d->can_write, d->convert,
					d->deps[0]);
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

/* The library itself is a target as well as the program that needs it. */
static void library(void **state)
{
	struct kho_manifest *manifest;
	char text[4096], path[64];

	(void)state;
	if (run(SHARED "true", text, sizeof(text)) || text[0])
		fail_msg("%s", text);
	snprintf(path, sizeof(path), "%s/libother.so", dir);
	assert_int_equal(kho_manifest_open(path, &manifest, NULL), 0);
	describe(manifest, text, sizeof(text));
	kho_manifest_free(manifest);
	assert_string_equal(text, OTHER);
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

/* A program that is none, with .liveupdate_versions, like vmlinux. */
static void kernel(void **state)
{
	static const char *const options[] = {
		"-O2 -fno-pie -static",
		"-O2 -fno-pie -static -s -Wl,-Ttext-segment=0x81000000",
		"-O1 -shared -fPIC -Wl,-z,noseparate-code",
	};
	struct kho_manifest *manifest;
	char text[4096], path[64];
	struct kho_error err;
	size_t i;

	(void)state;
	write_text("kernel.c", kernel_c);
	snprintf(path, sizeof(path), "%s/kernel", dir);
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		setenv("O", options[i], 1);
		if (run("$CC $W $O -nostdlib kernel.c -o kernel", text,
			sizeof(text)) ||
		    text[0])
			fail_msg("%s", text);
		if (kho_manifest_open(path, &manifest, &err))
			fail_msg("%s", err.text);
		describe(manifest, text, sizeof(text));
		assert_string_equal(text, KERNEL);
		assert_int_equal(manifest->n_sources, 1);
		kho_manifest_free(manifest);
	}
}

/* What the compiler or the linker has to refuse, and in which words. */
static void refused(void **state)
{
	static const char letters[] = "begins with a letter and has only a-z";
	static const char length[] = "at most 23 characters";
	static const struct {
		const char *component, *words;
	} cases[] = {
		{ "KHO_COMPONENT(Bad", letters },
		{ "KHO_COMPONENT(b_d", letters },
		{ "KHO_COMPONENT_NAMED(bad, \"\"", letters },
		{ "KHO_COMPONENT_NAMED(bad, \"1\"", letters },
		{ "KHO_COMPONENT_NAMED(bad, \"-\"", letters },
		{ "KHO_COMPONENT_NAMED(bad, \"a b\"", letters },
		{ "KHO_COMPONENT_NAMED(bad, \"a\\0b\"", letters },
		{ "KHO_COMPONENT_NAMED(bad, \"a\\303\\244\"", letters },
		{ "KHO_COMPONENT_NAMED(bad, \"abcdefghijklmnopqrstuvV\"",
		  letters },
		{ "KHO_COMPONENT_NAMED(bad, \"abcdefghijklmnopqrstuvwx\"",
		  length },
		{ "KHO_COMPONENT(abcdefghijklmnopqrstuvwx", length },
		/* main.c has one, and the archive the other. */
		{ "KHO_COMPONENT(app", "kho_only_one_component_is_called_app" },
		{ "KHO_COMPONENT(other",
		  "kho_only_one_component_is_called_other" },
		/* good, to see that the others are not refused for nothing */
		{ "KHO_COMPONENT_NAMED(good, \"a-z0123456789bcdefghijk\"",
		  NULL },
		{ "KHO_COMPONENT(a", NULL },
	};
	static const char *const options[] = { "-O0", "-O2", "-O1 -fPIC -g" };
	static const char command[] =
		"$CC $W $O -c one.c && $CC $W $O -c other.c && "
		"ar rc libother.a other.o && "
		"$CC $W $O -DCALL main.c one.o libother.a -o prog";
	char text[8192];
	size_t i, j;
	int status;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text),
			 "#include <kho/compat.h>\n%s, .read = { 1, 1 });\n",
			 cases[i].component);
		write_text("one.c", text);
		for (j = 0; j < sizeof(options) / sizeof(options[0]); j++) {
			setenv("O", options[j], 1);
			status = run(command, text, sizeof(text));
			if (cases[i].words ?
				    !status || !strstr(text, cases[i].words) :
				    status || text[0])
				fail_msg("%s...: %s: status %d\n%s",
					 cases[i].component, options[j], status,
					 text);
		}
	}
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
	enum { N_BUILDS = sizeof(builds) / sizeof(builds[0]) };
	struct CMUnitTest tests[N_BUILDS + 3];
	size_t i;

	for (i = 0; i < N_BUILDS; i++)
		tests[i] = (struct CMUnitTest){
			.name = builds[i].name,
			.test_func = build,
			.initial_state = (void *)&builds[i],
		};
	tests[i] = (struct CMUnitTest)cmocka_unit_test(library);
	tests[i + 1] = (struct CMUnitTest)cmocka_unit_test(kernel);
	tests[i + 2] = (struct CMUnitTest)cmocka_unit_test(refused);
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
