/*
 * backend_echo.c - the frames that we sent to a group, for a second.
 *
 * Runs in: socket backends in multicast mode.
 * Trusts: nothing. Somebody who finds two frames with one digest can make us
 * drop the second of them when we have just sent the first: no gain over
 * not sending it.
 */
#include "backends/backend_echo.h"

#include <string.h>

/* Odd constants with well-mixed bits (2^64 / golden ratio; splitmix64). */
#define MIX_A UINT64_C(0x9e3779b97f4a7c15)
#define MIX_B UINT64_C(0xbf58476d1ce4e5b9)

static uint64_t
digest(const uint8_t *data, size_t len)
{
	uint64_t h = (uint64_t)len * MIX_A, word;

	for (; len >= sizeof word; len -= sizeof word, data += sizeof word) {
		memcpy(&word, data, sizeof word);
		h = (h ^ word) * MIX_B;
		h ^= h >> 29;
	}
	word = 0;
	memcpy(&word, data, len);
	h = (h ^ word) * MIX_B;
	return h ^ h >> 32;
}

void
echo_sent(struct echo *e, const uint8_t *data, size_t len, uint64_t now_ns)
{
	uint64_t d = digest(data, len);
	size_t set = d % ECHO_SETS, way, oldest = 0;

	for (way = 1; way < ECHO_WAYS; way++) {
		if (e->entry[set][way].sent_ns < e->entry[set][oldest].sent_ns)
			oldest = way;
	}
	e->entry[set][oldest].digest = d;
	e->entry[set][oldest].sent_ns = now_ns;
}

bool
echo_is_own(struct echo *e, const uint8_t *data, size_t len, uint64_t now_ns)
{
	uint64_t d = digest(data, len);
	size_t set = d % ECHO_SETS, way;

	for (way = 0; way < ECHO_WAYS; way++) {
		uint64_t sent_ns = e->entry[set][way].sent_ns;

		if (sent_ns == 0 || e->entry[set][way].digest != d)
			continue;
		e->entry[set][way].sent_ns = 0;
		if (now_ns - sent_ns <= ECHO_NS)
			return true;
	}
	return false;
}
