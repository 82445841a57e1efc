/*
 * vhost_user_kit.h - the vhost-user netdev between a test that plays the lane
 * and a back-end inside of the test. One test program each.
 */
#ifndef TESTS_UNIT_VHOST_USER_KIT_H
#define TESTS_UNIT_VHOST_USER_KIT_H

#include "backends/vhost-user.c"

#include "backends/backend_vhost_net_state.h"
#include "tests/unit/backend_kit.h"
#include "tests/unit/fake_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct kit kit;
static struct fake dev;
static bool was_up;
static uint8_t frame[FRAME_BYTES_MAX + 64];

static struct netdev_vhost_user_options usual_options = {
    .chardev = (char[]){"c0"}};

static inline struct vhost_user *
type_state(void)
{
	return kit.be.self;
}

/* --- life --------------------------------------------------------------------
 */

static inline void
open_type(struct netdev_vhost_user_options *o)
{
	struct err err = {.text = ""};

	was_up = false;
	if (kit_open(&kit, o ? o : &usual_options, &err) != 0)
		fail_msg("%s", err.text);
}

/* As start(), after fake_init() and what the test made of it. */
static inline void
start_with(struct netdev_vhost_user_options *o)
{
	int fds[2];

	kit_init(&kit, KIT_RING_BYTES);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	kit.be.resource[RESOURCE_CHARDEV] = fds[0];
	fake_open(&dev, kit.loop, fds[1]);
	open_type(o);
}

/* A netdev whose connection leads to an honest back-end. */
static inline void
start(struct netdev_vhost_user_options *o)
{
	fake_init(&dev);
	start_with(o);
}

static inline void
finish(void)
{
	fake_close(&dev);
	kit_fini(&kit);
}

static inline bool
is_up(struct kit *k, void *arg)
{
	(void)arg;
	was_up = was_up || k->be.connected;
	return k->be.connected;
}

static inline bool
comes_up(void)
{
	return kit_until(&kit, is_up, NULL);
}

/* The type has given the connection up: it waits for the next. */
static inline bool
is_gone(struct kit *k, void *arg)
{
	const struct vhost_user *v = k->be.self;

	(void)is_up(k, arg);
	return !v->fe && !v->net && !k->be.connected && !v->connect_watch;
}

static inline bool
goes(void)
{
	/* What is on its way first. */
	kit_turn(&kit, 1);
	return kit_until(&kit, is_gone, NULL);
}

static inline bool
is_asking(struct kit *k, void *arg)
{
	(void)arg;
	return timer_pending(k->be.reconnect);
}

static inline bool
asks_again(void)
{
	return kit_until(&kit, is_asking, NULL) &&
	       kit.be.reconnect_index == RESOURCE_CHARDEV;
}

/* An honest one, over the connection that the type asked for. */
static inline void
next_back_end(void)
{
	int fds[2];

	/* The pause is over, or was. */
	timer_stop(type_state()->retry);
	retry_expired(type_state());
	assert_true(asks_again());
	timer_stop(kit.be.reconnect);
	fake_close(&dev);
	fake_init(&dev);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	fake_open(&dev, kit.loop, fds[1]);
	backend_type.connection(kit.be.self, fds[0], NULL);
}

/* --- a listening chardev
 * --------------------------------------------------------- */

static struct sockaddr_un there;
static socklen_t there_len;

static inline int
listen_somewhere(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A name that the kernel chooses: abstract. */
	memset(&there, 0, sizeof there);
	there.sun_family = AF_UNIX;
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&there, sizeof(sa_family_t)), 0);
	there_len = sizeof there;
	assert_int_equal(
	    getsockname(fd, (struct sockaddr *)&there, &there_len), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static inline int
connect_there(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&there, there_len), 0);
	return fd;
}

/* --- what is told
 * ------------------------------------------------------------------ */

/* The words of the last loss or notice: backend_notice and backend_connected
 * reach nobody in a test, the type's log does not say them: look at peer. */
static inline const char *
last_notice(void)
{
	return type_state()->words;
}

/* --- frames
 * -------------------------------------------------------------------------- */

struct counted {
	enum backend_counter counter;
	uint64_t least;
};

static inline bool
is_counted(struct kit *k, void *arg)
{
	struct counted *c = arg;

	return kit_counter(k, c->counter) >= c->least;
}

static inline void
wait_counter(enum backend_counter counter, uint64_t value)
{
	struct counted c = {counter, value};

	kit_until(&kit, is_counted, &c);
	assert_int_equal(kit_counter(&kit, counter), value);
}

struct got {
	uint32_t len;
	struct frame_meta meta;
	uint8_t data[FRAME_BYTES_MAX];
};

static inline bool
has_frame(struct kit *k, void *arg)
{
	struct got *g = arg;
	struct frame f;

	if (g->len > 0)
		return true;
	if (ring_next(&k->from_backend, &f) <= 0)
		return false;
	memcpy(g->data, f.data, f.len);
	g->len = f.len;
	g->meta = f.meta;
	if (ring_release(&k->from_backend))
		bell_ring(k->bell);
	return true;
}

/* The next frame at the lane's side; length 0 after a long wait. */
static inline const struct got *
next_frame(void)
{
	static struct got g;

	g.len = 0;
	(void)kit_until(&kit, has_frame, &g);
	return &g;
}

static inline bool
has_chain(struct kit *k, void *arg)
{
	struct fake_ring *r = arg;

	(void)k;
	return __atomic_load_n(&r->avail->idx, __ATOMIC_ACQUIRE) != r->seen;
}

/* The next chain that the driver has for ring `index`; -1 after a long wait. */
static inline int
next_chain(unsigned index)
{
	struct fake_ring *r = &dev.ring[index];

	return kit_until(&kit, has_chain, r) ? fake_pop(r) : -1;
}

static inline void
expect_frame_from(unsigned index)
{
	struct virtio_net_hdr_v1 h = {0};
	const struct got *g;
	uint8_t data[70];

	/* Its buffers have come. */
	assert_true(kit_until(&kit, has_chain, &dev.ring[index]));
	memset(data, (int)index + 1, sizeof data);
	fake_put(&dev, &dev.ring[index], &h, data, sizeof data);
	fake_call(&dev.ring[index]);
	g = next_frame();
	assert_int_equal(g->len, sizeof data);
	assert_memory_equal(g->data, data, sizeof data);
	assert_true(frame_meta_is_zero(&g->meta));
}

/* A frame goes either way over the first pair. */
static inline void
expect_echo(void)
{
	static uint8_t chain[FRAME_BYTES_MAX + 64];
	int id;

	expect_frame_from(0);
	memset(frame, 0x42, 80);
	assert_true(kit_send(&kit, frame, 80));
	kit_publish(&kit);
	id = next_chain(1);
	assert_true(id >= 0);
	assert_int_equal(fake_bytes(&dev, &dev.ring[1], id, chain), 92);
	assert_memory_equal(chain + 12, frame, 80);
	fake_push(&dev.ring[1], (uint32_t)id, 0);
	fake_call(&dev.ring[1]);
}

#endif
