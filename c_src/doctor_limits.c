/* doctor_limits.c - versions of what is there, and what the kernel lets the node have.
 *
 * What a node may need is reckoned from its options: a peer is a descriptor; a worker is five in the node (its
 * channel, its output, both ends of the queue of calls sent ahead), four in the fork server while it starts, a
 * process, and the memory that it does not share with the fork server. */
#include "doctor_private.h"

#include "cgroup.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#define FDS_BESIDE \
	64 /* the loop, epmd, the listener, standard streams, what is opened for a moment */
#define THREADS_EACH  4 /* of a worker; a guess: numerical libraries start one for each core */
#define WORKER_MEMORY (UINT64_C(32) * 1024 * 1024)
#define OLDEST_ERTS   13 /* OTP 25 */

/* The runtime that epmd belongs to, of the path that its link leads to: ".../erts-13.1.5/bin/epmd"; "". */
static void find_erts(char *version, size_t size)
{
	static const char *const places[] = { "/usr/bin/epmd", "/usr/local/bin/epmd",
					      "/usr/lib/erlang/bin/epmd",
					      "/usr/local/lib/erlang/bin/epmd" };
	char path[PATH_MAX];
	const char *at;

	version[0] = '\0';
	for (size_t i = 0; i < sizeof places / sizeof places[0] && version[0] == '\0'; i++)
		if (realpath(places[i], path) != NULL && (at = strstr(path, "/erts-")) != NULL)
			snprintf(version, size, "%.*s", (int)strcspn(at + 6, "/"), at + 6);
}

void doctor_versions(struct doctor *d)
{
	char erts[64];

	find_erts(erts, sizeof erts);
	if (erts[0] != '\0' && strtol(erts, NULL, 10) < OLDEST_ERTS)
		doctor_say(d, DOUBT, "versions", "BEAMs older than OTP 25 cannot connect",
			   "OTP 25 or later on all nodes of the cluster",
			   "krait %s, libuv %s, %s; Erlang here is of erts %s", KRAIT_VERSION,
			   uv_version_string(), OpenSSL_version(OPENSSL_VERSION), erts);
	else
		doctor_say(d, FINE, "versions", "what the node is made of", NULL,
			   "krait %s, libuv %s, %s%s%s", KRAIT_VERSION, uv_version_string(),
			   OpenSSL_version(OPENSSL_VERSION),
			   erts[0] != '\0' ? "; Erlang: erts " : "", erts);
}

static uint64_t all_workers(const struct config *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < c->pools; i++)
		n += c->pool[i]->size_max;
	return n;
}

static void judge_descriptors(struct doctor *d, uint64_t workers)
{
	uint64_t wanted = d->config->max_peers + 5 * (workers + d->config->pools) + FDS_BESIDE;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_max < wanted)
		doctor_say(d, DOUBT, "descriptors",
			   "with all its peers and workers the node runs out of them",
			   "LimitNOFILE= in the unit, or ulimit -Hn; or a smaller --max-peers",
			   "up to %llu, and it may want %llu", (unsigned long long)limit.rlim_max,
			   (unsigned long long)wanted);
	else
		doctor_say(d, FINE, "descriptors", "enough for all peers and workers", NULL,
			   "up to %llu, and it may want %llu", (unsigned long long)limit.rlim_max,
			   (unsigned long long)wanted);
}

/* Processes and threads; root has as many as it likes. */
static void judge_processes(struct doctor *d, uint64_t workers)
{
	uint64_t wanted = THREADS_EACH * workers + d->config->pools + 8;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NPROC, &limit) != 0)
		return;
	if (geteuid() != 0 && limit.rlim_cur < wanted)
		doctor_say(
			d, DOUBT, "processes",
			"workers may fail to start, or to start their threads",
			"LimitNPROC= and TasksMax= in the unit, or ulimit -u",
			"this user may have %llu processes and threads, and the node may want %llu",
			(unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
	else
		doctor_say(d, FINE, "processes", "enough for all workers", NULL,
			   "%llu workers, and as many processes as they want",
			   (unsigned long long)workers);
}

/* One number of a file, in its unit: the one after `key`, or the first. 0: there is none. */
static uint64_t number_in(const char *path, const char *key)
{
	char line[256];
	uint64_t value = 0;
	FILE *f = fopen(path, "re");

	while (f != NULL && value == 0 && fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtoull(line + strlen(key), NULL, 10);
	if (f != NULL)
		fclose(f);
	return value;
}

/* The memory that our cgroup may have, or 0: as much as there is. */
static uint64_t cgroup_memory(void)
{
	char line[PATH_MAX], path[PATH_MAX + 64];
	uint64_t most = 0;
	FILE *f = fopen("/proc/self/cgroup", "re");

	while (f != NULL && most == 0 && fgets(line, sizeof line, f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3) != 0)
			continue;
		snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", line + 3);
		most = number_in(path, "");
	}
	if (f != NULL)
		fclose(f);
	return most;
}

static void judge_memory(struct doctor *d, uint64_t workers)
{
	uint64_t there = number_in("/proc/meminfo", "MemAvailable:") * 1024, most = cgroup_memory();
	uint64_t wanted = workers * WORKER_MEMORY;

	if (most > 0 && most < there)
		there = most;
	if (there < wanted)
		doctor_say(d, DOUBT, "memory",
			   "the kernel may kill workers for memory; their callers hear worker_exit",
			   "a smaller --size, or more memory; --memory-max and --max-rss bound a "
			   "worker",
			   "%llu MiB, for %llu workers", (unsigned long long)(there >> 20),
			   (unsigned long long)workers);
	else
		doctor_say(d, FINE, "memory", "what is free for workers", NULL,
			   "%llu MiB, for %llu workers", (unsigned long long)(there >> 20),
			   (unsigned long long)workers);
}

/* Whether a file of words has that one. */
static bool has_word(const char *path, const char *word)
{
	char text[256];
	FILE *f = fopen(path, "re");
	bool found = false;

	while (f != NULL && fscanf(f, "%255s", text) == 1)
		found |= strcmp(text, word) == 0;
	if (f != NULL)
		fclose(f);
	return found;
}

/* Where a pool wants a cgroup for each worker: whether we could make one. */
static void judge_cgroup(struct doctor *d)
{
	char own[PATH_MAX], path[PATH_MAX + 32], why[600];
	bool memory = false, cpu = false;

	for (unsigned i = 0; i < d->config->pools; i++) {
		memory |= d->config->pool[i]->memory_max > 0;
		cpu |= d->config->pool[i]->cpu_max > 0;
	}
	if (!memory && !cpu)
		return;
	if (cgroup_own(own, sizeof own, why, sizeof why)) {
		snprintf(path, sizeof path, "%s/cgroup.controllers", own);
		why[0] = '\0';
		if (access(own, W_OK) != 0)
			snprintf(why, sizeof why, "%.500s: %s", own, strerror(errno));
		else if (memory && !has_word(path, "memory"))
			snprintf(why, sizeof why, "%.500s has no controller memory", own);
		else if (cpu && !has_word(path, "cpu"))
			snprintf(why, sizeof why, "%.500s has no controller cpu", own);
	}
	if (why[0] == '\0')
		doctor_say(d, FINE, "cgroup", "workers are held to their limits", NULL, "%s", own);
	else
		doctor_say(d, DOUBT, "cgroup",
			   "--memory-max and --cpu-max do not bind; all else is well",
			   "Delegate=yes in the unit, on a machine with cgroup v2 alone; or "
			   "--rlimit-as",
			   "%s", why);
}

void doctor_limits(struct doctor *d)
{
	uint64_t workers = all_workers(d->config);

	judge_descriptors(d, workers);
	judge_processes(d, workers);
	judge_memory(d, workers);
	judge_cgroup(d);
}
