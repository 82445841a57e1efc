/*
 * loop.c - readiness by libevent, time by one timerfd.
 *
 * Runs in: broker, lanes, backends. Trusts: its callers.
 *
 * Theory of operation
 * Descriptors. A watch is two libevent events, one per direction, so that
 * turning one direction on or off is one epoll_ctl(2) and turning nothing is
 * none. EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST would save more, and must not be
 * used: it removes a descriptor from epoll later than we close it, and as the
 * launcher keeps a copy of nearly every descriptor of ours, the kernel would
 * go on reporting a file that we no longer have.
 *
 * Time. libevent's timers count from the time at which the loop last woke, by
 * a coarse clock, in whole milliseconds: they can end 4 ms early. Ours are a
 * sorted list behind one timerfd on CLOCK_MONOTONIC. The timerfd is set when
 * the first deadline becomes earlier, and left alone when it becomes later or
 * goes away: then it fires once for nothing, which is cheaper than a system
 * call for each timer_set_ns and timer_stop. With no timer it is disarmed by
 * that one firing, and an idle loop sleeps for ever.
 *
 * Freeing in callbacks. libevent allows to free an event in its own callback.
 * A timer leaves the list before its callback, and nothing touches it after.
 *
 * Specification: libevent 2.1 event.h, timerfd_create(2).
 */
#include "proto/loop.h"

#include "proto/log.h"
#include "proto/sys.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#define SECOND_NS 1000000000u
/* Longer than any process lives, and far from the end of a time_t. */
#define AFTER_NS_MAX (UINT64_C(1) << 60)

struct loop {
	struct event_base *base; /* owned */
	struct watch *clock;     /* owned, on clock_fd */
	struct timer *first;     /* pending timers by deadline, borrowed */
	struct timer *last;
	uint64_t armed_ns; /* when clock_fd will fire; UINT64_MAX: never */
	int clock_fd;      /* owned */
	int code;          /* for loop_run to return */
	bool stopping;
};

struct watch {
	struct event reads, writes; /* owned, in the loop's base */
	void (*ready)(void *self, unsigned events);
	void *self;
	unsigned events; /* what is added now: WATCH_READ, WATCH_WRITE */
};

struct timer {
	struct loop *loop; /* borrowed */
	struct timer *prev, *next;
	void (*expired)(void *self);
	void *self;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	bool pending;         /* in the loop's list */
};

struct again {
	struct event event; /* owned, in the loop's base; has no descriptor */
	void (*turn)(void *self);
	void *self;
	bool on;
};

struct onsig {
	struct event event; /* owned, in the loop's base */
	void (*caught)(void *self);
	void *self;
};

/* --- watches -------------------------------------------------------------- */

static void
watch_readable(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	(void)what;
	w->ready(w->self, WATCH_READ);
}

static void
watch_writable(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	(void)what;
	w->ready(w->self, WATCH_WRITE);
}

/* Add or remove one direction. 0, or -1 when the kernel refuses. */
static int
direction_set(struct event *event, bool want, bool have)
{
	if (want == have)
		return 0;
	return want ? event_add(event, NULL) : event_del(event);
}

static int
watch_try(struct watch *w, unsigned events)
{
	int rc;

	rc = direction_set(
	    &w->reads, events & WATCH_READ, w->events & WATCH_READ);
	if (rc == 0)
		rc = direction_set(
		    &w->writes, events & WATCH_WRITE, w->events & WATCH_WRITE);
	if (rc == 0)
		w->events = events;
	return rc;
}

struct watch *
watch_new(struct loop *l, int fd, unsigned events,
    void (*ready)(void *self, unsigned events), void *self)
{
	struct watch *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->ready = ready;
	w->self = self;
	BUG_ON(event_assign(&w->reads, l->base, fd, EV_READ | EV_PERSIST,
		   watch_readable, w) != 0);
	BUG_ON(event_assign(&w->writes, l->base, fd, EV_WRITE | EV_PERSIST,
		   watch_writable, w) != 0);
	if (watch_try(w, events) != 0) {
		watch_free(w);
		return NULL;
	}
	return w;
}

void
watch_set(struct watch *w, unsigned events)
{
	if (w->events == events)
		return;
	/* No memory for epoll: a process that hears nothing is no process. */
	BUG_ON(watch_try(w, events) != 0);
}

void
watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	(void)event_del(&w->reads);
	(void)event_del(&w->writes);
	free(w);
}

/* --- another turn --------------------------------------------------------- */

/* A time that is over already: the loop looks at its descriptors without
 * waiting, and then at this. */
static void
again_add(struct again *a)
{
	static const struct timeval now;

	BUG_ON(event_add(&a->event, &now) != 0);
}

static void
again_fired(evutil_socket_t fd, short what, void *arg)
{
	struct again *a = arg;

	(void)fd;
	(void)what;
	/* Before: it may turn this off, or free it. */
	again_add(a);
	a->turn(a->self);
}

struct again *
again_new(struct loop *l, void (*turn)(void *self), void *self)
{
	struct again *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	a->turn = turn;
	a->self = self;
	if (event_assign(&a->event, l->base, -1, 0, again_fired, a) != 0) {
		free(a);
		return NULL;
	}
	return a;
}

void
again_set(struct again *a, bool on)
{
	if (a->on == on)
		return;
	a->on = on;
	if (on)
		again_add(a);
	else
		(void)event_del(&a->event);
}

void
again_free(struct again *a)
{
	if (a == NULL)
		return;
	(void)event_del(&a->event);
	free(a);
}

/* --- timers --------------------------------------------------------------- */

/* Let the timerfd fire at deadline_ns; UINT64_MAX disarms it. */
static void
clock_arm(struct loop *l, uint64_t deadline_ns)
{
	struct itimerspec when = {0};

	l->armed_ns = deadline_ns;
	if (deadline_ns != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(deadline_ns / SECOND_NS);
		when.it_value.tv_nsec = (long)(deadline_ns % SECOND_NS);
	}
	BUG_ON(
	    timerfd_settime(l->clock_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0);
}

static void
timer_unlink(struct timer *t)
{
	struct loop *l = t->loop;

	*(t->prev != NULL ? &t->prev->next : &l->first) = t->next;
	*(t->next != NULL ? &t->next->prev : &l->last) = t->prev;
	t->prev = t->next = NULL;
	t->pending = false;
}

/* From the end: new deadlines are mostly the latest. */
static void
timer_link(struct timer *t)
{
	struct loop *l = t->loop;
	struct timer *before = l->last;

	while (before != NULL && before->deadline_ns > t->deadline_ns)
		before = before->prev;
	t->prev = before;
	t->next = before != NULL ? before->next : l->first;
	*(t->prev != NULL ? &t->prev->next : &l->first) = t;
	*(t->next != NULL ? &t->next->prev : &l->last) = t;
	t->pending = true;
}

/* The timerfd fired: run what is due by now, then set it for the next. */
static void
clock_fired(void *self, unsigned events)
{
	struct loop *l = self;
	uint64_t now = sys_mono_ns();
	struct timer *t;

	(void)events;
	/* Re-arming also takes back the tick; there is nothing to read. */
	clock_arm(l, UINT64_MAX);
	/* A timer that its callback sets again is due after `now`. */
	while (
	    (t = l->first) != NULL && t->deadline_ns <= now && !l->stopping) {
		timer_unlink(t);
		t->expired(t->self);
	}
	if (l->first != NULL && l->first->deadline_ns < l->armed_ns)
		clock_arm(l, l->first->deadline_ns);
}

struct timer *
timer_new(struct loop *l, void (*expired)(void *self), void *self)
{
	struct timer *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	t->loop = l;
	t->expired = expired;
	t->self = self;
	return t;
}

void
timer_set_ns(struct timer *t, uint64_t after_ns)
{
	struct loop *l = t->loop;

	if (after_ns > AFTER_NS_MAX)
		after_ns = AFTER_NS_MAX;
	timer_stop(t);
	/* + 1: later than the `now` of a clock_fired that we may be inside */
	t->deadline_ns = sys_mono_ns() + after_ns + 1;
	timer_link(t);
	if (t->deadline_ns < l->armed_ns)
		clock_arm(l, t->deadline_ns);
}

void
timer_stop(struct timer *t)
{
	if (t->pending)
		timer_unlink(t);
}

bool
timer_pending(const struct timer *t)
{
	return t->pending;
}

void
timer_free(struct timer *t)
{
	if (t == NULL)
		return;
	timer_stop(t);
	free(t);
}

/* --- signals -------------------------------------------------------------- */

static void
signal_caught(evutil_socket_t signo, short what, void *arg)
{
	struct onsig *s = arg;

	(void)signo;
	(void)what;
	s->caught(s->self);
}

struct onsig *
onsig_new(struct loop *l, int signo, void (*caught)(void *self), void *self)
{
	struct onsig *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->caught = caught;
	s->self = self;
	BUG_ON(event_assign(&s->event, l->base, signo, EV_SIGNAL | EV_PERSIST,
		   signal_caught, s) != 0);
	if (event_add(&s->event, NULL) != 0) {
		free(s);
		return NULL;
	}
	return s;
}

void
onsig_free(struct onsig *s)
{
	if (s == NULL)
		return;
	(void)event_del(&s->event);
	free(s);
}

/* --- the loop ------------------------------------------------------------- */

/* libevent's own words would go to a stdio stream. */
static void
libevent_said(int severity, const char *text)
{
	if (severity >= EVENT_LOG_WARN)
		log_event(
		    LOG_WARN, "libevent.warn", "text=%s", log_quote(text));
}

static void
libevent_died(int error)
{
	(void)error;
	bug("libevent", 0, "fatal");
}

static struct event_base *
base_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base;

	if (config == NULL)
		return NULL;
	(void)event_config_set_flag(
	    config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

struct loop *
loop_new(void)
{
	struct loop *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	event_set_log_callback(libevent_said);
	event_set_fatal_callback(libevent_died);
	l->armed_ns = UINT64_MAX;
	l->clock_fd =
	    timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	l->base = base_new();
	if (l->clock_fd >= 0 && l->base != NULL)
		l->clock =
		    watch_new(l, l->clock_fd, WATCH_READ, clock_fired, l);
	if (l->clock == NULL) {
		loop_free(l);
		return NULL;
	}
	return l;
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	watch_free(l->clock);
	if (l->base != NULL)
		event_base_free(l->base);
	fd_close(&l->clock_fd);
	free(l);
}

int
loop_run(struct loop *l)
{
	/* A stop from before the run, or from a callback, ends it. */
	while (!l->stopping)
		BUG_ON(event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0);
	l->stopping = false;
	return l->code;
}

void
loop_stop(struct loop *l, int code)
{
	l->code = code;
	l->stopping = true;
	(void)event_base_loopbreak(l->base);
}
