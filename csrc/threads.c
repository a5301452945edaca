/* threads.c - fc_parallel on own threads (thread_pool.c), over OpenMP, or serial; which of them is
 * decided by the build: FC_THREAD_POOL, else _OPENMP, else neither.
 */
#include "threads.h"

#include "cpu.h"
#include "fastcnn.h"
#include "thread_pool.h"

#if defined(_OPENMP) && !defined(FC_THREAD_POOL)
#include <omp.h>
#define FC_OPENMP 1
#else
#define FC_OPENMP 0
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

static void parallel(int64_t items, int shares, int n_threads, fc_task task, void *arg) {
    if (n_threads > items) n_threads = (int)items;
    if (n_threads > 1) {
#if defined(FC_THREAD_POOL)
        if (fc_pool_run(items, shares, n_threads, task, arg)) return;
#elif FC_OPENMP
        int64_t run = shares ? (items + 4 * n_threads - 1) / (4 * n_threads) : 1;
#pragma omp parallel num_threads(n_threads)
        {
            fc_fpmode saved = fc_flush_subnormals();
            int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, run) nowait
            for (int64_t i = 0; i < items; i++) task(arg, i, thread);
            fc_restore_fpmode(saved);
        }
        return;
#else
        (void)shares;
#endif
    }
    run_serial(items, task, arg);
}

void fc_parallel(int64_t items, int n_threads, fc_task task, void *arg) {
    parallel(items, 0, n_threads, task, arg);
}

void fc_parallel_shares(int64_t items, int n_threads, fc_task task, void *arg) {
    parallel(items, 1, n_threads, task, arg);
}

const char *fc_threading(void) {
#if defined(FC_THREAD_POOL)
    return "pool";
#elif FC_OPENMP
    return "openmp";
#else
    return "none";
#endif
}

/* The child of a fork has the bookkeeping of its parent's threads but none of them; without threads
 * at the time of the fork both sides start fresh ones on demand. omp_pause_resource_all is of
 * OpenMP 5.0; gcc has it since 9 but goes on to call itself 4.5. */
void fc_threads_pause(void) {
#if defined(FC_THREAD_POOL)
    fc_pool_stop();
#elif FC_OPENMP && (_OPENMP >= 201811 || (!defined(__clang__) && __GNUC__ >= 9))
    omp_pause_resource_all(omp_pause_hard);
#endif
}
