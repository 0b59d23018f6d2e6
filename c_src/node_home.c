/* node_home.c - where a pid lives that somebody else told us.
 *
 * A peer's own pids are its own affair. But a call may be forwarded (gen_server:reply() goes to the node of
 * From), a lease be given to, a session be owned by, a worker call a process of another peer: that one hears of
 * it from us, and closes its connection with us when it cannot read the pid as one of its own, or what comes
 * with it, such as the reason that a third one has ended a lease with (term_home.h). So of a pid that its peer cannot have we say nothing to that peer: it is a process that
 * is not there. The same for pids of an earlier life of it: an UNLINK_ID to one is an error, too.
 *
 * Which pids a BEAM can have depends on its age, and that is seen in the aliases of its calls. */
#include "node_private.h"

#include <string.h>

static struct term_home home_of(const struct books *b)
{
	const struct dist *d = peer_dist(b->peer);
	const char *name = dist_peer_name(d);

	return (struct term_home){ .node = name,
				   .node_len = strlen(name),
				   .creation = dist_peer_creation(d),
				   .ids = b->ids };
}

struct books *books_home(struct books *b, const struct term_pid *pid, const uint8_t *heard)
{
	struct term_home home = home_of(b);
	struct books *other;

	if (term_home_is(&home, pid))
		return b;
	if ((other = books_find(b->node, pid->node, pid->node_len)) == NULL)
		return NULL;
	home = home_of(other);
	return term_home_has(&home, pid) && term_home_reads(&home, heard) ? other : NULL;
}

bool books_may_have(const struct books *b, const struct local_pid *pid)
{
	struct term_home home = home_of(b);
	struct term_pid whole = books_pid(b, pid);

	return term_home_has(&home, &whole);
}

bool books_reads(const struct books *b, const uint8_t *term)
{
	struct term_home home = home_of(b);

	return term_home_reads(&home, term);
}

void books_learn_ids(struct books *b, const struct envelope *env)
{
	struct term_home home = home_of(b);

	if (term_home_has(&home, &env->from))
		b->ids = term_ids_of(env->alias.at);
}
