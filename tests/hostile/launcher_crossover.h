/*
 * launcher_crossover.h - a broker that wants crossovers: between the living,
 * the dead, other lives and what is no backend; and what it gets, tried out.
 */
#ifndef TESTS_HOSTILE_LAUNCHER_CROSSOVER_H
#define TESTS_HOSTILE_LAUNCHER_CROSSOVER_H

#include "tests/hostile/launcher_fakes.h"

#include <fcntl.h>
#include <sys/mman.h>

#define CROSSINGS 1000

/* In the order of CROSSED. */
enum { ONE_OWN, ONE_PEER, ONE_BELL, OTHER_OWN, OTHER_PEER, OTHER_BELL, ENDS };

static void
start_backend(uint32_t slot, uint32_t epoch, uint64_t ring_bytes)
{
	struct launch_msg msg = spawn_message(slot, ROLE_BACKEND, "good");

	msg.spawn.epoch = epoch;
	msg.spawn.ring_bytes = ring_bytes;
	ask(&msg, LAUNCH_SPAWNED);
	EXPECT(got.msg.result.error == 0);
	take_type(LAUNCH_ATTESTED, slot);
}

static void
cross(uint32_t slot, uint32_t epoch, uint32_t other, uint32_t other_epoch)
{
	struct launch_msg msg = message(LAUNCH_CROSS, slot);

	msg.cross = (struct launch_cross){epoch, other, other_epoch};
	ask(&msg, LAUNCH_CROSSED);
}

static void
cross_refused(
    uint32_t slot, uint32_t epoch, uint32_t other, uint32_t other_epoch)
{
	cross(slot, epoch, other, other_epoch);
	EXPECT(got.msg.result.error == -ENOENT && got.fd_count == 0);
	EXPECT(strstr(got.msg.result.text, "epoch") != NULL);
}

/* Its first page, or NULL. */
static uint64_t *
page_of(int fd, int prot)
{
	void *page = mmap(NULL, 4096, prot, MAP_SHARED, fd, 0);

	return page == MAP_FAILED ? NULL : page;
}

/* What one fills: nobody can make it another size, its reader cannot write. */
static void
try_memory(int own, int view, uint64_t size)
{
	off_t bytes = (off_t)size;
	uint64_t *mine = page_of(own, PROT_READ | PROT_WRITE);
	uint64_t *theirs = page_of(view, PROT_READ);
	struct stat st;

	EXPECT(fstat(own, &st) == 0 && st.st_size == bytes);
	EXPECT(mine != NULL && theirs != NULL);
	EXPECT(mine[0] == 0 && mine[511] == 0);
	mine[0] = (uint64_t)bytes;
	EXPECT(theirs[0] == (uint64_t)bytes);

	EXPECT(page_of(view, PROT_WRITE) == NULL);
	EXPECT(page_of(view, PROT_READ | PROT_WRITE) == NULL);
	EXPECT(mprotect(theirs, 4096, PROT_READ | PROT_WRITE) < 0);
	EXPECT(write(view, "x", 1) < 0);
	EXPECT(fcntl(own, F_GET_SEALS) & F_SEAL_SHRINK);
	EXPECT(fcntl(own, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) < 0);
	EXPECT(fcntl(view, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) < 0);
	EXPECT(ftruncate(own, 0) < 0 && ftruncate(own, 2 * bytes) < 0);
	EXPECT(ftruncate(view, 0) < 0 && ftruncate(view, 2 * bytes) < 0);
	EXPECT(fstat(own, &st) == 0 && st.st_size == bytes);
	(void)munmap(mine, 4096);
	(void)munmap(theirs, 4096);
}

static ino_t
file_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Two memories, each with one view, and the two ends of one bell. */
static void
try_ends(size_t one_bytes, size_t other_bytes)
{
	char byte;

	EXPECT(got.msg.result.error == 0 && got.fd_count == ENDS);
	if (got.fd_count != ENDS)
		return;
	EXPECT(file_of(got.fds[ONE_OWN]) == file_of(got.fds[OTHER_PEER]));
	EXPECT(file_of(got.fds[OTHER_OWN]) == file_of(got.fds[ONE_PEER]));
	EXPECT(file_of(got.fds[ONE_OWN]) != file_of(got.fds[OTHER_OWN]));
	try_memory(
	    got.fds[ONE_OWN], got.fds[OTHER_PEER], port_bytes(one_bytes));
	try_memory(
	    got.fds[OTHER_OWN], got.fds[ONE_PEER], port_bytes(other_bytes));
	EXPECT(send(got.fds[ONE_BELL], "1", 1, MSG_DONTWAIT) == 1);
	EXPECT(recv(got.fds[OTHER_BELL], &byte, 1, MSG_DONTWAIT) == 1);
	EXPECT(send(got.fds[OTHER_BELL], "2", 1, MSG_DONTWAIT) == 1);
	EXPECT(recv(got.fds[ONE_BELL], &byte, 1, MSG_DONTWAIT) == 1);
}

/* Is a port's memory or bell among the six that came last? */
static void
share_nothing_with_port(uint32_t slot)
{
	struct launch_msg msg = message(LAUNCH_PORT_ASK, slot);
	ino_t files[ENDS];
	unsigned i, k;

	for (i = 0; i < ENDS; i++)
		files[i] = file_of(got.fds[i]);
	ask(&msg, LAUNCH_PORT);
	EXPECT(got.fd_count == 3);
	for (i = 0; i < ENDS; i++)
		for (k = 0; k < got.fd_count; k++)
			EXPECT(files[i] != file_of(got.fds[k]));
}

static void
stop_now(uint32_t slot, uint32_t epoch)
{
	struct launch_msg msg = message(LAUNCH_STOP, slot);

	msg.stop.epoch = epoch;
	msg.stop.signo = SIGKILL;
	post(&msg);
}

static void
scenario_crossover(void)
{
	cross_refused(1, 1, 2, 1);
	cross_refused(1, 0, LAUNCH_SLOTS - 1, 0);
	start_backend(1, 1, RING_BYTES_MIN);
	cross_refused(1, 1, 2, 0);
	cross_refused(2, 0, 1, 1);
	start_backend(2, 7, 2 * RING_BYTES_MIN);
	/* A lane, where a backend's memories are still kept. */
	start_backend(3, 1, RING_BYTES_MIN);
	stop_now(3, 1);
	take_type(LAUNCH_EXITED, 3);
	start(3, ROLE_LANE, "good");
	take_type(LAUNCH_ATTESTED, 3);
	cross_refused(1, 1, 3, 1);
	cross_refused(3, 1, 1, 1);
	cross_refused(1, 2, 2, 7);
	cross_refused(1, 1, 2, 6);
	cross_refused(2, 1, 1, 7);

	cross(1, 1, 2, 7);
	EXPECT(got.msg.result.epoch == 1);
	try_ends(RING_BYTES_MIN, 2 * RING_BYTES_MIN);
	share_nothing_with_port(1);
	/* Once more, from the other side: nothing of the first is in it. */
	cross(2, 7, 1, 1);
	EXPECT(got.msg.result.epoch == 7);
	try_ends(2 * RING_BYTES_MIN, RING_BYTES_MIN);
	share_nothing_with_port(2);

	/* Told to end, ended, followed by another; then there is nothing. */
	stop_now(2, 7);
	cross_refused(1, 1, 2, 7);
	take_type(LAUNCH_EXITED, 2);
	cross_refused(1, 1, 2, 7);
	start_backend(2, 8, RING_BYTES_MIN);
	cross_refused(1, 1, 2, 7);
	cross_refused(2, 7, 1, 1);
	cross(1, 1, 2, 8);
	try_ends(RING_BYTES_MIN, RING_BYTES_MIN);
	release(1);
	cross_refused(1, 1, 2, 8);
	cross_refused(2, 8, 1, 1);
	release(2);
	release(3);
}

/* All asked before the first answer is read, every fourth in vain. */
static void
scenario_crossings(void)
{
	struct launch_msg msg = message(LAUNCH_CROSS, 1);
	uint32_t asked = 0, told = 0;

	start_backend(1, 1, RING_BYTES_MIN);
	start_backend(2, 1, RING_BYTES_MIN);
	while (told < CROSSINGS) {
		while (asked < CROSSINGS) {
			msg.seq = asked + 1;
			msg.cross =
			    (struct launch_cross){1, 2, msg.seq % 4 ? 1 : 2};
			if (send(FD_LAUNCHER, &msg, sizeof msg,
				MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
				break;
			asked++;
		}
		take();
		EXPECT(got.msg.type == LAUNCH_CROSSED);
		EXPECT(got.msg.seq == ++told);
		EXPECT(got.fd_count == (told % 4 ? ENDS : 0));
	}
	release(1);
	release(2);
	scenario_term();
}

#endif
