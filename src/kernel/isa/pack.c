/* pack.c - matrices into panels of 16 columns, the steps of k one after another; in bfloat16 two steps side by side, as the
 * machine's own instruction takes them. */
#include "tile.h"

/* A few columns over a few steps of k, [k][PANEL]. One of the strides is 1, as a rule, and then a line of w is read whole. */
static void pack_square(long k, long columns, const elem *from, long k_stride, long n_stride, elem *to)
{
    if (PAIR == 1 && n_stride == 1 && columns == PANEL) {
        for (long i = 0; i < k; i++)
            memcpy(to + i * PANEL, from + i * k_stride, PANEL * sizeof(elem));
        return;
    }
    for (long l = 0; l < columns; l++)
        for (long i = 0; i < k; i++)
            to[i / PAIR * PAIR * PANEL + l * PAIR + i % PAIR] = from[i * k_stride + l * n_stride];
    for (long i = 0; i < up(k, PAIR); i++)
        for (long l = i < k ? columns : 0; l < PANEL; l++)
            to[i / PAIR * PAIR * PANEL + l * PAIR + i % PAIR] = 0;
}

void NAME(pack)(long k, long n, const void *w, long k_stride, long n_stride, void *packed)
{
    enum { SQUARE_STEPS = 16 };
    const elem *from = w;
    elem *to = packed;
    for (long j = 0; j < n; j += PANEL, from += PANEL * n_stride, to += up(k, PAIR) * PANEL)
        for (long i = 0; i < k; i += SQUARE_STEPS)
            pack_square(least(k - i, SQUARE_STEPS), least(n - j, PANEL), from + i * k_stride, k_stride, n_stride, to + i * PANEL);
}
