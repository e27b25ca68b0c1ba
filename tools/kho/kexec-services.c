// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Services through a kexec. For each a session of the kernel is made and given
 * to the service's program, which puts its state into it and then waits; what
 * it waits for is the kexec, or that its connection ends. Both, session and
 * connection, end with this process: whatever becomes of it, services serve on.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/image.h>
#include <kho/manifest.h>

#include "control-ask.h"
#include "check.h"
#include "jump.h"
#include "service.h"
#include "fd-store-session.h"
#include "kexec-services.h"
#include "target.h"

/*
 * struct suspended - a service
 * @service: it
 * @session: of the kernel, or -1
 * @sock: the connection, or -1
 * @left: {name: how many} of its files stay behind
 * @error: why it cannot go along, or NULL; to free()
 */
struct suspended {
	struct service service;
	int session;
	int sock;
	struct json_object *left;
	char *error;
};

int suspend_add_next(struct suspend *suspend, const char *text,
		     struct kho_error *err)
{
	const char *equals = strchr(text, '=');
	struct next *next;
	int ret;

	if (!equals || equals == text || !equals[1])
		return kho_fail(err, -EINVAL, "--next %s is not NAME=PROGRAM",
				text);
	suspend->next = make_room(suspend->next, suspend->n_next,
				  sizeof(*suspend->next));
	next = &suspend->next[suspend->n_next];
	ret = target_manifest(equals + 1, &next->manifest, err);
	if (ret)
		return ret;
	next->name = must(strndup(text, (size_t)(equals - text)));
	suspend->n_next++;
	return 0;
}

static const struct next *find_next(const struct suspend *suspend,
				    const char *name)
{
	for (size_t i = 0; i < suspend->n_next; i++)
		if (!strcmp(suspend->next[i].name, name))
			return &suspend->next[i];
	return NULL;
}

static int find_services(struct suspend *suspend, struct kho_error *err)
{
	struct service *services;
	size_t n;
	int ret = services_read(&services, &n, err);

	if (ret)
		return ret;
	suspend->services = must(calloc(n + 1, sizeof(*suspend->services)));
	for (size_t i = 0; i < n; i++)
		suspend->services[i] = (struct suspended){
			.service = services[i],
			.session = -1,
			.sock = -1,
			.left = must(json_object_new_object()),
		};
	suspend->n = n;
	free(services);
	return 0;
}

int suspend_check(struct suspend *suspend, struct kho_error *err)
{
	struct json_object *report, *failed;
	int ret = 0;

	for (size_t i = 0; !ret && i < suspend->n_next; i++) {
		const struct next *next = &suspend->next[i];

		ret = check_service(next->name, next->manifest, &suspend->how,
				    &report, err);
		if (ret)
			return ret;
		/* What fails comes first. */
		failed = report_get(report, 0);
		if (report_outcome(report) == KHO_OUTCOME_INCOMPATIBLE)
			ret = kho_fail(err, -EPROTONOSUPPORT,
				       "%s cannot take over what %s has: %s: %s",
				       next->manifest->target, next->name,
				       get_text(failed, "name"),
				       get_text(failed, "reason"));
		json_object_put(report);
	}
	return ret;
}

static struct json_object *make_request(const struct suspend *suspend,
					const char *name)
{
	struct json_object *json = json_make(J("request", "suspend"));
	const struct next *next = find_next(suspend, name);

	add_consent(json, &suspend->how);
	if (next)
		json_add(json,
			 J("manifest",
			   json_of_text(kho_manifest_json(next->manifest))));
	return json;
}

/* The kernel takes back what is in the session, then the service goes on. */
static void let_go(struct suspended *one)
{
	if (one->session >= 0)
		close(one->session);
	if (one->sock >= 0)
		close(one->sock);
	one->session = -1;
	one->sock = -1;
}

static int read_answer(struct suspended *one, struct json_object *answer,
		       struct kho_error *err)
{
	struct json_object *left = get_json(answer, "left_behind");

	if (strcmp(get_text(answer, "result"), "suspended") != 0)
		return kho_fail(err, -EBADMSG, "%s", get_text(answer, "error"));
	if (json_object_is_type(left, json_type_object)) {
		json_object_put(one->left);
		one->left = json_object_get(left);
	}
	return 0;
}

static int suspend_one(const struct suspend *suspend, struct suspended *one,
		       struct kho_error *err)
{
	struct json_object *request, *answer = NULL;
	char name[KHO_SESSION_NAME_SIZE], holder[64];
	int ret;

	if (one->service.arena < 0)
		return kho_fail(err, -ENOENT,
				"it has no arena that could be preserved");
	session_name(one->service.name, name);
	one->session = kho_session_create(name, err);
	if (one->session == -EEXIST)
		return kho_fail(err, -EEXIST,
				"session %s exists: another kexec is under way, or one was given up and process %d has not noticed",
				name, one->service.pid);
	if (one->session == -EBUSY && jump_holder(holder, sizeof(holder)))
		return kho_fail(err, -EBUSY,
				"/dev/liveupdate: %s has it open: end that, or let it close it",
				holder);
	if (one->session < 0)
		return one->session;
	request = make_request(suspend, one->service.name);
	ret = ask_and_hold(&one->service, request, one->session,
			   suspend->timeout_ms, &one->sock, &answer, err);
	json_object_put(request);
	if (!ret)
		ret = read_answer(one, answer, err);
	json_object_put(answer);
	if (ret)
		let_go(one);
	return ret;
}

static void say_left(const struct suspended *one)
{
	json_object_object_foreach(one->left, name, count)
		say("kexec: %s: stays behind: %s (%d)", one->service.name, name,
		    json_object_get_int(count));
}

int suspend_services(struct suspend *suspend, bool force, struct kho_error *err)
{
	struct kho_error why;
	int ret = find_services(suspend, err);

	for (size_t i = 0; !ret && i < suspend->n; i++) {
		struct suspended *one = &suspend->services[i];

		ret = suspend_one(suspend, one, &why);
		if (!ret) {
			say_left(one);
			continue;
		}
		one->error = must(strdup(why.text));
		if (!force)
			return kho_fail(err, ret, "%s: %s", one->service.name,
					why.text);
		say("kexec: %s: forced: its state is lost: %s",
		    one->service.name, why.text);
		ret = 0;
	}
	return ret;
}

int suspend_intact(const struct suspend *suspend, struct kho_error *err)
{
	for (size_t i = 0; i < suspend->n; i++) {
		const struct suspended *one = &suspend->services[i];
		struct pollfd pfd = { .fd = one->sock, .events = POLLIN };

		if (poll(&pfd, 1, 0) > 0)
			return kho_fail(err, -ECONNRESET,
					"%s: its process %d has died meanwhile",
					one->service.name, one->service.pid);
	}
	return 0;
}

void suspend_undo(struct suspend *suspend)
{
	for (size_t i = 0; i < suspend->n; i++)
		let_go(&suspend->services[i]);
}

struct json_object *suspend_json(const struct suspend *suspend)
{
	struct json_object *array = new_array();

	for (size_t i = 0; i < suspend->n; i++) {
		const struct suspended *one = &suspend->services[i];

		push_json(array, json_make(J("name", one->service.name),
					   J("error", one->error),
					   J("left_behind",
					     json_object_get(one->left))));
	}
	return array;
}

void suspend_free(struct suspend *suspend)
{
	suspend_undo(suspend);
	for (size_t i = 0; i < suspend->n; i++) {
		service_free(&suspend->services[i].service);
		json_object_put(suspend->services[i].left);
		free(suspend->services[i].error);
	}
	free(suspend->services);
	for (size_t i = 0; i < suspend->n_next; i++) {
		free(suspend->next[i].name);
		kho_manifest_free(suspend->next[i].manifest);
	}
	free(suspend->next);
}
