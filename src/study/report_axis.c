/* report_axis.c - scales: where a value stands, which values get a tick, and how numbers are written on axes. */
#include <math.h>
#include <stdio.h>

#include "report.h"

double axis_share(const struct axis_range *r, double value)
{
    if (r->log)
        return (log10(value) - log10(r->low)) / (log10(r->high) - log10(r->low));
    return (value - r->low) / (r->high - r->low);
}

/* 1, 2 or 5 times a power of ten, so that at most `most` fit. */
static double step_of(double span, int most)
{
    double raw = span / most, power = pow(10, floor(log10(raw))), share = raw / power;
    return power * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
}

static int even_ticks(const struct axis_range *r, int most, double *tick)
{
    double step = step_of(r->high - r->low, most);
    int count = 0;
    for (double i = ceil(r->low / step - 1e-9); i * step <= r->high + 1e-9 * step && count < AXIS_TICKS; i++)
        tick[count++] = i * step + 0.0; /* no -0 */
    return count;
}

static int log_ticks(const struct axis_range *r, int most, double *tick)
{
    int low = (int)floor(log10(r->low) + 1e-9), high = (int)ceil(log10(r->high) - 1e-9), count = 0;
    int stride = 1 + (high - low) / most, per = high - low <= 1 ? 3 : high - low <= 2 ? 2 : 1;
    static const double within[3][3] = {{1, 0, 0}, {1, 3, 0}, {1, 2, 5}};
    for (int e = low; e <= high; e += stride)
        for (int i = 0; i < per && count < AXIS_TICKS; i++) {
            double value = within[per - 1][i] * pow(10, e);
            if (value >= r->low * (1 - 1e-9) && value <= r->high * (1 + 1e-9))
                tick[count++] = value;
        }
    return count;
}

int axis_ticks(const struct axis_range *r, int most, double *tick)
{
    int count = r->log ? log_ticks(r, most, tick) : 0;
    return count > 1 ? count : even_ticks(r, most, tick);
}

struct said_number say_number(double value)
{
    struct said_number said;
    double size = fabs(value);
    if (size >= 999.5e6 || (size > 0 && size < 0.000995))
        snprintf(said.text, sizeof said.text, "%.3g", value);
    else if (size >= 999.5e3)
        snprintf(said.text, sizeof said.text, "%.3gM", value / 1e6);
    else if (size >= 9999.5)
        snprintf(said.text, sizeof said.text, "%.3gk", value / 1e3);
    else
        snprintf(said.text, sizeof said.text, "%.4g", value);
    return said;
}
