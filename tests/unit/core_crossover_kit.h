/*
 * core_crossover_kit.h - what the tests of crossovers (and arenas) share: two
 * netdevs on a hub, messages of their processes, their counters. Included once
 * per test program.
 */
#ifndef TESTS_CORE_CROSSOVER_KIT_H
#define TESTS_CORE_CROSSOVER_KIT_H

#include "tests/unit/core_nic_kit.h"

#include "broker/crossover_state.h"

#define KIT_MS   UINT64_C(1000000)
#define KIT_CALM (200 * KIT_MS)
#define KIT_PART (250 * KIT_MS) /* until one that hangs is not waited for */

/* As kit_settle(), which does not let time pass in which nothing happens. */
static void
kit_wait(uint64_t ns)
{
	uint64_t end_ns = kit_loop.now_ns + ns;

	kit_settle(ns);
	if (kit_loop.now_ns < end_ns)
		kit_loop.now_ns = end_ns;
	kit_settle(0);
}

/* A netdev and its port on a hub; the port is called as it, behind a p. */
static void
add_on(const char *id, int32_t hubid)
{
	char port[16];

	(void)snprintf(port, sizeof port, "p%s", id);
	add_socket(id);
	add_hubport(port, hubid, id);
}

static void
add_on_hub(const char *id)
{
	add_on(id, 0);
}

static inline void
begin_pair(void)
{
	kit_start(NULL);
	add_on_hub("a");
	add_on_hub("b");
}

static inline struct crossover *
cross_at(const char *id)
{
	return life_of(id)->port->crossover;
}

/* Are both connected, as we see it and as they do? */
static inline bool
is_on(const char *one, const char *other)
{
	const struct port *p = life_of(one)->port, *q = life_of(other)->port;

	if (crossover_other(p) != q)
		return false;
	assert_ptr_equal(crossover_other(q), p);
	assert_int_equal(kit_child(one)->cross, p->crossover->serial);
	assert_int_equal(kit_child(other)->cross, p->crossover->serial);
	return true;
}

static inline void
begin_crossed(void)
{
	begin_pair();
	kit_wait(KIT_CALM);
	assert_true(is_on("a", "b"));
}

/* No process is at one, and none is on its way out. */
static inline void
assert_free(const char *id)
{
	const struct crossover *x = cross_at(id);

	assert_true(!x || x->state == CX_WAITING);
	assert_int_equal(kit_child(id)->cross, 0);
}

static inline void
assert_apart(void)
{
	assert_free("a");
	assert_free("b");
}

/* --- what their processes say, at any time --- */

static inline void
say_crossed(const char *id, uint32_t serial)
{
	const struct ctl_crossed m = {.serial = serial};

	(void)ctl_send_crossed(kit_child(id)->chan, 0, &m);
	kit_settle(0);
}

static inline void
say_uncrossed(const char *id, uint32_t serial)
{
	const struct ctl_uncrossed m = {.serial = serial};

	(void)ctl_send_uncrossed(kit_child(id)->chan, 0, &m);
	kit_settle(0);
}

static inline void
say_ended(const char *id, struct cross_counts counts)
{
	const struct ctl_cross_ended m = {.counts = counts};

	(void)ctl_send_cross_ended(kit_child(id)->chan, 0, &m);
	kit_settle(0);
}

static inline void
say_trouble(const char *id, uint32_t serial, bool stalled)
{
	const struct ctl_cross_trouble m = {
	    .serial = serial, .stalled = stalled, .reason = text("so\nit is")};

	(void)ctl_send_cross_trouble(kit_child(id)->chan, 0, &m);
	kit_settle(0);
}

/* --- changes around a and b, each with its opposite --- */

static inline void
link_goes(void)
{
	set_link("a", false);
}

static inline void
link_comes(void)
{
	set_link("a", true);
}

static inline void
port_goes(void)
{
	set_link("pb", false);
}

static inline void
port_comes(void)
{
	set_link("pb", true);
}

static inline void
unplug(void)
{
	del("pb");
}

static inline void
plug(void)
{
	add_hubport("pb", 0, "b");
}

static inline void
drop_begins(void)
{
	struct netdev nd = {
	    .id = text("pb"), .type = NET_CLIENT_DRIVER_HUBPORT};
	struct answer a;

	del("pb");
	nd.u.hubport.hubid = 0;
	nd.u.hubport.netdev = text("b");
	nd.u.hubport.has_flow = true;
	nd.u.hubport.flow = HUB_FLOW_DROP;
	add(&nd, &a);
	assert_ok(&a);
}

static inline void
drop_ends(void)
{
	del("pb");
	plug();
}

static inline void
filter_comes(void)
{
	static const struct rx_filter f = {.known = true, .mac = 0x42};

	port_filter(life_of("a")->port, &f);
	kit_settle(0);
}

static inline void
filter_goes(void)
{
	port_filter(life_of("a")->port, NULL);
	kit_settle(0);
}

/* --- counters, as query-netdevs has them --- */

struct told_counters {
	json_int_t tx, tx_bytes, rx, rx_bytes, dead;
	char other[16]; /* "": none */
};

static inline json_int_t
number(json_t *counters, const char *name)
{
	return json_integer_value(json_object_get(counters, name));
}

static inline void
ask_counters(const char *id, struct call *c)
{
	struct query_netdevs_args args = {.id = text(id)};

	memset(c, 0, sizeof *c);
	cmd_query_netdevs(c, &args);
}

static inline struct told_counters
take_counters(struct call *c)
{
	struct told_counters t = {0};
	json_t *tree = json_loads(c->json, 0, NULL);
	json_t *info = json_array_get(tree, 0);
	json_t *lane = json_object_get(info, "lane-counters");
	const char *other =
	    json_string_value(json_object_get(info, "crossover"));

	assert_int_equal(c->told, 1);
	assert_non_null(lane);
	t.tx = number(lane, "tx-frames");
	t.tx_bytes = number(lane, "tx-bytes");
	t.rx = number(lane, "rx-frames");
	t.rx_bytes = number(lane, "rx-bytes");
	t.dead = number(lane, "rx-drop-dead");
	(void)snprintf(t.other, sizeof t.other, "%s", other ? other : "");
	query_end(tree, c);
	return t;
}

static inline struct told_counters
counters_of(const char *id)
{
	struct call c;

	ask_counters(id, &c);
	kit_settle(0);
	return take_counters(&c);
}

/* For kit_fate: no lane starts while no_lanes. */
static bool no_lanes;

static inline enum fate
no_lane(uint32_t slot, bool is_lane)
{
	(void)slot;
	return is_lane && no_lanes ? FATE_NO_SPAWN : FATE_GOOD;
}

#endif
