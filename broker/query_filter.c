/*
 * query_filter.c - query-rx-filter: what guests' network cards let pass.
 *
 * Runs in: the broker. Trusts: nobody: a card that does not answer in time is
 * shown as it was known last, and the answer goes out.
 * Specification: schema/net.json; reference virtio-net-control.md 4, netdevs.md
 * 13 (QEMU's texts, order of tables).
 *
 * Each card is asked for its filter, which also makes it tell a change that was
 * still to be told. The event is armed when the answer is made: what a card
 * tells later is an event, what it told before is in the answer.
 */
#include "broker/core_state.h"
#include "broker/nic.h"
#include "broker/ports.h"
#include "broker/qmp.h"
#include "gen/commands.h"
#include "proto/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

/*
 * A table of all VLANs is 24 kB of JSON, and a session holds a whole answer:
 * 3 MB. One about more cards than this has an empty table where "vlan" is
 * "all", which says the same; one about a single card always has it.
 */
#define FULL_TABLES_MAX 128u

struct filter_ask {
	struct control_ask ask; /* first: it is what the answer comes with */
	struct filter_query *query;
};

struct filter_query {
	struct core *core; /* borrowed, as the next */
	struct call *call;
	char name[GRAPH_ID_BYTES]; /* "": all */
	struct timer *due;         /* owned: the deadline, then the answer */
	struct filter_ask *asks;   /* owned */
	size_t open;               /* asked and not told */
};

/* --- one card --- */

/* Texts and numbers of one card's answer. */
struct filter_memory {
	char mac[MAC_TEXT_BYTES];
	char text[RX_FILTER_MACS][MAC_TEXT_BYTES];
	char *list[RX_FILTER_MACS];
	int64_t vid[RX_FILTER_VIDS];
};

/* QEMU builds its lists from the front: the last one comes first. */
static void
fill_macs(struct filter_memory *m, uint32_t first, const uint64_t *macs,
    uint32_t count, struct str_list *out)
{
	out->items = &m->list[first];
	out->count = count;
	for (uint32_t i = 0; i < count; i++) {
		char *text = m->text[first + i];

		(void)mac_text(macs[count - 1 - i], text);
		m->list[first + i] = text;
	}
}

static void
fill_vlans(struct filter_memory *m, const uint64_t *map, struct int_list *out)
{
	out->items = m->vid;
	for (uint32_t v = RX_FILTER_VIDS; v-- > 0;)
		if (!map || (map[v / 64] >> v % 64 & 1) != 0)
			m->vid[out->count++] = v;
}

static enum rx_state
state_of(bool none, bool all)
{
	if (none)
		return RX_STATE_NONE;
	return all ? RX_STATE_ALL : RX_STATE_NORMAL;
}

static void
fill_known(struct rx_filter_info *info, struct filter_memory *m,
    const struct rx_filter *f)
{
	(void)mac_text(f->mac, m->mac);
	info->promiscuous = f->promisc;
	info->unicast = state_of(f->nouni, f->alluni);
	info->multicast = state_of(f->nomulti, f->allmulti);
	info->broadcast_allowed = !f->nobcast;
	info->unicast_overflow = f->uni_overflow;
	info->multicast_overflow = f->multi_overflow;
	fill_macs(m, 0, f->table, f->uni_count, &info->unicast_table);
	fill_macs(m, f->uni_count, f->table + f->uni_count, f->multi_count,
	    &info->multicast_table);
	info->vlan = RX_STATE_ALL;
	if (!f->vlan_filter)
		return;
	fill_vlans(m, f->vlan, &info->vlan_table);
	info->vlan = state_of(info->vlan_table.count == 0, false);
}

static void
fill_card(struct rx_filter_info *info, struct filter_memory *m,
    const struct life *nd, bool full)
{
	const struct nic *n = nd->nic;

	info->name = nd->options.id;
	info->main_mac = m->mac;
	if (n->has_filter && n->filter.known) {
		fill_known(info, m, &n->filter);
	} else {
		/* The guest may have set it all the same. */
		(void)mac_text(n->has_filter ? n->filter.mac : n->mac, m->mac);
		info->promiscuous = true;
		info->unicast = RX_STATE_ALL;
		info->multicast = RX_STATE_ALL;
		info->vlan = RX_STATE_ALL;
		info->broadcast_allowed = true;
	}
	if (info->vlan == RX_STATE_ALL && full)
		fill_vlans(m, NULL, &info->vlan_table);
}

/* --- the cards that are asked about --- */

/* The card at that place of the graph, if the question is about it. */
static struct life *
card_at(struct core *c, uint32_t i, const char *name)
{
	const struct graph_node *n = &c->graph.nodes[i];
	struct life *nd;

	if (n->kind != NODE_NETDEV || n->life != NODE_UP ||
	    (name[0] != '\0' && strcmp(name, n->id) != 0))
		return NULL;
	nd = c->islands->ports[n->port]->self;
	return nd->nic ? nd : NULL;
}

static size_t
count_cards(struct core *c, const char *name)
{
	size_t count = 0;

	for (uint32_t i = 0; i < c->graph.count; i++)
		count += card_at(c, i, name) != NULL;
	return count;
}

static int
check_name(const struct core *c, const char *name, struct err *e)
{
	uint32_t i = graph_find(&c->graph, name);

	if (i == GRAPH_NONE || c->graph.nodes[i].life != NODE_UP)
		return err_set(
		    e, -ENOENT, "invalid net client name: %.64s", name);
	return err_set(e, -EINVAL, "net client(%s) isn't a NIC", name);
}

/* --- the answer --- */

static void
answer(struct filter_query *q, size_t count)
{
	struct rx_filter_info *infos = calloc(count + 1, sizeof *infos);
	struct filter_memory *memory = calloc(count + 1, sizeof *memory);
	struct rx_filter_info_list list = {0, infos};
	struct core *c = q->core;
	struct err e;

	for (uint32_t i = 0; i < c->graph.count && infos && memory; i++) {
		struct life *nd = card_at(c, i, q->name);

		if (!nd)
			continue;
		fill_card(&infos[list.count], &memory[list.count], nd,
		    count <= FULL_TABLES_MAX);
		list.count++;
		nd->nic->armed = true;
	}
	if (infos && memory) {
		call_return(q->call, &desc_list_rx_filter_info, &list);
	} else {
		(void)err_set(&e, -ENOMEM, "out of memory");
		call_fail(q->call, &e);
	}
	free(infos);
	free(memory);
}

static void
query_free(struct filter_query *q)
{
	timer_free(q->due);
	free(q->asks);
	free(q);
}

/* Everybody has told, or it is late. */
static void
due(void *self)
{
	struct filter_query *q = self;
	size_t count = count_cards(q->core, q->name);
	struct err e;

	for (size_t k = 0; q->asks[k].query; k++)
		control_ask_cancel(&q->asks[k].ask);
	if (q->name[0] != '\0' && count == 0) {
		(void)check_name(q->core, q->name, &e);
		call_fail(q->call, &e);
	} else {
		answer(q, count);
	}
	query_free(q);
}

/* This may come out of the middle of a card's end: the loop goes on. */
static void
told(struct control_ask *a, const uint64_t *counters, size_t count)
{
	struct filter_query *q = ((struct filter_ask *)(void *)a)->query;

	(void)counters;
	(void)count;
	if (--q->open == 0)
		timer_set_ns(q->due, 0);
}

static void
ask_all(struct filter_query *q)
{
	struct core *c = q->core;
	size_t k = 0;

	timer_set_ns(q->due, ctl_deadline_ms(CTL_RX_FILTER_ASK) * MS);
	q->open = 1; /* ours: nobody ends it while we ask */
	for (uint32_t i = 0; i < c->graph.count; i++) {
		struct life *nd = card_at(c, i, q->name);

		if (!nd || nd->state != ND_RUNNING || !nd->control)
			continue;
		q->asks[k].query = q;
		q->asks[k].ask.told = told;
		q->open++;
		control_ask_filter(nd->control, &q->asks[k++].ask);
	}
	if (--q->open == 0)
		timer_set_ns(q->due, 0);
}

static struct filter_query *
query_new(struct core *c, struct call *call, const char *name)
{
	struct filter_query *q = calloc(1, sizeof *q);
	size_t count = count_cards(c, name);

	if (!q)
		return NULL;
	q->core = c;
	q->call = call;
	memcpy(q->name, name, strlen(name) + 1);
	q->due = timer_new(c->loop, due, q);
	q->asks = calloc(count + 1, sizeof *q->asks);
	if (q->due && q->asks)
		return q;
	if (q->due)
		timer_free(q->due);
	free(q->asks);
	free(q);
	return NULL;
}

void
cmd_query_rx_filter(struct call *call, const struct query_rx_filter_args *args)
{
	const char *name = args->name ? args->name : "";
	struct core *c = core_get();
	struct filter_query *q = NULL;
	struct err e;

	if (args->name && (strlen(name) >= GRAPH_ID_BYTES || name[0] == '\0' ||
			      count_cards(c, name) == 0)) {
		(void)check_name(c, name, &e);
	} else {
		q = query_new(c, call, name);
		(void)err_set(&e, -ENOMEM, "out of memory");
	}
	if (q)
		ask_all(q);
	else
		call_fail(call, &e);
}
