/*
 * plan_test.c - islands and groups against a naive flood; placing on lanes.
 */
#include "broker/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct err e;

static void
add_netdev(struct graph *g, const char *id, uint32_t port)
{
	assert_int_equal(graph_netdev_add(g, id, port, &e), 0);
	g->nodes[g->count - 1].life = NODE_UP;
}

static int
add_port(struct graph *g, const char *id, int32_t hubid, const char *netdev)
{
	const struct graph_hubport h = {
	    .id = id, .hubid = hubid, .netdev = netdev};

	return graph_hubport_add(g, &h, &e);
}

/*
 * Mark every node that a frame at node `from` gets to, walking edge by edge.
 *   all  also over what is down
 */
static void
flood(const struct graph *g, uint32_t from, bool all, bool *mark)
{
	bool grew = true;

	memset(mark, 0, g->count * sizeof *mark);
	mark[from] = true;
	while (grew) {
		grew = false;
		for (uint32_t i = 0; i < g->count; i++)
			for (uint32_t k = 0; k < g->count; k++) {
				const struct graph_node *a = &g->nodes[i];
				const struct graph_node *b = &g->nodes[k];
				bool edge = a->peer == k ||
					    (a->kind == NODE_HUBPORT &&
						b->kind == NODE_HUBPORT &&
						a->hubid == b->hubid);

				if (!mark[i] || mark[k] || !edge)
					continue;
				if (!all && (!a->link_up || !b->link_up))
					continue;
				mark[k] = true;
				grew = true;
			}
	}
}

static const struct plan_entry *
entry(const struct plan *p, uint32_t port)
{
	for (size_t k = 0; k < p->count; k++)
		if (p->ports[k].port == port)
			return &p->ports[k];
	return NULL;
}

static void
assert_plan_floods(const struct graph *g, const struct plan *p)
{
	bool now[64], ever[64];

	assert_true(g->count <= 64);
	for (uint32_t i = 0; i < g->count; i++) {
		const struct plan_entry *a = entry(p, g->nodes[i].port);

		if (g->nodes[i].kind != NODE_NETDEV)
			continue;
		assert_non_null(a);
		flood(g, i, false, now);
		flood(g, i, true, ever);
		for (uint32_t k = 0; k < g->count; k++) {
			const struct plan_entry *b;

			if (g->nodes[k].kind != NODE_NETDEV || k == i)
				continue;
			b = entry(p, g->nodes[k].port);
			assert_int_equal(a->island == b->island, ever[k]);
			assert_int_equal(a->island == b->island &&
					     a->group == b->group &&
					     a->link_up && b->link_up,
			    now[k]);
		}
	}
}

static void
random_graph(struct graph *g)
{
	char id[16], other[16];

	for (uint32_t n = 0; n < 40; n++) {
		uint32_t peer = (uint32_t)rand() % 40;

		(void)snprintf(id, sizeof id, "x%u", n);
		(void)snprintf(other, sizeof other, "x%u", peer);
		if (rand() % 3 == 0) {
			add_netdev(g, id, n + 1);
			/* Refused or not: some netdevs are cards. */
			if (rand() % 4 == 0)
				(void)graph_netdev_plug(g, id, other, &e);
		} else {
			(void)add_port(
			    g, id, rand() % 6, rand() % 2 ? other : NULL);
		}
	}
	for (uint32_t i = 0; i < g->count; i++)
		g->nodes[i].link_up = rand() % 6 != 0;
}

static void
test_groups_equal_a_naive_flood(void **state)
{
	(void)state;
	srand(11);
	for (int round = 0; round < 400; round++) {
		struct graph g = {0};
		struct plan p = {0}, again = {0};

		random_graph(&g);
		assert_int_equal(plan_compile(&g, &p), 0);
		assert_plan_floods(&g, &p);
		/* The same graph, the same plan. */
		assert_int_equal(plan_compile(&g, &again), 0);
		assert_int_equal(p.count, again.count);
		for (size_t k = 0; k < p.count; k++) {
			assert_int_equal(p.ports[k].port, again.ports[k].port);
			assert_int_equal(
			    p.ports[k].group, again.ports[k].group);
			if (k > 0)
				assert_true(
				    p.ports[k].island >= p.ports[k - 1].island);
		}
		plan_fini(&p);
		plan_fini(&again);
		graph_fini(&g);
	}
}

static void
test_a_port_that_is_down_equals_a_netdev_that_is_down(void **state)
{
	struct graph g = {0};
	struct plan p = {0};

	(void)state;
	add_netdev(&g, "a", 1);
	add_netdev(&g, "b", 2);
	assert_int_equal(add_port(&g, "pa", 0, "a"), 0);
	assert_int_equal(add_port(&g, "pb", 0, "b"), 0);
	assert_int_equal(graph_link_set(&g, "pa", false, &e), 0);
	assert_int_equal(plan_compile(&g, &p), 0);
	assert_false(entry(&p, 1)->link_up);
	assert_true(entry(&p, 2)->link_up);
	assert_int_not_equal(entry(&p, 1)->group, entry(&p, 2)->group);
	assert_int_equal(entry(&p, 1)->island, entry(&p, 2)->island);
	plan_fini(&p);
	graph_fini(&g);
}

static void
test_only_netdevs_with_rings_are_in_plans(void **state)
{
	struct graph g = {0};
	struct plan p = {0};

	(void)state;
	assert_int_equal(graph_netdev_add(&g, "a", 1, &e), 0);
	assert_int_equal(add_port(&g, "p", 0, NULL), 0);
	assert_int_equal(plan_compile(&g, &p), 0);
	assert_int_equal(p.count, 0);
	assert_int_equal(p.islands, 0);
	g.nodes[0].life = NODE_ATTACHING;
	assert_int_equal(plan_compile(&g, &p), 0);
	assert_int_equal(p.count, 1);
	assert_int_equal(graph_leave(&g, "a", &e), 0);
	assert_int_equal(plan_compile(&g, &p), 0);
	assert_int_equal(p.count, 0);
	plan_fini(&p);
	graph_fini(&g);
}

static void
test_the_flow_of_a_port_is_its_netdevs(void **state)
{
	const struct graph_hubport h = {
	    .id = "p", .netdev = "a", .flow_is_drop = true};
	struct graph g = {0};
	struct plan p = {0};

	(void)state;
	add_netdev(&g, "a", 1);
	add_netdev(&g, "b", 2);
	assert_int_equal(graph_hubport_add(&g, &h, &e), 0);
	assert_int_equal(plan_compile(&g, &p), 0);
	assert_true(entry(&p, 1)->drop);
	assert_false(entry(&p, 2)->drop);
	plan_fini(&p);
	graph_fini(&g);
}

/* Ports 1..n, island by island as `islands` says. */
static void
make_plan(
    struct plan *p, struct plan_entry *ports, const uint32_t *islands, size_t n)
{
	memset(ports, 0, n * sizeof *ports);
	p->ports = ports;
	p->count = n;
	p->islands = 0;
	for (size_t k = 0; k < n; k++) {
		ports[k].port = (uint32_t)k + 1;
		ports[k].island = islands[k];
		if (islands[k] >= p->islands)
			p->islands = islands[k] + 1;
	}
}

static void
test_the_lane_with_most_ports_keeps_the_island(void **state)
{
	const uint32_t one[] = {0, 0, 0, 0}, two[] = {0, 0, 0, 1};
	const uint32_t lanes[] = {7, 3, 3, PLAN_LANE_NONE};
	const uint32_t same[] = {3, 3, 3, 3};
	struct plan_entry ports[4];
	struct plan p;
	uint32_t out[4];

	(void)state;
	/* They join: 3 has two of them. */
	make_plan(&p, ports, one, 4);
	assert_int_equal(plan_place(&p, lanes, out), 0);
	assert_int_equal(out[0], 3);
	/* They split: 3 stays where it has most, the other gets a new one. */
	make_plan(&p, ports, two, 4);
	assert_int_equal(plan_place(&p, same, out), 0);
	assert_int_equal(out[0], 3);
	assert_int_equal(out[1], PLAN_LANE_NONE);
}

static void
test_no_lane_gets_two_islands(void **state)
{
	(void)state;
	srand(5);
	for (int round = 0; round < 2000; round++) {
		uint32_t islands[20], lanes[20], out[20], next = 0;
		struct plan_entry ports[20];
		struct plan p;

		for (size_t k = 0; k < 20; k++) {
			islands[k] = next;
			next += rand() % 3 == 0;
			lanes[k] = rand() % 4 == 0 ? PLAN_LANE_NONE
						   : (uint32_t)rand() % 8;
		}
		make_plan(&p, ports, islands, 20);
		assert_int_equal(plan_place(&p, lanes, out), 0);
		for (uint32_t a = 0; a < p.islands; a++)
			for (uint32_t b = 0; b < a; b++)
				assert_true(out[a] == PLAN_LANE_NONE ||
					    out[a] != out[b]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_groups_equal_a_naive_flood),
	    cmocka_unit_test(
		test_a_port_that_is_down_equals_a_netdev_that_is_down),
	    cmocka_unit_test(test_only_netdevs_with_rings_are_in_plans),
	    cmocka_unit_test(test_the_flow_of_a_port_is_its_netdevs),
	    cmocka_unit_test(test_the_lane_with_most_ports_keeps_the_island),
	    cmocka_unit_test(test_no_lane_gets_two_islands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
