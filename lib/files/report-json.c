// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reports for programs. */
#include <json-c/json.h>

#include <kho/check.h>

#include "compat/report.h"
#include "files/json.h"

/* null for no version */
static void set_version(json_object **object, const char *key, uint32_t version)
{
	if (version)
		json_set(object, key, json_object_new_int64(version));
	else
		json_set_null(object, key);
}

static json_object *finding_json(const struct kho_finding *f)
{
	json_object *object = json_object_new_object();

	json_set(&object, "name", json_object_new_string(f->name));
	json_set(&object, "verdict",
		 json_object_new_string(kho_verdict_name(f->verdict)));
	set_version(&object, "version", f->version);
	set_version(&object, "has", f->has);
	json_set_range(&object, "writer", &f->writer);
	json_set_range(&object, "reader", &f->reader);
	set_version(&object, "pin", f->pin);
	json_set(&object, "optional", json_object_new_boolean(f->optional));
	json_set(&object, "needed_by", json_object_new_string(f->needed_by));
	json_set(&object, "reason", json_object_new_string(f->reason));
	return object;
}

static json_object *condition_json(const struct kho_condition *c)
{
	json_object *object = json_object_new_object();

	json_set(&object, "name", json_object_new_string(c->name));
	json_set(&object, "verdict",
		 json_object_new_string(kho_condition_name(c->verdict)));
	json_set(&object, "reason", json_object_new_string(c->reason));
	return object;
}

json_object *report_to_json(const struct kho_report *report)
{
	json_object *object = json_object_new_object();
	json_object *components = json_object_new_array();
	json_object *conditions = json_object_new_array();
	size_t i;

	for (i = 0; i < report->n; i++)
		json_push(&components, finding_json(&report->findings[i]));
	for (i = 0; i < report->n_conditions; i++)
		json_push(&conditions, condition_json(&report->conditions[i]));
	json_set(&object, "schema", json_object_new_string("kho-report"));
	json_set(&object, "version", json_object_new_int(1));
	json_set(&object, "outcome",
		 json_object_new_string(kho_outcome_name(report->outcome)));
	json_set(&object, "compatible",
		 json_object_new_boolean(report->outcome ==
					 KHO_OUTCOME_COMPATIBLE));
	json_set(&object, "from", json_object_new_string(report->from));
	json_set(&object, "to", json_object_new_string(report->to));
	json_set(&object, "components", components);
	json_set(&object, "conditions", conditions);
	return object;
}

char *kho_report_json(const struct kho_report *report)
{
	return json_finish(report_to_json(report));
}
