/* sim_theory.c - formulas that the simulation is held against; see sim.h. Times are in service times. */
#include "sim.h"

#include <math.h>

/* Erlang B, by its recursion: the chance that all of c servers are busy when nobody waits. */
static double erlang_b(unsigned c, double offered)
{
	double b = 1;

	for (unsigned n = 1; n <= c; n++)
		b = offered * b / (n + offered * b);
	return b;
}

double theory_must_wait(unsigned c, double load)
{
	double b = erlang_b(c, c * load);

	return b / (1 - load * (1 - b));
}

double theory_mean_wait(unsigned c, double load)
{
	return theory_must_wait(c, load) / (c * (1 - load));
}

double theory_waits_longer(unsigned c, double load, double t)
{
	return theory_must_wait(c, load) * exp(-(double)c * (1 - load) * t);
}

/* Kella and Yechiali 1985, for c servers: who waits finds all of them busy, which come free c times as often;
 * then Cobham's (1954) factors for those ahead in line and those that come meanwhile. */
double theory_priority_wait(unsigned c, double load, double above, double with)
{
	return theory_must_wait(c, load) / (c * (1 - above) * (1 - with));
}

/* All states weighed by that of c busy servers: those below sum up to 1 / B - 1 of it, and who waits has
 * load, load^2, ... times it. */
double theory_refused(unsigned c, double load, unsigned limit)
{
	double below = 1 / erlang_b(c, c * load) - 1, above = 0, last = 1;

	for (unsigned k = 0; k <= limit; k++) {
		above += last;
		last *= load;
	}
	return pow(load, limit) / (below + above);
}

/* By the virtual wait v (Gnedenko and Kovalenko): with p the chance of c - 1 busy, it has the density
 * lambda p e^(-(c - lambda) v) up to t, and from there falls as e^(-c v), since nobody joins who would wait
 * longer than t. */
double theory_gives_up(unsigned c, double load, double t)
{
	double lambda = c * load, slope = c - lambda;
	/* of p: the states with a free server. B is that of c servers, and p(c - 1) is p(c) / load. */
	double below = load * (1 / erlang_b(c, lambda) - 1);
	double joined = lambda * (1 - exp(-slope * t)) / slope;
	double given_up = lambda * exp(-slope * t) / c;

	return given_up / (below + joined + given_up);
}
