/* stress_signal.c - what the node says to a peer, sorted and checked.
 *
 * Every signal must be one that the peer's processes have asked for, to the right process, once. Towards
 * the node a peer behaves as a BEAM does: a monitor on a dead process fires at once with noproc, an
 * UNLINK_ID is acknowledged in order whether there was a link or not. */
#include "stress.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>

/* Whose signal it is; NULL: no process of this peer (told). */
static struct caller *addressee(struct sim *sim, const struct term_pid *pid)
{
	struct stress *s = sim->s;
	uint32_t slot = pid->id - PID_BASE;

	if (pid->node_len != strlen(sim->name) ||
	    memcmp(pid->node, sim->name, pid->node_len) != 0 || slot >= s->slots ||
	    s->callers[slot].sim != sim) {
		fail(s, NULL, "%s got a signal for %.*s %u.%u, which is none of its processes",
		     sim->name, pid->node_len, pid->node, pid->id, pid->serial);
		return NULL;
	}
	return &s->callers[slot];
}

static bool is_alive(const struct caller *c, const struct term_pid *pid)
{
	return c->alive && pid->serial == c->serial && pid->creation == c->sim->creation;
}

/* The process that a reference of ours belongs to; NULL: it is none of this peer's life (told). */
static struct caller *owner(struct sim *sim, const uint8_t *ref, const char *what, uint64_t *nonce)
{
	struct stress *s = sim->s;
	struct wire_ref r;
	uint64_t slot;

	if (!wire_get_ref(ref, sim->name, &r)) {
		fail(s, NULL, "%s got %s with a reference that it never made", sim->name, what);
		return NULL;
	}
	slot = r.nonce >> NONCE_SLOT_SHIFT;
	*nonce = r.nonce;
	if (slot >= s->slots || s->callers[slot].sim != sim || r.creation != sim->creation) {
		fail(s, slot < s->slots ? &s->callers[slot] : NULL,
		     "%s got %s, nonce %llx, that belongs to another node or another life of it",
		     sim->name, what, (unsigned long long)r.nonce);
		return NULL;
	}
	s->current = &s->callers[slot];
	return &s->callers[slot];
}

static struct ask *find(struct sim *sim, const uint8_t *ref, const char *what)
{
	uint64_t nonce;
	struct caller *c = owner(sim, ref, what, &nonce);
	struct ask *a = c != NULL ? ask_find(c, nonce) : NULL;

	if (c != NULL && a == NULL)
		fail(sim->s, c, "%s, nonce %llx (sequence %llu of %llu), that nobody waits for: %s",
		     what, (unsigned long long)nonce, (unsigned long long)(nonce & 0xffffffffff),
		     (unsigned long long)c->sequence,
		     (nonce & 0xffffffffff) > c->sequence
			     ? "it was never asked for"
			     : "it comes a second time, or after its end");
	return a;
}

/* ---- answers ---- */

/* The reference in a tag, and the tag's form; NULL: it is no tag of ours. */
static const uint8_t *tag_ref(const uint8_t *tag, enum tag *form)
{
	const uint8_t *e = tag;
	uint32_t n;

	*form = TAG_REF;
	if (term_kind(tag) == TERM_REF)
		return tag;
	if (term_tuple(tag, &n, &e)) {
		*form = TAG_MULTI;
		return n == 2 && term_kind(e) == TERM_REF ? e : NULL;
	}
	*form = TAG_ALIAS;
	if (!term_list(tag, &n, &e) || n != 1)
		return NULL;
	if (term_kind(e) == TERM_LIST) {
		*form = TAG_ALIAS_IN_LIST;
		if (!term_list(e, &n, &e) || n != 1)
			return NULL;
	}
	e = term_is_atom(e, "alias") ? term_skip(e) : NULL;
	return e != NULL && term_kind(e) == TERM_REF ? e : NULL;
}

static void judge_address(struct ask *a, const struct wire_signal *sig, enum tag form)
{
	struct stress *s = a->caller->s;
	bool by_alias = sig->op == OP_ALIAS_SEND;

	if (form != a->tag)
		fail(s, a->caller, "the answer to nonce %llx has another tag than its request",
		     (unsigned long long)a->nonce);
	else if (by_alias != (a->tag == TAG_ALIAS || a->tag == TAG_ALIAS_IN_LIST))
		fail(s, a->caller, "the answer to nonce %llx came %s", (unsigned long long)a->nonce,
		     by_alias ? "to an alias that its tag has not"
			      : "to the pid though its tag has an alias: too late, it would stay "
				"in the mailbox");
	else if (!by_alias && sig->to.serial != a->serial)
		fail(s, a->caller, "the answer to nonce %llx went to another process",
		     (unsigned long long)a->nonce);
}

static void take_message(struct sim *sim, const struct wire_signal *sig)
{
	struct stress *s = sim->s;
	const uint8_t *e, *ref = NULL;
	struct ask *a;
	enum tag form = TAG_REF;
	uint32_t arity;
	char text[160];

	if (term_tuple(sig->message, &arity, &e) && arity == 3 && sig->op == OP_SEND &&
	    term_is_atom(e, "krait_stream")) {
		struct caller *c = addressee(sim, &sig->to);

		s->current = c;
		e = term_skip(e);
		if (c != NULL)
			stream_take(c, &sig->to, e, term_skip(e));
		return;
	}
	if (term_tuple(sig->message, &arity, &e) && arity == 2)
		ref = tag_ref(e, &form);
	if (ref == NULL ||
	    (sig->op == OP_ALIAS_SEND && (term_span(ref).len != term_span(sig->ref).len ||
					  memcmp(ref, sig->ref, term_span(ref).len) != 0))) {
		term_print(sig->message, text, sizeof text);
		fail(s, NULL, "%s got a message that answers nothing: %s", sim->name, text);
		return;
	}
	if ((a = find(sim, ref, "an answer")) == NULL)
		return;
	if (sig->op == OP_ALIAS_SEND)
		s->node_pid = (struct term_pid){ .id = sig->from.id,
						 .serial = sig->from.serial,
						 .creation = sig->from.creation };
	if (!a->asks || a->answers++ > 0) {
		fail(s, a->caller, "a second answer, or one to a bare monitor, nonce %llx",
		     (unsigned long long)a->nonce);
		return;
	}
	judge_address(a, sig, form);
	e = term_skip(e);
	if (a->kind >= ASK_SESSIONS) {
		settle_answer(a, e);
	} else if (a->kind >= ASK_RESIZE) {
		operator_answer(a, e);
	} else if (a->kind >= ASK_STATUS) {
		admin_answer(a, e);
	} else if (a->cut != 0) {
		if (answer_judge(a, e) == OUT_OK ||
		    (a->kind != ASK_CHECKOUT && a->kind != ASK_STREAM))
			answer_came_late(a, e);
	} else {
		caller_heard(a->caller, a, e);
	}
}

static void take_spawn_reply(struct sim *sim, const struct wire_signal *sig)
{
	struct ask *a = find(sim, sig->ref, "a spawn reply");
	struct caller *c = a != NULL ? a->caller : NULL;

	if (a == NULL)
		return;
	if (a->kind != ASK_SPAWN)
		fail(sim->s, c, "a spawn reply for what was no spawn request");
	else if (a->cut == 0) {
		outcome_count(sim->s, a, OUT_OK);
		sim->s->checks++;
		ask_free(a);
		caller_next_soon(c, false);
	}
}

/* ---- monitors and links of ours ---- */

static bool same_target(const struct ask *a, const struct wire_signal *sig)
{
	return a->name != NULL ? sig->from_is_name
			       : !sig->from_is_name && pid_same(&sig->from, &a->pid);
}

static void monitor_fired(struct ask *a, const uint8_t *reason)
{
	struct caller *c = a->caller;
	char text[160];

	term_print(reason, text, sizeof text);
	if (a->name != NULL &&
	    (strcmp(a->name, UNKNOWN_NAME) != 0 || !term_is_atom(reason, "noproc")))
		fail(c->s, c, "the monitor on %s fired: %s", a->name, text);
	else if (c->stream != NULL && c->stream->monitor == a && !term_is_atom(reason, "noproc"))
		fail(c->s, c,
		     "the monitor of stream %u.%u fired, %s, before its owner heard its end",
		     a->pid.id, a->pid.serial, text);
	else if (a->normal != NULL && !term_is_atom(reason, "normal") &&
		 !(a->normal[2] == 's' && term_is_atom(reason, "noproc")))
		fail(c->s, c, "%s ended with %s", a->normal, text);
	else
		c->s->checks++;
	if (c->lease.monitor == a) {
		if (!c->lease.doubtful && c->lease.held)
			lease_surprise(c);
		c->lease.doubtful = true;
		lease_ended(c, false);
	}
	ask_free(a);
}

static void take_down(struct sim *sim, const struct wire_signal *sig)
{
	struct ask *a = find(sim, sig->ref, "a DOWN");
	struct stress *s = sim->s;

	if (a == NULL)
		return;
	if (a->downs++ > 0 || (a->cut == 0 && !a->monitors)) {
		fail(s, a->caller, "a monitor fired twice, or after it was taken off: nonce %llx",
		     (unsigned long long)a->nonce);
		return;
	}
	if (!same_target(a, sig) || sig->to.id != PID_BASE + a->caller->slot ||
	    sig->to.serial != a->serial)
		fail(s, a->caller, "a monitor fired for something else than it was on: nonce %llx",
		     (unsigned long long)a->nonce);
	a->monitors = false;
	if (a->cut != 0)
		s->crossed++;
	else if (a->kind == ASK_MONITOR)
		monitor_fired(a, sig->reason);
	else if (a->name != NULL && s->phase == PHASE_READY)
		fatal(s, "the node has no pool of that name (--pool)");
	else if (a->name != NULL)
		fail(s, a->caller, "the monitor on %s fired: it is no longer there?", a->name);
	else
		caller_down(a->caller, a, sig->reason);
}

static void take_exit(struct sim *sim, const struct wire_signal *sig)
{
	struct caller *c = addressee(sim, &sig->to);
	bool alive;

	if (c == NULL)
		return;
	alive = is_alive(c, &sig->to);
	if (alive && (c->link.state == LINK_NONE || !pid_same(&c->link.pid, &sig->from))) {
		fail(sim->s, c, "an exit signal from %u.%u, to which it is not linked",
		     sig->from.id, sig->from.serial);
	} else if (alive && c->link.state == LINK_LINKED) {
		c->link.state = LINK_NONE;
		sim->s->checks++;
	} else {
		sim->s->crossed++;
	}
}

static void take_unlink_ack(struct sim *sim, const struct wire_signal *sig)
{
	struct term_pid node = sim_node_pid(sim, 1);
	struct caller *c = addressee(sim, &sig->to);

	if (c == NULL)
		return;
	if (pid_same(&sig->from, &node)) {
		barrier_acked(sim, c, sig->unlink_id);
	} else if (!is_alive(c, &sig->to)) {
		sim->s->crossed++;
	} else if (c->link.state != LINK_UNLINKING || c->link.unlink_id != sig->unlink_id ||
		   !pid_same(&c->link.pid, &sig->from)) {
		fail(sim->s, c, "an UNLINK_ID_ACK that was not asked for");
	} else {
		c->link.state = LINK_NONE;
		sim->s->checks++;
	}
}

/* ---- the node's monitors on our processes ---- */

static struct watcher *find_watcher(const struct caller *c, struct span ref)
{
	struct list *pos, *next;

	list_each (pos, next, &c->watchers) {
		struct watcher *w = list_entry(pos, struct watcher, link);

		if (w->ref_len == ref.len && memcmp(w->ref, ref.at, ref.len) == 0)
			return w;
	}
	return NULL;
}

static void take_monitor(struct sim *sim, const struct wire_signal *sig)
{
	struct caller *c = addressee(sim, &sig->to);
	struct span ref = term_span(sig->ref);
	struct watcher *w;

	if (c == NULL)
		return;
	sim->s->watches++;
	if (!is_alive(c, &sig->to)) {
		wire_down(sim_out(sim), &sig->to, &sig->from, ref, "noproc");
		return;
	}
	if (find_watcher(c, ref) != NULL) {
		fail(sim->s, c, "the node monitors it twice with one reference");
		return;
	}
	if ((w = mem_alloc(sizeof *w + ref.len)) == NULL)
		abort();
	w->from = sig->from;
	w->from.node = sim->s->node_name;
	w->ref_len = ref.len;
	memcpy(w->ref, ref.at, ref.len);
	list_init(&w->link);
	list_append(&c->watchers, &w->link);
}

static void take_demonitor(struct sim *sim, const struct wire_signal *sig)
{
	struct caller *c = addressee(sim, &sig->to);
	struct watcher *w;

	if (c == NULL || !is_alive(c, &sig->to))
		return; /* it crossed the DOWN */
	if ((w = find_watcher(c, term_span(sig->ref))) == NULL) {
		fail(sim->s, c, "the node takes off a monitor that it does not have on it");
		return;
	}
	list_remove(&w->link);
	mem_free(w);
}

void signal_take(struct sim *sim, const uint8_t *frame, size_t len, bool fragments)
{
	struct stress *s = sim->s;
	struct wire_signal sig;
	const char *why = wire_read(frame, len, fragments, &sig);

	if (why != NULL) {
		fail(s, NULL, "%s got %s (%zu bytes): a BEAM would close the connection", sim->name,
		     why, len);
		return;
	}
	switch (sig.op) {
	case OP_SEND:
	case OP_ALIAS_SEND:
		take_message(sim, &sig);
		break;
	case OP_MONITOR:
		take_monitor(sim, &sig);
		break;
	case OP_DEMONITOR:
		take_demonitor(sim, &sig);
		break;
	case OP_DOWN:
	case OP_PAYLOAD_DOWN:
		take_down(sim, &sig);
		break;
	case OP_EXIT:
	case OP_PAYLOAD_EXIT:
		take_exit(sim, &sig);
		break;
	case OP_UNLINK:
		s->probes++;
		wire_unlink(sim_out(sim), OP_UNLINK_ACK, sig.unlink_id, &sig.to, &sig.from);
		break;
	case OP_UNLINK_ACK:
		take_unlink_ack(sim, &sig);
		break;
	case OP_SPAWN_REPLY:
		take_spawn_reply(sim, &sig);
		break;
	default:
		fail(s, NULL, "%s got operation %d, which this node has no reason to send",
		     sim->name, sig.op);
	}
	s->current = NULL;
}
