/*
 * backend_pcap.h - a capture file in libpcap's format, nanosecond stamps,
 * whole records only.
 *
 * Writes with explicit offsets and never leaves half a record behind: what a
 * full disk or a size limit cut off is truncated away. After every batch the
 * file's own offset is set to the end of the last whole record; it belongs to
 * the open file, which the launcher keeps, so a restarted process finds it.
 */
#ifndef BACKENDS_BACKEND_PCAP_H
#define BACKENDS_BACKEND_PCAP_H

#include "proto/err.h"
#include "proto/ring.h"

#define PCAP_HEADER_BYTES 24u
#define PCAP_RECORD_BYTES 16u
/* Records per system call. */
#define PCAP_BATCH 256u

struct pcap {
	int fd;        /* borrowed */
	uint32_t snap; /* bytes kept of each frame */
	uint64_t end;  /* bytes of the file up to the last whole record */
};

/*
 * pcap_open - take up a regular file that may hold an earlier life's records:
 * appends to what is whole, cuts what is not, writes the file header when
 * there is none. 0 or -errno with *err.
 */
int pcap_open(struct pcap *p, int fd, uint32_t snap, struct err *err);

/*
 * pcap_write - append up to `count` frames, all stamped `now_ns` (wall clock).
 * Returns how many are in the file, all or fewer; when fewer, *error is the
 * -errno (or -ENOSPC when the file took only a part). Never half a record.
 */
size_t pcap_write(struct pcap *p, const struct frame *f, size_t count,
    uint64_t now_ns, int *error);

#endif
