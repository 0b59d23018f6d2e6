/* node_private.h - what the rooms of the node share: who they are.
 *
 * Their tables are in node_clients.h (peers, requests, what clients hold) and node_tables.h (workers, pools,
 * the node); what they call of each other in node_calls.h (what clients ask) and node_rooms.h (the rest).
 *
 *   node.c          life: listener, signals, stop, the end
 *   node_listen.c   where peers come in
 *   node_peer.c     what a peer's connection says, sorted; the peer's end
 *   node_monitor.c  monitors, in both directions
 *   node_ref.c      references of peers, kept short
 *   node_home.c     where a pid lives that somebody else told us
 *   node_request.c  requests: opened, parsed, admitted or answered
 *   node_admit.c    a request's record, made and freed
 *   node_kept.c     what is kept with a request: its frame, its tag, its names
 *   node_oversize.c messages that are too long
 *   node_reply.c    where an answer goes, and its outside
 *   node_answer.c   answers and errors, written
 *   node_holding.c  what clients hold, as processes: owners, monitors, links
 *   node_lease.c    leases: grant, give_away, end
 *   node_stream.c   streams: opened, asked, cancelled, ended
 *   node_stream_flow.c  streams: items and credit
 *   node_lane.c     lanes: many calls in one message
 *   node_session.c  sessions: keys, owners, requests about them
 *   node_batch.c    several calls in one request
 *   node_rpc.c      rpc and erpc: the processes that spawn requests ask for
 *   node_rpc_answer.c  how such a call ended, in the words of erpc and rex
 *   node_rex.c      messages to the name rex
 *   node_callback*.c  what workers say to processes of peers: calls, messages, monitors (node_callback.h)
 *   node_progress.c reports of a running call
 *   node_deadlock.c workers that wait for those who wait for workers
 *   node_connect.c  connections that we open
 *   node_loop.c     the turns of the loop
 *   node_pool.c     the pump: the sole caller of pool_step; performs actions
 *   node_memory.c   workers that have grown too large
 *   node_worker.c   workers: starts, frames, output, exits
 *   node_reap.c     children of our own
 *   node_hello.c    the first thing that a worker says
 *   node_index.c       which of its pool's workers one is
 *   node_cgroup.c      a cgroup for each worker
 *   node_forkserver.c  the fork servers, and what they say of workers
 *   node_control.c  sizes, pauses, workers replaced or killed, and who waits for the end of that
 *   node_status.c   status and workers, written
 *   node_notify.c   what the service manager hears
 *   node_roles.c    who may say what
 *   node_requests.c requests, peers and pools, written; requests cancelled
 *   node_config.c   the configuration: shown, one option set
 *   node_reload.c   a new configuration comes into force
 *   node_difference.c, node_apply.c  its difference to the present one; as far as it counts at once
 *   node_pool_config.c  what a pool is told; pools that leave
 *   node_events.c   who hears of events and log lines
 *   node_failures.c what went wrong of late
 *   node_metrics*.c the same for Prometheus and for the status page (node_metrics.h)
 *   node_event_call.c, node_event_state.c  what they hear of
 *   node_logs.c     what workers print
 *
 * Ownership: a node_request is the node's until POOL_SUBMIT, the pool's until POOL_DONE, then freed. A
 * lease belongs to its checkout until that is granted, then to the pool until POOL_LEASE_ENDED. Books
 * of a peer are freed when its handles are closed; whatever points at them is cut before. */
#ifndef KRAIT_NODE_PRIVATE_H
#define KRAIT_NODE_PRIVATE_H

#include "node_rooms.h"

#endif
