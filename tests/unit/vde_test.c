/*
 * vde_test.c - a VDE switch's conversation, and the whole type against one
 * that the test plays.
 */
#include "backends/vde.c"

#include "proto/launch.h"
#include "tests/unit/backend_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* --- the conversation ---------------------------------------------------- */

static void
request_is_packed(void **state)
{
	uint8_t out[VDE_REQUEST_MAX];
	char path[200];
	uint32_t words[3];

	(void)state;
	assert_int_equal(
	    vde_request(out, 5, "/sw/.x", "me"), 12 + VDE_ANSWER_BYTES + 2);
	memcpy(words, out, sizeof words);
	assert_int_equal(words[0], 0xfeedface);
	assert_int_equal(words[1], 3);
	assert_int_equal(words[2], 5 << 8);
	assert_int_equal(out[12] | out[13] << 8, AF_UNIX);
	assert_string_equal((const char *)out + 14, "/sw/.x");
	assert_memory_equal(out + 12 + VDE_ANSWER_BYTES, "me", 2);
	memset(path, 'x', sizeof path);
	path[108] = '\0';
	assert_int_equal(vde_request(out, 0, path, ""), 0);
	path[107] = '\0';
	assert_int_equal(vde_request(out, 0, path, ""), 12 + VDE_ANSWER_BYTES);
	/* What is said of us is cut, and never more than the request holds. */
	memset(path, 'y', sizeof path);
	path[sizeof path - 1] = '\0';
	assert_int_equal(vde_request(out, 0, "/", path), VDE_REQUEST_MAX);
}

static void
name(uint8_t in[VDE_ANSWER_BYTES], sa_family_t family, const char *path)
{
	struct sockaddr_un un = {.sun_family = family};

	memcpy(un.sun_path, path, strlen(path));
	memcpy(in, &un, VDE_ANSWER_BYTES);
}

static void
names_become_numbers(void **state)
{
	static const struct {
		const char *path;
		unsigned port;
		uint32_t number;
	} good[] = {
	    {"/sw/001.6", 1, 1 << 16 | 6},
	    {"/sw/1000.65535", 1000, 1000 << 16 | 65535},
	    {"/65534.0", 65534, 65534u << 16},
	    {"/sw/fd9", 0, 0xffffu << 16 | 9},
	};
	static const char *const bad[] = {"", "/", "001.6", "/sw/", "/sw/ctl",
	    "/sw/0.6", "/sw/65535.6", "/sw/1.65536", "/sw/1.", "/sw/.6",
	    "/sw/1.6x", "/sw/fd", "/sw/fd65536", "/sw/-1.6", "/sw/1.-6",
	    "/sw/ 1.6", "/sw/1.6/", "/sw/100000.6", "/sw/1.100000", "/sw/fd1.2",
	    "/sw/1.6/.."};
	uint8_t in[VDE_ANSWER_BYTES];
	uint32_t number;
	unsigned port;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof *good; i++) {
		name(in, AF_UNIX, good[i].path);
		assert_true(vde_answer(in, &number, &port));
		assert_int_equal(number, good[i].number);
		assert_int_equal(port, good[i].port);
	}
	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		name(in, AF_UNIX, bad[i]);
		assert_false(vde_answer(in, &number, &port));
	}
	name(in, AF_INET, "/sw/001.6");
	assert_false(vde_answer(in, &number, &port));
	/* A path to the last byte has no end of its own. */
	memset(in, '1', sizeof in);
	name(in, AF_UNIX, "/");
	memset(in + 3, '1', sizeof in - 3);
	assert_false(vde_answer(in, &number, &port));
}

/* --- the type ------------------------------------------------------------ */

struct lab {
	struct kit kit;
	int control, data; /* the switch's ends */
};

static char sock[] = "/sw";
static const struct netdev_vde_options options = {.sock = sock};

static struct vde *
vde_of(struct lab *l)
{
	return l->kit.be.self;
}

/* As the launcher does it: a stream, and a datagram socket with a name. */
static void
make_sockets(struct lab *l, int *control, int *data)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int pair[2];

	BUG_ON(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0);
	*control = pair[0];
	l->control = pair[1];
	*data = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	l->data = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	snprintf(un.sun_path, sizeof un.sun_path, "/tmp/.vde-test-%d",
	    (int)getpid());
	(void)unlink(un.sun_path);
	BUG_ON(bind(*data, (struct sockaddr *)&un, sizeof un) < 0);
	BUG_ON(connect(l->data, (struct sockaddr *)&un, sizeof un) < 0);
	(void)unlink(un.sun_path);
	snprintf(
	    un.sun_path, sizeof un.sun_path, "/tmp/.vde-sw-%d", (int)getpid());
	(void)unlink(un.sun_path);
	BUG_ON(bind(l->data, (struct sockaddr *)&un, sizeof un) < 0);
	BUG_ON(connect(*data, (struct sockaddr *)&un, sizeof un) < 0);
	(void)unlink(un.sun_path);
}

static bool
at_step(struct kit *k, void *arg)
{
	struct vde *v = k->be.self;

	return v->step == *(enum step *)arg;
}

static void
reaches(struct lab *l, enum step step)
{
	assert_true(kit_until(&l->kit, at_step, &step));
}

static int
begin(void **state)
{
	struct lab *l = calloc(1, sizeof *l);
	struct err err;
	int control, data;

	BUG_ON(!l);
	kit_init(&l->kit, KIT_RING_BYTES);
	make_sockets(l, &control, &data);
	l->kit.be.resource[RESOURCE_CONTROL] = control;
	l->kit.be.resource[RESOURCE_DATA] = data;
	BUG_ON(kit_open(&l->kit, &options, &err) < 0);
	*state = l;
	return 0;
}

static int
end(void **state)
{
	struct lab *l = *state;

	fd_close(&l->control);
	fd_close(&l->data);
	kit_fini(&l->kit);
	free(l);
	return 0;
}

static void
answer(struct lab *l, const char *path)
{
	uint8_t in[VDE_ANSWER_BYTES];

	name(in, AF_UNIX, path);
	assert_int_equal(send(l->control, in, sizeof in, 0), sizeof in);
}

static void
up(struct lab *l)
{
	answer(l, "/sw/003.7");
	reaches(l, STEP_JOIN);
	vde_connection(vde_of(l), dup(l->control), NULL);
	reaches(l, STEP_UP);
}

static void
joins_in_steps(void **state)
{
	struct lab *l = *state;
	uint8_t said[VDE_REQUEST_MAX + 1];
	uint8_t half[VDE_ANSWER_BYTES];

	assert_int_equal(vde_of(l)->step, STEP_ANSWER);
	assert_int_equal(recv(l->control, said, sizeof said, 0),
	    12 + VDE_ANSWER_BYTES + strlen("bulkhead"));
	assert_memory_equal(said + 14, "/sw/.vde-test-", 14);
	/* An answer in two parts is an answer. */
	name(half, AF_UNIX, "/sw/003.7");
	assert_int_equal(send(l->control, half, 50, 0), 50);
	kit_turn(&l->kit, 5);
	assert_int_equal(vde_of(l)->step, STEP_ANSWER);
	assert_int_equal(send(l->control, half + 50, 60, 0), 60);
	reaches(l, STEP_JOIN);
	vde_connection(vde_of(l), dup(l->control), NULL);
	assert_int_equal(vde_of(l)->step, STEP_UP);
	assert_int_equal(vde_of(l)->port, 3);
}

/* Every step can fail; the next attempt starts from nothing. */
static void
begins_anew(void **state)
{
	struct lab *l = *state;
	int control, data, turn;

	for (turn = 0; turn < 4; turn++) {
		if (turn == 0) {
			answer(l, "/sw/ctl");
		} else if (turn == 1) {
			answer(l, "/sw/003.7");
			reaches(l, STEP_JOIN);
			vde_connection(vde_of(l), -1, "gone");
		} else if (turn == 2) {
			up(l);
			assert_int_equal(send(l->control, "x", 1, 0), 1);
		} else {
			up(l);
			fd_close(&l->control);
		}
		reaches(l, STEP_IDLE);
		assert_int_equal(vde_of(l)->control, -1);
		assert_int_equal(vde_of(l)->data, -1);
		/* What comes too late is closed. */
		vde_connection(vde_of(l), dup(0), NULL);
		assert_int_equal(vde_of(l)->control, -1);
		reaches(l, STEP_CONTROL);
		fd_close(&l->control);
		fd_close(&l->data);
		make_sockets(l, &control, &data);
		vde_connection(vde_of(l), control, NULL);
		assert_int_equal(vde_of(l)->step, STEP_DATA);
		vde_connection(vde_of(l), data, NULL);
		assert_int_equal(vde_of(l)->step, STEP_ANSWER);
	}
	up(l);
}

static void
long_frames_are_dropped(void **state)
{
	static uint8_t bytes[2000];
	const struct frame f[] = {{.data = bytes, .len = 1519},
	    {.data = bytes, .len = 1518}, {.data = bytes, .len = 2000},
	    {.data = bytes, .len = 60}, {.data = bytes, .len = 1519}};
	struct lab *l = *state;
	uint64_t counters[BC_COUNT];
	uint8_t got[2000];

	/* Not joined yet: nobody is there. */
	assert_int_equal(vde_frames(vde_of(l), f, 5), 5);
	up(l);
	assert_int_equal(vde_frames(vde_of(l), f, 5), 5);
	assert_int_equal(recv(l->data, got, sizeof got, 0), 1518);
	assert_int_equal(recv(l->data, got, sizeof got, 0), 60);
	assert_int_equal(recv(l->data, got, sizeof got, 0), -1);
	backend_rings_counters(&l->kit.be, counters);
	assert_int_equal(counters[BC_OUT_DROP_DISCONNECTED], 5);
	assert_int_equal(counters[BC_OUT_DROP_SIZE], 3);
	assert_int_equal(counters[BC_OUT_FRAMES], 2);
}

/* A full switch holds us at the frame it did not take, long ones or not. */
static void
full_switch_holds(void **state)
{
	static uint8_t bytes[2000];
	struct frame f[3] = {{.data = bytes, .len = 60},
	    {.data = bytes, .len = 1519}, {.data = bytes, .len = 60}};
	struct lab *l = *state;
	uint8_t got[100];
	unsigned sent = 0;

	up(l);
	while (vde_frames(vde_of(l), f, 1) == 1)
		assert_true(++sent < 100000);
	assert_true(sent > 0);
	assert_int_equal(vde_frames(vde_of(l), f, 3), 0);
	assert_int_equal(vde_frames(vde_of(l), f + 1, 2), 1);
	while (recv(l->data, got, sizeof got, 0) > 0)
		sent--;
	assert_int_equal(sent, 0);
	assert_int_equal(vde_frames(vde_of(l), f, 3), 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_is_packed),
	    cmocka_unit_test(names_become_numbers),
	    cmocka_unit_test_setup_teardown(joins_in_steps, begin, end),
	    cmocka_unit_test_setup_teardown(begins_anew, begin, end),
	    cmocka_unit_test_setup_teardown(
		long_frames_are_dropped, begin, end),
	    cmocka_unit_test_setup_teardown(full_switch_holds, begin, end),
	};

	return cmocka_run_group_tests_name("vde", tests, NULL, NULL);
}
