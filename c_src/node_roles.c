/* node_roles.c - who may say what: the role of a peer, and what a verb needs.
 *
 * The verbs' roles are a column of the table of requests (request_verb_role()). A peer has the role
 *   admin  if a pattern of `admin` fits its node's name, or it is a connection of a user of `admin_users` on
 *          this machine; without either list, if it may watch
 *   watch  if it is admin, or a pattern of `watch` fits its name; without that list, always
 *   use    always: it knows the cookie
 * The lists may change while it is connected, so they are looked at with every verb that is not for all.
 *
 * A node's name is what the peer says it is: who knows the cookie can say any. A user is what the kernel
 * says of the socket; it is asked once a connection, and only if there is a list of users. */
#include "node_private.h"

#include "log.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USERS_FILE "/etc/passwd" /* local users; nobody else is asked, who might take his time */

static bool has_match(const struct config_list *patterns, const char *name)
{
	for (uint64_t i = 0; i < patterns->count; i++)
		if (config_matches(patterns->item[i], name, strlen(name)))
			return true;
	return false;
}

/* The name of a local user, in a static buffer; his number where he has none. */
static const char *user_name(uint32_t uid)
{
	static char name[64];
	const struct passwd *pw;
	FILE *file = fopen(USERS_FILE, "re");

	snprintf(name, sizeof name, "%u", uid);
	while (file != NULL && (pw = fgetpwent(file)) != NULL)
		if (pw->pw_uid == uid) {
			snprintf(name, sizeof name, "%s", pw->pw_name);
			break;
		}
	if (file != NULL)
		fclose(file);
	return name;
}

/* The user who opened the connection. False: it is not of this machine. */
static bool find_user(struct books *b, uint32_t *uid)
{
	if (b->user == USER_UNASKED) {
		b->user = USER_UNKNOWN;
		if (peer_user(b->peer, &b->uid) == 0)
			b->user = USER_KNOWN;
	}
	*uid = b->uid;
	return b->user == USER_KNOWN;
}

const char *node_user(struct books *b)
{
	uint32_t uid;

	if (b->node->config->admin_users.count == 0 || !find_user(b, &uid))
		return NULL;
	return user_name(uid);
}

static bool is_listed_user(struct books *b)
{
	const struct config_list *users = &b->node->config->admin_users;
	char number[16];
	const char *name;
	uint32_t uid;

	if (users->count == 0 || !find_user(b, &uid))
		return false;
	name = user_name(uid);
	snprintf(number, sizeof number, "%u", uid);
	for (uint64_t i = 0; i < users->count; i++)
		if (strcmp(users->item[i], name) == 0 || strcmp(users->item[i], number) == 0)
			return true;
	return false;
}

enum request_role node_role(struct books *b)
{
	const struct config *c = b->node->config;
	const char *name = dist_peer_name(peer_dist(b->peer));
	bool watches = c->watch.count == 0 || has_match(&c->watch, name);
	bool listed = has_match(&c->admin, name) || is_listed_user(b);

	if (listed || (watches && c->admin.count == 0 && c->admin_users.count == 0))
		return ROLE_ADMIN;
	return watches ? ROLE_WATCH : ROLE_USE;
}

bool node_may(struct books *b, enum request_verb verb, struct buf *reason)
{
	enum request_role needed = request_verb_role(verb);

	if (needed == ROLE_USE || node_role(b) >= needed)
		return true;
	log_line(LOG_WARNING, peer_label(b->peer), "may not %s: that needs the role %s",
		 request_verb_name(verb), request_role_name(needed));
	term_put_tuple(reason, 3);
	term_put_atom(reason, "forbidden");
	term_put_atom(reason, request_verb_name(verb));
	term_put_atom(reason, request_role_name(needed));
	return false;
}
