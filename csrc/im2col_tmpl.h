/* im2col_tmpl.h - windows as columns, as the lectures teach it, and the adjoint; compiled per tier
 * and real type. cols[n][c * kh * kw][oh * ow]; one task is one channel of one image.
 */

typedef struct {
    const fc_conv2d_desc *d;
    const real *from;
    real *to;
} im2col_arg;

/* The input row or column that output o sees through tap i, or -1 in zero padding. */
INLINE int64_t seen(int64_t o, int64_t i, int64_t stride, int64_t pad, int64_t dilation,
                    int64_t size, fc_pad_mode mode) {
    int64_t at = o * stride + i * dilation - pad;
    if (at >= 0 && at < size) return at;
    if (mode == FC_PAD_ZEROS) return -1;
    return at < 0 ? 0 : size - 1;
}

static void im2col_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const im2col_arg *a = arg;
    const fc_conv2d_desc *d = a->d;
    const real *x = a->from + item * d->h * d->w;
    real *col = a->to + item * d->kh * d->kw * d->oh * d->ow;
    for (int64_t i = 0; i < d->kh; i++) {
        for (int64_t j = 0; j < d->kw; j++) {
            for (int64_t oy = 0; oy < d->oh; oy++) {
                int64_t y = seen(oy, i, d->stride_h, d->pad_top, d->dilation_h, d->h, d->pad_mode);
                for (int64_t ox = 0; ox < d->ow; ox++) {
                    int64_t c = seen(ox, j, d->stride_w, d->pad_left, d->dilation_w, d->w,
                                     d->pad_mode);
                    *col++ = y < 0 || c < 0 ? 0 : x[y * d->w + c];
                }
            }
        }
    }
}

static void im2col(const fc_conv2d_desc *d, const void *x, void *cols, int n_threads) {
    im2col_arg a = {d, x, cols};
    double work = (double)d->n * d->c * d->kh * d->kw * d->oh * d->ow;
    fc_parallel(d->n * d->c, fc_threads_for(work, n_threads), im2col_task, &a);
}

static void col2im_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const im2col_arg *a = arg;
    const fc_conv2d_desc *d = a->d;
    const real *col = a->from + item * d->kh * d->kw * d->oh * d->ow;
    real *x = a->to + item * d->h * d->w;
    for (int64_t i = 0; i < d->h * d->w; i++) x[i] = 0;
    for (int64_t i = 0; i < d->kh; i++) {
        for (int64_t j = 0; j < d->kw; j++) {
            for (int64_t oy = 0; oy < d->oh; oy++) {
                int64_t y = seen(oy, i, d->stride_h, d->pad_top, d->dilation_h, d->h, d->pad_mode);
                for (int64_t ox = 0; ox < d->ow; ox++, col++) {
                    int64_t c = seen(ox, j, d->stride_w, d->pad_left, d->dilation_w, d->w,
                                     d->pad_mode);
                    if (y >= 0 && c >= 0) x[y * d->w + c] += *col;
                }
            }
        }
    }
}

static void col2im(const fc_conv2d_desc *d, const void *cols, void *x, int n_threads) {
    im2col_arg a = {d, cols, x};
    double work = (double)d->n * d->c * d->kh * d->kw * d->oh * d->ow;
    fc_parallel(d->n * d->c, fc_threads_for(work, n_threads), col2im_task, &a);
}
