/* isas.c - prints the instruction sets that this machine can run, for the test runner. */
#include <stdio.h>

#include "../src/base/cpu.h"

int main(void)
{
    for (int isa = 0; isa < ISA_COUNT; isa++) {
        if (isa_available((enum isa)isa))
            puts(isa_name[isa]);
    }
    return 0;
}
