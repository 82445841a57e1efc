/*
 * acl.h - who may join which bridge: the file that qemu-bridge-helper has.
 *
 * One rule a line: `allow BRIDGE|all`, `deny BRIDGE|all`, `include PATH`;
 * empty lines and those that begin with # are passed over. A bridge is allowed
 * when some allow fits and no deny does, in whatever order.
 */
#ifndef BRIDGE_HELPER_ACL_H
#define BRIDGE_HELPER_ACL_H

#include <stdbool.h>

struct acl {
	const char *bridge;
	bool allowed, denied;
	char error[256]; /* why the file could not be used, or "" */
};

/*
 * acl_read - judge by a file. 0; -1 with acl->error: it is not there, not to
 * be trusted (owned by another than root or us, writable for others), or has
 * a line that is none. What an included file lacks is no error.
 */
int acl_read(struct acl *acl, const char *file);

#endif
