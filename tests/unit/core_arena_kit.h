/*
 * core_arena_kit.h - what the tests of arenas in the core share: a hub, who
 * views on it, and what is against that. Included once per test program.
 */
#ifndef TESTS_CORE_ARENA_KIT_H
#define TESTS_CORE_ARENA_KIT_H

#include "tests/unit/core_crossover_kit.h"

#include "broker/arena.h"

/* Netdevs a, b, c... on hub 0. */
#define LEAST ARENA_VIEWERS_LEAST

static inline const char *
nth(unsigned k)
{
	static const char *const names[] = {
	    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"};

	return names[k];
}

static inline void
begin_hub(unsigned count)
{
	kit_start(NULL);
	for (unsigned k = 0; k < count; k++)
		add_on_hub(nth(k));
}

/* Does the lane put references into its ring, as we see it and as they do? */
static inline bool
is_viewer(const char *id)
{
	const struct life *nd = life_of(id);
	struct child *c = kit_child(id), *lane = kit_lane_of(id);

	if (!c || !arena_is_viewer(nd->port))
		return false;
	assert_non_null(lane);
	assert_int_not_equal(lane->arena, 0);
	assert_true(lane->viewing[nd->slot]);
	assert_non_null(child_view(c, lane->arena));
	return true;
}

/* Of an arena that is on, or that it should let go of. */
static inline unsigned
views_of(const char *id)
{
	struct child *c = kit_child(id);
	unsigned n = 0;

	for (size_t k = 0; c && k < sizeof c->views / sizeof *c->views; k++)
		n += c->views[k] != 0;
	return n;
}

/* All of the first `count` view, and nobody else. */
static inline void
assert_on(unsigned count)
{
	for (unsigned k = 0; k < count; k++) {
		assert_true(is_viewer(nth(k)));
		assert_int_equal(views_of(nth(k)), 1);
	}
	assert_int_equal(kit_lane_of("a")->viewers, count);
}

/* Nobody has anything of one. */
static inline void
assert_off(unsigned count)
{
	for (unsigned k = 0; k < count; k++) {
		assert_false(arena_is_viewer(life_of(nth(k))->port));
		assert_int_equal(views_of(nth(k)), 0);
		if (kit_lane_of(nth(k)))
			assert_int_equal(kit_lane_of(nth(k))->arena, 0);
	}
}

static inline void
begin_on(unsigned count)
{
	begin_hub(count);
	kit_wait(KIT_CALM);
	assert_int_equal(kit_arenas, 1);
	assert_on(count);
}

static inline void
say_viewed(const char *id, uint32_t serial, const char *error)
{
	const struct ctl_arena_viewed m = {
	    .serial = serial, .error = text(error)};

	(void)ctl_send_arena_viewed(kit_child(id)->chan, 0, &m);
	kit_settle(0);
}

static inline void
say_given_up(struct child *lane, uint32_t serial)
{
	const struct ctl_arena_ended m = {.serial = serial};

	(void)ctl_send_arena_ended(lane->chan, 0, &m);
	kit_settle(0);
}

static inline bool
shown(const char *id)
{
	struct query_netdevs_args args = {.id = text(id)};
	struct call c = {0};
	json_t *tree;
	bool on;

	cmd_query_netdevs(&c, &args);
	kit_settle(0);
	assert_int_equal(c.told, 1);
	tree = json_loads(c.json, 0, NULL);
	on = json_is_true(json_object_get(json_array_get(tree, 0), "arena"));
	query_end(tree, &c);
	return on;
}

/* --- reasons against it, each with its opposite --- */

static inline void
move_away(void)
{
	del("pb");
	add_hubport("pb", 1, "b");
}

static inline void
move_back(void)
{
	del("pb");
	plug();
}

static inline void
switch_off(void)
{
	core_arena(kit_core, false);
	kit_settle(0);
}

static inline void
switch_on(void)
{
	core_arena(kit_core, true);
	kit_settle(0);
}

static const struct {
	void (*comes)(void), (*goes)(void);
} reasons[] = {
    {link_goes, link_comes},
    {port_goes, port_comes},
    {unplug, plug},
    {move_away, move_back},
    {drop_begins, move_back},
    {switch_off, switch_on},
    {filter_comes, filter_goes},
};

#define REASONS (sizeof reasons / sizeof *reasons)

#endif
