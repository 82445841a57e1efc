/*
 * events.c - render an event once, tell everybody.
 *
 * Runs in: the broker.
 * Trusts: the caller; texts in the data may come from outside and are coded.
 * Specification: QEMU docs/interop/qmp-spec.txt 2.5: wall-clock time stamp.
 */
#include "broker/events.h"

#include "broker/json.h"
#include "broker/session.h"
#include "broker/text.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The event's data, if it has any. */
static void
add_data(struct text *line, const struct desc *d, const void *data)
{
	json_t *value = json_encode(d, data);
	char *json = value == NULL ? NULL : json_dumps(value, 0);

	json_decref(value);
	if (json == NULL) {
		line->failed = true;
		return;
	}
	text_add_str(line, ", \"data\": ");
	text_add_ascii(line, json, strlen(json));
	free(json);
}

void
event_emit(enum event_id id, const void *data)
{
	uint64_t now_us = sys_real_ns() / 1000;
	struct text line = {0};
	char stamp[96];

	BUG_ON(id < 0 || id >= EVENT__MAX);
	snprintf(stamp, sizeof(stamp),
	    "{\"timestamp\": {\"seconds\": %" PRIu64
	    ", \"microseconds\": %" PRIu64 "}, \"event\": ",
	    now_us / 1000000, now_us % 1000000);
	text_add_str(&line, stamp);
	text_add_quoted(&line, events[id].name, strlen(events[id].name));
	if (data != NULL && events[id].data != NULL &&
	    events[id].data->member_count > 0)
		add_data(&line, events[id].data, data);
	text_add_char(&line, '}');
	if (line.failed)
		log_event(LOG_ERROR, "event.lost", "event=%s", events[id].name);
	else
		session_broadcast(&line);
	text_free(&line);
}
