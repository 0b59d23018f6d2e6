/* pool_given.h - given, when, then for the pool: events are verbs, actions are read as a sentence.
 *
 *     given_workers(2);
 *     call(10);
 *     then("RUN 2 10");
 *     after_ms(300);
 *     then("KILL 2, DONE 10 timeout_call, START 3@1");
 *
 *     strict("a", 11);
 *     end_session("a");
 *     then("RUN 3 11");
 *
 * Requests, leases and sessions are allocated one by one and freed when the pool gives them back, so that
 * a sanitizer sees every use after that. Time is virtual. pool_check() runs after every step. */
#ifndef KRAIT_TEST_POOL_GIVEN_H
#define KRAIT_TEST_POOL_GIVEN_H

#include "../include/mem.h"
#include "../include/pool.h"
#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS      UINT64_C(1000)
#define SECONDS UINT64_C(1000000)
#define IDS     20000

static struct pool *pool;
static struct pool_config config;    /* of the next given_pool() */
static struct pool_request the_next; /* what the next request is like; reset after it */
static uint64_t now_us, the_ttl_us;
static uint64_t a_random; /* given with each event */
static char said[1 << 16];
static struct pool_request *requests[IDS];
static struct pool_lease *leases[IDS];
static uint64_t starts_seen;
static uint64_t last_token;
static unsigned sessions_out; /* records that the pool has */
static bool unchecked;        /* for large numbers: pool_check() walks everything */

static inline void like_any_request(void)
{
	the_next = (struct pool_request){
		.priority = PRIORITY_NORMAL,
		.deadline_us = POOL_NEVER,
		.queue_deadline_us = POOL_NEVER,
	};
}

static inline void say(const char *fmt, uint64_t a, uint64_t b, const char *word)
{
	size_t len = strlen(said);
	char text[128];

	/* `fmt` holds %a, %b and %w for the three. */
	char *out = text;

	for (; *fmt != '\0'; fmt++) {
		size_t room = sizeof text - (size_t)(out - text);

		if (fmt[0] == '%' && fmt[1] == 'w')
			out += snprintf(out, room, "%s", word);
		else if (fmt[0] == '%')
			out += snprintf(out, room, "%llu",
					(unsigned long long)(fmt[1] == 'a' ? a : b));
		else
			*out++ = *fmt;
		if (fmt[0] == '%')
			fmt++;
	}
	*out = '\0';
	if (len + strlen(text) + 3 < sizeof said)
		snprintf(said + len, sizeof said - len, "%s%s", len > 0 ? ", " : "", text);
}

/* The name of a session: its key, which is text here. */
static inline const char *name_of(const struct pool_session *sn)
{
	return (const char *)sn->key;
}

static inline void say_ended(const char *name, const char *how)
{
	char text[80];

	snprintf(text, sizeof text, "SESSION %s %s", name, how);
	say("%w", 0, 0, text);
}

static inline void perform(const struct pool_action *a)
{
	static const char *const ends[] = { "checked_in", "owner_gone", "worker_gone", "timeout" };
	static const char *const session_ends[] = { "ended", "evicted", "expired",
						    "lost",  "unused",  "moved" };

	switch (a->type) {
	case POOL_START:
		starts_seen++;
		say("START %a@%b", a->worker_id, a->index, "");
		break;
	case POOL_RUN:
		ck_assert_ptr_eq(a->request, requests[a->call_id]);
		ck_assert_uint_eq(a->request->worker_id, a->worker_id);
		say("RUN %a %b", a->worker_id, a->call_id, "");
		break;
	case POOL_BEGUN:
		ck_assert_uint_eq(a->request->worker_id, a->worker_id);
		say("BEGUN %a %b", a->worker_id, a->call_id, "");
		break;
	case POOL_AHEAD:
		ck_assert_ptr_eq(a->request, requests[a->call_id]);
		say("AHEAD %a %b", a->worker_id, a->call_id, "");
		break;
	case POOL_RECALL:
		say("RECALL %a", a->worker_id, 0, "");
		break;
	case POOL_PROBE:
		say("PROBE %a", a->worker_id, 0, "");
		break;
	case POOL_CLOSE:
		say("CLOSE %a %b", a->worker_id, a->call_id, "");
		break;
	case POOL_OPENED:
		ck_assert_ptr_eq(a->request, requests[a->call_id]);
		ck_assert_uint_eq(a->request->state, REQUEST_STREAMING);
		say("OPENED %b", 0, a->call_id, "");
		break;
	case POOL_END_SESSION:
		ck_assert(a->call_id >> 63);
		say("END_SESSION %a %w", a->worker_id, 0, name_of(a->session));
		break;
	case POOL_SESSION_ENDED:
		say_ended(name_of(a->session), session_ends[a->session->end]);
		sessions_out--;
		free(a->session);
		break;
	case POOL_INTERRUPT:
		say("INTERRUPT %a", a->worker_id, 0, "");
		break;
	case POOL_END:
		say("END %a", a->worker_id, 0, "");
		break;
	case POOL_TERMINATE:
		say("TERMINATE %a", a->worker_id, 0, "");
		break;
	case POOL_ABORT:
		say("ABORT %a", a->worker_id, 0, "");
		break;
	case POOL_KILL:
		say("KILL %a", a->worker_id, 0, "");
		break;
	case POOL_DONE: {
		struct pool_request *r = a->request;

		ck_assert_uint_eq(r->state, REQUEST_DONE);
		ck_assert_ptr_eq(a->lease, r->kind == POOL_CHECKOUT ? r->lease : NULL);
		if (r->kind == POOL_CHECKOUT && r->outcome == OUTCOME_OK) {
			say("DONE %a lease on %b", r->id, a->worker_id, "");
		} else {
			say("DONE %a %w", r->id, 0, pool_outcome_name(r->outcome));
			if (a->lease != NULL)
				leases[a->lease->id] = NULL;
			free(a->lease);
		}
		requests[r->id] = NULL;
		free(r);
		break;
	}
	case POOL_LEASE_ENDED:
		say("ENDED %a %w", a->lease->id, 0, ends[a->lease->end]);
		leases[a->lease->id] = NULL;
		free(a->lease);
		break;
	case POOL_DRAINED:
		say("DRAINED", 0, 0, "");
		break;
	}
}

static inline void step(struct pool_event ev)
{
	struct pool_action action;

	ev.random = a_random;
	pool_step(pool, &ev, now_us);
	if (!unchecked)
		pool_check(pool);
	while (pool_next(pool, &action))
		perform(&action);
	if (!unchecked)
		pool_check(pool);
}

/* What the pool has decided since the last then(). */
#define then(text)                            \
	do {                                  \
		ck_assert_str_eq(said, text); \
		said[0] = '\0';               \
	} while (0)

static inline void then_nothing(void)
{
	then("");
}

static inline void ignore_actions(void)
{
	said[0] = '\0';
}

static inline void submit(uint64_t id, enum pool_kind kind, uint64_t lease_id)
{
	struct pool_request *r = malloc(sizeof *r + sizeof *r->claim);
	struct pool_lease *lease = NULL;
	struct pool_session *sn = NULL;

	ck_assert(r != NULL && id < IDS && requests[id] == NULL);
	*r = the_next;
	r->id = id;
	r->kind = kind;
	r->lease_id = lease_id;
	requests[id] = r;
	if (the_next.claim != NULL) {
		r->claim = (struct pool_claim *)(r + 1);
		*r->claim = *the_next.claim;
	}
	if (kind == POOL_CHECKOUT) {
		lease = calloc(1, sizeof *lease);
		ck_assert(lease != NULL && lease_id < IDS && leases[lease_id] == NULL);
		lease->id = lease_id;
		leases[lease_id] = lease;
	}
	if (r->claim != NULL &&
	    (r->session_mode == SESSION_HINT ||
	     pool_session_find(pool, r->claim->key, r->claim->key_len) == NULL)) {
		sn = calloc(1, sizeof *sn + 32);
		ck_assert(sn != NULL && r->claim->key_len < 32);
		sn->token = ++last_token;
		sn->ttl_us = the_ttl_us;
		sn->key = memcpy(sn + 1, r->claim->key, r->claim->key_len);
		sn->key_len = r->claim->key_len;
		sessions_out++;
	}
	like_any_request();
	step((struct pool_event){
		.type = POOL_SUBMIT, .request = r, .lease = lease, .session = sn });
}

static inline void call(uint64_t id)
{
	submit(id, POOL_CALL, 0);
}

static inline void checkout(uint64_t id, uint64_t lease_id)
{
	submit(id, POOL_CHECKOUT, lease_id);
}

static inline void lease_call(uint64_t id, uint64_t lease_id)
{
	submit(id, POOL_LEASE_CALL, lease_id);
}

/* The next request belongs to that session. */
static inline void session(const char *name, enum pool_session_mode mode)
{
	static struct pool_claim claim;

	claim = (struct pool_claim){ .key = (const uint8_t *)name,
				     .key_len = (uint32_t)strlen(name) };
	the_next.claim = &claim;
	the_next.session_mode = mode;
}

/* A call in a session. */
static inline void strict(const char *name, uint64_t id)
{
	session(name, SESSION_STRICT);
	call(id);
}

static inline void hint(const char *name, uint64_t id)
{
	session(name, SESSION_HINT);
	call(id);
}

static inline void fail_fast(const char *name, uint64_t id)
{
	session(name, SESSION_FAIL_FAST);
	call(id);
}

static inline struct pool_session *the_session(const char *name)
{
	return pool_session_find(pool, (const uint8_t *)name, strlen(name));
}

static inline void end_session(const char *name)
{
	ck_assert_ptr_nonnull(the_session(name));
	step((struct pool_event){ .type = POOL_SESSION_END, .session = the_session(name) });
}

static inline void stream(uint64_t id)
{
	the_next.stream = true;
	call(id);
}

static inline void opened(uint64_t worker_id, uint64_t call_id)
{
	step((struct pool_event){
		.type = POOL_WORKER_OPENED, .worker_id = worker_id, .call_id = call_id });
}

static inline void waits(uint64_t worker_id, uint64_t call_id, bool waiting)
{
	step((struct pool_event){ .type = POOL_WORKER_WAITS,
				  .worker_id = worker_id,
				  .call_id = call_id,
				  .waits = waiting });
}

static inline void extend(uint64_t id, uint64_t deadline_us)
{
	step((struct pool_event){
		.type = POOL_EXTEND, .request = requests[id], .deadline_us = deadline_us });
}

static inline void close_stream(uint64_t id)
{
	step((struct pool_event){ .type = POOL_CLOSE_STREAM, .request = requests[id] });
}

static inline void refuse(uint64_t id)
{
	step((struct pool_event){ .type = POOL_REFUSE, .request = requests[id] });
}

static inline void abandon(uint64_t id)
{
	ck_assert_ptr_nonnull(requests[id]);
	step((struct pool_event){ .type = POOL_ABANDON, .request = requests[id] });
}

static inline void cancel(uint64_t id)
{
	ck_assert_ptr_nonnull(requests[id]);
	step((struct pool_event){ .type = POOL_CANCEL, .request = requests[id] });
}

/* A call of that peer. */
static inline void call_of_peer(uint32_t peer, uint64_t id)
{
	the_next.peer = peer;
	call(id);
}

static inline void checkin(uint64_t lease_id)
{
	step((struct pool_event){ .type = POOL_CHECKIN, .lease_id = lease_id });
}

static inline void lease_down(uint64_t lease_id)
{
	step((struct pool_event){ .type = POOL_LEASE_DOWN, .lease_id = lease_id });
}

static inline void ready(uint64_t worker_id)
{
	step((struct pool_event){ .type = POOL_WORKER_READY, .worker_id = worker_id });
}

static inline void answer(uint64_t worker_id, uint64_t call_id)
{
	step((struct pool_event){
		.type = POOL_WORKER_ANSWER, .worker_id = worker_id, .call_id = call_id });
}

/* The id of the probe, or the end of a session, that the worker has not answered; 0: none. */
static inline uint64_t probe_of(uint64_t worker_id)
{
	const struct pool_worker *w = pool_worker(pool, worker_id);

	for (unsigned i = 0; i < w->slots; i++)
		if (w->slot[i].probe_id != 0)
			return w->slot[i].probe_id;
	return 0;
}

/* Answers that. */
static inline void pong(uint64_t worker_id)
{
	ck_assert_uint_ne(probe_of(worker_id), 0);
	answer(worker_id, probe_of(worker_id));
}

/* The call that the worker runs, if it is one; 0: none, or several. */
static inline uint64_t call_of(uint64_t worker_id)
{
	const struct pool_call *c = pool_worker_call(pool_worker(pool, worker_id));

	return c != NULL ? c->id : 0;
}

static inline void gone(uint64_t worker_id)
{
	step((struct pool_event){ .type = POOL_WORKER_GONE, .worker_id = worker_id });
}

static inline void broken(uint64_t worker_id)
{
	step((struct pool_event){ .type = POOL_WORKER_BROKEN, .worker_id = worker_id });
}

static inline void tick(void)
{
	step((struct pool_event){ .type = POOL_TICK });
}

static inline void resize(unsigned size)
{
	step((struct pool_event){ .type = POOL_RESIZE, .size = size });
}

/* What `config` says now is in force. */
static inline void configure(void)
{
	step((struct pool_event){ .type = POOL_CONFIGURE, .config = &config });
}

static inline void drain(void)
{
	step((struct pool_event){ .type = POOL_DRAIN });
}

static inline void stop(void)
{
	step((struct pool_event){ .type = POOL_STOP });
}

/* Time passes without any event. */
static inline void later_ms(uint64_t ms)
{
	now_us += ms * MS;
}

/* Time passes, with the ticks that the pool asked for and only those. */
static inline void after_ms(uint64_t ms)
{
	uint64_t end = now_us + ms * MS;

	while (pool_next_tick(pool) <= end) {
		if (pool_next_tick(pool) > now_us)
			now_us = pool_next_tick(pool);
		tick();
		ck_assert_msg(pool_next_tick(pool) > now_us, "a tick did not settle what was due");
	}
	now_us = end;
}

static inline uint64_t ms_from_now(uint64_t ms)
{
	return now_us + ms * MS;
}

static inline enum worker_state state_of(uint64_t worker_id)
{
	ck_assert_ptr_nonnull(pool_worker(pool, worker_id));
	return pool_worker(pool, worker_id)->state;
}

static inline uint64_t outcomes(enum pool_outcome outcome)
{
	return pool_totals(pool)->outcome[outcome];
}

/* A pool that was never stepped. */
static inline void given_pool(unsigned size)
{
	config.size = size;
	pool = pool_new(&config);
	ck_assert_ptr_nonnull(pool);
}

/* A pool of idle workers 1 to n; n is used next, then n - 1. */
static inline void given_workers(unsigned n)
{
	given_pool(n);
	tick();
	for (unsigned i = 1; i <= n; i++)
		ready(i);
	ignore_actions();
}

/* For each test: a world, and its end, which must be clean whatever the test left behind. */
static inline void set_up(void)
{
	now_us = 1 * SECONDS;
	a_random = starts_seen = last_token = 0;
	the_ttl_us = POOL_NEVER;
	unchecked = false;
	said[0] = '\0';
	like_any_request();
	config = (struct pool_config){
		.queue_limit = 100,
		.queue_bytes_limit = 1 << 20,
		.start_timeout_us = 10 * SECONDS,
		.interrupt_grace_us = 1 * SECONDS,
		.stop_grace_us = 2 * SECONDS,
		.max_sessions = 10,
		.breaker = { .threshold = 5,
			     .backoff_base_us = 100 * MS,
			     .backoff_max_us = 10 * SECONDS,
			     .burst = 100,
			     .per_second = 100 },
	};
}

static inline void tear_down(void)
{
	const struct pool_worker *w;

	if (pool == NULL)
		return;
	stop();
	while ((w = pool_worker_after(pool, NULL)) != NULL)
		gone(w->id);
	ck_assert_uint_eq(pool_queued(pool) + pool_running(pool) + pool_leases(pool), 0);
	for (unsigned i = 0; i < IDS; i++)
		ck_assert_msg(requests[i] == NULL && leases[i] == NULL, "%u was not given back", i);
	ck_assert_uint_eq(sessions_out, 0);
	ck_assert_uint_eq(pool_next_tick(pool), POOL_NEVER);
	pool_free(pool);
	pool = NULL;
}

#endif
