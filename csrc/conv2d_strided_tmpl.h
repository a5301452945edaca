/* conv2d_strided_tmpl.h - convolution with large kernels and strides (the first layers of AlexNet
 * and of ResNets) by Winograd, forward and the gradient of the weights; compiled per tier and real
 * type.
 *
 * With stride S, a window takes every S-th row and column from each of S x S starts: each of these
 * phases of the padded source, as an image of its own, meets every S-th row and column of the
 * kernel with stride 1. So the convolution is one of stride 1 over S x S times as many channels and
 * of ceil(K / S) taps a side: 11 x 11 with stride 4 is 3 x 3 over 16 phases; 7 x 7 with stride 2 is
 * 4 x 4 over 4, which a row and a column of zeros make 5 x 5. Phases of the source are copied out
 * as those of dilated convolutions are, and those of the kernel too; the outputs are in place. The
 * zeros multiply pixels that no window sees: where these are not finite, it shows. Their gradients
 * are left out.
 *
 * Some images go through at a time, to bound the copies.
 */

typedef struct {
    fc_conv2d_desc d, sub; /* sub: the convolution of the phases, of `images` images */
    wino_pass pass;
    int64_t images;        /* at a time */
    const real *w;
    real *x_phases, *taps; /* taps: the kernel's phases, or their gradients, [k][phase][c][r][r] */
    real *part, *dw;       /* part: what some images add to those, and to the bias's */
    char *inner;           /* Winograd's workspace */
} strided_run;

/* 1 if the shape is of this kind, Winograd serves its phases, and (unless it is asked for) that
 * halves the products, on vectors three quarters of whose lanes are channels, for a vector of
 * output channels at least. By shape alone. */
static int strided_plan(strided_run *r, const fc_conv2d_desc *d, wino_pass pass) {
    int64_t stride = d->stride_h, phases = stride * stride;
    int fits = stride >= 2 && d->stride_w == stride && d->kh == d->kw && d->groups == 1 &&
               d->dilation_h == 1 && d->dilation_w == 1 && d->pad_mode == FC_PAD_ZEROS;
    int64_t taps = fc_ceil_div(d->kh, stride);
    if (!fits || d->n == 0 || taps < 3 || taps > 5) return 0;
    if (taps == 4) taps = 5;
    *r = (strided_run){.d = *d, .sub = *d, .pass = pass};
    fc_conv2d_desc *s = &r->sub;
    s->c = phases * d->c;
    s->kh = s->kw = taps, s->stride_h = s->stride_w = 1;
    s->pad_top = s->pad_bottom = s->pad_left = s->pad_right = 0;
    s->h = d->oh + taps - 1, s->w = d->ow + taps - 1;
    if (d->algorithm == FC_CONV_AUTO) s->algorithm = FC_CONV_WINOGRAD;
    const winograd_variant *v = wino_choose(s, pass);
    if (v == NULL) return 0;
    int64_t products = v->y.t * v->x.t * fc_ceil_div(d->oh, v->y.m) * fc_ceil_div(d->ow, v->x.m);
    int64_t direct = d->kh * d->kw * d->oh * d->ow;
    int pays = 4 * s->c >= 3 * VL && d->k >= VL && 2 * phases * products <= direct;
    if (d->algorithm == FC_CONV_AUTO && !pays) return 0;
    int64_t bytes = fc_mul(fc_mul(s->c, s->h * s->w), sizeof(real)); /* -1: layout will refuse it */
    r->images = fc_max(1, fc_min(d->n, DILATED_BYTES / bytes));
    return 1;
}

static int64_t strided_taps(const strided_run *r) {
    return r->d.k * r->sub.c * r->sub.kh * r->sub.kw;
}

/* Bytes of prepared weights: the kernel's phases. They are few, so they are transformed anew by
 * every run. */
static int64_t strided_prepared_bytes(const strided_run *r) {
    return fc_mul(strided_taps(r), sizeof(real));
}

/* Item: an output channel's taps. */
static void strided_taps_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const strided_run *r = arg;
    const fc_conv2d_desc *d = &r->d;
    int64_t stride = d->stride_h, end = r->sub.kh * stride, kernel = d->kh * d->kw;
    real *to = r->taps + item * r->sub.c * r->sub.kh * r->sub.kw;
    for (int64_t phase = 0; phase < stride * stride; phase++) {
        const real *w = r->w + item * d->c * kernel;
        for (int64_t c = 0; c < d->c; c++, w += kernel)
            for (int64_t y = phase / stride; y < end; y += stride)
                for (int64_t x = phase % stride; x < end; x += stride)
                    *to++ = y < d->kh && x < d->kw ? w[y * d->kw + x] : 0;
    }
}

static void strided_prepare(strided_run *r, const real *w, real *taps, int n_threads) {
    r->w = w, r->taps = taps;
    fc_parallel_shares(r->d.k, n_threads, strided_taps_task, r);
}

/* Winograd on the phases of so many images: its run, and the bytes of its workspace. */
INLINE int64_t strided_inner(strided_run *r, int64_t images, wino_run *wino,
                             wino_weight_run *weight, int n_threads) {
    r->sub.n = images;
    if (r->pass == WINO_BACKWARD_WEIGHT) {
        wino_weight_run_of(weight, &r->sub);
        return wino_weight_layout(weight, NULL, n_threads);
    }
    wino_forward_run(wino, &r->sub, 0, 0);
    return wino_layout(wino, 0, NULL, n_threads);
}

/* Lays the workspace out; returns its bytes, or -1 if they do not fit. */
static int64_t strided_layout(strided_run *r, int prepared, char *base, int n_threads) {
    const fc_conv2d_desc *s = &r->sub;
    wino_run wino;
    wino_weight_run weight;
    int64_t rest = r->d.n % r->images, size = sizeof(real);
    int64_t inner = strided_inner(r, r->images, &wino, &weight, n_threads);
    if (rest > 0) /* fewer images may be cut otherwise */
        inner = fc_max(inner, strided_inner(r, rest, &wino, &weight, n_threads));
    int64_t phases = fc_mul(r->images, fc_mul(fc_mul(s->c, s->h * s->w), size));
    int64_t taps = fc_round_up(phases, 64);
    int64_t part = fc_round_up(fc_add(taps, prepared ? 0 : strided_prepared_bytes(r)), 64);
    int64_t at = part;
    if (r->pass == WINO_BACKWARD_WEIGHT && r->images < r->d.n)
        at = fc_round_up(fc_add(part, fc_mul(fc_add(strided_taps(r), r->d.k), size)), 64);
    if (base != NULL) {
        r->x_phases = (real *)base;
        r->taps = (real *)(base + taps);
        r->part = (real *)(base + part);
        r->inner = base + at;
    }
    return fc_add(at, inner);
}

/* The phases of some images from n on. */
static void strided_split(const strided_run *r, const real *x, int64_t n, int64_t images,
                          int n_threads) {
    const fc_conv2d_desc *d = &r->d;
    dilated_planes p = {.images = images, .channels = d->c, .h = d->h, .w = d->w,
                        .top = d->pad_top, .left = d->pad_left, .dh = d->stride_h,
                        .dw = d->stride_w, .ph = r->sub.h, .pw = r->sub.w};
    dilated_split(p, x + n * d->c * d->h * d->w, r->x_phases, n_threads);
}

static void strided_execute(strided_run *r, const real *src, const real *w, const real *prepared,
                            const real *bias, conv_epilogue epilogue, real *dst, char *workspace,
                            int n_threads) {
    const fc_conv2d_desc *d = &r->d;
    strided_layout(r, prepared != NULL, workspace, n_threads);
    if (prepared == NULL) strided_prepare(r, w, r->taps, n_threads);
    for (int64_t n = 0; n < d->n; n += r->images) {
        int64_t images = fc_min(r->images, d->n - n);
        wino_run wino;
        wino_weight_run unused;
        strided_inner(r, images, &wino, &unused, n_threads);
        wino.epilogue = epilogue;
        strided_split(r, src, n, images, n_threads);
        wino_execute(&wino, r->x_phases, prepared != NULL ? prepared : r->taps, NULL, bias,
                     dst + n * d->k * d->oh * d->ow, r->inner, n_threads);
    }
}

/* Item: an output channel's dw, from the gradients of its taps. */
static void strided_dw_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const strided_run *r = arg;
    const fc_conv2d_desc *d = &r->d;
    int64_t stride = d->stride_h, end = r->sub.kh * stride, kernel = d->kh * d->kw;
    const real *from = r->taps + item * r->sub.c * r->sub.kh * r->sub.kw;
    for (int64_t phase = 0; phase < stride * stride; phase++) {
        real *dw = r->dw + item * d->c * kernel;
        for (int64_t c = 0; c < d->c; c++, dw += kernel)
            for (int64_t y = phase / stride; y < end; y += stride)
                for (int64_t x = phase % stride; x < end; x += stride, from++)
                    if (y < d->kh && x < d->kw) dw[y * d->kw + x] = *from;
    }
}

static void strided_weight_execute(strided_run *r, const real *dy, const real *x, real *dw,
                                   real *db, char *workspace, int n_threads) {
    const fc_conv2d_desc *d = &r->d;
    int64_t taps = strided_taps(r);
    strided_layout(r, 0, workspace, n_threads);
    for (int64_t n = 0; n < d->n; n += r->images) {
        int64_t images = fc_min(r->images, d->n - n);
        wino_run unused;
        wino_weight_run weight;
        strided_inner(r, images, &unused, &weight, n_threads);
        strided_split(r, x, n, images, n_threads);
        real *to = n == 0 ? r->taps : r->part, *biases = n == 0 || db == NULL ? db : to + taps;
        wino_weight_execute(&weight, dy + n * d->k * d->oh * d->ow, r->x_phases, to, biases,
                            r->inner, n_threads);
        for (int64_t i = 0; n > 0 && i < taps; i++) r->taps[i] += to[i];
        for (int64_t i = 0; n > 0 && db != NULL && i < d->k; i++) db[i] += biases[i];
    }
    r->dw = dw;
    fc_parallel_shares(d->k, n_threads, strided_dw_task, r);
}
