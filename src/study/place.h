/* place.h - where the nodes of an unrolled graph stand, and the lines within a step. Time goes to the right: a step's
 * operators are a block, its states stand in the gap to the next block. Values go upwards within a block, a level an
 * operator; parameters are rails below all steps, with a tap for each. All blocks are the same. */
#ifndef BPTT_STUDY_PLACE_H
#define BPTT_STUDY_PLACE_H

#include "../base/arena.h"

enum { MARGIN = 28, OPERATOR_RADIUS = 19, BOX_HEIGHT = 30, LEAST_BOX = 42, ROW = 74 };

struct spot { double x, y, width; };       /* centre */

/* An item of a block's level: a node, the foot of a rail's tap or of a state's line, or a bend of a line that goes on upwards.
 */
struct item {
    int level;                             /* 0: feet and the input; operators from 1 */
    int foot;                              /* of a rail's tap or of a state's line */
    long node;                             /* of step 1: of a bend, where its line comes from */
    int is_bend;
    double x, half;                        /* centre, from the block's left; half its width */
};
/* A line between levels that follow each other. `turn`: at the end, in degrees from straight below; `aside`: a state's
 * line goes straight to its operator's left. */
struct line { int from, to, aside; double turn; };

struct placing {
    const bptt_graph *graph;
    struct arena *arena;
    struct item *item;
    struct line *line;
    int items, lines, item_capacity, line_capacity, levels;
    int *order;                            /* [items] grouped by level */
    int *first;                            /* [levels + 1] into order */
    long first_node, step_nodes;           /* of step 1; of each */
    int states;
    double block, gap, pitch;              /* widths: of a block; between blocks; from step to step */
    struct spot *spot;                     /* [nodes] */
    double left, width, height, foot, rails; /* where block 1 begins; y of rail 0 and of what is below the rails */
    int failed, is_too_large;              /* out of memory; more than a picture can show */
};

/* All memory is the arena's. */
int place_graph(const bptt_graph *graph, struct arena *arena, struct placing *placing, bptt_error *error);

/* The width of a box for a node's name with its step. */
double box_width(const bptt_graph_node *node);
/* x of the left of a step's block, steps from 1. */
double block_left(const struct placing *placing, int64_t step);
double level_y(const struct placing *placing, int level);
/* Of step 1: the node that stands for a state before the step is the state's own node of the step before. */
long state_before(const struct placing *placing, long initial, int64_t step);

#endif
