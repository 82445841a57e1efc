/*
 * dump.c - write every frame of a hub to a capture file.
 *
 * Runs in: its own process. The file comes from the launcher.
 * Trusts: the broker. The frames are hostile and are only copied.
 * Specification: pcap-savefile(5); options as QEMU's `-net dump` had them.
 *
 * The stamp is when the batch was taken, for a batch is what has come since
 * the last look: a frame that comes alone has its own. Each batch is in the
 * file when its call returns, so that readers see it at once.
 * A file that takes no more (disk, quota, size limit) does not end us: frames
 * are dropped and counted, one notice tells it, and once a second the next
 * batch is tried, so a capture goes on when there is space again. What is
 * missing then is missing between two whole records.
 *
 * Frames come complete: with their checksums, large ones as segments. With
 * large-frames=on they come as they are in the hub, and a reader finds wrong
 * checksums and segments of 64 KiB, as in a capture on a host's own interface.
 */
#include "backends/backend.h"
#include "backends/backend_capture.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "gen/types.h"

/* Position in "opens" of schema/backends.json. */
enum { RESOURCE_FILE };

#define SNAP_USUAL 65536u
#define RETRY_NS   UINT64_C(1000000000)

/* Every kind there is. */
#define ALL_OFFLOADS                                                           \
	(OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN |            \
	    OFFLOAD_UFO | OFFLOAD_USO4 | OFFLOAD_USO6)

struct dump {
	struct backend *be; /* borrowed */
	int fd;             /* owned */
	struct capture capture;
	bool failing;      /* the file takes no more, as far as we know */
	uint64_t tried_ns; /* when it last refused */
	uint64_t dropped;  /* since it began to refuse */
};

static int
dump_open(void *self, struct backend *be, const void *options, struct err *err)
{
	const struct netdev_dump_options *o = options;
	uint64_t snap = o->has_len ? o->len : SNAP_USUAL;
	struct dump *d = self;

	d->be = be;
	d->fd = backend_resource(be, RESOURCE_FILE);
	if (snap > INT_MAX)
		return err_set(err, -EINVAL, "invalid length: %" PRIu64, snap);
	if (d->fd < 0)
		return err_set(err, -EINVAL, "Parameter 'file' is missing");
	if (o->has_large_frames && o->large_frames)
		backend_takes(be, ALL_OFFLOADS);
	/* RLIMIT_FSIZE: the call shall fail, not end us. */
	(void)signal(SIGXFSZ, SIG_IGN);
	backend_info(be, "dump to %s (len=%" PRIu64 ")", o->file, snap);
	return capture_open(&d->capture, d->fd, (uint32_t)snap, err);
}

static int
dump_start(void *self, struct err *err)
{
	struct dump *d = self;

	(void)err;
	backend_connected(d->be, true, "");
	return 0;
}

/* The file has refused a batch: tell it once. */
static void
file_refused(struct dump *d, int error)
{
	char text[128];

	d->tried_ns = sys_mono_ns();
	if (d->failing)
		return;
	d->failing = true;
	d->dropped = 0;
	snprintf(text, sizeof text, "the capture file takes no more: %s",
	    strerror(-error));
	backend_notice(d->be, "dump-stopped", text);
}

static void
file_accepted(struct dump *d)
{
	char text[128];

	if (!d->failing)
		return;
	d->failing = false;
	snprintf(text, sizeof text,
	    "the capture file takes frames again; %" PRIu64 " are missing",
	    d->dropped);
	backend_notice(d->be, "dump-resumed", text);
}

static void
drop(struct dump *d, size_t count)
{
	d->dropped += count;
	backend_count(d->be, BC_OUT_DROP_ERROR, count);
}

static size_t
dump_frames(void *self, const struct frame *f, size_t count)
{
	struct dump *d = self;
	uint64_t bytes = 0;
	size_t done, i;
	int error;

	if (d->failing && sys_mono_ns() - d->tried_ns < RETRY_NS) {
		drop(d, count);
		return count;
	}
	done = capture_write(&d->capture, f, count, sys_real_ns(), &error);
	if (done > 0)
		file_accepted(d);
	for (i = 0; i < done; i++)
		bytes += f[i].len;
	backend_count(d->be, BC_OUT_FRAMES, done);
	backend_count(d->be, BC_OUT_BYTES, bytes);
	if (error < 0) {
		file_refused(d, error);
		drop(d, count - done);
		return count;
	}
	return done;
}

static void
dump_close(void *self)
{
	struct dump *d = self;

	capture_close(&d->capture);
	fd_close(&d->fd);
}

static const struct sysrule dump_rules[] = {
    SYS(pwrite64, "a batch of records"),
    SYS(lseek, "remember the end of the last whole record"),
    SYS(ftruncate, "cut off a record that did not fit"),
};

const struct backend_type backend_type = {
    .name = "dump",
    .self_bytes = sizeof(struct dump),
    .open = dump_open,
    .start = dump_start,
    .frames = dump_frames,
    .close = dump_close,
    .syscalls = {"dump", dump_rules, sizeof dump_rules / sizeof *dump_rules},
};
