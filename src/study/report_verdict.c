/* report_verdict.c - what a run's numbers say, in words: each finding is what was seen and what to try. Warnings that the
 * run wrote itself come first; what follows from the curves alone is added where no such warning stands. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

static struct finding *find(struct findings *all, const char *kind)
{
    for (size_t i = 0; i < all->count; i++)
        if (!strcmp(all->item[i].kind, kind))
            return &all->item[i];
    return NULL;
}

/* One of each kind. Returns NULL where there is one already, or no memory. */
static struct finding *add(struct findings *all, int level, const char *kind, int64_t step)
{
    if (find(all, kind))
        return NULL;
    struct finding *grown = realloc(all->item, (all->count + 1) * sizeof *grown);
    if (!grown) {
        all->failed = 1;
        return NULL;
    }
    all->item = grown;
    all->level = level > all->level ? level : all->level;
    struct finding *item = &grown[all->count++];
    *item = (struct finding){.level = level, .step = step};
    snprintf(item->kind, sizeof item->kind, "%s", kind);
    return item;
}

static void say(struct finding *item, const char *advice, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(struct finding *item, const char *advice, const char *format, ...)
{
    if (!item)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(item->text, sizeof item->text, format, arguments);
    va_end(arguments);
    snprintf(item->advice, sizeof item->advice, "%s", advice);
}

void findings_clear(struct findings *findings)
{
    free(findings->item);
    *findings = (struct findings){0};
}

const char *findings_verdict(const struct findings *findings)
{
    static const char *const verdict[] = {"Healthy", "Look at this", "This run went wrong"};
    return verdict[findings->level];
}

/* ---- warnings of the run ---- */

static int64_t warnings_of(const struct run *run, const char *kind, const json_t **last, int64_t *first)
{
    int64_t count = 0;
    for (size_t i = 0; i < run->warnings.count; i++) {
        const json_t *warning = json_object_get(run->warnings.line[i], "warning");
        const char *its = json_string_value(json_object_get(warning, "kind"));
        if (!its || strcmp(its, kind))
            continue;
        *first = count++ ? *first : line_step(run->warnings.line[i]);
        *last = run->warnings.line[i];
    }
    return count;
}

static const char *text_of(const json_t *warning, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(warning, key));
    return text ? text : otherwise;
}

static void add_place(struct finding *item, const json_t *warning)
{
    const json_t *where = json_object_get(warning, "where");
    size_t used = strlen(item->text);
    const char *state = text_of(where, "state", ""), *operation = text_of(where, "operation", "");
    double layer = json_value(json_object_get(where, "layer"));
    if (!json_is_object(where) || !*operation || strstr(item->text, operation))
        return;
    used += (size_t)snprintf(item->text + used, sizeof item->text - used, ". First seen at time step %.0f of the window",
                             json_value(json_object_get(where, "time")));
    if (used < sizeof item->text && layer >= 0)
        used += (size_t)snprintf(item->text + used, sizeof item->text - used, ", layer %.0f", layer);
    if (used < sizeof item->text && *state)
        used += (size_t)snprintf(item->text + used, sizeof item->text - used, ", state %s", state);
    if (used < sizeof item->text)
        snprintf(item->text + used, sizeof item->text - used, ", in %s.", operation);
}

static const json_t *last_layers(const struct run *run)
{
    return run->watch.count ? json_object_get(json_object_get(run->watch.line[run->watch.count - 1], "watch"), "layers") : NULL;
}

static double longest_horizon(const struct run *run)
{
    double longest = 0;
    for (size_t i = 0; i < json_array_size(last_layers(run)); i++)
        longest = fmax(longest, json_value(json_object_get(json_array_get(last_layers(run), i), "horizon")));
    return longest;
}

static double most_saturated(const struct run *run)
{
    double most = 0;
    const char *gate;
    json_t *share;
    for (size_t i = 0; i < json_array_size(last_layers(run)); i++) {
        json_t *gates = json_object_get(json_array_get(last_layers(run), i), "saturated");
        json_object_foreach(gates, gate, share)
            most = fmax(most, json_value(share));
    }
    return most;
}

enum { FEW_STEPS = 8 };                    /* a horizon below is no memory to speak of */
static const double NEARLY_ALL = 0.95;     /* of a gate's values; many LSTMs learn well with fewer at their ends */

/* What watching can tell of the present counts as it is now. Else what came once or twice in the first half is no more than a
 * note: a network that has learned nothing yet is often far off. */
static int level_of(const struct run *run, const char *kind, int64_t count, const json_t *last)
{
    double limit = json_value(json_object_get(json_object_get(last, "warning"), "limit"));
    if (!strcmp(kind, "nonfinite"))
        return FINDING_BAD;
    if (!strcmp(kind, "long"))
        return FINDING_NOTE;
    if (!strcmp(kind, "short"))
        return longest_horizon(run) < FEW_STEPS ? FINDING_LOOK : FINDING_NOTE;
    if (!strcmp(kind, "saturation") && run->watch.count)
        return most_saturated(run) < fmax(limit, NEARLY_ALL) ? FINDING_NOTE : FINDING_LOOK;
    return line_step(last) < run->last_step / 2 && count <= 2 ? FINDING_NOTE : FINDING_LOOK;
}

static void from_warnings(const struct run *run, struct findings *all)
{
    for (size_t i = 0; i < run->warnings.count; i++) {
        const json_t *warning = json_object_get(run->warnings.line[i], "warning"), *last = NULL;
        const char *kind = text_of(warning, "kind", "warning");
        int64_t first = 0, count = warnings_of(run, kind, &last, &first);
        if (!last || find(all, kind))
            continue;
        struct finding *item = add(all, level_of(run, kind, count, last), kind, first);
        warning = json_object_get(last, "warning");
        if (count > 1)
            say(item, text_of(warning, "try", ""), "%s (%lld times from step %lld; last at step %lld)",
                text_of(warning, "text", kind), (long long)count, (long long)first, (long long)line_step(last));
        else
            say(item, text_of(warning, "try", ""), "%s (step %lld)", text_of(warning, "text", kind), (long long)first);
        if (item) {
            item->text[0] = (char)(item->text[0] >= 'a' && item->text[0] <= 'z' ? item->text[0] - 'a' + 'A' : item->text[0]);
            add_place(item, warning);
        }
    }
}

/* ---- the loss ---- */

static double mean_loss(const struct run *run, size_t from, size_t to)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = from; i < to; i++)
        if (isfinite(run->row[i].loss)) {
            sum += run->row[i].loss;
            count++;
        }
    return count ? sum / (double)count : NAN;
}

static void check_finite(const struct run *run, struct findings *all)
{
    int64_t step = -1;
    for (size_t i = 0; i < run->rows && step < 0; i++)
        if (!isfinite(run->row[i].loss))
            step = run->row[i].step;
    if (step < 0 && strcmp(run->end, "diverged"))
        return;
    step = step < 0 ? run->last_step : step;
    say(add(all, FINDING_BAD, "nonfinite", step),
        "clip the gradient (--clip 1), lower the learning rate (--lr) to a third, and let it rise slowly (--warmup 500)",
        "The loss stopped being a number at step %lld: the run diverged.", (long long)step);
}

/* The mean of the last three, for one alone may be an accident. */
static double recent_valid(const struct run *run)
{
    const struct run_valid *last = &run->valid[run->valids - 3];
    return (last[0].loss + last[1].loss + last[2].loss) / 3;
}

static void check_memorising(const struct run *run, struct findings *all)
{
    size_t best = 0;
    if (run->valids < 4)
        return;
    for (size_t i = 1; i < run->valids; i++)
        best = run->valid[i].loss < run->valid[best].loss ? i : best;
    double low = run->valid[best].loss, now = recent_valid(run);
    if (run->valids - best < 4 || !(now > 1.03 * low) || find(all, "rising"))
        return;
    say(add(all, FINDING_LOOK, "memorising", run->valid[best].step),
        "stop there (--early-stop 5; the saved model is the best one anyway), use --dropout 0.2, a smaller model, or more "
        "text",
        "Validation was best at step %lld (%.4g) and has risen to %.4g since, while training went on: the model memorises "
        "its text.",
        (long long)run->valid[best].step, low, now);
}

/* A tenth of the run that was far above its start: it was thrown off, whatever came later. */
static int was_thrown_off(const struct run *run, double first, struct findings *all)
{
    size_t tenth = run->rows / 10, worst = 0;
    double high = first;
    for (size_t i = tenth; i + tenth <= run->rows; i += tenth) {
        double now = mean_loss(run, i, i + tenth);
        worst = now > high ? i : worst;
        high = fmax(high, now);
    }
    if (!(high > 1.3 * first))
        return 0;
    say(add(all, FINDING_LOOK, "rising", run->row[worst].step),
        "lower the learning rate (--lr) to a third; clip the gradient (--clip 1)",
        "The training loss rose from %.4g to %.4g after step %lld: the learning rate is too high.", first, high,
        (long long)run->row[worst].step);
    return 1;
}

static void check_progress(const struct run *run, struct findings *all)
{
    size_t n = run->rows, tenth = n / 10;
    if (n < 50)
        return;
    double first = mean_loss(run, 0, tenth), middle = mean_loss(run, n / 2, n / 2 + tenth), last = mean_loss(run, n - tenth, n);
    if (was_thrown_off(run, first, all))
        return;
    if (last > 1.05 * fmin(first, middle))
        say(add(all, FINDING_LOOK, "rising", run->row[n / 2].step),
            "lower the learning rate (--lr) to a third; clip the gradient (--clip 1)",
            "The training loss is higher at the end (%.4g) than before (%.4g).", last, fmin(first, middle));
    else if (last > 0.98 * first)
        say(add(all, FINDING_LOOK, "flat", run->row[0].step),
            "raise the learning rate (--lr) threefold; if that changes nothing, compare the cell with lstm (--cell lstm) and "
            "the text with --symbols",
            "The training loss has hardly fallen (%.4g to %.4g): the model is not learning.", first, last);
}

/* A jump of the smoothed loss, beyond three times what is usual from tenth to tenth. */
static void check_spikes(const struct run *run, struct findings *all)
{
    size_t piece = run->rows / 40;
    double before = NAN;
    if (piece < 2)
        return;
    for (size_t i = 0; i + piece <= run->rows; i += piece) {
        double now = mean_loss(run, i, i + piece);
        if (now > 1.3 * before)
            say(add(all, FINDING_LOOK, "spike", run->row[i].step),
                "clip the gradient (--clip 1) or lower the learning rate (--lr)",
                "The loss jumped from %.4g to %.4g near step %lld.", before, now, (long long)run->row[i].step);
        before = now;
    }
}

static void check_clipping(const struct run *run, struct findings *all)
{
    double clip = run_setting(run, "clip");
    size_t over = 0, from = run->rows / 2;
    for (size_t i = from; i < run->rows; i++)
        over += run->row[i].norm > clip;
    if (clip > 0 && run->rows >= 20 && over * 2 > run->rows - from)
        say(add(all, FINDING_LOOK, "clipping", run->row[from].step),
            "raise --clip to the usual norm of this run, or lower the learning rate",
            "%.0f %% of the later updates were clipped: the clip acts as a lower learning rate.",
            100 * (double)over / (double)(run->rows - from));
}

/* ---- the gradient through time ---- */

static double layer_number(const json_t *layer, const char *key)
{
    return json_value(json_object_get(layer, key));
}

/* How the reach of the gradient stands to the truncation, from the last line of --watch. */
static void check_horizon(const struct run *run, struct findings *all)
{
    if (!run->watch.count)
        return;
    const json_t *line = run->watch.line[run->watch.count - 1];
    double truncation = json_value(json_object_get(json_object_get(line, "watch"), "truncation")),
                longest = longest_horizon(run);
    if (!(truncation > 0) || !(longest > 0))
        return;
    if (longest < FEW_STEPS && truncation >= 4 * longest)
        say(add(all, FINDING_LOOK, "short", line_step(line)),
            "use a cell with gates (--cell lstm or gru), start the forget gate open (--forget-bias 1), or start orthogonal "
            "(--orthogonal)",
            "The gradient vanishes: it falls below 1 %% within %.0f steps, though it may flow over %.0f. What lies further "
            "back is not learned.",
            longest, truncation);
    else if (longest * 4 < truncation)
        say(add(all, FINDING_NOTE, "short", line_step(line)), "a shorter window (--length) costs less time and loses nothing",
            "The gradient reaches back %.0f steps and may flow over %.0f: much of each window is work without use.", longest,
            truncation);
    else if (longest >= truncation)
        say(add(all, FINDING_NOTE, "long", line_step(line)),
            "a longer window (--length), or --gradient random:0.9 without that bias",
            "The gradient is still alive where it is cut (after %.0f steps): what lies further back is lost.", truncation);
}

static void check_radius(const struct run *run, struct findings *all)
{
    if (!run->watch.count)
        return;
    const json_t *line = run->watch.line[run->watch.count - 1], *layers = last_layers(run);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        double radius = layer_number(json_array_get(layers, i), "radius");
        if (radius > 1.2)
            say(add(all, FINDING_LOOK, "radius", line_step(line)), "clip the gradient (--clip 1) and lower the learning rate",
                "The step Jacobian of layer %zu stretches (spectral radius %.3g): gradients grow on their way back.", i,
                radius);
    }
}

/* ---- the file ---- */

static void check_file(const struct run *run, struct findings *all)
{
    if (run->version > 1)
        say(add(all, FINDING_NOTE, "version", 0), "draw it with the bptt that wrote it to see all",
            "These metrics are of version %d; this bptt knows version 1 and leaves out what it does not know.",
            run->version);
    if (run->broken)
        say(add(all, FINDING_NOTE, "broken", 0), "nothing: all other lines are drawn",
            "%lld line%s of the metrics could not be read (the first is line %lld).", (long long)run->broken,
            run->broken == 1 ? "" : "s", (long long)run->first_broken);
    if (run->half_written)
        say(add(all, FINDING_NOTE, "half", 0), "nothing while the run goes on; after a crash, go on with --resume",
            "The last line is half-written: the run is writing it now, or was killed.");
    if (!strcmp(run->end, "interrupted"))
        say(add(all, FINDING_NOTE, "interrupted", run->last_step), "to go on: the same command with --resume",
            "The run was interrupted after step %lld.", (long long)run->last_step);
}

void findings_of(const struct run *run, struct findings *findings)
{
    *findings = (struct findings){0};
    from_warnings(run, findings);
    check_finite(run, findings);
    if (findings->level < FINDING_BAD) { /* else they tell of the same */
        check_progress(run, findings);
        check_spikes(run, findings);
        check_memorising(run, findings);
        check_clipping(run, findings);
        check_horizon(run, findings);
    }
    check_radius(run, findings);
    check_file(run, findings);
}
