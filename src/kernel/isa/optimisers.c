/* optimisers.c - a parameter's update, element by element; each function works on whole vectors only. */
#include "isa.h"

enum { ARRAYS = 4 };
typedef void update_fn(long n, real *const x[ARRAYS], const double *scalars);

/* Runs `update` over n elements of up to ARRAYS arrays. The elements after the last whole vector go through the same
 * code in copies, so that an element's bits do not depend on where it lies. */
static void in_vectors(long n, real *const x[ARRAYS], update_fn *update, const double *scalars)
{
    long whole = n / VLEN * VLEN;
    size_t left = (size_t)(n - whole) * sizeof(real);
    real copy[ARRAYS][VLEN] = {{0}};
    real *const copies[ARRAYS] = {copy[0], copy[1], copy[2], copy[3]};
    update(whole, x, scalars);
    if (left == 0)
        return;
    for (int i = 0; i < ARRAYS; i++)
        if (x[i])
            memcpy(copy[i], x[i] + whole, left);
    update(VLEN, copies, scalars);
    for (int i = 0; i < ARRAYS; i++)
        if (x[i])
            memcpy(x[i] + whole, copy[i], left);
}

/* ---- before the update ---- */

double NAME(sum_of_squares)(long n, const void *g)
{
    const real *x = g;
    wide sum = {0};
    for (long i = 0; i < n; i += VLEN) {
        wide square = {0};
        add_wide(&square, n - i < VLEN ? v_load_first(x + i, n - i) : v_load(x + i));
        sum += square * square;
    }
    return sum_wide(&sum);
}

static void clamp_vectors(long n, real *const x[ARRAYS], const double *scalars)
{
    vec limit = v_splat((real)scalars[0]);
    for (long i = 0; i < n; i += VLEN)
        v_store(x[0] + i, v_max(v_min(v_load(x[0] + i), limit), -limit));
}

void NAME(clamp)(long n, double limit, void *g)
{
    in_vectors(n, (real *const[ARRAYS]){g}, clamp_vectors, &limit);
}

/* ---- the updates; x = w, g and the optimiser's own ---- */

enum { SCALE, RATE, DECAY, FIRST, SECOND, EPS, SHRINK, SCALARS };

static void sgd_vectors(long n, real *const x[ARRAYS], const double *s)
{
    real scale = (real)s[SCALE], rate = (real)s[RATE], decay = (real)s[DECAY], momentum = (real)s[FIRST];
    for (long i = 0; i < n; i += VLEN) {
        vec w = v_load(x[0] + i);
        vec step = v_load(x[1] + i) * scale + w * decay;
        if (x[2]) {
            step = v_load(x[2] + i) * momentum + step;
            v_store(x[2] + i, step);
        }
        v_store(x[0] + i, w - step * rate);
    }
}

void NAME(sgd)(long n, void *w, void *g, void *m, double scale, double rate, double momentum, double decay)
{
    const double scalars[SCALARS] = {[SCALE] = scale, [RATE] = rate, [DECAY] = decay, [FIRST] = momentum};
    in_vectors(n, (real *const[ARRAYS]){w, g, m}, sgd_vectors, scalars);
}

static void rmsprop_vectors(long n, real *const x[ARRAYS], const double *s)
{
    real scale = (real)s[SCALE], rate = (real)s[RATE], decay = (real)s[DECAY], eps = (real)s[EPS];
    real alpha = (real)s[SECOND], rest = (real)(1 - s[SECOND]);
    for (long i = 0; i < n; i += VLEN) {
        vec w = v_load(x[0] + i);
        vec g = v_load(x[1] + i) * scale + w * decay;
        vec v = v_load(x[2] + i) * alpha + g * g * rest;
        v_store(x[2] + i, v);
        v_store(x[0] + i, w - g * rate / (v_sqrt(v) + eps));
    }
}

void NAME(rmsprop)(long n, void *w, void *g, void *v, double scale, double rate, double alpha, double eps,
                   double decay)
{
    const double scalars[SCALARS] = {[SCALE] = scale, [RATE] = rate, [DECAY] = decay, [SECOND] = alpha, [EPS] = eps};
    in_vectors(n, (real *const[ARRAYS]){w, g, v}, rmsprop_vectors, scalars);
}

/* w -= rate / c1 * m / (sqrt(v / c2) + eps), computed as step * m / (sqrt(v) + sqrt(c2) eps), step = rate sqrt(c2) / c1 */
static void adam_vectors(long n, real *const x[ARRAYS], const double *s)
{
    real scale = (real)s[SCALE], step = (real)s[RATE], decay = (real)s[DECAY], eps = (real)s[EPS];
    real shrink = (real)s[SHRINK];
    real beta1 = (real)s[FIRST], rest1 = (real)(1 - s[FIRST]), beta2 = (real)s[SECOND], rest2 = (real)(1 - s[SECOND]);
    for (long i = 0; i < n; i += VLEN) {
        vec w = v_load(x[0] + i);
        vec g = v_load(x[1] + i) * scale + w * decay;
        vec m = v_load(x[2] + i) * beta1 + g * rest1;
        vec v = v_load(x[3] + i) * beta2 + g * g * rest2;
        v_store(x[2] + i, m);
        v_store(x[3] + i, v);
        v_store(x[0] + i, w * shrink - m * step / (v_sqrt(v) + eps));
    }
}

void NAME(adam)(long n, void *w, void *g, void *m, void *v, double scale, double rate, double beta1, double beta2,
                double correction1, double correction2, double eps, double decay, int decoupled)
{
    double root = sqrt(correction2);
    const double scalars[SCALARS] = {
        [SCALE] = scale, [RATE] = rate * root / correction1, [DECAY] = decoupled ? 0 : decay, [FIRST] = beta1,
        [SECOND] = beta2, [EPS] = eps * root, [SHRINK] = decoupled ? 1 - rate * decay : 1,
    };
    in_vectors(n, (real *const[ARRAYS]){w, g, m, v}, adam_vectors, scalars);
}
