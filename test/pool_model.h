/* pool_model.h - what a pool must do, as plainly as possible: what there is, and how it is found.
 *
 * The model keeps plain arrays and finds everything by searching them: who is next is "the smallest",
 * not "the head of a list"; how many use a session is counted anew each time. It is told each event before
 * the pool is, and says what must happen (pool_model_rules.h). It has a breaker of its own
 * (check_breaker.c proves that one).
 *
 * Where the order of two things is nobody's business (who is told first that a lease has closed), it says a
 * set. Timers of one kind that fall together are due in the order in which they were set. */
#ifndef KRAIT_TEST_POOL_MODEL_H
#define KRAIT_TEST_POOL_MODEL_H

#include "../include/pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANY        300 /* of each kind at a time: queue limit 200, and DYING in check_pool_model.c */
#define MANY_SLOTS  4
#define MS          UINT64_C(1000)
#define EARLY_US    (100 * MS)
#define RETRY_US    (100 * MS)
#define EARLY_LIMIT 16
#define PROBE       (UINT64_C(1) << 63)

#define EXIT_NO_VERDICT 3 /* more of something at a time than the model can count */

static uint64_t now;

#define SAME(a, b, ...)                                                                            \
	do {                                                                                       \
		uint64_t same_a = (uint64_t)(a), same_b = (uint64_t)(b);                           \
		if (same_a != same_b) {                                                            \
			fprintf(stderr, "%s = %" PRIu64 ", the model says %s = %" PRIu64 ": ", #a, \
				same_a, #b, same_b);                                               \
			fprintf(stderr, __VA_ARGS__);                                              \
			fprintf(stderr, "\n");                                                     \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct m_timer {
	uint64_t at, order;
};

/* Ids of other things are 0 where there is none. */
struct m_request {
	bool exists, running, streaming, closing, stream, lost; /* lost: its worker is stopping */
	uint64_t id, order, until_queue, until_call, lease_id, worker_id, last_worker, started;
	uint64_t session, spare; /* tokens */
	unsigned name;           /* of its session; 0: it has none */
	struct m_timer timer;
	enum pool_kind kind;
	enum pool_session_mode mode;
	unsigned priority, retry;
	uint64_t peer, arrived;
	bool in_line;
	uint64_t line; /* in that of a worker, by its id; 0: of those that may go anywhere */
	size_t bytes;
	enum pool_abandon abandon;
	struct pool_request *real;
};

/* A peer of which somebody is in a line: who has the lowest number is next. */
struct m_turn {
	bool exists;
	uint64_t line, peer, number;
	unsigned priority;
};

struct m_call {
	uint64_t id, request_id;
	bool waits, inner;
};

struct m_slot {
	enum worker_state state;
	struct m_call calls[POOL_NEST_MAX];
	unsigned depth;
	uint64_t probe, lease_id, session, ends;
	bool interrupted, closing, timed_out, health;
	struct m_timer timer;
};

struct m_worker {
	bool exists, retiring, trial, recycled, pinned_last;
	uint64_t lined_up; /* when it was lined up to be replaced; 0: it was not */
	uint64_t since, max_calls, interval;
	struct m_timer health, age;
	uint64_t id, started, ready_at, touched, calls, last_call;
	unsigned index, phase, n_slots;
	enum pool_why why;
	enum worker_state state; /* STARTING, STOPPING, or IDLE: it serves */
	struct m_timer timer;
	struct m_slot slots[MANY_SLOTS];
};

struct m_lease {
	bool exists;
	uint64_t id, worker_id;
	unsigned slot;
};

struct m_session {
	bool exists, known, lost, ending, told;
	uint64_t token, worker_id, last_worker, calls, ttl;
	uint64_t begun, settled, due,
		unused; /* numbers in the order in which that happened; 0: not */
	uint64_t first; /* the request that the others are behind */
	uint64_t idle_since;
	unsigned name;
	enum pool_session_end end;
	struct m_timer timer;
	struct pool_session *real;
};

/* What must happen in this step. */
struct m_act {
	bool exists;
	enum pool_action_type type;
	uint64_t id, call_id; /* of the worker, request, lease or session */
	unsigned what;        /* index, outcome or end */
	unsigned slot;
	uint64_t worker_id, token;
};

static struct {
	struct pool_config config;
	struct breaker breaker;
	struct m_request requests[MANY];
	struct m_worker workers[MANY];
	struct m_lease leases[MANY];
	struct m_session sessions[MANY];
	struct m_turn turns[MANY];
	struct m_act acts[MANY * 4];
	unsigned n_acts, top; /* nothing is at that place of an array, or further back */
	uint64_t orders, counter, last_worker, last_probe, no_memory_until, start_at, random;
	unsigned early;
	uint64_t cold; /* goes down: workers that nobody has used */
	unsigned size, patience;
	bool shrunk;
	uint64_t shrunk_at, spare_since; /* POOL_NEVER: none has nothing to do */
	bool draining, stopping, paused, drain_due, must_drain;
	long fail_after;
	struct pool_totals totals;
	uint64_t replaced, taken_turns, contested;
	uint64_t waits, calls, ready, trials, given_up, nested, deepest;
} m;

/* Something new is at that place. */
static void m_put(size_t place)
{
	if (place >= MANY)
		_exit(EXIT_NO_VERDICT);
	if (place >= m.top)
		m.top = (unsigned)place + 1;
}

static uint64_t in(uint64_t us)
{
	return us > POOL_NEVER - now ? POOL_NEVER : now + us;
}

static void m_set(struct m_timer *t, uint64_t at)
{
	t->at = at;
	t->order = ++m.counter;
}

static bool m_earlier(const struct m_timer *a, const struct m_timer *b)
{
	return b == NULL || a->at < b->at || (a->at == b->at && a->order < b->order);
}

#define EACH(x, array)                                    \
	for ((x) = (array); (x) < (array) + m.top; (x)++) \
		if ((x)->exists)

#define EACH_SLOT(s, w) for ((s) = (w)->slots; (s) < (w)->slots + (w)->n_slots; (s)++)

static struct m_worker *m_worker(uint64_t id)
{
	struct m_worker *w;

	EACH(w, m.workers)
	if (w->id == id)
		return w;
	return NULL;
}

static struct m_request *m_request(uint64_t id)
{
	struct m_request *r;

	EACH(r, m.requests)
	if (r->id == id)
		return r;
	return NULL;
}

static struct m_lease *m_lease(uint64_t id)
{
	struct m_lease *l;

	EACH(l, m.leases)
	if (l->id == id)
		return l;
	return NULL;
}

static struct m_session *m_session(uint64_t token)
{
	struct m_session *sn;

	EACH(sn, m.sessions)
	if (sn->token == token)
		return sn;
	return NULL;
}

static struct m_session *m_named(unsigned name)
{
	struct m_session *sn;

	EACH(sn, m.sessions)
	if (sn->known && sn->name == name)
		return sn;
	return NULL;
}

/* ---- counting ---- */

static bool m_serves(const struct m_worker *w)
{
	return w->state != WORKER_STARTING && w->state != WORKER_STOPPING;
}

/* How many slots of the worker are in that state. */
static unsigned m_in(const struct m_worker *w, enum worker_state state)
{
	const struct m_slot *s;
	unsigned n = 0;

	EACH_SLOT(s, w)
	n += m_serves(w) && s->state == state;
	return n;
}

/* Of workers, or of slots. */
static unsigned m_count(enum worker_state state)
{
	struct m_worker *w;
	unsigned n = 0;

	EACH(w, m.workers)
	n += m_serves(w) ? m_in(w, state) : w->state == state;
	return n;
}

static enum worker_state m_sum(const struct m_worker *w)
{
	return !m_serves(w)              ? w->state
	       : m_in(w, WORKER_BUSY)    ? WORKER_BUSY
	       : m_in(w, WORKER_PROBING) ? WORKER_PROBING
	       : m_in(w, WORKER_LEASED)  ? WORKER_LEASED
					 : WORKER_IDLE;
}

static unsigned m_ready(void)
{
	struct m_worker *w;
	unsigned n = 0;

	EACH(w, m.workers)
	n += m_serves(w);
	return n;
}

static unsigned m_retiring(void)
{
	struct m_worker *w;
	unsigned n = 0;

	EACH(w, m.workers)
	n += w->retiring;
	return n;
}

/* Those of them that are being replaced. */
static unsigned m_leaving(void)
{
	struct m_worker *w;
	unsigned n = 0;

	EACH(w, m.workers)
	n += w->retiring && w->recycled;
	return n;
}

/* Who is to be replaced next; NULL: nobody. */
static struct m_worker *m_first_lined_up(void)
{
	struct m_worker *w, *first = NULL;

	EACH(w, m.workers)
	if (w->lined_up != 0 && (first == NULL || w->lined_up < first->lined_up))
		first = w;
	return first;
}

static unsigned m_wanted(void)
{
	return m.size + (m_first_lined_up() != NULL && m_leaving() < m.size);
}

static unsigned m_there(void)
{
	return m_ready() - m_leaving() + m_count(WORKER_STARTING);
}

static unsigned m_requests(bool running, size_t *bytes)
{
	struct m_request *r;
	unsigned n = 0;

	if (bytes != NULL)
		*bytes = 0;
	EACH(r, m.requests)
	if (r->running == running) {
		n++;
		if (bytes != NULL)
			*bytes += r->bytes;
	}
	return n;
}

static unsigned m_leases(void)
{
	struct m_lease *l;
	unsigned n = 0;

	EACH(l, m.leases)
	n++;
	return n;
}

static unsigned m_known(void)
{
	struct m_session *sn;
	unsigned n = 0;

	EACH(sn, m.sessions)
	n += sn->known;
	return n;
}

static unsigned m_users(const struct m_session *sn)
{
	struct m_request *r;
	unsigned n = 0;

	EACH(r, m.requests)
	n += r->session == sn->token;
	return n;
}

static unsigned m_slots(const struct m_session *sn)
{
	struct m_worker *w;
	struct m_slot *s;
	unsigned n = 0;

	EACH(w, m.workers)
	EACH_SLOT(s, w)
	n += s->session == sn->token;
	return n;
}

static bool m_used(const struct m_session *sn)
{
	return m_users(sn) + m_slots(sn) > 0;
}

static unsigned m_sessions_of(const struct m_worker *w)
{
	struct m_session *sn;
	unsigned n = 0;

	EACH(sn, m.sessions)
	n += sn->worker_id == w->id;
	return n;
}

/* ---- who is next ---- */

static bool m_movable(const struct m_request *r)
{
	return r->mode == SESSION_HINT && r->spare != 0;
}

/* Where a queued request waits. */
enum m_line { NOWHERE, ANYWHERE, PINNED, BEHIND, OF_A_LEASE };

static enum m_line m_line(const struct m_request *r)
{
	const struct m_session *sn = m_session(r->session);

	if (r->running)
		return NOWHERE;
	if (r->kind == POOL_LEASE_CALL)
		return OF_A_LEASE;
	if (sn == NULL || sn->first == r->id)
		return ANYWHERE;
	if (sn->worker_id == 0 || sn->ending)
		return BEHIND;
	return m_movable(r) ? ANYWHERE : PINNED;
}

static bool m_before(const struct m_request *a, const struct m_request *b)
{
	if (b == NULL || a->priority != b->priority)
		return b == NULL || a->priority < b->priority;
	return a->order < b->order;
}

static struct m_turn *m_turn(uint64_t line, unsigned priority, uint64_t peer)
{
	struct m_turn *turn;

	EACH(turn, m.turns)
	if (turn->line == line && turn->priority == priority && turn->peer == peer)
		return turn;
	return NULL;
}

/* Whose turn it is in a line: of the first peer the first. */
static struct m_request *m_first_in(uint64_t line)
{
	struct m_request *r, *first = NULL;
	uint64_t is, least = 0;

	EACH(r, m.requests)
	{
		if (!r->in_line || r->line != line)
			continue;
		is = m_turn(line, r->priority, r->peer)->number;
		if (first == NULL || r->priority < first->priority ||
		    (r->priority == first->priority &&
		     (is < least || (is == least && r->order < first->order)))) {
			first = r;
			least = is;
		}
	}
	return first;
}

static struct m_request *m_first_anywhere(void)
{
	return m_first_in(0);
}

static struct m_request *m_oldest_anywhere(void)
{
	struct m_request *r, *first = NULL;

	EACH(r, m.requests)
	if (m_line(r) == ANYWHERE && (first == NULL || r->order < first->order))
		first = r;
	return first;
}

static struct m_request *m_first_of_lease(uint64_t lease_id)
{
	struct m_request *r, *first = NULL;

	EACH(r, m.requests)
	if (m_line(r) == OF_A_LEASE && r->lease_id == lease_id &&
	    (first == NULL || r->order < first->order))
		first = r;
	return first;
}

/* Who waits for the session; a call, or anybody. */
static struct m_request *m_first_of_session(uint64_t token, bool calls_only)
{
	struct m_request *r, *first = NULL;

	EACH(r, m.requests)
	if (!r->running && r->session == token && (!calls_only || r->kind == POOL_CALL) &&
	    m_before(r, first))
		first = r;
	return first;
}

/* A free slot of the worker; NULL: it has none to give. */
static struct m_slot *m_free_slot(struct m_worker *w)
{
	struct m_slot *s;

	EACH_SLOT(s, w)
	if (m_serves(w) && !w->retiring && s->state == WORKER_IDLE)
		return s;
	return NULL;
}

/* With one slot each: the one used last, or longest ago; with more: the one with the fewest calls. With `by_sessions`:
 * the one with the fewest sessions; `except` will have one slot less. */
static struct m_worker *m_best(bool by_sessions, const struct m_worker *except)
{
	struct m_worker *w, *best = NULL;
	uint64_t least[3] = { 0 };

	EACH(w, m.workers)
	{
		uint64_t is[3] = { by_sessions ? m_sessions_of(w) : 0,
				   w->n_slots - m_in(w, WORKER_IDLE),
				   m.config.order == ORDER_FIFO ? w->touched
								: POOL_NEVER - w->touched };

		if (m_free_slot(w) == NULL || (w == except && m_in(w, WORKER_IDLE) == 1))
			continue;
		if (best != NULL && (is[0] != least[0]   ? is[0] > least[0]
				     : is[1] != least[1] ? is[1] > least[1]
							 : is[2] > least[2]))
			continue;
		best = w;
		memcpy(least, is, sizeof is);
	}
	return best;
}

/* Of those who wait for one worker in particular, whose turn it is there, the first. */
static struct m_request *m_first_pinned(void)
{
	struct m_request *r, *first = NULL;
	struct m_worker *w;

	EACH(w, m.workers)
	if (m_free_slot(w) != NULL && (r = m_first_in(w->id)) != NULL && m_before(r, first))
		first = r;
	return first;
}

/* Whether a call may run inside of the innermost of the slot. */
static bool m_nestable(const struct m_worker *w, const struct m_slot *s)
{
	if (!m_serves(w) || s->state != WORKER_BUSY || s->interrupted || s->closing ||
	    s->depth == POOL_NEST_MAX || !s->calls[s->depth - 1].waits)
		return false;
	for (unsigned i = 0; i < s->depth; i++) {
		const struct m_request *r = m_request(s->calls[i].request_id);

		if (r != NULL && r->until_call <= now)
			return false;
	}
	return true;
}

/* The call of that id on the worker, and its slot. */
static struct m_call *m_call(struct m_worker *w, uint64_t call_id, struct m_slot **slot)
{
	EACH_SLOT(*slot, w)
	for (unsigned i = 0; i < (*slot)->depth; i++)
		if ((*slot)->calls[i].id == call_id)
			return &(*slot)->calls[i];
	return NULL;
}

/* Whether somebody has yet to hear what became of the worker. */
static bool m_owned(const struct m_worker *w)
{
	const struct m_slot *s;

	EACH_SLOT(s, w)
	{
		if (s->lease_id != 0)
			return true;
		for (unsigned i = 0; i < s->depth; i++)
			if (s->calls[i].request_id != 0)
				return true;
	}
	return false;
}

#endif
