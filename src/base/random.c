/* random.c - Philox 4x32 with 10 rounds: a bijection of a 128-bit counter under a 64-bit key. The seed is the key;
 * the counter holds the index, the purpose and the layer, so streams of different purposes or layers never share a
 * block. */
#include "random.h"

#include <math.h>

static void philox_round(uint32_t counter[4], const uint32_t key[2])
{
    uint64_t p0 = (uint64_t)0xD2511F53u * counter[0];
    uint64_t p1 = (uint64_t)0xCD9E8D57u * counter[2];
    uint32_t c0 = (uint32_t)(p1 >> 32) ^ counter[1] ^ key[0];
    uint32_t c2 = (uint32_t)(p0 >> 32) ^ counter[3] ^ key[1];
    counter[0] = c0;
    counter[1] = (uint32_t)p1;
    counter[2] = c2;
    counter[3] = (uint32_t)p0;
}

struct random_stream random_open(uint64_t seed, enum random_purpose purpose, uint32_t layer)
{
    return (struct random_stream){{(uint32_t)seed, (uint32_t)(seed >> 32)}, (uint32_t)purpose, layer};
}

void random_block(const struct random_stream *stream, uint64_t index, uint32_t out[4])
{
    uint32_t key[2] = {stream->key[0], stream->key[1]};
    out[0] = (uint32_t)index;
    out[1] = (uint32_t)(index >> 32);
    out[2] = stream->purpose;
    out[3] = stream->layer;
    for (int round = 0; round < 10; round++) {
        philox_round(out, key);
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

/* The upper 53 of 64 bits, as a number in [0, 1). */
static double unit(uint32_t high, uint32_t low)
{
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

double random_uniform(const struct random_stream *stream, uint64_t index)
{
    uint32_t bits[4];
    random_block(stream, index, bits);
    return unit(bits[0], bits[1]);
}

/* Box and Muller 1958; 1 - u is in (0, 1], so the logarithm is finite. */
double random_normal(const struct random_stream *stream, uint64_t index)
{
    uint32_t bits[4];
    random_block(stream, index, bits);
    double radius = sqrt(-2 * log(1 - unit(bits[0], bits[1])));
    return radius * cos(2 * 3.14159265358979323846 * unit(bits[2], bits[3]));
}
