/* depthwise_weight_tmpl.h - convolution of single planes (depthwise_tmpl.h), backward with respect
 * to the weights and the bias; compiled per tier and real type.
 *
 *     dw[c][t] = sum over images, rows and columns q of  dy[n][c][q] * plane[n][c][q + shift(t)]
 *
 * The planes are forward's packed bands, and stay in L1 while groups of taps go over them: each
 * group has its sums in registers, vectors along the columns, and reads a vector of dy once for all
 * of them. Usual 3x3 and 2x2 windows are one group, read the source as it is
 * (depthwise_window_tmpl.h), and each pixel once for several rows of dy. Between planes the sums
 * wait as vectors; lanes are added up once, at the end.
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
enum { WINDOW_DOT_ROWS = 4 }; /* of dy at a time at most, for usual windows that are not narrow */
/* Planes that are edges alone: each tile asks for a share of what comes next if a vector is a line;
 * else, of such smaller planes, all is asked for at once with each edge. */
enum { AHEAD_BY_TILE = VL * sizeof(real) == 64 };
enum { DEPTHWISE_CHANNELS = 32, DEPTHWISE_TASKS = 16 };

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

/* The usual windows, straight from the source (depthwise_window_tmpl.h): some rows of dy at a time,
 * for which each source pixel is loaded once. The last of acc sums dy. Idle lanes are masked on
 * both sides: 0 * NaN would show. */
INLINE void window_dot_tile(const int size, const int stride, const int rows, const int edge,
                            const real *const *row, int64_t col, const window_edge *e,
                            const real *dy, int64_t dy_row, vr acc[10]) {
    vr d[WINDOW_DOT_ROWS], sum; /* sum: of the rows, for acc not to wait for each */
    UNROLL for (int r = 0; r < rows; r++) {
        d[r] = edge ? v_load_part(dy + r * dy_row, e->out) : v_load(dy + r * dy_row);
        if (stride == 2) d[r] = v_order(d[r]);
        sum = r == 0 ? d[0] : v_add(sum, d[r]);
    }
    acc[size * size] = v_add(acc[size * size], sum);
    UNROLL for (int j = 0; j < size; j += stride) { /* outside, for the masks of one j at a time */
        UNROLL for (int i = 0; i < (rows - 1) * stride + size; i++) {
            vr pixel[2];
            window_pixels(stride, edge, row[i] + col + j, e->load + j, pixel);
            UNROLL for (int r = 0; r < rows; r++) {
                int k = i - r * stride;
                if (k < 0 || k >= size) continue;
                UNROLL for (int x = 0; x < stride; x++) {
                    int t = size * k + j + x;
                    if (j + x < size) acc[t] = v_fma(d[r], pixel[x], acc[t]);
                }
            }
        }
    }
}

/* What comes next in the order of the memory. */
typedef struct { const char *x, *dy; } window_next;

/* Rows y0 .. y1 - 1 of a strip of a band, `rows` at a time: columns q0 .. q1 - 1, whole vectors, or
 * the edge e. Tiles of whole vectors each start loading a share of what comes after their rows.
 * Where planes are edges alone, theirs do so (AHEAD_BY_TILE) of what comes after the band, all
 * lines of which the first edge loads itself. */
INLINE void window_dot_rows(const int size, const int stride, const int rows, const int edge,
                            const window_band *b, int64_t y0, int64_t y1, int64_t q0, int64_t q1,
                            const window_edge *e, const real *dy, window_next *next, vr acc[10]) {
    const window_plane *p = b->plane;
    const int ahead = !edge || (AHEAD_BY_TILE && p->inner == p->outer);
    int64_t strips = edge ? b->edges : (q1 - q0) / VL, size_of = sizeof(real);
    int64_t x_share = fc_ceil_div(rows * stride * p->src_cols * size_of, strips);
    int64_t dy_share = fc_ceil_div(rows * p->cols * size_of, strips);
    for (int64_t y = y0; y < y1; y += rows) {
        const real *const *row = b->row + y * stride;
        if (!edge) {
            next->x = (const char *)(b->src + (y + rows) * stride * p->src_cols);
            next->dy = (const char *)(dy + (y + rows) * p->cols);
        }
        for (int64_t q = q0; q < q1; q += VL) {
            if (ahead) {
                next->x = window_ahead(stride, next->x, x_share);
                next->dy = window_ahead(stride, next->dy, dy_share);
            }
            window_dot_tile(size, stride, rows, edge, row, q * stride - p->left, e,
                            dy + y * p->cols + q, p->cols, acc);
        }
    }
}

/* The strip, cut into threes and fours of rows, or if there are too few for
 * that, fours and ones. */
INLINE void window_dot_strip(const int size, const int stride, const int edge,
                             const window_band *b, int64_t q0, int64_t q1, const window_edge *e,
                             const real *dy, window_next *next, vr acc[10]) {
    int64_t threes = 3 * (-b->rows & 3), fours;
    if (threes > b->rows) threes = 0;
    fours = threes + ((b->rows - threes) & ~(int64_t)3);
    window_dot_rows(size, stride, 3, edge, b, 0, threes, q0, q1, e, dy, next, acc);
    window_dot_rows(size, stride, 4, edge, b, threes, fours, q0, q1, e, dy, next, acc);
    window_dot_rows(size, stride, 1, edge, b, fours, b->rows, q0, q1, e, dy, next, acc);
}

/* sums[taps + 1][VL] += a band's; dy is its first row. */
INLINE void window_dot(const int size, const int stride, const window_band *b, const real *dy,
                       real *sums) {
    const window_plane *p = b->plane;
    vr acc[10];
    UNROLL for (int t = 0; t <= size * size; t++) acc[t] = v_load(sums + t * VL);
    int narrow = p->inner == p->outer;
    int64_t x_reals = b->rows * stride * p->src_cols, dy_reals = b->rows * p->cols;
    window_next next = {(const char *)(b->src + x_reals), (const char *)(dy + dy_reals)};
    if (!narrow) window_dot_strip(size, stride, 0, b, p->inner, p->outer, b->edge, dy, &next, acc);
    for (int64_t i = 0; i < b->edges; i++) {
        const window_edge *e = &b->edge[i];
        if (narrow && !AHEAD_BY_TILE) {
            next.x = window_ahead(stride, next.x, b->rows * p->src_share);
            next.dy = window_ahead(stride, next.dy, b->rows * p->dst_share);
        }
        window_dot_strip(size, stride, 1, b, e->q, e->q + e->n, e, dy, &next, acc);
    }
    UNROLL for (int t = 0; t <= size * size; t++) v_store(sums + t * VL, acc[t]);
}

static void window_dot_2_2(const window_band *b, const real *dy, real *sums) {
    window_dot(2, 2, b, dy, sums);
}
static void window_dot_3_1(const window_band *b, const real *dy, real *sums) {
    window_dot(3, 1, b, dy, sums);
}
static void window_dot_3_2(const window_band *b, const real *dy, real *sums) {
    window_dot(3, 2, b, dy, sums);
}
static const window_dot_kernel WINDOW_DOTS[2][2] = {{NULL, window_dot_2_2},
                                                    {window_dot_3_1, window_dot_3_2}};

#define DEPTHWISE_DOT_TAPS(taps)                                                                  \
    static void depthwise_dot_##taps(int64_t rows, int64_t cols, const real *dy, const real *src, \
                                     int64_t pitch, const int32_t *shift, real *sums) {           \
        depthwise_dot(taps, rows, cols, dy, src, pitch, shift, sums);                             \
    }
DEPTHWISE_DOT_TAPS(1) DEPTHWISE_DOT_TAPS(2) DEPTHWISE_DOT_TAPS(3) DEPTHWISE_DOT_TAPS(4)
DEPTHWISE_DOT_TAPS(5) DEPTHWISE_DOT_TAPS(6) DEPTHWISE_DOT_TAPS(7) DEPTHWISE_DOT_TAPS(8)
DEPTHWISE_DOT_TAPS(9) DEPTHWISE_DOT_TAPS(10)
#if N_REGISTERS == 32
DEPTHWISE_DOT_TAPS(11) DEPTHWISE_DOT_TAPS(12) DEPTHWISE_DOT_TAPS(13)
#endif
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
    window_plane window;           /* without a copy, if there is a kernel for it */
    window_dot_kernel kernel;
    int64_t together;              /* planes that share vectors of sums, those of the first */
    int64_t channel_sums;          /* reals: a group's sums and its sum of dy, for each group */
    int64_t block, blocks, splits; /* channels of a task, tasks of a split, splits */
    int64_t packed_reals, thread_reals;
    const real *dy, *x;
    real *dw, *db, *scratch, *sums; /* sums: [split][channel][taps + 1] */
} depthwise_weight_run;

/* Adds one plane, or those that share a vector, to the sums of the first. */
static void depthwise_weight_plane(const depthwise_weight_run *r, const real *dy, const real *x,
                                   real *packed, window_band *w, real *sums) {
    const shift_problem *s = &r->plane.s;
    const window_plane *p = &r->window;
    for (int64_t i = 0; r->kernel != NULL && i < p->bands; i++) {
        window_get_band(p, x, i, w);
        r->kernel(w, dy + i * p->band_rows * p->cols, sums);
    }
    if (r->kernel != NULL) return;
    for (int64_t i = 0; i < s->row_bands; i++) {
        shift_band b = depthwise_get_band(s, i);
        depthwise_pack(&r->plane, &b, x, packed);
        for (int64_t g = 0; g < r->groups; g++) {
            int64_t t0 = g * r->group, n = fc_min(r->group, r->taps - t0);
            DEPTHWISE_DOTS[n - 1](b.rows, b.cols, dy + b.y0 * s->x.out, packed, s->pitch,
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
    real *sums = packed + r->packed_reals;
    window_band window;
    if (r->kernel != NULL) window_begin(&r->window, &window);
    fill(packed, r->thread_reals, 0);
    for (int64_t n = r->n * split / r->splits; n < r->n * (split + 1) / r->splits; n++) {
        for (int64_t c = c0; c < c1; c += r->together) {
            int64_t plane = n * r->channels + c;
            window.planes = fc_min(r->together, c1 - c);
            depthwise_weight_plane(r, r->dy + plane * dy_plane, r->x + plane * x_plane, packed,
                                   &window, sums + (c - c0) * r->channel_sums);
        }
    }
    /* The upper halves are the other plane's. */
    for (int64_t c = 0; c < c1 - c0 && r->together == 2; c += 2) {
        real *one = sums + c * r->channel_sums, *other = one + r->channel_sums;
        for (int64_t i = 0; i < r->channel_sums; i += VL) {
            if (c0 + c + 1 < c1) memcpy(other + i, one + i + VL / 2, VL / 2 * sizeof(real));
            fill(one + i + VL / 2, VL / 2, 0);
        }
    }
    real *to = r->sums + (split * r->channels + c0) * (r->taps + 1);
    sum_lanes(sums, (c1 - c0) * r->channel_sums / VL, sums);
    for (int64_t c = c0; c < c1; c++, sums += r->channel_sums / VL) {
        for (int64_t g = 0; g < r->groups; g++) {
            int64_t n = fc_min(r->group, r->taps - g * r->group);
            for (int64_t t = 0; t < n; t++) *to++ = sums[g * (r->group + 1) + t];
        }
        *to++ = sums[fc_min(r->group, r->taps)];
    }
}

static int depthwise_weight_plan(depthwise_weight_run *r, const fc_conv2d_desc *d) {
    shift_problem *s = &r->plane.s;
    if (!depthwise_serves(d)) return 0;
    shift_forward(d, s);
    r->kernel = NULL;
    r->together = 1;
    if (window_plan(&r->window, s) && r->window.size <= 3) {
        const window_plane *p = &r->window;
        r->together = window_together(p);
        r->kernel = WINDOW_DOTS[p->size - 2][p->stride - 1];
#if defined(FC_TIER_AVX512)
        if (p->narrow > 0) r->kernel = NARROW_DOTS[p->size - 2][narrow_way_of(p)];
#endif
    }
    if (r->kernel == NULL && !depthwise_cut(&r->plane)) return 0;
    r->packed_reals = r->kernel == NULL ? r->plane.reals : 0;
    r->n = d->n;
    r->channels = d->c;
    r->taps = d->kh * d->kw;
    r->groups = fc_ceil_div(r->taps, DEPTHWISE_GROUP);
    r->group = fc_ceil_div(r->taps, r->groups);
    r->channel_sums = r->groups * (r->group + 1) * VL;
    r->block = fc_min(DEPTHWISE_CHANNELS, fc_ceil_div(r->channels, DEPTHWISE_TASKS));
    r->block = fc_round_up(r->block, r->together);
    r->blocks = fc_ceil_div(r->channels, r->block);
    r->splits = fc_max(1, fc_min(r->n, fc_ceil_div(DEPTHWISE_TASKS, r->blocks)));
    r->thread_reals = r->packed_reals + r->block * r->channel_sums;
    return 1;
}

static int64_t depthwise_weight_layout(depthwise_weight_run *r, char *base, int n_threads) {
    int64_t size = sizeof(real);
    int64_t zeros = fc_round_up(fc_mul(shift_table_ints(&r->plane.s), 4), 64);
    int64_t n_zeros = r->kernel != NULL ? window_zeros(&r->window) : 0;
    int64_t sums = fc_round_up(fc_add(zeros, fc_mul(n_zeros, size)), 64);
    int64_t n_sums = fc_mul(fc_mul(r->splits, r->channels), r->taps + 1);
    int64_t scratch = fc_round_up(fc_add(sums, fc_mul(n_sums, size)), 64);
    if (base != NULL) {
        shift_list_taps(&r->plane.s, (int32_t *)base);
        fill((real *)(base + zeros), n_zeros, 0);
        r->window.zeros = (real *)(base + zeros);
        r->sums = (real *)(base + sums);
        r->scratch = (real *)(base + scratch);
    }
    return fc_add(scratch, fc_mul(fc_mul(r->thread_reals, size), n_threads));
}

static void depthwise_weight_execute(depthwise_weight_run *r, const real *dy, const real *x,
                                     real *dw, real *db, char *workspace, int n_threads) {
    r->dy = dy, r->x = x;
    depthwise_weight_layout(r, workspace, n_threads);
    fc_parallel_shares(r->splits * r->blocks, n_threads, depthwise_weight_task, r);
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
