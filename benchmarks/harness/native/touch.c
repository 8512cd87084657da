/* Writes to gib=N GiB of fresh memory once and gives it back.
 *
 * In a virtual machine whose host takes back free memory (balloon with free page reporting) the first write to a page
 * is a fault on the host, as dear as 3 CPU-seconds a GB: it would drown what a broker or a floor spends on appending.
 * Pages touched a moment ago are the next to be given to the page cache. */
#define _GNU_SOURCE
#include "options.h"
#include <sys/mman.h>

#define BLOCK_BYTES (1UL << 30)

int main(int count, char **arguments)
{
    int64_t blocks = number_option(count, arguments, "gib", NULL);
    for (int64_t i = 0; i < blocks; i++) {
        void *block = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
            fail("no memory for %lld GiB", (long long)blocks);
        madvise(block, BLOCK_BYTES, MADV_HUGEPAGE);
        memset(block, 1, BLOCK_BYTES);
    }
    return 0;
}
