/* doctor_cookie.c - the secret that peers and the node share: where it is, who else can read it, whether it is
 * the one that other programs on this machine would use. */
#include "doctor_private.h"

#include "cookie.h"
#include "mem.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEANS "without a cookie nobody can connect, and the node does not start"

/* Where erl keeps it for us. */
static void home_cookie(char *path, size_t size)
{
	const char *home = getenv("HOME");

	if (home == NULL) {
		const struct passwd *pw = getpwuid(getuid());

		home = pw != NULL ? pw->pw_dir : "/";
	}
	snprintf(path, size, "%s/.erlang.cookie", home);
}

/* Whether a file holds another cookie than ours. */
static bool differs(const struct doctor *d, const char *path)
{
	char why[600], *other = access(path, R_OK) == 0 ? cookie_read(path, why, sizeof why) : NULL;
	bool answer = other != NULL && strcmp(other, d->cookie) != 0;

	mem_free(other);
	return answer;
}

/* A file that the node may use: does it belong to who runs it? */
static void judge_owner(struct doctor *d, const char *path)
{
	struct stat st;
	const struct passwd *pw;

	if (stat(path, &st) != 0)
		return;
	pw = getpwuid(st.st_uid);
	if (st.st_uid != geteuid())
		doctor_say(d, DOUBT, "cookie",
			   "who owns it can change it, and another user than you may not be able "
			   "to read it",
			   "run the doctor as the user that runs the node; or chown",
			   "%s belongs to %s, and you are another user", path,
			   pw != NULL ? pw->pw_name : "nobody that has a name");
	else
		doctor_say(d, FINE, "cookie", "nodes that know it may connect", NULL,
			   "%s, mode %04o", path, (unsigned)st.st_mode & 07777u);
}

static void judge_file(struct doctor *d, const char *path)
{
	char why[900], advice[1200];
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
		snprintf(advice, sizeof advice, "chmod 400 %s", path);
		doctor_say(d, WRONG, "cookie",
			   "others of this machine can read the secret that lets peers run code; "
			   "the node "
			   "refuses it",
			   advice, "%s: found mode %04o, expected 0400", path,
			   (unsigned)st.st_mode & 07777u);
		return;
	}
	if ((d->cookie = cookie_read(path, why, sizeof why)) != NULL)
		judge_owner(d, path);
	else
		doctor_say(d, WRONG, "cookie", MEANS,
			   access(path, R_OK) == 0 ? "write the cluster's cookie into it, one line "
						     "of up to 255 characters"
						   : "a file that the node's user can read",
			   "%s", why);
}

/* $KRAIT_COOKIE, which counts more than the file at home. */
static void judge_variable(struct doctor *d, const char *file)
{
	char why[600];

	if ((d->cookie = cookie_read(NULL, why, sizeof why)) == NULL)
		doctor_say(d, WRONG, "cookie", MEANS, "the cluster's cookie, or no such variable",
			   "%s", why);
	else if (differs(d, file))
		doctor_say(d, DOUBT, "cookie",
			   "what is started here without the variable, erl and kraitctl for two, "
			   "has another one",
			   "one cookie for all: unset $KRAIT_COOKIE, or write it into the file",
			   "from $KRAIT_COOKIE; %s has another", file);
	else
		doctor_say(d, FINE, "cookie", "nodes that know it may connect", NULL,
			   "from $KRAIT_COOKIE");
}

void doctor_cookie(struct doctor *d)
{
	char path[PATH_MAX], home[PATH_MAX];

	home_cookie(path, sizeof path);
	if (d->config->cookie_file != NULL) {
		judge_file(d, d->config->cookie_file);
	} else if (getenv("KRAIT_COOKIE") != NULL) {
		judge_variable(d, path);
	} else if (access(path, F_OK) == 0) {
		judge_file(d, path);
	} else {
		snprintf(home, sizeof home, "%.*s", (int)(strrchr(path, '/') - path), path);
		if (access(home[0] != '\0' ? home : "/", W_OK) == 0)
			doctor_say(d, DOUBT, "cookie",
				   "the node makes a random one, which no other machine has",
				   "write the cluster's cookie there, mode 0400; on one machine "
				   "alone that is well",
				   "there is no %s", path);
		else
			doctor_say(d, WRONG, "cookie", MEANS,
				   "--cookie-file, $KRAIT_COOKIE, or a home that the node's user "
				   "can write",
				   "there is no %s, and it cannot be made: %s", path,
				   strerror(errno));
	}
}
