// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Many TARGETs at once, in classes. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "kho.h"
#include "target.h"
#include "target-classes.h"

void targets_list(void *arg, const char *path)
{
	struct targets_options *options = arg;

	*append(options->lists, options->n_lists) = path;
}

void targets_options_free(struct targets_options *options)
{
	kho_profile_free(options->profile);
	free(options->lists);
}

void targets_init(struct targets *targets, const char *verb,
		  const struct kho_check_opts *opts)
{
	*targets = (struct targets){
		.verb = verb,
	};
	if (kho_fleet_create(opts, &targets->fleet, NULL))
		must(NULL);
}

void targets_free(struct targets *targets)
{
	kho_fleet_free(targets->fleet);
	for (size_t i = 0; i < targets->n_classes; i++) {
		struct target_class *class = &targets->classes[i];

		for (size_t j = 0; j < class->n; j++)
			free(class->members[j]);
		free(class->members);
		kho_manifest_free(class->manifest);
	}
	free(targets->classes);
	for (size_t i = 0; i < targets->n_unreadable; i++)
		free(targets->unreadable[i]);
	free(targets->unreadable);
}

static void add_string(char ***strings, size_t *n, const char *string)
{
	*append(*strings, *n) = must(strdup(string));
}

/* The directory that both @a and the first @len bytes of @b begin with. */
static size_t shared_directory(const char *a, const char *b, size_t len)
{
	size_t i, end = 0;

	for (i = 0; i < len && a[i] == b[i]; i++)
		if (a[i] == '/')
			end = i + 1;
	return end;
}

static void add_class(struct targets *targets, struct kho_manifest *manifest,
		      const char *name)
{
	if (targets->n_classes)
		targets->shared =
			shared_directory(name, targets->classes[0].members[0],
					 targets->shared);
	else
		targets->shared = shared_directory(name, name, strlen(name));
	*append(targets->classes, targets->n_classes) =
		(struct target_class){ .manifest = manifest };
}

long targets_add(struct targets *targets, const char *target)
{
	struct kho_manifest *manifest;
	struct target_class *class;
	struct kho_error err;
	size_t index;

	if (target_manifest(target, &manifest, &err)) {
		say("%s: %s", targets->verb, err.text);
		add_string(&targets->unreadable, &targets->n_unreadable,
			   target);
		return -1;
	}
	if (kho_fleet_add(targets->fleet, manifest, &index))
		must(NULL);
	if (index == targets->n_classes)
		add_class(targets, manifest, target);
	else
		kho_manifest_free(manifest);
	class = &targets->classes[index];
	add_string(&class->members, &class->n, target);
	targets->n++;
	return (long)index;
}

/*
 * Reads a line without its end: its length, -1 at the end of the file, -2 when
 * it is no target: too long, or with a NUL byte in it.
 */
static int read_line(FILE *file, char line[PATH_MAX])
{
	int n = 0, c;

	while ((c = getc(file)) != EOF && c != '\n') {
		if (!c || n == PATH_MAX - 1)
			return -2;
		line[n++] = (char)c;
	}
	line[n] = '\0';
	return c == EOF && !n ? -1 : n;
}

static bool read_list(struct targets *targets, FILE *file, const char *path)
{
	char line[PATH_MAX];
	unsigned long number = 1;
	int len;

	for (; (len = read_line(file, line)) >= 0; number++)
		if (len && line[0] != '#')
			targets_add(targets, line);
	if (len == -2)
		fail("%s: %s: line %lu: no TARGET: it has a NUL byte or more than %d bytes",
		     targets->verb, path, number, PATH_MAX - 1);
	else if (ferror(file))
		fail("%s: %s: %m", targets->verb, path);
	return len == -1 && !ferror(file);
}

static bool add_list(struct targets *targets, const char *path)
{
	FILE *file;
	bool ok;

	if (!strcmp(path, "-"))
		return read_list(targets, stdin, "standard input");
	file = fopen(path, "re");
	if (!file) {
		fail("%s: %s: %m", targets->verb, path);
		return false;
	}
	ok = read_list(targets, file, path);
	fclose(file);
	return ok;
}

bool targets_add_lists(struct targets *targets,
		       const struct targets_options *options)
{
	for (size_t i = 0; i < options->n_lists; i++)
		if (!add_list(targets, options->lists[i]))
			return false;
	return true;
}

const char *targets_name(const struct targets *targets, size_t class)
{
	return targets->classes[class].members[0] + targets->shared;
}

struct json_object *targets_class_json(const struct target_class *class)
{
	struct json_object *components = new_array();

	for (size_t i = 0; i < class->manifest->n; i++) {
		const struct kho_component_desc *desc =
			&class->manifest->entries[i].desc;

		push_json(components, json_make(J("name", desc->name),
						J("write", &desc->write),
						J("read", &desc->read)));
	}
	return json_make(J("members", json_of_texts(class->n, class->members)),
			 J("components", components));
}

struct kho_report *targets_report(const struct targets *targets, size_t from,
				  size_t to, const struct kho_check_opts *opts)
{
	struct kho_report *report;

	if (kho_check_manifests(targets->classes[from].manifest,
				targets->classes[to].manifest, opts, &report,
				NULL))
		must(NULL);
	return report;
}
