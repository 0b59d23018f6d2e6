/* stress_node.h - the node as the clean peer and /proc see it; and a node of our own. */
#ifndef KRAIT_STRESS_NODE_H
#define KRAIT_STRESS_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stress;
struct caller;
struct ask;

struct status {
	bool valid;
	uint64_t os_pid, peers, monitors, size, ready, idle, busy, leased, starting, stopping,
		recycling, queued, leases, sessions, slots, sessions_lost, exits, received, answered,
		abandoned, running, starts, start_failures, kills, retries, interrupts, ignored,
		wait_us[4], call_us[4], start_us[4];
};

struct journal_entry {
	uint64_t at_us, worker_id, os_pid, calls;
	int slot; /* of the caller; -1: none, or not ours */
	char state[12];
};

void admin_start(struct stress *s); /* every so often: status, workers, samples */
void admin_answer(struct ask *a, const uint8_t *reply);
bool admin_status_fresh(struct stress *s); /* asked for after admin_status_want() */
void admin_status_want(struct stress *s);
bool status_at_rest(const struct status *st);
void admin_os_pid_held(struct caller *c, uint64_t os_pid);

unsigned proc_descriptors(uint64_t os_pid); /* 0: cannot be seen */
uint64_t proc_rss_kib(uint64_t os_pid);
bool proc_is_descendant(uint64_t os_pid, uint64_t of);
int proc_kill_worker(uint64_t os_pid, uint64_t node_os_pid); /* 0, or -errno */
struct slope {
	size_t n;
	double kib_per_min, error, growth_kib; /* standard error; fitted growth over the samples */
};
struct slope proc_slope(const double *t_min, const double *kib, size_t n);

int spawn_node(struct stress *s); /* 0; or says why not. The loop must run until `ready` */
void spawn_stop(struct stress *s);
void spawn_kill(struct stress *s); /* it does not end by itself */
void spawn_tail(struct stress *s); /* its last log lines, to stderr */

#endif
