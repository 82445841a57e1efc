/*
 * allowed.c - what policy says of an object, and where its directory is.
 *
 * Runs in: launcher. Trusts: the policy. The path comes from the broker.
 * Specification: openat2(2) RESOLVE_BENEATH; sandbox/policy.h.
 */
#include "proto/sys.h"
#include "sandbox/openers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
refuse(struct opening *o, enum policy_kind kind, const char *what,
    const char *object, const char *pattern)
{
	return err_set(o->err, -EPERM,
	    "policy refuses to %s %.100s: add \"allow %s %.100s\" to the "
	    "policy file",
	    what, object, policy_kind_name(kind), pattern);
}

int
opener_allowed_address(struct opening *o, enum policy_kind kind,
    const char *what, const struct addr *a)
{
	char text[ADDR_TEXT_BYTES];

	o->granted = o->free || policy_address(&o->l->policy, kind, a);
	if (o->granted)
		return 0;
	addr_text(a, text);
	if (kind == POLICY_RAW_IP)
		*strrchr(text, ':') = '\0'; /* it has no ports */
	return refuse(o, kind, what, text, text);
}

int
opener_allowed_unix(struct opening *o, const char *what, const struct addr *a)
{
	char text[ADDR_TEXT_BYTES];
	size_t ignored;

	if (a->un.sun_path[0] != '\0')
		return 0; /* opener_parent asks */
	addr_text(a, text);
	o->granted =
	    o->free || policy_path(&o->l->policy, POLICY_UNIX, text, &ignored);
	return o->granted ? 0 : refuse(o, POLICY_UNIX, what, text, text);
}

/* The directory of a path as its rule: "/x" of "/x/y", "/" of "/y". */
static int
refuse_path(struct opening *o, enum policy_kind kind, const char *what,
    const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[LAUNCH_PATH];
	int len = slash == path ? 1 : (int)(slash - path);

	/* A directory is shown itself, a program is run; a file is made in
	 * a directory. */
	if (kind == POLICY_DIRECTORY || kind == POLICY_VDE ||
	    kind == POLICY_SCRIPT)
		len = (int)strlen(path);
	snprintf(dir, sizeof dir, "%.*s", len, path);
	return refuse(o, kind, what, path, dir);
}

int
opener_allowed_network(struct opening *o)
{
	size_t ignored;

	o->granted = o->free || policy_path(&o->l->policy, POLICY_NETWORK,
				    "host", &ignored);
	return o->granted ? 0
			  : refuse(o, POLICY_NETWORK, "use",
				"the host's network", "host");
}

int
opener_allowed_lookup(struct opening *o)
{
	const char *name = o->args->path;

	o->granted = o->free || policy_host(&o->l->policy, name);
	return o->granted ? 0 : refuse(o, POLICY_LOOKUP, "look up", name, name);
}

/* Open `len` bytes of `path` relative to `dir`; 0 bytes: `dir` itself. */
static int
open_part(int dir, const char *path, size_t len, uint64_t resolve)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
	    .resolve = resolve | RESOLVE_NO_MAGICLINKS};
	char part[LAUNCH_PATH];

	snprintf(part, sizeof part, "%.*s", (int)len, path);
	return (int)sys_result(
	    syscall(__NR_openat2, dir, len > 0 ? part : ".", &how, sizeof how));
}

/* The directory of a client's path: what the rule names, then beneath it. */
static int
open_beneath(const char *path, size_t trusted, size_t dir_len)
{
	int base, rc;

	base = open_part(AT_FDCWD, path, trusted, 0);
	if (base < 0 || dir_len <= trusted)
		return base;
	path += trusted;
	dir_len -= trusted;
	while (*path == '/') {
		path++;
		dir_len--;
	}
	rc = open_part(
	    base, path, dir_len, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	fd_close(&base);
	return rc;
}

int
opener_parent(struct opening *o, enum policy_kind kind, const char *what,
    const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t beneath = 0, dir_len;
	int rc;

	*name = slash != NULL ? slash + 1 : path;
	dir_len = slash == path ? 1 : (size_t)(*name - path);
	if (**name == '\0')
		return err_set(o->err, -EINVAL, "%s is not a file name", path);
	o->granted = o->free;
	if (!o->free && !policy_plain(path))
		return err_set(o->err, -EPERM,
		    "policy refuses to %s %.100s: a path must be absolute, "
		    "without . and ..",
		    what, path);
	if (!o->free)
		o->granted = policy_path(&o->l->policy, kind, path, &beneath);
	if (!o->granted)
		return refuse_path(o, kind, what, path);
	if (beneath > 0)
		rc = open_beneath(path, beneath, dir_len);
	else
		rc = open_part(o->l->start_dir, path, dir_len, 0);
	if (rc < 0)
		return err_set(o->err, rc, "cannot %s %s: %s", what, path,
		    strerrordesc_np(-rc));
	return rc;
}
