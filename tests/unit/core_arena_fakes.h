/*
 * core_arena_fakes.h - what the fake launcher, lanes and backends of core_kit.h
 * do about arenas. Part of core_kit.h, included by it.
 *
 * They assert what the real ones rely on: a lane has one arena at a time, its
 * viewers are attached, and a viewer is told to let go only when no lane puts
 * references to it any more.
 */
#ifndef TESTS_CORE_ARENA_FAKES_H
#define TESTS_CORE_ARENA_FAKES_H

#include "proto/arena.h"

static unsigned kit_arenas;       /* LAUNCH_ARENA that were asked */
static uint64_t kit_arena_bytes;  /* by the last of them */
static int kit_arena_error;       /* for them */
static bool kit_arena_stuck;      /* they are not answered */
static unsigned kit_arena_closes; /* arena-close that came to anybody */

static void
answer_arena(const struct launch_msg *ask)
{
	struct launch_msg m = {
	    .type = LAUNCH_ARENA_MADE, .slot = ask->slot, .seq = ask->seq};
	const struct child *c = places[ask->slot].child;
	int fds[2];

	assert_true(arena_bytes_valid(ask->arena.bytes));
	kit_arenas++;
	kit_arena_bytes = ask->arena.bytes;
	if (kit_arena_stuck)
		return;
	m.result.error = kit_arena_error;
	if (!c || c->epoch != ask->arena.epoch)
		m.result.error = -ENOENT;
	else
		assert_int_equal(c->role, ROLE_LANE);
	for (int i = 0; i < 2; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	tell_broker(&m, fds, m.result.error ? 0 : 2);
	for (int i = 0; i < 2; i++)
		close(fds[i]);
}

/* --- lanes --- */

/* Whatever may change who gets what ends it, without a word. */
static void
child_abandons(struct child *c)
{
	c->arena = 0;
	c->viewers = 0;
	memset(c->viewing, 0, sizeof c->viewing);
}

int
lane_on_arena(void *self, uint32_t seq, const struct ctl_arena *m, int *fds)
{
	struct child *c = self;

	(void)seq;
	close(fds[0]);
	assert_int_equal(c->arena, 0);
	assert_int_not_equal(m->serial, 0);
	assert_int_equal(m->bytes, kit_arena_bytes);
	c->arena = m->serial;
	return 0;
}

int
lane_on_arena_viewer(void *self, uint32_t seq, const struct ctl_arena_viewer *m)
{
	struct child *c = self;

	(void)seq;
	if (c->arena != m->serial)
		return 0;
	assert_int_equal(c->attached[m->port], m->epoch);
	assert_true(c->planned[m->port]);
	assert_false(c->viewing[m->port]);
	c->viewing[m->port] = true;
	c->viewers++;
	return 0;
}

int
lane_on_arena_end(void *self, uint32_t seq, const struct ctl_arena_end *m)
{
	const struct ctl_arena_ended answer = {.serial = m->serial};
	struct child *c = self;

	if (c->fate == FATE_ARENA_STAYS)
		return 0;
	if (c->arena == m->serial)
		child_abandons(c);
	(void)ctl_send_arena_ended(c->chan, seq, &answer);
	return 0;
}

/* --- backends --- */

static uint32_t *
child_view(struct child *c, uint32_t serial)
{
	for (size_t k = 0; k < sizeof c->views / sizeof *c->views; k++)
		if (c->views[k] == serial)
			return &c->views[k];
	return NULL;
}

int
backend_on_arena_view(
    void *self, uint32_t seq, const struct ctl_arena_view *m, int *fds)
{
	struct child *c = self;
	struct ctl_arena_viewed answer = {.serial = m->serial};
	uint32_t *room = child_view(c, 0);

	close(fds[0]);
	assert_int_not_equal(m->serial, 0);
	assert_int_equal(m->bytes, kit_arena_bytes);
	assert_null(child_view(c, m->serial));
	assert_non_null(room);
	if (c->fate == FATE_VIEW_FAILS)
		answer.error = text("no\nroom");
	else
		*room = m->serial;
	if (c->fate != FATE_VIEW_SILENT)
		(void)ctl_send_arena_viewed(c->chan, seq, &answer);
	return 0;
}

int
backend_on_arena_close(
    void *self, uint32_t seq, const struct ctl_arena_close *m)
{
	struct child *c = self;
	uint32_t *view = child_view(c, m->serial);

	(void)seq;
	assert_non_null(view);
	*view = 0;
	kit_arena_closes++;
	for (uint32_t s = 1; s < LAUNCH_SLOTS; s++)
		if (places[s].child && places[s].child->role == ROLE_LANE)
			assert_int_not_equal(places[s].child->arena, m->serial);
	return 0;
}

#endif
