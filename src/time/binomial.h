/* binomial.h - the optimal splitting of a stretch of the time axis whose states cannot all be kept (Griewank 1992; Griewank and
 * Walther 2000), over leaves that are recorded whole.
 *
 * A stretch of n units is to be reversed; its first state is in one of c slots, the others are free; `leaf` units fit on tape.
 * If no unit may be advanced over more than r times, it can have at most
 *
 *     beta_c(r) = leaf * binom(c + r, c),   as   beta_c(r) = beta_c(r - 1) + beta_{c-1}(r),   beta_0 = beta_c(0) = leaf:
 *
 * advance over the left part once, keep, do the right part with a slot less, then the left part with r - 1. */
#ifndef BPTT_TIME_BINOMIAL_H
#define BPTT_TIME_BINOMIAL_H

/* Fewest units advanced over, all times counted. slots >= 1 unless units <= leaf. */
double binomial_cost(long units, long leaf, long slots);
/* Units of the left part of an optimal split; units > leaf, slots >= 1. */
long binomial_split(long units, long leaf, long slots);

#endif
