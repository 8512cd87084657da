/* CRC-32C (Castagnoli, RFC 3720), by the fastest way this processor has. */
#ifndef PYSTREAM_CRC32C_H
#define PYSTREAM_CRC32C_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t (*crc32c_function)(uint32_t crc, const void *data, size_t size);

/* Continues `crc` (0 at the start) over `size` bytes. Thread-safe; crc32c_prepare() must have run. */
extern crc32c_function pystream_crc32c;

/* Builds the tables and chooses the implementation. Runs once, before any thread calls pystream_crc32c. */
void crc32c_prepare(void);

/* The implementations usable on this processor, the chosen one first: for tests and benchmarks. */
int crc32c_implementation_count(void);
const char *crc32c_implementation_name(int index);
crc32c_function crc32c_implementation(int index);

#endif
