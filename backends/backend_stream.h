/*
 * backend_stream.h - one connected stream socket that carries frames.
 *
 * Embedded by types that speak the framing of backend_framing.h. It reads
 * into the ring to the lane, writes what the lane sends, stops either side
 * when the other cannot take more, and tells its owner when the connection
 * has ended. Connecting and accepting are the owner's.
 */
#ifndef BACKENDS_BACKEND_STREAM_H
#define BACKENDS_BACKEND_STREAM_H

#include "backends/backend.h"
#include "backends/backend_framing.h"

struct watch;

struct stream {
	struct backend *be;  /* borrowed */
	int fd;              /* owned; -1: not connected */
	struct watch *watch; /* owned */
	/* The connection has ended and is closed; why, in words. */
	void (*lost)(void *owner, const char *why);
	void *owner;
	uint8_t *buf; /* owned, FRAMING_IN_BYTES */
	bool held;    /* the ring to the lane is full */
	bool blocked; /* the socket takes no more */
	bool files;   /* it never waits: may be sent to from files */
	bool torn;    /* the first frame to come was half sent to a lost peer */
	struct framing_in in;
	struct framing_out out;
};

/* stream_open - allocate; not connected. 0 or -ENOMEM. */
int stream_open(struct stream *s, struct backend *be,
    void (*lost)(void *owner, const char *why), void *owner);

/* stream_close - disconnect and free; lost() is not called. */
void stream_close(struct stream *s);

/* What is known of a connected socket. */
enum stream_origin {
	STREAM_GIVEN, /* others may have it, too */
	STREAM_INET,  /* only ours, and O_NONBLOCK */
	STREAM_UNIX,  /* the same; AF_UNIX */
};

/* stream_start - take over a connected socket. 0 or -ENOMEM (fd closed). */
int stream_start(struct stream *s, int fd, enum stream_origin origin);

/* stream_stop - disconnect; lost() is not called. */
void stream_stop(struct stream *s);

/* The two calls of struct backend_type of the same names. */
size_t stream_frames(struct stream *s, const struct frame *f, size_t count);
void stream_room(struct stream *s);

#endif
