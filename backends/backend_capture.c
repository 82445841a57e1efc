/*
 * backend_capture.c - appending whole records to a capture file.
 *
 * Runs in: dump.
 * Trusts: the file is the launcher's; the frames are only copied. Their
 * lengths are private.
 * Specification: pcap(3PCAP), pcap-savefile(5).
 *
 * libpcap writes to a stdio stream that has no file behind it: its bytes are
 * appended to `made`, without a buffer of stdio's in between, and from there
 * they go to the file, a few records per call.
 */
#include "backends/backend_capture.h"

#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)
/* What has been made goes to the file when it is that much. */
#define FLUSH_BYTES (128u << 10)
#define MADE_BYTES  (FLUSH_BYTES + CAPTURE_RECORD_BYTES + FRAME_BYTES_MAX)

/* A record's head as it stands in the file, in host byte order. */
struct record_header {
	uint32_t sec, nsec;
	uint32_t kept; /* bytes that follow */
	uint32_t full; /* bytes the frame had */
};

_Static_assert(sizeof(struct record_header) == CAPTURE_RECORD_BYTES, "packed");

/* What libpcap writes. */
static ssize_t
append(void *self, const char *bytes, size_t count)
{
	struct capture *c = self;

	BUG_ON(count > MADE_BYTES - c->made_bytes);
	memcpy(c->made + c->made_bytes, bytes, count);
	c->made_bytes += count;
	return (ssize_t)count;
}

/* Leave [0, end) as the file, and tell a later life where that is. */
static int
settle(struct capture *c, bool cut)
{
	ssize_t rc = 0, at;

	if (cut)
		rc = sys_result(ftruncate(c->fd, (off_t)c->end));
	at = sys_result(lseek(c->fd, (off_t)c->end, SEEK_SET));
	return (int)(rc < 0 || at >= 0 ? rc : at);
}

/* Write what has been made. How much of it the file took, or -errno. */
static ssize_t
put_made(struct capture *c)
{
	ssize_t rc =
	    sys_result(pwrite(c->fd, c->made, c->made_bytes, (off_t)c->end));

	c->made_bytes = 0;
	return rc;
}

/* The file's header is what has been made so far. */
static int
write_header(struct capture *c)
{
	ssize_t rc;

	c->end = 0;
	/* Empty first: a descriptor that only appends writes at the end. */
	rc = settle(c, true);
	if (rc < 0)
		return (int)rc;
	rc = put_made(c);
	if (rc == CAPTURE_HEADER_BYTES)
		c->end = CAPTURE_HEADER_BYTES;
	else if (rc >= 0)
		rc = -ENOSPC;
	/* A file without its header holds nothing; nor does one behind it. */
	if (rc < 0)
		(void)settle(c, true);
	return rc < 0 ? (int)rc : settle(c, true);
}

/*
 * Walk over the records that an earlier life wrote after it last told its
 * offset: at most one batch. Stops where a record is not whole.
 */
static void
walk(struct capture *c, uint64_t size)
{
	struct record_header h;
	uint32_t kept;
	unsigned i;

	for (i = 0; i < CAPTURE_BATCH; i++) {
		if (size - c->end < sizeof h ||
		    pread(c->fd, &h, sizeof h, (off_t)c->end) !=
			(ssize_t)sizeof h)
			return;
		kept = h.full < c->snap ? h.full : c->snap;
		if (h.nsec >= SECOND_NS || h.full < FRAME_BYTES_MIN ||
		    h.full > FRAME_BYTES_MAX || h.kept != kept ||
		    size - c->end - sizeof h < h.kept)
			return;
		c->end += sizeof h + h.kept;
	}
}

/* libpcap's half: afterwards the file's header has been made. */
static int
open_dumper(struct capture *c)
{
	static const cookie_io_functions_t to_memory = {.write = append};
	FILE *f;

	c->made = malloc(MADE_BYTES);
	c->pcap = pcap_open_dead_with_tstamp_precision(
	    DLT_EN10MB, (int)c->snap, PCAP_TSTAMP_PRECISION_NANO);
	if (c->made == NULL || c->pcap == NULL)
		return -ENOMEM;
	f = fopencookie(c, "w", to_memory);
	if (f == NULL)
		return -ENOMEM;
	(void)setvbuf(f, NULL, _IONBF, 0);
	c->dumper = pcap_dump_fopen(c->pcap, f);
	if (c->dumper == NULL)
		(void)fclose(f);
	return c->dumper == NULL || c->made_bytes != CAPTURE_HEADER_BYTES
		   ? -ENOMEM
		   : 0;
}

int
capture_open(struct capture *c, int fd, uint32_t snap, struct err *err)
{
	struct stat st;
	off_t at;
	int rc;

	*c = (struct capture){.fd = fd, .snap = snap};
	rc = open_dumper(c);
	if (rc < 0)
		return err_set(err, rc, "net dump: out of memory");
	at = lseek(fd, 0, SEEK_CUR);
	if (fstat(fd, &st) < 0 || at < 0)
		return err_set(
		    err, -EBADF, "net dump: the file is not a regular file");
	if (at < (off_t)CAPTURE_HEADER_BYTES || at > st.st_size) {
		rc = write_header(c);
	} else {
		c->made_bytes = 0;
		c->end = (uint64_t)at;
		walk(c, (uint64_t)st.st_size);
		rc = settle(c, true);
	}
	if (rc < 0)
		return err_set(err, rc, "net dump: can't write the file: %s",
		    strerror(-rc));
	return 0;
}

/* Have libpcap make one record; returns its bytes. */
static uint32_t
make_record(struct capture *c, const struct frame *f, uint64_t now_ns)
{
	size_t before = c->made_bytes;
	struct pcap_pkthdr h = {
	    .ts.tv_sec = (time_t)(now_ns / SECOND_NS),
	    /* nanoseconds, as told to pcap_open_dead */
	    .ts.tv_usec = (suseconds_t)(now_ns % SECOND_NS),
	    .caplen = f->len < c->snap ? f->len : c->snap,
	    .len = f->len,
	};

	pcap_dump((u_char *)c->dumper, &h, f->data);
	return (uint32_t)(c->made_bytes - before);
}

/* Put `count` records, of these sizes, into the file; returns how many are. */
static size_t
flush(struct capture *c, const uint32_t *sizes, size_t count, int *error)
{
	ssize_t rc = put_made(c);
	uint64_t taken = rc < 0 ? 0 : (uint64_t)rc, whole = 0;
	size_t n = 0;

	while (n < count && whole + sizes[n] <= taken)
		whole += sizes[n++];
	if (n < count)
		*error = rc < 0 ? (int)rc : -ENOSPC;
	c->end += whole;
	(void)settle(c, taken > whole);
	return n;
}

size_t
capture_write(struct capture *c, const struct frame *f, size_t count,
    uint64_t now_ns, int *error)
{
	uint32_t sizes[CAPTURE_BATCH];
	size_t done = 0, made = 0;

	*error = 0;
	if (count > CAPTURE_BATCH)
		count = CAPTURE_BATCH;
	while (done + made < count && *error == 0) {
		sizes[made] = make_record(c, &f[done + made], now_ns);
		made++;
		if (c->made_bytes < FLUSH_BYTES && done + made < count)
			continue;
		done += flush(c, sizes, made, error);
		made = 0;
	}
	return done;
}

void
capture_close(struct capture *c)
{
	if (c->dumper != NULL)
		pcap_dump_close(c->dumper);
	if (c->pcap != NULL)
		pcap_close(c->pcap);
	free(c->made);
	*c = (struct capture){.fd = -1};
}
