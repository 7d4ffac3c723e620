/* closed.h - the mathematics of Dive into Deep Learning 9.7 by hand, for one sequence of a linear and of a tanh
 * network: every function is one numbered equation, in double precision, in the most literal loops. Steps are counted
 * from 1 as in the book; index 0 of a state is where the sequence starts, index 0 of anything else is unused. */
#ifndef BPTT_TESTS_CLOSED_H
#define BPTT_TESTS_CLOSED_H

enum { T = 7, D = 3, H = 5, Q = 2, P = H * D + H * H + H };

/* 9.7.5: a_t = b_t + sum_{i=1..t-1} (prod_{j=i+1..t} c_j) b_i */
double closed_sequence(const double *b, const double *c, int t);

/* ---- 9.7.1: a nonlinear network, h_t = tanh(W x_t + U h_{t-1} + b); w = (W, U, b) is one vector of P numbers ---- */

struct tanh_network {
    double w[H][D], u[H][H], b[H];
    double x[T + 1][D];
    double h[T + 1][H];
};

struct by_parameters {                     /* dh_t / dw */
    double of[H][P];
};

void tanh_forward(struct tanh_network *n);
void tanh_recursion(const struct tanh_network *n, int t, struct by_parameters *dh);    /* 9.7.4 */
void tanh_expansion(const struct tanh_network *n, int t, struct by_parameters *dh);    /* 9.7.7 */

/* ---- 9.7.2: the linear network ---- */

struct linear_network {
    double w_hx[H][D], w_hh[H][H], w_qh[Q][H];
    double x[T + 1][D];
    double h[T + 1][H];
    double o[T + 1][Q];
    double d_o[T + 1][Q];                  /* dL/do_t */
};

void linear_forward(struct linear_network *n);                                         /* 9.7.9 */
void linear_dh_backward(const struct linear_network *n, int t, double dh[H]);          /* 9.7.13 and 9.7.14 */
void linear_dh(const struct linear_network *n, int t, double dh[H]);                   /* 9.7.15: powers of W_hh^T */
void linear_dw_qh(const struct linear_network *n, double dw[Q * H]);                   /* 9.7.12 */
void linear_dw_hx(const struct linear_network *n, double dw[H * D]);                   /* 9.7.16 */
void linear_dw_hh(const struct linear_network *n, double dw[H * H]);                   /* 9.7.16 */

#endif
