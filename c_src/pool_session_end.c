/* pool_session_end.c - how sessions end: by request, by their time, by eviction; and how they are lost.
 *
 * The happy path: session_end() -> the calls that run in it are done -> the worker is told and answers
 * (session_parted()) -> its record goes back, or those who wait start it anew.
 * What can go wrong: the worker is no more. Then all that wait for it hear so, and if nobody did, the next
 * who asks for it; but hints, who never mind, start it anew. */
#include "pool_private.h"

#include <assert.h>

void session_end(struct pool *p, struct pool_session *sn, enum pool_session_end end)
{
	struct list *at, *next;

	if (!sn->known || sn->ending || (sn->worker == NULL && !sn->lost))
		return; /* it ends already, or has not begun */
	sn->end = end;
	list_remove(&sn->order);
	heap_remove(&p->ttls, &sn->timer);
	if (sn->lost)
		session_forget(p, sn);
	else
		sn->ending = true;
	list_each (at, next, &sn->waiting) /* they wait until it has ended */
		line_take(p, list_entry(at, struct pool_claim, by_session)->request, false);
	session_settle(p, sn);
}

void session_told(struct pool *p, struct pool_session *sn)
{
	session_end(p, sn, SESSION_LOST);
}

/* Those of a lost session that rely on what was in it hear of that. Returns whether anybody did. */
static bool tell(struct pool *p, struct pool_session *sn)
{
	struct list *at, *next;
	bool told = false;

	list_each (at, next, &sn->waiting) {
		struct pool_request *r = list_entry(at, struct pool_claim, by_session)->request;

		line_take(p, r, false); /* hints: behind the first of them */
		if (r->session_mode == SESSION_HINT)
			continue;
		request_done(p, r, OUTCOME_SESSION_LOST);
		told = true;
	}
	return told;
}

static void lost(struct pool *p, struct pool_session *sn)
{
	bool told;

	sn->lost = true;
	p->totals.sessions_lost += !p->stopping;
	told = tell(p, sn);
	if (!list_empty(&sn->waiting)) { /* hints, who start it anew */
		sn->lost = false;
		sn->calls = 0;
	} else if (told || p->stopping) {
		sn->end = told ? SESSION_LOST : SESSION_ENDED;
		list_remove(&sn->order);
		heap_remove(&p->ttls, &sn->timer);
		session_forget(p, sn);
	}
}

void session_parted(struct pool *p, struct pool_session *sn)
{
	sn->worker->session_count--;
	list_remove(&sn->by_worker);
	sn->worker = NULL;
	sn->users++; /* so that nobody ends it meanwhile */
	if (sn->ending) {
		list_remove(&sn->order);
		sn->ending = sn->told = false;
		sn->calls = 0;
	} else {
		lost(p, sn);
	}
	sn->users--;
	session_settle(p, sn);
}

/* What ran in a session on the worker does so no longer. */
static void leave_all(struct pool_slot *s)
{
	struct pool_session *sn = s->session;

	if (sn == NULL)
		return;
	s->session = NULL;
	sn->slots--;
	for (unsigned i = 0; i < s->depth; i++) {
		struct pool_request *r = s->call[i].request;

		/* A hint may run again, and needs a record then. */
		if (r == NULL || pool_request_session(r) == NULL ||
		    (!s->call[i].inner && r->kind == POOL_CALL && r->session_mode == SESSION_HINT))
			continue;
		r->claim->session = NULL;
		sn->users--;
	}
}

void sessions_lost(struct pool *p, struct pool_worker *w)
{
	struct list *at, *next;

	for (unsigned i = 0; i < w->slots; i++)
		leave_all(&w->slot[i]);
	list_each (at, next, &w->sessions)
		session_parted(p, list_entry(at, struct pool_session, by_worker));
}

bool session_rejoin(struct pool *p, struct pool_request *r, bool not_begun)
{
	struct pool_session *old = pool_request_session(r),
			    *sn = session_find(p, r->claim->key, r->claim->key_len);

	if (r->session_mode != SESSION_HINT) {
		/* What it would rely on is lost, unless it was to be the first to make something. */
		bool first = not_begun && sn != NULL && sn->lost && sn->calls == 1;

		if (not_begun && !first && sn != NULL && sn->lost)
			session_told(p, sn);
		if (first)
			session_join_known(p, r, sn);
		return first;
	}
	if (sn == NULL) {
		const struct pool_session *evicted;

		if (!session_room(p, &evicted))
			return false;
		session_make_room(p);
		session_know(p, old);
		old->lost = !old->ending; /* as good as new, at once or when it has ended */
		sn = old;
	}
	session_join_known(p, r, sn);
	old->users--;
	if (old != sn)
		session_settle(p, old);
	return true;
}

void sessions_expire(struct pool *p)
{
	while (heap_due(&p->ttls, p->now_us)) {
		struct pool_session *sn =
			heap_entry(heap_min(&p->ttls), struct pool_session, timer);

		session_end(p, sn, sn->lost ? SESSION_LOST : SESSION_EXPIRED);
	}
	/* There may be fewer than there were. */
	while (p->session_count > p->config.max_sessions && !list_empty(&p->unused)) {
		p->totals.sessions_evicted++;
		session_end(p, list_entry(p->unused.next, struct pool_session, order),
			    SESSION_EVICTED);
	}
	p->sessions_most = p->session_count > p->config.max_sessions ? p->session_count
								     : p->config.max_sessions;
}

void sessions_stop(struct pool *p)
{
	struct list *at, *next;

	list_each (at, next, &p->sessions) {
		struct pool_session *sn = list_entry(at, struct pool_session, link);
		struct pool_request *r;

		while ((r = session_first(sn)) != NULL)
			request_done(p, r, OUTCOME_DRAINING);
	}
}

void sessions_stopped(struct pool *p)
{
	while (!list_empty(&p->sessions))
		session_end(p, list_entry(p->sessions.next, struct pool_session, link),
			    SESSION_LOST);
}
