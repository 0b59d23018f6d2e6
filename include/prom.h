/* prom.h - metrics as Prometheus reads them: its text format, version 0.0.4, written into a buffer. Pure.
 *
 *     prom_family(out, "krait_leases", "gauge", "Leases that are held.");
 *     prom_uint(out, "krait_leases", 3, "pool", "default", PROM_END);
 *
 * Labels are pairs of a name and a value, PROM_END after the last; values may be any text. Failure is sticky in
 * `out->err`. */
#ifndef KRAIT_PROM_H
#define KRAIT_PROM_H

#include "buf.h"
#include "histogram.h"

#include <stdint.h>

#define PROM_END ((const char *)0)

/* What is to be said of all samples of that name, before the first of them. */
void prom_family(struct buf *out, const char *name, const char *type, const char *help);

void prom_uint(struct buf *out, const char *name, uint64_t value, ...) __attribute__((sentinel));
/* Millionths: of seconds, as a rule. */
void prom_micro(struct buf *out, const char *name, uint64_t micro, ...) __attribute__((sentinel));

/* A histogram of microseconds, told in seconds, or of bytes. Its bounds are powers of two, which are bounds of
 * the histogram's own buckets too: the counts are exact. */
enum prom_unit {
	PROM_SECONDS, /* from 64 microseconds to 134 seconds, doubling */
	PROM_BYTES,   /* from 64 bytes to 1 GiB, fourfold */
};
void prom_histogram(struct buf *out, const char *name, const struct histogram *h,
		    enum prom_unit unit, ...) __attribute__((sentinel));

#endif
