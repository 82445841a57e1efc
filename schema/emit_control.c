/*
 * emit_control.c - gen/control*.[ch]: messages, senders, dispatchers.
 *
 * The work is done by proto/wire.c over a table; generated are the typed
 * fronts of it only.
 *
 * Runs in: the build, after the schema was checked.
 */
#include "schema/schemac.h"

#include <string.h>

static const struct {
	unsigned bit;
	const char *upper, *lower;
} role_names[] = {
    {SCHEMA_BROKER, "BROKER", "broker"},
    {SCHEMA_LANE, "LANE", "lane"},
    {SCHEMA_BACKEND, "BACKEND", "backend"},
};

static size_t
fd_count(const struct message *m)
{
	return m->fds + m->optional_fds;
}

static void
emit_send(FILE *f, const struct message *m, bool body)
{
	bool fds = fd_count(m) > 0;

	fprintf(f,
	    "\nint%sctl_send_%s(struct chan *c, uint32_t seq,\n"
	    "    const struct ctl_%s *m%s)%s\n",
	    body ? "\n" : " ", m->cname, m->cname,
	    fds ? ", const int fds[]" : "", body ? "" : ";");
	if (body)
		fprintf(f,
		    "{\n\tstruct wire_envelope e = {c, CTL_%s, seq};\n\n"
		    "\treturn wire_send(&e, &ctl_wire, m, %s);\n}\n",
		    m->data->prefix, fds ? "fds" : "NULL");
}

static void
emit_handler(FILE *f, const char *role, const struct message *m)
{
	size_t i;

	fprintf(f,
	    "int %s_on_%s(void *self, uint32_t seq,\n"
	    "    const struct ctl_%s *m%s);",
	    role, m->cname, m->cname, fd_count(m) ? ", int *fds" : "");
	for (i = 0; i < fd_count(m); i++)
		fprintf(f, "%s%s%s", i ? ", " : " /* fds: ", m->fd_names[i],
		    i + 1 == fd_count(m) ? " */" : "");
	fprintf(f, "\n");
}

/* emit_control_h - structs, ids, senders and the handlers to be written. */
void
emit_control_h(FILE *f, struct schema *s)
{
	size_t i, k;

	fprintf(f, "#ifndef GEN_CONTROL_H\n#define GEN_CONTROL_H\n\n"
		   "#include \"gen/types.h\"\n\nstruct chan;\n"
		   "struct wire_table;\n\n"
		   "/* Who speaks on a channel; bits. */\nenum ctl_role {\n");
	for (i = 0; i < 3; i++)
		fprintf(f, "\tCTL_ROLE_%s = %u,\n", role_names[i].upper,
		    role_names[i].bit);
	fprintf(f, "};\n\nenum ctl_id {\n");
	for (i = 0; i < s->message_count; i++) {
		struct message *m = s->messages[i];

		m->data->prefix = name_upper(&s->arena, m->name);
		fprintf(f, "\tCTL_%s,\n", m->data->prefix);
	}
	fprintf(f, "\tCTL__MAX\n};\n");
	for (i = 0; i < s->message_count; i++) {
		const struct message *m = s->messages[i];

		emit_struct(f, m->data, m->data->ctype);
		fprintf(f, "extern const struct desc desc_%s;", m->data->cname);
		emit_send(f, m, false);
	}
	for (k = 0; k < 3; k++) {
		fprintf(f,
		    "\n/* Handlers that the %s writes: 0, or a negative "
		    "fault. Descriptors become theirs. */\n",
		    role_names[k].lower);
		for (i = 0; i < s->message_count; i++) {
			if (s->messages[i]->to & role_names[k].bit)
				emit_handler(
				    f, role_names[k].lower, s->messages[i]);
		}
		fprintf(f,
		    "int %s_dispatch(void *self, enum ctl_role from,\n"
		    "    const uint8_t *buf, size_t len, int *fds, "
		    "size_t fd_count);\n",
		    role_names[k].lower);
	}
	fprintf(f, "\nextern const struct wire_table ctl_wire;\n"
		   "const char *ctl_name(enum ctl_id id);\n"
		   "unsigned ctl_deadline_ms(enum ctl_id id);\n\n#endif\n");
}

static void
emit_roles(FILE *f, unsigned bits)
{
	fprintf(f, "%u", bits);
}

/* emit_control_c - the message table, descriptors and senders. */
void
emit_control_c(FILE *f, struct schema *s)
{
	size_t i;

	fprintf(f, "#include \"gen/control.h\"\n#include \"proto/wire.h\"\n");
	for (i = 0; i < s->message_count; i++)
		emit_desc(f, s->messages[i]->data, s->messages[i]->data->ctype);
	fprintf(f, "\nstatic const struct wire_message messages[] = {\n");
	for (i = 0; i < s->message_count; i++) {
		const struct message *m = s->messages[i];

		fprintf(f, "\t{\"%s\", &desc_%s, ", m->name, m->data->cname);
		emit_roles(f, m->from);
		fprintf(f, ", ");
		emit_roles(f, m->to);
		fprintf(f, ", %zu, %s, %s, %d, %uu},\n", fd_count(m),
		    m->optional_fds ? "true" : "false",
		    m->idempotent ? "true" : "false", m->reply, m->deadline_ms);
	}
	if (!s->message_count)
		fprintf(f, "\t{\"\", NULL, 0, 0, 0, false, false, -1, 0},\n");
	fprintf(f,
	    "};\nconst struct wire_table ctl_wire = {messages, %zu};\n\n"
	    "const char *\nctl_name(enum ctl_id id)\n{\n"
	    "\treturn wire_name(&ctl_wire, (size_t)id);\n}\n\n"
	    "unsigned\nctl_deadline_ms(enum ctl_id id)\n{\n"
	    "\treturn wire_deadline_ms(&ctl_wire, (size_t)id);\n}\n",
	    s->message_count);
	for (i = 0; i < s->message_count; i++)
		emit_send(f, s->messages[i], true);
}

static void
emit_dispatch(FILE *f, struct schema *s, unsigned bit, const char *lower)
{
	size_t i;

	fprintf(f, "#include \"gen/control.h\"\n#include \"proto/wire.h\"\n");
	for (i = 0; i < s->message_count; i++) {
		const struct message *m = s->messages[i];

		if (!(m->to & bit))
			continue;
		fprintf(f,
		    "\nstatic int\non_%s(void *self, uint32_t seq, const void "
		    "*m, int *fds)\n{\n%s\treturn %s_on_%s(self, seq, "
		    "m%s);\n}\n",
		    m->cname, fd_count(m) ? "" : "\t(void)fds;\n", lower,
		    m->cname, fd_count(m) ? ", fds" : "");
	}
	fprintf(f, "\nstatic const wire_handler handlers[CTL__MAX + 1] = {\n");
	for (i = 0; i < s->message_count; i++) {
		if (s->messages[i]->to & bit)
			fprintf(f, "\t[CTL_%s] = on_%s,\n",
			    s->messages[i]->data->prefix,
			    s->messages[i]->cname);
	}
	fprintf(f,
	    "};\n\nint\n%s_dispatch(void *self, enum ctl_role from, const "
	    "uint8_t *buf,\n    size_t len, int *fds, size_t fd_count)\n{\n"
	    "\tstruct wire_in in = {(unsigned)from, buf, len, fds, fd_count};"
	    "\n\n\treturn wire_dispatch(&ctl_wire, handlers, %u, self, &in);"
	    "\n}\n",
	    lower, bit);
}

void
emit_control_broker(FILE *f, struct schema *s)
{
	emit_dispatch(f, s, SCHEMA_BROKER, "broker");
}

void
emit_control_lane(FILE *f, struct schema *s)
{
	emit_dispatch(f, s, SCHEMA_LANE, "lane");
}

void
emit_control_backend(FILE *f, struct schema *s)
{
	emit_dispatch(f, s, SCHEMA_BACKEND, "backend");
}
