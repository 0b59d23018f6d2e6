/* peer_user.c - which local user has opened a connection over loopback.
 *
 * The kernel is asked for the socket at the other end by its four addresses (NETLINK_SOCK_DIAG, see
 * sock_diag(7)); it answers within the sendto(), so nothing is waited for. The user is the one who made the
 * socket, whoever holds it now. What can go wrong: the connection is not of this machine, or of another
 * network name space; the kernel has no such diagnosis; the socket is closed already. Then the user is
 * not known. */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct question {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
};

/* An address as 16 bytes (4 of IPv4, also where it is written as IPv6), and its port. False: no loopback. */
static bool take_address(const struct sockaddr_storage *from, uint8_t *family, uint32_t *address,
			 uint16_t *port)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)from;
	const struct sockaddr_in *four = (const struct sockaddr_in *)from;

	memset(address, 0, 16);
	if (from->ss_family == AF_INET) {
		*family = AF_INET;
		*port = four->sin_port;
		memcpy(address, &four->sin_addr, 4);
	} else if (from->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		*family = AF_INET;
		*port = six->sin6_port;
		memcpy(address, six->sin6_addr.s6_addr + 12, 4);
	} else if (from->ss_family == AF_INET6) {
		*family = AF_INET6;
		*port = six->sin6_port;
		memcpy(address, &six->sin6_addr, 16);
		return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
	} else {
		return false;
	}
	return ntohl(address[0]) >> 24 == 127;
}

/* Sends the question and reads the one answer. */
static int ask(int fd, const struct question *q, uint32_t *uid)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_Alignas(struct nlmsghdr) char answer[1024];
	const struct nlmsghdr *head = (const struct nlmsghdr *)(void *)answer;
	const struct inet_diag_msg *found = NLMSG_DATA(head);
	ssize_t n;

	if (sendto(fd, q, sizeof *q, MSG_DONTWAIT, (struct sockaddr *)&kernel, sizeof kernel) < 0)
		return -errno;
	if ((n = recv(fd, answer, sizeof answer, MSG_DONTWAIT)) < 0)
		return -errno;
	if ((size_t)n < NLMSG_LENGTH(sizeof *found) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -ENOENT;
	*uid = found->idiag_uid;
	return 0;
}

int peer_user(const struct peer *p, uint32_t *uid)
{
	struct question q = {
		.head = { .nlmsg_len = sizeof q,
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST },
		.body = { .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u },
	};
	struct sockaddr_storage ours = { 0 }, theirs = { 0 };
	uint8_t family;
	int fd, rc;

	if ((rc = peer_addresses(p, &ours, &theirs)) != 0)
		return rc;
	/* theirs is the source: it is their socket that is asked for */
	if (!take_address(&ours, &family, q.body.id.idiag_dst, &q.body.id.idiag_dport) ||
	    !take_address(&theirs, &q.body.sdiag_family, q.body.id.idiag_src,
			  &q.body.id.idiag_sport))
		return -ENOENT;
	q.body.id.idiag_cookie[0] = q.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;
	rc = ask(fd, &q, uid);
	close(fd);
	return rc;
}
