/* error.c - errors as values. The first one wins, so a caller may let several calls fail and report the cause; the text
 * is always complete, cut to the room there is. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

static void set(bptt_error *error, int code, const char *file, const char *format, va_list arguments)
{
    if (!error || error->code != BPTT_OK)
        return;
    error->code = code;
    size_t used = 0;
    if (file) {
        snprintf(error->file, sizeof error->file, "%s", file);
        used = (size_t)snprintf(error->text, sizeof error->text, "%s: ", error->file);
    }
    vsnprintf(error->text + used, sizeof error->text - used, format, arguments);
}

int fail(bptt_error *error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(error, code, NULL, format, arguments);
    va_end(arguments);
    return code;
}

int fail_file(bptt_error *error, int code, const char *file, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(error, code, file, format, arguments);
    va_end(arguments);
    return code;
}

int fail_memory(bptt_error *error, size_t bytes)
{
    return fail(error, BPTT_ERROR_MEMORY, "out of memory: %zu bytes", bytes);
}
