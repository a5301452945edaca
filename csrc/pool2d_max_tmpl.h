/* pool2d_max_tmpl.h - max pooling, included by pool2d_tmpl.h.
 *
 * The rule that finds the maximum, from the first element of a window to the last: the best so far
 * stays if it is NaN or >= the next one. So the first NaN wins, else the first of equal maxima.
 * Vectors know no NaN: most start from -inf at the window's first element, take what is greater,
 * and are computed again, one by one, if they met a NaN.
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

typedef struct {
    vr value;
    vi at;
} max_lanes;

INLINE max_lanes max_take(max_lanes best, vr x, vi offset) {
    best.at = vi_raise(v_gt(x, best.value), best.at, offset);
    best.value = v_max(x, best.value); /* the second operand if equal */
    return best;
}

/* VL outputs from ox on. An edge vector's padding is -inf, which is never taken; so a lane that is
 * -inf in the end has taken nothing, and the first element of its window is found one by one. */
INLINE void max_vector(const pool_problem *p, const real *x, pool_seen rows, int64_t oy, int64_t ox,
                       int sw, int64_t kw, int64_t dw, real *y, int32_t *at, int edge) {
    (void)oy;
    int64_t width = p->w.size, col = ox * p->w.stride - p->w.before, pitch = p->h.dilation * width;
    if (sw == 0 && kw > width) { /* far apart lanes may see far apart columns of a huge window */
        max_one_by_one(p, x, rows, ox, fc_min(ox + VL, p->w.out), y, at);
        return;
    }
    pool_range cols = {0, kw};
    if (edge && kw > 3) cols = edge_columns(col, (VL - 1) * p->w.stride, width, kw, dw);
    max_lanes best = {v_set1(-INFINITY), vi_set1(0)};
    vm nan = v_isnan(best.value);
    for (int64_t r = 0; r < rows.count; r++) {
        const real *row = x + rows.first * width + r * pitch;
        for (int64_t k = cols.from; k < cols.to; k += 2) {
            int64_t offset = r * pitch + k * dw, c = col + k * dw;
            vr a, b;
            if (sw == 0) {
                a = load_strided(row, c, p->w.stride, width, -INFINITY, edge);
                b = k + 1 < kw
                        ? load_strided(row, c + dw, p->w.stride, width, -INFINITY, edge) : a;
                nan = v_or(nan, v_unordered(a, b));
            } else if (sw == 1) {
                a = load_row(row, c, width, -INFINITY, edge);
                b = k + 1 < kw ? load_row(row, c + dw, width, -INFINITY, edge) : a;
                nan = v_or(nan, v_unordered(a, b));
            } else {
                vr low = load_row(row, c, width, -INFINITY, edge);
                vr high = load_row(row, c + VL, width, -INFINITY, edge);
                nan = v_or(nan, v_unordered(low, high));
                a = v_even(low, high), b = v_odd(low, high);
            }
            best = max_take(best, a, vi_set1(offset));
            if (k + 1 < kw) best = max_take(best, b, vi_set1(offset + dw));
        }
    }
    int64_t n = p->w.out - ox;
    vm known = v_gt(best.value, v_set1(-INFINITY));
    if (v_any(nan) || (edge && !v_all(v_or(known, vi_gt(vi_lanes(), vi_set1(n - 1)))))) {
        max_one_by_one(p, x, rows, ox, fc_min(ox + VL, p->w.out), y, at);
        return;
    }
    vi index = vi_add(best.at, vi_add(vi_set1(rows.first * width + col), vi_load(p->ramp)));
    store_row(y, ox, p->w.out, best.value, edge);
    if (edge) vi_store_range(at + ox, index, 0, n);
    else vi_store(at + ox, index);
}

POOL_FORWARD(max_vectors_2_stride2, max_vector, 2, 2, 1)
POOL_FORWARD(max_vectors_3_stride2, max_vector, 2, 3, 1)
POOL_FORWARD(max_vectors_3_stride1, max_vector, 1, 3, 1)
POOL_FORWARD(max_vectors_stride1, max_vector, 1, w->kernel, w->dilation)
POOL_FORWARD(max_vectors_stride2, max_vector, 2, w->kernel, 1)
POOL_FORWARD(max_vectors_strided, max_vector, 0, w->kernel, w->dilation)

static pool_run_of_rows max_vectors_for(const pool_axis *w) {
    int64_t s = w->stride, k = w->dilation == 1 ? w->kernel : 0;
    if (s == 2 && k == 2) return max_vectors_2_stride2;
    if (s == 2 && k == 3) return max_vectors_3_stride2;
    if (s == 1 && k == 3) return max_vectors_3_stride1; /* of other heights than 3 */
    if (s == 2 && k > 0) return max_vectors_stride2;
    return s == 1 ? max_vectors_stride1 : max_vectors_strided;
}

/* ------------------------------------------------------------------ 2 x 2, stride 2, no padding
 *
 * The most usual pooling, and in small nets on rows shorter than a vector. The lanes past a row's
 * end read the next row and are not stored, so that only the end of the whole array, not that of
 * each row, has to be minded. */

static int is_2x2(const pool_axis *a) {
    return a->kernel == 2 && a->stride == 2 && a->dilation == 1 && a->before == 0 &&
           2 * a->out <= a->size;
}

static void max_forward_2x2_rows(const pool_rows *a, int64_t plane, int64_t from, int64_t to,
                                 int thread) {
    (void)thread;
    const pool_problem *p = a->p;
    int64_t ow = p->w.out, width = p->w.size;
    const real *image = a->in + plane * p->h.size * width;
    const real *end = a->in + p->planes * p->h.size * width;
    vi ramp = vi_load(p->ramp);
    for (int64_t oy = from; oy < to; oy++) {
        real *y = a->out + (plane * p->h.out + oy) * ow;
        int32_t *at = a->indices_out + (plane * p->h.out + oy) * ow;
        pool_load_ahead(p, image + 2 * oy * width, 2, y, at);
        for (int64_t i = 0; i < ow; i += VL) {
            int64_t ox = vector_start(i, ow), n = ow - ox, place = 2 * oy * width + 2 * ox;
            const real *top = image + place, *below = top + width;
            if (end - below < 2 * VL) {
                max_one_by_one(p, image, axis_seen(&p->h, oy), ox, fc_min(ox + VL, ow), y, at);
                continue;
            }
            vr a0 = v_load(top), a1 = v_load(top + VL), b0 = v_load(below), b1 = v_load(below + VL);
            if (v_any(v_or(v_unordered(a0, a1), v_unordered(b0, b1)))) {
                max_one_by_one(p, image, axis_seen(&p->h, oy), ox, fc_min(ox + VL, ow), y, at);
                continue;
            }
            max_lanes best = {v_even(a0, a1), vi_set1(0)};
            best = max_take(best, v_odd(a0, a1), vi_set1(1));
            best = max_take(best, v_even(b0, b1), vi_set1(width));
            best = max_take(best, v_odd(b0, b1), vi_set1(width + 1));
            vi index = vi_add(best.at, vi_add(vi_set1(place), ramp));
            v_storen(y + ox, best.value, n);
            if (n >= VL) vi_store(at + ox, index);
            else vi_store_range(at + ox, index, 0, n);
        }
    }
}

/* ------------------------------------------------------------------ 3 x 3, stride 1 or 2
 *
 * In strips (pool_strips), where the maxima of a row over three columns are found once. The first
 * of equal maxima is then the leftmost in the first of equal rows, as in the order of reading. */

typedef struct {
    max_lanes best;
    vm nan;
} max_row;

/* Of three columns of a row from col + lane * stride on; with stride 2, lanes are in the order of
 * v_pick_even, as those of `ramp` are. A row of padding is -inf, which is never taken. */
INLINE max_row max_row_of(const int stride, const pool_problem *p, const real *x, int64_t row,
                          int64_t col, vi ramp, int edge) {
    vr none = v_set1(-INFINITY);
    if (row < 0 || row >= p->h.size) return (max_row){{none, vi_set1(0)}, v_isnan(none)};
    int64_t width = p->w.size;
    x += row * width;
    vr a = load_row(x, col, width, -INFINITY, edge), b, c;
    if (stride == 1) {
        b = load_row(x, col + 1, width, -INFINITY, edge);
        c = load_row(x, col + 2, width, -INFINITY, edge);
    } else {
        vr high = load_row(x, col + VL, width, -INFINITY, edge);
        c = v_pick_odd(load_row(x, col + 1, width, -INFINITY, edge),
                       load_row(x, col + 1 + VL, width, -INFINITY, edge));
        b = v_pick_odd(a, high);
        a = v_pick_even(a, high);
    }
    vi here = vi_add(vi_set1(row * width + col), ramp);
    max_row r = {{a, here}, v_or(v_unordered(a, b), v_isnan(c))};
    r.best = max_take(r.best, b, vi_add(here, vi_set1(1)));
    r.best = max_take(r.best, c, vi_add(here, vi_set1(2)));
    return r;
}

/* Rows from..to-1 of VL columns from ox on. Where a window sees padding, a lane that is -inf in the
 * end may have the index of padding, and is found one by one. */
INLINE void max_strip(const int stride, const pool_problem *p, const real *x, int64_t from,
                      int64_t to, int64_t ox, real *y, int32_t *at, pool_next *next, int edge) {
    int64_t ow = p->w.out, n = ow - ox, col = ox * stride - p->w.before;
    int64_t row = from * stride - p->h.before;
    vm missing = vi_gt(vi_lanes(), vi_set1(n - 1)); /* lanes past the row's end */
    vi ramp = stride == 2 ? vi_order(vi_load(p->ramp)) : vi_load(p->ramp);
    max_row r0 = max_row_of(stride, p, x, row, col, ramp, edge), r1 = r0, r2;
    if (stride == 1) r1 = max_row_of(stride, p, x, row + 1, col, ramp, edge);
    for (int64_t oy = from; oy < to; oy++, row += stride) {
        if (stride == 2) pool_load_next(next, stride);
        if (stride == 2) r1 = max_row_of(stride, p, x, row + 1, col, ramp, edge);
        r2 = max_row_of(stride, p, x, row + 2, col, ramp, edge);
        max_lanes best = max_take(r0.best, r1.best.value, r1.best.at);
        best = max_take(best, r2.best.value, r2.best.at);
        if (stride == 2) best = (max_lanes){v_order(best.value), vi_order(best.at)};
        vm known = v_or(v_gt(best.value, v_set1(-INFINITY)), missing);
        int padding = edge || row < 0 || row + 2 >= p->h.size;
        if (v_any(v_or(r0.nan, v_or(r1.nan, r2.nan))) || (padding && !v_all(known))) {
            max_one_by_one(p, x, axis_seen(&p->h, oy), ox, fc_min(ox + VL, ow), y + oy * ow,
                           at + oy * ow);
        } else {
            store_row(y + oy * ow, ox, ow, best.value, edge);
            if (edge) vi_store_range(at + oy * ow + ox, best.at, 0, n);
            else vi_store(at + oy * ow + ox, best.at);
        }
        r0 = stride == 1 ? r1 : r2;
        r1 = r2;
    }
}

#define MAX_FORWARD_3X3(stride) \
    INLINE void max_strip_##stride(const pool_problem *p, const real *x, int64_t from, int64_t to, \
                                   int64_t ox, real *y, int32_t *at, pool_next *next, int edge) { \
        max_strip(stride, p, x, from, to, ox, y, at, next, edge); \
    } \
    static void max_forward_3x3_stride##stride(const pool_rows *a, int64_t plane, int64_t from, \
                                               int64_t to, int thread) { \
        (void)thread; \
        const pool_problem *p = a->p; \
        int64_t image = plane * p->h.size * p->w.size, first = plane * p->h.out * p->w.out; \
        pool_strips(max_strip_##stride, 3, stride, p, a->in + image, p->w.size, p->w.before, from, \
                    to, p->w.out, a->out + first, a->indices_out + first); \
    }
MAX_FORWARD_3X3(1)
MAX_FORWARD_3X3(2)

static void max_pool_forward(const pool_problem *p, const void *x, void *y, int32_t *indices,
                             int n_threads) {
    pool_rows a = {.p = p, .in = x, .out = y, .indices_out = indices};
    a.run = max_vectors_for(&p->w);
    if (is_2x2(&p->h) && is_2x2(&p->w)) a.run = max_forward_2x2_rows;
    if (is_square(p, 3, 1)) a.run = max_forward_3x3_stride1;
    if (is_square(p, 3, 2)) a.run = max_forward_3x3_stride2;
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

/* The same for VL outputs from ox on, without dilation of the columns: less that of the
 * first element on one of its rows, an index is in 0..seen-1. Compared without a sign, by
 * a shift of both. */
INLINE int indices_vector(const pool_problem *p, const int32_t *at, pool_seen rows, int64_t ox,
                          int edge) {
    int64_t width = p->w.size, n = p->w.out - ox;
    vi first = vi_add(vi_set1(ox * p->w.stride - p->w.before), vi_load(p->ramp));
    vi seen = vi_set1(p->w.kernel);
    vi shift = vi_set1((int64_t)((uint64_t)1 << (8 * sizeof(real) - 1)));
    if (edge) {
        vi begin = first;
        first = vi_max(first, vi_set1(0));
        seen = vi_sub(vi_min(seen, vi_sub(vi_set1(width), begin)), vi_sub(first, begin));
    }
    vi pitch = vi_set1(p->h.dilation * width), start = vi_add(first, vi_set1(rows.first * width));
    vi in = vi_add(vi_sub(load_row_indices(at, ox, p->w.out, edge), start), shift), least = in;
    for (int64_t r = 1; r < rows.count; r++) in = vi_sub(in, pitch), least = vi_min(least, in);
    vm found = vi_gt(vi_add(seen, shift), least);
    if (edge) found = v_or(found, vi_gt(vi_lanes(), vi_set1(n - 1))); /* lanes past the row's end */
    return v_all(found);
}

static int indices_well(const pool_problem *p, const int32_t *at, int64_t oy) {
    pool_seen rows = axis_seen(&p->h, oy);
    if (p->w.dilation > 1) return indices_one_by_one(p, at, rows, 0, p->w.out);
    for (int64_t i = 0; i < p->w.out; i += VL) {
        int64_t ox = vector_start(i, p->w.out);
        if (vector_inside(&p->w, ox, 0) ? !indices_vector(p, at, rows, ox, 0)
                                        : !indices_vector(p, at, rows, ox, 1))
            return 0;
    }
    return 1;
}

/* The same for rows from..to-1 of 3 x 3 windows, down the rows as strips go. */
static int indices_well_3x3(const pool_problem *p, const int32_t *at, int64_t from, int64_t to) {
    const pool_axis *h = &p->h, *w = &p->w;
    int64_t ow = w->out, width = w->size;
    int well = 1;
    for (; from < to && (from < h->inside.from || from >= h->inside.to); from++)
        well &= indices_well(p, at + from * ow, from);
    for (; from < to && to > h->inside.to; to--)
        well &= indices_well(p, at + (to - 1) * ow, to - 1);
    vi pitch = vi_set1(width), down = vi_set1(h->stride * width);
    vi shift = vi_set1((int64_t)((uint64_t)1 << (8 * sizeof(real) - 1)));
    for (int64_t i = 0; i < ow && from < to; i += VL) {
        int64_t ox = vector_start(i, ow), n = ow - ox;
        vi begin = vi_add(vi_set1(ox * w->stride - w->before), vi_load(p->ramp));
        vi first = vi_max(begin, vi_set1(0)), end = vi_min(vi_add(begin, vi_set1(3)), pitch);
        vi seen = vi_add(vi_sub(end, first), shift);
        vi start = vi_add(first, vi_sub(vi_set1((from * h->stride - h->before) * width), shift));
        vm outputs = vi_gt(vi_set1(n), vi_lanes()), wrong = v_isnan(v_zero());
        v_part part = v_part_of(0, n);
        for (int64_t oy = from; oy < to; oy++, start = vi_add(start, down)) {
            vi index = n >= VL ? vi_load(at + oy * ow + ox) : vi_load_part(at + oy * ow + ox, part);
            vi in = vi_sub(index, start), next = vi_sub(in, pitch);
            vi least = vi_min(vi_min(in, next), vi_sub(next, pitch));
            wrong = v_or(wrong, v_andnot(vi_gt(seen, least), outputs));
        }
        well &= !v_any(wrong);
    }
    return well;
}

/* ------------------------------------------------------------------ backward: the gradient */

/* Row h of dx, by a look at every window of the rows that may reach it. */
static void max_gather_one_by_one(const pool_problem *p, const real *dy, const int32_t *at,
                                  pool_range rows, int64_t h, real *dx) {
    for (int64_t w = 0; w < p->w.size; w++) dx[w] = 0;
    for (int64_t i = rows.from * p->w.out; i < rows.to * p->w.out; i++) {
        uint64_t w = (uint64_t)(at[i] - h * p->w.size);
        if (w < (uint64_t)p->w.size) dx[w] += dy[i];
    }
}

#define MAX_GATHER(name, sw, kw) \
    static void name(const pool_rows *a, const real *dy, const int32_t *at, pool_range rows, \
                     int64_t h, real *dx) { \
        gather_row(a, GATHER_MAX, sw, kw, dy, at, rows, h, dx); \
    }
MAX_GATHER(max_gather_3_stride2, 2, 3)
MAX_GATHER(max_gather_3_stride1, 1, 3)
MAX_GATHER(max_gather_stride1, 1, a->p->w.kernel)
MAX_GATHER(max_gather_stride2, 2, a->p->w.kernel)

static pool_backward_vectors max_gather_for(const pool_axis *w) {
    if (w->stride == 2) return w->kernel == 3 ? max_gather_3_stride2 : max_gather_stride2;
    return w->kernel == 3 ? max_gather_3_stride1 : max_gather_stride1;
}

/* Rows from..to-1 of dx look after the indices of the windows that start there, the first row also
 * after those that start in the padding above it. */
static void max_check_indices(const pool_rows *a, int64_t plane, int64_t from, int64_t to,
                              int thread) {
    const pool_axis *h = &a->p->h;
    const int32_t *at = a->indices_in + plane * h->out * a->p->w.out;
    int64_t oy = from == 0 ? 0 : axis_strides(h, from + h->before + h->stride - 1);
    int64_t end = fc_min(h->out, axis_strides(h, to - 1 + h->before) + 1);
    int well = 1;
    if (is_square(a->p, 3, h->stride)) well = indices_well_3x3(a->p, at, oy, end);
    else
        for (; oy < end; oy++) well &= indices_well(a->p, at + oy * a->p->w.out, oy);
    if (!well) a->bad[thread] = 1;
}

static void max_backward_rows(const pool_rows *a, int64_t plane, int64_t from, int64_t to,
                              int thread) {
    const pool_problem *p = a->p;
    const real *dy = a->in + plane * p->h.out * p->w.out;
    const int32_t *at = a->indices_in + plane * p->h.out * p->w.out;
    max_check_indices(a, plane, from, to, thread);
    for (int64_t h = from; h < to; h++) {
        real *dx = a->out + (plane * p->h.size + h) * p->w.size;
        pool_load_ahead(p, dx, 1, NULL, NULL);
        pool_range rows = axis_covering(&p->h, h);
        if (a->columns.to > 0) a->backward_vectors(a, dy, at, rows, h, dx);
        else max_gather_one_by_one(p, dy, at, rows, h, dx);
    }
}

/* Some rows at a time, whose indices are in the cache when the gradient looks at them. */
#define MAX_STRIPS(name, stride) \
    static void name(const pool_rows *a, int64_t plane, int64_t from, int64_t to, int thread) { \
        int64_t rows = fc_min(gradient_strip_rows(a->p, stride, to - from), POOL_STRIP_ROWS); \
        for (int64_t o0 = from, o1; o0 < to; o0 = o1) { \
            o1 = fc_min(o0 + rows, to); \
            max_check_indices(a, plane, o0, o1, thread); \
            gather_strips(a, GATHER_MAX, 3, stride, rows, plane, o0, o1); \
        } \
    }
MAX_STRIPS(max_backward_3x3_stride1, 1)
MAX_STRIPS(max_backward_3x3_stride2, 2)

/* The 2 x 2 windows of an output row write two rows of dx, and an index that names none of
 * the four elements of its window is wrong: then the result is 0. edge: the vector reaches
 * over the row's end. */
INLINE int max_backward_2x2_vector(const pool_problem *p, const real *dy, const int32_t *at,
                                   int64_t oy, int64_t ox, real *dx, int edge) {
    int64_t ow = p->w.out, width = p->w.size, n = ow - ox;
    vr g = edge ? v_loadn(dy + ox, n) : v_load(dy + ox);
    vi index = edge ? vi_load_range(at + ox, 0, n, -1) : vi_load(at + ox);
    vi here = vi_add(vi_set1(2 * oy * width + 2 * ox), vi_load(p->ramp)), one = vi_set1(1);
    vi below = vi_add(here, vi_set1(width));
    vm m00 = vi_eq(index, here), m01 = vi_eq(index, vi_add(here, one));
    vm m10 = vi_eq(index, below), m11 = vi_eq(index, vi_add(below, one));
    vr v00 = v_add_where(m00, v_zero(), g), v01 = v_add_where(m01, v_zero(), g);
    vr v10 = v_add_where(m10, v_zero(), g), v11 = v_add_where(m11, v_zero(), g);
    real *to = dx + 2 * ox;
    int64_t low = edge ? 2 * n : VL, high = edge ? 2 * n - VL : VL;
    v_storen(to, v_zip_lo(v00, v01), low);
    v_storen(to + width, v_zip_lo(v10, v11), low);
    if (high > 0) {
        v_storen(to + VL, v_zip_hi(v00, v01), high);
        v_storen(to + width + VL, v_zip_hi(v10, v11), high);
    }
    vm found = v_or(v_or(m00, m01), v_or(m10, m11));
    if (edge) found = v_or(found, vi_gt(vi_lanes(), vi_set1(n - 1)));
    return v_all(found);
}

/* For rows shorter than a vector: the two rows of dx that a row of windows writes lie one after the
 * other, and are written in whole vectors, the last of which starts earlier. */
enum { NARROW_VECTORS = 4 }; /* of two rows of at most 2 VL - 1 elements */
struct max_narrow {
    int64_t vectors;
    int32_t window[NARROW_VECTORS][VL];  /* of each element; VL - 1, which is none, beyond them */
    int32_t element[NARROW_VECTORS][VL]; /* its index, from the first of the two rows on */
};

static int is_narrow(const pool_axis *w) { return w->out < VL && w->size < 2 * VL; }

static void max_narrow_make(const pool_axis *w, max_narrow *t) {
    int64_t size = 2 * w->size;
    t->vectors = fc_ceil_div(size, VL);
    for (int64_t v = 0; v < t->vectors; v++) {
        int64_t start = fc_max(0, fc_min(v * VL, size - VL));
        for (int64_t i = 0; i < VL; i++) {
            int64_t element = start + i, window = element % w->size / 2;
            t->element[v][i] = (int32_t)element;
            t->window[v][i] = (int32_t)(window < w->out ? window : VL - 1);
        }
    }
}

/* Rows of windows from..to-1, counted through all planes, whose two rows of dx are so many vectors.
 * Returns 0 if an index names no element of its window. */
INLINE int max_narrow_rows(const int vectors, const pool_rows *a, int64_t from, int64_t to) {
    const pool_axis *h = &a->p->h, *w = &a->p->w;
    const max_narrow *t = a->narrow;
    int64_t ow = w->out, pair = 2 * w->size, rest = (h->size - 2 * h->out) * w->size;
    vi upper = vi_load(a->p->ramp), lower = vi_add(upper, vi_set1(w->size)), one = vi_set1(1);
    vi upper_next = vi_add(upper, one), lower_next = vi_add(lower, one);
    vm is_window = vi_gt(vi_set1(ow), vi_lanes()), wrong = v_isnan(v_zero());
    v_part windows = v_part_of(0, ow);
    vi window[NARROW_VECTORS], element[NARROW_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) {
        window[v] = vi_load(t->window[v]);
        element[v] = vi_load(t->element[v]);
    }
    int64_t plane = from / h->out, oy = from - plane * h->out;
    const real *dy = a->in + from * ow;
    const int32_t *at = a->indices_in + from * ow;
    real *dx = a->out + plane * h->size * w->size + oy * pair;
    for (; from < to; from++, dy += ow, at += ow, dx += pair) {
        vr g = v_load_part(dy, windows);
        vi index = vi_sub(vi_load_part(at, windows), vi_set1(oy * pair));
        vm found = v_or(v_or(vi_eq(index, upper), vi_eq(index, upper_next)),
                        v_or(vi_eq(index, lower), vi_eq(index, lower_next)));
        wrong = v_or(wrong, v_andnot(found, is_window));
        UNROLL for (int v = 0; v < vectors; v++) { /* of several the last starts earlier */
            vm m = vi_eq(vi_permute(index, window[v]), element[v]);
            vr out = v_add_where(m, v_zero(), v_permute(g, window[v]));
            if (vectors == 1) v_storen(dx, out, pair);
            else v_store(v == vectors - 1 ? dx + pair - VL : dx + v * VL, out);
        }
        if (++oy < h->out) continue;
        oy = 0;
        fill(dx + pair, rest, 0);
        dx += rest;
    }
    return !v_any(wrong);
}

static void max_backward_2x2_narrow(const pool_rows *a, int64_t from, int64_t to, int thread) {
    int well = 1;
    switch (a->narrow->vectors) {
    case 1: well = max_narrow_rows(1, a, from, to); break;
    case 2: well = max_narrow_rows(2, a, from, to); break;
    case 3: well = max_narrow_rows(3, a, from, to); break;
    default: well = max_narrow_rows(4, a, from, to); break;
    }
    if (!well) a->bad[thread] = 1;
}

static void max_backward_2x2_rows(const pool_rows *a, int64_t plane, int64_t from, int64_t to,
                                  int thread) {
    const pool_problem *p = a->p;
    int64_t ow = p->w.out, width = p->w.size;
    int well = 1;
    for (int64_t oy = from; oy < to; oy++) {
        const real *dy = a->in + (plane * p->h.out + oy) * ow;
        const int32_t *at = a->indices_in + (plane * p->h.out + oy) * ow;
        real *dx = a->out + (plane * p->h.size + 2 * oy) * width;
        pool_load_ahead(p, dx, 2, dy, at);
        for (int64_t i = 0; i < ow; i += VL) {
            int64_t ox = vector_start(i, ow);
            well &= ox + VL <= ow ? max_backward_2x2_vector(p, dy, at, oy, ox, dx, 0)
                                  : max_backward_2x2_vector(p, dy, at, oy, ox, dx, 1);
        }
    }
    if (!well) a->bad[thread] = 1;
    /* what no window sees */
    real *dx = a->out + plane * p->h.size * width;
    for (int64_t h = 2 * from; h < 2 * to && 2 * ow < width; h++)
        fill(dx + h * width + 2 * ow, width - 2 * ow, 0);
    if (to == p->h.out)
        for (int64_t i = 2 * to * width; i < p->h.size * width; i++) dx[i] = 0;
}

static int max_pool_backward(const pool_problem *p, const void *dy, const int32_t *indices,
                             void *dx, int n_threads) {
    enum { MOST_THREADS = 1024 };
    unsigned char bad[MOST_THREADS] = {0};
    pool_rows a = {.p = p, .in = dy, .indices_in = indices, .out = dx, .bad = bad,
                   .run = max_backward_rows};
    a.backward_vectors = max_gather_for(&p->w);
    a.columns = gather_columns(&p->w);
    if (is_square(p, 3, 1)) a.run = max_backward_3x3_stride1;
    if (is_square(p, 3, 2)) a.run = max_backward_3x3_stride2;
    n_threads = n_threads < MOST_THREADS ? n_threads : MOST_THREADS;
    if (is_2x2(&p->h) && is_2x2(&p->w)) {
        max_narrow narrow;
        if (is_narrow(&p->w)) {
            max_narrow_make(&p->w, &narrow);
            a.narrow = &narrow;
            a.run_all = max_backward_2x2_narrow;
        }
        a.run = max_backward_2x2_rows;
        pool_run(&a, p->h.out, 2 * p->w.size + 2 * p->w.out, n_threads);
    } else {
        pool_run(&a, p->h.size, p->w.size + 2 * p->w.out, n_threads);
    }
    for (int i = 0; i < MOST_THREADS; i++)
        if (bad[i]) return 0;
    return 1;
}
