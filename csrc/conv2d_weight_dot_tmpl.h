/* conv2d_weight_dot_tmpl.h - the gradient of a convolution's weights for few output channels (first
 * layers, groups of few channels), as dot products; included by conv2d_weight_tmpl.h.
 *
 * Vectors run along pixels, ROWS x TAPS dot products at a time, and lanes are summed once at the
 * end. Where images fill the lanes (conv2d_lanes_tmpl.h), the vectors are made of VL images, and no
 * lane is idle at the end of a row.
 */

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
        vr pixel = v_keep(n == VL ? v_load(x + shift[j]) : v_loadn(x + shift[j], n));
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

/* All taps of a plane for all m channels of dy, in tiles of at most DOT_ROWS x DOT_TAPS. Both are
 * cut evenly: a tile of few sums waits for its own additions. */
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

static void dot_execute(weight_run *r, int n_threads) {
    const shift_problem *s = &r->s;
    int64_t weights = r->split_sums, biases = s->groups * s->m;
    fc_parallel_shares(r->splits * s->groups, n_threads, dot_task, r);
    fill(r->dw, weights, 0);
    for (int64_t j = 0; j < r->splits; j++)
        for (int64_t i = 0; i < weights; i++) r->dw[i] += r->sums[j * weights + i];
    if (r->db == NULL) return;
    fill(r->db, biases, 0);
    for (int64_t j = 0; j < r->splits; j++)
        for (int64_t i = 0; i < biases; i++) r->db[i] += r->bias_sums[j * biases + i];
}
