/* Writes to gib=N GiB of fresh memory once and gives it back; stops after seconds=S (default 10).
 *
 * In a virtual machine whose host takes back free memory (balloon with free page reporting) the first write to a page
 * is a fault on the host, as dear as 3 CPU-seconds a GB: it would drown what a broker or a floor spends on appending.
 * Pages touched a moment ago are the next to be given to the page cache. */
#define _GNU_SOURCE
#include "options.h"
#include <sys/mman.h>

#define BLOCK_BYTES (64UL << 20)
#define BLOCKS_PER_GIB 16

int main(int count, char **arguments)
{
    int64_t gib = number_option(count, arguments, "gib", NULL);
    int64_t end = now_ns() + number_option(count, arguments, "seconds", "10") * NS_PER_S;
    for (int64_t i = 0; i < gib * BLOCKS_PER_GIB && now_ns() < end; i++) {
        void *block = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
            fail("no memory for %lld GiB", (long long)gib);
        madvise(block, BLOCK_BYTES, MADV_HUGEPAGE);
        memset(block, 1, BLOCK_BYTES);
    }
    return 0;
}
