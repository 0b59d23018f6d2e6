/* check_admission.c - the node's n-th allocation fails while requests arrive, for every n.
 *
 * Whatever n: each caller hears exactly one answer, which is what it asked for or a reason, or its connection
 * is closed; nobody else notices; and at the end the books balance and nothing stays (node_given.h). Then,
 * what else can go wrong while requests arrive: starts that fail, workers that speak nonsense. */
#include "node_given.h"

#include "log.h"

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

	term_put_tuple(out, 3);
	term_put_atom(out, "$gen_call");
	term_put_tuple(out, 2);
	term_put_pid(out, &from);
	term_put_list(out, 1);
	term_put_atom(out, "alias");
	put_ref(out, p, caller);
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

static void worker_says(struct worker *w, unsigned type, uint64_t id)
{
	uint8_t pid[6] = { 0xce }; /* msgpack's unsigned 32 bits; then no versions */
	const struct frame hello = {
		.type = type, .id = id, .count = 2, .rest = pid, .rest_len = 6
	};
	const struct frame result = {
		.type = type, .id = id, .count = 1, .rest = (const uint8_t *)"\x07", .rest_len = 1
	};

	put_u32(pid + 1, NO_PID);
	pid[5] = 0x80;
	node_turn();
	w->callbacks->on_frame(w->arg, w, type == FRAME_HELLO ? &hello : &result);
	test_turn();
	settle();
}

/* What workers do in time: those that were killed are gone, the new ones say hello, calls are answered. */
static void time_passes(void)
{
	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < WORKERS; i++) {
			struct node_worker *w = node_worker_find(node.pool, i);
			const struct pool_worker *pw = pool_worker(node.pool->pool, i);

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

				workers[i]->call_id = 0;
				worker_says(workers[i], FRAME_RESULT, id);
			}
		}
}

/* All start; those that cannot are tried again in time. */
static void starts(void)
{
	for (unsigned i = 0; i < 2; i++, now_us += 10000000) {
		node_turn();
		node_pool_event(node.pool, &(struct pool_event){ .type = POOL_TICK });
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
	if (node.pool->fresh != NULL)
		preload_done(forkservers_started - 1);
	time_passes();
	say(b, 7, NULL, "reload");
	if (node.pool->fresh != NULL)
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
	ck_assert_uint_eq(pool_sessions(node.pool->pool), 1);
	peer_close(a, "its owner is gone");
	settle();
	time_passes();
	ck_assert_uint_eq(pool_sessions(node.pool->pool), 0);
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

START_TEST(no_allocation_that_fails_loses_a_lease)
{
	then_for_every_n(leases, 20);
}
END_TEST

START_TEST(no_allocation_that_fails_loses_what_an_operator_says)
{
	then_for_every_n(control, 20);
}

START_TEST(no_allocation_that_fails_loses_a_session)
{
	then_for_every_n(sessions, 20);
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
		node_pool_event(node.pool, &(struct pool_event){ .type = POOL_TICK });
		for (uint64_t id = 0; _i == NO_FORK && id < WORKERS; id++)
			if (node_worker_find(node.pool, id) != NULL)
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
	ck_assert(!list_empty(&node.pool->waiting));
	demonitor(&peers[0], 1);
	settle();
	ck_assert(list_empty(&node.pool->waiting));
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
	ck_assert_uint_eq(pool_totals(node.pool->pool)->starts, 1);
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
	node_worker_know_pid(node_worker_find(node.pool, 1), 0); /* nothing to signal */
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
	ck_assert_int_eq(node_worker_find(node.pool, 1)->os_pid, NO_PID);
	then_all_is_given_back();
}
END_TEST

START_TEST(a_worker_that_is_killed_before_it_is_forked_costs_no_fork_server)
{
	given_node("1", -1);
	node_pool_event(node.pool, &(struct pool_event){ .type = POOL_TICK });
	say_number(&peers[0], 1, "kill", 1);
	ck_assert(is_well(1));
	ck_assert(!forkservers[0].killed);
	ck_assert_ptr_nonnull(node_worker_find(node.pool, 2));
	now_us += 100000000; /* its start is out of time: the preload hangs */
	node_pool_event(node.pool, &(struct pool_event){ .type = POOL_TICK });
	ck_assert(forkservers[0].killed);
	then_all_is_given_back();
}
END_TEST

static bool unheard(void *arg, const char *line, size_t len)
{
	(void)arg;
	(void)line;
	(void)len;
	return true;
}

int main(void)
{
	Suite *suite = suite_create("admission");
	TCase *tests = tcase_create("admission");
	SRunner *runner;
	int failed;

	log_set_sink(unheard, NULL);
	tcase_add_test(tests, no_allocation_that_fails_loses_a_call);
	tcase_add_test(tests, no_allocation_that_fails_loses_a_lease);
	tcase_add_test(tests, no_allocation_that_fails_loses_what_an_operator_says);
	tcase_add_test(tests, no_allocation_that_fails_loses_a_session);
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
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
