/*
 * netdev_test.c - every pair of state and event of a netdev's life against
 * the list of what is legal; what a life's table must hold by its meaning;
 * resources worked out from options.
 */
#include "broker/netdev.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The list on paper: nothing else may happen. */
static const struct {
	enum life_state from;
	enum life_event event;
	enum life_state to;
} legal[] = {
    {ND_NEW, EV_START, ND_OPENING},
    {ND_OPENING, EV_OPENED, ND_SPAWNING},
    {ND_OPENING, EV_REFUSED, ND_DEAD},
    {ND_OPENING, EV_TIMER, ND_DEAD},
    {ND_OPENING, EV_DEL, ND_DEAD},
    {ND_SPAWNING, EV_SPAWNED, ND_HELLO},
    {ND_SPAWNING, EV_REFUSED, ND_DEAD},
    {ND_SPAWNING, EV_EXIT, ND_DEAD},
    {ND_SPAWNING, EV_TIMER, ND_DYING},
    {ND_SPAWNING, EV_DEL, ND_DYING},
    {ND_HELLO, EV_HELLO, ND_CONFIGURING},
    {ND_HELLO, EV_FAULT, ND_DYING},
    {ND_HELLO, EV_LOST, ND_FADING},
    {ND_HELLO, EV_EXIT, ND_DEAD},
    {ND_HELLO, EV_TIMER, ND_DYING},
    {ND_HELLO, EV_DEL, ND_DYING},
    {ND_CONFIGURING, EV_READY, ND_ATTACHING},
    {ND_CONFIGURING, EV_REFUSED, ND_DYING},
    {ND_CONFIGURING, EV_FAULT, ND_DYING},
    {ND_CONFIGURING, EV_LOST, ND_FADING},
    {ND_CONFIGURING, EV_EXIT, ND_DEAD},
    {ND_CONFIGURING, EV_TIMER, ND_DYING},
    {ND_CONFIGURING, EV_DEL, ND_DYING},
    {ND_ATTACHING, EV_ATTACHED, ND_RUNNING},
    {ND_ATTACHING, EV_FAULT, ND_DYING},
    {ND_ATTACHING, EV_LOST, ND_FADING},
    {ND_ATTACHING, EV_HUNG, ND_ABORTING},
    {ND_ATTACHING, EV_EXIT, ND_DEAD},
    {ND_ATTACHING, EV_TIMER, ND_DYING},
    {ND_ATTACHING, EV_DEL, ND_LEAVING},
    {ND_RUNNING, EV_FAULT, ND_DYING},
    {ND_RUNNING, EV_LOST, ND_FADING},
    {ND_RUNNING, EV_HUNG, ND_ABORTING},
    {ND_RUNNING, EV_EXIT, ND_DEAD},
    {ND_RUNNING, EV_DEL, ND_LEAVING},
    {ND_LEAVING, EV_AWAY, ND_STOPPING},
    {ND_LEAVING, EV_FAULT, ND_DYING},
    {ND_LEAVING, EV_LOST, ND_FADING},
    {ND_LEAVING, EV_HUNG, ND_ABORTING},
    {ND_LEAVING, EV_EXIT, ND_DEAD},
    {ND_LEAVING, EV_TIMER, ND_DYING},
    {ND_STOPPING, EV_FAULT, ND_DYING},
    {ND_STOPPING, EV_HUNG, ND_ABORTING},
    {ND_STOPPING, EV_EXIT, ND_DEAD},
    {ND_STOPPING, EV_TIMER, ND_DYING},
    {ND_ABORTING, EV_EXIT, ND_DEAD},
    {ND_ABORTING, EV_TIMER, ND_DYING},
    {ND_ABORTING, EV_AWAY, ND_ABORTING},
    {ND_ABORTING, EV_DEL, ND_ABORTING},
    {ND_FADING, EV_EXIT, ND_DEAD},
    {ND_FADING, EV_TIMER, ND_DYING},
    {ND_FADING, EV_AWAY, ND_FADING},
    {ND_FADING, EV_DEL, ND_FADING},
    {ND_DYING, EV_SPAWNED, ND_DYING},
    {ND_DYING, EV_REFUSED, ND_DEAD},
    {ND_DYING, EV_EXIT, ND_DEAD},
    {ND_DYING, EV_TIMER, ND_DEAD},
    {ND_DYING, EV_AWAY, ND_DYING},
    {ND_DYING, EV_DEL, ND_DYING},
    {ND_DEAD, EV_AWAY, ND_DEAD},
    {ND_DEAD, EV_DEL, ND_DEAD},
    {ND_DEAD, EV_AGAIN, ND_BACKOFF},
    {ND_DEAD, EV_HOLD, ND_HELD},
    {ND_DEAD, EV_LEAVE, ND_RELEASING},
    {ND_BACKOFF, EV_TIMER, ND_OPENING},
    {ND_BACKOFF, EV_RESUME, ND_OPENING},
    {ND_BACKOFF, EV_DEL, ND_RELEASING},
    {ND_HELD, EV_RESUME, ND_OPENING},
    {ND_HELD, EV_EXIT, ND_OPENING},
    {ND_HELD, EV_DEL, ND_RELEASING},
    {ND_RELEASING, EV_RELEASED, ND_GONE},
    {ND_RELEASING, EV_TIMER, ND_GONE},
};

static void
test_every_pair_is_on_the_list_or_refused(void **state)
{
	size_t found = 0;

	(void)state;
	for (int s = 0; s < ND_STATES; s++)
		for (int ev = 0; ev < EV_COUNT; ev++) {
			enum life_state to = ND_STATES;
			size_t k = 0;

			while (k < sizeof legal / sizeof *legal &&
			       (legal[k].from != (enum life_state)s ||
				   legal[k].event != (enum life_event)ev))
				k++;
			if (k == sizeof legal / sizeof *legal) {
				assert_false(life_rule((enum life_state)s,
				    (enum life_event)ev, &to));
				continue;
			}
			found++;
			assert_true(life_rule(
			    (enum life_state)s, (enum life_event)ev, &to));
			assert_int_equal(to, legal[k].to);
		}
	assert_int_equal(found, sizeof legal / sizeof *legal);
}

static bool
has(enum life_state s, enum life_event ev)
{
	enum life_state to;

	return life_rule(s, ev, &to);
}

static void
test_the_table_means_what_it_should(void **state)
{
	(void)state;
	for (int n = ND_OPENING; n < ND_GONE; n++) {
		enum life_state s = (enum life_state)n;
		bool deleted =
		    s == ND_LEAVING || s == ND_STOPPING || s == ND_RELEASING;
		bool at_rest = s == ND_RUNNING || s == ND_DEAD || s == ND_HELD;
		bool process = s >= ND_SPAWNING && s <= ND_DYING;

		/* netdev_del works in every state, once. */
		assert_int_equal(has(s, EV_DEL), !deleted);
		/* Every waiting has a deadline. DEAD waits for a lane, whose
		 * own deadlines end it. */
		assert_int_equal(has(s, EV_TIMER), !at_rest);
		/* A process may end whenever there is one; one that was
		 * abandoned also later. */
		assert_int_equal(has(s, EV_EXIT), process || s == ND_HELD);
	}
	/* Nothing ever leaves the end. */
	for (int ev = 0; ev < EV_COUNT; ev++)
		assert_false(has(ND_GONE, (enum life_event)ev));
}

static void
test_texts_of_processes_are_cleaned(void **state)
{
	char out[16];

	(void)state;
	text_clean(out, sizeof out, "a\nb\x7f\x01z");
	assert_string_equal(out, "a?b??z");
	text_clean(out, sizeof out, "\xc3\xa4\xc0\xaf\xff");
	assert_string_equal(out, "\xc3\xa4???");
	/* Cut between characters, never inside one. */
	text_clean(out, 4, "ab\xc3\xa4");
	assert_string_equal(out, "ab");
	text_clean(out, 5, "ab\xc3\xa4");
	assert_string_equal(out, "ab\xc3\xa4");
	text_clean(out, sizeof out, "\xe2\x82");
	assert_string_equal(out, "??");
}

/* --- resources --- */

static struct err e;

static int
plan(struct netdev *nd, bool start_phase, struct resources *r)
{
	const struct backend_entry *b = backend_entries;
	int rc;

	memset(r, 0, sizeof *r);
	while (b->type && b->driver != nd->type)
		b++;
	assert_non_null(b->type);
	rc = resources_check(nd, &e);
	return rc < 0 ? rc
		      : resources_plan(b, nd, start_phase, NULL, NULL, r, &e);
}

static char *
text(const char *constant)
{
	return (char *)(uintptr_t)constant;
}

static void
test_options_become_resources(void **state)
{
	struct string rules[] = {
	    {text("tcp::8080-:80")}, {text("udp:127.0.0.1:53-10.0.2.15:53")}};
	struct netdev s = {.id = text("s"), .type = NET_CLIENT_DRIVER_SOCKET};
	struct netdev u = {.id = text("u"), .type = NET_CLIENT_DRIVER_USER};
	struct resources r;

	(void)state;
	s.u.socket.udp = text("127.0.0.1:2");
	s.u.socket.localaddr = text("127.0.0.1:1");
	assert_int_equal(plan(&s, false, &r), 0);
	assert_int_equal(r.count, 1);
	assert_int_equal(r.items[0].open.kind, RES_UDP);
	assert_int_equal(ntohs(r.items[0].open.local.in.sin_port), 1);
	assert_int_equal(ntohs(r.items[0].open.remote.in.sin_port), 2);
	resources_free(&r);
	u.u.user.has_hostfwd = true;
	u.u.user.hostfwd.count = 2;
	u.u.user.hostfwd.items = rules;
	assert_int_equal(plan(&u, false, &r), 0);
	/* The resolver is always there; each rule is a permission. */
	assert_int_equal(r.count, 3);
	assert_int_equal(r.items[0].open.kind, RES_RESOLVER);
	assert_int_equal(r.items[1].open.kind, RES_PERMIT_LISTEN);
	assert_int_equal(r.items[1].open.udp, 0);
	assert_int_equal(r.items[2].open.udp, 1);
	assert_int_equal(ntohs(r.items[2].open.local.in.sin_port), 53);
	resources_free(&r);
}

static void
test_a_capture_has_a_default_name(void **state)
{
	struct netdev d = {.id = text("d0"), .type = NET_CLIENT_DRIVER_DUMP};
	struct resources r;

	(void)state;
	assert_int_equal(plan(&d, false, &r), 0);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.items[0].open.path, "d0.pcap");
	assert_string_equal(d.u.dump.file, "d0.pcap");
	free(d.u.dump.file);
	resources_free(&r);
}

static void
test_socket_options_exclude_each_other(void **state)
{
	struct netdev s = {.id = text("s"), .type = NET_CLIENT_DRIVER_SOCKET};
	struct netdev_socket_options *o = &s.u.socket;
	struct resources r;

	(void)state;
	assert_true(plan(&s, false, &r) < 0);
	assert_string_equal(e.text,
	    "exactly one of listen=, connect=, mcast= or udp= is required");
	o->listen = o->connect = text("127.0.0.1:1");
	assert_true(plan(&s, false, &r) < 0);
	o->connect = NULL;
	o->localaddr = text("127.0.0.1");
	assert_true(plan(&s, false, &r) < 0);
	assert_string_equal(
	    e.text, "localaddr= is only valid with mcast= or udp=");
	o->listen = o->localaddr = NULL;
	o->udp = text("127.0.0.1:1");
	assert_true(plan(&s, false, &r) < 0);
	assert_string_equal(e.text, "localaddr= is mandatory with udp=");
	o->udp = NULL;
	o->mcast = text("10.0.0.1:99");
	assert_true(plan(&s, false, &r) < 0);
	assert_string_equal(e.text,
	    "specified mcastaddr 10.0.0.1 (0x0a000001) does not contain a "
	    "multicast address");
	o->mcast = text("230.0.0.1:99");
	o->localaddr = text("eth0");
	assert_true(plan(&s, false, &r) < 0);
	assert_string_equal(
	    e.text, "localaddr 'eth0' is not a valid IPv4 address");
}

static void
test_descriptor_numbers_are_the_operators(void **state)
{
	struct netdev s = {.id = text("s"), .type = NET_CLIENT_DRIVER_SOCKET};
	struct resources r;

	(void)state;
	s.u.socket.fd = text("7");
	assert_int_equal(plan(&s, true, &r), 0);
	assert_int_equal(r.items[0].open.kind, RES_FD);
	assert_int_equal(r.items[0].open.number, 7);
	resources_free(&r);
	assert_int_equal(plan(&s, false, &r), -EINVAL);
	s.u.socket.fd = text("7x");
	assert_int_equal(plan(&s, true, &r), -EINVAL);
	assert_string_equal(e.text, "Invalid file descriptor number '7x'");
	s.u.socket.fd = text("x");
	assert_int_equal(plan(&s, true, &r), -ENOENT);
	assert_string_equal(
	    e.text, "File descriptor named 'x' has not been found");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_pair_is_on_the_list_or_refused),
	    cmocka_unit_test(test_the_table_means_what_it_should),
	    cmocka_unit_test(test_texts_of_processes_are_cleaned),
	    cmocka_unit_test(test_options_become_resources),
	    cmocka_unit_test(test_a_capture_has_a_default_name),
	    cmocka_unit_test(test_socket_options_exclude_each_other),
	    cmocka_unit_test(test_descriptor_numbers_are_the_operators),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
