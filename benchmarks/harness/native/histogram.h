/* Log-linear histogram of durations in ns: 128 steps to each power of two, so a quantile is off by less than 1 %. */
#ifndef HARNESS_HISTOGRAM_H
#define HARNESS_HISTOGRAM_H

#include <stdint.h>
#include <string.h>

#define STEP_BITS 7
#define STEPS (1 << STEP_BITS)
#define BUCKETS (STEPS * (64 - STEP_BITS))

typedef struct {
    uint64_t counts[BUCKETS];
    uint64_t total;
    int64_t maximum;
    double sum;
} Histogram;

static inline int bucket_of(uint64_t value)
{
    if (value < STEPS)
        return (int)value;
    int shift = 63 - __builtin_clzll(value) - STEP_BITS;
    int bucket = (shift + 1) * STEPS + (int)((value >> shift) - STEPS);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The middle of the bucket's range. */
static inline double bucket_value(int bucket)
{
    if (bucket < STEPS)
        return bucket;
    int shift = bucket / STEPS - 1;
    double low = (double)((uint64_t)(STEPS + bucket % STEPS) << shift);
    return low + (double)(1ULL << shift) / 2;
}

static inline void histogram_add(Histogram *histogram, int64_t value_ns)
{
    if (value_ns < 0)
        value_ns = 0;
    histogram->counts[bucket_of((uint64_t)value_ns)]++;
    histogram->total++;
    histogram->sum += (double)value_ns;
    if (value_ns > histogram->maximum)
        histogram->maximum = value_ns;
}

static inline double histogram_quantile(const Histogram *histogram, double quantile)
{
    uint64_t wanted = (uint64_t)(quantile * (double)histogram->total + 0.5), seen = 0;
    if (wanted < 1)
        wanted = 1;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen >= wanted)
            return bucket_value(bucket);
    }
    return (double)histogram->maximum;
}

#endif
