/*
 * no_peer.c - QEMU's warnings about what is plugged into nothing.
 *
 * Runs in: the broker.
 * Trusts: the broker's own query-netdevs, which it asks as any client would.
 * Specification: texts as QEMU's net/net.c and net/hub.c print them.
 */
#include "broker/no_peer.h"

#include "broker/dispatch.h"
#include "broker/framer.h"
#include "broker/text.h"
#include "proto/sys.h"

#include <jansson.h>
#include <string.h>

static struct {
	struct asker asker;
	core_done done;
	void *self; /* borrowed, of done */
} no_peer;

static void
warn(const char *kind, const char *id)
{
	struct text t = {0};

	text_add_str(&t, "bulkheadd: warning: ");
	text_add_str(&t, kind);
	text_add_char(&t, ' ');
	text_add_str(&t, id);
	text_add_str(&t, " has no peer\n");
	if (!t.failed)
		(void)sys_write(2, t.data, t.len);
	text_free(&t);
}

static void
warn_if_alone(const json_t *netdev)
{
	const char *id = json_string_value(json_object_get(netdev, "id"));
	const char *type = json_string_value(
	    json_object_get(json_object_get(netdev, "config"), "type"));

	if (id == NULL || type == NULL ||
	    json_object_get(netdev, "peer") != NULL)
		return;
	if (strcmp(type, "hubport") == 0)
		warn("hub port", id);
	else
		warn(strcmp(type, "nic") == 0 ? "nic" : "netdev", id);
}

static void
answered(struct asker *a, const struct text *line, const struct err *e)
{
	json_t *tree =
	    e != NULL ? NULL : json_loadb(line->data, line->len, 0, NULL);
	json_t *netdevs = json_object_get(tree, "return");
	json_t *netdev;
	size_t i;

	json_array_foreach(netdevs, i, netdev) warn_if_alone(netdev);
	json_decref(tree);
	asker_fini(a);
	no_peer.done(no_peer.self, NULL);
}

static const struct asker_ops no_peer_ops = {.answered = answered};

void
no_peer_warn(core_done done, void *self)
{
	static const char ask[] = "{\"execute\": \"query-netdevs\"}";
	const struct framer_item item = {
	    .kind = FRAMER_VALUE, .text = ask, .len = sizeof(ask) - 1};

	no_peer.done = done;
	no_peer.self = self;
	asker_init(&no_peer.asker, &no_peer_ops, true);
	asker_request(&no_peer.asker, &item);
}
