/* strategy.c - `--gradient` read, checked and written back, and the distributions of random links.
 *
 * A distribution of lengths becomes a probability per link by its hazard h(s) = P(length = s | length >= s): after s steps
 * since the last cut the link is kept with 1 - h(s). No bias needs every probability above 0. */
#include "strategy.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double LEAST_PROBABILITY = 1e-9;      /* its weight, 1 / p, is still a sensible float */
static const long MOST_STEPS = 1000000000000000;   /* sums of a few stay within a long */
static const char KNOWN[] = "full, segments:K, truncated:k1,k2, random:P, adaptive:D, rtrl, snap1, snap:N, rflo, rflo:L, uoro";

/* ---- numbers ---- */

/* The whole of `text` up to `end` is a decimal whole number from 1 to `most`. */
static int parse_count(const char *text, const char *end, long most, long *value)
{
    long sum = 0;
    if (text == end)
        return 0;
    for (; text < end; text++) {
        if (!isdigit((unsigned char)*text) || sum > (most - (*text - '0')) / 10)
            return 0;
        sum = sum * 10 + (*text - '0');
    }
    *value = sum;
    return sum > 0;
}

/* ... a finite decimal number; strtod alone would take "nan", "inf" and "0x1". */
static int parse_number(const char *text, const char *end, double *value)
{
    char copy[64];
    char *rest;
    size_t length = (size_t)(end - text);
    if (!length || length >= sizeof copy || strspn(text, "0123456789.eE+-") < length)
        return 0;
    memcpy(copy, text, length);
    copy[length] = '\0';
    *value = strtod(copy, &rest);
    return !*rest && isfinite(*value);
}

static const char *end_of(const char *text)
{
    return text + strlen(text);
}

static int fail_count(const char *text, const char *form, bptt_error *error)
{
    return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': %s takes whole numbers of steps from 1 on", text, form);
}

/* ---- strategies with steps ---- */

static int parse_segments(const char *text, const char *rest, struct strategy *s, bptt_error *error)
{
    s->kind = STRATEGY_SEGMENTS;
    if (!parse_count(rest, end_of(rest), MOST_STEPS, &s->k1))
        return fail_count(text, "segments:K", error);
    s->k2 = s->k1;
    return BPTT_OK;
}

static int parse_truncated(const char *text, const char *rest, struct strategy *s, bptt_error *error)
{
    const char *comma = strchr(rest, ',');
    s->kind = STRATEGY_TRUNCATED;
    if (!comma || !parse_count(rest, comma, MOST_STEPS, &s->k1) || !parse_count(comma + 1, end_of(comma), MOST_STEPS, &s->k2))
        return fail_count(text, "truncated:k1,k2", error);
    if (s->k2 < s->k1)
        return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': the losses of k1 = %ld steps cannot reach back only k2 = %ld; "
                    "give k2 of at least k1", text, s->k1, s->k2);
    return BPTT_OK;
}

static int parse_adaptive(const char *text, const char *rest, struct strategy *s, bptt_error *error)
{
    s->kind = STRATEGY_ADAPTIVE;
    if (!parse_number(rest, end_of(rest), &s->delta) || !(s->delta > 0 && s->delta < 1))
        return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': adaptive:D takes a relative bias between 0 and 1, both "
                    "excluded, as adaptive:0.1", text);
    return BPTT_OK;
}

static int parse_snap(const char *text, const char *rest, struct strategy *s, bptt_error *error)
{
    long order;
    s->kind = STRATEGY_SNAP;
    if (!parse_count(rest, end_of(rest), 1000000, &order))
        return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': snap:N takes a whole number of steps from 1 to 1000000", text);
    s->order = (int)order;
    return BPTT_OK;
}

/* ---- random links ---- */

static int is_probability(double p)
{
    return p >= LEAST_PROBABILITY && p <= 1;
}

static int fail_probability(const char *text, bptt_error *error)
{
    return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': a link is kept with a probability above 0 (at least 1e-9) and at "
                "most 1: give random:P, P..Q, a list P,Q,... of at most %d, or geometric:MEAN, uniform:A,B, power:MEAN,ALPHA",
                text, LINK_MOST);
}

static int parse_linear(const char *text, const char *rest, const char *dots, struct links *links, bptt_error *error)
{
    links->kind = LINK_LINEAR;
    links->count = 2;
    int ok = parse_number(rest, dots, &links->value[0]) && parse_number(dots + 2, end_of(dots), &links->value[1]);
    if (!ok || !is_probability(links->value[0]) || !is_probability(links->value[1]))
        return fail_probability(text, error);
    return BPTT_OK;
}

static int parse_list(const char *text, const char *rest, struct links *links, bptt_error *error)
{
    for (const char *end;; rest = end + 1) {
        end = rest + strcspn(rest, ",");
        double *value = &links->value[links->count];
        if (links->count == LINK_MOST || !parse_number(rest, end, value) || !is_probability(*value))
            return fail_probability(text, error);
        links->count++;
        if (!*end)
            break;
    }
    links->kind = links->count > 1 ? LINK_LIST : LINK_CONSTANT;
    return BPTT_OK;
}

static int parse_geometric(const char *text, const char *rest, struct links *links, bptt_error *error)
{
    links->kind = LINK_GEOMETRIC;
    links->count = 1;
    if (!parse_number(rest, end_of(rest), &links->value[0]) || !is_probability(link_probability(links, 1, 2, 1)))
        return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': random:geometric:MEAN takes a mean length above 1 step", text);
    return BPTT_OK;
}

static int parse_uniform(const char *text, const char *rest, struct links *links, bptt_error *error)
{
    const char *comma = strchr(rest, ',');
    long least, most;
    links->kind = LINK_UNIFORM;
    links->count = 2;
    if (!comma || !parse_count(rest, comma, MOST_STEPS, &least) || !parse_count(comma + 1, end_of(comma), MOST_STEPS, &most))
        return fail_count(text, "random:uniform:A,B", error);
    if (most < least)
        return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': lengths from A = %ld to B = %ld are none; give B of at least A",
                    text, least, most);
    links->value[0] = (double)least;
    links->value[1] = (double)most;
    return BPTT_OK;
}

static int parse_power(const char *text, const char *rest, struct links *links, bptt_error *error)
{
    const char *comma = strchr(rest, ',');
    double *value = links->value;
    links->kind = LINK_POWER;
    links->count = 2;
    int ok = comma && parse_number(rest, comma, &value[0]) && parse_number(comma + 1, end_of(comma), &value[1]);
    if (!ok || !(value[0] > 1) || !(value[1] > 1) || !is_probability(link_probability(links, 1, 2, 1)))
        return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': random:power:MEAN,ALPHA takes a mean length above 1 step and "
                    "an exponent above 1, as random:power:20,1.5", text);
    return BPTT_OK;
}

/* What stands behind a prefix, or NULL. */
static const char *after(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) ? NULL : text + length;
}

static int parse_random(const char *text, const char *rest, struct strategy *s, bptt_error *error)
{
    const char *inner, *dots = strstr(rest, "..");
    s->kind = STRATEGY_RANDOM;
    if ((inner = after(rest, "geometric:")))
        return parse_geometric(text, inner, &s->links, error);
    if ((inner = after(rest, "uniform:")))
        return parse_uniform(text, inner, &s->links, error);
    if ((inner = after(rest, "power:")))
        return parse_power(text, inner, &s->links, error);
    return dots ? parse_linear(text, rest, dots, &s->links, error) : parse_list(text, rest, &s->links, error);
}

/* Keeping and cutting add up to 1 at every link, so a length of B would always be cut there, and what lies further back
 * never be seen: half of the pieces that reach B go on. */
static double uniform_probability(double least, double most, double since)
{
    double p = since < least ? 1 : 1 - 1 / (most - since + 1);
    return since >= most || p < 0.5 ? 0.5 : p;
}

/* The hazard A / (s + c) makes P(length > t) = prod (s + c - A) / (s + c) ~ t^-A, whose sum, the mean, is c / (A - 1). */
static double power_probability(double mean, double alpha, double since)
{
    double c = mean * (alpha - 1);
    return (since + c - alpha) / (since + c);
}

double link_probability(const struct links *links, long t, long steps, long since)
{
    const double *value = links->value;
    switch (links->kind) {
    case LINK_CONSTANT: return value[0];
    case LINK_LINEAR: return steps > 2 ? value[0] + (value[1] - value[0]) * ((double)(t - 1) / (double)(steps - 2)) : value[0];
    case LINK_LIST: return value[t <= links->count ? t - 1 : links->count - 1];
    case LINK_GEOMETRIC: return 1 - 1 / value[0];
    case LINK_UNIFORM: return uniform_probability(value[0], value[1], (double)since);
    default: return power_probability(value[0], value[1], (double)since);
    }
}

static int parse_rflo(const char *text, const char *rest, struct strategy *strategy, bptt_error *error)
{
    strategy->kind = STRATEGY_RFLO;
    strategy->order = 1;
    if (parse_number(rest, end_of(rest), &strategy->leak) && strategy->leak >= 0 && strategy->leak < 1)
        return BPTT_OK;
    return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': rflo:L takes what is left of a trace after a step, at least 0 and "
                "below 1, as rflo:0.9; rflo alone takes it from the cell", text);
}

/* ---- all of them ---- */

struct form {
    const char *prefix;
    int (*parse)(const char *text, const char *rest, struct strategy *strategy, bptt_error *error);
};

static const struct form forms[] = {{"segments:", parse_segments}, {"truncated:", parse_truncated}, {"random:", parse_random},
                                    {"adaptive:", parse_adaptive}, {"snap:", parse_snap}, {"rflo:", parse_rflo}};

static const struct { const char *name; enum strategy_kind kind; int order; } words[] = {
    {"full", STRATEGY_FULL, 0}, {"rtrl", STRATEGY_RTRL, 0}, {"snap1", STRATEGY_SNAP, 1}, {"rflo", STRATEGY_RFLO, 0},
    {"uoro", STRATEGY_UORO, 0}};
enum { FORMS = sizeof forms / sizeof forms[0], WORDS = sizeof words / sizeof words[0] };

int strategy_parse(const char *text, struct strategy *strategy, bptt_error *error)
{
    *strategy = (struct strategy){0};
    if (!text)
        return BPTT_OK;
    for (int i = 0; i < FORMS; i++) {
        const char *rest = after(text, forms[i].prefix);
        if (rest)
            return forms[i].parse(text, rest, strategy, error);
    }
    for (int i = 0; i < WORDS; i++) {
        const char *rest = after(text, words[i].name);
        strategy->kind = words[i].kind;
        strategy->order = words[i].order;
        if (rest && !*rest)
            return BPTT_OK;
        if (rest && *rest == ':')
            return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%.60s': %s takes nothing after it; give %s alone", text,
                        words[i].name, words[i].name);
    }
    return fail(error, BPTT_ERROR_ARGUMENT, "there is no gradient '%.60s'; there are %s", text, KNOWN);
}

int strategy_check(const struct strategy *strategy, long steps, bptt_error *error)
{
    int has_steps = strategy->kind == STRATEGY_SEGMENTS || strategy->kind == STRATEGY_TRUNCATED;
    if (!has_steps || steps == 0 || strategy->k1 <= steps)
        return BPTT_OK;
    char text[64];
    strategy_text(strategy, text, sizeof text);
    return fail(error, BPTT_ERROR_ARGUMENT, "gradient '%s' is cut every %ld steps, but there are only %ld; give at most "
                "%ld, or full", text, strategy->k1, steps, steps);
}

int strategy_is_forward(const struct strategy *strategy)
{
    return strategy->kind >= STRATEGY_RTRL;
}

/* K of what runs as pieces, 0: the whole window. */
static long cut_every(const struct strategy *strategy)
{
    if (strategy_is_forward(strategy))
        return 1;
    return strategy->kind == STRATEGY_FULL || strategy->kind == STRATEGY_RANDOM ? 0 : strategy->k1;
}

long strategy_chunk(const struct strategy *strategy, long steps)
{
    long every = cut_every(strategy);
    return every > 0 && every < steps ? every : steps;
}

long strategy_reach(const struct strategy *strategy, long steps)
{
    long chunk = strategy_chunk(strategy, steps), reach = chunk;
    if (strategy->kind == STRATEGY_TRUNCATED && chunk < steps)
        reach = strategy->k2;
    if (strategy->kind == STRATEGY_ADAPTIVE && chunk < steps)
        reach = 2 * chunk - 1;             /* each loss reaches over K steps at least */
    return reach < steps ? reach : steps;
}

/* ---- written back ---- */

/* The shortest of two forms that reads as the same number. */
static void add_number(char *text, size_t size, const char *before, double value)
{
    size_t used = strlen(text);
    char number[40];
    snprintf(number, sizeof number, "%.15g", value);
    if (strtod(number, NULL) != value)
        snprintf(number, sizeof number, "%.17g", value);
    if (used < size)
        snprintf(text + used, size - used, "%s%s", before, number);
}

static void random_text(const struct links *links, char *text, size_t size)
{
    static const char *const names[] = {"", "", "", "geometric:", "uniform:", "power:"};
    snprintf(text, size, "random:%s", names[links->kind]);
    for (int i = 0; i < links->count; i++)
        add_number(text, size, i == 0 ? "" : links->kind == LINK_LINEAR ? ".." : ",", links->value[i]);
}

void strategy_text(const struct strategy *strategy, char *text, size_t size)
{
    switch (strategy->kind) {
    case STRATEGY_FULL: snprintf(text, size, "full"); break;
    case STRATEGY_SEGMENTS: snprintf(text, size, "segments:%ld", strategy->k1); break;
    case STRATEGY_TRUNCATED: snprintf(text, size, "truncated:%ld,%ld", strategy->k1, strategy->k2); break;
    case STRATEGY_RANDOM: random_text(&strategy->links, text, size); break;
    case STRATEGY_ADAPTIVE: snprintf(text, size, "adaptive:"); add_number(text, size, "", strategy->delta); break;
    case STRATEGY_RTRL: snprintf(text, size, "rtrl"); break;
    case STRATEGY_SNAP: snprintf(text, size, strategy->order == 1 ? "snap1" : "snap:%d", strategy->order); break;
    case STRATEGY_RFLO:
        snprintf(text, size, strategy->order ? "rflo:" : "rflo");
        if (strategy->order)
            add_number(text, size, "", strategy->leak);
        break;
    default: snprintf(text, size, "uoro"); break;
    }
}
