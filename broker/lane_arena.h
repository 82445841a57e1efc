/*
 * lane_arena.h - the arena of a lane's largest group: who views it, which of
 * its chunks are needed, and where the frames of a batch went.
 *
 * struct lane owns it; it is not allocated, and no memory is mapped: frames go
 * in with pwritev(2) and are never read here. proto/arena.h says what it is.
 * Runs in bulkhead-lane.
 */
#ifndef BROKER_LANE_ARENA_H
#define BROKER_LANE_ARENA_H

#include "proto/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lane;
struct lane_batch;
struct port;

/*
 * Less than this of a batch is copied into each ring: a few copies are cheaper
 * than the calls that an arena takes.
 */
#define LANE_ARENA_LEAST 4096u

/* With fewer viewers copies are cheaper: some of those who may view may not be
 * able to. */
#define LANE_ARENA_VIEWERS 3u

/* Bytes of a batch that goes into one: no cache has to hold it, as each frame
 * is copied once. */
#define LANE_ARENA_BATCH (64u << 10)

struct lane_arena {
	uint32_t serial; /* 0: there is none */
	int fd;          /* owned, may be written */
	struct port *
	    *member; /* borrowed: the viewers' group; NULL: no viewer */
	size_t viewers;
	uint32_t chunks;
	uint32_t now;  /* chunk that is being filled; = chunks: none */
	uint32_t used; /* bytes of it */
	uint32_t free_count;
	uint32_t free[ARENA_CHUNKS_MAX]; /* the last one is used next */
	uint16_t refs[ARENA_CHUNKS_MAX]; /* viewers that have not read all */
	uint64_t batch[BATCH_FRAMES];    /* references; 0: copy it */
};

/* References that a viewer may not have read: all before `end` in its ring. */
struct arena_hold {
	uint32_t chunk;
	uint64_t end;
};

/* A port as a viewer. */
struct lane_viewer {
	bool on;
	bool lags; /* gets copies until it has read everything */
	unsigned count;
	struct arena_hold hold[ARENA_VIEWER_CHUNKS]; /* oldest first */
};

/* For lane_new(): no arena. */
void lane_arena_init(struct lane *l);

/*
 * lane_arena_begin - an empty memory of that size, without viewers. Takes the
 * descriptor. One that is there already is left. -EINVAL: no such memory.
 */
int lane_arena_begin(struct lane *l, uint32_t serial, uint64_t bytes, int fd);

/* lane_arena_view - the port's process has it: references may go to it. What
 * does not fit (another serial, epoch or group, a filter) is ignored. */
void lane_arena_view(
    struct lane *l, uint32_t serial, uint32_t port, uint32_t epoch);

/*
 * lane_arena_leave - write it no more, forget it. Its memory lasts as long as
 * somebody has it, and stays as it is.
 */
void lane_arena_leave(struct lane *l);

/* lane_arena_has - is there one that enough read what p sends in? */
bool lane_arena_has(const struct lane *l, const struct port *p);

/*
 * lane_arena_write - put the first n frames of the batch into the arena, if
 * the source's group has one and that pays. True: lane_arena_refer() knows
 * where they are.
 */
bool lane_arena_write(struct lane *l, const struct port *source,
    const struct lane_batch *b, size_t n);

/* lane_arena_serves - may p get references to the present batch? */
bool lane_arena_serves(struct port *p);

/*
 * lane_arena_refer - put the first n frames of the batch into p's ring, as far
 * as they fit, not published; after lane_arena_serves(). *shared = how many of
 * them as references, *bytes = of all. Returns how many fitted, or -EPROTO.
 */
int lane_arena_refer(struct port *p, const struct lane_batch *b, size_t n,
    uint64_t *shared, uint64_t *bytes);

#endif
