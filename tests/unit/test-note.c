// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * KHO_COMPONENT() against compilers and linkers: whatever the options, what is
 * in a program's file is what registers itself when the program runs, and the
 * compiler and the linker have nothing to say about it.
 *
 * Wants the compilers in CC and CXX and the folder of the public headers in
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
	"	const struct kho_component_ops *o = c->ops;\n"
	"\n"
	"	printf(\"%s w%u-%u r%u-%u f%u %s\\n\", d->name, d->write.min,\n"
	"	       d->write.max, d->read.min, d->read.max, d->flags,\n"
	"	       d->deps[0]);\n"
	"	if (o && (!o->check || !o->can_write || !o->convert))\n"
	"		printf(\"a callback of %s is lost\\n\", d->name);\n"
	"}\n"
	"static int check(uint32_t version, const struct kho_blob *blob,\n"
	"		 struct kho_error *why)\n"
	"{\n"
	"	return blob && why ? (int)version : 0;\n"
	"}\n"
	"static int rewrite(struct kho *kho, uint32_t version, void *arg,\n"
	"		   struct kho_error *why)\n"
	"{\n"
	"	return kho && arg && why ? (int)version : 0;\n"
	"}\n"
	"KHO_COMPONENT(app, .write = { 2, 2 }, .read = { 1, 2 },\n"
	"	      .deps = { \"kexec-metadata\", \"other\" });\n"
	"KHO_COMPONENT_NAMED(metadata, \"kexec-metadata\", NULL,\n"
	"		    .write = { 4294967295, 4294967295 },\n"
	"		    .flags = KHO_COMPONENT_STRUCTURE);\n"
	"KHO_COMPONENT(bare, .read = { 1, 1 });\n"
	"static const struct kho_component_ops ops = {\n"
	"	check, rewrite, rewrite\n"
	"};\n"
	"KHO_COMPONENT_OPS(all, &ops, .write = { 1, 2 },\n"
	"	          .flags = KHO_COMPONENT_CHECK | KHO_COMPONENT_CONVERT);\n"
	"#ifdef CALL\n"
	"#ifdef __cplusplus\n"
	"extern \"C\"\n"
	"#endif\n"
	"int called(void);\n"
	"#else\n"
	"#define called() 0\n"
	"#endif\n"
	"int main(void)\n"
	"{\n"
	"	return called();\n"
	"}\n";

static const char other_c[] =
	"#include <kho/compat.h>\n"
	"int called(void);\n"
	"KHO_COMPONENT(other, .write = { 1, 1 }, .read = { 1, 1 });\n"
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
	"block w1-1 r1-1 f1 \n"                                                \
	"kho w4-4 r4-4 f0 radix\n"                                             \
	"luo w5-5 r5-5 f0 block\n"                                             \
	"memfd w2-2 r1-2 f0 vmalloc\n"                                         \
	"radix w1-1 r1-1 f1 \n"                                                \
	"vmalloc w1-1 r1-1 f1 \n"

#define OTHER "other w1-1 r1-1 f0 \n"
#define MAIN                                                                   \
	"all w1-2 r0-0 f40 \n"                                                 \
	"app w2-2 r1-2 f0 kexec-metadata\n"                                    \
	"bare w0-0 r1-1 f0 \n"                                                 \
	"kexec-metadata w4294967295-4294967295 r0-0 f1 \n"
#define ALL MAIN OTHER

#define BUILD(options) "$CC $W " options " main.c other.c -o prog"
/* The same with C++, which C is linked to. */
#define CXX(options)                                                           \
	"$CC $W -O2 -c other.c && "                                            \
	"$CXX $W -pedantic " options " -DCALL -x c++ main.c -x none other.o "  \
	"-o prog"
#define ARCHIVE "$CC $W -O2 -c other.c && ar rc libother.a other.o && "
#define SHARED "$CC $W -O2 -fPIC -shared -s other.c -o libother.so && "

static const struct build {
	const char *name, *command, *components;
	const char *needs; /* what the compiler may not be able to do */
} builds[] = {
	{ "O0", BUILD("-O0"), ALL, NULL },
	{ "O0, c11, pedantic", BUILD("-O0 -std=c11 -pedantic"), ALL, NULL },
	{ "O1, c17, pedantic", BUILD("-O1 -std=c17 -pedantic"), ALL, NULL },
	{ "O0, c++11", CXX("-O0 -std=c++11"), ALL, NULL },
	{ "O0, c++17", CXX("-O0 -std=c++17"), ALL, NULL },
	{ "O2, c++17, sections, strip",
	  CXX("-O2 -std=c++17 -fdata-sections -Wl,--gc-sections -s"), ALL,
	  NULL },
	{ "O0, c++20", CXX("-O0 -std=c++20"), ALL, NULL },
	{ "O3, c++20, lto", CXX("-O3 -std=c++20 -flto"), ALL, "-flto" },
	{ "c++20, address sanitizer",
	  CXX("-O1 -g -std=c++20 -fsanitize=address,undefined"), ALL,
	  "-fsanitize=address,undefined" },
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

/* A second component of a name, in the program or in an archive. */
static void twice(void **state)
{
	static const char *const names[] = { "app", "other" };
	static const char command[] =
		"$CC $W -c one.c && $CC $W -c other.c && "
		"ar rc libother.a other.o && "
		"$CC $W -DCALL main.c one.o libother.a -o prog";
	char text[8192];
	size_t i;

	(void)state;
	write_text("one.c", "#include <kho/compat.h>\n"
			    "KHO_COMPONENT(a, .read = { 1, 1 });\n");
	assert_int_equal(run(command, text, sizeof(text)), 0);
	assert_string_equal(text, "");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text),
			 "#include <kho/compat.h>\n"
			 "KHO_COMPONENT(%s, .read = { 1, 1 });\n",
			 names[i]);
		write_text("one.c", text);
		assert_int_not_equal(run(command, text, sizeof(text)), 0);
		assert_non_null(strstr(text, "multiple definition of"));
		assert_non_null(strstr(text, "_component"));
	}
}

static int make_dir(void **state)
{
	const char *include = getenv("KHO_INCLUDE");
	char flags[512];

	(void)state;
	if (!include || !getenv("CC") || !getenv("CXX")) {
		print_error("CC, CXX and KHO_INCLUDE must be set\n");
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
	tests[i + 2] = (struct CMUnitTest)cmocka_unit_test(twice);
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
