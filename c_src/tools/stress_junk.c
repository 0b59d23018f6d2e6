/* stress_junk.c - what no client should send, but some will.
 *
 * Everything here but junk_hostile() is legal distribution: well-formed signals and terms that mean
 * nothing to the node, or requests that it must refuse. What is asked is answered exactly once, like
 * any request; the rest is followed by silence. Never `stop`: it would be obeyed. */
#include "stress.h"

#include <string.h>

static const char *const words[] = { "ok",      "nil",     "true",       "call",
				     "checkin", "status_", "error",      "$gen_cal",
				     "",        "ping_",   "sessio",     "DOWN",
				     "EXIT",    "timeout", "$ancestors", "krait_stress" };

static void put_random(struct stress *s, struct buf *b, unsigned depth);

static void put_many(struct stress *s, struct buf *b, unsigned depth, uint64_t n)
{
	while (n-- > 0)
		put_random(s, b, depth + 1);
}

/* A term of any shape, a few levels deep. */
static void put_random(struct stress *s, struct buf *b, unsigned depth)
{
	uint64_t n = rnd_to(s, depth > 3 ? 1 : 5);
	struct sim *sim = &s->sims[rnd_to(s, s->options.peers)];
	struct wire_ref ref = { sim->name, sim->creation, 3, rnd(s) };
	struct term_pid pid = { sim->name, (uint16_t)strlen(sim->name),
				(uint32_t)rnd_to(s, 1 << 20), 0, sim->creation };

	switch (rnd_to(s, depth > 3 ? 7 : 13)) {
	case 0:
		term_put_int(b, (int64_t)rnd(s) >> rnd_to(s, 64));
		break;
	case 1:
		term_put_atom(b, words[rnd_to(s, sizeof words / sizeof *words)]);
		break;
	case 2:
		term_put_float(b, (double)rnd_to(s, 1000000) / 7);
		break;
	case 3: /* bytes that may be a term, cut somewhere */
		term_put_binary(b, s->noise, (size_t)rnd_to(s, 64));
		break;
	case 4:
		term_put_pid(b, &pid);
		break;
	case 5:
		wire_put_ref(b, &ref);
		break;
	case 6: /* BIT_BINARY_EXT: 5 bits */
		buf_put(b, "\x4d\0\0\0\1\5\xa8", 7);
		break;
	case 7:
		term_put_tuple(b, (uint32_t)n);
		put_many(s, b, depth, n);
		break;
	case 8:
		term_put_list(b, (uint32_t)n);
		put_many(s, b, depth, n);
		if (n > 0)
			term_put_nil(b);
		break;
	case 9: /* improper */
		term_put_list(b, (uint32_t)n + 1);
		put_many(s, b, depth, n + 1);
		term_put_int(b, 1);
		break;
	case 10:
		term_put_map(b, (uint32_t)n);
		for (uint64_t i = 0; i < n; i++) {
			term_put_uint(b, i);
			put_random(s, b, depth + 1);
		}
		break;
	case 11: /* EXPORT_EXT */
		buf_put_u8(b, 113);
		term_put_atom(b, "lists");
		term_put_atom(b, "map");
		term_put_int(b, 2);
		break;
	default: /* STRING_EXT; SMALL_BIG_EXT of 12 bytes */
		if (n % 2 == 0)
			buf_put(b, "\x6b\0\3abc", 6);
		else
			buf_put(b, "\x6e\x0c\1abcdefghijkl", 15);
	}
}

/* ---- requests that must be refused ---- */

static void put_deep(struct buf *b, unsigned levels)
{
	for (unsigned i = 0; i < levels; i++)
		term_put_list(b, 1);
	term_put_nil(b);
	for (unsigned i = 0; i < levels; i++)
		term_put_nil(b);
}

static void put_call(struct buf *b, uint32_t arity, const char *module, const char *function)
{
	term_put_tuple(b, arity);
	term_put_atom(b, "call");
	term_put_atom(b, module);
	term_put_atom(b, function);
}

static void put_bad(struct stress *s, struct buf *b)
{
	switch (rnd_to(s, 12)) {
	case 0:
		term_put_atom(b, "frobnicate");
		break;
	case 1:
		term_put_tuple(b, 2);
		term_put_atom(b, "checkout");
		put_random(s, b, 0);
		break;
	case 2:
		term_put_tuple(b, 2);
		term_put_atom(b, "call");
		put_random(s, b, 0);
		break;
	case 3:
		put_call(b, 5, "krait", "identity");
		term_put_nil(b);
		term_put_map(b, 1);
		term_put_atom(b, "bogus");
		put_random(s, b, 0);
		break;
	case 4:
		put_call(b, 4, "krait_no_such_module", "f");
		term_put_nil(b);
		break;
	case 5:
		put_call(b, 4, "krait", "_hidden");
		term_put_nil(b);
		break;
	case 6: /* an improper list as an argument */
		put_call(b, 4, "krait", "identity");
		term_put_list(b, 1);
		term_put_list(b, 1);
		term_put_int(b, 1);
		term_put_int(b, 2);
		term_put_nil(b);
		break;
	case 7:
		put_call(b, 4, "krait", "identity");
		term_put_list(b, 1);
		put_deep(b, 1000);
		term_put_nil(b);
		break;
	case 8: /* to the pool, what is for a lease */
		term_put_atom(b, "checkin");
		break;
	case 9:
		put_call(b, 5, "krait", "identity");
		term_put_nil(b);
		term_put_list(b, 1);
		term_put_tuple(b, 2);
		term_put_atom(b, "timeout");
		term_put_int(b, -1);
		term_put_nil(b);
		break;
	case 10:
		term_put_int(b, 42);
		break;
	default:
		term_put_tuple(b, 0);
	}
}

static void ask_bad(struct caller *c)
{
	uint64_t timeout_ms = 60000; /* no_function runs: the pool's own time-out */
	size_t start;
	struct ask *a = request_begin(c, ASK_BAD, c->s->options.pool, NULL, &start);

	put_bad(c->s, caller_out(c));
	request_send(a, start, timeout_ms * 1000);
}

static void ask_simple(struct caller *c, bool auth)
{
	size_t start;
	struct buf *out = caller_out(c);
	struct ask *a = request_begin(c, auth ? ASK_AUTH : ASK_PING,
				      auth                   ? "net_kernel"
				      : rnd_to(c->s, 2) == 0 ? "krait"
							     : c->s->options.pool,
				      NULL, &start);

	if (auth) {
		term_put_tuple(out, 2);
		term_put_atom(out, "is_auth");
		term_put_atom(out, c->sim->name);
	} else {
		term_put_atom(out, "ping");
	}
	request_send(a, start, 0);
}

static void ask_spawn(struct caller *c)
{
	struct ask *a = ask_new(c, ASK_SPAWN);
	struct term_pid self = caller_pid(c);
	struct wire_ref ref = ask_ref(a);

	a->name = "spawn";
	wire_spawn(caller_out(c), &self, &ref);
	a->due_us = a->sent_us + c->s->options.slack_ms * 1000;
	c->s->sent[ASK_SPAWN]++;
	c->waiting = a;
	c->fate = FATE_NONE;
}

/* ---- what is not answered ---- */

static void send_random(struct caller *c)
{
	static const char *const names[] = { "krait", "net_kernel", "rex", "erlang",
					     "global_name_server" };
	struct stress *s = c->s;
	struct buf *out = caller_out(c);
	struct term_pid self = caller_pid(c),
			dead = sim_node_pid(c->sim, (uint32_t)rnd_to(s, 100000));
	struct wire_to to = { .name = s->options.pool };
	size_t start;

	if (rnd_to(s, 4) == 0)
		to.name = names[rnd_to(s, sizeof names / sizeof *names)];
	else if (rnd_to(s, 4) == 0)
		to = (struct wire_to){ .pid = &dead };
	start = wire_begin(out, &self, to);
	if (rnd_to(s, 5) == 0) { /* it looks like one of gen_server's */
		term_put_tuple(out, 3);
		term_put_atom(out, "$gen_call");
		term_put_atom(out, "nobody");
	} else if (rnd_to(s, 5) == 0) {
		s->ambiguous++;
		term_put_tuple(out, 2);
		term_put_atom(out, "$gen_cast");
	}
	put_random(s, out, 0);
	wire_end(out, start);
}

/* Signals to what is not there: links, exits, demonitors, group leaders. The answer to a LINK is EXIT. */
static void send_stray(struct caller *c)
{
	struct stress *s = c->s;
	struct buf *out = caller_out(c);
	struct term_pid self = caller_pid(c),
			dead = sim_node_pid(c->sim, 50 + (uint32_t)rnd_to(s, 900));
	struct wire_ref ref = { c->sim->name, c->sim->creation, 3, rnd(s) };

	switch (rnd_to(s, 5)) {
	case 0:
		if (c->link.state != LINK_NONE)
			break;
		c->link.state = LINK_LINKED;
		c->link.pid = dead;
		c->link.due_us = now_us() + s->options.slack_ms * 1000;
		wire_pair(out, OP_LINK, &self, &dead);
		break;
	case 1:
		wire_exit(out, rnd_to(s, 2) == 0 ? OP_EXIT : OP_EXIT2, &self, &dead, "killed");
		break;
	case 2:
		wire_monitor(out, OP_DEMONITOR, &self, (struct wire_to){ .name = s->options.pool },
			     &ref);
		break;
	case 3:
		wire_pair(out, OP_GROUP_LEADER, &self, &dead);
		break;
	default:
		wire_unlink(out, OP_UNLINK_ACK, 1 + rnd_to(s, 1000), &self, &dead);
	}
}

/* A monitor on a name or a process that is not there: DOWN with noproc, at once. */
static void watch_nobody(struct caller *c)
{
	struct term_pid dead = sim_node_pid(c->sim, 50 + (uint32_t)rnd_to(c->s, 900));
	struct ask *a = ask_new(c, ASK_MONITOR);

	a->due_us = a->sent_us + c->s->options.slack_ms * 1000;
	if (rnd_to(c->s, 2) == 0)
		ask_watch(a, UNKNOWN_NAME, NULL);
	else
		ask_watch(a, NULL, &dead);
}

void junk_send(struct caller *c)
{
	struct stress *s = c->s;
	uint64_t r = rnd_to(s, 100);

	s->junk++;
	if (r < 40) {
		ask_bad(c);
		return;
	}
	if (r < 50) {
		ask_simple(c, r < 45);
		return;
	}
	if (r < 55) {
		ask_spawn(c);
		return;
	}
	if (r < 65 && lease_steal(c))
		return;
	if (r < 80)
		send_random(c);
	else if (r < 90)
		send_stray(c);
	else
		watch_nobody(c);
	caller_next_soon(c, false);
}

/* One frame that no BEAM sends; the node must close the connection for it. */
void junk_hostile(struct caller *c, struct buf *out)
{
	struct stress *s = c->s;
	struct term_pid self = caller_pid(c);
	size_t start;

	switch (rnd_to(s, 5)) {
	case 0: /* a message that is cut, in a frame that is not */
		start = wire_begin(out, &self, (struct wire_to){ .name = s->options.pool });
		term_put_tuple(out, 3);
		put_random(s, out, 0);
		wire_end(out, start);
		break;
	case 1: /* a length that nobody will send */
		buf_put_u32(out, 0xfffffff0u);
		break;
	case 2:
		buf_put_u32(out, 64);
		buf_put(out, s->noise, 64);
		break;
	case 3: /* a control message of the wrong kinds */
		start = out->len;
		buf_put_u32(out, 0);
		buf_put_u8(out, 112);
		term_put_version(out);
		term_put_tuple(out, 4);
		term_put_int(out, OP_MONITOR);
		term_put_pid(out, &self);
		term_put_int(out, 7);
		term_put_atom(out, "ref");
		wire_end(out, start);
		break;
	default: /* bytes behind the message */
		start = wire_begin(out, &self, (struct wire_to){ .name = s->options.pool });
		term_put_nil(out);
		term_put_nil(out);
		wire_end(out, start);
	}
}
