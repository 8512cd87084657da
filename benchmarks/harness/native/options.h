/* `name=value` arguments, the same for every program of this folder. */
#ifndef HARNESS_OPTIONS_H
#define HARNESS_OPTIONS_H

#include "clock.h"
#include <string.h>

static inline const char *option(int count, char **arguments, const char *name, const char *fallback)
{
    size_t size = strlen(name);
    for (int i = 1; i < count; i++)
        if (!strncmp(arguments[i], name, size) && arguments[i][size] == '=')
            return arguments[i] + size + 1;
    if (!fallback)
        fail("argument %s= is missing", name);
    return fallback;
}

static inline int64_t number_option(int count, char **arguments, const char *name, const char *fallback)
{
    const char *text = option(count, arguments, name, fallback);
    char *end;
    int64_t value = strtoll(text, &end, 10);
    if (end == text || *end)
        fail("%s=%s is no number", name, text);
    return value;
}

#endif
