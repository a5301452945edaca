/* plan_sparse_tmpl.h - backward pass of convolution + ReLU + 2x2 max pooling; included by
 * plan_tmpl.h.
 *
 * At most one in four gradients of the convolution's output is not zero: that of the window's
 * maximum. Where it is differs from image to image, so here the work goes image by image, with
 * vectors along what a filter sees: in an image whose channels are neighbours the kw * c elements
 * of a patch's row are contiguous. Each pooled gradient g then adds
 *
 *     g * (patch of x)       to the filter's dw,     and     g * filter     to the patch of dx,
 *
 * and where the maximum was is only an offset of the patch. dx is summed for the
 * (kh + 1) x (kw + 1) pixels that a window's four patches cover, in registers over all output
 * channels; there the offset is taken in the filter, which lies between zeros: row a - 1 and c
 * columns are added where the maximum was further down and right.
 *
 * This is exact, not an approximation: what is left out are products with zero.
 */

#if N_REGISTERS == 32
#define SPARSE_ACCUMULATORS 20
#else
#define SPARSE_ACCUMULATORS 12
#endif
#define SPARSE_ROWS 5
#define SPARSE_VECTORS 4

/* ---- between one image a lane and one image a row ---- */

/* `count` vectors, the i-th at from + i * VL, as VL rows of reals, `stride` apart; the rows are
 * filled up to whole vectors. */
static void lanes_to_rows(int64_t count, const real *from, real *to, int64_t stride) {
    for (int64_t i = 0; i < count; i += VL) {
        vr v[VL];
        if (i + VL <= count)
            UNROLL for (int l = 0; l < VL; l++) v[l] = v_load(from + (i + l) * VL);
        else
            for (int l = 0; l < VL; l++)
                v[l] = i + l < count ? v_load(from + (i + l) * VL) : v_zero();
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

/* The way back for gradients, [hp][wp][c] of each lane, `stride` apart, into the tensor t = dx. */
static void images_to_lanes(const plan_tensor *x, const plan_tensor *t, const real *images,
                            int64_t stride, real *arena) {
    for (int64_t y = 0; y < t->h; y++) {
        const real *row = images + ((y + x->top) * x->wp + x->left) * x->c;
        int64_t count = t->w * x->c, col = 0, c = 0;
        for (int64_t i = 0; i < count; i += VL) {
            vr v[VL];
            UNROLL for (int l = 0; l < VL; l++) v[l] = v_load(row + l * stride + i);
            v_transpose(v);
            for (int l = 0; l < VL && i + l < count; l++) {
                v_store(arena + tensor_inside(t, c, y, col), v[l]);
                if (++c == x->c) c = 0, col++;
            }
        }
    }
}

/* ---- gradient of the weights ---- */

typedef struct {
    int64_t oh, ow;
    int64_t step, down; /* from a window to the next, and to the row below, in reals of the image */
    int64_t pitch;      /* between the rows of a patch */
} sparse_shape;

/* dw[rows][vectors] += the sum over an image's pooled gradients g of one channel of
 * g * patch. Up to `at_once` windows have sums of their own, so that a multiply-add need not wait
 * for the last. */
INLINE void sparse_weight_sum(const sparse_shape *s, const int rows, const int vectors,
                              const int at_once, const real *x, const real *g, const real *at,
                              real *dw, int64_t dw_pitch) {
    vr sum[4][SPARSE_ROWS][SPARSE_VECTORS];
    UNROLL for (int q = 0; q < at_once; q++)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vectors; j++)
                sum[q][i][j] = q ? v_zero() : v_load(dw + i * dw_pitch + j * VL);
    for (int64_t y = 0; y < s->oh; y++, x += s->down) {
        const real *window = x;
        int64_t col = 0;
        for (; col + at_once <= s->ow; col += at_once)
            UNROLL for (int q = 0; q < at_once; q++, window += s->step, g++, at++) {
                const real *patch = window + (int64_t)*at;
                vr one = v_set1(*g);
                UNROLL for (int i = 0; i < rows; i++)
                    UNROLL for (int j = 0; j < vectors; j++)
                        sum[q][i][j] =
                            v_fma(one, v_load(patch + i * s->pitch + j * VL), sum[q][i][j]);
            }
        for (; at_once > 1 && col < s->ow; col++, window += s->step, g++, at++) {
            const real *patch = window + (int64_t)*at;
            vr one = v_set1(*g);
            UNROLL for (int i = 0; i < rows; i++)
                UNROLL for (int j = 0; j < vectors; j++)
                    sum[0][i][j] = v_fma(one, v_load(patch + i * s->pitch + j * VL), sum[0][i][j]);
        }
    }
    UNROLL for (int q = 1; q < at_once; q++)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vectors; j++)
                sum[0][i][j] = v_add(sum[0][i][j], sum[q][i][j]);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vectors; j++) v_store(dw + i * dw_pitch + j * VL, sum[0][i][j]);
}

/* ---- gradient of the input ---- */

/* A gradient that is not zero: its value, and where its filter starts for this maximum. */
typedef struct {
    const real *filter;
    real g;
} sparse_entry;

/* For each window: dx[rows][vectors] += the sum of g * filter over its entries, starts[window] to
 * starts[window + 1]. w_pitch and s->pitch are between rows of filters and of dx. */
INLINE void sparse_input_sum(const sparse_shape *s, const int rows, const int vectors,
                             const sparse_entry *e, const int64_t *starts, int64_t offset,
                             int64_t w_pitch, real *dx) {
    for (int64_t y = 0; y < s->oh; y++, dx += s->down) {
        real *region = dx;
        for (int64_t x = 0; x < s->ow; x++, region += s->step, starts++) {
            vr sum[SPARSE_ROWS][SPARSE_VECTORS];
            UNROLL for (int i = 0; i < rows; i++)
                UNROLL for (int j = 0; j < vectors; j++)
                    sum[i][j] = v_load(region + i * s->pitch + j * VL);
            for (const sparse_entry *one = e + starts[0], *end = e + starts[1]; one < end; one++) {
                const real *w = one->filter + offset;
                vr g = v_set1(one->g);
                UNROLL for (int i = 0; i < rows; i++)
                    UNROLL for (int j = 0; j < vectors; j++)
                        sum[i][j] = v_fma(g, v_load(w + i * w_pitch + j * VL), sum[i][j]);
            }
            UNROLL for (int i = 0; i < rows; i++)
                UNROLL for (int j = 0; j < vectors; j++)
                    v_store(region + i * s->pitch + j * VL, sum[i][j]);
        }
    }
}

/* ---- both for any number of rows and vectors, cut into what fits in registers ---- */

typedef void sparse_weight_fn(const sparse_shape *s, const real *x, const real *g, const real *at,
                              real *dw, int64_t dw_pitch);
typedef void sparse_input_fn(const sparse_shape *s, const sparse_entry *e, const int64_t *starts,
                             int64_t offset, int64_t w_pitch, real *dx);

#define SPARSE_KERNELS(rows, vectors)                                                             \
    static void sparse_weight_##rows##_##vectors(const sparse_shape *s, const real *x,            \
                                                 const real *g, const real *at, real *dw,         \
                                                 int64_t dw_pitch) {                              \
        enum { SUMS = rows * vectors, AT_ONCE = SUMS >= 8 ? 1 : SUMS >= 4 ? 2 : 4 };              \
        sparse_weight_sum(s, rows, vectors, AT_ONCE, x, g, at, dw, dw_pitch);                     \
    }                                                                                             \
    static void sparse_input_##rows##_##vectors(const sparse_shape *s, const sparse_entry *e,     \
                                                const int64_t *starts, int64_t offset,            \
                                                int64_t w_pitch, real *dx) {                      \
        sparse_input_sum(s, rows, vectors, e, starts, offset, w_pitch, dx);                       \
    }
#define SPARSE_KERNELS_OF(vectors)                                                               \
    SPARSE_KERNELS(1, vectors) SPARSE_KERNELS(2, vectors) SPARSE_KERNELS(3, vectors)
SPARSE_KERNELS_OF(1)
SPARSE_KERNELS_OF(2)
SPARSE_KERNELS_OF(3)
SPARSE_KERNELS_OF(4)
SPARSE_KERNELS(4, 1)
SPARSE_KERNELS(4, 2)
SPARSE_KERNELS(4, 3)
SPARSE_KERNELS(5, 1)
SPARSE_KERNELS(5, 2)
#if SPARSE_ACCUMULATORS == 20
SPARSE_KERNELS(4, 4)
SPARSE_KERNELS(5, 3)
SPARSE_KERNELS(5, 4)
#else
#define sparse_weight_4_4 NULL
#define sparse_weight_5_3 NULL
#define sparse_weight_5_4 NULL
#define sparse_input_4_4 NULL
#define sparse_input_5_3 NULL
#define sparse_input_5_4 NULL
#endif
#define SPARSE_ROW(name, rows) \
    {name##rows##_1, name##rows##_2, name##rows##_3, name##rows##_4}
#define SPARSE_TABLE(name)                                                          \
    {SPARSE_ROW(name, 1), SPARSE_ROW(name, 2), SPARSE_ROW(name, 3), SPARSE_ROW(name, 4), \
     SPARSE_ROW(name, 5)}
static sparse_weight_fn *const SPARSE_WEIGHT[][SPARSE_VECTORS] = SPARSE_TABLE(sparse_weight_);
static sparse_input_fn *const SPARSE_INPUT[][SPARSE_VECTORS] = SPARSE_TABLE(sparse_input_);

/* Most rows of a group of `vectors` vectors. */
INLINE int64_t sparse_rows(int64_t vectors) {
    return fc_min(SPARSE_ROWS, SPARSE_ACCUMULATORS / vectors);
}

/* dw of all channels: x, g and at are the images, gradients and offsets of all lanes. */
static void sparse_weight(const plan_stage *stage, const real *x, const real *g, const real *at,
                          real *dw) {
    const fc_plan_step *d = stage->step;
    const plan_patch *p = &stage->patch;
    sparse_shape s = {d->oh, d->ow, 2 * p->pixel, 2 * p->pitch, p->stack * p->pitch};
    int64_t groups = fc_ceil_div(p->vectors, SPARSE_VECTORS), map = d->oh * d->ow;
    for (int64_t group = 0; group < groups; group++) {
        int64_t v = group * p->vectors / groups, n = (group + 1) * p->vectors / groups - v;
        int64_t most = sparse_rows(n), cuts = fc_ceil_div(p->rows, most);
        for (int64_t i = 0; i < cuts; i++) {
            int64_t row = even_cut(p->rows, most, i), rows = even_cut(p->rows, most, i + 1) - row;
            sparse_weight_fn *kernel = SPARSE_WEIGHT[rows - 1][n - 1];
            for (int64_t lane = 0; lane < VL; lane++)
                for (int64_t k = 0; k < d->k; k++) {
                    const real *image = x + lane * p->image + row * s.pitch + v * VL;
                    int64_t from = lane * p->map + k * map;
                    kernel(&s, image, g + from, at + from,
                           dw + (k * p->rows + row) * stage->dw_pitch + v * VL, stage->dw_pitch);
                }
        }
    }
}

/* dx of one image, in regions of `all_rows` x `vectors`. */
static void sparse_input(const sparse_shape *s, int64_t all_rows, int64_t vectors,
                         const sparse_entry *e, const int64_t *starts, int64_t w_pitch, real *dx) {
    int64_t groups = fc_ceil_div(vectors, SPARSE_VECTORS);
    for (int64_t group = 0; group < groups; group++) {
        int64_t v = group * vectors / groups, n = (group + 1) * vectors / groups - v;
        int64_t most = sparse_rows(n), cuts = fc_ceil_div(all_rows, most);
        for (int64_t i = 0; i < cuts; i++) {
            int64_t row = even_cut(all_rows, most, i), rows = even_cut(all_rows, most, i + 1) - row;
            SPARSE_INPUT[rows - 1][n - 1](s, e, starts, row * w_pitch + v * VL, w_pitch,
                                          dx + row * s->pitch + v * VL);
        }
    }
}

/* ---- the filters between zeros ---- */

INLINE int64_t sparse_wide(const fc_plan_step *s) { /* a row of the region that dx is summed in */
    return fc_round_up((s->kw + 1) * s->c, VL);
}
INLINE int64_t sparse_pitch(const fc_plan_step *s) { return s->c + sparse_wide(s); }

/* [k][kh + 2][pitch]: rows 0 and kh + 1 are zero, a row is c zeros, [kw][c], and zeros again. */
static void sparse_pack(const fc_plan_step *s, const real *w, real *to) {
    int64_t pitch = sparse_pitch(s);
    memset(to, 0, (size_t)(s->k * (s->kh + 2) * pitch) * sizeof(real));
    for (int64_t k = 0; k < s->k; k++, to += (s->kh + 2) * pitch)
        for (int64_t c = 0; c < s->c; c++)
            for (int64_t y = 0; y < s->kh; y++)
                for (int64_t x = 0; x < s->kw; x++)
                    to[(y + 1) * pitch + (x + 1) * s->c + c] = *w++;
}

/* ---- the pass ---- */

/* dy, masked by the ReLU, and where each goes, as rows: [lane][k][oh * ow]. Returns in sums db. */
static void sparse_gather(const plan_stage *g, real *dy_rows, real *at_rows, real *db,
                          real *arena) {
    const fc_plan_step *s = g->step;
    const plan_tensor *y = &g->y, *dy = &g->dy;
    int64_t count = s->k * s->oh * s->ow;
    real *grads = arena + tensor_at(dy, 0, 0, 0), *best = arena + g->best * VL, *to = best;
    /* y and best may have borders: their insides are moved together, the mask is applied to dy. */
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
    lanes_to_rows(count, grads, dy_rows, g->patch.map);
    lanes_to_rows(count, best, at_rows, g->patch.map);
}

/* dx of one image: lists for each window the gradients that are not zero, then adds their filters.
 * Which are listed is decided without branches: they would be guessed wrong half of the time. */
static void sparse_image_input(const plan_stage *g, const real *filters, const real *dy,
                               const real *at, int64_t *starts, sparse_entry *list, real *dx) {
    const fc_plan_step *s = g->step;
    int64_t pitch = sparse_pitch(s), filter = (s->kh + 2) * pitch, map = s->oh * s->ow, n = 0;
    int64_t dx_pitch = g->x.wp * s->c, below = g->patch.pitch, c = s->c;
    /* Filters start one row and one pixel further on where the maximum was not below or right. */
    const real *start = filters + pitch + c;
    for (int64_t i = 0; i < map; i++) {
        starts[i] = n;
        for (int64_t k = 0; k < s->k; k++) {
            real one = dy[k * map + i];
            int64_t offset = (int64_t)at[k * map + i], lower = -(int64_t)(offset >= below);
            int64_t right = -(int64_t)(offset > (lower & below));
            list[n].filter = start + k * filter - (lower & pitch) - (right & c);
            list[n].g = one;
            n += one != 0;
        }
    }
    starts[map] = n;
    sparse_shape shape = {s->oh, s->ow, 2 * c, 2 * dx_pitch, dx_pitch};
    sparse_input(&shape, s->kh + 1, sparse_wide(s) / VL, list, starts, pitch, dx);
}

static void plan_conv_pool_backward(const plan_run *r, const plan_stage *g, real *sums,
                                    real *arena) {
    const fc_plan_step *s = g->step;
    const plan_patch *p = &g->patch;
    real *scratch = arena + r->layout->scratch;
    real *images = scratch, *dy = images + VL * p->image, *at = dy + VL * p->map;
    sparse_gather(g, dy, at, sums + g->db, arena);
    if (s->train_weight) {
        images_from_lanes(&g->x, p, arena, images);
        sparse_weight(g, images, dy, at, sums + g->dw);
    }
    if (!g->needs_dx) return;
    int64_t plane = fc_round_up(g->x.hp * g->x.wp * s->c, VL) + sparse_wide(s);
    real *dx = at + VL * p->map;
    int64_t *starts = (int64_t *)(dx + VL * plane);
    sparse_entry *list = (sparse_entry *)(starts + fc_round_up(s->oh * s->ow + 1, 2));
    memset(dx, 0, (size_t)(VL * plane) * sizeof(real));
    for (int64_t lane = 0; lane < VL; lane++)
        sparse_image_input(g, (const real *)r->shared + g->packed_back, dy + lane * p->map,
                           at + lane * p->map, starts, list, dx + lane * plane);
    images_to_lanes(&g->x, &g->dx, dx, plane, arena);
}
