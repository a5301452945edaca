/* lrn.c - entry points of the lrn family: validate, pick the tier's table, call. */
#include "dispatch.h"
#include "sizes.h"

static fc_status check(const fc_lrn_desc *d) {
    if (fc_kernels_for(d->dtype) == NULL) return FC_ERROR_UNSUPPORTED;
    if (d->n < 0 || d->c < 0 || d->size < 0 || d->window < 1) return FC_ERROR_SHAPE;
    int64_t bytes = fc_mul(fc_mul(fc_mul(d->n, d->c), d->size), 8);
    int64_t ends = fc_add(fc_add(d->size, FC_LRN_ROW), fc_mul(d->c, 2));
    return bytes < 0 || ends < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

fc_status fc_lrn_forward(const fc_lrn_desc *d, const void *x, void *y, int n_threads) {
    fc_status status = check(d);
    if (status == FC_OK) fc_kernels_for(d->dtype)->lrn.forward(d, x, y, n_threads);
    return status;
}

fc_status fc_lrn_backward_workspace_bytes(const fc_lrn_desc *d, int n_threads, int64_t *bytes) {
    fc_status status = check(d);
    if (status != FC_OK) return status;
    *bytes = fc_mul(fc_mul(fc_min(d->window, d->c), FC_LRN_ROW), n_threads);
    return *bytes < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

fc_status fc_lrn_backward(const fc_lrn_desc *d, const void *dy, const void *x, void *dx,
                          void *workspace, int n_threads) {
    fc_status status = check(d);
    if (status == FC_OK)
        fc_kernels_for(d->dtype)->lrn.backward(d, dy, x, dx, workspace, n_threads);
    return status;
}
