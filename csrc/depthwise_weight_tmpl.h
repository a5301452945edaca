/* depthwise_weight_tmpl.h - convolution of single planes (depthwise_tmpl.h), backward with respect
 * to the weights and the bias; compiled per tier and real type.
 *
 *     dw[c][t] = sum over images, rows and columns q of  dy[n][c][q] * plane[n][c][q + shift(t)]
 *
 * The planes are forward's packed bands, and stay in L1 while groups of taps go over them: each
 * group has its sums in registers, vectors along the columns, and reads a vector of dy once for all
 * of them. A 3x3 window is one group, and reads each pixel once for several rows of dy. Between
 * planes the sums wait as vectors; lanes are added up once, at the end.
 *
 * Threads: a task owns a block of channels, whose planes lie side by side, in some of the images,
 * and goes through them in the order of memory. Where channels are few, the images are dealt to
 * `splits` sets of sums that are added in order at the end. All of this follows from the shapes, so
 * the bits do not depend on the threads.
 */

#if N_REGISTERS == 32
enum { DEPTHWISE_GROUP = 13 };
#else
enum { DEPTHWISE_GROUP = 10 };
#endif
enum { DEPTHWISE_CHANNELS = 16, DEPTHWISE_TASKS = 16 };

/* sums[taps][VL] += dy times the source at the taps' shifts, and sums[taps] += dy. */
typedef void (*depthwise_dot_kernel)(int64_t rows, int64_t cols, const real *dy, const real *src,
                                     int64_t pitch, const int32_t *shift, real *sums);

INLINE void depthwise_dot(const int taps, int64_t rows, int64_t cols, const real *dy,
                          const real *src, int64_t pitch, const int32_t *shift, real *sums) {
    vr acc[DEPTHWISE_GROUP + 1];
    UNROLL for (int t = 0; t <= taps; t++) acc[t] = v_load(sums + t * VL);
    for (int64_t row = 0; row < rows; row++, dy += cols, src += pitch) {
        int64_t q = 0;
        for (; q + VL <= cols; q += VL) {
            vr d = v_load(dy + q);
            UNROLL for (int t = 0; t < taps; t++)
                acc[t] = v_fma(d, v_load(src + shift[t] + q), acc[t]);
            acc[taps] = v_add(acc[taps], d);
        }
        if (q < cols) { /* masked on both sides: 0 * NaN would show */
            vr d = v_loadn(dy + q, cols - q);
            UNROLL for (int t = 0; t < taps; t++)
                acc[t] = v_fma(d, v_loadn(src + shift[t] + q, cols - q), acc[t]);
            acc[taps] = v_add(acc[taps], d);
        }
    }
    UNROLL for (int t = 0; t <= taps; t++) v_store(sums + t * VL, acc[t]);
}

/* The 3x3 window without holes, at stride 1 or 2: some rows of dy at a time, for which each source
 * pixel is loaded once; acc[9] sums dy. n columns, masked on both sides: 0 * NaN would show. */
INLINE void depthwise_dot_block(const int stride, const int rows, int64_t n, const real *dy,
                                int64_t dy_row, const real *src, int64_t pitch, int64_t phase,
                                const int32_t *shift, vr acc[10]) {
    vr d[WINDOW_ROWS];
    UNROLL for (int r = 0; r < rows; r++) {
        d[r] = v_loadn(dy + r * dy_row, n);
        acc[9] = v_add(acc[9], d[r]);
    }
    UNROLL for (int i = 0; i < (rows - 1) * stride + 3; i++) {
        const real *row = src + i / stride * pitch + i % stride * phase;
        UNROLL for (int j = 0; j < 3; j++) {
            vr pixel = v_loadn(row + shift[j], n);
            UNROLL for (int r = 0; r < rows; r++) {
                int k = i - r * stride;
                if (k >= 0 && k < 3) acc[3 * k + j] = v_fma(d[r], pixel, acc[3 * k + j]);
            }
        }
    }
}

INLINE void depthwise_dot_window(const int stride, int64_t rows, int64_t cols, const real *dy,
                                 const real *src, int64_t pitch, const int32_t *shift,
                                 real *sums) {
    int64_t phase = shift[stride == 2 ? 3 : 0] - shift[0], tail = cols % VL;
    vr acc[10];
    UNROLL for (int t = 0; t < 10; t++) acc[t] = v_load(sums + t * VL);
    for (; rows >= WINDOW_ROWS; rows -= WINDOW_ROWS) {
        int64_t q = 0;
        for (; q + VL <= cols; q += VL)
            depthwise_dot_block(stride, WINDOW_ROWS, VL, dy + q, cols, src + q, pitch, phase, shift,
                                acc);
        if (tail > 0)
            depthwise_dot_block(stride, WINDOW_ROWS, tail, dy + q, cols, src + q, pitch, phase,
                                shift, acc);
        dy += WINDOW_ROWS * cols;
        src += WINDOW_ROWS * pitch;
    }
    for (; rows > 0; rows--, dy += cols, src += pitch) {
        int64_t q = 0;
        for (; q + VL <= cols; q += VL)
            depthwise_dot_block(stride, 1, VL, dy + q, 0, src + q, pitch, phase, shift, acc);
        if (tail > 0)
            depthwise_dot_block(stride, 1, tail, dy + q, 0, src + q, pitch, phase, shift, acc);
    }
    UNROLL for (int t = 0; t < 10; t++) v_store(sums + t * VL, acc[t]);
}

#define DEPTHWISE_DOT(name, function, constant)                                                   \
    static void depthwise_dot_##name(int64_t rows, int64_t cols, const real *dy, const real *src, \
                                     int64_t pitch, const int32_t *shift, real *sums) {           \
        function(constant, rows, cols, dy, src, pitch, shift, sums);                              \
    }
#define DEPTHWISE_DOT_TAPS(taps) DEPTHWISE_DOT(taps, depthwise_dot, taps)
DEPTHWISE_DOT_TAPS(1) DEPTHWISE_DOT_TAPS(2) DEPTHWISE_DOT_TAPS(3) DEPTHWISE_DOT_TAPS(4)
DEPTHWISE_DOT_TAPS(5) DEPTHWISE_DOT_TAPS(6) DEPTHWISE_DOT_TAPS(7) DEPTHWISE_DOT_TAPS(8)
DEPTHWISE_DOT_TAPS(9) DEPTHWISE_DOT_TAPS(10)
#if N_REGISTERS == 32
DEPTHWISE_DOT_TAPS(11) DEPTHWISE_DOT_TAPS(12) DEPTHWISE_DOT_TAPS(13)
#endif
DEPTHWISE_DOT(window_1, depthwise_dot_window, 1)
DEPTHWISE_DOT(window_2, depthwise_dot_window, 2)
static const depthwise_dot_kernel DEPTHWISE_DOTS[DEPTHWISE_GROUP] = {
    depthwise_dot_1, depthwise_dot_2, depthwise_dot_3, depthwise_dot_4,  depthwise_dot_5,
    depthwise_dot_6, depthwise_dot_7, depthwise_dot_8, depthwise_dot_9,  depthwise_dot_10,
#if N_REGISTERS == 32
    depthwise_dot_11, depthwise_dot_12, depthwise_dot_13,
#endif
};

typedef struct {
    depthwise_plane plane;
    int64_t n, channels, taps;
    int64_t group, groups;         /* taps of a group, groups */
    depthwise_dot_kernel window;   /* for all taps, if they are a 3x3 window */
    int64_t channel_sums;          /* reals: a group's sums and its sum of dy, for each group */
    int64_t block, blocks, splits; /* channels of a task, tasks of a split, splits */
    int64_t thread_reals;
    const real *dy, *x;
    real *dw, *db, *scratch, *sums; /* sums: [split][channel][taps + 1] */
} depthwise_weight_run;

/* Adds one plane to the sums of its channel. */
static void depthwise_weight_plane(const depthwise_weight_run *r, const real *dy, const real *x,
                                   real *packed, real *sums) {
    const shift_problem *s = &r->plane.s;
    for (int64_t i = 0; i < s->row_bands; i++) {
        shift_band b = depthwise_get_band(s, i);
        depthwise_pack(&r->plane, &b, x, packed);
        for (int64_t g = 0; g < r->groups; g++) {
            int64_t t0 = g * r->group, n = fc_min(r->group, r->taps - t0);
            depthwise_dot_kernel dot = r->window != NULL ? r->window : DEPTHWISE_DOTS[n - 1];
            dot(b.rows, b.cols, dy + b.y0 * s->x.out, packed, s->pitch,
                s->tap_shift + t0, sums + g * (r->group + 1) * VL);
        }
    }
}

static void depthwise_weight_task(void *arg, int64_t item, int thread) {
    const depthwise_weight_run *r = arg;
    const shift_problem *s = &r->plane.s;
    int64_t split = item / r->blocks, c0 = item % r->blocks * r->block;
    int64_t c1 = fc_min(c0 + r->block, r->channels);
    int64_t x_plane = s->y.source * s->x.source, dy_plane = s->y.out * s->x.out;
    real *packed = r->scratch + thread * r->thread_reals;
    real *sums = packed + r->plane.reals;
    fill(packed, r->thread_reals, 0);
    for (int64_t n = r->n * split / r->splits; n < r->n * (split + 1) / r->splits; n++) {
        for (int64_t c = c0; c < c1; c++) {
            int64_t plane = n * r->channels + c;
            depthwise_weight_plane(r, r->dy + plane * dy_plane, r->x + plane * x_plane, packed,
                                   sums + (c - c0) * r->channel_sums);
        }
    }
    real *to = r->sums + (split * r->channels + c0) * (r->taps + 1);
    for (int64_t c = c0; c < c1; c++, sums += r->channel_sums) {
        for (int64_t t = 0; t < r->taps; t++)
            *to++ = v_hsum(v_load(sums + (t / r->group + t) * VL));
        *to++ = v_hsum(v_load(sums + fc_min(r->group, r->taps) * VL));
    }
}

static int depthwise_weight_plan(depthwise_weight_run *r, const fc_conv2d_desc *d) {
    shift_problem *s = &r->plane.s;
    if (!depthwise_serves(d)) return 0;
    shift_forward(d, s);
    if (!depthwise_cut(&r->plane)) return 0;
    r->n = d->n;
    r->channels = d->c;
    r->taps = d->kh * d->kw;
    r->groups = fc_ceil_div(r->taps, DEPTHWISE_GROUP);
    r->group = fc_ceil_div(r->taps, r->groups);
    r->window = NULL;
    if (depthwise_window_size(s) == 3)
        r->window = s->x.step == 1 ? depthwise_dot_window_1 : depthwise_dot_window_2;
    r->channel_sums = r->groups * (r->group + 1) * VL;
    r->block = fc_min(DEPTHWISE_CHANNELS, fc_ceil_div(r->channels, DEPTHWISE_TASKS));
    r->blocks = fc_ceil_div(r->channels, r->block);
    r->splits = fc_max(1, fc_min(r->n, fc_ceil_div(DEPTHWISE_TASKS, r->blocks)));
    r->thread_reals = r->plane.reals + r->block * r->channel_sums;
    return 1;
}

static int64_t depthwise_weight_layout(depthwise_weight_run *r, char *base, int n_threads) {
    int64_t size = sizeof(real);
    int64_t sums = fc_round_up(fc_mul(shift_table_ints(&r->plane.s), 4), 64);
    int64_t n_sums = fc_mul(fc_mul(r->splits, r->channels), r->taps + 1);
    int64_t scratch = fc_round_up(fc_add(sums, fc_mul(n_sums, size)), 64);
    if (base != NULL) {
        shift_list_taps(&r->plane.s, (int32_t *)base);
        r->sums = (real *)(base + sums);
        r->scratch = (real *)(base + scratch);
    }
    return fc_add(scratch, fc_mul(fc_mul(r->thread_reals, size), n_threads));
}

static void depthwise_weight_execute(depthwise_weight_run *r, const real *dy, const real *x,
                                     real *dw, real *db, char *workspace, int n_threads) {
    r->dy = dy, r->x = x;
    depthwise_weight_layout(r, workspace, n_threads);
    fc_parallel(r->splits * r->blocks, n_threads, depthwise_weight_task, r);
    for (int64_t c = 0; c < r->channels; c++) {
        for (int64_t t = 0; t <= r->taps; t++) {
            real sum = 0;
            for (int64_t i = 0; i < r->splits; i++)
                sum += r->sums[(i * r->channels + c) * (r->taps + 1) + t];
            if (t < r->taps)
                dw[c * r->taps + t] = sum;
            else if (db != NULL)
                db[c] = sum;
        }
    }
}
