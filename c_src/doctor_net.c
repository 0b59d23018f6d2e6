/* doctor_net.c - sockets with a deadline; see doctor_private.h. */
#include "doctor_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t doctor_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits for `events`. 0, or -ETIMEDOUT. */
static int await(int fd, short events, uint64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = doctor_now_ms();
		int n = now < deadline ? poll(&p, 1, (int)(deadline - now)) : 0;

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

int doctor_connect(const struct sockaddr *to, socklen_t len, uint64_t deadline)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc = 0;
	socklen_t size = sizeof rc;

	if (fd < 0)
		return -errno;
	if (connect(fd, to, len) == 0)
		return fd;
	if (errno != EINPROGRESS)
		rc = -errno;
	else if ((rc = await(fd, POLLOUT, deadline)) == 0 &&
		 getsockopt(fd, SOL_SOCKET, SO_ERROR, &rc, &size) == 0)
		rc = -rc;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int doctor_send(int fd, const void *data, size_t len, uint64_t deadline)
{
	const char *at = data;
	int rc;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0 && (rc = await(fd, POLLOUT, deadline)) != 0)
			return rc;
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

ssize_t doctor_receive(int fd, void *data, size_t len, uint64_t deadline)
{
	int rc = await(fd, POLLIN, deadline);
	ssize_t n;

	if (rc != 0)
		return rc;
	n = read(fd, data, len);
	return n >= 0 ? n : -errno;
}

bool doctor_address(const char *ip, uint16_t port, struct sockaddr_storage *to, socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof *to);
	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*len = sizeof *v4;
		return true;
	}
	if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*len = sizeof *v6;
		return true;
	}
	return false;
}

bool doctor_reach(const char *ip, uint16_t port, struct sockaddr_storage *to, socklen_t *len)
{
	if (strcmp(ip, "0.0.0.0") == 0)
		ip = "127.0.0.1";
	else if (strcmp(ip, "::") == 0)
		ip = "::1";
	return doctor_address(ip, port, to, len);
}
