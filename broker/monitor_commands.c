/*
 * monitor_commands.c - qmp_capabilities, what runs here, quit.
 *
 * Runs in: the broker.
 * Trusts: the visitor has checked the arguments against schema/monitor.json.
 * Specification: schema/monitor.json.
 */
#include "broker/monitor_commands.h"

#include "broker/core.h"
#include "broker/dispatch.h"
#include "broker/events.h"
#include "broker/greeting.h"
#include "broker/qmp.h"
#include "broker/session.h"
#include "gen/commands.h"
#include "gen/schema.h"

#include <errno.h>
#include <string.h>

/* From -name, borrowed; NULL: none was given. */
static const char *instance_name;

void
monitor_name_set(const char *name)
{
	instance_name = name;
}

void
cmd_qmp_capabilities(
    struct call *call, const struct qmp_capabilities_args *args)
{
	struct asker *a = call_asker(call);
	struct err e;

	if (a->negotiated) {
		err_class_set(&e, -EINVAL, ERR_COMMAND_NOT_FOUND,
		    "Capabilities negotiation is already complete, command "
		    "ignored");
		call_fail(call, &e);
		return;
	}
	if (args->has_enable && args->enable.count > 0) {
		/* There is only one, and the greeting does not offer it */
		err_set(&e, -EINVAL, "Capability %s not available",
		    desc_qmpcapability.names[args->enable.items[0]]);
		call_fail(call, &e);
		return;
	}
	a->negotiated = true;
	call_return(call, NULL, NULL);
}

void
cmd_query_version(struct call *call, const struct query_version_args *args)
{
	char package[] = GREETING_PACKAGE;
	const struct version_info info = {
	    .qemu = {GREETING_MAJOR, GREETING_MINOR, GREETING_MICRO},
	    .package = package,
	};

	(void)args;
	call_return(call, &desc_version_info, &info);
}

void
cmd_query_name(struct call *call, const struct query_name_args *args)
{
	struct text json = {0};

	(void)args;
	text_add_char(&json, '{');
	if (instance_name != NULL) {
		text_add_str(&json, "\"name\": ");
		text_add_quoted(&json, instance_name, strlen(instance_name));
	}
	text_add(&json, "}", 2);
	call_return_text(call, json.failed ? "{}" : json.data);
	text_free(&json);
}

void
cmd_query_commands(struct call *call, const struct query_commands_args *args)
{
	struct text json = {0};

	(void)args;
	text_add_char(&json, '[');
	for (size_t i = 0; i < command_count; i++) {
		text_add_str(&json, i == 0 ? "{\"name\": " : ", {\"name\": ");
		text_add_quoted(
		    &json, commands[i].name, strlen(commands[i].name));
		text_add_char(&json, '}');
	}
	text_add(&json, "]", 2);
	call_return_text(call, json.failed ? "[]" : json.data);
	text_free(&json);
}

void
cmd_query_qmp_schema(
    struct call *call, const struct query_qmp_schema_args *args)
{
	(void)args;
	call_return_text(call, schema_introspection);
}

void
cmd_quit(struct call *call, const struct quit_args *args)
{
	const struct shutdown_data data = {
	    .guest = false, .reason = SHUTDOWN_CAUSE_HOST_QMP_QUIT};

	(void)args;
	event_emit(EVENT_SHUTDOWN, &data);
	call_return(call, NULL, NULL);
	session_shutdown();
	core_quit(core_get(), 0, "host-qmp-quit");
}
