/* pool2d_max_tmpl.h - max pooling, included by pool2d_tmpl.h.
 *
 * The rule that finds the maximum, from the first element of a window to the last: the best so far
 * stays if it is NaN or >= the next one. So the first NaN wins, else the first of equal maxima. In
 * vectors the best starts as -inf at the window's first element.
 */

/* ------------------------------------------------------------------ forward */

static void max_one_by_one(const pool_problem *p, const real *x, pool_seen rows, int64_t from,
                           int64_t to, real *y, int32_t *at) {
    int64_t dh = p->h.dilation, dw = p->w.dilation, width = p->w.size;
    for (int64_t ox = from; ox < to; ox++) {
        pool_seen cols = axis_seen(&p->w, ox);
        int64_t best_at = rows.first * width + cols.first;
        real best = x[best_at];
        for (int64_t r = 0; r < rows.count; r++) {
            int64_t i = (rows.first + r * dh) * width + cols.first;
            for (int64_t k = 0; k < cols.count; k++, i += dw) {
                if (best >= x[i] || best != best) continue;
                best = x[i];
                best_at = i;
            }
        }
        y[ox] = best;
        at[ox] = (int32_t)best_at;
    }
}

INLINE void max_take(vr x, int64_t offset, vr *best, vi *best_at) {
    vm stays = v_or(v_ge(*best, x), v_isnan(*best));
    *best = v_select(stays, *best, x);
    *best_at = vi_select(stays, *best_at, vi_set1(offset));
}

/* VL outputs (n of them wanted) whose windows lie inside the image and start at element `start` of
 * the plane, `left` elements before the end of its row. */
INLINE void max_vector(const pool_problem *p, const real *x, int64_t n_rows, int64_t start,
                       int64_t left, int sw, int64_t kw, int64_t dw, int64_t n, real *y,
                       int32_t *at, int full) {
    int64_t pitch = p->h.dilation * p->w.size;
    int pairs = sw == 2 && dw == 1; /* two loads hold the even and the odd elements */
    vr best = v_set1(-INFINITY);
    vi best_at = vi_set1(0);
    for (int64_t r = 0; r < n_rows; r++) {
        for (int64_t k = 0; k < kw; k += pairs ? 2 : 1) {
            int64_t offset = r * pitch + k * dw, rest = left - k * dw;
            const real *q = x + start + offset;
            vr a = load_some(q, rest, full);
            if (sw == 1) {
                max_take(a, offset, &best, &best_at);
                continue;
            }
            vr b = load_some(q + VL, rest - VL, full);
            max_take(v_even(a, b), offset, &best, &best_at);
            if (pairs && k + 1 < kw) max_take(v_odd(a, b), offset + 1, &best, &best_at);
        }
    }
    best_at = vi_add(best_at, vi_add(vi_set1(start), vi_load(p->ramp)));
    store_some(y, best, n, full);
    if (full) vi_store(at, best_at);
    else vi_storen(at, best_at, n);
}

INLINE void max_middle(const pool_rows *a, const real *x, pool_seen rows, real *y, int32_t *at,
                       int sw, int64_t kw, int64_t dw) {
    const pool_problem *p = a->p;
    for (int64_t ox = a->middle.from; ox < a->middle.to; ox += VL) {
        int64_t n = a->middle.to - ox, col = ox * sw - p->w.before, left = p->w.size - col;
        int64_t start = rows.first * p->w.size + col;
        int full = n >= VL && left >= (kw - 1) * dw + sw * VL;
        if (full) max_vector(p, x, rows.count, start, left, sw, kw, dw, n, y + ox, at + ox, 1);
        else max_vector(p, x, rows.count, start, left, sw, kw, dw, n, y + ox, at + ox, 0);
    }
}

#define MAX_MIDDLE(name, sw, kw, dw) \
    static void name(const pool_rows *a, const real *x, pool_seen rows, int64_t oy, real *y, \
                     int32_t *at) { \
        (void)oy; \
        max_middle(a, x, rows, y, at, sw, kw, dw); \
    }
MAX_MIDDLE(max_middle_2_stride2, 2, 2, 1)
MAX_MIDDLE(max_middle_3_stride2, 2, 3, 1)
MAX_MIDDLE(max_middle_3_stride1, 1, 3, 1)
MAX_MIDDLE(max_middle_stride1, 1, a->p->w.kernel, a->p->w.dilation)
MAX_MIDDLE(max_middle_stride2, 2, a->p->w.kernel, a->p->w.dilation)

static pool_forward_middle max_middle_for(const pool_axis *w) {
    int64_t s = w->stride, k = w->dilation == 1 ? w->kernel : 0;
    if (s == 2) return k == 2 ? max_middle_2_stride2 : k == 3 ? max_middle_3_stride2
                                                              : max_middle_stride2;
    if (s == 1) return k == 3 ? max_middle_3_stride1 : max_middle_stride1;
    return NULL;
}

static void max_forward_row(const pool_rows *a, int64_t plane, int64_t oy, int thread) {
    (void)thread;
    const pool_problem *p = a->p;
    const real *x = a->in + plane * p->h.size * p->w.size;
    int64_t offset = (plane * p->h.out + oy) * p->w.out;
    real *y = a->out + offset;
    int32_t *at = a->indices_out + offset;
    pool_seen rows = axis_seen(&p->h, oy);
    max_one_by_one(p, x, rows, 0, a->middle.from, y, at);
    if (a->middle.from < a->middle.to) a->forward_middle(a, x, rows, oy, y, at);
    max_one_by_one(p, x, rows, a->middle.to, p->w.out, y, at);
}

static void max_pool_forward(const pool_problem *p, const void *x, void *y, int32_t *indices,
                             int n_threads) {
    pool_rows a = {.p = p, .in = x, .out = y, .indices_out = indices, .row = max_forward_row};
    a.forward_middle = max_middle_for(&p->w);
    if (a.forward_middle != NULL) a.middle = p->w.inside;
    pool_run(&a, p->h.out, p->h.stride * p->w.size + 2 * p->w.out, n_threads);
}

/* ------------------------------------------------------------------ backward: the indices */

/* 1 if the index of each output from..to-1 of a row is an element of its window. */
static int indices_one_by_one(const pool_problem *p, const int32_t *at, pool_seen rows,
                              int64_t from, int64_t to) {
    int64_t dh = p->h.dilation, dw = p->w.dilation;
    for (int64_t ox = from; ox < to; ox++) {
        pool_seen cols = axis_seen(&p->w, ox);
        int found = 0;
        for (int64_t r = 0; r < rows.count && !found; r++) {
            int64_t col = at[ox] - (rows.first + r * dh) * p->w.size - cols.first;
            found = col >= 0 && col <= (cols.count - 1) * dw && (dw == 1 || col % dw == 0);
        }
        if (!found) return 0;
    }
    return 1;
}

/* The same for those windows that lie inside the image, without dilation of the columns. */
static int indices_inside(const pool_problem *p, const int32_t *at, pool_seen rows) {
    vi zero = vi_set1(0), kernel = vi_set1(p->w.kernel);
    vi pitch = vi_set1(p->h.dilation * p->w.size);
    for (int64_t ox = p->w.inside.from; ox < p->w.inside.to; ox += VL) {
        int64_t n = p->w.inside.to - ox;
        int64_t start = rows.first * p->w.size + ox * p->w.stride - p->w.before;
        vi index = n >= VL ? vi_load(at + ox) : vi_loadn(at + ox, n);
        vi col = vi_sub(index, vi_add(vi_set1(start), vi_load(p->ramp)));
        vm found = vi_gt(vi_lanes(), vi_set1(n - 1)); /* lanes past the end are well */
        for (int64_t r = 0; r < rows.count; r++, col = vi_sub(col, pitch))
            found = v_or(found, v_andnot(vi_gt(zero, col), vi_gt(kernel, col)));
        if (!v_all(found)) return 0;
    }
    return 1;
}

static int indices_well(const pool_problem *p, const int32_t *at, int64_t oy) {
    pool_seen rows = axis_seen(&p->h, oy);
    pool_range in = p->w.inside;
    if (p->w.dilation > 1) return indices_one_by_one(p, at, rows, 0, p->w.out);
    return indices_one_by_one(p, at, rows, 0, in.from) && indices_inside(p, at, rows) &&
           indices_one_by_one(p, at, rows, in.to, p->w.out);
}

/* ------------------------------------------------------------------ backward: the gradient */

/* Columns from..to-1 of row h of dx, by a look at every window of the rows that may reach them. */
static void max_gather_one_by_one(const pool_problem *p, const real *dy, const int32_t *at,
                                  pool_range rows, int64_t h, int64_t from, int64_t to, real *dx) {
    if (from >= to) return;
    int64_t first = axis_covering(&p->w, from).from, last = axis_covering(&p->w, to - 1).to;
    int64_t start = h * p->w.size + from;
    for (int64_t w = from; w < to; w++) dx[w] = 0;
    for (int64_t oy = rows.from; oy < rows.to; oy++)
        for (int64_t ox = first; ox < last; ox++) {
            uint64_t col = (uint64_t)(at[oy * p->w.out + ox] - start);
            if (col < (uint64_t)(to - from)) dx[from + (int64_t)col] += dy[oy * p->w.out + ox];
        }
}

#define MAX_GATHER(name, sw, kw) \
    static void name(const pool_rows *a, const real *dy, const int32_t *at, pool_range rows, \
                     int64_t h, real *dx) { \
        gather_middle(a, GATHER_MAX, sw, kw, dy, at, rows, h, dx); \
    }
MAX_GATHER(max_gather_2_stride2, 2, 2)
MAX_GATHER(max_gather_3_stride2, 2, 3)
MAX_GATHER(max_gather_3_stride1, 1, 3)
MAX_GATHER(max_gather_stride1, 1, a->p->w.kernel)
MAX_GATHER(max_gather_stride2, 2, a->p->w.kernel)

static pool_backward_middle max_gather_for(const pool_axis *w) {
    if (w->stride == 2) return w->kernel == 2   ? max_gather_2_stride2
                               : w->kernel == 3 ? max_gather_3_stride2
                                                : max_gather_stride2;
    return w->kernel == 3 ? max_gather_3_stride1 : max_gather_stride1;
}

static void max_backward_row(const pool_rows *a, int64_t plane, int64_t h, int thread) {
    const pool_problem *p = a->p;
    const real *dy = a->in + plane * p->h.out * p->w.out;
    const int32_t *at = a->indices_in + plane * p->h.out * p->w.out;
    real *dx = a->out + (plane * p->h.size + h) * p->w.size;
    /* This row looks after the indices of the windows that start here, the first row also after
     * those that start in the padding above it. */
    int64_t oy = h == 0 ? 0 : fc_ceil_div(h + p->h.before, p->h.stride);
    for (; oy < p->h.out && oy * p->h.stride - p->h.before <= h; oy++)
        if (!indices_well(p, at + oy * p->w.out, oy)) a->bad[thread] = 1;
    pool_range rows = axis_covering(&p->h, h);
    max_gather_one_by_one(p, dy, at, rows, h, 0, a->middle.from, dx);
    if (a->middle.from < a->middle.to) a->backward_middle(a, dy, at, rows, h, dx);
    max_gather_one_by_one(p, dy, at, rows, h, a->middle.to, p->w.size, dx);
}

static int max_pool_backward(const pool_problem *p, const void *dy, const int32_t *indices,
                             void *dx, int n_threads) {
    enum { MOST_THREADS = 1024 };
    unsigned char bad[MOST_THREADS] = {0};
    pool_rows a = {.p = p, .in = dy, .indices_in = indices, .out = dx, .bad = bad,
                   .row = max_backward_row};
    a.backward_middle = max_gather_for(&p->w);
    a.middle = gather_columns(&p->w, (pool_range){0, p->w.out}, 1);
    pool_run(&a, p->h.size, p->w.size + 2 * p->w.out, n_threads < MOST_THREADS ? n_threads
                                                                                : MOST_THREADS);
    for (int i = 0; i < MOST_THREADS; i++)
        if (bad[i]) return 0;
    return 1;
}
