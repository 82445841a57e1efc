/*
 * emit_types.c - gen/types.h and gen/types.c: C types and their descriptors.
 *
 * Runs in: the build, after the schema was checked.
 */
#include "schema/schemac.h"

#include <string.h>

static void
emit_enum(FILE *f, const struct type *t)
{
	size_t i;

	fprintf(f, "\nenum %s {\n", t->cname);
	for (i = 0; i < t->member_count; i++)
		fprintf(f, "\t%s_%s,\n", t->prefix, t->members[i].cname);
	fprintf(f, "\t%s__MAX\n};\n", t->prefix);
}

static bool
is_scalar(const struct type *t)
{
	return t->kind == TYPE_ENUM ||
	       (t->kind == TYPE_BUILTIN && strcmp(t->name, "str") != 0);
}

static bool
has_flag(const struct member *m)
{
	return m->optional && (m->list || is_scalar(m->type));
}

static bool
is_indirect(const struct member *m)
{
	return m->optional && !m->list &&
	       (m->type->kind == TYPE_STRUCT || m->type->kind == TYPE_UNION);
}

static const char *
star(const char *ctype)
{
	return ctype[strlen(ctype) - 1] == '*' ? "" : " ";
}

/* emit_struct - the C struct of a struct or union type. */
void
emit_struct(FILE *f, const struct type *t, const char *ctype)
{
	size_t i;

	fprintf(f, "\n%s {\n", ctype);
	for (i = 0; i < t->member_count; i++) {
		const struct member *m = &t->members[i];
		const char *c = m->type->ctype;

		if (has_flag(m))
			fprintf(f, "\tbool has_%s;\n", m->cname);
		if (m->list)
			fprintf(f, "\tstruct %s_list %s;\n", m->type->cname,
			    m->cname);
		else
			fprintf(f, "\t%s%s%s%s;\n", c, star(c),
			    is_indirect(m) ? "*" : "", m->cname);
	}
	if (t->kind == TYPE_UNION) {
		fprintf(f, "\tunion {\n\t\tchar none_;\n");
		for (i = 0; i < t->branch_count; i++)
			fprintf(f, "\t\t%s %s;\n", t->branches[i].type->ctype,
			    t->branches[i].cname);
		fprintf(f, "\t} u;\n");
	} else if (t->member_count == 0) {
		fprintf(f, "\tchar none_; /* no members */\n");
	}
	fprintf(f, "};\n");
}

static void
emit_list(FILE *f, const struct type *t)
{
	fprintf(f, "\nstruct %s_list {\n\tsize_t count;\n\t%s%s*items;\n};\n",
	    t->cname, t->ctype, star(t->ctype));
}

static void
emit_members(FILE *f, const struct type *t, const char *ctype)
{
	size_t i;

	fprintf(
	    f, "static const struct desc_member members_%s[] = {\n", t->cname);
	for (i = 0; i < t->member_count; i++) {
		const struct member *m = &t->members[i];

		fprintf(f, "\t{\"%s\", &desc_%s%s,\n\t    offsetof(%s, %s), ",
		    m->name, m->list ? "list_" : "", m->type->cname, ctype,
		    m->cname);
		if (has_flag(m))
			fprintf(f, "offsetof(%s, has_%s),\n\t    ", ctype,
			    m->cname);
		else
			fprintf(f, "DESC_NO_HAS, ");
		fprintf(f, "%s, %s},\n", m->optional ? "true" : "false",
		    is_indirect(m) ? "true" : "false");
	}
	fprintf(f, "};\n");
}

static void
emit_branches(FILE *f, const struct type *t)
{
	const struct type *tag = t->members[t->tag].type;
	size_t i;

	fprintf(
	    f, "static const struct desc_branch branches_%s[] = {\n", t->cname);
	for (i = 0; i < t->branch_count; i++)
		fprintf(f, "\t{%s_%s, &desc_%s},\n", tag->prefix,
		    tag->members[t->branches[i].value].cname,
		    t->branches[i].type->cname);
	fprintf(f, "};\n");
}

/* emit_desc - the descriptor of a struct or union, with its tables. */
void
emit_desc(FILE *f, const struct type *t, const char *ctype)
{
	fprintf(f, "\n");
	if (t->member_count)
		emit_members(f, t, ctype);
	if (t->branch_count)
		emit_branches(f, t);
	fprintf(f,
	    "const struct desc desc_%s = {\n\t.name = \"%s\",\n"
	    "\t.kind = DESC_STRUCT,\n\t.bytes = sizeof(%s),\n",
	    t->cname, t->name, ctype);
	if (t->member_count)
		fprintf(f, "\t.members = members_%s,\n\t.member_count = %zu,\n",
		    t->cname, t->member_count);
	fprintf(f, "\t.tag = %d,\n", t->tag);
	if (t->kind == TYPE_UNION)
		fprintf(f, "\t.union_offset = offsetof(%s, u),\n", ctype);
	if (t->branch_count)
		fprintf(f,
		    "\t.branches = branches_%s,\n\t.branch_count = %zu,\n",
		    t->cname, t->branch_count);
	if (t->texts)
		fprintf(f, "\t.texts = true,\n");
	fprintf(f, "};\n");
}

static void
emit_enum_desc(FILE *f, const struct type *t)
{
	size_t i;

	fprintf(f, "\nstatic const char *const names_%s[] = {\n", t->cname);
	for (i = 0; i < t->member_count; i++)
		fprintf(f, "\t\"%s\",\n", t->members[i].name);
	fprintf(f,
	    "};\n"
	    "const struct desc desc_%s = {\n\t.name = \"%s\",\n"
	    "\t.kind = DESC_ENUM,\n\t.bytes = sizeof(%s),\n\t.tag = -1,\n"
	    "\t.names = names_%s,\n\t.name_count = %zu,\n};\n",
	    t->cname, t->name, t->ctype, t->cname, t->member_count);
}

static void
emit_list_desc(FILE *f, const struct type *t)
{
	fprintf(f,
	    "\nconst struct desc desc_list_%s = {\n\t.name = \"[%s]\",\n"
	    "\t.kind = DESC_LIST,\n\t.bytes = sizeof(struct %s_list),\n"
	    "\t.tag = -1,\n\t.item = &desc_%s,\n};\n",
	    t->cname, t->name, t->cname, t->cname);
}

/* emit_types_h - every type but the messages, what is inside first. */
void
emit_types_h(FILE *f, struct schema *s)
{
	size_t i;

	fprintf(f, "#ifndef GEN_TYPES_H\n#define GEN_TYPES_H\n\n"
		   "#include \"proto/desc.h\"\n");
	for (i = 0; i < s->type_count; i++) {
		const struct type *t = s->types[i];

		if (t->kind == TYPE_BUILTIN && t->list_used) {
			emit_list(f, t);
			fprintf(f, "extern const struct desc desc_list_%s;\n",
			    t->cname);
		}
	}
	for (i = 0; i < s->sorted_count; i++) {
		const struct type *t = s->sorted[i];

		if (t->message)
			continue;
		if (t->kind == TYPE_ENUM)
			emit_enum(f, t);
		else
			emit_struct(f, t, t->ctype);
		fprintf(f, "extern const struct desc desc_%s;\n", t->cname);
		if (!t->list_used)
			continue;
		emit_list(f, t);
		fprintf(
		    f, "extern const struct desc desc_list_%s;\n", t->cname);
	}
	fprintf(f, "\n/* Every type above, for tests. */\n"
		   "extern const struct desc *const type_descs[];\n"
		   "extern const size_t type_desc_count;\n\n#endif\n");
}

/* emit_types_c - the descriptors of what emit_types_h wrote. */
void
emit_types_c(FILE *f, struct schema *s)
{
	size_t i;

	fprintf(f, "#include \"gen/types.h\"\n");
	for (i = 0; i < s->type_count; i++) {
		const struct type *t = s->types[i];

		if (t->kind == TYPE_BUILTIN && t->list_used)
			emit_list_desc(f, t);
	}
	for (i = 0; i < s->sorted_count; i++) {
		const struct type *t = s->sorted[i];

		if (t->message)
			continue;
		if (t->kind == TYPE_ENUM)
			emit_enum_desc(f, t);
		else
			emit_desc(f, t, t->ctype);
		if (t->list_used)
			emit_list_desc(f, t);
	}
	fprintf(f, "\nconst struct desc *const type_descs[] = {\n");
	for (i = 0; i < s->sorted_count; i++) {
		if (!s->sorted[i]->message)
			fprintf(f, "\t&desc_%s,\n", s->sorted[i]->cname);
	}
	fprintf(f, "};\nconst size_t type_desc_count =\n"
		   "    sizeof type_descs / sizeof *type_descs;\n");
}
