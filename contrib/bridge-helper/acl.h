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
#include <sys/types.h>

/* Of all files together: one that includes itself often enough ends. */
#define ACL_LINES_MAX 100000u

struct acl {
	const char *bridge;
	uid_t owner; /* whose files count, beside root's */
	bool allowed, denied;
	unsigned lines;  /* read so far */
	char error[256]; /* why the file could not be used, or "" */
};

/*
 * acl_read - judge by a file, with the rights of who asks: an included file
 * that only some may read allows something to them only. 0; -1 with
 * acl->error: it is not there, not to be trusted (owned by another than root or
 * acl->owner, writable for others), too long, or has a line that is none. What
 * an included file lacks is no error.
 */
int acl_read(struct acl *acl, const char *file);

#endif
