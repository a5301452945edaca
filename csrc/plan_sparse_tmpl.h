/* plan_sparse_tmpl.h - backward pass of convolution + ReLU + 2x2 max pooling; included by
 * plan_tmpl.h.
 *
 * At most one in four gradients of the convolution's output is not zero: that of the window's
 * maximum. Where it is differs from image to image, so here the work goes image by image, with
 * vectors along what a filter sees: in an image whose channels are neighbours the kw * c elements
 * of a patch's row are contiguous. Each pooled gradient g that is not zero then adds
 *
 *     g * (patch of x)       to the filter's dw,     and     g * filter     to the patch of dx,
 *
 * and where the maximum was is only an offset of the patch. dx is summed for the
 * (kh + 1) x (kw + 1) pixels that a window's four patches cover, in registers over all output
 * channels; there the offset is taken in the filter, which lies between zeros.
 *
 * This is exact, not an approximation: what is left out are products with zero.
 */

#if N_REGISTERS == 32
#define SPARSE_ACCUMULATORS 20
#else
#define SPARSE_ACCUMULATORS 15
#endif
#define SPARSE_ROWS 5
#define SPARSE_VECTORS 5

/* ---- between one image a lane and one image a row ---- */

/* `count` vectors, the i-th at from + i * VL, as VL rows of reals, `stride` apart; the rows are
 * filled up to whole vectors. */
static void lanes_to_rows(int64_t count, const real *from, real *to, int64_t stride) {
    for (int64_t i = 0; i < count; i += VL) {
        vr v[VL];
        if (i + VL <= count) {
            v_load_transposed(PIECES, from + i * VL, VL, v);
        } else {
            for (int l = 0; l < VL; l++)
                v[l] = i + l < count ? v_load(from + (i + l) * VL) : v_zero();
            v_transpose(v);
        }
        UNROLL for (int l = 0; l < VL; l++) v_store(to + l * stride + i, v[l]);
    }
}

/* The same of n x m vectors, whose rows and columns change places. */
static void lanes_to_rows_turned(int64_t n, int64_t m, const real *from, real *to,
                                 int64_t stride) {
    int64_t row = 0, col = 0; /* of the next vector */
    for (int64_t i = 0; i < n * m; i += VL) {
        vr v[VL];
        for (int l = 0; l < VL; l++) {
            v[l] = col < m ? v_load(from + (row * m + col) * VL) : v_zero();
            if (++row == n) row = 0, col++;
        }
        v_transpose(v);
        UNROLL for (int l = 0; l < VL; l++) v_store(to + l * stride + i, v[l]);
    }
}

/* The pixels of `x`, borders included, as VL images [hp][wp][stack][c]: a
 * pixel with those below. */
static void images_from_lanes(const plan_tensor *x, const plan_patch *p, const real *arena,
                              real *images) {
    int64_t plane = x->hp * x->wp, count = plane * p->pixel, down = x->wp;
    int64_t pixel = 0, c = 0, s = 0; /* of the next vector */
    if (p->pixel == 1) { /* in order */
        lanes_to_rows(count, arena + x->at * VL, images, p->image);
        return;
    }
    for (int64_t i = 0; i < count; i += VL) {
        vr v[VL];
        for (int l = 0; l < VL; l++) {
            int64_t at = pixel + s * down;
            v[l] = at < plane ? v_load(arena + (x->at + c * plane + at) * VL) : v_zero();
            if (++c == x->c) {
                c = 0;
                if (++s == p->stack) s = 0, pixel++;
            }
        }
        v_transpose(v);
        UNROLL for (int l = 0; l < VL; l++) v_store(images + l * p->image + i, v[l]);
    }
}

/* The way back for gradients, [hp][wp][c] of each lane, `stride` apart, into the tensor t = dx, a
 * row at a time: `turned` holds its elements as vectors, w * c of them, rounded up to VL. */
static void images_to_lanes(const plan_tensor *x, const plan_tensor *t, const real *images,
                            int64_t stride, real *turned, real *arena) {
    int64_t count = t->w * x->c, step = x->c * VL;
    for (int64_t y = 0; y < t->h; y++) {
        const real *row = images + ((y + x->top) * x->wp + x->left) * x->c;
        for (int64_t i = 0; i < count; i += VL) {
            vr v[VL];
            v_load_transposed(PIECES, row + i, stride, v);
            UNROLL for (int l = 0; l < VL; l++) v_store(turned + (i + l) * VL, v[l]);
        }
        for (int64_t c = 0; c < x->c; c++) {
            const real *from = turned + c * VL;
            real *to = arena + tensor_inside(t, c, y, 0), *end = to + t->w * VL;
            for (; to < end; to += VL, from += step) v_store(to, v_load(from));
        }
    }
}

/* ---- sums of what gradients multiply ---- */

/* The gradients that are not zero, and where what each multiplies starts, from `from` on. */
typedef struct {
    real *g;
    int32_t *at;
    const real *from;
} sparse_list;

/* Where to add: the windows of an image's gradient, or the gradients of filters (a row of them). */
typedef struct {
    int64_t oh, ow;
    int64_t step, down; /* from a window to the next, and to the row below, in reals */
    int64_t pitch;      /* between the rows of what is added to, */
    int64_t from_pitch; /* and of what is multiplied */
} sparse_shape;

INLINE void sparse_add(const sparse_shape *s, const int rows, const int vectors, const real *from,
                       real g, vr sum[SPARSE_ROWS][SPARSE_VECTORS]) {
    vr one = v_set1(g);
    UNROLL for (int i = 0; i < rows; i++, from += s->from_pitch) {
        from = v_keep_place(from);
        UNROLL for (int j = 0; j < vectors; j++)
            sum[i][j] = v_fma(one, v_load(from + j * VL), sum[i][j]);
    }
}

/* For each window: to[rows][vectors] += the sum of g * what it multiplies, `offset` further on,
 * over entries starts[window] to starts[window + 1]; then the same for the rows below, `cuts` times
 * in all: right after each other, since a branch predictor knows by then how many entries a window
 * has. Up to `at_once` entries have sums of their own, so that a multiply-add need not wait for the
 * last. */
INLINE void sparse_sum(const sparse_shape *s, const int rows, const int vectors,
                       const int at_once, int64_t cuts, const sparse_list *list,
                       const int64_t *starts, int64_t offset, real *to) {
    const real *g = list->g;
    const int32_t *at = list->at;
    for (int64_t y = 0; y < s->oh; y++, to += s->down) {
        real *window = to;
        for (int64_t x = 0; x < s->ow; x++, window += s->step, starts++) {
            const real *from = list->from + offset;
            real *out = window;
            for (int64_t cut = 0; cut < cuts; cut++) {
                vr sum[4][SPARSE_ROWS][SPARSE_VECTORS];
                UNROLL for (int q = 0; q < at_once; q++)
                    UNROLL for (int i = 0; i < rows; i++)
                        UNROLL for (int j = 0; j < vectors; j++)
                            sum[q][i][j] = v_zero();
                int64_t e = starts[0], end = starts[1];
                for (; e + at_once <= end; e += at_once)
                    UNROLL for (int q = 0; q < at_once; q++)
                        sparse_add(s, rows, vectors, from + at[e + q], g[e + q], sum[q]);
                for (; at_once > 1 && e < end; e++)
                    sparse_add(s, rows, vectors, from + at[e], g[e], sum[0]);
                UNROLL for (int i = 0; i < rows; i++)
                    UNROLL for (int j = 0; j < vectors; j++) {
                        vr all = sum[0][i][j];
                        UNROLL for (int q = 1; q < at_once; q++) all = v_add(all, sum[q][i][j]);
                        real *sums = out + i * s->pitch + j * VL;
                        v_store(sums, v_add(v_load(sums), all));
                    }
                from += rows * s->from_pitch, out += rows * s->pitch;
            }
        }
    }
}

/* ---- the same for any number of rows and vectors, cut into what fits in registers ---- */

typedef void sparse_fn(const sparse_shape *s, int64_t cuts, const sparse_list *list,
                       const int64_t *starts, int64_t offset, real *to);

#define SPARSE_KERNEL(rows, vectors)                                                         \
    static void sparse_##rows##_##vectors(const sparse_shape *s, int64_t cuts,               \
                                          const sparse_list *list, const int64_t *starts,    \
                                          int64_t offset, real *to) {                        \
        enum { SUMS = rows * vectors, AT_ONCE = SUMS >= 8 ? 1 : SUMS >= 4 ? 2 : 4 };         \
        sparse_sum(s, rows, vectors, AT_ONCE, cuts, list, starts, offset, to);               \
    }
#define SPARSE_KERNELS_OF(vectors) \
    SPARSE_KERNEL(1, vectors) SPARSE_KERNEL(2, vectors) SPARSE_KERNEL(3, vectors)
SPARSE_KERNELS_OF(1)
SPARSE_KERNELS_OF(2)
SPARSE_KERNELS_OF(3)
SPARSE_KERNELS_OF(4)
SPARSE_KERNELS_OF(5)
SPARSE_KERNEL(4, 1)
SPARSE_KERNEL(4, 2)
SPARSE_KERNEL(4, 3)
SPARSE_KERNEL(5, 1)
SPARSE_KERNEL(5, 2)
SPARSE_KERNEL(5, 3)
#if SPARSE_ACCUMULATORS == 20
SPARSE_KERNEL(4, 4)
SPARSE_KERNEL(4, 5)
SPARSE_KERNEL(5, 4)
#else
#define sparse_4_4 NULL
#define sparse_4_5 NULL
#define sparse_5_4 NULL
#endif
#define sparse_5_5 NULL
#define SPARSE_ROW(rows) \
    {sparse_##rows##_1, sparse_##rows##_2, sparse_##rows##_3, sparse_##rows##_4, sparse_##rows##_5}
static sparse_fn *const SPARSE[][SPARSE_VECTORS] = {SPARSE_ROW(1), SPARSE_ROW(2), SPARSE_ROW(3),
                                                    SPARSE_ROW(4), SPARSE_ROW(5)};

static void sparse_sums(const sparse_shape *s, int64_t all_rows, int64_t vectors,
                        const sparse_list *list, const int64_t *starts, real *to) {
    int64_t groups = fc_ceil_div(vectors, SPARSE_VECTORS);
    for (int64_t group = 0; group < groups; group++) {
        int64_t v = group * vectors / groups, n = (group + 1) * vectors / groups - v;
        int64_t most = fc_min(SPARSE_ROWS, SPARSE_ACCUMULATORS / n);
        int64_t cuts = fc_ceil_div(all_rows, most), even = all_rows % cuts == 0 ? cuts : 1;
        for (int64_t i = 0; i < cuts; i += even) {
            int64_t row = even_cut(all_rows, most, i), rows = even_cut(all_rows, most, i + 1) - row;
            SPARSE[rows - 1][n - 1](s, even, list, starts, row * s->from_pitch + v * VL,
                                    to + row * s->pitch + v * VL);
        }
    }
}

/* ---- the filters between zeros ---- */

INLINE int64_t sparse_wide(const fc_plan_step *s) { /* a row of the region that dx is summed in */
    return fc_round_up((s->kw + 1) * s->c, VL);
}
INLINE int64_t sparse_filter(const fc_plan_step *s) { return (s->kh + 2) * sparse_wide(s); }

/* [2][k][kh + 2][wide]: rows 0 and kh + 1 are zero, a row is [kw][c] and zeros; in the second half
 * it is a pixel further right, so that either way its vectors are whole in a cache line. */
static void sparse_pack(const fc_plan_step *s, const real *w, real *to) {
    int64_t wide = sparse_wide(s), filter = sparse_filter(s), half = s->k * filter;
    memset(to, 0, (size_t)(2 * half) * sizeof(real));
    for (int64_t k = 0; k < s->k; k++, to += filter)
        for (int64_t c = 0; c < s->c; c++)
            for (int64_t y = 0; y < s->kh; y++)
                for (int64_t x = 0; x < s->kw; x++) {
                    real *left = to + (y + 1) * wide + x * s->c + c;
                    left[0] = left[half + s->c] = *w++;
                }
}

/* ---- the pass ---- */

/* dy is masked by the ReLU, and summed in db; best, which may have borders, is compacted. */
static void sparse_gather(const plan_stage *g, real *db, real *arena) {
    const fc_plan_step *s = g->step;
    const plan_tensor *y = &g->y, *dy = &g->dy;
    real *best = arena + g->best * VL, *to = best;
    for (int64_t k = 0; k < s->k; k++) {
        vr sum = v_zero();
        for (int64_t row = 0; row < s->oh; row++) {
            int64_t inside = tensor_inside(y, k, row, 0);
            const real *value = arena + inside, *from = best + inside - y->at * VL;
            real *d = arena + tensor_at(dy, k, row, 0);
            for (int64_t i = 0; i < s->ow * VL; i += VL, to += VL) {
                vr v = v_load(value + i), one = v_load(d + i);
                if (s->relu)
                    one = v_select(v_or(v_gt(v, v_zero()), v_isnan(v)), one, v_zero());
                v_store(d + i, one);
                v_store(to, v_load(from + i));
                sum = v_add(sum, one);
            }
        }
        db[k] += v_hsum(sum);
    }
}

/* Where each window is in the image. */
static void sparse_windows(const plan_stage *g, real *where) {
    const plan_patch *p = &g->patch;
    for (int64_t y = 0; y < g->step->oh; y++)
        for (int64_t x = 0; x < g->step->ow; x++)
            *where++ = (real)(2 * (y * p->pitch + x * p->pixel));
}

/* dw of all filters += what one image gives; dy and at are the image's, [k][oh][ow], and a filter's
 * entries are those of all windows. */
static void sparse_image_weight(const plan_stage *g, const real *where, const real *dy,
                                const real *at, const sparse_list *list, int64_t *starts,
                                real *dw) {
    const fc_plan_step *s = g->step;
    const plan_patch *p = &g->patch;
    int64_t map = s->oh * s->ow, n = 0;
    for (int64_t k = 0; k < s->k; k++, dy += map, at += map) {
        starts[k] = n;
        for (int64_t i = 0; i < map; i += VL)
            n += v_pack(v_loadn(dy + i, map - i), v_add(v_load(where + i), v_load(at + i)),
                        list->g + n, list->at + n);
    }
    starts[s->k] = n;
    sparse_shape filters = {1, s->k, p->rows * g->dw_pitch, 0, g->dw_pitch, p->stack * p->pitch};
    sparse_sums(&filters, p->rows, p->vectors, list, starts, dw);
}

/* dx of one image; dy and at are [oh][ow][k], and a window's entries are those of all channels.
 * A filter starts one row further on where the maximum was not below. */
static void sparse_image_input(const plan_stage *g, const real *filter_at, const real *dy,
                               const real *at, const sparse_list *list, int64_t *starts,
                               real *dx) {
    const fc_plan_step *s = g->step;
    int64_t wide = sparse_wide(s), map = s->oh * s->ow, dx_pitch = g->x.wp * s->c, n = 0;
    vr below = v_set1((real)g->patch.pitch), row = v_set1((real)wide);
    vr half = v_set1((real)(s->k * sparse_filter(s)));
    for (int64_t i = 0; i < map; i++, dy += s->k, at += s->k) {
        starts[i] = n;
        for (int64_t k = 0; k < s->k; k += VL) {
            vr from = v_load(filter_at + k), to = v_load(at + k);
            vm lower = v_ge(to, below);
            from = v_sub(from, v_select(lower, row, v_zero()));
            to = v_sub(to, v_select(lower, below, v_zero()));
            from = v_add(from, v_select(v_gt(to, v_zero()), half, v_zero()));
            n += v_pack(v_loadn(dy + k, s->k - k), from, list->g + n, list->at + n);
        }
    }
    starts[map] = n;
    sparse_shape windows = {s->oh, s->ow, 2 * s->c, 2 * dx_pitch, dx_pitch, wide};
    sparse_sums(&windows, s->kh + 1, wide / VL, list, starts, dx);
}

static void plan_conv_pool_backward(const plan_run *r, const plan_stage *g, real *sums,
                                    real *arena) {
    const fc_plan_step *s = g->step;
    const plan_patch *p = &g->patch;
    real *scratch = arena + r->layout->scratch, *images = scratch + p->lists;
    real *dy = images + VL * p->image, *at = dy + VL * p->map, *dx = at + VL * p->map;
    int64_t map = s->oh * s->ow, most = fc_max(map, s->k), *starts = (int64_t *)scratch;
    real *where = scratch + 2 * (most + 1);
    sparse_list list = {.g = where + fc_round_up(most, VL)};
    list.at = (int32_t *)(list.g + fc_round_up(s->k * map, VL) + VL);
    const real *gradients = arena + g->dy.at * VL, *best = arena + g->best * VL;
    sparse_gather(g, sums + g->db, arena);
    if (s->train_weight) {
        images_from_lanes(&g->x, p, arena, images);
        lanes_to_rows(s->k * map, gradients, dy, p->map);
        lanes_to_rows(s->k * map, best, at, p->map);
        sparse_windows(g, where);
        for (int64_t lane = 0; lane < VL; lane++) {
            list.from = images + lane * p->image;
            sparse_image_weight(g, where, dy + lane * p->map, at + lane * p->map, &list, starts,
                                sums + g->dw);
        }
    }
    if (!g->needs_dx) return;
    int64_t plane = fc_round_up(g->x.hp * g->x.wp * s->c, VL) + sparse_wide(s);
    lanes_to_rows_turned(s->k, map, gradients, dy, p->map);
    lanes_to_rows_turned(s->k, map, best, at, p->map);
    for (int64_t k = 0; k < s->k; k++) where[k] = (real)(k * sparse_filter(s) + sparse_wide(s));
    list.from = arena + g->packed_back * VL;
    memset(dx, 0, (size_t)(VL * plane) * sizeof(real));
    for (int64_t lane = 0; lane < VL; lane++)
        sparse_image_input(g, where, dy + lane * p->map, at + lane * p->map, &list, starts,
                           dx + lane * plane);
    images_to_lanes(&g->x, &g->dx, dx, plane, images, arena); /* whose place is free by now */
}
