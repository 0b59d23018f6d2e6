/* ctl_verbs.c - one row a verb: from it come usage, help, completion and the request. */
#include "ctl.h"

#include <string.h>

const struct ctl_verb ctl_verbs[] = {
	/* what there is */
	{ "status", "", 0, 0, SHAPE_BARE, VERB_STATUS, VIEW_STATUS, false, false, false, "",
	  "the node and its pools, what waits, how long it takes" },
	{ "top", "", 0, 0, SHAPE_TOP, VERB_STATUS, VIEW_STATUS, false, false, false, "",
	  "a live screen: q quits, p pauses, r recycles, K kills, s sorts" },
	{ "pools", "", 0, 0, SHAPE_BARE, VERB_STATUS, VIEW_POOLS, false, false, false, "",
	  "the pools" },
	{ "workers", "", 0, 0, SHAPE_BARE, VERB_WORKERS, VIEW_WORKERS, false, false, false, "",
	  "the workers: state, process, memory, what each does" },
	{ "requests", "[MAX]", 0, 1, SHAPE_COUNT, VERB_REQUESTS, VIEW_REQUESTS, false, false, false,
	  "", "the requests that wait or run, the oldest first" },
	{ "peers", "", 0, 0, SHAPE_BARE, VERB_PEERS, VIEW_PEERS, false, false, true, "",
	  "the nodes that are connected" },
	{ "sessions", "", 0, 0, SHAPE_BARE, VERB_SESSIONS, VIEW_SESSIONS, false, false, false, "",
	  "the sessions and where they are held" },
	{ "config", "", 0, 0, SHAPE_BARE, VERB_CONFIG, VIEW_CONFIG, false, false, false, "",
	  "the configuration that is in force" },
	{ "log", "[-f]", 0, 0, SHAPE_FOLLOW, VERB_SUBSCRIBE, VIEW_VALUE, true, false, false, "",
	  "what workers print and log, as it comes" },
	{ "events", "[-f]", 0, 0, SHAPE_FOLLOW, VERB_SUBSCRIBE, VIEW_VALUE, true, false, false, "",
	  "what happens in the node, as it happens" },
	/* work */
	{ "ping", "[worker]", 0, 1, SHAPE_PING, VERB_PING, VIEW_PONG, false, false, false, "",
	  "whether the node answers, or a worker of it" },
	{ "await_ready", "[N]", 0, 1, SHAPE_COUNT, VERB_AWAIT_READY, VIEW_DONE, true, false, false,
	  "ready", "waits until all workers are ready, or N of them" },
	{ "call", "MODULE FUNCTION [ARG|NAME=ARG]...", 2, 1000, SHAPE_CALL, VERB_CALL, VIEW_VALUE,
	  true, true, false, "",
	  "calls a Python function; each ARG is JSON, a text has its quotes" },
	{ "end_session", "ID", 1, 1, SHAPE_SESSION, VERB_END_SESSION, VIEW_DONE, false, false,
	  false, "ended", "ends a session; ID is JSON" },
	/* control */
	{ "pause", "", 0, 0, SHAPE_BARE, VERB_PAUSE, VIEW_DONE, false, false, false, "paused",
	  "hands no more requests to workers; they wait" },
	{ "resume", "", 0, 0, SHAPE_BARE, VERB_RESUME, VIEW_DONE, false, false, false, "resumed",
	  "ends a pause, or a drain" },
	{ "drain", "", 0, 0, SHAPE_BARE, VERB_DRAIN, VIEW_DONE, true, false, false, "drained",
	  "refuses new requests, and returns when the last one has ended" },
	{ "reload", "[config]", 0, 1, SHAPE_RELOAD, VERB_RELOAD, VIEW_CHANGES, true, false, false,
	  "reloaded", "replaces workers by ones with fresh code; config: reads the file again" },
	{ "recycle", "WORKER", 1, 1, SHAPE_ID, VERB_RECYCLE, VIEW_DONE, false, false, false,
	  "will be replaced", "replaces a worker after its current call" },
	{ "kill", "WORKER", 1, 1, SHAPE_ID, VERB_KILL, VIEW_DONE, false, false, false, "killed",
	  "kills a worker, whatever it does" },
	{ "cancel", "REQUEST", 1, 1, SHAPE_ID, VERB_CANCEL, VIEW_DONE, false, false, false,
	  "cancelled", "ends a request, by the id that `requests` shows" },
	{ "resize", "N|MIN..MAX", 1, 1, SHAPE_RESIZE, VERB_RESIZE, VIEW_DONE, false, false, false,
	  "resized", "gives the pool N workers, or as many between two numbers as it needs" },
	{ "set", "OPTION VALUE", 2, 2, SHAPE_SET, VERB_SET, VIEW_CHANGES, false, false, false,
	  "set", "changes an option until the node ends" },
	{ "stop", "", 0, 0, SHAPE_BARE, VERB_STOP, VIEW_DONE, false, false, true, "stopping",
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
