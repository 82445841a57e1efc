/*
 * hostile_talk.h - what a backend should not say, and how it should not end.
 */
#ifndef TESTS_HOSTILE_TALK_H
#define TESTS_HOSTILE_TALK_H

#include "tests/hostile/hostile_kit.h"

/* --- lies on the control channel ---------------------------------------------
 */

static inline bool
control_raw(const void *bytes, size_t len)
{
	(void)send(FD_CONTROL, bytes, len, MSG_DONTWAIT);
	return false;
}

static inline bool
control_garbage(struct hostile *h)
{
	static const char noise[] = "\xff\xfe{\"execute\": \"quit\"}\r\n";

	(void)h;
	return control_raw(noise, sizeof noise);
}

/* msgpack: an array of 2^32-1 elements; and nested arrays. */
static inline bool
control_bomb(struct hostile *h)
{
	(void)h;
	return control_raw("\xdd\xff\xff\xff\xff", 5);
}

static inline bool
control_deep(struct hostile *h)
{
	static char deep[60000];

	(void)h;
	memset(deep, 0x91, sizeof deep);
	return control_raw(deep, sizeof deep);
}

static inline bool
control_oversize(struct hostile *h)
{
	static char much[CHAN_BYTES_MAX + 1];

	(void)h;
	return control_raw(much, sizeof much);
}

static inline bool
control_direction(struct hostile *h)
{
	const struct ctl_detached m = {.port = 0};

	/* A lane says this, no backend does. */
	(void)ctl_send_detached(h->control, 0, &m);
	return false;
}

static inline bool
control_order(struct hostile *h)
{
	const struct ctl_ready m = {.connected = true};

	(void)ctl_send_ready(h->control, 0, &m);
	return false;
}

static inline bool
control_twice(struct hostile *h)
{
	char hash[] = "0", role[] = "dump";
	const struct ctl_hello m = {.schema = hash, .role = role};

	(void)ctl_send_hello(h->control, 0, &m);
	return false;
}

static inline bool
control_unasked(struct hostile *h)
{
	const struct ctl_pong m = {0};
	const struct ctl_backend_stats stats = {.info = NULL};

	(void)ctl_send_pong(h->control, 12345, &m);
	(void)ctl_send_backend_stats(h->control, 54321, &stats);
	return false;
}

static inline bool
control_fds(struct hostile *h)
{
	(void)h;
	send_with_fd(FD_CONTROL, "\x93\x07\x00\x90", 4, FD_PORT_OWN);
	return false;
}

static inline bool
control_flood(struct hostile *h)
{
	char kind[] = "flood", text[4000];
	const struct ctl_notice m = {.kind = kind, .text = text};

	memset(text, '\n', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	for (int i = 0; i < FLOOD_PER_TURN; i++)
		(void)ctl_send_notice(h->control, 0, &m);
	return true;
}

static inline bool
control_reconnect(struct hostile *h)
{
	const struct ctl_reconnect m = {.index = UINT32_MAX};

	(void)ctl_send_reconnect(h->control, 0, &m);
	return false;
}

static inline bool
control_shut(struct hostile *h)
{
	(void)h;
	(void)shutdown(FD_CONTROL, SHUT_RDWR);
	return false;
}

/* --- lies to the launcher
 * ----------------------------------------------------- */

static inline bool
launcher_garbage(struct hostile *h)
{
	(void)h;
	(void)send(FD_LAUNCHER, "mount / rw", 10, MSG_DONTWAIT);
	return false;
}

static inline bool
launcher_spawn(struct hostile *h)
{
	const struct launch_msg m = {
	    .magic = LAUNCH_MAGIC,
	    .type = LAUNCH_SPAWN,
	    .slot = 0,
	    .spawn = {.role = ROLE_BROKER},
	};

	(void)h;
	(void)send(FD_LAUNCHER, &m, sizeof m, MSG_DONTWAIT);
	return false;
}

/* --- ends, and no ends
 * --------------------------------------------------------- */

static inline bool
die(struct hostile *h)
{
	(void)h;
	abort();
}

static inline bool
leave(struct hostile *h)
{
	(void)h;
	_exit(0);
}

static inline bool
silent(struct hostile *h)
{
	(void)h;
	hang();
}

static inline bool
busy(struct hostile *h)
{
	volatile uint64_t turns = 0;

	(void)h;
	for (;;)
		turns++;
	return true;
}

static inline bool
wrong_hash(struct hostile *h)
{
	char hash[] = "0123456789abcdef", role[] = "dump";
	const struct ctl_hello m = {.schema = hash, .role = role};

	(void)ctl_send_hello(h->control, 0, &m);
	return false;
}

static inline bool
wrong_role(struct hostile *h)
{
	char hash[64], role[] = "lane";
	const struct ctl_hello m = {.schema = hash, .role = role};

	(void)snprintf(hash, sizeof hash, "%s", schema_hash);
	(void)ctl_send_hello(h->control, 0, &m);
	return false;
}

/* --- lies about arenas ------------------------------------------------------
 */

static inline void
say_viewed(struct hostile *h, uint32_t serial, const char *error)
{
	const struct ctl_arena_viewed m = {
	    .serial = serial, .error = (char *)(uintptr_t)error};

	(void)ctl_send_arena_viewed(h->control, 0, &m);
}

static inline bool
view_twice(struct hostile *h)
{
	say_viewed(h, h->arena, "no\nmore\x1b[2J");
	say_viewed(h, h->arena, NULL);
	return false;
}

static inline bool
view_never(struct hostile *h)
{
	(void)h;
	return false;
}

/* Those of others, over and over. */
static inline bool
view_others(struct hostile *h)
{
	for (uint32_t serial = 0; serial < 100; serial++)
		say_viewed(h, serial - 10, serial % 2 ? "so\nwhat" : NULL);
	return true;
}

#endif
