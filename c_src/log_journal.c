/* log_journal.c - the journal of systemd, by its native protocol; see log_journal.h. */
#include "log_journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define JOURNAL_PATH "/run/systemd/journal/socket"

bool log_journal_is_stderr(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == (dev_t)device &&
	       st.st_ino == (ino_t)inode;
}

int log_journal_open(void)
{
	const char *path = getenv("KRAIT_JOURNAL_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, rc;

	if (path == NULL)
		path = JOURNAL_PATH;
	if (strlen(path) >= sizeof addr.sun_path)
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

int log_journal_send(int fd, const char *entry, size_t len)
{
	return send(fd, entry, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len ? 0 : -errno;
}
