/* warn.c - see warn.h. Limits are factors, so that they hold for any task; each says why it has its value. */
#include "warn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double NORM_FACTOR = 10,      /* beside the median of the last updates: well outside of what batches differ by */
    SPIKE_DEVIATIONS = 6, SPIKE_SHARE = 0.15, SPIKE_NATS = 0.25,  /* all three: no false alarm in noisy, quiet, finished runs */
    BACK_FACTOR = 100,                     /* growth of the gradient over the steps it goes back */
    RADIUS_FACTOR = 1e4,                   /* the same by the radius alone, which turning directions do not keep up */
    STEADY = 0.95,                         /* a gradient that decays faster does not feel the radius */
    SATURATED = 0.8, CLIPPED = 0.5, SHORTER = 4;
enum { CLIPPED_LEAST = 10, SHORT_LEAST = 8 };  /* updates; steps of a truncation that is worth shortening */

const char *warn_name(enum warn_kind kind)
{
    static const char *const name[WARN_KINDS] = {"growth", "radius", "spike", "saturation",
                                                "clipping", "short", "long", "nonfinite"};
    return name[kind];
}

/* ---- history ---- */

void warn_add(struct warn_history *h, double loss, double norm)
{
    h->loss[h->count % WARN_HISTORY] = loss;
    h->norm[h->count % WARN_HISTORY] = norm;
    h->count++;
}

static int order(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

static double median(double *value, long n)
{
    qsort(value, (size_t)n, sizeof *value, order);
    return n % 2 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

/* The newest value apart from those before it, whose number is returned: 0 where there are too few. */
static long split(const struct warn_history *h, const double *ring, double *newest, double *earlier)
{
    long n = (h->count < WARN_HISTORY ? h->count : WARN_HISTORY) - 1;
    if (n < WARN_LEAST)
        return 0;
    *newest = ring[(h->count - 1) % WARN_HISTORY];
    for (long i = 0; i < n; i++)
        earlier[i] = ring[(h->count - 2 - i) % WARN_HISTORY];
    return n;
}

/* ---- rules ---- */

static int exceeds(struct warning *w, enum warn_kind kind, int layer, double value, double limit)
{
    *w = (struct warning){.kind = kind, .layer = layer, .value = value, .limit = limit};
    return !(value <= limit);
}

static void advise(struct warning *w, const char *advice)
{
    snprintf(w->advice, sizeof w->advice, "%s", advice);
}

/* A deviation from the median that one value out of thousands has: median absolute deviation, times 1.48 for a normal one. */
int warn_spike(const struct warn_history *h, struct warning *w)
{
    double newest, value[WARN_HISTORY], off[WARN_HISTORY];
    long n = split(h, h->loss, &newest, value);
    if (!n)
        return 0;
    double middle = median(value, n);
    for (long i = 0; i < n; i++)
        off[i] = fabs(value[i] - middle);
    double room = fmax(SPIKE_DEVIATIONS * 1.48 * median(off, n), fmax(SPIKE_SHARE * fabs(middle), SPIKE_NATS));
    if (!exceeds(w, WARN_SPIKE, -1, newest, middle + room))
        return 0;
    snprintf(w->text, sizeof w->text, "the loss jumped to %.4g, from %.4g before", newest, middle);
    advise(w, "lower the learning rate (--lr), or warm it up for longer (--warmup)");
    return 1;
}

int warn_norm(const struct warn_history *h, int clips, struct warning *w)
{
    double newest, value[WARN_HISTORY];
    long n = split(h, h->norm, &newest, value);
    if (!n)
        return 0;
    double middle = median(value, n);
    if (!exceeds(w, WARN_GROWTH, -1, newest, NORM_FACTOR * middle))
        return 0;
    snprintf(w->text, sizeof w->text, "the gradient norm grew to %.3g, from %.3g before", newest, middle);
    advise(w, clips ? "lower the learning rate (--lr): the clip bounds the step, not what it leads to"
                    : "clip the gradient (--clip 1), or lower the learning rate (--lr)");
    return 1;
}

int warn_clipping(long updates, long clipped, double clip, struct warning *w)
{
    if (updates < CLIPPED_LEAST || !exceeds(w, WARN_CLIPPING, -1, (double)clipped / (double)updates, CLIPPED))
        return 0;
    snprintf(w->text, sizeof w->text,
             "%.0f %% of the last %ld updates were clipped: their length is the clip's, not the gradient's",
             100 * w->value, updates);
    snprintf(w->advice, sizeof w->advice, "raise --clip (now %.4g) if the loss falls smoothly, else lower --lr", clip);
    return 1;
}

/* Factors over all steps that it goes back are compared, so the limit of one step is the root. */
static double root(double factor, long steps)
{
    return pow(factor, 1 / (double)(steps > 1 ? steps : 1));
}

static const char *against_growth(int clips)
{
    return clips ? "lower --lr, shorten the truncation (--gradient segments:K), or take a cell with gates"
                 : "clip the gradient (--clip 1), shorten the truncation (--gradient segments:K), or take a cell with gates";
}

int warn_growth(const struct warn_layer *l, struct warning *w)
{
    if (isnan(l->decay) || !exceeds(w, WARN_GROWTH, l->layer, l->decay, root(BACK_FACTOR, l->truncation)))
        return 0;
    snprintf(w->text, sizeof w->text, "the gradient of layer %d grows by %.3g each step back, over %ld steps by %.1e",
             l->layer, l->decay, l->truncation, pow(l->decay, (double)l->truncation));
    advise(w, against_growth(l->clips));
    return 1;
}

int warn_radius(const struct warn_layer *l, struct warning *w)
{
    if (isnan(l->radius) || l->decay < STEADY ||
        !exceeds(w, WARN_RADIUS, l->layer, l->radius, root(RADIUS_FACTOR, l->truncation)))
        return 0;
    snprintf(w->text, sizeof w->text, "the step Jacobian of layer %d has a spectral radius of %.3g: over %ld steps up to %.1e",
             l->layer, l->radius, l->truncation, pow(l->radius, (double)l->truncation));
    advise(w, against_growth(l->clips));
    return 1;
}

int warn_saturation(const struct warn_layer *l, struct warning *w)
{
    if (!l->value || isnan(l->saturated) || !exceeds(w, WARN_SATURATION, l->layer, l->saturated, SATURATED))
        return 0;
    snprintf(w->text, sizeof w->text, "%.0f %% of %.80s in layer %d are saturated: hardly a gradient passes there",
             100 * l->saturated, l->value, l->layer);
    advise(w, "lower --lr, or decay the weights (--optimizer adamw --weight-decay 0.01)");
    return 1;
}

int warn_short(const struct warn_layer *l, struct warning *w)
{
    if (l->truncation < SHORT_LEAST || l->horizon >= l->lags)
        return 0;
    if (!exceeds(w, WARN_SHORT, l->layer, (double)l->truncation, SHORTER * (double)l->horizon))
        return 0;
    w->value = (double)l->horizon;
    w->limit = (double)l->truncation / SHORTER;
    snprintf(w->text, sizeof w->text, "the gradient of layer %d %s: it falls below 1 %% within %ld of %ld steps", l->layer,
             l->horizon < SHORT_LEAST ? "vanishes" : "does not use the truncation", l->horizon, l->truncation);
    snprintf(w->advice, sizeof w->advice, "for longer memory a cell with gates, --forget-bias 1 or --orthogonal; else "
             "--gradient segments:%ld or a shorter --length, which cost less", 2 * l->horizon > 4 ? 2 * l->horizon : 4);
    return 1;
}

/* A gradient that does not decay has no horizon: that is growth's to say. */
int warn_long(const struct warn_layer *l, struct warning *w)
{
    if (!(l->decay < 1) || l->horizon < l->truncation)
        return 0;
    *w = (struct warning){.kind = WARN_LONG, .layer = l->layer, .value = (double)l->horizon, .limit = (double)l->truncation};
    snprintf(w->text, sizeof w->text,
             "the gradient of layer %d is still above 1 %% after %ld steps, where it is cut: signal is lost", l->layer,
             l->truncation);
    advise(w, l->truncation < l->lags ? "a longer truncation, or --gradient random:0.9, which has no bias"
                                      : "a longer --length (a smaller --batch pays for it)");
    return 1;
}
