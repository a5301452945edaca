/* dispatch.c - the ladder of tiers, and what the active one can do at most. The choice is written
 * once, at import, and only read after. */
#include "dispatch.h"

#include "cpu.h"
#include "threads.h"

extern const fc_kernels fc_kernels_scalar_f32, fc_kernels_scalar_f64;
extern const fc_kernels fc_kernels_neon_f32, fc_kernels_neon_f64;
extern const fc_kernels fc_kernels_avx2_f32, fc_kernels_avx2_f64;
extern const fc_kernels fc_kernels_avx512_f32, fc_kernels_avx512_f64;

typedef struct {
    const char *name;
    unsigned needs;
    const fc_kernels *f32, *f64; /* NULL: not in this build */
} tier;

/* In rising preference. */
static const tier TIERS[] = {
    {"scalar", 0, &fc_kernels_scalar_f32, &fc_kernels_scalar_f64},
#ifdef FC_HAVE_NEON
    {"neon", FC_CPU_NEON, &fc_kernels_neon_f32, &fc_kernels_neon_f64},
#else
    {"neon", FC_CPU_NEON, NULL, NULL},
#endif
#ifdef FC_HAVE_AVX2
    {"avx2", FC_CPU_AVX2, &fc_kernels_avx2_f32, &fc_kernels_avx2_f64},
#else
    {"avx2", FC_CPU_AVX2, NULL, NULL},
#endif
#ifdef FC_HAVE_AVX512
    {"avx512", FC_CPU_AVX512, &fc_kernels_avx512_f32, &fc_kernels_avx512_f64},
#else
    {"avx512", FC_CPU_AVX512, NULL, NULL},
#endif
};
enum { N_TIERS = sizeof TIERS / sizeof TIERS[0] };

static int active = 0;

int fc_isa_count(void) { return N_TIERS; }
const char *fc_isa_name(int i) { return i >= 0 && i < N_TIERS ? TIERS[i].name : NULL; }
int fc_isa_available(int i) {
    if (i < 0 || i >= N_TIERS || TIERS[i].f32 == NULL) return 0;
    return (fc_cpu_flags() & TIERS[i].needs) == TIERS[i].needs;
}
int fc_isa_active(void) { return active; }
fc_status fc_isa_select(int i) {
    if (!fc_isa_available(i)) return FC_ERROR_UNSUPPORTED;
    active = i;
    return FC_OK;
}

const fc_kernels *fc_kernels_for(fc_dtype dtype) {
    if (dtype == FC_FLOAT32) return TIERS[active].f32;
    if (dtype == FC_FLOAT64) return TIERS[active].f64;
    return NULL;
}

typedef struct {
    double (*multiply_adds)(int64_t n);
    int64_t n; /* of a task */
    double *mean;
} peak_arg;

static void peak_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const peak_arg *a = arg;
    double mean = a->multiply_adds(a->n);
    if (item == 0) *a->mean = mean;
}

fc_status fc_isa_multiply_adds(fc_dtype dtype, int64_t n, int n_threads, double *mean) {
    enum { TASKS = 16 }; /* a thread: one that comes late takes fewer */
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    if (n < 0 || n_threads < 1) return FC_ERROR_SHAPE;
    int64_t tasks = (int64_t)TASKS * n_threads;
    peak_arg a = {k->multiply_adds, n / tasks + (n % tasks != 0), mean};
    fc_parallel(tasks, n_threads, peak_task, &a);
    return FC_OK;
}
