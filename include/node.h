/* node.h - the node: the loop, the listener, the tables of ids, and the one place where the pure cores
 * and the byte movers meet. */
#ifndef KRAIT_NODE_H
#define KRAIT_NODE_H

#include "config.h"

/* What the node's process ends with. */
enum node_exit {
	NODE_EXIT_OK = 0,
	NODE_EXIT_FAILURE = 1,
	NODE_EXIT_USAGE = 2,
	NODE_EXIT_NAME_TAKEN = 3
};

struct node_options {
	struct config *config; /* its pools have their interpreters */
	const char *name; /* full node name */
	const char *cookie;
	const char *executable; /* our own, for the guard */
	const char *script;
};

/* Runs the node until it is stopped; prints `ready NAME PORT OS_PID` on standard output once it listens
 * and is published. Returns the exit status. */
int node_run(const struct node_options *options);

#endif
