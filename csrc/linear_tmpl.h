/* linear_tmpl.h - fully connected layers as three products; compiled per tier and real type.
 *
 * x is [N][I], w [O][I], y [N][O]. A row of y or dx depends on its row of the batch alone, bit for
 * bit; dw and db sum over N in rising order (dw in blocks, see gemm_tmpl.h).
 */
#include "gemm_tmpl.h"

static int64_t gemm_scratch_bytes(void) { return GEMM_SCRATCH * (int64_t)sizeof(real); }

static void linear_gemm(const fc_gemm_desc *d, const void *a, const void *b, void *c,
                        void *workspace, int n_threads) {
    gemm_problem g = {
        d->m, d->n, d->k, a, d->a_row, d->a_col, b, d->b_row, d->b_col, c, d->n, 1,
        d->accumulate, NULL, 0, 0,
    };
    gemm(&g, workspace, n_threads);
}

static void linear_forward(const fc_linear_desc *d, const void *x, const void *w, const void *b,
                           void *y, void *workspace, int n_threads) {
    gemm_problem g = {
        d->n, d->o, d->i, x, d->i, 1, w, 1, d->i, y, d->o, 1, 0, b, 0, 1,
    };
    gemm(&g, workspace, n_threads);
}

static void linear_backward_input(const fc_linear_desc *d, const void *dy, const void *w,
                                  void *dx, void *workspace, int n_threads) {
    gemm_problem g = {
        d->n, d->i, d->o, dy, d->o, 1, w, d->i, 1, dx, d->i, 1, 0, NULL, 0, 0,
    };
    gemm(&g, workspace, n_threads);
}

typedef struct {
    int64_t n, o;
    const real *dy;
    real *db;
} linear_bias_arg;

/* VL outputs a task. */
static void linear_bias_task(void *p, int64_t item, int thread) {
    (void)thread;
    const linear_bias_arg *a = p;
    int64_t o = item * VL, lanes = fc_min(a->o - o, VL);
    vr sum = v_zero();
    for (int64_t i = 0; i < a->n; i++) sum = v_add(sum, v_loadn(a->dy + i * a->o + o, lanes));
    v_storen(a->db + o, sum, lanes);
}

static void linear_backward_weight(const fc_linear_desc *d, const void *dy, const void *x,
                                   void *dw, void *db, void *workspace, int n_threads) {
    gemm_problem g = {
        d->o, d->i, d->n, dy, 1, d->o, x, d->i, 1, dw, d->i, 1, 0, NULL, 0, 0,
    };
    gemm(&g, workspace, n_threads);
    linear_bias_arg a = {d->n, d->o, dy, db};
    fc_parallel(fc_ceil_div(d->o, VL), fc_threads_for((double)d->n * (double)d->o, n_threads),
                linear_bias_task, &a);
}

#define LINEAR_KERNELS                                    \
    {                                                     \
        .gemm_scratch_bytes = gemm_scratch_bytes,         \
        .gemm = linear_gemm,                              \
        .forward = linear_forward,                        \
        .backward_input = linear_backward_input,          \
        .backward_weight = linear_backward_weight,        \
    }
