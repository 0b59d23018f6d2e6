/* pool_session.c - sessions of the pool: where each lives, and who waits for it (how it ends:
 * pool_session_end.c).
 *
 *     known, no worker, nobody begun   its first request is in the queues, the others behind it
 *     known, in a worker               its requests are pinned to that (or, hints, in the queues)
 *     known, lost                      its worker is gone, and nobody has heard of it yet
 *     ending                           its worker is to end it when its calls are done; it is known
 *                                      only if somebody waits, who starts it anew after that
 *     not known                        goes back to the node when nothing points at it any more
 *
 * session_settle() is the one that decides what becomes of it when something about it has changed. A record
 * that starts anew keeps its token: the worker that knew it has ended it or is no more. */
#include "pool_private.h"

#include <assert.h>
#include <string.h>

/* ---- the table ---- */

/* FNV-1a. */
static uint32_t hash(const uint8_t *key, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ key[i]) * 16777619u;
	return h;
}

struct pool_session *session_find(const struct pool *p, const uint8_t *key, size_t key_len)
{
	uint32_t h = hash(key, key_len);
	struct pool_session *sn = p->session_hash[h % POOL_SESSION_HASH];

	while (sn != NULL &&
	       (sn->hash != h || sn->key_len != key_len || memcmp(sn->key, key, key_len) != 0))
		sn = sn->hash_next;
	return sn;
}

/* New requests of that name belong to it. */
void session_know(struct pool *p, struct pool_session *sn)
{
	struct pool_session **chain = &p->session_hash[sn->hash % POOL_SESSION_HASH];

	sn->known = true;
	sn->hash_next = *chain;
	*chain = sn;
	list_append(&p->sessions, &sn->link);
	p->session_count++;
}

void session_forget(struct pool *p, struct pool_session *sn)
{
	struct pool_session **chain = &p->session_hash[sn->hash % POOL_SESSION_HASH];

	if (!sn->known)
		return;
	while (*chain != sn)
		chain = &(*chain)->hash_next;
	*chain = sn->hash_next;
	sn->known = false;
	list_remove(&sn->link);
	p->session_count--;
}

/* ---- use ---- */

/* A request or a slot uses it. */
static void use(struct pool *p, struct pool_session *sn, unsigned *count)
{
	if (sn->users + sn->slots == 0) {
		list_remove(&sn->order);
		heap_remove(&p->ttls, &sn->timer);
	}
	(*count)++;
}

static void give_back(struct pool *p, struct pool_session *sn, enum pool_session_end end)
{
	sn->end = end;
	list_append(&p->sessions_ended, &sn->link);
	p->due |= BIT(POOL_SESSION_ENDED);
}

struct pool_request *session_first(const struct pool_session *sn)
{
	return list_empty(&sn->waiting)
		       ? NULL
		       : list_entry(sn->waiting.next, struct pool_claim, by_session)->request;
}

static void settle_ending(struct pool *p, struct pool_session *sn)
{
	if (list_empty(&sn->waiting))
		session_forget(p, sn);
	if (sn->slots > 0 || sn->told || !list_empty(&sn->order))
		return;
	list_append(&sn->worker->ends, &sn->order);
	worker_ends(p, sn->worker);
}

void session_settle(struct pool *p, struct pool_session *sn)
{
	if (sn->ending) {
		settle_ending(p, sn);
		return;
	}
	if (sn->known && sn->worker == NULL && !sn->lost && sn->first == NULL) {
		sn->first = session_first(sn);
		if (sn->first != NULL) {
			request_line_up(p, sn->first);
		} else if (sn->users == 0) {
			sn->end = SESSION_UNUSED;
			session_forget(p, sn);
		}
	}
	if (sn->users + sn->slots > 0)
		return;
	if (!sn->known) {
		give_back(p, sn, sn->end);
	} else if (list_empty(&sn->order)) {
		sn->idle_since_us = p->now_us;
		list_append(&p->unused, &sn->order);
		heap_set(&p->ttls, &sn->timer, pool_in(p, sn->ttl_us));
	}
}

/* ---- requests come and go ---- */

bool session_room(const struct pool *p, const struct pool_session **evicted)
{
	*evicted = NULL;
	if (p->session_count < p->config.max_sessions)
		return true;
	if (!list_empty(&p->unused) && p->session_count == p->config.max_sessions)
		*evicted = list_entry(p->unused.next, struct pool_session, order);
	return *evicted != NULL && p->config.max_sessions > 0;
}

void session_make_room(struct pool *p)
{
	if (p->session_count < p->config.max_sessions)
		return;
	p->totals.sessions_evicted++;
	session_end(p, list_entry(p->unused.next, struct pool_session, order), SESSION_EVICTED);
}

static struct pool_session *begin(struct pool *p, struct pool_request *r)
{
	struct pool_session *sn = r->claim->spare;

	r->claim->spare = NULL;
	sn->hash = hash(sn->key, sn->key_len);
	list_init(&sn->waiting);
	list_init(&sn->order);
	list_init(&sn->by_worker);
	session_know(p, sn);
	return sn;
}

void session_join_known(struct pool *p, struct pool_request *r, struct pool_session *sn)
{
	use(p, sn, &sn->users);
	r->claim->session = sn;
	if (sn->lost) { /* and that is known by now, or does not matter: it starts anew */
		sn->lost = false;
		sn->calls = 0;
	}
	if (sn->worker == NULL && sn->first == NULL)
		sn->first = r;
}

void session_join(struct pool *p, struct pool_request *r, struct pool_session *sn)
{
	if (sn == NULL) {
		session_make_room(p);
		sn = begin(p, r);
	}
	session_join_known(p, r, sn);
}

void session_wait(struct pool_request *r)
{
	struct list *line = &r->claim->session->waiting, *at = line;

	while (at->prev != line) {
		const struct pool_request *q =
			list_entry(at->prev, struct pool_claim, by_session)->request;

		if (q->priority < r->priority ||
		    (q->priority == r->priority && q->arrival < r->arrival))
			break;
		at = at->prev;
	}
	list_insert_before(&r->claim->by_session, at);
}

void session_unwait(struct pool_request *r)
{
	list_remove(&r->claim->by_session);
	if (r->claim->session->first == r)
		r->claim->session->first = NULL;
}

void session_quit(struct pool *p, struct pool_request *r)
{
	struct pool_session *sn = pool_request_session(r);

	r->claim->session = NULL;
	if (sn != NULL) {
		sn->users--;
		session_settle(p, sn);
	}
	if (r->claim->spare != NULL)
		give_back(p, r->claim->spare, SESSION_UNUSED);
	r->claim->spare = NULL;
}

/* ---- where it lives ---- */

static void line_up_all(struct pool *p, struct pool_session *sn)
{
	struct list *at, *next;

	list_each (at, next, &sn->waiting)
		request_line_up(p, list_entry(at, struct pool_claim, by_session)->request);
}

static void settle_in(struct pool *p, struct pool_session *sn, struct pool_worker *w)
{
	sn->worker = w;
	sn->worker_id = w->id;
	sn->first = NULL;
	list_append(&w->sessions, &sn->by_worker);
	w->session_count++;
	p->totals.sessions_started++;
	line_up_all(p, sn);
}

/* A hint takes its session elsewhere: it begins anew with the record that the request has brought, all
 * that wait for it follow, and where it was it ends. */
static struct pool_session *move(struct pool *p, struct pool_request *r)
{
	struct pool_session *old = pool_request_session(r), *sn;
	struct list *at, *next;

	session_forget(p, old);
	sn = begin(p, r);
	old->users--;
	r->claim->session = sn;
	sn->users++;
	list_each (at, next, &old->waiting) {
		struct pool_request *q = list_entry(at, struct pool_claim, by_session)->request;

		list_remove(&q->claim->by_session);
		list_append(&sn->waiting, &q->claim->by_session);
		q->claim->session = sn;
		old->users--;
		sn->users++;
	}
	old->end = SESSION_MOVED;
	old->ending = true;
	session_settle(p, old);
	return sn;
}

void session_enter(struct pool *p, struct pool_request *r, struct pool_slot *s)
{
	struct pool_session *sn = pool_request_session(r);

	session_unwait(r);
	if (sn->worker != NULL && sn->worker != s->worker)
		sn = move(p, r);
	if (s->session == NULL) {
		s->session = sn;
		sn->slots++;
	}
	assert(s->session == sn);
	if (sn->worker == NULL)
		settle_in(p, sn, s->worker);
	if (r->claim->spare != NULL)
		give_back(p, r->claim->spare, SESSION_UNUSED);
	r->claim->spare = NULL;
}

void session_leave(struct pool *p, struct pool_slot *s)
{
	struct pool_session *sn = s->session;

	s->session = NULL;
	sn->slots--;
	session_settle(p, sn);
}
