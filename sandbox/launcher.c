/*
 * launcher.c - the table of processes, the loop, deaths and the end.
 *
 * Runs in: launcher. Trusts: the kernel, and its own command line.
 * Specification: DESIGN sections 1 and 7; pidfd_open(2), waitid(2).
 */
#include "sandbox/launcher.h"

#include "gen/backends.h"
#include "proto/sys.h"
#include "sandbox/confine.h"
#include "sandbox/runner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* From the first SIGTERM to the last SIGKILL. */
#define WIND_DOWN_NS UINT64_C(3000000000)
/* How long the killed may take to be gone. */
#define REAP_NS UINT64_C(1000000000)
/* Messages of a dead process that are still read: READY, FAILED, FAILED. */
#define LAST_MESSAGES 3

/* What an event of the loop is about: kind in the high half, slot below. */
enum { ABOUT_CHAN, ABOUT_END, ABOUT_SIGNAL, ABOUT_RESOLVER, ABOUT_RUNNER };
#define ABOUT(kind, slot) ((uint64_t)(kind) << 32 | (slot))

/* The rest is zero: the table is static. */
static void
init_slot(struct slot *s)
{
	unsigned i;

	s->pidfd = s->chan = s->control = -1;
	s->own_mem = s->peer_mem = s->lane_bell = s->run.sock = -1;
	for (i = 0; i < LAUNCH_RESOURCES; i++)
		s->resources[i].fd = -1;
}

void
launcher_init(struct launcher *l)
{
	l->epoll = l->signals = l->null_fd = l->start_dir = -1;
	l->run_dir = l->libexec_dir = l->resolver_dir = -1;
	l->resolver_watch = l->pidfile = l->up_pipe = -1;
	l->log_sink = l->start_err = l->runner = -1;
	l->log_fd = STDERR_FILENO;
	(void)launcher_slot(l, 0);
}

struct slot *
launcher_slot(struct launcher *l, unsigned slot)
{
	BUG_ON(slot >= LAUNCH_SLOTS);
	while (l->slots_known <= slot)
		init_slot(&l->slots[l->slots_known++]);
	return &l->slots[slot];
}

const char *
launcher_role_name(uint32_t role)
{
	if (role == ROLE_BROKER)
		return "broker";
	if (role == ROLE_LANE)
		return "lane";
	if (role == ROLE_RESOLVE)
		return "resolve";
	if (role >= ROLE_BACKEND && role - ROLE_BACKEND < backend_entry_count)
		return backend_entries[role - ROLE_BACKEND].type;
	return "-";
}

static int
watch(struct launcher *l, int fd, uint64_t about)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = about};

	return (int)sys_result(epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &event));
}

static void
unwatch(struct launcher *l, int *fd)
{
	if (*fd >= 0)
		(void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, *fd, NULL);
	fd_close(fd);
}

int
launcher_watch(struct launcher *l, unsigned slot)
{
	struct slot *s = &l->slots[slot];
	int rc = watch(l, s->chan, ABOUT(ABOUT_CHAN, slot));

	return rc < 0 ? rc : watch(l, s->pidfd, ABOUT(ABOUT_END, slot));
}

int
launcher_watch_resolver(struct launcher *l)
{
	return watch(l, l->resolver_watch, ABOUT(ABOUT_RESOLVER, 0));
}

/* --- ends ------------------------------------------------------------- */

void
launcher_kill(struct slot *s)
{
	if (s->pid != 0 && s->pidfd >= 0)
		(void)syscall(
		    __NR_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
	s->doomed = true;
}

void
launcher_fault(struct launcher *l, struct slot *s, const char *reason)
{
	log_event(LOG_WARN, "process.fault", "id=%s role=%s epoch=%u reason=%s",
	    log_quote(s->id), launcher_role_name(s->role), s->epoch,
	    log_quote(reason));
	if (s->words[0] == '\0')
		snprintf(s->words, sizeof s->words, "killed: %s", reason);
	launcher_kill(s);
	unwatch(l, &s->chan);
}

void
launcher_hang_up(struct launcher *l, struct slot *s)
{
	/* It is ending, and this changes nothing; or it went deaf. */
	if (s->pid != 0)
		(void)syscall(
		    __NR_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
	unwatch(l, &s->chan);
}

void
launcher_release(struct launcher *l, struct slot *s)
{
	unsigned i;

	opener_give_back(l, s);
	for (i = 0; i < LAUNCH_RESOURCES; i++)
		opener_close(l, &s->resources[i]);
	s->lived = s->up_failed = s->tap_anew = false;
	s->lent_to = 0;
	s->run.number = 0;
	fd_close_foreign(&s->run.sock);
	fd_close(&s->control);
	fd_close(&s->own_mem);
	fd_close(&s->peer_mem);
	fd_close(&s->lane_bell);
	s->releasing = false;
}

void
launcher_let_go(struct launcher *l, struct slot *s)
{
	s->releasing = true;
	if (scripts_hold(l, s))
		return;
	launcher_release(l, s);
	launcher_note(l, s, TELL_RELEASED);
}

/*
 * How it ended. Process 1 of a pid namespace has no SIGABRT of its own: its
 * catcher (confine.c) exits with 128 + SIGABRT instead.
 */
static void
write_end(struct slot *s, const siginfo_t *end)
{
	struct launch_result *r = &s->exited;

	memset(r, 0, sizeof *r);
	r->pid = s->pid;
	r->epoch = s->epoch;
	r->uid = s->uid;
	r->wait_code = end->si_code;
	r->wait_status = end->si_status;
	if (end->si_code == CLD_EXITED && end->si_status == 128 + SIGABRT) {
		r->wait_code = CLD_KILLED;
		r->wait_status = SIGABRT;
	}
	r->ran_ns = sys_mono_ns() - s->started_ns;
	r->stage = s->words_stage;
	memcpy(r->text, s->words, sizeof s->words);
}

/* One line for the dead. */
static void
obituary(const struct slot *s)
{
	const struct launch_result *r = &s->exited;
	bool exited = r->wait_code == CLD_EXITED;
	bool usual = s->doomed || (exited && r->wait_status == 0);

	log_event(usual ? LOG_INFO : LOG_WARN, "process.exit",
	    "id=%s role=%s epoch=%u cause=%s:%d ran_ms=%llu words=%s",
	    log_quote(s->id), launcher_role_name(s->role), s->epoch,
	    exited ? "exit" : "signal", r->wait_status,
	    (unsigned long long)(r->ran_ns / 1000000), log_quote(s->words));
}

/* The process of a slot has ended. */
static void
reap(struct launcher *l, struct slot *s)
{
	siginfo_t end;
	unsigned i;

	memset(&end, 0, sizeof end);
	if (waitid(P_PIDFD, (id_t)s->pidfd, &end, WEXITED | WNOHANG) < 0 ||
	    end.si_pid == 0)
		return;
	for (i = 0; i < LAST_MESSAGES && s->chan >= 0 && s != l->slots; i++)
		request_receive(l, s);
	write_end(s, &end);
	obituary(s);
	s->pid = 0;
	unwatch(l, &s->pidfd);
	unwatch(l, &s->chan);
	fd_close(&s->control);
	if (s == l->slots) {
		/* No broker to tell. Its replacement is not in this build. */
		if (l->quitting < 2)
			launcher_quit(l, 1);
		return;
	}
	launcher_note(l, s, TELL_EXITED);
	if (s->releasing)
		launcher_let_go(l, s);
}

void
launcher_quit(struct launcher *l, int code)
{
	unsigned i;

	l->quitting = 2;
	l->exit_code = code;
	for (i = 0; i < l->slots_known; i++)
		if (l->slots[i].pid != 0)
			launcher_kill(&l->slots[i]);
}

/* Wait, not for ever, until the killed are gone; then tidy up. */
static void
end_all(struct launcher *l)
{
	uint64_t deadline_ns = sys_mono_ns() + REAP_NS;
	siginfo_t end;
	unsigned i;

	for (i = 0; i < l->slots_known; i++) {
		struct slot *s = &l->slots[i];

		while (s->pid != 0 && sys_mono_ns() < deadline_ns) {
			if (waitid(P_PIDFD, (id_t)s->pidfd, &end,
				WEXITED | WNOHANG) < 0 ||
			    end.si_pid != 0)
				s->pid = 0;
			else
				(void)usleep(1000);
		}
		scripts_last(l, s, deadline_ns);
		launcher_release(l, s);
	}
	notify_gone(l);
}

/* --- signals ---------------------------------------------------------- */

static void
tell_signal(struct launcher *l, int signo)
{
	struct launch_msg msg;

	memset(&msg, 0, sizeof msg);
	msg.magic = LAUNCH_MAGIC;
	msg.type = LAUNCH_SIGNALLED;
	msg.result.code = signo;
	/* A broker that has not read its last ninety messages is not asked:
	 * the deadline runs. */
	if (!l->answer_waits)
		launcher_answer(l, &msg, NULL, 0);
}

static void
signalled(struct launcher *l)
{
	struct signalfd_siginfo got;

	if (read(l->signals, &got, sizeof got) != sizeof got)
		return;
	if (got.ssi_signo == SIGHUP) {
		log_event(LOG_WARN, "launcher.signal", "signal=HUP text=%s",
		    log_quote("ignored: cannot reload in this build"));
		return;
	}
	log_event(LOG_INFO, "launcher.signal", "signal=%s",
	    sigabbrev_np((int)got.ssi_signo));
	if (l->quitting != 0) {
		launcher_quit(l, 1);
		return;
	}
	notify_state("STOPPING=1");
	l->quitting = 1;
	l->deadline_ns = sys_mono_ns() + WIND_DOWN_NS;
	tell_signal(l, (int)got.ssi_signo);
}

static int
open_loop(struct launcher *l)
{
	sigset_t ours;
	int rc;

	sigemptyset(&ours);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &ours, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	l->epoll = rc = (int)sys_result(epoll_create1(EPOLL_CLOEXEC));
	if (rc >= 0)
		l->signals = rc = (int)sys_result(
		    signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
	return rc < 0 ? rc : watch(l, l->signals, ABOUT(ABOUT_SIGNAL, 0));
}

static int
wait_ms(const struct launcher *l)
{
	uint64_t now;

	if (l->deadline_ns == 0)
		return -1;
	now = sys_mono_ns();
	if (now >= l->deadline_ns)
		return 0;
	return (int)((l->deadline_ns - now) / 1000000) + 1;
}

static void
turn(struct launcher *l)
{
	struct epoll_event event;
	unsigned slot;
	int got;

	/* One at a time: an event may end what another one is about. */
	got = (int)sys_result(epoll_wait(l->epoll, &event, 1, wait_ms(l)));
	if (got == 0 && wait_ms(l) == 0) {
		log_event(LOG_WARN, "launcher.timeout", "text=%s",
		    log_quote("the broker did not wind down"));
		launcher_quit(l, 1);
	}
	if (got != 1)
		return;
	slot = (uint32_t)event.data.u64;
	switch (event.data.u64 >> 32) {
	case ABOUT_CHAN:
		if (event.events & (EPOLLIN | EPOLLHUP))
			request_receive(l, &l->slots[slot]);
		break;
	case ABOUT_END:
		reap(l, &l->slots[slot]);
		break;
	case ABOUT_SIGNAL:
		signalled(l);
		break;
	case ABOUT_RESOLVER:
		resolver_changed(l);
		break;
	case ABOUT_RUNNER:
		scripts_heard(l);
		break;
	}
}

int
launcher_run(struct launcher *l)
{
	static const struct launch_spawn broker = {
	    .role = ROLE_BROKER, .id = "-"};
	struct err err;
	int rc;

	/* Before the filter, which would be theirs too. */
	l->runner = rc = runner_start();
	if (rc >= 0)
		rc = open_loop(l);
	if (rc >= 0)
		rc = watch(l, l->runner, ABOUT(ABOUT_RUNNER, 0));
	if (rc >= 0)
		rc = filter_launcher(l);
	if (rc < 0) {
		(void)err_set(&err, rc, "%s", strerrordesc_np(-rc));
		goto out;
	}
	rc = spawn_child(l, 0, &broker, &err);
	if (rc < 0)
		goto out;
	while (l->quitting < 2) {
		turn(l);
		launcher_flush(l);
	}
	end_all(l);
	return l->exit_code;
out:
	log_event(LOG_ERROR, "launcher.fail", "text=%s", log_quote(err.text));
	return 1;
}
