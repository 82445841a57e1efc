/*
 * yardstick.h - what memcpy does on one processor: the measure of the others.
 *
 * One for ring_bench and lane_bench, so that their ratios mean the same.
 */
#ifndef TESTS_BENCH_YARDSTICK_H
#define TESTS_BENCH_YARDSTICK_H

#include "proto/log.h"
#include "proto/sys.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Frames of the pool that is copied from. */
#define POOL 64u
/* Bytes of the area that is copied to (performance.md 2). */
#define YARDSTICK_AREA (2u << 20)

/*
 * A size that the compiler must not know: for the few sizes of main() it would
 * put `rep movs` in place of memcpy, which is several times slower.
 */
static inline uint32_t
hidden(uint32_t size)
{
	__asm__("" : "+r"(size));
	return size;
}

/*
 * Copies of `size` bytes per second, within `ms` milliseconds: from a pool that
 * stays in the cache into an area as large as a ring. Both are aligned as
 * malloc aligns what is large, 16 bytes behind a page's beginning, not on
 * lines: a ring's frames begin at any multiple of 8. They are half a page
 * apart: a load that has the page offset of a recent store waits for it, and
 * that would be luck.
 */
static inline double
copies_per_second(uint32_t size, unsigned ms)
{
	size_t step = (size + 15u) & ~15u, at = 0;
	size_t pool = (POOL * step + 16 + 4095u) & ~(size_t)4095u;
	uint8_t *mem = aligned_alloc(4096, pool + YARDSTICK_AREA + 4096);
	uint64_t begin, end, copies = 0;
	uint8_t *from, *to;

	BUG_ON(mem == NULL);
	memset(mem, 1, pool + YARDSTICK_AREA + 4096);
	size = hidden(size);
	from = mem + 16;
	to = mem + pool + 2048 + 16;
	begin = sys_mono_ns();
	do {
		for (unsigned i = 0; i < 1024; i++) {
			memcpy(to + at, from + (i % POOL) * step, size);
			__asm__ volatile("" : : "r"(to + at) : "memory");
			at = at + 2 * step > YARDSTICK_AREA ? 0 : at + step;
		}
		copies += 1024;
		end = sys_mono_ns();
	} while (end - begin < ms * UINT64_C(1000000));
	free(mem);
	return (double)copies * 1e9 / (double)(end - begin);
}

#endif
