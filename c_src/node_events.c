/* node_events.c - who hears of events and log lines, and how much of it.
 *
 * The happy path: {subscribe, Topics} -> a subscriber, which is monitored -> somebody in the node says
 * something (node_event_*.c, node_logs.c): it is written once, into `pending`, whatever else is being
 * written just then -> before the loop blocks, and when much of it has gathered, node_events_flush() copies
 * it into the output of each subscriber's peer.
 * What can go wrong: the subscriber is gone (so is the subscription); its peer does not read: while more
 * than UNSENT_MAX wait for that, it loses what comes, and hears how many when it has read; more comes in one
 * turn than `pending` holds (everybody loses it). Nobody else notices, and nothing grows.
 *
 * When nobody listens, saying something costs a look at `heard`. */
#include "node_private.h"

#include "event.h"
#include "log.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define UNSENT_MAX   (4u << 20)  /* of the subscriber's peer */
#define UNSENT_FLUSH (64u << 10) /* what is given to the kernel at once */
#define PENDING_MAX  (8u << 20)
#define PENDING_SOME (256u << 10) /* that is flushed before the turn ends */

struct subscriber {
	struct list link;
	struct books *books;
	struct local_pid pid;
	struct watch *watch;
	struct node_pool *pool; /* NULL: all of the node */
	unsigned topics;
	uint64_t lost; /* and not told of yet */
};

/* Before each message in `pending`. */
struct item {
	struct node_pool *pool; /* that it is about; NULL: the node */
	uint32_t topic, len;
};

static struct subscriber *subscriber_of(struct list *link)
{
	return list_entry(link, struct subscriber, link);
}

static bool hears(const struct subscriber *s, const struct node_pool *p, unsigned topic)
{
	return (s->topics & topic) != 0 && (s->pool == NULL || s->pool == p);
}

/* ---- what is said ---- */

struct buf *node_message_begin(struct node *n, struct node_pool *p, unsigned topic)
{
	struct node_events *ev = &n->events;
	struct item item = { .pool = p, .topic = topic };

	ev->begun = ev->pending.len;
	ev->begun_pool = p;
	ev->begun_topic = topic;
	if (ev->pending.len > PENDING_MAX)
		ev->pending.err = -ENOBUFS;
	buf_put(&ev->pending, &item, sizeof item);
	return &ev->pending;
}

static void lose(struct node *n, const struct node_pool *p, unsigned topic)
{
	struct list *pos, *next;

	list_each (pos, next, &n->events.subscribers)
		if (hears(subscriber_of(pos), p, topic))
			subscriber_of(pos)->lost++;
}

void node_message_end(struct node *n)
{
	struct node_events *ev = &n->events;
	struct item item = { .pool = ev->begun_pool, .topic = ev->begun_topic };

	if (ev->pending.err != 0) { /* too much at once, or no memory */
		ev->pending.err = 0;
		ev->pending.len = ev->begun;
		lose(n, item.pool, item.topic);
		return;
	}
	item.len = (uint32_t)(ev->pending.len - ev->begun - sizeof item);
	memcpy(ev->pending.data + ev->begun, &item, sizeof item);
}

uint64_t node_system_time_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- on its way ---- */

static bool is_reachable(const struct subscriber *s)
{
	return !s->books->forgotten && !peer_closing(s->books->peer);
}

/* False: there is no memory for it. */
static bool deliver(struct subscriber *s, struct span message)
{
	struct books *b = s->books;
	struct dist *d = peer_dist(b->peer);
	struct term_pid to = books_pid(b, &s->pid);
	size_t start = dist_begin_send(d, &to);

	term_put_raw(dist_output(d), message);
	if (dist_end(d, start) != 0)
		return false;
	books_mark_dirty(b);
	return true;
}

static void put_topics(unsigned topics, struct buf *out)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = { { REQUEST_TOPIC_EVENTS, "events" }, { REQUEST_TOPIC_LOG, "log" } };
	uint32_t count = 0;

	for (unsigned i = 0; i < 2; i++)
		count += (topics & names[i].bit) != 0;
	term_put_list(out, count);
	for (unsigned i = 0; i < 2; i++)
		if ((topics & names[i].bit) != 0)
			term_put_atom(out, names[i].name);
	term_put_nil(out);
}

/* Tells it how many it has lost. */
static void tell_lost(struct subscriber *s)
{
	struct node *n = s->books->node;
	struct buf message = { 0 };
	struct event_writer w;

	event_begin(&w, &message, EVENT_SUBSCRIBER_LOST, n->options->name, node_system_time_us());
	term_put_uint(event_key(&w, "count"), s->lost);
	put_topics(s->topics, event_key(&w, "topics"));
	event_end(&w);
	if (message.err == 0 && deliver(s, (struct span){ message.data, message.len }))
		s->lost = 0;
	buf_free(&message);
}

/* Whether it may be sent more; what it has lost, it is told first. */
static bool is_served(struct subscriber *s)
{
	struct peer *peer = s->books->peer;

	if (peer_unsent(peer) > UNSENT_FLUSH)
		peer_flush(peer);
	/* who was behind has to read most of what waits, or it would lose and be told by turns */
	if (peer_unsent(peer) > (s->lost > 0 ? UNSENT_MAX / 4 : UNSENT_MAX)) {
		peer_tell_drained(peer, UNSENT_MAX / 4);
		return false;
	}
	if (s->lost > 0)
		tell_lost(s);
	return s->lost == 0;
}

static void give(struct subscriber *s, const struct buf *batch)
{
	struct item item;

	for (size_t at = 0; at < batch->len; at += sizeof item + item.len) {
		memcpy(&item, batch->data + at, sizeof item);
		if (!hears(s, item.pool, item.topic) || !is_reachable(s))
			continue;
		if (!is_served(s) ||
		    !deliver(s, (struct span){ batch->data + at + sizeof item, item.len }))
			s->lost++;
	}
}

void node_events_flush(struct node *n)
{
	struct node_events *ev = &n->events;
	struct list *pos, *next;

	if (ev->flushing)
		return;
	ev->flushing = true;
	while (ev->pending.len > 0) {
		struct buf batch = ev->pending;

		ev->pending = ev->spare; /* what is said meanwhile, when a peer has read */
		list_each (pos, next, &ev->subscribers)
			give(subscriber_of(pos), &batch);
		buf_reset(&batch, PENDING_SOME);
		ev->spare = batch;
	}
	ev->flushing = false;
}

void node_events_flush_some(struct node *n)
{
	struct node_pool *p = NULL;

	if (n->events.pending.len <= PENDING_SOME)
		return;
	while ((p = node_pool_any_next(n, p)) != NULL)
		if (p->pumping) /* a peer that has read may have something for it */
			return;
	node_events_flush(n);
}

void node_events_drained(struct books *b)
{
	struct list *pos, *next;

	list_each (pos, next, &b->node->events.subscribers)
		if (subscriber_of(pos)->books == b && subscriber_of(pos)->lost > 0 &&
		    is_reachable(subscriber_of(pos)))
			(void)is_served(subscriber_of(pos));
}

/* ---- who hears ---- */

/* Sums up who wants to hear what. */
static void sum_up(struct node *n)
{
	struct list *pos, *next;
	struct node_pool *p = NULL;

	n->heard = 0;
	list_each (pos, next, &n->events.subscribers)
		if (subscriber_of(pos)->pool == NULL)
			n->heard |= subscriber_of(pos)->topics;
	while ((p = node_pool_any_next(n, p)) != NULL) {
		unsigned before = p->heard;

		p->heard = n->heard;
		list_each (pos, next, &n->events.subscribers)
			if (subscriber_of(pos)->pool == p)
				p->heard |= subscriber_of(pos)->topics;
		if ((p->heard & ~before & REQUEST_TOPIC_EVENTS) != 0)
			node_event_pool_seen(p);
	}
	log_set_tap((n->heard & REQUEST_TOPIC_LOG) != 0 ? node_log_own : NULL, n);
}

static struct subscriber *find(const struct node *n, const struct origin *o)
{
	struct list *pos, *next;

	list_each (pos, next, &n->events.subscribers) {
		struct subscriber *s = subscriber_of(pos);

		if (s->books == o->books && memcmp(&s->pid, &o->caller, sizeof s->pid) == 0)
			return s;
	}
	return NULL;
}

static void end(struct subscriber *s)
{
	struct node *n = s->books->node;

	watch_free(s->watch, true);
	list_remove(&s->link);
	n->events.count--;
	mem_free(s);
	sum_up(n);
}

/* {overloaded, #{subscribers, limit}} */
static void put_full(const struct node *n, struct buf *reason)
{
	term_put_tuple(reason, 2);
	term_put_atom(reason, "overloaded");
	term_put_map(reason, 2);
	term_put_atom(reason, "subscribers");
	term_put_uint(reason, n->events.count);
	term_put_atom(reason, "limit");
	term_put_uint(reason, SUBSCRIBERS_MAX);
}

/* One more; NULL: the Reason is written. */
static struct subscriber *begin(struct node *n, const struct origin *o, struct buf *reason)
{
	struct subscriber *s;

	if (n->events.count >= SUBSCRIBERS_MAX) {
		put_full(n, reason);
		return NULL;
	}
	if ((s = mem_zalloc(sizeof *s)) != NULL) {
		s->books = o->books;
		s->pid = o->caller;
		s->watch = watch_new(o->books, WATCH_SUBSCRIBER, s, &s->pid, NODE_PID_ID);
	}
	if (s == NULL || s->watch == NULL) {
		mem_free(s);
		term_put_atom(reason, "no_memory");
		return NULL;
	}
	list_append(&n->events.subscribers, &s->link);
	n->events.count++;
	return s;
}

static void subscribe(struct node_pool *p, const struct origin *o, const struct request *req)
{
	struct reply_to to = reply_to_origin(o);
	struct buf reason = { 0 };
	struct subscriber *s = find(p->node, o);

	node_events_flush(p->node); /* what was said before it asked */
	if (s == NULL)
		s = begin(p->node, o, &reason);
	if (s == NULL) {
		answer_error(&to, answer_reason(&reason));
	} else {
		s->pool = req->target == TARGET_NODE ? NULL : p;
		s->topics = req->topics;
		sum_up(p->node);
		answer_atom(&to, "ok");
	}
	buf_free(&reason);
}

void node_subscription(struct node_pool *p, const struct origin *o, const struct request *req)
{
	struct reply_to to = reply_to_origin(o);
	struct subscriber *s;

	if (o->cast) /* it does not say who would hear */
		return;
	if (req->verb == VERB_SUBSCRIBE) {
		subscribe(p, o, req);
		return;
	}
	node_events_flush(p->node);
	if ((s = find(p->node, o)) != NULL)
		end(s);
	answer_atom(&to, "ok");
}

void node_subscriber_down(void *subscriber)
{
	struct subscriber *s = subscriber;

	s->watch = NULL;
	end(s);
}

void node_events_pool_gone(struct node_pool *p)
{
	struct list *pos, *next;

	node_events_flush(p->node);
	list_each (pos, next, &p->node->events.subscribers)
		if (subscriber_of(pos)->pool == p)
			end(subscriber_of(pos));
}

void node_events_init(struct node *n)
{
	list_init(&n->events.subscribers);
	node_logs_init(n);
}

void node_events_close(struct node *n)
{
	struct node_events *ev = &n->events;

	node_logs_close(n);
	while (!list_empty(&ev->subscribers))
		end(subscriber_of(ev->subscribers.next));
	buf_free(&ev->pending);
	buf_free(&ev->spare);
}
