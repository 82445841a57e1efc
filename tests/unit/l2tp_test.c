/*
 * l2tp_test.c - the header of a pseudo-wire: every combination of its parts,
 * made by one side and read by the other, and every way to be wrong.
 */
#include "backends/backend_l2tp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gen/types.h"

static struct l2tp one, two;

static void
set_up(struct l2tp *l, const struct netdev_l2tpv3_options *o)
{
	struct err err;

	memset(l, 0, sizeof *l);
	if (l2tp_setup(l, o, &err) != 0)
		fail_msg("%s", err.text);
}

static const char *
refusal(const struct netdev_l2tpv3_options *o)
{
	static struct err err;

	memset(&one, 0, sizeof one);
	assert_int_equal(l2tp_setup(&one, o, &err), -EINVAL);
	return err.text;
}

/* The options as seen from the other end. */
static struct netdev_l2tpv3_options
mirrored(struct netdev_l2tpv3_options o)
{
	uint32_t session = o.has_rxsession ? o.rxsession : o.txsession;
	uint64_t cookie = o.rxcookie;

	o.has_rxsession = true;
	o.rxsession = o.txsession;
	o.txsession = session;
	o.rxcookie = o.txcookie;
	o.txcookie = cookie;
	return o;
}

/* One datagram: an IPv4 header of `ip` bytes, the header, a frame of 14. */
static size_t
datagram(struct l2tp *l, size_t ip, uint8_t out[512])
{
	struct iovec head = l2tp_head(l, 0);

	memset(out, 0xee, ip);
	if (ip > 0)
		out[0] = (uint8_t)(0x40 | ip / 4);
	memcpy(out + ip, head.iov_base, head.iov_len);
	memset(out + ip + head.iov_len, 0xfa, 14);
	return ip + head.iov_len + 14;
}

/* Options number n: each bit and digit is one part of the header. */
static struct netdev_l2tpv3_options
combination(unsigned n)
{
	static const uint32_t offsets[] = {0, 1, 4, 256};
	struct netdev_l2tpv3_options o = {
	    .txsession = 0xfedc0001, .has_rxsession = n & 1, .rxsession = 77};

	o.has_udp = o.udp = n & 2;
	o.has_counter = o.counter = n & 4;
	o.has_pincounter = o.pincounter = n & 8;
	o.has_rxcookie = o.has_txcookie = n & 16;
	o.has_cookie64 = n & 32;
	o.cookie64 = n & 64;
	o.txcookie =
	    o.has_cookie64 && o.cookie64 ? 0x123456789abcdef0 : 0x9abcdef0;
	o.rxcookie = o.txcookie - 1;
	o.has_offset = offsets[n >> 7] != 0;
	o.offset = offsets[n >> 7];
	return o;
}

static size_t
expected_bytes(const struct netdev_l2tpv3_options *o)
{
	size_t bytes = 4 + o->offset;

	if (o->udp)
		bytes += 4;
	if (o->counter || o->pincounter)
		bytes += 4;
	if (o->has_rxcookie)
		bytes += o->has_cookie64 && o->cookie64 ? 8 : 4;
	return bytes;
}

static void
test_what_one_end_makes_the_other_reads(void **state)
{
	uint8_t data[512];
	uint32_t at;
	unsigned n;
	size_t len, ip;

	(void)state;
	for (n = 0; n < 512; n++) {
		struct netdev_l2tpv3_options o = combination(n);
		struct netdev_l2tpv3_options m = mirrored(o);

		set_up(&one, &o);
		set_up(&two, &m);
		for (ip = 0; ip <= 60; ip += ip ? 4 : 20) {
			len = datagram(&one, ip, data);
			assert_int_equal(len, ip + expected_bytes(&o) + 14);
			assert_int_equal(
			    l2tp_open(&two, ip > 0, data, len, &at), L2TP_FINE);
			assert_int_equal(at, len - 14);
			assert_memory_equal(data + at, "\xfa\xfa\xfa\xfa", 4);
		}
	}
}

/* Each byte before the frame that means something makes the difference. */
static void
test_one_wrong_bit_is_found(void **state)
{
	uint8_t data[512];
	uint32_t at;
	unsigned n, bit;
	size_t len, end;

	(void)state;
	for (n = 0; n < 128; n++) {
		struct netdev_l2tpv3_options o = combination(n);
		struct netdev_l2tpv3_options m = mirrored(o);
		size_t cookie = (o.udp ? 4 : 0) + 4;

		set_up(&one, &o);
		set_up(&two, &m);
		len = datagram(&one, 0, data);
		end = cookie + two.cookie_bytes;
		for (bit = o.udp ? 32 : 0; bit < end * 8; bit++) {
			data[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(l2tp_open(&two, false, data, len, &at),
			    bit / 8 < cookie ? L2TP_SESSION : L2TP_COOKIE);
			data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

static void
test_only_data_messages_of_version_3(void **state)
{
	struct netdev_l2tpv3_options o = {
	    .has_udp = true, .udp = true, .txsession = 1};
	uint8_t data[512];
	uint32_t at;
	size_t len;

	(void)state;
	set_up(&one, &o);
	len = datagram(&one, 0, data);
	data[0] = 0x80; /* a control message */
	assert_int_equal(l2tp_open(&one, false, data, len, &at), L2TP_NOT_DATA);
	data[0] = 0;
	data[1] = 2;
	assert_int_equal(l2tp_open(&one, false, data, len, &at), L2TP_NOT_DATA);
	/* Reserved bits are to be passed over. */
	memcpy(data, "\x7f\xf3\xff\xff", 4);
	assert_int_equal(l2tp_open(&one, false, data, len, &at), L2TP_FINE);
}

/* Read from memory of exactly that size: the sanitizer sees its end. */
static enum l2tp_flaw
cut(const struct l2tp *l, bool ip, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum l2tp_flaw flaw;
	uint32_t at;

	assert_non_null(copy);
	memcpy(copy, data, len);
	flaw = l2tp_open(l, ip, copy, len, &at);
	free(copy);
	return flaw;
}

static void
test_truncated_headers(void **state)
{
	uint8_t data[512];
	size_t len, full;
	unsigned n;

	(void)state;
	for (n = 0; n < 512; n++) {
		struct netdev_l2tpv3_options o = combination(n);

		o.has_rxsession = false;
		o.rxcookie = o.txcookie;
		set_up(&one, &o);
		full = datagram(&one, 24, data);
		for (len = 0; len <= full - 14; len++)
			assert_int_equal(
			    cut(&one, true, data, len), L2TP_SHORT);
		assert_int_equal(cut(&one, true, data, full - 13), L2TP_FINE);
		for (len = 0; len <= full - 14 - 24; len++)
			assert_int_equal(
			    cut(&one, false, data + 24, len), L2TP_SHORT);
	}
}

static void
test_lying_ip_headers(void **state)
{
	struct netdev_l2tpv3_options o = {.txsession = 1};
	uint8_t data[512];
	size_t len;

	(void)state;
	set_up(&one, &o);
	len = datagram(&one, 20, data);
	data[0] = 0x4f; /* 60 bytes, and there are not so many */
	assert_int_equal(cut(&one, true, data, len), L2TP_SHORT);
	data[0] = 0x44; /* 16 bytes */
	assert_int_equal(cut(&one, true, data, len), L2TP_NOT_DATA);
	data[0] = 0x65; /* IPv6 */
	assert_int_equal(cut(&one, true, data, len), L2TP_NOT_DATA);
	data[0] = 0x45;
	assert_int_equal(cut(&one, true, data, len), L2TP_FINE);
}

static uint32_t
counter_of(size_t i)
{
	struct iovec head = l2tp_head(&one, i);
	const uint8_t *at = (uint8_t *)head.iov_base + head.iov_len - 4 - 8;

	/* the offset area behind it */
	assert_memory_equal(at + 4, "\0\0\0\0\0\0\0\0", 8);
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

static void
test_the_counter_counts_what_was_sent(void **state)
{
	struct netdev_l2tpv3_options o = {.txsession = 1,
	    .has_counter = true,
	    .counter = true,
	    .has_offset = true,
	    .offset = 8};
	size_t i;

	(void)state;
	set_up(&one, &o);
	for (i = 0; i < L2TP_HEADS; i++)
		assert_int_equal(counter_of(i), i + 1);
	l2tp_sent(&one, 3); /* the others have to wait */
	assert_int_equal(counter_of(0), 4);
	assert_int_equal(counter_of(1), 5);
	one.sent = UINT32_MAX - 1;
	assert_int_equal(counter_of(0), UINT32_MAX);
	assert_int_equal(counter_of(1), 0);
	o.has_pincounter = o.pincounter = true;
	set_up(&one, &o);
	l2tp_sent(&one, 3);
	assert_int_equal(counter_of(0), 0);
	/* pincounter alone has its word too */
	o.has_counter = false;
	set_up(&one, &o);
	assert_int_equal(one.head_bytes, 4 + 4 + 8);
	assert_int_equal(counter_of(2), 0);
}

static void
test_the_bytes_of_the_reference(void **state)
{
	struct netdev_l2tpv3_options o = {.has_udp = true,
	    .udp = true,
	    .txsession = 7,
	    .has_rxcookie = true,
	    .rxcookie = 1,
	    .has_txcookie = true,
	    .txcookie = 0x0102030405060708,
	    .has_cookie64 = true,
	    .cookie64 = true,
	    .has_counter = true,
	    .counter = true};
	struct iovec head;

	(void)state;
	set_up(&one, &o);
	head = l2tp_head(&one, 0);
	assert_int_equal(head.iov_len, 20);
	assert_memory_equal(
	    head.iov_base, "\0\3\0\0\0\0\0\7\1\2\3\4\5\6\7\10\0\0\0\1", 20);
	o.cookie64 = false; /* 32 bits, unlike QEMU */
	o.txcookie = 5;
	set_up(&one, &o);
	head = l2tp_head(&one, 0);
	assert_int_equal(head.iov_len, 16);
	assert_memory_equal(
	    head.iov_base, "\0\3\0\0\0\0\0\7\0\0\0\5\0\0\0\1", 16);
}

static void
test_refusals(void **state)
{
	struct netdev_l2tpv3_options o = {.txsession = 1, .has_txcookie = true};

	(void)state;
	assert_string_equal(
	    refusal(&o), "require both 'rxcookie' and 'txcookie' or neither");
	o.has_rxcookie = true;
	o.has_txcookie = false;
	assert_string_equal(
	    refusal(&o), "require both 'rxcookie' and 'txcookie' or neither");
	o.has_txcookie = true;
	o.rxcookie = UINT64_C(1) << 32;
	assert_string_equal(
	    refusal(&o), "'rxcookie' has more than 32 bits: set cookie64=on");
	o.rxcookie = UINT32_MAX;
	o.txcookie = UINT64_C(1) << 32;
	assert_string_equal(
	    refusal(&o), "'txcookie' has more than 32 bits: set cookie64=on");
	o.has_cookie64 = true;
	assert_string_equal(
	    refusal(&o), "'txcookie' has more than 32 bits: set cookie64=on");
	o.cookie64 = true;
	set_up(&one, &o);
	o.has_offset = true;
	o.offset = 257;
	assert_string_equal(refusal(&o), "offset must be at most 256 bytes");
	o.offset = 256;
	set_up(&one, &o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_one_end_makes_the_other_reads),
	    cmocka_unit_test(test_one_wrong_bit_is_found),
	    cmocka_unit_test(test_only_data_messages_of_version_3),
	    cmocka_unit_test(test_truncated_headers),
	    cmocka_unit_test(test_lying_ip_headers),
	    cmocka_unit_test(test_the_counter_counts_what_was_sent),
	    cmocka_unit_test(test_the_bytes_of_the_reference),
	    cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
