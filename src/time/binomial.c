/* binomial.c - counts of the optimal splitting, without tables: a handful of multiplications each. */
#include "binomial.h"

#include <limits.h>

static long multiply(long a, long b)
{
    long product;
    return __builtin_mul_overflow(a, b, &product) ? LONG_MAX : product;
}

/* leaf * binom(slots + repeats, slots); LONG_MAX where it does not fit. */
static long capacity(long leaf, long slots, long repeats)
{
    long few = slots < repeats ? slots : repeats, many = slots + repeats - few, ways = 1;
    for (long i = 1; i <= few; i++) {
        ways = multiply(ways, many + i);
        if (ways == LONG_MAX)
            return LONG_MAX;
        ways /= i;
    }
    return multiply(leaf, ways);
}

/* The least r with beta_slots(r) >= units; *below: sum of binom(slots + j, slots) over j < r. */
static long least_repeats(long units, long leaf, long slots, double *below)
{
    long leaves = (units - 1) / leaf + 1, r = 0, ways = 1;
    *below = 0;
    if (slots == 1) {
        r = leaves - 1;
        *below = (double)r * (double)leaves / 2;
        return r;
    }
    while (ways < leaves) {
        *below += (double)ways;
        ways = multiply(ways, slots + ++r);
        ways = ways == LONG_MAX ? ways : ways / r;
    }
    return r;
}

/* beta(j) - beta(j - 1) units are advanced over j times, the last r times what is left. */
double binomial_cost(long units, long leaf, long slots)
{
    double below;
    long r = least_repeats(units, leaf, slots, &below);
    return (double)r * (double)units - (double)leaf * below;
}

/* Any left part k between beta_c(r - 2) and beta_c(r - 1) whose right part lies between beta_{c-1}(r - 1) and beta_{c-1}(r)
 * is optimal; this is the longest. */
long binomial_split(long units, long leaf, long slots)
{
    double below;
    long r = least_repeats(units, leaf, slots, &below);
    long left = capacity(leaf, slots, r - 1), rest = units - capacity(leaf, slots - 1, r - 1);
    return left < rest ? left : rest;
}
