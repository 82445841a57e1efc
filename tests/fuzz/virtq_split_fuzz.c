/*
 * virtq_split_fuzz.c - the device's side of a split virtqueue against any
 * driver. The script's language: virtq_script.h.
 */
#include "tests/fuzz/virtq_script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_queue(data, size, false);
}
