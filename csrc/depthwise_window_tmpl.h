/* depthwise_window_tmpl.h - the usual windows of single planes (depthwise_tmpl.h): 3x3, 5x5 and 7x7
 * without holes, of stride 1 or 2, and 2x2 of stride 2, zeros around; compiled per tier and real
 * type. The gradients of the input with stride 2, of 2x2, 3x3 and 5x5 with the usual padding, are
 * windows too (spread_tile).
 *
 * They are computed from the source as it is: copying a plane would take about as long as its
 * sums. Rows of padding are a row of zeros that a table of rows points to. Columns are cut into
 * strips: the inner one reads what exists; at the sides, strips of one vector load by masks that
 * hold for all their rows. With stride 2 even and odd pixels are parted in registers.
 *
 * Whoever takes a plane by rows of tiles reads short pieces of many rows, in which the hardware
 * sees no order. So each tile starts loading its share of what comes one row of tiles later, of the
 * source and of what is written: all in all in the order of the memory.
 *
 * A tile is some rows of a vector of windows. It takes the window's columns one after the other (by
 * pairs, with stride 2), whose weights then are in registers, and loads each pixel of a column once
 * for all of the tile's rows.
 */

enum { WINDOW_TALL = 7, WINDOW_LOW = 4 }; /* rows of a tile; maps of most nets are multiples of 7 */
enum { WINDOW_BAND_ROWS = 56 };           /* of which a table is made at a time, at most */
enum { WINDOW_SIZE = 7 };                 /* of the largest window */
/* Bytes beyond the next row of tiles, to load the source. Windows two pixels apart have a source
 * four times as long as the result, more than the few lines that the first cache can wait for at a
 * time: it is loaded into the second. */
enum { WINDOW_AHEAD = 2048, WINDOW_AHEAD_L2 = 8192 };
enum { WINDOW_EDGES = 4 };                /* strips at the sides, at most */
enum { WINDOW_TABLE = 2 * (WINDOW_BAND_ROWS + WINDOW_TALL - 1) + WINDOW_SIZE };

/* The windows of a plane. */
typedef struct {
    int64_t size, stride, top, left; /* padding before the plane; negative crops */
    int64_t src_rows, src_cols, rows, cols; /* rows, cols: of windows */
    int64_t step, dst_rows, dst_cols; /* step: rows and columns of the result that a window gives */
    int64_t inner, outer; /* columns inner .. outer - 1: whole vectors, all of whose loads exist */
    int64_t src_share, dst_share; /* bytes to load ahead, of a tile's row */
    int64_t bands, band_rows, tall; /* tall: a whole band's rows in tall tiles */
    const real *zeros; /* src_cols of them */
} window_plane;

/* One strip at a side: the lanes of its loads, and those of its outputs. */
typedef struct {
    int64_t q, n; /* columns q .. q + n - 1 */
    v_part load[WINDOW_SIZE + 1], out;
} window_edge;

/* Some rows of a plane: row[i] is the i-th source row of `rows` rows of windows, of which the first
 * `tall` are computed in tall tiles; they give dst_rows. The edges are the same in all bands. */
typedef struct {
    const window_plane *plane;
    int64_t rows, tall, edges, dst_rows;
    int64_t first, end; /* source rows first .. end - 1 exist, the others are padding */
    window_edge edge[WINDOW_EDGES];
    const real *src; /* where its first row would be if none were padding */
    const real *row[WINDOW_TABLE];
} window_band;

/* 2, 3, 5 or 7 where the taps are a usual window, else 0. */
static int64_t window_size(const shift_problem *s) {
    int64_t size = s->x.taps, stride = s->x.step;
    int odd = size % 2 == 1 && size >= 3 && size <= WINDOW_SIZE, two = size == 2 && stride == 2;
    int usual = s->y.taps == size && (odd || two) && s->y.step == stride && stride <= 2 &&
                s->y.dilation == 1 && s->x.dilation == 1 && s->y.out_step == 1 &&
                s->x.out_step == 1 && !s->replicate;
    return usual ? size : 0;
}

/* Of gradients of the input with stride 2 and, before the plane, (taps - 1) / 2 of padding, where a
 * window of dy gives a square of 2x2 pixels: the window's size, else 0. */
static int64_t spread_size(const shift_problem *s) {
    int64_t taps = s->x.taps, pad = (taps - 1) / 2;
    int served = taps == 2 || taps == 3 || taps == 5;
    int usual = s->x.reversed && s->y.taps == taps && served && s->y.pad == pad &&
                s->x.pad == pad && s->y.out_step == 2 && s->x.out_step == 2 &&
                s->y.out > 1 && s->x.out > 1 && s->y.dilation == 1 && s->x.dilation == 1 &&
                !s->replicate;
    return usual ? (taps + 1) / 2 : 0;
}

/* Whole tall tiles, then low ones: the way that computes the fewest rows too many. */
static int64_t window_tall_rows(int64_t rows) {
    int64_t best = 0, least = INT64_MAX;
    for (int64_t less = -1; less < 3; less++) {
        int64_t tall = (rows / WINDOW_TALL - less) * WINDOW_TALL;
        int64_t low = fc_ceil_div(fc_max(rows - tall, 0), WINDOW_LOW) * WINDOW_LOW;
        if (tall < 0 || tall + low >= least) continue;
        best = fc_min(tall, rows), least = tall + low;
    }
    return best;
}

/* 0 if the problem is not one of usual windows, or has padding for many strips. */
static int window_plan(window_plane *p, const shift_problem *s) {
    int64_t size = window_size(s), stride = s->x.step, step = s->x.out_step, cols = s->x.q;
    if (size == 0) size = spread_size(s);
    if (size == 0) return 0;
    *p = (window_plane){.size = size, .stride = stride, .top = s->y.origin, .left = s->x.origin,
                        .src_rows = s->y.source, .src_cols = s->x.source, .rows = s->y.q,
                        .cols = cols, .step = step, .dst_rows = s->y.out, .dst_cols = s->x.out};
    int64_t before = fc_ceil_div(fc_max(p->left, 0), stride);
    p->inner = before >= cols ? cols : fc_min(cols, fc_ceil_div(before, VL) * VL);
    /* A vector of windows at column q loads columns up to q * stride + reach. */
    int64_t reach = (size - 1) / stride * stride + stride * VL - 1 - p->left;
    p->outer = p->inner;
    while ((p->outer + VL) * step <= p->dst_cols && p->outer * stride + reach < p->src_cols)
        p->outer += VL;
    int64_t edges = fc_ceil_div(p->inner, VL) + fc_ceil_div(cols - p->outer, VL);
    int64_t strips = (p->outer - p->inner) / VL + edges, size_of = sizeof(real);
    p->src_share = fc_ceil_div(stride * p->src_cols * size_of, strips);
    p->dst_share = fc_ceil_div(step * p->dst_cols * size_of, strips);
    /* Bands, and so tasks, of about the same size whatever the width. */
    int64_t fit =
        DEPTHWISE_BAND / (int64_t)sizeof(real) / (cols * step * step + cols * stride * stride);
    fit = fc_max(WINDOW_TALL, fit / WINDOW_TALL * WINDOW_TALL);
    p->band_rows = fc_min(p->rows, fc_min(fit, WINDOW_BAND_ROWS));
    p->bands = fc_ceil_div(p->rows, p->band_rows);
    p->tall = window_tall_rows(p->band_rows);
    return edges <= WINDOW_EDGES;
}

/* What all bands have in common. */
static void window_begin(const window_plane *p, window_band *b) {
    int64_t stride = p->stride;
    b->plane = p;
    b->rows = b->edges = 0;
    for (int64_t q = p->inner > 0 ? 0 : p->outer; q < p->cols; b->edges++) {
        window_edge *e = &b->edge[b->edges];
        e->q = q;
        e->n = fc_min(VL, p->cols - q);
        e->out = v_part_of(0, e->n);
        for (int64_t i = 0; i < p->size; i += stride)
            for (int64_t x = 0; x < stride; x++) {
                int64_t at = q * stride - p->left + i + x * VL, n = e->n * stride - x * VL;
                e->load[i + x] = v_part_of(-at, fc_min(p->src_cols - at, n));
            }
        q = q + VL == p->inner ? p->outer : q + VL;
    }
}

/* Cuts band i: all but where its source is. */
static void window_cut_band(const window_plane *p, int64_t i, window_band *b) {
    int64_t y0 = i * p->band_rows, at = y0 * p->stride - p->top;
    int64_t rows = fc_min(p->band_rows, p->rows - y0);
    int64_t tall = rows == p->band_rows ? p->tall : window_tall_rows(rows);
    int64_t computed = fc_ceil_div(tall, WINDOW_TALL) * WINDOW_TALL;
    if (tall < rows) computed += fc_ceil_div(rows - tall, WINDOW_LOW) * WINDOW_LOW;
    int64_t n = (computed - 1) * p->stride + p->size;
    b->rows = rows, b->tall = tall;
    b->dst_rows = fc_min(rows * p->step, p->dst_rows - y0 * p->step);
    b->first = fc_min(fc_max(-at, 0), n);
    b->end = fc_max(b->first, fc_min(p->src_rows - at, n));
    for (int64_t k = 0; k < n; k++) b->row[k] = p->zeros;
}

/* Band i of the plane at src. Planes of one band are all cut alike, so the first time (rows
 * is 0) will do. */
static void window_get_band(const window_plane *p, const real *src, int64_t i, window_band *b) {
    int64_t row = p->src_cols;
    if (p->bands > 1 || b->rows == 0) window_cut_band(p, i, b);
    b->src = src + (i * p->band_rows * p->stride - p->top) * row;
    src = b->src + b->first * row;
    NO_UNROLL for (int64_t k = b->first; k < b->end; k++, src += row) b->row[k] = src;
}

/* Pixels at p, p + stride, ... of a vector of windows; and with stride 2 at p + 1, p + 3, ...; all
 * in the order of v_pick_even. */
INLINE void window_pixels(const int stride, const int edge, const real *p, const v_part *part,
                          vr pixel[2]) {
    vr a = edge ? v_load_part(p, part[0]) : v_load(p);
    pixel[0] = pixel[1] = a;
    if (stride == 1) return;
    vr b = edge ? v_load_part(p + VL, part[1]) : v_load(p + VL);
    pixel[0] = v_pick_even(a, b);
    pixel[1] = v_pick_odd(a, b);
}

/* acc[r] += the windows' sums, r = 0 .. rows - 1; the first window begins at column col. */
INLINE void window_sums(const int size, const int stride, const int rows, const int edge,
                        const real *const *row, int64_t col, const v_part *part, const real *w,
                        vr acc[WINDOW_TALL]) {
    UNROLL for (int j = 0; j < size; j += stride) {
        vr weight[WINDOW_SIZE][2];
        UNROLL for (int k = 0; k < size; k++)
            UNROLL for (int x = 0; x < stride; x++)
                weight[k][x] = v_set1(w[k * size + fc_min(j + x, size - 1)]);
        UNROLL for (int i = 0; i < (rows - 1) * stride + size; i++) {
            vr pixel[2];
            window_pixels(stride, edge, row[i] + col + j, part + j, pixel);
            UNROLL for (int r = 0; r < rows; r++) {
                int k = i - r * stride;
                if (k < 0 || k >= size) continue;
                UNROLL for (int x = 0; x < stride; x++)
                    if (j + x < size) acc[r] = v_fma(weight[k][x], pixel[x], acc[r]);
            }
        }
    }
}

/* What the bands of a channel have in common. */
typedef struct {
    const real *w;
    real bias;
    conv_epilogue epilogue;
} window_channel;

/* `rows` rows of n elements from sums, one vector a row, to dst. */
static void window_finish(const window_channel *c, const real *sums, int64_t rows, int64_t n,
                          real *dst, int64_t dst_row) {
    for (int64_t r = 0; r < rows; r++, sums += VL, dst += dst_row) {
        vr y = v_load(sums);
        if (c->epilogue.used) y = epilogue_apply(c->epilogue, y, dst, n);
        v_storen(dst, y, n);
    }
}

/* A vector at column q, or the edge e, of `now` rows, or of `rows` if there are more. All rows are
 * computed and stored alike, since a compiler puts off what only some of them need. */
INLINE void window_tile(const int size, const int stride, const int rows, const int edge,
                        const window_plane *p, const window_channel *c, const real *const *row,
                        int64_t q, const window_edge *e, int64_t now, real *dst) {
    vr acc[WINDOW_TALL];
    UNROLL for (int r = 0; r < rows; r++) acc[r] = v_set1(c->bias);
    window_sums(size, stride, rows, edge, row, q * stride - p->left, e->load, c->w, acc);
    if (stride == 2) UNROLL for (int r = 0; r < rows; r++) acc[r] = v_order(acc[r]);
    if (now < rows || c->epilogue.used) {
        real sums[WINDOW_TALL * VL];
        UNROLL for (int r = 0; r < rows; r++) v_store(sums + r * VL, acc[r]);
        window_finish(c, sums, fc_min(now, rows), edge ? e->n : VL, dst, p->cols);
    } else if (!edge || e->n == VL) {
        UNROLL for (int r = 0; r < rows; r++) v_store(dst + r * p->cols, acc[r]);
    } else if (p->cols < VL && 2 * p->cols >= VL) { /* what is too much, the next row overwrites */
        UNROLL for (int r = 0; r < rows - 1; r++) v_store(dst + r * p->cols, acc[r]);
        v_storen(dst + (rows - 1) * p->cols, acc[rows - 1], e->n);
    } else {
        UNROLL for (int r = 0; r < rows; r++) v_storen(dst + r * p->cols, acc[r], e->n);
    }
}

/* The same for gradients of the input with stride 2, of a kernel of `taps`. Pixel 2 r + f of a row
 * or column, f = 0 or 1, gets from dy's r + (f + pad - k) / 2 by tap k, where that is whole: so a
 * window of dy, where `origin` is place 0, gives a square of 2x2 pixels, the two columns of which
 * are put one between the other in registers. There are `now` rows of dst. */
INLINE void spread_tile(const int taps, const int rows, const int edge, const window_plane *p,
                        const window_channel *c, const real *const *row, int64_t q,
                        const window_edge *e, int64_t now, real *dst) {
    const int size = (taps + 1) / 2, pad = (taps - 1) / 2, origin = (taps - 1) / 4;
    int64_t n = fc_min(2 * VL, p->dst_cols - 2 * q), row_length = p->dst_cols;
    UNROLL for (int r = 0; r < rows; r++) {
        vr acc[2][2];
        UNROLL for (int f = 0; f < 4; f++) acc[f / 2][f % 2] = v_set1(c->bias);
        UNROLL for (int i = 0; i < size; i++) {
            UNROLL for (int j = 0; j < size; j++) {
                const real *at = row[r + i] + q - p->left + j;
                vr pixel = edge ? v_load_part(at, e->load[j]) : v_load(at);
                UNROLL for (int f = 0; f < 4; f++) {
                    int ky = f / 2 + pad - 2 * (i - origin), kx = f % 2 + pad - 2 * (j - origin);
                    if (ky < 0 || ky >= taps || kx < 0 || kx >= taps) continue;
                    acc[f / 2][f % 2] =
                        v_fma(v_set1(c->w[ky * taps + kx]), pixel, acc[f / 2][f % 2]);
                }
            }
        }
        UNROLL for (int f = 0; f < 2; f++) {
            if (2 * r + f == now) return;
            vr lo = v_zip_lo(acc[f][0], acc[f][1]), hi = v_zip_hi(acc[f][0], acc[f][1]);
            real *to = dst + (2 * r + f) * row_length;
            if (!edge || n == 2 * VL) {
                v_store(to, lo);
                v_store(to + VL, hi);
            } else {
                v_storen(to, lo, n);
                if (n > VL) v_storen(to + VL, hi, n - VL);
            }
        }
    }
}

/* Starts loading n bytes, some way after p; returns p + n. */
INLINE const char *window_ahead(const int stride, const char *p, int64_t n) {
    if (stride == 1) prefetch_bytes(p + WINDOW_AHEAD, n);
    else prefetch_bytes_l2(p + WINDOW_AHEAD_L2, n);
    return p + n;
}

/* Either of them: the tile at row y and column q of a band, of `now` rows of windows; `to` is the
 * first of their rows of dst. */
INLINE void window_any_tile(const int taps, const int stride, const int step, const int rows,
                            const int edge, const window_band *b, const window_channel *c,
                            int64_t y, int64_t q, const window_edge *e, int64_t now, real *to) {
    const real *const *row = b->row + y * stride;
    if (step == 1)
        window_tile(taps, stride, rows, edge, b->plane, c, row, q, e, now, to + q);
    else
        spread_tile(taps, rows, edge, b->plane, c, row, q, e, b->dst_rows - 2 * y, to + 2 * q);
}

/* The sums of a band's rows y0 .. y1 - 1 of windows; dst is the band's first row. taps: of a row of
 * the kernel, which with a step of 2 is larger than a window of dy. */
INLINE void window_rows(const int taps, const int stride, const int step, const int rows,
                        const window_band *b, const window_channel *c, int64_t y0, int64_t y1,
                        real *dst) {
    const window_plane *p = b->plane;
    int64_t src_share = rows * p->src_share, dst_share = rows * p->dst_share;
    for (int64_t y = y0; y < y1; y += rows) {
        real *to = dst + y * step * p->dst_cols;
        const char *src_next = (const char *)(b->src + (y + rows) * stride * p->src_cols);
        const char *dst_next = (const char *)(to + rows * step * p->dst_cols);
        for (int64_t q = p->inner; q < p->outer; q += VL) {
            src_next = window_ahead(stride, src_next, src_share);
            dst_next = prefetch_bytes_l2(dst_next, dst_share);
            window_any_tile(taps, stride, step, rows, 0, b, c, y, q, b->edge, y1 - y, to);
        }
        for (int64_t i = 0; i < b->edges; i++) {
            const window_edge *e = &b->edge[i];
            src_next = window_ahead(stride, src_next, src_share);
            dst_next = prefetch_bytes_l2(dst_next, dst_share);
            window_any_tile(taps, stride, step, rows, 1, b, c, y, e->q, e, y1 - y, to);
        }
    }
}

typedef void (*window_kernel)(const window_band *b, const window_channel *c, int64_t y0,
                              int64_t y1, real *dst);
#define WINDOW_KERNEL(name, size, stride, rows)                                                   \
    static void window_##name(const window_band *b, const window_channel *c, int64_t y0,          \
                              int64_t y1, real *dst) {                                            \
        window_rows(size, stride, 1, rows, b, c, y0, y1, dst);                                    \
    }
#define SPREAD_KERNEL(name, taps, rows)                                                           \
    static void spread_##name(const window_band *b, const window_channel *c, int64_t y0,          \
                              int64_t y1, real *dst) {                                            \
        window_rows(taps, 1, 2, rows, b, c, y0, y1, dst);                                         \
    }
#define WINDOW_KERNELS_OF(size)                                                                   \
    WINDOW_KERNEL(size##_1_tall, size, 1, WINDOW_TALL)                                            \
    WINDOW_KERNEL(size##_1_low, size, 1, WINDOW_LOW)                                              \
    WINDOW_KERNEL(size##_2_tall, size, 2, WINDOW_TALL)                                            \
    WINDOW_KERNEL(size##_2_low, size, 2, WINDOW_LOW)
WINDOW_KERNEL(2_2_tall, 2, 2, WINDOW_TALL)
WINDOW_KERNEL(2_2_low, 2, 2, WINDOW_LOW)
WINDOW_KERNELS_OF(3)
WINDOW_KERNELS_OF(5)
WINDOW_KERNELS_OF(7)
#define WINDOW_NAMES(size)                                                                        \
    {{window_##size##_1_tall, window_##size##_1_low},                                             \
     {window_##size##_2_tall, window_##size##_2_low}}
static const window_kernel WINDOW_KERNELS[4][2][2] = {
    {{NULL, NULL}, {window_2_2_tall, window_2_2_low}},
    WINDOW_NAMES(3), WINDOW_NAMES(5), WINDOW_NAMES(7)};
#define SPREAD_KERNELS_OF(taps)                                                                   \
    SPREAD_KERNEL(taps##_tall, taps, WINDOW_TALL)                                                 \
    SPREAD_KERNEL(taps##_low, taps, WINDOW_LOW)
SPREAD_KERNELS_OF(2)
SPREAD_KERNELS_OF(3)
SPREAD_KERNELS_OF(5)
static const window_kernel SPREAD_KERNELS[3][2] = {
    {spread_2_tall, spread_2_low}, {spread_3_tall, spread_3_low}, {spread_5_tall, spread_5_low}};

/* All sums of a band. */
static void window_band_sums(const window_band *b, const window_channel *c, real *dst) {
    const window_plane *p = b->plane;
    const window_kernel *kernels = p->step == 2 ? SPREAD_KERNELS[p->size - 1]
                                                : WINDOW_KERNELS[(p->size - 1) / 2][p->stride - 1];
    int64_t tall = b->tall;
    if (tall > 0) kernels[0](b, c, 0, tall, dst);
    if (tall < b->rows) kernels[1](b, c, tall, b->rows, dst);
}
