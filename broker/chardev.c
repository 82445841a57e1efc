/*
 * chardev.c - chardevs come, are claimed and go; their QMP commands.
 *
 * Runs in: the broker. Trusts: the launcher; names and addresses come from
 * QMP clients.
 * Specification: schema/chardev.json; reference qmp.md 2.7.
 *
 * Up: judged, a slot, opened there, answered. What could not be opened goes
 * the way down and then is answered: released, its slot given back.
 */
#include "broker/chardev.h"

#include "broker/chardev_check.h"
#include "broker/core_state.h"
#include "broker/launch_client.h"
#include "broker/qmp.h"
#include "gen/commands.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As with netdevs: a launcher that is stuck must not hold a client. */
#define ANSWER_DUE_NS UINT64_C(10000000000)

/* --- records --- */

static void
nobody(void *self, const struct launch_result *r)
{
	(void)self;
	(void)r;
}

/* There is never a process in the slot. */
static const struct slot_ops slot_ops = {nobody, nobody};

static void
chardev_free(struct chardev *ch)
{
	TAILQ_REMOVE(&ch->all->list, ch, entry);
	launch_forget(ch->all->launch, ch->ask);
	timer_free(ch->due);
	fd_close_foreign(&ch->fd);
	free(ch);
}

/* In whatever state it is. */
static struct chardev *
find_any(const struct chardevs *all, const char *id)
{
	struct chardev *ch;

	TAILQ_FOREACH (ch, &all->list, entry)
		if (strcmp(ch->id, id) == 0)
			return ch;
	return NULL;
}

struct chardev *
chardev_find(const struct chardevs *all, const char *id)
{
	struct chardev *ch = find_any(all, id);

	return ch && ch->state == CHARDEV_THERE ? ch : NULL;
}

void
chardevs_init(
    struct chardevs *all, struct loop *l, struct launch_client *launch)
{
	TAILQ_INIT(&all->list);
	all->loop = l;
	all->launch = launch;
}

void
chardevs_fini(struct chardevs *all)
{
	struct chardev *ch, *next;

	for (ch = TAILQ_FIRST(&all->list); ch; ch = next) {
		next = TAILQ_NEXT(ch, entry);
		chardev_free(ch);
	}
}

/* The record goes before anybody is told. */
static void
finish(struct chardev *ch, const struct err *e)
{
	core_done done = ch->done;
	struct err copy;

	if (e)
		copy = *e;
	ch->done = NULL;
	if (ch->state == CHARDEV_RELEASING) {
		void *self = ch->done_self;

		chardev_free(ch);
		done(self, e ? &copy : NULL);
		return;
	}
	done(ch->done_self, NULL);
}

/* --- the way down --- */

static void
released(void *self, const struct launch_msg *m, int *fds)
{
	struct chardev *ch = self;

	(void)m;
	(void)fds;
	ch->ask = 0;
	slot_give(ch->all->launch, ch->slot);
	finish(ch, ch->error.text[0] != '\0' ? &ch->error : NULL);
}

static void
release(struct chardev *ch)
{
	struct launch_msg m = {.type = LAUNCH_RELEASE, .slot = ch->slot};

	ch->state = CHARDEV_RELEASING;
	timer_set_ns(ch->due, ANSWER_DUE_NS);
	ch->ask = launch_ask(ch->all->launch, &m, -1, released, ch);
	if (ch->ask != 0)
		return;
	/* The launcher keeps it, so nobody else may have the slot. */
	slot_lose(ch->all->launch, ch->slot);
	finish(ch, ch->error.text[0] != '\0' ? &ch->error : NULL);
}

/* The launcher does not answer. */
static void
answer_late(void *self)
{
	struct chardev *ch = self;
	bool opening = ch->state == CHARDEV_OPENING;

	launch_forget(ch->all->launch, ch->ask);
	ch->ask = 0;
	if (ch->error.text[0] == '\0')
		(void)err_set(&ch->error, -ETIMEDOUT,
		    "%s chardev '%s': the launcher does not answer",
		    opening ? "Failed to add" : "Failed to remove", ch->id);
	log_event(LOG_WARN, "chardev.late", "id=%s slot=%u opening=%d", ch->id,
	    ch->slot, opening);
	if (opening) {
		release(ch);
		return;
	}
	slot_lose(ch->all->launch, ch->slot);
	finish(ch, &ch->error);
}

void
chardev_remove(struct core *c, const char *id, core_done done, void *self)
{
	struct chardev *ch = find_any(&c->chardevs, id);
	struct err e;

	if (!ch)
		(void)err_set(&e, -ENOENT, "Chardev '%s' not found", id);
	else if (ch->state != CHARDEV_THERE || ch->user)
		(void)err_set(&e, -EBUSY, "Chardev '%s' is busy", id);
	if (!ch || ch->state != CHARDEV_THERE || ch->user) {
		done(self, &e);
		return;
	}
	ch->done = done;
	ch->done_self = self;
	release(ch);
}

/* --- the way up --- */

/* QEMU's words for what the world refuses; policy has its own. */
static void
explain(struct chardev *ch, const struct launch_result *r)
{
	struct err *e = &ch->error;
	const char *why = strerror(-r->error);

	if (r->error == -EPERM || ch->open.kind == RES_FD)
		(void)err_set(e, r->error, "Failed to add chardev '%s': %s",
		    ch->id, launch_why(r));
	else if (ch->server)
		(void)err_set(e, r->error,
		    "Failed to add chardev '%s': Failed to bind socket to %s: "
		    "%s",
		    ch->id, ch->path, why);
	else
		(void)err_set(e, r->error,
		    "Failed to add chardev '%s': Failed to connect to '%s': %s",
		    ch->id, ch->path, why);
}

static void
opened(void *self, const struct launch_msg *m, int *fds)
{
	struct chardev *ch = self;
	int error = m->result.error;
	bool patient = chardev_reconnects(ch) && ch->reconnect_ms > 0;

	(void)fds;
	ch->ask = 0;
	timer_stop(ch->due);
	if (error != 0 && !(patient && launch_may_come_later(error))) {
		explain(ch, &m->result);
		release(ch);
		return;
	}
	ch->state = CHARDEV_THERE;
	ch->connected = error == 0 && !ch->server;
	log_event(LOG_INFO, "chardev.add", "id=%s slot=%u", ch->id, ch->slot);
	finish(ch, NULL);
}

/* 0: it is on its way. */
static int
open_it(struct chardev *ch, struct err *e)
{
	struct launch_client *launch = ch->all->launch;
	struct launch_msg m = {.type = LAUNCH_OPEN};

	ch->slot = slot_take(launch, &slot_ops, ch);
	if (ch->slot == 0)
		return err_set(
		    e, -ENOSPC, "there is no room for another chardev");
	m.slot = ch->slot;
	m.open = ch->open;
	timer_set_ns(ch->due, ANSWER_DUE_NS);
	ch->ask = launch_ask(
	    launch, &m, ch->fd < 0 ? -1 : fd_take(&ch->fd), opened, ch);
	if (ch->ask != 0)
		return 0;
	slot_give(launch, ch->slot);
	return err_set(e, -ENOBUFS, "the launcher is too busy");
}

static int
check_id(const struct core *c, const char *id, struct err *e)
{
	int rc = graph_id_check(id, e);

	if (c->quitting)
		return err_set(e, -ESHUTDOWN, "the daemon is ending");
	if (rc == 0 && find_any(&c->chardevs, id))
		return err_set(
		    e, -EEXIST, "Chardev with id '%s' already exists", id);
	return rc;
}

/* The new record, being opened; NULL with *e. */
static struct chardev *
make(struct core *c, const struct chardev_add_args *args, struct err *e)
{
	struct chardev *ch;
	struct err why;
	int rc;

	if (check_id(c, args->id, e) < 0)
		return NULL;
	ch = calloc(1, sizeof *ch);
	if (!ch) {
		(void)err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	ch->all = &c->chardevs;
	ch->fd = -1;
	(void)snprintf(ch->id, sizeof ch->id, "%s", args->id);
	TAILQ_INSERT_TAIL(&c->chardevs.list, ch, entry);
	ch->due = timer_new(ch->all->loop, answer_late, ch);
	rc = ch->due ? chardev_check(
			   ch, &args->backend, c->netdevs.start_phase, &why)
		     : err_set(&why, -ENOMEM, "out of memory");
	if (rc == 0)
		rc = open_it(ch, &why);
	if (rc == 0)
		return ch;
	(void)err_set(
	    e, rc, "Failed to add chardev '%s': %s", args->id, why.text);
	chardev_free(ch);
	return NULL;
}

void
chardev_add(struct core *c, const struct chardev_add_args *args, core_done done,
    void *self)
{
	struct err e;
	struct chardev *ch = make(c, args, &e);

	if (!ch) {
		done(self, &e);
		return;
	}
	ch->done = done;
	ch->done_self = self;
}

/* --- its user --- */

struct chardev *
chardev_claim(
    struct chardevs *all, const char *id, const char *user, struct err *e)
{
	struct chardev *ch = chardev_find(all, id);

	if (!ch) {
		(void)err_set(e, -ENOENT, "chardev \"%s\" not found", id);
		return NULL;
	}
	if (ch->user) {
		(void)err_set(e, -EBUSY,
		    "chardev \"%s\" is busy: netdev '%s' uses it", id,
		    ch->user);
		return NULL;
	}
	ch->user = user;
	return ch;
}

void
chardev_give(struct chardev *ch)
{
	ch->user = NULL;
	/* Its connection went with its user. */
	if (chardev_reconnects(ch))
		ch->connected = false;
}

bool
chardev_reconnects(const struct chardev *ch)
{
	return ch->open.kind == RES_STREAM_CONNECT;
}

/* --- commands --- */

static void
answered(void *self, const struct err *e)
{
	if (e)
		call_fail(self, e);
	else
		call_return(self, NULL, NULL);
}

void
cmd_chardev_add(struct call *call, const struct chardev_add_args *args)
{
	chardev_add(core_get(), args, answered, call);
}

void
cmd_chardev_remove(struct call *call, const struct chardev_remove_args *args)
{
	chardev_remove(core_get(), args->id, answered, call);
}

static bool
is_connected(const struct core *c, const struct chardev *ch)
{
	const struct life *nd =
	    ch->user ? netdev_by_id(&c->netdevs, ch->user) : NULL;

	return nd ? nd->connected : ch->connected;
}

void
cmd_query_chardev(struct call *call, const struct query_chardev_args *args)
{
	struct core *c = core_get();
	struct chardev_info_list list = {0};
	char(*names)[CHARDEV_FILENAME_BYTES];
	struct chardev *ch;
	struct err e;
	size_t room = 1;

	(void)args;
	TAILQ_FOREACH (ch, &c->chardevs.list, entry)
		room++;
	list.items = calloc(room, sizeof *list.items);
	names = calloc(room, sizeof *names);
	TAILQ_FOREACH (ch, &c->chardevs.list, entry) {
		if (ch->state != CHARDEV_THERE || !list.items || !names)
			continue;
		chardev_filename(ch, is_connected(c, ch), names[list.count]);
		list.items[list.count].label = ch->id;
		list.items[list.count].filename = names[list.count];
		list.items[list.count++].frontend_open = ch->user != NULL;
	}
	if (list.items && names) {
		call_return(call, &desc_list_chardev_info, &list);
	} else {
		(void)err_set(&e, -ENOMEM, "out of memory");
		call_fail(call, &e);
	}
	free(list.items);
	free(names);
}
