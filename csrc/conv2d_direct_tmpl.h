/* conv2d_direct_tmpl.h - the shift problem's kernel and driver: direct convolution forward, and
 * backward with respect to the input; compiled per tier and real type.
 *
 * The micro-kernel computes a tile of MR output channels x NV vectors of pixels in registers: per
 * channel and tap it loads NV vectors of source pixels at that tap's shift and MR packed weights.
 * Loop nest of a task (one band, one group, some panels of MR output channels):
 *   for a block of source channels: pack it (conv2d_direct_pack_tmpl.h)
 *     for some panels, whose weights a cache holds: a pass
 *       for each tile of pixels, for each output phase, for each panel: micro-kernel
 * Sums over several blocks wait in `partial`, in L2. Every output is one chain of additions, bias
 * first, then channels and taps in order, whatever the tile, band, batch or thread: same bits.
 */

#include "conv2d_direct_plan_tmpl.h"

#include "conv2d_direct_pack_tmpl.h"
#include "conv2d_shift_kernel_tmpl.h"

/* The shifts of a block of channels, and the biases, zero where there are none. */
static void direct_tables(direct_run *r, const real *bias) {
    const shift_problem *s = &r->s;
    for (int64_t p = 0; p < shift_out_phases(s); p++) {
        int32_t *shift = r->shifts + r->block * s->first[p];
        for (int64_t c = 0; c < r->block; c++) {
            for (int64_t t = s->first[p]; t < s->first[p + 1]; t++)
                *shift++ = (int32_t)(c * s->channel_stride) + s->tap_shift[t];
        }
    }
    for (int64_t i = 0; i < s->groups * s->m; i++) r->bias[i] = bias != NULL ? bias[i] : 0;
}

/* to[0], to[2], ... and to[1], to[3], ... from two rows, `n` elements in all. */
INLINE void store_interleaved(real *to, const real *even, const real *odd, int64_t n) {
    int64_t j = 0;
    for (; 2 * (j + VL) <= n; j += VL) {
        vr a = v_load(even + j), b = v_load(odd + j);
        v_store(to + 2 * j, v_zip_lo(a, b));
        v_store(to + 2 * j + VL, v_zip_hi(a, b));
    }
    if (2 * j < n) { /* a full load could reach beyond the scratch */
        int64_t left = n - 2 * j;
        vr a = v_loadn(even + j, (left + 1) / 2), b = v_loadn(odd + j, left / 2);
        v_storen(to + 2 * j, v_zip_lo(a, b), left);
        v_storen(to + 2 * j + VL, v_zip_hi(a, b), fc_max(0, left - VL));
    }
}

/* to[j * phases + p] = from[p][j], `n` elements in all: the phases of VL pixels are a
 * matrix that is transposed. */
static void store_phases(real *to, const real *from, int64_t phases, int64_t n) {
    for (int64_t p = 0; p < phases; p += VL) {
        for (int64_t j = 0; j * phases + p < n; j += VL) {
            vr r[VL];
            int64_t pixels = fc_min(VL, fc_ceil_div(n - p, phases) - j);
            int whole = p + VL <= phases && (j + VL) * phases <= n;
            const real *at = from + p * MR_MAX * NR + j;
            UNROLL for (int k = 0; k < VL; k++) {
                if (whole) r[k] = v_load(at + k * MR_MAX * NR);
                else r[k] = p + k < phases ? v_loadn(at + k * MR_MAX * NR, pixels) : v_zero();
            }
            v_transpose(r);
            real *dst = to + j * phases + p;
            UNROLL for (int k = 0; k < VL; k++, dst += phases) {
                if (whole) v_store(dst, r[k]);
                else if (k < pixels)
                    v_storen(dst, r[k], fc_min(fc_min(VL, phases - p), n - (j + k) * phases - p));
            }
        }
    }
}

/* Where a tile begins: found once for all panels, since a division is slow. */
typedef struct {
    direct_rows rows;
    int64_t row, col; /* in its band */
    int64_t pixel;    /* in a channel of dst, from the band's first image on; in a gap, the last
                       * of the row */
} tile_start;

static tile_start tile_start_of(const direct_run *r, const shift_band *b, int64_t py, int64_t q) {
    const shift_problem *s = &r->s;
    tile_start t = {.rows = direct_rows_of(r, b)};
    t.row = (int32_t)q / (int32_t)t.rows.pitch;
    t.col = q - t.row * t.rows.pitch;
    int64_t image = b->images > 1 ? t.row / t.rows.image_rows : 0;
    int64_t y = (b->y0 + t.row - image * t.rows.image_rows) * s->y.out_step + py;
    int64_t x = (b->x0 + fc_min(t.col, t.rows.cols - 1)) * s->x.out_step;
    t.pixel = (image * s->groups * s->m * s->y.out + y) * s->x.out + x;
    return t;
}

/* Stores rows x n sums, of all column phases, at `to`, where the row of dst has `left` elements. */
INLINE void store_run(const direct_run *r, const real *from, int64_t rows, int64_t n, real *to,
                      int64_t dst_plane, int64_t left) {
    int64_t step = r->s.x.out_step, phases = r->s.x.out_phases, most = fc_min(step * n, left);
    const real *end = from + rows * NR;
    if (r->epilogue.used) {
        for (; from < end; from += NR, to += dst_plane) epilogue_store(&r->epilogue, to, from, n);
    } else if (step == 1) {
        for (; from < end; from += NR, to += dst_plane) copy_strided(to, from, n, 1);
    } else if (step == 2 && phases == 2) {
        for (; from < end; from += NR, to += dst_plane)
            store_interleaved(to, from, from + MR_MAX * NR, most);
    } else if (step == phases && VL > 1) {
        for (; from < end; from += NR, to += dst_plane) store_phases(to, from, step, most);
    } else {
        for (; from < end; from += NR, to += dst_plane)
            for (int64_t px = 0; px < phases; px++)
                for (int64_t j = 0; j * step + px < most; j++)
                    to[j * step + px] = from[px * MR_MAX * NR + j];
    }
}

/* Stores rows x nq sums of a tile, for all column phases of row phase py: leaves the gaps out, and
 * puts the phases' pixels side by side. */
static void store_tile(const direct_run *r, const shift_band *b, int64_t py,
                       const tile_start *start, int64_t nq, const real *tile, int64_t rows,
                       real *dst, int64_t image_stride) {
    const shift_problem *s = &r->s;
    direct_rows at = start->rows;
    int64_t dst_plane = s->y.out * s->x.out, step = s->x.out_step;
    int64_t row = start->row, col = start->col;
    for (; nq > 0; row++, col = 0) {
        int64_t run = fc_min(nq, at.pitch - col), valid = fc_min(run, at.cols - col);
        int64_t image = b->images > 1 ? row / at.image_rows : 0;
        int64_t in_image = row - image * at.image_rows * (b->images > 1);
        int64_t y = (b->y0 + in_image) * s->y.out_step + py, x = (b->x0 + col) * step;
        if (valid > 0 && in_image < at.rows && y < s->y.out) {
            real *to = dst + image * image_stride + y * s->x.out + x;
            store_run(r, tile, rows, valid, to, dst_plane, s->x.out - x);
        }
        tile += run;
        nq -= run;
    }
}

/* Starts loading what the stores of a tile, if it has few taps, of the next one, will need: rows of
 * dst and of the residual; of several column phases, px's share of the many lines that they fill.
 * `to` is the tile's pixel. */
INLINE void direct_prefetch(const direct_run *r, int64_t px, int64_t taps, int64_t nq,
                            int64_t rows, const real *to) {
    const shift_problem *s = &r->s;
    int64_t plane = s->y.out * s->x.out;
    if (s->x.out_phases > 1) {
        for (int64_t i = 0; i < rows; i++, to += plane)
            prefetch_bytes(to + px * NR, NR * (int64_t)sizeof(real));
        return;
    }
    to += stores_ahead(taps);
    for (int64_t i = 0; i < rows; i++, to += plane) {
        epilogue_prefetch(&r->epilogue, to, nq);
        prefetch_piece(to, nq);
    }
}

/* IN_SOURCE: what the thread is likely to pack next. It asks for it while it computes, row by row,
 * with each call of the kernel one cache line of as many channels as the call has time for; and as
 * late as it can: with every tile, the weights of a pass go through the cache. */
typedef struct {
    int64_t wait; /* calls before the first that asks; INT64_MAX: nothing left to ask for */
    shift_band band;
    int64_t channels, some;
    int64_t rows, phases;              /* of an image: rows of outputs, and source rows of each;
                                        * all are one row where they follow each other */
    int64_t reals, lines;              /* of a source row of the band; cache lines asked of it */
    int64_t row, phase, line, channel; /* what comes next: of the band, of the kernel, of the row */
    const real *src, *at;              /* the block; the line in its first channel */
} direct_next;

/* Goes on to the next line of all channels. Rows may begin within a line, so that the end
 * of the last may need one more. */
static void direct_next_line(const direct_run *r, direct_next *next) {
    const shift_problem *s = &r->s;
    const shift_band *b = &next->band;
    next->channel = 0;
    if (++next->line >= next->lines) next->line = 0, next->phase++;
    if (next->phase == next->phases) next->phase = 0, next->row++;
    if (next->row == b->images * next->rows) {
        next->wait = INT64_MAX;
        return;
    }
    int64_t image = next->row / next->rows, row = b->y0 + next->row - image * next->rows;
    int64_t y = row * s->y.step + next->phase * s->y.dilation;
    int64_t x = fc_min(next->line * LINE, next->reals - 1) + b->x0 * s->x.step;
    next->at = next->src + (image * s->groups * s->channels * s->y.source + y) * s->x.source + x;
}

/* calls: of the kernel, for all tiles of this block. */
static direct_next direct_find_next(const direct_run *r, int64_t unit, int64_t block,
                                    int64_t calls) {
    const shift_problem *s = &r->s;
    direct_next next = {.wait = INT64_MAX};
    if (r->tiles != IN_SOURCE || r->shared) return next;
    int64_t some = fc_max(1, direct_channels(r, block) * source_taps(s) / AHEAD_TAPS);
    if (++block == r->blocks) block = 0, unit += fc_ceil_div(r->n_threads, r->splits);
    next.channels = direct_channels(r, block);
    if (unit >= shift_bands(s) * s->groups) return next;
    /* Of several taps a channel there may be time for more: what lies behind, of the next image. */
    next.some = some = fc_min(some, next.channels);
    next.band = direct_band(r, unit / s->groups);
    int64_t image = next.band.n0 * s->groups + unit % s->groups;
    next.src = r->src + (image * s->channels + block * r->block) * s->y.source * s->x.source;
    next.rows = next.band.rows;
    next.phases = s->y.phases;
    next.reals = (next.band.cols - 1) * s->x.step + (s->x.phases - 1) * s->x.dilation + 1;
    if (next.reals == s->x.source && s->y.phases == s->y.step && s->y.dilation == 1) {
        next.reals *= next.rows * next.phases;
        next.rows = next.phases = 1;
    }
    next.lines = fc_ceil_div(next.reals, LINE) + 1;
    next.line = -1;
    int64_t rows = next.band.images * next.rows * next.phases;
    int64_t asks = rows * next.lines * fc_ceil_div(next.channels, some);
    next.wait = fc_max(0, calls - asks);
    direct_next_line(r, &next);
    return next;
}

/* What the next call of the kernel asks for: of so many taps, or else of none, again and again the
 * first biases. */
INLINE shift_ahead direct_ahead(const direct_run *r, direct_next *next, int64_t taps) {
    if (taps < AHEAD_TAPS || next->wait-- > 0) return (shift_ahead){r->bias, 0};
    int64_t plane = r->s.y.source * r->s.x.source;
    int64_t channel = fc_min(next->channel, next->channels - next->some);
    shift_ahead ahead = {next->at + channel * plane, plane};
    next->wait = 0;
    next->channel += next->some;
    if (next->channel >= next->channels) direct_next_line(r, next);
    return ahead;
}

/* 1 if no tap reaches the output's row phase py: backward, with a stride beyond the kernel. */
INLINE int direct_empty(const shift_problem *s, int64_t py) {
    int64_t p = py * s->x.out_phases;
    return s->first[p] == s->first[p + s->x.out_phases];
}

/* The rows of such a phase in a band: the bias alone. */
static void direct_bias_rows(const direct_run *r, const shift_band *b, int64_t m0, int64_t m1,
                             int64_t py) {
    const shift_problem *s = &r->s;
    int64_t x = b->x0 * s->x.out_step, cols = fc_min(b->cols * s->x.out_step, s->x.out - x);
    for (int64_t n = b->n0; n < b->n0 + b->images; n++)
        for (int64_t m = m0; m < m1; m++)
            for (int64_t row = 0; row < b->rows; row++) {
                int64_t y = (b->y0 + row) * s->y.out_step + py;
                real *dst = r->dst + ((n * s->groups * s->m + m) * s->y.out + y) * s->x.out + x;
                if (y < s->y.out) fill(dst, cols, r->bias[m]);
            }
}

/* One tile of some panels, for one block of source channels and the output's row phase py. `pixels`
 * is where the tile begins in the planes, or its lines. */
INLINE void direct_tile(const direct_run *r, const shift_band *b, int64_t g, int64_t panel0,
                        int64_t panel1, int64_t block, int64_t py, int64_t q,
                        const packed_weights *packed, const real *pixels, direct_next *next,
                        real *partial, real *tile) {
    const shift_problem *s = &r->s;
    int64_t c0 = block * r->block, nc = direct_channels(r, block);
    int64_t nq = fc_min(NR, b->q - q), nv = fc_ceil_div(nq, VL), dst_plane = s->y.out * s->x.out;
    int64_t image_stride = s->groups * s->m * dst_plane, image = 0, in_image = q;
    int first = block == 0, last = block == r->blocks - 1;
    int full = r->whole_rows && nq == NR;
    if (full && b->images > 1) {
        image = q / (b->rows * b->cols);
        in_image = q - image * b->rows * b->cols;
        full = in_image + NR <= b->rows * b->cols;
    }
    int at_once = last && full && !r->epilogue.used;
    tile_start start = tile_start_of(r, b, py, q);
    int64_t first_m = panel_row(r, panel0);
    for (int64_t panel = panel0; panel < panel1; panel++) {
        int64_t m0 = panel_row(r, panel), rows = panel_row(r, panel + 1) - m0;
        real *dst = r->dst + b->n0 * image_stride + (g * s->m + m0) * dst_plane;
        real *whole = dst + image * image_stride + b->y0 * s->x.out + b->x0 + in_image;
        const real *at = pixels;
        for (int64_t px = 0; px < s->x.out_phases; px++) {
            int64_t phase = py * s->x.out_phases + px, from = s->first[phase];
            int64_t taps = s->first[phase + 1] - from;
            if (taps == 0 && !last) continue;
            if (last && !at_once) direct_prefetch(r, px, nc * taps, nq, rows, dst + start.pixel);
            const real *a = packed_panel(packed, from, taps, m0, rows, c0);
            real *sums = partial + phase * r->partial_phase +
                         (m0 - first_m) * r->partial_row + q;
            int64_t init_row = first || taps == 0 ? 0 : r->partial_row;
            const real *init = init_row == 0 ? r->bias + g * s->m + m0 : sums;
            real *out = at_once ? whole : last ? tile + px * MR_MAX * NR : sums;
            int64_t out_row = at_once ? dst_plane : last ? NR : r->partial_row;
            shift_ahead ahead = direct_ahead(r, next, nc * taps);
            SHIFT_KERNELS[r->tiles != IN_PLANES][rows - 1][nv - 1](
                nc * taps, a, at, r->shifts + r->block * from, init, init_row, out, out_row, ahead);
            if (r->tiles == IN_LINES) at += nc * taps * NR;
        }
        if (!last || at_once) continue;
        if (full)
            for (int64_t i = 0; i < rows; i++)
                epilogue_store(&r->epilogue, whole + i * dst_plane, tile + i * NR, NR);
        else
            store_tile(r, b, py, &start, nq, tile, rows, dst, image_stride);
    }
}

/* The tiles of pixels q to q + NR of all row phases of the output, of some panels. */
static void direct_tiles_at(const direct_run *r, const shift_band *b, int64_t g, int64_t panel0,
                            int64_t panel1, int64_t block, int64_t q,
                            const packed_weights *packed, const real *planes, direct_next *next,
                            real *lines, real *partial, real *tile) {
    const shift_problem *s = &r->s;
    int64_t nc = direct_channels(r, block);
    for (int64_t py = 0; py < s->y.out_phases; py++) {
        if (direct_empty(s, py)) continue;
        const real *pixels = planes + q;
        if (r->tiles == IN_SOURCE)
            pixels = planes + q / NR * source_tile(nc * source_taps(s));
        if (r->tiles == IN_LINES) {
            tile_lines(r, b, nc, py, q, planes, lines);
            pixels = lines;
        }
        direct_tile(r, b, g, panel0, panel1, block, py, q, packed, pixels, next, partial, tile);
    }
}

static void direct_task(void *arg, int64_t item, int thread) {
    const direct_run *r = arg;
    const shift_problem *s = &r->s;
    int64_t split = item % r->splits, unit = item / r->splits, g = unit % s->groups;
    shift_band b = direct_band(r, unit / s->groups);
    int64_t panel0 = split * r->panels / r->splits, panel1 = (split + 1) * r->panels / r->splits;
    real *scratch = r->scratch + thread * r->thread_reals;
    real *lines = scratch + (r->shared ? 0 : r->block_reals), *partial = lines + r->line_reals;
    real *tile = partial + r->partial_phase * shift_out_phases(s);
    int64_t first_m = panel_row(r, panel0), rows = panel_row(r, panel1) - first_m;
    packed_weights packed = packed_before(r, g);
    if (r->task_packs)
        packed = (packed_weights){tile + s->x.out_phases * MR_MAX * NR, first_m, rows, 0, 0};
    int64_t calls = fc_ceil_div(b.q, NR) * (panel1 - panel0) * r->tile_calls;
    for (int64_t block = 0; block < r->blocks; block++) {
        const real *planes = scratch;
        if (r->shared)
            planes = r->planes + (unit * r->blocks + block) * r->block_reals;
        else
            pack_block(r, &b, g, block, scratch);
        if (r->task_packs) {
            packed.c0 = block * r->block;
            packed.channels = direct_channels(r, block);
            pack_panels(r, g, panel0, panel1, &packed);
        }
        direct_next next = direct_find_next(r, unit, block, calls);
        for (int64_t from = panel0; from < panel1; from += r->pass_panels) {
            int64_t to = fc_min(from + r->pass_panels, panel1);
            for (int64_t q = 0; q < b.q; q += NR)
                direct_tiles_at(r, &b, g, from, to, block, q, &packed, planes, &next, lines,
                                partial, tile);
        }
    }
    int64_t m0 = g * s->m + first_m;
    for (int64_t py = 0; py < s->y.out_phases; py++)
        if (direct_empty(s, py)) direct_bias_rows(r, &b, m0, m0 + rows, py);
}

/* Prepared weights are the packed ones, and behind them the list of taps that packing goes by. */
static int64_t direct_prepared_bytes(const direct_run *r) {
    return fc_add(direct_packed_bytes(r), fc_mul(shift_table_ints(&r->s), 4));
}

static void direct_prepare(direct_run *r, const real *w, char *prepared, int n_threads) {
    r->w = w;
    r->packed = (real *)prepared;
    shift_list_taps(&r->s, (int32_t *)(prepared + direct_packed_bytes(r)));
    pack_weights(r, n_threads);
}

static void direct_execute(direct_run *r, const real *src, const real *w, const real *prepared,
                           const real *bias, real *dst, char *workspace, int n_threads) {
    r->src = src;
    r->w = w;
    r->dst = dst;
    r->n_threads = n_threads;
    direct_plan(r, prepared != NULL);
    direct_layout(r, prepared != NULL, workspace, n_threads);
    direct_tables(r, bias);
    if (prepared != NULL) r->packed = (real *)prepared; /* and only read */
    else if (!r->task_packs) pack_weights(r, n_threads);
    int64_t units = shift_bands(&r->s) * r->s.groups;
    if (r->shared) fc_parallel(units * r->blocks, n_threads, pack_block_task, r);
    fc_parallel(units * r->splits, n_threads, direct_task, r);
}

static void direct_forward_run(direct_run *r, const fc_conv2d_desc *d) {
    shift_forward(d, &r->s);
    r->weight_m = d->c / d->groups * d->kh * d->kw;
    r->weight_c = d->kh * d->kw;
}

static void direct_backward_run(direct_run *r, const fc_conv2d_desc *d) {
    shift_backward_input(d, &r->s);
    r->epilogue = (conv_epilogue){0};
    r->weight_m = d->kh * d->kw;
    r->weight_c = d->c / d->groups * d->kh * d->kw;
}
