/*
 * runner.c - start the operator's scripts and helpers, watch them, tell.
 *
 * Runs in: the runner and its keeper, processes forked by the launcher at its
 * start, and their children until they are the ordered program. No filter: see
 * runner.h.
 * Trusts: the launcher, its only asker. Of the programs' output it keeps the
 * end, made printable.
 *
 * A program gets an environment of its own, /dev/null as its input, a pipe
 * as output and error, a session of its own, and no other descriptor. When
 * the launcher is gone, the programs are killed and the runner ends.
 * Specification: DESIGN section 2; netdevs.md 8.4, 8.5.
 */
#include "sandbox/runner.h"

#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A look at what a program wrote takes no more than this at once. */
#define READ_BYTES 4096u
/* How long the end of a killed program may take to be seen. */
#define LOOK_MS 20
/* Before another runner is started. */
#define KEEP_MS 100

/* The runner's own numbers; all others are closed. */
#define ASKER 3

#define STARTING (-1)

struct job {
	pid_t pid; /* 0: free; STARTING: has no process yet */
	int out;   /* read end of its output, or -1 */
	uint32_t slot, number;
	uint64_t deadline_ns;
	uint64_t output; /* bytes so far */
	bool killed;
	enum run_end how; /* when killed */
	char words[RUNNER_WORDS];
	size_t words_len;
};

/* Shared with the keeper, so that the next runner knows what is lost. */
static struct job *jobs;
static pid_t self; /* the runner */

/* --- the program's side of the fork ------------------------------------ */

static void
move_fd(int from, int to)
{
	if (from == to)
		(void)fcntl(from, F_SETFD, 0);
	else
		(void)dup2(from, to);
}

_Noreturn static void
become(const struct run_order *o, int out, int given)
{
	static char *environment[] = {
	    (char *)(uintptr_t) "PATH=/usr/local/sbin:/usr/local/bin:"
				"/usr/sbin:/usr/bin:/sbin:/bin",
	    (char *)(uintptr_t) "LANG=C", NULL};
	static const int usual[] = {SIGPIPE, SIGCHLD, SIGTERM, SIGINT, SIGHUP};
	char *argv[RUNNER_ARGS + 2] = {0};
	sigset_t none;
	uint32_t i;

	(void)setsid();
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != self)
		_exit(127);
	move_fd(out, STDOUT_FILENO);
	move_fd(out, STDERR_FILENO);
	if (given >= 0)
		move_fd(given, RUNNER_FD);
	(void)close_range(given >= 0 ? RUNNER_FD + 1 : RUNNER_FD, ~0u, 0);
	for (i = 0; i < sizeof usual / sizeof *usual; i++)
		(void)signal(usual[i], SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)umask(022);
	argv[0] = (char *)(uintptr_t)o->program;
	for (i = 0; i < o->arg_count; i++)
		argv[i + 1] = (char *)(uintptr_t)o->args[i];
	(void)execve(o->program, argv, environment);
	dprintf(STDERR_FILENO, "cannot be run: %s", strerrordesc_np(errno));
	_exit(127);
}

/* --- jobs ---------------------------------------------------------------- */

static void
tell(uint32_t slot, uint32_t number, enum run_end how, int status,
    const char *words)
{
	struct run_result r = {
	    .slot = slot, .number = number, .how = how, .status = status};

	snprintf(r.words, sizeof r.words, "%s", words);
	(void)send(ASKER, &r, sizeof r, MSG_NOSIGNAL);
}

static struct job *
find(uint32_t slot, uint32_t number)
{
	unsigned i;

	for (i = 0; i < RUNNER_JOBS; i++)
		if (jobs[i].pid != 0 && jobs[i].slot == slot &&
		    jobs[i].number == number)
			return &jobs[i];
	return NULL;
}

static void
end_job(struct job *j, enum run_end why)
{
	if (j->killed)
		return;
	j->killed = true;
	j->how = why;
	/* Its session; a child that has not made it yet is alone. */
	(void)kill(-j->pid, SIGKILL);
	(void)kill(j->pid, SIGKILL);
}

static int
start(const struct run_order *o, int given, struct job *j)
{
	int out[2];
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	memset(j, 0, sizeof *j);
	j->slot = o->slot;
	j->number = o->number;
	j->pid = STARTING;
	pid = fork();
	if (pid == 0)
		become(o, out[1], given);
	j->pid = pid < 0 ? 0 : pid;
	(void)close(out[1]);
	if (pid < 0) {
		(void)close(out[0]);
		return -EAGAIN;
	}
	(void)sys_nonblock(out[0], true);
	j->out = out[0];
	j->deadline_ns =
	    sys_mono_ns() + (uint64_t)o->timeout_ms * UINT64_C(1000000);
	return 0;
}

static void
run(const struct run_order *o, int given)
{
	struct job *j = NULL;
	unsigned i;
	int rc = -EAGAIN;

	for (i = 0; i < RUNNER_JOBS && j == NULL; i++)
		if (jobs[i].pid == 0)
			j = &jobs[i];
	if (j != NULL)
		rc = start(o, given, j);
	if (rc < 0)
		tell(o->slot, o->number, RUN_NOT_RUN, -rc, "");
}

/* Keep the last bytes, one line of printable ones. */
static void
keep(struct job *j, const char *bytes, size_t count)
{
	size_t most = sizeof j->words - 1, i;

	if (count > most) {
		bytes += count - most;
		count = most;
	}
	if (j->words_len + count > most) {
		size_t gone = j->words_len + count - most;

		memmove(j->words, j->words + gone, j->words_len - gone);
		j->words_len -= gone;
	}
	for (i = 0; i < count; i++) {
		char c = bytes[i];

		j->words[j->words_len++] = c >= ' ' && c <= '~' ? c : ' ';
	}
	j->words[j->words_len] = '\0';
}

/* What it wrote so far; true: there may be more. */
static bool
hear(struct job *j)
{
	char bytes[READ_BYTES];
	ssize_t got = sys_result(read(j->out, bytes, sizeof bytes));

	if (got <= 0) {
		if (got != -EAGAIN && got != -EINTR)
			fd_close(&j->out);
		return false;
	}
	keep(j, bytes, (size_t)got);
	j->output += (uint64_t)got;
	if (j->output > RUNNER_OUTPUT)
		end_job(j, RUN_FLOOD);
	return j->output <= RUNNER_OUTPUT;
}

static void
finish(struct job *j, int status)
{
	enum run_end how = WIFEXITED(status) ? RUN_EXITED : RUN_KILLED;

	while (j->out >= 0 && hear(j))
		;
	/* Others that it left behind may hold the pipe: they write to
	 * nobody. */
	fd_close(&j->out);
	while (j->words_len > 0 && j->words[j->words_len - 1] == ' ')
		j->words[--j->words_len] = '\0';
	if (j->killed)
		how = j->how;
	tell(j->slot, j->number, how,
	    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
	    j->words);
	j->pid = 0;
}

/* Children, and what they left to us (we are their subreaper). */
static void
reap(void)
{
	int status;
	unsigned i;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (i = 0; i < RUNNER_JOBS; i++)
			if (jobs[i].pid == pid)
				finish(&jobs[i], status);
}

_Noreturn static void
leave(void)
{
	unsigned i;

	for (i = 0; i < RUNNER_JOBS; i++)
		if (jobs[i].pid != 0)
			end_job(&jobs[i], RUN_CANCELLED);
	_exit(0);
}

/* --- orders ----------------------------------------------------------------
 */

static void
take_order(void)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct run_order o = {0};
	struct iovec piece = {.iov_base = &o, .iov_len = sizeof o};
	struct msghdr head = {.msg_iov = &piece,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof control};
	ssize_t got = recvmsg(ASKER, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = CMSG_FIRSTHDR(&head);
	struct job *j;
	int given = -1;

	if (got < 0)
		return;
	if (got != sizeof o || o.arg_count > RUNNER_ARGS)
		leave();
	if (c != NULL && c->cmsg_type == SCM_RIGHTS)
		memcpy(&given, CMSG_DATA(c), sizeof given);
	if (o.cancel == 0)
		run(&o, given);
	else if ((j = find(o.slot, o.number)) != NULL)
		end_job(j, RUN_CANCELLED);
	fd_close(&given);
}

/* --- the loop ----------------------------------------------------------------
 */

static void
caught(int signo)
{
	(void)signo;
}

/* Milliseconds until something is due; ends what is late. */
static int
due_ms(void)
{
	uint64_t now = sys_mono_ns(), next = UINT64_MAX;
	unsigned i;

	for (i = 0; i < RUNNER_JOBS; i++) {
		if (jobs[i].pid == 0)
			continue;
		if (now >= jobs[i].deadline_ns)
			end_job(&jobs[i], RUN_TIMEOUT);
		if (jobs[i].killed)
			return LOOK_MS;
		if (jobs[i].deadline_ns < next)
			next = jobs[i].deadline_ns;
	}
	if (next == UINT64_MAX)
		return -1;
	return (int)((next - now) / 1000000) + 1;
}

static void
turn(const sigset_t *usual)
{
	struct pollfd polled[RUNNER_JOBS + 1];
	struct job *of[RUNNER_JOBS + 1] = {0};
	struct timespec wait;
	nfds_t count = 1, i;
	int ms = due_ms();

	polled[0] = (struct pollfd){.fd = ASKER, .events = POLLIN};
	for (i = 0; i < RUNNER_JOBS; i++) {
		if (jobs[i].pid == 0 || jobs[i].out < 0 || jobs[i].killed)
			continue;
		of[count] = &jobs[i];
		polled[count++] =
		    (struct pollfd){.fd = jobs[i].out, .events = POLLIN};
	}
	wait.tv_sec = ms / 1000;
	wait.tv_nsec = (long)(ms % 1000) * 1000000;
	/* SIGCHLD comes only here, so none is missed. */
	if (ppoll(polled, count, ms < 0 ? NULL : &wait, usual) > 0) {
		for (i = 1; i < count; i++)
			if (polled[i].revents != 0)
				(void)hear(of[i]);
		if (polled[0].revents != 0)
			take_order();
	}
	reap();
}

_Noreturn static void
serve(void)
{
	sigset_t usual, blocked;

	self = getpid();
	(void)prctl(PR_SET_NAME, "bulkhead-run");
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&usual);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &blocked, NULL);
	for (;;)
		turn(&usual);
}

/* --- the keeper ------------------------------------------------------------
 */

/* The runner was killed: end what it ran, and tell. */
static void
lose_jobs(void)
{
	unsigned i;

	for (i = 0; i < RUNNER_JOBS; i++) {
		if (jobs[i].pid == 0)
			continue;
		/* Not reaped by anybody since: the numbers are still theirs. */
		if (jobs[i].pid != STARTING) {
			(void)kill(-jobs[i].pid, SIGKILL);
			(void)kill(jobs[i].pid, SIGKILL);
		}
		tell(jobs[i].slot, jobs[i].number, RUN_LOST, 0, "");
		jobs[i].pid = 0;
	}
}

/*
 * Wait for the runner's end, and reap what earlier ones left to us. What is
 * ours now because this one has died stays until lose_jobs has killed it.
 * False: it ended as it should.
 */
static bool
runner_was_killed(pid_t runner)
{
	int status = 0;
	siginfo_t dead;

	for (;;) {
		if (waitid(P_ALL, 0, &dead, WEXITED | WNOWAIT) < 0) {
			if (errno != EINTR)
				return false;
			continue;
		}
		if (waitpid(runner, &status, WNOHANG) == runner)
			break;
		(void)waitpid(dead.si_pid, NULL, WNOHANG);
	}
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static bool
launcher_is_gone(int wait_ms)
{
	struct pollfd asker = {.fd = ASKER, .events = 0};

	return poll(&asker, 1, wait_ms) > 0;
}

/* From the launcher's process to one that has nothing of it but the pair. */
static void
leave_launcher(int asker)
{
	struct sigaction on_child = {.sa_handler = caught};
	int null_fd = open("/dev/null", O_RDWR);
	sigset_t none;

	(void)prctl(PR_SET_NAME, "bulkhead-keep");
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* A terminal's signals are for the launcher, which then orders what
	 * is to be done; SIGTERM to all of a group is the same. */
	(void)setsid();
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigaction(SIGCHLD, &on_child, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (asker != ASKER && dup3(asker, ASKER, O_CLOEXEC) < 0)
		_exit(1);
	(void)dup2(null_fd, STDIN_FILENO);
	(void)dup2(null_fd, STDOUT_FILENO);
	(void)dup2(null_fd, STDERR_FILENO);
	(void)close_range(ASKER + 1, ~0u, 0);
}

_Noreturn static void
keep_runner(int asker)
{
	int wait_ms = 0;
	pid_t pid;

	leave_launcher(asker);
	jobs = mmap(NULL, RUNNER_JOBS * sizeof *jobs, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (jobs == MAP_FAILED)
		_exit(1);
	/* One that cannot live is not tried all the time. */
	while (!launcher_is_gone(wait_ms)) {
		wait_ms = KEEP_MS;
		pid = fork();
		if (pid == 0)
			serve();
		if (pid < 0)
			continue;
		if (!runner_was_killed(pid))
			break;
		lose_jobs();
		tell(0, 0, RUN_LOST, 0, "");
	}
	_exit(0);
}

int
runner_start(void)
{
	int pair[2], rc = sys_pair(pair);
	pid_t pid;

	if (rc < 0)
		return rc;
	pid = fork();
	if (pid == 0)
		keep_runner(pair[1]);
	rc = errno;
	(void)close(pair[1]);
	if (pid < 0) {
		(void)close(pair[0]);
		return -rc;
	}
	rc = sys_nonblock(pair[0], true);
	return rc < 0 ? rc : pair[0];
}
