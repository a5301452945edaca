/* outer_tmpl.h - the outer-product micro-kernel: sums over pixels of NP broadcast values times NV
 * vectors, all in registers, without a horizontal sum; compiled per tier and real type.
 *
 *     sums[p][v] += sum over pixels i of  x[shift[p] + place(i)] * vectors[i][v]
 *
 * It serves the weight gradient (values: the taps' pixels; vectors: output channels of dy), and
 * Winograd's products (values: one tile's channels; vectors: output channels of the filters).
 */

/* The most vectors, and the most values that go with 1, 2, ... of them. */
#if N_REGISTERS == 32
enum { OUTER_NV = 4, OUTER_NP_MAX = 13 };
static const int OUTER_NP[OUTER_NV] = {12, 13, 8, 6};
#else
enum { OUTER_NV = 2, OUTER_NP_MAX = 8 };
static const int OUTER_NP[OUTER_NV] = {8, 6};
#endif

/* Where the broadcast values lie: pixel (n, row, col) at n * image + row * row + col * step. The
 * vectors follow each other without gaps, nv * VL reals a pixel. Meanwhile what the next call will
 * read is asked for: ahead_step reals a column, from `ahead` behind the first value on. */
typedef struct {
    int64_t images, rows, cols;
    int64_t step, row, image;
    int64_t ahead, ahead_step;
} outer_pixels;

/* sums is [NP][nv * VL]; it is added to, or, with add 0, written. */
typedef void (*outer_kernel)(const outer_pixels *at, const real *x, const int32_t *shift,
                             const real *vectors, real *sums, int add);

INLINE void outer_tile(const int nv, const int np, const outer_pixels *at, const real *x,
                       const int32_t *shift, const real *vectors, real *sums, int add) {
    vr acc[OUTER_NP_MAX][OUTER_NV];
    UNROLL for (int i = 0; i < np; i++) {
        UNROLL for (int j = 0; j < nv; j++)
            acc[i][j] = add ? v_load(sums + (i * nv + j) * VL) : v_zero();
    }
    int64_t step = at->step;
    for (int64_t n = 0; n < at->images; n++) {
        for (int64_t row = 0; row < at->rows; row++) {
            const real *value[OUTER_NP_MAX];
            UNROLL for (int i = 0; i < np; i++)
                value[i] = x + n * at->image + row * at->row + shift[i];
            const real *next = value[0] + at->ahead;
            for (int64_t col = 0; col < at->cols * step; col += step, vectors += nv * VL) {
                vr d[OUTER_NV];
                PREFETCH(next);
                next += at->ahead_step;
                UNROLL for (int j = 0; j < nv; j++) d[j] = v_load(vectors + j * VL);
                UNROLL for (int i = 0; i < np; i++) {
                    vr pixel = v_set1(value[i][col]);
                    UNROLL for (int j = 0; j < nv; j++) acc[i][j] = v_fma(pixel, d[j], acc[i][j]);
                }
            }
        }
    }
    UNROLL for (int i = 0; i < np; i++) {
        UNROLL for (int j = 0; j < nv; j++) v_store(sums + (i * nv + j) * VL, acc[i][j]);
    }
}

/* One for each number of values. X(nv, np) for all that there are, or for two vectors and more. */
#define OUTER_TO_6(X, nv) X(nv, 1) X(nv, 2) X(nv, 3) X(nv, 4) X(nv, 5) X(nv, 6)
#define OUTER_TO_8(X, nv) OUTER_TO_6(X, nv) X(nv, 7) X(nv, 8)
#define OUTER_TO_12(X, nv) OUTER_TO_8(X, nv) X(nv, 9) X(nv, 10) X(nv, 11) X(nv, 12)
#if N_REGISTERS == 32
#define OUTER_WIDE(X) OUTER_TO_12(X, 2) X(2, 13) OUTER_TO_8(X, 3) OUTER_TO_6(X, 4)
#define OUTER_ALL(X) OUTER_TO_12(X, 1) OUTER_WIDE(X)
#else
#define OUTER_WIDE(X) OUTER_TO_6(X, 2)
#define OUTER_ALL(X) OUTER_TO_8(X, 1) OUTER_WIDE(X)
#endif

#define OUTER_KERNEL(nv, np)                                                                    \
    static void outer_##nv##x##np(const outer_pixels *at, const real *x, const int32_t *shift,  \
                                  const real *vectors, real *sums, int add) {                   \
        outer_tile(nv, np, at, x, shift, vectors, sums, add);                                   \
    }
OUTER_ALL(OUTER_KERNEL)
#define OUTER_ENTRY(nv, np) [(nv) - 1][(np) - 1] = outer_##nv##x##np,
static const outer_kernel OUTER_KERNELS[OUTER_NV][OUTER_NP_MAX] = {OUTER_ALL(OUTER_ENTRY)};

/* How m channels are cut into panels of nv vectors, and the most values that go with one panel. */
typedef struct {
    int64_t count, nv, np, width; /* width: nv * VL */
} outer_panels;

static outer_panels outer_panels_of(int64_t m) {
    outer_panels p;
    int64_t vectors = fc_ceil_div(m, VL);
    p.count = fc_ceil_div(vectors, OUTER_NV);
    p.nv = fc_ceil_div(vectors, p.count);
    p.np = OUTER_NP[p.nv - 1];
    p.width = p.nv * VL;
    return p;
}

/* How n values are cut into groups of at most np: into the fewest, and those even, since a tile of
 * few values waits for its own sums. */
typedef struct {
    int64_t count, size, longer; /* the first `longer` have one value more */
} outer_groups;

INLINE outer_groups outer_groups_of(int64_t n, int64_t np) {
    int64_t count = fc_ceil_div(n, np);
    if (count == 0) return (outer_groups){0, 0, 0};
    return (outer_groups){count, n / count, n % count};
}

INLINE int64_t outer_size(const outer_groups *g, int64_t i) { return g->size + (i < g->longer); }

/* The first value of a group. */
INLINE int64_t outer_first(const outer_groups *g, int64_t i) {
    return i * g->size + fc_min(i, g->longer);
}
