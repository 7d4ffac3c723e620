/* schedule.h - what is done along the time axis, as a list of actions: made before the run, readable, checked, and run by one
 * executor (model/network.c).
 *
 *     advance a..b          run forward, keep nothing
 *     keep t / restore t    put the state before step t into a slot; take it up again
 *     record a..b           run forward, keep what the backward pass needs
 *     reverse b..a          run backward over a recorded stretch
 *     cut t * xi            the gradient that crosses from step t to step t - 1 is multiplied by xi (0: dropped)
 *     update                apply the gradients gathered so far
 *
 * Steps are counted from 0 within the window; a stretch a..b holds steps a to b - 1, position t is before step t. The list is
 * produced one action at a time, so that ten million steps need no list of ten million actions.
 *
 * Memory is laid out before the run: `rows` steps on tape, `slots` kept states in memory, `spilled` ones on disk. */
#ifndef BPTT_TIME_SCHEDULE_H
#define BPTT_TIME_SCHEDULE_H

#include <stdint.h>
#include <stdio.h>

#include "../base/random.h"
#include "../base/text.h"
#include "strategy.h"

enum action_kind { ACTION_ADVANCE, ACTION_KEEP, ACTION_RESTORE, ACTION_RECORD, ACTION_REVERSE, ACTION_CUT, ACTION_UPDATE,
                   ACTION_KINDS };
extern const char *const action_name[ACTION_KINDS];

struct action {
    enum action_kind kind;
    long from, to;                         /* from < to (reverse runs from `to` down); keep, restore, cut: both the position */
    long place;                            /* record, reverse: row of step `from` on tape; keep, restore: the slot */
    long losses;                           /* reverse: steps [losses, to) bring their losses in, those before only pass the
                                              gradient on; losses == to: none. update: how many steps' losses were gathered */
    double scale;                          /* cut */
};

/* What there is to lay out, from the owner of the memory. */
struct axis {
    long steps;                            /* T */
    long block;                            /* steps in a block: stretches begin and end at multiples of it where they can */
    size_t record_bytes;                   /* of a recorded step, its state included */
    size_t state_bytes;                    /* of a kept state */
};

struct layout {
    long rows;                             /* steps on tape */
    long slots, spilled;                   /* kept states in memory, and on disk: slots [slots, slots + spilled) */
    size_t bytes;                          /* in memory: rows + 1 recorded steps, slots, and the schedule's own list of them */
    size_t disk;                           /* bytes */
};

/* What a schedule costs, by walking it. Steps; the slow-down is against `full` with all recorded, a backward step counted as
 * two forward ones. */
struct forecast { int64_t actions, advanced, recorded, reversed, kept, restored, cuts, updates; double slow_down; };

struct schedule {
    struct strategy strategy;
    struct axis axis;
    struct layout layout;
    int updates;                           /* 1: update actions are wanted (training), not only one gradient */
    const double *xi;                      /* random: links given by the caller, [steps], in place of drawn ones; or NULL */
    /* where the list is; own */
    long steps;                            /* of the window at hand */
    struct random_stream stream;
    uint64_t index;
    int stage;
    long link, last_cut;                   /* random */
    long chunk, reach, ring;               /* steps; rows that a ring of the tape has, 0: no ring */
    long chunk_from, chunk_to;
    long position;                         /* of the chunk, what lies before it is still to be reversed */
    long *start, starts;                   /* kept states that begin stretches to be reversed, the latest last; NULL: regular */
    long first_slot, carry_slot;           /* of the chunk's first state, and of the next chunk's */
    int carried;                           /* the state at chunk_from is in first_slot */
    int queued, taken;
    struct action queue[8];
};

/* The layout with the fewest forward steps in at most `budget` bytes (SIZE_MAX: no limit, all recorded); with `spill`, states
 * beyond memory may lie on disk. If nothing fits, an error with the smallest number of bytes that does, also in *smallest:
 * the caller knows what else is counted and makes the line. Fewest in this model: L rows of tape, c slots, the states before
 * both ends of any stretch restorable; then Griewank's binomial schedule over leaves of L steps is optimal. */
int schedule_fit(const struct strategy *strategy, const struct axis *axis, size_t budget, int spill, struct layout *layout,
                 size_t *smallest);

/* Rows of tape that a gradient reaching `reach` steps back needs when older records are overwritten. */
long layout_ring(const struct axis *axis, long reach);
/* States to keep so that every stretch between two of them fits on tape; one more where chunks follow each other. */
long layout_all_slots(const struct axis *axis, long chunk, long rows);

int schedule_new(struct schedule *schedule, const struct strategy *strategy, const struct axis *axis,
                 const struct layout *layout, bptt_error *error);
void schedule_free(struct schedule *schedule);
/* Begins the list for a window of `steps` <= axis.steps. Random links are drawn from (stream, index): the same again for
 * the same window. */
void schedule_start(struct schedule *schedule, long steps, struct random_stream stream, uint64_t index);
int schedule_next(struct schedule *schedule, struct action *action);     /* 0: that was all */

void schedule_restart(struct schedule *schedule);                        /* the same window again */

/* Walks the list and proves it: every reverse has its record, every restore its keep, nothing kept twice, rows and slots
 * within the layout, every step's loss brought in exactly once, the gradient continuous, cut only where the strategy says
 * and carried as far back as it says. Leaves the list at its beginning. */
int schedule_verify(struct schedule *schedule, bptt_error *error);
/* The same of a list from elsewhere that stands for the schedule's: next(user, &action) as schedule_next. */
int schedule_verify_list(const struct schedule *schedule, int (*next)(void *user, struct action *action), void *user,
                         bptt_error *error);
struct forecast schedule_forecast(struct schedule *schedule);

/* ---- to read ---- */
int action_print(const struct action *action, char *line, size_t size);
/* The list as text, a line each, at most `most` lines of it (0: all). */
int schedule_print(struct schedule *schedule, long most, struct text *out);
/* As a picture: time of the schedule downwards, steps to the right; `columns` wide, in characters or as SVG. */
int schedule_draw(struct schedule *schedule, int columns, struct text *out);
int schedule_svg(struct schedule *schedule, struct text *out);

#endif
