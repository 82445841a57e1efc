/*
 * rx_filter.c - which frames does a guest's network card want?
 *
 * Runs in: the nic, and its lane for each frame that it would copy there.
 * Trusts: the filter (made by the nic, judged by the broker), not the frame.
 * Specification: VIRTIO 1.2, 5.1.6.5; the order is that of QEMU's
 * hw/net/virtio-net.c, receive_filter().
 */
#include "proto/rx_filter.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define MAC_BITS      48
#define MAC_BROADCAST UINT64_C(0xffffffffffff)
#define MAC_GROUP     (UINT64_C(1) << 40) /* lowest bit of the first byte */
#define TYPE_AT       12u
#define TYPE_VLAN     0x8100u
#define TAG_AT        14u
#define TAG_VID_MASK  0x0fffu

void
rx_filter_reset(struct rx_filter *f, uint64_t mac)
{
	memset(f, 0, sizeof *f);
	f->promisc = true;
	f->mac = mac;
}

/* Without a way out in the middle of eight: these are compared at once. */
static bool
is_listed(const uint64_t *entry, uint32_t count, uint64_t mac)
{
	uint32_t i = 0, j;
	uint64_t miss;

	for (; count - i >= 8; i += 8) {
		miss = 1;
		for (j = 0; j < 8; j++)
			miss &= entry[i + j] != mac;
		if (!miss)
			return true;
	}
	for (; i < count; i++) {
		if (entry[i] == mac)
			return true;
	}
	return false;
}

static uint32_t
read_be16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/* A tag that is cut off has no number: nobody has asked for it. */
static bool
is_vlan_wanted(const struct rx_filter *f, const uint8_t *frame, uint32_t len)
{
	uint32_t vid;

	if (read_be16(frame + TYPE_AT) != TYPE_VLAN)
		return true;
	if (len < TAG_AT + 2)
		return false;
	vid = read_be16(frame + TAG_AT) & TAG_VID_MASK;
	return (f->vlan[vid / 64] >> vid % 64 & 1) != 0;
}

static bool
is_group_wanted(const struct rx_filter *f, uint64_t mac)
{
	if (mac == MAC_BROADCAST)
		return !f->nobcast;
	if (f->nomulti)
		return false;
	if (f->allmulti || f->multi_overflow)
		return true;
	return is_listed(f->table + f->uni_count, f->multi_count, mac);
}

bool
rx_filter_accepts(const struct rx_filter *f, const uint8_t *frame, uint32_t len)
{
	uint64_t mac;

	if (f->promisc)
		return true;
	/* Fourteen bytes are there: eight are one load. */
	memcpy(&mac, frame, sizeof mac);
	mac = be64toh(mac) >> (64 - MAC_BITS);
	if (f->vlan_filter && !is_vlan_wanted(f, frame, len))
		return false;
	if (mac & MAC_GROUP)
		return is_group_wanted(f, mac);
	if (f->nouni)
		return false;
	if (f->alluni || f->uni_overflow || mac == f->mac)
		return true;
	return is_listed(f->table, f->uni_count, mac);
}

bool
rx_filter_equal(const struct rx_filter *a, const struct rx_filter *b)
{
	return a->known == b->known && a->promisc == b->promisc &&
	       a->allmulti == b->allmulti && a->alluni == b->alluni &&
	       a->nomulti == b->nomulti && a->nouni == b->nouni &&
	       a->nobcast == b->nobcast && a->uni_overflow == b->uni_overflow &&
	       a->multi_overflow == b->multi_overflow &&
	       a->vlan_filter == b->vlan_filter && a->mac == b->mac &&
	       a->uni_count == b->uni_count &&
	       a->multi_count == b->multi_count &&
	       memcmp(a->table, b->table,
		   (a->uni_count + a->multi_count) * sizeof a->table[0]) == 0 &&
	       memcmp(a->vlan, b->vlan, sizeof a->vlan) == 0;
}

uint64_t
mac_number(const uint8_t mac[6])
{
	uint64_t number = 0;
	int i;

	for (i = 0; i < 6; i++)
		number = number << 8 | mac[i];
	return number;
}

void
mac_bytes(uint64_t number, uint8_t mac[6])
{
	int i;

	for (i = 5; i >= 0; i--) {
		mac[i] = (uint8_t)number;
		number >>= 8;
	}
}

/* A digit's value, or -1; not of the locale. */
static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
mac_parse(const char *text, uint64_t *number)
{
	uint64_t value = 0;
	int i, high, low;

	for (i = 0; i < 6; i++) {
		if (i > 0 && *text != ':' && *text != '-')
			return -EINVAL;
		if (i > 0)
			text++;
		high = digit(text[0]);
		if (high < 0)
			return -EINVAL;
		low = digit(text[1]);
		if (low >= 0)
			high = high << 4 | low;
		text += low >= 0 ? 2 : 1;
		value = value << 8 | (uint64_t)high;
	}
	if (*text)
		return -EINVAL;
	*number = value;
	return 0;
}

const char *
mac_text(uint64_t number, char buf[MAC_TEXT_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *at = buf;
	int i;

	for (i = MAC_BITS - 4; i >= 0; i -= 4) {
		*at++ = digits[number >> i & 15];
		if (i % 8 == 0 && i > 0)
			*at++ = ':';
	}
	*at = '\0';
	return buf;
}
