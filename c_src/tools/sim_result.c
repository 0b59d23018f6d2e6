/* sim_result.c - what a run of the simulation tells: times by class, their percentiles, a digest. */
#include "sim_world.h"

#include <stdlib.h>

static void values_add(struct sim_values *v, uint64_t us)
{
	if (v->count == v->room) {
		uint32_t *more;

		v->room = v->room == 0 ? 1024 : 2 * v->room;
		more = realloc(v->us, v->room * sizeof *more);
		if (more == NULL) {
			fprintf(stderr, "simulation: no memory\n");
			exit(1);
		}
		v->us = more;
	}
	v->us[v->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

void sim_count(struct sim *s, const struct sim_request *r, bool total, uint64_t us)
{
	struct sim_class *both[] = { &s->result->class[r->class], &s -> result -> class[SIM_ALL] };

	for (int i = 0; r->counted && i < 2; i++)
		values_add(total ? &both[i]->total : &both[i]->wait, us);
}

/* FNV-1a of all that is decided, and when. */
void sim_digest(struct sim *s, uint64_t word)
{
	for (int i = 0; i < 64; i += 8)
		s->result->digest =
			(s->result->digest ^ ((word >> i) & 0xff)) * UINT64_C(0x100000001b3);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void sort(struct sim_values *v)
{
	if (v->count > 0)
		qsort(v->us, v->count, sizeof *v->us, by_value);
}

void sim_result_sort(struct sim_result *r)
{
	for (int i = 0; i <= SIM_ALL; i++) {
		sort(&r->class[i].wait);
		sort(&r->class[i].total);
	}
}

void sim_result_free(struct sim_result *result)
{
	for (int i = 0; i <= SIM_ALL; i++) {
		free(result->class[i].wait.us);
		free(result->class[i].total.us);
	}
	*result = (struct sim_result){ 0 };
}

double sim_mean(const struct sim_values *v)
{
	double sum = 0;

	for (size_t i = 0; i < v->count; i++)
		sum += v->us[i];
	return v->count > 0 ? sum / (double)v->count : 0;
}

uint32_t sim_quantile(const struct sim_values *v, double q)
{
	size_t at = (size_t)(q * (double)v->count);

	if (v->count == 0)
		return 0;
	return v->us[at < v->count ? at : v->count - 1];
}
