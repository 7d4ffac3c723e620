/* threads.h - a pool of workers that run one function together. Nothing here decides the order of a sum: work is split by
 * what is written, so results do not depend on the number of workers. */
#ifndef BPTT_BASE_THREADS_H
#define BPTT_BASE_THREADS_H

#include <stdatomic.h>

#include "error.h"

struct pool;
typedef void pool_fn(void *context, int worker, int workers);
typedef void task_fn(void *context, long task, int worker);

int pool_new(int workers, struct pool **pool, bptt_error *error);  /* 0: as many as the machine has; the caller is one */
void pool_free(struct pool *pool);                                 /* NULL is fine */
int pool_workers(const struct pool *pool);                         /* a NULL pool is one worker */
void pool_run(struct pool *pool, pool_fn *fn, void *context);      /* fn on every worker; returns when all are done */
void pool_tasks(struct pool *pool, long tasks, task_fn *fn, void *context); /* tasks 0..n-1, each once, on any worker */

/* Where some of a run's workers wait for each other, again and again within it. It spins: only for waits of microseconds. */
struct barrier { atomic_int arrived, late; atomic_uint round; int workers, spins; };   /* late: waits that gave the processor away */
void barrier_start(struct barrier *barrier, const struct pool *pool, int workers);
void barrier_wait(struct barrier *barrier);

#endif
