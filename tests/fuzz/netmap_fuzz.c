/*
 * netmap_fuzz.c - a netmap port's memory that is anything, and changes.
 *
 * The memory begins right: one ring each way, 8 slots of 2 KiB. The input is
 * steps of 6 bytes: what to do, and two numbers. Most write a word somewhere,
 * as the kernel or a pipe's other end could; the others are what the backend
 * does. The mapping is exactly as long as it is said to be, so sanitizers see
 * every byte beyond it.
 *
 * Checked: positions stay within the ring, a span is no longer than the ring,
 * and what is a frame has a legal length.
 */
#include "backends/backend_netmap.h"

#include "proto/ring.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAP_BYTES (64u * 1024 + 40)
#define NIF_AT    64u
#define TX_AT     1024u
#define RX_AT     4096u
#define BUFS_AT   8192u
#define STEPS_MAX 256u

static uint8_t frame[FRAME_BYTES_MAX + 1];

struct fuzz {
	uint8_t *map;
	struct nmp_port port;
	bool attached;
};

static void
demand(int truth)
{
	if (!truth)
		abort();
}

static struct netmap_ring *
ring_init(uint8_t *map, uint32_t at, uint32_t first_buf)
{
	struct netmap_ring *r = (struct netmap_ring *)(void *)(map + at);
	uint32_t i;

	r->slots = 8;
	r->buf_bytes = 2048;
	r->buf_ofs = (int64_t)BUFS_AT - at;
	for (i = 0; i < r->slots; i++)
		r->slot[i] =
		    (struct netmap_slot){.buf = first_buf + i, .len = 60};
	return r;
}

static void
memory_init(uint8_t *map)
{
	struct netmap_if nif = {.tx_rings = 1, .rx_rings = 1};
	int64_t table[2] = {TX_AT - NIF_AT, RX_AT - NIF_AT};

	memset(map, 0, MAP_BYTES);
	memcpy(map + NIF_AT, &nif, sizeof nif);
	memcpy(map + NIF_AT + sizeof nif, table, sizeof table);
	ring_init(map, TX_AT, 2)->tail = 7;
	ring_init(map, RX_AT, 10);
}

static void
look_at(const struct nmp_ring *r)
{
	demand(r->head < r->slots && r->tail < r->slots);
}

static void
receive(struct nmp_ring *r)
{
	enum nmp_found found;
	struct nmp_span s;

	nmp_load(r);
	found = nmp_next(r, &s);
	if (found == NMP_NONE)
		return;
	demand(s.slots > 0 && s.slots < r->slots);
	if (found == NMP_FRAME) {
		demand(s.len >= FRAME_BYTES_MIN && s.len <= FRAME_BYTES_MAX);
		(void)nmp_copy(r, &s, frame);
	}
	nmp_drop(r, &s);
	nmp_publish(r);
	look_at(r);
}

static void
transmit(struct nmp_port *p, uint32_t len)
{
	if (!p->has_tx)
		return;
	nmp_load(&p->tx);
	len = FRAME_BYTES_MIN + len % (FRAME_BYTES_MAX - FRAME_BYTES_MIN + 1);
	if (nmp_put(p, frame, len) == NMP_FULL)
		nmp_want_room(&p->tx);
	else
		nmp_publish(&p->tx);
	(void)nmp_pending(&p->tx);
	look_at(&p->tx);
}

static void
attach(struct fuzz *f, uint32_t where, bool multi)
{
	struct err err;
	unsigned i;

	f->attached = nmp_attach(&f->port, f->map, MAP_BYTES,
			  where == 0 ? NIF_AT : where, multi, &err) == 0;
	if (!f->attached)
		return;
	demand(f->port.rx_count > 0 && f->port.rx_count <= NMP_RINGS_MAX);
	for (i = 0; i < f->port.rx_count; i++)
		look_at(&f->port.rx[i]);
	if (f->port.has_tx)
		look_at(&f->port.tx);
}

static void
step(struct fuzz *f, const uint8_t in[6])
{
	uint32_t where = (uint32_t)in[1] << 8 | in[2];
	uint32_t value = (uint32_t)in[3] << 8 | in[4];

	switch (in[0] % 8) {
	case 0:
		attach(f, where, in[5] & 1);
		return;
	case 1:
	case 2:
		if (f->attached)
			receive(&f->port.rx[in[1] % f->port.rx_count]);
		return;
	case 3:
		if (f->attached)
			transmit(&f->port, (uint32_t)in[5] << 16 | value);
		return;
	default:
		/* Small numbers and large ones, negative ones too. */
		if (in[5] & 0x80)
			value = ~value;
		else
			value <<= in[5] % 16;
		/* In the port's description and its rings, word by word. */
		where = where * 4 % (BUFS_AT - NIF_AT) + NIF_AT;
		memcpy(f->map + where, &value, sizeof value);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {.map = malloc(MAP_BYTES)};
	unsigned n;

	if (f.map == NULL)
		return 0;
	memory_init(f.map);
	attach(&f, 0, true);
	for (n = 0; n < STEPS_MAX && size >= 6; n++, data += 6, size -= 6)
		step(&f, data);
	free(f.map);
	return 0;
}
