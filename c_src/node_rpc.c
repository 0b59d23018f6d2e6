/* node_rpc.c - rpc and erpc: the processes that spawn requests ask for.
 *
 * erpc:call/4,5, cast, multicall and send_request, and rpc on top of them, ask a node to spawn a process
 * that runs erpc:execute_call/4 or execute_cast/3 and ends with the result as its exit reason. The happy
 * path: SPAWN_REQUEST -> a pid that stands for such a process (a holding that nobody owns), monitored and
 * linked as the request says -> SPAWN_REPLY -> a call of the pool as any other -> its outcome is the
 * reason of the process's end, which the caller's monitor tells -> erpc returns or raises it.
 * What can go wrong: rpc is off, or another function is asked for (`notsup`: we run no Erlang); the
 * arguments are no call (undef, badarg), are not allowed, too long or have no Python form (the process
 * ends at once, with that); the caller dies or its time is up (its monitor is taken off, its link breaks:
 * the call is abandoned); somebody says exit(Pid, Reason) (abandoned, and it ends with that Reason). A
 * process that nobody waits for, of a cast, runs to its end whatever becomes of its caller; so does one
 * whose caller's time was up before our SPAWN_REPLY had reached it: of that its BEAM tells us nothing
 * (seen with OTP 25; of a caller's death it does). */
#include "node_private.h"

#include <errno.h>

/* What a spawn request asks for. */
struct spawn {
	bool cast, monitor, link;
	const uint8_t *args; /* the first of [Ref, M, F, A] or [M, F, A] */
};

static const uint8_t killed_atom[] = "w\x06"
				     "killed";
static const uint8_t no_memory_atom[] = "w\x0c"
					"system_limit";

/* {erpc, execute_call, 4} or {erpc, execute_cast, 3}. */
static bool is_erpc(const uint8_t *mfa, struct spawn *out)
{
	const uint8_t *module, *function;
	uint32_t arity;
	int64_t a;

	if (!term_tuple(mfa, &arity, &module) || arity != 3 || !term_is_atom(module, "erpc"))
		return false;
	function = term_skip(module);
	out->cast = term_is_atom(function, "execute_cast");
	return (out->cast || term_is_atom(function, "execute_call")) &&
	       term_int(term_skip(function), &a) && a == (out->cast ? 3 : 4);
}

/* `monitor`, {monitor, _} and `link`; of what else there is nothing concerns us. */
static void read_options(const uint8_t *opts, struct spawn *out)
{
	const uint8_t *at, *e;
	uint32_t count, arity;

	if (term_kind(opts) != TERM_LIST || !term_list(opts, &count, &at))
		return;
	for (; count > 0; count--, at = term_skip(at)) {
		e = at;
		if (term_kind(at) == TERM_TUPLE && (!term_tuple(at, &arity, &e) || arity != 2))
			continue;
		out->monitor |= term_is_atom(e, "monitor");
		out->link |= e == at && term_is_atom(e, "link");
	}
}

static bool open_spawn(const struct dist_event *ev, struct spawn *out)
{
	uint32_t count;

	*out = (struct spawn){ 0 };
	if (!is_erpc(ev->mfa, out) || term_kind(ev->payload.at) != TERM_LIST ||
	    !term_list(ev->payload.at, &count, &out->args) || count != (out->cast ? 3 : 4))
		return false;
	read_options(ev->spawn_opts, out);
	/* a reference, as a rule: one of kilobytes is not kept */
	return out->cast || term_span(out->args).len <= REQUEST_TERM_MAX;
}

static void refuse_spawn(struct books *b, const struct dist_event *ev, const char *why)
{
	struct buf result = { 0 };

	term_put_atom(&result, why);
	dist_send_spawn_reply(peer_dist(b->peer), ev->ref, &ev->from, 0, answer_reason(&result));
	buf_free(&result);
	books_mark_dirty(b);
}

/* ---- the process ---- */

/* It is there: monitored and linked as was asked, its pid told. NULL: no memory. */
static struct node_rpc *begin(struct books *b, const struct dist_event *ev,
			      const struct spawn *what)
{
	struct node *n = b->node;
	struct node_rpc *rpc = mem_zalloc(sizeof *rpc);
	struct local_pid caller = node_local_pid(&ev->from);
	struct dist_event monitor = *ev;
	struct buf result = { 0 };
	struct term_pid pid;

	if (rpc == NULL)
		return NULL;
	rpc->cast = what->cast;
	holding_init(&rpc->h, HOLDING_RPC, n, node_id(n));
	pid = holding_pid(&rpc->h);
	term_put_pid(&result, &pid);
	if (result.err != 0 || !holding_add(&rpc->h)) {
		buf_free(&result);
		holding_close(&rpc->h);
		mem_free(rpc);
		return NULL;
	}
	if (what->monitor) {
		monitor.to_is_pid = true;
		monitor.to_pid = pid;
		node_monitor(b, &monitor);
	}
	if (what->link)
		holding_link(b, &rpc->h, &caller);
	dist_send_spawn_reply(peer_dist(b->peer), ev->ref, &ev->from,
			      (what->link ? DIST_SPAWN_LINK : 0) |
				      (what->monitor ? DIST_SPAWN_MONITOR : 0),
			      (struct span){ result.data, result.len });
	buf_free(&result);
	books_mark_dirty(b);
	return rpc;
}

/* It ends: whoever monitors it or is linked to it hears the reason. `reason` may have failed. */
static void end(struct node_rpc *rpc, const struct buf *reason)
{
	struct span why = { reason->data, reason->len };

	if (reason->err != 0) /* the caller hears {signal, system_limit} */
		why = (struct span){ no_memory_atom, sizeof no_memory_atom - 1 };
	if (rpc->request != NULL)
		rpc->request->rpc = NULL;
	holding_ended(&rpc->h, why);
	holding_close(&rpc->h);
	mem_free(rpc);
}

void node_rpc_down(struct node_holding *h)
{
	struct node_rpc *rpc = list_entry(h, struct node_rpc, h);

	if (rpc->request != NULL)
		node_request_abandon(rpc->request);
}

static enum rpc_shape shape_of(const struct node_rpc *rpc)
{
	return rpc->cast ? RPC_CAST : RPC_CALL;
}

/* ---- from the request to the outcome ---- */

static void refuse_atom(const struct origin *o, const char *reason)
{
	struct buf why = { 0 };

	term_put_atom(&why, reason);
	node_request_refuse(node_pool_rpc(o->books->node), o, &why, ANSWER_BAD_REQUEST);
	buf_free(&why);
}

void node_rpc_call(struct origin *o, const uint8_t *mfa)
{
	struct node_pool *p = node_pool_rpc(o->books->node);
	struct request req;
	int rc = request_plain_call(mfa, &p->defaults, &req);

	o->mfa = rc == -EINVAL ? rpc_apply : rpc_mfa(mfa);
	if (rc == -EINVAL)
		refuse_atom(o, "badarg"); /* as apply/3 */
	else if (rc != 0)
		refuse_atom(o, "undef");
	else
		node_request_submit(p, o, &req, NULL);
}

/* What the request's record is made of; `env` is to live as long as `out`. */
static void set_origin(struct books *b, const struct dist_event *ev, const struct spawn *what,
		       struct node_rpc *rpc, struct envelope *env, struct origin *out)
{
	*env = (struct envelope){ .kind = ENVELOPE_CALL, .from = ev->from };
	if (!what->cast)
		env->tag = term_span(what->args);
	if (what->monitor)
		env->ref = ev->ref;
	*out = (struct origin){ .books = b,
				.env = env,
				.caller = node_local_pid(&ev->from),
				.cast = what->cast || !(what->monitor || what->link),
				.form = REPLY_RPC,
				.rpc = rpc,
				.mfa = rpc_apply };
}

void node_rpc_spawn(struct books *b, const struct dist_event *ev)
{
	struct envelope env;
	struct node_rpc *rpc;
	struct spawn what;
	struct origin o;

	if (node_pool_rpc(b->node) == NULL || !open_spawn(ev, &what)) {
		refuse_spawn(b, ev, "notsup");
	} else if ((rpc = begin(b, ev, &what)) == NULL) {
		refuse_spawn(b, ev, "system_limit");
	} else {
		set_origin(b, ev, &what, rpc, &env, &o);
		node_rpc_call(&o, what.cast ? what.args : term_skip(what.args));
	}
}

void node_rpc_refuse(const struct origin *o, struct buf *reason)
{
	struct buf out = { 0 };

	if (o->form != REPLY_RPC) {
		node_rex_refuse(o, answer_reason(reason));
		return;
	}
	if (reason->err != 0)
		out.err = reason->err;
	else
		rpc_put_refusal(shape_of(o->rpc), o->env->tag, &o->mfa,
				(struct span){ reason->data, reason->len }, &out);
	if (o->rpc != NULL)
		end(o->rpc, &out);
	buf_free(&out);
}

static void rex_outcome(struct node_pool *p, struct node_request *r)
{
	struct reply_to to = reply_to_request(r);
	struct buf nowhere = { 0 }, *out;
	size_t mark = 0;

	if (r->pool.outcome == OUTCOME_ABANDONED)
		return;
	if ((out = answer_begin(&to, &mark)) == NULL)
		out = &nowhere; /* a cast: the outcome is counted all the same */
	answer_count(p, r, rpc_put_outcome(p, r, RPC_REX, out));
	if (out != &nowhere)
		answer_end(&to, mark);
	buf_free(&nowhere);
}

void node_rpc_outcome(struct node_pool *p, struct node_request *r)
{
	struct node_rpc *rpc = r->rpc;
	struct buf out = { 0 };

	if (r->form == REPLY_REX) {
		rex_outcome(p, r);
		return;
	}
	if (r->pool.outcome != OUTCOME_ABANDONED)
		answer_count(p, r, rpc_put_outcome(p, r, shape_of(rpc), &out));
	else if (rpc->h.reason.len > 0)
		buf_put(&out, rpc->h.reason.data, rpc->h.reason.len);
	else
		buf_put(&out, killed_atom, sizeof killed_atom - 1);
	end(rpc, &out);
	buf_free(&out);
}

/* ---- requests that are too long ---- */

/* The Ref of [Ref | _], of which only the beginning is there. */
static bool head_ref(struct span head, struct span *ref)
{
	size_t used;

	/* LIST_EXT, its 32-bit length, then whole terms */
	if (head.len < 6 || head.at[0] != 108 ||
	    term_check(head.at + 5, head.len - 5, &used) != 0 || used > REQUEST_TERM_MAX)
		return false;
	*ref = (struct span){ head.at + 5, used };
	return true;
}

/* The process is there and ends at once, as if its arguments had been refused; the caller hears why. */
static void refuse_oversize(struct books *b, const struct dist_event *ev, struct buf *reason)
{
	struct spawn what = { 0 };
	struct envelope env;
	struct span ref = { 0 };
	struct node_rpc *rpc;
	struct origin o;

	if (node_pool_rpc(b->node) == NULL || !is_erpc(ev->mfa, &what)) {
		refuse_spawn(b, ev, "notsup");
		return;
	}
	read_options(ev->spawn_opts, &what);
	if ((!what.cast && !head_ref(ev->payload, &ref)) || (rpc = begin(b, ev, &what)) == NULL) {
		refuse_spawn(b, ev, "system_limit");
		return;
	}
	what.args = ref.at;
	set_origin(b, ev, &what, rpc, &env, &o);
	node_request_refuse(node_pool_rpc(b->node), &o, reason, ANSWER_TOO_LARGE);
}

bool node_rpc_oversize(struct books *b, const struct dist_event *ev)
{
	struct transcode_error err = { .fault = TRANSCODE_TOO_LARGE,
				       .bytes = ev->total_len,
				       .limit = ev->limit };
	struct buf reason = { 0 };
	bool is_rex = ev->mfa == NULL && node_pool_rpc(b->node) != NULL && ev->name.len == 3 &&
		      memcmp(ev->name.at, "rex", 3) == 0;

	if (ev->mfa == NULL && !is_rex)
		return false;
	answer_put_fault(&reason, &err);
	if (is_rex)
		node_rex_oversize(b, ev, (struct span){ reason.data, reason.len });
	else
		refuse_oversize(b, ev, &reason);
	buf_free(&reason);
	return true;
}
