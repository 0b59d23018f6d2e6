/* forkserver_env.c - the environment that a pool's Python processes are started with.
 *
 * Ours, without the cookie; over it the pool's `env`; then what is set unless either of them says so already:
 * how many threads numerical libraries use (they read that when they are imported, so it must be there before
 * the preload), and an allocator that keeps large blocks (a megabyte then goes through twice as fast); and the
 * mark of our processes, which nobody may change. Entries of `env` with {index} in them are the workers' own to
 * set. */
#include "forkserver_private.h"

#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDEX "{index}"

/* OpenMP, the linear algebra libraries under numpy and their like, and what brings thread pools of its own. */
static const char *const thread_names[] = {
	"OMP_NUM_THREADS",   "OPENBLAS_NUM_THREADS",   "MKL_NUM_THREADS",
	"BLIS_NUM_THREADS",  "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
	"NUMBA_NUM_THREADS", "RAYON_NUM_THREADS",      "POLARS_MAX_THREADS",
};

static const char *const malloc_entries[] = { "MALLOC_MMAP_THRESHOLD_=268435456",
					      "MALLOC_TRIM_THRESHOLD_=536870912",
					      "MALLOC_TOP_PAD_=16777216" };

#define THREAD_NAMES   (sizeof thread_names / sizeof thread_names[0])
#define MALLOC_ENTRIES (sizeof malloc_entries / sizeof malloc_entries[0])
#define THREADS_BYTES  32 /* the longest name, "=", the number */

static size_t name_len(const char *entry)
{
	return strcspn(entry, "=");
}

static bool same_name(const char *a, const char *b)
{
	size_t len = name_len(a);

	return len == name_len(b) && memcmp(a, b, len) == 0;
}

/* Whether one of the entries from `from` on has the name of this one. */
static bool in_pool(const struct config_list *env, uint64_t from, const char *entry)
{
	for (uint64_t i = from; i < env->count; i++)
		if (same_name(env->item[i], entry))
			return true;
	return false;
}

static bool in_list(char *const *env, size_t count, const char *entry)
{
	for (size_t i = 0; i < count; i++)
		if (same_name(env[i], entry))
			return true;
	return false;
}

bool forkserver_env_indexed(const char *entry)
{
	return strstr(entry, INDEX) != NULL;
}

char **forkserver_env(const char *mark, const struct config_pool *c)
{
	size_t ours = 0, n = 0;
	char **env, *text;

	while (environ[ours] != NULL)
		ours++;
	env = mem_alloc((ours + c->env.count + THREAD_NAMES + MALLOC_ENTRIES + 2) * sizeof *env +
			THREAD_NAMES * THREADS_BYTES);
	if (env == NULL)
		return NULL;
	text = (char *)(env + ours + c->env.count + THREAD_NAMES + MALLOC_ENTRIES + 2);
	for (size_t i = 0; i < ours; i++)
		if (!same_name(environ[i], "KRAIT_COOKIE") && !same_name(environ[i], mark) &&
		    !in_pool(&c->env, 0, environ[i]))
			env[n++] = environ[i];
	for (uint64_t i = 0; i < c->env.count; i++)
		if (!same_name(c->env.item[i], mark) && !forkserver_env_indexed(c->env.item[i]) &&
		    !in_pool(&c->env, i + 1, c->env.item[i]))
			env[n++] = c->env.item[i];
	for (size_t i = 0; c->threads > 0 && i < THREAD_NAMES; i++) {
		if (in_list(env, n, thread_names[i]) || in_pool(&c->env, 0, thread_names[i]))
			continue;
		snprintf(text, THREADS_BYTES, "%s=%u", thread_names[i], (unsigned)c->threads);
		env[n++] = text;
		text += THREADS_BYTES;
	}
	if (!in_list(env, n, malloc_entries[0]))
		for (size_t i = 0; i < MALLOC_ENTRIES; i++)
			env[n++] = (char *)malloc_entries[i];
	env[n++] = (char *)mark;
	env[n] = NULL;
	return env;
}
