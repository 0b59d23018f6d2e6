/* pool_check_session.c - proves the invariants of sessions. */
#include "pool_check.h"

static unsigned length(const struct list *line)
{
	unsigned n = 0;

	for (const struct list *at = line->next; at != line; at = at->next)
		n++;
	return n;
}

/* Who waits: in order, nobody left out, and nobody while a slot could take him (3, 4). */
static void check_waiting(const struct pool *p, const struct pool_session *sn)
{
	const struct pool_request *last = NULL;
	const struct list *at;
	bool nestable = false;

	if (sn->worker != NULL && !sn->ending)
		for (unsigned i = 0; i < sn->worker->slots; i++)
			nestable = nestable || (sn->worker->slot[i].session == sn &&
						slot_nestable(p, &sn->worker->slot[i]));
	for (at = sn->waiting.next; at != &sn->waiting; at = at->next) {
		const struct pool_request *r =
			list_entry(at, struct pool_claim, by_session)->request;

		HOLDS(pool_request_session(r) == sn && r->state == REQUEST_QUEUED, "waits for",
		      sn->token);
		HOLDS(last == NULL || last->priority < r->priority ||
			      (last->priority == r->priority && last->arrival < r->arrival),
		      "order in session", sn->token);
		HOLDS(!nestable || r->kind != POOL_CALL, "waiting slot for", r->id);
		last = r;
	}
	if (sn->known && sn->worker == NULL && !sn->lost && last != NULL)
		HOLDS(sn->first != NULL && pool_request_session(sn->first) == sn, "first of",
		      sn->token);
	else
		HOLDS(sn->first == NULL || sn->worker == NULL, "first of", sn->token);
}

/* How many running requests of the worker belong to the session. */
static unsigned running(const struct pool_worker *w, const struct pool_session *sn)
{
	unsigned n = 0;

	for (const struct pool_slot *s = w->slot; s < w->slot + w->slots; s++)
		for (unsigned i = 0; i < s->depth; i++)
			n += s->call[i].request != NULL &&
			     pool_request_session(s->call[i].request) == sn;
	return n;
}

/* Everything that a session counts, found by walking the slots of its worker, and the requests of all:
 * a hint on a worker that is stopping may run again. */
static void check_living(const struct pool *p, const struct pool_worker *w,
			 const struct pool_session *sn)
{
	unsigned slots = 0, users = length(&sn->waiting), told = 0;
	const struct list *at;

	for (const struct pool_slot *s = w->slot; s < w->slot + w->slots; s++) {
		slots += s->session == sn;
		told += s->ends == sn;
	}
	for (at = p->workers.next; at != &p->workers; at = at->next)
		users += running(list_entry(at, struct pool_worker, all), sn);
	HOLDS(sn->worker == w && sn->worker_id == w->id, "session", sn->token);
	HOLDS(slots == sn->slots && users == sn->users, "users of session", sn->token);
	HOLDS(told == sn->told && (!sn->told || sn->ending), "end of session", sn->token);
	HOLDS(!sn->lost, "living session", sn->token);
	HOLDS(sn->known || sn->ending, "living session", sn->token);
	HOLDS(!sn->ending || sn->known == !list_empty(&sn->waiting), "ending session", sn->token);
}

static void check_known(const struct pool *p, const struct pool_session *sn)
{
	bool unused = sn->users + sn->slots == 0;

	HOLDS(sn->known && session_find(p, sn->key, sn->key_len) == sn, "session", sn->token);
	HOLDS(sn->worker != NULL || (sn->slots == 0 && !sn->ending && !sn->told), "session",
	      sn->token);
	HOLDS(sn->lost <= (sn->worker == NULL && list_empty(&sn->waiting)), "session", sn->token);
	HOLDS(!unused || sn->worker != NULL || sn->lost, "unused session", sn->token);
	HOLDS(check_timer(&sn->timer, !unused || sn->ttl_us > POOL_NEVER - sn->idle_since_us
					      ? POOL_NEVER
					      : sn->idle_since_us + sn->ttl_us),
	      "time of session", sn->token);
	check_waiting(p, sn);
}

void check_sessions(const struct pool *p)
{
	unsigned known = 0, unused = 0, ttls = 0, hashed = 0;
	uint64_t since = 0;
	const struct list *at, *of;

	for (at = p->sessions.next; at != &p->sessions; at = at->next) {
		const struct pool_session *sn = list_entry(at, struct pool_session, link);

		check_known(p, sn);
		known++;
		unused += sn->users + sn->slots == 0;
		ttls += sn->timer.queued;
	}
	HOLDS(known == p->session_count && known <= p->sessions_most, "sessions", known);
	for (at = p->unused.next; at != &p->unused; at = at->next) {
		const struct pool_session *sn = list_entry(at, struct pool_session, order);

		HOLDS(sn->users + sn->slots == 0 && sn->idle_since_us >= since, "unused",
		      sn->token);
		since = sn->idle_since_us;
		unused--;
	}
	HOLDS(unused == 0, "unused sessions", unused);
	check_heap(&p->ttls, ttls, "ttls");
	for (unsigned i = 0; i < POOL_SESSION_HASH; i++)
		for (const struct pool_session *sn = p->session_hash[i]; sn != NULL;
		     sn = sn->hash_next)
			hashed++;
	HOLDS(hashed == known, "hashed sessions", hashed);
	for (of = p->workers.next; of != &p->workers; of = of->next) {
		const struct pool_worker *w = list_entry(of, struct pool_worker, all);
		unsigned due = 0;

		HOLDS(length(&w->sessions) == w->session_count, "sessions of", w->id);
		for (at = w->sessions.next; at != &w->sessions; at = at->next) {
			const struct pool_session *sn =
				list_entry(at, struct pool_session, by_worker);

			check_living(p, w, sn);
			due += sn->ending && sn->slots == 0 && !sn->told;
		}
		HOLDS(due == length(&w->ends), "ends due on worker", w->id);
	}
	for (at = p->sessions_ended.next; at != &p->sessions_ended; at = at->next) {
		const struct pool_session *sn = list_entry(at, struct pool_session, link);

		HOLDS(!sn->known && sn->worker == NULL && sn->users + sn->slots == 0, "ended",
		      sn->token);
		HOLDS(!sn->timer.queued, "time of ended session", sn->token);
	}
}
