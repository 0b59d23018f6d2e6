/* stress_answer.c - is this answer the right one?
 *
 * An answer is one of a few shapes for each kind of request; what it says must be about this request (its
 * nonce, its payload), and a refusal must be one that can be: a time-out not before its time, a
 * `worker_exit` only when a worker was killed. */
#include "stress.h"

#include "mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EARLY_US 2000 /* the node counts from the arrival; clocks of one machine, rounded to ms */

const char *const ask_names[ASK_KINDS] = {
	[ASK_IDENTITY] = "identity",
	[ASK_SLEEP] = "sleep",
	[ASK_STUCK] = "stuck",
	[ASK_RAISE] = "raise",
	[ASK_OS_PID] = "os_pid",
	[ASK_PING] = "ping",
	[ASK_PING_WORKER] = "ping_worker",
	[ASK_CHECKOUT] = "checkout",
	[ASK_CHECKIN] = "checkin",
	[ASK_GIVE_AWAY] = "give_away",
	[ASK_BAD] = "bad",
	[ASK_AUTH] = "is_auth",
	[ASK_SPAWN] = "spawn",
	[ASK_STREAM] = "stream",
	[ASK_BATCH] = "batch",
	[ASK_SESSION] = "session",
	[ASK_SESSION_STUCK] = "session_stuck",
	[ASK_END_SESSION] = "end_session",
	[ASK_MONITOR] = "monitor",
	[ASK_STATUS] = "status",
	[ASK_WORKERS] = "workers",
	[ASK_RESIZE] = "resize",
	[ASK_RELOAD] = "reload",
	[ASK_RECYCLE] = "recycle",
	[ASK_PAUSE] = "pause",
	[ASK_RESUME] = "resume",
	[ASK_SESSIONS] = "sessions",
	[ASK_CLEAR] = "clear",
	[ASK_HOLD] = "hold",
	[ASK_COUNTS] = "counts",
	[ASK_RETURN] = "return",
};

const char *const outcome_names[OUTCOMES_HEARD] = {
	[OUT_OK] = "ok",
	[OUT_PYTHON] = "python",
	[OUT_TIMEOUT_QUEUE] = "timeout_queue",
	[OUT_TIMEOUT_CALL] = "timeout_call",
	[OUT_OVERLOADED] = "overloaded",
	[OUT_WORKER_EXIT] = "worker_exit",
	[OUT_CIRCUIT_OPEN] = "circuit_open",
	[OUT_LEASE_CLOSED] = "lease_closed",
	[OUT_NOT_OWNER] = "not_owner",
	[OUT_NOPROC] = "noproc",
	[OUT_SESSION_LOST] = "session_lost",
	[OUT_SESSION_BUSY] = "session_busy",
	[OUT_NO_SESSION] = "no_session",
	[OUT_NO_WORKER] = "no_worker",
	[OUT_REFUSED] = "refused",
	[OUT_OTHER] = "other",
	[OUT_DOWN] = "down",
	[OUT_GAVE_UP] = "gave_up",
	[OUT_DIED] = "died",
	[OUT_LOST] = "lost",
};

#define OK     OUT_BIT(OUT_OK)
#define QUEUED (OUT_BIT(OUT_TIMEOUT_QUEUE) | OUT_BIT(OUT_OVERLOADED) | OUT_BIT(OUT_CIRCUIT_OPEN))
#define RUN    (QUEUED | OUT_BIT(OUT_TIMEOUT_CALL) | OUT_BIT(OUT_WORKER_EXIT))

/* What may be answered to each kind. On a lease `lease_closed` may too, and `not_owner` in doubt. */
static const unsigned allowed[ASK_KINDS] = {
	[ASK_IDENTITY] = OK | RUN,
	[ASK_SLEEP] = OK | RUN,
	[ASK_STUCK] = RUN,
	[ASK_RAISE] = OUT_BIT(OUT_PYTHON) | RUN,
	[ASK_OS_PID] = OK | RUN,
	[ASK_PING] = OK,
	[ASK_PING_WORKER] = OK | RUN,
	[ASK_CHECKOUT] = OK | QUEUED,
	[ASK_CHECKIN] = OK,
	[ASK_GIVE_AWAY] = OK | OUT_BIT(OUT_NOPROC),
	[ASK_BAD] = OUT_BIT(OUT_REFUSED) | RUN, /* that there is no such function, a worker says */
	[ASK_AUTH] = OK,
	[ASK_STREAM] = OK | OUT_BIT(OUT_PYTHON) | RUN,
	[ASK_BATCH] = OK | RUN,
	[ASK_SESSION] = OK | RUN,
	[ASK_SESSION_STUCK] = RUN,
	[ASK_END_SESSION] = OK | OUT_BIT(OUT_NO_SESSION),
	[ASK_STATUS] = OK,
	[ASK_WORKERS] = OK,
	[ASK_RESIZE] = OK,
	[ASK_RELOAD] = OK,
	[ASK_RECYCLE] = OK | OUT_BIT(OUT_NO_WORKER),
	[ASK_PAUSE] = OK,
	[ASK_RESUME] = OK,
	[ASK_SESSIONS] = OK,
	[ASK_CLEAR] = OK | OUT_BIT(OUT_NO_SESSION),
	[ASK_HOLD] = OK,
	[ASK_COUNTS] = OK,
	[ASK_RETURN] = OK,
};

static const struct {
	const char *word;
	enum outcome outcome;
} reasons[] = {
	{ "python", OUT_PYTHON },
	{ "overloaded", OUT_OVERLOADED },
	{ "worker_exit", OUT_WORKER_EXIT },
	{ "circuit_open", OUT_CIRCUIT_OPEN },
	{ "lease_closed", OUT_LEASE_CLOSED },
	{ "not_owner", OUT_NOT_OWNER },
	{ "noproc", OUT_NOPROC },
	{ "session_lost", OUT_SESSION_LOST },
	{ "session_busy", OUT_SESSION_BUSY },
	{ "no_session", OUT_NO_SESSION },
	{ "no_worker", OUT_NO_WORKER },
	{ "bad_request", OUT_REFUSED },
	{ "bad_option", OUT_REFUSED },
	{ "unknown_request", OUT_REFUSED },
	{ "invalid_checkout_type", OUT_REFUSED },
	{ "no_function", OUT_REFUSED },
	{ "not_allowed", OUT_REFUSED },
	{ "unencodable", OUT_REFUSED },
	{ "too_deep", OUT_REFUSED },
	{ "too_large", OUT_REFUSED },
};

const uint8_t *answer_second(const uint8_t *t, const char *word)
{
	const uint8_t *e;
	uint32_t arity;

	if (t == NULL || !term_tuple(t, &arity, &e) || arity != 2 || !term_is_atom(e, word))
		return NULL;
	return term_skip(e);
}

enum outcome answer_classify(const uint8_t *reply)
{
	const uint8_t *reason = answer_second(reply, "error"), *word = reason;
	uint32_t arity;

	if (reason == NULL)
		return OUT_OK;
	if (term_kind(reason) == TERM_TUPLE && (!term_tuple(reason, &arity, &word) || arity == 0))
		return OUT_OTHER;
	if (term_is_atom(word, "timeout") && word != reason)
		return term_is_atom(term_skip(word), "queue") ? OUT_TIMEOUT_QUEUE
							      : OUT_TIMEOUT_CALL;
	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (term_is_atom(word, reasons[i].word))
			return reasons[i].outcome;
	return OUT_OTHER;
}

/* ---- what a success says ---- */

/* Keeps the id of a granted lease; false: it was granted before. */
static bool new_lease(struct stress *s, uint64_t id)
{
	uint64_t *old = s->lease_ids;
	size_t old_cap = s->lease_ids_cap, at;

	if (2 * (s->lease_ids_len + 1) > old_cap) {
		s->lease_ids_cap = old_cap == 0 ? 4096 : 2 * old_cap;
		s->lease_ids = mem_zalloc(s->lease_ids_cap * sizeof *s->lease_ids);
		if (s->lease_ids == NULL)
			abort();
		s->lease_ids_len = 0;
		for (size_t i = 0; i < old_cap; i++)
			if (old[i] != 0)
				(void)new_lease(s, old[i]);
		mem_free(old);
	}
	at = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (s->lease_ids_cap - 1);
	while (s->lease_ids[at] != 0 && s->lease_ids[at] != id)
		at = (at + 1) & (s->lease_ids_cap - 1);
	if (s->lease_ids[at] == id)
		return false;
	s->lease_ids[at] = id;
	s->lease_ids_len++;
	return true;
}

static const char *judge_process(struct ask *a, const uint8_t *value)
{
	struct stress *s = a->caller->s;
	struct term_pid pid;

	if (!term_pid(value, &pid))
		return "no pid";
	if (pid.node_len != strlen(s->node_name) ||
	    memcmp(pid.node, s->node_name, pid.node_len) != 0 || pid.creation != s->node_creation)
		return "a lease or stream that is no process of the node";
	return new_lease(s, (uint64_t)pid.serial << 32 | pid.id)
		       ? NULL
		       : "a lease or stream that was granted before";
}

static const char *judge_identity(const struct ask *a, const uint8_t *value)
{
	const uint8_t *e;
	uint32_t arity;
	int64_t nonce;

	if (!term_tuple(value, &arity, &e) || arity != 2 || !term_int(e, &nonce))
		return "something else than what was sent";
	if ((uint64_t)nonce != a->nonce)
		return "the answer to another request";
	return request_is_payload(a->caller->s, a->nonce, a->payload_len, term_skip(e))
		       ? NULL
		       : "another payload than the one that was sent";
}

static const char *judge_value(struct ask *a, const uint8_t *reply)
{
	const uint8_t *value = answer_second(reply, "ok");
	int64_t n;

	switch (a->kind) {
	case ASK_PING:
		return term_is_atom(reply, "pong") ? NULL : "not pong";
	case ASK_AUTH:
		return term_is_atom(reply, "yes") ? NULL : "not yes";
	case ASK_CHECKIN:
	case ASK_GIVE_AWAY:
	case ASK_END_SESSION:
	case ASK_CLEAR:
	case ASK_RETURN:
	case ASK_RESIZE:
	case ASK_RELOAD:
	case ASK_RECYCLE:
	case ASK_PAUSE:
	case ASK_RESUME:
		return term_is_atom(reply, "ok") ? NULL : "not ok";
	default:
		break;
	}
	if (value == NULL)
		return "neither {ok, _} nor {error, _}";
	switch (a->kind) {
	case ASK_IDENTITY:
		return judge_identity(a, value);
	case ASK_SLEEP:
		return term_is_atom(value, "nil") ? NULL : "not nil";
	case ASK_OS_PID:
	case ASK_PING_WORKER:
		return term_int(value, &n) && n >= 0 ? NULL : "no number";
	case ASK_CHECKOUT:
	case ASK_HOLD:
	case ASK_STREAM:
		return judge_process(a, value);
	case ASK_BATCH:
		return batch_judge(a, value);
	default:
		return NULL;
	}
}

bool answer_names(const uint8_t *reply, uint64_t nonce)
{
	const uint8_t *map = answer_second(answer_second(reply, "error"), "python"), *message;
	struct span text;
	char digits[24];

	snprintf(digits, sizeof digits, "%" PRIu64, nonce);
	return map != NULL && (message = term_map_get(map, "message")) != NULL &&
	       term_binary(message, &text) &&
	       memmem(text.at, text.len, digits, strlen(digits)) != NULL;
}

static const char *judge_refusal(const struct ask *a, enum outcome o, const uint8_t *reply)
{
	struct stress *s = a->caller->s;
	uint64_t took = now_us() - a->sent_us;

	switch (o) {
	case OUT_PYTHON:
		/* the exception that the request provoked, and no other; of a stream: where that is judged */
		return a->kind == ASK_STREAM || answer_names(reply, a->nonce)
			       ? NULL
			       : "the exception of another request";
	case OUT_TIMEOUT_QUEUE:
	case OUT_TIMEOUT_CALL:
		if (took + EARLY_US < a->timeout_us)
			return "a time-out before its time";
		return a->timeout_us >= s->options.timeout_ms * 1000 && !a->low
			       ? "an ordinary request has used up its whole time-out: nobody "
				 "served it"
			       : NULL;
	case OUT_WORKER_EXIT:
		return ++s->exits_heard > s->workers_killed && s->status.slots <= 1
			       ? "nobody has killed its worker"
			       : NULL;
	case OUT_CIRCUIT_OPEN:
		return s->options.workers_killed > 0 ? NULL : "no worker was killed by us";
	case OUT_NOPROC: {
		const struct caller *heir = &s->callers[a->heir_slot];

		return !a->heir_dead && heir->alive && heir->serial == a->heir_serial
			       ? "a living process was refused as heir"
			       : NULL;
	}
	default:
		return NULL;
	}
}

static unsigned may_be(const struct ask *a)
{
	unsigned may = allowed[a->kind];

	if (a->thief)
		return OUT_BIT(OUT_NOT_OWNER) | OUT_BIT(OUT_LEASE_CLOSED);
	if (a->name == NULL && a->kind != ASK_CHECKOUT && a->kind != ASK_RETURN)
		may |= OUT_BIT(OUT_LEASE_CLOSED) | (a->doubtful ? OUT_BIT(OUT_NOT_OWNER) : 0);
	else if (a->session != NULL && a->kind != ASK_END_SESSION)
		may |= OUT_BIT(OUT_SESSION_LOST) | OUT_BIT(OUT_SESSION_BUSY);
	return may;
}

static bool lacks_module(const uint8_t *reply)
{
	const uint8_t *reason = answer_second(reply, "error"), *e;
	uint32_t arity;

	return term_tuple(reason, &arity, &e) && arity > 0 && term_is_atom(e, "no_function");
}

enum outcome answer_judge(struct ask *a, const uint8_t *reply)
{
	enum outcome o = answer_classify(reply);
	unsigned may = may_be(a);
	const char *why, *of_session = NULL;
	char text[160];

	if (o == OUT_REFUSED && (a->kind == ASK_STREAM || a->kind == ASK_SESSION) &&
	    lacks_module(reply)) {
		fatal(a->caller->s, "the workers do not find krait_stress_py (PYTHONPATH)");
		return o;
	}
	if (a->session != NULL) /* whatever it is, it goes into the books */
		of_session = session_judge(a, o, reply);
	if (!(may & OUT_BIT(o)))
		why = "that is no answer to it";
	else if (a->gone && o == OUT_OK)
		why = "its lease had ended before it was asked";
	else if (a->kind == ASK_GIVE_AWAY && o == OUT_OK && a->heir_dead)
		why = "the heir was dead before it was asked";
	else
		why = o == OUT_OK ? judge_value(a, reply) : judge_refusal(a, o, reply);
	if (why == NULL && a->stream != NULL)
		why = stream_judge_opening(a, o, reply);
	if (why == NULL)
		why = of_session;
	if (why == NULL) {
		a->caller->s->checks++;
		return o;
	}
	term_print(reply, text, sizeof text);
	fail(a->caller->s, a->caller, "%s, nonce %llx, after %.3f s, was answered with %s: %s",
	     ask_names[a->kind], (unsigned long long)a->nonce,
	     (double)(now_us() - a->sent_us) / 1e6, text, why);
	return o;
}

void answer_unheard(struct ask *a, const uint8_t *reply)
{
	const uint8_t *value = answer_second(reply, "ok");
	struct term_pid pid;

	if (a->kind == ASK_STREAM && value != NULL && term_pid(value, &pid))
		stream_came_late(a, value);

	if (a->kind != ASK_CHECKOUT || value == NULL || !term_pid(value, &pid))
		return;
	pid.node = a->caller->s->node_name;
	lease_witness(a->caller->sim->control, &pid, now_us());
}

void answer_came_late(struct ask *a, const uint8_t *reply)
{
	struct caller *c = a->caller;
	struct stress *s = c->s;

	s->late++;
	if ((a->kind == ASK_CHECKOUT || a->kind == ASK_STREAM) &&
	    answer_second(reply, "ok") != NULL && c->alive && c->serial == a->serial) {
		/* it gave up, and lives: its death would end the lease as well, and hide that nothing did */
		s->late_leases++;
		c->spared_us = now_us() + s->options.slack_ms * 1000 + SECOND_US;
	}
	answer_unheard(a, reply);
}
