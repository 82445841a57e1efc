/*
 * backend_capture.h - a capture file: libpcap's format, nanosecond stamps,
 * whole records only.
 *
 * libpcap makes the bytes, into memory; this writes them with explicit offsets
 * and never leaves half a record behind: what a full disk or a size limit cut
 * off is truncated away. After every batch the file's own offset is set to the
 * end of the last whole record; it belongs to the open file, which the
 * launcher keeps, so a restarted process finds it.
 */
#ifndef BACKENDS_BACKEND_CAPTURE_H
#define BACKENDS_BACKEND_CAPTURE_H

#include "proto/err.h"
#include "proto/ring.h"

#include <pcap/pcap.h>

/* Sizes of the savefile's headers (pcap-savefile(5)). */
#define CAPTURE_HEADER_BYTES 24u
#define CAPTURE_RECORD_BYTES 16u
/* Frames of one capture_write. */
#define CAPTURE_BATCH 256u

struct capture {
	int fd;        /* borrowed */
	uint32_t snap; /* bytes kept of each frame */
	uint64_t end;  /* bytes of the file up to its last whole record */
	pcap_t *pcap;  /* owned */
	pcap_dumper_t *dumper; /* owned; writes to `made` */
	uint8_t *made;         /* owned; bytes that are not in the file yet */
	size_t made_bytes;
};

/*
 * capture_open - take up a regular file that may hold an earlier life's
 * records: appends to what is whole, cuts what is not, writes the file header
 * when there is none. 0 or -errno with *err; capture_close in both cases.
 */
int capture_open(struct capture *c, int fd, uint32_t snap, struct err *err);

/*
 * capture_write - append up to `count` frames, all stamped `now_ns` (wall
 * clock). Returns how many are in the file, all or fewer; when fewer, *error
 * is the -errno (-ENOSPC when the file took only a part), or 0 when count was
 * more than one call takes. Never half a record.
 */
size_t capture_write(struct capture *c, const struct frame *f, size_t count,
    uint64_t now_ns, int *error);

void capture_close(struct capture *c);

#endif
