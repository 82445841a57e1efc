/*
 * net_option.c - the texts of -netdev and -net become netdevs.
 *
 * Runs in: the broker, during start.
 * Trusts: the operator, but not that the text is well-formed.
 * Specification: QEMU's qemu-options.hx for -netdev and -net; the names of
 *   ports made by -net as QEMU's net/hub.c has them (hubNportM).
 *
 * Generated names: a card joined to netdev X by "-net nic,netdev=X" is "X-nic";
 * -net without id= makes a netdev called after its port,
 * "hub0port0-user". (QEMU makes up names like "#net123", which nobody can
 * then write in netdev_del.)
 */
#include "broker/net_option.h"

#include "broker/framer.h"
#include "broker/json.h"
#include "gen/backends.h"
#include "proto/keyval.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64u

void
net_list_clear(struct net_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		desc_free(&desc_netdev, &l->items[i]);
	l->count = 0;
}

static int
out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

/* The number of the next port of that hub; it is used up. -ENOSPC. */
static int
next_port(struct net_list *l, int32_t hubid, unsigned *number, struct err *err)
{
	size_t i = 0;

	while (i < l->hub_count && l->hubs[i].hubid != hubid)
		i++;
	if (i == NET_HUBS_MAX)
		return err_set(err, -ENOSPC, "too many hubs");
	if (i == l->hub_count) {
		l->hubs[i].hubid = hubid;
		l->hubs[i].next = 0;
		l->hub_count++;
	}
	*number = l->hubs[i].next++;
	return 0;
}

/* Take `nd` into the list and leave it empty. */
static int
add(struct net_list *l, struct netdev *nd, struct err *err)
{
	unsigned number;

	if (l->count == NET_LIST_MAX)
		return err_set(err, -ENOSPC, "too many netdevs");
	/* Ports with names of their own count too, as in QEMU */
	if (nd->type == NET_CLIENT_DRIVER_HUBPORT &&
	    next_port(l, nd->u.hubport.hubid, &number, err) < 0)
		return -ENOSPC;
	l->items[l->count++] = *nd;
	*nd = (struct netdev){0};
	return 0;
}

/* --- -netdev ----------------------------------------------------------------
 */

/* The one JSON value of `text`. NULL with *err. */
static json_t *
parse_json(const char *text, struct err *err)
{
	struct framer_item item;
	json_error_t error;
	json_t *tree = NULL;
	struct framer f;
	size_t at;

	framer_init(&f);
	at = framer_feed(&f, text, strlen(text), &item);
	if (item.kind == FRAMER_MORE)
		framer_end(&f, &item);
	if (item.kind == FRAMER_VALUE) {
		tree = json_loadb(item.text, item.len,
		    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
		if (tree == NULL)
			err_set(
			    err, -EINVAL, "JSON parse error, %s", error.text);
	} else {
		err_set(err, -EINVAL, "%.*s", (int)item.len, item.text);
	}
	framer_fini(&f);
	if (tree != NULL && text[at + strspn(text + at, " \t\r\n")] != '\0') {
		err_set(err, -EINVAL, "Expecting at most one JSON value");
		json_decref(tree);
		tree = NULL;
	}
	return tree;
}

static int
decode_json(struct netdev *nd, const char *text, struct err *err)
{
	json_t *tree = parse_json(text, err);
	int rc;

	if (tree == NULL)
		return -EINVAL;
	rc = json_decode(&desc_netdev, nd, tree, err);
	json_decref(tree);
	return rc;
}

int
net_option_netdev(struct net_list *l, const char *arg, struct err *err)
{
	struct netdev nd = {0};
	int rc;

	if (arg[0] == '{')
		rc = decode_json(&nd, arg, err);
	else
		rc = keyval_decode(&desc_netdev, &nd, arg, "type", err);
	if (rc == 0)
		rc = add(l, &nd, err);
	desc_free(&desc_netdev, &nd);
	return rc;
}

void
net_option_help(struct text *t)
{
	text_add_str(t, "Available netdev backend types:\nhubport\n");
	for (size_t i = 0; i < backend_entry_count; i++) {
		text_add_str(t, backend_entries[i].type);
		text_add_char(t, '\n');
	}
}

/* --- -net -------------------------------------------------------------------
 */

bool
net_option_asks_models(const char *arg)
{
	const char *item;
	size_t len;

	item = net_option_item(&arg, &len);
	if (item == NULL || !((len == 3 && memcmp(item, "nic", 3) == 0) ||
				(len == 8 && memcmp(item, "type=nic", 8) == 0)))
		return false;
	while ((item = net_option_item(&arg, &len)) != NULL)
		if ((len == 10 && memcmp(item, "model=help", 10) == 0) ||
		    (len == 7 && memcmp(item, "model=?", 7) == 0))
			return true;
	return false;
}

const char *
net_option_item(const char **at, size_t *len)
{
	const char *start = *at;
	const char *p = start;

	if (*start == '\0')
		return NULL;
	while (*p != '\0' && (*p != ',' || p[1] == ',')) {
		p += *p == ',' ? 2 : 1;
	}
	*len = (size_t)(p - start);
	*at = *p == ',' ? p + 1 : p;
	return start;
}

/* What -net has beside the options of the type. */
struct legacy {
	char type[NAME_BYTES];
	char id[NAME_BYTES];   /* empty: not given */
	char peer[NAME_BYTES]; /* of a card with netdev= */
	int32_t hubid;
	bool direct;      /* a nic with netdev=: joined to that, in no hub */
	struct text rest; /* ",KEY=VALUE..." of the type's own */
};

static bool
key_is(const char *item, size_t len, const char *key)
{
	size_t key_len = strlen(key);

	return len > key_len && memcmp(item, key, key_len) == 0 &&
	       item[key_len] == '=';
}

/* Copy an item's value. -EINVAL when it is empty or too long. */
static int
copy_value(char to[NAME_BYTES], const char *value, size_t len)
{
	if (len == 0 || len >= NAME_BYTES)
		return -EINVAL;
	memcpy(to, value, len);
	to[len] = '\0';
	return 0;
}

static int
take_vlan(struct legacy *g, const char *value, size_t len, struct err *err)
{
	char buf[NAME_BYTES];
	char *end = buf;
	long long number = 0;

	if (copy_value(buf, value, len) == 0)
		number = strtoll(buf, &end, 0);
	if (end == buf || *end != '\0')
		return err_set(
		    err, -EINVAL, "Parameter 'vlan' expects an int64 value");
	if (number < INT32_MIN || number > INT32_MAX)
		return err_set(
		    err, -ERANGE, "Parameter 'vlan' expects int32_t");
	g->hubid = (int32_t)number;
	return 0;
}

static int
take_item(struct legacy *g, const char *item, size_t len, struct err *err)
{
	bool is_id = key_is(item, len, "id");

	if (key_is(item, len, "vlan"))
		return take_vlan(g, item + 5, len - 5, err);
	if (is_id || key_is(item, len, "name")) {
		size_t skip = is_id ? 3 : 5;

		/* id wins over name, whichever comes first */
		if (!is_id && g->id[0] != '\0')
			return 0;
		if (copy_value(g->id, item + skip, len - skip) < 0)
			return err_set(err, -EINVAL,
			    "Parameter 'id' expects an identifier");
		return 0;
	}
	if (strcmp(g->type, "nic") == 0 && key_is(item, len, "netdev")) {
		g->direct = true;
		/* It has one card at most, so the name is its own. */
		snprintf(
		    g->peer, sizeof(g->peer), "%.*s", (int)(len - 7), item + 7);
	}
	text_add_char(&g->rest, ',');
	text_add(&g->rest, item, len);
	return 0;
}

static int
take_type(struct legacy *g, const char *item, size_t len, struct err *err)
{
	if (key_is(item, len, "type")) {
		item += 5;
		len -= 5;
	}
	if (copy_value(g->type, item, len) < 0)
		return err_set(err, -EINVAL, "Parameter 'type' is missing");
	if (strcmp(g->type, "hubport") == 0)
		return err_set(err, -EINVAL,
		    "network backend 'hubport' is only supported with "
		    "-netdev");
	return 0;
}

/* The netdev itself, whose name is known now. */
static int
add_legacy(struct net_list *l, struct legacy *g, struct err *err)
{
	char netdev[3 * NAME_BYTES];
	struct text arg = {0};
	int rc;

	snprintf(netdev, sizeof(netdev), "%s,id=%s", g->type, g->id);
	text_add_str(&arg, netdev);
	text_add(&arg, g->rest.data, g->rest.len);
	text_add_char(&arg, '\0');
	rc = arg.failed || g->rest.failed ? out_of_memory(err)
					  : net_option_netdev(l, arg.data, err);
	text_free(&arg);
	return rc;
}

/* A card that is joined to a netdev and has no port. */
static int
add_direct(struct net_list *l, struct legacy *g, struct err *err)
{
	if (g->id[0] == '\0')
		snprintf(g->id, sizeof(g->id), "%.50s-nic", g->peer);
	return add_legacy(l, g, err);
}

/* The netdev and its port, named. */
static int
add_pair(struct net_list *l, struct legacy *g, struct err *err)
{
	struct netdev port = {.type = NET_CLIENT_DRIVER_HUBPORT};
	char port_id[NAME_BYTES];
	unsigned number;
	int rc;

	if (next_port(l, g->hubid, &number, err) < 0)
		return -ENOSPC;
	snprintf(
	    port_id, sizeof(port_id), "hub%" PRId32 "port%u", g->hubid, number);
	if (g->id[0] == '\0')
		snprintf(g->id, sizeof(g->id), "%.30s-%.30s", port_id, g->type);
	rc = add_legacy(l, g, err);
	if (rc < 0)
		return rc;
	if (l->count == NET_LIST_MAX)
		return err_set(err, -ENOSPC, "too many netdevs");
	port.id = strdup(port_id);
	port.u.hubport.hubid = g->hubid;
	port.u.hubport.netdev = strdup(g->id);
	l->items[l->count++] = port;
	return port.id == NULL || port.u.hubport.netdev == NULL
		   ? out_of_memory(err)
		   : 0;
}

int
net_option_net(struct net_list *l, const char *arg, struct err *err)
{
	struct legacy g = {0};
	const char *at = arg;
	const char *item;
	size_t len = 0;
	int rc;

	item = net_option_item(&at, &len);
	rc = take_type(&g, item == NULL ? "" : item, len, err);
	while (rc == 0 && (item = net_option_item(&at, &len)) != NULL)
		rc = take_item(&g, item, len, err);
	if (rc == 0 && g.direct)
		rc = add_direct(l, &g, err);
	else if (rc == 0 && strcmp(g.type, "none") != 0)
		rc = add_pair(l, &g, err);
	text_free(&g.rest);
	return rc;
}
