/* sim_draw.c - chance, service times and arrivals of the simulation; see sim.h. */
#include "sim.h"

#include "splitmix.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Each stream begins elsewhere in one long sequence. */
void sim_random_seed(struct sim_random *r, uint64_t seed, uint64_t stream)
{
	r->state = seed * UINT64_C(0xd1342543de82ef95) + stream * UINT64_C(0xaef17502108ef2d9);
	sim_random_bits(r);
}

uint64_t sim_random_bits(struct sim_random *r)
{
	return splitmix_next(&r->state);
}

double sim_random_unit(struct sim_random *r)
{
	return ((double)(sim_random_bits(r) >> 11) + 1.0) * 0x1p-53;
}

double sim_random_exponential(struct sim_random *r, double mean)
{
	return -mean * log(sim_random_unit(r));
}

/* ---- service times ---- */

static int read_numbers(struct sim_service *s, const char *text)
{
	size_t room = 0;
	double sum = 0;
	char *end;

	for (;; text = end) {
		unsigned long us = strtoul(text, &end, 10);

		if (end == text)
			break;
		if (s->count == room) {
			uint32_t *more;

			room = room == 0 ? 256 : 2 * room;
			more = realloc(s->us, room * sizeof *more);
			if (more == NULL)
				return -ENOMEM;
			s->us = more;
		}
		if (us == 0 || us > UINT32_MAX)
			return -ERANGE;
		s->us[s->count++] = (uint32_t)us;
		sum += (double)us;
	}
	if (s->count == 0 || strspn(text, " \t\n") != strlen(text))
		return -EINVAL;
	s->mean_us = sum / (double)s->count;
	return 0;
}

int sim_services_read(const char *path, struct sim_service *services, int max)
{
	FILE *file = fopen(path, "r");
	size_t room = 0;
	char *line = NULL;
	int count = 0, rc = 0;

	if (file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while (rc == 0 && getline(&line, &room, file) > 0) {
		struct sim_service *s = &services[count];
		size_t len = strcspn(line, " \t\n");

		if (line[0] == '#' || len == 0)
			continue;
		if (count == max || len >= sizeof s->name) {
			rc = -E2BIG;
			break;
		}
		*s = (struct sim_service){ 0 };
		memcpy(s->name, line, len);
		count++;
		rc = read_numbers(s, line + len);
	}
	free(line);
	fclose(file);
	if (rc == 0)
		return count;
	fprintf(stderr, "%s: function %d: %s, expected a name and times in whole microseconds\n",
		path, count, strerror(-rc));
	sim_services_free(services, count);
	return -1;
}

void sim_services_free(struct sim_service *services, int count)
{
	for (int i = 0; i < count; i++)
		free(services[i].us);
}

uint64_t sim_service_draw(const struct sim_service *s, struct sim_random *r)
{
	double us = s->count > 0 ? (double)s->us[sim_random_bits(r) % s->count]
				 : sim_random_exponential(r, s->mean_us);

	return us < 1 ? 1 : (uint64_t)(us + 0.5);
}

/* ---- arrivals ---- */

/* Within a burst or a pause arrivals are Poisson; an exponential gap has no memory, so one that reaches
 * beyond the end is drawn anew from there. */
uint64_t sim_arrivals_next(struct sim_arrivals *a, struct sim_random *r)
{
	const double quiet = (1 - SIM_BURST_FACTOR * SIM_BURST_SHARE) / (1 - SIM_BURST_SHARE);

	if (a->burst_us <= 0) {
		a->at_us += sim_random_exponential(r, a->mean_gap_us);
		return (uint64_t)a->at_us;
	}
	for (;;) {
		double rate = a->burst ? SIM_BURST_FACTOR : quiet;
		double at = a->at_us + sim_random_exponential(r, a->mean_gap_us / rate);

		if (at <= a->till_us) {
			a->at_us = at;
			return (uint64_t)at;
		}
		a->at_us = a->till_us;
		a->burst = !a->burst;
		a->till_us += sim_random_exponential(
			r, a->burst_us * (a->burst ? 1 : (1 - SIM_BURST_SHARE) / SIM_BURST_SHARE));
	}
}

long sim_arrivals_read(const char *path, struct sim_arrival **arrivals)
{
	FILE *file = fopen(path, "r");
	size_t room = 0, len = 0;
	struct sim_arrival *all = NULL;
	char *line = NULL;
	long count = 0;
	bool titled = false;

	*arrivals = NULL;
	if (file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while (getline(&line, &len, file) > 0) {
		unsigned long long at, service;
		unsigned class;

		if (line[0] == '#' || !titled) {
			titled = titled || line[0] != '#';
			continue;
		}
		if ((size_t)count == room) {
			struct sim_arrival *more;

			room = room == 0 ? 1024 : 2 * room;
			more = realloc(all, room * sizeof *more);
			if (more == NULL)
				break;
			all = more;
		}
		if (sscanf(line, "%llu %u %llu", &at, &class, &service) != 3 ||
		    class >= PRIORITIES || (count > 0 && at < all[count - 1].at_us)) {
			fprintf(stderr,
				"%s: arrival %ld: found %.40s expected a time not before the last, "
				"a class from 0 to 2 and a service time\n",
				path, count + 1, line);
			count = -1;
			break;
		}
		all[count++] = (struct sim_arrival){ at, service, class };
	}
	free(line);
	fclose(file);
	if (count < 0)
		free(all);
	else
		*arrivals = all;
	return count;
}
