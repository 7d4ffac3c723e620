/* version.c - the version of the library that runs; the number itself stands in bptt.h alone. */
#include "../../include/bptt.h"

const char *bptt_version(void)
{
    return BPTT_VERSION;
}
