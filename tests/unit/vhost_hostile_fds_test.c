/*
 * vhost_hostile_fds_test.c - descriptors that a hostile front-end can pass to
 * the device role, as memory, kick and call: what is none is refused, what
 * blocks makes nobody wait.
 */
#include "tests/unit/vhost_dev_kit.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

/* --- memory --------------------------------------------------------------- */

static void
refused_table(const uint64_t *table, uint32_t size, int fd, unsigned count,
    const char *why)
{
	int fds[8], i;

	for (i = 0; i < 8; i++)
		fds[i] = fd;
	refused(NULL, VHOST_SET_MEM_TABLE, table, size, fds, count, why);
}

static void
test_memory_tables_that_cannot_be(void **state)
{
	uint64_t t[33] = {2, RAM_GPA, 0x1000, RAM_UVA, 0, RAM_GPA + 0x1000,
	    0x1000, RAM_UVA + 0x1000, 0x1000};
	int fd = memfd_create("other", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 0x2000), 0);
	refused_table(t, 72, fd, 1, "2 regions, 1 descriptors");
	refused_table(t, 72, fd, 3, "2 regions, 3 descriptors");
	refused_table(t, 40, fd, 2, "in 40 bytes");
	t[0] = 0;
	refused_table(t, 72, fd, 0, "0 regions");
	t[0] = 9;
	refused_table(t, 264, fd, 8, "9 regions");
	t[0] = UINT32_MAX;
	refused_table(t, 264, fd, 8, "4294967295 regions");
	t[0] = 0x8000001; /* 32 times that is 32 */
	refused_table(t, 72, fd, 1, "regions");
	t[0] = 2;
	t[5] = RAM_GPA + 0xfff;
	refused_table(t, 72, fd, 2, "overlaps");
	t[5] = RAM_GPA + 0x1000;
	t[7] = RAM_UVA;
	refused_table(t, 72, fd, 2, "overlaps");
	t[7] = RAM_UVA + 0x1000;
	t[8] = 0x1001;
	refused_table(t, 72, fd, 2, "beyond the file's end");
	t[8] = UINT64_MAX - 0xfff;
	refused_table(t, 72, fd, 2, "exceeds");
	t[8] = 0x1000;
	t[6] = UINT64_C(1) << 50;
	refused_table(t, 72, fd, 2, "SET_MEM_TABLE");
	t[6] = 0;
	refused_table(t, 72, fd, 2, "zero");
	t[6] = UINT64_MAX;
	refused_table(t, 72, fd, 2, "exceeds");
	fd_close(&fd);
}

/* Descriptors of all sorts; the caller closes what is not -1. */
enum { KINDS = 12 };

static void
kinds_open(int fds[KINDS])
{
	int pair[2], pipes[2], i;

	for (i = 0; i < KINDS; i++)
		fds[i] = -1;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fds[0] = pair[0];
	fds[1] = pair[1];
	fds[2] = pipes[0];
	fds[3] = pipes[1];
	fds[4] = open("/", O_RDONLY | O_CLOEXEC);
	fds[5] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	fds[6] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[7] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	fds[8] = epoll_create1(EPOLL_CLOEXEC);
	fds[9] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	fds[10] = open("/", O_PATH | O_CLOEXEC);
	fds[11] = memfd_create("memory", MFD_CLOEXEC);
}

static void
kinds_close(int fds[KINDS])
{
	int i;

	for (i = 0; i < KINDS; i++)
		fd_close(&fds[i]);
}

static void
test_memory_must_be_a_file(void **state)
{
	const uint64_t table[5] = {1, RAM_GPA, 0x1000, RAM_UVA, 0};
	int fds[KINDS], event = event_new(0), i;

	(void)state;
	kinds_open(fds);
	for (i = 0; i < KINDS; i++) {
		if (fds[i] < 0)
			continue;
		refused_table(table, 40, fds[i], 1, "region 0");
		refused(
		    NULL, VHOST_ADD_MEM_REG, table, 40, &fds[i], 1, "region");
	}
	refused_table(table, 40, event, 1, "region");
	kinds_close(fds);
	fd_close(&event);
}

static void
test_refused_table_leaves_the_old_one(void **state)
{
	const uint64_t table[9] = {2, RAM_GPA, 0x1000, RAM_UVA, 0, RAM_GPA,
	    0x1000, RAM_UVA + 0x1000, 0};
	int fds[2];

	(void)state;
	begin();
	start_pair();
	expect_sends(1);
	fds[0] = fds[1] = fx.ram_fd;
	say_fds(VHOST_SET_MEM_TABLE, 9, table, 72, fds, 2);
	assert_int_equal(hear_u64(VHOST_SET_MEM_TABLE), 1);
	assert_int_equal(fx.ends[1], 0);
	assert_int_equal(mappings(), 2);
	expect_sends(1);
	finish();
}

static void
test_memory_that_is_cut_off_ends_the_process(void **state)
{
	int status = 0;
	pid_t pid;

	(void)state;
	begin();
	start_pair();
	expect_sends(1);
	assert_int_equal(ftruncate(fx.ram_fd, 0), 0);
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGBUS, SIG_DFL);
		(void)sys_write(fx.kick[1], (uint64_t[]){1}, 8);
		kit_run(0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
	/* Not this one: it shall still let go of it. */
	assert_int_equal(ftruncate(fx.ram_fd, (off_t)RAM_BYTES), 0);
	finish();
}

/* --- kick and call -------------------------------------------------------- */

static void
test_kick_and_call_must_be_what_they_are(void **state)
{
	const uint64_t number = 1;
	int fds[KINDS], full = event_new(0), i;

	(void)state;
	assert_int_equal(sys_write(full, (uint64_t[]){UINT64_MAX - 1}, 8), 8);
	kinds_open(fds);
	for (i = 0; i < KINDS; i++) {
		if (fds[i] < 0)
			continue;
		refused(NULL, VHOST_SET_VRING_KICK, &number, 8, &fds[i], 1,
		    "no eventfd");
		/* A unix socket may be a call descriptor. */
		if (i < 2)
			continue;
		refused(NULL, VHOST_SET_VRING_CALL, &number, 8, &fds[i], 1,
		    "no eventfd");
		refused(NULL, VHOST_SET_VRING_ERR, &number, 8, &fds[i], 1,
		    "no eventfd");
		refused(NULL, VHOST_SET_BACKEND_REQ_FD, NULL, 0, &fds[i], 1,
		    "no unix stream socket");
	}
	refused(NULL, VHOST_SET_VRING_CALL, &number, 8, &full, 1, "no eventfd");
	kinds_close(fds);
	fd_close(&full);
}

static void
test_announced_and_attached_descriptors_differ(void **state)
{
	const uint64_t none = 0x101, one = 1, odd = 0x201, high = BIT(63) | 1;
	int fd = event_new(0);
	uint32_t request;

	(void)state;
	for (request = VHOST_SET_VRING_KICK; request <= VHOST_SET_VRING_ERR;
	     request++) {
		refused(NULL, request, &none, 8, &fd, 1, "1 descriptors");
		refused(NULL, request, &one, 8, NULL, 0, "0 descriptors");
		refused(NULL, request, &odd, 8, &fd, 1, "announces");
		refused(NULL, request, &high, 8, &fd, 1, "announces");
	}
	fd_close(&fd);
}

static void
test_full_call_descriptors_do_not_make_us_wait(void **state)
{
	int blocks = event_new(0), pair[2], i;

	(void)state;
	begin();
	start_pair();
	say_fd(VHOST_SET_VRING_CALL, 1, 1, blocks);
	kit_run(0);
	(void)signals(blocks);
	assert_int_equal(sys_write(blocks, (uint64_t[]){UINT64_MAX - 1}, 8), 8);
	(void)alarm(10);
	vhost_queue_call(&fx.dev.queue[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	say_fd(VHOST_SET_VRING_CALL, 1, 1, pair[1]);
	kit_run(0);
	for (i = 0; i < 100000; i++)
		vhost_queue_call(&fx.dev.queue[1]);
	fd_close(&pair[0]);
	fd_close(&pair[1]);
	vhost_queue_call(&fx.dev.queue[1]);
	(void)alarm(0);
	finish();
	fd_close(&blocks);
}

static void
test_kick_that_somebody_else_took_does_not_make_us_wait(void **state)
{
	struct watch *w;

	(void)state;
	begin();
	start_pair();
	(void)alarm(10);
	put(1, 1, 0);
	/* It blocks, and nothing is in it when its watch comes to it. */
	TAILQ_FOREACH (w, &kit_loop.watches, entry) {
		if (w->fd == fx.dev.queue[1].kick)
			w->ready(w->self, WATCH_READ);
	}
	(void)alarm(0);
	assert_int_equal(used_of(1), 1);
	finish();
}

static void
test_kick_that_is_always_readable_is_bounded(void **state)
{
	int always = eventfd(1u << 30, EFD_CLOEXEC | EFD_SEMAPHORE);
	unsigned turns;

	(void)state;
	begin();
	start_pair();
	say_fd(VHOST_SET_VRING_KICK, 1, 1, always);
	for (turns = 0; turns < 100000; turns++) {
		if (!turn_watches())
			break;
	}
	/* It was not heard any more, until later. */
	assert_true(turns < 100000);
	assert_true(timer_pending(fx.dev.queue[1].later));
	put(1, 1, 0);
	assert_true(turn_timers(UINT64_MAX));
	assert_int_equal(used_of(1), 1);
	say(VHOST_GET_FEATURES, 1, NULL, 0);
	for (turns = 0; turns < 1000; turns++)
		(void)turn_watches();
	assert_true(recv(peer, &turns, 4, MSG_DONTWAIT) == 4);
	finish();
	fd_close(&always);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_memory_tables_that_cannot_be),
	    cmocka_unit_test(test_memory_must_be_a_file),
	    cmocka_unit_test(test_refused_table_leaves_the_old_one),
	    cmocka_unit_test(test_memory_that_is_cut_off_ends_the_process),
	    cmocka_unit_test(test_kick_and_call_must_be_what_they_are),
	    cmocka_unit_test(test_announced_and_attached_descriptors_differ),
	    cmocka_unit_test(test_full_call_descriptors_do_not_make_us_wait),
	    cmocka_unit_test(
		test_kick_that_somebody_else_took_does_not_make_us_wait),
	    cmocka_unit_test(test_kick_that_is_always_readable_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
