/* trainer.h - a trainer's inside, for checkpoints: a network, the optimiser's memory, and the count of updates. */
#ifndef BPTT_TRAIN_TRAINER_H
#define BPTT_TRAIN_TRAINER_H

#include "../model/horizon.h"
#include "../model/influence.h"
#include "../model/network.h"

struct bptt_trainer {
    bptt_model *model;
    bptt_trainer_config config;
    struct network net;
    size_t first_region, second_region, partial_region, eval_region;
    float *first, *second;                 /* moments, laid out as the parameters; NULL where the rule has none */
    double *partial;                       /* sums of squares by chunk */
    void ***eval_state;                    /* carried states of bptt_trainer_loss */
    int64_t window;                        /* windows seen: the index of dropout masks */
    int64_t updates;                       /* of the moments: their bias corrections */
    struct strategy strategy;
    struct influence *influence;           /* forward mode, or NULL */
    struct horizon *horizon;               /* adaptive, or NULL */
    unsigned char *frozen;                 /* by tensor of the model, or NULL */
    double norm;                           /* largest before clipping, of the window's updates */
    int64_t made, clipped;                 /* updates in all, and those that were clipped */
    double *norms;                         /* by tensor: of the last update's gradient, where it is wanted; else NULL */
};

/* As options name them. precision: 0 or a bptt_type. */
const char *optimizer_name(int optimizer);
const char *precision_name(int precision);

/* As bptt_trainer_loss, for a window of `steps` <= length. */
int trainer_loss(struct bptt_trainer *trainer, const void *x, const void *y, long steps, int reset, double *loss,
                 bptt_error *error);

#endif
