/*
 * confine_seccomp.c - stage 4: from a list of lines to a filter that kills.
 *
 * Runs in: every child, and once in the launcher for its own filter.
 * Trusts: the lists, which are constants of the program.
 * Specification: seccomp(2); libseccomp, seccomp_rule_add(3).
 */
#include "proto/log.h"
#include "sandbox/confine_child.h"

#include <errno.h>
#include <seccomp.h>

#define ARGS_MAX 3

static bool
listed(const struct syslist *list, int nr)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (list->rules[i].nr == nr)
			return true;
	return false;
}

static int
add_rule(scmp_filter_ctx filter, const struct sysrule *rule)
{
	uint32_t action = rule->error != 0
			      ? SCMP_ACT_ERRNO((uint32_t)rule->error)
			      : SCMP_ACT_ALLOW;
	struct scmp_arg_cmp checks[ARGS_MAX];
	unsigned i, count = 0;
	int rc;

	for (i = 0; i < ARGS_MAX; i++) {
		const struct sysarg *arg = &rule->args[i];

		if (arg->op == ARG_ANY)
			continue;
		BUG_ON(arg->mask == 0 || arg->arg > 5);
		checks[count++] = SCMP_CMP(arg->arg, SCMP_CMP_MASKED_EQ,
		    arg->mask, arg->op == ARG_CLEAR ? 0 : arg->value);
	}
	rc = seccomp_rule_add_array(filter, action, rule->nr, count, checks);
	/* The same line twice is no harm. */
	return rc == -EEXIST ? 0 : rc;
}

/* Add what neither of the two lists `over` has lines for. */
static int
add_list(scmp_filter_ctx filter, const struct syslist *list,
    const struct syslist *const over[2])
{
	int rc = 0;
	size_t i;

	for (i = 0; i < list->count && rc == 0; i++) {
		const struct sysrule *rule = &list->rules[i];

		if (!listed(over[0], rule->nr) && !listed(over[1], rule->nr))
			rc = add_rule(filter, rule);
	}
	return rc;
}

int
confine_filter(const struct syslist *base, const struct syslist *own, bool nnp)
{
	const struct syslist none = {0};
	const struct syslist sanitizer = {
	    "sanitizer", confine_sanitizer, confine_sanitizer_count};
	const struct syslist *const nothing[] = {&none, &none};
	const struct syslist *const overlay[] = {&sanitizer, &none};
	const struct syslist *const both[] = {&sanitizer, own};
	scmp_filter_ctx filter;
	int rc;

	filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (filter == NULL)
		return -ENOMEM;
	/* libseccomp's default for a foreign entry ends one thread only. */
	rc = seccomp_attr_set(
	    filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* The kernel's error, not the library's -ECANCELED for all of them. */
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, nnp);
	if (rc == 0)
		rc = add_list(filter, &sanitizer, nothing);
	if (rc == 0)
		rc = add_list(filter, own, overlay);
	if (rc == 0)
		rc = add_list(filter, base, both);
	if (rc == 0)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc;
}
