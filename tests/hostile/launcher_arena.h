/*
 * launcher_arena.h - a broker that wants arenas: for lanes, the dead, other
 * lives and what is no lane; and what it gets, tried out.
 */
#ifndef TESTS_HOSTILE_LAUNCHER_ARENA_H
#define TESTS_HOSTILE_LAUNCHER_ARENA_H

#include "tests/hostile/launcher_crossover.h"

#include "proto/arena.h"

#define ARENAS 1000

/* In the order of ARENA_MADE. */
enum { ARENA_LANE, ARENA_VIEW, ARENA_FDS };

static void
arena(uint32_t slot, uint32_t epoch, uint64_t bytes)
{
	struct launch_msg msg = message(LAUNCH_ARENA, slot);

	msg.arena = (struct launch_arena){.epoch = epoch, .bytes = bytes};
	ask(&msg, LAUNCH_ARENA_MADE);
}

static void
arena_refused(uint32_t slot, uint32_t epoch)
{
	arena(slot, epoch, ARENA_CHUNK_BYTES);
	EXPECT(got.msg.result.error == -ENOENT && got.fd_count == 0);
	EXPECT(strstr(got.msg.result.text, "epoch") != NULL);
}

/* Written by descriptor, and cut out again; its size stays. */
static ino_t
try_arena(uint32_t slot, uint32_t epoch, uint64_t bytes)
{
	const off_t last = (off_t)bytes - 1;
	char byte = 0;
	int own, view;

	arena(slot, epoch, bytes);
	EXPECT(got.msg.result.error == 0 && got.fd_count == ARENA_FDS);
	if (got.fd_count != ARENA_FDS)
		return 0;
	EXPECT(got.msg.result.epoch == epoch);
	own = got.fds[ARENA_LANE];
	view = got.fds[ARENA_VIEW];
	EXPECT(file_of(own) == file_of(view));
	try_memory(own, view, bytes);
	EXPECT(pwrite(own, "x", 1, last) == 1);
	EXPECT(pread(view, &byte, 1, last) == 1 && byte == 'x');
	EXPECT(pwrite(own, "x", 1, last + 1) < 0);
	EXPECT(fallocate(own, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		   (off_t)bytes) == 0);
	EXPECT(pread(view, &byte, 1, last) == 1 && byte == 0);
	EXPECT(pwrite(view, "x", 1, 0) < 0);
	EXPECT(fallocate(view, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		   (off_t)bytes) < 0);
	return file_of(own);
}

static void
scenario_arena(void)
{
	ino_t first;

	arena_refused(1, 1);
	arena_refused(LAUNCH_SLOTS - 1, 0);
	start(1, ROLE_LANE, "good");
	take_type(LAUNCH_ATTESTED, 1);
	/* Another life; a backend. */
	arena_refused(1, 0);
	arena_refused(1, 2);
	start_backend(2, 1, RING_BYTES_MIN);
	arena_refused(2, 1);

	first = try_arena(1, 1, ARENA_CHUNK_BYTES);
	/* Once more: nothing of the first is in it. */
	EXPECT(try_arena(1, 1, arena_bytes_for(LAUNCH_SLOTS)) != first);

	/* Told to end, ended, followed by another. */
	stop_now(1, 1);
	arena_refused(1, 1);
	take_type(LAUNCH_EXITED, 1);
	arena_refused(1, 1);
	start_backend(1, 2, RING_BYTES_MIN);
	arena_refused(1, 1);
	arena_refused(1, 2);
	release(1);
	arena_refused(1, 2);
	release(2);
}

/* All asked before the first answer is read, every fourth in vain. */
static void
scenario_arenas(void)
{
	struct launch_msg msg = message(LAUNCH_ARENA, 1);
	uint32_t asked = 0, told = 0;

	start(1, ROLE_LANE, "good");
	take_type(LAUNCH_ATTESTED, 1);
	while (told < ARENAS) {
		while (asked < ARENAS) {
			msg.seq = asked + 1;
			msg.arena =
			    (struct launch_arena){.epoch = msg.seq % 4 ? 1 : 2,
				.bytes = ARENA_CHUNK_BYTES * (1 + asked % 8)};
			if (send(FD_LAUNCHER, &msg, sizeof msg,
				MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
				break;
			asked++;
		}
		take();
		EXPECT(got.msg.type == LAUNCH_ARENA_MADE);
		EXPECT(got.msg.seq == ++told);
		EXPECT(got.fd_count == (told % 4 ? ARENA_FDS : 0));
	}
	release(1);
	scenario_term();
}

#endif
