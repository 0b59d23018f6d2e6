/* node_given.h - the node without its loop: its rooms as they are, between peers and workers that are not.
 *
 * All of node_*.c runs, and none of what moves bytes. A peer is two distribution connections back to back:
 * `ours` is the node's, `theirs` plays a BEAM, which acknowledges and remembers what it was told. A worker is
 * a list of the calls that it was sent. Nothing waits; settle() moves what there is until nothing moves.
 *
 * What the node allocates counts for mem_fail_after, what the test allocates does not: node_turn() and
 * test_turn(). */
#ifndef KRAIT_TEST_NODE_GIVEN_H
#define KRAIT_TEST_NODE_GIVEN_H

#include "cgroup.h"
#include "epmd_lookup.h"
#include "log.h"
#include "node_private.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_NAME "krait@127.0.0.1"
#define PEERS     2
#define WORKERS   64
#define CALLERS   64
#define NO_PID    INT_MAX /* no process has it, so a signal for it goes nowhere */

struct peer {
	struct dist *ours, *theirs;
	const char *name;
	struct books *books;
	bool closing, closed;
	char why[128];
};

struct worker {
	const struct worker_callbacks *callbacks;
	void *arg;
	uint64_t id, call_id; /* the last call or ping that it was sent, until it has answered */
	unsigned call_type;   /* enum frame_to_worker */
	unsigned replies;     /* to what it said back */
	bool closing;
};

/* What the BEAMs have heard. */
struct heard {
	unsigned answers;
	unsigned items, ends; /* of streams that it owns */
	unsigned told;        /* messages of workers, progress, events */
	struct term_pid asks; /* who asked it last; id 0: nobody */
	struct buf ask_tag;
	struct buf reply; /* the last one */
};

static struct node node;
static struct config config;
static struct node_pool *the_pool;
static struct node_options options;
static struct peer peers[PEERS];
static struct worker *workers[WORKERS];
static struct heard heard[CALLERS]; /* by the id of the caller's pid */
static bool spawns[CALLERS];        /* who hears the answer as the end of a process */
static long node_fails;             /* mem_fail_after of the node */
static unsigned long node_asked;    /* mem_asked of the node, between a node_turn() and its end */
static uint64_t now_us;
static bool no_descriptors, no_forkserver; /* what cannot be made */
static struct forkserver {
	const struct forkserver_callbacks *said;
	void *arg;
	bool killed, down, closing;
} forkservers[WORKERS];
static unsigned forkservers_started;

static inline void node_turn(void)
{
	mem_fail_after = node_fails;
	node_asked -= mem_asked;
}

static inline void test_turn(void)
{
	node_fails = mem_fail_after;
	mem_fail_after = -1;
	node_asked += mem_asked;
}

/* ---- node.c, as far as its rooms call it ---- */

uint64_t node_now_us(void)
{
	return now_us;
}

uint64_t node_id(struct node *n)
{
	return n->next_id++;
}

struct term_pid node_pid(const struct node *n, uint64_t id)
{
	return (struct term_pid){ .node = NODE_NAME,
				  .node_len = sizeof NODE_NAME - 1,
				  .id = (uint32_t)id,
				  .serial = (uint32_t)(id >> 32),
				  .creation = n->creation };
}

void node_stop(struct node *n, const char *why)
{
	(void)n;
	(void)why;
}

void node_drained(struct node *n)
{
	(void)n;
}

void node_maybe_end(struct node *n)
{
	(void)n;
}

/* ---- what moves bytes ---- */

struct dist *peer_dist(struct peer *p)
{
	return p->ours;
}

void peer_flush(struct peer *p)
{
	(void)p;
}

void peer_ticked(struct peer *p)
{
	(void)p;
}

void peer_close(struct peer *p, const char *why)
{
	if (!p->closing)
		snprintf(p->why, sizeof p->why, "%s", why);
	p->closing = true;
}

size_t peer_unsent(const struct peer *p)
{
	(void)p;
	return 0;
}

void peer_tell_drained(struct peer *p, size_t bytes)
{
	(void)p;
	(void)bytes;
}

int peer_user(const struct peer *p, uint32_t *uid)
{
	(void)p;
	(void)uid;
	return -ENOENT;
}

bool peer_closing(const struct peer *p)
{
	return p->closing;
}

uint64_t peer_id(const struct peer *p)
{
	(void)p;
	return 0;
}

void peer_set_data(struct peer *p, void *data)
{
	p->books = data;
}

/* Nobody is dialled here. */
struct peer *peer_connect(uv_loop_t *loop, const struct sockaddr *address, const char *name,
			  uint64_t id, const struct peer_options *peer_options,
			  const struct peer_callbacks *callbacks, void *arg, int *error)
{
	(void)loop, (void)address, (void)name, (void)id, (void)peer_options, (void)callbacks,
		(void)arg;
	*error = -ENOMEM;
	return NULL;
}

struct metrics *metrics_open(uv_loop_t *loop, const struct metrics_options *options_, char *error,
			     size_t error_size)
{
	(void)loop;
	(void)options_;
	(void)error;
	(void)error_size;
	return NULL;
}

void metrics_close(struct metrics *m)
{
	(void)m;
}

uint16_t metrics_port(const struct metrics *m)
{
	(void)m;
	return 0;
}

struct metrics_counts metrics_counts(const struct metrics *m)
{
	(void)m;
	return (struct metrics_counts){ 0 };
}

struct epmd_lookup *epmd_lookup(uv_loop_t *loop, const struct sockaddr *host, const char *alive,
				size_t len, uint64_t timeout_ms, epmd_lookup_done done, void *arg)
{
	(void)loop, (void)host, (void)alive, (void)len, (void)timeout_ms, (void)done, (void)arg;
	return NULL;
}

void epmd_lookup_cancel(struct epmd_lookup *l)
{
	(void)l;
}

void *peer_data(const struct peer *p)
{
	return p->books;
}

const char *peer_label(const struct peer *p)
{
	return p->name;
}

struct worker *worker_new(uv_loop_t *loop, size_t max_frame,
			  const struct worker_callbacks *callbacks, void *arg,
			  int theirs[WORKER_FDS], int *error)
{
	struct worker *w = calloc(1, sizeof *w);
	uint64_t id = ((struct node_worker *)arg)->id;

	(void)loop;
	(void)max_frame;
	ck_assert_ptr_nonnull(w);
	if (no_descriptors) {
		free(w);
		*error = -EMFILE;
		return NULL;
	}
	ck_assert_uint_lt(id, WORKERS);
	theirs[0] = theirs[1] = theirs[2] = theirs[3] = -1;
	w->callbacks = callbacks;
	w->arg = arg;
	w->id = id;
	workers[id] = w;
	return w;
}

int worker_send(struct worker *w, const void *data, size_t len)
{
	struct frame_reader r;
	struct frame frame;
	size_t room;
	uint8_t *to;

	test_turn();
	frame_reader_init(&r, 1 << 20);
	for (size_t at = 0; at < len; at += room) {
		ck_assert_ptr_nonnull(to = frame_room(&r, &room));
		room = room < len - at ? room : len - at;
		memcpy(to, (const uint8_t *)data + at, room);
		frame_received(&r, room);
	}
	ck_assert_int_eq(frame_next(&r, &frame), 1);
	w->replies += frame.type == FRAME_REPLY;
	if (frame.type == FRAME_CALL || frame.type == FRAME_BATCH || frame.type == FRAME_PING ||
	    frame.type == FRAME_END_SESSION) {
		w->call_id = frame.id;
		w->call_type = frame.type;
	}
	frame_reader_close(&r);
	node_turn();
	return 0;
}

int worker_send_parcel(struct worker *w, struct parcel *p)
{
	uint8_t *frame = malloc(p->len); /* no allocation of the node's */
	size_t at = 0;
	int rc;

	ck_assert_ptr_null(p->held);
	for (unsigned i = 0; i < p->pieces; at += p->piece[i++].iov_len)
		memcpy(frame + at, p->piece[i].iov_base, p->piece[i].iov_len);
	rc = worker_send(w, frame, p->len);
	free(frame);
	return rc;
}

struct share *worker_share(struct worker *w)
{
	(void)w;
	return NULL;
}

void worker_pause(struct worker *w)
{
	(void)w;
}

void worker_resume(struct worker *w)
{
	(void)w;
}

/* Nothing can be sent ahead to it: it all comes back. */
struct ahead_queue *worker_ahead(struct worker *w)
{
	static struct ahead_queue none = { .ours = -1, .theirs = -1 };

	(void)w;
	return &none;
}

size_t worker_unsent(const struct worker *w)
{
	(void)w;
	return 0;
}

void worker_end(struct worker *w)
{
	(void)w;
}

void worker_close(struct worker *w)
{
	w->closing = true;
}

void worker_free(struct worker *w)
{
	workers[w->id] = NULL;
	free(w);
}

void worker_last_lines(const struct worker *w, struct buf *out)
{
	(void)w;
	(void)out;
}

struct forkserver *forkserver_start(uv_loop_t *loop, const struct forkserver_options *o,
				    const struct forkserver_callbacks *callbacks, void *arg,
				    int *error)
{
	struct forkserver *fs = &forkservers[forkservers_started];

	(void)loop;
	(void)o;
	*error = no_forkserver ? -EAGAIN : 0;
	if (no_forkserver)
		return NULL;
	ck_assert_uint_lt(forkservers_started++, WORKERS);
	*fs = (struct forkserver){ .said = callbacks, .arg = arg };
	return fs;
}

int forkserver_fork(struct forkserver *fs, uint64_t worker_id, unsigned index, const char *cgroup,
		    const int fds[WORKER_FDS])
{
	(void)fs;
	(void)worker_id;
	(void)index;
	(void)cgroup;
	(void)fds;
	return 0;
}

bool cgroup_own(char *path, size_t size, char *why, size_t why_size)
{
	(void)path;
	(void)size;
	snprintf(why, why_size, "none here");
	return false;
}

struct cgroup *cgroup_open(const char *own, const struct cgroup_limits *wanted, char *why,
			   size_t why_size)
{
	(void)own;
	(void)wanted;
	(void)why;
	(void)why_size;
	return NULL;
}

int cgroup_make(struct cgroup *g, uint64_t worker_id, const struct cgroup_limits *limits,
		char path[PATH_MAX])
{
	(void)g;
	(void)worker_id;
	(void)limits;
	(void)path;
	return 0;
}

bool cgroup_out_of_memory(const struct cgroup *g, uint64_t worker_id)
{
	(void)g;
	(void)worker_id;
	return false;
}

void cgroup_remove(struct cgroup *g, uint64_t worker_id)
{
	(void)g;
	(void)worker_id;
}

void cgroup_close(struct cgroup *g)
{
	(void)g;
}

void forkserver_reap(struct forkserver *fs, int os_pid)
{
	(void)fs;
	(void)os_pid;
}

void forkserver_kill(struct forkserver *fs)
{
	fs->killed = true;
}

void forkserver_close(struct forkserver *fs)
{
	ck_assert(fs->down && !fs->closing);
	fs->closing = true;
}

/* The process of the i-th one that was started is gone, and then its handles are. */
static inline void forkserver_ends(unsigned i)
{
	struct forkserver *fs = &forkservers[i];

	ck_assert(!fs->down);
	fs->down = true;
	node_turn();
	fs->said->on_down(fs->arg, 0, 9);
	fs->said->on_closed(fs->arg);
	test_turn();
}

/* ---- what BEAMs say ---- */

static inline struct term_pid caller_pid(const struct peer *p, unsigned caller)
{
	return (struct term_pid){
		.node = p->name, .node_len = (uint16_t)strlen(p->name), .id = caller, .creation = 7
	};
}

/* {'$gen_call', {From, [alias | Ref]}, ...: the request follows. The reference is the caller's, its number `ref`. */
static inline void put_gen_call(struct buf *out, const struct peer *p, const struct term_pid *from,
				uint32_t ref)
{
	term_put_tuple(out, 3);
	term_put_atom(out, "$gen_call");
	term_put_tuple(out, 2);
	term_put_pid(out, from);
	term_put_list(out, 1);
	term_put_atom(out, "alias");
	term_put_ref(out, p->name, from->creation, ref);
}

/* ---- what the BEAMs do with what they hear ---- */

static inline void hear_answer(unsigned caller, const uint8_t *t)
{
	heard[caller].answers++;
	heard[caller].reply.len = 0;
	term_put_raw(&heard[caller].reply, term_span(t));
}

/* {'$gen_call', {From, Tag}, Request} of a worker. */
static inline void hear_ask(unsigned caller, const uint8_t *from)
{
	const uint8_t *e;
	uint32_t arity;

	ck_assert(term_tuple(from, &arity, &e) && arity == 2);
	ck_assert(term_pid(e, &heard[caller].asks));
	heard[caller].asks.node = NODE_NAME;
	heard[caller].ask_tag.len = 0;
	term_put_raw(&heard[caller].ask_tag, term_span(term_skip(e)));
}

/* What is no answer has three elements, and `e` is the first: {krait_stream, Stream, {item, T} | done | {error,
 * Reason}}, {krait_progress, Tag, T}, or a question. */
static inline void hear_message(unsigned caller, uint32_t arity, const uint8_t *e)
{
	const uint8_t *last, *inner;
	uint32_t count;

	if (arity == 2) {
		hear_answer(caller, term_skip(e));
		return;
	}
	if (term_is_atom(e, "krait_event") || term_is_atom(e, "krait_log")) {
		ck_assert_uint_eq(arity, term_is_atom(e, "krait_log") ? 3 : 5);
		heard[caller].told++;
		return;
	}
	ck_assert(arity == 3);
	if (term_is_atom(e, "$gen_call")) {
		hear_ask(caller, term_skip(e));
		return;
	}
	if (term_is_atom(e, "krait_progress")) {
		heard[caller].told++;
		return;
	}
	ck_assert(term_is_atom(e, "krait_stream"));
	last = term_skip(term_skip(e));
	if (term_tuple(last, &count, &inner) && term_is_atom(inner, "item"))
		heard[caller].items++;
	else
		heard[caller].ends++;
}

static inline void hear(struct peer *p, const struct dist_event *ev)
{
	unsigned caller = ev->to_pid.id;
	const uint8_t *e;
	uint32_t arity;

	switch (ev->type) {
	case DIST_EV_SEND:
		if (ev->to_is_alias) /* the references of these callers end with their number */
			caller = ev->ref.at[ev->ref.len - 5];
		ck_assert_uint_lt(caller, CALLERS);
		if (term_kind(ev->payload.at) == TERM_TUPLE &&
		    term_tuple(ev->payload.at, &arity, &e))
			hear_message(caller, arity, e);
		else
			heard[caller].told++;
		break;
	case DIST_EV_SPAWN_REPLY: /* an atom: that is all there will be; a pid: it ends one day */
		if (term_kind(ev->reason) == TERM_ATOM)
			hear_answer(caller, ev->reason);
		break;
	case DIST_EV_DOWN:
		if (ev->from.creation == node.creation && spawns[caller])
			hear_answer(caller, ev->reason);
		break;
	case DIST_EV_UNLINK:
		dist_send_unlink_ack(p->theirs, ev->unlink_id, &ev->to_pid, &ev->from);
		break;
	default:
		break;
	}
}

/* ---- moving ---- */

/* Gives `to` what `from` has to say; false: no memory. */
static inline bool carry(struct dist *from, struct dist *to)
{
	struct buf *out = dist_output(from);
	size_t room;
	uint8_t *at;

	while (out->len > 0) {
		if ((at = dist_room(to, &room)) == NULL)
			return false;
		room = room < out->len ? room : out->len;
		memcpy(at, out->data, room);
		dist_received(to, room);
		buf_consume(out, room);
	}
	return true;
}

static inline void hear_all(struct peer *p)
{
	struct dist_event ev;

	ck_assert(carry(p->ours, p->theirs));
	while (dist_next(p->theirs, &ev)) {
		ck_assert_msg(ev.type != DIST_EV_CLOSED, "the BEAM refuses: %s", ev.why);
		if (ev.type == DIST_EV_NAME)
			dist_answer_name(p->theirs, DIST_OK);
		hear(p, &ev);
	}
}

static inline void listen_to(struct peer *p)
{
	struct dist_event ev;

	node_turn();
	if (!carry(p->theirs, p->ours))
		peer_close(p, "no memory for what it sends");
	while (!p->closing && dist_next(p->ours, &ev)) {
		if (ev.type == DIST_EV_CLOSED)
			peer_close(p, ev.why);
		else
			node_peer_callbacks.on_event(&node, p, &ev);
	}
	if (p->closing) {
		p->closed = true;
		node_peer_callbacks.on_closed(&node, p, p->why);
		p->books = NULL;
	}
	test_turn();
}

static inline void settle(void)
{
	for (unsigned turn = 0; turn < 6; turn++) {
		for (struct peer *p = peers; p < peers + PEERS; p++) {
			if (p->closed)
				continue;
			listen_to(p);
			if (!p->closed)
				hear_all(p);
		}
		node_turn();
		node_lanes_gather(&node);
		books_flush_dirty(&node);
		for (unsigned i = 0; i < WORKERS; i++)
			if (workers[i] != NULL && workers[i]->closing)
				workers[i]->callbacks->on_closed(workers[i]->arg, workers[i]);
		test_turn();
	}
}

/* ---- given ---- */

static inline void given_peer(struct peer *p, const char *name, struct dist_config *ours)
{
	struct dist_config theirs = *ours;

	*p = (struct peer){ .name = name };
	theirs.name = name;
	theirs.creation = 7;
	p->ours = dist_accept(ours, 1);
	p->theirs = dist_connect(&theirs, NODE_NAME, 2);
	p->books = mem_zalloc(sizeof *p->books);
	ck_assert(p->ours != NULL && p->theirs != NULL && p->books != NULL);
	p->books->peer = p;
	books_open(&node, p->books);
}

/* What the node logs is no news to a test. */
static inline bool unheard(void *arg, const char *line, size_t len)
{
	(void)arg, (void)line, (void)len;
	return true;
}

/* A node of `size` workers that have not started yet, and two peers that are up. The node's n-th
 * allocation from here on fails; -1: none. */
static inline void given_node(const char *size, long n)
{
	static const char *names[] = { "a@127.0.0.1", "b@127.0.0.1" };
	const char *argv[] = { "krait", "--name", NODE_NAME, "--size", size, "--rpc" };
	struct dist_config dist = { .name = NODE_NAME,
				    .cookie = "cookie",
				    .creation = 3,
				    .flags = DIST_FLAGS,
				    .max_message = 1 << 20,
				    .max_frame = 1 << 20 };
	char error[200];

	log_set_sink(unheard, NULL);
	ck_assert_int_eq(
		config_parse(&config, 6, (char *const *)(uintptr_t)argv, error, sizeof error),
		CONFIG_RUN);
	memset(&node, 0, sizeof node);
	memset(heard, 0, sizeof heard);
	memset(workers, 0, sizeof workers);
	memset(spawns, 0, sizeof spawns);
	memset(forkservers, 0, sizeof forkservers);
	forkservers_started = 0;
	now_us = 1000000;
	no_descriptors = no_forkserver = false;
	options = (struct node_options){ .config = &config, .name = NODE_NAME };
	ck_assert_int_eq(uv_loop_init(&node.loop), 0);
	node.options = &options;
	node.config = &config;
	node.max_request_bytes = dist.max_message;
	node.next_id = NODE_FIRST_ID;
	node.creation = 3;
	node.stage = NODE_RUNNING;
	list_init(&node.pools);
	list_init(&node.books);
	list_init(&node.dirty);
	list_init(&node.strays);
	list_init(&node.dirty_lanes);
	table_init(&node.watches, node_watch_hash, NULL);
	node_callbacks_init(&node);
	node_events_init(&node);
	node_connect_init(&node);
	node_lanes_init(&node);
	ck_assert_ptr_nonnull(the_pool = node_pool_new(&node, config.pool[0]));
	node_fails = -1;
	for (unsigned i = 0; i < PEERS; i++)
		given_peer(&peers[i], names[i], &dist);
	settle();
	ck_assert(peers[0].books->up && peers[1].books->up);
	node_fails = n;
}

/* Everybody leaves; the books must balance, and nothing may stay. */
static inline void then_all_is_given_back(void)
{
	const struct pool_totals *t = pool_totals(the_pool->pool);
	uint64_t done = 0;

	node_fails = -1;
	for (unsigned i = 0; i < PEERS; i++)
		if (!peers[i].closed)
			peer_close(&peers[i], "the test is over");
	settle();
	pool_check(the_pool->pool);
	node_pool_event(the_pool, &(struct pool_event){ .type = POOL_STOP });
	for (uint64_t id = 0; id < WORKERS; id++) {
		struct node_worker *w = node_worker_find(the_pool, id);

		if (w != NULL && w->os_pid > 0)
			node_worker_exited(w, 0, 9);
		else if (w != NULL)
			node_worker_never_started(w);
	}
	settle();
	for (unsigned i = 0; i < forkservers_started; i++)
		if (!forkservers[i].down)
			forkserver_ends(i);
	ck_assert(list_empty(&the_pool->forkservers));
	for (unsigned i = 0; i < OUTCOMES; i++)
		done += t->outcome[i];
	ck_assert_uint_eq(t->received, done);
	ck_assert_uint_eq(pool_queued(the_pool->pool) + pool_running(the_pool->pool), 0);
	ck_assert_uint_eq(pool_leases(the_pool->pool), 0);
	ck_assert(list_empty(&node.books) && list_empty(&node.dirty));
	ck_assert(list_empty(&the_pool->waiting) && list_empty(&the_pool->drains) &&
		  list_empty(&the_pool->reloads));
	ck_assert_uint_eq(node.watches.count, 0);
	ck_assert_ptr_null(the_pool->workers);
	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert_ptr_null(workers[i]);
	for (unsigned i = 0; i < PEERS; i++) {
		dist_free(peers[i].ours);
		dist_free(peers[i].theirs);
	}
	for (unsigned i = 0; i < CALLERS; i++)
		buf_free(&heard[i].reply), buf_free(&heard[i].ask_tag);
	node_connect_close(&node);
	node_lanes_close(&node);
	node_callbacks_close(&node);
	node_events_close(&node);
	uv_close((uv_handle_t *)&the_pool->timer, NULL);
	uv_close((uv_handle_t *)&the_pool->deadlock_timer, NULL);
	uv_close((uv_handle_t *)&the_pool->reload_timer, NULL);
	uv_run(&node.loop, UV_RUN_DEFAULT);
	node_pool_free(the_pool);
	table_close(&node.watches);
	buf_free(&node.scratch);
	buf_free(&node.names);
	buf_free(&node.session_key);
	config_free(&config);
	ck_assert_int_eq(uv_loop_close(&node.loop), 0);
}

#endif
