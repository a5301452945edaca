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
        .m = d->m, .n = d->n, .k = d->k, .a = a, .a_row = d->a_row, .a_col = d->a_col,
        .b = b, .b_row = d->b_row, .b_col = d->b_col, .c = c, .c_row = d->n, .c_col = 1,
        .accumulate = d->accumulate,
    };
    gemm(&g, workspace, n_threads);
}

static void linear_forward(const fc_linear_desc *d, const void *x, const void *w, const void *b,
                           void *y, void *workspace, int n_threads) {
    gemm_problem g = {
        .m = d->n, .n = d->o, .k = d->i, .a = x, .a_row = d->i, .a_col = 1, .b = w, .b_row = 1,
        .b_col = d->i, .c = y, .c_row = d->o, .c_col = 1, .start = b, .start_col = 1,
    };
    gemm(&g, workspace, n_threads);
}

static void linear_backward_input(const fc_linear_desc *d, const void *dy, const void *w,
                                  void *dx, void *workspace, int n_threads) {
    gemm_problem g = {
        .m = d->n, .n = d->i, .k = d->o, .a = dy, .a_row = d->o, .a_col = 1, .b = w,
        .b_row = d->i, .b_col = 1, .c = dx, .c_row = d->i, .c_col = 1,
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
        .m = d->o, .n = d->i, .k = d->n, .a = dy, .a_row = 1, .a_col = d->o, .b = x,
        .b_row = d->i, .b_col = 1, .c = dw, .c_row = d->i, .c_col = 1,
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
