/* batch_norm.c - entry points of the batch_norm family: validate, pick the tier's table, call. */
#include "dispatch.h"
#include "sizes.h"

static fc_status check(const fc_batch_norm_desc *d) {
    if (fc_kernels_for(d->dtype) == NULL) return FC_ERROR_UNSUPPORTED;
    if (d->n < 0 || d->c < 0 || d->size < 0) return FC_ERROR_SHAPE;
    int64_t bytes = fc_mul(fc_mul(fc_mul(d->n, d->c), d->size), 8);
    /* the channel blocks of a vector are counted even where n is 0 */
    return bytes < 0 || fc_add(d->c, FC_CHUNK) < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

fc_status fc_batch_norm_inference(const fc_batch_norm_desc *d, double eps, const void *x,
                                  const void *gamma, const void *beta, const void *mean,
                                  const void *var, void *y, int n_threads) {
    fc_status status = check(d);
    if (status == FC_OK)
        fc_kernels_for(d->dtype)->batch_norm.inference(d, eps, x, gamma, beta, mean, var, y,
                                                       n_threads);
    return status;
}

fc_status fc_batch_norm_forward(const fc_batch_norm_desc *d, double eps, const void *x,
                                const void *gamma, const void *beta, const void *residual,
                                int relu, void *y, double *mean, double *inv_std, int n_threads) {
    fc_status status = check(d);
    if (status == FC_OK)
        fc_kernels_for(d->dtype)->batch_norm.forward(d, eps, x, gamma, beta, residual, relu, y,
                                                     mean, inv_std, n_threads);
    return status;
}

fc_status fc_batch_norm_backward(const fc_batch_norm_desc *d, const void *dy, const void *y,
                                 const void *x, const void *gamma, const double *mean,
                                 const double *inv_std, void *dz, void *dx, void *dgamma,
                                 void *dbeta, int n_threads) {
    fc_status status = check(d);
    if (status == FC_OK)
        fc_kernels_for(d->dtype)->batch_norm.backward(d, dy, y, x, gamma, mean, inv_std, dz, dx,
                                                      dgamma, dbeta, n_threads);
    return status;
}

fc_status fc_channel_sums(const fc_batch_norm_desc *d, const void *x, void *sums, int n_threads) {
    fc_status status = check(d);
    if (status == FC_OK)
        fc_kernels_for(d->dtype)->batch_norm.channel_sums(d, x, sums, n_threads);
    return status;
}
