/*
 * bell.h - a doorbell: "look at the ring". Carries no data.
 *
 * A SOCK_SEQPACKET pair rung with MSG_DONTWAIT. An eventfd is faster (0.4 us
 * against 0.6 us for one ring and its clearing) but its O_NONBLOCK is shared
 * with the peer, who can clear it and saturate the counter; the next ringer
 * then sleeps for ever. MSG_DONTWAIT belongs to the call, not to the file.
 * One pair serves both directions.
 */
#ifndef PROTO_BELL_H
#define PROTO_BELL_H

int bell_pair(int fds[2]);

/* bell_ring - never blocks, never fails: a full queue is a bell that rings. */
void bell_ring(int fd);

/*
 * bell_clear - take what has been rung, at most a fixed number.
 * Returns 0, or -EPROTO when the peer closed or shut the pair or sent what is
 * not a ring (the caller must fault the peer).
 */
int bell_clear(int fd);

#endif
