/*
 * CRC-32C in up to four ways; crc32c_prepare() lists those that the processor can run, fastest first.
 *
 *   sse42-clmul   three crc32 instructions in flight (each takes three cycles, one starts per cycle), joined by a
 *                 carry-less product
 *   sse42         one crc32 instruction after the other
 *   arm-crc       the AArch64 CRC extension
 *   table         slicing by eight; also the reference that the others are built on and tested against
 *
 * Joining. Let G be the polynomial and let words be bit-reflected (bit i stands for x^(31-i)). Running a CRC state over
 * n zero bytes multiplies it by x^(8n) mod G. So for three neighbouring parts of L bytes, with states a (from the old
 * crc), b and c (from 0):
 *
 *     state after all three  =  a * x^(16L)  +  b * x^(8L)  +  c
 *
 * The carry-less product of two reflected words, read as a reflected 64-bit word, is their product times x; the crc32
 * instruction over those 64 bits multiplies by x^32 and reduces. Together: crc32(0, clmul(a, K)) = a * K * x^33, and K
 * = x^(8L - 33) gives the shift by L. shift_factor[n] holds K for L = 8n.  shift_factor[1] = x^31, which is the word 1,
 * and each next one is eight zero bytes further.
 */
#include "crc32c.h"
#include "bytes.h"

#if defined(__x86_64__)
#define PYSTREAM_CRC32C_X86 1
#include <nmmintrin.h>
#include <wmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#define PYSTREAM_CRC32C_ARM 1
#include <arm_acle.h>
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

#define REFLECTED_POLYNOMIAL 0x82F63B78u
#define LONGEST_PART_WORDS 512                 /* three parts of 4 KiB per round */
#define SHORTEST_INTERLEAVED 512               /* bytes; below, the joining costs more than it saves */

static uint32_t table[8][256];

static void build_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (REFLECTED_POLYNOMIAL & (0u - (crc & 1u)));
        table[0][byte] = crc;
    }
    for (int distance = 1; distance < 8; distance++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t nearer = table[distance - 1][byte];
            table[distance][byte] = (nearer >> 8) ^ table[0][nearer & 0xff];
        }
}

static uint32_t advance_by_table(uint32_t state, uint64_t word)
{
    word ^= state;
    return table[7][word & 0xff] ^ table[6][(word >> 8) & 0xff] ^ table[5][(word >> 16) & 0xff]
         ^ table[4][(word >> 24) & 0xff] ^ table[3][(word >> 32) & 0xff] ^ table[2][(word >> 40) & 0xff]
         ^ table[1][(word >> 48) & 0xff] ^ table[0][word >> 56];
}

static uint32_t crc32c_table(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *next = data;
    uint32_t state = ~crc;
    for (; size >= 8; size -= 8, next += 8)
        state = advance_by_table(state, load_le64(next));
    for (; size > 0; size--)
        state = (state >> 8) ^ table[0][(state ^ *next++) & 0xff];
    return ~state;
}

#ifdef PYSTREAM_CRC32C_X86
static uint32_t shift_factor[2 * LONGEST_PART_WORDS + 1];

static void build_shift_factors(void)
{
    shift_factor[1] = 1;
    for (int words = 2; words <= 2 * LONGEST_PART_WORDS; words++)
        shift_factor[words] = advance_by_table(shift_factor[words - 1], 0);
}

__attribute__((target("sse4.2")))
static uint64_t run_serial(uint64_t state, const uint8_t *next, size_t size)
{
    for (; size >= 8; size -= 8, next += 8)
        state = _mm_crc32_u64(state, load_le64(next));
    if (size & 4) {
        state = _mm_crc32_u32((uint32_t)state, load_le32(next));
        next += 4;
    }
    for (size &= 3; size > 0; size--)
        state = _mm_crc32_u8((uint32_t)state, *next++);
    return state;
}

__attribute__((target("sse4.2")))
static uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t size)
{
    return ~(uint32_t)run_serial((uint32_t)~crc, data, size);
}

__attribute__((target("sse4.2,pclmul")))
static uint64_t unreduced_shift(uint64_t state, uint32_t factor)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state), _mm_cvtsi32_si128((int)factor), 0x00);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

/* Three neighbouring parts of `words` 8-byte words each. */
__attribute__((target("sse4.2,pclmul")))
static uint64_t run_interleaved(uint64_t state, const uint8_t *next, size_t words)
{
    const uint8_t *second = next + 8 * words, *third = next + 16 * words, *end = second;
    uint64_t second_state = 0, third_state = 0;
    for (; next < end; next += 8, second += 8, third += 8) {
        state = _mm_crc32_u64(state, load_le64(next));
        second_state = _mm_crc32_u64(second_state, load_le64(second));
        third_state = _mm_crc32_u64(third_state, load_le64(third));
    }
    uint64_t shifted = unreduced_shift(state, shift_factor[2 * words]);
    uint64_t second_shifted = unreduced_shift(second_state, shift_factor[words]);
    return _mm_crc32_u64(0, shifted ^ second_shifted) ^ third_state;
}

__attribute__((target("sse4.2,pclmul")))
static uint32_t crc32c_sse42_clmul(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *next = data;
    uint64_t state = (uint32_t)~crc;
    while (size >= SHORTEST_INTERLEAVED) {
        size_t words = size / 24 < LONGEST_PART_WORDS ? size / 24 : LONGEST_PART_WORDS;
        state = run_interleaved(state, next, words);
        next += 24 * words;
        size -= 24 * words;
    }
    return ~(uint32_t)run_serial(state, next, size);
}
#endif

#ifdef PYSTREAM_CRC32C_ARM
__attribute__((target("+crc")))
static uint32_t crc32c_arm(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *next = data;
    uint32_t state = ~crc;
    for (; size >= 8; size -= 8, next += 8)
        state = __crc32cd(state, load_le64(next));
    if (size & 4) {
        state = __crc32cw(state, load_le32(next));
        next += 4;
    }
    for (size &= 3; size > 0; size--)
        state = __crc32cb(state, *next++);
    return ~state;
}
#endif

static struct {
    const char *name;
    crc32c_function function;
} implementations[4];
static int implementation_count;

crc32c_function pystream_crc32c;

static void add(const char *name, crc32c_function function)
{
    implementations[implementation_count].name = name;
    implementations[implementation_count].function = function;
    implementation_count++;
}

void crc32c_prepare(void)
{
    if (implementation_count > 0)
        return;
    build_table();
#ifdef PYSTREAM_CRC32C_X86
    build_shift_factors();
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
        add("sse42-clmul", crc32c_sse42_clmul);
    if (__builtin_cpu_supports("sse4.2"))
        add("sse42", crc32c_sse42);
#endif
#ifdef PYSTREAM_CRC32C_ARM
    if (getauxval(AT_HWCAP) & HWCAP_CRC32)
        add("arm-crc", crc32c_arm);
#endif
    add("table", crc32c_table);
    pystream_crc32c = implementations[0].function;
}

int crc32c_implementation_count(void)
{
    return implementation_count;
}

const char *crc32c_implementation_name(int index)
{
    return implementations[index].name;
}

crc32c_function crc32c_implementation(int index)
{
    return implementations[index].function;
}
