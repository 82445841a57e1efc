/*
 * spawn.c - from a request to a process: memories, channels, namespaces.
 *
 * Runs in: launcher. Trusts: nothing of the request but that request.c found
 * it well-formed.
 * Specification: clone3(2), user_namespaces(7), DESIGN sections 3 and 5.
 */
#include "sandbox/spawn.h"

#include "gen/backends.h"
#include "proto/sys.h"
#include "sandbox/confine.h"
#include "sandbox/openers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMESPACES                                                             \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |            \
	    CLONE_NEWNET)

/* Far above what distributions and directory services hand out. */
#define UID_BASE_USUAL 0x70000000u

/* Descriptors of a process that knows many others, of `user`, of the rest: a
 * nic has three for each of its queues, and what one message brings. */
#define FILES_MANY    8192
#define FILES_SOCKETS 4096
#define FILES_FEW     192

#define OUR_ARGS_MAX 15 /* options that we put behind the others */

static bool
is_backend(uint32_t role)
{
	return role >= ROLE_BACKEND;
}

bool
spawn_host_network(uint32_t role)
{
	return role == ROLE_RESOLVE ||
	       (is_backend(role) &&
		   backend_entries[role - ROLE_BACKEND].host_network);
}

/* --- what works here -------------------------------------------------- */

/* The first of LAUNCH_SLOTS user ids that our own user namespace has. */
static uid_t
find_uids(void)
{
	unsigned inside, outside, count;
	uid_t base = 0;
	FILE *map = fopen("/proc/self/uid_map", "re");

	if (map == NULL)
		return 0;
	while (base == 0 &&
	       fscanf(map, "%u %u %u", &inside, &outside, &count) == 3) {
		if (inside <= UID_BASE_USUAL && count > UID_BASE_USUAL &&
		    count - UID_BASE_USUAL > LAUNCH_SLOTS)
			base = UID_BASE_USUAL;
		else if (count > 4 * LAUNCH_SLOTS)
			base = inside + count - 2 * LAUNCH_SLOTS;
	}
	fclose(map);
	return base;
}

static int
write_proc(pid_t pid, const char *file, const char *text)
{
	char path[64];
	int fd, rc;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	fd = (int)sys_result(open(path, O_WRONLY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	rc = (int)sys_write(fd, text, strlen(text));
	fd_close(&fd);
	return rc < 0 ? rc : 0;
}

/* Give a new user namespace its one user and group. */
static int
write_maps(pid_t pid, uid_t uid)
{
	char text[64];
	int rc = 0;

	/* Without privilege, a group map is only for those who give up this. */
	if (uid == 0)
		rc = write_proc(pid, "setgroups", "deny");
	snprintf(text, sizeof text, "%u %u 1", uid ? uid : geteuid(),
	    uid ? uid : geteuid());
	if (rc >= 0)
		rc = write_proc(pid, "uid_map", text);
	snprintf(text, sizeof text, "%u %u 1", uid ? uid : getegid(),
	    uid ? uid : getegid());
	if (rc >= 0)
		rc = write_proc(pid, "gid_map", text);
	return rc;
}

/* fork(2) with namespaces and a pidfd: 0 in the child, else pid or -errno. */
static pid_t
fork_child(uint64_t flags, int *pidfd)
{
	struct clone_args args;

	memset(&args, 0, sizeof args);
	args.flags = flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
	args.pidfd = (uint64_t)(uintptr_t)pidfd;
	args.exit_signal = SIGCHLD;
	return (pid_t)sys_result(syscall(__NR_clone3, &args, sizeof args));
}

/* Can we make these namespaces, and give a user to the user namespace? */
static int
try_flags(uint64_t flags, uid_t uid)
{
	siginfo_t end;
	int pidfd = -1, rc = 0;
	pid_t pid = fork_child(flags, &pidfd);

	if (pid < 0)
		return pid;
	if (pid == 0)
		for (;;)
			pause();
	if (flags & CLONE_NEWUSER)
		rc = write_maps(pid, uid);
	(void)kill(pid, SIGKILL);
	(void)waitid(P_PID, (id_t)pid, &end, WEXITED);
	fd_close(&pidfd);
	return rc;
}

int
spawn_probe(struct launcher *l, struct err *err)
{
	uint64_t tries[] = {CLONE_NEWUSER | NAMESPACES, NAMESPACES, 0};
	int rc = 0, first = 0;
	size_t i;

	if (l->options.sandbox == SANDBOX_OFF)
		return 0;
	l->uid_base = l->root ? find_uids() : 0;
	for (i = 0; i < 3; i++) {
		l->clone_flags = tries[i];
		rc = try_flags(tries[i], l->uid_base);
		if (rc >= 0)
			break;
		if (i == 0)
			first = rc;
	}
	if (rc < 0)
		return err_set(err, rc, "cannot start a process: %s",
		    strerrordesc_np(-rc));
	if (l->options.sandbox != SANDBOX_STRICT)
		return 0;
	if (i > 0)
		return err_set(err, -EPERM,
		    "layer %s cannot be had here (%s); "
		    "--sandbox=best-effort starts without it",
		    layer_name(LAYER_USER_NS), strerrordesc_np(-first));
	if (l->root && l->uid_base == 0)
		return err_set(err, -EPERM,
		    "layer %s cannot be had here (too few user ids); "
		    "--sandbox=best-effort starts without it",
		    layer_name(LAYER_UID));
	return 0;
}

uint64_t
spawn_wanted(const struct launcher *l, uint32_t role)
{
	uint64_t all = (UINT64_C(1) << LAYER_COUNT) - 1;

	(void)l;
	all &= ~(UINT64_C(1) << LAYER_CGROUP); /* not made in this build */
	if (spawn_host_network(role))
		all &= ~(UINT64_C(1) << LAYER_NET_NS);
	return all;
}

/* What stage 1 does for this order, as layers. */
static uint64_t
stage1_layers(const struct stage1 *s)
{
	static const struct {
		uint64_t flag;
		enum layer layer;
	} of[] = {{CLONE_NEWUSER, LAYER_USER_NS}, {CLONE_NEWNS, LAYER_MOUNT_NS},
	    {CLONE_NEWPID, LAYER_PID_NS}, {CLONE_NEWIPC, LAYER_IPC_NS},
	    {CLONE_NEWUTS, LAYER_UTS_NS}, {CLONE_NEWNET, LAYER_NET_NS}};
	uint64_t layers = 0;
	size_t i;

	for (i = 0; i < sizeof of / sizeof *of; i++)
		if (s->flags & of[i].flag)
			layers |= UINT64_C(1) << of[i].layer;
	if (s->uid != 0)
		layers |= UINT64_C(1) << LAYER_UID;
	if (s->confine)
		layers |= UINT64_C(1) << LAYER_NNP | UINT64_C(1)
							 << LAYER_RLIMITS;
	return layers;
}

/* --- the order for one child ------------------------------------------ */

/* What goes to the child and not into the store. */
struct offspring {
	int chan, control, bell, peer_ro, exec_fd;
};

static int
pair(int *ours, int *theirs)
{
	int fds[2], rc = sys_pair(fds);

	if (rc < 0)
		return rc;
	fd_close(ours);
	*ours = fds[0];
	*theirs = fds[1];
	return 0;
}

static int
make_offspring(struct launcher *l, struct slot *s,
    const struct launch_spawn *what, struct offspring *o)
{
	char name[64];
	int rc;

	*o = (struct offspring){-1, -1, -1, -1, -1};
	snprintf(
	    name, sizeof name, "bulkhead-%s", launcher_role_name(what->role));
	o->exec_fd = rc = (int)sys_result(
	    openat(l->libexec_dir, name, O_PATH | O_CLOEXEC | O_NOFOLLOW));
	if (rc >= 0)
		rc = pair(&s->chan, &o->chan);
	if (rc >= 0 && what->role != ROLE_BROKER)
		rc = pair(&s->control, &o->control);
	if (rc >= 0 && is_backend(what->role))
		rc = memories_port(s, what->ring_bytes, &o->peer_ro, &o->bell);
	return rc < 0 ? rc : 0;
}

static void
close_offspring(struct offspring *o)
{
	fd_close(&o->chan);
	fd_close(&o->control);
	fd_close(&o->bell);
	fd_close(&o->peer_ro);
	fd_close(&o->exec_fd);
}

/* Our options, alone or behind the operator's. */
struct args {
	char text[OUR_ARGS_MAX][LAUNCH_PATH + 32];
	unsigned count;
	char *list[OUR_ARGS_MAX + 2];
};

__attribute__((format(printf, 2, 3))) static void
add_arg(struct args *a, const char *fmt, ...)
{
	va_list args;

	BUG_ON(a->count >= OUR_ARGS_MAX);
	va_start(args, fmt);
	vsnprintf(a->text[a->count], sizeof a->text[0], fmt, args);
	va_end(args);
	a->list[a->count] = a->text[a->count];
	a->count++;
	a->list[a->count] = NULL;
}

static void
add_usual_args(struct args *a, const struct launcher *l, const struct slot *s)
{
	add_arg(a, "--sandbox=%s:0x%llx",
	    options_sandbox_name(l->options.sandbox),
	    (unsigned long long)s->layers);
	add_arg(
	    a, "--log-level=%s", options_log_level_name(l->options.log_level));
}

/* The broker's: what the operator wrote, then ours. */
static char *const *
broker_args(struct launcher *l, const struct slot *s, struct args *a)
{
	unsigned i;

	add_arg(a, "--run-dir=%s", l->options.run_dir);
	if (l->start_path[0] != '\0')
		add_arg(a, "--start-dir=%s", l->start_path);
	for (i = 0; i < l->options.config_count; i++)
		add_arg(a, "--config-fd=%u", FD_RESOURCE + i);
	add_usual_args(a, l, s);
	for (i = 0; i <= a->count; i++)
		l->broker_args[l->broker_arg_count + (int)i] = a->list[i];
	return l->broker_args;
}

static void
add_map_args(struct args *a, const struct resource *r)
{
	add_arg(a, "--map-offset=%llu", (unsigned long long)r->map_offset);
	add_arg(a, "--map-bytes=%llu", (unsigned long long)r->map_bytes);
}

/* Of what was granted, and so allowed by policy; the broker has no say. */
static void
add_lookup_args(struct args *a, const struct resource *r)
{
	add_arg(a, "--lookup=%s", r->args.path);
	add_arg(a, "--family=%u", r->args.number);
}

static char *const *
child_args(struct launcher *l, const struct slot *s, struct args *a,
    const struct stage1 *order)
{
	uint32_t open = 0;
	unsigned i;

	for (i = 0; i < LAUNCH_RESOURCES; i++)
		if (s->resources[i].fd >= 0)
			open |= 1u << i;
	add_arg(a, "bulkhead-%s", launcher_role_name(s->role));
	add_arg(a, "--id=%s", s->id);
	if (is_backend(s->role))
		add_arg(
		    a, "--ring-bytes=%llu", (unsigned long long)s->ring_bytes);
	add_arg(a, "--resources=0x%x", open);
	if (s->resources[0].granted && s->resources[0].args.kind == RES_NETMAP)
		add_map_args(a, &s->resources[0]);
	if (s->role == ROLE_RESOLVE)
		add_lookup_args(a, &s->resources[0]);
	if (order->etc_target >= 0)
		add_arg(a, "--etc-fd=%d", order->etc_target);
	if (order->tftp_target >= 0)
		add_arg(a, "--tftp-fd=%d", order->tftp_target);
	if (spawn_host_network(s->role))
		add_arg(a, "--network=host");
	add_usual_args(a, l, s);
	return a->list;
}

static void
order_fds(const struct launcher *l, const struct slot *s,
    const struct offspring *o, struct stage1 *order)
{
	unsigned i;

	for (i = 0; i < CHILD_FDS; i++)
		order->fds[i] = -1;
	order->exec_fd = o->exec_fd;
	order->fds[STDIN_FILENO] = l->null_fd;
	/* The broker answers "-netdev help" and tells how to attach a VM */
	order->fds[STDOUT_FILENO] =
	    s->role == ROLE_BROKER && !l->options.daemonize ? STDOUT_FILENO
							    : l->null_fd;
	order->fds[STDERR_FILENO] = l->log_fd;
	order->fds[FD_LAUNCHER] = o->chan;
	order->fds[FD_CONTROL] = o->control;
	order->fds[FD_PORT_OWN] = is_backend(s->role) ? s->own_mem : -1;
	order->fds[FD_PORT_PEER] = o->peer_ro;
	order->fds[FD_PORT_BELL] = o->bell;
	order->etc_target = order->tftp_target = -1;
	for (i = 0; i < LAUNCH_RESOURCES && s->role != ROLE_BROKER; i++) {
		const struct resource *r = &s->resources[i];

		order->fds[FD_RESOURCE + i] = r->fd;
		if (r->fd >= 0 && (r->args.kind == RES_RESOLVER ||
				      r->args.kind == RES_LOOKUP))
			order->etc_target = (int)(FD_RESOURCE + i);
		if (r->fd >= 0 && r->args.kind == RES_DIRECTORY)
			order->tftp_target = (int)(FD_RESOURCE + i);
	}
	for (i = 0; i < l->options.config_count && s->role == ROLE_BROKER; i++)
		order->fds[FD_RESOURCE + i] = l->config_fds[i];
}

static void
order_confinement(const struct launcher *l, unsigned slot, struct stage1 *order)
{
	uint32_t role = l->slots[slot].role;

	order->confine = l->options.sandbox != SANDBOX_OFF;
	order->flags = l->clone_flags;
	if (spawn_host_network(role))
		order->flags &= ~(uint64_t)CLONE_NEWNET;
	order->uid = l->uid_base != 0 ? l->uid_base + slot : 0;
	order->has_caps = l->root || (order->flags & CLONE_NEWUSER);
	if (role == ROLE_BROKER || role == ROLE_LANE)
		order->files = FILES_MANY;
	else
		order->files = is_backend(role) && spawn_host_network(role)
				   ? FILES_SOCKETS
				   : FILES_FEW;
}

/* Fork, give ids, let go. */
static int
start(struct slot *s, struct stage1 *order)
{
	int rc;
	pid_t pid = fork_child(order->flags, &s->pidfd);

	if (pid == 0) {
		/* Else it would wait for ever, should we die now. */
		fd_close(&s->chan);
		stage1_run(order);
	}
	if (pid < 0)
		return pid;
	s->pid = pid;
	rc = order->flags & CLONE_NEWUSER ? write_maps(pid, order->uid) : 0;
	if (rc >= 0)
		rc = (int)sys_result(
		    send(s->chan, "g", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
	return rc < 0 ? rc : 0;
}

/* What started badly ends now: nobody was told of it. */
static void
abandon(struct slot *s)
{
	siginfo_t end;

	launcher_kill(s);
	if (s->pid != 0)
		(void)waitid(P_PIDFD, (id_t)s->pidfd, &end, WEXITED);
	s->pid = 0;
	fd_close(&s->pidfd);
	fd_close(&s->chan);
	fd_close(&s->control);
}

/* A new life in the slot. */
static void
begin_life(struct slot *s, const struct launch_spawn *what)
{
	s->role = what->role;
	s->epoch = what->epoch;
	s->lived = true;
	s->started_ns = sys_mono_ns();
	s->ready = s->failed = s->doomed = false;
	s->words[0] = '\0';
	s->words_stage = 0;
	snprintf(s->id, sizeof s->id, "%s", what->id);
}

int
spawn_child(struct launcher *l, unsigned slot, const struct launch_spawn *what,
    struct err *err)
{
	struct slot *s = &l->slots[slot];
	struct stage1 order = {0};
	struct args args = {.count = 0};
	struct offspring o;
	int rc;

	begin_life(s, what);
	rc = make_offspring(l, s, what, &o);
	if (rc < 0)
		goto out;
	order_fds(l, s, &o, &order);
	order_confinement(l, slot, &order);
	s->uid = order.uid != 0 ? order.uid : geteuid();
	s->layers = stage1_layers(&order);
	order.argv = what->role == ROLE_BROKER
			 ? broker_args(l, s, &args)
			 : child_args(l, s, &args, &order);
	rc = start(s, &order);
	if (rc >= 0)
		rc = launcher_watch(l, slot);
	opener_vde_given(s);
out:
	close_offspring(&o);
	if (rc < 0) {
		abandon(s);
		return err_set(err, rc, "cannot start bulkhead-%s: %s",
		    launcher_role_name(what->role), strerrordesc_np(-rc));
	}
	return 0;
}
