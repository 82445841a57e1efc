/*
 * replay.c - feeds files to a fuzzer's entry point: the corpus as a test.
 *
 * Runs in: a test program. Trusts: nothing it reads.
 * Usage: NAME_replay FILE...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLAY_BYTES_MAX (1u << 20)

int
main(int argc, char **argv)
{
	uint8_t *data;
	size_t size;
	FILE *file;
	int i;

	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (i = 1; i < argc; i++) {
		file = fopen(argv[i], "rbe");
		data = malloc(REPLAY_BYTES_MAX);
		if (!file || !data)
			return 1;
		size = fread(data, 1, REPLAY_BYTES_MAX, file);
		fclose(file);
		/* Exactly as long as it is, so that sanitizers see overreads */
		data = realloc(data, size ? size : 1);
		if (!data)
			return 1;
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	printf("%d inputs\n", argc);
	return 0;
}
