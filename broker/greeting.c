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

#define STR_(x) #x
#define STR(x)  STR_(x)

void
greeting_add(struct text *t)
{
	text_add_str(t,
	    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": " STR(GREETING_MICRO) ", \"minor\": " STR(
		GREETING_MINOR) ", \"major\": " STR(GREETING_MAJOR) "}, "
								    "\"package"
								    "\": "
								    "\"" GREETING_PACKAGE
								    "\"}, "
								    "\"capabili"
								    "ties\": "
								    "[]}}\r\n");
}
