/* linear.c - entry points of the linear family: validate, pick the tier's table, call. */
#include "dispatch.h"
#include "sizes.h"
#include "threads.h"

/* The last element's index, (rows - 1) * row + (columns - 1) * column, must be an int64. */
static fc_status check_matrix(int64_t rows, int64_t columns, int64_t row, int64_t column) {
    if (rows < 0 || columns < 0 || row < 0 || column < 0) return FC_ERROR_SHAPE;
    return fc_add(fc_mul(rows, row), fc_mul(columns, column)) < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

static fc_status check_linear(const fc_linear_desc *d) {
    fc_status status = check_matrix(d->n, d->i, d->i, 1);
    if (status == FC_OK) status = check_matrix(d->n, d->o, d->o, 1);
    if (status == FC_OK) status = check_matrix(d->o, d->i, d->i, 1);
    return status;
}

int64_t fc_linear_workspace_bytes(fc_dtype dtype, int64_t m, int64_t n, int64_t k,
                                  int n_threads) {
    const fc_kernels *table = fc_kernels_for(dtype);
    if (table == NULL || m < 0 || n < 0 || k < 0) return 0;
    int threads = fc_threads_for((double)m * (double)n * (double)k, n_threads);
    return (threads < 1 ? 1 : threads) * table->linear.gemm_scratch_bytes();
}

fc_status fc_gemm(const fc_gemm_desc *d, fc_dtype dtype, const void *a, const void *b, void *c,
                  void *workspace, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = check_matrix(d->m, d->k, d->a_row, d->a_col);
    if (status == FC_OK) status = check_matrix(d->k, d->n, d->b_row, d->b_col);
    if (status == FC_OK) status = check_matrix(d->m, d->n, d->n, 1);
    if (status == FC_OK) k->linear.gemm(d, a, b, c, workspace, n_threads);
    return status;
}

fc_status fc_linear_forward(const fc_linear_desc *d, fc_dtype dtype, const void *x, const void *w,
                            const void *b, void *y, void *workspace, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = check_linear(d);
    if (status == FC_OK) k->linear.forward(d, x, w, b, y, workspace, n_threads);
    return status;
}

fc_status fc_linear_backward_input(const fc_linear_desc *d, fc_dtype dtype, const void *dy,
                                   const void *w, void *dx, void *workspace, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = check_linear(d);
    if (status == FC_OK) k->linear.backward_input(d, dy, w, dx, workspace, n_threads);
    return status;
}

fc_status fc_linear_backward_weight(const fc_linear_desc *d, fc_dtype dtype, const void *dy,
                                    const void *x, void *dw, void *db, void *workspace,
                                    int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = check_linear(d);
    if (status == FC_OK) k->linear.backward_weight(d, dy, x, dw, db, workspace, n_threads);
    return status;
}
