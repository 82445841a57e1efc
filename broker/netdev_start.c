/*
 * netdev_start.c - the way up of a netdev: resources, process, options.
 *
 * Runs in: the broker. Trusts: the launcher.
 * Specification: proto/launch.h; DESIGN 2 (what is opened again, and what is
 * kept, when a backend is restarted).
 */
#include "broker/chardev.h"
#include "broker/launch_client.h"
#include "broker/names.h"
#include "broker/netdev.h"
#include "broker/nic.h"
#include "proto/chan.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000000)

/* The launcher opens nothing that blocks; this is for a launcher that hangs.
 * A look-up of names has its own deadline before that. */
#define OPEN_DUE_NS (LOOKUP_DUE_NS + 10000 * MS)
/* From the spawn request to `hello`. */
#define START_DUE_NS (10000 * MS)

static const char too_busy[] = "the launcher is too busy";

static int ask_open(struct life *nd, struct resource *r, bool again);

/* One resource is done with: opened, or not to be had. */
static void
settle(struct life *nd)
{
	if (--nd->opening > 0)
		return;
	life_step(nd, nd->error.text[0] == '\0' ? EV_OPENED : EV_REFUSED);
}

static void
opened(void *self, const struct launch_msg *m, int *fds)
{
	struct resource *r = self;
	struct life *nd = r->owner;
	bool stream = r->open.kind == RES_STREAM_CONNECT;

	(void)fds;
	r->ask = 0;
	/* Its name may have an address that is better. */
	if (m->result.error != 0 && names_next(r) &&
	    ask_open(nd, r, stream) == 0)
		return;
	if (m->result.error == 0 ||
	    (resource_reconnects(r) && launch_may_come_later(m->result.error)))
		r->granted = true;
	else if (nd->error.text[0] == '\0')
		(void)err_set(
		    &nd->error, m->result.error, "%s", launch_why(&m->result));
	settle(nd);
}

/* 0, or -ENOBUFS when the launcher has too much to answer already. */
static int
ask_open(struct life *nd, struct resource *r, bool again)
{
	struct launch_msg m = {.type = LAUNCH_OPEN, .slot = nd->slot};

	m.open = r->open;
	m.open.again = again;
	r->ask = launch_ask(
	    nd->all->launch, &m, r->fd < 0 ? -1 : fd_take(&r->fd), opened, r);
	return r->ask == 0 ? -ENOBUFS : 0;
}

/* What its name means is known, or cannot be known. */
static void
found(void *self, int rc)
{
	struct resource *r = self;
	struct life *nd = r->owner;

	if (rc < 0 || !names_next(r))
		names_error(r, &nd->error);
	else if (ask_open(nd, r, r->granted) == 0)
		return;
	else
		(void)err_set(&nd->error, -ENOBUFS, "%s", too_busy);
	settle(nd);
}

/* What is known of a name is used at once: others wait for a restart. */
static int
begin_open(struct life *nd, struct resource *r, bool again)
{
	int rc;

	r->owner = nd;
	if (!r->names || names_first(r))
		return ask_open(nd, r, again);
	rc = names_find(r, found, r);
	if (rc < 0)
		names_error(r, &nd->error);
	return rc;
}

/* Ask for all, or for those that a new process needs afresh. */
static void
open_all(struct life *nd, bool again)
{
	int rc = 0;

	nd->since_ns = sys_mono_ns();
	nd->fault[0] = '\0';
	memset(&nd->last, 0, sizeof nd->last);
	timer_set_ns(nd->timer, OPEN_DUE_NS);
	nd->opening = 0;
	for (size_t i = 0; i < nd->resources.count && rc == 0; i++) {
		struct resource *r = &nd->resources.items[i];

		if (again && !resource_renews(r))
			continue;
		rc = begin_open(nd, r, again);
		nd->opening += rc == 0;
	}
	if (rc < 0) {
		if (nd->error.text[0] == '\0')
			(void)err_set(&nd->error, rc, "%s", too_busy);
		life_forget_asks(nd);
		life_step(nd, EV_REFUSED);
	} else if (nd->opening == 0) {
		life_step(nd, EV_OPENED);
	}
}

void
life_open(struct life *nd)
{
	open_all(nd, false);
}

/*
 * A stream that the dead process had connected may have ended in the middle
 * of a frame: the next process gets a new one. A tap that was deleted is made
 * again, and its script run. All else is used on.
 */
void
life_reopen(struct life *nd)
{
	nd->error.text[0] = '\0';
	if (nd->abandoned) {
		nd->since_ns = sys_mono_ns();
		(void)err_set(&nd->error, -EBUSY,
		    "its process still hangs in the kernel");
		life_step(nd, EV_REFUSED);
		return;
	}
	nd->restarts++;
	open_all(nd, true);
}

static void
spawned(void *self, const struct launch_msg *m, int *fds)
{
	struct life *nd = self;

	nd->ask = 0;
	if (m->result.error != 0 || fds[0] < 0) {
		nd->last = m->result;
		life_step(nd, EV_REFUSED);
		return;
	}
	nd->process = m->result;
	if (nd->state == ND_SPAWNING)
		nd->control = control_new(nd->all->loop, fd_take(&fds[0]),
		    CTL_ROLE_BACKEND, &life_control_ops, nd);
	if (nd->state == ND_SPAWNING && !nd->control) {
		(void)snprintf(
		    nd->fault, sizeof nd->fault, "%s", "out of memory");
		life_step(nd, EV_TIMER);
		return;
	}
	life_step(nd, EV_SPAWNED);
}

void
life_spawn(struct life *nd)
{
	struct launch_msg m = {.type = LAUNCH_SPAWN, .slot = nd->slot};

	nd->epoch = slot_epoch_next(nd->all->launch, nd->slot);
	nd->since_ns = sys_mono_ns();
	nd->attested = false;
	nd->ready = false;
	nd->killed = false;
	nd->reconnect_seq = 0;
	m.spawn.role = ROLE_BACKEND + (uint32_t)(nd->type - backend_entries);
	m.spawn.epoch = nd->epoch;
	m.spawn.ring_bytes = nd->ring_bytes;
	(void)snprintf(m.spawn.id, sizeof m.spawn.id, "%s", nd->options.id);
	timer_set_ns(nd->timer, START_DUE_NS);
	nd->ask = launch_ask(nd->all->launch, &m, -1, spawned, nd);
	if (nd->ask == 0)
		life_step(nd, EV_REFUSED);
}

void
life_configure(struct life *nd)
{
	const struct chardev *ch = resources_chardev(&nd->resources);
	struct ctl_configure m = {
	    .epoch = nd->epoch, .ring_bytes = nd->ring_bytes};

	timer_set_ns(nd->timer, ctl_deadline_ms(CTL_CONFIGURE) * MS);
	m.netdev = nd->options; /* borrowed for the call */
	if (ch) {
		m.has_reconnect_ms = ch->has_reconnect_ms;
		m.reconnect_ms = ch->reconnect_ms;
	}
	if (nd->nic) {
		m.has_link_up = true;
		m.link_up = nd->nic->link_up;
		nd->nic->link_told = nd->nic->link_up;
	}
	if (ctl_send_configure(
		control_chan(nd->control), control_seq(nd->control), &m) < 0)
		life_fault(nd, "takes no messages");
}

void
life_forget_asks(struct life *nd)
{
	struct launch_client *c = nd->all->launch;

	for (size_t i = 0; i < nd->resources.count; i++) {
		launch_forget(c, nd->resources.items[i].ask);
		nd->resources.items[i].ask = 0;
		names_forget(&nd->resources.items[i]);
	}
	launch_forget(c, nd->ask);
	nd->ask = 0;
	launch_forget(c, nd->reconnect_ask);
	nd->reconnect_ask = 0;
}

static void
look_ready(struct life *nd)
{
	if (nd->state == ND_CONFIGURING && nd->ready && nd->attested)
		life_step(nd, EV_READY);
}

static void
attested(void *self, const struct launch_result *r)
{
	struct life *nd = self;

	nd->attested = true;
	nd->process.layers = r->layers;
	nd->process.missing = r->missing;
	look_ready(nd);
}

static void
exited(void *self, const struct launch_result *r)
{
	struct life *nd = self;

	nd->last = *r;
	nd->abandoned = false;
	if (life_may(nd, EV_EXIT))
		life_step(nd, EV_EXIT);
}

const struct slot_ops life_slot_ops = {attested, exited};
