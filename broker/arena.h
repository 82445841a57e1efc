/*
 * arena.h - the arenas of large groups (proto/arena.h): who may read one, and
 * when it begins and ends. Runs in the broker.
 *
 * The lane writes to an arena, and gives it up by itself when anything comes
 * that may change who gets what there: nothing here has to be in time for
 * that. What is done here is to notice, to let everybody go, and to begin
 * another when nothing has changed for a while. Who does not read the arena
 * gets copies, so nothing is lost in between.
 *
 * struct islands owns its arenas; an island has one at most, until its lane
 * has given it up.
 */
#ifndef BROKER_ARENA_H
#define BROKER_ARENA_H

#include "gen/control.h"

#include <stdbool.h>

struct arenas;
struct island;
struct islands;
struct port;

/* arenas_new - NULL: out of memory. arenas_free - when no island is left. */
struct arenas *arenas_new(struct islands *islands);
void arenas_free(struct arenas *all);

/* arenas_switch - off: there is none from now on. On at first. */
void arenas_switch(struct arenas *all, bool on);

/*
 * arenas_look - plans, ports or filters have changed: end what may not be any
 * more, now; begin what may be, later.
 */
void arenas_look(struct arenas *all);

/* arena_lane_gone - the island's lane is dead: nobody writes there any more. */
void arena_lane_gone(struct island *i);

/* arena_forget - the island is being freed. */
void arena_forget(struct island *i);

/* arena_is_viewer - do frames come to the port through its group's arena? */
bool arena_is_viewer(const struct port *p);

/*
 * What a port's process and a lane say; -EPROTO: they may not say that now.
 * A backend may be late, and speak of an arena that is over.
 */
int arena_viewed(struct port *p, const struct ctl_arena_viewed *m);
int arena_ended(struct island *i, const struct ctl_arena_ended *m);

#endif
