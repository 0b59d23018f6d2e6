/* stress_conn.h - the bytes of one connection to the node; its owner is its sim until conn_close(). */
#ifndef KRAIT_STRESS_CONN_H
#define KRAIT_STRESS_CONN_H

#include "buf.h"
#include "stress_wire.h"

#include <stdbool.h>

struct sim;
struct conn;

struct conn *
conn_dial(struct sim *sim); /* as sim's name and creation say; NULL: it cannot be dialled */
void conn_close(struct conn *c,
		bool reset); /* sim->conn, or sim->silent, is NULL afterwards. NULL: nothing */
void conn_flush(struct conn *c);
struct buf *conn_out(struct conn *c); /* what is to be sent */
void conn_read(struct conn *c, bool on);
void conn_discard(struct conn *c); /* says nothing more, and hears nothing but its end */

/* What it calls. */
void sim_came_up(struct sim *sim, const struct wire_handshake *hs);
/* The node has closed its connection: the `silent` one, or the one in use, as was `wanted` or not. */
void sim_cut_off(struct sim *sim, bool silent, bool was_up, bool wanted, const char *why);

/* Takes one frame that the node has sent; `fragments`: in the form that goes with them. */
void signal_take(struct sim *sim, const uint8_t *frame, size_t len, bool fragments);

#endif
