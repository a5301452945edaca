/* conv2d_direct_pack_tmpl.h - what a direct convolution (conv2d_direct_tmpl.h) packs: panels of
 * weights, and a block's pixels: planes (conv2d_pack_tmpl.h), from which a tile copies its lines,
 * or lines straight from the source; compiled per tier and real type.
 */

/* to[k * rows + i] = from[i * from_row + k], k < n: where the weights of an output channel
 * follow each other in the order in which they are packed. A whole vector stored reaches into
 * what is written next. */
static void pack_columns_of_weights(int64_t rows, const real *from, int64_t from_row, int64_t n,
                                    real *to) {
    int64_t k = 0;
    for (; rows <= VL && VL > 1 && k + 2 * VL <= n; k += VL) {
        vr v[VL];
        UNROLL for (int i = 0; i < VL; i++)
            v[i] = v_load(from + fc_min(i, rows - 1) * from_row + k);
        v_transpose(v);
        UNROLL for (int i = 0; i < VL; i++) v_store(to + (k + i) * rows, v[i]);
    }
    for (; k < n; k++)
        for (int64_t i = 0; i < rows; i++) to[k * rows + i] = from[i * from_row + k];
}

enum { PACK_PANELS = 8 }; /* of a task: neighbours share cache lines where output channels do */
enum { WEIGHT_CHANNELS = 8 }; /* source channels at a time: the next are asked for meanwhile */

/* Of source channels c0 to c1 and one output phase, some panels, in any order of the weights. */
static void pack_some_weights(const direct_run *r, int64_t panel0, int64_t panel1, int64_t c0,
                              int64_t c1, int64_t phase, const real *w,
                              const packed_weights *packed) {
    const shift_problem *s = &r->s;
    int64_t first = s->first[phase], n = s->first[phase + 1] - first;
    for (int64_t panel = panel0; panel < panel1; panel++) {
        int64_t m0 = panel_row(r, panel), rows = panel_row(r, panel + 1) - m0;
        real *to = packed_panel(packed, first, n, m0, rows, c0);
        const real *from = w + c0 * r->weight_c + m0 * r->weight_m;
        int64_t room = packed->c0 + packed->channels - c1; /* a vector may reach into it */
        if (r->weight_m == 1 && n == 1 && rows <= VL && m0 + VL <= s->m && room >= VL) {
            const real *end = to + (c1 - c0) * rows;
            for (; to < end; to += rows, from += r->weight_c) v_store(to, v_load(from));
            continue;
        }
        for (int64_t c = c0; c < c1; c++, from += r->weight_c)
            for (int64_t t = 0; t < n; t++, to += rows)
                copy_strided(to, from + s->tap_kernel[first + t], rows, r->weight_m);
    }
}

static void pack_any_weights(const direct_run *r, int64_t panel0, int64_t panel1, const real *w,
                             const packed_weights *packed) {
    const shift_problem *s = &r->s;
    int64_t m0 = panel_row(r, panel0), m1 = panel_row(r, panel1);
    int64_t last = packed->c0 + packed->channels;
    for (int64_t p = 0; p < shift_out_phases(s); p++) {
        if (s->first[p] == s->first[p + 1]) continue;
        for (int64_t c0 = packed->c0, c1; c0 < last; c0 = c1) {
            c1 = fc_min(c0 + WEIGHT_CHANNELS, last);
            int64_t ahead = r->weight_m == 1 ? fc_min(c1 + WEIGHT_CHANNELS, last) : c1;
            for (int64_t c = c1; c < ahead; c++) /* short pieces, far apart */
                prefetch_bytes(w + c * r->weight_c + m0, (m1 - m0) * (int64_t)sizeof(real));
            pack_some_weights(r, panel0, panel1, c0, c1, p, w, packed);
        }
    }
}

/* Packs some panels of group g, of those source channels that `packed` is for. */
static void pack_panels(const direct_run *r, int64_t g, int64_t panel0, int64_t panel1,
                        const packed_weights *packed) {
    const shift_problem *s = &r->s;
    int64_t kernel = s->y.taps * s->x.taps, n = s->channels * kernel;
    const real *w = r->w + g * s->m * n;
    if (s->x.reversed || r->weight_m != n || r->weight_c != kernel) {
        pack_any_weights(r, panel0, panel1, w, packed);
        return;
    }
    for (int64_t panel = panel0; panel < panel1; panel++) {
        int64_t m0 = panel_row(r, panel), rows = panel_row(r, panel + 1) - m0;
        pack_columns_of_weights(rows, w + m0 * n + packed->c0 * kernel, n,
                                packed->channels * kernel,
                                packed_panel(packed, 0, kernel, m0, rows, packed->c0));
    }
}

static void pack_weights_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const direct_run *r = arg;
    int64_t tasks = fc_ceil_div(r->panels, PACK_PANELS), g = item / tasks;
    int64_t panel0 = item % tasks * PACK_PANELS, panel1 = fc_min(panel0 + PACK_PANELS, r->panels);
    packed_weights packed = packed_before(r, g);
    pack_panels(r, g, panel0, panel1, &packed);
}

static void pack_weights(direct_run *r, int n_threads) {
    int64_t tasks = r->s.groups * fc_ceil_div(r->panels, PACK_PANELS);
    fc_parallel(tasks, n_threads, pack_weights_task, r);
}

/* Where the vectors of a tile's lines come from, in a channel of what they are copied from, and
 * where they go. */
typedef struct {
    int64_t n, from[NR], to[NR];
} tile_copies;

/* `row_step` and `image_step`: from row to row and image to image there, in pixels. */
static void tile_find(const shift_band *b, int64_t row_step, int64_t image_step, int64_t q,
                      tile_copies *copies) {
    int64_t row = q / b->cols, col = q % b->cols, nq = fc_min(NR, b->q - q);
    copies->n = 0;
    for (int64_t at = 0, run; at < nq; at += run, row++, col = 0) {
        int64_t image = row / b->rows;
        int64_t from = image * image_step + (row - image * b->rows) * row_step + col;
        run = fc_min(nq - at, b->cols - col);
        for (int64_t i = 0; i < run; i += VL, copies->n++) {
            copies->from[copies->n] = from + i;
            copies->to[copies->n] = at + i;
        }
    }
}

/* Line k comes from shift[k], or, without shifts, from k planes, behind `base`. A vector may reach
 * beyond its run, even into the next line: what follows there is written later. */
INLINE void tile_copy(const int64_t n, const tile_copies *copies, int64_t lines, const real *base,
                      const int32_t *shift, int64_t plane, real *to) {
    int64_t from[NR], at[NR]; /* of the copies, in registers: vectors may alias what is in memory */
    for (int64_t i = 0; i < n; i++) from[i] = copies->from[i], at[i] = copies->to[i];
    for (int64_t k = 0; k < lines; k++, to += NR, base += plane) {
        const real *line = shift != NULL ? base + shift[k] : base;
        UNROLL for (int64_t i = 0; i < n; i++) v_store(to + at[i], v_load(line + from[i]));
    }
}

#define TILE_COPY(name, n) \
    static void tile_copy_##name(const tile_copies *copies, int64_t lines, const real *base, \
                                 const int32_t *shift, int64_t plane, real *to) { \
        tile_copy(n, copies, lines, base, shift, plane, to); \
    }
TILE_COPY(any, copies->n)
TILE_COPY(1, 1) TILE_COPY(2, 2) TILE_COPY(3, 3) TILE_COPY(4, 4)
static void (*const TILE_COPIES[])(const tile_copies *, int64_t, const real *, const int32_t *,
                                   int64_t, real *) = {tile_copy_any, tile_copy_1, tile_copy_2,
                                                       tile_copy_3, tile_copy_4};

/* All lines of a tile for the output's row phase py: [column phase][channel][tap][NR]. */
static void tile_lines(const direct_run *r, const shift_band *b, int64_t nc, int64_t py, int64_t q,
                       const real *planes, real *to) {
    const shift_problem *s = &r->s;
    tile_copies copies;
    tile_find(b, s->pitch, s->image_rows * s->pitch, q, &copies);
    for (int64_t px = 0; px < s->x.out_phases; px++) {
        int64_t phase = py * s->x.out_phases + px, from = s->first[phase];
        int64_t lines = nc * (s->first[phase + 1] - from);
        const int32_t *shift = r->shifts + r->block * from;
        TILE_COPIES[copies.n <= 4 ? copies.n : 0](&copies, lines, planes, shift, 0, to);
        to += lines * NR;
    }
}

/* IN_SOURCE: one channel's pixels of a band, at one row of the kernel, to [tile][line][NR]; `to` is
 * where their first line of the first tile goes. */
static void source_lines(const direct_run *r, const shift_band *b, const real *src,
                         int64_t image_stride, int64_t lines, real *to) {
    const shift_problem *s = &r->s;
    int64_t at = 0;
    for (int64_t n = 0; n < b->images; n++) {
        for (int64_t row = 0; row < b->rows; row++) {
            const real *from = src + n * image_stride + (b->y0 + row) * s->y.step * s->x.source +
                               b->x0 * s->x.step;
            for (int64_t i = 0, run; i < b->cols; i += run) {
                run = fc_min(b->cols - i, NR - at);
                if (s->x.step == 1 && run == NR) {
                    UNROLL for (int j = 0; j < NV_MAX; j++)
                        v_store(to + j * VL, v_load(from + i + j * VL));
                } else if (s->x.step == 2 && s->x.phases == 2 && run == NR) {
                    UNROLL for (int j = 0; j < NV_MAX; j++) {
                        const real *pairs = from + 2 * (i + j * VL);
                        vr low = v_load(pairs), high = v_load(pairs + VL);
                        v_store(to + j * VL, v_even(low, high));
                        v_store(to + NR + j * VL, v_odd(low, high));
                    }
                } else {
                    for (int64_t p = 0; p < s->x.phases; p++)
                        copy_strided(to + p * NR + at, from + i * s->x.step + p * s->x.dilation,
                                     run, s->x.step);
                }
                at += run;
                if (at == NR) at = 0, to += source_tile(lines);
            }
        }
    }
}

/* IN_SOURCE with strides of one: all channels' lines, tile by tile. */
static void source_tiles(const direct_run *r, const shift_band *b, int64_t channels,
                         const real *src, int64_t image_stride, real *to) {
    const shift_problem *s = &r->s;
    int64_t plane = s->y.source * s->x.source;
    /* Of the last channels, which go one by one, a vector could reach beyond the source. */
    int64_t single = fc_min(channels, fc_ceil_div(VL - 1, plane)), many = channels - single;
    shift_band joined = *b;
    if (b->cols == s->x.source) joined.cols *= b->rows, joined.rows = 1;
    src += b->y0 * s->x.source + b->x0;
    for (int64_t q = 0; q < b->q; q += NR, to += source_tile(channels)) {
        tile_copies copies;
        tile_find(&joined, s->x.source, image_stride, q, &copies);
        TILE_COPIES[copies.n <= 4 ? copies.n : 0](&copies, many, src, NULL, plane, to);
        for (int64_t i = 0; i < copies.n; i++) {
            int64_t next = i + 1 < copies.n ? copies.to[i + 1] : fc_min(NR, b->q - q);
            for (int64_t c = many; c < channels; c++)
                copy_strided(to + c * NR + copies.to[i], src + c * plane + copies.from[i],
                             next - copies.to[i], 1);
        }
    }
}

/* The planes, or lines, of one block of channels of a band. */
static void pack_block(const direct_run *r, const shift_band *b, int64_t g, int64_t block,
                       real *to) {
    const shift_problem *s = &r->s;
    int64_t c0 = block * r->block, nc = direct_channels(r, block);
    int64_t src_plane = s->y.source * s->x.source;
    int64_t image_stride = s->groups * s->channels * src_plane;
    int64_t taps = source_taps(s);
    const real *src = r->src + b->n0 * image_stride + (g * s->channels + c0) * src_plane;
    if (r->tiles == IN_SOURCE && s->x.step == 1 && s->y.step == 1) {
        source_tiles(r, b, nc, src, image_stride, to);
        return;
    }
    for (int64_t c = 0; c < nc; c++, src += src_plane) {
        if (c + 1 < nc) prefetch_channel(s, b, src + src_plane);
        if (r->tiles == IN_SOURCE)
            for (int64_t y = 0; y < s->y.phases; y++)
                source_lines(r, b, src + y * s->y.dilation * s->x.source, image_stride, nc * taps,
                             to + (c * taps + y * s->x.phases) * NR);
        else
            pack_channel(s, b, src, image_stride, to + c * s->channel_stride);
    }
}

/* Item: a block of a group of a band, for all tasks that share the band. */
static void pack_block_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const direct_run *r = arg;
    int64_t block = item % r->blocks, g = item / r->blocks % r->s.groups;
    shift_band b = direct_band(r, item / r->blocks / r->s.groups);
    pack_block(r, &b, g, block, r->planes + item * r->block_reals);
}
