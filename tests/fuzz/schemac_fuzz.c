/*
 * schemac_fuzz.c - any bytes as a schema: refused with one line, or compiled.
 *
 * The compiler is no library: its parts are taken in whole.
 */
/* clang-format off: the header first */
#include "schema/arena.c"
#include "schema/check.c"
#include "schema/check_own.c"
#include "schema/doc.c"
#include "schema/emit.c"
#include "schema/emit_commands.c"
#include "schema/emit_control.c"
#include "schema/emit_manual.c"
#include "schema/emit_schema.c"
#include "schema/emit_types.c"
#include "schema/lex.c"
#include "schema/model.c"
#include "schema/model_own.c"
#include "schema/parse.c"
#include "schema/schemac.h"
/* clang-format on */

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
write_all(struct schema *s)
{
	char *text = NULL;
	size_t bytes = 0, i;
	FILE *f = open_memstream(&text, &bytes);

	if (!f)
		abort();
	for (i = 0; i < emit_count; i++)
		emits[i].write(f, s);
	fclose(f);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct schema s;
	int rc;

	schema_init(&s);
	s.no_files = true;
	rc = schema_add_text(&s, "f.json", (const char *)data, size);
	if (rc == 0)
		rc = schema_parse(&s);
	if (rc == 0)
		rc = schema_check(&s);
	if (rc == 0)
		write_all(&s);
	if ((rc < 0) != (s.error[0] != 0))
		abort();
	schema_free(&s);
	return 0;
}
