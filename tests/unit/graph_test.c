/*
 * graph_test.c - refusals and their texts; a random walk against a naive
 * model of netdevs, hub ports and hubs.
 */
#include "broker/graph.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct err e;

static int
add_netdev(struct graph *g, const char *id, uint32_t port)
{
	int rc = graph_netdev_add(g, id, port, &e);

	if (rc == 0)
		g->nodes[g->count - 1].life = NODE_UP;
	return rc;
}

static int
add_port(struct graph *g, const char *id, int32_t hubid, const char *netdev)
{
	const struct graph_hubport h = {
	    .id = id, .hubid = hubid, .netdev = netdev};

	return graph_hubport_add(g, &h, &e);
}

static void
test_ids_follow_the_rule(void **state)
{
	static const char *const good[] = {"a", "a.b-c_1", "Z9"};
	static const char *const bad[] = {
	    "", "1x", "a b", "\xc3\xa9", "-a", "a/b", "#net1"};
	char text[80];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_int_equal(graph_id_check(good[i], &e), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(graph_id_check(bad[i], &e), -EINVAL);
		assert_string_equal(
		    e.text, "Parameter 'id' expects an identifier");
	}
	memset(text, 'x', sizeof text);
	text[GRAPH_ID_BYTES - 1] = '\0';
	assert_int_equal(graph_id_check(text, &e), 0);
	text[GRAPH_ID_BYTES - 1] = 'x';
	text[GRAPH_ID_BYTES] = '\0';
	assert_int_equal(graph_id_check(text, &e), -EINVAL);
}

static void
test_refusals_name_the_object_and_the_cause(void **state)
{
	struct graph g = {0};

	(void)state;
	assert_int_equal(add_netdev(&g, "n", 1), 0);
	assert_int_equal(add_netdev(&g, "n", 2), -EEXIST);
	assert_string_equal(e.text, "Duplicate ID 'n'");
	assert_int_equal(add_port(&g, "n", 0, NULL), -EEXIST);
	assert_int_equal(add_port(&g, "p", 0, "x"), -ENOENT);
	assert_string_equal(e.text, "netdev 'x' not found");
	assert_int_equal(add_port(&g, "p", 0, "p"), -ENOENT);
	assert_string_equal(e.text, "netdev 'p' not found");
	assert_int_equal(add_port(&g, "p", 0, "n"), 0);
	assert_int_equal(add_port(&g, "q", 1, "n"), -EBUSY);
	assert_string_equal(e.text, "netdev 'n' is already connected to 'p'");
	assert_int_equal(add_port(&g, "q", 1, "p"), -EBUSY);
	assert_int_equal(graph_del(&g, "q", &e), -ENODEV);
	assert_string_equal(e.text, "Device 'q' not found");
	assert_int_equal(e.class, ERR_DEVICE_NOT_FOUND);
	assert_int_equal(graph_link_set(&g, "q", true, &e), -ENODEV);
	assert_int_equal(e.class, ERR_DEVICE_NOT_FOUND);
	graph_fini(&g);
}

static void
test_a_card_is_plugged_into_what_is_free(void **state)
{
	struct graph g = {0};

	(void)state;
	assert_int_equal(add_netdev(&g, "u", 1), 0);
	assert_int_equal(add_port(&g, "p", 0, NULL), 0);
	assert_int_equal(add_netdev(&g, "n", 2), 0);
	assert_int_equal(graph_netdev_plug(&g, "n", "x", &e), -ENOENT);
	assert_string_equal(e.text, "netdev 'x' not found");
	assert_int_equal(graph_netdev_plug(&g, "n", "u", &e), 0);
	assert_int_equal(g.nodes[graph_find(&g, "u")].peer, 2);
	assert_int_equal(g.nodes[graph_find(&g, "n")].peer, 0);
	assert_int_equal(add_netdev(&g, "m", 3), 0);
	assert_int_equal(graph_netdev_plug(&g, "m", "u", &e), -EBUSY);
	assert_string_equal(e.text, "netdev 'u' is already connected to 'n'");
	assert_int_equal(graph_netdev_plug(&g, "m", "p", &e), 0);
	assert_int_equal(add_port(&g, "q", 0, "m"), -EBUSY);
	/* A card can also be named by a port, once it has no peer. */
	assert_int_equal(graph_del(&g, "p", &e), 0);
	assert_int_equal(add_port(&g, "q", 0, "m"), 0);
	/* Not while it is starting. */
	assert_int_equal(graph_netdev_add(&g, "s", 4, &e), 0);
	assert_int_equal(add_netdev(&g, "l", 5), 0);
	assert_int_equal(graph_netdev_plug(&g, "l", "s", &e), -ENOENT);
	graph_fini(&g);
}

static void
test_a_link_that_closes_a_cycle_is_refused(void **state)
{
	struct graph g = {0};

	(void)state;
	/* Two ports of one hub. */
	assert_int_equal(add_port(&g, "a1", 1, NULL), 0);
	assert_int_equal(add_port(&g, "a2", 1, "a1"), -ELOOP);
	assert_non_null(strstr(e.text, "would close a loop"));
	/* A chain of three hubs, then its ends. */
	assert_int_equal(add_port(&g, "b1", 2, "a1"), 0);
	assert_int_equal(add_port(&g, "b2", 2, NULL), 0);
	assert_int_equal(add_port(&g, "c1", 3, "b2"), 0);
	assert_int_equal(add_port(&g, "c2", 3, NULL), 0);
	assert_int_equal(add_port(&g, "a3", 1, "c2"), -ELOOP);
	/* Cut it, and the same link is welcome. */
	assert_int_equal(graph_del(&g, "b1", &e), 0);
	assert_int_equal(add_port(&g, "a3", 1, "c2"), 0);
	/* A link that is down is a link: set_link must not make a loop. */
	assert_int_equal(graph_link_set(&g, "a3", false, &e), 0);
	assert_int_equal(add_port(&g, "b1", 2, "a1"), -ELOOP);
	graph_fini(&g);
}

static void
test_ports_survive_their_netdev(void **state)
{
	struct graph g = {0};

	(void)state;
	assert_int_equal(add_netdev(&g, "n", 1), 0);
	assert_int_equal(add_port(&g, "p", 0, "n"), 0);
	assert_int_equal(graph_leave(&g, "n", &e), 0);
	assert_int_equal(g.nodes[graph_find(&g, "p")].peer, GRAPH_NONE);
	/* The id stays taken, and is unknown, until the process is gone. */
	assert_int_equal(graph_leave(&g, "n", &e), -ENODEV);
	assert_int_equal(add_netdev(&g, "n", 2), -EEXIST);
	assert_int_equal(add_port(&g, "q", 0, "n"), -ENOENT);
	graph_del_port(&g, 1);
	assert_int_equal(add_netdev(&g, "n", 2), 0);
	/* A hub port goes, its netdev stays and can be plugged anew. */
	assert_int_equal(graph_hub_count(&g), 1);
	assert_int_equal(graph_del(&g, "p", &e), 0);
	assert_int_equal(graph_hub_count(&g), 0);
	assert_int_equal(add_port(&g, "p", -1, "n"), 0);
	graph_fini(&g);
}

static void
test_nobody_connects_to_a_netdev_that_is_starting(void **state)
{
	struct graph g = {0};

	(void)state;
	assert_int_equal(graph_netdev_add(&g, "n", 1, &e), 0);
	assert_int_equal(add_port(&g, "p", 0, "n"), -ENOENT);
	g.nodes[0].life = NODE_ATTACHING;
	assert_int_equal(add_port(&g, "p", 0, "n"), -ENOENT);
	graph_fini(&g);
}

static void
test_there_are_bounds_with_clear_errors(void **state)
{
	struct graph g = {0};
	char id[32];

	(void)state;
	for (uint32_t i = 0; i < GRAPH_NETDEVS_MAX; i++) {
		(void)snprintf(id, sizeof id, "n%u", i);
		assert_int_equal(add_netdev(&g, id, i + 1), 0);
	}
	assert_int_equal(add_netdev(&g, "x", 5000), -ENOSPC);
	for (uint32_t i = 0; i < GRAPH_HUBS_MAX; i++) {
		(void)snprintf(id, sizeof id, "p%u", i);
		assert_int_equal(add_port(&g, id, (int32_t)i, NULL), 0);
	}
	assert_int_equal(add_port(&g, "x", 5000, NULL), -ENOSPC);
	for (uint32_t i = GRAPH_HUBS_MAX; i < GRAPH_HUBPORTS_MAX; i++) {
		(void)snprintf(id, sizeof id, "p%u", i);
		assert_int_equal(add_port(&g, id, 1, NULL), 0);
	}
	assert_int_equal(add_port(&g, "x", 1, NULL), -ENOSPC);
	graph_fini(&g);
}

/* --- the naive model: everything by name, nothing by index --- */

#define NAMES 14
#define HUBS  4

struct naive {
	struct {
		bool used, netdev, up;
		int hub;
		int peer; /* name, -1 */
	} at[NAMES];
};

static bool
naive_hubs_joined(const struct naive *m, int from, int to)
{
	bool seen[HUBS] = {false};

	seen[from] = true;
	for (int round = 0; round < HUBS; round++)
		for (int i = 0; i < NAMES; i++) {
			int p = m->at[i].peer;

			if (m->at[i].used && !m->at[i].netdev && p >= 0 &&
			    !m->at[p].netdev && seen[m->at[i].hub])
				seen[m->at[p].hub] = true;
		}
	return seen[to];
}

static bool
naive_may_plug(const struct naive *m, int name, int hub, int peer)
{
	if (m->at[name].used)
		return false;
	if (peer < 0)
		return true;
	if (peer == name || !m->at[peer].used || m->at[peer].peer >= 0)
		return false;
	return m->at[peer].netdev ||
	       !naive_hubs_joined(m, hub, m->at[peer].hub);
}

static void
naive_del(struct naive *m, int name)
{
	int p = m->at[name].peer;

	if (p >= 0)
		m->at[p].peer = -1;
	m->at[name].used = false;
}

static void
assert_same(const struct graph *g, const struct naive *m)
{
	uint32_t used = 0;
	char id[16];

	for (int i = 0; i < NAMES; i++) {
		uint32_t k;

		(void)snprintf(id, sizeof id, "x%d", i);
		k = graph_find(g, id);
		assert_int_equal(k != GRAPH_NONE, m->at[i].used);
		if (k == GRAPH_NONE)
			continue;
		used++;
		assert_int_equal(
		    g->nodes[k].kind == NODE_NETDEV, m->at[i].netdev);
		assert_int_equal(g->nodes[k].link_up, m->at[i].up);
		if (m->at[i].peer < 0) {
			assert_int_equal(g->nodes[k].peer, GRAPH_NONE);
			continue;
		}
		(void)snprintf(id, sizeof id, "x%d", m->at[i].peer);
		assert_string_equal(g->nodes[g->nodes[k].peer].id, id);
	}
	assert_int_equal(g->count, used);
}

/* A card and its peer, or neither, as the core does it. */
static int
add_card(struct graph *g, const char *id, uint32_t port, const char *netdev)
{
	struct graph next = {0};
	int rc;

	assert_int_equal(graph_copy(&next, g), 0);
	rc = graph_netdev_add(&next, id, port, &e);
	if (rc == 0 && netdev)
		rc = graph_netdev_plug(&next, id, netdev, &e);
	if (rc < 0) {
		graph_fini(&next);
		return rc;
	}
	next.nodes[next.count - 1].life = NODE_UP;
	graph_fini(g);
	*g = next;
	return 0;
}

/* One random command on both; whether both took it. */
static bool
random_step(struct graph *g, struct naive *m, uint32_t port)
{
	int name = rand() % NAMES, peer = rand() % (NAMES + 3) - 3;
	int hub = rand() % HUBS, what = rand() % 8;
	char id[16], other[16];
	bool ok;
	int rc;

	(void)snprintf(id, sizeof id, "x%d", name);
	(void)snprintf(other, sizeof other, "x%d", peer);
	if (what < 2) {
		if (what == 0)
			peer = -1;
		ok = !m->at[name].used &&
		     (peer < 0 || (peer != name && m->at[peer].used &&
				      m->at[peer].peer < 0));
		rc = add_card(g, id, port, peer < 0 ? NULL : other);
		if (ok)
			m->at[name].netdev = true;
	} else if (what < 5) {
		ok = naive_may_plug(m, name, hub, peer < 0 ? -1 : peer);
		rc = add_port(g, id, hub, peer < 0 ? NULL : other);
		if (ok) {
			m->at[name].netdev = false;
			m->at[name].hub = hub;
		}
	} else if (what < 6) {
		ok = m->at[name].used;
		rc = graph_del(g, id, &e);
		if (ok)
			naive_del(m, name);
		assert_int_equal(rc == 0, ok);
		return ok;
	} else {
		ok = m->at[name].used;
		rc = graph_link_set(g, id, what == 6, &e);
		if (ok)
			m->at[name].up = what == 6;
		assert_int_equal(rc == 0, ok);
		return ok;
	}
	assert_int_equal(rc == 0, ok);
	if (ok) {
		m->at[name].used = true;
		m->at[name].up = true;
		m->at[name].peer = peer < 0 ? -1 : peer;
		if (m->at[name].peer >= 0)
			m->at[peer].peer = name;
	}
	return ok;
}

static void
test_random_commands_agree_with_a_naive_model(void **state)
{
	struct graph before = {0}, g = {0};
	struct naive m;
	int taken = 0;

	(void)state;
	memset(&m, 0, sizeof m);
	for (int i = 0; i < NAMES; i++)
		m.at[i].peer = -1;
	srand(7);
	for (uint32_t i = 1; i < 60000; i++) {
		bool ok;

		assert_int_equal(graph_copy(&before, &g), 0);
		ok = random_step(&g, &m, i);
		taken += ok;
		/* A refused command has no effect. */
		if (!ok)
			assert_true(graph_equal(&before, &g));
		assert_same(&g, &m);
	}
	assert_true(taken > 5000);
	graph_fini(&before);
	graph_fini(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ids_follow_the_rule),
	    cmocka_unit_test(test_refusals_name_the_object_and_the_cause),
	    cmocka_unit_test(test_a_card_is_plugged_into_what_is_free),
	    cmocka_unit_test(test_a_link_that_closes_a_cycle_is_refused),
	    cmocka_unit_test(test_ports_survive_their_netdev),
	    cmocka_unit_test(test_nobody_connects_to_a_netdev_that_is_starting),
	    cmocka_unit_test(test_there_are_bounds_with_clear_errors),
	    cmocka_unit_test(test_random_commands_agree_with_a_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
