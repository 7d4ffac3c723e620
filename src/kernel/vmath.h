/* vmath.h - vectors of numbers and the functions of the cell language on them. Self-contained: its text also goes in
 * front of the code that is generated for a user's own cell.
 *
 * KERNEL_BITS chooses the number that is stored (`elem`) and the one that is computed with (`real`): 64 double, 32 float, 16
 * bfloat16 stored and float computed with: the upper half of a float, rounded to nearest even where it is stored. The
 * compiler's flags choose the width. In single precision every function is a polynomial without branches or tables, the worst error below in units in the last place (ulp), found by
 * tests/test_vmath.c against double precision over all magnitudes; in double precision it is libm, lane by lane.
 *
 *     exp 2.8   log 0.9   sigmoid 2.6   tanh 2.6   softplus 1.8   sin, cos 0.6   sqrt and / rounded once
 *
 * NaN comes out wherever NaN goes in (but v_less and v_step, which are comparisons, give 0), results too small to be
 * normal are right to the last place too, exp(-inf) is 0 and log(0) is -inf. */
#ifndef BPTT_KERNEL_VMATH_H
#define BPTT_KERNEL_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#ifndef KERNEL_BITS
#define KERNEL_BITS 32
#endif

#if defined(__AVX512F__)
enum { VBYTES = 64 };
#elif defined(__AVX__)
enum { VBYTES = 32 };
#else
enum { VBYTES = 16 };
#endif

#if KERNEL_BITS == 64
typedef double real;
typedef int64_t integer;
typedef uint64_t unsigned_integer;
#else
typedef float real;
typedef int32_t integer;
typedef uint32_t unsigned_integer;
#endif
#if KERNEL_BITS == 16
typedef uint16_t elem;
#else
typedef real elem;
#endif

typedef real vec __attribute__((vector_size(VBYTES)));
typedef integer ivec __attribute__((vector_size(VBYTES)));
typedef unsigned_integer uvec __attribute__((vector_size(VBYTES)));   /* sums of bit patterns may wrap around */
typedef real vec_anywhere __attribute__((vector_size(VBYTES), aligned(sizeof(real)), may_alias));
enum { VLEN = VBYTES / sizeof(real) };

/* ---- memory; p needs no alignment ---- */

static inline vec v_read(const real *p) { return *(const vec_anywhere *)p; }
static inline void v_write(real *p, vec a) { *(vec_anywhere *)p = a; }
static inline vec v_splat(real a) { return (vec){0} + a; }

#if KERNEL_BITS == 16

typedef uint16_t halves __attribute__((vector_size(VBYTES / 2), aligned(2), may_alias));

static inline vec v_load(const elem *p)
{
    return (vec)(__builtin_convertvector(*(const halves *)p, uvec) << 16);
}

/* To nearest, ties to even; NaN stays NaN, whatever its payload. */
static inline void v_store(elem *p, vec a)
{
    uvec bits = (uvec)a;
    uvec rounded = bits + 0x7FFF + ((bits >> 16) & 1);
    uvec kept = (((uvec)(a == a) & rounded) | ((uvec)(a != a) & (bits | 0x400000))) >> 16;
#if defined(__AVX512F__)
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16((__m512i)kept));
#elif defined(__AVX2__)
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32((__m256i)kept, (__m256i)kept), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(packed));
#else
    *(halves *)p = __builtin_convertvector(kept, halves);
#endif
}

static inline real get(elem a) { return bfloat16_get(a); }
static inline elem put(real a) { return bfloat16_put(a); }

#else

static inline vec v_load(const elem *p) { return v_read(p); }
static inline void v_store(elem *p, vec a) { v_write(p, a); }
static inline real get(elem a) { return a; }
static inline elem put(real a) { return a; }

#endif

/* The first n lanes (n <= VLEN), the others zero; nothing beyond them is touched. */
static inline vec v_load_first(const elem *p, long n)
{
    elem lanes[VLEN] = {0};
    memcpy(lanes, p, (size_t)n * sizeof(elem));
    return v_load(lanes);
}

static inline vec v_read_first(const real *p, long n)
{
    real lanes[VLEN] = {0};
    memcpy(lanes, p, (size_t)n * sizeof(real));
    return v_read(lanes);
}

static inline void v_write_first(real *p, vec a, long n)
{
    memcpy(p, &a, (size_t)n * sizeof(real));
}

/* ---- choices: masks are all ones or all zeros in each lane ---- */

static inline vec v_select(ivec mask, vec yes, vec no) { return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask)); }
static inline vec v_and(vec a, ivec mask) { return (vec)((ivec)a & mask); }

static inline vec v_one_where(ivec mask) { return v_and(v_splat(1), mask); }
static inline vec v_less(vec a, vec b) { return v_one_where(a < b); }     /* 1 where a < b, else 0 */
static inline vec v_step(vec a) { return v_one_where(a > v_splat(0)); }   /* 1 where a > 0, else 0 */
static inline vec v_relu(vec a) { return v_and(a, ~(a <= v_splat(0))); }
static inline vec v_max(vec a, vec b) { return v_select((a < b) | (b != b), b, a); }
static inline vec v_min(vec a, vec b) { return v_select((b < a) | (b != b), b, a); }

static inline vec v_sign(vec a)
{
    vec up = v_one_where(a > v_splat(0));
    vec down = v_one_where(a < v_splat(0));
    return v_select(a == a, up - down, a);
}

static inline vec v_square(vec a) { return a * a; }

/* ---- sums across lanes, always in the same order ---- */

static inline real v_sum(vec a)
{
    real lanes[VLEN];
    v_write(lanes, a);
    for (int half = VLEN / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

/* The first n lanes as they are, the others zero: for the last vector of a row whose width is no multiple of VLEN. */
static inline vec v_first(vec a, long n)
{
    ivec lane;
    for (int i = 0; i < VLEN; i++)
        lane[i] = i;
    return v_and(a, lane < (ivec){0} + (integer)n);
}

static inline real v_sum_first(vec a, long n) { return v_sum(v_first(a, n)); }

/* f lane by lane. */
static inline vec v_each(vec a, real (*f)(real))
{
    real lanes[VLEN];
    v_write(lanes, a);
    for (int i = 0; i < VLEN; i++)
        lanes[i] = f(lanes[i]);
    return v_read(lanes);
}

#if KERNEL_BITS != 64

/* Limits that let NaN pass: x86 takes the second operand where one is NaN. */
static inline vec v_at_most(vec a, real limit)
{
#if defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)v_splat(limit), (__m512)a);
#elif defined(__AVX__)
    return (vec)_mm256_min_ps((__m256)v_splat(limit), (__m256)a);
#else
    return v_select(a > v_splat(limit), v_splat(limit), a);
#endif
}

static inline vec v_at_least(vec a, real limit)
{
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)v_splat(limit), (__m512)a);
#elif defined(__AVX__)
    return (vec)_mm256_max_ps((__m256)v_splat(limit), (__m256)a);
#else
    return v_select(a < v_splat(limit), v_splat(limit), a);
#endif
}

enum { V_SIGN = INT32_MIN };

static inline vec v_abs(vec a) { return v_and(a, (ivec){0} + INT32_MAX); }

static inline vec v_sqrt(vec a)
{
    real lanes[VLEN];
    v_write(lanes, a);
    for (int i = 0; i < VLEN; i++)
        lanes[i] = sqrtf(lanes[i]);
    return v_read(lanes);
}

/* exp(x) = 4^m exp(r), |r| <= ln 2: with an even power of two the scaling is two equal multiplications, which reach
 * both infinity and the smallest numbers without a case of their own. x * log2(e) / 2 is rounded to m by adding
 * 1.5 * 2^23, which leaves m in the low bits. Beyond the limits of the first two lines the result is infinite or zero
 * anyway. */
static inline vec v_exp(vec x)
{
    x = v_at_least(v_at_most(x, 89.0f), -104.0f);
    vec t = x * 0.72134752f + 12582912.0f;
    vec m = t - 12582912.0f;
    vec r = x - m * 1.3828125f;
    r = r - m * 3.48186112e-3f;
    vec p = r * 1.96112515e-4f + 1.41044526e-3f;
    p = p * r + 8.33610642e-3f;
    p = p * r + 4.16612692e-2f;
    p = p * r + 1.66666141e-1f;
    p = p * r + 5.00000346e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    vec root = (vec)(((uvec)t << 23) + 0x3F800000);
    return p * root * root;
}

/* For y in [-110, 0]: exp(y) = 2^n (1 + e), |ln 2 n - y| <= ln(2) / 2; e is returned, `bits` gets n times 2^23. */
static inline vec v_exp_parts(vec y, ivec *bits)
{
    vec t = y * 1.44269504f + 12582912.0f;
    vec n = t - 12582912.0f;
    vec r = y - n * 0.69140625f;
    r = r - n * 1.74093056e-3f;
    vec q = r * 1.38146058e-3f + 8.36871192e-3f;
    q = q * r + 4.1668389e-2f;
    q = q * r + 1.66665211e-1f;
    q = q * r + 4.9999994e-1f;
    *bits = (ivec)((uvec)t << 23);
    return r * r * q + r;
}

/* exp(-|x|); the last multiplication rounds results below the normal numbers. */
static inline vec v_exp_minus_abs(vec x)
{
    vec y = (vec)((ivec)x | V_SIGN);
    y = v_at_least(y, -104.0f);
    ivec bits;
    vec p = v_exp_parts(y, &bits) + 1.0f;
    vec large = (vec)((uvec)p + (uvec)bits + (64 << 23));
    return v_select(x == x, large * 0x1p-64f, x);
}

/* 1 / (1 + exp(-x)) = 2^-64 / (2^-64 + 2^(n-64) p), which meets neither infinity nor, before the division, a number too
 * small to be normal. */
static inline vec v_sigmoid(vec x)
{
    x = v_at_most(v_at_least(x, -104.0f), 43.0f);
    vec t = x * -1.44269504f + 12582912.0f;
    vec n = t - 12582912.0f;
    vec r = n * -0.69140625f - x;
    r = r - n * 1.74093056e-3f;
    vec p = r * 1.38146194e-3f + 8.36874176e-3f;
    p = p * r + 4.16683895e-2f;
    p = p * r + 1.66665204e-1f;
    p = p * r + 4.99999934e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    vec power = (vec)(((uvec)t << 23) + ((127 - 64) << 23));
    return 0x1p-64f / (power * p + 0x1p-64f);
}

/* With d = 1 - exp(-2 |x|), exact near 0: tanh |x| = d / (2 - d). Beyond 10 it is 1 to the last place. */
static inline vec v_tanh(vec x)
{
    vec y = v_at_most(v_abs(x), 10.0f);
    vec t = y * -2.88539008f + 12582912.0f;
    vec r = (12582912.0f - t) * 0.693147181f - (y + y); /* ln 2 may be rounded: where its multiple is large, exp is small */
    vec q = r * 1.38146058e-3f + 8.36871192e-3f;
    q = q * r + 4.1668389e-2f;
    q = q * r + 1.66665211e-1f;
    q = q * r + 4.9999994e-1f;
    vec e = r * r * q + r;
    vec power = (vec)(((uvec)t << 23) + 0x3F800000);
    vec d = (1.0f - power) - power * e;
    return (vec)((ivec)(d / (2.0f - d)) | ((ivec)x & V_SIGN));
}

/* log(1 + f) - f for 1 + f in [sqrt(1/2), sqrt(2)] */
static inline vec v_log_rest(vec f)
{
    vec p = f * -7.6344952e-2f + 1.2761575e-1f;
    p = p * f - 1.31601825e-1f;
    p = p * f + 1.42017588e-1f;
    p = p * f - 1.66233569e-1f;
    p = p * f + 2.00012267e-1f;
    p = p * f - 2.50008196e-1f;
    p = p * f + 3.33333313e-1f;
    vec square = f * f;
    return square * f * p - square * 0.5f;
}

static inline vec v_log(vec x)
{
    ivec tiny = x < v_splat(0x1p-126f);
    vec normal = v_select(tiny, x * 0x1p23f, x);
    ivec bits = (ivec)((uvec)normal - 0x3F3504F3); /* sqrt(1/2), so that the mantissa left over lies around 1 */
    ivec power = (bits >> 23) - (tiny & 23);
    vec f = (vec)((bits & 0x7FFFFF) + 0x3F3504F3) - 1.0f;
    vec k = __builtin_convertvector(power, vec);
    vec log = v_log_rest(f) + k * 1.74093056e-3f + f + k * 0.69140625f;
    vec outside = v_select(x < v_splat(0), v_splat(NAN), v_select(x == v_splat(0), v_splat(-INFINITY), x));
    return v_select((x > v_splat(0)) & (x < v_splat(INFINITY)), log, outside);
}

/* max(x, 0) + log(1 + e), e = exp(-|x|): 1 + e is never rounded, since either f = e or f = (1 + e) / 2 - 1 is exact. */
static inline vec v_softplus(vec x)
{
    vec e = v_exp_minus_abs(x);
    ivec upper = e > v_splat(0.41421356f);
    vec f = v_select(upper, e * 0.5f - 0.5f, e);
    vec log = v_log_rest(f) + f + v_and(v_splat(0.693147181f), upper);
    return v_relu(x) + log;
}

/* One lane of sin (quarters = 0) or cos (1) for |x| <= 2^20. The multiple of pi/2 is taken off in double precision:
 * the upper part of pi/2 has 33 bits, so its product with the multiple is exact. */
static inline float v_circle(float x, int64_t quarters)
{
    double t = x * 0.63661977236758134308 + 0x1.8p52;
    double n = t - 0x1.8p52;
    double r = (x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a626331p-34;
    double u = r * r;
    double sine = r + r * u * (-1.66666552e-1 + u * (8.3321603e-3 - u * 1.95152839e-4));
    double cosine = 1 - 0.5 * u + u * u * (4.16666456e-2 - u * (1.38873165e-3 - u * 2.44331568e-5));
    int64_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits += quarters;
    double result = bits & 1 ? cosine : sine;
    return (float)(bits & 2 ? -result : result);
}

static inline int v_any(ivec mask)
{
    integer any = 0;
    for (int i = 0; i < VLEN; i++)
        any |= mask[i];
    return any != 0;
}

/* Lanes beyond 2^20 (or not finite) are rare enough for libm. */
static inline vec v_turn(vec a, int quarters)
{
    if (v_any(~(v_abs(a) <= v_splat(0x1p20f))))
        return v_each(a, quarters ? cosf : sinf);
    real lanes[VLEN];
    v_write(lanes, a);
    for (int i = 0; i < VLEN; i++)
        lanes[i] = v_circle(lanes[i], quarters);
    return v_read(lanes);
}

static inline vec v_sin(vec a) { return v_turn(a, 0); }
static inline vec v_cos(vec a) { return v_turn(a, 1); }

#else

static inline real v_sigmoid_lane(real x)
{
    real e = exp(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}

static inline real v_softplus_lane(real x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }

static inline vec v_abs(vec a) { return v_each(a, fabs); }
static inline vec v_sqrt(vec a) { return v_each(a, sqrt); }
static inline vec v_exp(vec a) { return v_each(a, exp); }
static inline vec v_log(vec a) { return v_each(a, log); }
static inline vec v_sin(vec a) { return v_each(a, sin); }
static inline vec v_cos(vec a) { return v_each(a, cos); }
static inline vec v_tanh(vec a) { return v_each(a, tanh); }
static inline vec v_sigmoid(vec a) { return v_each(a, v_sigmoid_lane); }
static inline vec v_softplus(vec a) { return v_each(a, v_softplus_lane); }

#endif
#endif
