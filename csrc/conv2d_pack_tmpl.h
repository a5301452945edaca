/* conv2d_pack_tmpl.h - copies a band of the source into zero-padded planes (see conv2d.h);
 * compiled per tier and real type.
 */

#include "simd_index.h"

/* src[0], src[2], ..., n <= VL of them; nothing beyond the last is read. */
INLINE vr load_even(const real *src, int64_t n) {
    if (n == VL) return v_even(v_load(src), v_loadn(src + VL, VL - 1));
    return v_even(v_loadn(src, 2 * n - 1), v_loadn(src + VL, fc_max(0, 2 * n - 1 - VL)));
}

/* dst[0..n) = src[0], src[step], ... */
INLINE void copy_strided(real *dst, const real *src, int64_t n, int64_t step) {
    int64_t i = 0;
    if (step == 1) {
        for (; i + VL <= n; i += VL) v_store(dst + i, v_load(src + i));
        if (i < n) v_storen(dst + i, v_loadn(src + i, n - i), n - i);
    } else if (step == 2) {
        for (; i + VL <= n; i += VL) v_store(dst + i, load_even(src + 2 * i, VL));
        if (i < n) v_storen(dst + i, load_even(src + 2 * i, n - i), n - i);
    } else {
        for (; i < n; i++) dst[i] = src[i * step];
    }
}

INLINE void fill(real *dst, int64_t n, real value) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(dst + i, v_set1(value));
    if (i < n) v_storen(dst + i, v_set1(value), n - i);
}

/* How the columns of a packed row come from a source row, for one phase: `lo` of padding, then
 * every step-th element from src[from] on up to `hi`, then padding again. */
typedef struct {
    int64_t lo, hi, from;
} pack_columns;

static pack_columns pack_columns_of(const shift_problem *s, int64_t x0, int64_t px) {
    const shift_axis *x = &s->x;
    /* Column b is src[b * step - before]. */
    int64_t before = x->origin - shift_phase_start(x, px) - x0 * x->step;
    int64_t end = x->source + before;
    pack_columns c;
    c.lo = fc_min(before > 0 ? fc_ceil_div(before, x->step) : 0, s->pitch);
    c.hi = fc_max(c.lo, fc_min(end > 0 ? fc_ceil_div(end, x->step) : 0, s->pitch));
    c.from = c.lo * x->step - before;
    return c;
}

/* Planes with rows of a few vectors are zeroed as a whole; longer rows get just their padding. */
enum { SHORT_ROW = 4 * VL };

INLINE void pack_row(const shift_problem *s, const pack_columns *c, const real *src, real *dst) {
    if (s->replicate || s->pitch > SHORT_ROW) {
        fill(dst, c->lo, s->replicate ? src[0] : 0);
        fill(dst + c->hi, s->pitch - c->hi, s->replicate ? src[s->x.source - 1] : 0);
    }
    copy_strided(dst + c->lo, src + c->from, c->hi - c->lo, s->x.step);
}

/* Starts loading what pack_channel will read of a channel in image b->n0: a band takes a piece of
 * every channel, too short a piece for the hardware to see the next one coming. */
INLINE void prefetch_channel(const shift_problem *s, const shift_band *b, const real *src) {
    int64_t y = fc_max(0, b->y0 * s->y.step - s->y.origin);
    int64_t x = fc_max(0, b->x0 * s->x.step - s->x.origin);
    int64_t rows = fc_min(b->rows * s->y.step + s->y.max_shift, s->y.source - y);
    int64_t cols = fc_min(b->cols * s->x.step + s->x.max_shift, s->x.source - x);
    if (s->col_bands == 1) cols = rows * s->x.source, rows = 1, x = 0;
    for (const real *row = src + y * s->x.source + x; rows > 0; rows--, row += s->x.source)
        prefetch_bytes(row, cols * (int64_t)sizeof(real));
}

/* even[0..n_even) = src[0], src[2], ... and odd[0..n_odd) = src[1], src[3], ... */
INLINE void split_row(real *even, int64_t n_even, real *odd, int64_t n_odd, const real *src) {
    int64_t n = fc_min(n_even, n_odd), i = 0;
    while (n >= VL && i < n) {
        i = fc_min(i, n - VL);
        vr a = v_load(src + 2 * i), b = v_load(src + 2 * i + VL);
        v_store(even + i, v_even(a, b));
        v_store(odd + i, v_odd(a, b));
        i += VL;
    }
    if (i == 0 && n > 0) { /* n < VL */
        vr a = v_loadn(src, fc_min(VL, 2 * n)), b = v_loadn(src + VL, fc_max(0, 2 * n - VL));
        v_storen(even, v_even(a, b), n);
        v_storen(odd, v_odd(a, b), n);
        i = n;
    }
    for (int64_t j = i; j < n_even; j++) even[j] = src[2 * j];
    for (int64_t j = i; j < n_odd; j++) odd[j] = src[2 * j + 1];
}

/* The two column phases of a packed row with stride 2: the source's elements from `from` on go in
 * turns to n[0] places from to[0] on and n[1] from to[1] on. */
typedef struct {
    pack_columns columns[2];
    int64_t to[2], n[2], from;
} pack_halves;

static pack_halves pack_halves_of(const shift_problem *s, int64_t x0) {
    pack_halves h = {.columns = {pack_columns_of(s, x0, 0), pack_columns_of(s, x0, 1)}};
    int64_t first = h.columns[1].from < h.columns[0].from;
    for (int64_t i = 0; i < 2; i++) {
        int64_t phase = i == 0 ? first : 1 - first;
        const pack_columns *c = &h.columns[phase];
        h.to[i] = phase * s->plane + c->lo, h.n[i] = c->hi - c->lo;
    }
    h.from = h.columns[first].from;
    return h;
}

/* Both of them; short rows are zero already. */
INLINE void pack_row_halves(const shift_problem *s, const pack_halves *h, const real *src,
                            real *dst) {
    for (int64_t p = 0; p < 2 && s->pitch > SHORT_ROW; p++) {
        const pack_columns *c = &h->columns[p];
        fill(dst + p * s->plane, c->lo, 0);
        fill(dst + p * s->plane + c->hi, s->pitch - c->hi, 0);
    }
    split_row(dst + h->to[0], h->n[0], dst + h->to[1], h->n[1], src + h->from);
}

/* All column phases of a packed row, `plane` apart: `step` neighbours of the source, one a phase,
 * are a row of a matrix that is transposed. */
static void pack_row_phases(const shift_problem *s, int64_t x0, const real *src, real *dst) {
    const shift_axis *x = &s->x;
    for (int64_t p = 0; p < x->phases; p += VL) {
        int64_t n = fc_min(VL, x->phases - p);
        for (int64_t col = 0; col < s->pitch; col += VL) {
            int64_t at = (x0 + col) * x->step + p - x->origin, left = fc_min(VL, s->pitch - col);
            if (left <= VL / 4) { /* not worth a transpose */
                for (int64_t i = 0; i < left; i++, at += x->step)
                    for (int64_t j = 0; j < n; j++)
                        dst[(p + j) * s->plane + col + i] =
                            at + j >= 0 && at + j < x->source ? src[at + j] : 0;
                continue;
            }
            vr r[VL];
            if (left == VL && at >= 0 && at + (VL - 1) * x->step + VL <= x->source)
                UNROLL for (int i = 0; i < VL; i++) r[i] = v_load(src + at + i * x->step);
            else
                UNROLL for (int i = 0; i < VL; i++) {
                    int64_t from = at + i * x->step, to = fc_min(n, x->source - from);
                    r[i] = v_load_range(src + from, -from, i < left ? to : 0, 0);
                }
            v_transpose(r);
            UNROLL for (int i = 0; i < VL; i++)
                if (i < n) v_storen(dst + (p + i) * s->plane + col, r[i], left);
        }
    }
}

/* The planes of one channel, for strides with a phase for each of the first columns. */
static void pack_phases(const shift_problem *s, const shift_band *b, const real *src,
                        int64_t image_stride, real *dst) {
    int64_t rows = shift_packed_rows(s, b), phases = s->x.phases;
    pack_halves halves = {0};
    if (s->x.step == 2) halves = pack_halves_of(s, b->x0);
    int zeroed = s->x.step == 2 && s->pitch <= SHORT_ROW;
    int64_t step = s->y.step, cols = s->x.source;
    for (int64_t py = 0; py < s->y.phases; py++, dst += phases * s->plane) {
        if (zeroed) fill(dst, phases * s->plane, 0);
        int64_t row0 = b->y0 * step + shift_phase_start(&s->y, py) - s->y.origin;
        for (int64_t n = 0; n < b->images; n++) {
            /* Of so many rows, first .. end - 1 exist: the source's rows from row0 +
             * first * step on. */
            int64_t count = n + 1 < b->images ? s->image_rows : rows - n * s->image_rows;
            int64_t first = fc_min(fc_ceil_div(fc_max(-row0, 0), step), count);
            int64_t end = fc_min(fc_ceil_div(fc_max(s->y.source - row0, 0), step), count);
            end = fc_max(first, end);
            real *to = dst + n * s->image_rows * s->pitch;
            for (int64_t p = 0; p < phases && !zeroed; p++) {
                fill(to + p * s->plane, first * s->pitch, 0);
                fill(to + p * s->plane + end * s->pitch, (count - end) * s->pitch, 0);
            }
            const real *from = src + n * image_stride + (row0 + first * step) * cols;
            to += first * s->pitch;
            for (int64_t i = first; i < end; i++, from += step * cols, to += s->pitch)
                if (s->x.step == 2) pack_row_halves(s, &halves, from, to);
                else pack_row_phases(s, b->x0, from, to);
        }
        for (int64_t p = 0; p < phases && !zeroed; p++)
            fill(dst + p * s->plane + rows * s->pitch, s->x.max_shift, 0);
    }
}

/* The planes of one channel, all phases. src is that channel of image b->n0. */
static void pack_channel(const shift_problem *s, const shift_band *b, const real *src,
                         int64_t image_stride, real *dst) {
    if (s->x.step > 1 && s->x.phases > 1 && s->x.dilation == 1 && !s->replicate && VL > 1) {
        pack_phases(s, b, src, image_stride, dst);
        return;
    }
    int64_t rows = shift_packed_rows(s, b), source = s->y.source;
    for (int64_t py = 0; py < s->y.phases; py++) {
        int64_t row0 = b->y0 * s->y.step + shift_phase_start(&s->y, py) - s->y.origin;
        for (int64_t px = 0; px < s->x.phases; px++) {
            real *plane = dst + (py * s->x.phases + px) * s->plane;
            pack_columns c = pack_columns_of(s, b->x0, px);
            int contiguous = c.lo == 0 && c.hi == s->pitch && s->pitch == s->x.source &&
                             s->x.step == 1 && s->y.step == 1;
            int short_rows = s->pitch <= SHORT_ROW && !contiguous && !s->replicate;
            if (short_rows) fill(plane, rows * s->pitch, 0);
            int64_t image = 0, in_image = 0;
            for (int64_t a = 0; a < rows; a++, in_image++) {
                if (in_image == s->image_rows && b->images > 1) {
                    image++;
                    in_image = 0;
                }
                int64_t row = row0 + in_image * s->y.step;
                int inside = row >= 0 && row < source && image < b->images;
                int above = row < 0; /* a copy of the first row: the next does not follow it */
                if (!inside && s->replicate && image < b->images) {
                    row = row < 0 ? 0 : source - 1;
                    inside = 1;
                }
                const real *from = src + image * image_stride + row * s->x.source;
                if (inside && contiguous) { /* as many rows as follow each other */
                    int64_t run = above ? 1 : fc_min(source - row, rows - a);
                    if (b->images > 1) run = fc_min(run, s->image_rows - in_image);
                    copy_strided(plane + a * s->pitch, from, run * s->pitch, 1);
                    a += run - 1;
                    in_image += run - 1;
                } else if (inside) {
                    pack_row(s, &c, from, plane + a * s->pitch);
                } else if (!short_rows) {
                    fill(plane + a * s->pitch, s->pitch, 0);
                }
            }
            fill(plane + rows * s->pitch, s->x.max_shift, 0);
        }
    }
}
