/*
 * plan.c - compile the graph to islands and groups.
 *
 * Runs in: the broker. Trusts: the graph value (our own).
 * Specification: DESIGN 4, reference netdevs.md 3 (a port that is down and a
 * netdev that is down are the same for traffic) and 4.2 (flooding).
 *
 * Vertices are the nodes and, after them, the hubs; edges are "is a port of"
 * and "is the peer of". Two union-find forests are kept: over all edges
 * (islands), and over those with both ends up (groups).
 */
#include "broker/plan.h"

#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>

void
plan_fini(struct plan *p)
{
	free(p->ports);
	p->ports = NULL;
	p->count = 0;
	p->islands = 0;
}

/* Everything plan_compile() works on; one allocation. */
struct forest {
	uint32_t *island; /* parent links, over nodes then hubs */
	uint32_t *group;
	uint32_t *number; /* of a root, once one of its ports has been seen */
	int32_t *hubs;    /* sorted, without duplicates */
	uint32_t hub_count;
	uint32_t vertices;
};

static uint32_t
root(uint32_t *parent, uint32_t v)
{
	while (parent[v] != v) {
		parent[v] = parent[parent[v]];
		v = parent[v];
	}
	return v;
}

/* The lower root wins, so that numbering does not depend on the order. */
static void
join(uint32_t *parent, uint32_t a, uint32_t b)
{
	a = root(parent, a);
	b = root(parent, b);
	if (a < b)
		parent[b] = a;
	else
		parent[a] = b;
}

static int
by_hubid(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

static void
list_hubs(const struct graph *g, struct forest *f)
{
	uint32_t n = 0, out = 0;

	for (uint32_t i = 0; i < g->count; i++)
		if (g->nodes[i].kind == NODE_HUBPORT)
			f->hubs[n++] = g->nodes[i].hubid;
	if (n > 0)
		qsort(f->hubs, n, sizeof *f->hubs, by_hubid);
	for (uint32_t i = 0; i < n; i++)
		if (i == 0 || f->hubs[i] != f->hubs[i - 1])
			f->hubs[out++] = f->hubs[i];
	f->hub_count = out;
}

static uint32_t
hub_vertex(const struct graph *g, const struct forest *f, int32_t hubid)
{
	const int32_t *at =
	    bsearch(&hubid, f->hubs, f->hub_count, sizeof *f->hubs, by_hubid);

	BUG_ON(!at);
	return g->count + (uint32_t)(at - f->hubs);
}

static void
join_all(const struct graph *g, struct forest *f)
{
	for (uint32_t v = 0; v < f->vertices; v++) {
		f->island[v] = v;
		f->group[v] = v;
		f->number[v] = GRAPH_NONE;
	}
	for (uint32_t i = 0; i < g->count; i++) {
		const struct graph_node *n = &g->nodes[i];

		if (n->kind == NODE_HUBPORT) {
			uint32_t hub = hub_vertex(g, f, n->hubid);

			join(f->island, i, hub);
			if (n->link_up)
				join(f->group, i, hub);
		}
		if (n->peer == GRAPH_NONE || n->peer > i)
			continue;
		join(f->island, i, n->peer);
		if (n->link_up && g->nodes[n->peer].link_up)
			join(f->group, i, n->peer);
	}
}

static bool
has_ring(const struct graph_node *n)
{
	return n->kind == NODE_NETDEV &&
	       (n->life == NODE_ATTACHING || n->life == NODE_UP);
}

static void
fill_port(const struct graph *g, uint32_t i, struct plan_entry *out)
{
	const struct graph_node *n = &g->nodes[i];
	const struct graph_node *peer =
	    n->peer == GRAPH_NONE ? NULL : &g->nodes[n->peer];

	out->port = n->port;
	out->link_up = n->link_up && (!peer || peer->link_up);
	out->drop = peer && peer->flow_is_drop;
}

static int
by_island(const void *a, const void *b)
{
	const struct plan_entry *x = a, *y = b;

	if (x->island != y->island)
		return x->island < y->island ? -1 : 1;
	return (x->group > y->group) - (x->group < y->group);
}

/*
 * Number the islands by their oldest port and write out the ports. `group`
 * holds the age of the port for a moment, which keeps the sort stable.
 */
static void
number_islands(const struct graph *g, struct forest *f, struct plan *p)
{
	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t top = root(f->island, i);

		if (!has_ring(&g->nodes[i]))
			continue;
		if (f->number[top] == GRAPH_NONE)
			f->number[top] = p->islands++;
		fill_port(g, i, &p->ports[p->count]);
		p->ports[p->count].island = f->number[top];
		p->ports[p->count++].group = i;
	}
	if (p->count > 0)
		qsort(p->ports, p->count, sizeof *p->ports, by_island);
}

static void
number_groups(struct forest *f, struct plan *p)
{
	uint32_t next = 0;

	for (uint32_t v = 0; v < f->vertices; v++)
		f->number[v] = GRAPH_NONE;
	for (size_t k = 0; k < p->count; k++) {
		uint32_t top = root(f->group, p->ports[k].group);

		if (k > 0 && p->ports[k].island != p->ports[k - 1].island)
			next = 0;
		if (f->number[top] == GRAPH_NONE)
			f->number[top] = next++;
		p->ports[k].group = f->number[top];
	}
}

int
plan_compile(const struct graph *g, struct plan *p)
{
	uint32_t vertices = 2 * g->count; /* at most one hub per node */
	struct plan made = {0};
	struct forest f = {.vertices = vertices};
	uint32_t *words;

	words = calloc((size_t)vertices * 4 + 1, sizeof *words);
	made.ports = calloc((size_t)g->count + 1, sizeof *made.ports);
	if (!words || !made.ports) {
		free(words);
		free(made.ports);
		return -ENOMEM;
	}
	f.island = words;
	f.group = words + vertices;
	f.number = words + 2 * (size_t)vertices;
	f.hubs = (int32_t *)(words + 3 * (size_t)vertices);
	list_hubs(g, &f);
	join_all(g, &f);
	number_islands(g, &f, &made);
	number_groups(&f, &made);
	free(words);
	free(p->ports);
	*p = made;
	return 0;
}

/* How many ports of one island one lane has. */
struct overlap {
	uint32_t island, lane, ports;
};

static int
by_pair(const void *a, const void *b)
{
	const struct overlap *x = a, *y = b;

	if (x->island != y->island)
		return x->island < y->island ? -1 : 1;
	return (x->lane > y->lane) - (x->lane < y->lane);
}

static int
by_ports(const void *a, const void *b)
{
	const struct overlap *x = a, *y = b;

	if (x->ports != y->ports)
		return x->ports > y->ports ? -1 : 1;
	return by_pair(a, b);
}

/* One entry per (island, lane) that share a port, the largest share first. */
static size_t
list_overlaps(
    const struct plan *p, const uint32_t *lane_of, struct overlap *out)
{
	size_t n = 0, merged = 0;

	for (size_t k = 0; k < p->count; k++)
		if (lane_of[k] != PLAN_LANE_NONE)
			out[n++] =
			    (struct overlap){p->ports[k].island, lane_of[k], 1};
	if (n == 0)
		return 0;
	qsort(out, n, sizeof *out, by_pair);
	for (size_t k = 1; k < n; k++) {
		if (by_pair(&out[k], &out[merged]) == 0)
			out[merged].ports++;
		else
			out[++merged] = out[k];
	}
	qsort(out, merged + 1, sizeof *out, by_ports);
	return merged + 1;
}

int
plan_place(const struct plan *p, const uint32_t *lane_of, uint32_t *island_lane)
{
	struct overlap *o;
	uint32_t lanes = 0;
	bool *taken;
	size_t n;

	for (uint32_t i = 0; i < p->islands; i++)
		island_lane[i] = PLAN_LANE_NONE;
	for (size_t k = 0; k < p->count; k++)
		if (lane_of[k] != PLAN_LANE_NONE && lane_of[k] >= lanes)
			lanes = lane_of[k] + 1;
	o = calloc(p->count + 1, sizeof *o);
	taken = calloc((size_t)lanes + 1, sizeof *taken);
	if (!o || !taken) {
		free(o);
		free(taken);
		return -ENOMEM;
	}
	n = list_overlaps(p, lane_of, o);
	for (size_t k = 0; k < n; k++) {
		if (taken[o[k].lane] || island_lane[o[k].island] != GRAPH_NONE)
			continue;
		taken[o[k].lane] = true;
		island_lane[o[k].island] = o[k].lane;
	}
	free(taken);
	free(o);
	return 0;
}
