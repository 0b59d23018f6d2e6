/* node_oversize.c - messages that are too long: what a peer may say in one, and who hears that it was more.
 *
 * The happy path: nothing is too long. A request may have max_request_bytes. A lane's message has several,
 * each of which may; so all of them together may have LANE_BYTES even where one request may not.
 * What can go wrong: a message is longer than anything may be, and only its first bytes were kept (dist.h,
 * OVERSIZE); or it is no lane's and longer than a request. Its sender is found in its first bytes and hears
 * so: of a call, its caller; of a lane's message, the calls that begin there. Nobody knows the others. */
#include "node_private.h"

#include "log.h"
#include "term_tags.h"

/* krait_lane.erl gathers 256 requests of 64 KiB at most: 16 MiB, with their Ids and callers a little more */
#define LANE_BYTES (32 * 1024 * 1024)

void node_limit_messages(struct node *n)
{
	struct node_pool *p = NULL;
	struct list *pos, *next;
	uint64_t most = 0, longest;

	/* of all pools the largest: the pool that a message is for is known when it is read */
	while ((p = node_pool_next(n, p)) != NULL)
		if (p->config->max_request_bytes > most)
			most = p->config->max_request_bytes;
	n->max_request_bytes = most;
	longest = most > LANE_BYTES ? most : LANE_BYTES;
	if (longest == n->peer_options.dist.max_message)
		return;
	n->peer_options.dist.max_message = longest;
	list_each (pos, next, &n->books)
		dist_set_max_message(peer_dist(list_entry(pos, struct books, link)->peer), longest);
}

/* ---- the first bytes of a message, which may end anywhere ---- */

struct head {
	const uint8_t *at, *end;
};

/* The term that stands there, and on to the next; NULL: it is cut off, or none. */
static const uint8_t *whole(struct head *h)
{
	const uint8_t *t = h->at;
	size_t used;

	if (term_check(t, (size_t)(h->end - t), &used) != 0)
		return NULL;
	h->at += used;
	return t;
}

/* Whether a small tuple begins there; its elements are next. */
static bool tuple(struct head *h, uint32_t *arity)
{
	if (h->end - h->at < 2 || h->at[0] != TAG_SMALL_TUPLE)
		return false;
	*arity = h->at[1];
	h->at += 2;
	return true;
}

/* {krait_lane, LanePid, [... */
static bool of_lane(struct head *h, struct term_pid *lane, const uint8_t **pid)
{
	const uint8_t *word;
	uint32_t arity;

	if (!tuple(h, &arity) || arity != 4 || (word = whole(h)) == NULL ||
	    !term_is_atom(word, "krait_lane") || (*pid = whole(h)) == NULL ||
	    !term_pid(*pid, lane) || h->end - h->at < 5 || h->at[0] != TAG_LIST)
		return false;
	h->at += 5;
	return true;
}

/* ---- who hears that ---- */

static void tell_lane(struct books *b, struct node_pool *p, const struct term_pid *pid,
		      struct head *h, const struct transcode_error *err)
{
	struct node_lane *l = node_lane_from(b, pid);
	struct envelope env = { .kind = ENVELOPE_CALL };
	struct origin o = { .books = b, .env = &env, .lane = l };
	const uint8_t *id;
	uint32_t arity;

	if (l == NULL)
		return;
	o.caller = l->pid;
	/* {Id, Request} or {Id, Request, CallerPid} */
	while (tuple(h, &arity) && (arity == 2 || arity == 3) && (id = whole(h)) != NULL) {
		env.tag = term_span(id);
		node_request_refuse_fault(p, &o, err);
		for (uint32_t i = 1; i < arity; i++)
			if (whole(h) == NULL)
				return;
	}
}

static void tell(struct books *b, const struct dist_event *ev)
{
	struct transcode_error err = { .fault = TRANSCODE_TOO_LARGE,
				       .bytes = ev->total_len,
				       .limit = ev->limit };
	struct head h = { ev->payload.at, ev->payload.at + ev->payload.len };
	struct node_pool *p = ev->to_is_pid ? NULL : node_pool_named(b->node, ev->name);
	struct envelope env;
	struct origin o = { .books = b, .env = &env };
	struct term_pid lane;
	const uint8_t *pid;

	if (node_callback_oversize(b, ev))
		return;
	if (p == NULL)
		p = node_pool_default(b->node);
	log_line(LOG_WARNING, peer_label(b->peer),
		 "a message of %llu bytes: over the limit of %llu",
		 (unsigned long long)ev->total_len, (unsigned long long)ev->limit);
	if (node_rpc_oversize(b, ev))
		return;
	if (of_lane(&h, &lane, &pid) && books_home(b, &lane, pid) == b) {
		tell_lane(b, p, &lane, &h, &err);
		return;
	}
	if (!request_open_head(ev->payload.at, ev->payload.len, &env) ||
	    (o.books = books_home(b, &env.from, env.tag.at)) == NULL) {
		b->node->junk++;
		return;
	}
	o.caller = (struct local_pid){ env.from.id, env.from.serial, env.from.creation };
	node_request_refuse_fault(p, &o, &err);
}

bool node_oversize(struct books *b, const struct dist_event *ev)
{
	struct head h = { ev->payload.at, ev->payload.at + ev->payload.len };
	struct dist_event longer = *ev;
	struct term_pid lane;
	const uint8_t *pid;

	if (ev->type != DIST_EV_OVERSIZE) {
		if (ev->total_len <= b->node->max_request_bytes ||
		    (ev->type == DIST_EV_SEND && of_lane(&h, &lane, &pid)))
			return false;
		longer.limit = b->node->max_request_bytes;
	}
	tell(b, &longer);
	return true;
}
