/*
 * graph.c - the graph of netdevs, hub ports and hubs, as a value.
 *
 * Runs in: the broker. Trusts: its callers for types; every text and number
 * may come from a QMP client and is checked here.
 * Specification: reference netdevs.md 2 (ids, texts), 3 (link), 4 (hubs). Two
 * things differ from QEMU on purpose: a node that has a peer and a link that
 * would close a cycle are refused, where QEMU dies of them.
 */
#include "broker/graph.h"

#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
graph_fini(struct graph *g)
{
	free(g->nodes);
	g->nodes = NULL;
	g->count = 0;
}

int
graph_copy(struct graph *to, const struct graph *from)
{
	struct graph_node *nodes = NULL;

	if (from->count > 0) {
		nodes = malloc(from->count * sizeof *nodes);
		if (!nodes)
			return -ENOMEM;
		memcpy(nodes, from->nodes, from->count * sizeof *nodes);
	}
	free(to->nodes);
	to->nodes = nodes;
	to->count = from->count;
	return 0;
}

static bool
node_equal(const struct graph_node *a, const struct graph_node *b)
{
	return strcmp(a->id, b->id) == 0 && a->port == b->port &&
	       a->peer == b->peer && a->hubid == b->hubid &&
	       a->kind == b->kind && a->life == b->life &&
	       a->link_up == b->link_up && a->connected == b->connected &&
	       a->flow_is_drop == b->flow_is_drop;
}

bool
graph_equal(const struct graph *a, const struct graph *b)
{
	if (a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (!node_equal(&a->nodes[i], &b->nodes[i]))
			return false;
	return true;
}

uint32_t
graph_find(const struct graph *g, const char *id)
{
	for (uint32_t i = 0; i < g->count; i++)
		if (strcmp(g->nodes[i].id, id) == 0)
			return i;
	return GRAPH_NONE;
}

uint32_t
graph_find_port(const struct graph *g, uint32_t port)
{
	for (uint32_t i = 0; i < g->count; i++)
		if (g->nodes[i].kind == NODE_NETDEV && g->nodes[i].port == port)
			return i;
	return GRAPH_NONE;
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_id_tail(char c)
{
	return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_';
}

int
graph_id_check(const char *id, struct err *e)
{
	size_t len = 0;

	if (!is_letter(id[0]))
		return err_set(
		    e, -EINVAL, "Parameter 'id' expects an identifier");
	while (is_id_tail(id[len]))
		len++;
	if (id[len] != '\0')
		return err_set(
		    e, -EINVAL, "Parameter 'id' expects an identifier");
	if (len >= GRAPH_ID_BYTES)
		return err_set(e, -EINVAL,
		    "Parameter 'id' expects an identifier of at most %u bytes",
		    GRAPH_ID_BYTES - 1);
	return 0;
}

static uint32_t
count_kind(const struct graph *g, enum node_kind kind)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->count; i++)
		n += g->nodes[i].kind == kind;
	return n;
}

/* Room for one more node, zeroed and unconnected; NULL: out of memory. */
static struct graph_node *
append(struct graph *g, const char *id, enum node_kind kind)
{
	struct graph_node *nodes, *node;

	nodes = realloc(g->nodes, (g->count + 1) * sizeof *nodes);
	if (!nodes)
		return NULL;
	g->nodes = nodes;
	node = &nodes[g->count++];
	memset(node, 0, sizeof *node);
	memcpy(node->id, id, strlen(id));
	node->kind = (uint8_t)kind;
	node->peer = GRAPH_NONE;
	node->link_up = true;
	return node;
}

int
graph_netdev_add(struct graph *g, const char *id, uint32_t port, struct err *e)
{
	struct graph_node *node;
	int rc;

	rc = graph_id_check(id, e);
	if (rc < 0)
		return rc;
	if (graph_find(g, id) != GRAPH_NONE)
		return err_set(e, -EEXIST, "Duplicate ID '%s'", id);
	if (count_kind(g, NODE_NETDEV) >= GRAPH_NETDEVS_MAX)
		return err_set(e, -ENOSPC,
		    "cannot add '%s': there are %u netdevs, the most possible",
		    id, GRAPH_NETDEVS_MAX);
	node = append(g, id, NODE_NETDEV);
	if (!node)
		return err_set(e, -ENOMEM, "out of memory");
	node->port = port;
	node->life = NODE_STARTING;
	return 0;
}

/* Is there a port of hub `hubid`? */
static bool
hub_exists(const struct graph *g, int32_t hubid)
{
	for (uint32_t i = 0; i < g->count; i++)
		if (g->nodes[i].kind == NODE_HUBPORT &&
		    g->nodes[i].hubid == hubid)
			return true;
	return false;
}

static bool
hub_seen_before(const struct graph *g, uint32_t end)
{
	for (uint32_t i = 0; i < end; i++)
		if (g->nodes[i].kind == NODE_HUBPORT &&
		    g->nodes[i].hubid == g->nodes[end].hubid)
			return true;
	return false;
}

uint32_t
graph_hub_count(const struct graph *g)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->count; i++)
		n += g->nodes[i].kind == NODE_HUBPORT && !hub_seen_before(g, i);
	return n;
}

/* Set the mark of every port of that hub; returns whether one was new. */
static bool
mark_hub(const struct graph *g, int32_t hubid, bool *mark)
{
	bool grew = false;

	for (uint32_t i = 0; i < g->count; i++) {
		if (g->nodes[i].kind != NODE_HUBPORT ||
		    g->nodes[i].hubid != hubid || mark[i])
			continue;
		mark[i] = true;
		grew = true;
	}
	return grew;
}

/*
 * Can a frame get from hub `from` to hub `to`, links being up? Hubs join only
 * by a hub port that is the peer of a hub port. Works in rounds, each of
 * which marks at least one more hub. -ENOMEM, 0 or 1.
 */
static int
hub_reaches(const struct graph *g, int32_t from, int32_t to)
{
	bool *mark, grew;
	int found;

	mark = calloc(g->count ? g->count : 1, sizeof *mark);
	if (!mark)
		return -ENOMEM;
	grew = mark_hub(g, from, mark);
	while (grew) {
		grew = false;
		for (uint32_t i = 0; i < g->count; i++) {
			uint32_t peer = g->nodes[i].peer;

			if (mark[i] && peer != GRAPH_NONE && !mark[peer] &&
			    g->nodes[peer].kind == NODE_HUBPORT)
				grew |= mark_hub(g, g->nodes[peer].hubid, mark);
		}
	}
	found = from == to;
	for (uint32_t i = 0; i < g->count && !found; i++)
		found = mark[i] && g->nodes[i].hubid == to;
	free(mark);
	return found;
}

/* The node of that name, which must be up and have no peer. */
static int
find_free(const struct graph *g, const char *id, uint32_t *out, struct err *e)
{
	uint32_t i = graph_find(g, id);
	const struct graph_node *node;

	if (i == GRAPH_NONE || g->nodes[i].life != NODE_UP)
		return err_set(e, -ENOENT, "netdev '%s' not found", id);
	node = &g->nodes[i];
	if (node->peer != GRAPH_NONE)
		return err_set(e, -EBUSY,
		    "netdev '%s' is already connected to '%s'", node->id,
		    g->nodes[node->peer].id);
	*out = i;
	return 0;
}

/* A netdev is the end of a line: no link to it can close a cycle. */
int
graph_netdev_plug(
    struct graph *g, const char *id, const char *netdev, struct err *e)
{
	uint32_t i = graph_find(g, id), peer = GRAPH_NONE;
	int rc = find_free(g, netdev, &peer, e);

	if (rc == 0 && peer == i)
		rc = err_set(e, -ENOENT, "netdev '%s' not found", netdev);
	if (rc < 0)
		return rc;
	BUG_ON(i == GRAPH_NONE || g->nodes[i].kind != NODE_NETDEV ||
	       g->nodes[i].peer != GRAPH_NONE);
	g->nodes[i].peer = peer;
	g->nodes[peer].peer = i;
	return 0;
}

/* Find and judge what a new hub port wants to be plugged into. */
static int
plug_check(const struct graph *g, const struct graph_hubport *h, uint32_t *out,
    struct err *e)
{
	const struct graph_node *node;
	int rc = find_free(g, h->netdev, out, e);

	if (rc < 0)
		return rc;
	node = &g->nodes[*out];
	if (node->kind != NODE_HUBPORT)
		return 0;
	rc = hub_reaches(g, h->hubid, node->hubid);
	if (rc < 0)
		return err_set(e, rc, "out of memory");
	if (rc > 0)
		return err_set(e, -ELOOP,
		    "connecting '%s' to '%s' would close a loop: hub %d and "
		    "hub %d are connected already",
		    h->id, node->id, (int)h->hubid, (int)node->hubid);
	return 0;
}

static int
hubport_bounds(
    const struct graph *g, const struct graph_hubport *h, struct err *e)
{
	if (count_kind(g, NODE_HUBPORT) >= GRAPH_HUBPORTS_MAX)
		return err_set(e, -ENOSPC,
		    "cannot add '%s': there are %u hub ports, the most "
		    "possible",
		    h->id, GRAPH_HUBPORTS_MAX);
	if (!hub_exists(g, h->hubid) && graph_hub_count(g) >= GRAPH_HUBS_MAX)
		return err_set(e, -ENOSPC,
		    "cannot add hub %d: there are %u hubs, the most possible",
		    (int)h->hubid, GRAPH_HUBS_MAX);
	return 0;
}

int
graph_hubport_add(struct graph *g, const struct graph_hubport *h, struct err *e)
{
	uint32_t peer = GRAPH_NONE;
	struct graph_node *node;
	int rc;

	rc = graph_id_check(h->id, e);
	if (rc < 0)
		return rc;
	if (graph_find(g, h->id) != GRAPH_NONE)
		return err_set(e, -EEXIST, "Duplicate ID '%s'", h->id);
	rc = hubport_bounds(g, h, e);
	if (rc == 0 && h->netdev)
		rc = plug_check(g, h, &peer, e);
	if (rc < 0)
		return rc;
	node = append(g, h->id, NODE_HUBPORT);
	if (!node)
		return err_set(e, -ENOMEM, "out of memory");
	node->hubid = h->hubid;
	node->flow_is_drop = h->flow_is_drop;
	node->life = NODE_UP;
	node->connected = true;
	node->peer = peer;
	if (peer != GRAPH_NONE)
		g->nodes[peer].peer = g->count - 1;
	return 0;
}

static void
unplug(struct graph *g, uint32_t i)
{
	uint32_t peer = g->nodes[i].peer;

	if (peer == GRAPH_NONE)
		return;
	BUG_ON(g->nodes[peer].peer != i);
	g->nodes[peer].peer = GRAPH_NONE;
	g->nodes[i].peer = GRAPH_NONE;
}

static void
take_out(struct graph *g, uint32_t i)
{
	unplug(g, i);
	memmove(&g->nodes[i], &g->nodes[i + 1],
	    (g->count - i - 1) * sizeof *g->nodes);
	g->count--;
	for (uint32_t k = 0; k < g->count; k++)
		if (g->nodes[k].peer != GRAPH_NONE && g->nodes[k].peer > i)
			g->nodes[k].peer--;
}

/* The node that a client may name: one that is not on its way out. */
static int
find_named(const struct graph *g, const char *id, uint32_t *out, struct err *e)
{
	*out = graph_find(g, id);
	if (*out == GRAPH_NONE || g->nodes[*out].life == NODE_LEAVING)
		return err_class_set(e, -ENODEV, ERR_DEVICE_NOT_FOUND,
		    "Device '%s' not found", id);
	return 0;
}

int
graph_del(struct graph *g, const char *id, struct err *e)
{
	uint32_t i;
	int rc = find_named(g, id, &i, e);

	if (rc == 0)
		take_out(g, i);
	return rc;
}

int
graph_leave(struct graph *g, const char *id, struct err *e)
{
	uint32_t i;
	int rc = find_named(g, id, &i, e);

	if (rc < 0)
		return rc;
	unplug(g, i);
	g->nodes[i].life = NODE_LEAVING;
	return 0;
}

void
graph_del_port(struct graph *g, uint32_t port)
{
	uint32_t i = graph_find_port(g, port);

	BUG_ON(i == GRAPH_NONE);
	take_out(g, i);
}

int
graph_link_set(struct graph *g, const char *id, bool up, struct err *e)
{
	uint32_t i;
	int rc = find_named(g, id, &i, e);

	if (rc == 0)
		g->nodes[i].link_up = up;
	return rc;
}
