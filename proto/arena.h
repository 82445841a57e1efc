/*
 * arena.h - one memory for the frames of a large group: the lane writes a frame
 * once, and its receivers find it there.
 *
 * The lane writes (a descriptor that may write, no mapping), receivers read
 * (another open file, read-only). A frame stands behind a length word, in the
 * format that QEMU has on stream sockets, without padding, so that what comes
 * after each other in the arena can be sent as it is. Rings carry references
 * (ring.h). Chunks are the unit of giving back: what nobody needs any more is
 * cut out of the memory (FALLOC_FL_PUNCH_HOLE) before it is written again, so a
 * page never changes under who still has it, be it in a socket's buffer.
 */
#ifndef PROTO_ARENA_H
#define PROTO_ARENA_H

#include "proto/ring.h"

#include <stdbool.h>
#include <stdint.h>

/* u32, big-endian, as backend_framing.h has it: bytes of the frame. */
#define ARENA_WORD_BYTES 4u

/* Several batches of a lane fit into one. */
#define ARENA_CHUNK_BYTES (256u << 10)

/* Chunks that one viewer may keep from being used again. */
#define ARENA_VIEWER_CHUNKS 4u

/* Ports of a group, all of which may view, from which on an arena pays. */
#define ARENA_VIEWERS_LEAST 5u

/* Most chunks: 256 MiB, of which only what is in use takes memory. */
#define ARENA_CHUNKS_MAX 1024u

/* Size of an arena for so many viewers: each may be behind, and some room. */
static inline uint64_t
arena_bytes_for(uint64_t viewers)
{
	uint64_t chunks = (viewers + 4) * ARENA_VIEWER_CHUNKS;

	if (chunks > ARENA_CHUNKS_MAX)
		chunks = ARENA_CHUNKS_MAX;
	return chunks * ARENA_CHUNK_BYTES;
}

/* May an arena have this size? */
static inline bool
arena_bytes_valid(uint64_t bytes)
{
	return bytes > 0 && bytes % ARENA_CHUNK_BYTES == 0 &&
	       bytes / ARENA_CHUNK_BYTES <= ARENA_CHUNKS_MAX;
}

#endif
