/* ctl_verbs.c - one row a verb: from it come usage, help, completion and the request. */
#include "ctl.h"

#include <string.h>

const struct ctl_verb ctl_verbs[] = {
	/* what there is */
	{ "status", "", 0, 0, SHAPE_BARE, VERB_STATUS, VIEW_STATUS, 0, "",
	  "the node and its pools, what waits, how long it takes" },
	{ "top", "", 0, 0, SHAPE_TOP, VERB_STATUS, VIEW_STATUS, 0, "",
	  "a live screen: q quits, p pauses, r recycles, K kills, s sorts" },
	{ "pools", "", 0, 0, SHAPE_BARE, VERB_STATUS, VIEW_POOLS, 0, "", "the pools" },
	{ "workers", "", 0, 0, SHAPE_BARE, VERB_WORKERS, VIEW_WORKERS, 0, "",
	  "the workers: state, process, memory, what each does" },
	{ "requests", "[MAX]", 0, 1, SHAPE_COUNT, VERB_REQUESTS, VIEW_REQUESTS, 0, "",
	  "the requests that wait or run, the oldest first" },
	{ "peers", "", 0, 0, SHAPE_BARE, VERB_PEERS, VIEW_PEERS, VERB_OF_NODE, "",
	  "the nodes that are connected" },
	{ "sessions", "", 0, 0, SHAPE_BARE, VERB_SESSIONS, VIEW_SESSIONS, 0, "",
	  "the sessions and where they are held" },
	{ "config", "", 0, 0, SHAPE_BARE, VERB_CONFIG, VIEW_CONFIG, 0, "",
	  "the configuration that is in force" },
	{ "log", "[-f]", 0, 0, SHAPE_FOLLOW, VERB_SUBSCRIBE, VIEW_VALUE, VERB_SLOW, "",
	  "what workers print and log, as it comes" },
	{ "events", "[-f]", 0, 0, SHAPE_FOLLOW, VERB_SUBSCRIBE, VIEW_VALUE, VERB_SLOW, "",
	  "what happens in the node, as it happens" },
	/* work */
	{ "ping", "[worker]", 0, 1, SHAPE_PING, VERB_PING, VIEW_PONG, 0, "",
	  "whether the node answers, or a worker of it" },
	{ "await_ready", "[N]", 0, 1, SHAPE_COUNT, VERB_AWAIT_READY, VIEW_DONE, VERB_SLOW, "ready",
	  "waits until all workers are ready, or N of them" },
	{ "call", "MODULE FUNCTION [ARG|NAME=ARG]...", 2, 1000, SHAPE_CALL, VERB_CALL, VIEW_VALUE,
	  VERB_SLOW | VERB_OF_POOL, "",
	  "calls a Python function; each ARG is JSON, a text has its quotes" },
	{ "end_session", "ID", 1, 1, SHAPE_SESSION, VERB_END_SESSION, VIEW_DONE, 0, "ended",
	  "ends a session; ID is JSON" },
	/* control */
	{ "pause", "", 0, 0, SHAPE_BARE, VERB_PAUSE, VIEW_DONE, 0, "paused",
	  "hands no more requests to workers; they wait" },
	{ "resume", "", 0, 0, SHAPE_BARE, VERB_RESUME, VIEW_DONE, 0, "resumed",
	  "ends a pause, or a drain" },
	{ "drain", "", 0, 0, SHAPE_BARE, VERB_DRAIN, VIEW_DONE, VERB_SLOW, "drained",
	  "refuses new requests, and returns when the last one has ended" },
	{ "reload", "[config]", 0, 1, SHAPE_RELOAD, VERB_RELOAD, VIEW_CHANGES, VERB_SLOW,
	  "reloaded", "replaces workers by ones with fresh code; config: reads the file again" },
	{ "recycle", "WORKER", 1, 1, SHAPE_ID, VERB_RECYCLE, VIEW_DONE, 0, "will be replaced",
	  "replaces a worker after its current call" },
	{ "kill", "WORKER", 1, 1, SHAPE_ID, VERB_KILL, VIEW_DONE, 0, "killed",
	  "kills a worker, whatever it does" },
	{ "cancel", "REQUEST", 1, 1, SHAPE_ID, VERB_CANCEL, VIEW_DONE, 0, "cancelled",
	  "ends a request, by the id that `requests` shows" },
	{ "resize", "N|MIN..MAX", 1, 1, SHAPE_RESIZE, VERB_RESIZE, VIEW_DONE, 0, "resized",
	  "gives the pool N workers, or as many between two numbers as it needs" },
	{ "set", "OPTION VALUE", 2, 2, SHAPE_SET, VERB_SET, VIEW_CHANGES, 0, "set",
	  "changes an option until the node ends" },
	{ "stop", "", 0, 0, SHAPE_BARE, VERB_STOP, VIEW_DONE, VERB_OF_NODE, "stopping",
	  "stops the node after what runs has ended" },
};
const unsigned ctl_verb_count = sizeof ctl_verbs / sizeof ctl_verbs[0];

const struct ctl_verb *ctl_verb_find(const char *name)
{
	for (unsigned i = 0; i < ctl_verb_count; i++) {
		const char *known = ctl_verbs[i].name;
		size_t k = 0;

		/* await-ready is await_ready */
		while (known[k] != '\0' &&
		       (name[k] == known[k] || (known[k] == '_' && name[k] == '-')))
			k++;
		if (known[k] == '\0' && name[k] == '\0')
			return &ctl_verbs[i];
	}
	return NULL;
}

const char *ctl_role(const struct ctl_verb *verb)
{
	return request_role_name(request_verb_role(verb->verb));
}
