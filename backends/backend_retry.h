/*
 * backend_retry.h - the pace at which a backend makes its connection again, and
 * takes those of peers that come and go. One place for all types.
 */
#ifndef BACKENDS_BACKEND_RETRY_H
#define BACKENDS_BACKEND_RETRY_H

#include <stdint.h>

/* Unless reconnect-ms is given: from the first to the second, doubling. */
#define RETRY_MS_FIRST 100u
#define RETRY_MS_LAST  1000u
/* Whatever reconnect-ms says: the broker takes 50 requests in a second. */
#define RETRY_MS_LEAST 25u

/*
 * A peer that comes and goes: so many short connections are taken at once,
 * then one per pause. A long one makes that good.
 */
#define SHORT_MAX      10u
#define SHORT_NS       UINT64_C(1000000000)
#define SHORT_PAUSE_MS 100u

#endif
