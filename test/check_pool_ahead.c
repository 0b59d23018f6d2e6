/* check_pool_ahead.c - calls that are sent ahead: no call lost, none run twice, nobody hit for another.
 *
 * Single cases, told as sentences; and a world by chance: workers that are processes of their own as far as
 * the pool can see (a channel, a queue that both sides take from at any moment, answers on their way),
 * callers who give up, time-outs, deaths, pauses. What a worker really does is known here, so that it can be
 * held against what the pool decides:
 *
 *     a request is done exactly once, and runs at most once, and once more for each retry that it may have
 *     who is told `timeout, queue` has not begun
 *     who is interrupted runs that call, or none; whoever is killed for a call, likewise
 *     nobody waits for ever, nor past the end of the pool
 *
 * KRAIT_SEED=N, KRAIT_AHEAD_EVENTS=N (default 300,000). */
#include "chance.h"
#include "pool_given.h"
#include "quick.h"

#include <time.h>

#define CALLS_MAX (1 << 20)
#define WORKERS   40
#define FRAMES    64

/* ---- the world ---- */

enum word { RUN, PING, INTERRUPT, TAKEN, ANSWER, PONG };

struct frame {
	enum word word;
	uint64_t id;
};

/* First in, first out. */
struct pipe {
	struct frame frames[FRAMES];
	unsigned count;
};

struct process {
	uint64_t id; /* 0: none */
	bool ready, dead, told;
	struct pipe channel, queue, out;
	uint64_t running;
	bool hit; /* a signal has come for what runs */
};

static struct process processes[WORKERS];
static struct call {
	struct pool_request *r;
	unsigned runs,
		may_run; /* may: once, and once more for each retry after its worker's death */
	bool done;
} * calls;
static uint64_t last_call;
static uint64_t interrupts, killings, late_queue, given_back, passed_on, ran, left;
static enum pool_abandon world_abandon;

static void put(struct pipe *p, enum word word, uint64_t id)
{
	ck_assert(p->count < FRAMES);
	p->frames[p->count++] = (struct frame){ word, id };
}

static struct frame take_at(struct pipe *p, unsigned at)
{
	struct frame f = p->frames[at];

	memmove(p->frames + at, p->frames + at + 1, (--p->count - at) * sizeof f);
	return f;
}

static struct process *process_of(uint64_t id)
{
	for (struct process *p = processes; p < processes + WORKERS; p++)
		if (p->id == id)
			return p;
	return NULL;
}

static void begin(struct process *p, uint64_t id)
{
	ck_assert_uint_eq(p->running, 0);
	p->running = id;
	p->hit = false;
	ran++;
	if (getenv("TR"))
		fprintf(stderr, "       worker %d begins %d\n", (int)p->id, (int)id);
	calls[id].runs++;
	ck_assert_msg(calls[id].runs <= calls[id].may_run, "call %d runs again", (int)id);
}

/* What the process does by itself next, if it can. */
static void advance(struct process *p)
{
	struct frame f;
	uint64_t id = p->running;

	if (p->dead || !p->ready || p->out.count > FRAMES - 4)
		return;
	if (id != 0) { /* its call ends: it looks into the queue, once, and answers */
		p->running = 0;
		if (p->queue.count > 0) {
			f = take_at(&p->queue, 0);
			put(&p->out, TAKEN, f.id);
			put(&p->out, ANSWER, id);
			begin(p, f.id);
		} else {
			put(&p->out, ANSWER, id);
		}
	} else if (p->channel.count > 0) {
		f = take_at(&p->channel, 0);
		if (f.word == RUN)
			begin(p, f.id);
		else if (f.word == PING)
			put(&p->out, PONG, f.id);
	}
}

/* ---- what the pool wants ---- */

static void world_step(struct pool_event ev);

/* What came back, and is to be told when the actions of the step are done. */
struct recalled {
	uint64_t worker_id, ids[POOL_AHEAD_MAX];
	unsigned count;
};

static void recall(struct process *p, struct recalled *back)
{
	*back = (struct recalled){ .worker_id = p->id };
	while (p->queue.count > 0) {
		back->ids[back->count++] = take_at(&p->queue, 0).id;
		if (below(4) == 0)
			advance(p); /* it does not stand still meanwhile */
	}
	given_back += back->count;
}

static void die(struct process *p)
{
	p->dead = true;
}

/* Whether it is right to hit the process for that call. */
static void fits(const struct process *p, uint64_t call_id, const char *what)
{
	if (p->dead)
		return;
	ck_assert_msg(p->running == call_id || p->running == 0,
		      "%s of worker %d for call %d hits call %d", what, (int)p->id, (int)call_id,
		      (int)p->running);
}

static void done(struct pool_request *r)
{
	struct call *c = &calls[r->id];

	ck_assert(!c->done && c->r == r);
	c->done = true;
	if (r->outcome == OUTCOME_OK)
		ck_assert_uint_ge(c->runs, 1);
	if (r->outcome == OUTCOME_TIMEOUT_QUEUE) {
		ck_assert_msg(c->runs == 0, "call %d has run, and is told that it has not",
			      (int)r->id);
		late_queue++;
	}
	c->r = NULL;
	free(r);
}

static void world_perform(const struct pool_action *a, struct recalled *backs, unsigned *n)
{
	struct process *p = process_of(a->worker_id);
	if (getenv("TR"))
		fprintf(stderr, "   ACT %d w %d call %d why %d outcome %d (running %d, queue %u)\n",
			a->type, (int)a->worker_id, (int)a->call_id, a->why,
			a->type == POOL_DONE ? (int)a->request->outcome : -1,
			p ? (int)p->running : -1, p ? p->queue.count : 0);

	switch (a->type) {
	case POOL_RECALL:
		recall(p, &backs[(*n)++]);
		break;
	case POOL_START:
		p = process_of(0);
		ck_assert_ptr_nonnull(p);
		*p = (struct process){ .id = a->worker_id };
		break;
	case POOL_RUN:
		if (a->was_ahead && p->queue.count > 0) {
			ck_assert_uint_eq(take_at(&p->queue, 0).id, a->call_id);
			passed_on++;
		}
		if (!p->dead)
			put(&p->channel, RUN, a->call_id);
		break;
	case POOL_AHEAD:
		put(&p->queue, RUN, a->call_id);
		break;
	case POOL_BEGUN:
		break;
	case POOL_PROBE:
		if (!p->dead)
			put(&p->channel, PING, a->call_id);
		break;
	case POOL_INTERRUPT:
		interrupts++;
		fits(p, a->call_id, "interrupt");
		p->hit = true;
		break;
	case POOL_KILL:
	case POOL_ABORT:
		killings++;
		if (a->why == WHY_CALLER_GONE || a->why == WHY_TIMEOUT)
			ck_assert_msg(p->dead || p->running == 0 || calls[p->running].done ||
					      calls[p->running].r->state == REQUEST_DONE,
				      "worker %d is killed for another call than %d", (int)p->id,
				      (int)p->running);
		die(p);
		break;
	case POOL_END:
	case POOL_TERMINATE:
		if (p->running == 0 || a->type == POOL_TERMINATE)
			die(p);
		break;
	case POOL_DONE:
		done(a->request);
		break;
	default:
		break;
	}
}

static void world_step(struct pool_event ev)
{
	struct pool_action action;
	struct recalled backs[WORKERS];
	unsigned n = 0;

	ev.random = any();
	if (getenv("TR"))
		fprintf(stderr, "%llu EV %d w %d call %d req %d count %u\n",
			(unsigned long long)now_us, ev.type, (int)ev.worker_id, (int)ev.call_id,
			ev.request ? (int)ev.request->id : 0, ev.count);
	pool_step(pool, &ev, now_us);
	pool_check(pool);
	while (pool_next(pool, &action))
		world_perform(&action, backs, &n);
	pool_check(pool);
	for (unsigned i = 0; i < n; i++)
		world_step((struct pool_event){ .type = POOL_RECALLED,
						.worker_id = backs[i].worker_id,
						.call_ids = backs[i].ids,
						.count = backs[i].count });
}

/* One word of a process reaches the node. */
static void hear(struct process *p)
{
	struct frame f;

	if (p->out.count == 0) {
		if (p->dead && !p->told) {
			p->told = true;
			world_step((struct pool_event){ .type = POOL_WORKER_BROKEN,
							.worker_id = p->id });
			world_step((struct pool_event){ .type = POOL_WORKER_GONE,
							.worker_id = p->id,
							.failed = !p->ready });
			p->id = 0;
		}
		return;
	}
	f = take_at(&p->out, 0);
	world_step((struct pool_event){ .type = f.word == TAKEN ? POOL_WORKER_TAKEN
								: POOL_WORKER_ANSWER,
					.worker_id = p->id,
					.call_id = f.id });
}

static void submit_call(void)
{
	struct pool_request *r = calloc(1, sizeof *r);
	uint64_t id = ++last_call;

	ck_assert(r != NULL && id < CALLS_MAX);
	*r = (struct pool_request){ .id = id,
				    .kind = POOL_CALL,
				    .priority = (enum pool_priority)below(PRIORITIES),
				    .peer = (unsigned)below(3),
				    .retry = below(8) == 0,
				    .deadline_us = below(6) ? POOL_NEVER : now_us + below(5000),
				    .queue_deadline_us =
					    below(6) ? POOL_NEVER : now_us + below(3000),
				    .abandon = world_abandon,
				    .plain = below(50) > 0 };
	calls[id] = (struct call){ .r = r, .may_run = 1 + r->retry };
	world_step((struct pool_event){ .type = POOL_SUBMIT, .request = r });
}

static struct pool_request *some_request(void)
{
	for (unsigned i = 0; i < 40 && last_call > 0; i++) {
		uint64_t back = below(60), id = last_call > back ? last_call - back : last_call;

		if (calls[id].r != NULL)
			return calls[id].r;
	}
	return NULL;
}

static void happen(void)
{
	struct process *p = &processes[below(WORKERS)];
	struct pool_request *r;

	switch (below(24)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		submit_call();
		break;
	case 5:
		if ((r = some_request()) != NULL && below(3) == 0)
			world_step((struct pool_event){
				.type = below(2) ? POOL_ABANDON : POOL_CANCEL, .request = r });
		break;
	case 6:
		now_us += below(40);
		break;
	case 7:
		if (below(20) == 0)
			now_us += below(3000);
		world_step((struct pool_event){ .type = POOL_TICK });
		break;
	case 8:
		if (below(300) == 0)
			die(p);
		break;
	case 9:
		if (below(200) == 0)
			world_step((struct pool_event){ .type = POOL_PAUSE });
		else if (below(3) == 0)
			world_step((struct pool_event){ .type = POOL_RESUME });
		break;
	case 10:
		if (below(400) == 0)
			world_step((struct pool_event){ .type = POOL_RESIZE,
							.size = 1 + (unsigned)below(5) });
		break;
	case 11:
		if (below(300) == 0 && p->id != 0)
			world_step((struct pool_event){ .type = below(2) ? POOL_RECYCLE
									 : POOL_KILL_WORKER,
							.worker_id = p->id });
		break;
	default:
		for (unsigned i = 0; i < WORKERS && (p->id == 0 || below(8) == 0); i++)
			p = &processes[below(WORKERS)];
		if (p->id == 0)
			break;
		if (!p->ready && !p->dead && pool_worker(pool, p->id) != NULL) {
			p->ready = true;
			world_step((struct pool_event){ .type = POOL_WORKER_READY,
							.worker_id = p->id });
		} else if (below(2)) {
			advance(p);
		} else if (below(200) == 0) { /* a lie: nobody has been sent that */
			world_step((struct pool_event){ .type = POOL_WORKER_TAKEN,
							.worker_id = p->id,
							.call_id = last_call + 1 + below(100) });
		} else {
			hear(p);
		}
	}
}

static void then_all_are_done(void)
{
	for (uint64_t id = 1; id <= last_call; id++)
		ck_assert_msg(calls[id].done, "call %d is not done", (int)id);
}

/* What is under way comes to its end: nobody waits for ever. */
static void settle(void)
{
	world_step((struct pool_event){ .type = POOL_RESUME });
	for (unsigned i = 0; i < 1000000 && pool_queued(pool) + pool_running(pool) > 0; i++) {
		struct process *p = &processes[i % WORKERS];

		now_us += 10;
		if (i % 64 == 0)
			world_step((struct pool_event){ .type = POOL_TICK });
		if (p->id == 0)
			continue;
		if (!p->ready && !p->dead) {
			p->ready = true;
			world_step((struct pool_event){ .type = POOL_WORKER_READY,
							.worker_id = p->id });
		}
		advance(p);
		hear(p);
	}
	for (struct process *p = processes; p < processes + WORKERS; p++)
		if (p->id != 0 && pool_queued(pool) + pool_running(pool) > 0) {
			const struct pool_worker *w = pool_worker(pool, p->id);
			fprintf(stderr,
				"w %d ready %d dead %d channel %u queue %u out %u running %d; "
				"pool: %s call %d (%p) ahead %u taken %u recalling %d slot intr "
				"%d\n",
				(int)p->id, p->ready, p->dead, p->channel.count, p->queue.count,
				p->out.count, (int)p->running,
				w ? worker_state_name(w->state) : "-",
				w ? (int)w->slot->call[0].id : 0,
				w ? (void *)w->slot->call[0].request : 0, w ? w->ahead_count : 0,
				w ? w->taken : 0, w ? w->recalling : 0,
				w ? w->slot->interrupted : 0);
		}
	ck_assert_uint_eq(pool_queued(pool) + pool_running(pool), 0);
	then_all_are_done();
}

/* Whoever is left when the pool stops hears so, and what workers say after that is nobody's. */
static void end_of_the_pool(void)
{
	left += pool_queued(pool) + pool_running(pool);
	world_step((struct pool_event){ .type = POOL_STOP });
	ck_assert_uint_eq(pool_queued(pool) + pool_running(pool), 0);
	then_all_are_done();
	for (struct process *p = processes; p < processes + WORKERS; p++) {
		while (p->id != 0 && p->out.count > 0)
			hear(p);
		if (p->id != 0)
			world_step((struct pool_event){ .type = POOL_WORKER_GONE,
							.worker_id = p->id,
							.failed = !p->ready });
	}
}

START_TEST(a_world_by_chance)
{
	uint64_t events = getenv("KRAIT_AHEAD_EVENTS") != NULL
				  ? strtoull(getenv("KRAIT_AHEAD_EVENTS"), NULL, 10)
			  : quick() ? 20000
				    : 300000;

	calls = calloc(CALLS_MAX, sizeof *calls);
	ck_assert_ptr_nonnull(calls);
	for (uint64_t life = 0; events > 0; life++) {
		uint64_t n = 500 + below(8000);

		memset(processes, 0, sizeof processes);
		memset(calls, 0, (last_call + 1) * sizeof *calls);
		last_call = 0;
		set_up();
		world_abandon = (enum pool_abandon)below(3);
		config.ahead = 1 + (unsigned)below(POOL_AHEAD_MAX);
		config.queue_limit = 60;
		config.max_calls = below(2) ? 0 : 20 + below(200);
		config.interrupt_grace_us = 2000;
		config.stop_grace_us = 2000;
		config.breaker.burst = config.breaker.per_second = 1000;
		given_pool(1 + (unsigned)below(4));
		world_step((struct pool_event){ .type = POOL_TICK });
		if (n > events)
			n = events;
		events -= n;
		while (n-- > 0)
			happen();
		if (below(3) > 0)
			settle();
		end_of_the_pool();
		pool_free(pool);
		pool = NULL;
	}
	free(calls);
	/* All of it has really happened. */
	printf("ahead: %llu calls ran, %llu came back, %llu were passed on, %llu interrupts, %llu "
	       "kills, %llu late in a queue, %llu left at the stop\n",
	       (unsigned long long)ran, (unsigned long long)given_back,
	       (unsigned long long)passed_on, (unsigned long long)interrupts,
	       (unsigned long long)killings, (unsigned long long)late_queue,
	       (unsigned long long)left);
	if (!quick())
		ck_assert(given_back > 100 && passed_on > 100 && interrupts > 10 && killings > 10 &&
			  late_queue > 10 && left > 10);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("pool: ahead");
	TCase *world = tcase_create("world");

	tcase_add_test(world, a_world_by_chance);
	tcase_set_timeout(world, 300);
	suite_add_tcase(s, world);
	return s;
}

int main(void)
{
	uint64_t seed = getenv("KRAIT_SEED") != NULL ? strtoull(getenv("KRAIT_SEED"), NULL, 10)
						     : (uint64_t)time(NULL);
	chance_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	return run(suite());
}
