/*
 * greeting.c - the first line of a QMP session.
 *
 * Runs in: the broker.
 * Trusts: nothing to trust.
 * Specification: QEMU docs/interop/qmp-spec.txt 2.2.
 *
 * Why 2.12: clients decide by the major version and by query-qmp-schema what
 * they may send. The schema here is that of 2.12's net.json; claiming more
 * would promise chardevs, objects and devices that are not there. Typed
 * arguments, as newer clients send them, are taken all the same.
 * Out-of-band execution is not offered: every query is answered at once, and
 * a session that waits for a backend can be passed by opening another one.
 */
#include "broker/greeting.h"

#include <stdio.h>

void
greeting_add(struct text *t)
{
	char line[256];
	int len = snprintf(line, sizeof(line),
	    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": %d, "
	    "\"minor\": %d, \"major\": %d}, \"package\": \"%s\"}, "
	    "\"capabilities\": []}}\r\n",
	    GREETING_MICRO, GREETING_MINOR, GREETING_MAJOR, GREETING_PACKAGE);

	text_add(t, line, (size_t)len);
}
