/*
 * emit_commands.c - gen/commands.[ch] (QMP commands and events) and
 * gen/backends.[ch] (backend types of this build).
 *
 * Runs in: the build, after the schema was checked.
 */
#include "schema/schemac.h"

#include <string.h>

/* emit_commands_h - handlers to be written, tables, event ids. */
void
emit_commands_h(FILE *f, struct schema *s)
{
	size_t i;

	fprintf(f, "#ifndef GEN_COMMANDS_H\n#define GEN_COMMANDS_H\n\n"
		   "#include \"gen/types.h\"\n\nstruct call;\n\n"
		   "struct command {\n\tconst char *name;\n"
		   "\tconst struct desc *args;\n"
		   "\tconst struct desc *returns; /* NULL: nothing */\n"
		   "\tvoid (*run)(struct call *call, const void *args);\n"
		   "\tbool oob; /* may be executed out of band */\n};\n\n"
		   "extern const struct command commands[];\n"
		   "extern const size_t command_count;\n\n"
		   "/* Handlers that the broker writes. */\n");
	for (i = 0; i < s->command_count; i++)
		fprintf(f,
		    "void cmd_%s(\n    struct call *call, const %s *args);\n",
		    s->commands[i]->cname, s->commands[i]->args->ctype);
	fprintf(f, "\nenum event_id {\n");
	for (i = 0; i < s->event_count; i++)
		fprintf(f, "\tEVENT_%s,\n", s->events[i]->name);
	fprintf(f,
	    "\tEVENT__MAX\n};\n\nstruct event_entry {\n\tconst char *name;\n"
	    "\tconst struct desc *data;\n};\n\n"
	    "extern const struct event_entry events[];\n\n#endif\n");
}

/* emit_commands_c - the tables. */
void
emit_commands_c(FILE *f, struct schema *s)
{
	size_t i;

	fprintf(f, "#include \"gen/commands.h\"\n");
	for (i = 0; i < s->command_count; i++)
		fprintf(f,
		    "\nstatic void\nrun_%s(struct call *call, const void *args)"
		    "\n{\n\tcmd_%s(call, args);\n}\n",
		    s->commands[i]->cname, s->commands[i]->cname);
	fprintf(f, "\nconst struct command commands[] = {\n");
	for (i = 0; i < s->command_count; i++) {
		const struct command *c = s->commands[i];

		fprintf(f, "\t{\"%s\", &desc_%s, ", c->name, c->args->cname);
		if (c->returns)
			fprintf(f, "&desc_%s%s", c->returns_list ? "list_" : "",
			    c->returns->cname);
		else
			fprintf(f, "NULL");
		fprintf(f, ",\n\t    run_%s, %s},\n", c->cname,
		    c->oob ? "true" : "false");
	}
	fprintf(f,
	    "\t{NULL, NULL, NULL, NULL, false},\n};\n"
	    "const size_t command_count = %zu;\n\n"
	    "const struct event_entry events[] = {\n",
	    s->command_count);
	for (i = 0; i < s->event_count; i++)
		fprintf(f, "\t{\"%s\", &desc_%s},\n", s->events[i]->name,
		    s->events[i]->data->cname);
	fprintf(f, "\t{NULL, NULL},\n};\n");
}

/* emit_backends_h - the shape of the backend table. */
void
emit_backends_h(FILE *f, struct schema *s)
{
	(void)s;
	fprintf(f,
	    "#ifndef GEN_BACKENDS_H\n#define GEN_BACKENDS_H\n\n"
	    "#include \"gen/types.h\"\n#include \"proto/launch.h\"\n\n"
	    "/* One resource; numbers are member indexes in `options`, or -1.\n"
	    " * when: wanted if that option is there (-1: always); only_if,\n"
	    " * unless: a boolean that must be true, must not be. */\n"
	    "struct backend_open {\n\tenum resource_kind kind;\n"
	    "\tint when, local, remote, path, only_if, unless;\n"
	    "\tint local_port, remote_port;\n};\n\n"
	    "/* One type of this build; its role is ROLE_BACKEND + index. */\n"
	    "struct backend_entry {\n\tconst char *type;\n"
	    "\tenum net_client_driver driver;\n"
	    "\tconst struct desc *options;\n\tbool host_network;\n"
	    "\tconst struct backend_open *opens;\n\tsize_t open_count;\n};\n\n"
	    "extern const struct backend_entry backend_entries[];\n"
	    "extern const size_t backend_entry_count;\n\n#endif\n");
}

static const struct backend *
built_backend(const struct schema *s, const char *name)
{
	size_t i;

	for (i = 0; i < s->backend_count; i++) {
		if (strcmp(s->backends[i]->name, name) == 0)
			return s->backends[i];
	}
	return NULL;
}

/* emit_backends_c - in the order of backends.def. */
void
emit_backends_c(FILE *f, struct schema *s)
{
	const struct backend *b;
	size_t i, k, n;

	fprintf(f, "#include \"gen/backends.h\"\n");
	for (i = 0; i < s->built_count; i++) {
		b = built_backend(s, s->built[i]);
		if (!b || !b->open_count)
			continue;
		fprintf(f,
		    "\nstatic const struct backend_open opens_%s[] = {\n",
		    name_snake(&s->arena, b->name));
		for (k = 0; k < b->open_count; k++) {
			fprintf(f, "\t{RES_%s", b->opens[k].kind_id);
			for (n = 0; n < SCHEMA_OPEN_KEYS; n++)
				fprintf(f, ", %d", b->opens[k].index[n]);
			fprintf(f, "},\n");
		}
		fprintf(f, "};\n");
	}
	fprintf(f, "\nconst struct backend_entry backend_entries[] = {\n");
	for (i = 0; i < s->built_count; i++) {
		b = built_backend(s, s->built[i]);
		if (!b)
			continue;
		fprintf(f,
		    "\t{\"%s\", NET_CLIENT_DRIVER_%s,\n\t    &desc_%s, %s, ",
		    b->name, name_upper(&s->arena, b->name), b->options->cname,
		    b->host_network ? "true" : "false");
		if (b->open_count)
			fprintf(f, "opens_%s, %zu},\n",
			    name_snake(&s->arena, b->name), b->open_count);
		else
			fprintf(f, "NULL, 0},\n");
	}
	fprintf(f,
	    "\t{NULL, NET_CLIENT_DRIVER_NONE, NULL, false, NULL, 0},\n"
	    "};\nconst size_t backend_entry_count = %zu;\n",
	    s->built_count);
}
