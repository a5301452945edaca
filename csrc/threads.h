/* threads.h - the one place of parallelism: a loop over independent tasks.
 *
 * The tasks are cut by shapes alone and each writes its own outputs, so which thread runs which
 * task never shows in the result. Inside the loop subnormals are flushed to zero; the caller's
 * floating-point mode is untouched.
 */
#ifndef FC_THREADS_H
#define FC_THREADS_H

#include <stdint.h>

/* One task. thread is in [0, n_threads) and picks per-thread scratch, nothing else. */
typedef void (*fc_task)(void *arg, int64_t item, int thread);

/* Runs task(arg, 0..items-1) on at most n_threads threads; returns when all are done. */
void fc_parallel(int64_t items, int n_threads, fc_task task, void *arg);

/* The same, with a share of neighbouring tasks for each thread, which then helps with the others'
 * (with OpenMP short runs of neighbours). For tasks that stream through memory: cores that took
 * turns in one array would disturb each other there. And for those that come again on the same
 * data, which then are in the cache of their core. (Where neighbours read the same, as bands of a
 * direct convolution do, cores side by side are faster.) */
void fc_parallel_shares(int64_t items, int n_threads, fc_task task, void *arg);

/* How many of n_threads are worth waking for this many multiply-adds: starting a team costs some
 * microseconds, so small work stays serial. A real that is read or written takes as long as
 * FC_MOVED of them, from the second-level cache. */
#define FC_MOVED 3.0
int fc_threads_for(double work, int n_threads);

#endif
