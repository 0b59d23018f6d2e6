/* stress_proc.c - /proc: descriptors, memory and ancestry of processes; and the slope of the memory. */
#include "stress.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GENERATIONS 4 /* node, fork server, worker, and one to spare */

unsigned proc_descriptors(uint64_t os_pid)
{
	char path[64];
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%llu/fd", (unsigned long long)os_pid);
	if (os_pid == 0 || (dir = opendir(path)) == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.' ? 1 : 0;
	closedir(dir);
	return count;
}

uint64_t proc_rss_kib(uint64_t os_pid)
{
	unsigned long long pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof path, "/proc/%llu/statm", (unsigned long long)os_pid);
	if (os_pid == 0 || (file = fopen(path, "re")) == NULL)
		return 0;
	if (fscanf(file, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* The fourth field of /proc/PID/stat, after the name in parentheses, which may hold anything. */
static uint64_t parent_of(uint64_t os_pid)
{
	char path[64], text[512], *after;
	unsigned long long parent = 0;
	size_t n;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)os_pid);
	if ((file = fopen(path, "re")) == NULL)
		return 0;
	n = fread(text, 1, sizeof text - 1, file);
	text[n] = '\0';
	fclose(file);
	after = strrchr(text, ')');
	return after != NULL && sscanf(after, ") %*c %llu", &parent) == 1 ? parent : 0;
}

bool proc_is_descendant(uint64_t os_pid, uint64_t of)
{
	for (int i = 0; i < GENERATIONS && os_pid > 1; i++) {
		os_pid = parent_of(os_pid);
		if (os_pid == of)
			return of > 1;
	}
	return false;
}

/* The handle is taken first and the ancestry looked at then, so the number cannot have become another's
 * in between. */
int proc_kill_worker(uint64_t os_pid, uint64_t node_os_pid)
{
	int fd = (int)syscall(SYS_pidfd_open, (pid_t)os_pid, 0), rc = -ESRCH;

	if (fd < 0)
		return -errno;
	if (proc_is_descendant(os_pid, node_os_pid))
		rc = syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0 ? 0 : -errno;
	close(fd);
	return rc;
}

struct slope proc_slope(const double *t_min, const double *kib, size_t n)
{
	struct slope out = { .n = n };
	double mt = 0, mk = 0, tt = 0, tk = 0, residual = 0;

	if (n < 3)
		return out;
	for (size_t i = 0; i < n; i++) {
		mt += t_min[i] / (double)n;
		mk += kib[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		tt += (t_min[i] - mt) * (t_min[i] - mt);
		tk += (t_min[i] - mt) * (kib[i] - mk);
	}
	if (tt <= 0)
		return out;
	out.kib_per_min = tk / tt;
	for (size_t i = 0; i < n; i++) {
		double d = kib[i] - mk - out.kib_per_min * (t_min[i] - mt);

		residual += d * d;
	}
	out.error = sqrt(residual / (double)(n - 2) / tt);
	out.growth_kib = out.kib_per_min * (t_min[n - 1] - t_min[0]);
	return out;
}
