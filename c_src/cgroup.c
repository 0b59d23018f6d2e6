/* cgroup.c - a cgroup (v2) for each worker; see cgroup.h.
 *
 * The happy path: find our own directory -> a group for ourselves -> controllers on for what is beside it ->
 * one directory per worker, with its limits, which the worker joins by itself -> removed when it is empty.
 * What can go wrong: there is no cgroup2, or not with these controllers (a hybrid set-up), or we may not write
 * there, or others live in our group (a shell, the BEAM that started us): cgroup_open() says which, and the
 * node goes on without. A group that is not empty yet is tried again with the next one. */
#include "cgroup.h"

#include "mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX    "krait-"
#define PERIOD_US 100000 /* of cpu.max: the kernel's own default */
#define TEXT_MAX  65536  /* of a file that is read: /proc/self/mountinfo with hundreds of mounts */
#define LEFT      256    /* groups that are tried again; any more stay until the node ends */
#define ANCESTORS 32     /* between us and a process that is ours, at most */

struct cgroup {
	char own[PATH_MAX];
	char node[PATH_MAX]; /* the group of the node itself; "": it could stay where it was */
	char enabled[32];    /* what was written to subtree_control, to be taken back */
	uint64_t left[LEFT]; /* workers whose groups were not empty yet */
	unsigned left_count;
};

/* ---- small files ---- */

/* 0, or a negative errno; the path is `dir/name`. O_CREAT is for the tests: the kernel refuses it here. */
static int write_file(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX + 64];
	int fd, rc;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	if ((fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) < 0)
		return -errno;
	rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

/* The whole file, cut at TEXT_MAX, to be freed with mem_free(); NULL: it cannot be read. */
static char *read_file(const char *dir, const char *name)
{
	char path[PATH_MAX + 64], *text;
	size_t len = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return NULL;
	if ((text = mem_alloc(TEXT_MAX)) != NULL) {
		while (len + 1 < TEXT_MAX && (n = read(fd, text + len, TEXT_MAX - 1 - len)) > 0)
			len += (size_t)n;
		text[len] = '\0';
	}
	close(fd);
	return text;
}

/* Whether a text of words has this one. */
static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)) != NULL; at += len)
		if ((at == text || strchr(" \n", at[-1]) != NULL) && strchr(" \n", at[len]) != NULL)
			return true; /* strchr finds the end, too */
	return false;
}

/* ---- where we are ---- */

/* Root and mount point of the first cgroup2 in mountinfo: proc(5), the 4th and the 5th field; behind a "-" the
 * type. */
static bool find_mount(const char *mountinfo, char root[PATH_MAX], char point[PATH_MAX])
{
	for (const char *line = mountinfo; line != NULL && *line != '\0';) {
		const char *end = strchr(line, '\n'), *type = strstr(line, " - cgroup2 ");

		if (type != NULL && (end == NULL || type < end) &&
		    sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) == 2)
			return true;
		line = end != NULL ? end + 1 : NULL;
	}
	return false;
}

bool cgroup_place(const char *mountinfo, const char *cgroup, char *path, size_t size, char *why,
		  size_t why_size)
{
	char root[PATH_MAX], point[PATH_MAX];
	const char *at = strncmp(cgroup, "0::", 3) == 0 ? cgroup : strstr(cgroup, "\n0::");
	size_t len, root_len;

	if (at == NULL || !find_mount(mountinfo, root, point)) {
		snprintf(why, why_size, "no cgroup2 is mounted");
		return false;
	}
	at = strchr(at, '/');
	len = at != NULL ? strcspn(at, "\n") : 0;
	root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (len < root_len || (root_len > 0 && strncmp(at, root, root_len) != 0) ||
	    (at != NULL && strncmp(at, "/..", 3) == 0)) {
		snprintf(why, why_size, "our cgroup %.*s is not in the tree that is mounted at %s",
			 (int)len, at != NULL ? at : "", point);
		return false;
	}
	if (len == 1)
		len = 0; /* "/" */
	return (size_t)snprintf(path, size, "%s%.*s", point, (int)(len - (len > 0 ? root_len : 0)),
				at != NULL ? at + root_len : "") < size;
}

bool cgroup_own(char *path, size_t size, char *why, size_t why_size)
{
	char *mountinfo = read_file("/proc/self", "mountinfo");
	char *cgroup = read_file("/proc/self", "cgroup");
	bool found = false;

	snprintf(why, why_size, "/proc cannot be read");
	if (mountinfo != NULL && cgroup != NULL)
		found = cgroup_place(mountinfo, cgroup, path, size, why, why_size);
	mem_free(mountinfo);
	mem_free(cgroup);
	return found;
}

/* ---- a group for the node itself ---- */

static int parent_of(int pid)
{
	char dir[32], *text, *at;
	int parent = 0;

	snprintf(dir, sizeof dir, "/proc/%d", pid);
	if ((text = read_file(dir, "stat")) == NULL)
		return 0;
	if ((at = strrchr(text, ')')) != NULL)
		(void)!sscanf(at + 1, " %*c %d", &parent);
	mem_free(text);
	return parent;
}

static bool is_ours(int pid)
{
	for (int i = 0; pid > 0 && i < ANCESTORS; i++, pid = parent_of(pid))
		if (pid == getpid())
			return true;
	return false;
}

/* Moves us and what we have started from one group into another. */
static void move(const char *from, const char *to)
{
	char *pids = read_file(from, "cgroup.procs"), *at = pids, *end;

	while (at != NULL && *at != '\0') {
		long pid = strtol(at, &end, 10);
		char text[16];

		if (end == at)
			break;
		snprintf(text, sizeof text, "%d", (int)pid);
		if (is_ours((int)pid))
			(void)!write_file(to, "cgroup.procs", text); /* it may have ended */
		at = end + strspn(end, "\n");
	}
	mem_free(pids);
}

/* Removes groups that are empty: those of nodes that are gone, and if `all` our own. */
static void sweep(const char *own, bool all)
{
	struct dirent *entry;
	DIR *dir = opendir(own);

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		int pid;

		if (sscanf(entry->d_name, PREFIX "%d-", &pid) != 1 || pid <= 0)
			continue;
		if (pid == getpid() ? all : kill(pid, 0) != 0 && errno == ESRCH)
			(void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	}
	if (dir != NULL)
		closedir(dir);
}

static void leave_node_group(struct cgroup *g)
{
	move(g->node, g->own);
	(void)rmdir(g->node);
	g->node[0] = '\0';
}

/* Lets groups below ours have the controllers. 0, or a negative errno. */
static int enable(struct cgroup *g)
{
	int rc = write_file(g->own, "cgroup.subtree_control", g->enabled);

	if (rc != -EBUSY) /* 0 in the root of all, or of a container */
		return rc;
	snprintf(g->node, sizeof g->node, "%.4000s/" PREFIX "%d-node", g->own, (int)getpid());
	if (mkdir(g->node, 0755) != 0 && errno != EEXIST) {
		g->node[0] = '\0';
		return -errno;
	}
	move(g->own, g->node);
	rc = write_file(g->own, "cgroup.subtree_control", g->enabled);
	if (rc != 0)
		leave_node_group(g);
	return rc;
}

/* Whether those that are wanted are there; both are used where they are, for a later pool. */
static bool find_controllers(struct cgroup *g, const struct cgroup_limits *wanted, char *why,
			     size_t why_size)
{
	char *there = read_file(g->own, "cgroup.controllers");
	bool memory = there != NULL && has_word(there, "memory");
	bool cpu = there != NULL && has_word(there, "cpu");
	bool good = there != NULL && (memory || wanted->memory_max == 0) &&
		    (cpu || wanted->cpu_max == 0);

	if (there == NULL)
		snprintf(why, why_size, "%s is no cgroup2", g->own);
	else if (!good)
		snprintf(why, why_size, "%s may use the controllers \"%.*s\"; needed:%s%s", g->own,
			 (int)strcspn(there, "\n"), there, wanted->memory_max != 0 ? " memory" : "",
			 wanted->cpu_max != 0 ? " cpu" : "");
	snprintf(g->enabled, sizeof g->enabled, "%s%s", memory ? "+memory " : "",
		 cpu ? "+cpu" : "");
	mem_free(there);
	return good;
}

struct cgroup *cgroup_open(const char *own, const struct cgroup_limits *wanted, char *why,
			   size_t why_size)
{
	struct cgroup *g = mem_zalloc(sizeof *g);
	int rc;

	if (g == NULL) {
		snprintf(why, why_size, "no memory");
		return NULL;
	}
	snprintf(g->own, sizeof g->own, "%s", own);
	if (!find_controllers(g, wanted, why, why_size))
		goto err;
	sweep(own, false);
	if ((rc = enable(g)) == 0)
		return g;
	if (rc == -EBUSY)
		snprintf(why, why_size,
			 "other processes are in %s: give the node one of its own "
			 "(systemd: Delegate=yes)",
			 own);
	else
		snprintf(why, why_size, "%s/cgroup.subtree_control: %s", own, strerror(-rc));
err:
	mem_free(g);
	return NULL;
}

/* ---- workers ---- */

static bool path_of(const struct cgroup *g, uint64_t worker_id, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/" PREFIX "%d-%" PRIu64, g->own, (int)getpid(),
			worker_id) < PATH_MAX;
}

int cgroup_make(struct cgroup *g, uint64_t worker_id, const struct cgroup_limits *limits,
		char path[PATH_MAX])
{
	char text[64];
	int rc = 0;

	if (!path_of(g, worker_id, path))
		return -ENAMETOOLONG;
	if (mkdir(path, 0755) != 0)
		return -errno;
	if (limits->memory_max != 0) {
		snprintf(text, sizeof text, "%" PRIu64, limits->memory_max);
		rc = write_file(path, "memory.max", text);
		(void)!write_file(path, "memory.oom.group", "1"); /* since 4.19 */
		(void)!write_file(path, "memory.swap.max", "0");  /* or it would crawl, not end */
	}
	if (rc == 0 && limits->cpu_max != 0) {
		snprintf(text, sizeof text, "%" PRIu64 " %d", limits->cpu_max * (PERIOD_US / 100),
			 PERIOD_US);
		rc = write_file(path, "cpu.max", text);
	}
	if (rc != 0)
		(void)rmdir(path);
	return rc;
}

bool cgroup_out_of_memory(const struct cgroup *g, uint64_t worker_id)
{
	char path[PATH_MAX], *events = NULL;
	const char *at;
	bool killed;

	if (path_of(g, worker_id, path))
		events = read_file(path, "memory.events");
	at = events != NULL ? strstr(events, "oom_kill ") : NULL;
	killed = at != NULL && strtoul(at + strlen("oom_kill "), NULL, 10) > 0;
	mem_free(events);
	return killed;
}

/* Whether it is gone. */
static bool removed(const struct cgroup *g, uint64_t worker_id)
{
	char path[PATH_MAX];

	return !path_of(g, worker_id, path) || rmdir(path) == 0 || errno == ENOENT;
}

void cgroup_remove(struct cgroup *g, uint64_t worker_id)
{
	char path[PATH_MAX];
	unsigned kept = 0;

	if (path_of(g, worker_id, path))
		(void)!write_file(path, "cgroup.kill", "1"); /* since 5.14 */
	if (g->left_count < LEFT)
		g->left[g->left_count++] = worker_id;
	for (unsigned i = 0; i < g->left_count; i++)
		if (!removed(g, g->left[i]))
			g->left[kept++] = g->left[i];
	g->left_count = kept;
}

void cgroup_close(struct cgroup *g)
{
	char off[sizeof g->enabled];

	if (g == NULL)
		return;
	sweep(g->own, true);
	memcpy(off, g->enabled, sizeof off);
	for (char *at = off; (at = strchr(at, '+')) != NULL;)
		*at = '-';
	if (g->node[0] != '\0' && write_file(g->own, "cgroup.subtree_control", off) == 0)
		leave_node_group(g);
	mem_free(g);
}
