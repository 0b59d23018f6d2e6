/* node_metrics.c - what is told by HTTP: paths, readiness, the process itself; see node_metrics.h. */
#include "node_metrics.h"

#include "log.h"
#include "log_ring.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"
#define JSON       "application/json"

/* ---- probes ---- */

const char *node_pool_unready(const struct node_pool *p)
{
	const char *state = node_pool_state(p);

	if (strcmp(state, "running") != 0)
		return state;
	return pool_ready(p->pool) > 0 ? NULL : "starting";
}

bool node_is_ready(const struct node *n)
{
	struct node_pool *p = NULL;

	if (n->stage != NODE_RUNNING)
		return false;
	while ((p = node_pool_next(n, p)) != NULL)
		if (node_pool_unready(p) != NULL)
			return false;
	return true;
}

static void put_text(struct buf *out, const char *text)
{
	buf_put(out, text, strlen(text));
}

/* One line for each pool; 200 if all can serve. */
static void ready(struct node *n, struct metrics_answer *answer)
{
	struct node_pool *p = NULL;
	char line[512];

	answer->status = node_is_ready(n) ? 200 : 503;
	if (n->stage != NODE_RUNNING)
		put_text(&answer->body,
			 n->stage == NODE_STARTING ? "node: starting\n" : "node: stopping\n");
	while ((p = node_pool_next(n, p)) != NULL) {
		const char *word = node_pool_unready(p);

		snprintf(line, sizeof line, "%.255s: %s, %u of %u workers are ready\n",
			 node_pool_name(p), word != NULL ? word : "serves", pool_ready(p->pool),
			 pool_size(p->pool));
		put_text(&answer->body, line);
	}
}

/* ---- paths ---- */

static void on_asked(void *arg, const char *path, uint64_t since, struct metrics_answer *answer)
{
	struct node *n = arg;

	if (strcmp(path, "/metrics") == 0) {
		answer->status = 200;
		answer->type = PROMETHEUS;
		node_metrics_put_text(n, &answer->body);
	} else if (strcmp(path, "/api/status") == 0) {
		answer->status = 200;
		answer->type = JSON;
		node_metrics_put_json(n, since, &answer->body);
	} else if (strcmp(path, "/healthz") == 0) {
		answer->status = 200;
		put_text(&answer->body, "alive\n");
	} else if (strcmp(path, "/readyz") == 0) {
		ready(n, answer);
	}
}

/* ---- the process ---- */

static uint64_t count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count > 3 ? count - 3 : 0; /* `.`, `..`, and the directory itself */
}

static uint64_t micro(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

static uint64_t virtual_bytes(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file == NULL)
		return 0;
	if (fscanf(file, "%llu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct node_process node_process(const struct node *n)
{
	struct node_process process = { .rss_bytes = node_rss_bytes((int)getpid()),
					.virtual_bytes = virtual_bytes(),
					.fds = count_fds(),
					.start_time_us = n->metrics_epoch_us };
	struct rlimit limit;
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		process.cpu_us = micro(&usage.ru_utime) + micro(&usage.ru_stime);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		process.max_fds = limit.rlim_cur;
	return process;
}

/* ---- its life ---- */

/* The names that a Host may have: this machine's, that of our own name, and those of the option, which does not
 * change while we run. */
static size_t hosts(struct node *n)
{
	const struct config_list *given = &n->config->metrics_host;
	const char *at = strchr(n->options->name, '@');
	size_t count = 0;

	if (gethostname(n->host_name, sizeof n->host_name - 1) == 0)
		n->metrics_hosts[count++] = n->host_name;
	n->metrics_hosts[count++] = at + 1;
	for (uint64_t i = 0; i < given->count; i++)
		n->metrics_hosts[count++] = given->item[i];
	return count;
}

int node_metrics_open(struct node *n)
{
	struct metrics_options options = { .hosts = n->metrics_hosts,
					   .on_asked = on_asked,
					   .arg = n };
	char address[CONFIG_ADDRESS_MAX], error[256];
	struct timespec now;

	if (n->config->metrics == NULL ||
	    !config_split_address(n->config->metrics, address, &options.port))
		return 0;
	options.address = address;
	options.host_count = hosts(n);
	clock_gettime(CLOCK_REALTIME, &now);
	n->metrics_epoch_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000 -
			      (node_now_us() - n->started_us);
	if (log_ring_open() != 0)
		log_line(LOG_WARNING, "metrics", "no memory for the last log lines");
	n->metrics = metrics_open(&n->loop, &options, error, sizeof error);
	if (n->metrics == NULL) {
		log_line(LOG_ERROR, "metrics", "%s", error);
		return -EADDRNOTAVAIL;
	}
	log_line(LOG_INFO, "metrics", "http://%s%s%s:%u/",
		 address[strcspn(address, ":")] ? "[" : "", address,
		 address[strcspn(address, ":")] ? "]" : "", metrics_port(n->metrics));
	if (strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0)
		log_line(LOG_WARNING, "metrics",
			 "%s is not loopback: whoever reaches it can read what workers print and "
			 "raise",
			 address);
	return 0;
}

void node_metrics_close(struct node *n)
{
	metrics_close(n->metrics);
	n->metrics = NULL;
	log_ring_close();
}

void node_metrics_exited(struct node_worker *w, bool wanted)
{
	enum exit_kind kind = EXIT_LEFT;

	if (wanted)
		kind = w->signal != 0 ? EXIT_KILLED : EXIT_STOPPED;
	else if (!w->ready)
		kind = EXIT_START;
	else if (w->killed_for != NULL)
		kind = EXIT_KILLED;
	else if (w->signal != 0)
		kind = EXIT_CRASHED;
	w->pool->exits[kind]++;
}
