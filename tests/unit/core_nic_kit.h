/*
 * core_nic_kit.h - what the tests of network cards in the core share: requests
 * and the answers of QMP commands as text. Included once per test program.
 */
#ifndef TESTS_CORE_NIC_KIT_H
#define TESTS_CORE_NIC_KIT_H

#include "tests/unit/core_kit.h"

#include "broker/json.h"
#include "broker/nic.h"
#include "broker/qmp.h"
#include "gen/commands.h"

/* --- answers --- */

struct answer {
	unsigned told;
	bool failed;
	struct err e;
};

static void
told(void *self, const struct err *e)
{
	struct answer *a = self;

	a->told++;
	a->failed = e != NULL;
	if (e)
		a->e = *e;
}

static void
assert_ok(const struct answer *a)
{
	assert_int_equal(a->told, 1);
	if (a->failed)
		fail_msg("%s", a->e.text);
}

static __attribute__((unused)) void
assert_refused(const struct answer *a, const char *words)
{
	assert_int_equal(a->told, 1);
	assert_true(a->failed);
	assert_string_equal(a->e.text, words);
}

/* The commands under test answer here, as text. */
struct call {
	unsigned told;
	bool failed;
	struct err e;
	char *json; /* owned */
};

void
call_return(struct call *c, const struct desc *d, const void *v)
{
	json_t *tree = d ? json_encode(d, v) : json_object();

	c->told++;
	c->json = json_dumps(tree, 0);
	json_decref(tree);
}

void
call_fail(struct call *c, const struct err *e)
{
	c->told++;
	c->failed = true;
	c->e = *e;
}

void
call_return_text(struct call *c, const char *json)
{
	(void)c;
	(void)json;
	fail();
}

static void
query_end(json_t *tree, struct call *c)
{
	json_decref(tree);
	free(c->json);
}

int
call_take_fd(struct call *c)
{
	(void)c;
	return -1;
}

/* --- requests --- */

static void
add(struct netdev *nd, struct answer *a)
{
	memset(a, 0, sizeof *a);
	core_netdev_add(kit_core, nd, told, a);
	kit_settle(0);
}

static void
add_socket(const char *id)
{
	struct netdev nd = {.id = text(id), .type = NET_CLIENT_DRIVER_SOCKET};
	struct answer a;

	nd.u.socket.connect = text("127.0.0.1:1");
	add(&nd, &a);
	assert_ok(&a);
}

static void
add_hubport(const char *id, int32_t hubid, const char *netdev)
{
	struct netdev nd = {.id = text(id), .type = NET_CLIENT_DRIVER_HUBPORT};
	struct answer a;

	nd.u.hubport.hubid = hubid;
	nd.u.hubport.netdev = text(netdev);
	add(&nd, &a);
	assert_ok(&a);
}

static struct netdev
nic(const char *id, const char *netdev)
{
	struct netdev nd = {.id = text(id), .type = NET_CLIENT_DRIVER_NIC};

	nd.u.nic.netdev = text(netdev);
	nd.u.nic.path = text("/x.sock");
	return nd;
}

static __attribute__((unused)) void
add_nic(const char *id, const char *netdev)
{
	struct netdev nd = nic(id, netdev);
	struct answer a;

	add(&nd, &a);
	assert_ok(&a);
}

static __attribute__((unused)) void
del(const char *id)
{
	struct answer a = {0};

	core_netdev_del(kit_core, id, told, &a);
	kit_settle(0);
	assert_ok(&a);
}

static __attribute__((unused)) void
set_link(const char *id, bool up)
{
	struct err e;

	assert_int_equal(core_set_link(kit_core, id, up, &e), 0);
	kit_settle(0);
}

static const struct life *
life_of(const char *id)
{
	struct life *nd = netdev_by_id(&kit_core->netdevs, id);

	assert_non_null(nd);
	return nd;
}

static __attribute__((unused)) const char *
mac_of(const char *id)
{
	return life_of(id)->options.u.nic.macaddr;
}

#endif
