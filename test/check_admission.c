/* check_admission.c - the node's n-th allocation fails while requests arrive, for every n.
 *
 * Whatever n: each caller hears exactly one answer, which is what it asked for or a reason, or its connection
 * is closed; nobody else notices; and at the end the books balance and nothing stays (node_given.h). Then,
 * what else can go wrong while requests arrive: starts that fail, workers that speak nonsense. */
#include "node_given.h"

#include "suite.h"

#include <signal.h>

/* ---- what BEAMs say ---- */

/* The reference of a caller's tag and monitor: it ends with the caller's number and a word of zeros. */
static void put_ref(struct buf *out, const struct peer *p, unsigned caller)
{
	term_put_ref(out, p->name, 7, caller);
}

static void monitor(struct peer *p, unsigned caller, const struct term_pid *lease)
{
	struct term_pid from = caller_pid(p, caller);
	struct buf ref = { 0 };

	put_ref(&ref, p, lease != NULL ? caller + 100 : caller);
	if (lease != NULL)
		dist_send_monitor(p->theirs, &from, lease, (struct span){ ref.data, ref.len });
	else
		dist_send_monitor_name(p->theirs, &from, "default",
				       (struct span){ ref.data, ref.len });
	buf_free(&ref);
}

static void demonitor(struct peer *p, unsigned caller)
{
	struct term_pid from = caller_pid(p, caller);
	struct buf ref = { 0 };

	put_ref(&ref, p, caller);
	dist_send_demonitor_name(p->theirs, &from, "default", (struct span){ ref.data, ref.len });
	buf_free(&ref);
}

static struct buf *begin(struct peer *p, unsigned caller, const struct term_pid *lease,
			 size_t *start)
{
	struct term_pid from = caller_pid(p, caller);

	*start = lease != NULL ? dist_begin_send(p->theirs, lease)
			       : dist_begin_send_name(p->theirs, &from, "default");
	return dist_output(p->theirs);
}

/* {'$gen_call', {From, [alias | Ref]}, ...; the request follows. */
static struct buf *begin_call(struct peer *p, unsigned caller, const struct term_pid *lease,
			      size_t *start)
{
	struct term_pid from = caller_pid(p, caller);
	struct buf *out = begin(p, caller, lease, start);

	put_gen_call(out, p, &from, caller);
	return out;
}

static void end(struct peer *p, size_t start)
{
	ck_assert_int_eq(dist_end(p->theirs, start), 0);
	settle();
}

static void put_call(struct buf *out, size_t bytes)
{
	static const char text[4000];

	term_put_tuple(out, 4);
	term_put_atom(out, "call");
	term_put_atom(out, "math");
	term_put_atom(out, "sqrt");
	term_put_list(out, 1);
	term_put_binary(out, text, bytes);
	term_put_nil(out);
}

static void call(struct peer *p, unsigned caller, const struct term_pid *lease, size_t bytes)
{
	size_t start;

	put_call(begin_call(p, caller, lease, &start), bytes);
	end(p, start);
}

static void cast(struct peer *p, unsigned caller)
{
	size_t start;
	struct buf *out = begin(p, caller, NULL, &start);

	term_put_tuple(out, 2);
	term_put_atom(out, "$gen_cast");
	put_call(out, 10);
	end(p, start);
}

static void say_pair(struct peer *p, unsigned caller, const char *a, const char *b)
{
	size_t start;
	struct buf *out = begin_call(p, caller, NULL, &start);

	term_put_tuple(out, 2);
	term_put_atom(out, a);
	term_put_atom(out, b);
	end(p, start);
}

static void say(struct peer *p, unsigned caller, const struct term_pid *lease, const char *word)
{
	size_t start;

	term_put_atom(begin_call(p, caller, lease, &start), word);
	end(p, start);
}

static void say_number(struct peer *p, unsigned caller, const char *word, int64_t n)
{
	size_t start;
	struct buf *out = begin_call(p, caller, NULL, &start);

	term_put_tuple(out, 2);
	term_put_atom(out, word);
	term_put_int(out, n);
	end(p, start);
}

static void give_away(struct peer *p, unsigned caller, const struct term_pid *lease,
		      const struct term_pid *heir)
{
	size_t start;
	struct buf *out = begin_call(p, caller, lease, &start);

	term_put_tuple(out, 2);
	term_put_atom(out, "give_away");
	term_put_pid(out, heir);
	end(p, start);
}

/* ---- what workers say ---- */

static void worker_says_frame(struct worker *w, const struct frame *frame)
{
	node_turn();
	w->callbacks->on_frame(w->arg, w, frame);
	test_turn();
	settle();
}

static void worker_says(struct worker *w, unsigned type, uint64_t id)
{
	uint8_t pid[6] = { 0xce }; /* msgpack's unsigned 32 bits; then no versions */
	const struct frame hello = {
		.type = type, .id = id, .count = 2, .rest = pid, .rest_len = 6
	};
	const struct frame result = {
		.type = type, .id = id, .count = 1, .rest = (const uint8_t *)"\x07", .rest_len = 1
	};
	const struct frame empty = { .type = type, .id = id };

	put_u32(pid + 1, NO_PID);
	pid[5] = 0x80;
	worker_says_frame(w, type == FRAME_HELLO                          ? &hello
			     : type == FRAME_PONG || type == FRAME_OPENED ? &empty
									  : &result);
}

/* Of a batch: a result, an exception, a long result. */
static void outcomes(struct worker *w, uint64_t id)
{
	static const char long_text[3000];
	struct buf out = { 0 };
	struct frame frame = { .type = FRAME_RESULT, .id = id, .count = 1 };

	frame_put_array(&out, 3);
	frame_put_array(&out, 2);
	frame_put_bool(&out, true);
	frame_put_uint(&out, 7);
	frame_put_array(&out, 7);
	frame_put_bool(&out, false);
	frame_put_str(&out, "python", 6);
	for (int i = 0; i < 4; i++)
		frame_put_str(&out, "ValueError", 10);
	frame_put_array(&out, 0);
	frame_put_array(&out, 2);
	frame_put_bool(&out, true);
	frame_put_str(&out, long_text, sizeof long_text);
	frame.rest = out.data;
	frame.rest_len = out.len;
	worker_says_frame(w, &frame);
	buf_free(&out);
}

/* What workers do in time: those that were killed are gone, the new ones say hello, calls are answered. */
static void time_passes(void)
{
	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < WORKERS; i++) {
			struct node_worker *w = node_worker_find(the_pool, i);
			const struct pool_worker *pw = pool_worker(the_pool->pool, i);

			if (w == NULL || w->gone || w->exited) {
				continue;
			} else if (pw->state == WORKER_STOPPING) {
				node_turn();
				node_worker_exited(w, 0, SIGKILL);
				test_turn();
				settle();
			} else if (!w->ready) {
				worker_says(workers[i], FRAME_HELLO, 0);
			} else if (workers[i]->call_id != 0) {
				uint64_t id = workers[i]->call_id;
				unsigned type = workers[i]->call_type;

				workers[i]->call_id = 0;
				if (type == FRAME_BATCH)
					outcomes(workers[i], id);
				else
					worker_says(workers[i],
						    type == FRAME_CALL ? FRAME_RESULT : FRAME_PONG,
						    id);
			}
		}
}

/* All start; those that cannot are tried again in time. */
static void starts(void)
{
	for (unsigned i = 0; i < 2; i++, now_us += 10000000) {
		node_turn();
		node_pool_event(the_pool, &(struct pool_event){ .type = POOL_TICK });
		test_turn();
		settle();
		time_passes();
	}
}

/* ---- then ---- */

/* The answer was {ok, ...} or so, and not {error, ...}. */
static bool is_well(unsigned caller)
{
	const uint8_t *e;
	uint32_t arity;

	return heard[caller].answers == 1 &&
	       !(term_tuple(heard[caller].reply.data, &arity, &e) && term_is_atom(e, "error"));
}

static void then_answered(const struct peer *p, unsigned caller, long n)
{
	const uint8_t *e;
	uint32_t arity;

	if (p->closed) {
		ck_assert_msg(strstr(p->why, "no memory") != NULL, "n %ld: closed for %s", n,
			      p->why);
		ck_assert_uint_le(heard[caller].answers, 1);
		return;
	}
	ck_assert_msg(heard[caller].answers == 1, "n %ld: caller %u heard %u answers", n, caller,
		      heard[caller].answers);
	if (is_well(caller))
		return;
	ck_assert(term_tuple(heard[caller].reply.data, &arity, &e) && arity == 2);
	ck_assert_msg(n >= 0, "caller %u heard an error", caller);
}

static struct term_pid lease_of(unsigned caller)
{
	struct term_pid pid = { 0 };
	const uint8_t *e;
	uint32_t arity;

	ck_assert(term_tuple(heard[caller].reply.data, &arity, &e) && arity == 2);
	ck_assert(term_pid(term_skip(e), &pid));
	return pid;
}

/* ---- a day of the node ---- */

static void calls(long n)
{
	struct peer *a = &peers[0], *b = &peers[1];

	starts();
	monitor(a, 1, NULL);
	call(a, 1, NULL, 10);
	call(a, 2, NULL, 10); /* its caller is watched by the node */
	monitor(b, 3, NULL);
	call(b, 3, NULL, 4000); /* its frame is too long to live in its request */
	cast(b, 4);
	monitor(a, 5, NULL);
	call(a, 5, NULL, 10);
	demonitor(a, 5); /* gives up in the queue, or is heard no more */
	settle();
	time_passes();
	say_pair(b, 6, "ping", "worker");
	say(a, 7, NULL, "await_ready");
	say(b, 8, NULL, "status");
	say(b, 9, NULL, "workers");
	say(a, 10, NULL, "what_is_this");
	time_passes();
	then_answered(a, 1, n);
	then_answered(a, 2, n);
	then_answered(b, 3, n);
	ck_assert_uint_eq(heard[4].answers, 0);
	then_answered(b, 6, n);
	then_answered(a, 7, n);
	then_answered(b, 8, n);
	then_answered(b, 9, n);
	ck_assert(a->closed || heard[10].answers == 1);
}

static bool both_up(void)
{
	return !peers[0].closed && !peers[1].closed;
}

/* What was answered is forgotten, so that the caller may ask again. */
static bool answered_well(unsigned caller)
{
	bool well = is_well(caller);

	heard[caller].answers = 0;
	return well;
}

/* A checkout, with or without a monitor of the caller's own; a call; a heir; a checkin. */
static void lease(struct peer *owner, struct peer *other, bool monitored, long n)
{
	struct term_pid heir = caller_pid(other, 11), friend = caller_pid(owner, 4), pid;

	if (monitored)
		monitor(owner, 1, NULL);
	say_pair(owner, 1, "checkout", "anonymous");
	then_answered(owner, 1, n);
	if (!answered_well(1) || !both_up())
		return;
	pid = lease_of(1);
	monitor(other, 3, &pid);
	dist_send_link(owner->theirs, &friend, &pid);
	settle();
	if (!both_up())
		return;
	call(owner, 1, &pid, 10);
	time_passes();
	then_answered(owner, 1, n);
	heard[1].answers = 0;
	if (!both_up())
		return;
	give_away(owner, 1, &pid, &heir);
	then_answered(owner, 1, n);
	if (!both_up())
		return;
	if (answered_well(1)) {
		say(other, 11, &pid, "checkin");
		then_answered(other, 11, n);
	} else {
		say(owner, 1, &pid, "checkin");
		then_answered(owner, 1, n);
	}
	heard[1].answers = heard[11].answers = 0;
}

static void leases(long n)
{
	starts();
	lease(&peers[0], &peers[1], true, n);
	if (both_up())
		lease(&peers[1], &peers[0], false, n);
}

/* What the i-th fork server says: that its preload is done, or raised. */
static void preload_done(unsigned i)
{
	node_turn();
	forkservers[i].said->on_ready(forkservers[i].arg, NO_PID, "python");
	test_turn();
	settle();
}

static void preload_raises(unsigned i)
{
	node_turn();
	forkservers[i].said->on_failed(forkservers[i].arg, "no", 2);
	test_turn();
	forkserver_ends(i);
	settle();
}

/* Everything that an operator may say, while somebody calls. */
static void control(long n)
{
	struct peer *a = &peers[0], *b = &peers[1];

	starts();
	preload_done(0);
	say(a, 1, NULL, "pause");
	call(b, 2, NULL, 10);
	say_number(a, 3, "resize", 3);
	say(a, 4, NULL, "drain");
	say(b, 5, NULL, "resume");
	time_passes();
	say(a, 6, NULL, "reload");
	if (the_pool->fresh != NULL)
		preload_done(forkservers_started - 1);
	time_passes();
	say(b, 7, NULL, "reload");
	if (the_pool->fresh != NULL)
		preload_raises(forkservers_started - 1);
	say_number(a, 8, "recycle", 1);
	call(b, 9, NULL, 10);
	say_number(a, 10, "kill", 2);
	time_passes();
	say(b, 11, NULL, "drain");
	time_passes();
	ck_assert(a->closed || heard[4].answers + heard[8].answers + heard[10].answers == 3);
	ck_assert(b->closed || heard[7].answers == 1);
	then_answered(a, 1, n);
	then_answered(b, 2, n);
	then_answered(a, 3, n);
	then_answered(b, 5, n);
	then_answered(a, 6, n);
	then_answered(b, 9, n);
	then_answered(b, 11, n);
}

/* The id of the request of this peer's that has waited or run the longest; 0: it has none. */
static uint64_t oldest_request(const struct peer *p)
{
	if (p->closed || list_empty(&p->books->requests))
		return 0;
	return list_entry(p->books->requests.next, struct node_request, by_peer)->pool.id;
}

/* What is there is asked for, and ended: what waits, what runs, and a verb that waits. */
static void watching(long n)
{
	struct peer *a = &peers[0], *b = &peers[1];

	starts();
	say(a, 1, NULL, "pause");
	call(b, 2, NULL, 10);
	settle();
	say(a, 3, NULL, "requests");
	say_number(a, 4, "cancel", (int)oldest_request(b));
	settle();
	say(a, 5, NULL, "resume");
	call(a, 6, NULL, 10);
	settle();
	say_number(b, 7, "requests", 1);
	say(b, 9, NULL, "drain");
	settle();
	say_number(a, 10, "cancel", (int)oldest_request(b));
	say_number(b, 8, "cancel", (int)oldest_request(a));
	say(a, 11, NULL, "status");
	say(b, 12, NULL, "workers");
	say(b, 13, NULL, "resume");
	time_passes();
	for (unsigned i = 1; i <= 13; i++)
		if (i == 2 || i == 6 || i == 9) /* cancelled: an error at any rate */
			ck_assert((i == 6 ? a : b)->closed || heard[i].answers == 1);
		else
			then_answered(i == 7 || i == 8 || i > 11 ? b : a, i, n);
}

/* {call, math, sqrt, [], [{session, ...}, {session_mode, Mode}, {owner, Owner}]}, without an owner if that
 * is 0. The name is a map, whose pairs have to be sorted. */
static void call_session(struct peer *p, unsigned caller, const char *mode, unsigned owner)
{
	size_t start;
	struct buf *out = begin_call(p, caller, NULL, &start);
	struct term_pid pid = caller_pid(p, owner);

	term_put_tuple(out, 5);
	term_put_atom(out, "call");
	term_put_atom(out, "math");
	term_put_atom(out, "sqrt");
	term_put_nil(out);
	term_put_map(out, owner != 0 ? 3 : 2);
	term_put_atom(out, "session_mode");
	term_put_atom(out, mode);
	term_put_atom(out, "session");
	term_put_map(out, 2);
	term_put_atom(out, "b");
	term_put_int(out, 1);
	term_put_atom(out, "a");
	term_put_int(out, 2);
	if (owner != 0) {
		term_put_atom(out, "owner");
		term_put_pid(out, &pid);
	}
	end(p, start);
}

/* {checkout, {session, x}} or {end_session, x} */
static void say_session(struct peer *p, unsigned caller, bool checkout)
{
	size_t start;
	struct buf *out = begin_call(p, caller, NULL, &start);

	term_put_tuple(out, 2);
	term_put_atom(out, checkout ? "checkout" : "end_session");
	if (checkout) {
		term_put_tuple(out, 2);
		term_put_atom(out, "session");
	}
	term_put_atom(out, "x");
	end(p, start);
}

/* One that is owned, waited for, moved by a hint; one that a checkout begins and end_session ends. */
static void sessions(long n)
{
	struct peer *a = &peers[0], *b = &peers[1];
	struct term_pid pid;

	starts();
	call_session(a, 1, "strict", 11);
	call_session(b, 2, "strict", 0);
	call_session(a, 3, "hint", 12);
	time_passes();
	then_answered(a, 1, n);
	then_answered(b, 2, n);
	then_answered(a, 3, n);
	say_session(b, 4, true);
	then_answered(b, 4, n);
	if (answered_well(4) && both_up()) {
		pid = lease_of(4);
		call(b, 4, &pid, 10);
		time_passes();
		then_answered(b, 4, n);
		say(a, 5, NULL, "sessions");
		then_answered(a, 5, n);
		say_session(a, 6, false);
		then_answered(a, 6, n);
		heard[4].answers = 0;
		if (both_up())
			say(b, 4, &pid, "checkin");
		then_answered(b, 4, n);
	}
	time_passes();
	call_session(a, 7, "fail_fast", 0);
	time_passes();
	then_answered(a, 7, n);
	if (n >= 0)
		return;
	ck_assert_uint_eq(pool_sessions(the_pool->pool), 1);
	peer_close(a, "its owner is gone");
	settle();
	time_passes();
	ck_assert_uint_eq(pool_sessions(the_pool->pool), 0);
}

/* ---- streams ---- */

/* {stream, math, sqrt, [], #{demand => 2}} */
static void stream(struct peer *p, unsigned caller, const struct term_pid *lease)
{
	size_t start;
	struct buf *out;

	heard[caller].answers = heard[caller].items = heard[caller].ends = 0;
	out = begin_call(p, caller, lease, &start);
	term_put_tuple(out, 5);
	term_put_atom(out, "stream");
	term_put_atom(out, "math");
	term_put_atom(out, "sqrt");
	term_put_nil(out);
	term_put_map(out, 1);
	term_put_atom(out, "demand");
	term_put_int(out, 2);
	end(p, start);
}

/* The worker that has a call to answer; NULL: nobody. */
static struct worker *busy(void)
{
	for (unsigned i = 0; i < WORKERS; i++)
		if (workers[i] != NULL && workers[i]->call_id != 0 &&
		    workers[i]->call_type == FRAME_CALL)
			return workers[i];
	return NULL;
}

/* Its stream opens. False: it did not, and the caller was told. */
static bool opens(struct peer *p, unsigned caller, long n)
{
	struct worker *w = busy();

	if (w != NULL && !p->closed)
		worker_says(w, FRAME_OPENED, w->call_id);
	if (w == NULL)
		time_passes();
	then_answered(p, caller, n);
	return !p->closed && is_well(caller);
}

static void item(void)
{
	static const char text[3000];
	struct worker *w = busy();
	struct buf out = { 0 };
	struct frame frame = { .type = FRAME_ITEM, .count = 1 };

	if (w == NULL)
		return;
	frame_put_str(&out, text, sizeof text);
	frame.id = w->call_id;
	frame.rest = out.data;
	frame.rest_len = out.len;
	worker_says_frame(w, &frame);
	buf_free(&out);
}

/* {ask, 3} or {cancel} */
static void tell_stream(struct peer *p, const struct term_pid *pid, bool ask)
{
	size_t start = dist_begin_send(p->theirs, pid);
	struct buf *out = dist_output(p->theirs);

	term_put_tuple(out, ask ? 2 : 1);
	term_put_atom(out, ask ? "ask" : "cancel");
	if (ask)
		term_put_int(out, 3);
	end(p, start);
}

/* However it went on, its owner has heard one end. */
static void then_ended(const struct peer *p, unsigned caller, unsigned items, long n)
{
	time_passes();
	ck_assert_uint_le(heard[caller].ends, 1);
	ck_assert_msg(p->closed || heard[caller].ends == 1, "n %ld: caller %u heard no end", n,
		      caller);
	if (n < 0)
		ck_assert_uint_eq(heard[caller].items, items);
	heard[caller].answers = 0;
}

/* One that is asked, watched and linked, and read to its end; one that is cancelled; one with an item that has
 * no term; one on a lease. */
static void streams(long n)
{
	struct peer *a = &peers[0], *b = &peers[1];
	struct term_pid friend = caller_pid(b, 4), pid;

	starts();
	monitor(a, 1, NULL);
	stream(a, 1, NULL);
	if (opens(a, 1, n)) {
		pid = lease_of(1);
		if (!b->closed) {
			monitor(b, 3, &pid);
			dist_send_link(b->theirs, &friend, &pid);
			settle();
		}
		for (int i = 0; i < 4; i++) {
			item();
			if (i == 0 && !a->closed)
				tell_stream(a, &pid, true);
		}
		then_ended(a, 1, 4, n);
	}
	if (!both_up())
		return;
	stream(b, 2, NULL);
	if (opens(b, 2, n)) {
		pid = lease_of(2);
		item();
		if (both_up())
			tell_stream(a, &pid, false);
		then_ended(b, 2, 1, n);
	}
	if (!both_up())
		return;
	stream(b, 5, NULL);
	if (opens(b, 5, n)) {
		struct worker *w = busy();
		const struct frame nonsense = { .type = FRAME_ITEM,
						.id = w != NULL ? w->call_id : 0,
						.count = 1,
						.rest = (const uint8_t *)"\xc1",
						.rest_len = 1 };

		if (w != NULL)
			worker_says_frame(w, &nonsense);
		then_ended(b, 5, 0, n);
	}
	if (!both_up())
		return;
	say_pair(a, 6, "checkout", "anonymous");
	then_answered(a, 6, n);
	if (!answered_well(6) || !both_up())
		return;
	pid = lease_of(6);
	stream(a, 6, &pid);
	if (opens(a, 6, n)) {
		item();
		then_ended(a, 6, 1, n);
	}
	heard[6].answers = 0;
	if (!a->closed)
		say(a, 6, &pid, "checkin");
	then_answered(a, 6, n);
	heard[6].answers = 0;
}

/* ---- batches ---- */

/* {batch, [{math, sqrt, [...]}, ...], [{progress, tag}]} */
static void batch(struct peer *p, unsigned caller, size_t bytes)
{
	static const char text[4000];
	size_t start;
	struct buf *out = begin_call(p, caller, NULL, &start);

	term_put_tuple(out, 3);
	term_put_atom(out, "batch");
	term_put_list(out, 3);
	for (int i = 0; i < 3; i++) {
		term_put_tuple(out, 3);
		term_put_atom(out, "math");
		term_put_atom(out, "sqrt");
		term_put_list(out, 1);
		term_put_binary(out, text, bytes);
		term_put_nil(out);
	}
	term_put_nil(out);
	term_put_map(out, 1);
	term_put_atom(out, "progress");
	term_put_atom(out, "tag");
	end(p, start);
}

static void batches(long n)
{
	struct peer *a = &peers[0], *b = &peers[1];

	starts();
	monitor(a, 1, NULL);
	batch(a, 1, 10);
	batch(b, 2,
	      4000); /* its caller is watched by the node, its frame is too long for its request */
	batch(a, 3, 10);
	time_passes();
	then_answered(a, 1, n);
	then_answered(b, 2, n);
	then_answered(a, 3, n);
}

/* ---- rpc ---- */

/* erpc:call(Node, math, sqrt, [...]); with a link or, as erpc does it, a monitor only. */
static void spawn(struct peer *p, unsigned caller, bool cast, size_t bytes)
{
	static const char text[4000];
	struct term_pid from = caller_pid(p, caller);
	struct buf ref = { 0 }, *out = dist_output(p->theirs);
	size_t start;

	put_ref(&ref, p, caller);
	spawns[caller] = true;
	start = dist_begin_spawn(p->theirs, (struct span){ ref.data, ref.len }, &from, &from,
				 "erpc", cast ? "execute_cast" : "execute_call", cast ? 3 : 4);
	term_put_list(out, cast ? 3 : 4);
	if (!cast)
		term_put_raw(out, (struct span){ ref.data, ref.len });
	term_put_atom(out, "math");
	term_put_atom(out, "sqrt");
	term_put_list(out, 1);
	term_put_binary(out, text, bytes);
	term_put_nil(out);
	term_put_nil(out);
	end(p, start);
	buf_free(&ref);
}

/* {From, {call, math, Function, [], Leader}} to rex */
static void rex(struct peer *p, unsigned caller, const char *function)
{
	struct term_pid from = caller_pid(p, caller);
	size_t start = dist_begin_send_name(p->theirs, &from, "rex");
	struct buf *out = dist_output(p->theirs);

	term_put_tuple(out, 2);
	term_put_pid(out, &from);
	term_put_tuple(out, 5);
	term_put_atom(out, "call");
	term_put_atom(out, "math");
	term_put_atom(out, function);
	term_put_nil(out);
	term_put_pid(out, &from);
	end(p, start);
}

static void rpcs(long n)
{
	struct peer *a = &peers[0], *b = &peers[1];

	starts();
	spawn(a, 1, false, 10);
	spawn(b, 2, true, 4000);
	rex(a, 3, "sqrt");
	rex(b, 4, ""); /* undef */
	time_passes();
	then_answered(a, 1, n);
	then_answered(b, 2, n);
	then_answered(a, 3, n);
	ck_assert(b->closed || heard[4].answers == 1);
}

/* ---- calls back ---- */

/* {call, math, sqrt, [], #{progress => tag}} */
static void call_progress(struct peer *p, unsigned caller)
{
	size_t start;
	struct buf *out = begin_call(p, caller, NULL, &start);

	term_put_tuple(out, 5);
	term_put_atom(out, "call");
	term_put_atom(out, "math");
	term_put_atom(out, "sqrt");
	term_put_nil(out);
	term_put_map(out, 1);
	term_put_atom(out, "progress");
	term_put_atom(out, "tag");
	end(p, start);
}

/* CALLBACK of the call under way to a process of `p`; or to a name on its caller's node, if that is 0. */
static void asks_back(const char *kind, uint64_t number, const struct peer *p, unsigned process)
{
	struct worker *w = busy();
	struct term_pid pid = caller_pid(p, process);
	struct buf out = { 0 }, term = { 0 };
	struct frame frame = { .type = FRAME_CALLBACK, .id = number, .count = 5 };

	if (w == NULL)
		return;
	frame_put_uint(&out, w->call_id);
	frame_put_str(&out, kind, strlen(kind));
	term_put_pid(&term, &pid);
	if (process != 0) {
		buf_put_u8(&out, 0xc7);
		buf_put_u8(&out, (unsigned)term.len);
		buf_put_u8(&out, EXT_PID);
		buf_put(&out, term.data, term.len);
	} else {
		frame_put_str(&out, "server", 6);
	}
	frame_put_str(&out, "what?", 5);
	if (strcmp(kind, "call") == 0)
		frame_put_uint(&out, 5000);
	else
		frame_put_nil(&out);
	frame.rest = out.data;
	frame.rest_len = out.len;
	worker_says_frame(w, &frame);
	buf_free(&term);
	buf_free(&out);
}

/* {Tag, yes} from who was asked, if it was. */
static void replies(struct peer *p, unsigned process)
{
	struct heard *h = &heard[process];
	size_t start;
	struct buf *out;

	if (h->asks.id == 0 || p->closed)
		return;
	start = dist_begin_send(p->theirs, &h->asks);
	out = dist_output(p->theirs);
	term_put_tuple(out, 2);
	term_put_raw(out, (struct span){ h->ask_tag.data, h->ask_tag.len });
	term_put_atom(out, "yes");
	h->asks.id = 0;
	end(p, start);
}

/* A call that reports, asks a process of its caller's node and one of another, sends and watches. */
static void calls_back(long n)
{
	struct peer *a = &peers[0], *b = &peers[1];
	struct worker *w;

	starts();
	monitor(a, 1, NULL);
	call_progress(a, 1);
	if ((w = busy()) != NULL) {
		uint64_t id = w->id;

		worker_says(w, FRAME_PROGRESS, w->call_id);
		asks_back("call", 1, a, 11);
		replies(a, 11);
		asks_back("call", 2, b, 12);
		replies(b, 12);
		asks_back("send", 0, b, 12);
		asks_back("monitor", 3, b, 12);
		asks_back("call", 4, a, 0);
		asks_back("cancel", 4, a, 0);
		/* the third is refused at most: nobody hears what is asked by a name */
		ck_assert_msg(busy() == NULL || a->closed || workers[id] != w ||
				      (w->replies >= (b->closed ? 1 : 2) && w->replies <= 3),
			      "n %ld: %u replies", n, w->replies);
		if (n < 0) {
			ck_assert_uint_eq(w->replies, 2);
			ck_assert_uint_eq(heard[1].told, 1);
			ck_assert_uint_eq(heard[12].told, 1);
		}
	}
	time_passes();
	then_answered(a, 1, n);
}

/* The same again, and somebody hears of all of it, but for what there is no memory for. */
static void (*overheard)(long n);

static void events(long n)
{
	bool subscribed;

	say_pair(&peers[1], 40, "subscribe", "all");
	then_answered(&peers[1], 40, n);
	subscribed = !peers[1].closed && answered_well(40);
	ck_assert(subscribed || n >= 0);
	overheard(n);
	if (subscribed && n < 0)
		ck_assert_uint_ge(heard[40].told, 10);
	else if (!subscribed)
		ck_assert_uint_eq(heard[40].told, 0);
	if (subscribed && !peers[1].closed) {
		say(&peers[1], 40, NULL, "unsubscribe");
		then_answered(&peers[1], 40, n);
	}
}

static void then_for_every_n(void (*scenario)(long n), long at_least)
{
	long n = -1;
	bool failed = true;

	for (; failed; n++) {
		given_node("2", n);
		scenario(n);
		failed = n < 0 || node_fails < 0;
		then_all_is_given_back();
	}
	printf("%ld allocations failed, one by one\n", n);
	fflush(stdout);
	ck_assert_int_ge(n, at_least);
}

START_TEST(no_allocation_that_fails_loses_a_call)
{
	then_for_every_n(calls, 20);
}
END_TEST

START_TEST(no_allocation_that_fails_for_those_who_overhear_is_noticed_by_others)
{
	static void (*const days[])(long n) = { calls, leases, sessions, streams };

	overheard = days[_i];
	then_for_every_n(events, 20);
}
END_TEST

START_TEST(no_allocation_that_fails_loses_a_lease)
{
	then_for_every_n(leases, 20);
}
END_TEST

START_TEST(no_allocation_that_fails_loses_what_an_operator_says)
{
	then_for_every_n(control, 20);
}

START_TEST(no_allocation_that_fails_loses_what_a_watcher_asks)
{
	then_for_every_n(watching, 20);
}

START_TEST(no_allocation_that_fails_loses_a_session)
{
	then_for_every_n(sessions, 20);
}
END_TEST

START_TEST(no_allocation_that_fails_loses_a_stream)
{
	then_for_every_n(streams, 20);
}
END_TEST

START_TEST(no_allocation_that_fails_loses_a_batch)
{
	then_for_every_n(batches, 20);
}
END_TEST

START_TEST(no_allocation_that_fails_loses_an_rpc)
{
	then_for_every_n(rpcs, 20);
}
END_TEST

START_TEST(no_allocation_that_fails_loses_a_call_back)
{
	then_for_every_n(calls_back, 20);
}
END_TEST

/* ---- what else goes wrong ---- */

static bool heard_error(unsigned caller, const char *reason)
{
	const uint8_t *e, *inner;
	uint32_t arity;

	if (heard[caller].answers != 1 || is_well(caller) ||
	    !term_tuple(heard[caller].reply.data, &arity, &e))
		return false;
	e = term_skip(e);
	return term_is_atom(e, reason) ||
	       (term_tuple(e, &arity, &inner) && term_is_atom(inner, reason));
}

enum { NO_DESCRIPTORS, NO_FORKSERVER, NO_FORK, WAYS };

START_TEST(starts_that_fail_open_the_circuit_and_waiters_hear_why)
{
	given_node("1", -1);
	no_descriptors = _i == NO_DESCRIPTORS;
	no_forkserver = _i == NO_FORKSERVER;
	monitor(&peers[1], 2, NULL);
	say(&peers[1], 2, NULL, "await_ready");
	for (unsigned round = 0; round < 10; round++, now_us += 40000000) {
		node_pool_event(the_pool, &(struct pool_event){ .type = POOL_TICK });
		for (uint64_t id = 0; _i == NO_FORK && id < WORKERS; id++)
			if (node_worker_find(the_pool, id) != NULL)
				forkservers->said->on_fork_failed(forkservers->arg, id, "no room",
								  7);
		settle();
	}
	now_us -= 40000000; /* right after a failure */
	call(&peers[0], 1, NULL, 10);
	ck_assert(heard_error(1, "circuit_open"));
	ck_assert(heard_error(2, "start_failed"));
	then_all_is_given_back();
}
END_TEST

START_TEST(a_worker_that_speaks_nonsense_costs_its_own_call)
{
	given_node("1", -1);
	starts();
	call(&peers[0], 1, NULL, 10);
	ck_assert_ptr_nonnull(workers[1]);
	worker_says(workers[1], _i == 0 ? 99 : FRAME_HELLO, 0);
	call(&peers[1], 2, NULL, 10);
	time_passes();
	ck_assert(heard_error(1, "worker_exit"));
	ck_assert(is_well(2));
	then_all_is_given_back();
}
END_TEST

START_TEST(who_waits_for_readiness_may_give_up_or_ask_for_too_much)
{
	size_t start;
	struct buf *out;

	given_node("2", -1);
	monitor(&peers[0], 1, NULL);
	say(&peers[0], 1, NULL, "await_ready");
	ck_assert(!list_empty(&the_pool->waiting));
	demonitor(&peers[0], 1);
	settle();
	ck_assert(list_empty(&the_pool->waiting));
	out = begin_call(&peers[0], 2, NULL, &start);
	term_put_tuple(out, 2);
	term_put_atom(out, "await_ready");
	term_put_int(out, 3);
	end(&peers[0], start);
	ck_assert(heard_error(2, "bad_request"));
	ck_assert_uint_eq(heard[1].answers, 0);
	then_all_is_given_back();
}
END_TEST

START_TEST(a_worker_that_is_forked_too_late_is_nobody)
{
	given_node("1", -1);
	starts();
	forkservers->said->on_forked(forkservers->arg, 77, NO_PID); /* of an id that has ended */
	forkservers->said->on_exited(forkservers->arg, NO_PID - 1, 0, 9);
	call(&peers[0], 1, NULL, 10);
	time_passes();
	ck_assert(is_well(1));
	then_all_is_given_back();
}
END_TEST

START_TEST(a_lease_ends_with_the_peer_that_is_linked_to_it)
{
	struct term_pid friend, pid;

	given_node("1", -1);
	friend = caller_pid(&peers[0], 4);
	starts();
	say_pair(&peers[1], 1, "checkout", "anonymous");
	ck_assert(is_well(1));
	pid = lease_of(1);
	dist_send_link(peers[0].theirs, &friend, &pid);
	settle();
	ck_assert_ptr_nonnull(holding_find(&node, &pid));
	peer_close(&peers[0], "it vanishes");
	settle();
	ck_assert_ptr_null(holding_find(&node, &pid));
	call(&peers[1], 2, NULL, 10);
	time_passes();
	ck_assert(is_well(2));
	then_all_is_given_back();
}
END_TEST

/* Fork servers that are running. */
static unsigned fork_servers(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < forkservers_started; i++)
		n += !forkservers[i].down && !forkservers[i].killed;
	return n;
}

START_TEST(a_reload_ends_the_old_fork_server_with_its_last_worker)
{
	given_node("1", -1);
	starts();
	preload_done(0);
	call(&peers[0], 1, NULL, 10);
	say(&peers[1], 2, NULL, "reload");
	ck_assert_uint_eq(heard[2].answers, 0);
	preload_done(1);
	ck_assert(is_well(2));
	worker_says(workers[2], FRAME_HELLO, 0);
	ck_assert_uint_eq(fork_servers(), 2); /* it runs a call */
	time_passes();
	ck_assert(is_well(1));
	ck_assert(forkservers[0].killed && !forkservers[1].killed);
	forkserver_ends(0);
	call(&peers[0], 3, NULL, 10);
	time_passes();
	ck_assert(is_well(3));
	ck_assert_uint_eq(fork_servers(), 1);
	then_all_is_given_back();
}
END_TEST

START_TEST(a_reload_that_fails_changes_nothing)
{
	given_node("1", -1);
	starts();
	preload_done(0);
	say(&peers[1], 2, NULL, "reload");
	say(&peers[0], 3, NULL, "reload");
	ck_assert(heard_error(3, "bad_request"));
	preload_raises(1);
	ck_assert(heard_error(2, "start_failed"));
	ck_assert_uint_eq(pool_totals(the_pool->pool)->starts, 1);
	ck_assert_ptr_nonnull(workers[1]);
	no_forkserver = true;
	heard[3].answers = 0;
	say(&peers[0], 3, NULL, "reload");
	ck_assert(heard_error(3, "start_failed"));
	call(&peers[0], 4, NULL, 10);
	time_passes();
	ck_assert(is_well(4));
	then_all_is_given_back();
}
END_TEST

START_TEST(a_fork_server_that_dies_during_a_reload_is_replaced_by_the_fresh_one)
{
	given_node("1", -1);
	starts();
	preload_done(0);
	say(&peers[1], 2, NULL, "reload");
	node_worker_know_pid(node_worker_find(the_pool, 1), 0); /* nothing to signal */
	forkserver_ends(0);
	settle();
	ck_assert_uint_eq(forkservers_started, 2);
	preload_done(1);
	ck_assert(is_well(2));
	now_us += 1000000;
	starts();
	call(&peers[0], 1, NULL, 10);
	time_passes();
	ck_assert(is_well(1));
	ck_assert(!forkservers[1].killed);
	then_all_is_given_back();
}
END_TEST

START_TEST(what_a_fork_server_says_of_anothers_workers_is_not_believed)
{
	given_node("1", -1);
	starts();
	preload_done(0);
	say(&peers[1], 2, NULL, "reload");
	forkservers[1].said->on_forked(forkservers[1].arg, 1, NO_PID - 1);
	forkservers[1].said->on_exited(forkservers[1].arg, NO_PID, 0, 9);
	forkservers[1].said->on_fork_failed(forkservers[1].arg, 1, "no", 2);
	call(&peers[0], 1, NULL, 10);
	time_passes();
	ck_assert(is_well(1));
	ck_assert_int_eq(node_worker_find(the_pool, 1)->os_pid, NO_PID);
	then_all_is_given_back();
}
END_TEST

START_TEST(a_worker_that_is_killed_before_it_is_forked_costs_no_fork_server)
{
	given_node("1", -1);
	node_pool_event(the_pool, &(struct pool_event){ .type = POOL_TICK });
	say_number(&peers[0], 1, "kill", 1);
	ck_assert(is_well(1));
	ck_assert(!forkservers[0].killed);
	ck_assert_ptr_nonnull(node_worker_find(the_pool, 2));
	now_us += 100000000; /* its start is out of time: the preload hangs */
	node_pool_event(the_pool, &(struct pool_event){ .type = POOL_TICK });
	ck_assert(forkservers[0].killed);
	then_all_is_given_back();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("admission");
	TCase *tests = tcase_create("admission");

	tcase_add_test(tests, no_allocation_that_fails_loses_a_call);
	tcase_add_loop_test(
		tests, no_allocation_that_fails_for_those_who_overhear_is_noticed_by_others, 0, 4);
	tcase_add_test(tests, no_allocation_that_fails_loses_a_lease);
	tcase_add_test(tests, no_allocation_that_fails_loses_what_an_operator_says);
	tcase_add_test(tests, no_allocation_that_fails_loses_what_a_watcher_asks);
	tcase_add_test(tests, no_allocation_that_fails_loses_a_session);
	tcase_add_test(tests, no_allocation_that_fails_loses_a_stream);
	tcase_add_test(tests, no_allocation_that_fails_loses_a_batch);
	tcase_add_test(tests, no_allocation_that_fails_loses_an_rpc);
	tcase_add_test(tests, no_allocation_that_fails_loses_a_call_back);
	tcase_add_loop_test(tests, starts_that_fail_open_the_circuit_and_waiters_hear_why, 0, WAYS);
	tcase_add_loop_test(tests, a_worker_that_speaks_nonsense_costs_its_own_call, 0, 2);
	tcase_add_test(tests, who_waits_for_readiness_may_give_up_or_ask_for_too_much);
	tcase_add_test(tests, a_worker_that_is_forked_too_late_is_nobody);
	tcase_add_test(tests, a_lease_ends_with_the_peer_that_is_linked_to_it);
	tcase_add_test(tests, a_reload_ends_the_old_fork_server_with_its_last_worker);
	tcase_add_test(tests, a_reload_that_fails_changes_nothing);
	tcase_add_test(tests, a_fork_server_that_dies_during_a_reload_is_replaced_by_the_fresh_one);
	tcase_add_test(tests, what_a_fork_server_says_of_anothers_workers_is_not_believed);
	tcase_add_test(tests, a_worker_that_is_killed_before_it_is_forked_costs_no_fork_server);
	suite_add_tcase(suite, tests);
	return run(suite);
}
