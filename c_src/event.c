/* event.c - the catalogue of events, and how one is written; see event.h. */
#include "event.h"

#include <assert.h>
#include <string.h>

#define REQUEST "request verb module function caller session traceparent"

static const struct event_row rows[EVENTS] = {
	[EVENT_CALL_RECEIVED] = { "krait call received", "request_bytes queued",
				  "pool priority " REQUEST },
	[EVENT_CALL_REFUSED] = { "krait call refused", "count", "pool outcome caller" },
	[EVENT_CALL_START] = { "krait call start", "wait_us queued",
			       "pool worker os_pid " REQUEST },
	[EVENT_CALL_STOP] = { "krait call stop", "wait_us run_us request_bytes result_bytes",
			      "pool worker outcome error " REQUEST },
	[EVENT_LEASE_GRANTED] = { "krait lease granted", "wait_us",
				  "pool worker lease owner session" },
	[EVENT_LEASE_ENDED] = { "krait lease ended", "held_us", "pool worker lease owner reason" },
	[EVENT_STREAM_OPENED] = { "krait stream opened", "wait_us", "pool worker stream " REQUEST },
	[EVENT_STREAM_ENDED] = { "krait stream ended", "items bytes open_us",
				 "pool worker stream outcome " REQUEST },
	[EVENT_SESSION_STARTED] = { "krait session started", "sessions", "pool worker session" },
	[EVENT_SESSION_ENDED] = { "krait session ended", "calls", "pool worker session reason" },
	[EVENT_SESSION_LOST] = { "krait session lost", "calls", "pool worker session" },
	[EVENT_WORKER_STARTED] = { "krait worker started", "starting", "pool worker index" },
	[EVENT_WORKER_READY] = { "krait worker ready", "start_us ready",
				 "pool worker index os_pid" },
	[EVENT_WORKER_REPLACED] = { "krait worker replaced", "calls age_us",
				    "pool worker index os_pid reason" },
	[EVENT_WORKER_EXITED] = { "krait worker exited", "calls age_us",
				  "pool worker index os_pid exit cause" },
	[EVENT_POOL_PAUSED] = { "krait pool paused", "queued running", "pool by" },
	[EVENT_POOL_RESUMED] = { "krait pool resumed", "queued running", "pool by" },
	[EVENT_POOL_DRAINING] = { "krait pool draining", "queued running", "pool by" },
	[EVENT_POOL_DRAINED] = { "krait pool drained", "queued running", "pool by" },
	[EVENT_POOL_RESIZED] = { "krait pool resized", "from to most", "pool by" },
	[EVENT_POOL_GROWN] = { "krait pool grown", "from to", "pool" },
	[EVENT_POOL_SHRUNK] = { "krait pool shrunk", "from to", "pool" },
	[EVENT_POOL_RELOADED] = { "krait pool reloaded", "replaced", "pool outcome detail" },
	[EVENT_BREAKER_OPENED] = { "krait breaker opened", "failures retry_after_ms",
				   "pool cause" },
	[EVENT_BREAKER_HALF_OPEN] = { "krait breaker half_open", "failures", "pool cause" },
	[EVENT_BREAKER_CLOSED] = { "krait breaker closed", "ready", "pool" },
	[EVENT_PEER_UP] = { "krait peer up", "peers", "peer" },
	[EVENT_PEER_DOWN] = { "krait peer down", "peers", "peer reason" },
	[EVENT_CONFIG_CHANGED] = { "krait config changed", "changes", "difference by" },
	[EVENT_NODE_STOPPING] = { "krait node stopping", "uptime_ms", "reason" },
	[EVENT_SUBSCRIBER_LOST] = { "krait subscriber lost", "count", "topics" },
};

const struct event_row *event_row(enum event e)
{
	return &rows[e];
}

static size_t word_len(const char *words)
{
	return strcspn(words, " ");
}

/* The word after the first; "" at the end. */
static const char *next_word(const char *words)
{
	words += word_len(words);
	return *words == ' ' ? words + 1 : words;
}

static uint32_t count_words(const char *words)
{
	uint32_t n = 0;

	for (; *words != '\0'; words = next_word(words))
		n++;
	return n;
}

static void put_name(struct buf *out, const char *words)
{
	term_put_list(out, count_words(words));
	for (; *words != '\0'; words = next_word(words))
		term_put_atom_n(out, words, word_len(words));
	term_put_nil(out);
}

void event_begin(struct event_writer *w, struct buf *out, enum event e, const char *node,
		 uint64_t system_time_us)
{
	*w = (struct event_writer){ .out = out, .row = &rows[e], .keys = rows[e].measurements };
	term_put_tuple(out, 5);
	term_put_atom(out, "krait_event");
	term_put_atom(out, node);
	put_name(out, w->row->name);
	term_put_map(out, 1 + count_words(w->row->measurements));
	term_put_atom(out, "system_time_us");
	term_put_uint(out, system_time_us);
}

struct buf *event_key(struct event_writer *w, const char *key)
{
	if (*w->keys == '\0') {
		assert(!w->metadata);
		w->metadata = true;
		w->keys = w->row->metadata;
		term_put_map(w->out, count_words(w->keys));
	}
	assert(word_len(w->keys) == strlen(key) && memcmp(w->keys, key, strlen(key)) == 0);
	term_put_atom(w->out, key);
	w->keys = next_word(w->keys);
	return w->out;
}

void event_uint(struct event_writer *w, const char *key, uint64_t value)
{
	term_put_uint(event_key(w, key), value);
}

void event_atom(struct event_writer *w, const char *key, const char *value)
{
	term_put_atom(event_key(w, key), value != NULL ? value : "nil");
}

void event_id(struct event_writer *w, const char *key, uint64_t id)
{
	if (id != 0)
		event_uint(w, key, id);
	else
		event_atom(w, key, NULL);
}

void event_text(struct event_writer *w, const char *key, const void *text, size_t len)
{
	if (len > 0)
		term_put_binary(event_key(w, key), text, len);
	else
		event_atom(w, key, NULL);
}

void event_term(struct event_writer *w, const char *key, struct span term)
{
	if (term.len > 0)
		term_put_raw(event_key(w, key), term);
	else
		event_atom(w, key, NULL);
}

void event_end(struct event_writer *w)
{
	assert(w->metadata && *w->keys == '\0');
}
