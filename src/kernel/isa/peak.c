/* peak.c - the most that arithmetic can do here: multiply-adds on registers alone, in as many independent chains as keep
 * every unit busy. What products reach is held against it. */
#include "isa.h"

enum { CHAINS = 12, ROUNDS = 4096 };

double NAME(multiply_adds)(void *result)
{
    vec chain[CHAINS], factor = v_load(result), sum = factor;
    for (int c = 0; c < CHAINS; c++)       /* different chains, or the compiler makes them one */
        chain[c] = sum * (real)c;
    for (int round = 0; round < ROUNDS; round++)
        for (int c = 0; c < CHAINS; c++)
            chain[c] = chain[c] * factor + sum;
    for (int c = 1; c < CHAINS; c++)
        chain[0] += chain[c];
    v_store(result, chain[0]);
    return 2.0 * VLEN * CHAINS * ROUNDS;
}
