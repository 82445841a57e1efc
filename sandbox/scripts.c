/*
 * scripts.c - programs that are run for a tap: before its first frame, before
 * its end, and the helper that makes one in a bridge.
 *
 * Runs in: launcher. The runner (runner.c) starts and watches the programs;
 * here is decided which, and what their end means. Nothing waits for them: an
 * OPENED or RELEASED that depends on one is sent when it has ended.
 * Trusts: the policy, and before the latch the operator's command line. Of a
 * helper only that it is what the operator allowed: what it sends is checked.
 * Specification: netdevs.md 8.4, 8.5; DESIGN section 2.
 */
#include "proto/sys.h"
#include "sandbox/open_tap.h"
#include "sandbox/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Less than the broker waits for an answer (netdev_start.c). */
#define UP_MS 8000u
/* Less than it waits for a release, and when we end less than for the end. */
#define DOWN_MS      5000u
#define DOWN_LAST_MS 1500u

#define USUAL_UP     "/etc/qemu-ifup"
#define USUAL_DOWN   "/etc/qemu-ifdown"
#define USUAL_BRIDGE "br0"

enum { RUN_UP = 1, RUN_DOWN, RUN_BRIDGE };

/* --- orders --------------------------------------------------------------- */

static int
send_order(struct launcher *l, const struct run_order *o, int given)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec piece = {
	    .iov_base = (void *)(uintptr_t)o, .iov_len = sizeof *o};
	struct msghdr head = {.msg_iov = &piece, .msg_iovlen = 1};
	ssize_t rc;

	if (l->runner < 0)
		return -EPIPE;
	if (given >= 0) {
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &given, sizeof given);
		head.msg_control = &control;
		head.msg_controllen = sizeof control;
	}
	rc = sys_result(sendmsg(l->runner, &head, MSG_DONTWAIT | MSG_NOSIGNAL));
	return rc < 0 ? (int)rc : 0;
}

/* Order a program for the slot; its end is heard in scripts_heard. */
static int
run(struct launcher *l, struct slot *s, uint32_t what, struct run_order *o,
    int given)
{
	int rc;

	o->slot = (uint32_t)(s - l->slots);
	do
		o->number = ++l->run_number;
	while (o->number == 0);
	rc = send_order(l, o, given);
	if (rc < 0)
		return rc;
	log_event(LOG_INFO, "script.run", "program=%s arg=%s",
	    log_quote(o->program), log_quote(o->args[o->arg_count - 1]));
	s->run.number = o->number;
	s->run.what = what;
	snprintf(s->run.program, sizeof s->run.program, "%s", o->program);
	return 0;
}

static int
cannot_run(struct err *err, int rc, const char *program)
{
	return err_set(err, rc, "cannot run %s: %s", program,
	    rc == -EPIPE ? "the process that runs scripts has ended; restart "
			   "bulkheadd"
			 : strerrordesc_np(-rc));
}

/* May it be run, and can it? */
static int
judge(struct opening *o, const char *program)
{
	const char *name;
	int dir, rc;

	dir = rc = opener_parent(o, POLICY_SCRIPT, "run", program, &name);
	if (rc < 0)
		return rc;
	rc = (int)sys_result(faccessat(dir, name, X_OK, 0));
	fd_close(&dir);
	return rc < 0 ? cannot_run(o->err, rc, program) : 0;
}

/*
 * The program of a script resource: what was named must be there and allowed;
 * the usual one is run where it is, and may be. 1: run it; 0: there is none.
 */
static int
choose(struct opening *o, const char *usual, char program[LAUNCH_PATH])
{
	bool named = o->args->path[0] != '\0';
	int rc;

	snprintf(program, LAUNCH_PATH, "%s", named ? o->args->path : usual);
	rc = judge(o, program);
	if (rc >= 0)
		return 1;
	if (named)
		return rc;
	log_event(LOG_INFO, "script.skip", "program=%s text=%s",
	    log_quote(program), log_quote(o->err->text));
	o->granted = true;
	return 0;
}

/* --- up and down -----------------------------------------------------------
 */

static int
order_script(struct run_order *out, const struct slot *s, const char *program,
    uint32_t timeout_ms)
{
	const struct resource *tap = tap_first(s);
	struct ifreq req;
	int rc = tap == NULL ? -ENODEV : tap_query(tap->fd, &req);

	if (rc < 0)
		return rc;
	memset(out, 0, sizeof *out);
	out->timeout_ms = timeout_ms;
	out->arg_count = 1;
	snprintf(out->program, sizeof out->program, "%s", program);
	snprintf(out->args[0], sizeof out->args[0], "%.15s", req.ifr_name);
	return 0;
}

int
opener_script(struct opening *o)
{
	char program[LAUNCH_PATH];
	struct run_order order;
	int rc;

	if (o->slot->run.number != 0)
		return err_set(o->err, -EBUSY, "the slot runs its script");
	if (o->args->again && !o->slot->tap_anew)
		return 0;
	rc = choose(o, USUAL_UP, program);
	if (rc <= 0)
		return rc;
	rc = order_script(&order, o->slot, program, UP_MS);
	if (rc < 0)
		return err_set(
		    o->err, rc, "there is no tap to run %s for", program);
	rc = run(o->l, o->slot, RUN_UP, &order, -1);
	if (rc < 0)
		return cannot_run(o->err, rc, program);
	o->slot->run.index = o->args->index;
	o->slot->run.again = o->args->again;
	return OPENER_LATER;
}

/* Permission only: it is run when the slot is released. */
int
opener_downscript(struct opening *o)
{
	char program[LAUNCH_PATH];
	int rc = choose(o, USUAL_DOWN, program);

	o->run = rc > 0;
	return rc < 0 ? rc : 0;
}

/* --- bridges -----------------------------------------------------------------
 */

/* QEMU's, where distributions put it; else ours. */
static int
usual_program(struct opening *o, char program[LAUNCH_PATH])
{
	static const char *const places[] = {"/usr/lib/qemu/qemu-bridge-helper",
	    "/usr/libexec/qemu-bridge-helper"};
	size_t i;

	for (i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(program, LAUNCH_PATH, "%s", places[i]);
		if (access(program, X_OK) == 0)
			return 0;
	}
	snprintf(program, LAUNCH_PATH, "%.900s/bulkhead-bridge-helper",
	    o->l->options.libexec);
	if (access(program, X_OK) == 0)
		return 0;
	return err_set(o->err, -ENOENT,
	    "no bridge helper is installed (%s): give helper=", program);
}

static int
judge_bridge(struct opening *o, const char *bridge, char program[LAUNCH_PATH])
{
	size_t len = strlen(bridge);
	int rc;

	/* The kernel ignores a colon and what is behind it: "br0:" is br0. */
	if (len >= IFNAMSIZ || strpbrk(bridge, "/: \t\n") != NULL)
		return err_set(o->err, -EINVAL,
		    "br=%s is not the name of a bridge (at most 15 bytes)",
		    bridge);
	o->granted =
	    o->free || policy_name(&o->l->policy, POLICY_BRIDGE, bridge);
	if (!o->granted)
		return err_set(o->err, -EPERM,
		    "policy refuses to join bridge %s: add \"allow bridge %s\" "
		    "to the policy file",
		    bridge, bridge);
	if (o->args->path[0] == '\0')
		return usual_program(o, program);
	snprintf(program, LAUNCH_PATH, "%s", o->args->path);
	rc = judge(o, program);
	return rc;
}

int
opener_bridge(struct opening *o)
{
	const char *bridge =
	    o->args->name[0] != '\0' ? o->args->name : USUAL_BRIDGE;
	struct run_order order = {.timeout_ms = UP_MS, .arg_count = 3};
	int pair[2], rc;

	if (o->slot->run.number != 0)
		return err_set(o->err, -EBUSY, "the slot runs its helper");
	rc = judge_bridge(o, bridge, order.program);
	if (rc < 0)
		return rc;
	rc = (int)sys_result(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	if (rc < 0)
		return cannot_run(o->err, rc, order.program);
	snprintf(order.args[0], RUNNER_ARG, "--use-vnet");
	snprintf(order.args[1], RUNNER_ARG, "--fd=%d", RUNNER_FD);
	snprintf(order.args[2], RUNNER_ARG, "--br=%s", bridge);
	rc = run(o->l, o->slot, RUN_BRIDGE, &order, pair[1]);
	fd_close(&pair[1]);
	if (rc < 0) {
		fd_close(&pair[0]);
		return cannot_run(o->err, rc, order.program);
	}
	fd_close_foreign(&o->slot->run.sock);
	o->slot->run.sock = pair[0];
	o->slot->run.index = o->args->index;
	o->slot->run.again = o->args->again;
	return OPENER_LATER;
}

/* The one descriptor that a helper has sent, or -errno. */
static int
take_tap(int sock)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec piece = {.iov_base = &byte, .iov_len = 1};
	struct msghdr head = {.msg_iov = &piece,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = CMSG_LEN(sizeof(int))};
	ssize_t got =
	    sys_result(recvmsg(sock, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&head) : NULL;
	int fd = -1;

	if (got < 0 && got != -EAGAIN)
		return (int)got;
	if (c != NULL && c->cmsg_level == SOL_SOCKET &&
	    c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	if (fd >= 0 && (head.msg_flags & MSG_CTRUNC))
		fd_close_foreign(&fd); /* one, or none */
	return fd < 0 ? -ENOMSG : fd;
}

/* --- how it ended ------------------------------------------------------------
 */

static const char *
how_it_ended(const struct run_result *r, char text[LAUNCH_TEXT])
{
	const char *colon = r->words[0] != '\0' ? ": " : "";
	char how[96];

	switch (r->how) {
	case RUN_EXITED:
		snprintf(how, sizeof how, "exit status %d", r->status);
		break;
	case RUN_KILLED:
		snprintf(how, sizeof how, "signal %d", r->status);
		break;
	case RUN_NOT_RUN:
		snprintf(how, sizeof how, "it was not started: %s",
		    strerrordesc_np(r->status));
		break;
	case RUN_TIMEOUT:
		snprintf(how, sizeof how, "it did not end in time");
		break;
	case RUN_FLOOD:
		snprintf(how, sizeof how, "it wrote more than %u bytes",
		    RUNNER_OUTPUT);
		break;
	case RUN_LOST:
		snprintf(how, sizeof how,
		    "the process that runs scripts was killed, and it with it");
		break;
	default:
		snprintf(how, sizeof how, "it was ended");
	}
	snprintf(text, LAUNCH_TEXT, "%s%s%.140s", how, colon, r->words);
	return text;
}

static bool
succeeded(const struct run_result *r)
{
	return r->how == RUN_EXITED && r->status == 0;
}

static int
end_bridge(struct slot *s, const struct run_result *r, const char *how,
    struct err *err)
{
	struct resource *res = &s->resources[s->run.index];
	struct ifreq req;
	int fd, rc = 0;

	if (!succeeded(r)) {
		fd_close_foreign(&s->run.sock);
		return err_set(err, -ECHILD, "bridge helper failed: %.90s: %s",
		    s->run.program, how);
	}
	fd = take_tap(s->run.sock);
	fd_close_foreign(&s->run.sock);
	if (fd < 0)
		return err_set(err, fd,
		    "failed to recv file descriptor: %.120s ended without "
		    "sending one",
		    s->run.program);
	rc = tap_check(fd, "what the bridge helper sent", &req, err);
	if (rc >= 0)
		rc = tap_configure(fd, res->args.sndbuf, err);
	if (rc >= 0)
		res->fd = fd_take(&fd);
	fd_close_foreign(&fd);
	return rc;
}

static void
answer_open(struct launcher *l, struct slot *s, int rc, const struct err *err)
{
	memset(&s->opened, 0, sizeof s->opened);
	s->opened.error = rc;
	if (rc < 0) {
		snprintf(
		    s->opened.text, sizeof s->opened.text, "%.250s", err->text);
		/* What was granted before may be tried again. */
		if (!s->run.again) {
			s->resources[s->run.index].granted = false;
			s->up_failed = true;
		}
	}
	launcher_note(l, s, TELL_OPENED);
}

static void
ended(struct launcher *l, struct slot *s, const struct run_result *r)
{
	uint32_t what = s->run.what;
	char how[LAUNCH_TEXT];
	struct err err;
	int rc = 0;

	how_it_ended(r, how);
	log_event(succeeded(r) ? LOG_INFO : LOG_WARN, "script.end",
	    "program=%s text=%s", log_quote(s->run.program), log_quote(how));
	if (what == RUN_BRIDGE)
		rc = end_bridge(s, r, how, &err);
	else if (what == RUN_UP && !succeeded(r))
		rc = err_set(&err, -ECHILD,
		    "network script %.90s failed: %.140s", s->run.program, how);
	else if (what == RUN_UP)
		s->tap_anew = false;
	s->run.number = 0;
	if (what != RUN_DOWN)
		answer_open(l, s, rc, &err);
	if (s->releasing && s->pid == 0)
		launcher_let_go(l, s);
}

void
scripts_heard(struct launcher *l)
{
	struct run_result r;
	unsigned i;
	ssize_t got = sys_result(recv(l->runner, &r, sizeof r, MSG_DONTWAIT));

	if (got == -EAGAIN || got == -EINTR)
		return;
	if (got == (ssize_t)sizeof r) {
		r.words[sizeof r.words - 1] = '\0';
		if (r.number == 0)
			log_event(LOG_WARN, "script.runner", "text=%s",
			    log_quote("the process that runs scripts was "
				      "killed; there is another"));
		if (r.number != 0 && r.slot < l->slots_known &&
		    l->slots[r.slot].run.number == r.number)
			ended(l, &l->slots[r.slot], &r);
		return;
	}
	log_event(LOG_ERROR, "script.fail", "text=%s",
	    log_quote("the process that runs scripts has ended"));
	fd_close(&l->runner);
	r = (struct run_result){.how = RUN_NOT_RUN, .status = EPIPE};
	for (i = 0; i < l->slots_known; i++)
		if (l->slots[i].run.number != 0)
			ended(l, &l->slots[i], &r);
}

/* --- the end of a slot
 * -------------------------------------------------------- */

static bool
start_down(struct launcher *l, struct slot *s, struct resource *r)
{
	struct run_order order;
	int rc;

	r->run = false; /* once */
	if (s->up_failed)
		return false;
	rc = order_script(&order, s,
	    r->args.path[0] != '\0' ? r->args.path : USUAL_DOWN,
	    l->quitting != 0 ? DOWN_LAST_MS : DOWN_MS);
	if (rc >= 0)
		rc = run(l, s, RUN_DOWN, &order, -1);
	if (rc < 0)
		log_event(LOG_WARN, "script.fail", "program=%s text=%s",
		    log_quote(r->args.path), log_quote(strerrordesc_np(-rc)));
	return rc >= 0;
}

bool
scripts_hold(struct launcher *l, struct slot *s)
{
	struct run_order cancel = {.cancel = 1};
	unsigned i;

	if (s->run.number != 0) {
		cancel.slot = (uint32_t)(s - l->slots);
		cancel.number = s->run.number;
		if (s->run.what != RUN_DOWN)
			(void)send_order(l, &cancel, -1);
		return true;
	}
	for (i = 0; i < LAUNCH_RESOURCES; i++) {
		struct resource *r = &s->resources[i];

		if (r->granted && r->run && start_down(l, s, r))
			return true;
	}
	return false;
}

void
scripts_last(struct launcher *l, struct slot *s, uint64_t deadline_ns)
{
	struct pollfd heard = {.fd = l->runner, .events = POLLIN};

	s->releasing = false;
	while (l->runner >= 0 && scripts_hold(l, s) &&
	       sys_mono_ns() < deadline_ns) {
		(void)poll(&heard, 1, 50);
		scripts_heard(l);
	}
}
