/* plan_winograd_tmpl.h - forward pass of a block's convolution with rows of five taps + 2x2 max
 * pooling, in training, by Winograd's F(2,5) along the rows; included by plan_tmpl.h.
 *
 * The two columns of a pooling window are a tile: six products, of six transformed pixels and six
 * transformed taps, instead of ten. A row of windows makes, for each of the six,
 *
 *     m[half][k][window] = sum over ky, c of u[ky][c][k] * v[2 row + half + ky][c][window]
 *
 * where u is of the weights, transformed once a step, and v of the block's pixels. With v's
 * channels and windows side by side the terms of a sum lie one after another. The transforms are
 * those of winograd_transform_tmpl.h.
 */

/* PLAN_WINO_FILTERS x PLAN_WINO_WINDOWS sums are in registers. */
#if N_REGISTERS == 32
#define PLAN_WINO_FILTERS 4
#else
#define PLAN_WINO_FILTERS 2
#endif

INLINE int plan_winograd_used(const plan_run *r, const plan_stage *g) {
    return g->winograd && !r->batch->exact;
}

/* u: [product][ky][c][k], rows of k rounded up to whole vectors. */
static void plan_winograd_pack(const fc_plan_step *s, const real *w, real *u) {
    int64_t terms = s->kh * s->c, pitch = fc_round_up(s->k, VL);
    for (int64_t i = 0; i < terms; i++)
        for (int64_t k = 0; k < s->k; k += VL) {
            const real *row = w + ((k * s->c + i % s->c) * s->kh + i / s->c) * 5;
            real taps[5][VL] = {{0}};
            vr in[5], out[PLAN_WINO_PRODUCTS];
            for (int64_t o = 0; o < fc_min(VL, s->k - k); o++, row += s->c * s->kh * 5)
                for (int x = 0; x < 5; x++) taps[x][o] = row[x];
            UNROLL for (int x = 0; x < 5; x++) in[x] = v_load(taps[x]);
            wino_rows(PLAN_WINO_PRODUCTS, 5, 2, WINOGRAD_G_2_5, in, out);
            UNROLL for (int t = 0; t < PLAN_WINO_PRODUCTS; t++)
                v_store(u + (t * terms + i) * pitch + k, out[t]);
        }
}

/* v: [product][row][c][window] of the first `rows` rows. */
static void plan_winograd_pixels(const plan_tensor *x, int64_t rows, int64_t windows,
                                 const real *arena, real *v) {
    int64_t plane = rows * x->c * windows * VL;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t c = 0; c < x->c; c++) {
            const real *from = arena + tensor_at(x, c, row, 0);
            for (int64_t i = 0; i < windows; i++, from += 2 * VL, v += VL) {
                vr in[PLAN_WINO_PRODUCTS], out[PLAN_WINO_PRODUCTS];
                UNROLL for (int t = 0; t < PLAN_WINO_PRODUCTS; t++) in[t] = v_load(from + t * VL);
                wino_rows(PLAN_WINO_PRODUCTS, PLAN_WINO_PRODUCTS, 2, WINOGRAD_BT_2_5, in, out);
                UNROLL for (int t = 0; t < PLAN_WINO_PRODUCTS; t++) v_store(v + t * plane, out[t]);
            }
        }
}

/* m[filter][window] of so many filters and PLAN_WINO_WINDOWS windows: sums of `terms` terms, which
 * are v_step apart in v and u_step in u. */
INLINE void plan_winograd_sum(const int filters, int64_t terms, const real *v, int64_t v_step,
                              const real *u, int64_t u_step, real *m, int64_t m_step) {
    vr sum[PLAN_WINO_FILTERS][PLAN_WINO_WINDOWS];
    UNROLL for (int o = 0; o < filters; o++)
        UNROLL for (int p = 0; p < PLAN_WINO_WINDOWS; p++) sum[o][p] = v_zero();
    for (int64_t i = 0; i < terms; i++, v += v_step, u += u_step) {
        vr tap[PLAN_WINO_FILTERS];
        UNROLL for (int o = 0; o < filters; o++) tap[o] = v_set1(u[o]);
        UNROLL for (int p = 0; p < PLAN_WINO_WINDOWS; p++) {
            vr pixel = v_keep(v_load(v + p * VL));
            UNROLL for (int o = 0; o < filters; o++) sum[o][p] = v_fma(tap[o], pixel, sum[o][p]);
        }
    }
    UNROLL for (int o = 0; o < filters; o++)
        UNROLL for (int p = 0; p < PLAN_WINO_WINDOWS; p++)
            v_store(m + o * m_step + p * VL, sum[o][p]);
}

/* Row `row` of the pooled maps, from the products m. */
static void plan_winograd_pool(const plan_stage *g, int64_t row, const real *m, const real *bias,
                               const real offsets[4], real *arena) {
    const plan_tensor *y = &g->y;
    int64_t line = y->w * VL, filter = PLAN_WINO_PRODUCTS * line;
    for (int64_t k = 0; k < y->c; k++) {
        vr start = bias ? v_set1(bias[k]) : v_zero();
        real *to = arena + tensor_inside(y, k, row, 0), *best = to + (g->best - y->at) * VL;
        for (int64_t i = 0; i < line; i += VL) {
            vr pixel[4];
            UNROLL for (int half = 0; half < 2; half++) {
                const real *products = m + (half * y->c + k) * filter + i;
                vr in[PLAN_WINO_PRODUCTS];
                UNROLL for (int t = 0; t < PLAN_WINO_PRODUCTS; t++)
                    in[t] = v_load(products + t * line);
                wino_columns(PLAN_WINO_PRODUCTS, 2, 2, WINOGRAD_A_2_5, in, pixel + 2 * half);
            }
            UNROLL for (int p = 0; p < 4; p++) pixel[p] = v_add(pixel[p], start);
            conv_pool(pixel, g->step->relu, offsets, to + i, best + i);
        }
    }
}

static void plan_winograd_forward(const plan_run *r, const plan_stage *g, const real *bias,
                                  real *arena) {
    const fc_plan_step *d = g->step;
    const plan_tensor *x = &g->x, *y = &g->y;
    int64_t windows = y->w, terms = d->kh * d->c, rows = 2 * y->h + d->kh - 1;
    int64_t line = windows * VL, plane = rows * x->c * line, pitch = fc_round_up(d->k, VL);
    int64_t filter = PLAN_WINO_PRODUCTS * line;
    /* m: [half][k][product][window] */
    real *v = arena + r->layout->scratch, *m = v + PLAN_WINO_PRODUCTS * plane, offsets[4];
    conv_offsets(g, offsets);
    plan_zero_border(y, arena);
    plan_winograd_pixels(x, rows, windows, arena, v);
    for (int64_t row = 0; row < y->h; row++) {
        for (int64_t part = 0; part < 2 * PLAN_WINO_PRODUCTS; part++) {
            int64_t t = part / 2, half = part % 2;
            const real *u = arena + g->packed * VL + t * terms * pitch;
            const real *pixels = v + t * plane + (2 * row + half) * x->c * line;
            real *to = m + half * d->k * filter + t * line;
            for (int64_t i = 0; i < windows; i += PLAN_WINO_WINDOWS) {
                /* the last windows start earlier and do some again */
                int64_t at = fc_min(i, windows - PLAN_WINO_WINDOWS) * VL, k = 0;
                for (; k + PLAN_WINO_FILTERS <= d->k; k += PLAN_WINO_FILTERS)
                    plan_winograd_sum(PLAN_WINO_FILTERS, terms, pixels + at, line, u + k, pitch,
                                      to + at + k * filter, filter);
                for (; k < d->k; k++)
                    plan_winograd_sum(1, terms, pixels + at, line, u + k, pitch,
                                      to + at + k * filter, filter);
            }
        }
        plan_winograd_pool(g, row, m, bias, offsets, arena);
    }
}
