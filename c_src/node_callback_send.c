/* node_callback_send.c - what processes of peers are told for workers.
 *
 * A gen_server call is what OTP's gen makes of it: a monitor, then `{'$gen_call', {Pid, Ref}, Request}`
 * with the monitor's reference; whoever ends it first takes the monitor off. An rpc is what erpc makes of
 * it: a spawn request of erpc:execute_call/4, whose process ends with the result as its reason. What that
 * process prints goes to `user` of its node: that pid is asked for once per connection, before the first. */
#include "node_callback.h"

#include <string.h>

static struct dist *dist_of(const struct callback *c)
{
	return peer_dist(c->books->peer);
}

static void put_ref(const struct callback *c, struct buf *out)
{
	struct node *n = c->h.node;

	term_put_ref(out, n->options->name, n->creation, c->h.id);
}

static void monitor(const struct callback *c)
{
	struct term_pid ours = holding_pid(&c->h), theirs = books_pid(c->books, &c->pid);
	struct buf ref = { 0 };

	put_ref(c, &ref);
	if (ref.err == 0 && c->to == TO_PID)
		dist_send_monitor(dist_of(c), &ours, &theirs, (struct span){ ref.data, ref.len });
	else if (ref.err == 0)
		dist_send_monitor_name(dist_of(c), &ours, c->name,
				       (struct span){ ref.data, ref.len });
	buf_free(&ref);
}

void callback_unsend(struct callback *c)
{
	struct term_pid ours = holding_pid(&c->h), theirs;
	struct buf ref = { 0 };
	struct span at;

	if (c->books == NULL || c->books->forgotten)
		return;
	theirs = books_pid(c->books, &c->pid);
	put_ref(c, &ref);
	at = (struct span){ ref.data, ref.len };
	if (ref.err != 0) {
		/* its DOWN will find nothing */
	} else if (c->kind == CALLBACK_RPC ? c->spawned : c->to == TO_PID) {
		dist_send_demonitor(dist_of(c), &ours, &theirs, at);
	} else if (c->to == TO_NAME) {
		dist_send_demonitor_name(dist_of(c), &ours, c->name, at);
	}
	buf_free(&ref);
	books_mark_dirty(c->books);
}

/* A message to a pid, or from our process to a name. */
static size_t begin_message(struct books *b, enum callback_to to, const struct local_pid *pid,
			    const struct term_pid *from, const char *name)
{
	struct term_pid theirs = books_pid(b, pid);

	return to == TO_PID ? dist_begin_send(peer_dist(b->peer), &theirs)
			    : dist_begin_send_name(peer_dist(b->peer), from, name);
}

bool callback_message(struct books *b, enum callback_to to, const struct local_pid *pid,
		      const char *name, struct span message)
{
	struct term_pid from = node_pid(b->node, NODE_PID_ID);
	size_t start;

	if (to == TO_PID && !books_may_have(b, pid))
		return true; /* as a message to a process that is dead */
	start = begin_message(b, to, pid, &from, name);
	term_put_raw(dist_output(peer_dist(b->peer)), message);
	books_mark_dirty(b);
	return dist_end(peer_dist(b->peer), start) == 0;
}

/* 0, or what dist_end() says. */
static int send_call(struct callback *c, struct span request)
{
	struct term_pid ours = holding_pid(&c->h);
	struct buf *out = dist_output(dist_of(c));
	size_t start;

	monitor(c);
	start = begin_message(c->books, c->to, &c->pid, &ours, c->name);
	term_put_tuple(out, 3);
	term_put_atom(out, "$gen_call");
	term_put_tuple(out, 2);
	term_put_pid(out, &ours);
	put_ref(c, out);
	term_put_raw(out, request);
	return dist_end(dist_of(c), start);
}

/* erpc:execute_call(Ref, Module, Function, Args); `terms` are the last three. */
static int send_spawn(struct callback *c, struct span terms)
{
	struct books *b = c->books;
	struct node *n = b->node;
	/* without a leader: a process that is no more, so that printing fails and does not wait */
	struct term_pid ours = holding_pid(&c->h), leader = b->leader_known
								    ? books_pid(b, &b->leader)
								    : node_pid(n, node_id(n));
	struct buf *out = dist_output(dist_of(c)), ref = { 0 };
	size_t start;

	put_ref(c, &ref);
	if (ref.err != 0)
		return ref.err;
	start = dist_begin_spawn(dist_of(c), (struct span){ ref.data, ref.len }, &ours, &leader,
				 "erpc", "execute_call", 4);
	buf_free(&ref);
	term_put_list(out, 4);
	put_ref(c, out);
	term_put_raw(out, terms);
	term_put_nil(out);
	return dist_end(dist_of(c), start);
}

/* ---- the group leader ---- */

bool callback_whereis(struct books *b, const char *name, uint64_t about)
{
	struct callback *c = callback_new(b->node, CALLBACK_WHEREIS, NULL, 0, NULL);
	struct buf terms = { 0 };
	bool sent;

	if (c == NULL)
		return false;
	c->books = b;
	c->about = about;
	list_append(&b->callbacks, &c->by_peer);
	term_put_atom(&terms, "erlang");
	term_put_atom(&terms, "whereis");
	term_put_list(&terms, 1);
	term_put_atom(&terms, name);
	term_put_nil(&terms);
	sent = terms.err == 0 && dist_can_spawn(peer_dist(b->peer)) &&
	       send_spawn(c, (struct span){ terms.data, terms.len }) == 0;
	buf_free(&terms);
	books_mark_dirty(b);
	if (!sent)
		callback_free(c);
	return sent;
}

static void spawn(struct callback *c, struct span terms)
{
	if (send_spawn(c, terms) != 0)
		callback_refuse(c, "no memory");
}

/* Now, or when it is known where the rpc is to print. */
static void begin_rpc(struct callback *c, struct span terms)
{
	struct books *b = c->books;

	if (!b->leader_known && !b->leader_asked)
		b->leader_asked = callback_whereis(b, "user", 0);
	if (b->leader_known || !b->leader_asked)
		spawn(c, terms);
	else if (callback_keep(c, terms))
		list_append(&b->spawns, &c->waiter.link);
	else
		callback_refuse(c, "no memory");
}

void callback_leader_known(struct books *b, const struct local_pid *pid)
{
	b->leader_asked = false; /* without one the next rpc asks again */
	b->leader_known = pid != NULL;
	if (pid != NULL)
		b->leader = *pid;
	while (!list_empty(&b->spawns)) {
		struct callback *c = list_entry(b->spawns.next, struct callback, waiter.link);

		list_remove(&c->waiter.link);
		spawn(c, (struct span){ c->message, c->message_len });
	}
	books_mark_dirty(b);
}

/* ---- all kinds ---- */

bool callback_keep(struct callback *c, struct span message)
{
	if (c->message != NULL)
		return true;
	c->message =
		(uint8_t *)mem_dup(message.len > 0 ? message.at : (const uint8_t *)"", message.len);
	if (c->message == NULL)
		return false;
	c->message_len = message.len;
	c->queued = sizeof *c + message.len;
	c->worker->queued_bytes += c->queued;
	return true;
}

void callback_send(struct callback *c, struct books *b, struct span message)
{
	if (c->to == TO_PID && !books_may_have(b, &c->pid)) {
		callback_exit_atom(c, "noproc");
		return;
	}
	c->books = b;
	list_append(&b->callbacks, &c->by_peer);
	books_mark_dirty(b);
	switch (c->kind) {
	case CALLBACK_CALL:
		if (send_call(c, message) != 0) {
			callback_unsend(c);
			callback_refuse(c, "no memory");
		}
		break;
	case CALLBACK_MONITOR:
		monitor(c);
		break;
	case CALLBACK_SEND:
		(void)!callback_message(b, c->to, &c->pid, c->name, message);
		callback_free(c);
		break;
	case CALLBACK_RPC:
		if (dist_can_spawn(peer_dist(b->peer)))
			begin_rpc(c, message);
		else
			callback_refuse(c, "that node does not take spawn requests");
		break;
	case CALLBACK_WHEREIS:
		break;
	}
}
