/* test_chapter.c - Dive into Deep Learning, section 9.7, by equation number, in double precision: what the chapter writes
 * down is computed here with plain loops, and the library must agree to 1e-12. That is a few thousand roundings of 1e-16:
 * the sums run over at most 100 steps and a few dozen elements. */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

enum { I = 3, H = 4, O = 2, LONGEST = 100, W = H * I + H * H + H };    /* W: parameters of the tanh network */
static const double TOLERANCE = 1e-12;
static const int lengths[] = {1, 2, 7, 30, LONGEST};

/* ---- the library's side ---- */

struct problem {
    bptt_model *model;
    int steps;
    double x[LONGEST][I], y[LONGEST][H], h0[H];
    bptt_arrays gradients;
    double loss;
};

static double random_number(void)
{
    return 2 * ((double)rand() / RAND_MAX) - 1;
}

static const double *gradient(const struct problem *p, const char *name)
{
    const bptt_array *array = bptt_arrays_find(&p->gradients, name);
    static const double nothing[LONGEST * H * H];
    if (!array)
        tap_ok(0, "there is a gradient of %s", name);
    return array ? array->data : nothing;
}

static void parameter(const struct problem *p, const char *name, double *to)
{
    bptt_array view;
    for (size_t i = 0; i < bptt_model_parameter_count(p->model); i++) {
        bptt_model_parameter(p->model, i, &view);
        if (strcmp(view.name, name))
            continue;
        for (int64_t k = 0; k < bptt_array_length(&view); k++)
            to[k] = ((float *)view.data)[k];
    }
}

static int make_model(struct problem *p, const char *cell_name, int head, bptt_error *error)
{
    bptt_cell *cell;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open(cell_name, &cell, error))
        return 0;
    config.cell = cell;
    config.inputs = I;
    config.hidden = H;
    config.outputs = head ? O : 0;
    config.head = head;
    config.loss = BPTT_MSE;
    int status = bptt_model_new(&config, &p->model, error);
    bptt_cell_free(cell);
    return !status;
}

/* The gradient by the reverse pass, with random inputs, targets and initial state. */
static int run(struct problem *p, const char *cell, int head, int steps)
{
    bptt_error error = {0};
    int width = head ? O : H;
    double target[LONGEST * H];
    p->steps = steps;
    srand(17);
    for (int t = 0; t < steps; t++) {
        for (int i = 0; i < I; i++)
            p->x[t][i] = random_number();
        for (int i = 0; i < width; i++)
            target[t * width + i] = p->y[t][i] = random_number();
    }
    for (int i = 0; i < H; i++)
        p->h0[i] = random_number();
    bptt_array state = {.name = "layers.0.h", .type = BPTT_F64, .rank = 2, .shape = {1, H}, .data = p->h0};
    bptt_arrays initial = {1, &state};
    bptt_array input = {.type = BPTT_F64, .rank = 3, .shape = {steps, 1, I}, .data = p->x};
    bptt_array wanted = {.type = BPTT_F64, .rank = 3, .shape = {steps, 1, width}, .data = target};
    bptt_run_options options = bptt_run_defaults();
    options.precision = BPTT_F64;
    int works = make_model(p, cell, head, &error) &&
                !bptt_gradient(p->model, &input, &wanted, NULL, &initial, NULL, &p->loss, &p->gradients, &options, &error);
    return tap_ok(works, "%s, %d steps: the reverse pass runs %s", cell, steps, error.text);
}

static void clear(struct problem *p)
{
    bptt_arrays_clear(&p->gradients);
    bptt_model_free(p->model);
    p->model = NULL;
}

static void same(const double *got, const double *want, int n, const char *what, int steps)
{
    double difference = 0, size = 0;
    for (int i = 0; i < n; i++) {
        difference = fmax(difference, fabs(got[i] - want[i]));
        if (isnan(got[i]) || isnan(want[i]))
            difference = NAN;
        size = fmax(size, fabs(want[i]));
    }
    if (!tap_ok(difference <= TOLERANCE * (1e-3 + size), "%s, %d steps", what, steps))
        tap_note("differs by %g beside %g", difference, size);
}

/* ---- the tanh network: 9.7.3, 9.7.4, 9.7.7 ---- */

struct tanh_network {
    double Wx[H][I], U[H][H], b[H], h[LONGEST + 1][H];
    double P[LONGEST + 1][H][W];           /* df_t/dw: h_{t-1} held fixed */
    double J[LONGEST + 1][H][H];           /* df_t/dh_{t-1} */
};

static void unroll(struct tanh_network *n, const struct problem *p)
{
    parameter(p, "layers.0.W", &n->Wx[0][0]);
    parameter(p, "layers.0.U", &n->U[0][0]);
    parameter(p, "layers.0.b", n->b);
    memcpy(n->h[0], p->h0, sizeof n->h[0]);
    memset(n->P, 0, sizeof n->P);
    for (int t = 1; t <= p->steps; t++) {
        for (int i = 0; i < H; i++) {
            double z = n->b[i];
            for (int k = 0; k < I; k++) z += n->Wx[i][k] * p->x[t - 1][k];
            for (int k = 0; k < H; k++) z += n->U[i][k] * n->h[t - 1][k];
            n->h[t][i] = tanh(z);
            double slope = 1 - n->h[t][i] * n->h[t][i];
            for (int k = 0; k < I; k++) n->P[t][i][i * I + k] = slope * p->x[t - 1][k];
            for (int k = 0; k < H; k++) n->P[t][i][H * I + i * H + k] = slope * n->h[t - 1][k];
            n->P[t][i][H * I + H * H + i] = slope;
            for (int k = 0; k < H; k++) n->J[t][i][k] = slope * n->U[i][k];
        }
    }
}

/* to = J from, for H x W matrices */
static void apply(double J[H][H], double from[H][W], double to[H][W])
{
    for (int i = 0; i < H; i++)
        for (int w = 0; w < W; w++) {
            to[i][w] = 0;
            for (int k = 0; k < H; k++)
                to[i][w] += J[i][k] * from[k][w];
        }
}

static void add_to(double sum[H][W], double part[H][W])
{
    for (int i = 0; i < H; i++)
        for (int w = 0; w < W; w++)
            sum[i][w] += part[i][w];
}

/* (9.7.4)  dh_t/dw = df_t/dw + df_t/dh_{t-1} dh_{t-1}/dw */
static void recursion(struct tanh_network *n, int t, double A[H][W])
{
    double next[H][W];
    memset(next, 0, sizeof next);
    for (int s = 1; s <= t; s++) {
        double carried[H][W];
        apply(n->J[s], next, carried);
        memcpy(next, carried, sizeof next);
        add_to(next, n->P[s]);
    }
    memcpy(A, next, sizeof next);
}

/* (9.7.7)  dh_t/dw = df_t/dw + sum_{i<t} (prod_{j=i+1..t} df_j/dh_{j-1}) df_i/dw, each product written out */
static void expansion(struct tanh_network *n, int t, double A[H][W])
{
    memset(A, 0, sizeof(double[H][W]));
    for (int i = 1; i <= t; i++) {
        double part[H][W], carried[H][W];
        memcpy(part, n->P[i], sizeof part);
        for (int j = i + 1; j <= t; j++) {
            apply(n->J[j], part, carried);
            memcpy(part, carried, sizeof part);
        }
        add_to(A, part);
    }
}

/* (9.7.3) with l the mean square over H: dL/dw = sum_t dL/dh_t dh_t/dw */
static void total(struct tanh_network *n, const struct problem *p, void (*derivative)(struct tanh_network *, int, double[H][W]),
                  double sum[W])
{
    double A[H][W];
    memset(sum, 0, W * sizeof(double));
    for (int t = 1; t <= p->steps; t++) {
        derivative(n, t, A);
        for (int i = 0; i < H; i++)
            for (int w = 0; w < W; w++)
                sum[w] += 2 * (n->h[t][i] - p->y[t - 1][i]) / (p->steps * H) * A[i][w];
    }
}

static void reverse(const struct problem *p, double all[W])
{
    memcpy(all, gradient(p, "layers.0.W"), sizeof(double[H * I]));
    memcpy(all + H * I, gradient(p, "layers.0.U"), sizeof(double[H * H]));
    memcpy(all + H * I + H * H, gradient(p, "layers.0.b"), sizeof(double[H]));
}

/* Weight tying: copies of U of their own for every step; the gradient is the sum of theirs. By central differences of the
 * unrolled network, whose error is about 1e-9. */
static double unrolled_loss(struct tanh_network *n, const struct problem *p, int step, int row, int column, double change)
{
    double h[H], next[H], loss = 0;
    memcpy(h, p->h0, sizeof h);
    for (int t = 1; t <= p->steps; t++) {
        for (int i = 0; i < H; i++) {
            double z = n->b[i];
            for (int k = 0; k < I; k++) z += n->Wx[i][k] * p->x[t - 1][k];
            for (int k = 0; k < H; k++) z += (n->U[i][k] + (t == step && i == row && k == column ? change : 0)) * h[k];
            next[i] = tanh(z);
        }
        memcpy(h, next, sizeof h);
        for (int i = 0; i < H; i++)
            loss += (h[i] - p->y[t - 1][i]) * (h[i] - p->y[t - 1][i]) / (p->steps * H);
    }
    return loss;
}

static void test_tying(struct tanh_network *n, const struct problem *p)
{
    const double step = 1e-5;
    for (int k = 0; k < 4; k++) {
        int row = k % H, column = (k * 3 + 1) % H;
        double sum = 0;
        for (int t = 1; t <= p->steps; t++)
            sum += (unrolled_loss(n, p, t, row, column, step) - unrolled_loss(n, p, t, row, column, -step)) / (2 * step);
        tap_near(gradient(p, "layers.0.U")[row * H + column], sum, 1e-8, "weight tying: dL/dU[%d][%d] is the sum over %d steps", row,
                 column, p->steps);
    }
}

static void test_tanh(int steps)
{
    static struct problem p;
    static struct tanh_network n;
    double by_recursion[W], by_expansion[W], by_reverse[W];
    if (!run(&p, "rnn", 0, steps))
        return;
    unroll(&n, &p);
    total(&n, &p, recursion, by_recursion);
    total(&n, &p, expansion, by_expansion);
    reverse(&p, by_reverse);
    same(by_expansion, by_recursion, W, "(9.7.7) expands (9.7.4)", steps);
    same(by_reverse, by_recursion, W, "the reverse pass is (9.7.3) with (9.7.4)", steps);
    same(by_reverse, by_expansion, W, "the reverse pass is (9.7.3) with (9.7.7)", steps);
    test_tying(&n, &p);
    clear(&p);
}

/* ---- the linear network: 9.7.9 to 9.7.16 ---- */

struct linear_network {
    double Whx[H][I], Whh[H][H], Wqh[O][H], bias[O];
    double h[LONGEST + 1][H], dO[LONGEST + 1][O], dh[LONGEST + 1][H];
};

static void transposed_times(double M[H][H], double v[H])
{
    double to[H];
    for (int i = 0; i < H; i++) {
        to[i] = 0;
        for (int k = 0; k < H; k++)
            to[i] += M[k][i] * v[k];
    }
    memcpy(v, to, sizeof to);
}

/* (9.7.9), and (9.7.11) for l the mean square over O */
static void run_linear(struct linear_network *n, const struct problem *p)
{
    parameter(p, "layers.0.W_hx", &n->Whx[0][0]);
    parameter(p, "layers.0.W_hh", &n->Whh[0][0]);
    parameter(p, "head.weight", &n->Wqh[0][0]);
    parameter(p, "head.bias", n->bias);
    memcpy(n->h[0], p->h0, sizeof n->h[0]);
    for (int t = 1; t <= p->steps; t++) {
        for (int i = 0; i < H; i++) {
            n->h[t][i] = 0;
            for (int k = 0; k < I; k++) n->h[t][i] += n->Whx[i][k] * p->x[t - 1][k];
            for (int k = 0; k < H; k++) n->h[t][i] += n->Whh[i][k] * n->h[t - 1][k];
        }
        for (int i = 0; i < O; i++) {
            double o = n->bias[i];
            for (int k = 0; k < H; k++) o += n->Wqh[i][k] * n->h[t][k];
            n->dO[t][i] = 2 * (o - p->y[t - 1][i]) / (p->steps * O);
        }
    }
}

static void from_output(const struct linear_network *n, int t, double v[H])
{
    for (int i = 0; i < H; i++) {
        v[i] = 0;
        for (int k = 0; k < O; k++)
            v[i] += n->Wqh[k][i] * n->dO[t][k];
    }
}

/* (9.7.15)  dL/dh_t = sum_{i=t..T} (W_hh^T)^{T-i} W_qh^T dL/do_{T+t-i}, every power applied anew */
static void closed_form(struct linear_network *n, int steps, int t, double sum[H])
{
    memset(sum, 0, sizeof(double[H]));
    for (int i = t; i <= steps; i++) {
        double v[H];
        from_output(n, steps + t - i, v);
        for (int power = 0; power < steps - i; power++)
            transposed_times(n->Whh, v);
        for (int k = 0; k < H; k++)
            sum[k] += v[k];
    }
}

/* (9.7.13) for the last step, (9.7.14) for the others */
static void recursive_form(struct linear_network *n, int steps, double dh[LONGEST + 1][H])
{
    double carried[H] = {0};
    for (int t = steps; t >= 1; t--) {
        from_output(n, t, dh[t]);
        for (int k = 0; k < H; k++)
            dh[t][k] += carried[k];
        memcpy(carried, dh[t], sizeof carried);
        transposed_times(n->Whh, carried);
    }
    memcpy(dh[0], carried, sizeof carried);
}

static void test_linear(int steps)
{
    static struct problem p;
    static struct linear_network n;
    static double recursive[LONGEST + 1][H];
    double dWqh[O][H] = {{0}}, dWhx[H][I] = {{0}}, dWhh[H][H] = {{0}}, dx[LONGEST][I] = {{0}}, first[H];
    if (!run(&p, "linear", 1, steps))
        return;
    run_linear(&n, &p);
    recursive_form(&n, steps, recursive);
    for (int t = 1; t <= steps; t++) {
        closed_form(&n, steps, t, n.dh[t]);
        for (int i = 0; i < O; i++)
            for (int k = 0; k < H; k++)
                dWqh[i][k] += n.dO[t][i] * n.h[t][k];
        for (int i = 0; i < H; i++) {
            for (int k = 0; k < I; k++) {
                dWhx[i][k] += n.dh[t][i] * p.x[t - 1][k];
                dx[t - 1][k] += n.Whx[i][k] * n.dh[t][i];
            }
            for (int k = 0; k < H; k++)
                dWhh[i][k] += n.dh[t][i] * n.h[t - 1][k];
        }
    }
    memcpy(first, n.dh[1], sizeof first);
    transposed_times(n.Whh, first);
    same(&n.dh[1][0], &recursive[1][0], steps * H, "(9.7.15) solves (9.7.13) and (9.7.14)", steps);
    same(gradient(&p, "head.weight"), &dWqh[0][0], O * H, "(9.7.12) dL/dW_qh", steps);
    same(gradient(&p, "layers.0.W_hx"), &dWhx[0][0], H * I, "(9.7.16) dL/dW_hx", steps);
    same(gradient(&p, "layers.0.W_hh"), &dWhh[0][0], H * H, "(9.7.16) dL/dW_hh", steps);
    same(gradient(&p, "input"), &dx[0][0], steps * I, "W_hx^T (9.7.15) is dL/dx", steps);
    same(gradient(&p, "initial.layers.0.h"), first, H, "W_hh^T (9.7.15) is dL/dh_0", steps);
    clear(&p);
}

int main(void)
{
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        test_tanh(lengths[i]);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        test_linear(lengths[i]);
    return tap_done();
}
