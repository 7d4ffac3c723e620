/* rate.c - constant, cosine (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts), step and plateau, after a
 * warm-up. What a plateau decides is kept by the caller in `scale`. */
#include "rate.h"

#include <math.h>

#include "../../include/bptt.h"

static const double PI = 3.14159265358979323846;

static double cosine_share(const struct rate *rate, int64_t step)
{
    if (rate->steps <= rate->warmup)
        return 1;
    double done = (double)(step - rate->warmup) / (double)(rate->steps - rate->warmup);
    done = done < 0 ? 0 : done > 1 ? 1 : done;
    return rate->final_share + (1 - rate->final_share) * (1 + cos(PI * done)) / 2;
}

double rate_at(const struct rate *rate, int64_t step)
{
    double value = rate->peak * rate->scale;
    if (step < rate->warmup)
        return value * (double)(step + 1) / (double)rate->warmup;
    switch (rate->schedule) {
    case BPTT_COSINE: return value * cosine_share(rate, step);
    case BPTT_STEP:
        return rate->decay_every > 0 ? value * pow(rate->decay, (double)((step - rate->warmup) / rate->decay_every))
                                     : value;
    default: return value;
    }
}
