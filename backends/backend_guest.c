/*
 * backend_guest.c - map what a front-end shares, translate its addresses.
 *
 * Runs in: nic, the process of one VM.
 * Trusts: nothing but the kernel's word about the file. Numbers of a grant are
 * checked against each other, the other regions and the file; afterwards only
 * our own copy decides. A file that shrinks later ends this process (SIGBUS).
 * Specification: vhost-user, "Memory region description"; mmap(2).
 */
#include "backends/backend_guest.h"

#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Pages of hugetlbfs are at most this long. */
#define GUEST_PAGE_MAX (UINT64_C(1) << 30)

/* A file offset is signed. */
#define FILE_BYTES_MAX ((uint64_t)INT64_MAX)

static bool
overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

/* The grant's numbers by themselves, and beside the regions that are there. */
static int
check_grant(
    const struct guest_memory *m, const struct guest_grant *g, struct err *err)
{
	uint64_t sum = g->size;
	unsigned i;

	if (g->size == 0 || g->size > UINT64_MAX - g->gpa ||
	    g->size > UINT64_MAX - g->uva || g->size > FILE_BYTES_MAX ||
	    g->offset > FILE_BYTES_MAX - g->size)
		return err_set(err, -EINVAL,
		    "memory region at 0x%" PRIx64 ": its size 0x%" PRIx64
		    " is zero or exceeds the address space",
		    g->gpa, g->size);
	if (m->count == GUEST_REGIONS_MAX)
		return err_set(err, -ENOSPC,
		    "memory region at 0x%" PRIx64
		    ": there are %u regions already, remove one first",
		    g->gpa, m->count);
	for (i = 0; i < m->count; i++) {
		const struct guest_region *r = &m->region[i];

		if (overlap(g->gpa, g->size, r->gpa, r->size) ||
		    overlap(g->uva, g->size, r->uva, r->size))
			return err_set(err, -EEXIST,
			    "memory region at 0x%" PRIx64
			    " overlaps the region at 0x%" PRIx64,
			    g->gpa, r->gpa);
		sum += r->size; /* both at most GUEST_BYTES_MAX or so */
		if (sum > GUEST_BYTES_MAX)
			break;
	}
	if (sum > GUEST_BYTES_MAX)
		return err_set(err, -ENOSPC,
		    "memory region at 0x%" PRIx64
		    ": all regions together exceed 1 TiB",
		    g->gpa);
	return 0;
}

/*
 * What a mapping must begin and end at: the page, or the huge page, which the
 * file tells as its block size. Others with large blocks lose nothing by it.
 */
static uint64_t
page_of(const struct stat *st)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t block = (uint64_t)st->st_blksize;

	if (block > page && block <= GUEST_PAGE_MAX &&
	    (block & (block - 1)) == 0)
		return block;
	return page;
}

static int
map_file(
    struct guest_region *r, const struct guest_grant *g, int fd, struct err *e)
{
	struct stat st;
	uint64_t page, skip;
	void *map;
	int rc;

	/* Not the C library's, which may ask by path: confined processes are
	 * told that there are no paths. */
	rc = (int)sys_result(syscall(SYS_fstat, fd, &st));
	if (rc < 0)
		return err_set(
		    e, rc, "memory region: fstat: %s", strerror(-rc));
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL,
		    "memory region at 0x%" PRIx64 ": the descriptor is neither "
		    "a memfd nor a regular file; use a memory backend with a "
		    "file (share=on)",
		    g->gpa);
	if (g->offset + g->size > (uint64_t)st.st_size)
		return err_set(e, -EINVAL,
		    "memory region at 0x%" PRIx64 ": offset 0x%" PRIx64
		    " and size 0x%" PRIx64
		    " reach beyond the file's end, 0x%" PRIx64,
		    g->gpa, g->offset, g->size, (uint64_t)st.st_size);
	page = page_of(&st);
	skip = g->offset & (page - 1);
	r->map_bytes = (skip + g->size + page - 1) & ~(page - 1);
	map = mmap(NULL, r->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    (off_t)(g->offset - skip));
	if (map == MAP_FAILED) {
		rc = (int)sys_result(-1);
		return err_set(e, rc,
		    "memory region at 0x%" PRIx64 ": mmap: %s", g->gpa,
		    strerror(-rc));
	}
	r->map = map;
	r->host = (uint8_t *)map + skip;
	return 0;
}

int
guest_memory_add(struct guest_memory *m, const struct guest_grant *g, int fd,
    struct err *err)
{
	struct guest_region r = {
	    .gpa = g->gpa, .size = g->size, .uva = g->uva, .offset = g->offset};
	unsigned at;
	int rc;

	rc = check_grant(m, g, err);
	if (rc == 0)
		rc = map_file(&r, g, fd, err);
	fd_close_foreign(&fd);
	if (rc < 0)
		return rc;
	for (at = m->count; at > 0 && m->region[at - 1].gpa > r.gpa; at--)
		m->region[at] = m->region[at - 1];
	m->region[at] = r;
	m->count++;
	return 0;
}

static void
unmap(struct guest_region *r)
{
	BUG_ON(munmap(r->map, r->map_bytes) != 0);
	*r = (struct guest_region){0};
}

/* Index of exactly that region, or m->count. */
static unsigned
find(const struct guest_memory *m, const struct guest_grant *g)
{
	unsigned i;

	for (i = 0; i < m->count; i++)
		if (m->region[i].gpa == g->gpa && m->region[i].uva == g->uva &&
		    m->region[i].size == g->size)
			break;
	return i;
}

bool
guest_memory_again(struct guest_memory *m, const struct guest_grant *g)
{
	unsigned i = find(m, g);

	if (i == m->count || m->region[i].offset != g->offset ||
	    m->region[i].again == GUEST_AGAIN_MAX)
		return false;
	m->region[i].again++;
	return true;
}

int
guest_memory_remove(struct guest_memory *m, const struct guest_grant *g)
{
	unsigned i = find(m, g);

	if (i == m->count)
		return -ENOENT;
	if (m->region[i].again > 0) {
		m->region[i].again--;
		return 0;
	}
	unmap(&m->region[i]);
	m->count--;
	memmove(&m->region[i], &m->region[i + 1],
	    (m->count - i) * sizeof m->region[0]);
	/* Behind the last there is nothing, of size 0: lookups rely on it. */
	m->region[m->count] = (struct guest_region){0};
	return 0;
}

void
guest_memory_clear(struct guest_memory *m)
{
	while (m->count > 0)
		unmap(&m->region[--m->count]);
}

void *
guest_at(
    const struct guest_memory *m, uint64_t gpa, uint64_t len, uint64_t *run)
{
	unsigned i;

	for (i = 0; i < m->count; i++) {
		const struct guest_region *r = &m->region[i];
		uint64_t at = gpa - r->gpa; /* huge if it lies before */

		if (at >= r->size)
			continue;
		*run = len < r->size - at ? len : r->size - at;
		return r->host + at;
	}
	return NULL;
}

void *
guest_at_uva(
    const struct guest_memory *m, uint64_t uva, uint64_t len, size_t align)
{
	unsigned i;

	BUG_ON(align == 0 || (align & (align - 1)) != 0);
	for (i = 0; i < m->count; i++) {
		const struct guest_region *r = &m->region[i];
		uint64_t at = uva - r->uva;

		if (at >= r->size)
			continue;
		if (len > r->size - at || (uva & (align - 1)) != 0 ||
		    ((uintptr_t)(r->host + at) & (align - 1)) != 0)
			return NULL;
		return r->host + at;
	}
	return NULL;
}
