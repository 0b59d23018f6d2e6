/* sim_worker.c - the workers of the simulation and their jobs; see sim_world.h.
 *
 * A worker does its jobs one after the other, in the order in which they were sent, as the real one reads its
 * pipe. One that is killed ends in the middle of its job. */
#include "sim_world.h"

#include <stdlib.h>

void *sim_new(size_t size)
{
	void *new = calloc(1, size);

	if (new == NULL) {
		fprintf(stderr, "simulation: no memory\n");
		exit(1);
	}
	return new;
}

void sim_happens(struct sim *s, struct moment *m, enum happening what, uint64_t at_us)
{
	heap_remove(&s->moments, &m->at);
	m->what = what;
	heap_insert(&s->moments, &m->at, at_us);
}

struct sim_worker *sim_worker_of(struct sim *s, uint64_t id)
{
	struct list *at, *next;

	list_each (at, next, &s->workers)
		if (list_entry(at, struct sim_worker, link)->id == id)
			return list_entry(at, struct sim_worker, link);
	return NULL;
}

void sim_worker_start(struct sim *s, uint64_t id)
{
	struct sim_worker *w = sim_new(sizeof *w);

	w->id = id;
	list_init(&w->jobs);
	list_append(&s->workers, &w->link);
	sim_happens(s, &w->moment, WORKER_HELLO, s->now_us + s->plan->start_us);
}

void sim_job_forget(struct sim_request *r)
{
	if (r == NULL || r->job == NULL)
		return;
	r->job->request = NULL;
	r->job = NULL;
}

static void job_begin(struct sim *s, struct sim_worker *w, struct job *j)
{
	struct sim_request *r = j->request;

	j->began_us = s->now_us;
	if (r != NULL && !r->began) {
		r->began = true;
		r->began_us = s->now_us;
		sim_count(s, r, false, s->now_us - r->arrived_us);
	}
	sim_happens(s, &w->moment, JOB_OVER, s->now_us + j->service_us);
}

void sim_job_new(struct sim *s, struct sim_worker *w, struct sim_request *r)
{
	struct job *j = sim_new(sizeof *j);
	bool at_once = list_empty(&w->jobs);

	sim_job_forget(r); /* of a worker that was killed */
	r->job = j;
	j->request = r;
	j->call_id = r->pool.id;
	j->service_us = r->service_us + s->plan->overhead_us;
	list_append(&w->jobs, &j->link);
	if (at_once)
		job_begin(s, w, j);
}

/* How much of a job lies within the window. */
double sim_within(const struct sim *s, uint64_t from_us, uint64_t to_us)
{
	if (from_us < s->from_us)
		from_us = s->from_us;
	if (s->till_us != 0 && to_us > s->till_us)
		to_us = s->till_us;
	return s->from_us != 0 && to_us > from_us ? (double)(to_us - from_us) : 0;
}

static void job_free(struct sim *s, struct job *j)
{
	if (j->began_us != 0)
		s->busy_us += sim_within(s, j->began_us, s->now_us);
	sim_job_forget(j->request);
	list_remove(&j->link);
	free(j);
}

uint64_t sim_job_over(struct sim *s, struct sim_worker *w, uint64_t *taken)
{
	struct job *j = list_entry(w->jobs.next, struct job, link);
	struct job *next = list_entry(j->link.next, struct job, link);
	bool more = j->link.next != &w->jobs;
	uint64_t call_id = j->call_id;

	job_free(s, j);
	*taken = more ? next->call_id : 0;
	if (more)
		job_begin(s, w, next);
	return call_id;
}

unsigned sim_jobs_recall(struct sim *s, struct sim_worker *w, uint64_t *call_ids)
{
	struct list *at, *next;
	unsigned count = 0;

	list_each (at, next, &w->jobs) {
		struct job *j = list_entry(at, struct job, link);

		if (at == w->jobs.next && j->began_us != 0)
			continue;
		call_ids[count++] = j->call_id;
		job_free(s, j);
	}
	return count;
}

void sim_worker_free(struct sim *s, struct sim_worker *w)
{
	struct list *at, *next;

	list_each (at, next, &w->jobs)
		job_free(s, list_entry(at, struct job, link));
	heap_remove(&s->moments, &w->moment.at);
	list_remove(&w->link);
	free(w);
}
