/* check_threads.c - fc_parallel and fc_parallel_shares: every task runs once, whatever the threads
 * do meanwhile. */
#define _POSIX_C_SOURCE 200809L
#include "harness.h"

#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ITEMS = 99, LOOPS = 2000 };

typedef struct {
    int n_threads, nested;
    atomic_int done[MOST_ITEMS];
    atomic_int wrong; /* thread numbers out of range */
} record;

static void count(void *arg, int64_t item, int thread) {
    record *r = arg;
    atomic_fetch_add(&r->done[item], 1);
    if (thread < 0 || thread >= r->n_threads) atomic_fetch_add(&r->wrong, 1);
    if (r->nested) {
        record inner = {.n_threads = 3};
        fc_parallel(4, 3, count, &inner);
        for (int i = 0; i < 4; i++)
            if (inner.done[i] != 1) atomic_fetch_add(&r->wrong, 1);
    }
}

/* Many short loops, one after the other; returns how many were not as they should be. */
static int loops(int n, int nested) {
    int bad = 0;
    for (int i = 0; i < n; i++) {
        record r = {.n_threads = 1 + i % 5, .nested = nested};
        int items = i % (MOST_ITEMS + 1), once = 1;
        if (i / 100 % 2) fc_parallel_shares(items, r.n_threads, count, &r);
        else fc_parallel(items, r.n_threads, count, &r);
        for (int j = 0; j < MOST_ITEMS; j++) once &= r.done[j] == (j < items);
        bad += !once || r.wrong != 0;
    }
    return bad;
}

static void *loops_thread(void *bad) {
    *(int *)bad = loops(LOOPS / 4, 0);
    return NULL;
}

void check_threads(void) {
    setting s = {FC_FLOAT32, 1, AT_END};
    begin(&s, "threads");
    expect_true(loops(LOOPS, 0) == 0, "each task once, on a thread that was asked for");
    expect_true(loops(LOOPS / 10, 1) == 0, "a loop within a task");
    pthread_t other[3];
    int bad[3] = {1, 1, 1};
    for (int i = 0; i < 3; i++) pthread_create(&other[i], NULL, loops_thread, &bad[i]);
    expect_true(loops(LOOPS / 4, 0) == 0, "beside other callers");
    for (int i = 0; i < 3; i++) pthread_join(other[i], NULL);
    expect_true(bad[0] + bad[1] + bad[2] == 0, "the other callers");
    for (int i = 0; i < 20; i++) {
        fc_threads_pause();
        if (i % 3 != 0) expect_true(loops(5, 0) == 0, "after a pause");
    }
#if defined(FC_THREAD_POOL) && !defined(FC_NO_FORK)
    /* TSan does not follow forks, and qemu-user gets lost in them. */
    for (int i = 0; i < 10; i++) { /* with threads that the child will not have */
        expect_true(loops(5, 0) == 0, "before a fork");
        int ends[2], piped = pipe(ends) == 0;
        pid_t child = fork();
        if (child == 0) { /* the exit status is valgrind's, which misses the threads' stacks */
            char good = loops(20, 0) == 0;
            _exit(write(ends[1], &good, 1) != 1);
        }
        char good = 0;
        expect_true(piped && read(ends[0], &good, 1) == 1 && good, "in the child");
        close(ends[0]);
        close(ends[1]);
        waitpid(child, NULL, 0);
    }
#endif
    end();
}
