/* pool2d_avg_tmpl.h - average and global average pooling, included by pool2d_tmpl.h.
 *
 * A window's sum is divided by the number of elements that count: what ceil mode hangs over the
 * padded image never does, padding does if count_include_pad.
 */

/* ------------------------------------------------------------------ forward */

/* The divisors of VL outputs from ox on. */
INLINE vr avg_divisors(const pool_problem *p, int64_t oy, int64_t ox, int edge) {
    int64_t rows = axis_counted(&p->h, oy, p->count_include_pad);
    if (!edge || p->equal_divisors) return v_set1((real)(rows * p->w.kernel));
    real t[VL];
    for (int i = 0; i < VL; i++) {
        int64_t o = fc_min(ox + i, p->w.out - 1);
        t[i] = (real)(rows * axis_counted(&p->w, o, p->count_include_pad));
    }
    return v_load(t);
}

static void avg_one_by_one(const pool_problem *p, const real *x, pool_seen rows, int64_t oy,
                           int64_t from, int64_t to, real *y) {
    int64_t counted = axis_counted(&p->h, oy, p->count_include_pad);
    for (int64_t ox = from; ox < to; ox++) {
        pool_seen cols = axis_seen(&p->w, ox);
        real sum = 0;
        for (int64_t r = rows.first; r < rows.first + rows.count; r++)
            for (int64_t c = cols.first; c < cols.first + cols.count; c++)
                sum += x[r * p->w.size + c];
        y[ox] = sum / (real)(counted * axis_counted(&p->w, ox, p->count_include_pad));
    }
}

/* VL outputs from ox on. */
INLINE void avg_vector(const pool_problem *p, const real *x, pool_seen rows, int64_t oy, int64_t ox,
                       int sw, int64_t kw, int64_t dw, real *y, int32_t *at, int edge) {
    (void)dw, (void)at; /* averages know neither */
    int64_t width = p->w.size, col = ox * p->w.stride - p->w.before;
    if (sw == 0 && kw > width) { /* far apart lanes may see far apart columns of a huge window */
        avg_one_by_one(p, x, rows, oy, ox, fc_min(ox + VL, p->w.out), y);
        return;
    }
    pool_range cols = {0, kw};
    if (edge && kw > 3) cols = edge_columns(col, (VL - 1) * p->w.stride, width, kw, 1);
    vr sum = v_zero();
    for (int64_t r = 0; r < rows.count; r++) {
        const real *row = x + (rows.first + r) * width;
        for (int64_t k = cols.from; k < cols.to; k += sw == 2 ? 2 : 1) {
            if (sw == 0) {
                sum = v_add(sum, load_strided(row, col + k, p->w.stride, width, 0, edge));
                continue;
            }
            vr v = load_row(row, col + k, width, 0, edge);
            if (sw == 1) {
                sum = v_add(sum, v);
                continue;
            }
            vr next = load_row(row, col + k + VL, width, 0, edge);
            sum = v_add(sum, v_pick_even(v, next));
            if (k + 1 < kw) sum = v_add(sum, v_pick_odd(v, next));
        }
    }
    if (sw == 2) sum = v_order(sum);
    store_row(y, ox, p->w.out, v_div(sum, avg_divisors(p, oy, ox, edge)), edge);
}

POOL_FORWARD(avg_vectors_2_stride2, avg_vector, 2, 2, 1)
POOL_FORWARD(avg_vectors_3_stride2, avg_vector, 2, 3, 1)
POOL_FORWARD(avg_vectors_3_stride1, avg_vector, 1, 3, 1)
POOL_FORWARD(avg_vectors_stride1, avg_vector, 1, w->kernel, 1)
POOL_FORWARD(avg_vectors_stride2, avg_vector, 2, w->kernel, 1)
POOL_FORWARD(avg_vectors_strided, avg_vector, 0, w->kernel, 1)

/* ------------------------------------------------------------------ 2 x 2 and 3 x 3, in strips */

/* Sums over `size` columns of a row, of lane l from col + l * stride on; with stride 2 in the order
 * of v_pick_even. */
INLINE vr avg_row_of(const int size, const int stride, const real *in, int64_t rows, int64_t width,
                     int64_t row, int64_t col, int edge) {
    if (row < 0 || row >= rows) return v_zero();
    in += row * width;
    vr v[2][2], sum; /* from column col + q on, and from col + q + VL on */
    UNROLL for (int q = 0; q < size - 1; q++)
        UNROLL for (int i = 0; i < stride; i++)
            v[q][i] = load_row(in, col + q + i * VL, width, 0, edge);
    if (stride == 1)
        return v_add(v_add(v[0][0], v[1][0]), load_row(in, col + 2, width, 0, edge));
    sum = v_add(v_pick_even(v[0][0], v[0][1]), v_pick_odd(v[0][0], v[0][1]));
    return size == 2 ? sum : v_add(sum, v_pick_odd(v[1][0], v[1][1]));
}

/* Rows from..to-1 of VL columns of `out`, from column o on: each a sum over a square of `in` that
 * begins `above` rows up and `left` columns to the left, divided. Rows that two windows see are
 * summed once. */
INLINE void avg_strip_of(const int size, const int stride, const pool_problem *p, const real *in,
                         int64_t rows, int64_t width, int64_t above, int64_t left, int64_t from,
                         int64_t to, int64_t o, real *out, int64_t out_width, pool_next *next,
                         int edge) {
    vr area = v_set1((real)(size * size)), of[3];
    int64_t row = from * stride - above, col = o * stride - left;
    UNROLL for (int r = 0; r < size - stride; r++)
        of[r] = avg_row_of(size, stride, in, rows, width, row + r, col, edge);
    for (int64_t i = from; i < to; i++, row += stride) {
        if (stride == 2) pool_load_next(next, stride);
        UNROLL for (int r = size - stride; r < size; r++)
            of[r] = avg_row_of(size, stride, in, rows, width, row + r, col, edge);
        vr sum = v_add(of[0], of[1]);
        if (size == 3) sum = v_add(sum, of[2]);
        if (stride == 2) sum = v_order(sum);
        vr divisor = p->equal_divisors ? area : avg_divisors(p, i, o, edge);
        store_row(out + i * out_width, o, out_width, v_div(sum, divisor), edge);
        UNROLL for (int r = 0; r < size - stride; r++) of[r] = of[r + stride];
    }
}

#define AVG_FORWARD(name, side, step) \
    INLINE void avg_strip_##name(const pool_problem *p, const real *x, int64_t from, int64_t to, \
                                 int64_t ox, real *y, int32_t *at, pool_next *next, int edge) { \
        (void)at; \
        avg_strip_of(side, step, p, x, p->h.size, p->w.size, p->h.before, p->w.before, from, to, \
                     ox, y, p->w.out, next, edge); \
    } \
    static void avg_forward_##name(const pool_rows *a, int64_t plane, int64_t from, int64_t to, \
                                   int thread) { \
        (void)thread; \
        const pool_problem *p = a->p; \
        pool_strips(avg_strip_##name, side, step, p, a->in + plane * p->h.size * p->w.size, \
                    p->w.size, p->w.before, from, to, p->w.out, \
                    a->out + plane * p->h.out * p->w.out, NULL); \
    }
AVG_FORWARD(2x2_stride2, 2, 2)
AVG_FORWARD(3x3_stride1, 3, 1)
AVG_FORWARD(3x3_stride2, 3, 2)

/* Of equal divisors: an element's gradient is a sum over 3 x 3 windows too. */
INLINE void avg_strip_backward(const pool_problem *p, const real *dy, int64_t from, int64_t to,
                               int64_t w, real *dx, int32_t *at, pool_next *next, int edge) {
    (void)at;
    avg_strip_of(3, 1, p, dy, p->h.out, p->w.out, 2 - p->h.before, 2 - p->w.before, from, to, w, dx,
                 p->w.size, next, edge);
}

static void avg_backward_3x3_rows(const pool_rows *a, int64_t plane, int64_t from, int64_t to,
                                  int thread) {
    (void)thread;
    const pool_problem *p = a->p;
    pool_strips(avg_strip_backward, 3, 1, p, a->in + plane * p->h.out * p->w.out, p->w.out,
                2 - p->w.before, from, to, p->w.size, a->out + plane * p->h.size * p->w.size, NULL);
}

static pool_run_of_rows avg_vectors_for(const pool_axis *w) {
    int64_t s = w->stride, k = w->kernel;
    /* Squares of these go in strips: others of that width, as of rows. */
    if (s == 2 && k == 2) return avg_vectors_2_stride2;
    if (s == 2 && k == 3) return avg_vectors_3_stride2;
    if (s == 1 && k == 3) return avg_vectors_3_stride1;
    return s == 1 ? avg_vectors_stride1 : s == 2 ? avg_vectors_stride2 : avg_vectors_strided;
}

static void avg_pool_forward(const pool_problem *p, const void *x, void *y, int n_threads) {
    pool_rows a = {.p = p, .in = x, .out = y, .run = avg_vectors_for(&p->w)};
    if (is_square(p, 2, 2)) a.run = avg_forward_2x2_stride2;
    if (is_square(p, 3, 1)) a.run = avg_forward_3x3_stride1;
    if (is_square(p, 3, 2)) a.run = avg_forward_3x3_stride2;
    pool_run(&a, p->h.out, p->h.stride * p->w.size + p->w.out, n_threads);
}

/* ------------------------------------------------------------------ backward */

/* Columns from..to-1 of row h of dx, window by window. */
static void avg_gather_one_by_one(const pool_problem *p, const real *dy, pool_range rows,
                                  int64_t from, int64_t to, real *dx) {
    if (from >= to) return;
    int64_t first = axis_covering(&p->w, from).from, last = axis_covering(&p->w, to - 1).to;
    for (int64_t w = from; w < to; w++) dx[w] = 0;
    for (int64_t oy = rows.from; oy < rows.to; oy++) {
        int64_t counted = axis_counted(&p->h, oy, p->count_include_pad);
        for (int64_t ox = first; ox < last; ox++) {
            pool_seen cols = axis_seen(&p->w, ox);
            int64_t divisor = counted * axis_counted(&p->w, ox, p->count_include_pad);
            real share = dy[oy * p->w.out + ox] / (real)divisor;
            int64_t end = fc_min(cols.first + cols.count, to);
            for (int64_t w = fc_max(cols.first, from); w < end; w++) dx[w] += share;
        }
    }
}

#define AVG_GATHER(name, how, sw, kw) \
    static void name(const pool_rows *a, const real *dy, const int32_t *at, pool_range rows, \
                     int64_t h, real *dx) { \
        gather_row(a, how, sw, kw, dy, at, rows, h, dx); \
    }
AVG_GATHER(avg_gather_2_stride2, GATHER_EQUAL, 2, 2)
AVG_GATHER(avg_gather_3_stride2, GATHER_EQUAL, 2, 3)
AVG_GATHER(avg_gather_3_stride1, GATHER_EQUAL, 1, 3)
AVG_GATHER(avg_gather_stride1, GATHER_EQUAL, 1, a->p->w.kernel)
AVG_GATHER(avg_gather_stride2, GATHER_EQUAL, 2, a->p->w.kernel)
AVG_GATHER(avg_gather_stride1_by_row, GATHER_BY_ROW, 1, a->p->w.kernel)
AVG_GATHER(avg_gather_stride2_by_row, GATHER_BY_ROW, 2, a->p->w.kernel)

static pool_backward_vectors avg_gather_for(const pool_problem *p) {
    int64_t s = p->w.stride, k = p->w.kernel;
    if (!p->equal_divisors) return s == 2 ? avg_gather_stride2_by_row : avg_gather_stride1_by_row;
    if (s == 2) return k == 2 ? avg_gather_2_stride2 : k == 3 ? avg_gather_3_stride2
                                                              : avg_gather_stride2;
    return k == 3 ? avg_gather_3_stride1 : avg_gather_stride1;
}

static void avg_backward_rows(const pool_rows *a, int64_t plane, int64_t from, int64_t to,
                              int thread) {
    (void)thread;
    const pool_problem *p = a->p;
    const real *dy = a->in + plane * p->h.out * p->w.out;
    for (int64_t h = from; h < to; h++) {
        real *dx = a->out + (plane * p->h.size + h) * p->w.size;
        pool_load_ahead(p, dx, 1, NULL, NULL);
        pool_range rows = axis_covering(&p->h, h);
        avg_gather_one_by_one(p, dy, rows, 0, a->columns.from, dx);
        if (a->columns.from < a->columns.to) a->backward_vectors(a, dy, NULL, rows, h, dx);
        avg_gather_one_by_one(p, dy, rows, a->columns.to, p->w.size, dx);
    }
}

#define AVG_STRIPS(name, size, stride) \
    static void name(const pool_rows *a, int64_t plane, int64_t from, int64_t to, int thread) { \
        (void)thread; \
        int64_t rows = gradient_strip_rows(a->p, stride, to - from); \
        gather_strips(a, GATHER_EQUAL, size, stride, rows, plane, from, to); \
    }
AVG_STRIPS(avg_backward_2x2_stride2, 2, 2)
AVG_STRIPS(avg_backward_3x3_stride2, 3, 2)

/* Where divisors differ, vectors serve the columns that only windows inside the image cover: there
 * the divisors of one row of outputs are the same. */
static pool_range avg_gather_columns(const pool_problem *p) {
    const pool_axis *w = &p->w;
    pool_range all = gather_columns(w);
    if (p->equal_divisors || all.to == 0) return all;
    int64_t first = w->inside.from + (w->kernel - 1) / w->stride;
    int64_t from = fc_max(first * w->stride - w->before, all.from + (all.from < 0 ? 2 : 0));
    int64_t to = fc_min(w->inside.to * w->stride - w->before, w->size);
    return from < to ? (pool_range){from, to} : (pool_range){0, 0};
}

static void avg_pool_backward(const pool_problem *p, const void *dy, void *dx, int n_threads) {
    pool_rows a = {.p = p, .in = dy, .out = dx, .run = avg_backward_rows};
    a.backward_vectors = avg_gather_for(p);
    a.columns = avg_gather_columns(p);
    if (is_square(p, 3, 1) && p->equal_divisors) a.run = avg_backward_3x3_rows;
    if (is_square(p, 3, 2) && p->equal_divisors) a.run = avg_backward_3x3_stride2;
    if (is_square(p, 2, 2) && p->equal_divisors) a.run = avg_backward_2x2_stride2;
    pool_run(&a, p->h.size, p->w.size + p->w.out, n_threads);
}

/* ------------------------------------------------------------------ global average */

/* Planes read side by side. A core reads ahead in each of several, which was faster on a Zen 3; on
 * a Zen 4, with AVX-512, one after the other is, by up to a half. */
#if defined(FC_TIER_AVX512)
enum { GLOBAL_PLANES = 1 };
#else
enum { GLOBAL_PLANES = 4 };
#endif

typedef struct {
    int64_t planes, size, planes_per_task;
    const real *in;
    real *out;
} global_avg;

/* The averages of some planes. */
INLINE void global_avg_planes(const int planes, const global_avg *a, int64_t plane) {
    const real *x = a->in + plane * a->size;
    int64_t size = a->size, i = 0;
    vr sum[GLOBAL_PLANES][4];
    EACH(p, planes) EACH(k, 4) sum[p][k] = v_zero();
    for (; i + 4 * VL <= size; i += 4 * VL)
        EACH(p, planes) EACH(k, 4)
            sum[p][k] = v_add(sum[p][k], v_load(x + p * size + i + k * VL));
    for (; i + VL <= size; i += VL)
        EACH(p, planes) sum[p][0] = v_add(sum[p][0], v_load(x + p * size + i));
    if (i < size)
        EACH(p, planes) sum[p][1] = v_add(sum[p][1], v_loadn(x + p * size + i, size - i));
    EACH(p, planes) {
        vr all = v_add(v_add(sum[p][0], sum[p][1]), v_add(sum[p][2], sum[p][3]));
        a->out[plane + p] = v_hsum(all) / (real)size;
    }
}

static void global_avg_forward_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const global_avg *a = arg;
    int64_t plane = item * a->planes_per_task, to = fc_min(plane + a->planes_per_task, a->planes);
    for (; plane + GLOBAL_PLANES <= to; plane += GLOBAL_PLANES)
        global_avg_planes(GLOBAL_PLANES, a, plane);
    for (; plane < to; plane++) global_avg_planes(1, a, plane);
}

static void global_avg_backward_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const global_avg *a = arg;
    int64_t from = item * a->planes_per_task, to = fc_min(from + a->planes_per_task, a->planes);
    for (int64_t plane = from; plane < to; plane++) {
        real *dx = a->out + plane * a->size;
        vr share = v_set1(a->in[plane] / (real)a->size);
        int64_t i = 0;
        for (; i + VL <= a->size; i += VL) v_store(dx + i, share);
        if (i < a->size) v_storen(dx + i, share, a->size - i);
    }
}

static void global_avg_run(fc_task task, int64_t planes, int64_t size, const void *in, void *out,
                           int n_threads) {
    global_avg a = {planes, size, fc_max(1, POOL_TASK / size), in, out};
    if (a.planes_per_task > GLOBAL_PLANES) a.planes_per_task &= -GLOBAL_PLANES;
    double work = FC_MOVED * (double)planes * (double)size;
    fc_parallel_shares(fc_ceil_div(planes, a.planes_per_task), fc_threads_for(work, n_threads),
                       task, &a);
}

static void global_avg_forward(int64_t planes, int64_t size, const void *x, void *y,
                               int n_threads) {
    global_avg_run(global_avg_forward_task, planes, size, x, y, n_threads);
}

static void global_avg_backward(int64_t planes, int64_t size, const void *dy, void *dx,
                                int n_threads) {
    global_avg_run(global_avg_backward_task, planes, size, dy, dx, n_threads);
}
