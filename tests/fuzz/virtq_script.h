/*
 * virtq_script.h - a driver that stores anything, anywhere, at any time.
 *
 * The input is a script: the size and the features, then our calls of the
 * queue, and between them stores into rings, tables and buffers. Whatever it
 * says, segments lie inside of the guest's memory, which is as long as it is
 * for sanitizers to see, and the counts inside of what a queue can hold.
 */
#ifndef TESTS_FUZZ_VIRTQ_SCRIPT_H
#define TESTS_FUZZ_VIRTQ_SCRIPT_H

#include "backends/backend_virtq.h"

#include <stdlib.h>
#include <string.h>

#define REGION_BYTES 4096u
#define REGIONS      3u
#define QUEUE_MAX    32u
/* Of the front-end: the rings are in the last region. */
#define UVA_RINGS 0x700000u
#define AT_AVAIL  1024u
#define AT_USED   2048u
#define HELD_MAX  64u

static struct {
	uint8_t *host[REGIONS];
	struct guest_memory memory;
	struct virtq q;
	struct virtq_config config;
	struct virtq_mark mark; /* what another process left */
	struct virtq_chain chain;
	struct held {
		uint16_t id, slots;
	} held[HELD_MAX]; /* popped, not pushed, in order */
	uint32_t held_count;
	uint64_t sum; /* of what was read, so that reading is not left out */
} fz;

struct script {
	const uint8_t *at, *end;
};

static inline uint64_t
take(struct script *s, size_t bytes)
{
	uint64_t number = 0;

	if (bytes > (size_t)(s->end - s->at))
		bytes = (size_t)(s->end - s->at);
	memcpy(&number, s->at, bytes);
	s->at += bytes;
	return number;
}

static inline void
demand(int truth)
{
	if (!truth)
		abort();
}

/* Regions 0 and 1 adjoin for the guest; 2 lies apart. */
static inline int
memory_open(void)
{
	static const uint64_t gpa[REGIONS] = {0x1000, 0x2000, 0x10000};
	uint32_t i;

	for (i = 0; i < REGIONS; i++) {
		if (!fz.host[i])
			fz.host[i] = malloc(REGION_BYTES);
		if (!fz.host[i])
			return -1;
		memset(fz.host[i], 0, REGION_BYTES);
		fz.memory.region[i] = (struct guest_region){
		    .gpa = gpa[i],
		    .size = REGION_BYTES,
		    .uva = UVA_RINGS - (REGIONS - 1 - i) * UINT64_C(0x10000),
		    .host = fz.host[i],
		};
	}
	fz.memory.count = REGIONS;
	return 0;
}

static inline void
see_segment(const struct virtq_segment *g, bool write)
{
	uint32_t i;

	for (i = 0; i < REGIONS; i++)
		if (g->base >= fz.host[i] &&
		    g->base < fz.host[i] + REGION_BYTES)
			break;
	demand(i < REGIONS && g->len > 0);
	demand(g->len <= (size_t)(fz.host[i] + REGION_BYTES - g->base));
	fz.sum += g->base[0] + g->base[g->len - 1];
	if (write)
		g->base[g->len / 2] = 0x5a;
}

static inline void
see_chain(void)
{
	const struct virtq_chain *c = &fz.chain;
	uint64_t bytes[2] = {0, 0};
	uint32_t i, n = c->out_count + c->in_count;

	demand(n > 0 && n <= VIRTQ_SEGMENTS_MAX);
	for (i = 0; i < n; i++) {
		see_segment(&c->segment[i], i >= c->out_count);
		bytes[i >= c->out_count] += c->segment[i].len;
	}
	demand(bytes[0] == c->out_bytes && bytes[1] == c->in_bytes);
	demand(c->slots > 0 && c->slots <= fz.config.size);
	demand(fz.config.packed || c->slots == 1);
	demand(fz.config.packed || c->id < fz.config.size);
}

static inline void
call_pop(void)
{
	int rc;

	if (fz.held_count == HELD_MAX)
		return;
	rc = virtq_pop(&fz.q, &fz.chain);
	demand(rc == 1 || (rc < 0) == fz.q.broken);
	demand(!fz.q.broken || fz.q.why);
	if (rc != 1)
		return;
	see_chain();
	fz.held[fz.held_count++] = (struct held){fz.chain.id, fz.chain.slots};
	demand(fz.held_count <= fz.config.size);
}

static inline void
call_push(uint32_t written)
{
	if (fz.held_count == 0)
		return;
	virtq_push(&fz.q, fz.held[0].id, fz.held[0].slots, written);
	fz.held_count--;
	memmove(fz.held, fz.held + 1, fz.held_count * sizeof fz.held[0]);
}

static inline void
call_unpop(uint32_t count)
{
	uint32_t i, slots = 0;

	if (count > fz.held_count)
		count = fz.held_count;
	for (i = 0; i < count; i++)
		slots += fz.held[fz.held_count - 1 - i].slots;
	virtq_unpop(&fz.q, count, slots);
	fz.held_count -= count;
}

static inline void
call_start(uint32_t base)
{
	int rc;

	fz.held_count = 0;
	fz.config.base = base;
	fz.config.told = base;
	rc = virtq_start(&fz.q, &fz.memory, &fz.config);
	demand((rc == 0) == virtq_running(&fz.q));
}

/* Who was here before died, and leaves anything. */
static inline void
forge_mark(struct script *s)
{
	const struct virtq_mark_used last = fz.mark.used[0];
	uint8_t *at = (uint8_t *)&fz.mark;
	uint32_t told = (uint32_t)take(s, 1) << 8;

	fz.mark = (struct virtq_mark){
	    .desc = fz.config.desc,
	    .size = fz.config.size,
	    .told = told,
	    .places = take(s, 6) | UINT64_C(1) << 63,
	    .used = {last},
	};
	if ((told & 0x100) != 0)
		memset(fz.mark.used, (int)take(s, 1), sizeof fz.mark.used);
	if ((told & 0x200) != 0)
		at[take(s, 2) % sizeof fz.mark] = (uint8_t)take(s, 1);
	memset(&fz.q, 0x5a, sizeof fz.q);
	call_start(told);
}

static inline void
call(struct script *s, uint8_t how)
{
	switch (how % 8) {
	case 0:
		call_push((uint32_t)take(s, 2));
		break;
	case 1:
		(void)virtq_flush(&fz.q);
		break;
	case 2:
		(void)virtq_arm(&fz.q);
		break;
	case 3:
		virtq_disarm(&fz.q);
		break;
	case 4:
		call_unpop((uint32_t)take(s, 1));
		break;
	case 5:
		call_start((uint32_t)take(s, 4));
		break;
	case 6:
		call_start(virtq_stop(&fz.q));
		break;
	default:
		forge_mark(s);
		break;
	}
	demand(fz.q.in_flight + fz.q.unflushed <= fz.config.size);
}

/* Store a descriptor into the ring, or a table in the first regions. */
static inline void
forge(struct script *s)
{
	uint8_t where = (uint8_t)take(s, 1);
	uint8_t *at = fz.host[2] + (fz.config.desc - UVA_RINGS) +
		      (where % QUEUE_MAX % fz.config.size) * 16;
	uint64_t addr = take(s, 2) + 0x800;
	uint64_t rest = take(s, 2) | (take(s, 2) << 32) | (take(s, 2) << 48);

	if ((where & 0x40) != 0)
		at = fz.host[where >> 7] + (where % QUEUE_MAX) * 16;
	if ((where & 0x20) != 0)
		addr = take(s, 8);
	memcpy(at, &addr, 8);
	memcpy(at + 8, &rest, 8);
}

static inline void
step(struct script *s)
{
	uint8_t op = (uint8_t)take(s, 1);
	uint16_t to, word;

	switch (op & 7) {
	case 0: /* anything, anywhere */
		to = (uint16_t)(take(s, 2) % (REGIONS * REGION_BYTES - 1));
		fz.host[to / REGION_BYTES][to % REGION_BYTES] =
		    (uint8_t)take(s, 1);
		break;
	case 1: /* heads of the rings: index, flags, entries, events */
		to = (uint16_t)(AT_AVAIL + (op >> 3) * 2);
		word = (uint16_t)take(s, 2);
		memcpy(fz.host[2] + to, &word, 2);
		break;
	case 2: /* one more in the split ring */
		memcpy(&word, fz.host[2] + AT_AVAIL + 2, 2);
		to = (uint16_t)(AT_AVAIL + 4 + 2 * (word % fz.config.size));
		word++;
		memcpy(fz.host[2] + AT_AVAIL + 2, &word, 2);
		word = op >> 3;
		memcpy(fz.host[2] + to, &word, 2);
		break;
	case 3:
	case 4:
		forge(s);
		break;
	case 5:
		call(s, op >> 3);
		break;
	default:
		call_pop();
		break;
	}
}

static inline int
fuzz_queue(const uint8_t *data, size_t size, bool packed)
{
	struct script s = {.at = data, .end = data + size};
	uint8_t how = (uint8_t)take(&s, 1);

	if (memory_open() < 0)
		return 0;
	fz.config = (struct virtq_config){
	    .size = packed ? 1 + (uint32_t)take(&s, 1) % QUEUE_MAX
			   : 1u << take(&s, 1) % 6,
	    .desc = UVA_RINGS,
	    .avail = UVA_RINGS + AT_AVAIL,
	    .used = UVA_RINGS + AT_USED,
	    .packed = packed,
	    .event_idx = (how & 1) != 0,
	    .indirect = (how & 2) != 0,
	    .mark = &fz.mark,
	};
	memset(&fz.mark, 0, sizeof fz.mark);
	/* Where region 2 ends, nothing may be behind. */
	if ((how & 4) != 0 && packed)
		fz.config.desc += REGION_BYTES - 16 * fz.config.size;
	call_start((uint32_t)take(&s, 4));
	demand(virtq_running(&fz.q));
	while (s.at < s.end)
		step(&s);
	return 0;
}

#endif
