/* plan_image_tmpl.h - forward pass of a single image, for batches too small to fill the lanes of a
 * block; included by plan_tmpl.h.
 *
 * The lanes are neighbouring pixels, and in a linear layer outputs. Tensors lie where
 * those of a block do, an element a real. Every sum has the terms and the order that it has in a
 * block, so an image's outputs are the same bits either way.
 */

INLINE real *image_at(const plan_tensor *t, int64_t c, int64_t y, int64_t x, real *arena) {
    return arena + t->at * VL + (c * t->hp + y) * t->wp + x;
}
INLINE real *image_inside(const plan_tensor *t, int64_t c, int64_t y, int64_t x, real *arena) {
    return image_at(t, c, y + t->top, x + t->left, arena);
}

static void image_load(const plan_tensor *t, const real *x, real *arena) {
    zero_border(t, 1, arena);
    for (int64_t c = 0; c < t->c; c++)
        for (int64_t y = 0; y < t->h; y++, x += t->w)
            memcpy(image_inside(t, c, y, 0, arena), x, (size_t)t->w * sizeof(real));
}

/* ---- convolution ---- */

/* ob output channels x 4 vectors, from x[i] to y[i]; channels of y are `plane` apart. */
INLINE void image_conv(const int ob, const conv_shape *s, const real *const x[4], const real *w,
                       const real *bias, real *const y[4], int64_t plane) {
    vr sum[CONV_OB][4];
    conv_taps(s, ob, 4, 1, x, w, bias, sum);
    UNROLL for (int o = 0; o < ob; o++)
        UNROLL for (int p = 0; p < 4; p++) v_store(y[p] + o * plane, sum[o][p]);
}

typedef void image_conv_fn(const conv_shape *s, const real *const x[4], const real *w,
                           const real *bias, real *const y[4], int64_t plane);
#define IMAGE_CONV(ob)                                                                      \
    static void image_conv_##ob(const conv_shape *s, const real *const x[4], const real *w, \
                                const real *bias, real *const y[4], int64_t plane) {        \
        image_conv(ob, s, x, w, bias, y, plane);                                            \
    }
IMAGE_CONV(1)
IMAGE_CONV(2)
IMAGE_CONV(3)
#if CONV_OB == 6
IMAGE_CONV(4)
IMAGE_CONV(5)
IMAGE_CONV(6)
#endif
static image_conv_fn *const IMAGE_CONVS[] = CONV_TABLE(image_conv_, );

/* ob planes of `count` pixels, which are counted through the ends of rows: y's rows are as long as
 * those of x, borders included, and what lies between two rows of pixels is nobody's. The last
 * vectors start earlier and do some pixels again. Where a plane is less than a vector, what is
 * stored beyond it is the place of the planes after it, which are stored later, or scratch. */
static void image_conv_planes(const conv_shape *s, int64_t ob, int64_t count, const real *x,
                              const real *w, const real *bias, real *y) {
    int64_t vectors = fc_ceil_div(count, VL), last = fc_max(0, count - VL);
    for (int64_t i = 0; i < vectors; i += 4) {
        const real *from[4];
        real *to[4];
        for (int p = 0; p < 4; p++) {
            int64_t at = fc_min((fc_min(i, fc_max(0, vectors - 4)) + p) * VL, last);
            from[p] = x + at;
            to[p] = y + at;
        }
        IMAGE_CONVS[ob - 1](s, from, w, bias, to, s->plane);
    }
}

/* Maxima of 2x2 pixels, whose rows are `pitch` apart; loads go up to two vectors beyond them. */
static void image_pool_plane(const fc_plan_step *d, const real *x, int64_t pitch, real *y,
                             int64_t y_pitch) {
    for (int64_t row = 0; row < d->oh; row++, x += 2 * pitch, y += y_pitch)
        for (int64_t col = 0; col < d->ow; col += VL) {
            const real *upper = x + 2 * col, *lower = upper + pitch;
            vr a = v_load(upper), b = v_load(upper + VL), c = v_load(lower), e = v_load(lower + VL);
            vr pixel[4] = {v_even(a, b), v_odd(a, b), v_even(c, e), v_odd(c, e)}, most = pixel[0];
            UNROLL for (int p = 1; p < 4; p++)
                most = v_select(still_most(most, pixel[p]), most, pixel[p]);
            v_storen(y + col, d->relu ? v_max(v_zero(), most) : most, d->ow - col);
        }
}

static void image_conv_forward(const plan_run *r, const plan_stage *g, const real *bias,
                               real *arena) {
    const fc_plan_step *d = g->step;
    const plan_tensor *x = &g->x, *y = &g->y;
    const real *from = image_at(x, 0, 0, 0, arena), *packed = arena + g->packed * VL;
    conv_shape s = {.c = x->c, .kh = d->kh, .kw = d->kw, .row = x->wp, .plane = x->hp * x->wp};
    int64_t pool = d->kind == FC_PLAN_CONV_POOL ? 2 : 1;
    int64_t blocks = fc_ceil_div(d->k, CONV_OB), count = (pool * d->oh - 1) * s.row + pool * d->ow;
    zero_border(y, 1, arena);
    for (int64_t b = 0; b < blocks; b++) {
        int64_t k = even_cut(d->k, CONV_OB, b), ob = even_cut(d->k, CONV_OB, b + 1) - k;
        real *planes = arena + r->layout->scratch;
        image_conv_planes(&s, ob, count, from, packed + k * s.c * s.kh * s.kw,
                          bias ? bias + k : NULL, planes);
        for (int64_t o = 0; o < ob; o++, planes += s.plane) {
            real *to = image_inside(y, k + o, 0, 0, arena);
            if (pool == 2) {
                image_pool_plane(d, planes, s.row, to, y->wp);
                continue;
            }
            for (int64_t row = 0; row < d->oh; row++)
                memcpy(to + row * y->wp, planes + row * s.row, (size_t)d->ow * sizeof(real));
        }
    }
}

/* ---- pools, activations ---- */

/* One by one: as in plan_max_pool_forward NaN stays, and the first of equal maxima. */
INLINE real image_window_max(const fc_plan_step *s, const real *x, int64_t row) {
    real most = *x;
    for (int64_t ky = 0; ky < s->kh; ky++)
        for (int64_t kx = 0; kx < s->kw; kx++) {
            real v = x[ky * row + kx];
            most = most >= v || most != most ? most : v;
        }
    return most;
}
INLINE real image_window_mean(const fc_plan_step *s, const real *x, int64_t row) {
    real sum = 0;
    for (int64_t ky = 0; ky < s->kh; ky++)
        for (int64_t kx = 0; kx < s->kw; kx++) sum += x[ky * row + kx];
    return sum / (real)(s->kh * s->kw);
}

static void image_pool_forward(const plan_stage *g, real *arena) {
    const fc_plan_step *s = g->step;
    const plan_tensor *x = &g->x, *y = &g->y;
    zero_border(y, 1, arena);
    for (int64_t c = 0; c < y->c; c++)
        for (int64_t row = 0; row < y->h; row++) {
            const real *from = image_inside(x, c, row * s->kh, 0, arena);
            real *to = image_inside(y, c, row, 0, arena);
            for (int64_t col = 0; col < y->w; col++, from += s->kw)
                to[col] = s->kind == FC_PLAN_MAX_POOL ? image_window_max(s, from, x->wp)
                                                      : image_window_mean(s, from, x->wp);
        }
}

static void image_activation_forward(const plan_stage *g, real *arena) {
    const plan_tensor *x = &g->x, *y = &g->y;
    fc_activation kind = g->step->activation;
    if (y->at != x->at) zero_border(y, 1, arena);
    for (int64_t c = 0; c < y->c; c++)
        for (int64_t row = 0; row < y->h; row++) {
            const real *from = image_inside(x, c, row, 0, arena);
            real *to = image_inside(y, c, row, 0, arena);
            for (int64_t col = 0; col < y->w; col += VL) {
                vr v = v_loadn(from + col, y->w - col);
                v = kind == FC_RELU ? v_relu(v)
                    : kind == FC_SIGMOID ? v_sigmoid(v) : v_tanh(v);
                v_storen(to + col, v, y->w - col);
            }
        }
}

/* ---- linear layers ---- */

/* `vectors` vectors of outputs from `first` on: weights are turned in registers, so that a vector
 * holds one input's. Beyond the last output its row is read again. */
INLINE void image_linear(const int vectors, const fc_plan_step *s, int64_t first, const real *w,
                         const real *bias, const real *x, real *y) {
    vr sum[4];
    int64_t last = s->k - 1;
    UNROLL for (int g = 0; g < vectors; g++)
        sum[g] = bias ? v_loadn(bias + first + g * VL, s->k - first - g * VL) : v_zero();
    for (int64_t i = 0; i < s->c; i += VL) {
        int64_t n = fc_min(s->c - i, VL);
        UNROLL for (int g = 0; g < vectors; g++) {
            vr v[VL];
            for (int l = 0; l < VL; l++) {
                const real *row = w + fc_min(first + g * VL + l, last) * s->c + i;
                v[l] = n == VL ? v_load(row) : v_loadn(row, n);
            }
            v_transpose(v);
            if (n == VL)
                UNROLL for (int j = 0; j < VL; j++) sum[g] = v_fma(v[j], v_set1(x[i + j]), sum[g]);
            else
                for (int j = 0; j < n; j++) sum[g] = v_fma(v[j], v_set1(x[i + j]), sum[g]);
        }
    }
    UNROLL for (int g = 0; g < vectors; g++)
        v_storen(y + first + g * VL, sum[g], s->k - first - g * VL);
}

static void image_linear_forward(const plan_stage *g, const fc_plan_param *p, real *arena) {
    const fc_plan_step *s = g->step;
    const real *w = p[0].data, *bias = p[1].data, *x = image_at(&g->x, 0, 0, 0, arena);
    real *y = image_at(&g->y, 0, 0, 0, arena);
    int64_t vectors = fc_ceil_div(s->k, VL);
    for (int64_t i = 0; i < fc_ceil_div(vectors, 4); i++) {
        int64_t v = even_cut(vectors, 4, i);
        switch (even_cut(vectors, 4, i + 1) - v) {
        case 1: image_linear(1, s, v * VL, w, bias, x, y); break;
        case 2: image_linear(2, s, v * VL, w, bias, x, y); break;
        case 3: image_linear(3, s, v * VL, w, bias, x, y); break;
        default: image_linear(4, s, v * VL, w, bias, x, y); break;
        }
    }
}

/* ---- the pass ---- */

static void plan_image(const plan_run *r, int64_t image, real *arena) {
    const plan_layout *layout = r->layout;
    const plan_tensor *in = &layout->input, *out = &layout->output;
    image_load(in, (const real *)r->batch->x + image * in->c * in->h * in->w, arena);
    for (int i = 0; i < layout->n_stages; i++) {
        const plan_stage *g = &layout->stages[i];
        const fc_plan_param *p = &r->params[2 * i];
        switch (g->step->kind) {
        case FC_PLAN_CONV:
        case FC_PLAN_CONV_POOL: image_conv_forward(r, g, p[1].data, arena); break;
        case FC_PLAN_MAX_POOL:
        case FC_PLAN_AVG_POOL: image_pool_forward(g, arena); break;
        case FC_PLAN_LINEAR: image_linear_forward(g, p, arena); break;
        case FC_PLAN_ACTIVATION: image_activation_forward(g, arena); break;
        default: break;
        }
    }
    int64_t features = out->c * out->h * out->w;
    memcpy((real *)r->y + image * features, image_at(out, 0, 0, 0, arena),
           (size_t)features * sizeof(real));
}
