/* stress_request.c - requests as GenServer.call sends them, and what will become of their callers.
 *
 * MONITOR_P with a fresh reference, then the message with the same reference in its tag. A few tags look
 * otherwise, as older or other clients' do: a bare reference (answered to the pid), the pair of
 * GenServer.multi_call with a monitor of another reference, and an alias within a list. */
#include "stress.h"

#include <string.h>

#define HOUR_S 3600.0

static enum tag some_tag(struct stress *s, enum ask_kind kind, bool to_name)
{
	uint64_t r = rnd_to(s, 100);

	if (kind >= ASK_STATUS || r < 90)
		return TAG_ALIAS;
	if (r < 92)
		return TAG_ALIAS_IN_LIST;
	return r < 96 || !to_name ? TAG_REF : TAG_MULTI;
}

static void put_tag(const struct ask *a, struct buf *out)
{
	struct wire_ref ref = ask_ref(a);

	switch (a->tag) {
	case TAG_ALIAS_IN_LIST:
		term_put_list(out, 1);
		/* fall through */
	case TAG_ALIAS: /* improper: [alias | Ref] */
		term_put_list(out, 1);
		term_put_atom(out, "alias");
		wire_put_ref(out, &ref);
		if (a->tag == TAG_ALIAS_IN_LIST)
			term_put_nil(out);
		break;
	case TAG_MULTI:
		term_put_tuple(out, 2);
		wire_put_ref(out, &ref);
		term_put_atom(out, a->caller->s->node_name);
		break;
	case TAG_REF:
		wire_put_ref(out, &ref);
		break;
	}
}

struct ask *request_begin(struct caller *c, enum ask_kind kind, const char *name,
			  const struct term_pid *pid, size_t *start)
{
	struct ask *a = ask_new(c, kind);
	struct buf *out = caller_out(c);
	struct term_pid from = caller_pid(c);

	a->asks = true;
	a->tag = some_tag(c->s, kind, name != NULL);
	if (a->tag == TAG_MULTI) {
		a->name = name;
		a->companion = ask_new(c, ASK_MONITOR);
		ask_watch(a->companion, name, NULL);
	} else {
		ask_watch(a, name, pid);
	}
	*start = wire_begin(out, &from,
			    (struct wire_to){ .pid = name == NULL ? pid : NULL, .name = name });
	term_put_tuple(out, 3);
	term_put_atom(out, "$gen_call");
	term_put_tuple(out, 2);
	term_put_pid(out, &from);
	put_tag(a, out);
	return a;
}

/* When and how this request's caller will be gone, if it will. */
static void decide_fate(struct caller *c, const struct ask *a)
{
	struct stress *s = c->s;
	uint64_t usual = (uint64_t)(a->name != NULL ? s->usual_us : s->usual_lease_us), in;
	bool may_give_up =
		a->tag != TAG_MULTI && a->kind != ASK_CHECKIN && a->kind != ASK_GIVE_AWAY;
	double kill = now_us() < c->spared_us ? 0 : s->options.kill,
	       giveup = may_give_up ? s->options.giveup : 0;
	uint64_t r = rnd_to(s, 100);

	c->fate = FATE_NONE;
	if (c->control || s->phase != PHASE_RUN)
		return;
	if ((a->kind == ASK_STUCK || a->kind == ASK_SESSION_STUCK) && a->timeout_us > SECOND_US) {
		c->fate = may_give_up && (r < 50 || now_us() < c->spared_us) ? FATE_GIVE_UP
									     : FATE_DIE;
		caller_wake_in(c, WAKE_FATE, rnd_to(s, 100000));
		return;
	}
	if (rnd_pct(s, kill))
		c->fate = r < 15 ? FATE_DIE_UNHEARD : FATE_DIE;
	else if (kill < 100 && rnd_pct(s, giveup * 100 / (100 - kill)))
		c->fate = FATE_GIVE_UP;
	if (c->fate == FATE_NONE || c->fate == FATE_DIE_UNHEARD || (c->fate == FATE_DIE && r < 30))
		return; /* FATE_DIE without an alarm: right after the answer */
	in = r < 50 ? 0 : rnd_to(s, 2 * usual + 200);
	caller_wake_in(c, WAKE_FATE, in);
}

void request_send(struct ask *a, size_t start, uint64_t timeout_us)
{
	struct caller *c = a->caller;
	struct stress *s = c->s;

	wire_end(caller_out(c), start);
	a->timeout_us = timeout_us;
	a->due_us = a->sent_us + timeout_us + s->options.slack_ms * 1000;
	switch (a->kind) {
	case ASK_CHECKIN: /* counted by the node when the lease is no more, or somebody else's */
	case ASK_GIVE_AWAY:
	case ASK_RETURN:
	case ASK_END_SESSION: /* and when there is no such session */
	case ASK_CLEAR:
		s->ambiguous++;
		break;
	case ASK_PING: /* likewise, to a stream that has ended */
		s->ambiguous += a->name == NULL;
		break;
	case ASK_AUTH:
	case ASK_STATUS:
	case ASK_WORKERS:
	case ASK_RESIZE:
	case ASK_RELOAD:
	case ASK_RECYCLE:
	case ASK_PAUSE:
	case ASK_RESUME:
	case ASK_SESSIONS:
		break;
	default:
		a->countable = true;
		s->countable++;
	}
	s->sent[a->kind]++;
	if (a->kind >= ASK_STATUS)
		return;
	c->waiting = a;
	caller_say(c, ask_names[a->kind], a->nonce, timeout_us / 1000);
	decide_fate(c, a);
}

size_t request_some_payload(struct stress *s)
{
	size_t min = s->options.payload_min, max = s->options.payload_max, span = max - min + 1,
	       n = span;

	/* each power of two is as likely: small ones are frequent, large ones make most of the bytes */
	while (n > 1 && rnd_to(s, 2) == 0)
		n /= 2;
	return min + (size_t)rnd_to(s, n);
}

void request_put_payload(const struct stress *s, uint64_t nonce, size_t len, struct buf *out)
{
	term_put_binary(out, s->noise + nonce * 7919 % (s->noise_len / 2), len);
}

bool request_is_payload(const struct stress *s, uint64_t nonce, size_t len, const uint8_t *value)
{
	struct span payload;

	return term_binary(value, &payload) && payload.len == len &&
	       memcmp(payload.at, s->noise + nonce * 7919 % (s->noise_len / 2), len) == 0;
}

static void put_identity(const struct stress *s, uint64_t nonce, size_t len, struct buf *out)
{
	term_put_tuple(out, 2);
	term_put_uint(out, nonce);
	request_put_payload(s, nonce, len, out);
}

void request_put_function(struct buf *out, const char *module, const char *function)
{
	term_put_atom(out, "call");
	term_put_atom(out, module);
	term_put_text(out, function); /* an atom or a binary: both are names */
}

/* {call, M, F, Args, Opts} as `a->kind` says. */
void request_put_call(struct ask *a, struct buf *out, uint64_t timeout_ms)
{
	struct stress *s = a->caller->s;
	bool retry = rnd_to(s, 10) == 0, priority = rnd_to(s, 10) == 0;

	term_put_tuple(out, 5);
	switch (a->kind) {
	case ASK_SLEEP:
	case ASK_STUCK:
		request_put_function(out, "time", "sleep");
		term_put_list(out, 1);
		term_put_float(out,
			       a->kind == ASK_STUCK ? HOUR_S : (double)(1 + rnd_to(s, 20)) / 1000);
		break;
	case ASK_RAISE: {
		struct buf text = { 0 };
		char digits[32];
		int n = 0;

		for (uint64_t v = a->nonce; v > 0; v /= 10)
			digits[n++] = (char)('0' + v % 10);
		buf_put(&text, "no number: ", 11);
		while (n > 0)
			buf_put_u8(&text, (unsigned)digits[--n]);
		request_put_function(out, "builtins", "int");
		term_put_list(out, 1);
		term_put_binary(out, text.data, text.len);
		buf_free(&text);
		break;
	}
	case ASK_OS_PID:
		request_put_function(out, "os", "getpid");
		break;
	default:
		a->payload_len = request_some_payload(s);
		request_put_function(out, "krait", "identity");
		term_put_list(out, 1);
		put_identity(s, a->nonce, a->payload_len, out);
	}
	term_put_nil(out);
	term_put_map(out, 1u + retry + priority);
	term_put_atom(out, "timeout");
	term_put_uint(out, timeout_ms);
	if (retry) {
		term_put_atom(out, "retry");
		term_put_int(out, (int64_t)rnd_to(s, 3));
	}
	if (priority) {
		term_put_atom(out, "priority");
		a->low = rnd_to(s, 2) == 0;
		term_put_atom(out, a->low ? "low" : "high");
	}
}

void call_send(struct caller *c)
{
	struct stress *s = c->s;
	bool stuck = rnd_pct(s, s->options.stuck),
	     brief = rnd_pct(s, stuck ? 40 : s->options.brief);
	uint64_t timeout_ms = brief ? 1 + rnd_to(s, 100) : s->options.timeout_ms,
		 r = rnd_to(s, 100);
	enum ask_kind kind = stuck                         ? ASK_STUCK
			     : rnd_pct(s, s->options.slow) ? ASK_SLEEP
			     : r < 2                       ? ASK_RAISE
			     : r < 3                       ? ASK_PING_WORKER
							   : ASK_IDENTITY;
	size_t start;
	struct ask *a = request_begin(c, kind, s->options.pool, NULL, &start);
	struct buf *out = caller_out(c);

	if (kind == ASK_PING_WORKER) {
		timeout_ms = 60000; /* the pool's own, which it has no option for */
		term_put_tuple(out, 2);
		term_put_atom(out, "ping");
		term_put_atom(out, "worker");
	} else {
		request_put_call(a, out, timeout_ms);
	}
	request_send(a, start, timeout_ms * 1000);
}

void checkout_send(struct caller *c)
{
	struct stress *s = c->s;
	uint64_t timeout_ms =
		rnd_pct(s, s->options.brief) ? 1 + rnd_to(s, 100) : s->options.timeout_ms;
	size_t start;
	struct ask *a = request_begin(c, ASK_CHECKOUT, s->options.pool, NULL, &start);
	struct buf *out = caller_out(c);

	term_put_tuple(out, 3);
	term_put_atom(out, "checkout");
	term_put_atom(out, "anonymous");
	term_put_list(out, 1);
	term_put_tuple(out, 2);
	term_put_atom(out, "timeout");
	term_put_uint(out, timeout_ms);
	term_put_nil(out);
	request_send(a, start, timeout_ms * 1000);
}

/* A call without an answer; the caller goes on at once. */
void cast_send(struct caller *c)
{
	struct stress *s = c->s;
	struct buf *out = caller_out(c);
	struct term_pid from = caller_pid(c);
	size_t start = wire_begin(out, &from, (struct wire_to){ .name = s->options.pool });

	term_put_tuple(out, 2);
	term_put_atom(out, "$gen_cast");
	term_put_tuple(out, 4);
	request_put_function(out, "krait", "identity");
	term_put_list(out, 1);
	put_identity(s, ++c->sequence, request_some_payload(s), out);
	term_put_nil(out);
	wire_end(out, start);
	s->casts++;
	s->countable++;
	c->sim->casts++;
	caller_say(c, "cast", c->sequence, 0);
	caller_next_soon(c, false);
}
