/* threads.c - fc_parallel over OpenMP; serial where the build has no OpenMP.
 *
 * With FC_PTHREADS the loop runs on plain POSIX threads instead, created per call. That build
 * exists for the thread sanitizer, which cannot see into libgomp.
 */
#include "threads.h"

#include "cpu.h"
#include "fastcnn.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* omp_pause_resource_all is of OpenMP 5.0; gcc has it since 9 but goes on to call itself 4.5. */
#if defined(_OPENMP) && (_OPENMP >= 201811 || (!defined(__clang__) && __GNUC__ >= 9))
#define FC_CAN_PAUSE 1
#else
#define FC_CAN_PAUSE 0
#endif

/* About 10 microseconds of one core's arithmetic: twice what waking a team costs. The tests of the
 * C core set 1, so that small shapes too run on all threads. */
#ifndef FC_WORK_PER_THREAD
#define FC_WORK_PER_THREAD 2.5e5
#endif

int fc_threads_for(double work, int n_threads) {
    double useful = work / FC_WORK_PER_THREAD;
    if (useful < 2.0) return 1;
    return useful < n_threads ? (int)useful : n_threads;
}

static void run_serial(int64_t items, fc_task task, void *arg) {
    fc_fpmode saved = fc_flush_subnormals();
    for (int64_t i = 0; i < items; i++) task(arg, i, 0);
    fc_restore_fpmode(saved);
}

#if defined(FC_PTHREADS)
#include <pthread.h>
#include <stdatomic.h>

typedef struct {
    fc_task task;
    void *arg;
    int64_t items;
    atomic_llong next;
} loop;
typedef struct {
    loop *l;
    int thread;
} worker_arg;

static void *worker(void *p) {
    worker_arg *w = p;
    fc_fpmode saved = fc_flush_subnormals();
    for (;;) {
        int64_t i = atomic_fetch_add(&w->l->next, 1);
        if (i >= w->l->items) break;
        w->l->task(w->l->arg, i, w->thread);
    }
    fc_restore_fpmode(saved);
    return NULL;
}

void fc_parallel(int64_t items, int n_threads, fc_task task, void *arg) {
    enum { MOST = 64 };
    if (n_threads > MOST) n_threads = MOST;
    if (n_threads > items) n_threads = (int)items;
    if (n_threads <= 1) {
        run_serial(items, task, arg);
        return;
    }
    loop l = {.task = task, .arg = arg, .items = items};
    atomic_init(&l.next, 0);
    pthread_t ids[MOST];
    worker_arg args[MOST];
    int started = 0;
    for (int t = 1; t < n_threads; t++) {
        args[t] = (worker_arg){&l, t};
        if (pthread_create(&ids[t], NULL, worker, &args[t]) != 0) break;
        started = t;
    }
    args[0] = (worker_arg){&l, 0};
    worker(&args[0]);
    for (int t = 1; t <= started; t++) pthread_join(ids[t], NULL);
}

#else

void fc_parallel(int64_t items, int n_threads, fc_task task, void *arg) {
    if (n_threads > items) n_threads = (int)items;
#ifdef _OPENMP
    if (n_threads > 1) {
#pragma omp parallel num_threads(n_threads)
        {
            fc_fpmode saved = fc_flush_subnormals();
            int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
            for (int64_t i = 0; i < items; i++) task(arg, i, thread);
            fc_restore_fpmode(saved);
        }
        return;
    }
#endif
    run_serial(items, task, arg);
}

#endif

int fc_has_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

/* A child of fork() inherits libgomp's bookkeeping but none of its threads, and would wait for
 * them for ever; without a pool at the time of the fork both sides start a fresh one on demand. */
void fc_threads_pause(void) {
#if FC_CAN_PAUSE
    omp_pause_resource_all(omp_pause_hard);
#endif
}
