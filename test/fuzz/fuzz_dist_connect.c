/* fuzz_dist_connect.c - we connect to a stranger; see fuzz_dist.h for the input and for what is promised. */
#include "fuzz_dist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_dist(true, data, size);
	return 0;
}
