/* stress_admin.c - the clean peer: status, workers, the killing of workers, samples.
 *
 * It never vanishes, and nobody of it dies. Every STATUS_US it asks for the node's own account, whose sums
 * must be right in each single answer, and reads the node's memory and descriptors from /proc. */
#include "stress.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>

#define STATUS_US  250000
#define WORKERS_US SECOND_US
#define IN_VAIN    6         /* more than a second */
#define ANSWER_US  SECOND_US /* `status` may take so long, besides the slack */

/* ---- asking ---- */

static void ask_node(struct stress *s, enum ask_kind kind)
{
	struct caller *c = s->sims[s->options.peers].control;
	size_t start;
	struct ask *a;

	a = request_begin(c, kind, s->options.pool, NULL, &start);
	term_put_atom(caller_out(c), ask_names[kind]);
	request_send(a, start, ANSWER_US);
}

static void ask_status(struct stress *s)
{
	if (s->status_asked || s->sims[s->options.peers].state != SIM_UP)
		return;
	s->status_asked = true;
	ask_node(s, ASK_STATUS);
}

static void ask_workers(struct stress *s)
{
	if (s->workers_asked || s->sims[s->options.peers].state != SIM_UP)
		return;
	s->workers_asked = true;
	s->workers_asked_us = now_us();
	ask_node(s, ASK_WORKERS);
}

void admin_status_want(struct stress *s)
{
	s->status.valid = false;
	s->status_wanted = true;
	s->status_wanted_us = now_us();
	ask_status(s);
}

bool admin_status_fresh(struct stress *s)
{
	return s->status.valid && !s->status_wanted;
}

/* ---- status ---- */

static void read_quantiles(const uint8_t *map, const char *key, uint64_t out[4])
{
	static const char *const names[4] = { "p50", "p95", "p99", "max" };
	const uint8_t *h = term_map_get(map, key);

	for (int i = 0; i < 4; i++)
		out[i] = term_map_uint(h, names[i]);
}

/* Slots that idle in workers which take no more calls: they leave when their last call has ended. */
static uint64_t idle_on_their_way_out(const struct status *st)
{
	uint64_t surplus = st->ready > st->size ? st->ready - st->size : 0;
	uint64_t leaving = st->recycling > surplus ? st->recycling : surplus;

	return leaving * (st->slots - 1);
}

static void judge_status(struct stress *s, const struct status *st)
{
	/* what waits may wait for its session's worker; or for its lease's, but not for long */
	s->idle_in_vain = !s->operator.paused && st->idle> idle_on_their_way_out(st) &&
					  st->queued > sessions_waiting(s)
				  ? s->idle_in_vain + 1
				  : 0;
	if (s->idle_in_vain == IN_VAIN)
		fail(s, NULL,
		     "status: %llu requests wait while %llu workers are idle, for %d answers in a "
		     "row",
		     (unsigned long long)st->queued, (unsigned long long)st->idle, IN_VAIN);
	if (st->received != st->answered + st->abandoned + st->queued + st->running &&
	    s->sums_wrong++ > 0)
		return; /* once wrong they stay so: it was said */
	if (st->received != st->answered + st->abandoned + st->queued + st->running)
		fail(s, NULL,
		     "status: received %llu is not answered %llu + abandoned %llu + queued %llu + "
		     "running "
		     "%llu",
		     (unsigned long long)st->received, (unsigned long long)st->answered,
		     (unsigned long long)st->abandoned, (unsigned long long)st->queued,
		     (unsigned long long)st->running);
	else if (st->ready * st->slots != st->idle + st->busy + st->leased)
		fail(s, NULL,
		     "status: ready %llu of %llu slots is not idle %llu + busy %llu + leased %llu",
		     (unsigned long long)st->ready, (unsigned long long)st->slots,
		     (unsigned long long)st->idle, (unsigned long long)st->busy,
		     (unsigned long long)st->leased);
	else if (st->ready + st->starting > operator_most_workers(s, st->size) + st->recycling)
		fail(s, NULL, "status: %llu ready and %llu starting workers in a pool of %llu",
		     (unsigned long long)st->ready, (unsigned long long)st->starting,
		     (unsigned long long)st->size);
	else
		s->checks++;
}

static void take_status(struct stress *s, const uint8_t *map)
{
	const uint8_t *pool = term_map_get(term_map_get(map, "pools"), s->options.pool);
	const uint8_t *totals = term_map_get(pool, "totals"),
		      *latency = term_map_get(pool, "latency_us");
	struct status *st = &s->status;

	if (totals == NULL) {
		fail(s, NULL, "status says nothing of the pool %s", s->options.pool);
		fatal(s, "there is no such pool");
		return;
	}
	*st = (struct status){
		.valid = !s->status_wanted,
		.os_pid = term_map_uint(map, "os_pid"),
		.peers = term_map_uint(map, "peers"),
		.monitors = term_map_uint(map, "monitors"),
		.size = term_map_uint(pool, "size"),
		.ready = term_map_uint(pool, "ready"),
		.idle = term_map_uint(pool, "idle"),
		.busy = term_map_uint(pool, "busy"),
		.leased = term_map_uint(pool, "leased"),
		.starting = term_map_uint(pool, "starting"),
		.stopping = term_map_uint(pool, "stopping"),
		.recycling = term_map_uint(pool, "recycling"),
		.queued = term_map_uint(pool, "queued"),
		.leases = term_map_uint(pool, "leases"),
		.sessions = term_map_uint(pool, "sessions"),
		.sessions_lost = term_map_uint(totals, "sessions_lost"),
		.exits = term_map_uint(totals, "exits"),
		.received = term_map_uint(totals, "received"),
		.answered = term_map_uint(totals, "answered"),
		.abandoned = term_map_uint(totals, "abandoned"),
		.running = term_map_uint(totals, "running"),
		.starts = term_map_uint(totals, "starts"),
		.start_failures = term_map_uint(totals, "start_failures"),
		.kills = term_map_uint(totals, "kills"),
		.retries = term_map_uint(totals, "retries"),
		.interrupts = term_map_uint(totals, "interrupts"),
		.ignored = term_map_uint(totals, "ignored"),
	};
	st->slots = term_map_uint(pool, "slots");
	st->slots += st->slots == 0; /* a node that knows of none */
	read_quantiles(latency, "wait", st->wait_us);
	read_quantiles(latency, "call", st->call_us);
	read_quantiles(latency, "start", st->start_us);
	judge_status(s, st);
}

bool status_at_rest(const struct status *st)
{
	return st->idle == st->size * st->slots && st->queued == 0 && st->leases == 0 &&
	       st->running == 0 && st->starting == 0 && st->stopping == 0;
}

/* ---- workers ---- */

/* Our slot that a pid in an answer belongs to; -1: none of ours. */
static int slot_of(const struct stress *s, const uint8_t *t)
{
	struct term_pid pid;

	if (t == NULL || !term_pid(t, &pid) || pid.id < PID_BASE || pid.id - PID_BASE >= s->slots)
		return -1;
	return (int)(pid.id - PID_BASE);
}

static void keep_entry(struct stress *s, const struct journal_entry *e)
{
	unsigned from = s->journaled < JOURNAL ? 0 : s->journaled - JOURNAL;

	for (unsigned i = s->journaled; i-- > from;) {
		const struct journal_entry *old = &s->journal[i % JOURNAL];

		if (old->worker_id != e->worker_id)
			continue;
		if (old->slot == e->slot && old->calls == e->calls &&
		    strcmp(old->state, e->state) == 0)
			return;
		break;
	}
	s->journal[s->journaled++ % JOURNAL] = *e;
}

static void kill_one(struct stress *s, const struct journal_entry *victim)
{
	struct journal_entry e = *victim;
	int rc = proc_kill_worker(victim->os_pid, s->status.os_pid);

	if (rc != 0) {
		s->kills_missed++;
		return;
	}
	s->workers_killed++;
	memcpy(e.state, "KILLED", 7);
	e.at_us = now_us();
	keep_entry(s, &e);
	/* its number may be another process' soon */
	for (unsigned i = 0; i < s->options.callers; i++)
		if (s->callers[i].lease.os_pid == victim->os_pid)
			s->callers[i].lease.os_pid = 0;
}

static void take_workers(struct stress *s, const uint8_t *list)
{
	struct journal_entry victim = { 0 };
	const uint8_t *map;
	uint32_t count;
	unsigned seen = 0;

	if (!term_list(list, &count, &map))
		return;
	for (uint32_t i = 0; i < count; i++, map = term_skip(map)) {
		const uint8_t *state = term_map_get(map, "state");
		struct journal_entry e = { .at_us = now_us(),
					   .worker_id = term_map_uint(map, "id"),
					   .os_pid = term_map_uint(map, "os_pid"),
					   .calls = term_map_uint(map, "calls"),
					   .slot = slot_of(s, term_map_get(map, "caller")) };
		struct span text = { NULL, 0 };

		if (state != NULL && term_atom(state, &text, NULL) && text.len < sizeof e.state)
			memcpy(e.state, text.at, text.len);
		keep_entry(s, &e);
		/* a worker that starts is left alone: its failure would count against the circuit */
		if (strcmp(e.state, "starting") != 0 && strcmp(e.state, "stopping") != 0 &&
		    e.os_pid != 0 && rnd_to(s, ++seen) == 0)
			victim = e;
	}
	if (s->kills_due > 0 && s->phase == PHASE_RUN && victim.os_pid != 0) {
		s->kills_due--;
		kill_one(s, &victim);
	}
}

void admin_answer(struct ask *a, const uint8_t *reply)
{
	struct caller *c = a->caller;
	struct stress *s = c->s;
	bool status = a->kind == ASK_STATUS;
	const uint8_t *e = NULL;
	uint32_t arity;

	if (answer_judge(a, reply) == OUT_OK && term_tuple(reply, &arity, &e) && arity == 2)
		e = term_skip(e);
	ask_cut(a);
	if (status)
		s->status_asked = false;
	else
		s->workers_asked = false;
	if (e == NULL)
		return;
	if (status && s->status_wanted && a->sent_us >= s->status_wanted_us)
		s->status_wanted = false;
	if (status)
		take_status(s, e);
	else
		take_workers(s, e);
}

/* No two processes hold the same worker. */
void admin_os_pid_held(struct caller *c, uint64_t os_pid)
{
	struct stress *s = c->s;

	for (unsigned i = 0; i < s->options.callers; i++) {
		const struct caller *other = &s->callers[i];

		if (other != c && s->status.slots <= 1 && other->lease.held &&
		    !other->lease.doubtful && other->lease.os_pid == os_pid)
			fail(s, c, "worker pid %llu is held by process %u as well",
			     (unsigned long long)os_pid, i);
	}
	s->checks++;
	c->lease.os_pid = os_pid;
}

/* ---- samples ---- */

static void sample(struct stress *s)
{
	uint64_t kib = proc_rss_kib(s->status.os_pid), now = now_us();
	unsigned fds = proc_descriptors(s->status.os_pid);

	if (kib == 0 || s->phase != PHASE_RUN)
		return;
	if (fds > s->fds_max)
		s->fds_max = fds;
	if (s->rss_first == 0)
		s->rss_first = kib;
	s->rss_last = kib;
	s->rss_max = kib > s->rss_max ? kib : s->rss_max;
	if (now - s->run_us < s->options.warmup_ms * 1000)
		return;
	if (s->samples == s->samples_cap) {
		s->samples_cap = s->samples_cap == 0 ? 1024 : 2 * s->samples_cap;
		s->sample_min = mem_realloc(s->sample_min, s->samples_cap * sizeof *s->sample_min);
		s->sample_kib = mem_realloc(s->sample_kib, s->samples_cap * sizeof *s->sample_kib);
		if (s->sample_min == NULL || s->sample_kib == NULL)
			abort();
	}
	s->sample_min[s->samples] = (double)(now - s->run_us) / 60e6;
	s->sample_kib[s->samples++] = (double)kib;
}

static void on_alarm(void *arg)
{
	struct stress *s = arg;
	uint64_t now = now_us();

	ask_status(s);
	if (s->phase == PHASE_RUN && (s->kills_due > 0 || now - s->workers_asked_us > WORKERS_US))
		ask_workers(s);
	if (s->status.os_pid != 0)
		sample(s);
	alarm_set(s, &s->admin_alarm, now + (s->kills_due > 0 ? STATUS_US / 10 : STATUS_US));
}

void admin_start(struct stress *s)
{
	s->admin_alarm.fn = on_alarm;
	s->admin_alarm.arg = s;
	alarm_set(s, &s->admin_alarm, now_us());
}
