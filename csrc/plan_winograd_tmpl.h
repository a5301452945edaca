/* plan_winograd_tmpl.h - forward pass of a block's convolution with rows of five taps + 2x2 max
 * pooling, in training, by Winograd's F(2,5) along the rows; included by plan_tmpl.h.
 *
 * The two columns of a pooling window are a tile: six products, of six transformed pixels and six
 * transformed taps, instead of ten. A row of windows makes, for each of the six,
 *
 *     m[half][k][window] = sum over ky, c of u[ky][c][k] * v[2 row + half + ky][c][window]
 *
 * where u is of the weights, transformed once a step, and v of the block's pixels. With v's
 * channels and windows side by side the terms of a sum lie one after another.
 */

#if N_REGISTERS == 32
#define WINO_OB 4 /* filters x windows whose sums are in registers */
#else
#define WINO_OB 2
#endif
#define WINO_PB 5
#define WINO_T 6 /* products of a tile */

INLINE int plan_winograd_used(const plan_run *r, const plan_stage *g) {
    return g->winograd && !r->batch->exact;
}

/* u: [product][ky][c][k], filters rounded up to whole vectors. */
static void plan_winograd_pack(const fc_plan_step *s, const real *w, real *u) {
    int64_t terms = s->kh * s->c, filters = fc_round_up(s->k, VL);
    for (int64_t i = 0; i < terms; i++)
        for (int64_t k = 0; k < s->k; k += VL) {
            const real *row = w + ((k * s->c + i % s->c) * s->kh + i / s->c) * 5;
            real taps[5][VL] = {{0}};
            vr in[5], out[WINO_T];
            for (int64_t o = 0; o < fc_min(VL, s->k - k); o++, row += s->c * s->kh * 5)
                for (int x = 0; x < 5; x++) taps[x][o] = row[x];
            UNROLL for (int x = 0; x < 5; x++) in[x] = v_load(taps[x]);
            wino_rows(WINO_T, 5, 2, WINOGRAD_G_2_5, in, out);
            UNROLL for (int t = 0; t < WINO_T; t++)
                v_store(u + (t * terms + i) * filters + k, out[t]);
        }
}

/* v: [product][row][c][window] of the first `rows` rows. */
static void winograd_pixels(const plan_tensor *x, int64_t rows, int64_t windows, const real *arena,
                            real *v) {
    int64_t plane = rows * x->c * windows * VL;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t c = 0; c < x->c; c++) {
            const real *from = arena + tensor_at(x, c, row, 0);
            for (int64_t i = 0; i < windows; i++, from += 2 * VL, v += VL) {
                vr in[WINO_T], out[WINO_T];
                UNROLL for (int t = 0; t < WINO_T; t++) in[t] = v_load(from + t * VL);
                wino_rows(WINO_T, WINO_T, 2, WINOGRAD_BT_2_5, in, out);
                UNROLL for (int t = 0; t < WINO_T; t++) v_store(v + t * plane, out[t]);
            }
        }
}

/* m[o][window] of ob filters and pb windows: sums of `terms` terms, which are v_step apart in v and
 * u_step in u. */
INLINE void winograd_sum(const int ob, const int pb, int64_t terms, const real *v, int64_t v_step,
                         const real *u, int64_t u_step, real *m, int64_t m_step) {
    vr sum[WINO_OB][WINO_PB];
    UNROLL for (int o = 0; o < ob; o++)
        UNROLL for (int p = 0; p < pb; p++) sum[o][p] = v_zero();
    for (int64_t i = 0; i < terms; i++, v += v_step, u += u_step) {
        vr tap[WINO_OB];
        UNROLL for (int o = 0; o < ob; o++) tap[o] = v_set1(u[o]);
        UNROLL for (int p = 0; p < pb; p++) {
            vr pixel = v_keep(v_load(v + p * VL));
            UNROLL for (int o = 0; o < ob; o++) sum[o][p] = v_fma(tap[o], pixel, sum[o][p]);
        }
    }
    UNROLL for (int o = 0; o < ob; o++)
        UNROLL for (int p = 0; p < pb; p++) v_store(m + o * m_step + p * VL, sum[o][p]);
}

/* Of all filters, for a row of windows. */
INLINE void winograd_row(const int pb, int64_t filters, int64_t terms, const real *v,
                         int64_t v_step, const real *u, int64_t u_step, real *m, int64_t m_step) {
    int64_t k = 0;
    for (; k + WINO_OB <= filters; k += WINO_OB)
        winograd_sum(WINO_OB, pb, terms, v, v_step, u + k, u_step, m + k * m_step, m_step);
    for (; k < filters; k++)
        winograd_sum(1, pb, terms, v, v_step, u + k, u_step, m + k * m_step, m_step);
}

static void plan_winograd_forward(const plan_run *r, const plan_stage *g, const real *bias,
                                  real *arena) {
    const fc_plan_step *d = g->step;
    const plan_tensor *x = &g->x, *y = &g->y;
    int64_t windows = y->w, terms = d->kh * d->c, rows = 2 * y->h + d->kh - 1;
    int64_t line = windows * VL, plane = rows * x->c * line, filters = fc_round_up(d->k, VL);
    real *v = arena + r->layout->scratch, *m = v + WINO_T * plane; /* m: [half][k][product][window] */
    const real *u = (const real *)r->shared + g->packed;
    real offsets[4];
    conv_offsets(g, offsets);
    plan_zero_border(y, arena);
    winograd_pixels(x, rows, windows, arena, v);
    for (int64_t row = 0; row < y->h; row++) {
        for (int t = 0; t < WINO_T; t++)
            for (int half = 0; half < 2; half++) {
                const real *terms_v = v + t * plane + (2 * row + half) * x->c * line;
                const real *terms_u = u + t * terms * filters;
                real *to = m + (half * d->k * WINO_T + t) * line;
                for (int64_t i = 0; i < windows; i += WINO_PB) {
                    /* The last windows start earlier and do some again. */
                    int64_t at = (windows < WINO_PB ? i : fc_min(i, windows - WINO_PB)) * VL;
                    if (windows >= WINO_PB)
                        winograd_row(WINO_PB, d->k, terms, terms_v + at, line, terms_u, filters,
                                     to + at, WINO_T * line);
                    for (int64_t p = 0; windows < WINO_PB && p < windows; p++)
                        winograd_row(1, d->k, terms, terms_v + p * VL, line, terms_u, filters,
                                     to + p * VL, WINO_T * line);
                }
            }
        for (int64_t k = 0; k < d->k; k++) {
            vr start = bias ? v_set1(bias[k]) : v_zero();
            real *to = arena + tensor_inside(y, k, row, 0), *best = to + (g->best - y->at) * VL;
            for (int64_t i = 0; i < line; i += VL) {
                vr pixel[4];
                UNROLL for (int half = 0; half < 2; half++) {
                    const real *products = m + (half * d->k + k) * WINO_T * line + i;
                    vr in[WINO_T];
                    UNROLL for (int t = 0; t < WINO_T; t++) in[t] = v_load(products + t * line);
                    wino_columns(WINO_T, 2, 2, WINOGRAD_A_2_5, in, pixel + 2 * half);
                    UNROLL for (int p = 2 * half; p < 2 * half + 2; p++)
                        pixel[p] = v_add(pixel[p], start);
                }
                conv_pool(pixel, d->relu, offsets, to + i, best + i);
            }
        }
    }
}
