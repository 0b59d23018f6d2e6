/* node_rex.c - the name rex: what is left of rpc that does not ask for a process.
 *
 * It hears `rpc:block_call`, a gen_server call; what C nodes say, `erl_call -a` among them:
 * {From, {call, M, F, Args, GroupLeader}}, answered with {rex, Reply}; and casts. The happy path: the
 * request is opened -> a call of the pool as any other -> Reply is the result as it is, or
 * {badrpc, {'EXIT', {Reason, Stack}}}. Group leaders are ignored: what Python prints is a log line here.
 * What can go wrong: rpc is off (then nobody is called rex; C nodes, which do not monitor, hear
 * {badrpc, notsup}); the request is another one ({badrpc, {bad_request, Expected}}); a message is no
 * request at all (counted, dropped). */
#include "node_private.h"

#include "log.h"

static const uint8_t rex_atom[] = "w\x03"
				  "rex";

/* {Kind, M, F, Args, GroupLeader}: `mfa` is set to M. */
static bool is_call(const uint8_t *t, const char *kind, const uint8_t **mfa)
{
	const uint8_t *e;
	uint32_t arity;

	if (!term_tuple(t, &arity, &e) || arity != 5 || !term_is_atom(e, kind))
		return false;
	*mfa = term_skip(e);
	return true;
}

void node_rex_refuse(const struct origin *o, struct span reason)
{
	struct reply_to to = reply_to_origin(o);
	size_t mark;
	struct buf *out = answer_begin(&to, &mark);

	if (out == NULL)
		return;
	rpc_put_refusal(RPC_REX, (struct span){ NULL, 0 }, &o->mfa, reason, out);
	answer_end(&to, mark);
}

static void refuse_form(const struct origin *o)
{
	struct reply_to to = reply_to_origin(o);
	size_t mark;
	struct buf *out = answer_begin(&to, &mark);

	if (out == NULL)
		return;
	term_put_tuple(out, 2);
	term_put_atom(out, "badrpc");
	request_put_bad(out, "{call, Module, Function, Args, GroupLeader}");
	answer_end(&to, mark);
}

/* A message to the caller that is not {Tag, Reply}; `reply` is its term. */
static void say(const struct origin *o, const struct buf *reply)
{
	struct books *b = o->books;
	struct term_pid to = books_pid(b, &o->caller);
	struct dist *d = peer_dist(b->peer);
	size_t mark = dist_begin_send(d, &to);

	term_put_raw(dist_output(d), (struct span){ reply->data, reply->len });
	if (dist_end(d, mark) != 0 || reply->err != 0)
		peer_close(b->peer, "no memory for an answer");
	books_mark_dirty(b);
}

/* {features_reply, Node, [erpc]}: what nodes ask each other before they choose between rex and erpc. */
static void answer_features(const struct origin *o)
{
	struct buf reply = { 0 };

	term_put_tuple(&reply, 3);
	term_put_atom(&reply, "features_reply");
	term_put_atom(&reply, o->books->node->options->name);
	term_put_list(&reply, 1);
	term_put_atom(&reply, "erpc");
	term_put_nil(&reply);
	say(o, &reply);
	buf_free(&reply);
}

/* {rex, Node, {nonexisting_name, Name}}: rpc:sbcast counts us among the bad nodes, and does not wait. */
static void answer_sbcast(const struct origin *o, const uint8_t *name)
{
	struct buf reply = { 0 };

	term_put_tuple(&reply, 3);
	term_put_atom(&reply, "rex");
	term_put_atom(&reply, o->books->node->options->name);
	term_put_tuple(&reply, 2);
	term_put_atom(&reply, "nonexisting_name");
	term_put_raw(&reply, term_span(name));
	say(o, &reply);
	buf_free(&reply);
}

/* {From, Request} of a message that is neither a gen_server's call nor a cast; answers go to {rex, _}. */
static const uint8_t *open_plain(struct books *b, const uint8_t *message, struct envelope *env,
				 struct origin *o)
{
	const uint8_t *e;
	uint32_t arity;

	if (!term_tuple(message, &arity, &e) || arity != 2 || !term_pid(e, &env->from) ||
	    (o->books = books_home(b, &env->from, message)) == NULL)
		return NULL;
	env->tag = (struct span){ rex_atom, sizeof rex_atom - 1 };
	o->caller = node_local_pid(&env->from);
	return term_skip(e);
}

static void junk(struct books *b)
{
	b->node->junk++;
	log_line(LOG_DEBUG, peer_label(b->peer), "a message to rex that is no request: dropped");
}

/* {rex, {badrpc, notsup}}: who calls in this way has no monitor to tell him that nobody is there. */
static void answer_notsup(const struct origin *o)
{
	struct reply_to to = reply_to_origin(o);
	size_t mark;
	struct buf *out = answer_begin(&to, &mark);

	if (out == NULL)
		return;
	term_put_tuple(out, 2);
	term_put_atom(out, "badrpc");
	term_put_atom(out, "notsup");
	answer_end(&to, mark);
}

static void plain_message(struct books *b, const uint8_t *message, struct envelope *env,
			  struct origin *o)
{
	const uint8_t *request = open_plain(b, message, env, o), *mfa, *e;
	bool on = node_pool_rpc(b->node) != NULL;
	uint32_t arity;

	if (request != NULL && is_call(request, "call", &mfa))
		on ? node_rpc_call(o, mfa) : answer_notsup(o);
	else if (request != NULL && on && term_is_atom(request, "features_request"))
		answer_features(o);
	else if (request != NULL && on && term_tuple(request, &arity, &e) && arity == 3 &&
		 term_is_atom(e, "sbcast") && term_kind(term_skip(e)) == TERM_ATOM)
		answer_sbcast(o, term_skip(e));
	else
		junk(b);
}

void node_rpc_rex(struct books *b, const struct dist_event *ev)
{
	struct envelope env;
	struct origin o = { .books = b, .env = &env, .form = REPLY_REX, .mfa = rpc_apply };
	const uint8_t *mfa;

	request_open(ev->payload.at, &env);
	if (env.kind != ENVELOPE_OTHER && node_pool_rpc(b->node) == NULL) {
		junk(b); /* as any other name that nobody has: a monitor on it says so */
		return;
	}
	switch (env.kind) {
	case ENVELOPE_CALL:
		o.caller = node_local_pid(&env.from);
		o.books = books_home(b, &env.from, ev->payload.at);
		books_learn(b, &env);
		if (o.books == NULL || env.tag.len > UINT16_MAX)
			junk(b);
		else if (is_call(env.request, "block_call", &mfa) ||
			 is_call(env.request, "call", &mfa))
			node_rpc_call(&o, mfa);
		else
			refuse_form(&o);
		break;
	case ENVELOPE_CAST:
		o.cast = true;
		if (is_call(env.request, "cast", &mfa))
			node_rpc_call(&o, mfa);
		else
			junk(b);
		break;
	case ENVELOPE_OTHER:
		plain_message(b, ev->payload.at, &env, &o);
		break;
	}
}

void node_rex_oversize(struct books *b, const struct dist_event *ev, struct span reason)
{
	struct envelope env;
	struct origin o = { .books = b, .env = &env, .form = REPLY_REX, .mfa = rpc_apply };
	struct buf why = { 0 };
	size_t used;

	if (request_open_head(ev->payload.at, ev->payload.len, &env)) {
		o.books = books_home(b, &env.from, env.tag.at);
		o.caller = node_local_pid(&env.from);
	} else if (ev->payload.len > 2 && ev->payload.at[0] == 104 && ev->payload.at[1] == 2 &&
		   term_check(ev->payload.at + 2, ev->payload.len - 2, &used) == 0 &&
		   term_pid(ev->payload.at + 2, &env.from)) { /* {From, ... */
		env.tag = (struct span){ rex_atom, sizeof rex_atom - 1 };
		o.books = books_home(b, &env.from, env.tag.at);
		o.caller = node_local_pid(&env.from);
	} else {
		o.books = NULL;
	}
	if (o.books == NULL || env.tag.len > UINT16_MAX) {
		junk(b);
		return;
	}
	term_put_raw(&why, reason);
	node_request_refuse(node_pool_rpc(b->node), &o, &why, ANSWER_TOO_LARGE);
	buf_free(&why);
}
