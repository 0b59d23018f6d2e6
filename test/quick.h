/* quick.h - with KRAIT_QUICK set, as under valgrind (test/valgrind.sh), fewer rounds and no look at the clock. */
#ifndef KRAIT_TEST_QUICK_H
#define KRAIT_TEST_QUICK_H

#include <stdbool.h>
#include <stdlib.h>

static inline bool quick(void)
{
	return getenv("KRAIT_QUICK") != NULL;
}

#endif
