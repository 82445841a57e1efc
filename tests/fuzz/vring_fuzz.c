/*
 * vring_fuzz.c - a device that stores anything, anywhere in a ring that we
 * drive, at any time.
 *
 * The input is a script: our calls, and between them the device's stores.
 * Whatever it says, no descriptor is lent twice or lost, and a ring that is
 * not broken has each of them either free or with the device.
 */
#include "backends/backend_vring.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	uint8_t *memory;
	struct vring_driver ring;
	bool ours[SIZE]; /* not lent: we took it, or it came back */
	uint16_t given;  /* the device's honest index */
} fz;

struct script {
	const uint8_t *at, *end;
};

static uint32_t
take(struct script *s, size_t bytes)
{
	uint32_t number = 0;

	if (bytes > (size_t)(s->end - s->at))
		bytes = (size_t)(s->end - s->at);
	memcpy(&number, s->at, bytes);
	s->at += bytes;
	return number;
}

static void
start(struct script *s)
{
	const struct vring_config c = {.memory = fz.memory,
	    .size = SIZE,
	    .buffers = 1 << 20,
	    .buffer_bytes = 64,
	    .event_idx = take(s, 1) & 1};

	memset(fz.memory, 0, vring_bytes(SIZE));
	vring_start(&fz.ring, &c);
	memset(fz.ours, 1, sizeof fz.ours);
	fz.given = 0;
}

/* The table is never read: what it says is what we believe, privately. */
static void
lend(struct script *s)
{
	unsigned count = 1 + take(s, 1) % SIZE, i;
	uint32_t lens[SIZE];
	uint16_t ids[SIZE];

	if (vring_take(&fz.ring, count, ids) < 0)
		return;
	for (i = 0; i < count; i++) {
		BUG_ON(ids[i] >= SIZE || !fz.ours[ids[i]]);
		fz.ours[ids[i]] = false;
		lens[i] = 64 - i;
	}
	vring_add(&fz.ring, ids, lens, count, take(s, 1) & 1);
	(void)vring_publish(&fz.ring);
}

/* Everything that is free now is ours; nothing else came back. */
static void
check_free(void)
{
	unsigned i, count = 0;
	uint16_t id = fz.ring.free_head;

	for (i = 0; i < fz.ring.free_count; i++) {
		BUG_ON(id >= SIZE);
		fz.ours[id] = true;
		id = fz.ring.slot[id].next;
	}
	for (i = 0; i < SIZE; i++)
		count += fz.ours[i];
	BUG_ON(count != fz.ring.free_count);
	BUG_ON(fz.ring.outstanding > SIZE);
	BUG_ON(fz.ring.outstanding == 0 && count != SIZE && !fz.ring.broken);
}

static void
reap(struct script *s)
{
	struct vring_done d[SIZE];
	unsigned want = 1 + take(s, 1) % SIZE, n;
	int rc = 1;

	for (n = 0; n < want && rc == 1; n += rc == 1)
		rc = vring_peek(&fz.ring, n, &d[n]);
	if (rc < 0) {
		BUG_ON(rc != -EPROTO || !fz.ring.broken || !fz.ring.why);
		return;
	}
	while (n > 0 && vring_return(&fz.ring, d, n) == 0)
		n = 0;
	check_free();
}

/* An honest device's step, so that scripts get somewhere. */
static void
give_back(struct script *s)
{
	uint8_t *used = fz.memory + vring_used_offset(SIZE);
	uint32_t id = take(s, 1) % SIZE, len = take(s, 1);

	memcpy(used + 4 + 8 * (fz.given % SIZE), &id, sizeof id);
	memcpy(used + 8 + 8 * (fz.given % SIZE), &len, sizeof len);
	fz.given++;
	memcpy(used + 2, &fz.given, sizeof fz.given);
}

static void
scribble(struct script *s)
{
	uint32_t at = take(s, 2) % (vring_bytes(SIZE) - 4), word = take(s, 4);

	memcpy(fz.memory + at, &word, sizeof word);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = {data, data + size};

	if (!fz.memory)
		fz.memory = aligned_alloc(4096, vring_bytes(SIZE));
	BUG_ON(!fz.memory);
	start(&s);
	while (s.at < s.end) {
		switch (take(&s, 1) % 6) {
		case 0:
			lend(&s);
			break;
		case 1:
			reap(&s);
			break;
		case 2:
			give_back(&s);
			break;
		case 3:
			scribble(&s);
			break;
		case 4:
			(void)vring_arm(&fz.ring, take(&s, 1) % SIZE);
			break;
		default:
			vring_disarm(&fz.ring);
			break;
		}
	}
	return 0;
}
