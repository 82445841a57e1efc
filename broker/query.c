/*
 * query.c - query-netdevs, query-hubs, query-backends.
 *
 * Runs in: the broker. Trusts: nobody for counters: a process that does not
 * answer in time is left out of the answer, and the answer goes out.
 * Specification: schema/bulkhead.json.
 *
 * Counters are in the hands of lanes and backends, so query-netdevs asks
 * them, a few at a time. One gathering serves all who asked before it began;
 * who asks meanwhile waits for the next. So clients cannot fill the channels.
 */
#include "broker/arena.h"
#include "broker/core_state.h"
#include "broker/crossover.h"
#include "broker/ports.h"
#include "broker/qmp.h"
#include "gen/commands.h"
#include "proto/launch.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Questions under way at once, and how long all of them may take. */
#define OPEN_MAX      64u
#define GATHER_DUE_NS UINT64_C(2000000000)

struct question {
	TAILQ_ENTRY(question) entry;
	struct call *call;
	char id[GRAPH_ID_BYTES]; /* "": all */
};

/* A constant text where the generated struct wants char *. */
static char *
borrow(const char *text)
{
	return (char *)(uintptr_t)text;
}

static char *
borrow_unless_empty(const char *text)
{
	return text && text[0] != '\0' ? borrow(text) : NULL;
}

/* --- counters --- */

static const char *const lane_names[LC_COUNT] = {
#define LANE_COUNTER(id, name, doc) [LC_##id] = name,
#include "proto/lane_counters.def"
#undef LANE_COUNTER
};

static const char *const backend_names[BC_COUNT] = {
#define BACKEND_COUNTER(id, name, doc) [BC_##id] = name,
#include "proto/backend_counters.def"
#undef BACKEND_COUNTER
};

/* Store counters under their names; one the schema lacks is a bug of ours. */
static void
fill_counters(const struct desc *d, void *out, const char *const *names,
    const uint64_t *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t k = 0;

		while (k < d->member_count &&
		       strcmp(d->members[k].name, names[i]) != 0)
			k++;
		BUG_ON(k == d->member_count);
		memcpy((char *)out + d->members[k].offset, &values[i],
		    sizeof values[i]);
	}
}

/* --- one netdev --- */

/* What one answer is made of; everything in it is borrowed or its own. */
struct answer {
	struct netdev_info *infos;
	struct lane_counters *lane;
	struct backend_counters *backend;
	size_t count;
};

/*
 * What went over crossovers is added here, not when the lane answers: between
 * the two a crossover may end, and its frames change from one account to the
 * other.
 */
static void
fill_lane_counters(struct lane_counters *out, const struct life *nd)
{
	uint64_t values[LC_COUNT];

	memcpy(values, nd->lane_counters, sizeof values);
	crossover_count(nd->port, values);
	fill_counters(&desc_lane_counters, out, lane_names, values, LC_COUNT);
}

static void
fill_netdev(struct answer *a, struct netdev_info *info, const struct life *nd)
{
	const struct port *other = crossover_other(nd->port);
	size_t k = (size_t)(info - a->infos);

	info->config = nd->options;
	if (nd->nic)
		info->config.u.nic.netdev = NULL; /* fill_node() knows */
	info->state = life_public_state(nd);
	info->info = borrow_unless_empty(nd->info);
	if (other)
		info->crossover = borrow(other->ops->name(other->self));
	info->arena = arena_is_viewer(nd->port);
	if (nd->has_lane_counters) {
		fill_lane_counters(&a->lane[k], nd);
		info->lane_counters = &a->lane[k];
	}
	if (nd->has_backend_counters) {
		fill_counters(&desc_backend_counters, &a->backend[k],
		    backend_names, nd->backend_counters, BC_COUNT);
		info->backend_counters = &a->backend[k];
	}
}

/* As netdev_add made it: who came later names the one it was plugged into. */
static void
fill_hubport(const struct graph *g, uint32_t i, struct netdev_info *info)
{
	const struct graph_node *n = &g->nodes[i];
	struct netdev_hub_port_options *o = &info->config.u.hubport;

	info->config.id = borrow(n->id);
	info->config.type = NET_CLIENT_DRIVER_HUBPORT;
	o->hubid = n->hubid;
	if (n->peer != GRAPH_NONE && n->peer < i)
		o->netdev = borrow(g->nodes[n->peer].id);
	o->has_flow = n->flow_is_drop;
	o->flow = n->flow_is_drop ? HUB_FLOW_DROP : HUB_FLOW_PATIENT;
	info->state = NETDEV_STATE_RUNNING;
}

static void
fill_node(struct core *c, uint32_t i, struct answer *a)
{
	const struct graph *g = &c->graph;
	const struct graph_node *n = &g->nodes[i];
	const struct graph_node *peer =
	    n->peer == GRAPH_NONE ? NULL : &g->nodes[n->peer];
	struct netdev_info *info = &a->infos[a->count++];

	info->id = borrow(n->id);
	info->link_up = n->link_up;
	info->operational = n->connected;
	if (peer)
		info->peer = borrow(peer->id);
	if (n->kind == NODE_HUBPORT) {
		info->has_hub = true;
		info->hub = n->hubid;
		fill_hubport(g, i, info);
		return;
	}
	info->has_hub = peer && peer->kind == NODE_HUBPORT;
	info->hub = info->has_hub ? peer->hubid : 0;
	fill_netdev(a, info, c->islands->ports[n->port]->self);
	/* As with hub ports: who came later names the other. */
	if (info->config.type == NET_CLIENT_DRIVER_NIC && peer && n->peer < i)
		info->config.u.nic.netdev = borrow(peer->id);
}

static void
answer_with(struct call *call, const struct answer *a)
{
	const struct netdev_info_list list = {a->count, a->infos};

	call_return(call, &desc_list_netdev_info, &list);
}

static void
answer_free(struct answer *a)
{
	free(a->infos);
	free(a->lane);
	free(a->backend);
}

static int
answer_init(struct answer *a, size_t room)
{
	a->infos = calloc(room + 1, sizeof *a->infos);
	a->lane = calloc(room + 1, sizeof *a->lane);
	a->backend = calloc(room + 1, sizeof *a->backend);
	if (a->infos && a->lane && a->backend)
		return 0;
	answer_free(a);
	return -ENOMEM;
}

static void
settle(struct core *c, const struct question *q)
{
	const struct graph *g = &c->graph;
	struct answer a = {0};
	struct err e;

	if (answer_init(&a, g->count) < 0) {
		(void)err_set(&e, -ENOMEM, "out of memory");
		call_fail(q->call, &e);
		return;
	}
	for (uint32_t i = 0; i < g->count; i++)
		if (g->nodes[i].life != NODE_LEAVING &&
		    (q->id[0] == '\0' || strcmp(q->id, g->nodes[i].id) == 0))
			fill_node(c, i, &a);
	if (q->id[0] != '\0' && a.count == 0) {
		(void)err_class_set(&e, -ENODEV, ERR_DEVICE_NOT_FOUND,
		    "Device '%s' not found", q->id);
		call_fail(q->call, &e);
	} else {
		answer_with(q->call, &a);
	}
	answer_free(&a);
}

/* --- gathering --- */

/*
 * One less to wait for. This may come out of the middle of a netdev's or a
 * lane's end, so the rest is left to the loop.
 */
static void
told(struct life *nd)
{
	struct core *c = nd->all->self;

	c->query.open--;
	timer_set_ns(c->query.next, 0);
}

static void
lane_told(struct control_ask *ask, const uint64_t *counters, size_t count)
{
	struct life *nd =
	    (struct life *)(void *)((char *)ask -
				    offsetof(struct life, lane_ask));

	for (size_t i = 0; i < LC_COUNT && count == LC_COUNT; i++)
		nd->lane_counters[i] = counters[i] + nd->port->base[i];
	nd->has_lane_counters = count == LC_COUNT;
	told(nd);
}

static void
backend_told(struct control_ask *ask, const uint64_t *counters, size_t count)
{
	struct life *nd =
	    (struct life *)(void *)((char *)ask -
				    offsetof(struct life, backend_ask));

	if (count == BC_COUNT)
		memcpy(nd->backend_counters, counters,
		    sizeof nd->backend_counters);
	nd->has_backend_counters = count == BC_COUNT;
	told(nd);
}

/* What dead epochs counted is known here; the rest only where the port is. */
static void
ask_life(struct core *c, struct life *nd)
{
	nd->has_backend_counters = false;
	nd->has_lane_counters = nd->served && nd->port->live == 0;
	memcpy(nd->lane_counters, nd->port->base, sizeof nd->lane_counters);
	nd->lane_ask.told = lane_told;
	nd->backend_ask.told = backend_told;
	c->query.open++;
	if (port_ask(nd->port, &nd->lane_ask) < 0)
		c->query.open--;
	if (nd->state != ND_RUNNING)
		return;
	c->query.open++;
	control_ask_backend(nd->control, &nd->backend_ask);
}

/* Does anybody of this round want to know about it? */
static bool
is_asked(const struct core *c, const struct life *nd)
{
	const struct question *q;

	TAILQ_FOREACH (q, &c->query.now, entry)
		if (q->id[0] == '\0' || strcmp(q->id, nd->options.id) == 0)
			return true;
	return false;
}

static void
gather_end(struct core *c)
{
	struct question_list done = TAILQ_HEAD_INITIALIZER(done);
	struct question *q;

	timer_stop(c->query.due);
	TAILQ_CONCAT(&done, &c->query.now, entry);
	while ((q = TAILQ_FIRST(&done))) {
		TAILQ_REMOVE(&done, q, entry);
		settle(c, q);
		free(q);
	}
}

static void
gather_begin(struct core *c)
{
	TAILQ_CONCAT(&c->query.now, &c->query.later, entry);
	c->query.next_slot = 0;
	timer_set_ns(c->query.due, GATHER_DUE_NS);
}

/* Ask until the window is full; answer when everything is told. */
static void
gather_go_on(void *self)
{
	struct core *c = self;
	struct query *q = &c->query;

	if (TAILQ_EMPTY(&q->now) && TAILQ_EMPTY(&q->later))
		return;
	if (TAILQ_EMPTY(&q->now))
		gather_begin(c);
	while (q->next_slot < LAUNCH_SLOTS && q->open < OPEN_MAX) {
		struct port *p = c->islands->ports[q->next_slot++];

		if (p && is_asked(c, p->self))
			ask_life(c, p->self);
	}
	if (q->open > 0 || q->next_slot < LAUNCH_SLOTS)
		return;
	gather_end(c);
	if (!TAILQ_EMPTY(&q->later))
		timer_set_ns(q->next, 0);
}

static void
gather_late(void *self)
{
	struct core *c = self;
	struct life *nd;

	TAILQ_FOREACH (nd, &c->netdevs.list, entry) {
		control_ask_end(&nd->lane_ask);
		control_ask_end(&nd->backend_ask);
	}
	c->query.next_slot = LAUNCH_SLOTS;
	timer_set_ns(c->query.next, 0);
}

void
cmd_query_netdevs(struct call *call, const struct query_netdevs_args *args)
{
	struct core *c = core_get();
	struct question *q = calloc(1, sizeof *q);
	struct err e;

	if (!q || (args->id && strlen(args->id) >= sizeof q->id)) {
		if (q)
			(void)err_class_set(&e, -ENODEV, ERR_DEVICE_NOT_FOUND,
			    "Device '%s' not found", args->id);
		else
			(void)err_set(&e, -ENOMEM, "out of memory");
		free(q);
		call_fail(call, &e);
		return;
	}
	q->call = call;
	if (args->id)
		memcpy(q->id, args->id, strlen(args->id));
	TAILQ_INSERT_TAIL(&c->query.later, q, entry);
	if (TAILQ_EMPTY(&c->query.now))
		timer_set_ns(c->query.next, 0);
}

int
query_init(struct core *c)
{
	TAILQ_INIT(&c->query.now);
	TAILQ_INIT(&c->query.later);
	c->query.due = timer_new(c->loop, gather_late, c);
	c->query.next = timer_new(c->loop, gather_go_on, c);
	return c->query.due && c->query.next ? 0 : -ENOMEM;
}

void
query_fini(struct core *c)
{
	struct question *q;

	TAILQ_CONCAT(&c->query.now, &c->query.later, entry);
	while ((q = TAILQ_FIRST(&c->query.now))) {
		TAILQ_REMOVE(&c->query.now, q, entry);
		free(q);
	}
	timer_free(c->query.due);
	timer_free(c->query.next);
}
