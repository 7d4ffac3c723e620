/* verify.c - a list of actions proven by acting it out without numbers: what stands on each row of the tape and in each slot
 * is followed, and which losses came in. And what a list costs, by the same walk. */
#include "schedule.h"

#include <stdarg.h>
#include <stdlib.h>

enum { LOSS_IN = 1, KEPT = 2 };            /* of a step; of the position before it */

struct walk {
    const struct schedule *schedule;
    long *recorded;                        /* [rows] the step whose record is there, or -1 */
    long *state;                           /* [rows + 1] the position whose state is there, or -1 */
    long *slot;                            /* [slots + spilled] ... or -1 */
    unsigned char *mark;                   /* [steps + 1] */
    long rows, slots, steps;
    long hand;                             /* position of the state at hand */
    long began, gradient;                  /* position where the gradient began, and where it is */
    long cut;                              /* position cut since the last reverse, or -1 */
    long gathered, total;                  /* losses since the last update; all */
    const struct action *action;
    int64_t number;
    bptt_error *error;
};

/* ---- what was found ---- */

static int fault(const struct walk *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fault(const struct walk *w, const char *format, ...)
{
    char line[120] = "the end", what[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (w->action)
        action_print(w->action, line, sizeof line);
    return fail(w->error, BPTT_ERROR_ARGUMENT, "schedule, action %lld, %s: %s; please report this", (long long)w->number,
                line, what);
}

/* ---- forward ---- */

static int check_forward(const struct walk *w)
{
    const struct action *a = w->action;
    if (!(0 <= a->from && a->from < a->to && a->to <= w->steps))
        return fault(w, "no such steps in a window of %ld", w->steps);
    return a->from == w->hand ? BPTT_OK : fault(w, "the state at hand is that at %ld", w->hand);
}

/* The tape's first rows are where a block that is not recorded runs. */
static int walk_advance(struct walk *w)
{
    long block = w->schedule->axis.block, used = block < w->rows ? block : w->rows;
    int status = check_forward(w);
    for (long row = 0; row < used; row++)
        w->recorded[row] = w->state[row + 1] = -1;
    w->hand = w->state[0] = w->action->to;
    return status;
}

static int walk_record(struct walk *w)
{
    const struct action *a = w->action;
    int status = check_forward(w);
    if (!status && (a->place < 0 || a->to - a->from > w->rows - a->place))
        status = fault(w, "the tape has rows 0 to %ld", w->rows - 1);
    for (long t = a->from; !status && t < a->to; t++) {
        w->recorded[a->place + t - a->from] = w->state[a->place + t - a->from] = t;
        w->state[a->place + t - a->from + 1] = t + 1;
    }
    w->hand = a->to;
    return status;
}

/* ---- kept states ---- */

static int check_slot(const struct walk *w)
{
    const struct action *a = w->action;
    if (a->from < 0 || a->from > w->steps || a->to != a->from)
        return fault(w, "no such position in a window of %ld steps", w->steps);
    return a->place >= 0 && a->place < w->slots ? BPTT_OK : fault(w, "there are %ld slots", w->slots);
}

static int walk_keep(struct walk *w)
{
    const struct action *a = w->action;
    int status = check_slot(w);
    if (!status && a->from != w->hand)
        status = fault(w, "the state at hand is that at %ld", w->hand);
    if (!status && (w->mark[a->from] & KEPT))
        status = fault(w, "it is kept already");
    if (status)
        return status;
    if (w->slot[a->place] >= 0)
        w->mark[w->slot[a->place]] &= (unsigned char)~KEPT;
    w->mark[a->from] |= KEPT;
    w->slot[a->place] = a->from;
    return BPTT_OK;
}

static int walk_restore(struct walk *w)
{
    const struct action *a = w->action;
    int status = check_slot(w);
    if (!status && w->slot[a->place] < 0)
        return fault(w, "nothing was kept in this slot");
    if (!status && w->slot[a->place] != a->from)
        return fault(w, "the slot holds the state at %ld", w->slot[a->place]);
    w->hand = w->state[0] = a->from;
    return status;
}

/* ---- backward ---- */

/* How far back the strategy takes a gradient that began at a position. */
static long reach_from(const struct schedule *s, long began)
{
    if (s->ring)
        return began > s->reach ? began - s->reach : 0;
    return (began - 1) / s->chunk * s->chunk;
}

static int check_reached(const struct walk *w)
{
    long end = reach_from(w->schedule, w->began);
    if (w->gradient == end)
        return BPTT_OK;
    return fault(w, "the gradient from %ld should go back to %ld and is at %ld", w->began, end, w->gradient);
}

static int check_tape(const struct walk *w)
{
    const struct action *a = w->action;
    if (a->place < 0 || a->to - a->from > w->rows - a->place)
        return fault(w, "the tape has rows 0 to %ld", w->rows - 1);
    for (long t = a->from; t < a->to; t++) {
        long row = a->place + t - a->from;
        if (w->recorded[row] != t || w->state[row] != t || w->state[row + 1] != t + 1)
            return fault(w, "step %ld is not recorded on row %ld", t, row);
    }
    return BPTT_OK;
}

static int bring_losses(struct walk *w)
{
    for (long t = w->action->losses; t < w->action->to; t++) {
        if (w->mark[t] & LOSS_IN)
            return fault(w, "the loss of step %ld came in before", t);
        w->mark[t] |= LOSS_IN;
        w->gathered++;
        w->total++;
    }
    return BPTT_OK;
}

static int check_continues(struct walk *w)
{
    const struct action *a = w->action;
    int status = BPTT_OK;
    if (w->began >= 0 && a->to == w->gradient)
        return BPTT_OK;
    if (a->to != w->cut && a->to != w->steps)
        return fault(w, "the gradient is at %ld, and was not cut at %ld", w->gradient, a->to);
    if (w->began >= 0)
        status = check_reached(w);
    w->began = a->to;
    return status;
}

static int walk_reverse(struct walk *w)
{
    const struct action *a = w->action;
    if (!(0 <= a->from && a->from < a->to && a->to <= w->steps && a->from <= a->losses && a->losses <= a->to))
        return fault(w, "no such steps in a window of %ld", w->steps);
    int status = check_continues(w);
    if (!status)
        status = check_tape(w);
    if (!status)
        status = bring_losses(w);
    w->gradient = a->from;
    w->cut = -1;
    return status;
}

static int walk_cut(struct walk *w)
{
    const struct action *a = w->action;
    const struct schedule *s = w->schedule;
    int is_random = s->strategy.kind == STRATEGY_RANDOM;
    if (!(0 < a->from && a->from < w->steps) || a->to != a->from || !(a->scale >= 0 || a->scale < 0))
        return fault(w, "no such link in a window of %ld steps", w->steps);
    if (is_random && w->began >= 0)
        return fault(w, "the gradient is on its way");
    if (!is_random && (a->from % s->chunk || a->scale < 0 || a->scale > 0))
        return fault(w, "the strategy does not cut there");
    w->cut = is_random ? -1 : a->from;
    return BPTT_OK;
}

static int walk_update(struct walk *w)
{
    if (!w->schedule->updates)
        return fault(w, "no updates are wanted");
    if (w->began < 0 || w->gathered != w->action->losses)
        return fault(w, "%ld losses were gathered", w->gathered);
    w->gathered = 0;
    return check_reached(w);
}

/* ---- the walk ---- */

static int act(struct walk *w)
{
    switch (w->action->kind) {
    case ACTION_ADVANCE: return walk_advance(w);
    case ACTION_KEEP: return walk_keep(w);
    case ACTION_RESTORE: return walk_restore(w);
    case ACTION_RECORD: return walk_record(w);
    case ACTION_REVERSE: return walk_reverse(w);
    case ACTION_CUT: return walk_cut(w);
    default: return walk_update(w);
    }
}

static int check_end(struct walk *w)
{
    w->action = NULL;
    if (w->total != w->steps)
        return fault(w, "losses of %ld steps of %ld came in", w->total, w->steps);
    if (w->schedule->updates && w->gathered)
        return fault(w, "the gradient of %ld losses was not applied", w->gathered);
    return w->steps ? check_reached(w) : BPTT_OK;
}

static long *places(long count)
{
    long *place = malloc((size_t)(count + 1) * sizeof *place);
    for (long i = 0; place && i <= count; i++)
        place[i] = -1;
    return place;
}

static void free_walk(struct walk *w)
{
    free(w->recorded);
    free(w->state);
    free(w->slot);
    free(w->mark);
}

static int new_walk(struct walk *w, const struct schedule *s, bptt_error *error)
{
    long slots = s->layout.slots + s->layout.spilled;
    *w = (struct walk){.schedule = s, .rows = s->layout.rows, .slots = slots, .steps = s->steps,
                       .began = -1, .cut = -1, .gradient = s->steps, .error = error};
    w->recorded = places(w->rows);
    w->state = places(w->rows);
    w->slot = places(slots);
    w->mark = calloc((size_t)w->steps + 1, 1);
    if (w->recorded && w->state && w->slot && w->mark)
        return BPTT_OK;
    free_walk(w);
    return fail_memory(error, (size_t)(2 * w->rows + slots) * sizeof(long) + (size_t)w->steps);
}

int schedule_verify_list(const struct schedule *schedule, int (*next)(void *user, struct action *action), void *user,
                         bptt_error *error)
{
    struct walk walk;
    struct action action;
    int status = new_walk(&walk, schedule, error);
    if (status)
        return status;
    walk.action = &action;
    while (!status && next(user, &action)) {
        walk.number++;
        status = act(&walk);
    }
    if (!status)
        status = check_end(&walk);
    free_walk(&walk);
    return status;
}

static int next_of(void *schedule, struct action *action)
{
    return schedule_next(schedule, action);
}

int schedule_verify(struct schedule *schedule, bptt_error *error)
{
    schedule_restart(schedule);
    int status = schedule_verify_list(schedule, next_of, schedule, error);
    schedule_restart(schedule);
    return status;
}

/* ---- what it costs ---- */

static void count(struct forecast *f, const struct action *a)
{
    f->actions++;
    switch (a->kind) {
    case ACTION_ADVANCE: f->advanced += a->to - a->from; break;
    case ACTION_KEEP: f->kept++; break;
    case ACTION_RESTORE: f->restored++; break;
    case ACTION_RECORD: f->recorded += a->to - a->from; break;
    case ACTION_REVERSE: f->reversed += a->to - a->from; break;
    case ACTION_CUT: f->cuts++; break;
    default: f->updates++; break;
    }
}

struct forecast schedule_forecast(struct schedule *schedule)
{
    struct forecast f = {0};
    struct action action;
    schedule_restart(schedule);
    while (schedule_next(schedule, &action))
        count(&f, &action);
    schedule_restart(schedule);
    double steps = (double)f.advanced + (double)f.recorded + 2 * (double)f.reversed;
    f.slow_down = schedule->steps ? steps / (3 * (double)schedule->steps) : 1;
    return f;
}
