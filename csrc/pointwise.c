/* pointwise.c - entry points of the pointwise family: validate, pick the tier's table, call. */
#include "dispatch.h"
#include "sizes.h"

static int is_activation(fc_activation f) { return (int)f >= 0 && f < FC_ACTIVATIONS; }

fc_status fc_activation_forward(fc_activation f, fc_dtype dtype, int64_t n, double parameter,
                                const void *x, void *y, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL || !is_activation(f)) return FC_ERROR_UNSUPPORTED;
    if (n < 0) return FC_ERROR_SHAPE;
    k->pointwise.activation_forward(f, n, parameter, x, y, n_threads);
    return FC_OK;
}

fc_status fc_activation_backward(fc_activation f, fc_dtype dtype, int64_t n, double parameter,
                                 const void *dy, const void *saved, void *dx, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL || !is_activation(f) || f == FC_STEP) return FC_ERROR_UNSUPPORTED;
    if (n < 0) return FC_ERROR_SHAPE;
    k->pointwise.activation_backward(f, n, parameter, dy, saved, dx, n_threads);
    return FC_OK;
}

static fc_status check_prelu(const fc_prelu_desc *d) {
    if (d->outer < 0 || d->c < 0 || d->inner < 0) return FC_ERROR_SHAPE;
    return fc_mul(fc_mul(d->outer, d->c), d->inner) < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

int64_t fc_prelu_sums(const fc_prelu_desc *d) {
    int64_t pieces = d->inner / FC_CHUNK + (d->inner % FC_CHUNK != 0);
    if (check_prelu(d) != FC_OK || d->outer == 0) return 0;
    return d->inner == 1 ? d->c : d->outer * d->c * pieces;
}

fc_status fc_prelu_forward(const fc_prelu_desc *d, fc_dtype dtype, const void *x,
                           const void *slopes, void *y, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = check_prelu(d);
    if (status == FC_OK) k->pointwise.prelu_forward(d, x, slopes, y, n_threads);
    return status;
}

fc_status fc_prelu_backward(const fc_prelu_desc *d, fc_dtype dtype, const void *dy, const void *x,
                            const void *slopes, void *dx, void *dslopes, double *sums,
                            int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = check_prelu(d);
    if (status == FC_OK) k->pointwise.prelu_backward(d, dy, x, slopes, dx, dslopes, sums, n_threads);
    return status;
}

fc_status fc_dropout(fc_dtype dtype, int64_t n, double p, uint64_t seed, const void *x, void *y,
                     int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    if (n < 0) return FC_ERROR_SHAPE;
    if (!(p >= 0 && p < 1)) return FC_ERROR_VALUE;
    k->pointwise.dropout(n, p, seed, x, y, n_threads);
    return FC_OK;
}

fc_status fc_add_forward(fc_dtype dtype, int64_t n, int relu, const void *a, const void *b,
                         void *y, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    if (n < 0) return FC_ERROR_SHAPE;
    k->pointwise.add(n, relu, a, b, y, n_threads);
    return FC_OK;
}

static fc_status check_softmax(const fc_softmax *d) {
    if (d->outer < 0 || d->c < 0 || d->inner < 0) return FC_ERROR_SHAPE;
    return fc_mul(fc_mul(d->outer, d->c), d->inner) < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

fc_status fc_softmax_forward(const fc_softmax *d, fc_dtype dtype, const void *x, void *y,
                             int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = check_softmax(d);
    if (status == FC_OK) k->pointwise.softmax_forward(d, x, y, n_threads);
    return status;
}

fc_status fc_softmax_backward(const fc_softmax *d, fc_dtype dtype, const void *dy, const void *y,
                              void *dx, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = check_softmax(d);
    if (status == FC_OK) k->pointwise.softmax_backward(d, dy, y, dx, n_threads);
    return status;
}

fc_status fc_softmax_cross_entropy(fc_dtype dtype, int64_t n, int64_t c, double scale,
                                   const void *logits, const int64_t *targets, void *dlogits,
                                   double *losses, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    if (n < 0 || c < 1) return FC_ERROR_SHAPE;
    if (fc_mul(n, c) < 0) return FC_ERROR_OVERFLOW;
    for (int64_t i = 0; i < n; i++)
        if (targets[i] < 0 || targets[i] >= c) return FC_ERROR_VALUE;
    k->pointwise.softmax_cross_entropy(n, c, scale, logits, targets, dlogits, losses, n_threads);
    return FC_OK;
}

int64_t fc_mse_sums(int64_t n) { return n < 0 ? 0 : n / FC_CHUNK + (n % FC_CHUNK != 0); }

fc_status fc_mse(fc_dtype dtype, int64_t n, double scale, const void *prediction,
                 const void *target, void *gradient, double *sums, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    if (n < 0) return FC_ERROR_SHAPE;
    k->pointwise.mse(n, scale, prediction, target, gradient, sums, n_threads);
    return FC_OK;
}
