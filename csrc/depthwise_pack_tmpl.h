/* depthwise_pack_tmpl.h - which convolutions are depthwise, the shift problem (conv2d.h) of one of
 * their planes, and its packing; for depthwise_tmpl.h and depthwise_weight_tmpl.h, compiled per
 * tier and real type.
 *
 * A band of the source is copied into zero-padded planes, one per phase of the stride, so that
 * every tap is a constant shift. Padding at the sides, and all padding if a plane is one band, is
 * at the same places for all planes of a run: scratch is zeroed once, and only pixels are copied.
 */
#include "simd_index.h"

enum { DEPTHWISE_TAPS = 49 };    /* of the largest kernel served */
enum { DEPTHWISE_BAND = 16384 }; /* bytes of the packed planes of a band */

/* More outputs per channel have rows enough for the general kernels. */
static int depthwise_serves(const fc_conv2d_desc *d) {
    return d->groups == d->c && d->k == d->c && d->kh * d->kw <= DEPTHWISE_TAPS &&
           d->stride_w <= 2;
}

/* The shift problem of one plane, and where its rows are packed: with stride 1, n[0] columns of the
 * source to place to[0]; with stride 2, n[0] even columns to to[0] and n[1] odd ones to to[1]. */
typedef struct {
    shift_problem s;
    int64_t from, to[2], n[2]; /* from: the first column */
    int64_t reals; /* of a packed band, with what the last vector reads over its end */
    int framed;    /* the rows of padding are at the same places in every band: one band a plane */
} depthwise_plane;

/* Cuts the plane into bands. 0 if the rows are too long to be taken whole. */
static int depthwise_cut(depthwise_plane *p) {
    shift_problem *s = &p->s;
    int64_t size = sizeof(real);
    s->n = s->groups = s->channels = s->m = 1;
    shift_cut_bands(s, DEPTHWISE_BAND / (s->y.phases * s->x.phases * size), VL);
    p->from = p->n[0] = p->n[1] = p->to[0] = p->to[1] = 0;
    for (int64_t px = 0; px < s->x.phases; px++) {
        pack_columns c = pack_columns_of(s, 0, px);
        if (c.hi == c.lo) continue;
        int odd = s->x.step == 2 && c.from == 1;
        p->to[odd] = px * s->plane + c.lo;
        p->n[odd] = c.hi - c.lo;
        if (s->x.step == 1) p->from = c.from;
    }
    p->framed = s->row_bands == 1;
    p->reals = fc_round_up(s->channel_stride + 2 * VL, 16);
    return s->band_cols == s->x.q;
}

/* shift_get_band for one plane, without its divisions. */
INLINE shift_band depthwise_get_band(const shift_problem *s, int64_t i) {
    shift_band b = {.images = 1, .y0 = i * s->band_rows, .cols = s->x.q};
    b.rows = fc_min(s->band_rows, s->y.q - b.y0);
    return b;
}

/* `rows` rows of n elements. Short ones are written as VL elements: the zeros at their end fall on
 * padding, or on what is copied later. */
INLINE void copy_rows(real *dst, int64_t pitch, const real *src, int64_t src_row, int64_t rows,
                      int64_t n) {
    if (n < VL) {
        for (int64_t a = 0; a < rows; a++) v_store(dst + a * pitch, v_loadn(src + a * src_row, n));
        return;
    }
    for (int64_t a = 0; a < rows; a++, dst += pitch, src += src_row) {
        for (int64_t i = 0; i + VL < n; i += VL) v_store(dst + i, v_load(src + i));
        v_store(dst + n - VL, v_load(src + n - VL));
    }
}

/* The band's rows of one source plane, in all phases. The padding at the sides is there already,
 * and so are the rows above and below if the plane is framed. */
static void depthwise_pack(const depthwise_plane *p, const shift_band *b, const real *src,
                           real *dst) {
    const shift_problem *s = &p->s;
    if (s->replicate) { /* seldom: the general way */
        pack_channel(s, b, src, 0, dst);
        return;
    }
    int64_t rows = b->rows + s->y.max_shift, step = s->y.step, src_row = s->x.source;
    for (int64_t py = 0; py < s->y.phases; py++) {
        int64_t row = b->y0 * step - s->y.origin, a0 = 0, a1 = rows;
        if (py > 0) row += shift_phase_start(&s->y, py);
        while (a0 < rows && row + a0 * step < 0) a0++;
        while (a1 > a0 && row + (a1 - 1) * step >= s->y.source) a1--;
        real *plane = dst + py * s->x.phases * s->plane;
        for (int64_t px = 0; px < s->x.phases && !p->framed; px++) {
            fill(plane + px * s->plane, a0 * s->pitch, 0);
            fill(plane + px * s->plane + a1 * s->pitch, (rows - a1) * s->pitch, 0);
        }
        if (a0 == a1) continue;
        const real *from = src + (row + a0 * step) * src_row + p->from;
        plane += a0 * s->pitch;
        if (s->x.step == 1) {
            copy_rows(plane + p->to[0], s->pitch, from, step * src_row, a1 - a0, p->n[0]);
            continue;
        }
        for (int64_t a = a0; a < a1; a++, plane += s->pitch, from += step * src_row)
            split_row(plane + p->to[0], p->n[0], plane + p->to[1], p->n[1], from);
    }
}
