/* threads.c - the pool. A run is announced by counting `generation` up; workers watch it for a while, because in a time
 * loop the next run follows at once, and then sleep. The caller waits for `pending` in the same way.
 *
 * Both sleeps use one pattern: the sleeper says that it sleeps and then looks once more (under the lock), the waker
 * changes the value and then looks whether someone sleeps. All four are sequentially consistent, so one of the two
 * sees the other. */
#define _GNU_SOURCE 1
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

/* SPINS pauses take some 50 microseconds: more than it takes to wake a thread. With fewer, one late worker would
 * send the caller to sleep, the late caller the workers, and so on in every run. */
enum { MOST_WORKERS = 1024, SPINS = 2000, LINE = 64 };

struct worker { struct pool *pool; pthread_t thread; int number; };

struct pool {
    int workers;
    int spins;                               /* 0 where workers outnumber processors: it would only delay */
    int started;
    struct worker *worker;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    pool_fn *fn;                             /* of the current run; NULL tells the workers to end */
    void *context;
    _Alignas(LINE) atomic_uint generation;
    atomic_int sleepers;
    _Alignas(LINE) atomic_int pending;
    atomic_int caller_sleeps;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static unsigned wait_for_run(struct pool *pool, unsigned seen)
{
    for (int i = 0; i < pool->spins; i++) {
        unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen)
            return now;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    unsigned now;
    while ((now = atomic_load(&pool->generation)) == seen)
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
    return now;
}

static void report_done(struct pool *pool)
{
    if (atomic_fetch_sub(&pool->pending, 1) != 1 || !atomic_load(&pool->caller_sleeps))
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->lock);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct pool *pool = worker->pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_run(pool, seen);
        if (!pool->fn)
            return NULL;
        pool->fn(pool->context, worker->number, pool->workers);
        report_done(pool);
    }
}

static void announce(struct pool *pool, pool_fn *fn, void *context)
{
    pool->fn = fn;
    pool->context = context;
    atomic_store(&pool->pending, pool->started);
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

static void wait_until_done(struct pool *pool)
{
    for (int i = 0; i < pool->spins; i++) {
        if (atomic_load_explicit(&pool->pending, memory_order_acquire) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->caller_sleeps, 1);
    while (atomic_load(&pool->pending) != 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->caller_sleeps, 0);
    pthread_mutex_unlock(&pool->lock);
}

static int start(struct pool *pool, bptt_error *error)
{
    while (pool->started < pool->workers - 1) {
        struct worker *worker = &pool->worker[pool->started];
        worker->pool = pool;
        worker->number = pool->started + 1;
        int status = pthread_create(&worker->thread, NULL, work, worker);
        if (status != 0)
            return fail(error, BPTT_ERROR_MEMORY, "cannot start thread %d of %d: %s; use fewer threads",
                        pool->started + 2, pool->workers, strerror(status));
        pool->started++;
    }
    return BPTT_OK;
}

int pool_new(int workers, struct pool **pool, bptt_error *error)
{
    *pool = NULL;
    if (workers < 0 || workers > MOST_WORKERS)
        return fail(error, BPTT_ERROR_ARGUMENT, "%d threads: the number must be from 0 (as many as the machine has) "
                    "to %d", workers, MOST_WORKERS);
    int processors = cpu_count();
    if (workers == 0)
        workers = processors < MOST_WORKERS ? processors : MOST_WORKERS;
    struct pool *made = aligned_alloc(LINE, sizeof *made);
    struct worker *worker = calloc((size_t)workers, sizeof *worker);
    if (!made || !worker) {
        free(made);
        free(worker);
        return fail_memory(error, sizeof *made + (size_t)workers * sizeof *worker);
    }
    memset(made, 0, sizeof *made);
    made->workers = workers;
    made->spins = workers <= processors ? SPINS : 0;
    made->worker = worker;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->wake, NULL);
    pthread_cond_init(&made->done, NULL);
    int status = start(made, error);
    if (status != BPTT_OK) {
        pool_free(made);
        return status;
    }
    *pool = made;
    return BPTT_OK;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    announce(pool, NULL, NULL);
    for (int i = 0; i < pool->started; i++)
        pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->worker);
    free(pool);
}

int pool_workers(const struct pool *pool)
{
    return pool ? pool->workers : 1;
}

void pool_run(struct pool *pool, pool_fn *fn, void *context)
{
    if (!pool || pool->workers == 1) {
        fn(context, 0, 1);
        return;
    }
    announce(pool, fn, context);
    fn(context, 0, pool->workers);
    wait_until_done(pool);
}

void barrier_start(struct barrier *barrier, const struct pool *pool, int workers)
{
    atomic_init(&barrier->arrived, 0);
    atomic_init(&barrier->late, 0);
    atomic_init(&barrier->round, 0);
    barrier->workers = workers;
    barrier->spins = pool ? pool->spins : 0;
}

void barrier_wait(struct barrier *barrier)
{
    unsigned round = atomic_load_explicit(&barrier->round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) + 1 == barrier->workers) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&barrier->round, round + 1, memory_order_release);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&barrier->round, memory_order_acquire) == round; spins++) {
        if (spins < barrier->spins) {
            relax();
            continue;
        }
        if (spins == barrier->spins)
            atomic_fetch_add_explicit(&barrier->late, 1, memory_order_relaxed);
        sched_yield();                       /* another program has the processor of the worker that is waited for */
    }
}

struct task_run { task_fn *fn; void *context; long tasks; atomic_long next; };

static void take_tasks(void *context, int worker, int workers)
{
    (void)workers;
    struct task_run *run = context;
    for (;;) {
        long task = atomic_fetch_add_explicit(&run->next, 1, memory_order_relaxed);
        if (task >= run->tasks)
            return;
        run->fn(run->context, task, worker);
    }
}

void pool_tasks(struct pool *pool, long tasks, task_fn *fn, void *context)
{
    struct task_run run = {fn, context, tasks, 0};
    if (tasks > 1)
        pool_run(pool, take_tasks, &run);
    else
        take_tasks(&run, 0, 1);
}
