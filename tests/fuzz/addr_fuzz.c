/*
 * addr_fuzz.c - any text as an address or a rule, any bytes as a struct.
 */
#include "proto/addr.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct err err;

static void
demand(int truth)
{
	if (!truth)
		abort();
}

/* What is taken can be told, and what is told is taken for the same. */
static void
try_text(const char *text)
{
	struct addr a, b;
	char buf[ADDR_TEXT_BYTES];
	int rc = addr_parse(text, &a, &err);

	demand(rc == 0 || (rc < 0 && err.text[0] != '\0'));
	demand(rc != -ENOENT || a.len == 0);
	demand(!addr_is_name(text) ||
	       text[strspn(text, "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789-_.")] == '\0');
	if (rc == 0 && a.sa.sa_family != AF_UNIX) {
		demand(addr_parse(addr_text(&a, buf), &b, &err) == 0);
		demand(addr_equal(&a, &b));
	}
	if (rc == 0)
		demand(strlen(addr_text(&a, buf)) > 0);
	rc = addr_parse_ip(text, &a, &err);
	demand(rc == 0 || (rc < 0 && err.text[0] != '\0'));
	if (rc == 0)
		demand(addr_text(&a, buf)[0] != '\0');
}

static void
try_rule(const char *text)
{
	struct hostfwd f = {0};
	int rc = hostfwd_parse(text, &f, &err);

	demand(rc == 0 || (rc < 0 && err.text[0] != '\0'));
	demand(rc < 0 || f.guest_port > 0);
}

static void
try_struct(const uint8_t *data, size_t size)
{
	struct addr a = {0}, b = {0};
	char buf[ADDR_TEXT_BYTES];

	memcpy(&a, data, size < sizeof a ? size : sizeof a);
	if (size > sizeof a)
		memcpy(&b, data + sizeof a,
		    size - sizeof a < sizeof b ? size - sizeof a : sizeof b);
	demand(strlen(addr_text(&a, buf)) < sizeof buf);
	demand(addr_equal(&a, &b) == addr_equal(&b, &a));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size >= TEXT_BYTES)
		return 0;
	text = malloc(size + 1);
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	try_text(text);
	try_rule(text);
	try_struct(data, size);
	free(text);
	return 0;
}
