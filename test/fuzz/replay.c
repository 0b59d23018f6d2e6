/* replay.c - runs a fuzzer over files, once each, without libFuzzer: replay FILE-OR-DIRECTORY ... */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

static unsigned long ran;

static void run_file(const char *path, size_t size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(size > 0 ? size : 1);

	if (f == NULL || data == NULL || fread(data, 1, size, f) != size) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	fclose(f);
	if (getenv("KRAIT_FUZZ_VERBOSE") != NULL)
		fprintf(stderr, "%s\n", path);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
	ran++;
}

/* False: there is nothing of that name. */
static bool run(const char *path)
{
	struct stat st;
	struct dirent **names;
	int n;

	if (stat(path, &st) != 0)
		return false;
	if (!S_ISDIR(st.st_mode)) {
		run_file(path, (size_t)st.st_size);
		return true;
	}
	if ((n = scandir(path, &names, NULL, alphasort)) < 0)
		return false;
	for (int i = 0; i < n; i++) {
		char sub[1024];

		snprintf(sub, sizeof sub, "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			(void)run(sub);
		free(names[i]);
	}
	free(names);
	return true;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!run(argv[i]))
			fprintf(stderr, "%s: nothing there, skipped\n", argv[i]);
	if (ran == 0) {
		fprintf(stderr, "no inputs\n");
		return EXIT_FAILURE;
	}
	printf("%s: %lu inputs, all well\n", argv[0], ran);
	return EXIT_SUCCESS;
}
