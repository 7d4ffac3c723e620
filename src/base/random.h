/* random.h - counter-based random numbers (Philox 4x32-10; Salmon et al., SC11, 2011): a number is a function of its index,
 * so recomputation, any number of threads and resumed runs draw the same ones. */
#ifndef BPTT_BASE_RANDOM_H
#define BPTT_BASE_RANDOM_H

#include <stdint.h>

enum random_purpose { RANDOM_INIT = 1, RANDOM_DROPOUT = 2, RANDOM_DROPOUT_STATE = 3, RANDOM_WINDOW = 4, RANDOM_SAMPLE = 5,
                      RANDOM_CHECK = 6, RANDOM_TRUNCATION = 7, RANDOM_UORO = 8 };

/* A stream of numbers: all of (seed, purpose, layer) apart from every other's. `index` is 64 bit within it. */
struct random_stream { uint32_t key[2]; uint32_t purpose, layer; };
struct random_stream random_open(uint64_t seed, enum random_purpose purpose, uint32_t layer);
void random_block(const struct random_stream *stream, uint64_t index, uint32_t out[4]);
double random_uniform(const struct random_stream *stream, uint64_t index);   /* [0, 1), 53 bits */
double random_normal(const struct random_stream *stream, uint64_t index);    /* mean 0, variance 1 */

#endif
