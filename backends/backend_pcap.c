/*
 * backend_pcap.c - appending whole records to a capture file.
 *
 * Runs in: dump.
 * Trusts: the file is the launcher's; the frames are only copied, by the
 * kernel, straight out of the ring. Their lengths are private.
 * Specification: libpcap savefile format 2.4, pcap-savefile(5), magic
 * 0xa1b23c4d (nanoseconds), link type 1 (Ethernet), host byte order.
 */
#include "backends/backend_pcap.h"

#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PCAP_MAGIC_NS 0xa1b23c4du
#define PCAP_ETHERNET 1u
#define SECOND_NS     UINT64_C(1000000000)

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	int32_t zone;
	uint32_t accuracy, snap, link;
};

struct record_header {
	uint32_t sec, nsec;
	uint32_t kept; /* bytes that follow */
	uint32_t full; /* bytes the frame had */
};

_Static_assert(sizeof(struct file_header) == PCAP_HEADER_BYTES, "no padding");
_Static_assert(sizeof(struct record_header) == PCAP_RECORD_BYTES, "packed");

/* Leave [0, end) as the file, and tell a later life where that is. */
static int
settle(struct pcap *p, bool cut)
{
	ssize_t rc = 0, at;

	if (cut)
		rc = sys_result(ftruncate(p->fd, (off_t)p->end));
	at = sys_result(lseek(p->fd, (off_t)p->end, SEEK_SET));
	return (int)(rc < 0 || at >= 0 ? rc : at);
}

static int
write_header(struct pcap *p)
{
	const struct file_header h = {
	    .magic = PCAP_MAGIC_NS,
	    .major = 2,
	    .minor = 4,
	    .snap = p->snap,
	    .link = PCAP_ETHERNET,
	};
	ssize_t rc;

	p->end = 0;
	rc = sys_result(pwrite(p->fd, &h, sizeof h, 0));
	if (rc == (ssize_t)sizeof h)
		p->end = sizeof h;
	else if (rc >= 0)
		rc = -ENOSPC;
	/* A file without its header holds nothing. */
	if (rc < 0)
		(void)settle(p, true);
	return rc < 0 ? (int)rc : settle(p, false);
}

static uint32_t
kept_of(const struct pcap *p, uint32_t len)
{
	return len < p->snap ? len : p->snap;
}

/*
 * Walk over the records that an earlier life wrote after it last told its
 * offset: at most one batch. Stops where a record is not whole.
 */
static void
walk(struct pcap *p, uint64_t size)
{
	struct record_header h;
	unsigned i;

	for (i = 0; i < PCAP_BATCH; i++) {
		if (size - p->end < sizeof h ||
		    pread(p->fd, &h, sizeof h, (off_t)p->end) !=
			(ssize_t)sizeof h)
			return;
		if (h.nsec >= SECOND_NS || h.full < FRAME_BYTES_MIN ||
		    h.full > FRAME_BYTES_MAX || h.kept != kept_of(p, h.full) ||
		    size - p->end - sizeof h < h.kept)
			return;
		p->end += sizeof h + h.kept;
	}
}

int
pcap_open(struct pcap *p, int fd, uint32_t snap, struct err *err)
{
	struct stat st;
	off_t at;
	int rc;

	*p = (struct pcap){.fd = fd, .snap = snap};
	at = lseek(fd, 0, SEEK_CUR);
	if (fstat(fd, &st) < 0 || at < 0)
		return err_set(
		    err, -EBADF, "net dump: the file is not a regular file");
	if (at < (off_t)PCAP_HEADER_BYTES || at > st.st_size) {
		rc = write_header(p);
		/* Nothing behind the header is ours to keep. */
		if (rc == 0)
			rc = settle(p, true);
	} else {
		p->end = (uint64_t)at;
		walk(p, (uint64_t)st.st_size);
		rc = settle(p, true);
	}
	if (rc < 0)
		return err_set(err, rc, "net dump: can't write the file: %s",
		    strerror(-rc));
	return 0;
}

/* How many whole records `bytes` cover, and how many bytes those are. */
static size_t
whole_records(
    const struct record_header *h, size_t count, size_t bytes, size_t *used)
{
	size_t n;

	*used = 0;
	for (n = 0; n < count; n++) {
		if (bytes - *used < sizeof h[n] + h[n].kept)
			break;
		*used += sizeof h[n] + h[n].kept;
	}
	return n;
}

size_t
pcap_write(struct pcap *p, const struct frame *f, size_t count, uint64_t now_ns,
    int *error)
{
	struct record_header h[PCAP_BATCH];
	struct iovec iov[2 * PCAP_BATCH];
	size_t n, used, whole;
	ssize_t rc;

	*error = 0;
	if (count == 0)
		return 0;
	if (count > PCAP_BATCH)
		count = PCAP_BATCH;
	for (n = 0; n < count; n++) {
		h[n].sec = (uint32_t)(now_ns / SECOND_NS);
		h[n].nsec = (uint32_t)(now_ns % SECOND_NS);
		h[n].full = f[n].len;
		h[n].kept = kept_of(p, f[n].len);
		iov[2 * n] = (struct iovec){&h[n], sizeof h[n]};
		/* The kernel only reads it; struct iovec has no const. */
		iov[2 * n + 1] =
		    (struct iovec){(void *)(uintptr_t)f[n].data, h[n].kept};
	}
	rc = sys_result(pwritev(p->fd, iov, (int)(2 * count), (off_t)p->end));
	if (rc < 0)
		*error = (int)rc;
	whole = whole_records(h, count, rc < 0 ? 0 : (size_t)rc, &used);
	if (*error == 0 && whole < count)
		*error = -ENOSPC;
	p->end += used;
	(void)settle(p, rc > 0 && (size_t)rc > used);
	return whole;
}
