/*
 * query_graph.c - query-hubs and query-backends: what needs nobody's answer.
 *
 * Runs in: the broker. Trusts: its own records.
 * Specification: schema/bulkhead.json.
 */
#include "broker/core_state.h"
#include "broker/ports.h"
#include "broker/qmp.h"
#include "gen/commands.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

static char *
borrow(const char *text)
{
	return (char *)(uintptr_t)text;
}

static void
fail_memory(struct call *call)
{
	struct err e;

	(void)err_set(&e, -ENOMEM, "out of memory");
	call_fail(call, &e);
}

/* --- hubs --- */

/* Everything one answer needs: hubs, their ports side by side, names. */
struct hubs {
	struct hub_info *hubs;
	struct hub_port_info *ports;
	char (*lanes)[ISLAND_NAME_BYTES];
	size_t count, port_count;
};

static bool
is_first_of_hub(const struct graph *g, uint32_t i)
{
	for (uint32_t k = 0; k < i; k++)
		if (g->nodes[k].kind == NODE_HUBPORT &&
		    g->nodes[k].hubid == g->nodes[i].hubid)
			return false;
	return g->nodes[i].kind == NODE_HUBPORT;
}

static void
fill_hub_port(struct core *c, const struct graph_node *n, struct hubs *h)
{
	struct hub_port_info *p = &h->ports[h->port_count++];
	struct hub_info *hub = &h->hubs[h->count];
	const struct port *port;

	hub->ports.count++;
	p->id = borrow(n->id);
	p->link_up = n->link_up;
	p->flow = n->flow_is_drop ? HUB_FLOW_DROP : HUB_FLOW_PATIENT;
	if (n->peer == GRAPH_NONE)
		return;
	n = &c->graph.nodes[n->peer];
	p->peer = borrow(n->id);
	if (n->kind != NODE_NETDEV || hub->lane)
		return;
	port = c->islands->ports[n->port];
	if (port->want)
		hub->lane = borrow(island_name(port->want, h->lanes[h->count]));
}

static void
fill_hubs(struct core *c, struct hubs *h)
{
	const struct graph *g = &c->graph;

	for (uint32_t i = 0; i < g->count; i++) {
		if (!is_first_of_hub(g, i))
			continue;
		h->hubs[h->count].hubid = g->nodes[i].hubid;
		h->hubs[h->count].ports.items = &h->ports[h->port_count];
		for (uint32_t k = i; k < g->count; k++)
			if (g->nodes[k].kind == NODE_HUBPORT &&
			    g->nodes[k].hubid == g->nodes[i].hubid)
				fill_hub_port(c, &g->nodes[k], h);
		h->count++;
	}
}

void
cmd_query_hubs(struct call *call, const struct query_hubs_args *args)
{
	struct core *c = core_get();
	size_t room = (size_t)c->graph.count + 1;
	struct hubs h = {.hubs = calloc(room, sizeof *h.hubs),
	    .ports = calloc(room, sizeof *h.ports),
	    .lanes = calloc(room, sizeof *h.lanes)};
	struct hub_info_list list;

	(void)args;
	if (h.hubs && h.ports && h.lanes) {
		fill_hubs(c, &h);
		list = (struct hub_info_list){h.count, h.hubs};
		call_return(call, &desc_list_hub_info, &list);
	} else {
		fail_memory(call);
	}
	free(h.hubs);
	free(h.ports);
	free(h.lanes);
}

/* --- processes --- */

/* One process and the memory that its description needs. */
struct process {
	char name[GRAPH_ID_BYTES];
	char last[LIFE_TEXT_BYTES + 32];
	char *layers[LAYER_COUNT], *missing[LAYER_COUNT];
	char (*texts)[RESOURCE_TEXT_BYTES];
};

struct processes {
	struct backend_info *infos;
	struct process *memory;
	size_t count;
};

static void
fill_layers(uint64_t bits, char **names, struct str_list *out)
{
	out->items = names;
	for (unsigned l = 0; l < LAYER_COUNT; l++)
		if (bits >> l & 1)
			names[out->count++] = borrow(layer_name((enum layer)l));
}

static void
fill_process(struct backend_info *b, struct process *m,
    const struct launch_result *r, uint64_t since_ns)
{
	if (r->pid > 0) {
		b->has_pid = true;
		b->pid = r->pid;
		b->has_uid = true;
		b->uid = r->uid;
		b->has_uptime_ms = true;
		b->uptime_ms = (sys_mono_ns() - since_ns) / MS;
	}
	fill_layers(r->layers, m->layers, &b->layers);
	fill_layers(r->missing, m->missing, &b->missing);
}

static void
fill_last(struct backend_info *b, struct process *m,
    const struct launch_result *last, const char *fault)
{
	char cause[LIFE_TEXT_BYTES];

	if (b->restarts == 0)
		return;
	(void)snprintf(
	    m->last, sizeof m->last, "%s", news_cause(last, fault, cause));
	b->last_exit = m->last;
}

static void
fill_broker(const struct core *c, struct processes *p)
{
	struct backend_info *b = &p->infos[p->count];
	struct process *m = &p->memory[p->count++];

	b->id = borrow("broker");
	b->role = borrow("broker");
	b->state = NETDEV_STATE_RUNNING;
	fill_process(b, m, &c->process, c->since_ns);
}

static enum netdev_state
lane_state_of(const struct island *i)
{
	if (i->unwanted)
		return NETDEV_STATE_STOPPING;
	if (i->state == IS_READY)
		return NETDEV_STATE_RUNNING;
	return i->restarts > 0 ? NETDEV_STATE_RESTARTING
			       : NETDEV_STATE_STARTING;
}

static void
fill_lane(const struct island *i, struct processes *p)
{
	const struct launch_result none = {0};
	struct backend_info *b = &p->infos[p->count];
	struct process *m = &p->memory[p->count++];
	char name[ISLAND_NAME_BYTES];

	(void)snprintf(m->name, sizeof m->name, "%s", island_name(i, name));
	b->id = m->name;
	b->role = borrow("lane");
	b->state = lane_state_of(i);
	b->epoch = i->epoch;
	b->restarts = i->restarts;
	fill_process(b, m, i->control ? &i->process : &none, i->since_ns);
	fill_last(b, m, &i->before, i->fault_before ? i->fault_before : "");
}

static int
fill_resources(const struct life *nd, struct backend_info *b, struct process *m)
{
	size_t count = nd->resources.count;
	struct backend_resource *items = calloc(count + 1, sizeof *items);

	m->texts = calloc(count + 1, sizeof *m->texts);
	b->resources.items = items;
	if (!items || !m->texts)
		return -ENOMEM;
	for (size_t k = 0; k < count; k++) {
		const struct launch_open *o = &nd->resources.items[k].open;

		items[k].kind =
		    borrow(resource_name((enum resource_kind)o->kind));
		items[k].text = borrow(resource_text(o, m->texts[k]));
	}
	b->resources.count = count;
	return 0;
}

static int
fill_backend(const struct life *nd, struct processes *p)
{
	const struct launch_result none = {0};
	struct backend_info *b = &p->infos[p->count];
	struct process *m = &p->memory[p->count++];

	b->id = nd->options.id;
	b->role = borrow(nd->type->type);
	b->state = life_public_state(nd);
	b->epoch = nd->epoch;
	b->restarts = nd->restarts;
	fill_process(b, m, nd->control ? &nd->process : &none, nd->since_ns);
	fill_last(b, m, &nd->before, nd->fault_before);
	return fill_resources(nd, b, m);
}

static size_t
process_count(const struct core *c)
{
	const struct island *i;
	const struct life *nd;
	size_t n = 1;

	TAILQ_FOREACH (i, &c->islands->list, entry)
		n++;
	TAILQ_FOREACH (nd, &c->netdevs.list, entry)
		n++;
	return n;
}

static int
fill_processes(struct core *c, struct processes *p)
{
	const struct island *i;
	const struct life *nd;
	int rc = 0;

	fill_broker(c, p);
	TAILQ_FOREACH (i, &c->islands->list, entry)
		fill_lane(i, p);
	TAILQ_FOREACH (nd, &c->netdevs.list, entry)
		if (rc == 0)
			rc = fill_backend(nd, p);
	return rc;
}

void
cmd_query_backends(struct call *call, const struct query_backends_args *args)
{
	struct core *c = core_get();
	size_t room = process_count(c);
	struct processes p = {.infos = calloc(room, sizeof *p.infos),
	    .memory = calloc(room, sizeof *p.memory)};
	struct backend_info_list list;

	(void)args;
	if (p.infos && p.memory && fill_processes(c, &p) == 0) {
		list = (struct backend_info_list){p.count, p.infos};
		call_return(call, &desc_list_backend_info, &list);
	} else {
		fail_memory(call);
	}
	for (size_t k = 0; k < p.count; k++) {
		free(p.infos[k].resources.items);
		free(p.memory[k].texts);
	}
	free(p.infos);
	free(p.memory);
}
