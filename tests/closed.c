/* closed.c - see closed.h. */
#include "closed.h"

#include <math.h>
#include <string.h>

double closed_sequence(const double *b, const double *c, int t)
{
    double a = b[t];
    for (int i = 1; i <= t - 1; i++) {
        double product = 1;
        for (int j = i + 1; j <= t; j++)
            product *= c[j];
        a += product * b[i];
    }
    return a;
}

/* ---- the tanh network ---- */

void tanh_forward(struct tanh_network *n)
{
    for (int t = 1; t <= T; t++) {
        for (int k = 0; k < H; k++) {
            double a = n->b[k];
            for (int j = 0; j < D; j++)
                a += n->w[k][j] * n->x[t][j];
            for (int j = 0; j < H; j++)
                a += n->u[k][j] * n->h[t - 1][j];
            n->h[t][k] = tanh(a);
        }
    }
}

/* df(x_t, h_{t-1}, w)/dw: unit k depends on row k of W and U and on b_k alone */
static void direct(const struct tanh_network *n, int t, struct by_parameters *df)
{
    memset(df, 0, sizeof *df);
    for (int k = 0; k < H; k++) {
        double *row = df->of[k], slope = 1 - n->h[t][k] * n->h[t][k];
        for (int j = 0; j < D; j++)
            row[k * D + j] = slope * n->x[t][j];
        for (int j = 0; j < H; j++)
            row[H * D + k * H + j] = slope * n->h[t - 1][j];
        row[H * D + H * H + k] = slope;
    }
}

/* v becomes df(x_t, h_{t-1}, w)/dh_{t-1} v */
static void carry(const struct tanh_network *n, int t, struct by_parameters *v)
{
    struct by_parameters before = *v;
    for (int k = 0; k < H; k++) {
        double slope = 1 - n->h[t][k] * n->h[t][k];
        for (int p = 0; p < P; p++) {
            v->of[k][p] = 0;
            for (int j = 0; j < H; j++)
                v->of[k][p] += slope * n->u[k][j] * before.of[j][p];
        }
    }
}

static void add(struct by_parameters *to, const struct by_parameters *what)
{
    for (int k = 0; k < H; k++)
        for (int p = 0; p < P; p++)
            to->of[k][p] += what->of[k][p];
}

void tanh_recursion(const struct tanh_network *n, int t, struct by_parameters *dh)
{
    if (t == 0) {
        memset(dh, 0, sizeof *dh);
        return;
    }
    struct by_parameters df;
    direct(n, t, &df);
    tanh_recursion(n, t - 1, dh);
    carry(n, t, dh);
    add(dh, &df);
}

void tanh_expansion(const struct tanh_network *n, int t, struct by_parameters *dh)
{
    direct(n, t, dh);
    for (int i = 1; i <= t - 1; i++) {
        struct by_parameters term;
        direct(n, i, &term);
        for (int j = i + 1; j <= t; j++)
            carry(n, j, &term);
        add(dh, &term);
    }
}

/* ---- the linear network ---- */

void linear_forward(struct linear_network *n)
{
    for (int t = 1; t <= T; t++) {
        for (int k = 0; k < H; k++) {
            n->h[t][k] = 0;
            for (int j = 0; j < D; j++)
                n->h[t][k] += n->w_hx[k][j] * n->x[t][j];
            for (int j = 0; j < H; j++)
                n->h[t][k] += n->w_hh[k][j] * n->h[t - 1][j];
        }
        for (int q = 0; q < Q; q++) {
            n->o[t][q] = 0;
            for (int k = 0; k < H; k++)
                n->o[t][q] += n->w_qh[q][k] * n->h[t][k];
        }
    }
}

/* W_qh^T dL/do_t */
static void from_output(const struct linear_network *n, int t, double v[H])
{
    for (int k = 0; k < H; k++) {
        v[k] = 0;
        for (int q = 0; q < Q; q++)
            v[k] += n->w_qh[q][k] * n->d_o[t][q];
    }
}

void linear_dh_backward(const struct linear_network *n, int t, double dh[H])
{
    from_output(n, t, dh);
    if (t == T)
        return;
    double later[H];
    linear_dh_backward(n, t + 1, later);
    for (int k = 0; k < H; k++)
        for (int j = 0; j < H; j++)
            dh[k] += n->w_hh[j][k] * later[j];
}

/* (W_hh^T)^exponent, by as many products of matrices */
static void power(const struct linear_network *n, int exponent, double m[H][H])
{
    for (int k = 0; k < H; k++)
        for (int j = 0; j < H; j++)
            m[k][j] = k == j;
    for (; exponent > 0; exponent--) {
        double before[H][H];
        memcpy(before, m, sizeof before);
        for (int k = 0; k < H; k++) {
            for (int j = 0; j < H; j++) {
                m[k][j] = 0;
                for (int i = 0; i < H; i++)
                    m[k][j] += before[k][i] * n->w_hh[j][i];
            }
        }
    }
}

void linear_dh(const struct linear_network *n, int t, double dh[H])
{
    memset(dh, 0, H * sizeof *dh);
    for (int i = t; i <= T; i++) {
        double m[H][H], v[H];
        power(n, T - i, m);
        from_output(n, T + t - i, v);
        for (int k = 0; k < H; k++)
            for (int j = 0; j < H; j++)
                dh[k] += m[k][j] * v[j];
    }
}

void linear_dw_qh(const struct linear_network *n, double dw[Q * H])
{
    memset(dw, 0, Q * H * sizeof *dw);
    for (int t = 1; t <= T; t++)
        for (int q = 0; q < Q; q++)
            for (int k = 0; k < H; k++)
                dw[q * H + k] += n->d_o[t][q] * n->h[t][k];
}

void linear_dw_hx(const struct linear_network *n, double dw[H * D])
{
    memset(dw, 0, H * D * sizeof *dw);
    for (int t = 1; t <= T; t++) {
        double dh[H];
        linear_dh(n, t, dh);
        for (int k = 0; k < H; k++)
            for (int j = 0; j < D; j++)
                dw[k * D + j] += dh[k] * n->x[t][j];
    }
}

void linear_dw_hh(const struct linear_network *n, double dw[H * H])
{
    memset(dw, 0, H * H * sizeof *dw);
    for (int t = 1; t <= T; t++) {
        double dh[H];
        linear_dh(n, t, dh);
        for (int k = 0; k < H; k++)
            for (int j = 0; j < H; j++)
                dw[k * H + j] += dh[k] * n->h[t - 1][j];
    }
}
