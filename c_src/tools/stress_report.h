/* stress_report.h - violations and verdicts, and the telling of them. */
#ifndef KRAIT_STRESS_REPORT_H
#define KRAIT_STRESS_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct stress;
struct caller;

#define RING          24  /* events kept per process */
#define FAILURES_KEPT 20  /* violations that are kept in words; all are counted */
#define FAILURES_MAX  200 /* violations that end the run early */
#define VERDICTS_MAX  24

/* Something that a process did or heard; `what` is a constant text. */
struct event {
	uint64_t at_us, nonce, more;
	const char *what;
};

/* A violation, with what its process had done before. */
struct failure {
	char text[400];
	uint64_t at_us;
	int slot;
	unsigned events;
	struct event ring[RING];
};

/* One of the checks at the end. */
struct verdict {
	const char *name;
	bool ok;
	char text[160];
};

/* Tells a violation of the contract; `c` is the process that it happened to, or NULL. */
void fail(struct stress *s, struct caller *c, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The run cannot go on. `why` is kept. */
void fatal(struct stress *s, const char *why);

/* One of the checks at the end, for the report. */
bool verdict(struct stress *s, bool ok, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void verdict_rest(struct stress *s); /* all callers are dead, and the status is fresh */
void verdict_memory(struct stress *s);
void progress(struct stress *s);
int report(struct stress *s); /* the exit status */

#endif
