/* plan_conv_tmpl.h - convolutions of a plan's block of images, one image a vector lane; included by
 * plan_tmpl.h. Its taps serve single images too (plan_image_tmpl.h).
 *
 * The micro-kernel holds up to CONV_OB output channels x 4 pixels in registers and multiplies
 * vectors of VL images by one weight at a time, so no lane is wasted whatever width and channels
 * are. The four pixels are neighbours in a row, or a pooling window of 2 x 2; the planes have zero
 * borders, so there are no edges. The same kernel makes dx, from the gradient with its border and
 * the weights turned around.
 *
 * Packed weights: output channels in even blocks of at most CONV_OB, [block][c][kh][kw][of block].
 */

#if N_REGISTERS == 32
#define CONV_OB 6
#define WEIGHT_OB 4
#else
#define CONV_OB 3
#define WEIGHT_OB 2
#endif
#define WEIGHT_KB 5 /* kernel columns that the gradient's micro-kernel does at once */

/* Block i of n things cut into even blocks of at most `most`. */
INLINE int64_t even_cut(int64_t n, int64_t most, int64_t i) {
    return i * n / fc_ceil_div(n, most);
}

/* Offset of element (y, x) of plane c, borders included, in reals. */
INLINE int64_t tensor_at(const plan_tensor *t, int64_t c, int64_t y, int64_t x) {
    return (t->at + (c * t->hp + y) * t->wp + x) * VL;
}
/* The same with (y, x) inside the border. */
INLINE int64_t tensor_inside(const plan_tensor *t, int64_t c, int64_t y, int64_t x) {
    return tensor_at(t, c, y + t->top, x + t->left);
}
INLINE int tensor_has_border(const plan_tensor *t) { return t->hp != t->h || t->wp != t->w; }

/* `lanes` reals for each element. */
static void zero_border(const plan_tensor *t, int64_t lanes, real *arena) {
    if (!tensor_has_border(t)) return;
    size_t element = (size_t)lanes * sizeof(real);
    int64_t right = t->wp - t->left - t->w;
    real *row = arena + t->at * VL;
    for (int64_t c = 0; c < t->c; c++)
        for (int64_t y = 0; y < t->hp; y++, row += t->wp * lanes) {
            if (y < t->top || y >= t->top + t->h) {
                memset(row, 0, (size_t)t->wp * element);
                continue;
            }
            memset(row, 0, (size_t)t->left * element);
            memset(row + (t->left + t->w) * lanes, 0, (size_t)right * element);
        }
}
static void plan_zero_border(const plan_tensor *t, real *arena) { zero_border(t, VL, arena); }

/* ---- packing ---- */

static void conv_pack(const fc_plan_step *s, const real *w, real *to) {
    int64_t taps = s->kh * s->kw, blocks = fc_ceil_div(s->k, CONV_OB);
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t i = 0; i < s->c * taps; i++)
            for (int64_t k = even_cut(s->k, CONV_OB, b); k < even_cut(s->k, CONV_OB, b + 1); k++)
                *to++ = w[k * s->c * taps + i];
}

/* For dx: input and output channels change places, the kernel is turned by 180 degrees. */
static void conv_pack_back(const fc_plan_step *s, const real *w, real *to) {
    int64_t taps = s->kh * s->kw, blocks = fc_ceil_div(s->c, CONV_OB);
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t k = 0; k < s->k; k++)
            for (int64_t t = taps - 1; t >= 0; t--)
                for (int64_t c = even_cut(s->c, CONV_OB, b); c < even_cut(s->c, CONV_OB, b + 1);
                     c++)
                    *to++ = w[(k * s->c + c) * taps + t];
}

/* ---- forward ---- */

typedef struct {
    int64_t c, kh, kw;
    int64_t row, plane; /* of x, in reals */
    int64_t second;     /* from the first two pixels to the other two: two columns, or a row */
} conv_shape;

/* One tap of one input channel: ob output channels x pb vectors, which are at x[i] + at. */
INLINE void conv_tap(const int ob, const int pb, const real *const x[4], int64_t at, const real *w,
                     vr sum[CONV_OB][4]) {
    vr v[4];
    UNROLL for (int p = 0; p < pb; p++) v[p] = v_load(x[p] + at);
    UNROLL for (int o = 0; o < ob; o++) {
        vr one = v_set1(w[o]);
        UNROLL for (int p = 0; p < pb; p++) sum[o][p] = v_fma(one, v[p], sum[o][p]);
    }
}

/* All taps, `step` reals apart in a row. Rows of 5, LeNet's, are unrolled: a pixel is then loaded
 * once for two neighbours. */
INLINE void conv_taps(const conv_shape *s, const int ob, const int pb, const int64_t step,
                      const real *const x[4], const real *w, const real *bias,
                      vr sum[CONV_OB][4]) {
    UNROLL for (int o = 0; o < ob; o++)
        UNROLL for (int p = 0; p < pb; p++) sum[o][p] = bias ? v_set1(bias[o]) : v_zero();
    for (int64_t c = 0; c < s->c; c++)
        for (int64_t ky = 0; ky < s->kh; ky++, w += s->kw * ob) {
            int64_t at = c * s->plane + ky * s->row;
            if (s->kw == 5)
                UNROLL for (int kx = 0; kx < 5; kx++, at += step)
                    conv_tap(ob, pb, x, at, w + kx * ob, sum);
            else
                for (int64_t kx = 0; kx < s->kw; kx++, at += step)
                    conv_tap(ob, pb, x, at, w + kx * ob, sum);
        }
}

/* Those of a block: pb pixels (4 or 1) from x on. */
INLINE void conv_sum(const conv_shape *s, const int ob, const int pb, const real *x, const real *w,
                     const real *bias, vr sum[CONV_OB][4]) {
    const real *pixel[4] = {x, x + VL, x + s->second, x + s->second + VL};
    conv_taps(s, ob, pb, VL, pixel, w, bias, sum);
}

/* Plain outputs: ob channels, `plane` apart, of pb pixels of a row. */
INLINE void conv_plain(const conv_shape *s, const int ob, const int pb, const real *x,
                       const real *w, const real *bias, real *y, int64_t plane) {
    vr sum[CONV_OB][4];
    conv_sum(s, ob, pb, x, w, bias, sum);
    UNROLL for (int o = 0; o < ob; o++)
        UNROLL for (int p = 0; p < pb; p++) v_store(y + o * plane + p * VL, sum[o][p]);
}

/* Where the maximum so far stays: if it is NaN or >= the next one. */
INLINE vm still_most(vr most, vr next) { return v_or(v_ge(most, next), v_isnan(most)); }

/* The maximum of four pixels and, unless best is NULL, where it was: its offset in the input, given
 * by `offsets`. */
INLINE void conv_pool(const vr pixel[4], int relu, const real offsets[4], real *y, real *best) {
    vr most = pixel[0], at = v_set1(offsets[0]);
    UNROLL for (int p = 1; p < 4; p++) {
        vm stays = still_most(most, pixel[p]);
        most = v_select(stays, most, pixel[p]);
        at = v_select(stays, at, v_set1(offsets[p]));
    }
    v_store(y, relu ? v_max(v_zero(), most) : most);
    if (best != NULL) v_store(best, at);
}

/* Pooled outputs, a row of n. */
INLINE void conv_pooled(const conv_shape *s, const int ob, int64_t n, const real *x, const real *w,
                        const real *bias, int relu, const real offsets[4], real *y, real *best,
                        int64_t plane) {
    for (int64_t i = 0; i < n * VL; i += VL) {
        vr sum[CONV_OB][4];
        conv_sum(s, ob, 4, x + 2 * i, w, bias, sum);
        UNROLL for (int o = 0; o < ob; o++) {
            int64_t to = o * plane + i;
            conv_pool(sum[o], relu, offsets, y + to, best == NULL ? NULL : best + to);
        }
    }
}

typedef void conv_plain_fn(const conv_shape *s, const real *x, const real *w, const real *bias,
                           real *y, int64_t plane);
typedef void conv_pooled_fn(const conv_shape *s, int64_t n, const real *x, const real *w,
                            const real *bias, int relu, const real offsets[4], real *y, real *best,
                            int64_t plane);

#define CONV_KERNELS_OF(ob)                                                                      \
    static void conv_plain_##ob##_1(const conv_shape *s, const real *x, const real *w,           \
                                    const real *bias, real *y, int64_t plane) {                  \
        conv_plain(s, ob, 1, x, w, bias, y, plane);                                              \
    }                                                                                            \
    static void conv_plain_##ob##_4(const conv_shape *s, const real *x, const real *w,           \
                                    const real *bias, real *y, int64_t plane) {                  \
        conv_plain(s, ob, 4, x, w, bias, y, plane);                                              \
    }                                                                                            \
    static void conv_pooled_##ob(const conv_shape *s, int64_t n, const real *x, const real *w,   \
                                 const real *bias, int relu, const real offsets[4], real *y,     \
                                 real *best, int64_t plane) {                                    \
        conv_pooled(s, ob, n, x, w, bias, relu, offsets, y, best, plane);                        \
    }
CONV_KERNELS_OF(1)
CONV_KERNELS_OF(2)
CONV_KERNELS_OF(3)
#if CONV_OB == 6
CONV_KERNELS_OF(4)
CONV_KERNELS_OF(5)
CONV_KERNELS_OF(6)
#define CONV_TABLE(name, after) \
    {name##1##after, name##2##after, name##3##after, name##4##after, name##5##after, name##6##after}
#else
#define CONV_TABLE(name, after) {name##1##after, name##2##after, name##3##after}
#endif
static conv_plain_fn *const CONV_PLAIN_1[] = CONV_TABLE(conv_plain_, _1);
static conv_plain_fn *const CONV_PLAIN_4[] = CONV_TABLE(conv_plain_, _4);
static conv_pooled_fn *const CONV_POOLED[] = CONV_TABLE(conv_pooled_, );

/* y (h x w pixels of it) = packed w * x + bias. */
static void conv_rows(const plan_tensor *x, const plan_tensor *y, int64_t kh, int64_t kw,
                      const real *w, const real *bias, real *arena) {
    conv_shape s = {x->c, kh, kw, x->wp * VL, x->hp * x->wp * VL, 2 * VL};
    int64_t blocks = fc_ceil_div(y->c, CONV_OB), plane = y->hp * y->wp * VL;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t k = even_cut(y->c, CONV_OB, b), ob = even_cut(y->c, CONV_OB, b + 1) - k;
        conv_plain_fn *four = CONV_PLAIN_4[ob - 1], *one = CONV_PLAIN_1[ob - 1];
        const real *weights = w + k * s.c * kh * kw, *start = bias ? bias + k : NULL;
        for (int64_t row = 0; row < y->h; row++) {
            const real *from = arena + tensor_at(x, 0, row, 0);
            real *to = arena + tensor_inside(y, k, row, 0);
            for (int64_t col = 0; col < y->w; col += 4) {
                /* The last four start earlier and do some pixels again. */
                int64_t at = (y->w < 4 ? col : fc_min(col, y->w - 4)) * VL;
                if (y->w >= 4) four(&s, from + at, weights, start, to + at, plane);
                for (int64_t p = 0; y->w < 4 && p < y->w; p++)
                    one(&s, from + p * VL, weights, start, to + p * VL, plane);
            }
        }
    }
}

static void plan_conv_forward(const plan_stage *g, const real *bias, real *arena) {
    const real *packed = arena + g->packed * VL;
    plan_zero_border(&g->y, arena);
    conv_rows(&g->x, &g->y, g->step->kh, g->step->kw, packed, bias, arena);
}

/* Of the four pixels of a pooling window, in an image as the backward pass reads it. */
INLINE void conv_offsets(const plan_stage *g, real offsets[4]) {
    for (int i = 0; i < 4; i++)
        offsets[i] = (real)(i % 2 * g->patch.pixel + i / 2 * g->patch.pitch);
}

static void plan_conv_pool_forward(const plan_run *r, const plan_stage *g, const real *bias,
                                   real *arena) {
    const fc_plan_step *d = g->step;
    const plan_tensor *x = &g->x, *y = &g->y;
    const real *packed = arena + g->packed * VL;
    conv_shape s = {x->c, d->kh, d->kw, x->wp * VL, x->hp * x->wp * VL, x->wp * VL};
    int64_t blocks = fc_ceil_div(y->c, CONV_OB), plane = y->hp * y->wp * VL;
    real offsets[4];
    conv_offsets(g, offsets);
    plan_zero_border(y, arena);
    for (int64_t b = 0; b < blocks; b++) {
        int64_t k = even_cut(y->c, CONV_OB, b), ob = even_cut(y->c, CONV_OB, b + 1) - k;
        conv_pooled_fn *kernel = CONV_POOLED[ob - 1];
        const real *weights = packed + k * s.c * d->kh * d->kw, *start = bias ? bias + k : NULL;
        for (int64_t row = 0; row < y->h; row++) {
            int64_t to = tensor_inside(y, k, row, 0);
            real *best = r->training ? arena + to + (g->best - y->at) * VL : NULL;
            kernel(&s, y->w, arena + tensor_at(x, 0, 2 * row, 0), weights, start, d->relu, offsets,
                   arena + to, best, plane);
        }
    }
}

/* ---- gradient of the weights, where dy is dense ---- */

/* dw[o][kx] += the sum over pixels and lanes, for ob output channels, one input channel, one
 * kernel row and kb kernel columns. dy's channels are `plane` apart; rows of both tensors start
 * at x and dy. */
INLINE void conv_weight_sum(const int ob, const int kb, const plan_tensor *x,
                            const plan_tensor *dy, const real *x_at, const real *dy_at, real *dw,
                            int64_t dw_channel, int64_t dw_column) {
    vr sum[WEIGHT_OB][WEIGHT_KB];
    int64_t plane = dy->hp * dy->wp * VL;
    UNROLL for (int o = 0; o < ob; o++)
        UNROLL for (int j = 0; j < kb; j++) sum[o][j] = v_zero();
    for (int64_t y = 0; y < dy->h; y++) {
        const real *a = dy_at + y * dy->wp * VL, *b = x_at + y * x->wp * VL;
        for (int64_t col = 0; col < dy->w; col++, a += VL, b += VL) {
            vr g[WEIGHT_OB];
            UNROLL for (int o = 0; o < ob; o++) g[o] = v_load(a + o * plane);
            UNROLL for (int j = 0; j < kb; j++) {
                vr v = v_keep(v_load(b + j * VL));
                UNROLL for (int o = 0; o < ob; o++) sum[o][j] = v_fma(g[o], v, sum[o][j]);
            }
        }
    }
    UNROLL for (int o = 0; o < ob; o++)
        UNROLL for (int j = 0; j < kb; j++)
            dw[o * dw_channel + j * dw_column] += v_hsum(sum[o][j]);
}

typedef void conv_weight_fn(const plan_tensor *x, const plan_tensor *dy, const real *x_at,
                            const real *dy_at, real *dw, int64_t dw_channel, int64_t dw_column);

#define CONV_WEIGHT(ob, kb)                                                                      \
    static void conv_weight_##ob##_##kb(const plan_tensor *x, const plan_tensor *dy,             \
                                        const real *x_at, const real *dy_at, real *dw,           \
                                        int64_t dw_channel, int64_t dw_column) {                 \
        conv_weight_sum(ob, kb, x, dy, x_at, dy_at, dw, dw_channel, dw_column);                  \
    }
#define CONV_WEIGHTS_OF(ob) \
    CONV_WEIGHT(ob, 1) CONV_WEIGHT(ob, 2) CONV_WEIGHT(ob, 3) CONV_WEIGHT(ob, 4) CONV_WEIGHT(ob, 5)
#define CONV_WEIGHT_ROW(ob)                                                                  \
    {conv_weight_##ob##_1, conv_weight_##ob##_2, conv_weight_##ob##_3, conv_weight_##ob##_4, \
     conv_weight_##ob##_5}
CONV_WEIGHTS_OF(1)
CONV_WEIGHTS_OF(2)
#if WEIGHT_OB == 4
CONV_WEIGHTS_OF(3)
CONV_WEIGHTS_OF(4)
#endif
static conv_weight_fn *const CONV_WEIGHTS[WEIGHT_OB][WEIGHT_KB] = {
    CONV_WEIGHT_ROW(1),
    CONV_WEIGHT_ROW(2),
#if WEIGHT_OB == 4
    CONV_WEIGHT_ROW(3),
    CONV_WEIGHT_ROW(4),
#endif
};

/* The chunk's sums of dw are [k][kh][kw][c]. */
static void conv_weight_gradient(const plan_stage *g, real *sums, const real *arena) {
    const fc_plan_step *s = g->step;
    const plan_tensor *x = &g->x, *dy = &g->dy;
    for (int64_t ob = 0, k = 0; k < s->k; k += ob) {
        ob = fc_min(s->k - k, WEIGHT_OB);
        const real *dy_at = arena + tensor_inside(dy, k, 0, 0);
        for (int64_t c = 0; c < s->c; c++)
            for (int64_t ky = 0; ky < s->kh; ky++) {
                real *dw = sums + g->dw + (k * s->kh + ky) * g->dw_pitch + c;
                for (int64_t kb = 0, kx = 0; kx < s->kw; kx += kb) {
                    kb = fc_min(s->kw - kx, WEIGHT_KB);
                    CONV_WEIGHTS[ob - 1][kb - 1](x, dy, arena + tensor_at(x, c, ky, kx), dy_at,
                                                 dw + kx * s->c, s->kh * g->dw_pitch, s->c);
                }
            }
    }
}

/* db[k] += the sum of plane k of t over pixels and lanes. */
static void conv_bias_gradient(const plan_tensor *t, real *db, const real *arena) {
    for (int64_t k = 0; k < t->c; k++) {
        vr sum = v_zero();
        for (int64_t y = 0; y < t->h; y++) {
            const real *row = arena + tensor_inside(t, k, y, 0);
            for (int64_t x = 0; x < t->w; x++) sum = v_add(sum, v_load(row + x * VL));
        }
        db[k] += v_hsum(sum);
    }
}

static void plan_conv_backward(const plan_stage *g, real *sums, real *arena) {
    const fc_plan_step *s = g->step;
    plan_zero_border(&g->dy, arena);
    if (s->train_weight) conv_weight_gradient(g, sums, arena);
    if (s->train_bias) conv_bias_gradient(&g->dy, sums + g->db, arena);
    if (g->needs_dx)
        conv_rows(&g->dy, &g->dx, s->kh, s->kw, arena + g->packed_back * VL, NULL, arena);
}
