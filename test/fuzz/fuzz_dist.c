/* fuzz_dist.c - a stranger connects to us; see fuzz_dist.h for the input and for what is promised. */
#include "fuzz_dist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_dist(false, data, size);
	return 0;
}
