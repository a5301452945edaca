/* winograd_transform_tmpl.h - the transforms of Winograd's convolution F(m x m, r x r) on vectors,
 * a lane a channel; compiled per tier and real type. t = m + r - 1.
 *
 * A transform is a small constant matrix on both sides of a tile. Its rows come in pairs that differ
 * in the sign of the odd columns only (winograd_matrices.h), so a pair costs as much as one row.
 * Everything is unrolled; the constants end up in the instructions.
 */
#include "winograd_matrices.h"

enum { WINOGRAD_T_MAX = 8 };

/* sum over columns k = from, from + 2, ... of row[k] * in[k]; zeros are left out. */
INLINE vr wino_dot(const int n, const int from, const real *row, const vr *in) {
    vr sum = v_zero();
    int empty = 1;
    UNROLL for (int k = from; k < n; k += 2) {
        if (row[k] == 0) continue;
        if (empty)
            sum = row[k] == 1 ? in[k] : v_mul(v_set1(row[k]), in[k]);
        else
            sum = row[k] == 1 ? v_add(sum, in[k]) : v_fma(v_set1(row[k]), in[k], sum);
        empty = 0;
    }
    return sum;
}

/* out[t] = M in[n], M of t rows: a row, pairs of rows, a row. */
INLINE void wino_rows(const int t, const int n, const real *matrix, const vr *in, vr *out) {
    out[0] = v_add(wino_dot(n, 0, matrix, in), wino_dot(n, 1, matrix, in));
    UNROLL for (int i = 1; i + 1 < t; i += 2) {
        vr even = wino_dot(n, 0, matrix + i * n, in), odd = wino_dot(n, 1, matrix + i * n, in);
        out[i] = v_add(even, odd);
        out[i + 1] = v_sub(even, odd);
    }
    const real *last = matrix + (t - 1) * n;
    out[t - 1] = v_add(wino_dot(n, 0, last, in), wino_dot(n, 1, last, in));
}

/* The adjoint: out[n] = M^T in[t]. */
INLINE void wino_columns(const int t, const int n, const real *matrix, const vr *in, vr *out) {
    vr sum[WINOGRAD_T_MAX], difference[WINOGRAD_T_MAX];
    UNROLL for (int i = 1; i + 1 < t; i += 2) {
        sum[i] = v_add(in[i], in[i + 1]);
        difference[i] = v_sub(in[i], in[i + 1]);
    }
    UNROLL for (int k = 0; k < n; k++) {
        vr total = v_zero();
        int empty = 1;
        UNROLL for (int i = 0; i < t; i++) {
            int paired = i > 0 && i < t - 1;
            if ((paired && i % 2 == 0) || matrix[i * n + k] == 0) continue;
            vr value = !paired ? in[i] : k % 2 == 0 ? sum[i] : difference[i];
            if (empty)
                total = v_mul(v_set1(matrix[i * n + k]), value);
            else
                total = v_fma(v_set1(matrix[i * n + k]), value, total);
            empty = 0;
        }
        out[k] = total;
    }
}

/* Which way a matrix is applied: to[out x out] = M from[in x in] M^T, M or its adjoint being t x n. */
INLINE void wino_apply(const int adjoint, const int t, const int n, const real *matrix,
                       const vr *in, vr *out) {
    if (adjoint)
        wino_columns(t, n, matrix, in, out);
    else
        wino_rows(t, n, matrix, in, out);
}

/* Both sides of a tile: element (i, j) of `from` at (i * from_row + j * from_col), vectors of VL. */
INLINE void wino_tile(const int adjoint, const int t, const int n, const real *matrix,
                      const real *from, int64_t from_row, int64_t from_col, real *to,
                      int64_t to_row, int64_t to_col) {
    const int inputs = adjoint ? t : n, outputs = adjoint ? n : t;
    vr rows[WINOGRAD_T_MAX][WINOGRAD_T_MAX]; /* [column of the output][row of the input] */
    UNROLL for (int i = 0; i < inputs; i++) {
        vr in[WINOGRAD_T_MAX], out[WINOGRAD_T_MAX];
        UNROLL for (int j = 0; j < inputs; j++) in[j] = v_load(from + i * from_row + j * from_col);
        wino_apply(adjoint, t, n, matrix, in, out);
        UNROLL for (int j = 0; j < outputs; j++) rows[j][i] = out[j];
    }
    UNROLL for (int j = 0; j < outputs; j++) {
        vr out[WINOGRAD_T_MAX];
        wino_apply(adjoint, t, n, matrix, rows[j], out);
        UNROLL for (int i = 0; i < outputs; i++) v_store(to + i * to_row + j * to_col, out[i]);
    }
}

/* The five transforms of a variant. "Products" are t x t vectors, `plane` reals apart. */
typedef struct {
    int64_t m, r, t;
    void (*input)(const real *strip, int64_t row, real *products, int64_t plane);
    void (*output)(const real *products, int64_t plane, real *strip, int64_t row);
    void (*filter)(const real *taps, int64_t row, int64_t col, real *products, int64_t plane);
    void (*gradient)(const real *strip, int64_t row, real *products, int64_t plane);
    void (*filter_gradient)(const real *products, int64_t plane, real *taps);
} winograd_variant;

#define WINOGRAD(m, r, t)                                                                         \
    static void wino_input_##m##_##r(const real *strip, int64_t row, real *products,              \
                                     int64_t plane) {                                             \
        wino_tile(0, t, t, WINOGRAD_BT_##m##_##r, strip, row, VL, products, t * plane, plane);    \
    }                                                                                             \
    static void wino_output_##m##_##r(const real *products, int64_t plane, real *strip,           \
                                      int64_t row) {                                              \
        wino_tile(1, t, m, WINOGRAD_A_##m##_##r, products, t * plane, plane, strip, row, VL);     \
    }                                                                                             \
    static void wino_filter_##m##_##r(const real *taps, int64_t row, int64_t col, real *products, \
                                      int64_t plane) {                                            \
        wino_tile(0, t, r, WINOGRAD_G_##m##_##r, taps, row, col, products, t * plane, plane);     \
    }                                                                                             \
    static void wino_gradient_##m##_##r(const real *strip, int64_t row, real *products,           \
                                        int64_t plane) {                                          \
        wino_tile(0, t, m, WINOGRAD_A_##m##_##r, strip, row, VL, products, t * plane, plane);     \
    }                                                                                             \
    static void wino_filter_gradient_##m##_##r(const real *products, int64_t plane, real *taps) { \
        wino_tile(1, t, r, WINOGRAD_G_##m##_##r, products, t * plane, plane, taps, r * VL, VL);   \
    }
WINOGRAD(4, 3, 6)
WINOGRAD(6, 3, 8)
WINOGRAD(4, 5, 8)
#define WINOGRAD_VARIANT(m, r, t)                                                             \
    {m, r, t, wino_input_##m##_##r, wino_output_##m##_##r, wino_filter_##m##_##r,             \
     wino_gradient_##m##_##r, wino_filter_gradient_##m##_##r}
static const winograd_variant WINOGRAD_VARIANTS[3] = {
    WINOGRAD_VARIANT(4, 3, 6), WINOGRAD_VARIANT(6, 3, 8), WINOGRAD_VARIANT(4, 5, 8),
};
