/* depthwise_narrow_tmpl.h - usual windows (depthwise_window_tmpl.h) of planes whose rows are a
 * vector or less: of floats, maps up to 16 wide; compiled per real type, for AVX-512 alone.
 *
 * A row is loaded once (for windows of 5 and 7 all rows of a tile before any sum). The pixels that
 * a column of windows reads are a permutation of its lanes, where padding is an idle lane, and so
 * zero; or of `full` rows, by a mask, which takes longer. Where half a vector is enough for a row
 * of windows, two planes share one, and with it all arithmetic: with stride 1 their rows too, with
 * stride 2 those are two vectors, of which a permutation makes one. A sum is the same chain of
 * additions, alone or beside another's. Rows follow each other in memory: the hardware sees what
 * comes next.
 */
#if defined(FC_TIER_AVX512)

/* How far another plane is from the first, of those that share a vector; 0: it is the same. */
INLINE int64_t narrow_next(const window_band *b, int64_t rows, int64_t cols) {
    return b->planes == 2 ? rows * cols : 0;
}

/* A row of a plane, and of the one `next` further on in the upper half. */
INLINE vr narrow_load(const int planes, const real *p, int64_t next, v_part part) {
    vr a = v_load_part(p, part);
    if (planes == 1) return a;
    return I(mask_loadu)(a, (vm)(part << VL / 2), p + next - VL / 2);
}

/* A row of the source: with stride 2, the other plane's is a vector of its own. */
typedef struct { vr one, other; } narrow_row;
INLINE narrow_row narrow_source(const int stride, const int planes, const real *p, int64_t next,
                                v_part part) {
    if (stride == 1) return (narrow_row){narrow_load(planes, p, next, part), v_zero()};
    return (narrow_row){v_load_part(p, part), v_load_part(p + next, part)};
}

INLINE vr narrow_set1(const int planes, real a, real b) {
    return planes == 1 ? v_set1(a) : v_select(v_range(VL / 2, VL), v_set1(b), v_set1(a));
}

/* What column j of the windows reads of a row. */
INLINE vr narrow_pixels(const int size, const int stride, const int full, const window_band *b,
                        narrow_row row, int j) {
    const window_lanes *l = &b->lanes[j];
    if (stride == 2) return I(maskz_permutex2var)(l->exist, row.one, l->from, row.other);
    if (j == size / 2) return row.one;
    return full ? I(maskz_permutexvar)(l->exist, l->from, row.one) : v_permute(row.one, l->from);
}

/* acc += a column of weights times what it reads of the tile's source row i. */
INLINE void narrow_add(const int size, const int stride, const int rows, const int i, vr pixel,
                       const vr weight[WINDOW_SIZE], vr acc[WINDOW_TALL]) {
    UNROLL for (int r = 0; r < rows; r++) {
        int k = i - r * stride;
        if (k >= 0 && k < size) acc[r] = v_fma(weight[k], pixel, acc[r]);
    }
}

/* Rows y .. y + rows - 1 of windows, of which `now` exist; dst is the band's first row. */
INLINE void narrow_tile(const int size, const int stride, const int rows, const int planes,
                        const int full, const window_band *b, const window_channel *c, int64_t y,
                        int64_t now, real *dst) {
    enum { LINES = WINDOW_TALL - 1 + WINDOW_SIZE }; /* of stride 1 */
    const int lines = (rows - 1) * stride + size, padding = stride == 1 ? size / 2 : 0;
    const window_plane *p = b->plane;
    const real *const *row = b->row + y * stride;
    int64_t next = narrow_next(b, p->src_rows, p->src_cols);
    int64_t dst_next = narrow_next(b, p->dst_rows, p->dst_cols), cols = p->cols;
    v_part part = v_part_of(0, p->src_cols);
    vr acc[WINDOW_TALL], weight[WINDOW_SIZE][WINDOW_SIZE];
    narrow_row line[LINES];
    /* The usual padding, for small maps a good part of the work, is left out where none of its rows
     * exists (so weights that are not finite do not show there). */
    int above = padding > 0 && y + padding <= b->first;
    int below = padding > 0 && y + lines - padding >= b->end;
    UNROLL for (int r = 0; r < rows; r++) acc[r] = narrow_set1(planes, c[0].bias, c[1].bias);
    /* Rows of the source that stay in registers, and a column of weights at a time; or the weights,
     * and a row at a time: fewer, where the window is small or the rows two vectors. */
    const int by_column = size > 3 && stride == 1;
    if (by_column) UNROLL for (int i = 0; i < lines; i++)
        line[i] = narrow_source(stride, planes, row[i], next, part);
    UNROLL for (int j = 0; j < size; j++) {
        UNROLL for (int k = 0; k < size; k++)
            weight[j][k] = narrow_set1(planes, c[0].w[k * size + j], c[1].w[k * size + j]);
        if (by_column) UNROLL for (int i = 0; i < lines; i++) {
            if ((i < padding && above) || (i >= lines - padding && below)) continue;
            narrow_add(size, stride, rows, i, narrow_pixels(size, stride, full, b, line[i], j),
                       weight[j], acc);
        }
    }
    if (!by_column) UNROLL for (int i = 0; i < lines; i++) {
        if ((i < padding && above) || (i >= lines - padding && below)) continue;
        narrow_row source = narrow_source(stride, planes, row[i], next, part);
        UNROLL for (int j = 0; j < size; j++)
            narrow_add(size, stride, rows, i, narrow_pixels(size, stride, full, b, source, j),
                       weight[j], acc);
    }
    dst += y * cols;
    if (now < rows || c->epilogue.used) {
        real sums[WINDOW_TALL * VL + VL / 2];
        v_store(sums + rows * VL - VL / 2, v_zero()); /* the end is loaded, though not stored */
        UNROLL for (int r = 0; r < rows; r++) v_store(sums + r * VL, acc[r]);
        for (int64_t i = 0; i < b->planes; i++)
            window_finish(c, sums + i * VL / 2, fc_min(now, rows), cols, dst + i * dst_next, cols);
        return;
    }
    UNROLL for (int r = 0; r < rows; r++, dst += cols) {
        v_storen(dst, acc[r], cols);
        vm upper = (vm)(v_first(cols) << VL / 2);
        if (planes == 2) I(mask_storeu)(dst + dst_next - VL / 2, upper, acc[r]);
    }
}

#define NARROW_KERNEL(name, size, stride, planes, full, rows)                                     \
    static void narrow_##name(const window_band *b, const window_channel *c, int64_t y0,          \
                              int64_t y1, real *dst) {                                            \
        for (int64_t y = y0; y < y1; y += rows)                                                   \
            narrow_tile(size, stride, rows, planes, full, b, c, y, y1 - y, dst);                  \
    }
#define NARROW_KERNELS(name, size, stride, planes, full)                                          \
    NARROW_KERNEL(name##_tall, size, stride, planes, full, WINDOW_TALL)                           \
    NARROW_KERNEL(name##_low, size, stride, planes, full, WINDOW_LOW)
#define NARROW_KERNELS_OF(size)                                                                   \
    NARROW_KERNELS(one_##size, size, 1, 1, 0) NARROW_KERNELS(one_full_##size, size, 1, 1, 1)      \
    NARROW_KERNELS(two_##size, size, 1, 2, 0) NARROW_KERNELS(two_full_##size, size, 1, 2, 1)      \
    NARROW_KERNELS(strided_##size, size, 2, 2, 1)
NARROW_KERNELS(strided_2, 2, 2, 2, 1)
NARROW_KERNELS_OF(3)
NARROW_KERNELS_OF(5)
NARROW_KERNELS_OF(7)
/* How planes lie in a vector: one or two, their rows shorter than their part of it or full; or,
 * with stride 2, the rows of each in a vector of its own. */
typedef enum {
    NARROW_ONE, NARROW_ONE_FULL, NARROW_TWO, NARROW_TWO_FULL, NARROW_STRIDED, NARROW_WAYS
} narrow_way;

INLINE narrow_way narrow_way_of(const window_plane *p) {
    int full = p->src_cols == VL / p->narrow;
    if (p->stride == 2) return NARROW_STRIDED;
    if (p->narrow == 1) return full ? NARROW_ONE_FULL : NARROW_ONE;
    return full ? NARROW_TWO_FULL : NARROW_TWO;
}

#define NARROW_NAME(name) {narrow_##name##_tall, narrow_##name##_low}
#define NARROW_NAMES(size)                                                                        \
    {[NARROW_ONE] = NARROW_NAME(one_##size),                                                      \
     [NARROW_ONE_FULL] = NARROW_NAME(one_full_##size),                                            \
     [NARROW_TWO] = NARROW_NAME(two_##size),                                                      \
     [NARROW_TWO_FULL] = NARROW_NAME(two_full_##size),                                            \
     [NARROW_STRIDED] = NARROW_NAME(strided_##size)}
static const window_kernel NARROW_TILES[4][NARROW_WAYS][2] = {
    {[NARROW_STRIDED] = NARROW_NAME(strided_2)},
    NARROW_NAMES(3), NARROW_NAMES(5), NARROW_NAMES(7)};

/* ---------------------------------------------------------------- gradients of weights */

/* acc += what rows y .. y + rows - 1 of dy give each tap, and their sum. */
INLINE void narrow_dot_tile(const int size, const int stride, const int rows, const int planes,
                            const int full, const window_band *b, int64_t y, const real *dy,
                            vr acc[10]) {
    const window_plane *p = b->plane;
    const real *const *row = b->row + y * stride;
    int64_t next = narrow_next(b, p->src_rows, p->src_cols);
    int64_t dy_next = narrow_next(b, p->rows, p->cols);
    v_part part = v_part_of(0, p->src_cols), dy_part = v_part_of(0, p->cols);
    vr d[WINDOW_TALL];
    UNROLL for (int r = 0; r < rows; r++)
        d[r] = narrow_load(planes, dy + (y + r) * p->cols, dy_next, dy_part);
    UNROLL for (int r = 0; r < rows; r++) acc[size * size] = v_add(acc[size * size], d[r]);
    UNROLL for (int i = 0; i < (rows - 1) * stride + size; i++) {
        narrow_row line = narrow_source(stride, planes, row[i], next, part);
        UNROLL for (int j = 0; j < size; j++) {
            vr pixel = narrow_pixels(size, stride, full, b, line, j);
            UNROLL for (int r = 0; r < rows; r++) {
                int k = i - r * stride;
                if (k >= 0 && k < size)
                    acc[size * k + j] = v_fma(d[r], pixel, acc[size * k + j]);
            }
        }
    }
}

/* sums[taps + 1][VL] += a band's; dy is its first row. By exact rows: 0 * NaN would show. */
INLINE void narrow_dot(const int size, const int stride, const int planes, const int full,
                       const window_band *b, const real *dy, real *sums) {
    vr acc[10];
    UNROLL for (int t = 0; t <= size * size; t++) acc[t] = v_load(sums + t * VL);
    int64_t y = 0;
    for (; y + WINDOW_TALL <= b->rows; y += WINDOW_TALL)
        narrow_dot_tile(size, stride, WINDOW_TALL, planes, full, b, y, dy, acc);
    for (; y + WINDOW_LOW <= b->rows; y += WINDOW_LOW)
        narrow_dot_tile(size, stride, WINDOW_LOW, planes, full, b, y, dy, acc);
    for (; y < b->rows; y++) narrow_dot_tile(size, stride, 1, planes, full, b, y, dy, acc);
    UNROLL for (int t = 0; t <= size * size; t++) v_store(sums + t * VL, acc[t]);
}

#define NARROW_DOT(name, size, stride, planes, full)                                              \
    static void narrow_dot_##name(const window_band *b, const real *dy, real *sums) {             \
        narrow_dot(size, stride, planes, full, b, dy, sums);                                      \
    }
NARROW_DOT(one_3, 3, 1, 1, 0) NARROW_DOT(one_full_3, 3, 1, 1, 1)
NARROW_DOT(two_3, 3, 1, 2, 0) NARROW_DOT(two_full_3, 3, 1, 2, 1)
NARROW_DOT(strided_2, 2, 2, 2, 1) NARROW_DOT(strided_3, 3, 2, 2, 1)
static const window_dot_kernel NARROW_DOTS[2][NARROW_WAYS] = {
    {[NARROW_STRIDED] = narrow_dot_strided_2},
    {[NARROW_ONE] = narrow_dot_one_3, [NARROW_ONE_FULL] = narrow_dot_one_full_3,
     [NARROW_TWO] = narrow_dot_two_3, [NARROW_TWO_FULL] = narrow_dot_two_full_3,
     [NARROW_STRIDED] = narrow_dot_strided_3}};

#endif
