/* conv2d_weight_tmpl.h - convolution backward with respect to the weights and the bias; compiled
 * per tier and real type.
 *
 *     dw[m][c][t] = sum over bands and their pixels q of  dy[m][q] * plane[c][q + shift(t)]
 *
 * Two ways, by the number of output channels of a group:
 *
 * outer (many): dy is transposed once per band to [pixel][output channels], so that a pixel is an
 * outer product of NV vectors of output channels and NP taps, summed in registers over the band:
 * no horizontal sums. Bands are handled in batches that stay in L2; per batch one
 * parallel loop packs, and one sums: a task of the second owns some taps of one panel of output
 * channels and adds the bands to its sums in their order. The x of 1x1 kernels of stride 1 is read as
 * it is.
 *
 * dot (few: depthwise, first layers): vectors run along pixels, ROWS x TAPS dot products at a time,
 * and lanes are summed once at the end.
 *
 * Where images fill the lanes (conv2d_lanes_tmpl.h), dot's vectors are made of VL images, and no lane
 * is idle at the end of a row.
 *
 * Where there are few tasks, the bands are dealt to `splits` sets of sums, added up in order at the
 * end. The number of splits follows from the shapes, so the bits do not depend on the threads.
 */

enum { DOT_ROWS = N_REGISTERS == 32 ? 4 : 2, DOT_TAPS = 5 };
enum { DOT_BUDGET = 24576 }; /* bytes of a part's pixels and of the rows of dy that meet them, for L1 */
enum { DY_BUDGET = 32768, BAND_PIXELS = 512, BATCH_BUDGET = 1 << 20, CHUNK_GROUPS = 16, MOST_SPLITS = 16 };
enum { PACK_CHANNELS = 32 }; /* of x, by one task */

typedef struct {
    shift_problem s;
    const fc_conv2d_desc *d;
    int dot, lanes;               /* lanes: dot, on images in lanes */
    int in_source;                /* outer: 1x1 kernels of stride 1 read x as it is */
    int64_t block, c0;            /* outer: source channels of a group at a time; the first of them */
    int64_t taps;                 /* of a block: channels * KH * KW */
    int64_t nv, np, panels;       /* vectors of a panel, taps of a tap group, panels of a group */
    int64_t tap_groups, chunk, chunks; /* tap groups of a panel; of a task; tasks of a panel */
    int64_t splits;
    int64_t panel_sums, split_sums;    /* strides of the sums */
    int64_t batch;                /* bands of a batch */
    int64_t part_rows;            /* rows of a band that are summed at a time: what they read fits L1 */
    int64_t band_x, band_dy, band_db;  /* reals of a band's x, transposed dy, bias sums */
    int64_t thread_reals;         /* dot: scratch of a thread */
    int64_t rows, bands;          /* lanes: output rows of a band, bands of an image */
    int64_t first_band, n_bands;  /* of the current batch */
    const real *dy, *x;
    real *dw, *db, *sums, *bias_sums, *packed_x, *packed_dy, *packed_db;
    int32_t *shifts;              /* outer: [channel][tap]; lanes: [tap], in reals */
} weight_run;

/* ---------------------------------------------------------------- outer: packing */

/* Transposes rows x cols of dy (rows row_stride apart) to [col][nv * VL], rows beyond `rows` zero,
 * and adds each column to bias[nv * VL]. */
static void transpose_row(const real *dy, int64_t row_stride, int64_t rows, int64_t cols,
                          int64_t nv, real *to, real *bias) {
    for (int64_t j = 0; j < nv; j++) {
        int64_t m0 = j * VL, have = fc_max(0, fc_min(VL, rows - m0));
        vr sum = v_load(bias + m0);
        for (int64_t col = 0; col < cols; col += VL) {
            int64_t n = fc_min(VL, cols - col);
            const real *from = dy + m0 * row_stride + col;
            vr r[VL];
            if (have == VL && n == VL) {
                UNROLL for (int i = 0; i < VL; i++) r[i] = v_load(from + i * row_stride);
            } else {
                UNROLL for (int i = 0; i < VL; i++)
                    r[i] = i < have ? v_loadn(from + i * row_stride, n) : v_zero();
            }
            v_transpose(r);
            UNROLL for (int i = 0; i < VL; i++) {
                if (i < n) {
                    sum = v_add(sum, r[i]);
                    v_store(to + (col + i) * nv * VL + m0, r[i]);
                }
            }
        }
        v_store(bias + m0, sum);
    }
}

/* Tasks that pack a band of a group: a panel of dy each, or some channels of x. */
INLINE int64_t weight_parts(const weight_run *r) {
    return r->panels + (r->in_source ? 0 : fc_ceil_div(r->s.channels, PACK_CHANNELS));
}

/* The x of a group from the block's first channel on, in image n. */
INLINE const real *weight_source(const weight_run *r, int64_t n, int64_t g) {
    int64_t channels = r->d->c / r->s.groups;
    return r->x + ((n * r->s.groups + g) * channels + r->c0) * r->s.y.source * r->s.x.source;
}

/* Item: one band of the batch, one group and one part of it. */
static void weight_pack_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const weight_run *r = arg;
    const shift_problem *s = &r->s;
    int64_t parts = weight_parts(r), part = item % parts, g = item / parts % s->groups;
    int64_t band = item / parts / s->groups;
    shift_band b = shift_get_band(s, r->first_band + band);
    if (part >= r->panels) {
        int64_t c0 = (part - r->panels) * PACK_CHANNELS;
        int64_t c1 = fc_min(c0 + PACK_CHANNELS, s->channels);
        int64_t plane = s->y.source * s->x.source, image = r->d->c * plane;
        const real *x = weight_source(r, b.n0, g);
        real *to = r->packed_x + band * r->band_x + g * s->channels * s->channel_stride;
        for (int64_t c = c0; c < c1; c++) {
            if (c + 1 < s->channels) prefetch_channel(s, &b, x + (c + 1) * plane);
            pack_channel(s, &b, x + c * plane, image, to + c * s->channel_stride);
        }
        return;
    }
    int64_t width = r->nv * VL, m0 = part * width, rows = fc_min(width, s->m - m0);
    int64_t plane = s->y.out * s->x.out, pixels = r->band_dy / (s->groups * r->panels * width);
    real *to = r->packed_dy + band * r->band_dy + (g * r->panels + part) * pixels * width;
    real *bias = r->packed_db + band * r->band_db + (g * r->panels + part) * width;
    fill(bias, width, 0);
    for (int64_t n = b.n0; n < b.n0 + b.images; n++) {
        for (int64_t y = b.y0; y < b.y0 + b.rows; y++, to += b.cols * width) {
            const real *dy = r->dy + ((n * s->groups + g) * s->m + m0) * plane + y * s->x.out + b.x0;
            transpose_row(dy, plane, rows, b.cols, r->nv, to, bias);
        }
    }
}

/* Item: a split, a group, a panel and a chunk of its tap groups: adds the batch's bands. */
static void weight_sum_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const weight_run *r = arg;
    const shift_problem *s = &r->s;
    int64_t chunk = item % r->chunks, panel = item / r->chunks % r->panels;
    int64_t g = item / r->chunks / r->panels % s->groups;
    int64_t split = item / r->chunks / r->panels / s->groups;
    int64_t t0 = chunk * r->chunk, t1 = fc_min(t0 + r->chunk, r->tap_groups);
    int64_t width = r->nv * VL, tile = r->np * width;
    int64_t pixels = r->band_dy / (s->groups * r->panels * width);
    real *sums = r->sums + split * r->split_sums + (g * r->panels + panel) * r->panel_sums;
    if (r->first_band == 0) fill(sums + t0 * tile, (t1 - t0) * tile, 0);
    int64_t band = (split + r->splits - r->first_band % r->splits) % r->splits;
    for (; band < r->n_bands; band += r->splits) {
        shift_band b = shift_get_band(s, r->first_band + band);
        const real *x = r->packed_x + band * r->band_x + g * s->channels * s->channel_stride;
        if (r->in_source) x = weight_source(r, b.n0, g) + b.x0;
        const real *dy = r->packed_dy + band * r->band_dy + (g * r->panels + panel) * pixels * width;
        shift_band part = b;
        for (int64_t row = 0; row < b.rows; row += part.rows) {
            part.rows = b.images > 1 ? b.rows : fc_min(r->part_rows, b.rows - row);
            outer_pixels at = {.images = part.images, .rows = part.rows, .cols = part.cols,
                               .step = 1, .row = s->pitch, .image = s->image_rows * s->pitch};
            if (r->in_source) at.image = r->d->c * s->x.source;
            /* Rows, and images, that follow each other are one row. */
            if (at.cols == at.row) at.cols *= at.rows, at.row *= at.rows, at.rows = 1;
            if (at.cols == at.image) at.cols *= at.images, at.images = 1;
            for (int64_t t = t0; t < t1; t++)
                OUTER_KERNELS[r->nv - 1](&at, x + row * s->pitch, r->shifts + t * r->np,
                                         dy + row * b.cols * width, sums + t * tile, 1);
        }
    }
}

/* Item: a group, a panel and a chunk of tap groups: dw = the splits' sums, in order. */
static void weight_store_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const weight_run *r = arg;
    const shift_problem *s = &r->s;
    int64_t chunk = item % r->chunks, panel = item / r->chunks % r->panels;
    int64_t g = item / r->chunks / r->panels;
    int64_t width = r->nv * VL, m0 = panel * width, rows = fc_min(width, s->m - m0);
    int64_t j0 = chunk * r->chunk * r->np, j1 = fc_min(j0 + r->chunk * r->np, r->taps);
    int64_t kernel = s->y.taps * s->x.taps, dw_row = r->d->c / s->groups * kernel;
    const real *sums = r->sums + (g * r->panels + panel) * r->panel_sums;
    for (int64_t m = 0; m < rows; m += VL) {
        real *dw = r->dw + (g * s->m + m0 + m) * dw_row + r->c0 * kernel;
        int64_t have = fc_min(VL, rows - m);
        for (int64_t j = j0; j < j1; j += VL) { /* VL taps of VL channels, transposed */
            int64_t n = fc_min(VL, j1 - j);
            vr t[VL];
            UNROLL for (int l = 0; l < VL; l++) {
                t[l] = v_zero();
                for (int64_t i = 0; l < n && i < r->splits; i++)
                    t[l] = v_add(t[l], v_load(sums + i * r->split_sums + (j + l) * width + m));
            }
            v_transpose(t);
            UNROLL for (int l = 0; l < VL; l++)
                if (l < have) v_storen(dw + l * dw_row + j, t[l], n);
        }
    }
}

/* ---------------------------------------------------------------- dot */

/* The pixels of one image of a band: rows x cols; rows of dy and of a plane so far apart. */
typedef struct {
    int64_t rows, cols, dy_row, x_row;
} dot_pixels;

INLINE void dot_step(const int ms, const int taps, const real *dy, int64_t dy_plane, const real *x,
                     const int32_t *shift, int64_t n, vr acc[DOT_ROWS][DOT_TAPS]) {
    vr d[DOT_ROWS];
    UNROLL for (int i = 0; i < ms; i++)
        d[i] = n == VL ? v_load(dy + i * dy_plane) : v_loadn(dy + i * dy_plane, n);
    UNROLL for (int j = 0; j < taps; j++) { /* masked on both sides: 0 * NaN would show */
        vr pixel = n == VL ? v_load(x + shift[j]) : v_loadn(x + shift[j], n);
        UNROLL for (int i = 0; i < ms; i++) acc[i][j] = v_fma(d[i], pixel, acc[i][j]);
    }
}

/* sums[m][tap][VL] += over the pixels, for ms channels of dy and some taps. */
INLINE void dot_tile(const int ms, const int taps, const dot_pixels *at, const real *dy,
                     int64_t dy_plane, const real *x, const int32_t *shift, real *sums,
                     int64_t sums_row) {
    vr acc[DOT_ROWS][DOT_TAPS];
    UNROLL for (int i = 0; i < ms; i++) {
        UNROLL for (int j = 0; j < taps; j++) acc[i][j] = v_load(sums + i * sums_row + j * VL);
    }
    for (int64_t row = 0; row < at->rows; row++, dy += at->dy_row, x += at->x_row) {
        int64_t col = 0;
        for (; col + VL <= at->cols; col += VL)
            dot_step(ms, taps, dy + col, dy_plane, x + col, shift, VL, acc);
        if (col < at->cols)
            dot_step(ms, taps, dy + col, dy_plane, x + col, shift, at->cols - col, acc);
    }
    UNROLL for (int i = 0; i < ms; i++) {
        UNROLL for (int j = 0; j < taps; j++) v_store(sums + i * sums_row + j * VL, acc[i][j]);
    }
}

typedef void (*dot_kernel)(const dot_pixels *at, const real *dy, int64_t dy_plane, const real *x,
                           const int32_t *shift, real *sums, int64_t sums_row);
#define DOT_KERNEL(ms, taps)                                                                   \
    static void dot_##ms##x##taps(const dot_pixels *at, const real *dy, int64_t dy_plane,      \
                                  const real *x, const int32_t *shift, real *sums,             \
                                  int64_t sums_row) {                                          \
        dot_tile(ms, taps, at, dy, dy_plane, x, shift, sums, sums_row);                        \
    }
#define DOT_KERNELS_OF(ms)                                                                     \
    DOT_KERNEL(ms, 1) DOT_KERNEL(ms, 2) DOT_KERNEL(ms, 3) DOT_KERNEL(ms, 4) DOT_KERNEL(ms, 5)
#define DOT_ROW(ms) {dot_##ms##x1, dot_##ms##x2, dot_##ms##x3, dot_##ms##x4, dot_##ms##x5}
DOT_KERNELS_OF(1) DOT_KERNELS_OF(2)
#if N_REGISTERS == 32
DOT_KERNELS_OF(3) DOT_KERNELS_OF(4)
static const dot_kernel DOT_KERNELS[DOT_ROWS][DOT_TAPS] = {DOT_ROW(1), DOT_ROW(2), DOT_ROW(3),
                                                           DOT_ROW(4)};
#else
static const dot_kernel DOT_KERNELS[DOT_ROWS][DOT_TAPS] = {DOT_ROW(1), DOT_ROW(2)};
#endif

/* All taps of a plane for all m channels of dy, in tiles of at most DOT_ROWS x DOT_TAPS. Both are cut
 * evenly: a tile of few sums waits for its own additions. */
static void dot_plane(int64_t m, int64_t taps, const dot_pixels *at, const real *dy,
                      int64_t dy_plane, const real *x, const int32_t *shift, real *sums,
                      int64_t sums_row) {
    int64_t rows = fc_ceil_div(m, DOT_ROWS), cols = fc_ceil_div(taps, DOT_TAPS);
    int64_t least_rows = m / rows, more_rows = m % rows, least_taps = taps / cols, ms, ts;
    for (int64_t m0 = 0; m0 < m; m0 += ms) {
        ms = least_rows + (more_rows-- > 0);
        for (int64_t t0 = 0, more_taps = taps % cols; t0 < taps; t0 += ts) {
            ts = least_taps + (more_taps-- > 0);
            DOT_KERNELS[ms - 1][ts - 1](at, dy + m0 * dy_plane, dy_plane, x, shift + t0,
                                        sums + m0 * sums_row + t0 * VL, sums_row);
        }
    }
}

static void dot_bias(const dot_pixels *at, const real *dy, real *bias) {
    vr sum = v_load(bias);
    for (int64_t row = 0; row < at->rows; row++, dy += at->dy_row) {
        for (int64_t col = 0; col < at->cols; col += VL)
            sum = v_add(sum, v_loadn(dy + col, at->cols - col));
    }
    v_store(bias, sum);
}

/* The same of n whole vectors: four sums, for none to wait for its own last addition. */
static void dot_bias_lanes(int64_t n, const real *dy, real *bias) {
    vr sum[4] = {v_load(bias), v_zero(), v_zero(), v_zero()};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        UNROLL for (int j = 0; j < 4; j++) sum[j] = v_add(sum[j], v_load(dy + (i + j) * VL));
    for (; i < n; i++) sum[0] = v_add(sum[0], v_load(dy + i * VL));
    v_store(bias, v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}

/* to[i] = the lanes' sum of vector i, by VL vectors, in the order of v_hsum; `to` may be `sums`. */
static void sum_lanes(const real *sums, int64_t n, real *to) {
    for (int64_t i = 0; i < n; i += VL) {
        vr v[VL];
        UNROLL for (int k = 0; k < VL; k++)
            v[k] = i + k < n ? v_load(sums + (i + k) * VL) : v_zero();
        v_transpose(v);
        UNROLL for (int half = VL / 2; half > 0; half /= 2)
            UNROLL for (int k = 0; k < half; k++) v[k] = v_add(v[k], v[k + half]);
        v_storen(to + i, v[0], n - i);
    }
}

/* The bands of a split on images in lanes, added to sums[m][taps][VL] and bias[m][VL]. */
static void dot_lanes(const weight_run *r, int64_t split, int64_t g, real *planes, real *dy,
                      real *sums, real *bias) {
    const shift_problem *s = &r->s;
    int64_t kernel = s->y.taps * s->x.taps, cols = s->x.out;
    int64_t src = s->y.source * s->x.source, src_image = s->groups * s->channels * src;
    int64_t out = s->y.out * cols, out_image = s->groups * s->m * out;
    int64_t units = fc_ceil_div(s->n, VL) * r->bands;
    for (int64_t unit = split; unit < units; unit += r->splits) {
        int64_t n0 = unit / r->bands * VL, images = fc_min(VL, s->n - n0);
        int64_t y0 = unit % r->bands * r->rows, rows = fc_min(r->rows, s->y.q - y0);
        const real *from = r->dy + n0 * out_image + g * s->m * out + y0 * cols;
        for (int64_t m = 0; m < s->m; m++) {
            lanes_turn(from + m * out, out_image, images, rows * cols, dy + m * rows * cols * VL);
            dot_bias_lanes(rows * cols, dy + m * rows * cols * VL, bias + m * VL);
        }
        from = r->x + n0 * src_image + g * s->channels * src;
        for (int64_t c = 0; c < s->channels; c++) {
            lanes_pack(s, from + c * src, src_image, images, y0, rows + s->y.max_shift, planes);
            for (int64_t row = 0; row < rows; row += r->part_rows) {
                dot_pixels at = {fc_min(r->part_rows, rows - row), cols * VL, cols * VL,
                                 s->pitch * VL};
                dot_plane(s->m, kernel, &at, dy + row * cols * VL, rows * cols * VL,
                          planes + row * s->pitch * VL, r->shifts, sums + c * kernel * VL,
                          r->taps * VL);
            }
        }
    }
}

/* Item: a split and a group: all bands of the split, start to end; sums and bias sums of a split
 * are scalars, [m][taps] and [m]. */
static void dot_task(void *arg, int64_t item, int thread) {
    const weight_run *r = arg;
    const shift_problem *s = &r->s;
    int64_t split = item / s->groups, g = item % s->groups, kernel = s->y.taps * s->x.taps;
    int64_t src = s->y.source * s->x.source, src_image = s->groups * s->channels * src;
    int64_t out = s->y.out * s->x.out, row_sums = r->taps * VL;
    real *planes = r->packed_x + thread * r->thread_reals;
    real *sums = planes + s->channel_stride, *bias = sums + s->m * row_sums;
    fill(sums, s->m * (row_sums + VL), 0);
    if (r->lanes) dot_lanes(r, split, g, planes, bias + s->m * VL, sums, bias);
    for (int64_t band = split; !r->lanes && band < shift_bands(s); band += r->splits) {
        shift_band b = shift_get_band(s, band);
        dot_pixels at = {b.rows, b.cols, s->x.out, s->pitch};
        for (int64_t c = 0; c < s->channels; c++) {
            const real *x = r->x + b.n0 * src_image + (g * s->channels + c) * src;
            pack_channel(s, &b, x, src_image, planes);
            for (int64_t n = 0; n < b.images; n++) {
                const real *dy = r->dy + ((b.n0 + n) * s->groups + g) * s->m * out +
                                 b.y0 * s->x.out + b.x0;
                dot_plane(s->m, kernel, &at, dy, out, planes + n * s->image_rows * s->pitch,
                          s->tap_shift, sums + c * kernel * VL, row_sums);
                for (int64_t m = 0; c == 0 && m < s->m; m++)
                    dot_bias(&at, dy + m * out, bias + m * VL);
            }
        }
    }
    real *to = r->sums + split * r->split_sums + g * s->m * r->taps;
    sum_lanes(sums, s->m * r->taps, to);
    real *to_bias = r->bias_sums + (split * s->groups + g) * s->m;
    sum_lanes(bias, s->m, to_bias);
}

/* ---------------------------------------------------------------- driver */

/* 1 if images in lanes serve this shape best. */
static int weight_plan_lanes(weight_run *r) {
    shift_problem *s = &r->s;
    if (!lanes_fit(s) || s->y.step * s->x.step > 1 || s->m > VL) return 0;
    lanes_pitch(s);
    r->rows = lanes_rows(s, s->pitch + s->m * s->x.out, 1);
    if (r->rows == 0 || s->m * r->taps * VL * (int64_t)sizeof(real) > LANES_SUMS) return 0;
    r->dot = r->lanes = 1;
    r->bands = fc_ceil_div(s->y.q, r->rows);
    int64_t fit = DOT_BUDGET / (VL * (int64_t)sizeof(real)) - s->y.max_shift * s->pitch;
    r->part_rows = fc_max(1, fit / (s->pitch + DOT_ROWS * s->x.out));
    s->channel_stride = ((r->rows + s->y.max_shift) * s->pitch + s->x.max_shift) * VL;
    r->tap_groups = s->y.taps * s->x.taps, r->np = 1; /* shifts of one channel */
    r->splits = fc_min(fc_ceil_div(MOST_SPLITS, s->groups), fc_ceil_div(s->n, VL) * r->bands);
    r->split_sums = s->groups * s->m * r->taps;
    int64_t dy = s->m * r->rows * s->x.out * VL;
    r->thread_reals = fc_round_up(s->channel_stride + s->m * (r->taps + 1) * VL + dy, 16);
    return 1;
}

static void weight_plan(weight_run *r, const fc_conv2d_desc *d) {
    shift_problem *s = &r->s;
    int64_t size = sizeof(real);
    *r = (weight_run){.d = d};
    shift_forward(d, s);
    r->taps = s->channels * s->y.taps * s->x.taps;
    int in_source = direct_choose_tiles(s) == IN_SOURCE;
    if (in_source) direct_join_rows(s);
    if (weight_plan_lanes(r)) return;
    r->dot = s->m <= VL / 2;
    int64_t phases = s->y.phases * s->x.phases, all;
    if (r->dot) {
        shift_cut_bands(s, fc_max(VL, fc_min(4096, PLANES_BUDGET / (phases * size))), VL);
        r->splits = fc_ceil_div(MOST_SPLITS, s->groups);
        r->splits = fc_max(1, fc_min(r->splits, shift_bands(s)));
        r->split_sums = s->groups * s->m * r->taps;
        r->thread_reals = fc_round_up(s->channel_stride + s->m * (r->taps + 1) * VL, 16);
        return;
    }
    outer_panels panels = outer_panels_of(s->m);
    r->panels = panels.count;
    r->nv = panels.nv;
    r->np = panels.np;
    int64_t width = r->nv * VL;
    int64_t at_once = DY_BUDGET / (width * size);
    int64_t q_target = fc_max(at_once, BAND_PIXELS);
    if (s->y.q == 1 && s->x.q > q_target) /* even bands of a long row */
        q_target = fc_ceil_div(s->x.q, fc_ceil_div(s->x.q, q_target));
    shift_cut_bands(s, q_target, 1);
    r->in_source = in_source && r->taps == s->channels && s->y.source == 1 &&
                   s->x.q == s->x.source && s->channels <= INT32_MAX / s->x.source; /* int32 shifts */
    if (r->in_source) s->channel_stride = s->x.source;
    /* Wide kernels and dilations make tall planes: then not all channels at a time. */
    r->block = s->channels;
    if (!r->in_source)
        r->block = fc_max(1, fc_min(r->block, BLOCK_REALS / (s->groups * s->channel_stride)));
    s->channels = r->block;
    r->taps = s->channels * s->y.taps * s->x.taps;
    r->part_rows = fc_max(1, at_once / s->band_cols);
    r->tap_groups = fc_ceil_div(r->taps, r->np);
    r->chunk = fc_min(CHUNK_GROUPS, fc_max(1, s->groups * r->panels * r->tap_groups / TASKS_WANTED));
    r->chunks = fc_ceil_div(r->tap_groups, r->chunk);
    all = s->groups * r->panels * r->chunks;
    r->panel_sums = r->tap_groups * r->np * width;
    r->split_sums = s->groups * r->panels * r->panel_sums;
    int64_t pixels = s->band_images * s->band_rows * s->band_cols;
    r->band_x = s->groups * s->channels * (r->in_source ? pixels : s->channel_stride);
    r->band_dy = s->groups * r->panels * pixels * width;
    r->band_db = s->groups * r->panels * width;
    r->batch = BATCH_BUDGET / ((r->band_x + r->band_dy) * size);
    r->batch = fc_max(1, fc_min(r->batch, shift_bands(s)));
    r->splits = all >= TASKS_WANTED ? 1 : fc_ceil_div(TASKS_WANTED, all);
    r->splits = fc_max(1, fc_min(r->splits, r->batch));
}

static int64_t weight_layout(weight_run *r, char *base, int n_threads) {
    const shift_problem *s = &r->s;
    int64_t size = sizeof(real), at = 0, tables, shifts, sums, bias, x, dy, db;
    int64_t padded = r->tap_groups * r->np;
    if (fc_mul(fc_max(r->block, 1), s->channel_stride) > INT32_MAX) return -1; /* shifts are int32 */
    tables = at;
    at = fc_round_up(fc_add(at, fc_mul(shift_table_ints(s), 4)), 64);
    shifts = at;
    at = fc_round_up(fc_add(at, fc_mul(padded, 4)), 64);
    sums = at;
    at = fc_round_up(fc_add(at, fc_mul(fc_mul(r->splits, r->split_sums), size)), 64);
    bias = at;
    int64_t biases = r->dot ? r->splits * s->groups * s->m : r->band_db;
    at = fc_round_up(fc_add(at, fc_mul(biases, size)), 64);
    x = at;
    int64_t reals = r->dot ? fc_mul(r->thread_reals, n_threads) : fc_mul(r->batch, r->band_x);
    if (r->in_source) reals = 0;
    at = fc_round_up(fc_add(at, fc_mul(reals, size)), 64);
    dy = at;
    at = fc_round_up(fc_add(at, fc_mul(fc_mul(r->batch, r->band_dy), size)), 64);
    db = at;
    at = fc_add(at, fc_mul(fc_mul(r->batch, r->band_db), size));
    if (base != NULL) {
        shift_list_taps(&r->s, (int32_t *)(base + tables));
        r->shifts = (int32_t *)(base + shifts);
        r->sums = (real *)(base + sums);
        r->bias_sums = (real *)(base + bias);
        r->packed_x = (real *)(base + x);
        r->packed_dy = (real *)(base + dy);
        r->packed_db = (real *)(base + db);
        int64_t kernel = s->y.taps * s->x.taps;
        for (int64_t j = 0; j < padded; j++) /* taps beyond the last are computed and left out */
            r->shifts[j] = j >= r->taps ? 0
                                        : (int32_t)(j / kernel * s->channel_stride) +
                                              s->tap_shift[j % kernel] * (r->lanes ? VL : 1);
    }
    return at;
}

/* One block of source channels: the whole gradient but for tall planes. */
static void outer_block(weight_run *r, int n_threads) {
    const shift_problem *s = &r->s;
    int64_t bands = shift_bands(s), tasks = s->groups * r->panels * r->chunks;
    fill(r->bias_sums, r->band_db, 0);
    if (bands == 0) fill(r->sums, r->splits * r->split_sums, 0);
    for (r->first_band = 0; r->first_band < bands; r->first_band += r->batch) {
        r->n_bands = fc_min(r->batch, bands - r->first_band);
        fc_parallel(r->n_bands * s->groups * weight_parts(r), n_threads, weight_pack_task, r);
        fc_parallel(r->splits * tasks, n_threads, weight_sum_task, r);
        for (int64_t i = 0; i < r->n_bands; i++) {
            for (int64_t j = 0; j < r->band_db; j++)
                r->bias_sums[j] += r->packed_db[i * r->band_db + j];
        }
    }
    fc_parallel(tasks, n_threads, weight_store_task, r);
}

static void outer_execute(weight_run *r, int n_threads) {
    shift_problem *s = &r->s;
    int64_t channels = r->d->c / s->groups, width = r->nv * VL;
    for (r->c0 = 0; r->c0 < channels; r->c0 += r->block) {
        s->channels = fc_min(r->block, channels - r->c0);
        r->taps = s->channels * s->y.taps * s->x.taps;
        outer_block(r, n_threads);
    }
    for (int64_t i = 0; r->db != NULL && i < s->groups * s->m; i++)
        r->db[i] = r->bias_sums[i / s->m * r->panels * width + i % s->m];
}

static void dot_execute(weight_run *r, int n_threads) {
    const shift_problem *s = &r->s;
    int64_t weights = r->split_sums, biases = s->groups * s->m;
    fc_parallel(r->splits * s->groups, n_threads, dot_task, r);
    fill(r->dw, weights, 0);
    for (int64_t j = 0; j < r->splits; j++)
        for (int64_t i = 0; i < weights; i++) r->dw[i] += r->sums[j * weights + i];
    if (r->db == NULL) return;
    fill(r->db, biases, 0);
    for (int64_t j = 0; j < r->splits; j++)
        for (int64_t i = 0; i < biases; i++) r->db[i] += r->bias_sums[j * biases + i];
}

static void weight_execute(weight_run *r, const real *dy, const real *x, real *dw, real *db,
                           char *workspace, int n_threads) {
    weight_layout(r, workspace, n_threads);
    r->dy = dy, r->x = x, r->dw = dw, r->db = db;
    if (r->dot)
        dot_execute(r, n_threads);
    else
        outer_execute(r, n_threads);
}
