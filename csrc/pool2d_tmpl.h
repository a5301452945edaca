/* pool2d_tmpl.h - max and average pooling and their backward passes; compiled per tier and real
 * type. This file holds what they share; pool2d_max_tmpl.h and pool2d_avg_tmpl.h hold the rest.
 *
 * A row of the output is computed VL columns at a time; 3x3 windows of stride 1 or 2, and averages
 * of 2x2, go down the rows in strips. Where windows touch the padding or the row ends, the vector
 * is an "edge" one, whose loads and stores mind the row's bounds. H W input size, KH KW kernel
 * size, OH OW output size; oy ox an output's place, h w an input's, o or i either's on one axis.
 */
#include "simd_index.h"

/* Elements that a task moves: much more than starting it costs, and less than the cache holds. */
#define POOL_TASK 16384
/* What a row costs besides, in multiply-adds. */
#define POOL_ROW 300.0
/* Bytes ahead of a row, of what it reads and writes, whose loading it starts: as rows are read by
 * twos and threes, the hardware sees the order of the memory late. */
#define POOL_AHEAD 2048

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

/* n / stride, for n >= 0. */
INLINE int64_t axis_strides(const pool_axis *a, int64_t n) {
    return a->stride_shift >= 0 ? n >> a->stride_shift : n / a->stride;
}

/* The outputs whose windows may cover element i: no others do. */
INLINE pool_range axis_covering(const pool_axis *a, int64_t i) {
    int64_t last = i + a->before, first = fc_max(last - (a->kernel - 1) * a->dilation, 0);
    int64_t from = axis_strides(a, first + a->stride - 1), to = axis_strides(a, last) + 1;
    return (pool_range){from, fc_min(to, a->out)};
}

/* How many elements of window o an average counts, on this axis. */
INLINE int64_t axis_counted(const pool_axis *a, int64_t o, int count_include_pad) {
    int64_t from = o * a->stride - a->before, to = from + a->kernel;
    if (count_include_pad) return fc_min(to, a->size + a->after) - from;
    return fc_min(to, a->size) - fc_max(from, 0);
}

/* ------------------------------------------------------------------ the loop over rows */

typedef struct pool_rows pool_rows;
typedef struct max_narrow max_narrow;

/* Computes rows from..to-1 of a plane of the output of pass `a`. */
typedef void (*pool_run_of_rows)(const pool_rows *a, int64_t plane, int64_t from, int64_t to,
                                 int thread);
/* Computes rows from..to-1, counted through all planes. */
typedef void (*pool_run_of_planes)(const pool_rows *a, int64_t from, int64_t to, int thread);
/* Backward, the vectors of row h, from the output rows whose windows cover it. */
typedef void (*pool_backward_vectors)(const pool_rows *a, const real *dy, const int32_t *at,
                                      pool_range rows, int64_t h, real *dx);

struct pool_rows {
    const pool_problem *p;
    const real *in; /* x or dy */
    const int32_t *indices_in;
    real *out;      /* y or dx */
    int32_t *indices_out;
    unsigned char *bad; /* per thread: an index was no element of its window */
    pool_run_of_rows run;
    pool_run_of_planes run_all; /* in its place, or NULL */
    pool_backward_vectors backward_vectors;
    const max_narrow *narrow; /* max, backward: of narrow images, or NULL */
    pool_range columns; /* backward: those that vectors compute; others go one by one */
    int64_t rows, rows_per_task, total;
};

static void pool_task(void *arg, int64_t item, int thread) {
    const pool_rows *a = arg;
    int64_t from = item * a->rows_per_task, to = fc_min(from + a->rows_per_task, a->total);
    if (a->run_all != NULL) {
        a->run_all(a, from, to, thread);
        return;
    }
    int64_t plane = from / a->rows, row = from % a->rows;
    for (; from < to; plane++, row = 0) {
        int64_t n = fc_min(a->rows - row, to - from);
        a->run(a, plane, row, row + n, thread);
        from += n;
    }
}

/* Computes all the rows; moved: elements that one row reads and writes, about. */
static void pool_run(pool_rows *a, int64_t rows, int64_t moved, int n_threads) {
    a->rows = rows;
    a->total = a->p->planes * rows;
    a->rows_per_task = fc_max(1, POOL_TASK / moved);
    double work = (double)a->total * (FC_MOVED * (double)moved + POOL_ROW);
    fc_parallel_shares(fc_ceil_div(a->total, a->rows_per_task), fc_threads_for(work, n_threads),
                       pool_task, a);
}

/* Starts loading what comes POOL_AHEAD after `rows` rows of the image, and after a row of the
 * outputs. Not for short rows, as of small nets, which are in the cache. */
INLINE void pool_load_ahead(const pool_problem *p, const real *image, int64_t rows,
                            const real *outputs, const int32_t *at) {
    int64_t size = sizeof(real), row = p->w.size * size;
    if (row < 128) return;
    prefetch_bytes((const char *)image + POOL_AHEAD, rows * row);
    if (outputs != NULL) prefetch_bytes((const char *)outputs + POOL_AHEAD, p->w.out * size);
    if (at != NULL) prefetch_bytes((const char *)at + POOL_AHEAD, p->w.out * 4);
}

/* ------------------------------------------------------------------ vectors and row ends */

/* Elements col + lane of a row of `width`, or `fill` where an edge vector leaves it. */
INLINE vr load_row(const real *row, int64_t col, int64_t width, real fill, int edge) {
    return edge ? v_load_range(row + col, -col, width - col, fill) : v_load(row + col);
}
INLINE vi load_row_indices(const int32_t *row, int64_t col, int64_t width, int edge) {
    return edge ? vi_load_range(row + col, -col, width - col, -1) : vi_load(row + col);
}
INLINE void store_row(real *row, int64_t col, int64_t width, vr a, int edge) {
    if (edge) v_store_range(row + col, a, -col, width - col);
    else v_store(row + col, a);
}

/* Elements col + lane * stride of a row: of any stride. */
INLINE vr load_strided(const real *row, int64_t col, int64_t stride, int64_t width, real fill,
                       int edge) {
    real t[VL];
    for (int i = 0; i < VL; i++, col += stride)
        t[i] = !edge || (col >= 0 && col < width) ? row[col] : fill;
    return v_load(t);
}

/* Where the vector that begins with output i really starts: the last one of a row starts earlier,
 * and computes some outputs again, rather than run over the end. */
INLINE int64_t vector_start(int64_t i, int64_t n) {
    return i + VL <= n || n < VL ? i : n - VL;
}

/* 1 if VL windows from ox on lie inside the row together with all that their loads touch; sw: the
 * stride, or 0 for one that load_strided serves. */
INLINE int vector_inside(const pool_axis *w, int64_t ox, int sw) {
    if (ox < w->inside.from || ox + VL > w->inside.to) return 0;
    int64_t col = ox * w->stride - w->before + (w->kernel - 1) * w->dilation;
    return sw != 2 || col + 2 * VL <= w->size;
}

/* VL outputs of row oy from ox on, of a forward pass; see max_vector and avg_vector. */
typedef void (*pool_vector)(const pool_problem *p, const real *x, pool_seen rows, int64_t oy,
                            int64_t ox, int sw, int64_t kw, int64_t dw, real *y, int32_t *at,
                            int edge);

/* Rows from..to-1 of a plane of a forward pass, vector by vector. */
INLINE void pool_forward_rows(pool_vector vector, const pool_rows *a, int64_t plane, int64_t from,
                              int64_t to, int sw, int64_t kw, int64_t dw) {
    const pool_problem *p = a->p;
    const pool_axis *w = &p->w;
    const real *x = a->in + plane * p->h.size * w->size;
    for (int64_t oy = from; oy < to; oy++) {
        pool_seen rows = axis_seen(&p->h, oy);
        int64_t first = (plane * p->h.out + oy) * w->out;
        real *y = a->out + first;
        int32_t *at = a->indices_out == NULL ? NULL : a->indices_out + first;
        /* of a window that may be much taller than the image */
        int64_t next = fc_min(fc_min(p->h.stride, p->h.kernel), p->h.size - rows.first);
        pool_load_ahead(p, x + rows.first * w->size, next, y, at);
        for (int64_t i = 0; i < w->out; i += VL) {
            int64_t ox = vector_start(i, w->out);
            if (vector_inside(w, ox, sw)) vector(p, x, rows, oy, ox, sw, kw, dw, y, at, 0);
            else vector(p, x, rows, oy, ox, sw, kw, dw, y, at, 1);
        }
    }
}
#define POOL_FORWARD(name, vector, sw, kw, dw) \
    static void name(const pool_rows *a, int64_t plane, int64_t from, int64_t to, int thread) { \
        (void)thread; \
        const pool_axis *w = &a->p->w; \
        (void)w; \
        pool_forward_rows(vector, a, plane, from, to, sw, kw, dw); \
    }

/* ------------------------------------------------------------------ the usual windows in strips
 *
 * A strip of vectors goes down the rows: what it finds of the columns of a row serves all the
 * windows that see them. */

enum { POOL_STRIP_ROWS = 14 }; /* mostly: what a strip reads stays in the first-level cache */
/* With AVX-512, as measured on a Zen 4: where images come from memory, from FC_POOL_FAR bytes on,
 * strips are of so many bytes of results, but of three rows or more. And strips of stride 1, of
 * any images, ask for nothing where rows are no longer than so many bytes, fewer in the gradient of
 * maxima, which reads indices as well: the hardware sees what comes next. */
#if defined(FC_TIER_AVX512)
enum { POOL_BYTES_STRIDE1 = 1792, POOL_BYTES_STRIDE2 = 3136, POOL_BYTES_GRADIENT2 = 6272 };
enum { POOL_LONG_ROW = 512, POOL_LONG_GRADIENT_ROW = 256 };
#else
enum { POOL_BYTES_STRIDE1 = 0, POOL_BYTES_STRIDE2 = 0, POOL_BYTES_GRADIENT2 = 0 };
enum { POOL_LONG_ROW = 0, POOL_LONG_GRADIENT_ROW = 0 };
#endif
#ifndef FC_POOL_FAR
#define FC_POOL_FAR (8 << 20) /* with the other side, the last cache of many processors is full */
#endif

/* Rows of a strip, of n rows of results with so many columns; bytes2: with stride 2. Short ones are
 * of even shares, and of pairs of rows. */
INLINE int64_t pool_strip_rows(const pool_problem *p, const int stride, int64_t n, int64_t width,
                               int64_t bytes2) {
    int64_t size = sizeof(real), far = FC_POOL_FAR / size;
    int64_t rows = (stride == 1 ? POOL_BYTES_STRIDE1 : bytes2) / (width * size);
    if (rows < 3 || p->planes * p->h.size * p->w.size < far) return POOL_STRIP_ROWS;
    int64_t strips = fc_ceil_div(n, fc_min(rows, stride * POOL_STRIP_ROWS));
    return fc_round_up(fc_ceil_div(n, fc_max(1, strips)), 2);
}
/* Of a gradient, of n rows of dx. */
INLINE int64_t gradient_strip_rows(const pool_problem *p, const int stride, int64_t n) {
    return pool_strip_rows(p, stride, n, p->w.size, POOL_BYTES_GRADIENT2);
}
INLINE int pool_asks(const int stride, int64_t width, int64_t long_row) {
    return stride == 2 || width * (int64_t)sizeof(real) > long_row;
}

static int is_square(const pool_problem *p, int64_t size, int64_t stride) {
    const pool_axis *h = &p->h, *w = &p->w;
    return h->kernel == size && w->kernel == size && h->stride == stride && w->stride == stride &&
           h->dilation == 1 && w->dilation == 1;
}

/* What the rows after a strip's read and write, of which it starts loading its share: at once, or,
 * with stride 2, whose share is large and would hold up its own loads, some with each row. */
typedef struct {
    const char *in, *out, *at;
    int64_t in_share, out_share; /* bytes at a time */
} pool_next;

INLINE void pool_load_next(pool_next *next, const int stride) {
    next->in = stride == 1 ? prefetch_bytes(next->in, next->in_share)
                           : prefetch_bytes_l2(next->in, next->in_share);
    next->out = prefetch_bytes(next->out, next->out_share);
    int64_t at_share = next->out_share / (int64_t)sizeof(real) * 4;
    if (next->at != NULL) next->at = prefetch_bytes(next->at, at_share);
}

/* Rows from..to-1 of VL columns of a plane of the output, from column o on. */
typedef void (*pool_strip)(const pool_problem *p, const real *in, int64_t from, int64_t to,
                           int64_t o, real *out, int32_t *at, pool_next *next, int edge);

/* Rows from..to-1 of a plane; in_width, out_width: of its rows; before: the padding before
 * the rows of `in`. */
INLINE void pool_strips(pool_strip strip, const int size, const int stride, const pool_problem *p,
                        const real *in, int64_t in_width, int64_t before, int64_t from, int64_t to,
                        int64_t out_width, real *out, int32_t *at) {
    int64_t rows = pool_strip_rows(p, stride, to - from, out_width, POOL_BYTES_STRIDE2);
    int asks = pool_asks(stride, out_width, POOL_LONG_ROW);
    int64_t row_share = fc_ceil_div(out_width, fc_ceil_div(out_width, VL)) * (int64_t)sizeof(real);
    for (int64_t o0 = from, o1; o0 < to; o0 = o1) {
        o1 = fc_min(o0 + rows, to);
        int64_t share = stride == 1 ? (o1 - o0) * row_share : row_share;
        pool_next next = {.in = (const char *)(in + o1 * stride * in_width) + POOL_AHEAD,
                          .out = (const char *)(out + o1 * out_width),
                          .at = at == NULL ? NULL : (const char *)(at + o1 * out_width),
                          .in_share = share * stride * stride, .out_share = share};
        for (int64_t i = 0; i < out_width; i += VL) {
            if (stride == 1 && asks) pool_load_next(&next, stride);
            int64_t o = vector_start(i, out_width), col = o * stride - before;
            int64_t reach = size - stride + stride * VL;
            if (col >= 0 && col + reach <= in_width && o + VL <= out_width)
                strip(p, in, o0, o1, o, out, at, &next, 0);
            else
                strip(p, in, o0, o1, o, out, at, &next, 1);
        }
    }
}

/* Which of a window's kw columns, d apart, some lane of an edge vector sees in the row; col: where
 * lane 0 begins, reach: how much further the last lane does. Even at the start: two are one step. A
 * window may be much wider than the image. */
INLINE pool_range edge_columns(int64_t col, int64_t reach, int64_t width, int64_t kw, int64_t d) {
    int64_t before = -col - reach, room = width - col;
    int64_t from = before <= 0 ? 0 : d == 1 ? before : fc_ceil_div(before, d);
    return (pool_range){from / 2 * 2, fc_min(kw, d == 1 ? room : fc_ceil_div(room, d))};
}

/* ------------------------------------------------------------------ backward in vectors */

/* What becomes of the gradients that reach an element: max pooling takes those whose index names
 * it; averages take all, and divide the sum once or, where divisors differ, once per output row. */
typedef enum { GATHER_MAX, GATHER_EQUAL, GATHER_BY_ROW } gather;

INLINE vr gather_add(gather how, vr sum, vr g, vi at, vi here) {
    return how == GATHER_MAX ? v_add_where(vi_eq(at, here), sum, g) : v_add(sum, g);
}

/* dx[w ..] for VL columns at stride 1. */
INLINE void gather_stride1(const pool_problem *p, gather how, const real *dy, const int32_t *at,
                           pool_range rows, int64_t h, int64_t w, int64_t end, int64_t kw,
                           int64_t dw, real *dx, int edge) {
    int64_t ow = p->w.out, place = w + p->w.before, first = 0, last = kw - 1;
    if (edge && kw > 3) { /* those that some lane finds an output for */
        first = place < ow ? 0 : (place - ow) / dw + 1;
        last = fc_min(last, (place + VL - 1) / dw);
    }
    vi here = vi_add(vi_set1(h * p->w.size + w), vi_load(p->ramp));
    vr sum = v_zero();
    for (int64_t oy = rows.from; oy < rows.to; oy++) {
        vr row = v_zero();
        for (int64_t k = last; k >= first; k--) {
            int64_t ox = place - k * dw;
            vi from = here;
            if (how == GATHER_MAX) from = load_row_indices(at + oy * ow, ox, ow, edge);
            vr g = load_row(dy + oy * ow, ox, ow, 0, edge);
            if (how == GATHER_BY_ROW) row = v_add(row, g);
            else sum = gather_add(how, sum, g, from, here);
        }
        if (how == GATHER_BY_ROW) {
            int64_t divisor = kw * axis_counted(&p->h, oy, p->count_include_pad);
            sum = v_add(sum, v_div(row, v_set1((real)divisor)));
        }
    }
    if (how == GATHER_EQUAL) sum = v_div(sum, v_set1((real)(p->h.kernel * kw)));
    store_row(dx, w, end, sum, edge);
}

/* The same for 2 VL columns at stride 2: w sees the kernel's even columns, w + 1 its odd ones. */
INLINE void gather_stride2(const pool_problem *p, gather how, const real *dy, const int32_t *at,
                           pool_range rows, int64_t h, int64_t w, int64_t end, int64_t kw,
                           real *dx, int edge) {
    int64_t ow = p->w.out, place = (w + p->w.before) / 2, first = 0, last = (kw - 1) / 2;
    if (edge && kw > 3) {
        first = fc_max(0, place - ow + 1);
        last = fc_min(last, place + VL - 1);
    }
    vi here = vi_add(vi_set1(h * p->w.size + w), vi_load(p->ramp));
    vi next = vi_add(here, vi_set1(1));
    vr even = v_zero(), odd = v_zero();
    for (int64_t oy = rows.from; oy < rows.to; oy++) {
        vr row_even = v_zero(), row_odd = v_zero();
        for (int64_t t = last; t >= first; t--) {
            int64_t ox = place - t;
            vi from = here;
            if (how == GATHER_MAX) from = load_row_indices(at + oy * ow, ox, ow, edge);
            vr g = load_row(dy + oy * ow, ox, ow, 0, edge);
            if (how == GATHER_BY_ROW) row_even = v_add(row_even, g);
            else even = gather_add(how, even, g, from, here);
            if (2 * t + 1 >= kw) continue;
            if (how == GATHER_BY_ROW) row_odd = v_add(row_odd, g);
            else odd = gather_add(how, odd, g, from, next);
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
    store_row(dx, w, end, v_zip_lo(even, odd), edge);
    store_row(dx, w + VL, end, v_zip_hi(even, odd), edge);
}

/* a->columns of row h of dx, for stride sw = 1 or 2 and kernel width kw. */
INLINE void gather_row(const pool_rows *a, gather how, int sw, int64_t kw, const real *dy,
                       const int32_t *at, pool_range rows, int64_t h, real *dx) {
    const pool_problem *p = a->p;
    int64_t dw = p->w.dilation, step = sw * VL, end = a->columns.to;
    int64_t behind = sw == 1 ? (kw - 1) * dw : (kw - 1) / 2;
    for (int64_t i = a->columns.from; i < end; i += step) {
        /* The last vector starts earlier, if it can, rather than run over the end. */
        int64_t w = i + step <= end ? i : fc_max(i - (i + step - end) / sw * sw, a->columns.from);
        int64_t ox = (w + p->w.before) / sw;
        int edge = w < 0 || w + step > end || ox < behind || ox + VL > p->w.out;
        if (sw == 1 && edge) gather_stride1(p, how, dy, at, rows, h, w, end, kw, dw, dx, 1);
        else if (sw == 1) gather_stride1(p, how, dy, at, rows, h, w, end, kw, dw, dx, 0);
        else if (edge) gather_stride2(p, how, dy, at, rows, h, w, end, kw, dx, 1);
        else gather_stride2(p, how, dy, at, rows, h, w, end, kw, dx, 0);
    }
}

/* The columns that gather_row serves: all of them, from the first that is seen by the kernel's
 * column 0 (which may be -1); none at other strides. */
static pool_range gather_columns(const pool_axis *w) {
    if (w->stride == 1) return (pool_range){0, w->size};
    if (w->stride == 2 && w->dilation == 1) return (pool_range){-(w->before % 2), w->size};
    return (pool_range){0, 0};
}

/* ------------------------------------------------------------------ backward in strips
 *
 * Of the usual windows, 3 x 3 of stride 1 or 2 and 2 x 2 of stride 2, a strip goes down the rows of
 * dy: what it loads of a row serves all the rows of dx that this reaches. Additions are in the
 * order of gather_row. */

/* Rows from..to-1 of VL * stride columns of a plane of dx, from column w on. */
INLINE void gather_strip(const pool_problem *p, gather how, const int size, const int stride,
                         const real *dy, const int32_t *at, int64_t from, int64_t to, int64_t w,
                         real *dx, const int edge) {
    const int taps = (size + stride - 1) / stride; /* outputs of a row that reach a lane */
    int64_t ow = p->w.out, width = p->w.size, place = (w + p->w.before) / stride;
    v_part seen[3];
    UNROLL for (int t = 0; t < taps; t++) seen[t] = v_part_of(t - place, ow - place + t);
    vr sum[3][2], divisor = v_set1((real)(size * size));
    UNROLL for (int r = 0; r < size; r++) sum[r][0] = sum[r][1] = v_zero();
    int64_t oy = axis_covering(&p->h, from).from, row = oy * stride - p->h.before;
    for (; row < to; oy++, row += stride) {
        vi here = vi_add(vi_set1(row * width + w), vi_load(p->ramp)), index = here;
        for (int t = oy < p->h.out ? taps - 1 : -1; t >= 0; t--) {
            int64_t from_at = oy * ow + place - t;
            vr g = edge ? v_load_part(dy + from_at, seen[t]) : v_load(dy + from_at);
            if (how == GATHER_MAX)
                index = edge ? vi_load_part(at + from_at, seen[t]) : vi_load(at + from_at);
            UNROLL for (int r = 0; r < size; r++)
                UNROLL for (int q = 0; q < stride; q++) {
                    if (t * stride + q >= size) continue;
                    vi element = vi_add(here, vi_set1(r * width + q));
                    sum[r][q] = gather_add(how, sum[r][q], g, index, element);
                }
        }
        UNROLL for (int r = 0; r < stride; r++) { /* rows that no further outputs reach */
            vr even = sum[r][0], odd = sum[r][1];
            if (how == GATHER_EQUAL) even = v_div(even, divisor);
            if (how == GATHER_EQUAL && stride == 2) odd = v_div(odd, divisor);
            if (row + r < from || row + r >= to) continue;
            real *out = dx + (row + r) * width;
            store_row(out, w, width, stride == 1 ? even : v_zip_lo(even, odd), edge);
            if (stride == 2) store_row(out, w + VL, width, v_zip_hi(even, odd), edge);
        }
        UNROLL for (int r = 0; r < size; r++)
            UNROLL for (int q = 0; q < stride; q++)
                sum[r][q] = r + stride < size ? sum[r + stride][q] : v_zero();
    }
}

/* Rows from..to-1 of a plane of dx, so many a strip. */
INLINE void gather_strips(const pool_rows *a, gather how, const int size, const int stride,
                          int64_t rows, int64_t plane, int64_t from, int64_t to) {
    const pool_problem *p = a->p;
    int64_t ow = p->w.out, width = p->w.size, outputs = plane * p->h.out * ow;
    int64_t step = stride * VL, start = -(p->w.before % stride);
    int64_t strips = fc_ceil_div(width - start, step), real_size = sizeof(real);
    int asks = pool_asks(stride, width, POOL_LONG_GRADIENT_ROW);
    const real *dy = a->in + outputs;
    const int32_t *at = how == GATHER_MAX ? a->indices_in + outputs : NULL;
    real *dx = a->out + plane * p->h.size * width;
    for (int64_t o0 = from, o1; o0 < to; o0 = o1) {
        o1 = fc_min(o0 + rows, to);
        /* each strip starts loading its share of what the next rows read and write */
        int64_t share = fc_ceil_div((o1 - o0) * width, strips), share_in = share / stride / stride;
        int64_t next = (o1 + p->h.before) / stride * ow;
        const char *next_out = (const char *)(dx + o1 * width);
        const char *next_in = (const char *)(dy + next) + POOL_AHEAD;
        const char *next_at = how == GATHER_MAX ? (const char *)(at + next) + POOL_AHEAD : NULL;
        for (int64_t i = start; i < width; i += step) {
            if (asks) {
                next_out = prefetch_bytes_l2(next_out, share * real_size);
                next_in = prefetch_bytes(next_in, share_in * real_size);
                if (how == GATHER_MAX) next_at = prefetch_bytes(next_at, share_in * 4);
            }
            /* the last vector starts earlier, if it can, rather than run over the end */
            int64_t over = fc_max(i + step - width, 0) / stride * stride;
            int64_t w = fc_max(i - over, start);
            int64_t place = (w + p->w.before) / stride;
            int edge = w < 0 || w + step > width || place < (size - 1) / stride || place + VL > ow;
            if (edge) gather_strip(p, how, size, stride, dy, at, o0, o1, w, dx, 1);
            else gather_strip(p, how, size, stride, dy, at, o0, o1, w, dx, 0);
        }
    }
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
