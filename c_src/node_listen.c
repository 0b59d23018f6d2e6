/* node_listen.c - the listener: where peers come in.
 *
 * What can go wrong: the address is none, or is taken (the start fails, and says so); a connection too many
 * (it is closed, with a line in the log). */
#include "node_private.h"

#include "log.h"

#include <string.h>

#define BACKLOG 1024

static void on_connection(uv_stream_t *listener, int status)
{
	struct node *n = listener->data;
	struct books *b;
	int rc = status;

	if (status != 0 || (b = mem_zalloc(sizeof *b)) == NULL) {
		log_line(LOG_ERROR, "listener", "cannot accept: %s",
			 status != 0 ? uv_strerror(rc) : "no memory");
		return;
	}
	b->peer = peer_accept(&n->loop, listener, node_id(n), &n->peer_options,
			      &node_peer_callbacks, n, &rc);
	if (b->peer == NULL) {
		log_line(LOG_ERROR, "listener", "cannot accept: %s", uv_strerror(rc));
		mem_free(b);
		return;
	}
	books_open(n, b);
	if (n->peers > n->config->max_peers)
		peer_close(b->peer, "there are max_peers connections already");
}

int node_listen(struct node *n)
{
	struct sockaddr_storage addr = { 0 };
	struct sockaddr *sa = (struct sockaddr *)&addr;
	int len = sizeof addr, rc;

	uv_tcp_init(&n->loop,
		    &n->listener); /* whatever is wrong with the address, it will be closed */
	n->listener.data = n;
	if (uv_ip4_addr(n->config->listen, (int)n->config->port, (struct sockaddr_in *)sa) != 0 &&
	    uv_ip6_addr(n->config->listen, (int)n->config->port, (struct sockaddr_in6 *)sa) != 0) {
		log_line(LOG_ERROR, "listener", "--listen: found \"%s\", expected an IP address",
			 n->config->listen);
		return UV_EINVAL;
	}
	if ((rc = uv_tcp_bind(&n->listener, sa, 0)) != 0 ||
	    (rc = uv_listen((uv_stream_t *)&n->listener, BACKLOG, on_connection)) != 0 ||
	    (rc = uv_tcp_getsockname(&n->listener, sa, &len)) != 0) {
		log_line(LOG_ERROR, "listener", "cannot listen on %s port %llu: %s",
			 n->config->listen, (unsigned long long)n->config->port, uv_strerror(rc));
		return rc;
	}
	n->port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)sa)->sin6_port
						   : ((struct sockaddr_in *)sa)->sin_port);
	return 0;
}
