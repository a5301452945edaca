/* dropout_tmpl.h - dropout by numbers that follow from a seed and an element's place; included by
 * pointwise_tmpl.h.
 *
 * Element j of chunk c is dropped if a hash of j, keyed by a hash of the seed and c, is below the
 * threshold: so nothing is kept between the passes, the backward pass drops the same elements
 * again, and neither the threads nor the real type decide. The hash of 32 bits is two rounds of
 * multiplying and shifting (C. Wellons, "Prospecting for hash functions", 2018), the key's 64 bits
 * are SplitMix's (Steele, Lea and Flood, 2014). Plain C, which compilers put into vectors.
 */

enum { DROPOUT_RUN = 256 }; /* hashes made before they are used */

typedef struct {
    int64_t n;
    uint64_t seed;
    uint32_t threshold;
    real scale;
    const real *x;
    real *y;
} dropout_arg;

static void dropout_task(void *arg, int64_t chunk, int thread) {
    (void)thread;
    const dropout_arg *a = arg;
    uint64_t key = a->seed + ((uint64_t)chunk + 1) * UINT64_C(0x9e3779b97f4a7c15);
    key = (key ^ (key >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    key = (key ^ (key >> 27)) * UINT64_C(0x94d049bb133111eb);
    key ^= key >> 31;
    const uint32_t first = (uint32_t)key, second = (uint32_t)(key >> 32), least = a->threshold;
    const real scale = a->scale;
    int64_t to = fc_min(a->n - chunk * FC_CHUNK, FC_CHUNK);
    for (int64_t from = 0; from < to; from += DROPOUT_RUN) {
        const real *x = a->x + chunk * FC_CHUNK + from;
        real *y = a->y + chunk * FC_CHUNK + from;
        uint32_t hash[DROPOUT_RUN];
        for (uint32_t j = 0; j < DROPOUT_RUN; j++) {
            uint32_t h = ((uint32_t)from + j) ^ first;
            h = (h ^ (h >> 16)) * 0x7feb352d;
            h ^= second;
            h = (h ^ (h >> 15)) * 0x846ca68b;
            hash[j] = h ^ (h >> 16);
        }
        int64_t n = fc_min(to - from, DROPOUT_RUN);
        for (int64_t j = 0; j < n; j++) y[j] = x[j] * (hash[j] >= least ? scale : 0);
    }
}

static void dropout(int64_t n, double p, uint64_t seed, const void *x, void *y, int n_threads) {
    dropout_arg a = {n, seed, (uint32_t)(p * 4294967296.0), (real)(1 / (1 - p)), x, y};
    double work = 3 * FC_MOVED * (double)n;
    fc_parallel_shares(fc_ceil_div(n, FC_CHUNK), fc_threads_for(work, n_threads), dropout_task, &a);
}
