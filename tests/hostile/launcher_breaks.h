/*
 * launcher_breaks.h - a broker that breaks one rule of the launcher's channel.
 */
#ifndef TESTS_HOSTILE_LAUNCHER_BREAKS_H
#define TESTS_HOSTILE_LAUNCHER_BREAKS_H

#include "proto/arena.h"
#include "tests/hostile/launcher_fakes.h"

/* --- the fake broker: what is wrong ----------------------------------- */

/* A name without anything; what would be an option of its process. */
static void
break_lookup(struct launch_msg *msg, const char *how)
{
	msg->open.kind = RES_LOOKUP;
	if (how[0] != '\0')
		snprintf(msg->open.path, LAUNCH_PATH, "a.test");
	if (strcmp(how, "-index") == 0)
		msg->open.index = 1;
	else if (strcmp(how, "-option") == 0)
		snprintf(msg->open.path, LAUNCH_PATH, "-a.test");
	else if (strcmp(how, "-family") == 0)
		msg->open.number = AF_UNIX;
}

static void
break_open(struct launch_msg *msg, const char *how)
{
	*msg = open_message(1, 0, RES_FILE_CREATE);
	if (strncmp(how, "lookup", 6) == 0)
		break_lookup(msg, how + 6);
	else if (strcmp(how, "index") == 0)
		msg->open.index = LAUNCH_RESOURCES;
	else if (strcmp(how, "kind") == 0)
		msg->open.kind = RES_COUNT;
	else if (strcmp(how, "kind0") == 0)
		msg->open.kind = RES_NONE;
	else if (strcmp(how, "flag") == 0)
		msg->open.give = 2;
	else if (strcmp(how, "path") == 0)
		memset(msg->open.path, 'x', sizeof msg->open.path);
	else if (strcmp(how, "chardev-path") == 0) {
		msg->open.kind = RES_CHARDEV;
		memset(msg->open.path, 'x', sizeof msg->open.path);
	} else if (strcmp(how, "addr-len") == 0)
		msg->open.local.len = sizeof msg->open.local.un + 1;
	else if (strcmp(how, "addr-short") == 0)
		msg->open.local.len = 1;
	else if (strcmp(how, "addr-family") == 0)
		msg->open.local.len = 16;
	else if (strcmp(how, "addr-path") == 0) {
		msg->open.local.len = sizeof msg->open.local.un;
		memset(&msg->open.local.un, 'x', sizeof msg->open.local.un);
		msg->open.local.un.sun_family = AF_UNIX;
	} else if (strcmp(how, "qmp") == 0)
		msg->open.qmp = 1;
	else if (strcmp(how, "slot0") == 0)
		msg->slot = 0;
	else if (strcmp(how, "slot") == 0)
		msg->slot = LAUNCH_SLOTS;
	else if (strcmp(how, "magic") == 0)
		msg->magic = 0;
	else if (strcmp(how, "type") == 0)
		msg->type = LAUNCH_TYPES;
	else if (strcmp(how, "answer") == 0)
		msg->type = LAUNCH_OPENED;
}

/* Ends that cannot be; the children themselves are there. */
static void
break_cross(struct launch_msg *msg, const char *how)
{
	start(1, ROLE_BACKEND, "good");
	start(2, ROLE_BACKEND, "good");
	*msg = message(LAUNCH_CROSS, 1);
	msg->cross = (struct launch_cross){1, 2, 1};
	if (strcmp(how, "self") == 0)
		msg->cross.other = 1;
	else if (strcmp(how, "broker") == 0)
		msg->slot = 0;
	else if (strcmp(how, "other-broker") == 0)
		msg->cross.other = 0;
	else if (strcmp(how, "slot") == 0)
		msg->slot = LAUNCH_SLOTS;
	else if (strcmp(how, "other") == 0)
		msg->cross.other = LAUNCH_SLOTS;
	else if (strcmp(how, "other-high") == 0)
		msg->cross.other = UINT32_MAX;
	else if (strcmp(how, "answer") == 0)
		msg->type = LAUNCH_CROSSED;
}

/* Sizes that cannot be; the lane itself is there. */
static void
break_arena(struct launch_msg *msg, const char *how)
{
	start(1, ROLE_LANE, "good");
	*msg = message(LAUNCH_ARENA, 1);
	msg->arena =
	    (struct launch_arena){.epoch = 1, .bytes = ARENA_CHUNK_BYTES};
	if (strcmp(how, "none") == 0)
		msg->arena.bytes = 0;
	else if (strcmp(how, "part") == 0)
		msg->arena.bytes++;
	else if (strcmp(how, "large") == 0)
		msg->arena.bytes *= ARENA_CHUNKS_MAX + 1;
	else if (strcmp(how, "huge") == 0)
		msg->arena.bytes = -(uint64_t)ARENA_CHUNK_BYTES;
	else if (strcmp(how, "broker") == 0)
		msg->slot = 0;
	else if (strcmp(how, "slot") == 0)
		msg->slot = LAUNCH_SLOTS;
	else if (strcmp(how, "answer") == 0)
		msg->type = LAUNCH_ARENA_MADE;
}

static void
break_other(struct launch_msg *msg, const char *how)
{
	*msg = spawn_message(1, ROLE_LANE, "good");
	if (strcmp(how, "role") == 0)
		msg->spawn.role = ROLE_BROKER;
	else if (strcmp(how, "role-high") == 0)
		msg->spawn.role = 4000000000u;
	else if (strcmp(how, "id") == 0)
		memset(msg->spawn.id, 'x', sizeof msg->spawn.id);
	else if (strcmp(how, "no-id") == 0)
		msg->spawn.id[0] = '\0';
	else if (strcmp(how, "ring") == 0) {
		*msg = spawn_message(1, ROLE_BACKEND, "good");
		msg->spawn.ring_bytes = RING_BYTES_MIN + 1;
	} else if (strcmp(how, "signal") == 0) {
		*msg = message(LAUNCH_STOP, 1);
		msg->stop.signo = SIGSTOP;
	} else if (strcmp(how, "stop-self") == 0) {
		*msg = message(LAUNCH_STOP, 0);
		msg->stop.signo = SIGKILL;
	} else if (strcmp(how, "release-self") == 0)
		*msg = message(LAUNCH_RELEASE, 0);
	else if (strcmp(how, "take-slot") == 0)
		*msg = message(LAUNCH_TAKE, 1);
	else if (strcmp(how, "quit-code") == 0) {
		*msg = message(LAUNCH_QUIT, 0);
		msg->result.code = 256;
	} else if (strcmp(how, "latch-twice") == 0) {
		*msg = message(LAUNCH_LATCH, 0);
		post(msg);
	} else if (strcmp(how, "up-twice") == 0) {
		*msg = message(LAUNCH_UP, 0);
		post(msg);
	}
}

/* Break one rule; the launcher's answer must be our death. */
static void
break_rule(const char *how)
{
	struct launch_msg msg = open_message(1, 0, RES_FD);
	int fds[] = {0, 1, 2, 0};

	if (strcmp(how, "length") == 0)
		(void)post_raw(&msg, sizeof msg - 1, NULL, 0);
	else if (strcmp(how, "long") == 0) {
		static char big[sizeof msg + 1];

		memcpy(big, &msg, sizeof msg);
		(void)post_raw(big, sizeof big, NULL, 0);
	} else if (strcmp(how, "two-fds") == 0)
		(void)post_raw(&msg, sizeof msg, fds, 2);
	else if (strcmp(how, "four-fds") == 0)
		(void)post_raw(&msg, sizeof msg, fds, 4);
	else if (strcmp(how, "fd") == 0) {
		msg.open.kind = RES_UDP;
		(void)post_raw(&msg, sizeof msg, fds, 1);
	} else if (strcmp(how, "open-chardev-fd") == 0) {
		msg.open.kind = RES_CHARDEV;
		(void)post_raw(&msg, sizeof msg, fds, 1);
	} else if (strcmp(how, "latch-fd") == 0) {
		msg = message(LAUNCH_LATCH, 0);
		(void)post_raw(&msg, sizeof msg, fds, 1);
	} else if (strcmp(how, "take-fd") == 0) {
		msg = message(LAUNCH_TAKE, 0);
		(void)post_raw(&msg, sizeof msg, fds, 1);
	} else if (strcmp(how, "cross-fd") == 0) {
		break_cross(&msg, "fd");
		(void)post_raw(&msg, sizeof msg, fds, 1);
	} else if (strncmp(how, "cross-", 6) == 0) {
		break_cross(&msg, how + 6);
		post(&msg);
	} else if (strcmp(how, "arena-fd") == 0) {
		break_arena(&msg, "fd");
		(void)post_raw(&msg, sizeof msg, fds, 1);
	} else if (strncmp(how, "arena-", 6) == 0) {
		break_arena(&msg, how + 6);
		post(&msg);
	} else if (strncmp(how, "open-", 5) == 0) {
		break_open(&msg, how + 5);
		post(&msg);
	} else {
		break_other(&msg, how);
		post(&msg);
	}
	/* Another, so that a rule not enforced shows as a message. */
	for (;;)
		take();
}

#endif
