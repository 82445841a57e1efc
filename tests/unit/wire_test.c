/*
 * wire_test.c - control messages: round trips, and everything that a hostile
 * sender may put into one.
 */
#include "gen/control.h"
#include "proto/chan.h"
#include "proto/wire.h"
#include "tests/unit/value_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 100

static void
round_trip(struct dice *r, const struct desc *d)
{
	static uint8_t buf[WIRE_BYTES_MAX];
	void *a = calloc(1, d->bytes), *b = calloc(1, d->bytes);
	size_t len, cut;

	value_fill(r, d, a);
	assert_int_equal(wire_encode(d, a, buf, sizeof buf, &len), 0);
	assert_int_equal(wire_decode(d, buf, len, b), 0);
	assert_true(desc_equal(d, a, b));
	desc_free(d, b);
	/* Cut off anywhere, or followed by anything, it is refused. */
	cut = dice_roll(r) % len;
	assert_int_equal(wire_decode(d, buf, cut, b), -EPROTO);
	buf[len] = 0xc0;
	assert_int_equal(wire_decode(d, buf, len + 1, b), -EPROTO);
	/* One byte changed: decoded or refused, never worse. */
	buf[cut] = (uint8_t)dice_roll(r);
	if (wire_decode(d, buf, len, b) == 0)
		desc_free(d, b);
	desc_free(d, a);
	free(a);
	free(b);
}

static void
test_every_type_comes_back_as_it_was_sent(void **state)
{
	struct dice r = {77};
	size_t i, k;

	(void)state;
	for (k = 0; k < ROUNDS; k++) {
		for (i = 0; i < type_desc_count; i++) {
			if (type_descs[i]->kind == DESC_STRUCT)
				round_trip(&r, type_descs[i]);
		}
		for (i = 0; i < ctl_wire.count; i++)
			round_trip(&r, ctl_wire.messages[i].desc);
	}
}

#define BYTES(...)                                                             \
	(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static void
test_a_claim_without_bytes_is_refused_before_memory_is_taken(void **state)
{
	const struct {
		const uint8_t *buf;
		size_t len;
		int rc;
	} rows[] = {
	    {BYTES(0x93, 0x01), -EPROTO},
	    {BYTES(0xdd, 0x01, 0x00, 0x00, 0x00), -EPROTO},
	    {BYTES(0xdd, 0xff, 0xff, 0xff, 0xff), -EPROTO},
	    {BYTES(0xdf, 0x0f, 0xff, 0xff, 0xff), -EPROTO},
	    {BYTES(0xdb, 0xff, 0xff, 0xff, 0xff), -EPROTO},
	    {BYTES(0xd9), -EPROTO},
	    {BYTES(0xd9, 0x05, 'a'), -EPROTO},
	    {BYTES(0xda, 0x00), -EPROTO},
	    {BYTES(0xdc, 0x00), -EPROTO},
	    {BYTES(0xdc, 0xff, 0xff, 0x00), -EPROTO},
	    {BYTES(0xc1), -EPROTO},                   /* never used */
	    {BYTES(0xc4, 0x01, 0x00), -EPROTO},       /* bin */
	    {BYTES(0xc7, 0x01, 0x00, 0x00), -EPROTO}, /* ext */
	    {BYTES(0xca, 0, 0, 0, 0), -EPROTO},       /* float32 */
	    {BYTES(0xd4, 0x00, 0x00), -EPROTO},       /* fixext */
	    {BYTES(0x80), -EPROTO},                   /* map */
	    {BYTES(0xcf, 0, 0, 0, 0, 0, 0, 0), -EPROTO},
	    {BYTES(0xc0, 0xc0), -EPROTO}, /* trailing */
	    {BYTES(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0),
		-EPROTO}, /* depth 9 */
	    {BYTES(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0), 0},
	    {BYTES(0x90), 0},
	    {BYTES(0xa0), 0},
	    {BYTES(0x92, 0xa1, 'x', 0xd0, 0x80), 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(
		    wire_check(rows[i].buf, rows[i].len), rows[i].rc);
	assert_int_equal(wire_check(rows[0].buf, 0), -EPROTO);
}

static void
test_size_and_depth_have_limits(void **state)
{
	static uint8_t buf[WIRE_BYTES_MAX + 1];

	(void)state;
	memset(buf, 0xc0, sizeof buf);
	buf[0] = 0xdc;
	buf[1] = 0xff;
	buf[2] = 0xfd;
	assert_int_equal(wire_check(buf, WIRE_BYTES_MAX), 0);
	assert_int_equal(wire_check(buf, WIRE_BYTES_MAX + 1), -EPROTO);
}

static void
test_fields_are_checked_one_by_one(void **state)
{
	const struct {
		const struct desc *d;
		const uint8_t *buf;
		size_t len;
		int rc;
	} rows[] = {
	    {&desc_str, BYTES(0xa2, 0xc3, 0x28), -EPROTO}, /* not UTF-8 */
	    {&desc_str, BYTES(0xa1, 0x00), -EPROTO},       /* NUL inside */
	    {&desc_str, BYTES(0xc0), -EPROTO},
	    {&desc_str, BYTES(0x01), -EPROTO},
	    {&desc_bool, BYTES(0x01), -EPROTO},
	    {&desc_bool, BYTES(0xc3), 0},
	    {&desc_uint8, BYTES(0xcd, 0x01, 0x00), -EPROTO},
	    {&desc_uint8, BYTES(0xff), -EPROTO}, /* -1 */
	    {&desc_int8, BYTES(0xff), 0},
	    {&desc_int8, BYTES(0xcc, 0x80), -EPROTO}, /* 128 */
	    {&desc_int64, BYTES(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0), -EPROTO},
	    {&desc_uint64, BYTES(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0), 0},
	    {&desc_size, BYTES(0xd3, 0xff, 0, 0, 0, 0, 0, 0, 0), -EPROTO},
	    {&desc_number, BYTES(0x01), -EPROTO},
	    {&desc_number, BYTES(0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0), -EPROTO},
	    {&desc_number, BYTES(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0), -EPROTO},
	    {&desc_number, BYTES(0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0), 0},
	    {&desc_rx_state, BYTES(0x02), 0},
	    {&desc_rx_state, BYTES(0x03), -EPROTO},
	    {&desc_rx_state, BYTES(0xff), -EPROTO},
	    {&desc_string, BYTES(0x90), -EPROTO},       /* missing */
	    {&desc_string, BYTES(0x91, 0xc0), -EPROTO}, /* mandatory, nil */
	    {&desc_string, BYTES(0x92, 0xa1, 'x', 0xc0), -EPROTO}, /* extra */
	    {&desc_string, BYTES(0x91, 0xa1, 'x'), 0},
	    {&desc_name_info, BYTES(0x91, 0xc0), 0},
	    {&desc_list_string, BYTES(0x91, 0xc0), -EPROTO},
	    {&desc_list_string, BYTES(0x91, 0x90), -EPROTO},
	    {&desc_list_string, BYTES(0xa0), -EPROTO},
	    {&desc_list_string, BYTES(0x90), 0},
	};
	union {
		struct netdev room;
		char bytes[256];
	} v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		memset(&v, 0, sizeof v);
		assert_int_equal(
		    wire_decode(rows[i].d, rows[i].buf, rows[i].len, &v),
		    rows[i].rc);
		desc_free(rows[i].d, &v);
	}
}

/* --- dispatch ------------------------------------------------------------ */

static struct {
	int calls, fds[3];
	uint32_t port, seq;
	int answer;
} seen;

static int
on_attach(void *self, uint32_t seq, const void *m, int *fds)
{
	const struct ctl_attach *a = m;

	assert_ptr_equal(self, &seen);
	seen.calls++;
	seen.port = a->port;
	seen.seq = seq;
	memcpy(seen.fds, fds, sizeof seen.fds);
	return seen.answer;
}

static int
on_connection(void *self, uint32_t seq, const void *m, int *fds)
{
	(void)self;
	(void)seq;
	(void)m;
	seen.calls++;
	seen.fds[0] = fds[0];
	return 0;
}

static const wire_handler handlers[CTL__MAX] = {
    [CTL_ATTACH] = on_attach, [CTL_CONNECTION] = on_connection};

static void
open_fds(int *fds, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Dispatch one message with n descriptors; tells whether they were closed. */
static int
deliver(const struct wire_out *m, unsigned from, unsigned role, size_t n,
    bool *closed)
{
	int fds[WIRE_FDS_MAX + 1] = {0}, copy[WIRE_FDS_MAX + 1];
	struct wire_in in = {from, m->buf, m->len, fds, n};
	size_t i;
	int rc;

	open_fds(fds, n);
	memcpy(copy, fds, sizeof fds);
	rc = wire_dispatch(&ctl_wire, handlers, role, &seen, &in);
	*closed = true;
	for (i = 0; i < n; i++) {
		if (is_open(copy[i])) {
			*closed = false;
			close(copy[i]);
		}
	}
	return rc;
}

static struct wire_out out;

static void
attach_message(void)
{
	const struct ctl_attach a = {
	    .port = 7, .epoch = 3, .ring_bytes = 1 << 21};

	assert_int_equal(
	    wire_encode_message(&ctl_wire, CTL_ATTACH, 42, &a, &out), 0);
}

static void
test_a_good_message_reaches_its_handler_with_its_descriptors(void **state)
{
	bool closed;

	(void)state;
	attach_message();
	memset(&seen, 0, sizeof seen);
	assert_int_equal(
	    deliver(&out, CTL_ROLE_BROKER, CTL_ROLE_LANE, 3, &closed), 0);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.port, 7);
	assert_int_equal(seen.seq, 42);
	assert_false(closed); /* they belong to the handler */
	seen.answer = -EPROTO;
	assert_int_equal(
	    deliver(&out, CTL_ROLE_BROKER, CTL_ROLE_LANE, 3, &closed), -EPROTO);
	assert_false(closed);
}

static void
test_wrong_direction_or_descriptor_count_is_a_fault(void **state)
{
	static const struct {
		unsigned from, role;
		size_t fds;
	} rows[] = {
	    {CTL_ROLE_LANE, CTL_ROLE_LANE, 3},      /* not who may send it */
	    {CTL_ROLE_BROKER, CTL_ROLE_BACKEND, 3}, /* not for us */
	    {CTL_ROLE_BROKER, CTL_ROLE_LANE, 0},
	    {CTL_ROLE_BROKER, CTL_ROLE_LANE, 2},
	    {CTL_ROLE_BROKER, CTL_ROLE_LANE, 4},
	    {CTL_ROLE_BROKER, CTL_ROLE_LANE, WIRE_FDS_MAX + 1},
	};
	bool closed;
	size_t i;

	(void)state;
	attach_message();
	memset(&seen, 0, sizeof seen);
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(deliver(&out, rows[i].from, rows[i].role,
				     rows[i].fds, &closed),
		    -EPROTO);
		assert_true(closed);
	}
	assert_int_equal(seen.calls, 0);
}

static void
test_an_optional_descriptor_may_be_absent(void **state)
{
	const struct ctl_connection c = {.index = 1};
	bool closed;

	(void)state;
	memset(&seen, 0, sizeof seen);
	assert_int_equal(
	    wire_encode_message(&ctl_wire, CTL_CONNECTION, 1, &c, &out), 0);
	assert_int_equal(
	    deliver(&out, CTL_ROLE_BROKER, CTL_ROLE_BACKEND, 0, &closed), 0);
	assert_int_equal(seen.fds[0], -1);
	assert_int_equal(
	    deliver(&out, CTL_ROLE_BROKER, CTL_ROLE_BACKEND, 1, &closed), 0);
	assert_true(seen.fds[0] >= 0);
	assert_int_equal(
	    deliver(&out, CTL_ROLE_BROKER, CTL_ROLE_BACKEND, 2, &closed),
	    -EPROTO);
}

static void
test_a_broken_envelope_is_a_fault(void **state)
{
	const struct {
		const uint8_t *buf;
		size_t len;
	} rows[] = {
	    {BYTES(0x90)},
	    {BYTES(0x92, 0x00, 0x00)},
	    {BYTES(0x93, 0x00, 0x00, 0x00)},
	    {BYTES(0x93, 0x7f, 0x00, 0x90)},                /* unknown id */
	    {BYTES(0x93, 0xff, 0x00, 0x90)},                /* id -1 */
	    {BYTES(0x93, 0xa1, 'a', 0x00, 0x90)},           /* id a text */
	    {BYTES(0x93, CTL_ATTACH, 0xff, 0x93, 1, 1, 1)}, /* seq -1 */
	    {BYTES(0x93, CTL_ATTACH, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 0x93, 1, 1,
		1)}, /* seq of 33 bits */
	    {BYTES(0x93, CTL_ATTACH, 0x00, 0x92, 1, 1)},
	    {BYTES(0x93, CTL_ATTACH, 0x00, 0x94, 1, 1, 1, 1)},
	    {BYTES(0x94, CTL_ATTACH, 0x00, 0x93, 1, 1, 1, 0xc0)},
	    {BYTES(0x93, CTL_ATTACH, 0x00, 0x93, 1, 1, 1, 0xc0)},
	};
	bool closed;
	size_t i;

	(void)state;
	memset(&seen, 0, sizeof seen);
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		memcpy(out.buf, rows[i].buf, rows[i].len);
		out.len = rows[i].len;
		assert_int_equal(
		    deliver(&out, CTL_ROLE_BROKER, CTL_ROLE_LANE, 3, &closed),
		    -EPROTO);
		assert_true(closed);
	}
	assert_int_equal(seen.calls, 0);
}

static void
test_what_does_not_fit_or_is_not_text_is_not_sent(void **state)
{
	struct ctl_notice n = {.kind = NULL, .text = NULL};
	char *big = calloc(1, WIRE_BYTES_MAX + 10);

	(void)state;
	assert_non_null(big);
	memset(big, 'x', WIRE_BYTES_MAX - 1);
	n.kind = big;
	n.text = big;
	assert_int_equal(
	    wire_encode_message(&ctl_wire, CTL_NOTICE, 0, &n, &out), -EMSGSIZE);
	big[0] = '\xff';
	assert_int_equal(
	    wire_encode_message(&ctl_wire, CTL_NOTICE, 0, &n, &out), -EINVAL);
	n.kind = NULL;
	assert_int_equal(
	    wire_encode_message(&ctl_wire, CTL_NOTICE, 0, &n, &out), -EINVAL);
	free(big);
}

static void
test_the_table_knows_names_deadlines_and_replies(void **state)
{
	size_t i;

	(void)state;
	assert_string_equal(ctl_name(CTL_CONFIGURE), "configure");
	assert_string_equal(ctl_name(CTL__MAX), "?");
	assert_int_equal(ctl_deadline_ms(CTL_PING), 5000);
	assert_int_equal(ctl_deadline_ms(CTL_PONG), 0);
	for (i = 0; i < ctl_wire.count; i++)
		assert_int_equal(ctl_wire.messages[i].deadline_ms != 0,
		    ctl_wire.messages[i].reply >= 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_type_comes_back_as_it_was_sent),
	    cmocka_unit_test(
		test_a_claim_without_bytes_is_refused_before_memory_is_taken),
	    cmocka_unit_test(test_size_and_depth_have_limits),
	    cmocka_unit_test(test_fields_are_checked_one_by_one),
	    cmocka_unit_test(
		test_a_good_message_reaches_its_handler_with_its_descriptors),
	    cmocka_unit_test(
		test_wrong_direction_or_descriptor_count_is_a_fault),
	    cmocka_unit_test(test_an_optional_descriptor_may_be_absent),
	    cmocka_unit_test(test_a_broken_envelope_is_a_fault),
	    cmocka_unit_test(test_what_does_not_fit_or_is_not_text_is_not_sent),
	    cmocka_unit_test(test_the_table_knows_names_deadlines_and_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
