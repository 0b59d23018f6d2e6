#include "node_callback.h"
void node_deadlock_check(struct node_pool *p) { (void)p; }
void node_deadlock_init(struct node_pool *p) { uv_timer_init(&p->node->loop, &p->deadlock_timer); p->deadlock_timer.data = p; }
