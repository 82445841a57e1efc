/*
 * hostile_rings.h - lies in shared memory and about the bell, one function
 * each.
 *
 * Where the system itself stops the attempt, the attempt's errno is told in a
 * notice of kind `tried`.
 */
#ifndef TESTS_HOSTILE_RINGS_H
#define TESTS_HOSTILE_RINGS_H

#include "tests/hostile/hostile_kit.h"

/* --- lies in the ring that it writes ----------------------------------------
 */

static inline bool
publish(struct hostile *h, uint64_t prod)
{
	__atomic_store_n(&h->own->prod, prod, __ATOMIC_RELEASE);
	bell_ring(FD_PORT_BELL);
	return false;
}

static inline bool
prod_ahead(struct hostile *h)
{
	return publish(h, h->tx.pos + h->tx.size + 8);
}

static inline bool
prod_misaligned(struct hostile *h)
{
	return publish(h, h->tx.pos + 12);
}

static inline bool
prod_wild(struct hostile *h)
{
	return publish(h, UINT64_MAX);
}

/* One honest frame and, once the lane has taken it, its taking back. */
static inline bool
prod_back(struct hostile *h)
{
	uint8_t *room;

	if (h->tx.pos > 0) {
		if (ring_tx_refresh(&h->tx) == 0 && ring_tx_backlog(&h->tx) > 0)
			return true;
		return publish(h, 0);
	}
	if (ring_reserve(&h->tx, 60, &room) == 1) {
		memset(room, 0x55, 60);
		ring_commit(&h->tx, 60);
		(void)ring_publish(&h->tx);
		bell_ring(FD_PORT_BELL);
	}
	return true;
}

/* A record with this head, `bytes` of it published. */
static inline bool
head(struct hostile *h, uint64_t word, uint64_t bytes)
{
	uint64_t at = h->tx.pos & (h->tx.size - 1);

	memcpy(h->tx.data + at, &word, sizeof word);
	return publish(h, h->tx.pos + bytes);
}

static inline bool
len_zero(struct hostile *h)
{
	return head(h, 0, 64);
}

static inline bool
len_short(struct hostile *h)
{
	return head(h, FRAME_BYTES_MIN - 1, 64);
}

static inline bool
len_huge(struct hostile *h)
{
	return head(h, UINT32_MAX, 64);
}

static inline bool
len_beyond(struct hostile *h)
{
	return head(h, 1514, 64);
}

static inline bool
flags_unknown(struct hostile *h)
{
	return head(h, (UINT64_C(0x8000) << 32) | 56, 64);
}

static inline bool
pad_misplaced(struct hostile *h)
{
	return head(h, ((uint64_t)RING_FLAG_PAD << 32) | 56, 64);
}

/* Rewrite a header and a frame for ever while they are being read. */
static inline bool
changing(struct hostile *h)
{
	uint64_t *word = (uint64_t *)(void *)h->tx.data;

	(void)head(h, 1000, 1008);
	for (unsigned i = 0; i < 10000000; i++)
		__atomic_store_n(
		    word, i % 2 ? 1000 : UINT32_MAX - i, __ATOMIC_RELAXED);
	return true;
}

/* --- lies in the ring that it reads -----------------------------------------
 */

static inline bool
consumed(struct hostile *h, uint64_t cons)
{
	__atomic_store_n(&h->own->cons, cons, __ATOMIC_RELEASE);
	bell_ring(FD_PORT_BELL);
	return false;
}

static inline bool
cons_ahead(struct hostile *h)
{
	return consumed(h, UINT64_C(1) << 40);
}

static inline bool
cons_misaligned(struct hostile *h)
{
	return consumed(h, h->rx.pos + 4);
}

static inline bool
cons_back(struct hostile *h)
{
	return consumed(h, h->rx.pos - h->rx.size);
}

/* --- what it may not do to memory -------------------------------------------
 */

static inline bool
truncate_own(struct hostile *h)
{
	tried(h, sys_result(ftruncate(FD_PORT_OWN, 0)));
	return false;
}

static inline bool
punch_own(struct hostile *h)
{
	tried(h, sys_result(fallocate(FD_PORT_OWN,
		     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		     (off_t)h->mem_bytes)));
	return false;
}

static inline bool
truncate_peer(struct hostile *h)
{
	tried(h, sys_result(ftruncate(FD_PORT_PEER, 0)));
	return false;
}

static inline bool
write_peer(struct hostile *h)
{
	void *mem;

	tried(h, sys_map(FD_PORT_PEER, h->mem_bytes, true, &mem));
	return false;
}

static inline bool
protect_peer(struct hostile *h)
{
	tried(h, sys_result(syscall(__NR_mprotect, h->peer, h->mem_bytes,
		     PROT_READ | PROT_WRITE)));
	return false;
}

/* --- lies about the bell -----------------------------------------------------
 */

static inline bool
bell_shut(struct hostile *h)
{
	(void)h;
	(void)shutdown(FD_PORT_BELL, SHUT_RDWR);
	return false;
}

static inline bool
bell_close(struct hostile *h)
{
	(void)h;
	(void)close(FD_PORT_BELL);
	return false;
}

static inline bool
bell_long(struct hostile *h)
{
	static const char noise[4096];

	(void)h;
	(void)send(FD_PORT_BELL, noise, sizeof noise, MSG_DONTWAIT);
	return false;
}

static inline bool
bell_empty(struct hostile *h)
{
	(void)h;
	(void)send(FD_PORT_BELL, "", 0, MSG_DONTWAIT);
	return false;
}

static inline bool
bell_flood(struct hostile *h)
{
	(void)h;
	for (int i = 0; i < FLOOD_PER_TURN; i++)
		bell_ring(FD_PORT_BELL);
	return true;
}

static inline bool
bell_fds(struct hostile *h)
{
	(void)h;
	for (int i = 0; i < 100; i++)
		send_with_fd(FD_PORT_BELL, "\1", 1, FD_PORT_OWN);
	return true;
}

/* As an eventfd could be saturated: make the bell block, never clear it, and
 * always ask for the next. */
static inline bool
bell_block(struct hostile *h)
{
	int flags = fcntl(FD_PORT_BELL, F_GETFL);

	(void)fcntl(FD_PORT_BELL, F_SETFL, flags & ~O_NONBLOCK);
	for (;;)
		__atomic_store_n(&h->own->data_event,
		    __atomic_load_n(&h->peer->prod, __ATOMIC_ACQUIRE),
		    __ATOMIC_SEQ_CST);
	return true;
}

#endif
