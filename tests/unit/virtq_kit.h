/*
 * virtq_kit.h - a guest with memory in three regions, and the driver's side of
 * virtqueues, written from the specification without the code under test.
 *
 * The driver looks at the memory through a mapping of its own. Regions 0 and 1
 * adjoin for the guest, but not in the file or for the front-end.
 */
#ifndef TESTS_UNIT_VIRTQ_KIT_H
#define TESTS_UNIT_VIRTQ_KIT_H

#include "backends/backend_virtq.h"

#include "proto/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB        0x100000u
#define FILE_BYTES (4 * MIB)
#define GPA_LOW    0x10000u          /* region 0 */
#define GPA_SEAM   (GPA_LOW + MIB)   /* region 1 begins */
#define GPA_END    (GPA_SEAM + MIB)  /* nothing is here */
#define GPA_RINGS  0x40000000u       /* region 2 */
#define UVA_RINGS  0x7f0000000000ull /* the same for the front-end */
#define RINGS_SIZE MIB
/* Offsets in region 2. */
#define AT_DESC  0x0u
#define AT_AVAIL 0x80000u
#define AT_USED  0xa0000u

#define D_NEXT     1u
#define D_WRITE    2u
#define D_INDIRECT 4u
#define D_AVAIL    0x80u
#define D_USED     0x8000u

static const struct guest_grant vm_grants[] = {
    {GPA_SEAM, MIB, 0x5000000, 0},
    {GPA_RINGS, RINGS_SIZE, UVA_RINGS, 2 * MIB},
    {GPA_LOW, MIB, 0x7fff00000000, 3 * MIB},
};

/* The guest, its driver's state, and the queue under test. */
static struct vm {
	int fd;
	uint8_t *file;
	struct guest_memory memory;
	struct virtq q;
	struct virtq_config config;
	struct virtq_mark mark; /* outlives the queue's process */
	struct virtq_chain chain;
	/* driver: */
	uint32_t size;
	uint16_t avail, used; /* split: free-running; packed: slot */
	bool avail_wrap, used_wrap;
	uint16_t told; /* avail when it was last asked about a kick */
	uint16_t next_desc;
	uint32_t slots_of[VIRTQ_SIZE_MAX]; /* by id: ring entries */
	uint32_t free;                     /* ring entries */
} vm;

static inline void *
gpa(uint64_t addr)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		if (addr >= vm_grants[i].gpa &&
		    addr < vm_grants[i].gpa + vm_grants[i].size)
			return vm.file + vm_grants[i].offset +
			       (addr - vm_grants[i].gpa);
	fail_msg(
	    "the test's driver has no memory at 0x%lx", (unsigned long)addr);
	return NULL;
}

static inline void
put(uint64_t addr, const void *from, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i++) /* over the seam, too */
		*(uint8_t *)gpa(addr + i) = ((const uint8_t *)from)[i];
}

static inline void
put16(uint64_t addr, uint32_t value)
{
	uint16_t v = (uint16_t)value;

	put(addr, &v, 2);
}

static inline void
put32(uint64_t addr, uint32_t value)
{
	put(addr, &value, 4);
}

static inline uint32_t
get16(uint64_t addr)
{
	uint16_t v;

	memcpy(&v, gpa(addr), 2);
	return v;
}

static inline uint32_t
get32(uint64_t addr)
{
	uint32_t v;

	memcpy(&v, gpa(addr), 4);
	return v;
}

/* A descriptor of either layout; `tag` is next or id. */
static inline void
put_desc(uint64_t at, uint64_t addr, uint32_t len, uint32_t flags, uint32_t tag)
{
	put(at, &addr, 8);
	put32(at + 8, len);
	put16(at + (vm.config.packed ? 14 : 12), flags);
	put16(at + (vm.config.packed ? 12 : 14), tag);
}

/* --- the guest -------------------------------------------------------------
 */

static inline int
vm_boot(void **state)
{
	struct err err;
	unsigned i;
	void *map;

	(void)state;
	memset(&vm, 0, sizeof vm);
	assert_int_equal(sys_memfd("guest", FILE_BYTES, &vm.fd), 0);
	assert_int_equal(sys_map(vm.fd, FILE_BYTES, true, &map), 0);
	vm.file = map;
	for (i = 0; i < 3; i++)
		assert_int_equal(guest_memory_add(&vm.memory, &vm_grants[i],
				     dup(vm.fd), &err),
		    0);
	return 0;
}

static inline int
vm_off(void **state)
{
	(void)state;
	guest_memory_clear(&vm.memory);
	sys_unmap(vm.file, FILE_BYTES);
	fd_close(&vm.fd);
	return 0;
}

enum { SPLIT = 0, PACKED = 1, EVENT = 2, INDIRECT = 4 };

/* --- the driver ------------------------------------------------------------
 */

/* A driver that has used and offered `place` entries (packed: slot + wrap). */
static inline void
driver_start(uint32_t size, unsigned how, uint32_t place)
{
	vm.config = (struct virtq_config){
	    .size = size,
	    .desc = UVA_RINGS + AT_DESC,
	    .avail = UVA_RINGS + AT_AVAIL,
	    .used = UVA_RINGS + AT_USED,
	    .base = place,
	    .told = place,
	    .mark = &vm.mark,
	    .packed = (how & PACKED) != 0,
	    .event_idx = (how & EVENT) != 0,
	    .indirect = (how & INDIRECT) != 0,
	};
	memset(gpa(GPA_RINGS + AT_DESC), 0, 16 * size);
	memset(gpa(GPA_RINGS + AT_AVAIL), 0, 6 + 2 * size);
	memset(gpa(GPA_RINGS + AT_USED), 0, 6 + 8 * size);
	memset(&vm.mark, 0, sizeof vm.mark);
	vm.size = vm.free = size;
	vm.next_desc = 0;
	vm.avail = vm.used = vm.told = (uint16_t)(place & 0xffff);
	if (vm.config.packed) {
		uint32_t i;

		vm.avail = vm.used = vm.told = (uint16_t)(place & 0x7fff);
		vm.avail_wrap = vm.used_wrap = (place & 0x8000) != 0;
		/* What is behind was used in this turn, the rest in the last */
		for (i = 0; i < size; i++)
			put16(GPA_RINGS + AT_DESC + 16 * i + 14,
			    (i < vm.used) == vm.used_wrap ? D_AVAIL | D_USED
							  : 0);
	} else {
		put16(GPA_RINGS + AT_AVAIL + 2, place);
		put16(GPA_RINGS + AT_USED + 2, place);
	}
}

/* Both sides, from a place. */
static inline void
both_start(uint32_t size, unsigned how, uint32_t place)
{
	driver_start(size, how, place);
	assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
}

struct part {
	uint64_t addr;
	uint32_t len;
	uint32_t flags; /* D_WRITE, D_INDIRECT */
};

static inline uint64_t
desc_at(uint32_t i)
{
	return GPA_RINGS + AT_DESC + 16 * (uint64_t)(i % vm.size);
}

/* Offer a chain in the ring; returns its id. */
static inline uint32_t
offer_split(const struct part *p, uint32_t count)
{
	uint32_t head = vm.next_desc % vm.size, i;

	for (i = 0; i < count; i++)
		put_desc(desc_at(head + i), p[i].addr, p[i].len,
		    p[i].flags | (i + 1 < count ? D_NEXT : 0),
		    (head + i + 1) % vm.size);
	vm.next_desc = (uint16_t)((head + count) % vm.size);
	put16(GPA_RINGS + AT_AVAIL + 4 + 2 * (vm.avail % vm.size), head);
	vm.avail++;
	put16(GPA_RINGS + AT_AVAIL + 2, vm.avail);
	return head;
}

static inline uint32_t
offer_packed(const struct part *p, uint32_t count)
{
	uint32_t id = (vm.next_desc++ % vm.size), i, at = vm.avail, flags;
	uint32_t first = at, first_flags = 0;
	bool wrap = vm.avail_wrap;

	for (i = 0; i < count; i++) {
		flags = p[i].flags | (wrap ? D_AVAIL : D_USED) |
			(i + 1 < count ? D_NEXT : 0);
		/* The id counts in the last one only. */
		if (i == 0)
			first_flags = flags;
		put_desc(desc_at(at), p[i].addr, p[i].len,
		    i > 0 ? flags : get16(desc_at(at) + 14),
		    i + 1 < count ? 0xdead : id);
		if (++at == vm.size) {
			at = 0;
			wrap = !wrap;
		}
	}
	put16(desc_at(first) + 14, first_flags);
	vm.avail = (uint16_t)at;
	vm.avail_wrap = wrap;
	return id;
}

static inline uint32_t
offer(const struct part *p, uint32_t count)
{
	uint32_t id;

	assert_true(count <= vm.free);
	id = vm.config.packed ? offer_packed(p, count) : offer_split(p, count);
	vm.slots_of[id] = count;
	vm.free -= count;
	return id;
}

/* Take back one chain: true, its id and length. */
static inline bool
reap(uint32_t *id, uint32_t *len)
{
	uint32_t to;

	if (vm.config.packed) {
		uint32_t flags = get16(desc_at(vm.used) + 14);

		if (((flags & D_AVAIL) != 0) != vm.used_wrap ||
		    ((flags & D_USED) != 0) != vm.used_wrap ||
		    vm.free == vm.size)
			return false;
		*id = get16(desc_at(vm.used) + 12);
		*len = get32(desc_at(vm.used) + 8);
		assert_true(*len > 0 || (flags & D_WRITE) == 0);
		assert_true(*len == 0 || (flags & D_WRITE) != 0);
	} else {
		uint64_t e = GPA_RINGS + AT_USED + 4 + 8 * (vm.used % vm.size);

		if (get16(GPA_RINGS + AT_USED + 2) == vm.used)
			return false;
		*id = get32(e);
		*len = get32(e + 4);
	}
	assert_true(*id < vm.size);
	assert_int_not_equal(vm.slots_of[*id], 0);
	vm.free += vm.slots_of[*id];
	if (!vm.config.packed) {
		vm.used++;
	} else {
		to = vm.used + vm.slots_of[*id];
		vm.used_wrap ^= to >= vm.size;
		vm.used = (uint16_t)(to % vm.size);
	}
	vm.slots_of[*id] = 0;
	return true;
}

/* Ask for an interrupt at the next used chain. */
static inline void
driver_arm(void)
{
	if (vm.config.packed)
		put32(GPA_RINGS + AT_AVAIL,
		    vm.config.event_idx
			? vm.used | (vm.used_wrap ? 0x8000u : 0) | 2u << 16
			: 0);
	else if (vm.config.event_idx)
		put16(GPA_RINGS + AT_AVAIL + 4 + 2 * vm.size, vm.used);
	else
		put16(GPA_RINGS + AT_AVAIL, 0);
}

static inline void
driver_disarm(void)
{
	if (vm.config.packed)
		put32(GPA_RINGS + AT_AVAIL, 1u << 16);
	else if (!vm.config.event_idx)
		put16(GPA_RINGS + AT_AVAIL, 1);
}

/* Must the driver kick for what it offered since the last time? */
static inline bool
kick_due(void)
{
	uint16_t old = vm.told, new = vm.avail, event;
	uint32_t word;

	vm.told = new;
	if (vm.config.packed) {
		word = get32(GPA_RINGS + AT_USED);
		if (word >> 16 != 2)
			return word >> 16 == 0;
		if (new <= old)
			old = (uint16_t)(old - vm.size);
		event = (uint16_t)(word & 0x7fff);
		if ((word >> 15 & 1) != vm.avail_wrap)
			event = (uint16_t)(event - vm.size);
		return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
	}
	if (!vm.config.event_idx)
		return (get16(GPA_RINGS + AT_USED) & 1) == 0;
	event = (uint16_t)get16(GPA_RINGS + AT_USED + 4 + 8 * vm.size);
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

#endif
