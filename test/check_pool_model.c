/* check_pool_model.c - random events against the pool, its invariants, and a naive model.
 *
 * A life is one pool and some thousand events (pool_script.h), which must do what the model does
 * (pool_model.h). Each is played in a process of its own and is made of its seed and number alone. When
 * one fails, by an assertion of the pool, a sanitizer or the model, its script is cut down as long as
 * what is left still fails, and what can be no shorter is told, event by event.
 *
 *     KRAIT_SEED=N           the seed (printed at the start; default: from the clock)
 *     KRAIT_MODEL_EVENTS=N   how many events in all (default 400,000)
 *     KRAIT_MODEL_LIFE=N     plays this one of them only */
#include "chance.h"
#include "pool_script.h"
#include "quick.h"
#include "suite.h"

#include <check.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define DYING 60 /* workers that may be on their way out before some of them really go */

/* Shared with the processes that play. */
static struct script *script;
static uint64_t seed, trials;

/* ---- chance ---- */

static uint64_t one_of(const uint64_t *values, unsigned n)
{
	return values[below(n)];
}

#define ONE_OF(...)                               \
	one_of((const uint64_t[]){ __VA_ARGS__ }, \
	       sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* ---- a life by chance ---- */

static unsigned weight[DEEDS];
static bool calm; /* a life in which most goes well */
static uint64_t pace, last_request, last_lease;
static uint64_t peers;
static uint64_t sessions, names; /* how many requests of ten have one; how many there are */

static struct m_request *some_request(void)
{
	struct m_request *r = &m.requests[below(MANY)];

	for (unsigned i = 0; i < MANY; i++, r = r + 1 < m.requests + MANY ? r + 1 : m.requests)
		if (r->exists)
			return r;
	return NULL;
}

static struct m_worker *some_worker(unsigned states)
{
	struct m_worker *w = &m.workers[below(MANY)];

	for (unsigned i = 0; i < MANY; i++, w = w + 1 < m.workers + MANY ? w + 1 : m.workers)
		if (w->exists && states & 1u << m_sum(w))
			return w;
	return NULL;
}

/* Mostly a lease that lives, sometimes one that did or never will. */
static uint64_t some_lease(void)
{
	struct m_lease *l = &m.leases[below(MANY)];

	if (below(12) == 0)
		return last_lease + 2 - below(last_lease < 20 ? last_lease + 2 : 20);
	for (unsigned i = 0; i < MANY; i++, l = l + 1 < m.leases + MANY ? l + 1 : m.leases)
		if (l->exists)
			return l->id;
	return below(last_lease + 3);
}

static uint64_t some_deadline(void)
{
	if (calm && below(4))
		return POOL_NEVER;
	switch (below(20)) {
	case 0:
		return now;
	case 1:
	case 2:
		return now + 4 * below(2000);
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
		return now + 4 * below(200000);
	default:
		return POOL_NEVER;
	}
}

static struct event some_submit(enum deed deed)
{
	return (struct event){
		.deed = deed,
		.id = ++last_request,
		.priority = (unsigned)below(PRIORITIES),
		.peer = (unsigned)below(peers),
		.retry = below(2) ? 0 : (unsigned)below(4),
		.until_call = some_deadline(),
		.until_queue = some_deadline(),
		.bytes = below(3) ? below(100) : below(20000),
		.abandon = (unsigned)below(3),
		.stream = below(4) == 0,
		.session = below(10) < sessions ? 1 + (unsigned)below(names) : 0,
		.mode = below(3) ? SESSION_STRICT : (unsigned)below(3),
		.ttl = below(3) ? POOL_NEVER : 4 * below(200000) + 1,
		.lease_id = deed == CHECKOUT     ? ++last_lease
			    : deed == LEASE_CALL ? some_lease()
						 : 0,
	};
}

/* Of a worker in one of `states`, mostly. */
static struct event some_worker_event(enum deed deed, unsigned states)
{
	const struct m_worker *w = some_worker(below(8) ? states : ~0u);
	struct event e = { .deed = deed };

	if (w == NULL && below(8))
		return some_submit(CALL); /* nobody it could happen to */
	if (w != NULL && below(40))
		mean(&e, w);
	else
		e.id = below(m.last_worker + 3);
	if (e.of_index && below(6)) {
		e.of_its_call = true;
		e.pick = (unsigned)below(20);
	} else {
		e.call_id = below(3) ? below(last_request + 2) : (PROBE | m.last_probe) - below(2);
	}
	e.not_begun = deed == GONE && below(3) == 0;
	return e;
}

static struct pool_config some_config(void)
{
	struct pool_config config = {
		.size = (unsigned)below(9),
		.size_max = below(2) ? 0 : (unsigned)below(12),
		.grow_after_us = ONE_OF(0, 1, 4001, 400001, POOL_NEVER),
		.idle_ttl_us = ONE_OF(0, 1, 4001, 100001, 1000001, POOL_NEVER),
		.order = below(3) == 0 ? ORDER_FIFO : ORDER_LIFO,
		.health_interval_us = ONE_OF(0, 0, 1, 4001, 400001, POOL_NEVER),
		.health_timeout_us = ONE_OF(0, 4001, 400001, POOL_NEVER),
		.max_calls = ONE_OF(0, 0, 1, 3, 20, POOL_NEVER),
		.max_age_us = ONE_OF(0, 0, 1, 4001, 400001, 4000001, POOL_NEVER),
		.jitter_percent = (unsigned)ONE_OF(0, 10, 50, 100),
		.queue_limit = (unsigned)ONE_OF(0, 1, 2, 5, 50, 200),
		.queue_bytes_limit = ONE_OF(0, 100, 10000, 1000000),
		.start_timeout_us = 4 * ONE_OF(1, 1000, 100000, 2000000) + 1,
		.interrupt_grace_us = ONE_OF(0, 4002, 400002, POOL_NEVER),
		.stop_grace_us = ONE_OF(0, 4003, 400003, POOL_NEVER),
		.dump_grace_us = ONE_OF(0, 0, 4002, 400002, POOL_NEVER),
		.slots = (unsigned)ONE_OF(0, 1, 1, 2, 4),
		.max_sessions = (unsigned)ONE_OF(0, 1, 3, 10, 10, 100),
		.breaker = {
			.threshold = (unsigned)(1 + below(5)),
			.backoff_base_us = ONE_OF(0, 1000, 50000),
			.backoff_max_us = ONE_OF(50000, 1000000),
			.burst = (unsigned)ONE_OF(1, 5, 100),
			.per_second = (unsigned)ONE_OF(1, 20, 1000),
		},
	};

	if (calm) { /* starts succeed, and most are admitted */
		config.size = 1 + (unsigned)below(4);
		config.queue_limit = 100;
		config.queue_bytes_limit = 10000000;
		config.start_timeout_us = 4 * 2000000 + 1;
		config.breaker.burst = config.breaker.per_second = 1000;
		config.breaker.threshold = 5;
	}
	return config;
}

static struct event some_event(enum deed deed)
{
	static const unsigned any_state = ~0u;
	struct event e = { .deed = deed };
	const struct m_request *r;

	switch (deed) {
	case CALL:
	case CHECKOUT:
	case LEASE_CALL:
		return some_submit(deed);
	case ABANDON:
	case CANCEL:
		e.id = (r = some_request()) != NULL ? r->id : 0;
		return e;
	case CHECKIN:
	case LEASE_DOWN:
		e.id = some_lease();
		return e;
	case EXTEND:
	case CLOSE_STREAM:
	case REFUSE:
		e.id = (r = some_request()) != NULL ? r->id : 0;
		e.until_call = some_deadline();
		return e;
	case END_SESSION:
		e.session = 1 + (unsigned)below(names);
		return e;
	case READY:
		return some_worker_event(deed, 1u << WORKER_STARTING);
	case OPENED:
	case WAITS:
	case WAITS_NO_MORE:
		return some_worker_event(deed, 1u << WORKER_BUSY);
	case ANSWER:
		return some_worker_event(deed, 1u << WORKER_BUSY | 1u << WORKER_PROBING |
						       (calm ? 0 : 1u << WORKER_STOPPING));
	case GONE:
		return some_worker_event(deed,
					 below(calm ? 20 : 2) ? 1u << WORKER_STOPPING : any_state);
	case BROKEN:
	case KILL:
		return some_worker_event(deed, any_state);
	case RECYCLE:
		e = some_worker_event(deed, any_state);
		e.why = below(2) ? WHY_NONE : WHY_MAX_RSS;
		return e;
	case RESIZE:
		e.size = (unsigned)below(9);
		e.size_max = below(2) ? 0 : (unsigned)below(12);
		return e;
	case CONFIGURE:
		e.config = some_config();
		return e;
	case OUT_OF_MEMORY:
		e.fail_after = (long)below(3);
		return e;
	default:
		return e;
	}
}

/* Time moves: not at all, a little, to the next tick, or far. */
static uint64_t some_moment(void)
{
	uint64_t tick = pool_next_tick(pool);

	if (calm && below(4))
		return now + 4 * below(pace);
	switch (below(10)) {
	case 0:
	case 1:
		return now;
	case 2:
		return tick != POOL_NEVER && tick > now ? (tick + 3) / 4 * 4 : now;
	case 3:
		return tick != POOL_NEVER && tick > now + 4 ? (tick - 1) / 4 * 4 : now;
	case 4:
		return now + 4 * below(pace * 50);
	default:
		return now + 4 * below(pace);
	}
}

static enum deed some_deed(void)
{
	unsigned sum = 0, i;
	uint64_t at;

	if (m_count(WORKER_STOPPING) > DYING)
		return GONE;
	for (i = 0; i < DEEDS; i++)
		sum += weight[i];
	at = below(sum);
	for (i = 0; at >= weight[i]; i++)
		at -= weight[i];
	return (enum deed)i;
}

static void happen(enum deed deed)
{
	struct event *e = &script->events[script->count];

	if (script->count == EVENTS_MAX)
		return;
	now = some_moment();
	*e = some_event(deed);
	e->at = now;
	e->random = any();
	script->at = script->count++;
	perform(e);
	tally->events++;
}

/* A mood: which deeds are frequent, how fast time runs. */
static void some_mood(void)
{
	static const unsigned usual[DEEDS] = {
		[CALL] = 30,         [CHECKOUT] = 8,      [LEASE_CALL] = 12,  [ABANDON] = 8,
		[CHECKIN] = 4,       [LEASE_DOWN] = 3,    [READY] = 20,       [ANSWER] = 30,
		[GONE] = 12,         [BROKEN] = 3,        [TICK] = 10,        [RESIZE] = 1,
		[REFUSED] = 1,       [OUT_OF_MEMORY] = 1, [OPENED] = 8,       [WAITS] = 10,
		[WAITS_NO_MORE] = 3, [EXTEND] = 2,        [CLOSE_STREAM] = 3, [REFUSE] = 1,
		[END_SESSION] = 2,   [CANCEL] = 2,        [CONFIGURE] = 1,    [PAUSE] = 1,
		[RESUME] = 3,        [RECYCLE] = 2,       [RECYCLE_ALL] = 1,  [KILL] = 1,
	};

	peers = ONE_OF(1, 2, 5, 50);
	sessions = ONE_OF(0, 1, 5, 9);
	names = ONE_OF(1, 3, 12, 40);
	pace = calm ? 10 : ONE_OF(10, 500, 5000, 50000);
	for (unsigned i = 0; i < DEEDS; i++)
		weight[i] = usual[i] * (unsigned)ONE_OF(0, 1, 2, 2, 3, 10);
	weight[TICK]++;
	weight[READY] += 5;
	if (calm) {
		weight[READY] = 50;
		weight[ANSWER] = 100;
		weight[GONE] = 20;
		weight[BROKEN] = 1;
	}
	if (calm && below(3) == 0) { /* few names and much waiting: calls inside of calls */
		sessions = 9;
		names = ONE_OF(1, 1, 2, 5);
		weight[CALL] = weight[WAITS] = 150;
		weight[ANSWER] = (unsigned)ONE_OF(20, 100, 100);
		weight[CHECKOUT] = weight[CHECKIN] = weight[LEASE_CALL] = 4;
		weight[ABANDON] = 1;
		weight[PAUSE] = weight[RECYCLE] = weight[RECYCLE_ALL] = weight[KILL] = 0;
		weight[CONFIGURE] = 0;
	}
}

static void live(uint64_t life)
{
	uint64_t events, drain_at;

	chance_state =
		(seed * UINT64_C(0x9e3779b97f4a7c15) + life + 1) * UINT64_C(0xbf58476d1ce4e5b9) | 1;
	for (unsigned i = 0; i < 8; i++)
		(void)any();
	events = 200 + below(3000);
	drain_at = below(4) ? events : below(events);
	calm = below(3) == 0;
	some_mood();
	script->config = some_config();
	script->at = script->count = 0;
	given_pool(&script->config, 4 * below(1000000));
	for (uint64_t i = 0; i < events; i++) {
		happen(i == drain_at ? DRAIN : some_deed());
		if (i > drain_at && below(200) == 0)
			happen(DRAIN);
	}
	happen(STOP);
	for (unsigned i = 0; i < 30; i++)
		happen(some_deed());
	script->at = script->count;
	then_it_stops();
}

/* ---- in a process of its own ---- */

enum manner { BY_CHANCE, IN_SILENCE, ALOUD };

/* True: it went wrong. What has no verdict did not. */
static bool fails(enum manner manner, uint64_t life)
{
	int status, null;
	pid_t pid;

	fflush(NULL);
	if ((pid = fork()) < 0)
		ck_abort_msg("fork");
	if (pid == 0) {
		if (!quick())
			alarm(manner == BY_CHANCE ? 60 : 10); /* an endless loop is a fault, too */
		if (manner == IN_SILENCE && (null = open("/dev/null", O_WRONLY)) >= 0)
			dup2(null, STDERR_FILENO);
		telling = manner == ALOUD;
		if (manner == BY_CHANCE)
			live(life);
		else
			play(script);
		exit(EXIT_SUCCESS); /* with its leak check */
	}
	trials++;
	if (waitpid(pid, &status, 0) != pid)
		ck_abort_msg("waitpid");
	if (manner != BY_CHANCE && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_VERDICT)
		return false;
	return status != 0;
}

/* ---- the shortest form ---- */

/* What comes after the event that fails plays no part. */
static void drop_the_rest(struct script *s)
{
	s->count = s->at < s->count ? s->at + 1 : s->count;
}

/* Takes what is in *script for `best`, when that still fails. */
static bool better(struct script *best)
{
	if (!fails(IN_SILENCE, 0))
		return false;
	drop_the_rest(script);
	*best = *script;
	return true;
}

static bool better_without(struct script *best, unsigned from, unsigned to)
{
	*script = *best;
	memmove(script->events + from, script->events + to,
		(best->count - to) * sizeof *script->events);
	script->count -= to - from;
	return better(best);
}

/* Delta debugging: halves, quarters and so on to single events, until none can be spared. */
static void cut(struct script *best)
{
	unsigned len = best->count / 2;
	bool any_cut = false;

	for (len = len > 0 ? len : 1; len > 0;) {
		for (unsigned from = 0; from < best->count;) {
			unsigned to = from + len < best->count ? from + len : best->count;

			if (better_without(best, from, to))
				any_cut = true;
			else
				from = to;
		}
		if (len > 1 || !any_cut)
			len /= 2;
		any_cut = false;
	}
}

#define EVENT_WAYS 17

/* An event with less about it: one of the ways to say less. */
static void simplify(struct event *e, unsigned way, const struct event *before)
{
	static const struct event tick = { .deed = TICK };
	uint64_t at = e->at;

	switch (way) {
	case 0:
		*e = tick;
		e->at = at;
		break;
	case 1:
		e->deed = e->deed == LEASE_CALL || e->deed == CHECKOUT ? CALL : e->deed;
		break;
	case 2:
		e->at = before != NULL ? before->at : e->at;
		break;
	case 3:
		e->random = 0;
		break;
	case 4:
		e->until_call = e->until_queue = POOL_NEVER;
		break;
	case 5:
		e->until_queue = POOL_NEVER;
		break;
	case 6:
		e->until_call = POOL_NEVER;
		break;
	case 7:
		e->retry = 0;
		break;
	case 8:
		e->bytes = 0;
		break;
	case 9:
		e->priority = PRIORITY_NORMAL;
		break;
	case 10:
		e->abandon = ABANDON_KILL;
		break;
	case 11:
		e->index = e->older = 0;
		break;
	case 12:
		e->session = e->mode = 0;
		e->ttl = POOL_NEVER;
		break;
	case 13:
		e->mode = SESSION_STRICT;
		e->ttl = POOL_NEVER;
		break;
	case 14:
		e->stream = false;
		break;
	case 15:
		e->peer = 0;
		break;
	case 16:
		e->size_max = 0;
		break;
	default:
		break;
	}
}

#define CONFIG_WAYS 15

static void simplify_config(struct pool_config *c, unsigned way)
{
	switch (way) {
	case 0:
		c->size = 1;
		break;
	case 1:
		c->size = 2;
		break;
	case 2:
		c->size -= c->size > 0;
		break;
	case 3:
		c->queue_limit = 200;
		break;
	case 4:
		c->queue_bytes_limit = 1000000;
		break;
	case 5:
		c->start_timeout_us = c->interrupt_grace_us = c->stop_grace_us = POOL_NEVER;
		break;
	case 6:
		c->start_timeout_us = POOL_NEVER;
		break;
	case 7:
		c->breaker.burst = c->breaker.per_second = 1000;
		break;
	case 8:
		c->slots = 1;
		break;
	case 9:
		c->max_sessions = 100;
		break;
	case 10:
		c->size_max = 0;
		break;
	case 11:
		c->health_interval_us = 0;
		break;
	case 12:
		c->max_calls = c->max_age_us = 0;
		break;
	case 13:
		c->dump_grace_us = 0;
		break;
	case 14:
		c->order = ORDER_LIFO;
		break;
	default:
		break;
	}
}

static void make_simple(struct script *best)
{
	for (unsigned way = 0; way < CONFIG_WAYS; way++) {
		*script = *best;
		simplify_config(&script->config, way);
		if (memcmp(&script->config, &best->config, sizeof best->config) != 0)
			(void)better(best);
	}
	for (unsigned i = 0; i < best->count; i++)
		for (unsigned way = 0; way < EVENT_WAYS; way++) {
			*script = *best;
			simplify(&script->events[i], way, i > 0 ? &script->events[i - 1] : NULL);
			if (memcmp(&script->events[i], &best->events[i], sizeof *best->events) != 0)
				(void)better(best);
		}
}

static void shrink(uint64_t life)
{
	struct script *best = malloc(sizeof *best);
	unsigned was = script->count;

	ck_assert_ptr_nonnull(best);
	drop_the_rest(script);
	*best = *script;
	trials = 0;
	fprintf(stderr, "life %" PRIu64 " fails at event %u; looking for its shortest form\n", life,
		was);
	if (fails(IN_SILENCE, 0)) {
		for (unsigned round = 0, count = 0; round < 5 && count != best->count; round++) {
			count = best->count;
			cut(best);
			make_simple(best);
		}
		fprintf(stderr, "%u of %u events are enough (%" PRIu64 " trials):\n", best->count,
			was, trials);
	} else {
		fprintf(stderr, "played again it does not fail; this was it:\n");
	}
	*script = *best;
	(void)fails(ALOUD, 0);
	free(best);
}

/* ---- the test ---- */

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL && *text != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

static void *shared(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert(at != MAP_FAILED);
	return at;
}

static void nothing_was_left_out(void)
{
	for (unsigned i = 0; i < OUTCOMES; i++)
		ck_assert_msg(tally->done[i] > 0, "never %s",
			      pool_outcome_name((enum pool_outcome)i));
	for (unsigned i = 0; i <= POOL_DRAINED; i++) {
		bool elsewhere = i == POOL_RECALL || i == POOL_AHEAD || i == POOL_BEGUN;

		ck_assert_msg(tally->acts[i] > 0 || elsewhere, "never action %u", i);
	}
	for (unsigned i = 0; i <= LEASE_TIMEOUT; i++)
		ck_assert_msg(tally->ends[i] > 0, "no lease ended by %u", i);
	for (unsigned i = WHY_NONE + 1; i < WHYS; i++)
		ck_assert_msg(tally->left[i] > 0, "no worker left by %s", pool_why_name(i));
	ck_assert(tally->replaced > 0 && tally->turns > 0 && tally->contested > 0);
	ck_assert(tally->probes > 0 && tally->grown > 0 && tally->shrunk > 0);
	ck_assert(tally->retries > 0 && tally->late > 0 && tally->opened > 0 &&
		  tally->no_memory > 0);
	ck_assert(tally->trials > 0 && tally->given_up > 0);
	for (unsigned i = 0; i <= SESSION_MOVED; i++)
		ck_assert_msg(tally->session_ends[i] > 0, "no session ended by %u", i);
	ck_assert(tally->nested > 500 && tally->deepest > 4);
}

START_TEST(the_pool_does_what_the_model_says)
{
	uint64_t events = from_env("KRAIT_MODEL_EVENTS", 400000);
	uint64_t only = from_env("KRAIT_MODEL_LIFE", 0), life = only > 0 ? only : 1;

	script = shared(sizeof *script);
	tally = shared(sizeof *tally);
	for (; tally->events < events && (only == 0 || life == only); life++)
		if (fails(BY_CHANCE, life)) {
			shrink(life);
			ck_abort_msg("KRAIT_SEED=%" PRIu64 " KRAIT_MODEL_LIFE=%" PRIu64, seed,
				     life);
		}
	printf("%" PRIu64 " events in %" PRIu64 " lives", tally->events, life - 1);
	for (unsigned i = 0; i < OUTCOMES; i++)
		printf(", %" PRIu64 " %s", tally->done[i], pool_outcome_name((enum pool_outcome)i));
	printf(", %" PRIu64 " retries, %" PRIu64 " late, circuit opened %" PRIu64 " times, %" PRIu64
	       " starts on trial, %" PRIu64 " exits never reported, %" PRIu64
	       " inner calls, %" PRIu64 " deep",
	       tally->retries, tally->late, tally->opened, tally->trials, tally->given_up,
	       tally->nested, tally->deepest);
	printf(", %" PRIu64 " replaced, %" PRIu64 " turns taken, %" PRIu64 " contested, %" PRIu64
	       " probed, %" PRIu64 " times grown, %" PRIu64 " shrunk",
	       tally->replaced, tally->turns, tally->contested, tally->probes, tally->grown,
	       tally->shrunk);
	printf(", sessions:");
	for (unsigned i = 0; i <= SESSION_MOVED; i++)
		printf(" %" PRIu64, tally->session_ends[i]);
	printf("\n");
	fflush(stdout);
	if (tally->events >= 300000)
		nothing_was_left_out();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool: model");
	TCase *tc = tcase_create("model");

	seed = from_env("KRAIT_SEED", (uint64_t)time(NULL));
	printf("KRAIT_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	tcase_set_timeout(tc, 3600); /* for events by the million, and valgrind */
	tcase_add_test(tc, the_pool_does_what_the_model_says);
	suite_add_tcase(suite, tc);
	return run(suite);
}
