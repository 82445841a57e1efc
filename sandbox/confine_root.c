/*
 * confine_root.c - stage 2: the empty root, and no right to any other.
 *
 * Runs in: every child, before it has read a byte from outside.
 * Trusts: the launcher, which gave the descriptors.
 * Specification: pivot_root(2) ("pivot_root(".", ".")"), mount_setattr(2),
 * Documentation/userspace-api/landlock.rst, capabilities(7).
 */
#include "proto/sys.h"
#include "sandbox/confine_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From sys/mount.h, which does not go together with linux/mount.h. */
#define UNMOUNT_DETACH 2

/* A directory that every system has; the new root stands there for a moment. */
#define STAND "/proc"

static int
make_private(void)
{
	struct mount_attr attr = {.propagation = 1u << 18 /* MS_PRIVATE */};

	return (int)sys_result(syscall(__NR_mount_setattr, AT_FDCWD, "/",
	    AT_RECURSIVE, &attr, sizeof attr));
}

/* A tmpfs for three directories and no data, detached. Descriptor or -errno. */
static int
make_tmpfs(void)
{
	static const char *const options[][2] = {
	    {"nr_blocks", "1"}, {"nr_inodes", "4"}, {"mode", "0755"}};
	int fs, rc = 0;
	size_t i;

	fs = (int)sys_result(syscall(__NR_fsopen, "tmpfs", FSOPEN_CLOEXEC));
	if (fs < 0)
		return fs;
	for (i = 0; i < 3 && rc >= 0; i++)
		rc = (int)sys_result(syscall(__NR_fsconfig, fs,
		    FSCONFIG_SET_STRING, options[i][0], options[i][1], 0));
	if (rc >= 0)
		rc = (int)sys_result(syscall(
		    __NR_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	if (rc >= 0)
		rc = (int)sys_result(syscall(__NR_fsmount, fs, FSMOUNT_CLOEXEC,
		    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
	fd_close(&fs);
	return rc;
}

static int
attach(int mount_fd, const char *path)
{
	return (int)sys_result(syscall(__NR_move_mount, mount_fd, "", AT_FDCWD,
	    path, MOVE_MOUNT_F_EMPTY_PATH));
}

static int
attach_new(int mount_fd, const char *path)
{
	int rc;

	if (mount_fd < 0)
		return 0;
	rc = (int)sys_result(mkdir(path, 0755));
	return rc < 0 ? rc : attach(mount_fd, path);
}

static int
close_to_writing(int mount_fd)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	return (int)sys_result(syscall(__NR_mount_setattr, mount_fd, "",
	    AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr));
}

static int
pivot(int root_fd)
{
	int rc;

	rc = (int)sys_result(fchdir(root_fd));
	if (rc >= 0)
		rc = (int)sys_result(syscall(__NR_pivot_root, ".", "."));
	/* The old root now lies on the new one, at ".". */
	if (rc >= 0)
		rc =
		    (int)sys_result(syscall(__NR_umount2, ".", UNMOUNT_DETACH));
	if (rc >= 0)
		rc = (int)sys_result(chdir("/"));
	return rc;
}

int
confine_root(int etc_fd, int tftp_fd)
{
	int root = -1, rc;

	rc = make_private();
	if (rc < 0)
		goto out;
	root = rc = make_tmpfs();
	if (rc >= 0)
		rc = attach(root, STAND);
	if (rc >= 0)
		rc = attach_new(etc_fd, STAND "/etc");
	if (rc >= 0)
		rc = attach_new(tftp_fd, STAND "/tftp");
	if (rc >= 0)
		rc = close_to_writing(root);
	if (rc >= 0)
		rc = pivot(root);
out:
	fd_close(&root);
	return rc < 0 ? rc : 0;
}

/* --- capabilities ----------------------------------------------------- */

int
confine_caps(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}, {0}};
	int cap;

	/*
	 * Stage 1 emptied the bounding set; without an own user namespace it
	 * may have left it, and then it needs no capability to be empty.
	 */
	for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return (int)sys_result(syscall(__NR_capset, &head, none));
}

/* --- Landlock --------------------------------------------------------- */

/* linux/landlock.h of Debian 12 ends before ABI 4; the kernel's is longer. */
struct ruleset {
	uint64_t fs, net, scoped;
};

/* Rights by ABI version (landlock.rst, "Previous limitations"). */
static uint64_t
fs_rights(int abi)
{
	unsigned bits = abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13;

	return (UINT64_C(1) << bits) - 1;
}

static int
allow_reading(int ruleset, const char *path)
{
	struct landlock_path_beneath_attr rule = {
	    .allowed_access =
		LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR};
	int rc;

	rc = (int)sys_result(open(path, O_PATH | O_CLOEXEC));
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	rule.parent_fd = rc;
	rc = (int)sys_result(syscall(__NR_landlock_add_rule, ruleset,
	    LANDLOCK_RULE_PATH_BENEATH, &rule, 0));
	(void)close(rule.parent_fd);
	return rc;
}

int
confine_landlock(const char *const *readable, bool tcp)
{
	struct ruleset all = {0};
	int abi, set, rc = 0;

	abi = (int)sys_result(syscall(__NR_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION));
	if (abi < 1)
		return abi < 0 ? abi : -EOPNOTSUPP;
	all.fs = fs_rights(abi);
	all.net = abi >= 4 && !tcp ? 3 : 0; /* bind, connect */
	all.scoped = abi >= 6 ? 3 : 0;      /* abstract unix, signal */
	set = (int)sys_result(
	    syscall(__NR_landlock_create_ruleset, &all, sizeof all, 0));
	if (set < 0)
		return set;
	for (; *readable != NULL && rc >= 0; readable++)
		rc = allow_reading(set, *readable);
	if (rc >= 0)
		rc = (int)sys_result(
		    syscall(__NR_landlock_restrict_self, set, 0));
	(void)close(set);
	return rc < 0 ? rc : 0;
}
