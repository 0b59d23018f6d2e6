/* check_dist.h - what the check_dist suites share: feeding a connection, and its events as lines of text.
 *
 * A line is as test/data/dist/capture.py writes it: the type, then what is set, in a fixed order. Terms
 * are shown as length:hash (FNV-1a), or, when `pretty` is set, as ei prints them. */
#ifndef KRAIT_CHECK_DIST_H
#define KRAIT_CHECK_DIST_H

#include "dist_private.h"
#include "mem.h"
#include "suite.h"

#include <check.h>
#include <ei.h>
#include <stdio.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#define OUR_NAME      "krait@127.0.0.1"
#define PEER_NAME     "beam@127.0.0.1"
#define OUR_CREATION  0x1234abcd
#define OUR_CHALLENGE 0x6b726169
#define BYTES(bytes)                                        \
	{                                                   \
		(const uint8_t *)(bytes), sizeof(bytes) - 1 \
	} /* as an initializer */
#define SPAN(bytes) ((struct span)BYTES(bytes))

static const struct dist_config test_config = {
	.name = OUR_NAME,
	.cookie = "krait",
	.creation = OUR_CREATION,
	.flags = UINT64_C(0x507074fbc), /* those of the captured streams */
	.max_message = 1 << 20,
	.max_frame = 64 << 20,
};

static bool pretty;

/* A text that grows; the lines of events. */
struct lines {
	struct buf text;
	int closed; /* how often CLOSED was told */
};

static inline void say(struct lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline void say(struct lines *l, const char *fmt, ...)
{
	char text[4096];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	ck_assert_int_lt(n, (int)sizeof text);
	l->text.limit = 0;
	buf_put(&l->text, text, (size_t)n + 1);
	l->text.len--; /* keeps the NUL behind the end */
}

static inline const char *text_of(struct lines *l)
{
	return l->text.len > 0 ? (const char *)l->text.data : "";
}

static inline void say_term(struct lines *l, const char *key, const uint8_t *at, size_t len)
{
	uint32_t hash = 0x811c9dc5;
	char *text = NULL;
	int index = 0;

	if (pretty) {
		ck_assert_int_ge(ei_s_print_term(&text, (const char *)at, &index), 0);
		ck_assert_int_eq(index, (int)len);
		say(l, " %s=%s", key, text);
		free(text);
		return;
	}
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ at[i]) * 0x01000193;
	say(l, " %s=%zu:%08lx", key, len, (unsigned long)hash);
}

static inline void say_pid(struct lines *l, const char *key, const struct term_pid *pid)
{
	say(l, " %s=%.*s/%lu.%lu.%lu", key, (int)pid->node_len, pid->node, (unsigned long)pid->id,
	    (unsigned long)pid->serial, (unsigned long)pid->creation);
}

static inline void say_event(struct lines *l, const struct dist *d, const struct dist_event *ev)
{
	static const char *const names[] = {
		"NONE",        "NAME",         "UP",      "TICK",     "SEND",      "LINK", "UNLINK",
		"UNLINK_ACK",  "EXIT",         "EXIT2",   "MONITOR",  "DEMONITOR", "DOWN", "SPAWN",
		"SPAWN_REPLY", "GROUP_LEADER", "UNKNOWN", "OVERSIZE", "CLOSED",
	};

	say(l, "%s", names[ev->type]);
	if (ev->type == DIST_EV_NAME || ev->type == DIST_EV_UP)
		say(l, " %s", dist_peer_name(d));
	if (ev->op >= 0)
		say(l, " op=%d", ev->op);
	if (ev->has_from)
		say_pid(l, "from", &ev->from);
	if (ev->to_is_pid)
		say_pid(l, "to", &ev->to_pid);
	if (ev->name.at != NULL)
		say(l, " name=%.*s", (int)ev->name.len, (const char *)ev->name.at);
	if (ev->ref.at != NULL)
		say_term(l, "ref", ev->ref.at, ev->ref.len);
	if (ev->unlink_id != 0)
		say(l, " unlink=%llu", (unsigned long long)ev->unlink_id);
	if (ev->reason != NULL)
		say_term(l, "reason", ev->reason, term_span(ev->reason).len);
	if (ev->mfa != NULL)
		say_term(l, "mfa", ev->mfa, term_span(ev->mfa).len);
	if (ev->spawn_opts != NULL)
		say_term(l, "opts", ev->spawn_opts, term_span(ev->spawn_opts).len);
	if (ev->type == DIST_EV_OVERSIZE)
		say(l, " payload=%zu bytes of %llu", ev->payload.len,
		    (unsigned long long)ev->total_len);
	else if (ev->payload.at != NULL)
		say_term(l, "payload", ev->payload.at, ev->payload.len);
	if (ev->why != NULL)
		say(l, " %s", ev->why);
	say(l, "\n");
	l->closed += ev->type == DIST_EV_CLOSED;
}

/* Takes all events that there are; a NAME is answered with `status`. */
static inline void pump(struct dist *d, struct lines *l, enum dist_status status)
{
	struct dist_event ev;

	while (dist_next(d, &ev)) {
		say_event(l, d, &ev);
		if (ev.type == DIST_EV_NAME)
			dist_answer_name(d, status);
	}
}

/* Gives the connection `len` bytes, at most `piece` at a time. False: no memory. */
static inline bool feed(struct dist *d, const void *data, size_t len, size_t piece, struct lines *l)
{
	const uint8_t *p = data;
	size_t room, n;
	uint8_t *to;

	while (len > 0) {
		if ((to = dist_room(d, &room)) == NULL)
			return false;
		ck_assert_uint_ge(room, DIST_ROOM_MIN);
		n = len < piece ? len : piece;
		if (n > room)
			n = room;
		memcpy(to, p, n);
		dist_received(d, n);
		pump(d, l, DIST_OK);
		p += n;
		len -= n;
	}
	return true;
}

/* A seed for a random test, printed so that it can be given again as KRAIT_SEED. */
static inline unsigned test_seed(const char *test)
{
	const char *given = getenv("KRAIT_SEED");
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);

	printf("%s: KRAIT_SEED=%u\n", test, seed);
	fflush(stdout);
	return seed;
}

/* The bytes that a peer sends before it is up, when we have accepted it. */
static inline void peer_handshake(struct buf *b)
{
	uint8_t digest[DIST_DIGEST_LEN];

	buf_put_u16(b, 15 + sizeof PEER_NAME - 1);
	buf_put_u8(b, 'N');
	buf_put_u64(b, DIST_FLAGS);
	buf_put_u32(b, 77);
	buf_put_u16(b, sizeof PEER_NAME - 1);
	buf_put(b, PEER_NAME, sizeof PEER_NAME - 1);
	buf_put_u16(b, 21);
	buf_put_u8(b, 'r');
	buf_put_u32(b, 4711);
	ck_assert(dist_digest(test_config.cookie, OUR_CHALLENGE, digest));
	buf_put(b, digest, sizeof digest);
}

/* A connection that is up, its output empty. */
static inline struct dist *connected(const struct dist_config *config)
{
	struct dist *d = dist_accept(config, OUR_CHALLENGE);
	struct lines l = { 0 };
	struct buf b = { 0 };

	ck_assert_ptr_nonnull(d);
	peer_handshake(&b);
	ck_assert(feed(d, b.data, b.len, b.len, &l));
	ck_assert_str_eq(text_of(&l), "NAME " PEER_NAME "\nUP " PEER_NAME "\n");
	ck_assert_int_eq(dist_state(d), DIST_CONNECTED);
	buf_reset(dist_output(d), 0);
	buf_free(&b);
	buf_free(&l.text);
	return d;
}

/* Runs a suite of one case; main() returns it. */
static inline int run_suite(const char *name, void (*add)(TCase *))
{
	Suite *suite = suite_create(name);
	TCase *tests = tcase_create(name);

	add(tests);
	suite_add_tcase(suite, tests);
	return run(suite);
}

#endif
