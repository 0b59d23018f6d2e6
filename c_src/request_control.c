/* request_control.c - the sentences of operators, parsed: how many, which one, what to set, what to hear. */
#include "request_private.h"

#include <errno.h>
#include <string.h>

int request_parse_ping(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	if (arity == 1)
		return 0;
	out->verb = VERB_PING_WORKER;
	return term_is_atom(e, "worker") ? 0 : request_bad(reason, "ping or {ping, worker}");
}

int request_parse_await(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	int64_t n;

	if (arity == 1)
		return 0;
	if (!term_int(e, &n) || n < 0)
		return request_bad(reason,
				   "await_ready or {await_ready, N}, N a non-negative integer");
	out->has_count = true;
	out->count = (uint64_t)n;
	return 0;
}

static bool take_size(const uint8_t *t, uint64_t *size)
{
	int64_t n;

	if (!term_int(t, &n) || n < 1 || n > REQUEST_SIZE_MAX)
		return false;
	*size = (uint64_t)n;
	return true;
}

int request_parse_resize(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	const uint8_t *least;
	uint32_t pair;

	(void)arity;
	if (take_size(e, &out->count)) {
		out->least = out->count;
		return 0;
	}
	if (term_tuple(e, &pair, &least) && pair == 2 && take_size(least, &out->least) &&
	    take_size(term_skip(least), &out->count) && out->least <= out->count)
		return 0;
	return request_bad(reason, "{resize, N} or {resize, {Min, Max}}, from 1 to 1024");
}

int request_parse_worker(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	int64_t id;

	(void)arity;
	if (!term_int(e, &id) || id < 0)
		return request_bad(reason,
				   out->verb == VERB_KILL
					   ? "{kill, Worker}, Worker the id of one, an integer"
					   : "{recycle, Worker}, Worker the id of one, an integer");
	out->count = (uint64_t)id;
	return 0;
}

int request_parse_reload(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	if (arity == 1)
		return 0;
	out->verb = VERB_RELOAD_CONFIG;
	return term_is_atom(e, "config") ? 0 : request_bad(reason, "reload or {reload, config}");
}

int request_parse_requests(const uint8_t *e, uint32_t arity, struct request *out,
			   struct buf *reason)
{
	int64_t n;

	out->count = REQUEST_LIST_MAX;
	if (arity == 1)
		return 0;
	if (!term_int(e, &n) || n < 1 || n > REQUEST_LIST_MAX)
		return request_bad(reason, "requests or {requests, Max}, Max from 1 to 1000");
	out->count = (uint64_t)n;
	return 0;
}

int request_parse_cancel(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	int64_t id;

	(void)arity;
	if (!term_int(e, &id) || id < 0)
		return request_bad(reason, "{cancel, Id}, Id the id of a request, an integer");
	out->count = (uint64_t)id;
	return 0;
}

int request_parse_set(const uint8_t *e, uint32_t arity, struct request *out, struct buf *reason)
{
	(void)arity;
	out->value = term_skip(e);
	return request_take_name(e, &out->option)
		       ? 0
		       : request_bad(reason,
				     "{set, Option, Value}: Option an atom or a UTF-8 binary");
}

/* One topic: its bits; 0: it is none. */
static unsigned topic(const uint8_t *t)
{
	return term_is_atom(t, "log")      ? REQUEST_TOPIC_LOG
	       : term_is_atom(t, "events") ? REQUEST_TOPIC_EVENTS
	       : term_is_atom(t, "all")    ? REQUEST_TOPIC_LOG | REQUEST_TOPIC_EVENTS
					   : 0;
}

int request_parse_subscribe(const uint8_t *e, uint32_t arity, struct request *out,
			    struct buf *reason)
{
	static const char expected[] = "{subscribe, Topics}: log, events, all, or a list of these";
	const uint8_t *at = e;
	uint32_t count;

	(void)arity;
	out->topics = topic(e);
	if (out->topics != 0)
		return 0;
	if (term_kind(e) != TERM_LIST || !term_list(e, &count, &at) || count == 0)
		return request_bad(reason, expected);
	for (; count > 0; count--, at = term_skip(at)) {
		unsigned bits = topic(at);

		if (bits == 0)
			return request_bad(reason, expected);
		out->topics |= bits;
	}
	return term_kind(at) == TERM_NIL ? 0 : request_bad(reason, expected);
}
