/* gemm_tmpl.h - C[M,N] (+)= A[M,K] * B[K,N] with any strides, which covers every transposition;
 * compiled per tier and real type, for the linear layers and whoever else needs a product.
 *
 * K is cut into even blocks of at most GEMM_KC; an element of C is its start value plus one block
 * sum after the other, and a block sum is one chain of fused multiply-adds with rising k. So an
 * element's bits depend on K and its own row and column alone: not on M, N, tiles or threads, nor
 * on which operand is held in vectors (a * b = b * a).
 *
 * The micro-kernel holds GEMM_MR x GEMM_NR elements of C in registers, adds a broadcast of A times
 * vectors of B, and reads B as a panel [k][GEMM_NR] that stays in L1. Panels of B are packed just
 * before use; A is packed as [k][GEMM_MR] where it is used often enough to pay. Tiles of C are the
 * parallel tasks (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication").
 */

#if N_REGISTERS == 32
#define GEMM_MR 8
#define GEMM_NV 3
#else
#define GEMM_MR 6
#define GEMM_NV 2
#endif
#define GEMM_NR (GEMM_NV * VL)
#define GEMM_KC 256            /* a panel of B is at most 48 KiB */
#define GEMM_MC (GEMM_MR * 24) /* a packed tile of A is at most 384 KiB */
#define GEMM_NC 512            /* columns of a tile, about */
/* Panels of B packed at once: 768 bytes of a row, because each row may lie on a page of its own. */
#define GEMM_GROUP ((int)(768 / (GEMM_NR * sizeof(real))))

typedef struct {
    int64_t m, n, k;
    const real *a;
    int64_t a_row, a_col; /* strides in elements */
    const real *b;
    int64_t b_row, b_col;
    real *c;
    int64_t c_row, c_col;
    int accumulate;    /* start from what C holds; else from start, and without that from 0 */
    const real *start; /* start[i * start_row + j * start_col], a bias for example */
    int64_t start_row, start_col;
    real *claim;       /* or NULL: laid out like C, in rows; what the caller writes next */
} gemm_problem;

/* Scratch of one thread, in reals: panels of B, a tile of A, and room to store past its end. */
enum { GEMM_SCRATCH = GEMM_GROUP * GEMM_KC * GEMM_NR + GEMM_MC * GEMM_KC + VL };

/* ---- micro-kernels ---- */

INLINE void gemm_kernel(const int mr, const int nv, int64_t k, const real *a, int64_t a_row,
                        int64_t a_col, const real *panel, real *c, int64_t c_row,
                        int accumulate) {
    vr sum[GEMM_MR][GEMM_NV];
    UNROLL for (int i = 0; i < mr; i++)
        UNROLL for (int j = 0; j < nv; j++) sum[i][j] = v_zero();
    for (int64_t p = 0; p < k; p++, a += a_col, panel += GEMM_NR) {
        vr v[GEMM_NV];
        UNROLL for (int j = 0; j < nv; j++) v[j] = v_load(panel + j * VL);
        UNROLL for (int i = 0; i < mr; i++) {
            vr s = v_set1(a[i * a_row]);
            UNROLL for (int j = 0; j < nv; j++) sum[i][j] = v_fma(s, v[j], sum[i][j]);
        }
    }
    if (accumulate) {
        UNROLL for (int i = 0; i < mr; i++)
            UNROLL for (int j = 0; j < nv; j++)
                sum[i][j] = v_add(v_load(c + i * c_row + j * VL), sum[i][j]);
    }
    UNROLL for (int i = 0; i < mr; i++)
        UNROLL for (int j = 0; j < nv; j++) v_store(c + i * c_row + j * VL, sum[i][j]);
}

typedef void gemm_kernel_fn(int64_t k, const real *a, int64_t a_row, int64_t a_col,
                            const real *panel, real *c, int64_t c_row, int accumulate);

#define GEMM_KERNEL(name, mr, nv)                                                               \
    static void name(int64_t k, const real *a, int64_t a_row, int64_t a_col, const real *panel, \
                     real *c, int64_t c_row, int accumulate) {                                  \
        gemm_kernel(mr, nv, k, a, a_row, a_col, panel, c, c_row, accumulate);                   \
    }
GEMM_KERNEL(gemm_mr_1, GEMM_MR, 1)
GEMM_KERNEL(gemm_mr_2, GEMM_MR, 2)
GEMM_KERNEL(gemm_4_1, 4, 1)
GEMM_KERNEL(gemm_4_2, 4, 2)
GEMM_KERNEL(gemm_2_1, 2, 1)
GEMM_KERNEL(gemm_2_2, 2, 2)
GEMM_KERNEL(gemm_1_1, 1, 1)
GEMM_KERNEL(gemm_1_2, 1, 2)
#if GEMM_NV == 3
GEMM_KERNEL(gemm_mr_3, GEMM_MR, 3)
GEMM_KERNEL(gemm_4_3, 4, 3)
GEMM_KERNEL(gemm_2_3, 2, 3)
GEMM_KERNEL(gemm_1_3, 1, 3)
#define GEMM_KERNEL_ROW(one, two, three) {one, two, three}
#else
#define GEMM_KERNEL_ROW(one, two, three) {one, two}
#endif
static const struct {
    int rows;
    gemm_kernel_fn *by_vectors[GEMM_NV];
} GEMM_KERNELS[] = {
    {GEMM_MR, GEMM_KERNEL_ROW(gemm_mr_1, gemm_mr_2, gemm_mr_3)},
    {4, GEMM_KERNEL_ROW(gemm_4_1, gemm_4_2, gemm_4_3)},
    {2, GEMM_KERNEL_ROW(gemm_2_1, gemm_2_2, gemm_2_3)},
    {1, GEMM_KERNEL_ROW(gemm_1_1, gemm_1_2, gemm_1_3)},
};

/* ---- packing ---- */

/* One panel of nr <= GEMM_NR columns of B as [k][GEMM_NR], with the last vector filled up with
 * zeros, from columns that lie anywhere. */
static void gemm_pack_b_columns(int64_t k, int64_t nr, const real *b, int64_t b_row,
                                int64_t b_col, real *to) {
    for (int64_t j = 0; j < nr; j += VL) {
        int64_t n = fc_min(nr - j, VL), p = 0;
        const real *from = b + j * b_col;
        real *t = to + j;
        if (n == VL && b_row == 1)
            for (; p + VL <= k; p += VL) {
                vr r[VL];
                v_load_transposed(PIECES, from + p, b_col, r);
                UNROLL for (int l = 0; l < VL; l++) v_store(t + (p + l) * GEMM_NR, r[l]);
            }
        for (; p < k; p++)
            for (int64_t l = 0; l < VL; l++)
                t[p * GEMM_NR + l] = l < n ? from[p * b_row + l * b_col] : 0;
    }
}

/* Up to GEMM_GROUP such panels, one after the other, of n columns that are neighbours. */
static void gemm_pack_b_rows(int64_t k, int64_t n, const real *b, int64_t b_row, real *to) {
    for (int64_t p = 0; p < k; p++, b += b_row, to += GEMM_NR) {
        int64_t j = 0;
        real *t = to;
        for (; j + GEMM_NR <= n; j += GEMM_NR, t += k * GEMM_NR)
            UNROLL for (int v = 0; v < GEMM_NR; v += VL) v_store(t + v, v_load(b + j + v));
        for (int64_t v = 0; j + v < n; v += VL) v_store(t + v, v_loadn(b + j + v, n - j - v));
    }
}

/* A full panel of A as [k][GEMM_MR]; may write up to VL - 1 reals past its end. */
INLINE void gemm_pack_a_panel(int64_t k, const real *a, int64_t a_row, int64_t a_col, real *to) {
    int64_t p = 0;
    if (a_col == 1) {
        /* VL values of VL rows at a time, the last rows first: a vector that is wider than the
         * rows left runs into the next [GEMM_MR], which is written after it. */
        for (; p + VL <= k; p += VL)
            UNROLL for (int i = (GEMM_MR - 1) / VL * VL; i >= 0; i -= VL) {
                vr r[VL];
                UNROLL for (int l = 0; l < VL; l++)
                    r[l] = i + l < GEMM_MR ? v_load(a + (i + l) * a_row + p) : v_zero();
                v_transpose(r);
                UNROLL for (int l = 0; l < VL; l++) v_store(to + (p + l) * GEMM_MR + i, r[l]);
            }
    }
    for (; p < k; p++)
        for (int i = 0; i < GEMM_MR; i++) to[p * GEMM_MR + i] = a[i * a_row + p * a_col];
}

static void gemm_pack_a(int64_t k, int64_t rows, const real *a, int64_t a_row, int64_t a_col,
                        real *to) {
    int64_t i = 0;
    for (; i + GEMM_MR <= rows; i += GEMM_MR)
        gemm_pack_a_panel(k, a + i * a_row, a_row, a_col, to + i * k);
    for (int64_t p = 0; i < rows && p < k; p++)
        for (int64_t l = i; l < rows; l++)
            to[i * k + p * GEMM_MR + l - i] = a[l * a_row + p * a_col];
}

/* ---- one tile of C ---- */

/* Makes cache lines this core's own, before they are written. One that another core has read takes
 * a while to become so, and a core waits for its stores one by one, in order; a prefetch for
 * writing leaves a line as it is that is in the cache already. But a few stores of what is there
 * can wait beside the products of a tile. */
INLINE void gemm_claim(real *p, int64_t row, int mr, int64_t nr) {
    for (int64_t i = 0; i < mr; i++)
        for (int64_t j = 0; j < nr; j += LINE) {
            volatile real *one = p + i * row + j;
            *one = *one;
        }
}

/* One block of K of `rows` rows x one panel of nr <= GEMM_NR columns. a is packed if a_row is 0. */
static void gemm_panel(const gemm_problem *g, int64_t k, int64_t rows, const real *a,
                       int64_t a_row, int64_t nr, const real *panel, real *c, int accumulate) {
    int64_t vectors = fc_ceil_div(nr, VL);
    int direct = g->c_col == 1 && nr % VL == 0;
    for (int64_t i = 0; i < rows;) {
        int kind = 0;
        while (GEMM_KERNELS[kind].rows > rows - i) kind++;
        int mr = GEMM_KERNELS[kind].rows;
        gemm_kernel_fn *kernel = GEMM_KERNELS[kind].by_vectors[vectors - 1];
        const real *at = a_row ? a + i * a_row : a + i / GEMM_MR * GEMM_MR * k + i % GEMM_MR;
        int64_t row = a_row ? a_row : 1, col = a_row ? g->a_col : GEMM_MR;
        real *to = c + i * g->c_row;
        if (g->claim != NULL) gemm_claim(g->claim + (to - g->c), g->c_row, mr, nr);
        if (direct) {
            kernel(k, at, row, col, panel, to, g->c_row, accumulate);
        } else {
            real t[GEMM_MR * GEMM_NR];
            kernel(k, at, row, col, panel, t, GEMM_NR, 0);
            for (int64_t j = 0; j < nr; j++)
                for (int64_t l = 0; l < mr; l++) {
                    real *one = to + l * g->c_row + j * g->c_col;
                    *one = accumulate ? *one + t[l * GEMM_NR + j] : t[l * GEMM_NR + j];
                }
        }
        i += mr;
    }
}

/* One block of K of one row of C: no panel of B would be used twice, so none is packed. Both
 * return how many columns are done, a multiple of VL. This one is for columns of B that are
 * contiguous, which are transposed in registers, */
static int64_t gemm_row_by_columns(const gemm_problem *g, int64_t k, int64_t columns, const real *a,
                        const real *b, real *c, int accumulate) {
    int64_t x = 0;
    for (; x + VL <= columns; x += VL, b += VL * g->b_col) {
        vr sum = v_zero(), r[VL];
        int64_t p = 0;
        for (; p + VL <= k; p += VL) {
            v_load_transposed(PIECES, b + p, g->b_col, r);
            UNROLL for (int l = 0; l < VL; l++)
                sum = v_fma(v_set1(a[(p + l) * g->a_col]), r[l], sum);
        }
        for (; p < k; p++) {
            real t[VL];
            for (int l = 0; l < VL; l++) t[l] = b[l * g->b_col + p];
            sum = v_fma(v_set1(a[p * g->a_col]), v_load(t), sum);
        }
        v_store(c + x, accumulate ? v_add(v_load(c + x), sum) : sum);
    }
    return x;
}

/* and this one for rows that are. */
static int64_t gemm_row_by_rows(const gemm_problem *g, int64_t k, int64_t columns, const real *a,
                                const real *b, real *c, int accumulate) {
    enum { WIDE = N_REGISTERS / 2 };
    int64_t x = 0;
    for (; x + WIDE * VL <= columns; x += WIDE * VL) {
        vr sum[WIDE];
        UNROLL for (int v = 0; v < WIDE; v++) sum[v] = v_zero();
        for (int64_t p = 0; p < k; p++) {
            vr s = v_set1(a[p * g->a_col]);
            const real *from = b + p * g->b_row + x;
            UNROLL for (int v = 0; v < WIDE; v++)
                sum[v] = v_fma(s, v_load(from + v * VL), sum[v]);
        }
        UNROLL for (int v = 0; v < WIDE; v++) {
            real *to = c + x + v * VL;
            v_store(to, accumulate ? v_add(v_load(to), sum[v]) : sum[v]);
        }
    }
    return x;
}

/* What a tile of C holds before the first block of K, unless it is accumulated into. */
static void gemm_start(const gemm_problem *g, int64_t i, int64_t j, int64_t rows,
                       int64_t columns) {
    for (int64_t y = i; y < i + rows; y++)
        for (int64_t x = j; x < j + columns; x++)
            g->c[y * g->c_row + x * g->c_col] =
                g->start ? g->start[y * g->start_row + x * g->start_col] : 0;
}

/* The rows x columns of C from (i, j) on; rows <= GEMM_MC. */
static void gemm_tile(const gemm_problem *g, int64_t i, int64_t j, int64_t rows, int64_t columns,
                      real *scratch) {
    real *panels = scratch, *packed = scratch + GEMM_GROUP * GEMM_KC * GEMM_NR;
    real *c = g->c + i * g->c_row + j * g->c_col;
    int pack_a = columns > 2 * GEMM_NR && rows >= GEMM_MR;
    int64_t group = g->b_col == 1 ? GEMM_GROUP * GEMM_NR : GEMM_NR;
    int accumulate = g->accumulate || g->start != NULL;
    if (!g->accumulate && (g->start != NULL || g->k == 0)) gemm_start(g, i, j, rows, columns);
    for (int64_t p = 0, k; p < g->k; p += k, accumulate = 1) {
        k = fc_min(fc_ceil_div(g->k, fc_ceil_div(g->k, GEMM_KC)), g->k - p);
        const real *a = g->a + i * g->a_row + p * g->a_col;
        const real *b = g->b + p * g->b_row + j * g->b_col;
        int64_t x = 0;
        if (rows == 1 && g->c_col == 1 && g->b_col == 1)
            x = gemm_row_by_rows(g, k, columns, a, b, c, accumulate);
        else if (rows == 1 && g->c_col == 1 && g->b_row == 1)
            x = gemm_row_by_columns(g, k, columns, a, b, c, accumulate);
        if (pack_a) gemm_pack_a(k, rows, a, g->a_row, g->a_col, packed);
        for (; x < columns; x += group) {
            int64_t n = fc_min(group, columns - x);
            if (g->b_col == 1)
                gemm_pack_b_rows(k, n, b + x, g->b_row, panels);
            else
                gemm_pack_b_columns(k, n, b + x * g->b_col, g->b_row, g->b_col, panels);
            for (int64_t q = 0; q < n; q += GEMM_NR)
                gemm_panel(g, k, rows, pack_a ? packed : a, pack_a ? 0 : g->a_row,
                           fc_min(GEMM_NR, n - q), panels + q * k, c + (x + q) * g->c_col,
                           accumulate);
        }
    }
}

/* ---- the whole product ---- */

typedef struct {
    gemm_problem g;
    int64_t row_tiles, column_tiles, tile_rows, tile_columns;
    real *workspace;
} gemm_plan;

/* Transpose the whole product where that saves transposing a big B: with few rows (a batch) and
 * rows of B^T in memory (weights), A's few rows are held in vectors instead. */
INLINE void gemm_choose_side(gemm_problem *g) {
    if (g->b_col == 1 || g->m < VL / 2 || g->m > 2 * GEMM_NR || g->m >= g->n) return;
    gemm_problem h = *g;
    g->m = h.n, g->n = h.m;
    g->a = h.b, g->a_row = h.b_col, g->a_col = h.b_row;
    g->b = h.a, g->b_row = h.a_col, g->b_col = h.a_row;
    g->c_row = h.c_col, g->c_col = h.c_row;
    g->start_row = h.start_col, g->start_col = h.start_row;
}

/* Tiles by shape alone: at least eight, so that threads have work, but none too small to pay, since
 * each row of tiles packs its panels of B again. */
INLINE void gemm_choose_tiles(gemm_plan *plan) {
    const gemm_problem *g = &plan->g;
    double work = (double)g->m * (double)g->n * (double)g->k;
    int64_t rows = fc_ceil_div(g->m, GEMM_MC), columns = fc_ceil_div(g->n, GEMM_NC);
    while (rows * columns < 8 && work / (double)(rows * columns) > 5e5) {
        if (g->m * GEMM_NR / rows > g->n * GEMM_MR / columns)
            rows *= 2;
        else
            columns *= 2;
    }
    plan->tile_rows = fc_ceil_div(fc_ceil_div(g->m, rows), GEMM_MR) * GEMM_MR;
    plan->tile_columns = fc_ceil_div(fc_ceil_div(g->n, columns), GEMM_NR) * GEMM_NR;
    plan->row_tiles = fc_ceil_div(g->m, plan->tile_rows);
    plan->column_tiles = fc_ceil_div(g->n, plan->tile_columns);
}

static void gemm_task(void *p, int64_t item, int thread) {
    const gemm_plan *plan = p;
    const gemm_problem *g = &plan->g;
    int64_t i = item % plan->row_tiles * plan->tile_rows;
    int64_t j = item / plan->row_tiles * plan->tile_columns;
    gemm_tile(g, i, j, fc_min(plan->tile_rows, g->m - i), fc_min(plan->tile_columns, g->n - j),
              plan->workspace + thread * (int64_t)GEMM_SCRATCH);
}

/* workspace: fc_threads_for(m * n * k, n_threads) * GEMM_SCRATCH reals. Inside a task of one's
 * own: n_threads = 1. */
static void gemm(const gemm_problem *g, real *workspace, int n_threads) {
    if (g->m == 0 || g->n == 0) return;
    gemm_plan plan = {.g = *g, .workspace = workspace};
    gemm_choose_side(&plan.g);
    gemm_choose_tiles(&plan);
    double work = (double)g->m * (double)g->n * (double)g->k;
    fc_parallel(plan.row_tiles * plan.column_tiles, fc_threads_for(work, n_threads), gemm_task,
                &plan);
}
