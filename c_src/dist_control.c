/* dist_control.c - one frame to one event.
 *
 * Specification: "Protocol between Connected Nodes" of the ERTS documentation. A frame is
 *     112, 131, control [, 131, message]       by peers without fragments, such as those made with ei
 *     131, 68, 0, control [, message]          by those with: a distribution header that has no atom
 *                                              cache references, since nobody announced a cache
 * where control is a tuple whose first element is the operation. The table below is the whole
 * knowledge of operations: what kind each element must be, and what follows the control message.
 *
 * Nothing is believed: the control message and the message are checked with term_check() before a
 * byte of them is read, every element must be of its kind, and nothing may stand behind them.
 * An operation that the table does not know is told and ignored (OTP 29 has new ones for those who
 * announce them); one that is malformed closes the connection, as the BEAM does with ours. */
#include "dist_private.h"

#define PASS_THROUGH 112

/* Kinds of elements, by letter:
 *   f t   pid, to `from`, to `to_pid`        g   pid, not kept (a group leader)
 *   T     pid or name, to `to_pid`/`name`    F   pid or name that `from` or `name` gets
 *   n     name (an atom)                     r   reference
 *   a     reference: an alias                u   unlink id, 1 .. 2^64-1
 *   R     any term, to `reason`              m   {Module, Function, Arity}, to `mfa`
 *   o     proper list, to `spawn_opts`       i   integer, not kept (flags)
 *   x     any term, not kept (trace token, unused) */
enum tail { TAIL_NONE, TAIL_MESSAGE, TAIL_REASON, TAIL_ARGS };

static const struct rule {
	const char *name, *kinds;
	enum dist_event_type type;
	enum tail tail;
} rules[] = {
	[1] = { "LINK", "ft", DIST_EV_LINK, TAIL_NONE },
	[2] = { "SEND", "xt", DIST_EV_SEND, TAIL_MESSAGE },
	[3] = { "EXIT", "ftR", DIST_EV_EXIT, TAIL_NONE },
	[4] = { "UNLINK", "ft", DIST_EV_UNLINK, TAIL_NONE },
	[5] = { "NODE_LINK", "", DIST_EV_UNKNOWN, TAIL_NONE },
	[6] = { "REG_SEND", "fxn", DIST_EV_SEND, TAIL_MESSAGE },
	[7] = { "GROUP_LEADER", "ft", DIST_EV_GROUP_LEADER, TAIL_NONE },
	[8] = { "EXIT2", "ftR", DIST_EV_EXIT2, TAIL_NONE },
	[12] = { "SEND_TT", "xtx", DIST_EV_SEND, TAIL_MESSAGE },
	[13] = { "EXIT_TT", "ftxR", DIST_EV_EXIT, TAIL_NONE },
	[16] = { "REG_SEND_TT", "fxnx", DIST_EV_SEND, TAIL_MESSAGE },
	[18] = { "EXIT2_TT", "ftxR", DIST_EV_EXIT2, TAIL_NONE },
	[19] = { "MONITOR_P", "fTr", DIST_EV_MONITOR, TAIL_NONE },
	[20] = { "DEMONITOR_P", "fTr", DIST_EV_DEMONITOR, TAIL_NONE },
	[21] = { "MONITOR_P_EXIT", "FtrR", DIST_EV_DOWN, TAIL_NONE },
	[22] = { "SEND_SENDER", "ft", DIST_EV_SEND, TAIL_MESSAGE },
	[23] = { "SEND_SENDER_TT", "ftx", DIST_EV_SEND, TAIL_MESSAGE },
	[24] = { "PAYLOAD_EXIT", "ft", DIST_EV_EXIT, TAIL_REASON },
	[25] = { "PAYLOAD_EXIT_TT", "ftx", DIST_EV_EXIT, TAIL_REASON },
	[26] = { "PAYLOAD_EXIT2", "ft", DIST_EV_EXIT2, TAIL_REASON },
	[27] = { "PAYLOAD_EXIT2_TT", "ftx", DIST_EV_EXIT2, TAIL_REASON },
	[28] = { "PAYLOAD_MONITOR_P_EXIT", "Ftr", DIST_EV_DOWN, TAIL_REASON },
	[29] = { "SPAWN_REQUEST", "rfgmo", DIST_EV_SPAWN, TAIL_ARGS },
	[30] = { "SPAWN_REQUEST_TT", "rfgmox", DIST_EV_SPAWN, TAIL_ARGS },
	[31] = { "SPAWN_REPLY", "rtiR", DIST_EV_SPAWN_REPLY, TAIL_NONE },
	[32] = { "SPAWN_REPLY_TT", "rtiRx", DIST_EV_SPAWN_REPLY, TAIL_NONE },
	[33] = { "ALIAS_SEND", "fa", DIST_EV_SEND, TAIL_MESSAGE },
	[34] = { "ALIAS_SEND_TT", "fax", DIST_EV_SEND, TAIL_MESSAGE },
	[35] = { "UNLINK_ID", "uft", DIST_EV_UNLINK, TAIL_NONE },
	[36] = { "UNLINK_ID_ACK", "uft", DIST_EV_UNLINK_ACK, TAIL_NONE },
};

#define OPS (sizeof rules / sizeof *rules)

/* A name's text. BEAMs write UTF-8; an old Latin-1 atom is converted, so that what we answer with
 * it is well-formed (one bad atom from us would cost the peer's connection). */
static bool read_name(struct dist *d, const uint8_t *t, struct span *name)
{
	uint8_t *to = d->latin1;
	bool latin1 = false;

	if (!term_atom(t, name, &latin1))
		return false;
	if (!latin1)
		return true;
	if (name->len > TERM_ATOM_MAX)
		return false;
	for (size_t i = 0; i < name->len; i++) {
		if (name->at[i] < 0x80) {
			*to++ = name->at[i];
		} else {
			*to++ = (uint8_t)(0xc0 | name->at[i] >> 6);
			*to++ = (uint8_t)(0x80 | (name->at[i] & 0x3f));
		}
	}
	*name = (struct span){ d->latin1, (size_t)(to - d->latin1) };
	return true;
}

/* 1 .. 2^64-1, of which the upper half comes as SMALL_BIG_EXT: 110, bytes, sign, magnitude. */
static bool read_unlink_id(const uint8_t *t, uint64_t *id)
{
	int64_t small;

	if (term_int(t, &small)) {
		*id = (uint64_t)small;
		return small > 0;
	}
	*id = 0;
	if (t[0] != 110 || t[1] > 8 || t[2] != 0)
		return false;
	for (unsigned i = t[1]; i > 0; i--)
		*id = *id << 8 | t[2 + i];
	return *id != 0;
}

static bool is_mfa(const uint8_t *t)
{
	const uint8_t *e;
	uint32_t arity;
	int64_t a;

	return term_tuple(t, &arity, &e) && arity == 3 && term_kind(e) == TERM_ATOM &&
	       term_kind(e = term_skip(e)) == TERM_ATOM && term_int(term_skip(e), &a) && a >= 0 &&
	       a <= 255;
}

static bool is_proper_list(const uint8_t *t)
{
	const uint8_t *e;
	uint32_t count;

	if (term_kind(t) == TERM_STRING)
		return true;
	if (term_kind(t) == TERM_NIL)
		return true;
	if (!term_list(t, &count, &e))
		return false;
	while (count-- > 0)
		e = term_skip(e);
	return term_kind(e) == TERM_NIL;
}

/* Takes one element of the control message; false: it is not of the kind. */
static bool element(struct dist *d, char kind, const uint8_t *t, struct dist_event *ev)
{
	int64_t ignored;

	switch (kind) {
	case 'f':
		return ev->has_from = term_pid(t, &ev->from);
	case 't':
		return ev->to_is_pid = term_pid(t, &ev->to_pid);
	case 'T':
		return (ev->to_is_pid = term_pid(t, &ev->to_pid)) || read_name(d, t, &ev->name);
	case 'F':
		return (ev->has_from = term_pid(t, &ev->from)) ||
		       (ev->from_is_name = read_name(d, t, &ev->name));
	case 'g':
		return term_kind(t) == TERM_PID;
	case 'n':
		return read_name(d, t, &ev->name);
	case 'a':
		ev->to_is_alias = true;
		/* fallthrough */
	case 'r':
		ev->ref = term_span(t);
		return term_kind(t) == TERM_REF;
	case 'u':
		return read_unlink_id(t, &ev->unlink_id);
	case 'm':
		ev->mfa = t;
		return is_mfa(t);
	case 'o':
		ev->spawn_opts = t;
		return is_proper_list(t);
	case 'i':
		return term_int(t, &ignored);
	case 'R':
		ev->reason = t;
		return true;
	default:
		return true;
	}
}

static const char *kind_text(char kind)
{
	switch (kind) {
	case 'f':
	case 't':
	case 'g':
		return "a pid";
	case 'T':
	case 'F':
		return "a pid or an atom";
	case 'n':
		return "an atom";
	case 'u':
		return "an unlink id";
	case 'm':
		return "{Module, Function, Arity}";
	case 'o':
		return "a list";
	case 'i':
		return "an integer";
	default:
		return "a reference";
	}
}

/* Past the version byte, where there is one; false: no term can follow. */
static bool take_version(bool versioned, const uint8_t **p, size_t *len)
{
	if (versioned && (*len < 1 || **p != TERM_VERSION))
		return false;
	*p += versioned;
	*len -= versioned;
	return *len > 0;
}

/* What stands behind the control message: nothing, or exactly one term. */
static enum dist_step take_tail(struct dist *d, const struct rule *rule, const uint8_t *p,
				size_t len, bool versioned, struct dist_event *ev)
{
	enum tail tail = rule != NULL ? rule->tail : len > 0 ? TAIL_MESSAGE : TAIL_NONE;
	const char *name = rule != NULL ? rule->name : "unknown";
	size_t used, all = len;

	if (tail == TAIL_NONE) {
		if (len > 0)
			return dist_refuse(
				d, "%zu bytes behind control message %d (%s), expected none", len,
				ev->op, name);
		return STEP_EVENT;
	}
	if (!take_version(versioned, &p, &len) || term_check(p, len, &used) != 0)
		return dist_refuse(
			d,
			"the message of control message %d (%s) is not a well-formed term "
			"(%zu bytes)",
			ev->op, name, all);
	if (used != len)
		return dist_refuse(d, "%zu bytes behind the message of control message %d (%s)",
				   len - used, ev->op, name);
	if (tail == TAIL_ARGS && !is_proper_list(p))
		return dist_refuse(d, "the arguments of control message %d (%s) are not a list",
				   ev->op, name);
	if (tail == TAIL_REASON)
		ev->reason = p;
	else
		ev->payload = (struct span){ p, len };
	return STEP_EVENT;
}

static enum dist_step take_oversize_tail(struct dist *d, const struct rule *rule, const uint8_t *p,
					 size_t len, bool versioned, struct dist_event *ev)
{
	if (rule == NULL || (rule->type != DIST_EV_SEND && rule->type != DIST_EV_SPAWN))
		return dist_refuse(d,
				   "control message %d (%s) of %llu bytes, over the limit of %zu",
				   ev->op, rule != NULL ? rule->name : "unknown",
				   (unsigned long long)ev->total_len, (size_t)ev->limit);
	if (!take_version(versioned, &p, &len))
		return dist_refuse(d, "the message of control message %d (%s) is not a term",
				   ev->op, rule->name);
	ev->type = DIST_EV_OVERSIZE;
	ev->payload = (struct span){ p, len < DIST_HEAD_BYTES ? len : DIST_HEAD_BYTES };
	return STEP_EVENT;
}

enum dist_step dist_signal(struct dist *d, const struct dist_signal *s, struct dist_event *ev)
{
	const uint8_t *p = s->at, *end = p + s->len, *t;
	const struct rule *rule = NULL;
	uint32_t arity;
	size_t used;
	int64_t op;

	if (term_check(p, s->len, &used) != 0 || !term_tuple(p, &arity, &t) || arity == 0 ||
	    !term_int(t, &op) || op < 0 || op > INT32_MAX)
		return dist_refuse(
			d, "a control message that is not {Operation, ...} (frame of %llu bytes)",
			(unsigned long long)s->total_len);
	p += used;
	ev->op = (int)op;
	ev->total_len = s->total_len;
	ev->limit = s->limit;
	ev->type = DIST_EV_UNKNOWN;
	if ((uint64_t)op < OPS && rules[op].kinds != NULL) {
		rule = &rules[op];
		ev->type = rule->type;
		if (arity != strlen(rule->kinds) + 1)
			return dist_refuse(
				d, "control message %d (%s) has %lu elements, expected %zu", ev->op,
				rule->name, (unsigned long)arity, strlen(rule->kinds) + 1);
		for (const char *kind = rule->kinds; *kind != '\0'; kind++) {
			t = term_skip(t);
			if (!element(d, *kind, t, ev))
				return dist_refuse(
					d, "element %d of control message %d (%s) is not %s",
					(int)(kind - rule->kinds) + 2, ev->op, rule->name,
					kind_text(*kind));
		}
	}
	if (s->limit != 0)
		return take_oversize_tail(d, rule, p, (size_t)(end - p), s->versioned, ev);
	return take_tail(d, rule, p, (size_t)(end - p), s->versioned, ev);
}

enum dist_step dist_frame(struct dist *d, const uint8_t *p, size_t len, uint32_t frame_len,
			  uint64_t limit, struct dist_event *ev)
{
	struct dist_signal s = { .total_len = frame_len, .limit = limit, .versioned = true };
	size_t head = 2;

	/* a peer with fragments may have written the other form before it knew that we have them too */
	if (dist_fragments(d) && len >= 3 && p[0] == TERM_VERSION && p[1] == DIST_HEADER) {
		if (p[2] != 0)
			return dist_refuse(
				d, "a frame with %u atom cache references, not negotiated", p[2]);
		s.versioned = false;
		head = 3;
	} else if (len < 2 || p[0] != PASS_THROUGH || p[1] != TERM_VERSION) {
		return dist_refuse(d, "a frame that begins with %u, %u%s, expected %s", p[0],
				   len > 1 ? p[1] : 0,
				   p[0] == TERM_VERSION && !dist_fragments(d)
					   ? " (atom cache or fragments, not negotiated)"
					   : "",
				   dist_fragments(d) ? "131, 68, 0" : "112, 131");
	}
	s.at = p + head;
	s.len = len - head;
	return dist_signal(d, &s, ev);
}
