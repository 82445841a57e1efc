/*
 * lane_arena_test.c - a lane's arena: viewers get references and the others
 * copies, nothing that somebody needs changes, and who may not see everything
 * any more sees nothing more.
 */
#include <stdio.h>

#include "tests/unit/lane_kit.h"

#include "broker/lane_filter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG 1514u
#define HALF 10u /* long frames that the lane takes as one batch: 11 */

static struct {
	int fd;
	uint64_t bytes;
	void *base;
	struct ring_arenas views;
} arena;

static uint32_t last_serial;

/* A memory of so many chunks, in the pens' hands. */
static void
make_arena(uint32_t chunks)
{
	arena.bytes = (uint64_t)chunks * ARENA_CHUNK_BYTES;
	assert_int_equal(sys_memfd("arena", arena.bytes, &arena.fd), 0);
	assert_int_equal(sys_map(arena.fd, arena.bytes, false, &arena.base), 0);
	arena.views.view[0] = (struct ring_arena){
	    .base = arena.base, .bytes = arena.bytes, .serial = ++last_serial};
}

static void
view(uint32_t id)
{
	pens[id].rx.arenas = &arena.views;
	lane_arena_view(lane, last_serial, id, pens[id].epoch);
}

/* The pens of the map, of which the first `viewers` have an arena. */
static void
start(const char *map, uint32_t chunks, uint32_t viewers)
{
	kit_start(map);
	make_arena(chunks);
	assert_int_equal(
	    lane_arena_begin(lane, last_serial, arena.bytes, dup(arena.fd)), 0);
	for (uint32_t id = 0; id < viewers; id++)
		view(id);
}

static void
end(void)
{
	kit_end();
	sys_unmap(ptr_take(arena.base), arena.bytes);
	fd_close(&arena.fd);
	meta_every = 0;
}

static uint64_t
blocks(void)
{
	struct stat st;

	assert_int_equal(fstat(arena.fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void
test_viewers_get_references_and_others_copies(void **state)
{
	(void)state;
	start("aaaaa", 8, 4);
	pen_send(0, 100, LONG);
	kit_run();
	for (uint32_t id = 1; id < 5; id++) {
		assert_int_equal(count(id, LC_RX_FRAMES), 100);
		assert_int_equal(count(id, LC_RX_BYTES), 100 * LONG);
		assert_int_equal(pen_take(id, 200), 100);
	}
	assert_in_range(count(1, LC_RX_SHARED), 95, 100);
	assert_int_equal(count(3, LC_RX_SHARED), count(1, LC_RX_SHARED));
	assert_int_equal(count(4, LC_RX_SHARED), 0);
	/* The source hears nothing of its own; others may be sources, too. */
	assert_int_equal(pen_take(0, 10), 0);
	pen_send(4, 50, 200);
	kit_run();
	assert_int_equal(pen_take(0, 100), 50);
	assert_int_equal(pen_take(3, 100), 50);
	end();
}

static void
test_they_stand_in_the_format_of_streams(void **state)
{
	const uint8_t *at;
	uint32_t word;

	(void)state;
	start("aaaaa", 8, 5);
	pen_send(0, HALF, LONG);
	kit_run();
	at = (const uint8_t *)arena.base + 7 * ARENA_CHUNK_BYTES;
	if (blocks() > 0 && at[0] == 0 && at[2] == 0)
		at = arena.base;
	for (unsigned i = 0; i < HALF; i++, at += 4 + LONG) {
		memcpy(&word, at, 4);
		assert_int_equal(__builtin_bswap32(word), LONG);
		assert_int_equal(at[4], 2); /* the frame's first byte */
	}
	end();
}

static void
test_little_is_copied(void **state)
{
	(void)state;
	start("aaaaa", 8, 5);
	pen_send(0, 2, LONG);
	kit_run();
	pen_send(0, 20, 60);
	kit_run();
	assert_int_equal(count(1, LC_RX_SHARED), 0);
	assert_int_equal(pen_take(1, 100), 22);
	assert_int_equal(blocks(), 0);
	end();
}

static void
test_for_few_it_does_not_pay(void **state)
{
	(void)state;
	start("aaaaa", 8, 2);
	pen_send(0, HALF, LONG);
	kit_run();
	assert_int_equal(count(1, LC_RX_SHARED), 0);
	assert_int_equal(pen_take(1, 100), HALF);
	view(2);
	pen_send(0, HALF, LONG);
	kit_run();
	assert_int_equal(count(1, LC_RX_SHARED), HALF);
	assert_int_equal(pen_take(1, 100), HALF);
	end();
}

static void
test_metadata_goes_by_copy_in_its_place(void **state)
{
	(void)state;
	start("aaaaa", 8, 5);
	meta_every = 3;
	pen_send(0, 60, LONG);
	kit_run();
	for (uint32_t id = 1; id < 5; id++)
		assert_int_equal(pen_take(id, 100), 60);
	assert_in_range(count(1, LC_RX_SHARED), 30, 40);
	end();
}

static void
test_chunks_are_used_again_and_their_pages_given_back(void **state)
{
	(void)state;
	start("aaaaa", 3, 5);
	for (unsigned round = 0; round < 300; round++) {
		pen_send(0, HALF, LONG);
		kit_run();
		for (uint32_t id = 1; id < 5; id++)
			assert_int_equal(pen_take(id, 100), HALF);
		assert_true(blocks() <= 2 * ARENA_CHUNK_BYTES);
	}
	assert_int_equal(count(1, LC_RX_SHARED), 300 * HALF);
	end();
}

/* What a socket's buffer holds is what was sent, whatever comes later. */
static void
test_a_page_that_somebody_has_stays_as_it_is(void **state)
{
	uint8_t before[4096], after[4096];
	off_t at = 0;
	int ends[2];

	(void)state;
	start("aaaaa", 1, 5);
	pen_send(0, HALF, LONG);
	kit_run();
	memcpy(before, arena.base, sizeof before);
	assert_int_equal(before[4], 2);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(splice(arena.fd, &at, ends[1], NULL, 4096, 0), 4096);
	for (unsigned round = 0; round < 200; round++) {
		for (uint32_t id = 1; id < 5; id++)
			pen_take(id, 100);
		pen_send(0, HALF, LONG);
		kit_run();
	}
	assert_true(count(1, LC_RX_SHARED) > 1000);
	assert_memory_not_equal(before, arena.base, sizeof before);
	assert_int_equal(read(ends[0], after, sizeof after), 4096);
	assert_memory_equal(before, after, sizeof before);
	close(ends[0]);
	close(ends[1]);
	end();
}

static void
test_who_is_behind_gets_copies_until_it_has_read_all(void **state)
{
	uint64_t behind;

	(void)state;
	start("aaaaa", 40, 5);
	/* Pen 4 reads nothing. */
	for (unsigned round = 0; round < 80; round++) {
		pen_send(0, HALF, LONG);
		kit_run();
		for (uint32_t id = 1; id < 4; id++)
			assert_int_equal(pen_take(id, 100), HALF);
	}
	behind = count(4, LC_RX_SHARED);
	assert_in_range(behind, 1, ARENA_VIEWER_CHUNKS * 175);
	assert_true(count(4, LC_RX_FRAMES) > behind);
	assert_int_equal(count(1, LC_RX_SHARED), 800);
	assert_true(blocks() <= (ARENA_VIEWER_CHUNKS + 2) * ARENA_CHUNK_BYTES);
	/* One frame is left: still behind. */
	assert_int_equal(pen_take(4, 799), 799);
	pen_send(0, HALF, LONG);
	kit_run();
	assert_int_equal(count(4, LC_RX_SHARED), behind);
	assert_int_equal(pen_take(4, 999), 1 + HALF);
	pen_send(0, HALF, LONG);
	kit_run();
	assert_int_equal(count(4, LC_RX_SHARED), behind + HALF);
	assert_int_equal(pen_take(4, 999), HALF);
	end();
}

static void
test_without_a_free_chunk_all_get_copies(void **state)
{
	(void)state;
	start("aaaaa", 1, 5);
	for (unsigned round = 0; round < 30; round++) {
		pen_send(0, HALF, LONG);
		kit_run();
		for (uint32_t id = 1; id < 4; id++)
			assert_int_equal(pen_take(id, 100), HALF);
	}
	assert_in_range(count(1, LC_RX_SHARED), 150, 180);
	assert_int_equal(pen_take(4, 999), 300);
	pen_send(0, HALF, LONG);
	kit_run();
	assert_in_range(count(1, LC_RX_SHARED), 160, 190);
	end();
}

/* What was not read before can be read after, and nothing is written. */
static void
expect_left(uint32_t reader)
{
	uint64_t shared = count(reader, LC_RX_SHARED);
	uint8_t *copy = malloc(arena.bytes);

	assert_non_null(copy);
	assert_true(shared > 0);
	assert_int_equal(lane->arena.serial, 0);
	memcpy(copy, arena.base, arena.bytes);
	for (unsigned round = 0; round < 10; round++) {
		pen_send(0, HALF, LONG);
		kit_run();
		pen_take(reader, 1000);
	}
	assert_int_equal(count(reader, LC_RX_SHARED), shared);
	assert_memory_equal(copy, arena.base, arena.bytes);
	assert_true(pens[reader].got[0] == 11 * HALF);
	free(copy);
}

/* It may be long until all have let go of it. */
static void
test_what_was_read_is_given_back_at_the_end(void **state)
{
	(void)state;
	start("aaaaa", 8, 5);
	for (unsigned round = 0; round < 40; round++) {
		pen_send(0, HALF, LONG);
		kit_run();
		for (uint32_t id = 1; id < 5; id++)
			pen_take(id, round < 39 || id < 4 ? 100 : 3);
	}
	assert_true(blocks() > 0);
	kit_plan("aaaaa");
	assert_in_range(blocks(), 1, ARENA_CHUNK_BYTES);
	assert_int_equal(pen_take(4, 100), HALF - 3);
	kit_end();
	kit_start("a");
	assert_in_range(blocks(), 1, ARENA_CHUNK_BYTES);
	end();
	start("aaaaa", 8, 5);
	pen_send(0, 100, LONG);
	kit_run();
	for (uint32_t id = 1; id < 5; id++)
		pen_take(id, 1000);
	assert_true(blocks() > 0);
	kit_plan("aaaaa");
	assert_int_equal(blocks(), 0);
	end();
}

static void
test_a_plan_ends_it(void **state)
{
	(void)state;
	start("aaaaa", 2, 5);
	pen_send(0, HALF, LONG);
	kit_run();
	kit_plan("aaaaA");
	expect_left(1);
	/* Late words about it change nothing. */
	lane_arena_view(lane, last_serial, 1, pens[1].epoch);
	assert_false(port(1)->viewer.on);
	end();
}

static void
test_a_viewers_filter_ends_it(void **state)
{
	struct rx_filter f = {.known = true};

	(void)state;
	start("aaaaaa", 2, 5);
	pen_send(0, HALF, LONG);
	kit_run();
	/* Who does not view it may want what it wants. */
	lane_filter_set(lane, 5, pens[5].epoch, &f);
	assert_true(lane->arena.serial != 0);
	lane_filter_set(lane, 4, pens[4].epoch, &f);
	expect_left(1);
	end();
}

static void
test_the_end_of_a_viewer_ends_it(void **state)
{
	uint64_t counters[LC_COUNT];

	(void)state;
	start("aaaaa", 2, 5);
	pen_send(0, HALF, LONG);
	kit_run();
	lane_detach(lane, 4, pens[4].epoch, true, counters);
	/* What it had not read is lost, and counted. */
	assert_int_equal(counters[LC_RX_DROP_DEAD], HALF);
	assert_int_equal(counters[LC_RX_FRAMES], 0);
	expect_left(1);
	end();
}

static void
test_a_lie_of_a_viewer_ends_it(void **state)
{
	(void)state;
	start("aaaaa", 2, 5);
	pen_send(0, HALF, LONG);
	kit_run();
	pens[4].p_mem->cons = pens[4].rx.prod + 4096;
	bell_ring(pens[4].bell);
	kit_run();
	assert_int_equal(faults, 1);
	assert_int_equal(fault_port, 4);
	expect_left(1);
	end();
}

/* In the middle of a flood: those after it get copies. */
static void
test_a_lie_in_a_flood(void **state)
{
	(void)state;
	start("aaaaa", 2, 5);
	for (unsigned round = 0; round < 40; round++) {
		if (round == 20)
			pens[2].p_mem->cons = pens[2].rx.prod + (1u << 30);
		pen_send(0, HALF, LONG);
		kit_run();
		for (uint32_t id = 1; id < 5; id++)
			if (id != 2)
				assert_int_equal(pen_take(id, 1000), HALF);
	}
	assert_int_equal(fault_port, 2);
	assert_int_equal(lane->arena.serial, 0);
	end();
}

/* Its batch is in its memory: it goes on as far as it does. */
static void
test_a_lie_of_the_source(void **state)
{
	(void)state;
	start("aaaaa", 2, 5);
	for (unsigned round = 0; round < 40; round++) {
		pen_send(0, HALF, LONG);
		lane_bell(lane, port(0));
		pens[0].p_mem->cons = 4096;
		lane_turn(lane);
		pens[0].p_mem->cons = 0;
		for (uint32_t id = 1; id < 5; id++)
			assert_int_equal(pen_take(id, 1000), HALF);
	}
	assert_int_equal(faults, 0);
	assert_true(count(1, LC_RX_SHARED) > 0);
	pens[0].p_mem->cons = 4096;
	bell_ring(pens[0].bell);
	kit_run();
	assert_int_equal(faults, 1);
	assert_int_equal(fault_port, 0);
	end();
}

static void
test_only_who_gets_everything_may_view(void **state)
{
	struct rx_filter f = {.known = true};

	(void)state;
	start("aaaab!a!A", 2, 0);
	lane_filter_set(lane, 3, pens[3].epoch, &f);
	view(1);
	view(2);
	view(3); /* filter */
	view(4); /* another group */
	view(5); /* drops */
	view(6); /* down */
	lane_arena_view(lane, last_serial + 1, 0, pens[0].epoch);
	assert_false(port(0)->viewer.on);
	lane_arena_view(lane, last_serial, 0, pens[0].epoch + 1);
	assert_false(port(0)->viewer.on);
	lane_arena_view(lane, last_serial, 77, 1);
	assert_true(port(1)->viewer.on);
	assert_true(port(2)->viewer.on);
	for (uint32_t id = 3; id < 7; id++)
		assert_false(port(id)->viewer.on);
	assert_int_equal(lane->arena.viewers, 2);
	view(1);
	assert_int_equal(lane->arena.viewers, 2);
	end();
}

static void
test_a_memory_must_be_what_is_said(void **state)
{
	(void)state;
	start("aaaaa", 2, 5);
	assert_int_equal(
	    lane_arena_begin(lane, 9, arena.bytes * 2, dup(arena.fd)), -EINVAL);
	assert_int_equal(lane->arena.serial, 0);
	assert_int_equal(
	    lane_arena_begin(lane, 9, 4096, dup(arena.fd)), -EINVAL);
	assert_int_equal(
	    lane_arena_begin(lane, 0, arena.bytes, dup(arena.fd)), -EINVAL);
	assert_int_equal(
	    lane_arena_begin(lane, 9, arena.bytes, dup(pens[0].bell)), -EINVAL);
	end();
}

static void
test_what_cannot_be_written_is_copied(void **state)
{
	int fd;

	(void)state;
	start("aaaaa", 2, 0);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	view(1);
	view(2);
	view(3);
	/* As if the memory were full. */
	close(lane->arena.fd);
	lane->arena.fd = fd;
	pen_send(0, HALF, LONG);
	kit_run();
	assert_int_equal(pen_take(1, 100), HALF);
	assert_int_equal(pen_take(2, 100), HALF);
	assert_int_equal(count(1, LC_RX_SHARED), 0);
	assert_int_equal(lane->arena.serial, 0);
	end();
}

/* Senders, slow and fast readers, plans: every frame once, in order, whole. */
static void
test_random_stories(void **state)
{
	static const uint32_t lens[] = {32, 60, 300, LONG, LONG, 9000};

	(void)state;
	for (unsigned seed = 1; seed <= 40; seed++) {
		srand(seed);
		start("aaaaaa", 1 + (uint32_t)rand() % 6, 6);
		meta_every = (unsigned)rand() % 2 * 7;
		for (unsigned step = 0; step < 400; step++) {
			uint32_t id = (uint32_t)rand() % 6;
			uint32_t len = lens[rand() % 6];

			for (int n = rand() % 40; n > 0; n--)
				(void)pen_put(id, len);
			pen_flush(id);
			kit_run();
			id = (uint32_t)rand() % 6;
			pen_take(id, (unsigned)rand() % 200);
			/* Patience comes back, or goes. */
			clock_ns += (uint64_t)rand() % 2000000;
			if (rand() % 200 == 0)
				kit_plan("aaaaaa");
		}
		for (uint32_t id = 0; id < 6; id++) {
			struct port *p = port(id);

			kit_run();
			while (pen_take(id, 1000) > 0)
				kit_run();
			assert_int_equal(pens[id].got[(id + 1) % 6] > 0, 1);
			assert_true(p->attached);
		}
		assert_int_equal(faults, 0);
		end();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_viewers_get_references_and_others_copies),
	    cmocka_unit_test(test_they_stand_in_the_format_of_streams),
	    cmocka_unit_test(test_little_is_copied),
	    cmocka_unit_test(test_for_few_it_does_not_pay),
	    cmocka_unit_test(test_metadata_goes_by_copy_in_its_place),
	    cmocka_unit_test(
		test_chunks_are_used_again_and_their_pages_given_back),
	    cmocka_unit_test(test_a_page_that_somebody_has_stays_as_it_is),
	    cmocka_unit_test(
		test_who_is_behind_gets_copies_until_it_has_read_all),
	    cmocka_unit_test(test_without_a_free_chunk_all_get_copies),
	    cmocka_unit_test(test_what_was_read_is_given_back_at_the_end),
	    cmocka_unit_test(test_a_plan_ends_it),
	    cmocka_unit_test(test_a_viewers_filter_ends_it),
	    cmocka_unit_test(test_the_end_of_a_viewer_ends_it),
	    cmocka_unit_test(test_a_lie_of_a_viewer_ends_it),
	    cmocka_unit_test(test_a_lie_in_a_flood),
	    cmocka_unit_test(test_a_lie_of_the_source),
	    cmocka_unit_test(test_only_who_gets_everything_may_view),
	    cmocka_unit_test(test_a_memory_must_be_what_is_said),
	    cmocka_unit_test(test_what_cannot_be_written_is_copied),
	    cmocka_unit_test(test_random_stories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
