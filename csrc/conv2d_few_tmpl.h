/* conv2d_few_tmpl.h - direct convolution onto few pixels by prepared weights, for inference;
 * compiled per tier and real type.
 *
 * The last layers of a net for images have small maps and many channels: 7 x 7 pixels of one image
 * fill vectors badly, and each weight serves few of them. So here the lanes are output channels,
 * and the values that are broadcast are pixels, which need no copy but their padding:
 *
 *     sums[pixel][k] += plane[shift(pixel) + place(step)] * weights[panel][step][k]
 *
 * where a step is a channel and a tap. All pixels take some steps, then the next ones, so that
 * weights are read once, in the order in which they lie in memory. An output is the same chain of
 * additions as in conv2d_direct_tmpl.h, bias first, then channels and taps in order: same bits.
 */

enum {
    FEW_PIXELS = 64,           /* of an image */
    FEW_KERNELS_FROM = 1 << 16 /* pairs of channels, of a group */
};
enum { FEW_AT_ONCE = 256, FEW_STEPS = 256 };          /* pixels of several images; steps */
enum { FEW_REALS = 1 << 24 };                         /* at most, in the planes of those images */

typedef struct {
    const fc_conv2d_desc *d;
    conv_epilogue epilogue;
    outer_panels panels;                /* of a group's output channels */
    int64_t c, k, taps, steps;          /* of a group: channels, and c * taps */
    int64_t chunk;                      /* channels at a time */
    int64_t pixels, images;             /* of an image; at once */
    int64_t pitch, plane;               /* of a channel with its padding: reals of a row, in all */
    int64_t n0, count;                  /* the images at present */
    int64_t thread_reals;
    const real *x, *w, *packed, *bias;
    real *y, *packing, *planes, *scratch;
    int32_t *shift, *place;             /* of pixels, and of a chunk's steps, in the planes */
} few_run;

/* sums[p][v] += sum over steps of x[shift[p] + place[step]] * weights[step][v], NP pixels and NV
 * vectors in registers. Meanwhile `ahead` is asked for, ahead_step reals a step. */
typedef void (*few_kernel)(int64_t steps, const real *x, const int32_t *shift, const int32_t *place,
                           const real *weights, real *sums, const real *ahead, int64_t ahead_step);

INLINE void few_step(const int nv, const int np, const real *const *pixel, int64_t at,
                     const real *weights, vr acc[OUTER_NP_MAX][OUTER_NV]) {
    vr w[OUTER_NV];
    UNROLL for (int j = 0; j < nv; j++) w[j] = v_load(weights + j * VL);
    UNROLL for (int i = 0; i < np; i++) {
        vr value = v_set1(pixel[i][at]);
        UNROLL for (int j = 0; j < nv; j++) acc[i][j] = v_fma(value, w[j], acc[i][j]);
    }
}

INLINE void few_tile(const int nv, const int np, int64_t steps, const real *x,
                     const int32_t *shift, const int32_t *place, const real *weights, real *sums,
                     const real *ahead, int64_t ahead_step) {
    vr acc[OUTER_NP_MAX][OUTER_NV];
    const real *pixel[OUTER_NP_MAX];
    UNROLL for (int i = 0; i < np; i++) {
        pixel[i] = x + shift[i];
        UNROLL for (int j = 0; j < nv; j++) acc[i][j] = v_load(sums + (i * nv + j) * VL);
    }
    int64_t step = 0;
    for (; step + 2 <= steps; step += 2, ahead += 2 * ahead_step, weights += 2 * nv * VL) {
        PREFETCH(ahead);
        few_step(nv, np, pixel, place[step], weights, acc);
        few_step(nv, np, pixel, place[step + 1], weights + nv * VL, acc);
    }
    if (step < steps) few_step(nv, np, pixel, place[step], weights, acc);
    UNROLL for (int i = 0; i < np; i++) {
        UNROLL for (int j = 0; j < nv; j++) v_store(sums + (i * nv + j) * VL, acc[i][j]);
    }
}

#define FEW_KERNEL(nv, np)                                                                       \
    static void few_##nv##x##np(int64_t steps, const real *x, const int32_t *shift,              \
                                const int32_t *place, const real *weights, real *sums,           \
                                const real *ahead, int64_t ahead_step) {                         \
        few_tile(nv, np, steps, x, shift, place, weights, sums, ahead, ahead_step);              \
    }
OUTER_WIDE(FEW_KERNEL) /* there are two vectors at least */
#define FEW_ENTRY(nv, np) [(nv) - 1][(np) - 1] = few_##nv##x##np,
static const few_kernel FEW_KERNELS[OUTER_NV][OUTER_NP_MAX] = {OUTER_WIDE(FEW_ENTRY)};

/* By the shape alone, since prepared weights serve any batch; 0 where it is not for this kernel. Of
 * 1 x 1 kernels each step would read another plane. */
static int few_plan(few_run *r, const fc_conv2d_desc *d) {
    *r = (few_run){.d = d, .c = d->c / d->groups, .k = d->k / d->groups, .taps = d->kh * d->kw,
                   .pixels = d->oh * d->ow, .pitch = d->w + d->pad_left + d->pad_right};
    int64_t most = fc_max(1, FEW_AT_ONCE / r->pixels);
    r->plane = (d->h + d->pad_top + d->pad_bottom) * r->pitch;
    if (r->pixels > FEW_PIXELS || r->k < 2 * VL || r->c * r->k < FEW_KERNELS_FROM || r->taps == 1 ||
        d->pad_mode != FC_PAD_ZEROS || d->c > FEW_REALS / most / r->plane)
        return 0;
    r->panels = outer_panels_of(r->k);
    r->steps = r->c * r->taps;
    r->chunk = fc_ceil_div(r->c, fc_ceil_div(r->steps, FEW_STEPS));
    r->images = fc_max(1, fc_min(most, d->n));
    r->thread_reals = fc_round_up(r->images * r->pixels * (r->panels.width + VL), 16);
    return 1;
}

static int64_t few_prepared_bytes(const few_run *r) {
    int64_t panels = r->d->groups * r->panels.count;
    return fc_mul(fc_mul(panels * r->panels.width, r->steps), sizeof(real));
}

/* Item: a panel of a group; to [step][width], zero in the lanes without a channel. */
static void few_prepare_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const few_run *r = arg;
    int64_t width = r->panels.width;
    int64_t g = item / r->panels.count, k0 = item % r->panels.count * width;
    const real *w = r->w + (g * r->k + k0) * r->steps;
    real *to = r->packing + item * r->steps * width;
    for (int64_t step = 0; step < r->steps; step++)
        for (int64_t i = 0; i < width; i++)
            *to++ = k0 + i < r->k ? w[i * r->steps + step] : 0;
}

static void few_prepare(few_run *r, const real *w, real *prepared, int n_threads) {
    r->w = w, r->packing = prepared;
    fc_parallel(r->d->groups * r->panels.count, n_threads, few_prepare_task, r);
}

static int64_t few_layout(few_run *r, char *base, int n_threads) {
    int64_t size = sizeof(real);
    int64_t pixels = r->images * r->pixels;
    int64_t at = fc_round_up((pixels + r->chunk * r->taps) * 4, 64), planes = at;
    at = fc_round_up(fc_add(at, fc_mul(fc_mul(r->images * r->d->c, r->plane), size)), 64);
    int64_t scratch = at;
    at = fc_add(at, fc_mul(fc_mul(r->thread_reals, n_threads), size));
    if (base != NULL) {
        r->shift = (int32_t *)base;
        for (int64_t p = 0; p < pixels; p++) {
            int64_t n = p / r->pixels, y = p % r->pixels / r->d->ow, x = p % r->d->ow;
            r->shift[p] = (int32_t)(n * r->d->c * r->plane + y * r->d->stride_h * r->pitch +
                                    x * r->d->stride_w);
        }
        r->place = r->shift + pixels;
        for (int64_t i = 0; i < r->chunk * r->taps; i++) {
            int64_t tap = i % r->taps, y = tap / r->d->kw, x = tap % r->d->kw;
            r->place[i] = (int32_t)(i / r->taps * r->plane + y * r->d->dilation_h * r->pitch +
                                    x * r->d->dilation_w);
        }
        r->planes = (real *)(base + planes);
        r->scratch = (real *)(base + scratch);
    }
    return at;
}

/* Item: a channel of the images, with its padding. */
static void few_pad_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const few_run *r = arg;
    const fc_conv2d_desc *d = r->d;
    for (int64_t n = 0; n < r->count; n++) {
        const real *x = r->x + ((r->n0 + n) * d->c + item) * d->h * d->w;
        real *to = r->planes + (n * d->c + item) * r->plane;
        fill(to, r->plane, 0);
        to += d->pad_top * r->pitch + d->pad_left;
        for (int64_t y = 0; y < d->h; y++) copy_strided(to + y * r->pitch, x + y * d->w, d->w, 1);
    }
}

/* Item: a panel of a group, of all pixels. */
static void few_task(void *arg, int64_t item, int thread) {
    const few_run *r = arg;
    int64_t width = r->panels.width, nv = r->panels.nv;
    int64_t g = item / r->panels.count, k0 = item % r->panels.count * width;
    int64_t have = fc_min(width, r->k - k0), pixels = r->count * r->pixels;
    const real *planes = r->planes + g * r->c * r->plane;
    const real *weights = r->packed + item * r->steps * width;
    real *sums = r->scratch + thread * r->thread_reals, *strip = sums + pixels * width;
    for (int64_t i = 0; i < width; i++)
        sums[i] = r->bias != NULL && i < have ? r->bias[g * r->k + k0 + i] : 0;
    for (int64_t p = 1; p < pixels; p++) copy_strided(sums + p * width, sums, width, 1);
    outer_groups tiles = outer_groups_of(pixels, r->panels.np);
    int64_t each = fc_ceil_div(width, tiles.count); /* a tile's part of the next weights */
    for (int64_t c = 0; c < r->c; c += r->chunk) {
        int64_t steps = fc_min(r->chunk, r->c - c) * r->taps;
        const real *next = weights + steps * width;
        for (int64_t i = 0, p = 0, np; i < tiles.count; i++, p += np) {
            np = outer_size(&tiles, i);
            FEW_KERNELS[nv - 1][np - 1](steps, planes + c * r->plane, r->shift + p, r->place,
                                        weights, sums + p * width, next + i * steps * each, each);
        }
        weights = next;
    }
    for (int64_t j = 0; j < have; j += VL) {
        for (int64_t p = 0; p < pixels; p++) v_store(strip + p * VL, v_load(sums + p * width + j));
        real *y = r->y + ((r->n0 * r->d->groups + g) * r->k + k0 + j) * r->pixels;
        for (int64_t n = 0; n < r->count; n++, y += r->d->k * r->pixels)
            strip_drain(strip + n * r->pixels * VL, 0, 1, r->pixels, y, r->pixels,
                        fc_min(VL, have - j), NULL, &r->epilogue);
    }
}

static void few_execute(few_run *r, const real *x, const real *prepared, const real *bias, real *y,
                        char *workspace, int n_threads) {
    few_layout(r, workspace, n_threads);
    r->x = x, r->packed = prepared, r->bias = bias, r->y = y;
    for (r->n0 = 0; r->n0 < r->d->n; r->n0 += r->images) {
        r->count = fc_min(r->images, r->d->n - r->n0);
        fc_parallel(r->d->c, n_threads, few_pad_task, r);
        fc_parallel(r->d->groups * r->panels.count, n_threads, few_task, r);
    }
}
