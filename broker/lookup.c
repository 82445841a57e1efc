/*
 * lookup.c - one process per look-up: asked for, let go, read, buried.
 *
 * Runs in: the broker. Trusts: the launcher. The process has read what name
 * servers sent: its answer is taken after its end, one datagram, checked
 * whole (proto/resolve.h).
 * Specification: DESIGN 2; proto/launch.h.
 *
 * A look-up goes forward with what the launcher says: opened, spawned, attested
 * (then the process may begin), exited. Its end is the end of the process,
 * however that comes: so nothing is left when it is told.
 */
#include "broker/lookup.h"

#include "broker/launch_client.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* From SIGKILL until a process counts as stuck in the kernel. */
#define KILL_DUE_NS UINT64_C(5000000000)

static void
finish(struct lookup *lk)
{
	void (*done)(void *self) = lk->done;
	bool well = lk->error.text[0] == '\0';

	timer_stop(lk->timer);
	fd_close(&lk->control);
	lk->busy = false;
	lk->done = NULL;
	lk->ended_ns = sys_mono_ns();
	log_event(well ? LOG_INFO : LOG_WARN, "lookup.end",
	    "name=%s addresses=%zu error=%s", lk->name, well ? lk->count : 0,
	    log_quote(lk->error.text));
	if (done)
		done(lk->self);
}

/* What was known before is kept. */
static void
fail(struct lookup *lk, int rc, const char *why)
{
	(void)err_set(&lk->error, rc, "%s", why);
	finish(lk);
}

static void
succeed(struct lookup *lk, const struct addr *found, size_t count)
{
	memcpy(lk->found, found, count * sizeof *found);
	lk->count = count;
	finish(lk);
}

/* --- its process --- */

static void
take_answer(struct lookup *lk)
{
	struct resolve_answer answer;
	struct addr found[RESOLVE_ADDRESSES];
	size_t count = 0;
	ssize_t len;
	int error = 0;

	/* With MSG_TRUNC, how long it was: no two lengths look the same. */
	len = sys_result(recv(
	    lk->control, &answer, sizeof answer, MSG_DONTWAIT | MSG_TRUNC));
	if (len <= 0)
		fail(lk, -EIO, "the process that looked it up has died");
	else if (len != sizeof answer ||
		 resolve_take(&answer, sizeof answer, lk->family, found, &count,
		     &error) < 0)
		fail(lk, -EPROTO, "the process that looked it up has lied");
	else if (error != 0)
		fail(lk, -ENOENT, gai_strerror(error));
	else
		succeed(lk, found, count);
}

static void
attested(void *self, const struct launch_result *r)
{
	struct lookup *lk = self;
	char go = RESOLVE_GO;

	(void)r;
	/* A process that does not take it does not answer either. */
	if (lk->control >= 0)
		(void)send(
		    lk->control, &go, sizeof go, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
exited(void *self, const struct launch_result *r)
{
	struct lookup *lk = self;

	(void)r;
	if (!lk->busy)
		return;
	if (lk->late)
		fail(lk, -ETIMEDOUT, "no name server has answered in time");
	else
		take_answer(lk);
}

static const struct slot_ops ops = {attested, exited};

static void
end_process(struct lookup *lk)
{
	timer_set_ns(lk->timer, KILL_DUE_NS);
	slot_kill(lk->all->launch, lk->slot, lk->epoch, SIGKILL);
}

static void
spawned(void *self, const struct launch_msg *m, int *fds)
{
	struct lookup *lk = self;

	lk->ask = 0;
	if (m->result.error != 0 || fds[0] < 0) {
		fail(lk, m->result.error, launch_why(&m->result));
		return;
	}
	lk->control = fd_take(&fds[0]);
	if (lk->late)
		end_process(lk);
}

static void
opened(void *self, const struct launch_msg *m, int *fds)
{
	struct lookup *lk = self;
	struct launch_msg ask = {.type = LAUNCH_SPAWN, .slot = lk->slot};

	(void)fds;
	lk->ask = 0;
	if (m->result.error != 0) {
		fail(lk, m->result.error, launch_why(&m->result));
		return;
	}
	lk->granted = true;
	lk->epoch = slot_epoch_next(lk->all->launch, lk->slot);
	ask.spawn.role = ROLE_RESOLVE;
	ask.spawn.epoch = lk->epoch;
	(void)snprintf(ask.spawn.id, sizeof ask.spawn.id, "%.60s", lk->name);
	lk->ask = launch_ask(lk->all->launch, &ask, -1, spawned, lk);
	if (lk->ask == 0)
		fail(lk, -ENOBUFS, "the launcher is too busy");
}

static void
expired(void *self)
{
	struct lookup *lk = self;

	if (!lk->late) {
		lk->late = true;
		/* Else the answer of the launcher comes first. */
		if (lk->control >= 0)
			end_process(lk);
		else
			timer_set_ns(lk->timer, KILL_DUE_NS);
		return;
	}
	/* Stuck in the kernel: abandoned, and the slot with it. */
	launch_forget(lk->all->launch, lk->ask);
	lk->ask = 0;
	slot_lose(lk->all->launch, lk->slot);
	lk->slot = 0;
	lk->granted = false;
	fail(lk, -ETIMEDOUT, "the process that looks it up cannot be ended");
}

/* --- from outside --- */

void
lookups_init(struct lookups *all, struct loop *l, struct launch_client *launch)
{
	all->loop = l;
	all->launch = launch;
	TAILQ_INIT(&all->list);
}

static void
forget(struct lookup *lk)
{
	TAILQ_REMOVE(&lk->all->list, lk, entry);
	timer_free(lk->timer);
	fd_close(&lk->control);
	free(lk);
}

void
lookups_fini(struct lookups *all)
{
	struct lookup *lk, *next;

	for (lk = TAILQ_FIRST(&all->list); lk; lk = next) {
		next = TAILQ_NEXT(lk, entry);
		launch_forget(all->launch, lk->ask);
		forget(lk);
	}
}

struct lookup *
lookup_new(struct lookups *all, const char *name, int family)
{
	struct lookup *lk = calloc(1, sizeof *lk);

	if (!lk)
		return NULL;
	lk->timer = timer_new(all->loop, expired, lk);
	if (!lk->timer) {
		free(lk);
		return NULL;
	}
	lk->all = all;
	lk->control = -1;
	lk->family = family;
	(void)snprintf(lk->name, sizeof lk->name, "%s", name);
	TAILQ_INSERT_TAIL(&all->list, lk, entry);
	return lk;
}

int
lookup_start(struct lookup *lk, void (*done)(void *self), void *self)
{
	struct launch_msg ask = {.type = LAUNCH_OPEN};

	if (!lk->busy && lk->slot == 0)
		lk->slot = slot_take(lk->all->launch, &ops, lk);
	if (lk->slot == 0)
		return err_set(&lk->error, -ENOSPC,
		    "there is no room for another process");
	lk->done = done;
	lk->self = self;
	if (lk->busy)
		return 0;
	ask.slot = lk->slot;
	ask.open.kind = RES_LOOKUP;
	ask.open.again = lk->granted;
	ask.open.number = (uint32_t)lk->family;
	(void)snprintf(ask.open.path, sizeof ask.open.path, "%s", lk->name);
	lk->ask = launch_ask(lk->all->launch, &ask, -1, opened, lk);
	if (lk->ask == 0) {
		lk->done = NULL;
		return err_set(
		    &lk->error, -ENOBUFS, "the launcher is too busy");
	}
	lk->busy = true;
	lk->late = false;
	lk->error.text[0] = '\0';
	timer_set_ns(lk->timer, LOOKUP_DUE_NS);
	return 0;
}

void
lookup_forget(struct lookup *lk)
{
	lk->done = NULL;
}

static void
released(void *self, const struct launch_msg *m, int *fds)
{
	struct lookup *lk = self;

	(void)m;
	(void)fds;
	slot_give(lk->all->launch, lk->slot);
	forget(lk);
}

/* The launcher ends the process, if there is one, before it answers. */
void
lookup_free(struct lookup *lk)
{
	struct launch_msg ask = {.type = LAUNCH_RELEASE};

	if (!lk)
		return;
	launch_forget(lk->all->launch, lk->ask);
	timer_stop(lk->timer);
	fd_close(&lk->control);
	lk->done = NULL;
	lk->busy = false;
	ask.slot = lk->slot;
	lk->ask = lk->slot == 0
		      ? 0
		      : launch_ask(lk->all->launch, &ask, -1, released, lk);
	if (lk->ask != 0)
		return;
	if (lk->slot != 0)
		slot_lose(lk->all->launch, lk->slot);
	forget(lk);
}
