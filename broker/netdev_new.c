/*
 * netdev_new.c - a netdev's record: what it owns, who wakes it, its end.
 *
 * Runs in: the broker. Trusts: the visitors for the types of options; their
 * values come from QMP clients and are judged here, in resources.c, and by
 * the backend itself.
 * Specification: reference netdevs.md 2.
 */
#include "broker/chardev.h"
#include "broker/launch_client.h"
#include "broker/netdev.h"
#include "broker/nic.h"
#include "broker/ports.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Deadlines say what was waited for; backoff is no deadline. */
static void
expired(void *self)
{
	struct life *nd = self;

	if (nd->state != ND_BACKOFF && nd->fault[0] == '\0') {
		(void)snprintf(nd->fault, sizeof nd->fault, "deadline:%s",
		    life_state_name(nd->state));
		log_event(LOG_WARN, "netdev.late", "id=%s epoch=%u state=%s",
		    nd->options.id, nd->epoch, life_state_name(nd->state));
	}
	life_step(nd, EV_TIMER);
}

/* --- its port --- */

static void
port_attached(void *self)
{
	struct life *nd = self;

	if (nd->state == ND_ATTACHING)
		life_step(nd, EV_ATTACHED);
}

static void
port_away(void *self)
{
	struct life *nd = self;

	if (life_may(nd, EV_AWAY))
		life_step(nd, EV_AWAY);
}

static void
port_fault(void *self, const char *reason)
{
	life_fault(self, reason);
}

/* A bell that ended: by the end of the process, or by its malice. */
static void
port_lost(void *self)
{
	life_lost(self, "closed its bell, or broke its rules");
}

static void
port_stalled(void *self)
{
	struct life *nd = self;

	if (nd->control)
		control_ping(nd->control);
}

static struct control *
port_control(void *self)
{
	struct life *nd = self;

	return nd->control;
}

static const char *
port_name(void *self)
{
	struct life *nd = self;

	return nd->options.id;
}

static const struct port_ops life_port_ops = {
    .attached = port_attached,
    .away = port_away,
    .fault = port_fault,
    .lost = port_lost,
    .stalled = port_stalled,
    .control = port_control,
    .name = port_name,
};

/* --- making and ending --- */

void
life_free(struct life *nd)
{
	TAILQ_REMOVE(&nd->all->list, nd, entry);
	control_ask_end(&nd->lane_ask);
	control_ask_end(&nd->backend_ask);
	control_ask_cancel(&nd->drops);
	life_forget_asks(nd);
	life_drop_control(nd);
	nic_free(nd->nic);
	port_free(nd->port);
	timer_free(nd->timer);
	resources_free(&nd->resources);
	desc_free(&desc_netdev, &nd->options);
	free(nd);
}

static int
check_ring(const struct netdev *o, uint64_t *ring_bytes, struct err *e)
{
	*ring_bytes = o->has_ring_size ? o->ring_size : RING_BYTES_USUAL;
	if (*ring_bytes < RING_BYTES_MIN || *ring_bytes > RING_BYTES_MAX ||
	    (*ring_bytes & (*ring_bytes - 1)) != 0)
		return err_set(e, -EINVAL,
		    "Parameter 'ring-size' expects a power of two from %u to "
		    "%u",
		    RING_BYTES_MIN, RING_BYTES_MAX);
	return 0;
}

static const struct backend_entry *
find_type(enum net_client_driver driver)
{
	for (size_t i = 0; i < backend_entry_count; i++)
		if (backend_entries[i].driver == driver)
			return &backend_entries[i];
	return NULL;
}

int
netdev_type_check(enum net_client_driver type, struct err *e)
{
	if (find_type(type))
		return 0;
	return err_set(e, -ENOTSUP,
	    "network backend '%s' is not available in this build",
	    desc_net_client_driver.names[type]);
}

static int
fill(struct life *nd, const struct netdev *options, struct err *e)
{
	int rc = netdev_type_check(options->type, e);

	if (rc < 0)
		return rc;
	nd->type = find_type(options->type);
	rc = desc_copy(&desc_netdev, &nd->options, options);
	if (rc < 0)
		return err_set(e, rc, "out of memory");
	rc = check_ring(options, &nd->ring_bytes, e);
	if (rc == 0 && options->type == NET_CLIENT_DRIVER_NIC)
		rc = nic_check(nd->all, &nd->options, e);
	if (rc == 0)
		rc = resources_check(&nd->options, e);
	if (rc == 0)
		rc = resources_plan(nd->type, &nd->options,
		    nd->all->start_phase, nd->all->chardevs, &nd->all->lookups,
		    &nd->resources, e);
	if (rc == 0 && resources_chardev(&nd->resources))
		nd->wait_peer = resources_chardev(&nd->resources)->wait;
	return rc;
}

static int
make_room(struct life *nd, struct err *e)
{
	nd->timer = timer_new(nd->all->loop, expired, nd);
	if (!nd->timer)
		return err_set(e, -ENOMEM, "out of memory");
	nd->slot = slot_take(nd->all->launch, &life_slot_ops, nd);
	if (nd->slot == 0)
		return err_set(
		    e, -ENOSPC, "there is no room for another process");
	nd->port = port_new(nd->all->islands, nd->slot, &life_port_ops, nd);
	if (nd->port && nd->options.type == NET_CLIENT_DRIVER_NIC)
		nd->nic = nic_new(nd);
	if (!nd->port ||
	    (!nd->nic && nd->options.type == NET_CLIENT_DRIVER_NIC))
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

struct life *
netdev_new(struct netdevs *all, const struct netdev *options, struct err *e)
{
	struct life *nd = calloc(1, sizeof *nd);

	if (!nd) {
		(void)err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	nd->all = all;
	nd->wanted = true;
	TAILQ_INSERT_TAIL(&all->list, nd, entry);
	if (fill(nd, options, e) < 0 || make_room(nd, e) < 0) {
		netdev_discard(nd);
		return NULL;
	}
	return nd;
}

void
netdev_discard(struct life *nd)
{
	BUG_ON(nd->state != ND_NEW);
	if (nd->slot != 0)
		slot_give(nd->all->launch, nd->slot);
	life_free(nd);
}

void
netdev_start(struct life *nd, core_done added, void *self)
{
	nd->added = added;
	nd->added_self = self;
	life_step(nd, EV_START);
}

void
netdev_del(struct life *nd, core_done deleted, void *self)
{
	nd->deleted = deleted;
	nd->deleted_self = self;
	nd->wanted = false;
	if (nd->served && nd->added)
		(void)err_set(&nd->error, -ECANCELED,
		    "netdev '%s' was deleted while it waited for its peer",
		    nd->options.id);
	life_step(nd, EV_DEL);
}

void
netdev_resume(struct life *nd)
{
	if (!life_may(nd, EV_RESUME))
		return;
	backoff_reset(&nd->backoff);
	timer_stop(nd->timer);
	life_step(nd, EV_RESUME);
}

struct life *
netdev_by_id(const struct netdevs *all, const char *id)
{
	struct life *nd;

	TAILQ_FOREACH (nd, &all->list, entry)
		if (strcmp(nd->options.id, id) == 0)
			return nd;
	return NULL;
}

void
netdevs_fini(struct netdevs *all)
{
	struct life *nd, *next;

	for (nd = TAILQ_FIRST(&all->list); nd; nd = next) {
		next = TAILQ_NEXT(nd, entry);
		life_free(nd);
	}
}
