/*
 * device.c - device_add and device_del: network cards in the words of QEMU's
 * -device, and with its texts for errors.
 *
 * Runs in: the broker. Trusts: the visitors for the types of arguments.
 * Specification: schema/device.json; reference netdevs.md 6.4, qmp.md 2.5.
 */
#include "broker/core_state.h"
#include "broker/nic.h"
#include "broker/qmp.h"
#include "gen/commands.h"
#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
out_of_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

static const struct desc_member *
find_member(const struct desc *d, const char *name)
{
	for (size_t i = 0; i < d->member_count; i++)
		if (strcmp(d->members[i].name, name) == 0)
			return &d->members[i];
	return NULL;
}

/* Copy what both have by the same name and type. */
static int
copy_same(struct net_legacy_nic_options *to, const struct nic_device *from,
    struct err *e)
{
	const struct desc *d = &desc_net_legacy_nic_options;
	int rc = 0;

	for (size_t i = 0; i < desc_nic_device.member_count && rc == 0; i++) {
		const struct desc_member *m = &desc_nic_device.members[i];
		const struct desc_member *own = find_member(d, m->name);
		void *place;

		if (!own || !desc_present(m, from))
			continue;
		BUG_ON(own->type != m->type);
		place = desc_make(own, to);
		rc = place ? desc_copy(m->type, place, desc_value(m, from))
			   : -ENOMEM;
	}
	return rc < 0 ? out_of_memory(e) : 0;
}

/* The address as -device takes it: every digit is there. */
static int
copy_mac(struct net_legacy_nic_options *to, const struct nic_device *from,
    const char *driver, struct err *e)
{
	char text[MAC_TEXT_BYTES];
	uint64_t mac;

	if (!from->mac)
		return 0;
	if (mac_parse(from->mac, &mac) < 0 || (mac >> 40 & 1) != 0)
		return err_set(e, -EINVAL,
		    "Property '%s.mac' doesn't take value '%.64s'", driver,
		    from->mac);
	to->macaddr = strdup(mac_text(mac, text));
	return to->macaddr ? 0 : out_of_memory(e);
}

/* "virtio" is a model of -net nic and no device. */
static bool
is_driver(const char *name)
{
	return nic_model(name) && strcmp(name, "virtio") != 0;
}

/* QEMU's text; there are others in QEMU, so it says what there is here. */
static int
refuse_driver(const char *name, struct err *e)
{
	char offered[256] = "";
	size_t len = 0;

	for (unsigned i = 0; nic_model_name(i); i++)
		if (is_driver(nic_model_name(i)))
			len += (size_t)snprintf(offered + len,
			    sizeof offered - len, "%s%s", len > 0 ? ", " : "",
			    nic_model_name(i));
	return err_set(e, -EINVAL,
	    "'%.64s' is not a valid device model name (there are: %s)", name,
	    offered);
}

static int
check_device(const struct core *c, const struct nic_device *dev, struct err *e)
{
	const struct graph *g = &c->graph;
	uint32_t i = dev->netdev ? graph_find(g, dev->netdev) : 0;

	if (!is_driver(dev->driver))
		return refuse_driver(dev->driver, e);
	if (dev->id && graph_id_check(dev->id, e) < 0)
		return -EINVAL;
	if (dev->id && graph_find(g, dev->id) != GRAPH_NONE)
		return err_set(e, -EEXIST, "Duplicate device ID '%s'", dev->id);
	if (dev->has_mq && !dev->mq && dev->has_queues && dev->queues > 1)
		return err_set(e, -EINVAL,
		    "mq=off and queues=%u exclude each other", dev->queues);
	if (!dev->netdev)
		return 0;
	if (i == GRAPH_NONE || g->nodes[i].life != NODE_UP)
		return err_set(e, -ENOENT,
		    "Property '%s.netdev' can't find value '%.64s'",
		    nic_model(dev->driver), dev->netdev);
	if (g->nodes[i].peer != GRAPH_NONE)
		return err_set(e, -EBUSY,
		    "Property '%s.netdev' can't take value '%s', it's in use",
		    nic_model(dev->driver), dev->netdev);
	return 0;
}

/* The given name, or the first of DRIVER.0, DRIVER.1 ... that is free. */
static char *
name_of(const struct core *c, const struct nic_device *dev)
{
	char id[GRAPH_ID_BYTES];
	unsigned n = 0;

	if (dev->id)
		return strdup(dev->id);
	do
		(void)snprintf(id, sizeof id, "%s.%u", dev->driver, n++);
	while (graph_find(&c->graph, id) != GRAPH_NONE);
	return strdup(id);
}

static int
make_netdev(const struct core *c, const struct nic_device *dev,
    struct netdev *nd, struct err *e)
{
	struct net_legacy_nic_options *o = &nd->u.nic;
	int rc = check_device(c, dev, e);

	if (rc < 0)
		return rc;
	nd->type = NET_CLIENT_DRIVER_NIC;
	nd->id = name_of(c, dev);
	o->model = strdup(dev->driver);
	if (!nd->id || !o->model)
		return out_of_memory(e);
	o->has_mtu = dev->has_host_mtu && dev->host_mtu != 0;
	o->mtu = dev->host_mtu;
	rc = copy_same(o, dev, e);
	return rc == 0 ? copy_mac(o, dev, nic_model(dev->driver), e) : rc;
}

void
core_device_add(
    struct core *c, const struct nic_device *dev, core_done done, void *self)
{
	struct netdev nd = {0};
	struct err e;

	if (make_netdev(c, dev, &nd, &e) < 0)
		done(self, &e);
	else
		core_netdev_add(c, &nd, done, self);
	desc_free(&desc_netdev, &nd);
}

/* --- commands --- */

void
cmd_device_add(struct call *call, const struct nic_device *args)
{
	core_device_add(core_get(), args, command_answered, call);
}

void
cmd_device_del(struct call *call, const struct device_del_args *args)
{
	struct err e;

	if (core_device_del(core_get(), args->id, &e) < 0)
		call_fail(call, &e);
	else
		call_return(call, NULL, NULL);
}
