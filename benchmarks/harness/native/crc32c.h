/* CRC-32C of the SSE4.2 / ARMv8 instruction: three streams at once from 3 KiB, joined by shifting tables.
 * The floor needs a fast one, or it would be a floor of CRC and not of the machine. */
#ifndef HARNESS_CRC32C_H
#define HARNESS_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define CRC_FEATURE __attribute__((target("sse4.2")))
#define crc_word(crc, word) _mm_crc32_u64((crc), (word))
#define crc_byte(crc, byte) _mm_crc32_u8((uint32_t)(crc), (byte))
#elif defined(__aarch64__)
#include <arm_acle.h>
#define CRC_FEATURE __attribute__((target("+crc")))
#define crc_word(crc, word) __crc32cd((uint32_t)(crc), (word))
#define crc_byte(crc, byte) __crc32cb((uint32_t)(crc), (byte))
#else
#error "no CRC-32C instruction known for this machine"
#endif

#define LANE 1024
static uint32_t crc_shift_table[4][256]; /* CRC register -> register after LANE zero bytes */

CRC_FEATURE static uint32_t crc_serial(uint32_t crc, const uint8_t *data, size_t size)
{
    uint64_t state = crc, word;
    for (; size >= 8; data += 8, size -= 8) {
        memcpy(&word, data, 8);
        state = crc_word(state, word);
    }
    for (; size > 0; data++, size--)
        state = crc_byte(state, *data);
    return (uint32_t)state;
}

static inline uint32_t crc_shift(uint32_t crc)
{
    return crc_shift_table[0][crc & 255] ^ crc_shift_table[1][crc >> 8 & 255] ^ crc_shift_table[2][crc >> 16 & 255] ^
           crc_shift_table[3][crc >> 24];
}

static void crc32c_init(void)
{
    static const uint8_t zeros[LANE];
    for (int byte = 0; byte < 4; byte++)
        for (uint32_t value = 0; value < 256; value++)
            crc_shift_table[byte][value] = crc_serial(value << (8 * byte), zeros, LANE);
}

CRC_FEATURE static uint32_t crc32c(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (; size >= 3 * LANE; data += 3 * LANE, size -= 3 * LANE) {
        uint64_t first = crc, second = 0, third = 0, words[3];
        for (int i = 0; i < LANE; i += 8) {
            memcpy(&words[0], data + i, 8);
            memcpy(&words[1], data + LANE + i, 8);
            memcpy(&words[2], data + 2 * LANE + i, 8);
            first = crc_word(first, words[0]);
            second = crc_word(second, words[1]);
            third = crc_word(third, words[2]);
        }
        crc = crc_shift(crc_shift((uint32_t)first) ^ (uint32_t)second) ^ (uint32_t)third;
    }
    return crc_serial(crc, data, size) ^ 0xFFFFFFFFu;
}

#endif
