/* depthwise_window_tmpl.h - the usual windows of single planes (depthwise_tmpl.h): 3x3, 5x5 and 7x7
 * without holes, of stride 1 or 2, and 2x2 of stride 2, zeros around; compiled per tier and real
 * type. The gradients of the input with stride 2, of 2x2, 3x3 and 5x5 with the usual padding, are
 * windows too. Their kernels are in depthwise_tiles_tmpl.h and depthwise_narrow_tmpl.h.
 *
 * They are computed from the source as it is: copying a plane would take about as long as its
 * sums. Rows of padding are a row of zeros that a table of rows points to. Columns are cut into
 * strips: the inner one reads what exists; at the sides, strips of one vector load by masks that
 * hold for all their rows. Rows that leave lanes of a vector idle are narrow.
 */

enum { WINDOW_TALL = 7, WINDOW_LOW = 4 }; /* rows of a tile; maps of most nets are multiples of 7 */
enum { WINDOW_BAND_ROWS = 56 };           /* of which a table is made at a time, at most */
enum { WINDOW_SIZE = 7 };                 /* of the largest window */
enum { WINDOW_EDGES = 4 };                /* strips at the sides, at most */
enum { WINDOW_TABLE = 2 * (WINDOW_BAND_ROWS + WINDOW_TALL - 1) + WINDOW_SIZE };

/* The windows of a plane. */
typedef struct {
    int64_t size, stride, top, left; /* padding before the plane; negative crops */
    int64_t src_rows, src_cols, rows, cols; /* rows, cols: of windows */
    int64_t narrow; /* planes that share a vector (depthwise_narrow_tmpl.h), or 0 */
    int64_t step, dst_rows, dst_cols; /* step: rows and columns of the result that a window gives */
    int64_t inner, outer; /* columns inner .. outer - 1: whole vectors, all of whose loads exist */
    int64_t src_share, dst_share; /* bytes to load ahead, of a tile's row */
    int64_t bands, band_rows, tall; /* tall: a whole band's rows in tall tiles */
    const real *zeros; /* window_zeros of them */
} window_plane;

/* One strip at a side: the lanes of its loads, and those of its outputs. */
typedef struct {
    int64_t q, n; /* columns q .. q + n - 1 */
    v_part load[WINDOW_SIZE + 1], out;
} window_edge;

/* Of narrow planes, the lanes of a row of the source that a column of windows reads, counted on in
 * a second vector. For padding, the last one, which is zero if the row does not reach it. */
typedef struct {
    vi from;
    vm exist; /* those that are not padding */
} window_lanes;

/* Some rows of a plane: row[i] is the i-th source row of `rows` rows of windows, of which the first
 * `tall` are computed in tall tiles; they give dst_rows. The edges are the same in all bands. */
typedef struct {
    const window_plane *plane;
    int64_t rows, tall, edges, dst_rows;
    int64_t planes; /* of those that share a vector: fewer at the end of a run */
    int64_t first, end; /* source rows first .. end - 1 exist, the others are padding */
    window_edge edge[WINDOW_EDGES];
    window_lanes lanes[WINDOW_SIZE];
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

#if defined(FC_TIER_AVX512)
/* Planes that share a vector of sums: two if a row takes half of it; one if it takes more, with
 * stride 1; else 0. Of two planes, rows of the source are one vector with stride 1, two with
 * stride 2. */
static int64_t window_narrow(const window_plane *p) {
    if (p->step > 1) return 0;
    /* The usual padding, so that the middle column is the row itself, with zeros behind it. */
    if (p->stride == 1 && (p->left != p->size / 2 || p->cols < p->src_cols)) return 0;
    if (fc_max(p->cols, fc_ceil_div(p->src_cols, p->stride)) <= VL / 2) return 2;
    return p->stride == 1 && fc_max(p->cols, p->src_cols) <= VL;
}

static void window_get_lanes(const window_plane *p, window_lanes *lanes) {
    int64_t width = VL / p->narrow, src_width = width * p->stride;
    for (int64_t j = 0; j < p->size; j++) {
        int32_t from[VL];
        unsigned exist = 0;
        for (int64_t i = 0; i < VL; i++) {
            int64_t q = i % width, at = q * p->stride - p->left + j;
            int exists = q < p->cols && at >= 0 && at < p->src_cols;
            from[i] = (int32_t)(i / width * src_width + (exists ? at : src_width - 1));
            exist |= (unsigned)exists << i;
        }
        lanes[j] = (window_lanes){vi_load(from), (vm)exist};
    }
}
#else /* Not elsewhere: AVX2, of shorter vectors and slow masked stores, took 1.02 to 1.18 times as
       * long with it. */
static int64_t window_narrow(const window_plane *p) {
    (void)p;
    return 0;
}
static void window_get_lanes(const window_plane *p, window_lanes *lanes) {
    (void)p, (void)lanes;
}
#endif

/* Planes computed together. */
INLINE int64_t window_together(const window_plane *p) { return fc_max(1, p->narrow); }

/* Length of the row of zeros: also where it would be in another plane. */
static int64_t window_zeros(const window_plane *p) {
    return p->src_cols + (window_together(p) - 1) * p->src_rows * p->src_cols;
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
    p->narrow = window_narrow(p);
    return edges <= WINDOW_EDGES;
}

/* What all bands have in common. */
static void window_begin(const window_plane *p, window_band *b) {
    int64_t stride = p->stride;
    b->plane = p;
    b->rows = b->edges = 0;
    if (p->narrow > 0) window_get_lanes(p, b->lanes);
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

/* The sums of a band's rows y0 .. y1 - 1 of windows; dst is the band's first row. */
typedef void (*window_kernel)(const window_band *b, const window_channel *c, int64_t y0,
                              int64_t y1, real *dst);

/* sums[taps + 1][VL] += what a band gives the gradient of each weight, and of the bias; dy is its
 * first row. */
typedef void (*window_dot_kernel)(const window_band *b, const real *dy, real *sums);
