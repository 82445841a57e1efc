/*
 * schemac_test.c - the schema compiler as a program: what it refuses, with
 * which words, and what it makes of a small schema.
 *
 * The expected output is in schemac/small.expected beside this file; with
 * SCHEMAC_GOLDEN=write in the environment it is written anew.
 */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define HERE "tests/unit/schemac/"
#define NAME "NetClientDriver"

static char dir[64] = "/tmp/schemac_test.XXXXXX";
static char compiler[512];

/* Run schemac with these arguments; its standard error in `words`. */
static int
run(char *const argv[], char *words, size_t size)
{
	int pipe_fds[2], status = 0;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pipe_fds[1], STDERR_FILENO);
		execv(compiler, argv);
		_exit(127);
	}
	close(pipe_fds[1]);
	while ((n = read(pipe_fds[0], words + used, size - 1 - used)) > 0)
		used += (size_t)n;
	words[used] = 0;
	close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
path_in_dir(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", dir, name);
}

static void
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* What schemac says of a text, without the path in front of the line. */
static const char *
complaint(const char *text)
{
	static char words[1024];
	char json[128], out[128];
	char *argv[] = {compiler, (char[]){"--out"}, out, json, NULL};
	int rc;

	path_in_dir(json, sizeof json, "t.json");
	path_in_dir(out, sizeof out, "out");
	write_text(json, text);
	rc = run(argv, words, sizeof words);
	if (rc == 0)
		return words;
	assert_int_equal(rc, 1);
	assert_memory_equal(words, json, strlen(json));
	words[strcspn(words, "\n")] = 0;
	return words + strlen(json) + 1;
}

struct row {
	const char *text, *error;
};

static void
check_rows(const struct row *rows, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		const char *got = complaint(rows[i].text);

		if (strcmp(got, rows[i].error) != 0)
			fail_msg("%s\n got: %s\nwant: %s", rows[i].text, got,
			    rows[i].error);
	}
}

#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))

static void
test_bad_syntax_is_named_by_line(void **state)
{
	static const struct row rows[] = {
	    {"x", "1: stray word 'x'"},
	    {"\n\n\"a\"", "3: stray byte 0x22"},
	    {"[]", "1: expected '{'"},
	    {"{", "1: expected a key in quotes"},
	    {"{ 'a' }", "1: expected ':'"},
	    {"{ 'a': }", "1: expected a value"},
	    {"{ 'a': 'b' 'c' }", "1: expected ',' or '}'"},
	    {"{ 'a': ['b' }", "1: expected ',' or ']'"},
	    {"{ 'a': 'b', }", "1: expected a key in quotes"},
	    {"{ 'a': 'b', 'a': 'c' }", "1: key 'a' is there twice"},
	    {"{ 'a\n': 1 }",
		"1: string is not closed, or holds more than plain ASCII"},
	    {"{ 'a': '\xc3\xa9' }",
		"1: string is not closed, or holds more than plain ASCII"},
	    {"{ 'a': 12345678901 }", "1: stray word '12345678901'"},
	    {"{'a':[[[[[[[[[[[[[[[[[", "1: nested too deeply"},
	    {"##\n# @A: b\n", "1: doc comment has no closing ##"},
	    {"##\n##\n", "2: doc comment is empty"},
	    {"##\n# words\n##\n",
		"2: doc comment does not begin with '@name:'"},
	    {"##\n# @A\n##\n", "2: doc tag is not '@name: text'"},
	    {"##\n# @A: b\n##\n",
		"2: doc comment is not followed by a definition"},
	    {"{ 'struct':\n##\n# @A: b\n##\n 'A', 'data': {} }",
		"3: doc comment inside a definition"},
	    {"##\n# @B: b\n##\n{ 'struct': 'A', 'data': {} }",
		"2: doc comment is for 'B', definition is 'A'"},
	    {"##\n# @A: b\n# @c: d\n##\n{ 'struct': 'A', 'data': {} }",
		"3: documented member 'c' does not exist"},
	    {"{ 'pragma': { 'doc-required': true } }\n"
	     "{ 'struct': 'A', 'data': {} }",
		"2: 'A' has no doc comment"},
	    {"{ 'pragma': { 'doc-required': true } }\n"
	     "##\n# @A: a\n##\n{ 'struct': 'A',\n 'data': { 'b': 'str' } }",
		"6: member 'b' of 'A' is not documented"},
	    {"{ 'pragma': { 'x': true } }", "1: unknown pragma 'x'"},
	    {"{ 'include': '../x' }", "1: include '../x' is not beside us"},
	    {"{ 'include': ['x'] }", "1: 'include' takes a file name"},
	    {"{ 'foo': 'x' }",
		"1: a definition begins with enum, struct, union, command, "
		"event, message, backend or graph-type"},
	    {"{}", "1: a definition begins with enum, struct, union, command, "
		   "event, message, backend or graph-type"},
	};

	(void)state;
	CHECK(rows);
}

static void
test_bad_members_are_refused(void **state)
{
	static const struct row rows[] = {
	    {"{ 'struct': 'a', 'data': {} }", "1: bad type name 'a'"},
	    {"{ 'struct': 'A_b', 'data': {} }", "1: bad type name 'A_b'"},
	    {"{ 'struct': 'A' }",
		"1: either 'data' or 'counters' must be there"},
	    {"{ 'struct': 'A', 'counters': 'x' }",
		"1: 'counters' is 'lane' or 'backend'"},
	    {"{ 'struct': 'A', 'data': [] }", "1: members must be an object"},
	    {"{ 'struct': 'A', 'data': {}, 'if': 'x' }",
		"1: key 'if' is unknown here (known: struct data base "
		"counters accept-text)"},
	    {"{ 'struct': 'A', 'data': { 'B': 'str' } }",
		"1: bad member name 'B'"},
	    {"{ 'struct': 'A', 'data': { '-b': 'str' } }",
		"1: bad member name '-b'"},
	    {"{ 'struct': 'A', 'data': { 'b-': 'str' } }",
		"1: bad member name 'b-'"},
	    {"{ 'struct': 'A', 'data': { '*': 'str' } }",
		"1: bad member name ''"},
	    {"{ 'struct': 'A', 'data': { 'u': 'str' } }",
		"1: member name 'u' is taken by generated code"},
	    {"{ 'struct': 'A', 'data': { 'has-b': 'str' } }",
		"1: member name 'has-b' is taken by generated code"},
	    {"{ 'struct': 'A', 'data': { 'a-b': 'str',\n 'a_b': 'str' } }",
		"2: member 'a_b' of 'A' collides with 'a-b'"},
	    {"{ 'struct': 'A', 'data': { 'b': 'str', '*b': 'str' } }",
		"1: member 'b' of 'A' collides with 'b'"},
	    {"{ 'struct': 'A', 'data': { 'b': 'Nope' } }",
		"1: unknown type 'Nope'"},
	    {"{ 'struct': 'A', 'data': { 'b': 7 } }",
		"1: expected the name of a type, or of one in brackets"},
	    {"{ 'struct': 'A', 'data': { 'b': [['str']] } }",
		"1: expected the name of a type, or of one in brackets"},
	};

	(void)state;
	CHECK(rows);
}

static void
test_types_that_do_not_fit_together_are_refused(void **state)
{
	static const struct row rows[] = {
	    {"{ 'struct': 'A', 'data': { '*b': 'A' } }",
		"1: 'A' contains itself"},
	    {"{ 'struct': 'A', 'data': { '*b': ['B'] } }\n"
	     "{ 'struct': 'B', 'data': { 'a': 'A' } }",
		"1: 'A' contains itself"},
	    {"{ 'struct': 'A', 'base': 'B', 'data': {} }",
		"1: unknown type 'B'"},
	    {"{ 'struct': 'A', 'base': 'str', 'data': {} }",
		"1: base 'str' of 'A' is no struct"},
	    {"{ 'struct': 'B', 'data': { 'x': 'str' } }\n"
	     "{ 'struct': 'A', 'base': 'B', 'data': { 'x': 'str' } }",
		"2: member 'x' of 'A' collides with 'x'"},
	    {"{ 'struct': 'AbC', 'data': {} }\n"
	     "{ 'enum': 'Ab2C', 'data': ['x'] }\n"
	     "{ 'struct': 'Ab2c', 'data': {} }",
		"3: 'Ab2c' and 'Ab2C' have the same name in C"},
	    {"{ 'struct': 'A', 'data': { 'x': ['Bo'] } }\n"
	     "{ 'struct': 'Bo', 'data': {} }\n"
	     "{ 'struct': 'BoList', 'data': {} }",
		"3: 'BoList' and 'Bo' have the same name in C"},
	    {"{ 'enum': 'E', 'data': [] }",
		"1: enum 'E' needs a list of values as 'data'"},
	    {"{ 'enum': 'E', 'data': ['A'] }", "1: bad value in enum 'E'"},
	    {"{ 'enum': 'E', 'data': ['a',\n'a'] }",
		"2: value 'a' of 'E' collides with 'a'"},
	    {"{ 'struct': 'A', 'data': { 'b': 'B' } }\n"
	     "{ 'struct': 'B', 'data': { 'c': 'C' } }\n"
	     "{ 'struct': 'C', 'data': { 'd': 'D' } }\n"
	     "{ 'struct': 'D', 'data': { 'e': 'E' } }\n"
	     "{ 'struct': 'E', 'data': { 'f': ['F'] } }\n"
	     "{ 'struct': 'F', 'data': { 'g': 'G' } }\n"
	     "{ 'struct': 'G', 'data': { 'h': 'str' } }\n",
		"1: 'A' is nested too deeply (limit 7)"},
	};

	(void)state;
	CHECK(rows);
}

static void
test_a_second_definition_names_the_first(void **state)
{
	char json[128], want[256];

	(void)state;
	path_in_dir(json, sizeof json, "t.json");
	snprintf(want, sizeof want, "2: 'A' is already defined at %s:1", json);
	assert_string_equal(complaint("{ 'struct': 'A', 'data': {} }\n"
				      "{ 'enum': 'A', 'data': ['x'] }"),
	    want);
}

#define ENUM   "{ 'enum': 'E', 'data': ['a', 'b'] }\n"
#define STRUCT "{ 'struct': 'S', 'data': { 'x': 'str' } }\n"
#define UNION(base, tag, data)                                                 \
	ENUM STRUCT "{ 'union': 'U', 'base': " base ", 'discriminator': '" tag \
		    "',\n'data': " data " }"

static void
test_bad_unions_are_refused(void **state)
{
	static const struct row rows[] = {
	    {"{ 'union': 'U', 'data': {} }",
		"1: key 'discriminator' is missing"},
	    {"{ 'union': 'U', 'discriminator': 't', 'data': {} }",
		"1: key 'base' is missing"},
	    {UNION("{ 't': 'E' }", "z", "{}"),
		"3: discriminator 'z' of 'U' is not in its base"},
	    {UNION("{ 't': 'str' }", "t", "{}"),
		"3: discriminator 't' of 'U' is not a mandatory enum"},
	    {UNION("{ '*t': 'E' }", "t", "{}"),
		"3: discriminator 't' of 'U' is not a mandatory enum"},
	    {UNION("{ 't': ['E'] }", "t", "{}"),
		"3: discriminator 't' of 'U' is not a mandatory enum"},
	    {UNION("{ 't': 'E' }", "t", "[]"),
		"4: union 'U' needs an object as 'data'"},
	    {UNION("{ 't': 'E' }", "t", "{ 'c': 'S' }"),
		"4: branch 'c' is no value of enum 'E'"},
	    {UNION("{ 't': 'E' }", "t", "{ 'a': 'Nope' }"),
		"4: unknown type 'Nope'"},
	    {UNION("{ 't': 'E' }", "t", "{ 'a': 'str' }"),
		"4: branch 'a' must be a struct"},
	    {UNION("{ 't': 'E' }", "t", "{ 'a': ['S'] }"),
		"4: branch 'a' must name a struct"},
	    {UNION("{ 't': 'E', 'x': 'str' }", "t", "{ 'a': 'S' }"),
		"4: branch 'a' of 'U' hides base member 'x'"},
	    {"{ 'union': 'U', 'base': {}, 'discriminator': 't', "
	     "'accept-text': 1, 'data': {} }",
		"1: 'accept-text' is true or false"},
	    {"{ 'union': 'B', 'base': {}, 'discriminator': 't', "
	     "'available': 1, 'data': {} }",
		"1: 'available' is a list of branches"},
	    {UNION("{ 't': 'E' }", "t", "{ 'a': 'S' }"), ""},
	};

	(void)state;
	CHECK(rows);
}

static void
test_bad_commands_and_events_are_refused(void **state)
{
	static const struct row rows[] = {
	    {"{ 'command': 'A' }", "1: bad command name 'A'"},
	    {"{ 'command': 'a' }\n{ 'command': 'a' }",
		"2: command 'a' is already defined"},
	    {"{ 'command': 'a-b', 'data': 'S', 'boxed': true }\n" STRUCT
	     "{ 'command': 'a_b', 'data': 'S', 'boxed': true }",
		"3: 'a_b' and 'a-b' have the same name in C"},
	    {"{ 'command': 'a', 'returns': 'Nope' }", "1: unknown type 'Nope'"},
	    {"{ 'command': 'a', 'data': 'Nope' }", "1: unknown type 'Nope'"},
	    {"{ 'command': 'a', 'data': 'str' }",
		"1: 'data' of 'a' is no struct or union"},
	    {"{ 'command': 'a', 'data': {}, 'boxed': true }",
		"1: 'boxed' is true or absent, and needs a named type"},
	    {"{ 'command': 'a', 'allow-oob': 'x' }",
		"1: 'allow-oob' is true or false"},
	    {"{ 'event': 'a' }", "1: bad event name 'a'"},
	    {"{ 'event': 'A' }\n{ 'event': 'A' }",
		"2: event 'A' is already defined"},
	    {"{ 'event': 'A', 'data': 'a-args' }\n{ 'command': 'a' }",
		"1: unknown type 'a-args'"},
	};

	(void)state;
	CHECK(rows);
}

#define MESSAGE(rest) "{ 'message': 'm', " rest " }"
#define MOVES         "'from': 'broker', 'to': 'lane', "
#define SAFE          "'idempotent': true, 'data': {}"

static void
test_bad_messages_are_refused(void **state)
{
	static const struct row rows[] = {
	    {MESSAGE("'to': 'lane', " SAFE),
		"1: message without direction: key 'from' is missing"},
	    {MESSAGE("'from': 'broker', " SAFE),
		"1: message without direction: key 'to' is missing"},
	    {MESSAGE("'from': 'moon', 'to': 'lane', " SAFE),
		"1: 'from' takes broker, lane, backend, each once"},
	    {MESSAGE("'from': ['lane', 'lane'], 'to': 'broker', " SAFE),
		"1: 'from' takes broker, lane, backend, each once"},
	    {MESSAGE("'from': [], 'to': 'broker', " SAFE),
		"1: 'from' is empty"},
	    {MESSAGE("'from': 'lane', 'to': ['lane', 'broker'], " SAFE),
		"1: message 'm' goes from a role to itself"},
	    {MESSAGE(MOVES "'data': {}"),
		"1: 'idempotent' must be true or false: may 'm' be sent again "
		"after its receiver was restarted?"},
	    {MESSAGE(MOVES "'idempotent': true"), "1: key 'data' is missing"},
	    {MESSAGE(MOVES "'reply': 'n', " SAFE),
		"1: 'reply' and 'deadline-ms' belong together"},
	    {MESSAGE(MOVES "'deadline-ms': 5, " SAFE),
		"1: 'reply' and 'deadline-ms' belong together"},
	    {MESSAGE(MOVES "'deadline-ms': 0, 'reply': 'n', " SAFE),
		"1: 'deadline-ms' is a number of 1 to 600000"},
	    {MESSAGE(MOVES "'deadline-ms': 5, 'reply': 'n', " SAFE),
		"1: reply 'n' of 'm' is not defined"},
	    {MESSAGE(MOVES "'deadline-ms': 5, 'reply': 'm', " SAFE),
		"1: reply 'm' does not go back to who sent 'm'"},
	    {MESSAGE(MOVES "'fds': [], " SAFE),
		"1: 'fds' is a list of 1 to 8 names"},
	    {MESSAGE(MOVES "'fds': ['A'], " SAFE),
		"1: bad descriptor name in 'fds'"},
	    {MESSAGE(MOVES "'fds': ['a'], 'optional-fds': ['b'], " SAFE),
		"1: 'fds' and 'optional-fds' exclude each other"},
	    {MESSAGE(MOVES SAFE) "\n" MESSAGE(MOVES SAFE),
		"2: message 'm' is already defined"},
	    {MESSAGE(MOVES SAFE) "\n{ 'struct': 'A', 'data': { 'b': 'ctl-m' } "
				 "}",
		"2: unknown type 'ctl-m'"},
	};

	(void)state;
	CHECK(rows);
}

#define DRIVER                                                                 \
	"{ 'enum': '" NAME "', 'data': ['none', 'thing'] }\n"                  \
	"{ 'struct': 'T', 'data': { '*path': 'str' } }\n"                      \
	"{ 'union': 'Netdev', 'base': { 'id': 'str', 'type': '" NAME "' },\n"  \
	"'discriminator': 'type', 'data': { 'thing': 'T' } }\n"

static void
test_bad_backends_are_refused(void **state)
{
	static const struct row rows[] = {
	    {"{ 'backend': 'thing' }", "1: key 'options' is missing"},
	    {"{ 'backend': 'thing', 'options': 'T' }",
		"1: key 'network' is missing"},
	    {"{ 'backend': 'thing', 'options': 'T', 'network': 'all' }",
		"1: 'network' is 'none' or 'host'"},
	    {"{ 'backend': 'thing', 'options': 'T', 'network': 'none' }",
		"1: unknown type 'T'"},
	    {"{ 'struct': 'T', 'data': {} }\n"
	     "{ 'backend': 'thing', 'options': 'T', 'network': 'none' }",
		"2: a backend needs a union 'Netdev'"},
	    {DRIVER "{ 'backend': 'other', 'options': 'T', 'network': 'none' }",
		"5: 'Netdev' has no branch 'other' with the options 'T'"},
	    {DRIVER "{ 'backend': 'thing', 'options': 'T', 'network': 'none',"
		    "\n'opens': [ { 'kind': 'nope' } ] }",
		"6: unknown resource kind 'nope'"},
	    {DRIVER "{ 'backend': 'thing', 'options': 'T', 'network': 'none',"
		    "\n'opens': [ { 'when': 'path' } ] }",
		"6: key 'kind' is missing"},
	    {DRIVER "{ 'backend': 'thing', 'options': 'T', 'network': 'none',"
		    "\n'opens': [ { 'kind': 'fd', 'path': 'file' } ] }",
		"6: 'file' is no member of 'T'"},
	    {DRIVER "{ 'backend': 'thing', 'options': 'T', 'network': 'none',"
		    "\n'opens': { 'kind': 'fd' } }",
		"6: 'opens' is a list"},
	    {DRIVER "{ 'graph-type': 'thing', 'options': 'T' }\n"
		    "{ 'graph-type': 'thing', 'options': 'T' }",
		"6: backend 'thing' is already defined"},
	};

	(void)state;
	CHECK(rows);
}

static void
test_a_backend_of_the_build_must_be_in_the_schema(void **state)
{
	char def[128], json[128], out[128], words[512], want[256];
	char *argv[] = {compiler, (char[]){"--out"}, out,
	    (char[]){"--backends"}, def, json, NULL};

	(void)state;
	path_in_dir(def, sizeof def, "x.def");
	path_in_dir(json, sizeof json, "t.json");
	path_in_dir(out, sizeof out, "out");
	write_text(json, DRIVER);
	write_text(def, "/* comment */\nBACKEND(thing, \"\")\n");
	assert_int_equal(run(argv, words, sizeof words), 1);
	snprintf(want, sizeof want,
	    "%s:2: no 'backend' is defined for 'thing'\n", def);
	assert_string_equal(words, want);
	write_text(def, "BACKEND(thing)\n");
	assert_int_equal(run(argv, words, sizeof words), 1);
	snprintf(want, sizeof want, "%s:1: not BACKEND(type, \"link\")\n", def);
	assert_string_equal(words, want);
}

/* Everything that schemac writes, one file after the other. */
static const char *const written[] = {"types.h", "types.c", "control.h",
    "control.c", "control_broker.c", "control_lane.c", "control_backend.c",
    "commands.h", "commands.c", "backends.h", "backends.c", "schema.h",
    "schema.c", "manual/netdevs.mdoc", "manual/commands.mdoc",
    "manual/events.mdoc"};

static char *
gather(const char *out)
{
	char path[256], *all = NULL;
	size_t size = 0, i, n;
	FILE *to = open_memstream(&all, &size), *f;
	char buf[4096];

	assert_non_null(to);
	for (i = 0; i < sizeof written / sizeof *written; i++) {
		snprintf(path, sizeof path, "%s/%s", out, written[i]);
		f = fopen(path, "re");
		assert_non_null(f);
		fprintf(to, "==> %s\n", written[i]);
		while ((n = fread(buf, 1, sizeof buf, f)) > 0)
			fwrite(buf, 1, n, to);
		fclose(f);
	}
	fclose(to);
	return all;
}

static char *
read_text(const char *path)
{
	char *text = calloc(1, 1 << 18);
	FILE *f = fopen(path, "re");

	assert_non_null(text);
	assert_non_null(f);
	assert_true(fread(text, 1, (1 << 18) - 1, f) > 0);
	fclose(f);
	return text;
}

static void
test_a_small_schema_becomes_what_it_always_became(void **state)
{
	const char *golden = getenv("SCHEMAC_GOLDEN");
	char out[128], words[1024], *got, *want;
	char *argv[] = {compiler, (char[]){"--out"}, out,
	    (char[]){"--backends"}, (char[]){HERE "small.def"},
	    (char[]){HERE "small.json"}, NULL};

	(void)state;
	path_in_dir(out, sizeof out, "small");
	if (run(argv, words, sizeof words) != 0)
		fail_msg("%s", words);
	got = gather(out);
	if (golden && strcmp(golden, "write") == 0)
		write_text(HERE "small.expected", got);
	want = read_text(HERE "small.expected");
	assert_string_equal(got, want);
	free(got);
	free(want);
}

static int
set_up(void **state)
{
	char self[400] = "";
	const char *slash;

	(void)state;
	if (!mkdtemp(dir) || readlink("/proc/self/exe", self, 399) < 0)
		return -1;
	slash = strrchr(self, '/');
	snprintf(compiler, sizeof compiler, "%.*s/../schemac",
	    slash ? (int)(slash - self) : 0, self);
	return access(compiler, X_OK);
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *where)
{
	(void)st;
	(void)flag;
	(void)where;
	return remove(path);
}

static int
tear_down(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bad_syntax_is_named_by_line),
	    cmocka_unit_test(test_bad_members_are_refused),
	    cmocka_unit_test(test_types_that_do_not_fit_together_are_refused),
	    cmocka_unit_test(test_a_second_definition_names_the_first),
	    cmocka_unit_test(test_bad_unions_are_refused),
	    cmocka_unit_test(test_bad_commands_and_events_are_refused),
	    cmocka_unit_test(test_bad_messages_are_refused),
	    cmocka_unit_test(test_bad_backends_are_refused),
	    cmocka_unit_test(test_a_backend_of_the_build_must_be_in_the_schema),
	    cmocka_unit_test(test_a_small_schema_becomes_what_it_always_became),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
