/* stress_report.c - violations with their history, the progress line, the report. */
#include "stress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static double seconds_since(uint64_t from, uint64_t to)
{
	return to > from ? (double)(to - from) / 1e6 : 0;
}

/* ---- violations ---- */

void fail(struct stress *s, struct caller *c, const char *fmt, ...)
{
	struct failure *f;
	va_list args;

	if (c == NULL)
		c = s->current;
	s->failures++;
	if (s->failures_kept == FAILURES_KEPT)
		return;
	f = &s->failure[s->failures_kept++];
	va_start(args, fmt);
	vsnprintf(f->text, sizeof f->text, fmt, args);
	va_end(args);
	f->at_us = now_us();
	f->slot = c != NULL ? (int)c->slot : -1;
	if (c != NULL) {
		f->events = c->events;
		memcpy(f->ring, c->ring, sizeof f->ring);
	}
	fprintf(stderr, "%skrait_stress: at %.3f s: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "",
		seconds_since(s->started_us, f->at_us), f->text);
}

void fatal(struct stress *s, const char *why)
{
	if (s->fatal == NULL)
		s->fatal = why;
}

bool verdict(struct stress *s, bool ok, const char *name, const char *fmt, ...)
{
	struct verdict *v = &s->verdicts[s->verdict_count];
	va_list args;

	if (s->verdict_count == VERDICTS_MAX)
		return ok;
	s->verdict_count++;
	v->name = name;
	v->ok = ok;
	va_start(args, fmt);
	vsnprintf(v->text, sizeof v->text, fmt, args);
	va_end(args);
	return ok;
}

static void print_ring(const struct stress *s, const struct failure *f)
{
	unsigned from = f->events < RING ? 0 : f->events - RING;

	fprintf(stderr, "    process %d of %s:\n", f->slot, s->callers[f->slot].sim->name);
	for (unsigned i = from; i < f->events; i++) {
		const struct event *e = &f->ring[i % RING];

		fprintf(stderr, "      %9.4f s  %-14s nonce %" PRIx64 "  %" PRIu64 "\n",
			seconds_since(s->started_us, e->at_us), e->what, e->nonce, e->more);
	}
}

/* What was seen of workers in the second before; those that ran something for the process are marked. */
static void print_journal(const struct stress *s, const struct failure *f)
{
	unsigned from = s->journaled < JOURNAL ? 0 : s->journaled - JOURNAL, shown = 0;

	for (unsigned i = s->journaled; i-- > from && shown < 16;) {
		const struct journal_entry *e = &s->journal[i % JOURNAL];

		if (e->at_us > f->at_us + SECOND_US ||
		    (e->at_us + 3 * SECOND_US < f->at_us && e->slot != f->slot))
			continue;
		if (shown++ == 0)
			fprintf(stderr, "    workers, last first:\n");
		fprintf(stderr,
			"      %9.4f s  worker %" PRIu64 " pid %" PRIu64 " %s, %" PRIu64
			" calls, for process %d%s\n",
			seconds_since(s->started_us, e->at_us), e->worker_id, e->os_pid, e->state,
			e->calls, e->slot, e->slot == f->slot && f->slot >= 0 ? "  <--" : "");
	}
}

static void print_failures(struct stress *s)
{
	for (unsigned i = 0; i < s->failures_kept; i++) {
		const struct failure *f = &s->failure[i];

		fprintf(stderr, "\nviolation %u of %" PRIu64 ", at %.3f s: %s\n", i + 1,
			s->failures, seconds_since(s->started_us, f->at_us), f->text);
		if (i < 5 && f->slot >= 0)
			print_ring(s, f);
		if (i < 5)
			print_journal(s, f);
	}
	fprintf(stderr, "\nseed %" PRIu64 "\n", s->options.seed);
	if (s->options.spawn)
		spawn_tail(s);
}

/* ---- progress ---- */

static uint64_t requests(const struct stress *s)
{
	uint64_t sum = s->casts;

	for (unsigned i = 0; i < ASK_MONITOR; i++)
		sum += s->sent[i];
	return sum;
}

void progress(struct stress *s)
{
	static const char *const names[] = { "waiting for the node",
					     "waiting until it is ready",
					     "running",
					     "letting things end",
					     "counting sessions and generators",
					     "at rest",
					     "alone",
					     "done" };
	bool tty = isatty(STDERR_FILENO) != 0;
	uint64_t now = now_us();
	double t = seconds_since(s->run_us, now);

	if (s->options.quiet || now < s->progress_us)
		return;
	s->progress_us = now + (tty ? SECOND_US / 2 : 10 * SECOND_US);
	if (s->run_us == 0)
		t = 0;
	fprintf(stderr,
		"%s%6.1f s %s: %" PRIu64 " requests, %.0f/s, gave up %" PRIu64 ", died %" PRIu64
		", workers killed %" PRIu64 ", queued %" PRIu64 ", rss %" PRIu64
		" KiB, violations %" PRIu64 "%s",
		tty ? "\r\033[K" : "", t, names[s->phase], requests(s),
		t > 0 ? (double)requests(s) / t : 0.0, s->outcomes[OUT_GAVE_UP],
		s->outcomes[OUT_DIED], s->workers_killed, s->status.queued, s->rss_last,
		s->failures, tty ? "" : "\n");
	fflush(stderr);
}

/* ---- the report ---- */

struct figures {
	double seconds, per_second;
	struct slope slope;
	uint64_t p50, p95, p99, max, replaced;
	bool clean;
};

static void put_numbers(const char *title, const char *const *names, const uint64_t *values,
			unsigned n)
{
	printf("%-14s", title);
	for (unsigned i = 0; i < n; i++)
		if (values[i] > 0)
			printf(" %s %" PRIu64, names[i], values[i]);
	printf("\n");
}

static void put_text(const struct stress *s, const struct figures *f)
{
	const uint64_t *w = s->after.wait_us, *c = s->after.call_us;

	printf("\nkrait_stress of %s, seed %" PRIu64 "\n", s->node_name, s->options.seed);
	if (s->run_us == 0) {
		printf("FAILED the run was not begun: %s\n", s->fatal != NULL ? s->fatal : "");
		return;
	}
	printf("throughput     %.0f requests/s: %" PRIu64
	       " in %.1f s by %u processes of %u peers, %" PRIu64 " things checked\n",
	       f->per_second, requests(s), f->seconds, s->options.callers, s->options.peers,
	       s->checks);
	put_numbers("requests", ask_names, s->sent, ASK_KINDS);
	printf("               cast %" PRIu64 " junk %" PRIu64 "\n", s->casts, s->junk);
	put_numbers("outcomes", outcome_names, s->outcomes, OUTCOMES_HEARD);
	if (s->streams > 0) {
		printf("streams        opened %" PRIu64 ", items %" PRIu64 ", asks %" PRIu64
		       ", other words to them %" PRIu64 ", slowest close %" PRIu64 " us\n",
		       s->streams, s->items, s->asks, s->talks, s->slowest_close_us);
		put_numbers("", stream_end_names, s->stream_ends, STREAM_ENDS);
	}
	if (s->sessions_begun > 0)
		printf("sessions       names %" PRIu64 ", lives seen %" PRIu64
		       ", losses told %" PRIu64 "\n",
		       s->sessions_begun, s->epochs, s->losses);
	if (s->batched > 0)
		printf("batches        calls in them %" PRIu64 "\n", s->batched);
	printf("dropped        late answers that a BEAM drops %" PRIu64
	       ", leases among them %" PRIu64 ", signals that crossed ours %" PRIu64 "\n",
	       s->late, s->late_leases, s->crossed);
	put_numbers("peers", vanish_names, s->drops, VANISHES);
	printf("               connects %" PRIu64 ", of these over a living self %" PRIu64
	       "; processes born %" PRIu64 "\n",
	       s->connects, s->alive_answers, s->respawns);
	printf("workers        killed by us %" PRIu64 " (%" PRIu64
	       " were gone first), by the node %" PRIu64 ", started %" PRIu64
	       ", lost leases %" PRIu64 "\n",
	       s->workers_killed, s->kills_missed, s->after.kills - s->before.kills, f->replaced,
	       s->surprises);
	printf("latency us     total p50 %" PRIu64 " p95 %" PRIu64 " p99 %" PRIu64 " max %" PRIu64
	       "\n",
	       f->p50, f->p95, f->p99, f->max);
	printf("               queue p50 %" PRIu64 " p95 %" PRIu64 " p99 %" PRIu64 " max %" PRIu64
	       ", call p50 %" PRIu64 " p99 %" PRIu64 " (the node's)\n",
	       w[0], w[1], w[2], w[3], c[0], c[2]);
	printf("memory         rss %" PRIu64 " -> %" PRIu64 " KiB, most %" PRIu64
	       "; slope %+.0f +- %.0f KiB/min over %zu samples\n",
	       s->rss_first, s->rss_last, s->rss_max, f->slope.kib_per_min, f->slope.error,
	       f->slope.n);
	printf("wire           %.1f MB to the node, %.1f MB from it, its monitors on us %" PRIu64
	       ", its probes %" PRIu64 "\n",
	       (double)s->bytes_out / 1e6, (double)s->bytes_in / 1e6, s->watches, s->probes);
	if (s->lags > 0)
		printf("beware         this program did not get to run for over a second, %" PRIu64
		       " times\n",
		       s->lags);
	for (unsigned i = 0; i < s->verdict_count; i++)
		printf("%s %-22s %s\n", s->verdicts[i].ok ? "  ok  " : "FAILED",
		       s->verdicts[i].name, s->verdicts[i].text);
	if (s->fatal != NULL)
		printf("FAILED the run was not completed: %s\n", s->fatal);
	printf("verdict: %s\n", f->clean ? "clean" : "NOT CLEAN");
}

static void put_json_text(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
			putchar('?');
		else
			putchar(*text);
	}
	putchar('"');
}

static void put_json_numbers(const char *key, const char *const *names, const uint64_t *values,
			     unsigned n)
{
	printf("\"%s\":{", key);
	for (unsigned i = 0; i < n; i++)
		printf("%s\"%s\":%" PRIu64, i > 0 ? "," : "", names[i], values[i]);
	printf("},");
}

static void put_json_quantiles(const char *key, uint64_t p50, uint64_t p95, uint64_t p99,
			       uint64_t max)
{
	printf("\"%s\":{\"p50\":%" PRIu64 ",\"p95\":%" PRIu64 ",\"p99\":%" PRIu64
	       ",\"max\":%" PRIu64 "}",
	       key, p50, p95, p99, max);
}

static void put_json(const struct stress *s, const struct figures *f)
{
	const uint64_t *w = s->after.wait_us, *c = s->after.call_us;

	printf("{\"verdict\":\"%s\",\"node\":", f->clean ? "clean" : "not clean");
	put_json_text(s->node_name);
	printf(",\"seed\":%" PRIu64 ",\"fatal\":", s->options.seed);
	put_json_text(s->fatal != NULL ? s->fatal : "");
	printf(",\"seconds\":%.3f,\"peers\":%u,\"callers\":%u,", f->seconds, s->options.peers,
	       s->options.callers);
	printf("\"requests_total\":%" PRIu64 ",\"requests_per_second\":%.1f,\"checks\":%" PRIu64
	       ",",
	       requests(s), f->per_second, s->checks);
	put_json_numbers("requests", ask_names, s->sent, ASK_KINDS);
	printf("\"casts\":%" PRIu64 ",\"junk\":%" PRIu64 ",", s->casts, s->junk);
	put_json_numbers("outcomes", outcome_names, s->outcomes, OUTCOMES_HEARD);
	printf("\"streams\":{\"opened\":%" PRIu64 ",\"items\":%" PRIu64 ",\"asks\":%" PRIu64
	       ",\"talks\":%" PRIu64 ",",
	       s->streams, s->items, s->asks, s->talks);
	put_json_numbers("ends", stream_end_names, s->stream_ends, STREAM_ENDS);
	printf("\"generators\":{\"opened\":%" PRIu64 ",\"closed\":%" PRIu64 "}},", s->settle.opened,
	       s->settle.closed);
	printf("\"sessions\":{\"names\":%" PRIu64 ",\"lives\":%" PRIu64 ",\"losses\":%" PRIu64
	       ",\"left\":%u,\"begun\":%" PRIu64 ",\"ended\":%" PRIu64 "},\"batched\":%" PRIu64 ",",
	       s->sessions_begun, s->epochs, s->losses, s->settle.listed, s->settle.begun,
	       s->settle.ended, s->batched);
	printf("\"late\":%" PRIu64 ",\"late_leases\":%" PRIu64 ",\"crossed\":%" PRIu64 ",", s->late,
	       s->late_leases, s->crossed);
	put_json_numbers("vanished", vanish_names, s->drops, VANISHES);
	printf("\"lags\":%" PRIu64 ",\"connects\":%" PRIu64 ",\"born\":%" PRIu64
	       ",\"workers\":{\"killed\":%" PRIu64 ",\"killed_by_node\":%" PRIu64
	       ",\"started\":%" PRIu64 ",\"leases_lost\":%" PRIu64 "},",
	       s->lags, s->connects, s->respawns, s->workers_killed,
	       s->after.kills - s->before.kills, f->replaced, s->surprises);
	printf("\"latency_us\":{");
	put_json_quantiles("total", f->p50, f->p95, f->p99, f->max);
	putchar(',');
	put_json_quantiles("queue", w[0], w[1], w[2], w[3]);
	putchar(',');
	put_json_quantiles("call", c[0], c[1], c[2], c[3]);
	printf("},\"memory\":{\"first_kib\":%" PRIu64 ",\"last_kib\":%" PRIu64
	       ",\"most_kib\":%" PRIu64
	       ",\"slope_kib_per_min\":%.1f,\"slope_error\":%.1f,\"samples\":%zu},",
	       s->rss_first, s->rss_last, s->rss_max, f->slope.kib_per_min, f->slope.error,
	       f->slope.n);
	printf("\"descriptors\":{\"before\":%u,\"most\":%u,\"after\":%u},\"checked\":[",
	       s->fds_before, s->fds_max, s->fds_after);
	for (unsigned i = 0; i < s->verdict_count; i++) {
		printf("%s{\"name\":\"%s\",\"ok\":%s,\"text\":", i > 0 ? "," : "",
		       s->verdicts[i].name, s->verdicts[i].ok ? "true" : "false");
		put_json_text(s->verdicts[i].text);
		putchar('}');
	}
	printf("],\"violations\":%" PRIu64 ",\"violation\":[", s->failures);
	for (unsigned i = 0; i < s->failures_kept; i++) {
		if (i > 0)
			putchar(',');
		put_json_text(s->failure[i].text);
	}
	printf("]}\n");
}

int report(struct stress *s)
{
	struct figures f = { .clean = s->failures == 0 && s->fatal == NULL };

	f.seconds = s->run_us == 0
			    ? 0
			    : seconds_since(s->run_us, s->calm_us != 0 ? s->calm_us : now_us());
	f.per_second = f.seconds > 0 ? (double)requests(s) / f.seconds : 0;
	f.slope = proc_slope(s->sample_min, s->sample_kib, s->samples);
	f.p50 = histogram_quantile(&s->latency, 500);
	f.p95 = histogram_quantile(&s->latency, 950);
	f.p99 = histogram_quantile(&s->latency, 990);
	f.max = s->latency.max;
	f.replaced = s->after.starts - s->before.starts;
	for (unsigned i = 0; i < s->verdict_count; i++)
		f.clean = f.clean && s->verdicts[i].ok;
	if (!s->options.quiet && isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	if (s->options.json)
		put_json(s, &f);
	else
		put_text(s, &f);
	fflush(stdout);
	if (!f.clean)
		print_failures(s);
	else if (s->options.spawn && s->options.log == NULL)
		unlink(s->log_path);
	return f.clean ? 0 : s->run_us == 0 ? 3 : 1;
}
