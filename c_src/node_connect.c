/* node_connect.c - connections that we open. */
#include "node_private.h"

void node_connect(struct node *n, struct span name, connect_done done, void *arg)
{
	(void)n;
	(void)name;
	(void)done;
	(void)arg;
}

void node_connect_cancel(struct node *n, void *arg)
{
	(void)n;
	(void)arg;
}
