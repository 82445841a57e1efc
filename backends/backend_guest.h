/*
 * backend_guest.h - a VM's memory, as its front-end shared it.
 *
 * Two address spaces: *uva*, the front-end's own addresses, in ring addresses;
 * *gpa*, the guest's, in descriptors (vhost-user.md 6). Never mixed here: two
 * functions. The memory can change at any time, and its file may be cut off:
 * reading it may then end the process (SIGBUS), which is what should happen.
 */
#ifndef BACKENDS_BACKEND_GUEST_H
#define BACKENDS_BACKEND_GUEST_H

#include "proto/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What GET_MAX_MEM_SLOTS answers. SET_MEM_TABLE has at most 8. */
#define GUEST_REGIONS_MAX 32u

/* How often one region can be named again: as many as there can be queue
 * pairs, and to spare. */
#define GUEST_AGAIN_MAX 256u

/* Of all regions together. */
#define GUEST_BYTES_MAX (UINT64_C(1) << 40)

/* One region as a message gives it. */
struct guest_grant {
	uint64_t gpa, size, uva, offset; /* offset: of the file */
};

struct guest_region {
	uint64_t gpa, size, uva, offset;
	uint8_t *host;    /* where gpa is here */
	void *map;        /* owned: what munmap gets */
	size_t map_bytes; /* page-aligned, may begin before host */
	unsigned again;   /* times that it was named again, see below */
};

/* Zeroed = empty. Owns its mappings. */
struct guest_memory {
	struct guest_region region[GUEST_REGIONS_MAX]; /* sorted by gpa */
	unsigned count;
};

/*
 * guest_memory_add - map one region; fd is closed on every path. Refused with
 * *err: -EINVAL (size 0, a sum that overflows, not a regular file or memfd,
 * the region reaches beyond the file's end), -EEXIST (overlaps another in gpa
 * or uva), -ENOSPC (too many, or more than GUEST_BYTES_MAX), or what mmap says.
 * System calls: fstat, mmap, munmap, and what fd_close_foreign makes.
 */
int guest_memory_add(struct guest_memory *m, const struct guest_grant *g,
    int fd, struct err *err);

/*
 * guest_memory_again - is exactly that region here already? Then it counts once
 * more, and guest_memory_remove must be called once more. A QEMU with several
 * queue pairs names its memory once for each pair on one connection. False:
 * it is not here, or has been named too often.
 */
bool guest_memory_again(struct guest_memory *m, const struct guest_grant *g);

/* guest_memory_remove - the region with exactly this gpa, size and uva (an
 * offset need not be told); -ENOENT. */
int guest_memory_remove(struct guest_memory *m, const struct guest_grant *g);

void guest_memory_clear(struct guest_memory *m);

/*
 * guest_at - the host address of guest-physical `gpa`, and in *run how many of
 * `len` bytes are contiguous from there (regions that adjoin in gpa need not
 * adjoin here: ask again for the rest). NULL: nothing is there. len > 0.
 */
void *guest_at(
    const struct guest_memory *m, uint64_t gpa, uint64_t len, uint64_t *run);

/* guest_at_uva - `len` bytes at a front-end's address, all in one region and
 * aligned to `align` (power of two, also here); or NULL. */
void *guest_at_uva(
    const struct guest_memory *m, uint64_t uva, uint64_t len, size_t align);

#endif
