/* cgroup.h - a cgroup (v2) for each worker, where the node may write its own.
 *
 *   the node's own, as it was found        cgroup.subtree_control: memory, cpu
 *     krait-PID-node                       the node, its guard and its fork servers: a group that limits its
 *                                          children may hold no process itself (cgroups(7))
 *     krait-PID-WORKER                     memory.max, cpu.max: a worker and all that it starts
 *
 * Everything is a small file in a pseudo file system, read and written at once. */
#ifndef KRAIT_CGROUP_H
#define KRAIT_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cgroup;

/* Of one worker; 0: no limit. */
struct cgroup_limits {
	uint64_t memory_max; /* bytes */
	uint64_t cpu_max;    /* percent of one core */
};

/* Makes the place of the node (`cgroup_own`) ready for groups with these limits: which of them are not 0 is
 * what counts. Moves the node and its descendants into a group of their own where that is needed. What an
 * earlier node left behind is removed. NULL, and `why` says what was found. */
struct cgroup *cgroup_open(const char *own, const struct cgroup_limits *wanted, char *why,
			   size_t why_size) __attribute__((warn_unused_result));

/* Where this process is in the tree that is mounted. False: there is no cgroup2, or it is not there. */
bool cgroup_own(char *path, size_t size, char *why, size_t why_size);

/* The same, of the texts of /proc/self/mountinfo and /proc/self/cgroup. */
bool cgroup_place(const char *mountinfo, const char *cgroup, char *path, size_t size, char *why,
		  size_t why_size);

/* Makes the group of a worker. 0, or a negative errno and nothing is left of it. */
int cgroup_make(struct cgroup *g, uint64_t worker_id, const struct cgroup_limits *limits,
		char path[PATH_MAX]) __attribute__((warn_unused_result));

/* Whether the kernel has killed something in a worker's group because of its limit of memory. */
bool cgroup_out_of_memory(const struct cgroup *g, uint64_t worker_id);

/* Kills what is left in a worker's group, whatever process group it has made its own, and removes it: now, or
 * when another is removed. */
void cgroup_remove(struct cgroup *g, uint64_t worker_id);

/* Removes all that was made and is empty; frees. NULL is ignored. */
void cgroup_close(struct cgroup *g);

#endif
