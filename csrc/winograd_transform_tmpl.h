/* winograd_transform_tmpl.h - the transforms of Winograd's convolution on vectors, a lane a
 * channel; compiled per tier and real type.
 *
 * A transform is a small constant matrix on both sides of a tile. Its first rows are one on its
 * own, then pairs that differ in the sign of some columns (winograd_matrices.h), so that a pair
 * costs as much as one row. Everything is unrolled; the constants end up in the instructions, and
 * rows with a single 1 in none.
 */
#include "winograd_matrices.h"

enum { WINOGRAD_T_MAX = 10 };

/* sum + factor * in, or, the first time, without the sum. */
INLINE vr wino_add(const int first, vr sum, const real factor, vr in) {
    if (factor == 1) return first ? in : v_add(sum, in);
    return first ? v_mul(v_set1(factor), in) : v_fma(v_set1(factor), in, sum);
}

/* sum over columns of row[k] * in[k], of those columns in which the other row has sign * row[k];
 * zeros are left out. */
INLINE vr wino_dot(const int n, const real *row, const real *other, const int sign, const vr *in) {
    vr sum = v_zero();
    int first = 1;
    UNROLL for (int k = 0; k < n; k++) {
        if (row[k] == 0 || other[k] != sign * row[k]) continue;
        sum = wino_add(first, sum, row[k], in[k]);
        first = 0;
    }
    return sum;
}

/* out[t] = M in[n]. */
INLINE void wino_rows(const int t, const int n, const int pairs, const real *matrix, const vr *in,
                      vr *out) {
    UNROLL for (int i = 0; i < t; i++) {
        const real *row = matrix + i * n;
        if (i == 0 || i > 2 * pairs) {
            out[i] = wino_dot(n, row, row, 1, in);
        } else if (i % 2 == 1) {
            vr same = wino_dot(n, row, row + n, 1, in), turned = wino_dot(n, row, row + n, -1, in);
            out[i] = v_add(same, turned);
            out[i + 1] = v_sub(same, turned);
        }
    }
}

/* The adjoint: out[n] = M^T in[t]. */
INLINE void wino_columns(const int t, const int n, const int pairs, const real *matrix,
                         const vr *in, vr *out) {
    vr sum[WINOGRAD_T_MAX], difference[WINOGRAD_T_MAX];
    UNROLL for (int i = 1; i < 2 * pairs; i += 2) {
        sum[i] = v_add(in[i], in[i + 1]);
        difference[i] = v_sub(in[i], in[i + 1]);
    }
    UNROLL for (int k = 0; k < n; k++) {
        vr total = v_zero();
        int first = 1;
        UNROLL for (int i = 0; i < t; i++) {
            int paired = i > 0 && i <= 2 * pairs;
            real factor = matrix[i * n + k];
            if ((paired && i % 2 == 0) || factor == 0) continue;
            vr value = !paired ? in[i] : matrix[i * n + n + k] == factor ? sum[i] : difference[i];
            total = wino_add(first, total, factor, value);
            first = 0;
        }
        out[k] = total;
    }
}

/* Which way a matrix is applied: to[out x out] = M from[in x in] M^T, M or its adjoint
 * being t x n. */
INLINE void wino_apply(const int adjoint, const int t, const int n, const int pairs,
                       const real *matrix, const vr *in, vr *out) {
    if (adjoint)
        wino_columns(t, n, pairs, matrix, in, out);
    else
        wino_rows(t, n, pairs, matrix, in, out);
}

/* Both sides of a tile: element (i, j) of `from` at
 * (i * from_row + j * from_col), vectors of VL. */
INLINE void wino_tile(const int adjoint, const int t, const int n, const int pairs,
                      const real *matrix, const real *from, int64_t from_row, int64_t from_col,
                      real *to, int64_t to_row, int64_t to_col) {
    const int inputs = adjoint ? t : n, outputs = adjoint ? n : t;
    vr rows[WINOGRAD_T_MAX][WINOGRAD_T_MAX]; /* [column of the output][row of the input] */
    UNROLL for (int i = 0; i < inputs; i++) {
        vr in[WINOGRAD_T_MAX], out[WINOGRAD_T_MAX];
        UNROLL for (int j = 0; j < inputs; j++) in[j] = v_load(from + i * from_row + j * from_col);
        wino_apply(adjoint, t, n, pairs, matrix, in, out);
        UNROLL for (int j = 0; j < outputs; j++) rows[j][i] = out[j];
    }
    UNROLL for (int j = 0; j < outputs; j++) {
        vr out[WINOGRAD_T_MAX];
        wino_apply(adjoint, t, n, pairs, matrix, rows[j], out);
        UNROLL for (int i = 0; i < outputs; i++) v_store(to + i * to_row + j * to_col, out[i]);
    }
}

/* One side of a tile, as in a row or in a column. */
INLINE void wino_line(const int adjoint, const int t, const int n, const int pairs,
                      const real *matrix, const real *from, int64_t from_step, real *to,
                      int64_t to_step) {
    const int inputs = adjoint ? t : n, outputs = adjoint ? n : t;
    vr in[WINOGRAD_T_MAX], out[WINOGRAD_T_MAX];
    UNROLL for (int i = 0; i < inputs; i++) in[i] = v_load(from + i * from_step);
    wino_apply(adjoint, t, n, pairs, matrix, in, out);
    UNROLL for (int i = 0; i < outputs; i++) v_store(to + i * to_step, out[i]);
}

/* A tile along one axis. */
typedef struct {
    int64_t source, step; /* source pixels of a tile; from one tile to the next */
    int64_t m, r;         /* output pixels of a tile; taps of the filter */
    int64_t t, f;         /* products; the last of them share the filter's last, f - 1 */
} winograd_axis;

/* A variant's tiles, squares, or lines along an axis while the other has single pixels,
 * and its transforms. "Products" are vectors, y.t x x.t of a tile and y.f x x.f of a
 * filter, `plane` reals apart. */
typedef struct {
    winograd_axis y, x;
    void (*input)(const real *strip, int64_t row, real *products, int64_t plane);
    void (*output)(const real *products, int64_t plane, real *strip, int64_t row);
    void (*filter)(const real *taps, int64_t row, int64_t col, real *products, int64_t plane);
    /* backward weights; NULL where a variant is not for that */
    void (*gradient)(const real *strip, int64_t row, real *products, int64_t plane);
    void (*filter_gradient)(const real *products, int64_t plane, real *taps);
} winograd_variant;

/* The place among a filter's products of the one that meets product (row, col) of a tile. */
static int64_t wino_filter_product(const winograd_variant *v, int64_t row, int64_t col) {
    return fc_min(row, v->y.f - 1) * v->x.f + fc_min(col, v->x.f - 1);
}

#define WINOGRAD_TILES(name, source, m, t, pairs)                                                 \
    static void wino_input_##name(const real *strip, int64_t row, real *products,                 \
                                  int64_t plane) {                                                \
        wino_tile(0, t, source, pairs, WINOGRAD_BT_##name, strip, row, VL, products, t * plane,   \
                  plane);                                                                         \
    }                                                                                             \
    static void wino_output_##name(const real *products, int64_t plane, real *strip,              \
                                   int64_t row) {                                                 \
        wino_tile(1, t, m, pairs, WINOGRAD_A_##name, products, t * plane, plane, strip, row, VL); \
    }
#define WINOGRAD_FILTERS(name, m, r, t, f, pairs)                                                 \
    static void wino_filter_##name(const real *taps, int64_t row, int64_t col, real *products,    \
                                   int64_t plane) {                                               \
        wino_tile(0, f, r, pairs, WINOGRAD_G_##name, taps, row, col, products, f * plane, plane); \
    }                                                                                             \
    static void wino_gradient_##name(const real *strip, int64_t row, real *products,              \
                                     int64_t plane) {                                             \
        wino_tile(0, t, m, pairs, WINOGRAD_A_##name, strip, row, VL, products, t * plane, plane); \
    }                                                                                             \
    static void wino_filter_gradient_##name(const real *products, int64_t plane, real *taps) {    \
        wino_tile(1, f, r, pairs, WINOGRAD_G_##name, products, f * plane, plane, taps, r * VL,    \
                  VL);                                                                            \
    }
WINOGRAD_TILES(4_3, 6, 4, 6, 2) WINOGRAD_FILTERS(4_3, 4, 3, 6, 6, 2)
WINOGRAD_TILES(6_3, 8, 6, 8, 3) WINOGRAD_FILTERS(6_3, 6, 3, 8, 8, 3)
WINOGRAD_TILES(4_5, 8, 4, 8, 3) WINOGRAD_FILTERS(4_5, 4, 5, 8, 8, 3)
WINOGRAD_TILES(S2, 9, 4, 9, 2) WINOGRAD_FILTERS(S2, 4, 3, 9, 6, 2)
WINOGRAD_TILES(S2T, 5, 8, 9, 2)
WINOGRAD_TILES(S4, 10, 4, 10, 4) WINOGRAD_FILTERS(S4, 4, 4, 10, 10, 4)
WINOGRAD_TILES(S4T, 6, 8, 10, 4)

/* Tiles of m outputs for r taps in a row (1 x r) or in a column. The step along the line is `row`
 * (wino_step), of a filter `col`. */
#define WINOGRAD_LINES(name, m, r, t, pairs)                                                      \
    static void wino_line_input_##name(const real *strip, int64_t row, real *products,            \
                                       int64_t plane) {                                           \
        wino_line(0, t, t, pairs, WINOGRAD_BT_##name, strip, row, products, plane);               \
    }                                                                                             \
    static void wino_line_output_##name(const real *products, int64_t plane, real *strip,         \
                                        int64_t row) {                                            \
        wino_line(1, t, m, pairs, WINOGRAD_A_##name, products, plane, strip, row);                \
    }                                                                                             \
    static void wino_line_filter_##name(const real *taps, int64_t row, int64_t col,               \
                                        real *products, int64_t plane) {                          \
        (void)row; /* of a column too, taps are neighbours */                                     \
        wino_line(0, t, r, pairs, WINOGRAD_G_##name, taps, col, products, plane);                 \
    }                                                                                             \
    static void wino_line_gradient_##name(const real *strip, int64_t row, real *products,         \
                                          int64_t plane) {                                        \
        wino_line(0, t, m, pairs, WINOGRAD_A_##name, strip, row, products, plane);                \
    }                                                                                             \
    static void wino_line_filter_gradient_##name(const real *products, int64_t plane,             \
                                                 real *taps) {                                    \
        wino_line(1, t, r, pairs, WINOGRAD_G_##name, products, plane, taps, VL);                  \
    }
WINOGRAD_LINES(4_3, 4, 3, 6, 2)
WINOGRAD_LINES(4_5, 4, 5, 8, 3)
WINOGRAD_LINES(4_7, 4, 7, 10, 4)

#define WINOGRAD_SQUARE(...) {__VA_ARGS__}, {__VA_ARGS__} /* source, step, m, r, t, f */
#define WINOGRAD_VARIANT(name, ...)                                                               \
    {WINOGRAD_SQUARE(__VA_ARGS__), wino_input_##name, wino_output_##name, wino_filter_##name,     \
     wino_gradient_##name, wino_filter_gradient_##name}
static const winograd_variant WINOGRAD_4_3 = WINOGRAD_VARIANT(4_3, 6, 4, 4, 3, 6, 6);
static const winograd_variant WINOGRAD_6_3 = WINOGRAD_VARIANT(6_3, 8, 6, 6, 3, 8, 8);
static const winograd_variant WINOGRAD_4_5 = WINOGRAD_VARIANT(4_5, 8, 4, 4, 5, 8, 8);
static const winograd_variant WINOGRAD_S2 = WINOGRAD_VARIANT(S2, 9, 8, 4, 3, 9, 6);
static const winograd_variant WINOGRAD_S2T = {
    WINOGRAD_SQUARE(5, 4, 8, 3, 9, 6), wino_input_S2T, wino_output_S2T, wino_filter_S2,
    NULL, NULL,
};
static const winograd_variant WINOGRAD_S4 = WINOGRAD_VARIANT(S4, 10, 8, 4, 4, 10, 10);
static const winograd_variant WINOGRAD_S4T = {
    WINOGRAD_SQUARE(6, 4, 8, 4, 10, 10), wino_input_S4T, wino_output_S4T, wino_filter_S4,
    NULL, NULL,
};

#define WINOGRAD_ONE {1, 1, 1, 1, 1, 1} /* an axis with nothing to do */
#define WINOGRAD_LINE(name)                                                                       \
    wino_line_input_##name, wino_line_output_##name, wino_line_filter_##name,                     \
        wino_line_gradient_##name, wino_line_filter_gradient_##name
#define WINOGRAD_ROW(name, m, r, t) {WINOGRAD_ONE, {t, m, m, r, t, t}, WINOGRAD_LINE(name)}
#define WINOGRAD_COLUMN(name, m, r, t) {{t, m, m, r, t, t}, WINOGRAD_ONE, WINOGRAD_LINE(name)}
/* For 3, 5 and 7 taps. */
static const winograd_variant WINOGRAD_ROWS[] = {
    WINOGRAD_ROW(4_3, 4, 3, 6), WINOGRAD_ROW(4_5, 4, 5, 8), WINOGRAD_ROW(4_7, 4, 7, 10)};
static const winograd_variant WINOGRAD_COLUMNS[] = {
    WINOGRAD_COLUMN(4_3, 4, 3, 6), WINOGRAD_COLUMN(4_5, 4, 5, 8), WINOGRAD_COLUMN(4_7, 4, 7, 10)};
