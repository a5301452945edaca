/* conv2d.c - entry points of the conv2d family: validate, pick the tier's table, call. */
#include "dispatch.h"
#include "sizes.h"

/* One axis: does out follow from the other sizes, and do they stay in range? */
static fc_status check_axis(int64_t in, int64_t before, int64_t after, int64_t kernel,
                            int64_t dilation, int64_t stride, int64_t out) {
    if (in < 1 || before < 0 || after < 0 || kernel < 1 || dilation < 1 || stride < 1)
        return FC_ERROR_SHAPE;
    int64_t padded = fc_add(fc_add(in, before), after);
    int64_t extent = fc_add(fc_mul(kernel - 1, dilation), 1);
    if (padded < 0 || extent < 0 || stride > INT32_MAX) return FC_ERROR_OVERFLOW;
    if (extent > padded || out != (padded - extent) / stride + 1) return FC_ERROR_SHAPE;
    return FC_OK;
}

fc_status fc_conv2d_check(const fc_conv2d_desc *d) {
    if (d->pad_mode != FC_PAD_ZEROS && d->pad_mode != FC_PAD_REPLICATE) return FC_ERROR_UNSUPPORTED;
    if (d->algorithm < FC_CONV_AUTO || d->algorithm > FC_CONV_WINOGRAD) return FC_ERROR_UNSUPPORTED;
    if (d->n < 0 || d->c < 1 || d->k < 1 || d->groups < 1) return FC_ERROR_SHAPE;
    if (d->c % d->groups != 0 || d->k % d->groups != 0) return FC_ERROR_SHAPE;
    fc_status y = check_axis(d->h, d->pad_top, d->pad_bottom, d->kh, d->dilation_h, d->stride_h,
                             d->oh);
    fc_status x = check_axis(d->w, d->pad_left, d->pad_right, d->kw, d->dilation_w, d->stride_w,
                             d->ow);
    if (y != FC_OK) return y;
    if (x != FC_OK) return x;
    /* A padded plane is indexed with 32 bits, a whole array with 64. */
    int64_t rows = d->h + d->pad_top + d->pad_bottom, cols = d->w + d->pad_left + d->pad_right;
    int64_t plane = fc_mul(rows, cols);
    if (plane < 0 || plane > INT32_MAX) return FC_ERROR_OVERFLOW;
    int64_t input = fc_mul(fc_mul(fc_mul(d->n, d->c), plane), 8);
    int64_t output = fc_mul(fc_mul(fc_mul(d->n, d->k), fc_mul(d->oh, d->ow)), 8);
    int64_t weights = fc_mul(fc_mul(fc_mul(d->k, d->c), fc_mul(d->kh, d->kw)), 16);
    if (input < 0 || output < 0 || weights < 0) return FC_ERROR_OVERFLOW;
    return FC_OK;
}

/* The tier's functions for a good descriptor, else NULL and the status. */
static const conv2d_kernels *kernels_for(const fc_conv2d_desc *d, fc_status *status) {
    const fc_kernels *k = fc_kernels_for(d->dtype);
    *status = k == NULL ? FC_ERROR_UNSUPPORTED : fc_conv2d_check(d);
    return *status == FC_OK ? &k->conv2d : NULL;
}

static fc_status size_of(int64_t computed, size_t *bytes) {
    if (computed < 0 || (uint64_t)computed > SIZE_MAX) return FC_ERROR_OVERFLOW;
    *bytes = (size_t)computed;
    return FC_OK;
}

fc_status fc_conv2d_forward_workspace_bytes(const fc_conv2d_desc *d, int n_threads, size_t *bytes) {
    fc_status status;
    const conv2d_kernels *k = kernels_for(d, &status);
    return k == NULL ? status : size_of(k->forward_workspace(d, 0, n_threads), bytes);
}

fc_status fc_conv2d_prepared_workspace_bytes(const fc_conv2d_desc *d, int n_threads,
                                             size_t *bytes) {
    fc_status status;
    const conv2d_kernels *k = kernels_for(d, &status);
    return k == NULL ? status : size_of(k->forward_workspace(d, 1, n_threads), bytes);
}

/* Prepared weights are those of one image: n cannot show in them. */
static fc_conv2d_desc of_one_image(const fc_conv2d_desc *d) {
    fc_conv2d_desc one = *d;
    if (one.n >= 0) one.n = 1;
    return one;
}

fc_status fc_conv2d_prepared_bytes(const fc_conv2d_desc *d, size_t *bytes) {
    fc_status status;
    const fc_conv2d_desc one = of_one_image(d);
    const conv2d_kernels *k = kernels_for(&one, &status);
    return k == NULL ? status : size_of(k->prepared_bytes(&one), bytes);
}

fc_status fc_conv2d_prepare(const fc_conv2d_desc *d, const void *w, void *prepared,
                            int n_threads) {
    fc_status status;
    const fc_conv2d_desc one = of_one_image(d);
    const conv2d_kernels *k = kernels_for(&one, &status);
    if (k != NULL) k->prepare(&one, w, prepared, n_threads);
    return status;
}

fc_status fc_conv2d_forward(const fc_conv2d_desc *d, const void *x, const void *w, const void *b,
                            void *y, void *workspace, int n_threads) {
    const fc_conv2d_inference plain = {0};
    return fc_conv2d_infer(d, &plain, x, w, b, y, workspace, n_threads);
}

fc_status fc_conv2d_infer(const fc_conv2d_desc *d, const fc_conv2d_inference *how, const void *x,
                          const void *w, const void *b, void *y, void *workspace, int n_threads) {
    fc_status status;
    const conv2d_kernels *k = kernels_for(d, &status);
    if (k != NULL && d->n > 0) k->forward(d, how, x, w, b, y, workspace, n_threads);
    return status;
}

fc_status fc_conv2d_backward_input_workspace_bytes(const fc_conv2d_desc *d, int n_threads,
                                                   size_t *bytes) {
    fc_status status;
    const conv2d_kernels *k = kernels_for(d, &status);
    return k == NULL ? status : size_of(k->backward_input_workspace(d, n_threads), bytes);
}

fc_status fc_conv2d_backward_input(const fc_conv2d_desc *d, const void *dy, const void *w,
                                   const void *b, void *dx, void *workspace, int n_threads) {
    fc_status status;
    if (d->pad_mode != FC_PAD_ZEROS) return FC_ERROR_UNSUPPORTED;
    const conv2d_kernels *k = kernels_for(d, &status);
    if (k != NULL && d->n > 0) k->backward_input(d, dy, w, b, dx, workspace, n_threads);
    return status;
}

fc_status fc_conv2d_backward_weight_workspace_bytes(const fc_conv2d_desc *d, int n_threads,
                                                    size_t *bytes) {
    fc_status status;
    const conv2d_kernels *k = kernels_for(d, &status);
    return k == NULL ? status : size_of(k->backward_weight_workspace(d, n_threads), bytes);
}

fc_status fc_conv2d_backward_weight(const fc_conv2d_desc *d, const void *dy, const void *x,
                                    void *dw, void *db, void *workspace, int n_threads) {
    fc_status status;
    const conv2d_kernels *k = kernels_for(d, &status);
    if (k != NULL) k->backward_weight(d, dy, x, dw, db, workspace, n_threads);
    return status;
}

fc_status fc_im2col(const fc_conv2d_desc *d, const void *x, void *cols, int n_threads) {
    fc_status status;
    const conv2d_kernels *k = kernels_for(d, &status);
    if (k != NULL) k->im2col(d, x, cols, n_threads);
    return status;
}

fc_status fc_col2im(const fc_conv2d_desc *d, const void *cols, void *x, int n_threads) {
    fc_status status;
    const conv2d_kernels *k = kernels_for(d, &status);
    if (k != NULL) k->col2im(d, cols, x, n_threads);
    return status;
}
