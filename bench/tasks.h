/* tasks.h - the data of the experiments that the literature compares truncations and online estimators on, made from
 * a seed. A number is a function of (task, seed, lane, draw), so a lane is the same whatever stands beside it.
 * Arrays are [T][B] or [T][B][I], as the library takes them. Real data are read where they are, never invented. */
#ifndef BPTT_BENCH_TASKS_H
#define BPTT_BENCH_TASKS_H

#include <stdint.h>

/* ---- Series: the input at step t is row t, the target row t + 1; so T inputs and targets need T + 1 rows ---- */

/* Mackey and Glass (1977), as the difference equation that online estimators are compared on (one Euler step of 1):
 *     x[t+1] = x[t] + 0.2 x[t-16] / (1 + x[t-16]^10) - 0.1 x[t]
 * after a history of 17 values in [1.2, 1.4) of each lane's own. */
void task_mackey_glass(uint64_t seed, int64_t T, int64_t B, float *series);

/* Lorenz (1963): x' = 10 (y - x), y' = x (28 - z) - y, z' = x y - 8/3 z; Euler steps of 0.01, of which every second
 * is kept, 100 thrown away before; x alone is seen. A lane starts near (1, 1, 1). */
void task_lorenz(uint64_t seed, int64_t T, int64_t B, float *series);

/* The sunspot numbers of a file of lines "year,number", end to end for ever; the lanes start evenly apart, from a place
 * that the seed tells. Returns how many years the file has; 0 where it is not there or has none: nothing is filled. */
int64_t task_sunspots(const char *path, uint64_t seed, int64_t T, int64_t B, float *series);

/* Makes each lane's rows from..to-1 have mean 0 and variance 1, and scales its other rows alike. With from..to at the
 * start of the series nothing of its future is used. A squared error is then a normalised one. */
void task_normalise(int64_t T, int64_t B, int64_t from, int64_t to, float *series);

/* ---- Copying ---- */

enum { TASK_COPY_SYMBOLS = 6, TASK_COPY_LONGEST = 64, TASK_MEMORY_SYMBOLS = 10, TASK_MEMORY_LENGTH = 10 };

/* Copy (Aicher, Foti and Fox 2019): blocks of a random length L in shortest..longest (at most TASK_COPY_LONGEST), end
 * to end: the marker 1 and L - 1 symbols 2..5 are shown while the answer is 0; then L blanks (0) while the answer is
 * what was shown. A lane starts at one of its first 2 longest places.
 * `spliced` cuts the ends of lanes into pieces, as the published data are: every lane is shifted once for itself and
 * once for each lane after it, and what a shift leaves empty at the end is filled from the same few rows, which begin
 * anywhere in a block. Some answers there were never shown, so no memory can know them. */
void task_copy(uint64_t seed, int shortest, int longest, int spliced, int64_t T, int64_t B, int32_t *input,
               int32_t *target);

/* Copy memory (Hochreiter and Schmidhuber 1997; as in Bai, Kolter and Koltun 2018): ten digits 1..8, blank - 1 zeros,
 * eleven nines: T = blank + 20 steps; the answer is 0 until the last ten steps, and there the digits. Without
 * memory the best mean loss is 10 ln 8 / T. */
int64_t task_copy_memory_steps(int64_t blank);
void task_copy_memory(uint64_t seed, int64_t blank, int64_t B, int32_t *input, int32_t *target);

/* ---- Adding (Hochreiter and Schmidhuber 1997; as in Bai, Kolter and Koltun 2018) ---- */

/* input [T][B][2]: a number in [0, 1), and 1 at two different places of the lane, else 0; target [B]: the sum of the
 * two numbers marked, asked for after the last step. Always answering 1 costs 1/6. T is at least 2. */
void task_adding(uint64_t seed, int64_t T, int64_t B, float *input, float *target);

#endif
