/* mem.c - malloc with a switch that tests can throw; see mem.h. */
#include "mem.h"

#include <stdlib.h>
#include <string.h>

long mem_fail_after = -1;
unsigned long mem_asked;

bool mem_must_fail(void)
{
	if (mem_fail_after < 0)
		return false;
	return mem_fail_after-- == 0;
}

void *mem_alloc(size_t len)
{
	mem_asked++;
	return mem_must_fail() ? NULL : malloc(len);
}

void *mem_zalloc(size_t len)
{
	mem_asked++;
	return mem_must_fail() ? NULL : calloc(1, len);
}

void *mem_realloc(void *ptr, size_t len)
{
	mem_asked++;
	return mem_must_fail() ? NULL : realloc(ptr, len);
}

char *mem_dup(const void *data, size_t len)
{
	char *copy = mem_alloc(len + 1);

	if (copy == NULL)
		return NULL;
	if (len > 0)
		memcpy(copy, data, len);
	copy[len] = '\0';
	return copy;
}

void mem_free(void *ptr)
{
	free(ptr);
}
