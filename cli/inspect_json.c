/* inspect_json.c - an inspection as one JSON object. What is infinite or was not measured is null. */
#include "inspect.h"
#include "json.h"

static void emit_spread(struct emit *emit, const char *key, const bptt_spread *s)
{
    emit_open(emit, key, '{');
    emit_number(emit, "mean", s->mean);
    emit_number(emit, "least", s->least);
    emit_number(emit, "low", s->low);
    emit_number(emit, "median", s->median);
    emit_number(emit, "high", s->high);
    emit_number(emit, "most", s->most);
    emit_close(emit, '}');
}

static void emit_lag(struct emit *emit, const char *key, int64_t lag)
{
    if (lag < 0)
        emit_text(emit, key, NULL);
    else
        emit_whole(emit, key, lag);
}

static void emit_norms(struct emit *emit, const char *key, const bptt_spread *norm, int64_t lags, size_t offset)
{
    emit_open(emit, key, '[');
    for (int64_t k = 0; k < lags; k++)
        emit_number(emit, NULL, *(const double *)((const char *)&norm[k] + offset));
    emit_close(emit, ']');
}

static void emit_curve(struct emit *emit, const bptt_inspect_lag *c, int64_t lags)
{
    emit_open(emit, NULL, '{');
    emit_text(emit, "name", c->name);
    emit_number(emit, "decay", c->decay);
    emit_number(emit, "half_life", c->half_life);
    emit_lag(emit, "percent", c->percent);
    emit_lag(emit, "rounding", c->rounding);
    emit_norms(emit, "mean", c->norm, lags, offsetof(bptt_spread, mean));
    emit_norms(emit, "low", c->norm, lags, offsetof(bptt_spread, low));
    emit_norms(emit, "median", c->norm, lags, offsetof(bptt_spread, median));
    emit_norms(emit, "high", c->norm, lags, offsetof(bptt_spread, high));
    emit_close(emit, '}');
}

static void emit_parameters(struct emit *emit, const bptt_inspect_report *r)
{
    emit_open(emit, "parameters", '[');
    for (size_t i = 0; i < r->parameters; i++) {
        emit_open(emit, NULL, '{');
        emit_text(emit, "name", r->parameter[i].name);
        emit_number(emit, "weight", r->parameter[i].weight);
        emit_number(emit, "gradient", r->parameter[i].gradient);
        emit_number(emit, "update", r->parameter[i].update);
        emit_close(emit, '}');
    }
    emit_close(emit, ']');
}

static void emit_values(struct emit *emit, const char *key, const double *values, int64_t n)
{
    emit_open(emit, key, '[');
    for (int64_t i = 0; i < n; i++)
        emit_number(emit, NULL, values[i]);
    emit_close(emit, ']');
}

static void emit_products(struct emit *emit, const bptt_inspect_layer *l)
{
    emit_open(emit, "products", '[');
    for (int64_t k = 0; k < l->products; k++) {
        emit_open(emit, NULL, '{');
        emit_whole(emit, "lag", l->product_lag[k]);
        emit_spread(emit, "largest", &l->product[k]);
        emit_number(emit, "alignment", l->alignment[k]);
        emit_close(emit, '}');
    }
    emit_close(emit, ']');
}

static void emit_layer(struct emit *emit, const bptt_inspect_layer *l)
{
    emit_open(emit, NULL, '{');
    emit_text(emit, "verdict", bptt_verdict_name(l->verdict));
    emit_whole(emit, "states", l->states);
    emit_values(emit, "exponents", l->exponent, l->exponents);
    emit_values(emit, "exponent_errors", l->error, l->exponents);
    emit_whole(emit, "steps", l->steps);
    emit_number(emit, "growth", l->growth);
    emit_lag(emit, "overflow", l->overflow);
    emit_whole(emit, "jacobians", l->jacobians);
    emit_spread(emit, "largest", &l->largest);
    emit_spread(emit, "smallest", &l->smallest);
    emit_spread(emit, "radius", &l->radius);
    emit_products(emit, l);
    emit_close(emit, '}');
}

static void emit_value(struct emit *emit, const bptt_inspect_value *v)
{
    emit_open(emit, NULL, '{');
    emit_whole(emit, "layer", v->layer);
    emit_text(emit, "name", v->name);
    emit_text(emit, "function", v->function);
    emit_whole(emit, "units", v->units);
    emit_number(emit, "mean", v->mean);
    emit_number(emit, "low", v->low);
    emit_number(emit, "high", v->high);
    emit_number(emit, "dead", v->dead);
    emit_number(emit, "memory", v->memory);
    emit_number(emit, "longest", v->longest);
    emit_close(emit, '}');
}

void inspect_emit(const bptt_inspect_report *r)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_whole(&emit, "lags", r->lags);
    emit_whole(&emit, "samples", r->samples);
    emit_text(&emit, "precision", r->precision == BPTT_F64 ? "f64" : "f32");
    emit_open(&emit, "gradient_by_lag", '[');
    for (size_t i = 0; i < r->curves; i++)
        emit_curve(&emit, &r->curve[i], r->lags);
    emit_close(&emit, ']');
    emit_whole(&emit, "walked", r->walked);
    emit_whole(&emit, "stretches", r->stretches);
    emit_open(&emit, "layers", '[');
    for (int64_t l = 0; l < r->layers; l++)
        emit_layer(&emit, &r->layer[l]);
    emit_close(&emit, ']');
    emit_open(&emit, "values", '[');
    for (size_t i = 0; i < r->values; i++)
        emit_value(&emit, &r->value[i]);
    emit_close(&emit, ']');
    emit_parameters(&emit, r);
    emit_number(&emit, "clipped", r->clipped);
    emit_close(&emit, '}');
}
