/*
 * core_start.c - the start phase: QMP endpoints, the latch, "we are up".
 *
 * Runs in: the broker. Trusts: the operator's command line and the launcher.
 * Specification: DESIGN 2 (the one-way latch), proto/launch.h.
 */
#include "broker/core_state.h"

#include "broker/arena.h"
#include "broker/crossover.h"
#include "broker/launch_client.h"
#include "proto/addr.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void
endpoint_opened(void *self, const struct launch_msg *m, int *fds)
{
	struct core *c = self;
	core_done listening = c->listening;
	struct err e = {0};

	(void)fds;
	c->listening = NULL;
	if (m->result.error != 0)
		(void)err_set(
		    &e, m->result.error, "%s", launch_why(&m->result));
	listening(c->listening_self, m->result.error != 0 ? &e : NULL);
}

static int
ask_endpoint(struct core *c, const char *path, struct err *e)
{
	struct launch_msg m = {.type = LAUNCH_OPEN};
	char text[LAUNCH_PATH];
	int rc;

	if (c->endpoints >= LAUNCH_RESOURCES)
		return err_set(e, -ENOSPC,
		    "there are %u QMP endpoints, the most possible",
		    LAUNCH_RESOURCES);
	if (strlen(path) + sizeof "unix:" > sizeof text)
		return err_set(e, -ENAMETOOLONG,
		    "UNIX socket path '%.128s...' is too long", path);
	(void)snprintf(text, sizeof text, "unix:%s", path);
	m.open.index = c->endpoints;
	m.open.kind = RES_STREAM_LISTEN;
	m.open.qmp = 1;
	rc = addr_parse(text, &m.open.local, e);
	if (rc < 0)
		return rc;
	if (launch_ask(c->launch, &m, -1, endpoint_opened, c) == 0)
		return err_set(e, -ENOBUFS, "the launcher is too busy");
	c->endpoints++;
	return 0;
}

static void
descriptor_taken(void *self, const struct launch_msg *m, int *fds)
{
	struct core *c = self;
	core_taken taken = c->taken;
	struct err e = {0};

	c->taken = NULL;
	if (m->result.error != 0 || fds[0] < 0)
		(void)err_set(
		    &e, m->result.error, "%s", launch_why(&m->result));
	taken(c->taken_self, fd_take(&fds[0]), &e);
}

/* The command line asks for one at a time. */
void
core_take_fd(struct core *c, uint32_t number, core_taken taken, void *self)
{
	struct launch_msg m = {.type = LAUNCH_TAKE};

	BUG_ON(c->taken);
	c->taken = taken;
	c->taken_self = self;
	m.open.number = number;
	BUG_ON(launch_ask(c->launch, &m, -1, descriptor_taken, c) == 0);
}

/* The command line asks for one at a time. */
void
core_listen(struct core *c, const char *path, core_done done, void *self)
{
	struct err e = {0};

	BUG_ON(c->listening);
	c->listening = done;
	c->listening_self = self;
	if (ask_endpoint(c, path, &e) == 0)
		return;
	c->listening = NULL;
	done(self, &e);
}

void
core_latch_look(struct core *c)
{
	core_done latched = c->latched;

	if (!latched || !c->latch_answered || c->listeners_due > 0)
		return;
	c->latched = NULL;
	latched(c->latched_self, NULL);
}

static void
latch_answered(void *self, const struct launch_msg *m, int *fds)
{
	struct core *c = self;

	(void)fds;
	c->latch_answered = true;
	c->listeners_due += m->result.code;
	core_latch_look(c);
}

void
core_latch(struct core *c, core_done done, void *self)
{
	struct launch_msg m = {.type = LAUNCH_LATCH};

	c->latched = done;
	c->latched_self = self;
	c->netdevs.start_phase = false;
	BUG_ON(launch_ask(c->launch, &m, -1, latch_answered, c) == 0);
}

void
core_crossover(struct core *c, bool on)
{
	crossovers_switch(c->islands->crossovers, on);
}

void
core_arena(struct core *c, bool on)
{
	arenas_switch(c->islands->arenas, on);
}

void
core_up(struct core *c)
{
	struct launch_msg m = {.type = LAUNCH_UP};

	launch_tell(c->launch, &m);
}
