// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Profiles: named sets of pinned versions, in JSON files. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kho/profile.h>

#include "files/json.h"

#define MAX_SIZE (1u << 20)

static int compare_pins(const void *a, const void *b)
{
	const struct kho_pin *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int read_name(const struct json_value *document,
		     struct kho_profile *profile, struct kho_error *err)
{
	struct json_value v;
	const char *name, *c;
	size_t len;
	int ret;

	ret = json_need(document, "name", &v, err);
	if (!ret)
		ret = json_is_string(&v, &name, err);
	if (ret)
		return ret;
	len = strlen(name);
	if (!len)
		return json_bad(&v, err, "is empty");
	if (len >= sizeof(profile->name))
		return json_bad(&v, err, "has %zu bytes, more than %zu", len,
				sizeof(profile->name) - 1);
	/* It becomes a part of messages of one line. */
	for (c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return json_bad(&v, err, "has a control character");
	memcpy(profile->name, name, len + 1);
	return 0;
}

static int read_pins(const struct json_value *pins, struct kho_profile *profile,
		     struct kho_error *err)
{
	struct kho_error why;
	int ret;

	json_object_object_foreach(pins->object, name, version) {
		const struct json_value v = { .object = version,
					      .in = pins,
					      .name = name };
		struct kho_pin *pin = &profile->pins[profile->n];

		if (kho_name_check(name, &why))
			return json_bad(pins, err, "%s", why.text);
		ret = json_is_version(&v, &pin->version, err);
		if (ret)
			return ret;
		memcpy(pin->name, name, strlen(name) + 1);
		profile->n++;
	}
	qsort(profile->pins, profile->n, sizeof(profile->pins[0]),
	      compare_pins);
	return 0;
}

static int read_document(const struct json_value *document,
			 struct kho_profile **result, struct kho_error *err)
{
	struct kho_profile *profile;
	struct json_value pins;
	size_t n;
	int ret;

	ret = json_is_document(document, "kho-profile", 1, err);
	if (!ret)
		ret = json_need(document, "pins", &pins, err);
	if (!ret)
		ret = json_is_object(&pins, err);
	if (ret)
		return ret;
	n = (size_t)json_object_object_length(pins.object);
	profile = calloc(1, sizeof(*profile) + n * sizeof(profile->pins[0]));
	if (!profile)
		return kho_fail(err, -ENOMEM, "out of memory");
	ret = read_name(document, profile, err);
	if (!ret)
		ret = read_pins(&pins, profile, err);
	if (ret)
		free(profile);
	else
		*result = profile;
	return ret;
}

int profile_of_json(json_object *json, const char *where,
		    struct kho_profile **profile, struct kho_error *err)
{
	const struct json_value document = { .object = json, .name = where };

	return read_document(&document, profile, err);
}

int kho_profile_parse(const char *text, size_t len, const char *where,
		      struct kho_profile **profile, struct kho_error *err)
{
	json_object *json;
	int ret;

	if (len > MAX_SIZE)
		return kho_fail(err, -EBADMSG,
				"%s: has more than %u MiB: a profile that "
				"large is not read",
				where, MAX_SIZE >> 20);
	ret = json_parse_strict(text, len, where, &json, err);
	if (ret)
		return ret;
	ret = profile_of_json(json, where, profile, err);
	json_object_put(json);
	return ret;
}

static int read_file(int fd, const char *path, struct kho_profile **profile,
		     struct kho_error *err)
{
	char *text;
	size_t len;
	int ret = json_read_file(fd, path, &text, &len, err);

	if (ret)
		return ret;
	ret = kho_profile_parse(text, len, path, profile, err);
	free(text);
	return ret;
}

int kho_profile_open(const char *path, struct kho_profile **profile,
		     struct kho_error *err)
{
	struct stat st;
	int fd, ret;

	/* Not opened: a FIFO may wait, a device may do something. */
	if (stat(path, &st))
		return kho_fail(err, -errno, "%s: %m", path);
	if (S_ISDIR(st.st_mode))
		return kho_fail(err, -EISDIR, "%s: %s", path, strerror(EISDIR));
	if (!S_ISREG(st.st_mode))
		return kho_fail(err, -EBADMSG, "%s: not a regular file", path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return kho_fail(err, -errno, "%s: %m", path);
	ret = read_file(fd, path, profile, err);
	close(fd);
	return ret;
}

char *kho_profile_json(const struct kho_profile *profile)
{
	json_object *object = json_object_new_object();
	json_object *pins = json_object_new_object();
	size_t i;

	for (i = 0; i < profile->n; i++)
		json_set(&pins, profile->pins[i].name,
			 json_object_new_int64(profile->pins[i].version));
	json_set(&object, "schema", json_object_new_string("kho-profile"));
	json_set(&object, "version", json_object_new_int(1));
	json_set(&object, "name", json_object_new_string(profile->name));
	json_set(&object, "pins", pins);
	return json_finish(object);
}

void kho_profile_free(struct kho_profile *profile)
{
	free(profile);
}
