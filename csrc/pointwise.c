/* pointwise.c - entry points of the pointwise family: validate, pick the tier's table, call. */
#include "dispatch.h"

fc_status fc_relu_forward(fc_dtype dtype, int64_t n, const void *x, void *y, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    if (n < 0) return FC_ERROR_SHAPE;
    k->pointwise.relu_forward(n, x, y, n_threads);
    return FC_OK;
}
