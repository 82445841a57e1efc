/*
 * hostile_nic.h - what a network card's process should not tell of its guest:
 * filters and states of wrong form, too many of them, answers to no question.
 */
#ifndef TESTS_HOSTILE_NIC_H
#define TESTS_HOSTILE_NIC_H

#include "broker/filter_state.h"
#include "tests/hostile/hostile_kit.h"

/* A filter of the right form: only what is for `mac`. */
static inline struct rx_filter
one_address(uint64_t mac)
{
	return (struct rx_filter){.known = true,
	    .mac = mac,
	    .nobcast = true,
	    .nomulti = true,
	    .vlan_filter = true};
}

static inline bool
tell_filter(struct hostile *h, const struct rx_filter_state *s)
{
	const struct ctl_rx_filter m = {.filter = *s, .changed = true};

	(void)ctl_send_rx_filter(h->control, 0, &m);
	return false;
}

/* One address too many. */
static inline bool
filter_count(struct hostile *h)
{
	uint64_t macs[RX_FILTER_MACS] = {0};
	struct rx_filter f = one_address(1);
	struct rx_filter_state s;

	filter_state_from(&s, &f);
	s.unicast = (struct uint64_list){RX_FILTER_MACS, macs};
	s.multicast = (struct uint64_list){1, macs};
	return tell_filter(h, &s);
}

/* As many as a message holds. */
static inline bool
filter_huge(struct hostile *h)
{
	static uint64_t macs[CHAN_BYTES_MAX / 10];
	struct rx_filter f = one_address(1);
	struct rx_filter_state s;

	filter_state_from(&s, &f);
	memset(macs, 0xff, sizeof macs);
	s.unicast =
	    (struct uint64_list){sizeof macs / sizeof *macs - 100, macs};
	return tell_filter(h, &s);
}

/* More bits than an address has. */
static inline bool
filter_wide(struct hostile *h)
{
	struct rx_filter f = one_address(UINT64_C(1) << FILTER_MAC_BITS);
	struct rx_filter_state s;

	filter_state_from(&s, &f);
	return tell_filter(h, &s);
}

static inline bool
filter_vlans(struct hostile *h)
{
	struct rx_filter f = one_address(1);
	struct rx_filter_state s;

	filter_state_from(&s, &f);
	s.vlans.count--;
	return tell_filter(h, &s);
}

/* Without waiting for anything. */
static inline bool
filter_flood(struct hostile *h)
{
	struct rx_filter f = one_address(1);
	struct rx_filter_state s;

	filter_state_from(&s, &f);
	for (int i = 0; i < FLOOD_PER_TURN; i++)
		(void)tell_filter(h, &s);
	return true;
}

/* Another one as soon as the last was taken, each a change. */
static inline bool
filter_churn(struct hostile *h)
{
	struct rx_filter f = one_address(h->told % 2);
	struct rx_filter_state s;

	if (h->told > h->taken)
		return true;
	h->told++;
	filter_state_from(&s, &f);
	(void)tell_filter(h, &s);
	return true;
}

/* It lets nothing pass, and counts what comes all the same. */
static inline bool
filter_nothing(struct hostile *h)
{
	struct rx_filter f = one_address(0);
	struct rx_filter_state s;

	f.nouni = true;
	filter_state_from(&s, &f);
	return tell_filter(h, &s);
}

static inline bool
state_pairs(struct hostile *h)
{
	const struct ctl_nic_state m = {
	    .features = UINT64_MAX, .pairs = UINT32_MAX};

	(void)ctl_send_nic_state(h->control, 0, &m);
	return false;
}

static inline bool
state_flood(struct hostile *h)
{
	const struct ctl_nic_state m = {.features = UINT64_MAX, .pairs = 1};

	for (int i = 0; i < FLOOD_PER_TURN; i++)
		(void)ctl_send_nic_state(h->control, 0, &m);
	return true;
}

/* Front-ends that come and go as no front-end can. */
static inline bool
connect_flood(struct hostile *h)
{
	for (int i = 0; i < FLOOD_PER_TURN; i++) {
		const struct ctl_connected m = {.connected = i % 2 != 0};

		(void)ctl_send_connected(h->control, 0, &m);
	}
	return true;
}

static inline void
answer_filter(struct hostile *h, uint32_t seq, const struct rx_filter *f)
{
	struct ctl_rx_filter_state m = {.changed = true};

	filter_state_from(&m.filter, f);
	(void)ctl_send_rx_filter_state(h->control, seq, &m);
}

/* Answers that nobody has asked for. */
static inline bool
answer_unasked(struct hostile *h)
{
	struct rx_filter f = one_address(1);

	for (uint32_t i = 0; i < FLOOD_PER_TURN; i++)
		answer_filter(h, i, &f);
	return true;
}

/* The question, again and again. */
static inline bool
answer_often(struct hostile *h)
{
	struct rx_filter f = one_address(1);

	for (uint32_t i = 0; i < FLOOD_PER_TURN; i++)
		answer_filter(h, h->asked, &f);
	return false;
}

static inline bool
answer_garbage(struct hostile *h)
{
	struct rx_filter f = one_address(UINT64_MAX);

	answer_filter(h, h->asked, &f);
	return false;
}

static inline bool
answer_never(struct hostile *h)
{
	(void)h;
	return false;
}

#endif
