/*
 * schemac_main.c - the schema compiler's command line.
 *
 *     schemac --out DIR --backends backends.def FILE.json...
 *
 * Writes DIR/types.h and its neighbours, and DIR/manual/. Exits 1 with one
 * line `file:line: text` on the first complaint; then nothing was written.
 *
 * Runs in: the build.
 */
#include "schema/schemac.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Each generated file begins with this. */
static const char banner[] =
    "/* Made by schemac from schema/. Not for editing. */\n";
static const char banner_mdoc[] =
    ".\\\" Made by schemac from schema/. Not for editing.\n";

static int
write_file(struct schema *s, const char *dir, const struct emit *e)
{
	const char *path = arena_format(&s->arena, "%s/%s", dir, e->file);
	struct where at = {path, 0};
	FILE *f = fopen(path, "w");
	int bad;

	if (!f)
		return schema_fail(s, at, "cannot write: %s", strerror(errno));
	fputs(strchr(e->file, '/') ? banner_mdoc : banner, f);
	e->write(f, s);
	bad = ferror(f);
	if (fclose(f) != 0 || bad)
		return schema_fail(s, at, "write failed");
	return 0;
}

static int
write_all(struct schema *s, const char *dir)
{
	size_t i;

	mkdir(dir, 0777);
	mkdir(arena_format(&s->arena, "%s/manual", dir), 0777);
	for (i = 0; i < emit_count; i++) {
		if (write_file(s, dir, &emits[i]) < 0)
			return -1;
	}
	return 0;
}

static int
run(struct schema *s, int argc, char **argv)
{
	const char *out = NULL, *built = NULL;
	struct where here = {"command line", 0};
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--out") == 0 && i + 1 < argc)
			out = argv[++i];
		else if (strcmp(argv[i], "--backends") == 0 && i + 1 < argc)
			built = argv[++i];
		else if (argv[i][0] == '-')
			return schema_fail(
			    s, here, "unknown option '%.64s'", argv[i]);
		else if (schema_add_file(s, argv[i], here) < 0)
			return -1;
	}
	if (!out || s->source_count == 0)
		return schema_fail(s, here,
		    "usage: schemac --out DIR [--backends FILE] FILE.json...");
	if (built && schema_built(s, built) < 0)
		return -1;
	if (schema_parse(s) < 0 || schema_check(s) < 0)
		return -1;
	return write_all(s, out);
}

int
main(int argc, char **argv)
{
	static struct schema s;
	int rc;

	schema_init(&s);
	rc = run(&s, argc, argv);
	if (rc < 0)
		fprintf(stderr, "%s\n", s.error);
	schema_free(&s);
	return rc < 0;
}
