/* optim.c - entry points of the optim family: validate, pick the tier's table, call. */
#include "dispatch.h"

fc_status fc_sgd_update(const fc_sgd_desc *d, fc_dtype dtype, void *param, const void *grad,
                        void *velocity, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    if (d->n < 0) return FC_ERROR_SHAPE;
    if (d->momentum != 0 && velocity == NULL) return FC_ERROR_VALUE;
    k->optim.sgd_update(d, param, grad, velocity, n_threads);
    return FC_OK;
}

fc_status fc_adam_update(const fc_adam_desc *d, fc_dtype dtype, void *param, const void *grad,
                         void *m, void *v, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    if (d->n < 0) return FC_ERROR_SHAPE;
    if (d->step < 1) return FC_ERROR_VALUE;
    k->optim.adam_update(d, param, grad, m, v, n_threads);
    return FC_OK;
}
