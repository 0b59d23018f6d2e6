/* fuzz_request.c - messages of a peer: opened, parsed, refused in words.
 *
 * Input: byte 0 chooses whom it was said to (2 bits), the defaults (1), whether an allocation fails (1) and
 * the mode of sessions (2); bytes 1 and 2, where the head of an oversize message ends. Then a message.
 *
 * Spans and terms of what was understood lie within the message; a refusal is one sound term; the head of
 * a message says the same as the whole. */
#include "fuzz.h"

#include "config.h"
#include "request.h"

#include <errno.h>

static const uint8_t *message, *message_end;

static bool inside(struct span s)
{
	return s.at >= message && s.at <= message_end && s.len <= (size_t)(message_end - s.at);
}

static bool is_inside(const uint8_t *t)
{
	return inside(term_span(t));
}

static void look_at_envelope(const struct envelope *env, bool whole)
{
	if (env->kind == ENVELOPE_OTHER)
		return;
	if (env->kind == ENVELOPE_CALL) {
		MUST(inside(env->tag) && is_one_term(env->tag.at, env->tag.len));
		MUST(inside((struct span){ (const uint8_t *)env->from.node, env->from.node_len }));
		if (env->ref.len > 0)
			MUST(inside(env->ref) && is_one_term(env->ref.at, env->ref.len) &&
			     term_kind(env->ref.at) == TERM_REF);
		if (env->alias.len > 0)
			MUST(env->alias.at == env->ref.at && env->alias.len == env->ref.len);
	}
	MUST(whole ? is_inside(env->request) : env->request == NULL);
}

/* M, F, Args. */
static void look_at_mfa(const struct request *req)
{
	static char pattern[] = "a.b*c";
	static const struct config_pool few_allowed = { .allow = { .item = { pattern }, .count = 1 } };

	MUST(inside(req->module) && req->module.len > 0 && req->module.len <= REQUEST_NAME_MAX);
	MUST(inside(req->function) && req->function.len > 0 &&
	     req->function.len <= REQUEST_NAME_MAX);
	MUST(term_utf8(req->module.at, req->module.len));
	MUST(term_utf8(req->function.at, req->function.len));
	MUST(is_inside(req->module_term) && is_inside(req->function_term));
	MUST(is_inside(req->args));
	MUST(term_kind(req->args) == TERM_LIST || term_kind(req->args) == TERM_NIL ||
	     term_kind(req->args) == TERM_STRING);
	(void)config_allows(&few_allowed, (const char *)req->module.at, req->module.len,
			    (const char *)req->function.at, req->function.len);
}

/* The node takes a batch apart as it was checked. */
static void look_at_batch(const struct request *req)
{
	const uint8_t *at;
	uint32_t count;

	MUST(is_inside(req->calls) && term_list(req->calls, &count, &at));
	MUST(count > 0 && count <= REQUEST_BATCH_MAX);
	for (; count > 0; count--, at = term_skip(at)) {
		struct request call = { 0 };

		MUST(request_parse_mfa(at, &call));
		look_at_mfa(&call);
	}
	MUST(term_kind(at) == TERM_NIL);
}

static void look_at_options(const struct request *req)
{
	if (req->kwargs != NULL)
		MUST(is_inside(req->kwargs) && term_kind(req->kwargs) == TERM_MAP);
	if (req->traceparent.len > 0)
		MUST(inside(req->traceparent) && req->traceparent.len <= 512);
	if (req->progress != NULL)
		MUST(is_inside(req->progress) && term_span(req->progress).len <= REQUEST_TERM_MAX);
	if (req->session != NULL)
		MUST(is_inside(req->session) && term_span(req->session).len <= REQUEST_TERM_MAX);
	if (req->has_owner)
		MUST(req->session != NULL && inside((struct span){ (const uint8_t *)req->owner.node,
								   req->owner.node_len }));
	MUST(req->session_mode <= SESSION_FAIL_FAST);
	MUST(req->demand <= REQUEST_DEMAND_MAX);
	MUST(req->retry <= REQUEST_RETRY_MAX);
}

static void look_at_request(const struct request *req, enum request_target target)
{
	look_at_options(req);
	switch (req->verb) {
	case VERB_CALL:
	case VERB_STREAM:
		MUST(target == TARGET_POOL || target == TARGET_LEASE);
		look_at_mfa(req);
		break;
	case VERB_BATCH:
		MUST(target == TARGET_POOL || target == TARGET_LEASE);
		look_at_batch(req);
		break;
	case VERB_CHECKOUT:
		MUST(target == TARGET_POOL);
		break;
	case VERB_END_SESSION:
		MUST((target == TARGET_POOL || target == TARGET_NODE) && req->session != NULL);
		break;
	case VERB_SET:
		MUST(target == TARGET_POOL || target == TARGET_NODE);
		MUST(inside(req->option) && req->option.len > 0 && is_inside(req->value));
		break;
	case VERB_SUBSCRIBE:
		MUST(req->topics != 0);
		break;
	case VERB_REQUESTS:
		MUST(req->count >= 1 && req->count <= REQUEST_LIST_MAX);
		break;
	case VERB_PING:
		break;
	case VERB_RESIZE:
		MUST(target != TARGET_LEASE && target != TARGET_STREAM);
		MUST(req->least >= 1 && req->least <= req->count && req->count <= 1024);
		break;
	case VERB_GIVE_AWAY:
		MUST(target == TARGET_LEASE);
		MUST(inside((struct span){ (const uint8_t *)req->to.node, req->to.node_len }));
		break;
	case VERB_CHECKIN:
		MUST(target == TARGET_LEASE);
		break;
	case VERB_STOP:
		MUST(target == TARGET_NODE);
		break;
	default:
		MUST(req->verb <= VERB_STOP && target != TARGET_STREAM);
	}
	MUST(req->priority < PRIORITIES);
	MUST(req->timeout_ms == REQUEST_INFINITY || req->timeout_ms <= UINT64_C(1) << 40);
	MUST(req->queue_timeout_ms == REQUEST_INFINITY || req->queue_timeout_ms <= UINT64_C(1)
											   << 40);
}

static void parse(const uint8_t *term, enum request_target target, unsigned choice)
{
	static const enum pool_session_mode modes[] = { SESSION_STRICT, SESSION_HINT,
							SESSION_FAIL_FAST, SESSION_STRICT };
	const struct request_defaults defaults = { 60000, choice & 4 ? 0 : REQUEST_INFINITY,
						   (choice & 4) != 0, modes[choice >> 4 & 3] };
	struct buf reason = { 0 };
	struct request req;
	const uint8_t *e;
	uint32_t arity;
	int rc;

	mem_fail_after = choice & 8 ? 0 : -1;
	rc = request_parse(term, target, &defaults, &req, &reason);
	mem_fail_after = -1;
	if (rc == 0) {
		MUST(reason.len == 0);
		look_at_request(&req, target);
	} else if (rc == -ENOMEM) {
		MUST(choice & 8);
	} else {
		MUST(rc == -EINVAL && is_one_term(reason.data, reason.len));
		MUST(term_kind(reason.data) == TERM_TUPLE);
	}
	buf_free(&reason);
	if (!term_tuple(term, &arity, &e) || arity != 3)
		return;
	rc = request_plain_call(e, &defaults, &req); /* as a SPAWN_REQUEST and rex have it */
	MUST(rc == 0 || rc == -ENOENT || rc == -EINVAL);
	if (rc == 0) {
		look_at_options(&req);
		look_at_mfa(&req);
		MUST(req.session == NULL && req.kwargs == NULL && req.progress == NULL);
	}
}

static bool same(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum request_target targets[] = { TARGET_POOL, TARGET_NODE, TARGET_LEASE,
						       TARGET_STREAM };
	struct input in = { data, size };
	unsigned choice = next_u8(&in);
	size_t head_len = next_u16(&in);
	struct envelope head, env;
	uint8_t *copy;
	bool found;

	head_len = head_len < in.left ? head_len : in.left;
	message = copy = exact(in.at, head_len);
	message_end = message + head_len;
	if ((found = request_open_head(copy, head_len, &head)))
		look_at_envelope(&head, false);
	MUST(found == (head.kind == ENVELOPE_CALL));
	if (is_one_term(in.at, in.left)) {
		message = in.at;
		message_end = in.at + in.left;
		request_open(message, &env);
		look_at_envelope(&env, true);
		if (found && message[0] == 104) {
			MUST(env.kind == ENVELOPE_CALL && term_pid_equal(&env.from, &head.from));
			MUST(same(env.tag, head.tag) && same(env.alias, head.alias) &&
			     same(env.ref, head.ref));
		}
		parse(message, targets[choice & 3], choice);
		if (env.kind != ENVELOPE_OTHER)
			parse(env.request, targets[choice & 3], choice);
	}
	free(copy);
	return 0;
}
