/* depthwise_tiles_tmpl.h - the kernels of usual windows (depthwise_window_tmpl.h); compiled per
 * tier and real type.
 *
 * Whoever takes a plane by rows of tiles reads short pieces of many rows, in which the hardware
 * sees no order. So each tile starts loading its share of what comes one row of tiles later, of the
 * source and of what is written: all in all in the order of the memory.
 *
 * A tile is some rows of a vector of windows. It takes the window's columns one after the other (by
 * pairs, with stride 2), whose weights then are in registers, and loads each pixel of a column once
 * for all of the tile's rows. With stride 2 even and odd pixels are parted in registers.
 */

/* Bytes beyond the next row of tiles, to load the source. Windows two pixels apart have a source
 * four times as long as the result, more than the few lines that the first cache can wait for at a
 * time: it is loaded into the second. */
enum { WINDOW_AHEAD = 2048, WINDOW_AHEAD_L2 = 8192 };

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
    const window_kernel *kernels = WINDOW_KERNELS[(p->size - 1) / 2][p->stride - 1];
    int64_t tall = b->tall;
    if (p->step == 2) kernels = SPREAD_KERNELS[p->size - 1];
#if defined(FC_TIER_AVX512)
    if (p->narrow > 0) kernels = NARROW_TILES[(p->size - 1) / 2][narrow_way_of(p)];
#endif
    if (tall > 0) kernels[0](b, c, 0, tall, dst);
    if (tall < b->rows) kernels[1](b, c, tall, b->rows, dst);
}
