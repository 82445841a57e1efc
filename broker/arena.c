/*
 * arena.c - the life of an island's arena.
 *
 * Runs in: the broker. Trusts: the launcher. What a backend says concerns
 * nobody but itself: one that says nothing, or cannot view, gets copies. A
 * lane that does not give an arena up is killed, as it is when it does not
 * let go of a port.
 * Specification: schema/control.json (arena and what follows it).
 *
 * Theory of operation: an arena is made for one lane, one plan that this has
 * been sent, and those ports of one group there that may view. WAITING, nothing
 * changes; ASKING, the launcher makes it; ON, the lane and the viewers have it;
 * ENDING, the lane must give it up. Only when it has, or is dead, viewers are
 * told to let go: all references are in their rings then. arenas_look()
 * compares each with what there is now; any difference ends it.
 *
 * Who can make arenas end, or keeps old ones, shall not have many: an island
 * has so many in a row, and then one every few seconds; and a process that has
 * not answered is not sent another.
 */
#include "broker/arena.h"

#include "broker/control.h"
#include "broker/islands.h"
#include "broker/launch_client.h"
#include "broker/netdev.h"
#include "broker/ports.h"
#include "proto/arena.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

/* Without any change, before one begins. */
#define CALM_NS (200 * MS)
/* Each one counts for so long, and only so much may count when one begins. */
#define EACH_NS  (4000 * MS)
#define SPENT_NS (30 * EACH_NS)
/* After the launcher could not make one; doubled each time. */
#define AGAIN_NS        (1000 * MS)
#define AGAIN_SHIFT_MAX 6u

enum arena_state {
	AR_WAITING, /* nothing may change for a while; no process knows of it */
	AR_ASKING,  /* the launcher, for its memory */
	AR_ON,      /* the lane has it, viewers come one after the other */
	AR_ENDING,  /* the lane must give it up */
};

/* A port's process. Its port may be gone any time: only numbers are kept. */
struct arena_viewer {
	uint32_t port, epoch;
	bool untold;         /* it has not answered an earlier `arena-view` */
	bool answered, able; /* it has answered this one, without error */
};

struct arena {
	struct arenas *all;
	struct island *island;
	enum arena_state state;
	uint32_t plan;     /* serial of the plan that it is for */
	uint32_t serial;   /* its own; 0 before AR_ON */
	uint32_t ask;      /* AR_ASKING: to the launcher */
	unsigned failures; /* of the launcher, one after the other */
	struct timer *due; /* owned: AR_WAITING and AR_ENDING end */
	size_t count;
	struct arena_viewer viewers[];
};

struct arenas {
	struct islands *islands; /* borrowed */
	bool on;
	uint32_t serial; /* last one used */
	/* Who may view now, of the island that is being looked at. */
	struct arena_viewer now[LAUNCH_SLOTS];
	size_t now_count;
};

/* --- who may view --- */

static bool
may_view(const struct island *i, const struct plan_port *w)
{
	const struct port *p = i->all->ports[w->port];

	return w->link_up && !w->drop && p && p->live && p->want == i &&
	       p->state == PORT_ATTACHED && p->lane == i &&
	       p->epoch == p->live && !p->filter;
}

/* The group with most viewers, the first of those. Groups count from 0. */
static uint32_t
find_group(const struct island *i)
{
	uint16_t viewers[LAUNCH_SLOTS] = {0};
	uint32_t best = 0;

	for (size_t k = 0; k < i->sent_count; k++) {
		uint32_t group = i->sent[k].group;

		BUG_ON(group >= LAUNCH_SLOTS);
		if (may_view(i, &i->sent[k]) &&
		    ++viewers[group] > viewers[best])
			best = group;
	}
	return best;
}

/* Fill all->now; nobody when there are too few. */
static void
find_viewers(struct arenas *all, const struct island *i)
{
	uint32_t group;

	all->now_count = 0;
	if (!all->on || !island_is_ready(i) ||
	    i->sent_count < ARENA_VIEWERS_LEAST)
		return;
	group = find_group(i);
	for (size_t k = 0; k < i->sent_count; k++) {
		const struct plan_port *w = &i->sent[k];

		if (w->group == group && may_view(i, w))
			all->now[all->now_count++] =
			    (struct arena_viewer){.port = w->port,
				.epoch = all->islands->ports[w->port]->live};
	}
	if (all->now_count < ARENA_VIEWERS_LEAST)
		all->now_count = 0;
}

static bool
viewers_equal(const struct arena *a)
{
	const struct arena_viewer *now = a->all->now;

	if (a->count != a->all->now_count)
		return false;
	for (size_t k = 0; k < a->count; k++)
		if (a->viewers[k].port != now[k].port ||
		    a->viewers[k].epoch != now[k].epoch)
			return false;
	return true;
}

/* Why it may not go on; NULL: it may. */
static const char *
against(const struct arena *a)
{
	if (a->state == AR_ENDING)
		return NULL;
	if (!a->all->on)
		return "switched off";
	if (!island_is_ready(a->island))
		return "no lane";
	if (a->plan != a->island->serial)
		return "another plan";
	find_viewers(a->all, a->island);
	return viewers_equal(a) ? NULL : "others may view";
}

/* The viewer's port, while the same process lives there. */
static struct port *
port_of(const struct arena *a, const struct arena_viewer *v)
{
	struct port *p = a->all->islands->ports[v->port];

	return p && p->live == v->epoch ? p : NULL;
}

static struct arena_viewer *
find_viewer(struct arena *a, const struct port *p)
{
	for (size_t k = 0; k < a->count; k++)
		if (port_of(a, &a->viewers[k]) == p)
			return &a->viewers[k];
	return NULL;
}

/* --- what lane and viewers are told: who does not take it is dying, or does
 * not answer in time --- */

static struct control *
control_of(const struct arena *a, const struct arena_viewer *v)
{
	struct port *p = port_of(a, v);

	return p ? p->ops->control(p->self) : NULL;
}

static void
send_view(const struct arena *a, struct arena_viewer *v, int fd)
{
	const struct ctl_arena_view m = {
	    .serial = a->serial, .bytes = arena_bytes_for(a->count)};
	struct port *p = port_of(a, v);
	struct control *c = control_of(a, v);

	v->untold = !c || p->unviewed != 0;
	if (v->untold)
		return;
	p->unviewed = a->serial;
	(void)ctl_send_arena_view(control_chan(c), control_seq(c), &m, &fd);
}

static void
send_memory(struct arena *a, const int fds[2])
{
	const struct ctl_arena m = {
	    .serial = a->serial, .bytes = arena_bytes_for(a->count)};

	(void)ctl_send_arena(control_chan(a->island->control), 0, &m, &fds[0]);
	for (size_t k = 0; k < a->count; k++)
		send_view(a, &a->viewers[k], fds[1]);
}

static void
send_viewer(const struct arena *a, const struct arena_viewer *v)
{
	const struct ctl_arena_viewer m = {
	    .serial = a->serial, .port = v->port, .epoch = v->epoch};

	(void)ctl_send_arena_viewer(control_chan(a->island->control), 0, &m);
}

static void
send_end(const struct arena *a)
{
	const struct ctl_arena_end m = {.serial = a->serial};
	struct control *c = a->island->control;

	(void)ctl_send_arena_end(control_chan(c), control_seq(c), &m);
}

static void
send_close(const struct arena *a)
{
	const struct ctl_arena_close m = {.serial = a->serial};

	for (size_t k = 0; k < a->count; k++) {
		const struct arena_viewer *v = &a->viewers[k];
		struct control *c = control_of(a, v);

		if (c && !v->untold && (v->able || !v->answered))
			(void)ctl_send_arena_close(control_chan(c), 0, &m);
	}
}

/* --- the end --- */

static void
drop(struct arena *a)
{
	launch_forget(a->all->islands->launch, a->ask);
	a->island->arena = NULL;
	timer_free(a->due);
	free(a);
}

static void
tell_off(const struct arena *a, const char *reason)
{
	char name[ISLAND_NAME_BYTES];

	if (a->state == AR_ON)
		log_event(LOG_INFO, "arena.off",
		    "island=%s serial=%u reason=%s",
		    island_name(a->island, name), a->serial, log_quote(reason));
}

/* Of a lane that is on its way out, only the end will be heard. */
static void
end(struct arena *a, const char *reason)
{
	tell_off(a, reason);
	if (a->state != AR_ON) {
		drop(a);
		return;
	}
	a->state = AR_ENDING;
	if (!island_is_ready(a->island))
		return;
	timer_set_ns(a->due, ctl_deadline_ms(CTL_ARENA_END) * MS);
	send_end(a);
}

/* --- the beginning --- */

static void
make(struct arena *a, const int fds[2])
{
	char name[ISLAND_NAME_BYTES];

	if (++a->all->serial == 0)
		a->all->serial = 1;
	a->serial = a->all->serial;
	a->state = AR_ON;
	a->failures = 0;
	a->island->arenas_ns += EACH_NS;
	send_memory(a, fds);
	log_event(LOG_INFO, "arena.on", "island=%s viewers=%zu serial=%u",
	    island_name(a->island, name), a->count, a->serial);
}

static void
wait_again(struct arena *a, const struct launch_result *r)
{
	char name[ISLAND_NAME_BYTES];

	log_event(LOG_DEBUG, "arena.refused", "island=%s reason=%s",
	    island_name(a->island, name), log_quote(launch_why(r)));
	a->state = AR_WAITING;
	timer_set_ns(a->due, AGAIN_NS << a->failures);
	if (a->failures < AGAIN_SHIFT_MAX)
		a->failures++;
}

/* The launcher has made it; or cannot, for now. */
static void
made(void *self, const struct launch_msg *m, int *fds)
{
	struct arena *a = self;
	struct arenas *all = a->all;
	bool whole = m->result.error == 0 && fds[0] >= 0 && fds[1] >= 0;

	a->ask = 0;
	if (against(a))
		drop(a);
	else if (whole)
		make(a, fds);
	else
		wait_again(a, &m->result);
	arenas_look(all);
}

static void
ask(struct arena *a)
{
	const struct island *i = a->island;
	struct launch_msg m = {.type = LAUNCH_ARENA, .slot = i->slot};

	m.arena.epoch = i->epoch;
	m.arena.bytes = arena_bytes_for(a->count);
	a->ask = launch_ask(a->all->islands->launch, &m, -1, made, a);
	if (a->ask == 0)
		timer_set_ns(a->due, CALM_NS);
	else
		a->state = AR_ASKING;
}

/* The state has lasted long enough. */
static void
late(void *self)
{
	struct arena *a = self;
	struct arenas *all = a->all;

	if (a->state == AR_ENDING)
		island_fault(a->island, "does not give up an arena");
	else if (!against(a))
		ask(a);
	arenas_look(all);
}

/* How long nothing must change, and as many as there were before weigh. */
static uint64_t
calm_ns(struct island *i)
{
	uint64_t now_ns = sys_mono_ns(), spent_ns;

	if (i->arenas_ns < now_ns)
		i->arenas_ns = now_ns;
	spent_ns = i->arenas_ns - now_ns;
	return CALM_NS + (spent_ns > SPENT_NS ? spent_ns - SPENT_NS : 0);
}

/* For those in all->now: the time begins to run. */
static void
begin(struct arenas *all, struct island *i)
{
	size_t bytes = all->now_count * sizeof *all->now;
	struct arena *a = calloc(1, sizeof *a + bytes);

	if (a)
		a->due = timer_new(all->islands->loop, late, a);
	if (!a || !a->due) {
		free(a);
		return; /* copies do as well; next time */
	}
	a->all = all;
	a->island = i;
	a->plan = i->serial;
	a->count = all->now_count;
	memcpy(a->viewers, all->now, bytes);
	i->arena = a;
	timer_set_ns(a->due, calm_ns(i));
}

/* --- all of them --- */

/* Nothing in it calls back: who is told something hears of it later. */
void
arenas_look(struct arenas *all)
{
	struct island *i;

	TAILQ_FOREACH (i, &all->islands->list, entry) {
		const char *reason = i->arena ? against(i->arena) : NULL;

		if (reason)
			end(i->arena, reason);
		if (i->arena)
			continue;
		find_viewers(all, i);
		if (all->now_count > 0)
			begin(all, i);
	}
}

struct arenas *
arenas_new(struct islands *islands)
{
	struct arenas *all = calloc(1, sizeof *all);

	if (!all)
		return NULL;
	all->islands = islands;
	all->on = true;
	return all;
}

void
arenas_free(struct arenas *all)
{
	free(all);
}

void
arenas_switch(struct arenas *all, bool on)
{
	all->on = on;
	arenas_look(all);
}

void
arena_lane_gone(struct island *i)
{
	if (!i->arena)
		return;
	tell_off(i->arena, "no lane");
	if (i->arena->serial != 0)
		send_close(i->arena);
	drop(i->arena);
}

void
arena_forget(struct island *i)
{
	if (i->arena)
		drop(i->arena);
}

bool
arena_is_viewer(const struct port *p)
{
	struct arena *a = p->want ? p->want->arena : NULL;
	const struct arena_viewer *v =
	    a && a->state == AR_ON ? find_viewer(a, p) : NULL;

	return v && v->able;
}

/* --- what viewers and lane say --- */

/* The arena of that serial, if the port's process was told of it. */
static struct arena_viewer *
find_told(struct port *p, uint32_t serial, struct arena **out)
{
	struct island *i;

	TAILQ_FOREACH (i, &p->all->list, entry)
		if (i->arena && i->arena->serial == serial && serial != 0) {
			*out = i->arena;
			return find_viewer(i->arena, p);
		}
	return NULL;
}

/* Its answer of earlier is here: it may be told of the present one, by which
 * all begin anew. */
static void
catch_up(struct port *p)
{
	struct arena *a = p->want ? p->want->arena : NULL;
	const struct arena_viewer *v =
	    a && a->state == AR_ON ? find_viewer(a, p) : NULL;

	p->unviewed = 0;
	if (!v || !v->untold)
		return;
	end(a, "one more may view");
	arenas_look(p->all->arenas);
}

int
arena_viewed(struct port *p, const struct ctl_arena_viewed *m)
{
	char clean[LIFE_TEXT_BYTES];
	struct arena *a = NULL;
	struct arena_viewer *v = find_told(p, m->serial, &a);

	if (p->unviewed != 0 && p->unviewed == m->serial)
		catch_up(p);
	if (!v)
		return 0;
	if (v->answered || v->untold)
		return -EPROTO;
	v->answered = true;
	v->able = !m->error;
	if (m->error) {
		text_clean(clean, sizeof clean, m->error);
		log_event(LOG_INFO, "arena.copies", "id=%s reason=%s",
		    p->ops->name(p->self), log_quote(clean));
	} else if (a->state == AR_ON && island_is_ready(a->island)) {
		send_viewer(a, v);
	}
	return 0;
}

int
arena_ended(struct island *i, const struct ctl_arena_ended *m)
{
	struct arenas *all = i->all->arenas;
	struct arena *a = i->arena;

	if (!a || a->state != AR_ENDING || a->serial != m->serial)
		return -EPROTO;
	send_close(a);
	drop(a);
	arenas_look(all);
	return 0;
}
