/* conv2d_pack_tmpl.h - copies a band of the source into zero-padded planes (see conv2d.h);
 * compiled per tier and real type.
 */

/* dst[0..n) = src[0], src[step], ... */
INLINE void copy_strided(real *dst, const real *src, int64_t n, int64_t step) {
    int64_t i = 0;
    if (step == 1) {
        for (; i + VL <= n; i += VL) v_store(dst + i, v_load(src + i));
        if (i < n) v_storen(dst + i, v_loadn(src + i, n - i), n - i);
    } else if (step == 2) { /* a constant that the compiler can vectorise */
        for (; i < n; i++) dst[i] = src[2 * i];
    } else {
        for (; i < n; i++) dst[i] = src[i * step];
    }
}

INLINE void fill(real *dst, int64_t n, real value) {
    for (int64_t i = 0; i < n; i++) dst[i] = value;
}

/* One packed row: columns x0 .. x0 + pitch of a source phase, from source row `src`. */
INLINE void pack_row(const shift_problem *s, int64_t x0, int64_t start, const real *src, real *dst) {
    const shift_axis *x = &s->x;
    int64_t before = x->origin - start - x0 * x->step; /* column b is src[b * step - before] */
    int64_t lo = before > 0 ? fc_ceil_div(before, x->step) : 0;
    int64_t end = x->source + before;
    int64_t hi = end > 0 ? fc_ceil_div(end, x->step) : 0;
    lo = fc_min(lo, s->pitch);
    hi = fc_max(lo, fc_min(hi, s->pitch));
    fill(dst, lo, s->replicate ? src[0] : 0);
    copy_strided(dst + lo, src + (lo * x->step - before), hi - lo, x->step);
    fill(dst + hi, s->pitch - hi, s->replicate ? src[x->source - 1] : 0);
}

/* The planes of one channel, all phases. src is that channel of image b->n0. */
static void pack_channel(const shift_problem *s, const shift_band *b, const real *src,
                         int64_t image_stride, real *dst) {
    int64_t rows = shift_packed_rows(s, b);
    for (int64_t py = 0; py < s->y.phases; py++) {
        for (int64_t px = 0; px < s->x.phases; px++) {
            real *plane = dst + (py * s->x.phases + px) * s->plane;
            int64_t image = 0, in_image = 0;
            for (int64_t a = 0; a < rows; a++, in_image++) {
                if (in_image == s->image_rows && b->images > 1) {
                    image++;
                    in_image = 0;
                }
                int64_t row = (b->y0 + in_image) * s->y.step + shift_phase_start(&s->y, py) - s->y.origin;
                int inside = row >= 0 && row < s->y.source && image < b->images;
                if (!inside && s->replicate && image < b->images) {
                    row = row < 0 ? 0 : s->y.source - 1;
                    inside = 1;
                }
                if (inside)
                    pack_row(s, b->x0, shift_phase_start(&s->x, px),
                             src + image * image_stride + row * s->x.source, plane + a * s->pitch);
                else
                    fill(plane + a * s->pitch, s->pitch, 0);
            }
            fill(plane + rows * s->pitch, s->x.max_shift, 0);
        }
    }
}
