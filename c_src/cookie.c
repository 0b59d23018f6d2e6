/* cookie.c - the secret that peers and the node share; see cookie.h. */
#include "cookie.h"

#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MADE_LEN 20 /* letters of a cookie that we make, as erl */

static char *take(const char *text, size_t len, const char *from, char *error, size_t size)
{
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	if (len == 0 || len > COOKIE_MAX || memchr(text, '\n', len) != NULL ||
	    memchr(text, 0, len) != NULL) {
		snprintf(error, size, "%s: expected a cookie of 1 to %d characters on one line",
			 from, COOKIE_MAX);
		return NULL;
	}
	return mem_dup(text, len);
}

static char *from_file(const char *path, char *error, size_t size)
{
	char text[COOKIE_MAX + 3];
	struct stat st;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0) {
		snprintf(error, size, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		snprintf(error, size,
			 "%s: found mode %04o, expected one that lets only its owner in: chmod 400",
			 path, (unsigned)st.st_mode & 07777u);
		close(fd);
		return NULL;
	}
	n = read(fd, text, sizeof text);
	close(fd);
	if (n < 0) {
		snprintf(error, size, "%s: %s", path, strerror(errno));
		return NULL;
	}
	return take(text, (size_t)n, path, error, size);
}

/* Writes a random cookie to `path`, readable by its owner only. */
static int make_file(const char *path)
{
	uint8_t random[MADE_LEN];
	char text[MADE_LEN];
	int fd, rc = 0;

	if (getrandom(random, sizeof random, 0) != sizeof random)
		return -EIO;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('A' + random[i] % 26);
	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400)) < 0)
		return -errno;
	if (write(fd, text, sizeof text) != sizeof text)
		rc = -EIO;
	close(fd);
	return rc;
}

char *cookie_read(const char *file, char *error, size_t error_size)
{
	const char *text = getenv("KRAIT_COOKIE"), *home = getenv("HOME");
	char path[512], *cookie;
	int rc;

	if (file != NULL)
		return from_file(file, error, error_size);
	if (text != NULL) {
		cookie = take(text, strlen(text), "$KRAIT_COOKIE", error, error_size);
		unsetenv("KRAIT_COOKIE");
		return cookie;
	}
	if (home == NULL) {
		const struct passwd *pw = getpwuid(getuid());

		home = pw != NULL ? pw->pw_dir : "/";
	}
	snprintf(path, sizeof path, "%s/.erlang.cookie", home);
	if (access(path, F_OK) != 0 && (rc = make_file(path)) != 0 && rc != -EEXIST) {
		snprintf(error, error_size, "%s: cannot make it: %s", path, strerror(-rc));
		return NULL;
	}
	return from_file(path, error, error_size);
}
