/* doctor_name.c - the node's name, the host in it, and the addresses that it wants to listen on. */
#include "doctor_private.h"

#include "start.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether a socket can be bound to it: 0, or a negative errno. */
static int try_bind(const struct sockaddr_storage *to, socklen_t len, int type)
{
	int fd = socket(to->ss_family, type | SOCK_CLOEXEC, 0), yes = 1, rc = 0;

	if (fd < 0)
		return -errno;
	if (type == SOCK_STREAM) /* as the node does: what is closing does not keep the port */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(fd, (const struct sockaddr *)to, len) != 0 ||
	    (type == SOCK_STREAM && listen(fd, 1) != 0))
		rc = -errno;
	close(fd);
	return rc;
}

static bool is_loopback(const struct sockaddr *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;

	return a->sa_family == AF_INET
		       ? ntohl(v4->sin_addr.s_addr) >> 24 == 127
		       : IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

/* Whether what listens on `ip` takes connections to that address, one of this machine's. */
static bool listens_for(const char *ip, const struct sockaddr *a)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0)
		return true;
	getnameinfo(a,
		    a->sa_family == AF_INET ? sizeof(struct sockaddr_in)
					    : sizeof(struct sockaddr_in6),
		    text, sizeof text, NULL, 0, NI_NUMERICHOST);
	return strcmp(ip, text) == 0;
}

/* The address that the host in our name has. */
static void judge_address(struct doctor *d, const struct addrinfo *found)
{
	const char *listen = d->config->listen;
	struct sockaddr_storage local = { 0 };
	char text[INET6_ADDRSTRLEN] = "?";

	memcpy(&local, found->ai_addr, found->ai_addrlen);
	getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
	if (try_bind(&local, found->ai_addrlen, SOCK_DGRAM) != 0)
		doctor_say(d, WRONG, "host", "peers that look for this node go to another machine",
			   "put an address of this machine into DNS or /etc/hosts, or into --name "
			   "itself",
			   "%s is %s, which is no address of this machine", d->host, text);
	else if (!listens_for(listen, found->ai_addr))
		doctor_say(
			d, DOUBT, "host",
			"peers that look for this node find an address that it does not listen on",
			"give --listen that address, or --name a host that is the --listen address",
			"%s is %s, and the node would listen on %s", d->host, text, listen);
	else if (is_loopback(found->ai_addr))
		doctor_say(d, FINE, "host", "only this machine reaches the node", NULL,
			   "%s is %s: for peers on this machine only", d->host, text);
	else
		doctor_say(d, FINE, "host", "peers reach the node by its name", NULL, "%s is %s",
			   d->host, text);
}

static void judge_host(struct doctor *d)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found;
	int rc;

	if (strchr(d->config->listen, ':') != NULL)
		hints.ai_family = AF_INET6;
	if ((rc = getaddrinfo(d->host, NULL, &hints, &found)) != 0) {
		doctor_say(d, WRONG, "host", "no peer can find this node by its name",
			   "put the host into DNS or /etc/hosts, or an address into --name: "
			   "NAME@10.0.0.7",
			   "%s has no address: %s", d->host, gai_strerror(rc));
		return;
	}
	judge_address(d, found);
	freeaddrinfo(found);
}

void doctor_name(struct doctor *d)
{
	char why[600];

	if (start_name(d->config, d->name, sizeof d->name, why, sizeof why) != 0 ||
	    !dist_name_ok(d->name, strlen(d->name))) {
		doctor_say(d, WRONG, "name", "without a name there is no node",
			   "--name NAME@HOST, letters, digits, _ and - before the @", "%s",
			   d->name[0] != '\0' ? d->name : why);
		d->name[0] = '\0';
		return;
	}
	d->host = strchr(d->name, '@') + 1;
	if (d->config->name != NULL && strchr(d->host, '.') == NULL && strchr(d->host, ':') == NULL)
		doctor_say(d, DOUBT, "name",
			   "a BEAM that was started with -name takes no name without a dot in its "
			   "host",
			   "--sname for BEAMs with -sname, or --name with a full host name or an "
			   "address",
			   "%s: a long name whose host has no dot", d->name);
	else
		doctor_say(d, FINE, "name", "what peers connect to", NULL, "%s: a %s name", d->name,
			   strchr(d->host, '.') != NULL ? "long" : "short");
	judge_host(d);
}

/* ---- ports ---- */

static void judge_port(struct doctor *d, const char *option, const char *ip, uint16_t port)
{
	struct sockaddr_storage to;
	socklen_t len;
	int rc;

	if (!doctor_address(ip, port, &to, &len)) {
		doctor_say(d, WRONG, "port", "the node cannot listen there",
			   "an IP address; a name must be looked up first",
			   "%s: \"%s\" is no IP address", option, ip);
		return;
	}
	rc = try_bind(&to, len, SOCK_STREAM);
	if (rc == 0)
		doctor_say(d, FINE, "port", "the node can listen there", NULL,
			   port == 0 ? "%s: %s, a port that is free" : "%s: %s port %u", option, ip,
			   port);
	else if (rc == -EADDRINUSE && d->running_port != 0)
		doctor_say(d, FINE, "port", "the node that runs has it", NULL,
			   "%s: %s port %u is taken, and a node of this name runs", option, ip,
			   port);
	else if (rc == -EADDRINUSE)
		doctor_say(d, WRONG, "port", "the node ends at once: another program has that port",
			   "look who with `ss -ltnp`, and end it or take another port",
			   "%s: %s port %u is taken", option, ip, port);
	else
		doctor_say(d, WRONG, "port", "the node ends at once: it cannot listen there",
			   rc == -EADDRNOTAVAIL
				   ? "an address of this machine (`ip address`), or 0.0.0.0 for all"
				   : "another port; those below 1024 take rights",
			   "%s: %s port %u: %s", option, ip, port, strerror(-rc));
}

void doctor_ports(struct doctor *d)
{
	const struct config *c = d->config;
	const char *colon;
	char ip[INET6_ADDRSTRLEN + 2];
	size_t len;

	judge_port(d, "--listen", c->listen, (uint16_t)c->port);
	if (c->metrics == NULL || (colon = strrchr(c->metrics, ':')) == NULL)
		return;
	len = (size_t)(colon - c->metrics);
	snprintf(ip, sizeof ip, "%.*s", (int)(len < sizeof ip ? len : sizeof ip - 1), c->metrics);
	if (ip[0] == '[' && len < sizeof ip && ip[len - 1] == ']') { /* [::1]:9400 */
		ip[len - 1] = '\0';
		memmove(ip, ip + 1, len - 1);
	}
	judge_port(d, "--metrics", ip, (uint16_t)strtoul(colon + 1, NULL, 10));
}
