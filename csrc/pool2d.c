/* pool2d.c - entry points of the pool2d family: validate, turn the descriptor into axes, call the
 * tier's table. */
#include "dispatch.h"
#include "sizes.h"

/* Beyond any size that fits in memory, and small enough that sums and products of two fit. */
#define SIZE_LIMIT ((int64_t)1 << 31)

static int in_limit(int64_t a, int64_t least) { return a >= least && a < SIZE_LIMIT; }

/* 1 if the sizes are in range and every window sees at least one element of the image. */
static int axis_check(const pool_axis *a) {
    if (!in_limit(a->size, 1) || !in_limit(a->out, 1) || !in_limit(a->kernel, 1)) return 0;
    if (!in_limit(a->stride, 1) || !in_limit(a->dilation, 1)) return 0;
    if (!in_limit(a->before, 0) || !in_limit(a->after, 0)) return 0;
    if (fc_max(a->before, a->after) > a->kernel / 2) return 0;
    int64_t last = (a->out - 1) * a->stride; /* start of the last window in the padded image */
    int64_t room = a->size + a->before + a->after - ((a->kernel - 1) * a->dilation + 1);
    /* ceil mode's room for the last window, which must start before the padding behind */
    if (last >= room + a->stride || last >= a->size + a->before) return 0;
    /* A dilated window that starts in the padding may step over the image; if any does, the first
     * one does. */
    return a->before == 0 || (fc_ceil_div(a->before, a->dilation) * a->dilation - a->before)
                                 < a->size;
}

static void axis_finish(pool_axis *a) {
    a->stride_shift = -1;
    for (int i = 0; i < 31; i++)
        if (a->stride == (int64_t)1 << i) a->stride_shift = i;
    int64_t room = a->size + a->before - ((a->kernel - 1) * a->dilation + 1);
    int64_t to = room < 0 ? 0 : fc_min(a->out, room / a->stride + 1);
    a->inside.from = fc_min(fc_ceil_div(a->before, a->stride), a->out);
    a->inside.to = fc_max(a->inside.from, to);
}

/* 1 if no window's divisor is less than the kernel size. */
static int axis_divisors_equal(const pool_axis *a, int count_include_pad) {
    int64_t end = (a->out - 1) * a->stride - a->before + a->kernel;
    if (!count_include_pad && a->before > 0) return 0;
    return end <= a->size + (count_include_pad ? a->after : 0);
}

static fc_status make_problem(const fc_pool2d_desc *d, pool_problem *p) {
    p->h = (pool_axis){d->h, d->oh, d->kh, d->stride_h, d->dilation_h, d->pad_top, d->pad_bottom,
                       0, {0, 0}};
    p->w = (pool_axis){d->w, d->ow, d->kw, d->stride_w, d->dilation_w, d->pad_left, d->pad_right,
                       0, {0, 0}};
    if (d->n < 0 || d->c < 0 || !axis_check(&p->h) || !axis_check(&p->w)) return FC_ERROR_SHAPE;
    p->planes = fc_mul(d->n, d->c);
    int64_t in = fc_mul(p->planes, d->h * d->w), out = fc_mul(p->planes, d->oh * d->ow);
    if (fc_mul(in, sizeof(double)) < 0 || fc_mul(out, sizeof(double)) < 0) return FC_ERROR_OVERFLOW;
    axis_finish(&p->h);
    axis_finish(&p->w);
    p->count_include_pad = d->count_include_pad;
    p->equal_divisors = axis_divisors_equal(&p->h, d->count_include_pad) &&
                        axis_divisors_equal(&p->w, d->count_include_pad);
    for (int i = 0; i < 16; i++) p->ramp[i] = (int32_t)(uint32_t)(i * d->stride_w);
    return FC_OK;
}

/* Max pooling's indices are int32; averages have no dilation, which their divisors do not know. */
static int indices_fit(const fc_pool2d_desc *d) { return d->h * d->w <= INT32_MAX; }
static int undilated(const fc_pool2d_desc *d) { return d->dilation_h == 1 && d->dilation_w == 1; }

fc_status fc_max_pool2d_forward(const fc_pool2d_desc *d, const void *x, void *y, int32_t *indices,
                                int n_threads) {
    const fc_kernels *k = fc_kernels_for(d->dtype);
    pool_problem p;
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = make_problem(d, &p);
    if (status != FC_OK) return status;
    if (!indices_fit(d)) return FC_ERROR_SHAPE;
    k->pool2d.max_forward(&p, x, y, indices, n_threads);
    return FC_OK;
}

fc_status fc_max_pool2d_backward(const fc_pool2d_desc *d, const void *dy, const int32_t *indices,
                                 void *dx, int n_threads) {
    const fc_kernels *k = fc_kernels_for(d->dtype);
    pool_problem p;
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = make_problem(d, &p);
    if (status != FC_OK) return status;
    if (!indices_fit(d)) return FC_ERROR_SHAPE;
    return k->pool2d.max_backward(&p, dy, indices, dx, n_threads) ? FC_OK : FC_ERROR_VALUE;
}

fc_status fc_avg_pool2d_forward(const fc_pool2d_desc *d, const void *x, void *y, int n_threads) {
    const fc_kernels *k = fc_kernels_for(d->dtype);
    pool_problem p;
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = make_problem(d, &p);
    if (status != FC_OK) return status;
    if (!undilated(d)) return FC_ERROR_SHAPE;
    k->pool2d.avg_forward(&p, x, y, n_threads);
    return FC_OK;
}

fc_status fc_avg_pool2d_backward(const fc_pool2d_desc *d, const void *dy, void *dx,
                                 int n_threads) {
    const fc_kernels *k = fc_kernels_for(d->dtype);
    pool_problem p;
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = make_problem(d, &p);
    if (status != FC_OK) return status;
    if (!undilated(d)) return FC_ERROR_SHAPE;
    k->pool2d.avg_backward(&p, dy, dx, n_threads);
    return FC_OK;
}

static fc_status planes_check(int64_t planes, int64_t size) {
    if (planes < 0 || size < 1) return FC_ERROR_SHAPE;
    return fc_mul(fc_mul(planes, size), sizeof(double)) < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

fc_status fc_global_avg_pool2d_forward(fc_dtype dtype, int64_t planes, int64_t size, const void *x,
                                       void *y, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = planes_check(planes, size);
    if (status == FC_OK) k->pool2d.global_avg_forward(planes, size, x, y, n_threads);
    return status;
}

fc_status fc_global_avg_pool2d_backward(fc_dtype dtype, int64_t planes, int64_t size,
                                        const void *dy, void *dx, int n_threads) {
    const fc_kernels *k = fc_kernels_for(dtype);
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = planes_check(planes, size);
    if (status == FC_OK) k->pool2d.global_avg_backward(planes, size, dy, dx, n_threads);
    return status;
}
