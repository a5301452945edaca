/* thread_pool.h - own threads for fc_parallel; only where the build has POSIX threads. */
#ifndef FC_THREAD_POOL_H
#define FC_THREAD_POOL_H

#include "threads.h"

/* Runs the loop on at most n_threads threads, the caller's among them; 0 if it cannot now, since
 * another loop runs, or no thread can be made: then nothing was done. shares: each
 * thread has its own, as fc_parallel_shares says. */
int fc_pool_run(int64_t items, int shares, int n_threads, fc_task task, void *arg);

/* Ends the threads, once the loop that runs (if any) is done; the next loop makes them again. */
void fc_pool_stop(void);

#endif
