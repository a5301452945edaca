/* pool2d_tmpl.h - max and average pooling and their backward passes; compiled per tier and real
 * type. This file holds what they share; pool2d_max_tmpl.h and pool2d_avg_tmpl.h hold the rest.
 *
 * A row of the output has three parts: border columns, whose windows (or whose windows' neighbours)
 * touch the padding, are computed one by one on both sides; those between are computed VL at a
 * time for strides 1 and 2, and one by one for others. H W input size, KH KW kernel size, OH OW
 * output size; oy ox an output's place, h w an input's, o or i on one axis.
 */
#include "simd_index.h"

/* Elements that a task moves: much more than starting it costs, and less than the cache holds. */
#define POOL_TASK 32768

/* ------------------------------------------------------------------ one axis */

/* What window o sees of the image: `count` elements from `first` on, in steps of the dilation. */
typedef struct {
    int64_t first, count;
} pool_seen;

INLINE pool_seen axis_seen(const pool_axis *a, int64_t o) {
    int64_t first = o * a->stride - a->before, skipped = 0;
    int64_t count = a->kernel, d = a->dilation;
    if (first < 0) skipped = d == 1 ? -first : fc_ceil_div(-first, d);
    first += skipped * d;
    int64_t room = a->size - first;
    count = fc_min(count - skipped, d == 1 ? room : fc_ceil_div(room, d));
    return (pool_seen){first, count};
}

/* The outputs whose windows may cover element i: no others do. */
INLINE pool_range axis_covering(const pool_axis *a, int64_t i) {
    int64_t last = i + a->before, first = last - (a->kernel - 1) * a->dilation;
    if (a->stride == 1) return (pool_range){fc_max(first, 0), fc_min(last + 1, a->out)};
    int64_t from = first <= 0 ? 0 : fc_ceil_div(first, a->stride);
    return (pool_range){from, fc_min(last / a->stride + 1, a->out)};
}

/* How many elements of window o an average counts, on this axis. */
INLINE int64_t axis_counted(const pool_axis *a, int64_t o, int count_include_pad) {
    int64_t from = o * a->stride - a->before, to = from + a->kernel;
    if (count_include_pad) return fc_min(to, a->size + a->after) - from;
    return fc_min(to, a->size) - fc_max(from, 0);
}

/* ------------------------------------------------------------------ the loop over rows */

typedef struct pool_rows pool_rows;

/* Computes one row of the output of pass `a`. */
typedef void (*pool_row)(const pool_rows *a, int64_t plane, int64_t row, int thread);
/* Computes its columns between the borders: forward from the input rows that the window sees,
 * backward from the output rows that cover this one. */
typedef void (*pool_forward_middle)(const pool_rows *a, const real *x, pool_seen rows, int64_t oy,
                                    real *y, int32_t *at);
typedef void (*pool_backward_middle)(const pool_rows *a, const real *dy, const int32_t *at,
                                     pool_range rows, int64_t h, real *dx);

struct pool_rows {
    const pool_problem *p;
    const real *in; /* x or dy */
    const int32_t *indices_in;
    real *out;      /* y or dx */
    int32_t *indices_out;
    unsigned char *bad; /* per thread: an index was no element of its window */
    pool_row row;
    pool_forward_middle forward_middle;
    pool_backward_middle backward_middle;
    pool_range middle;  /* columns between the borders */
    int64_t rows, rows_per_task, total;
};

static void pool_task(void *arg, int64_t item, int thread) {
    const pool_rows *a = arg;
    int64_t from = item * a->rows_per_task, to = fc_min(from + a->rows_per_task, a->total);
    int64_t plane = from / a->rows, row = from % a->rows;
    for (int64_t i = from; i < to; i++) {
        a->row(a, plane, row, thread);
        if (++row == a->rows) row = 0, plane++;
    }
}

/* Runs a->row on all the rows; moved: elements that one row reads and writes, about. */
static void pool_run(pool_rows *a, int64_t rows, int64_t moved, int n_threads) {
    a->rows = rows;
    a->total = a->p->planes * rows;
    a->rows_per_task = fc_max(1, POOL_TASK / moved);
    double work = (double)a->total * (double)moved;
    fc_parallel(fc_ceil_div(a->total, a->rows_per_task), fc_threads_for(work, n_threads), pool_task,
                a);
}

/* ------------------------------------------------------------------ vectors at a row's end */

INLINE vr load_some(const real *p, int64_t n, int full) {
    return full ? v_load(p) : v_loadn(p, fc_max(n, 0));
}
INLINE vi load_some_indices(const int32_t *p, int64_t n, int full) {
    return full ? vi_load(p) : vi_loadn(p, fc_max(n, 0));
}
INLINE void store_some(real *p, vr a, int64_t n, int full) {
    if (full) v_store(p, a);
    else if (n > 0) v_storen(p, a, n);
}

/* ------------------------------------------------------------------ backward, VL or 2 VL columns */

/* What becomes of the gradients that reach an element: max pooling takes those whose index names
 * it; averages take all, and divide the sum once or, where divisors differ, once per output row. */
typedef enum { GATHER_MAX, GATHER_EQUAL, GATHER_BY_ROW } gather;

INLINE vr gather_one(gather how, vr g, vi at, vi here) {
    return how == GATHER_MAX ? v_keep(vi_eq(at, here), g) : g;
}

/* dx[w ..] for VL columns at stride 1; n columns are left in the row, of which `full` says that
 * they are enough. Windows before column 0 do not exist here, those past the last give zeros. */
INLINE void gather_stride1(const pool_problem *p, gather how, const real *dy, const int32_t *at,
                           pool_range rows, int64_t h, int64_t w, int64_t n, int64_t kw, int64_t dw,
                           real *dx, int full) {
    int64_t ow = p->w.out;
    vi here = vi_add(vi_set1(h * p->w.size + w), vi_load(p->ramp));
    vr sum = v_zero();
    for (int64_t oy = rows.from; oy < rows.to; oy++) {
        vr row = v_zero();
        for (int64_t k = kw - 1; k >= 0; k--) {
            int64_t ox = w + p->w.before - k * dw, i = oy * ow + ox;
            vi from = how == GATHER_MAX ? load_some_indices(at + i, ow - ox, full) : here;
            vr g = gather_one(how, load_some(dy + i, ow - ox, full), from, here);
            if (how == GATHER_BY_ROW) row = v_add(row, g);
            else sum = v_add(sum, g);
        }
        if (how == GATHER_BY_ROW) {
            int64_t divisor = kw * axis_counted(&p->h, oy, p->count_include_pad);
            sum = v_add(sum, v_div(row, v_set1((real)divisor)));
        }
    }
    if (how == GATHER_EQUAL) sum = v_div(sum, v_set1((real)(p->h.kernel * kw)));
    store_some(dx + w, sum, n, full);
}

/* The same for 2 VL columns at stride 2: w sees the kernel's even columns, w + 1 its odd ones. */
INLINE void gather_stride2(const pool_problem *p, gather how, const real *dy, const int32_t *at,
                           pool_range rows, int64_t h, int64_t w, int64_t n, int64_t kw, real *dx,
                           int full) {
    int64_t ow = p->w.out;
    vi here = vi_add(vi_set1(h * p->w.size + w), vi_load(p->ramp));
    vi next = vi_add(here, vi_set1(1));
    vr even = v_zero(), odd = v_zero();
    for (int64_t oy = rows.from; oy < rows.to; oy++) {
        vr row_even = v_zero(), row_odd = v_zero();
        for (int64_t t = (kw - 1) / 2; t >= 0; t--) {
            int64_t ox = (w + p->w.before) / 2 - t, i = oy * ow + ox;
            vi from = how == GATHER_MAX ? load_some_indices(at + i, ow - ox, full) : here;
            vr g = load_some(dy + i, ow - ox, full);
            vr e = gather_one(how, g, from, here), o = gather_one(how, g, from, next);
            if (how == GATHER_BY_ROW) row_even = v_add(row_even, e);
            else even = v_add(even, e);
            if (2 * t + 1 >= kw) continue;
            if (how == GATHER_BY_ROW) row_odd = v_add(row_odd, o);
            else odd = v_add(odd, o);
        }
        if (how == GATHER_BY_ROW) {
            vr divisor = v_set1((real)(kw * axis_counted(&p->h, oy, p->count_include_pad)));
            even = v_add(even, v_div(row_even, divisor));
            odd = v_add(odd, v_div(row_odd, divisor));
        }
    }
    if (how == GATHER_EQUAL) {
        vr divisor = v_set1((real)(p->h.kernel * kw));
        even = v_div(even, divisor), odd = v_div(odd, divisor);
    }
    store_some(dx + w, v_zip_low(even, odd), n, full);
    store_some(dx + w + VL, v_zip_high(even, odd), n - VL, full);
}

/* The middle columns of row h of dx, for stride sw = 1 or 2 and kernel width kw. */
INLINE void gather_middle(const pool_rows *a, gather how, int sw, int64_t kw, const real *dy,
                          const int32_t *at, pool_range rows, int64_t h, real *dx) {
    const pool_problem *p = a->p;
    int64_t dw = p->w.dilation, step = sw * VL;
    for (int64_t w = a->middle.from; w < a->middle.to; w += step) {
        int64_t n = a->middle.to - w;
        int full = n >= step && (w + p->w.before) / sw + VL <= p->w.out;
        if (sw == 1 && full) gather_stride1(p, how, dy, at, rows, h, w, n, kw, dw, dx, 1);
        else if (sw == 1) gather_stride1(p, how, dy, at, rows, h, w, n, kw, dw, dx, 0);
        else if (full) gather_stride2(p, how, dy, at, rows, h, w, n, kw, dx, 1);
        else gather_stride2(p, how, dy, at, rows, h, w, n, kw, dx, 0);
    }
}

/* The columns that gather_middle can do: those that no window outside of `outputs` covers. With
 * open_end windows past the last output are no obstacle: they give zeros. */
static pool_range gather_columns(const pool_axis *a, pool_range outputs, int open_end) {
    if (a->stride > 2 || (a->stride == 2 && a->dilation > 1)) return (pool_range){0, 0};
    int64_t s = a->stride, behind = ((a->kernel - 1) * a->dilation) / s;
    int64_t first = fc_max(outputs.from + behind, fc_ceil_div(a->before, s));
    int64_t from = fc_min(s * first - a->before, a->size);
    int64_t to = open_end ? a->size : fc_min(s * outputs.to - a->before, a->size);
    return (pool_range){from, fc_max(from, to)};
}

#include "pool2d_avg_tmpl.h"
#include "pool2d_max_tmpl.h"

#define POOL2D_KERNELS \
    { \
        .max_forward = max_pool_forward, \
        .max_backward = max_pool_backward, \
        .avg_forward = avg_pool_forward, \
        .avg_backward = avg_pool_backward, \
        .global_avg_forward = global_avg_forward, \
        .global_avg_backward = global_avg_backward, \
    }
