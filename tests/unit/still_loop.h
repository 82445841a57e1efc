/*
 * still_loop.h - proto/loop.h with a clock that stands still while anything
 * else happens: deadlines of minutes pass in no time, in the right order.
 * Replaces loop.c in the test program that includes it, once.
 */
#ifndef TESTS_STILL_LOOP_H
#define TESTS_STILL_LOOP_H

#include "proto/loop.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <cmocka.h>

struct watch {
	TAILQ_ENTRY(watch) entry;
	int fd;
	unsigned events;
	bool dead;
	void (*ready)(void *self, unsigned events);
	void *self;
};

struct timer {
	TAILQ_ENTRY(timer) entry;
	uint64_t due_ns;
	bool set;
	void (*expired)(void *self);
	void *self;
};

struct again {
	SLIST_ENTRY(again) entry;
	bool on;
	void (*turn)(void *self);
	void *self;
};

struct loop {
	TAILQ_HEAD(, watch) watches;
	TAILQ_HEAD(, timer) timers;
	SLIST_HEAD(, again) agains;
	uint64_t now_ns;
	int stopped, code;
};

static struct loop kit_loop;

void
loop_stop(struct loop *l, int code)
{
	l->stopped = 1;
	l->code = code;
}

struct watch *
watch_new(struct loop *l, int fd, unsigned want,
    void (*ready)(void *self, unsigned events), void *self)
{
	struct watch *w = calloc(1, sizeof *w);

	assert_non_null(w);
	w->fd = fd;
	w->events = want;
	w->ready = ready;
	w->self = self;
	TAILQ_INSERT_TAIL(&l->watches, w, entry);
	return w;
}

void
watch_set(struct watch *w, unsigned want)
{
	w->events = want;
}

void
watch_free(struct watch *w)
{
	if (w)
		w->dead = true; /* swept between two turns */
}

struct timer *
timer_new(struct loop *l, void (*expired)(void *self), void *self)
{
	struct timer *t = calloc(1, sizeof *t);

	assert_non_null(t);
	t->expired = expired;
	t->self = self;
	TAILQ_INSERT_TAIL(&l->timers, t, entry);
	return t;
}

void
timer_set_ns(struct timer *t, uint64_t after_ns)
{
	t->set = true;
	t->due_ns = kit_loop.now_ns + after_ns;
}

void
timer_stop(struct timer *t)
{
	t->set = false;
}

bool
timer_pending(const struct timer *t)
{
	return t->set;
}

void
timer_free(struct timer *t)
{
	if (!t)
		return;
	TAILQ_REMOVE(&kit_loop.timers, t, entry);
	free(t);
}

struct again *
again_new(struct loop *l, void (*turn)(void *self), void *self)
{
	struct again *a = calloc(1, sizeof *a);

	assert_non_null(a);
	a->turn = turn;
	a->self = self;
	SLIST_INSERT_HEAD(&l->agains, a, entry);
	return a;
}

void
again_set(struct again *a, bool on)
{
	a->on = on;
}

void
again_free(struct again *a)
{
	if (!a)
		return;
	SLIST_REMOVE(&kit_loop.agains, a, again, entry);
	free(a);
}

static void
sweep_watches(void)
{
	struct watch *w, *next;

	for (w = TAILQ_FIRST(&kit_loop.watches); w; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (!w->dead)
			continue;
		TAILQ_REMOVE(&kit_loop.watches, w, entry);
		free(w);
	}
}

/* One of those that are on. Whether there was one. */
static bool
turn_agains(void)
{
	struct again *a = SLIST_FIRST(&kit_loop.agains);

	while (a && !a->on)
		a = SLIST_NEXT(a, entry);
	if (a)
		a->turn(a->self);
	return a != NULL;
}

/* Call one of the watches that are ready, any. Whether there was one. */
static bool
turn_watches(void)
{
	struct watch *w, *found = NULL;
	unsigned what = 0, seen = 0;

	sweep_watches();
	TAILQ_FOREACH (w, &kit_loop.watches, entry) {
		struct pollfd p = {.fd = w->fd};
		unsigned got = 0;

		if (w->events & WATCH_READ)
			p.events |= POLLIN;
		if (w->events & WATCH_WRITE)
			p.events |= POLLOUT;
		if (w->events == 0 || poll(&p, 1, 0) <= 0)
			continue;
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			got |= WATCH_READ;
		if (p.revents & (POLLOUT | POLLERR))
			got |= WATCH_WRITE;
		got &= w->events;
		if (got == 0 || (unsigned)rand() % ++seen != 0)
			continue;
		found = w;
		what = got;
	}
	if (!found)
		return turn_agains();
	found->ready(found->self, what);
	return true;
}

/* Let the earliest timer expire. Whether there was one. */
static bool
turn_timers(uint64_t until_ns)
{
	struct timer *t, *first = NULL;

	TAILQ_FOREACH (t, &kit_loop.timers, entry)
		if (t->set && (!first || t->due_ns < first->due_ns))
			first = t;
	if (!first || first->due_ns > until_ns)
		return false;
	if (first->due_ns > kit_loop.now_ns)
		kit_loop.now_ns = first->due_ns;
	first->set = false;
	first->expired(first->self);
	return true;
}

/* Run until nothing happens any more within `ns` of our time. */
static inline void
kit_run(uint64_t ns)
{
	uint64_t until_ns = kit_loop.now_ns + ns;

	while (turn_watches() || turn_timers(until_ns))
		;
	sweep_watches();
}

#define KIT_SECOND UINT64_C(1000000000)

#endif
