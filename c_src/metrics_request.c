/* metrics_request.c - who may ask, and what he hears; see metrics.h.
 *
 * A request is looked at when its head is there, and answered when it has ended: only one with a body is
 * answered at once, which closes its connection, since what follows is not read. Everything that the owner
 * says goes out with the same headers: nothing is stored, framed, sniffed, or read by other origins. */
#include "metrics_private.h"

#include "mem.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX   256
#define NO_SCRIPT  "default-src 'none'; frame-ancestors 'none'"
#define PLAIN      "text/plain; charset=utf-8"
#define NO_SUCH    "There is nothing here. There is: / /metrics /healthz /readyz /api/status\n"
#define ONLY_READ  "Only GET and HEAD are served here.\n"
#define NO_BODY    "A request must have no body.\n"
#define WRONG_HOST "This name is not one of mine: use an address, or name it in --metrics-host.\n"
#define WRONG_PAGE "A page of another origin may not read this.\n"
#define NO_ANSWER  "No memory for the answer.\n"

/* ---- who may ask ---- */

/* Host without its port, and without the brackets of IPv6. False: it is too long to be one. */
static bool host_name(const char *host, char name[HOST_MAX])
{
	const char *end;

	if (host[0] == '[') {
		host++;
		end = strchr(host, ']');
	} else {
		end = strrchr(host, ':');
	}
	if (end == NULL)
		end = host + strlen(host);
	if (end - host >= HOST_MAX)
		return false;
	memcpy(name, host, (size_t)(end - host));
	name[end - host] = '\0';
	return true;
}

static bool is_host_ours(const struct metrics *m, const char *host)
{
	char name[HOST_MAX];
	struct in6_addr address;

	if (!host_name(host, name))
		return false;
	if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1 ||
	    strcasecmp(name, "localhost") == 0)
		return true;
	for (size_t i = 0; i < m->options.host_count; i++)
		if (strcasecmp(name, m->options.hosts[i]) == 0)
			return true;
	return false;
}

/* Whether a script that the browser has from `origin` is one of ours. */
static bool is_origin_ours(const char *origin, const char *host)
{
	return strncmp(origin, "http://", 7) == 0 && strcasecmp(origin + 7, host) == 0;
}

/* NULL: he may. */
static const char *why_not(const struct metrics *m, struct MHD_Connection *connection)
{
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host"),
		   *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");

	if (host != NULL && !is_host_ours(m, host))
		return WRONG_HOST;
	if (origin != NULL && (host == NULL || !is_origin_ours(origin, host)))
		return WRONG_PAGE;
	return NULL;
}

static bool has_body(struct MHD_Connection *connection)
{
	const char *length =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");

	return (length != NULL && strcmp(length, "0") != 0) ||
	       MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding") !=
		       NULL;
}

/* ---- answers ---- */

static enum MHD_Result reply(struct metrics *m, struct MHD_Connection *connection, unsigned status,
			     const char *type, const char *policy, struct MHD_Response *response)
{
	enum MHD_Result rc;

	if (response == NULL)
		return MHD_NO;
	m->counts.requests += status < 400 || status >= 500 ? 1 : 0;
	m->counts.refused += status >= 400 && status < 500 ? 1 : 0;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "Content-Security-Policy", policy);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	if (has_body(connection)) /* it is not read */
		MHD_add_response_header(response, "Connection", "close");
	rc = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result reply_text(struct metrics *m, struct MHD_Connection *connection,
				  unsigned status, const char *text)
{
	return reply(m, connection, status, PLAIN, NO_SCRIPT,
		     MHD_create_response_from_buffer(strlen(text), (void *)text,
						     MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result reply_page(struct metrics *m, struct MHD_Connection *connection)
{
	struct metrics_page page = metrics_page();

	return reply(m, connection, MHD_HTTP_OK, "text/html; charset=utf-8", page.policy,
		     MHD_create_response_from_buffer(page.len, (void *)page.text,
						     MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result reply_asked(struct metrics *m, struct MHD_Connection *connection,
				   const char *path)
{
	const char *since = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "since");
	struct metrics_answer answer = { .type = PLAIN };
	struct MHD_Response *response;

	m->options.on_asked(m->options.arg, path, since != NULL ? strtoull(since, NULL, 10) : 0,
			    &answer);
	if (answer.status == 0 || answer.body.err != 0) {
		buf_free(&answer.body);
		return answer.status == 0
			       ? reply_text(m, connection, MHD_HTTP_NOT_FOUND, NO_SUCH)
			       : reply_text(m, connection, MHD_HTTP_SERVICE_UNAVAILABLE, NO_ANSWER);
	}
	response = MHD_create_response_from_buffer_with_free_callback(answer.body.len,
								      answer.body.data, mem_free);
	if (response == NULL)
		buf_free(&answer.body);
	return reply(m, connection, answer.status, answer.type, NO_SCRIPT, response);
}

enum MHD_Result metrics_on_request(void *arg, struct MHD_Connection *connection, const char *path,
				   const char *method, const char *version, const char *upload,
				   size_t *upload_len, void **context)
{
	static char head_seen;
	struct metrics *m = arg;
	bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	const char *why;

	(void)version;
	(void)upload;
	if (*context == NULL && !has_body(connection)) {
		*context =
			&head_seen; /* answered when it is complete, so that the next may follow */
		return MHD_YES;
	}
	*upload_len = 0;
	if (!reads)
		return reply_text(m, connection, MHD_HTTP_METHOD_NOT_ALLOWED, ONLY_READ);
	if (*context == NULL)
		return reply_text(m, connection, MHD_HTTP_CONTENT_TOO_LARGE, NO_BODY);
	if ((why = why_not(m, connection)) != NULL)
		return reply_text(m, connection, MHD_HTTP_FORBIDDEN, why);
	if (strcmp(path, "/") == 0)
		return reply_page(m, connection);
	return reply_asked(m, connection, path);
}
