/* check_cgroup.c - where the node's cgroup is, what is written for a worker, what is read afterwards.
 *
 * In directories that look like cgroups; what the kernel makes of it is tried where we may write a real one, with
 * processes that really join it. */
#include "../include/cgroup.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char own[PATH_MAX]; /* a directory that looks like a cgroup */
static char path[PATH_MAX], why[PATH_MAX + 128];

static void given_file(const char *dir, const char *name, const char *text)
{
	char file[PATH_MAX + 64];
	FILE *f;

	snprintf(file, sizeof file, "%s/%s", dir, name);
	ck_assert_ptr_nonnull(f = fopen(file, "w"));
	fputs(text, f);
	fclose(f);
}

static const char *content(const char *dir, const char *name)
{
	static char text[256];
	char file[PATH_MAX + 64];
	size_t n;
	FILE *f;

	snprintf(file, sizeof file, "%s/%s", dir, name);
	if ((f = fopen(file, "r")) == NULL)
		return "(no file)";
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static void given_a_cgroup(void)
{
	char dir[] = "/tmp/check_cgroup.XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(own, sizeof own, "%s", dir);
	given_file(own, "cgroup.controllers", "cpuset cpu io memory pids\n");
	given_file(own, "cgroup.procs", "1\n");
}

static void it_is_removed(void)
{
	char command[PATH_MAX + 16];

	snprintf(command, sizeof command, "rm -r %s", own);
	ck_assert_int_eq(system(command), 0);
}

static struct cgroup *opened(uint64_t memory_max, uint64_t cpu_max)
{
	return cgroup_open(own,
			   &(struct cgroup_limits){ .memory_max = memory_max, .cpu_max = cpu_max },
			   why, sizeof why);
}

/* ---- where we are ---- */

#define V2     "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define PROC   "24 1 0:22 / /proc rw - proc proc rw\n"
#define HYBRID "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
#define BOUND  "30 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw\n"

static const struct {
	const char *mountinfo, *cgroup, *path; /* path NULL: none */
} places[] = {
	{ PROC V2, "0::/system.slice/krait.service\n",
	  "/sys/fs/cgroup/system.slice/krait.service" },
	{ V2, "0::/\n", "/sys/fs/cgroup" },
	{ PROC HYBRID, "9:name=systemd:/x\n1:cpu:/\n0::/user\n", "/sys/fs/cgroup/unified/user" },
	{ BOUND, "0::/docker/1/app\n", "/sys/fs/cgroup/app" },
	{ BOUND, "0::/docker/1\n", "/sys/fs/cgroup" },
	{ BOUND, "0::/other\n", NULL },
	{ V2, "0::/../elsewhere\n", NULL },
	{ PROC, "0::/\n", NULL },
	{ V2, "4:memory:/a\n", NULL },
	{ "", "", NULL },
};

START_TEST(its_place_is_found_from_the_mounts_and_the_membership)
{
	const char *expected = places[_i].path;
	bool found = cgroup_place(places[_i].mountinfo, places[_i].cgroup, path, sizeof path, why,
				  sizeof why);

	ck_assert_msg(found == (expected != NULL), "row %d", _i);
	if (found)
		ck_assert_str_eq(path, expected);
	else
		ck_assert(strstr(why, "cgroup") != NULL);
}
END_TEST

START_TEST(a_path_that_is_too_long_is_none)
{
	ck_assert(!cgroup_place(V2, "0::/system.slice\n", path, 20, why, sizeof why));
}
END_TEST

/* ---- what is written ---- */

START_TEST(a_workers_group_has_its_limits)
{
	struct cgroup *g = opened(1, 1);

	ck_assert_ptr_nonnull(g);
	ck_assert_str_eq(content(own, "cgroup.subtree_control"), "+memory +cpu");
	ck_assert_int_eq(
		cgroup_make(g, 7,
			    &(struct cgroup_limits){ .memory_max = 104857600, .cpu_max = 150 },
			    path),
		0);
	ck_assert_str_eq(content(path, "memory.max"), "104857600");
	ck_assert_str_eq(content(path, "memory.oom.group"), "1");
	ck_assert_str_eq(content(path, "cpu.max"), "150000 100000");
	cgroup_close(g);
}
END_TEST

START_TEST(a_limit_that_is_not_wanted_is_not_written)
{
	struct cgroup *g = opened(0, 1);

	ck_assert_int_eq(cgroup_make(g, 8, &(struct cgroup_limits){ .cpu_max = 50 }, path), 0);
	ck_assert_str_eq(content(path, "memory.max"), "(no file)");
	ck_assert_str_eq(content(path, "cpu.max"), "50000 100000");
	ck_assert_int_eq(cgroup_make(g, 8, &(struct cgroup_limits){ .cpu_max = 50 }, path),
			 -EEXIST);
	cgroup_close(g);
}
END_TEST

START_TEST(controllers_that_are_missing_are_named)
{
	given_file(own, "cgroup.controllers", "cpuset pids memoryx\n");
	ck_assert_ptr_null(opened(1, 0));
	ck_assert(strstr(why, "\"cpuset pids memoryx\"; needed: memory") != NULL);
	ck_assert_ptr_null(opened(0, 1));
	ck_assert(strstr(why, "needed: cpu") != NULL);
	given_file(own, "cgroup.controllers", "");
	ck_assert_ptr_null(opened(1, 1));
}
END_TEST

START_TEST(a_directory_that_is_none_is_refused)
{
	snprintf(path, sizeof path, "%.4000s/cgroup.controllers", own);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_ptr_null(opened(1, 1));
	ck_assert(strstr(why, "is no cgroup2") != NULL);
}
END_TEST

START_TEST(a_death_for_want_of_memory_is_known)
{
	struct cgroup *g = opened(1, 0);

	ck_assert_int_eq(cgroup_make(g, 9, &(struct cgroup_limits){ .memory_max = 1 }, path), 0);
	ck_assert(!cgroup_out_of_memory(g, 9));
	given_file(path, "memory.events", "low 0\nhigh 0\nmax 17\noom 0\noom_kill 0\n");
	ck_assert(!cgroup_out_of_memory(g, 9));
	given_file(path, "memory.events", "low 0\nhigh 0\nmax 17\noom 1\noom_kill 2\n");
	ck_assert(cgroup_out_of_memory(g, 9));
	ck_assert(!cgroup_out_of_memory(g, 10));
	cgroup_close(g);
}
END_TEST

START_TEST(what_a_node_left_behind_that_is_gone_is_removed)
{
	int gone = fork();
	char theirs[PATH_MAX], alive[PATH_MAX];
	struct cgroup *g;

	if (gone == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(gone, NULL, 0), gone);
	snprintf(theirs, sizeof theirs, "%.4000s/krait-%d-3", own, gone);
	snprintf(alive, sizeof alive, "%.4000s/krait-%d-3", own, (int)getppid());
	ck_assert(mkdir(theirs, 0755) == 0 && mkdir(alive, 0755) == 0);
	ck_assert_ptr_nonnull(g = opened(1, 0));
	ck_assert(access(theirs, F_OK) != 0 && access(alive, F_OK) == 0);
	cgroup_close(g);
}
END_TEST

/* ---- the kernel's own ---- */

static void join_and_wait(void)
{
	char file[PATH_MAX + 16];
	FILE *f;

	snprintf(file, sizeof file, "%s/cgroup.procs", path);
	f = fopen(file, "w");
	if (f == NULL || fputs("0", f) < 0 || fclose(f) != 0)
		_exit(1);
	setsid(); /* out of reach of any kill of a process group */
	raise(SIGSTOP);
	for (;;)
		pause();
}

START_TEST(what_is_left_in_a_group_is_killed_and_the_group_removed)
{
	int child, status;
	struct cgroup *g;

	if (!cgroup_own(own, sizeof own, why, sizeof why) || access(own, W_OK) != 0 ||
	    (g = opened(0, 0)) == NULL)
		return; /* no place to try it */
	if (cgroup_make(g, 1, &(struct cgroup_limits){ 0 }, path) != 0) {
		cgroup_close(g);
		return; /* a file system that is read only */
	}
	if ((child = fork()) == 0)
		join_and_wait();
	ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
	ck_assert(WIFSTOPPED(status));
	ck_assert(strstr(content(path, "cgroup.procs"), "\n") != NULL);
	cgroup_remove(g, 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	cgroup_remove(g, 2); /* another that ends: by now the first is empty */
	ck_assert(access(path, F_OK) != 0);
	cgroup_close(g);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cgroup");
	TCase *places_tc = tcase_create("places"), *tc = tcase_create("files");
	TCase *real = tcase_create("kernel");

	tcase_add_loop_test(places_tc, its_place_is_found_from_the_mounts_and_the_membership, 0,
			    (int)(sizeof places / sizeof places[0]));
	tcase_add_test(places_tc, a_path_that_is_too_long_is_none);
	suite_add_tcase(suite, places_tc);
	tcase_add_checked_fixture(tc, given_a_cgroup, it_is_removed);
	tcase_add_test(tc, a_workers_group_has_its_limits);
	tcase_add_test(tc, a_limit_that_is_not_wanted_is_not_written);
	tcase_add_test(tc, controllers_that_are_missing_are_named);
	tcase_add_test(tc, a_directory_that_is_none_is_refused);
	tcase_add_test(tc, a_death_for_want_of_memory_is_known);
	tcase_add_test(tc, what_a_node_left_behind_that_is_gone_is_removed);
	suite_add_tcase(suite, tc);
	tcase_add_test(real, what_is_left_in_a_group_is_killed_and_the_group_removed);
	suite_add_tcase(suite, real);
	return run(suite);
}
