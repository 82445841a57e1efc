/*
 * scalar.c - see scalar.h.
 *
 * Runs in:       the broker.
 * Trusts:        nothing in the text.
 * Specification: the option syntax of QEMU, as its users know it.
 */
#include "proto/scalar.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* scalar_ctype - see scalar.h */
const char *
scalar_ctype(const struct desc *d)
{
	static const char *const names[2][4] = {
	    {"int8_t", "int16_t", "int32_t", "int64_t"},
	    {"uint8_t", "uint16_t", "uint32_t", "uint64_t"},
	};
	size_t i = 0, bytes = d->bytes;

	if (d->kind != DESC_INT && d->kind != DESC_UINT && d->kind != DESC_SIZE)
		return "";
	while (bytes > 1 && i < 3) {
		bytes /= 2;
		i++;
	}
	return names[d->kind != DESC_INT][i];
}

static int
parse_bool(const char *text, void *out)
{
	static const char *const words[] = {
	    "off", "on", "no", "yes", "false", "true", "n", "y"};
	size_t i;

	for (i = 0; i < sizeof words / sizeof *words; i++) {
		if (strcmp(words[i], text) == 0) {
			*(bool *)out = i % 2 != 0;
			return 0;
		}
	}
	return -EINVAL;
}

/* strtol and its kin skip blanks; a value that begins with one is none. */
static bool
starts_number(const char *text, bool sign)
{
	if (sign && (*text == '-' || *text == '+'))
		text++;
	return isdigit((unsigned char)*text);
}

static int
parse_int(const struct desc *d, const char *text, void *out)
{
	long long n;
	char *end;

	if (!starts_number(text, true))
		return -EINVAL;
	errno = 0;
	n = strtoll(text, &end, 0);
	if (*end)
		return -EINVAL;
	if (errno || !desc_int_fits(d, n))
		return -ERANGE;
	desc_int_set(d, out, (uint64_t)n);
	return 0;
}

static int
parse_uint(const struct desc *d, const char *text, void *out)
{
	unsigned long long n;
	char *end;

	if (!starts_number(text, false))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 0);
	if (*end)
		return -EINVAL;
	if (errno || !desc_uint_fits(d, n))
		return -ERANGE;
	desc_int_set(d, out, n);
	return 0;
}

/* The power of two that a size's suffix stands for, or -1. */
static int
suffix_shift(char c)
{
	static const char letters[] = "BKMGTPE";
	const char *p;

	if (!c)
		return 0;
	p = strchr(letters, toupper((unsigned char)c));
	return p ? 10 * (int)(p - letters) : -1;
}

/* The decimal fraction ".5" of a unit of 2^shift bytes, rounded down. */
static int
parse_fraction(const char **text, int shift, uint64_t *out)
{
	char digits[24] = "0.";
	size_t n = 2;
	const char *p = *text + 1;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++) {
		if (n < sizeof digits - 1)
			digits[n++] = *p;
	}
	*text = p;
	*out = (uint64_t)ldexp(strtod(digits, NULL), shift);
	return 0;
}

static int
parse_size(const char *text, void *out)
{
	uint64_t whole, part = 0, total;
	const char *rest, *suffix;
	int shift;
	char *end;

	if (!starts_number(text, false))
		return -EINVAL;
	errno = 0;
	/* A leading 0 is no octal here: 08K is eight. */
	whole = strtoull(
	    text, &end, text[0] == '0' && (text[1] | 32) == 'x' ? 16 : 10);
	if (errno)
		return -ERANGE;
	rest = end;
	for (suffix = rest; *suffix == '.' || isdigit((unsigned char)*suffix);)
		suffix++;
	shift = suffix_shift(*suffix);
	if (shift < 0 || (*suffix && suffix[1]))
		return -EINVAL;
	if (*rest == '.' &&
	    (shift == 0 || parse_fraction(&rest, shift, &part) < 0))
		return -EINVAL;
	if (rest != suffix)
		return -EINVAL;
	if (whole >> (63 - shift) > 1)
		return -ERANGE;
	total = (whole << shift) + part;
	memcpy(out, &total, sizeof total);
	return 0;
}

static int
parse_number(const char *text, void *out)
{
	double f;
	char *end;

	if (!starts_number(text, true))
		return -EINVAL;
	f = strtod(text, &end);
	if (*end)
		return -EINVAL;
	if (!isfinite(f))
		return -ERANGE;
	memcpy(out, &f, sizeof f);
	return 0;
}

/* scalar_parse - see scalar.h */
int
scalar_parse(const struct desc *d, const char *text, void *out)
{
	int value;

	switch (d->kind) {
	case DESC_BOOL:
		return parse_bool(text, out);
	case DESC_INT:
		return parse_int(d, text, out);
	case DESC_UINT:
		return parse_uint(d, text, out);
	case DESC_SIZE:
		return parse_size(text, out);
	case DESC_NUMBER:
		return parse_number(text, out);
	case DESC_ENUM:
		value = desc_enum_value(d, text);
		if (value < 0)
			return -EINVAL;
		memcpy(out, &value, sizeof value);
		return 0;
	case DESC_STR:
	case DESC_STRUCT:
	case DESC_LIST:
		break;
	}
	return -EINVAL;
}
