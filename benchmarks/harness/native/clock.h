/* Time, CPU time of other processes, and the one way to give up. */
#ifndef HARNESS_CLOCK_H
#define HARNESS_CLOCK_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL

__attribute__((format(printf, 1, 2), noreturn)) static inline void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static inline int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        return -1;
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static inline int64_t now_ns(void) { return read_clock(CLOCK_MONOTONIC); }

/* CPU time of a whole process in ns, all its threads, dead ones too; 0 once it is gone.
 * The scheduler's own sum, which /proc/PID/stat shows in steps of 10 ms. */
static inline int64_t process_cpu_ns(int pid)
{
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) != 0)
        return 0;
    int64_t spent = read_clock(clock);
    return spent < 0 ? 0 : spent;
}

#endif
