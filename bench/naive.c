/* naive.c - the loops that one writes first, as a contender: one thread, one row after the other, a sum for each unit. It is
 * slow, and it is the witness where no other peer is present. Its gate order and arrays are contest.h's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "contest.h"

struct naive {
    const struct problem *problem;
    long gates, n;
    float *gate;                           /* [T][B][G][H], activated */
    float *product;                        /* [T][B][H]: what gru's reset gate scales */
    float *h, *c;                          /* [T + 1][B][H] */
    float *da, *dp;                        /* [G][H] of one row: gradients by W x + b and by U h */
    float *dh, *dc;                        /* [B][H], by the state after the step at hand */
    struct gradient gradient;
};

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

/* ---- a row of one step forward ---- */

static float dot(const float *a, const float *b, long n)
{
    float sum = 0;
    for (long i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static float lstm_unit(float *gate, long n, float c, float *c_next)
{
    float i = sigmoid(gate[0]), f = sigmoid(gate[n]), g = tanhf(gate[2 * n]), o = sigmoid(gate[3 * n]);
    gate[0] = i;
    gate[n] = f;
    gate[2 * n] = g;
    gate[3 * n] = o;
    *c_next = f * c + i * g;
    return o * tanhf(*c_next);
}

static float gru_unit(float *gate, long n, float h, float product)
{
    gate[0] = sigmoid(gate[0]);
    gate[n] = sigmoid(gate[n]);
    gate[2 * n] = tanhf(gate[2 * n] + gate[n] * product);
    return (1 - gate[0]) * gate[2 * n] + gate[0] * h;
}

static void forward_row(struct naive *s, long t, long row)
{
    const struct problem *p = s->problem;
    long n = s->n, at = (t * p->batch + row) * n, next = at + p->batch * n;
    const float *x = p->x + at, *h = s->h + at;
    float *gate = s->gate + at * s->gates, *product = s->product + at;
    for (long g = 0; g < s->gates; g++)
        for (long i = 0; i < n; i++) {
            long k = g * n + i;
            float recurrent = dot(p->U + k * n, h, n);
            gate[k] = p->b[k] + dot(p->W + k * n, x, n);
            if (g == 2 && s->gates == 3)
                product[i] = recurrent + p->b[3 * n + i];
            else
                gate[k] += recurrent;
        }
    for (long i = 0; i < n; i++)
        s->h[next + i] = s->gates == 4   ? lstm_unit(gate + i, n, s->c[at + i], &s->c[next + i])
                         : s->gates == 3 ? gru_unit(gate + i, n, h[i], product[i])
                                         : (gate[i] = tanhf(gate[i]));
}

/* ---- and backward ---- */

/* dh comes in as the gradient by h', goes out as its part that reaches h past the products; the same for dc. */
static void lstm_back(const struct naive *s, long i, const float *gate, float c, float c_next, float *dh, float *dc)
{
    long n = s->n;
    float in = gate[0], f = gate[n], g = gate[2 * n], o = gate[3 * n], tc = tanhf(c_next);
    float d = *dc + *dh * o * (1 - tc * tc);
    s->da[i] = d * g * in * (1 - in);
    s->da[n + i] = d * c * f * (1 - f);
    s->da[2 * n + i] = d * in * (1 - g * g);
    s->da[3 * n + i] = *dh * tc * o * (1 - o);
    *dc = d * f;
    *dh = 0;
}

static void gru_back(const struct naive *s, long i, const float *gate, float h, float product, float *dh)
{
    long n = s->n;
    float z = gate[0], r = gate[n], candidate = gate[2 * n], d = *dh * (1 - z) * (1 - candidate * candidate);
    s->da[i] = *dh * (h - candidate) * z * (1 - z);
    s->da[n + i] = d * product * r * (1 - r);
    s->da[2 * n + i] = d;
    s->dp[2 * n + i] = d * r;
    *dh *= z;
}

static void add_scaled(float *to, float factor, const float *from, long n)
{
    for (long i = 0; i < n; i++)
        to[i] += factor * from[i];
}

static void backward_row(struct naive *s, long t, long row)
{
    const struct problem *p = s->problem;
    struct gradient *d = &s->gradient;
    long n = s->n, at = (t * p->batch + row) * n, next = at + p->batch * n;
    const float *gate = s->gate + at * s->gates;
    float *dh = s->dh + row * n, *dc = s->dc + row * n;
    add_scaled(dh, 1, p->dy + at, n);
    for (long i = 0; i < n; i++) {
        if (s->gates == 4)
            lstm_back(s, i, gate + i, s->c[at + i], s->c[next + i], &dh[i], &dc[i]);
        else if (s->gates == 3)
            gru_back(s, i, gate + i, s->h[at + i], s->product[at + i], &dh[i]);
        else {
            s->da[i] = dh[i] * (1 - gate[i] * gate[i]);
            dh[i] = 0;
        }
    }
    memcpy(s->dp, s->da, (size_t)((s->gates == 3 ? 2 : s->gates) * n) * sizeof(float));
    memset(d->dx + at, 0, (size_t)n * sizeof(float));
    for (long k = 0; k < s->gates * n; k++) {
        add_scaled(d->dW + k * n, s->da[k], p->x + at, n);
        add_scaled(d->dU + k * n, s->dp[k], s->h + at, n);
        add_scaled(d->dx + at, s->da[k], p->W + k * n, n);
        add_scaled(dh, s->dp[k], p->U + k * n, n);
    }
    add_scaled(d->db, 1, s->da, s->gates * n);
    if (s->gates == 3)
        add_scaled(d->db + 3 * n, 1, s->dp + 2 * n, n);
}

/* ---- the contender ---- */

static void run(void *state)
{
    struct naive *s = state;
    const struct problem *p = s->problem;
    size_t matrix = (size_t)(s->gates * s->n * s->n) * sizeof(float), rows = (size_t)(p->batch * s->n) * sizeof(float);
    memset(s->gradient.dW, 0, matrix);
    memset(s->gradient.dU, 0, matrix);
    memset(s->gradient.db, 0, (size_t)(bias_count(p) * s->n) * sizeof(float));
    memset(s->dh, 0, rows);
    memset(s->dc, 0, rows);
    for (long t = 0; t < p->steps; t++)
        for (long row = 0; row < p->batch; row++)
            forward_row(s, t, row);
    for (long t = p->steps; t-- > 0;)
        for (long row = 0; row < p->batch; row++)
            backward_row(s, t, row);
}

static void collect(void *state, struct gradient *to)
{
    const struct naive *s = state;
    const struct problem *p = s->problem;
    size_t rows = (size_t)(p->batch * s->n) * sizeof(float), matrix = (size_t)(s->gates * s->n * s->n) * sizeof(float);
    memcpy(to->y, s->h + p->batch * s->n, rows * (size_t)p->steps);
    memcpy(to->dx, s->gradient.dx, rows * (size_t)p->steps);
    memcpy(to->dh, s->dh, rows);
    memcpy(to->dc, s->dc, rows);
    memcpy(to->dW, s->gradient.dW, matrix);
    memcpy(to->dU, s->gradient.dU, matrix);
    memcpy(to->db, s->gradient.db, (size_t)(bias_count(p) * s->n) * sizeof(float));
}

static void leave(void *state)
{
    struct naive *s = state;
    float *all[] = {s->gate, s->product, s->h, s->c, s->da, s->dp, s->dh, s->dc,
                    s->gradient.dx, s->gradient.dW, s->gradient.dU, s->gradient.db};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(s);
}

int naive_open(struct contender *contender, const struct problem *p)
{
    struct naive *s = take(sizeof *s);
    size_t n = (size_t)p->hidden, gates = (size_t)gate_count(p), row = (size_t)p->batch * n, rows = row * (size_t)p->steps;
    *s = (struct naive){.problem = p, .gates = (long)gates, .n = p->hidden};
    s->gate = take(rows * gates * sizeof(float));
    s->product = take(rows * sizeof(float));
    s->h = take((rows + row) * sizeof(float));
    s->c = take((rows + row) * sizeof(float));
    s->da = take(gates * n * sizeof(float));
    s->dp = take(gates * n * sizeof(float));
    s->dh = take(row * sizeof(float));
    s->dc = take(row * sizeof(float));
    s->gradient = (struct gradient){.dx = take(rows * sizeof(float)), .dW = take(gates * n * n * sizeof(float)),
                                    .dU = take(gates * n * n * sizeof(float)), .db = take((gates + 1) * n * sizeof(float))};
    memcpy(s->h, p->h, row * sizeof(float));
    if (p->c)
        memcpy(s->c, p->c, row * sizeof(float));
    *contender = (struct contender){.name = "naive", .share = 1, .state = s, .run = run, .collect = collect, .close = leave};
    return 1;
}
