/*
 * backend_virtq_ring.h - what both layouts of a virtqueue share; for
 * backend_virtq*.c only.
 *
 * Runs in: nic. A descriptor is loaded once, in two words; all that follows
 * looks at the copy.
 */
#ifndef BACKENDS_BACKEND_VIRTQ_RING_H
#define BACKENDS_BACKEND_VIRTQ_RING_H

#include "backends/backend_virtq.h"

#define VIRTQ_DESC_BYTES 16u

/* A descriptor's words: others write them as fields. In a table that the
 * driver placed they are unaligned. Loads are volatile or atomic, so that no
 * compiler makes two of one. */
typedef uint64_t virtq_word __attribute__((may_alias));
typedef uint64_t virtq_table_word __attribute__((aligned(1), may_alias));

/* virtq_break - the driver broke a rule; keeps the first reason. -EPROTO. */
int virtq_break(struct virtq *q, const char *why);

/* virtq_add_slow_ - virtq_add for what crosses regions or is refused. */
int virtq_add_slow_(struct virtq *q, struct virtq_chain *c, uint64_t gpa,
    uint32_t len, bool write);

/*
 * virtq_add - one buffer to the end of a chain. 0 or -EPROTO.
 * The common case, one region, is here.
 */
static inline int
virtq_add(struct virtq *q, struct virtq_chain *c, uint64_t gpa, uint32_t len,
    bool write)
{
	const struct guest_region *r = &q->memory->region[q->near];
	uint64_t at = gpa - r->gpa;
	uint32_t n = c->out_count + c->in_count;

	/* The unused regions behind the last are of size 0: nothing is in. */
	if (__builtin_expect(at >= r->size || len > r->size - at || len == 0 ||
				 n == VIRTQ_SEGMENTS_MAX,
		0))
		return virtq_add_slow_(q, c, gpa, len, write);
	if (write) {
		c->in_count++;
		c->in_bytes += len;
	} else if (c->in_count == 0) {
		c->out_count++;
		c->out_bytes += len;
	} else {
		return virtq_break(
		    q, "a readable buffer behind a writable one");
	}
	c->segment[n].base = r->host + at;
	c->segment[n].len = len;
	return 0;
}

/* An indirect table: descriptors in guest memory. */
struct virtq_table {
	uint64_t gpa;
	uint32_t count;
};

/* virtq_table_open - check what an INDIRECT descriptor says. 0 or -EPROTO. */
int virtq_table_open(
    struct virtq *q, struct virtq_table *t, uint64_t gpa, uint32_t len);

/* virtq_table_load - copy descriptor `i` < count, once. 0 or -EPROTO. */
int virtq_table_load(
    struct virtq *q, const struct virtq_table *t, uint32_t i, uint64_t word[2]);

static inline void
virtq_chain_begin(struct virtq_chain *c)
{
	c->out_count = c->in_count = 0;
	c->out_bytes = c->in_bytes = 0;
}

/*
 * virtq_chain_single - the whole chain is one buffer in the region where the
 * last one was: nearly every frame. False: it is not, *c is untouched.
 */
static inline bool
virtq_chain_single(const struct virtq *q, struct virtq_chain *c, uint64_t gpa,
    uint32_t len, bool write)
{
	const struct guest_region *r = &q->memory->region[q->near];
	uint64_t at = gpa - r->gpa;

	if (__builtin_expect(
		at >= r->size || len > r->size - at || len == 0, 0))
		return false;
	c->out_count = !write;
	c->in_count = write;
	c->out_bytes = write ? 0 : len;
	c->in_bytes = write ? len : 0;
	c->segment[0].base = r->host + at;
	c->segment[0].len = len;
	return true;
}

/* The first bytes of the chain will be read or written soon. */
static inline void
virtq_chain_fetch(const struct virtq_chain *c)
{
	__builtin_prefetch(c->segment[0].base);
}

/* Ring entries that the driver cannot have offered again. */
static inline uint32_t
virtq_held(const struct virtq *q)
{
	return q->in_flight + q->unflushed;
}

/* The two layouts. */
int virtq_split_start(struct virtq *q, const struct virtq_config *c);
int virtq_split_pop(struct virtq *q, struct virtq_chain *chain);
void virtq_split_unpop(struct virtq *q, uint32_t slots);
void virtq_split_push(struct virtq *q, uint16_t id, uint32_t written);
bool virtq_split_flush(struct virtq *q);
bool virtq_split_arm(struct virtq *q);
void virtq_split_disarm(struct virtq *q);

int virtq_packed_start(struct virtq *q, const struct virtq_config *c);
void virtq_packed_stop(struct virtq *q);
int virtq_packed_pop(struct virtq *q, struct virtq_chain *chain);
void virtq_packed_unpop(struct virtq *q, uint32_t slots);
void virtq_packed_push(
    struct virtq *q, uint16_t id, uint16_t slots, uint32_t written);
bool virtq_packed_flush(struct virtq *q);
bool virtq_packed_arm(struct virtq *q);
void virtq_packed_disarm(struct virtq *q);

#endif
