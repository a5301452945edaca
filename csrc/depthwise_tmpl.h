/* depthwise_tmpl.h - convolution of single planes (groups == C == K: one filter per channel):
 * forward, and backward with respect to the input; compiled per tier and real type. The gradient of
 * the weights is in depthwise_weight_tmpl.h.
 *
 * A plane is a shift problem (conv2d.h) of one channel and one image; only its kernels are others.
 * There is little arithmetic to a pixel, so all is done to stay near the speed of memory:
 *   - the usual windows, and the usual gradients of stride 2 (depthwise_window_tmpl.h), are
 *     computed from the source as it is;
 *   - for others a band of the source (some rows, or some small planes, that fit L1) is copied into
 *     zero-padded planes, so that no load is at an edge, and with stride 2 none is strided; the
 *     padding that is the same in all of a task's planes is zeroed once. A tile is some rows of a
 *     vector, along the columns: enough sums at a time to hide the latency of v_fma. Taps are gone
 *     through one by one;
 *   - a row of their gradients with stride 2 consists of two phases, interleaved in registers.
 * There, a row whose width is no multiple of VL ends in a vector that begins earlier and computes
 * some pixels twice; rows shorter than VL are stored by a mask.
 *
 * Threads: units (a band of a plane, or of two that share a vector) in the order of memory, dealt
 * to tasks in chunks of a fixed size, so that small planes do not cost a task each. Each output is
 * one chain of additions, bias first, then the taps in a fixed order: same bits at any thread count
 * and in any batch.
 */
enum { DEPTHWISE_ROWS = 8 };
enum { DEPTHWISE_TASK = 16384 }; /* pixels of a task, at least */

/* ---------------------------------------------------------------- kernels */

/* The taps of one output phase, by rising shift: their weights, their shifts. */
typedef struct {
    int64_t n;
    const real *w;
    const int32_t *shift;
} depthwise_taps;

/* Some output rows, dst_row apart, of n columns. */
typedef void (*depthwise_kernel)(const depthwise_taps *t, real bias, const real *src, int64_t pitch,
                                 real *dst, int64_t dst_row, int64_t n);

#define DEPTHWISE_KERNEL(name, ...)                                                               \
    static void depthwise_##name(const depthwise_taps *t, real bias, const real *src,             \
                                 int64_t pitch, real *dst, int64_t dst_row, int64_t n) {          \
        __VA_ARGS__                                                                               \
    }

/* Any taps: a weight at a time. */
INLINE void depthwise_sums(const int rows, const depthwise_taps *t, real bias, const real *src,
                           int64_t pitch, vr acc[DEPTHWISE_ROWS]) {
    UNROLL for (int i = 0; i < rows; i++) acc[i] = v_set1(bias);
    for (int64_t k = 0; k < t->n; k++) {
        vr weight = v_set1(t->w[k]);
        const real *p = src + t->shift[k];
        UNROLL for (int i = 0; i < rows; i++) acc[i] = v_fma(weight, v_load(p + i * pitch), acc[i]);
    }
}

INLINE void depthwise_tile(const int rows, const depthwise_taps *t, real bias, const real *src,
                           int64_t pitch, real *dst, int64_t dst_row, int64_t n) {
    vr acc[DEPTHWISE_ROWS];
    if (n < VL) {
        depthwise_sums(rows, t, bias, src, pitch, acc);
        UNROLL for (int i = 0; i < rows; i++) v_storen(dst + i * dst_row, acc[i], n);
        return;
    }
    for (int64_t q = 0; q < n; q += VL) {
        q = fc_min(q, n - VL);
        depthwise_sums(rows, t, bias, src + q, pitch, acc);
        UNROLL for (int i = 0; i < rows; i++) v_store(dst + i * dst_row + q, acc[i]);
    }
}

/* Two phases of columns, t[0] and t[1], one between the other: n columns in all. */
INLINE void depthwise_zip(const int rows, const depthwise_taps *t, real bias, const real *src,
                          int64_t pitch, real *dst, int64_t dst_row, int64_t n) {
    for (int64_t q = 0; 2 * q < n; q += VL) {
        vr even[DEPTHWISE_ROWS], odd[DEPTHWISE_ROWS];
        int64_t rest = n - 2 * q;
        /* what the next tile will write: short pieces of many rows */
        UNROLL for (int i = rows; i < 2 * rows; i++)
            UNROLL for (int j = 0; j < 2 * VL; j += LINE)
                PREFETCH(dst + i * dst_row + 2 * q + j);
        depthwise_sums(rows, &t[0], bias, src + q, pitch, even);
        depthwise_sums(rows, &t[1], bias, src + q, pitch, odd);
        UNROLL for (int i = 0; i < rows; i++) {
            real *to = dst + i * dst_row + 2 * q;
            v_storen(to, v_zip_lo(even[i], odd[i]), rest);
            if (rest > VL) v_storen(to + VL, v_zip_hi(even[i], odd[i]), rest - VL);
        }
    }
}

#define DEPTHWISE_TILE(rows)                                                                      \
    DEPTHWISE_KERNEL(tile_##rows, depthwise_tile(rows, t, bias, src, pitch, dst, dst_row, n);) \
    DEPTHWISE_KERNEL(zip_##rows, depthwise_zip(rows, t, bias, src, pitch, dst, dst_row, n);)
DEPTHWISE_TILE(1) DEPTHWISE_TILE(2) DEPTHWISE_TILE(3) DEPTHWISE_TILE(4)
DEPTHWISE_TILE(5) DEPTHWISE_TILE(6) DEPTHWISE_TILE(7) DEPTHWISE_TILE(8)
#define DEPTHWISE_NAMES(kind)                                                                     \
    {depthwise_##kind##_1, depthwise_##kind##_2, depthwise_##kind##_3, depthwise_##kind##_4,      \
     depthwise_##kind##_5, depthwise_##kind##_6, depthwise_##kind##_7, depthwise_##kind##_8}
static const depthwise_kernel DEPTHWISE_TILES[2][DEPTHWISE_ROWS] = {
    DEPTHWISE_NAMES(tile), DEPTHWISE_NAMES(zip)};

/* ---------------------------------------------------------------- driver */

typedef struct {
    depthwise_plane plane;
    conv_epilogue epilogue;
    int64_t channels, taps;
    int64_t planes;          /* N * C, of which some may be computed together */
    int64_t units, chunk;    /* units: bands of all planes; of a task */
    int64_t batch;           /* units of a task that are packed at a time */
    int64_t thread_reals, out_reals; /* scratch: of sources, and of a band of sums to be finished */
    int windows; /* the usual ones, without a copy */
    window_plane window;
    const real *src, *w, *bias;
    real *dst, *turned, *scratch; /* turned: the weights in the order of the taps */
} depthwise_run;

/* One band of one plane, from its packed planes; dst is its first row. */
static void depthwise_band(const shift_problem *s, const shift_band *b, const real *w, real bias,
                           const real *packed, real *dst) {
    int64_t phases = s->x.out_phases;
    for (int64_t py = 0; py < s->y.out_phases; py++) {
        depthwise_taps t[2];
        for (int64_t px = 0; px < phases; px++) {
            const int32_t *first = s->first + py * phases + px;
            t[px] = (depthwise_taps){first[1] - first[0], w + first[0], s->tap_shift + first[0]};
        }
        /* Rows of this phase that exist, as even tiles. */
        int64_t rows = b->rows, dst_row = s->y.out_step * s->x.out;
        if (s->y.out_phases > 1)
            rows = fc_min(rows, fc_ceil_div(s->y.out - py, s->y.out_step) - b->y0);
        int64_t step = fc_ceil_div(rows, fc_max(1, fc_ceil_div(rows, DEPTHWISE_ROWS)));
        real *to = dst + py * s->x.out;
        for (int64_t row = 0; row < rows; row += step) {
            int64_t now = fc_min(step, rows - row);
            DEPTHWISE_TILES[phases - 1][now - 1](t, bias, packed + row * s->pitch, s->pitch,
                                                 to + row * dst_row, dst_row, s->x.out);
        }
    }
}

/* The same work for usual windows. */
static void depthwise_window_task(void *arg, int64_t item, int thread) {
    const depthwise_run *r = arg;
    const window_plane *p = &r->window;
    int64_t first = item * r->chunk, end = fc_min(first + r->chunk, r->units);
    int64_t together = window_together(p), src_plane = p->src_rows * p->src_cols;
    int64_t plane = first / p->bands * together, band = first % p->bands;
    int64_t channel = plane % r->channels;
    window_channel c[2] = {{.epilogue = r->epilogue}, {.epilogue = r->epilogue}};
    window_band b;
    window_begin(p, &b);
    (void)thread;
    for (; first < end; first++) {
        real *dst = r->dst + (plane * p->dst_rows + band * p->band_rows * p->step) * p->dst_cols;
        b.planes = fc_min(together, r->planes - plane);
        int64_t at = channel; /* in the end, the last plane's */
        for (int64_t i = 0; i < 2; i++) { /* where there is no other plane, it is the same */
            if (i > 0 && i < b.planes && ++at == r->channels) at = 0;
            c[i].w = r->w + at * r->taps;
            c[i].bias = r->bias != NULL ? r->bias[at] : 0;
        }
        window_get_band(p, r->src + plane * src_plane, band, &b);
        window_band_sums(&b, c, dst);
        if (++band < p->bands) continue;
        band = 0, plane += together, channel = at + 1 == r->channels ? 0 : at + 1;
    }
}

static void depthwise_task(void *arg, int64_t item, int thread) {
    const depthwise_run *r = arg;
    const depthwise_plane *p = &r->plane;
    const shift_problem *s = &p->s;
    int64_t src_plane = s->y.source * s->x.source, dst_plane = s->y.out * s->x.out;
    int64_t first = item * r->chunk, end = fc_min(first + r->chunk, r->units);
    int64_t plane = first / s->row_bands, band = first % s->row_bands;
    int64_t channel = plane % r->channels;
    real *scratch = r->scratch + thread * (r->thread_reals + r->out_reals);
    fill(scratch, r->thread_reals, 0);
    while (first < end) {
        int64_t n = fc_min(r->batch, end - first), to_pack = plane, band_to_pack = band;
        for (int64_t i = 0; i < n; i++) {
            shift_band b = depthwise_get_band(s, band_to_pack);
            depthwise_pack(p, &b, r->src + to_pack * src_plane, scratch + i * p->reals);
            if (++band_to_pack == s->row_bands) band_to_pack = 0, to_pack++;
        }
        for (int64_t i = 0; i < n; i++) {
            shift_band b = depthwise_get_band(s, band);
            real *dst = r->dst + plane * dst_plane + b.y0 * s->y.out_step * s->x.out;
            /* The kernels may write a pixel twice: not so what may be its own residual. */
            real *to = r->epilogue.residual != NULL ? scratch + r->thread_reals : dst;
            depthwise_band(s, &b, r->w + channel * r->taps,
                           r->bias != NULL ? r->bias[channel] : 0, scratch + i * p->reals, to);
            if (r->epilogue.used) epilogue_store(&r->epilogue, dst, to, b.rows * s->x.out);
            if (++band < s->row_bands) continue;
            band = 0, plane++;
            if (++channel == r->channels) channel = 0;
        }
        first += n;
    }
}

/* The run of a pass, or 0 if it is not one for this file. */
static int depthwise_plan(depthwise_run *r, const fc_conv2d_desc *d, int backward) {
    shift_problem *s = &r->plane.s;
    if (!depthwise_serves(d)) return 0;
    if (backward)
        shift_backward_input(d, s);
    else
        shift_forward(d, s);
    r->channels = d->c;
    r->planes = d->n * d->c;
    r->taps = d->kh * d->kw;
    r->epilogue = (conv_epilogue){0};
    r->windows = window_plan(&r->window, s);
    if (r->windows) {
        const window_plane *p = &r->window;
        r->units = fc_ceil_div(r->planes, window_together(p)) * p->bands;
        r->chunk = fc_ceil_div(DEPTHWISE_TASK / window_together(p),
                               p->band_rows * p->step * p->dst_cols);
        r->thread_reals = r->out_reals = 0;
        return 1;
    }
    if (!depthwise_cut(&r->plane)) return 0;
    r->units = r->planes * s->row_bands;
    r->chunk = fc_ceil_div(DEPTHWISE_TASK, s->band_rows * s->x.q * shift_out_phases(s));
    int64_t fit = DEPTHWISE_BAND / (r->plane.reals * (int64_t)sizeof(real));
    r->batch = fc_min(r->chunk, fc_max(1, fit));
    r->thread_reals = r->batch * r->plane.reals;
    r->out_reals = backward ? 0 : fc_round_up(s->band_rows * s->x.out, 16);
    return 1;
}

/* Lists the taps of each output phase by rising shift; the turned kernel's are listed falling. */
static void depthwise_list_taps(shift_problem *s, int32_t *tables) {
    shift_list_taps(s, tables);
    for (int64_t p = 0; s->x.reversed && p < shift_out_phases(s); p++) {
        for (int64_t i = s->first[p], j = s->first[p + 1] - 1; i < j; i++, j--) {
            int32_t kernel = s->tap_kernel[i], shift = s->tap_shift[i];
            s->tap_kernel[i] = s->tap_kernel[j], s->tap_shift[i] = s->tap_shift[j];
            s->tap_kernel[j] = kernel, s->tap_shift[j] = shift;
        }
    }
}

static int64_t depthwise_layout(depthwise_run *r, char *base, int n_threads) {
    int64_t size = sizeof(real), reals = fc_mul(r->thread_reals + r->out_reals, n_threads);
    int64_t turned = fc_round_up(fc_mul(shift_table_ints(&r->plane.s), 4), 64);
    int64_t zeros = fc_round_up(fc_add(turned, fc_mul(r->channels * r->taps, size)), 64);
    int64_t n_zeros = r->windows ? window_zeros(&r->window) : 0;
    int64_t scratch = fc_round_up(fc_add(zeros, fc_mul(n_zeros, size)), 64);
    if (base != NULL) {
        depthwise_list_taps(&r->plane.s, (int32_t *)base);
        r->turned = (real *)(base + turned);
        fill((real *)(base + zeros), n_zeros, 0);
        r->window.zeros = (real *)(base + zeros);
        r->scratch = (real *)(base + scratch);
    }
    return fc_add(scratch, fc_mul(reals, size));
}

static void depthwise_execute(depthwise_run *r, const real *src, const real *w, const real *bias,
                              real *dst, char *workspace, int n_threads) {
    r->src = src, r->w = w, r->bias = bias, r->dst = dst;
    depthwise_layout(r, workspace, n_threads);
    const shift_problem *s = &r->plane.s;
    int turned = s->x.reversed && !(r->windows && r->window.step == 2);
    if (turned) { /* some taps may reach no pixel: a stride beyond the source's size */
        int64_t used = s->first[shift_out_phases(s)];
        for (int64_t i = 0; i < r->channels * r->taps; i += r->taps)
            for (int64_t t = 0; t < used; t++) r->turned[i + t] = w[i + s->tap_kernel[t]];
        r->w = r->turned;
    }
    fc_parallel_shares(fc_ceil_div(r->units, r->chunk), n_threads,
                       r->windows ? depthwise_window_task : depthwise_task, r);
}
