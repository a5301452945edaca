/* thread_pool.c - own threads for fc_parallel.
 *
 * A loop never waits for a thread that has not begun to work on it. The caller takes tasks like any
 * other thread, and when none are left it waits for those threads alone that are in the middle of
 * one. So on a machine whose cores are busy with other programs a loop takes
 * about as long as it would on one thread, where OpenMP, which waits for its whole team twice a
 * loop, waits for the scheduler (`python -m benchmarks.busy`: seven times as long).
 *
 * One loop runs at a time. A second caller meanwhile is told no and runs its loop by itself; the
 * results have the same bits.
 *
 * The gate is how threads get in and out: -1 is closed; n >= 0 is open, with n threads inside. The
 * caller writes the loop, opens the gate, and in the end closes it at the moment when nobody is in.
 * A thread reads the loop only inside. Between loops threads look for the next one for a fifth of a
 * millisecond, as the next layer's is soon to come, and then sleep: waking them takes longer than
 * the small layers of a net, during which no loop runs.
 */
#if defined(FC_THREAD_POOL)
#define _POSIX_C_SOURCE 200809L

#include "thread_pool.h"

#include "cpu.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

enum { MOST_THREADS = 256 };
enum { SPIN_NANOSECONDS = 200000, SPINS_A_LOOK = 32 };

static struct {
    /* The loop; written while the gate is closed, read by threads inside. */
    fc_task task;
    void *arg;
    int n_shares, n_threads;
    struct {
        _Alignas(64) atomic_llong next; /* the first task that nobody has; a cache line for each */
        long long end;
    } shares[MOST_THREADS];

    atomic_int gate;
    atomic_uint loops; /* counts the loops: how a thread sees that there is a new one */
    atomic_int sleeping, ending;

    pthread_mutex_t busy;  /* held by the caller whose loop runs */
    pthread_mutex_t sleep; /* with wake, for threads that sleep */
    pthread_cond_t wake;
    int n_workers;         /* threads made; number i runs as thread i + 1 */
    int fork_handled;
    pthread_t workers[MOST_THREADS];
} pool = {
    .gate = -1,
    .busy = PTHREAD_MUTEX_INITIALIZER,
    .sleep = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
};

static void relax(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* All of a thread's own share, and then of what the others have left. */
static void take_tasks(int thread) {
    for (int i = 0; i < pool.n_shares; i++) {
        int share = (thread + i) % pool.n_shares;
        atomic_llong *next = &pool.shares[share].next;
        long long end = pool.shares[share].end, item;
        while (atomic_load_explicit(next, memory_order_relaxed) < end &&
               (item = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < end)
            pool.task(pool.arg, item, thread);
    }
}

static int enter(void) {
    int inside = atomic_load_explicit(&pool.gate, memory_order_relaxed);
    while (inside >= 0) {
        if (atomic_compare_exchange_weak_explicit(&pool.gate, &inside, inside + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return 1;
    }
    return 0;
}

static void leave(void) { atomic_fetch_sub_explicit(&pool.gate, 1, memory_order_release); }

static int news(unsigned seen) { return pool.loops != seen || pool.ending; }

/* Returns once there is a loop after number `seen`, or the threads shall end. */
static void await_news(unsigned seen) {
    int64_t until = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < SPINS_A_LOOK; i++) {
            if (news(seen)) return;
            relax();
        }
    } while (nanoseconds() < until);
    pthread_mutex_lock(&pool.sleep);
    pool.sleeping++; /* before the last look: the caller looks the other way round */
    while (!news(seen)) pthread_cond_wait(&pool.wake, &pool.sleep);
    pool.sleeping--;
    pthread_mutex_unlock(&pool.sleep);
}

static void wake_all(void) {
    if (pool.sleeping == 0) return;
    pthread_mutex_lock(&pool.sleep);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.sleep);
}

static void *worker(void *number) {
    int thread = (int)(intptr_t)number;
    unsigned seen = pool.loops - 1; /* the loop that it was made for counts as new */
    fc_flush_subnormals();          /* this thread has nobody else's mode to keep */
    for (;;) {
        await_news(seen);
        if (pool.ending) return NULL;
        seen = pool.loops;
        if (!enter()) continue;
        if (thread < pool.n_threads) take_tasks(thread);
        leave();
    }
}

/* The threads are not there in the child of a fork, nor whoever held a lock. */
static void forget_threads(void) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pool.busy = pool.sleep = mutex;
    pool.wake = condition;
    pool.n_workers = pool.sleeping = pool.ending = 0;
    pool.gate = -1;
}

/* Makes threads until there are n, as far as the system lets; signals are the caller's business. */
static void make_workers(int n) {
    sigset_t all, before;
    if (!pool.fork_handled) pool.fork_handled = pthread_atfork(NULL, NULL, forget_threads) == 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.n_workers < n) {
        pthread_t *made = &pool.workers[pool.n_workers];
        if (pthread_create(made, NULL, worker, (void *)(intptr_t)(pool.n_workers + 1)) != 0) break;
        pool.n_workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int fc_pool_run(int64_t items, int shares, int n_threads, fc_task task, void *arg) {
    if (n_threads > MOST_THREADS) n_threads = MOST_THREADS;
    if (pthread_mutex_trylock(&pool.busy) != 0) return 0;
    if (pool.n_workers < n_threads - 1) make_workers(n_threads - 1);
    if (pool.n_workers == 0) {
        pthread_mutex_unlock(&pool.busy);
        return 0;
    }
    pool.task = task, pool.arg = arg;
    pool.n_shares = shares ? n_threads : 1, pool.n_threads = n_threads;
    for (int i = 0; i < pool.n_shares; i++) {
        long long from = items / pool.n_shares * i + items % pool.n_shares * i / pool.n_shares;
        atomic_store_explicit(&pool.shares[i].next, from, memory_order_relaxed);
        if (i > 0) pool.shares[i - 1].end = from;
    }
    pool.shares[pool.n_shares - 1].end = items;
    atomic_store_explicit(&pool.gate, 0, memory_order_release);
    pool.loops++;
    wake_all();

    fc_fpmode saved = fc_flush_subnormals();
    take_tasks(0);
    fc_restore_fpmode(saved);
    for (int spins = 1, nobody = 0;
         !atomic_compare_exchange_weak_explicit(&pool.gate, &nobody, -1, memory_order_acquire,
                                                memory_order_relaxed);
         spins++, nobody = 0) {
        relax();
        if (spins % 1024 == 0) sched_yield(); /* whoever is inside may wait for this core */
    }
    pthread_mutex_unlock(&pool.busy);
    return 1;
}

void fc_pool_stop(void) {
    pthread_mutex_lock(&pool.busy);
    pool.ending = 1;
    wake_all();
    for (int i = 0; i < pool.n_workers; i++) pthread_join(pool.workers[i], NULL);
    pool.n_workers = pool.ending = 0;
    pthread_mutex_unlock(&pool.busy);
}

#else
typedef int fc_no_thread_pool; /* an empty file is not C */
#endif
