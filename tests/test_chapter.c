// link: tests/closed.c tests/twin.c tests/oracle.c
/* test_chapter.c - Dive into Deep Learning 9.7 by equation number: what the library computes in double precision,
 * against closed.c's literal sums and products (which share nothing with it). Both sides add the same few hundred terms
 * in another order, each rounded to 1e-16, so they agree to 1e-12. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "closed.h"
#include "oracle.h"
#include "tap.h"
#include "twin.h"

static const double TOLERANCE = 1e-12;

/* Not a fault of the network under test: the rest of its tests make no sense. */
static int ready(int status, const bptt_error *error, const char *what)
{
    if (!tap_ok(!status, "%s runs", what))
        tap_note("%s", error->text);
    return !status;
}

static void near_array(const bptt_arrays *set, const char *name, const double *want, int n, const char *what)
{
    tap_near(twin_distance(bptt_arrays_find(set, name), want, n), 0, TOLERANCE, "%s", what);
}

/* ---- 9.7.5: a_t = b_t + c_t a_{t-1} is a cell; its input is (b, c) ---- */

static const char *const chain = "# The recurrence of 9.7.5\ncell chain\ninput x\nstate a\n"
                                 "param B[H, I]\nparam C[H, I]\na' = B x + C x * a\n";

static void compare_chain(struct twin *twin)
{
    double x[T * 2], b[T + 1], c[T + 1];
    bptt_error error = {0};
    bptt_array input = twin_rows(x, T, 1, 2), output = {0};
    bptt_run_options options = twin_options();
    for (int t = 1; t <= T; t++) {
        b[t] = x[2 * (t - 1)] = twin_draw(twin);
        c[t] = x[2 * (t - 1) + 1] = twin_draw(twin);
    }
    if (ready(bptt_run(twin->model, &input, NULL, &output, NULL, &options, &error), &error, "9.7.5"))
        for (int t = 1; t <= T; t++)
            tap_near(((double *)output.data)[t - 1], closed_sequence(b, c, t), TOLERANCE, "9.7.5: a_%d", t);
    bptt_array_clear(&output);
}

static void test_sequence(void)
{
    bptt_error error = {0};
    bptt_cell *cell = NULL;
    bptt_model_config config = bptt_model_defaults();
    struct twin twin = {.random = 5};
    int status = bptt_cell_parse(chain, "chain.cell", &cell, &error);
    config.cell = cell;
    config.inputs = 2;
    config.hidden = 1;
    config.head = 0;
    if (ready(status ? status : twin_open(&twin, &config, 1, &error), &error, "9.7.5: the cell")) {
        memcpy(twin_find(&twin, "layers.0.B"), (double[]){1, 0}, 2 * sizeof(double));
        memcpy(twin_find(&twin, "layers.0.C"), (double[]){0, 1}, 2 * sizeof(double));
        twin_write(&twin);
        compare_chain(&twin);
    }
    twin_free(&twin);
}

/* ---- 9.7.3, 9.7.4, 9.7.7: the tanh network ---- */

struct tanh_case {
    struct twin twin;
    struct tanh_network n;
    struct by_parameters dh[T + 1];        /* by 9.7.4 */
};

static int open_tanh(struct tanh_case *c, bptt_error *error)
{
    bptt_model_config config;
    c->twin.random = 4;
    int status = twin_config(&config, "rnn", D, H, error);
    config.loss = BPTT_MSE;
    if (!status)
        status = twin_open(&c->twin, &config, 0.8, error);
    if (status)
        return status;
    memcpy(c->n.w, twin_find(&c->twin, "layers.0.W"), sizeof c->n.w);
    memcpy(c->n.u, twin_find(&c->twin, "layers.0.U"), sizeof c->n.u);
    memcpy(c->n.b, twin_find(&c->twin, "layers.0.b"), sizeof c->n.b);
    twin_fill(&c->twin, c->n.x[0], (T + 1) * D);
    twin_fill(&c->twin, c->n.h[0], H);
    tanh_forward(&c->n);
    for (int t = 1; t <= T; t++)
        tanh_recursion(&c->n, t, &c->dh[t]);
    return BPTT_OK;
}

/* dw: dy's vector-Jacobian product, or with a target the gradient of the loss; both in the order W, U, b. */
static int reverse_pass(struct tanh_case *c, double *dy, double *target, double dw[P], double *loss, bptt_error *error)
{
    static const char *const name[] = {"layers.0.W", "layers.0.U", "layers.0.b"};
    bptt_array input = twin_rows(c->n.x[1], T, 1, D), upstream = twin_rows(dy ? dy : target, T, 1, H);
    bptt_array start = twin_state("layers.0.h", c->n.h[0], 1, H);
    bptt_arrays initial = {1, &start}, gradients = {0};
    bptt_run_options options = twin_options();
    int status = bptt_gradient(c->twin.model, &input, target ? &upstream : NULL, target ? NULL : &upstream, &initial,
                               NULL, loss, &gradients, &options, error);
    for (int i = 0; i < 3 && !status; i++) {
        const bptt_array *one = bptt_arrays_find(&gradients, name[i]);
        memcpy(dw, one->data, (size_t)bptt_array_length(one) * sizeof *dw);
        dw += bptt_array_length(one);
    }
    bptt_arrays_clear(&gradients);
    return status;
}

static double distance(const double *got, const double *want, int n)
{
    bptt_array array = {.type = BPTT_F64, .rank = 1, .shape = {n}, .data = (void *)got};
    return twin_distance(&array, want, n);
}

/* Row k of dh_t/dw is the product with a unit vector: H reverse passes give the whole of it. */
static void compare_jacobian(struct tanh_case *c, int t)
{
    bptt_error error = {0};
    struct by_parameters reverse;
    int status = BPTT_OK;
    for (int k = 0; k < H && !status; k++) {
        double dy[T * H] = {0};
        dy[(t - 1) * H + k] = 1;
        status = reverse_pass(c, dy, NULL, reverse.of[k], NULL, &error);
    }
    if (ready(status, &error, "9.7.4: the reverse pass"))
        tap_near(distance(reverse.of[0], c->dh[t].of[0], H * P), 0, TOLERANCE, "9.7.4: dh_%d/dw, reverse pass", t);
}

static void compare_expansion(struct tanh_case *c, int t)
{
    struct by_parameters expanded;
    tanh_expansion(&c->n, t, &expanded);
    tap_near(distance(expanded.of[0], c->dh[t].of[0], H * P), 0, TOLERANCE, "9.7.7: dh_%d/dw expanded", t);
}

/* L = 1/T sum_t mean over units of (h_t - y_t)^2; dL/dw = sum_t dL/dh_t dh_t/dw */
static void compare_loss(struct tanh_case *c)
{
    double y[T * H], want[P] = {0}, got[P], want_loss = 0, loss;
    bptt_error error = {0};
    twin_fill(&c->twin, y, T * H);
    for (int t = 1; t <= T; t++) {
        for (int k = 0; k < H; k++) {
            double off = c->n.h[t][k] - y[(t - 1) * H + k];
            want_loss += off * off / (T * H);
            for (int p = 0; p < P; p++)
                want[p] += 2 * off / (T * H) * c->dh[t].of[k][p];
        }
    }
    if (!ready(reverse_pass(c, NULL, y, got, &loss, &error), &error, "9.7.2: the loss"))
        return;
    tap_near(loss, want_loss, TOLERANCE, "9.7.2: the loss is the mean over the steps");
    tap_near(distance(got, want, P), 0, TOLERANCE, "9.7.3: its gradient, by dh_t/dw at every step");
}

static void test_tanh(void)
{
    bptt_error error = {0};
    struct tanh_case *c = calloc(1, sizeof *c);
    if (c && ready(open_tanh(c, &error), &error, "9.7.4: a tanh network")) {
        for (int t = 1; t <= T; t++) {
            compare_jacobian(c, t);
            compare_expansion(c, t);
        }
        compare_loss(c);
    }
    if (c)
        twin_free(&c->twin);
    free(c);
}

/* ---- 9.7.9 to 9.7.16: the linear network ---- */

struct linear_case {
    struct twin twin;
    struct linear_network n;
    double y[T * Q];
    double loss;
    bptt_arrays gradients;
};

/* The book's output layer has no bias: ours is set to zero. */
static int open_linear(struct linear_case *c, bptt_error *error)
{
    bptt_model_config config;
    c->twin.random = 15;
    int status = twin_config(&config, "linear", D, H, error);
    config.head = 1;
    config.outputs = Q;
    config.loss = BPTT_MSE;
    if (!status)
        status = twin_open(&c->twin, &config, 0.8, error);
    if (status)
        return status;
    memset(twin_find(&c->twin, "head.bias"), 0, Q * sizeof(double));
    twin_write(&c->twin);
    memcpy(c->n.w_hx, twin_find(&c->twin, "layers.0.W_hx"), sizeof c->n.w_hx);
    memcpy(c->n.w_hh, twin_find(&c->twin, "layers.0.W_hh"), sizeof c->n.w_hh);
    memcpy(c->n.w_qh, twin_find(&c->twin, "head.weight"), sizeof c->n.w_qh);
    twin_fill(&c->twin, c->n.x[0], (T + 1) * D);
    twin_fill(&c->twin, c->n.h[0], H);
    twin_fill(&c->twin, c->y, T * Q);
    return BPTT_OK;
}

/* 9.7.10 and 9.7.11, with l the mean over outputs of (o - y)^2 */
static double linear_loss(struct linear_case *c)
{
    double loss = 0;
    linear_forward(&c->n);
    for (int t = 1; t <= T; t++) {
        for (int q = 0; q < Q; q++) {
            double off = c->n.o[t][q] - c->y[(t - 1) * Q + q];
            loss += off * off / Q / T;
            c->n.d_o[t][q] = 2 * off / Q / T;
        }
    }
    return loss;
}

static int run_linear(struct linear_case *c, bptt_error *error)
{
    bptt_array input = twin_rows(c->n.x[1], T, 1, D), target = twin_rows(c->y, T, 1, Q), output = {0};
    bptt_array start = twin_state("layers.0.h", c->n.h[0], 1, H);
    bptt_arrays initial = {1, &start};
    bptt_run_options options = twin_options();
    int status = bptt_run(c->twin.model, &input, &initial, &output, NULL, &options, error);
    if (!status) {
        tap_near(twin_distance(&output, c->n.o[1], T * Q), 0, TOLERANCE, "9.7.9: the outputs");
        status = bptt_gradient(c->twin.model, &input, &target, NULL, &initial, NULL, &c->loss, &c->gradients, &options,
                               error);
    }
    bptt_array_clear(&output);
    return status;
}

/* dL/dh_t shows in two gradients: dL/dx_t = W_hx^T dL/dh_t, and dL/dh_0 = W_hh^T dL/dh_1. */
static void compare_states(struct linear_case *c, void state_gradient(const struct linear_network *, int, double *),
                           const char *equation)
{
    double dx[T * D] = {0}, dstart[H] = {0}, dh[H];
    char what[64];
    for (int t = T; t >= 1; t--) {
        state_gradient(&c->n, t, dh);
        for (int k = 0; k < H; k++)
            for (int j = 0; j < D; j++)
                dx[(t - 1) * D + j] += c->n.w_hx[k][j] * dh[k];
    }
    for (int k = 0; k < H; k++)
        for (int j = 0; j < H; j++)
            dstart[j] += c->n.w_hh[k][j] * dh[k];
    snprintf(what, sizeof what, "%s: dL/dh_t, seen in dL/dx_t at every step", equation);
    near_array(&c->gradients, "input", dx, T * D, what);
    snprintf(what, sizeof what, "%s: dL/dh_1, seen in dL/dh_0", equation);
    near_array(&c->gradients, "initial.layers.0.h", dstart, H, what);
}

static void compare_weights(struct linear_case *c)
{
    double dw_qh[Q * H], dw_hx[H * D], dw_hh[H * H], dbias[Q] = {0};
    linear_dw_qh(&c->n, dw_qh);
    linear_dw_hx(&c->n, dw_hx);
    linear_dw_hh(&c->n, dw_hh);
    for (int t = 1; t <= T; t++)
        for (int q = 0; q < Q; q++)
            dbias[q] += c->n.d_o[t][q];
    near_array(&c->gradients, "head.weight", dw_qh, Q * H, "9.7.12: dL/dW_qh");
    near_array(&c->gradients, "head.bias", dbias, Q, "9.7.11: dL/do_t, seen in the gradient of a bias");
    near_array(&c->gradients, "layers.0.W_hx", dw_hx, H * D, "9.7.16: dL/dW_hx");
    near_array(&c->gradients, "layers.0.W_hh", dw_hh, H * H, "9.7.16: dL/dW_hh");
}

static void test_linear(void)
{
    bptt_error error = {0};
    struct linear_case *c = calloc(1, sizeof *c);
    if (c && ready(open_linear(c, &error), &error, "9.7.9: a linear network")) {
        double want = linear_loss(c);
        if (ready(run_linear(c, &error), &error, "9.7.10: the loss")) {
            tap_near(c->loss, want, TOLERANCE, "9.7.10: the loss");
            compare_states(c, linear_dh_backward, "9.7.13, 9.7.14");
            compare_states(c, linear_dh, "9.7.15");
            compare_weights(c);
        }
    }
    if (c) {
        bptt_arrays_clear(&c->gradients);
        twin_free(&c->twin);
    }
    free(c);
}

/* ---- exercise 1: a symmetric W_hh = e1 big e1^T + e2 small e2^T, with e1 and e2 the diagonals of the plane ---- */

/* The values are binary fractions, so W_hh is exact; (W_hh^T)^k v = big^k (v e1) e1 + small^k (v e2) e2. The gradient
 * for the last state is v; that for the outputs is zero. */
static void compare_power(struct twin *twin, double big, double small, int k)
{
    double x[100] = {0}, zeros[200] = {0}, v[2] = {1, 0.5};
    double along = pow(big, k) * 0.75, across = pow(small, k) * 0.25, want[2] = {along + across, along - across};
    double w[4] = {(big + small) / 2, (big - small) / 2, (big - small) / 2, (big + small) / 2};
    bptt_error error = {0};
    bptt_array input = twin_rows(x, k, 1, 1), dy = twin_rows(zeros, k, 1, 2), last = twin_state("layers.0.h", v, 1, 2);
    bptt_arrays dfinal = {1, &last}, gradients = {0};
    bptt_run_options options = twin_options();
    memcpy(twin_find(twin, "layers.0.W_hh"), w, sizeof w);
    twin_write(twin);
    int status = bptt_gradient(twin->model, &input, NULL, &dy, NULL, &dfinal, NULL, &gradients, &options, &error);
    if (ready(status, &error, "exercise 1")) {
        const bptt_array *start = bptt_arrays_find(&gradients, "initial.layers.0.h");
        const double *got = start ? start->data : zeros;
        tap_near(twin_distance(start, want, 2), 0, TOLERANCE, "exercise 1: eigenvalue %g, %d steps", big, k);
        if (k >= 50)                       /* beside e1, e2 is left with a third of (small / big)^k, below 1e-15 */
            tap_near(got[0] / got[1], 1, TOLERANCE, "exercise 1: the gradient lies along the first eigenvector");
    }
    bptt_arrays_clear(&gradients);
}

static void test_powers(void)
{
    bptt_error error = {0};
    bptt_model_config config;
    struct twin twin = {.random = 1};
    int status = twin_config(&config, "linear", 1, 2, &error);
    if (!status)
        status = twin_open(&twin, &config, 1, &error);
    for (int k = 1; k <= 100 && ready(status, &error, "exercise 1: a network"); k += 33) {
        compare_power(&twin, 0.75, 0.375, k);
        compare_power(&twin, 1.25, 0.5, k);
        compare_power(&twin, 1, 0.25, k);
    }
    twin_free(&twin);
}

/* ---- the same parameters at every step: the gradient is the sum over the steps (9.7.3, 9.7.16) ----
 * T models of one step each, with parameters of their own that happen to be equal, chained by their states; what each
 * contributes is held against central differences of the hand-written cell, their sum against the whole sequence. */

struct untied {
    const char *cell;
    struct twin twin;
    int hidden, width, step;                       /* the step whose parameters are changed */
    double x[T * D], dy[T * ORACLE_WIDTH];
    double *changed[TWIN_PARAMETERS];              /* that step's own parameters */
    bptt_arrays state[T + 1];
    bptt_arrays contribution[T + 1];
    int now;                                       /* where the oracle is */
};

static bptt_arrays zero_states(const struct untied *u)
{
    bptt_arrays set = {.items = calloc(ORACLE_STATES, sizeof(bptt_array))};
    for (int s = 0; s < oracle_states(u->cell) && set.items; s++) {
        int n = oracle_state_width(u->cell, s, u->hidden);
        char name[32];
        snprintf(name, sizeof name, "layers.0.%c", oracle_state_name(u->cell, s));
        set.items[set.count++] = twin_state(name, calloc((size_t)n, sizeof(double)), 1, n);
    }
    return set;
}

/* The part of a gradient set that is about initial states, renamed to what a final gradient is called. */
static bptt_arrays as_final(const bptt_arrays *gradients)
{
    static const char prefix[] = "initial.";
    bptt_arrays set = {.items = calloc(ORACLE_STATES, sizeof(bptt_array))};
    for (size_t i = 0; i < gradients->count && set.items; i++) {
        const bptt_array *array = &gradients->items[i];
        if (strncmp(array->name, prefix, sizeof prefix - 1))
            continue;
        set.items[set.count] = *array;
        memmove(set.items[set.count].name, array->name + sizeof prefix - 1, strlen(array->name) - sizeof prefix + 2);
        set.count++;
    }
    return set;
}

static int chain_forward(struct untied *u, bptt_error *error)
{
    bptt_run_options options = twin_options();
    bptt_array nothing = twin_rows(u->x, 0, 1, D);
    int status = bptt_run(u->twin.model, &nothing, NULL, NULL, &u->state[0], &options, error);
    for (int t = 1; t <= T && !status; t++) {
        bptt_array input = twin_rows(u->x + (t - 1) * D, 1, 1, D);
        status = bptt_run(u->twin.model, &input, &u->state[t - 1], NULL, &u->state[t], &options, error);
    }
    return status;
}

static int chain_backward(struct untied *u, bptt_error *error)
{
    bptt_run_options options = twin_options();
    int status = BPTT_OK;
    for (int t = T; t >= 1 && !status; t--) {
        bptt_array input = twin_rows(u->x + (t - 1) * D, 1, 1, D);
        bptt_array dy = twin_rows(u->dy + (t - 1) * u->width, 1, 1, u->width);
        bptt_arrays later = t == T ? zero_states(u) : as_final(&u->contribution[t + 1]);
        status = bptt_gradient(u->twin.model, &input, NULL, &dy, &u->state[t - 1], &later, NULL, &u->contribution[t],
                               &options, error);
        if (t == T)
            bptt_arrays_clear(&later);
        else
            free(later.items);                     /* the numbers belong to the contribution */
    }
    return status;
}

static int whole_gradient(struct untied *u, bptt_arrays *gradients, bptt_error *error)
{
    bptt_array input = twin_rows(u->x, T, 1, D), dy = twin_rows(u->dy, T, 1, u->width);
    bptt_run_options options = twin_options();
    return bptt_gradient(u->twin.model, &input, NULL, &dy, NULL, NULL, NULL, gradients, &options, error);
}

static double sum_error(struct untied *u, const bptt_arrays *whole, int i)
{
    int n = (int)bptt_array_length(&u->twin.view[i]);
    double *sum = calloc((size_t)n, sizeof *sum);
    for (int t = 1; t <= T && sum; t++) {
        const bptt_array *part = bptt_arrays_find(&u->contribution[t], u->twin.view[i].name);
        for (int k = 0; k < n; k++)
            sum[k] += part ? ((double *)part->data)[k] : NAN;
    }
    double error = sum ? twin_distance(bptt_arrays_find(whole, u->twin.view[i].name), sum, n) : NAN;
    free(sum);
    return error;
}

static const double *own_parameter(const char *name, void *user)
{
    const struct untied *u = user;
    for (int i = 0; i < u->twin.count; i++)
        if (!strcmp(u->twin.view[i].name + strlen("layers.0."), name))
            return u->now == u->step ? u->changed[i] : u->twin.value[i];
    return NULL;
}

static double untied_loss(struct untied *u)
{
    struct oracle oracle = {.inputs = D, .hidden = u->hidden, .lookup = own_parameter, .user = u};
    double loss = 0;
    for (u->now = 1; u->now <= T; u->now++) {
        oracle.x = u->x + (u->now - 1) * D;
        if (oracle_step(u->cell, &oracle))
            return NAN;
        for (int k = 0; k < u->width; k++)
            loss += u->dy[(u->now - 1) * u->width + k] * oracle.output[k];
    }
    return loss;
}

/* Parameter i of step u->step alone, number by number: the distance to what that step contributes. */
static double difference_error(struct untied *u, int i)
{
    enum { MOST = ORACLE_WIDTH * ORACLE_WIDTH };
    static const double step = 1e-6;
    double slope[MOST];
    int n = (int)bptt_array_length(&u->twin.view[i]);
    for (int k = 0; k < n && k < MOST; k++) {
        double before = u->changed[i][k];
        u->changed[i][k] = before + step;
        slope[k] = untied_loss(u);
        u->changed[i][k] = before - step;
        slope[k] = (slope[k] - untied_loss(u)) / (2 * step);
        u->changed[i][k] = before;
    }
    return twin_distance(bptt_arrays_find(&u->contribution[u->step], u->twin.view[i].name), slope, n);
}

/* At the first step the state is zero: what multiplies it has no gradient there, and no relative error. */
static void compare_steps(struct untied *u)
{
    for (int i = 0; i < u->twin.count; i++) {
        size_t bytes = (size_t)bptt_array_length(&u->twin.view[i]) * sizeof(double);
        u->changed[i] = malloc(bytes);
        if (u->changed[i])
            memcpy(u->changed[i], u->twin.value[i], bytes);
    }
    for (u->step = 2; u->step <= T; u->step++) {
        double worst = 0;
        for (int i = 0; i < u->twin.count; i++) {
            double error = difference_error(u, i);
            worst = !(error <= worst) ? error : worst;
        }
        /* as in test_oracle.c: 1e-9 of rounding beside gradients that are seldom below 1e-2 */
        tap_near(worst, 0, 1e-6, "%s: what step %d contributes, by differences of its parameters", u->cell, u->step);
    }
    for (int i = 0; i < u->twin.count; i++)
        free(u->changed[i]);
}

static void compare_sum(struct untied *u)
{
    bptt_error error = {0};
    bptt_arrays whole = {0};
    double worst = 0;
    if (ready(whole_gradient(u, &whole, &error), &error, u->cell))
        for (int i = 0; i < u->twin.count; i++) {
            double off = sum_error(u, &whole, i);
            worst = !(off <= worst) ? off : worst;
        }
    tap_near(worst, 0, TOLERANCE, "%s: weight tying, the gradient is the sum over the steps", u->cell);
    bptt_arrays_clear(&whole);
}

static void test_tying(const char *cell, int differences)
{
    bptt_error error = {0};
    bptt_model_config config;
    struct untied *u = calloc(1, sizeof *u);
    if (!u)
        return;
    u->cell = cell;
    u->hidden = oracle_blocks(cell) > 1 ? 8 : H;
    u->width = oracle_state_width(cell, 0, u->hidden);
    int status = twin_config(&config, cell, D, u->hidden, &error);
    if (!status)
        status = twin_open(&u->twin, &config, 0.7, &error);
    twin_fill(&u->twin, u->x, T * D);
    twin_fill(&u->twin, u->dy, T * u->width);
    if (!status)
        status = chain_forward(u, &error);
    if (!status)
        status = chain_backward(u, &error);
    if (ready(status, &error, cell)) {
        compare_sum(u);
        if (differences)
            compare_steps(u);
    }
    for (int t = 0; t <= T; t++) {
        bptt_arrays_clear(&u->state[t]);
        bptt_arrays_clear(&u->contribution[t]);
    }
    twin_free(&u->twin);
    free(u);
}

int main(void)
{
    test_sequence();
    test_tanh();
    test_linear();
    test_powers();
    for (size_t i = 0; i < bptt_cell_count(); i++) {
        const char *cell = bptt_cell_name(i);
        if (tap_ok(oracle_states(cell) > 0, "%s: has a hand-written twin", cell))
            test_tying(cell, !strcmp(cell, "rnn") || !strcmp(cell, "lstm") || !strcmp(cell, "gru"));
    }
    return tap_done();
}
