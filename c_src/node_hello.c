/* node_hello.c - the first thing that a worker says: its process, its versions; then it can serve. */
#include "node_private.h"

#include "log.h"

#include <stdio.h>
#include <string.h>

static bool is_text(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* The versions map of a HELLO: as text, and what it says of the GIL. False: it is none. */
static bool take_versions(struct node_worker *w, const uint8_t *at, const uint8_t *end, char *text,
			  size_t size)
{
	const char *key, *value;
	size_t key_len, value_len, len = 0;
	uint32_t pairs;

	text[0] = '\0';
	if (!frame_get_map(&at, end, &pairs))
		return false;
	for (; pairs > 0; pairs--) {
		if (!frame_get_str(&at, end, &key, &key_len) ||
		    !frame_get_str(&at, end, &value, &value_len))
			return false;
		if (is_text(key, key_len, "gil"))
			w->gil = is_text(value, value_len, "disabled") ? GIL_OFF : GIL_ON;
		if (len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%.*s %.*s",
						len > 0 ? ", " : "",
						(int)(key_len < 64 ? key_len : 64), key,
						(int)(value_len < 64 ? value_len : 64), value);
	}
	return true;
}

void node_worker_hello(struct node_worker *w, const struct frame *frame)
{
	const uint8_t *at = frame->rest, *end = at + frame->rest_len;
	char versions[256];
	uint64_t pid;

	if (w->ready || !frame_get_uint(&at, end, &pid) ||
	    !take_versions(w, at, end, versions, sizeof versions)) {
		node_worker_broken(w, "bad_frame", "a HELLO that is not one");
		return;
	}
	w->ready = true;
	if (w->os_pid == 0) /* its HELLO has overtaken the fork server's word */
		node_worker_know_pid(w, (int)pid);
	log_line(LOG_DEBUG, w->object, "ready: %s", versions);
	if (w->gil == GIL_OFF && !w->pool->free_threaded) {
		w->pool->free_threaded = true;
		log_line(LOG_INFO, w->object,
			 "this Python is free-threaded: calls in slots run at the same time");
	}
	node_pool_event(w->pool,
			&(struct pool_event){ .type = POOL_WORKER_READY, .worker_id = w->id });
	if (node_hears(w->pool))
		node_event_worker_ready(w);
}
