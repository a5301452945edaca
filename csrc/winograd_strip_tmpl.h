/* winograd_strip_tmpl.h - how Winograd's convolution (winograd_tmpl.h, winograd_weight_tmpl.h) cuts
 * images into blocks of tiles, and V, the transform of its input; compiled per tier and real type.
 *
 * Lanes are channels. A strip holds a tile's rows of VL channels, transposed to
 * [row][column][channel] by register transposes, so that tiles may start anywhere, and images of
 * any size fill a block of tiles. A block is some rows of tiles, across images. Its V is
 * [chunk of channels][xi][tile][c]: a chunk's plane lies in one piece, as a product reads it.
 * Planes are an odd number of cache lines apart, since powers of two would share cache sets.
 */

typedef struct {
    const winograd_variant *v;
    int64_t squares;                   /* y.t * x.t: values of xi */
    int64_t filter_squares;            /* y.f * x.f: those of the filters */
    int64_t n, groups, c, k;           /* per group: source and output channels */
    int64_t h, w, oh, ow;              /* source and output size */
    int64_t y0, x0;                    /* source row and column of the first tile */
    int replicate;                     /* padding copies the border instead of being zero */
    int64_t skip_y, skip_x;            /* its output rows and columns before the image's first */
    int64_t tiles_y, tiles_x, rows;    /* tiles of an image; rows of tiles of all images */
    int64_t strip_cols, output_cols;   /* of a strip of source and of output pixels */
    int64_t strip;                     /* reals that hold either */
    outer_panels panels;               /* of the output channels */
    int64_t chunk, chunks;             /* channels of V at a time, a multiple of VL */
    int64_t block_rows, blocks;        /* rows of tiles of a block */
    int64_t tiles;                     /* of a block, at most */
    int64_t plane_v, block_v;          /* reals of V: of a chunk's xi, of a block's group */
    const real *src;
} wino_shape;

static int64_t odd_lines(int64_t reals) {
    int64_t line = 64 / (int64_t)sizeof(real), lines = fc_ceil_div(reals, line);
    return (lines | 1) * line;
}

/* What follows from the sizes alone. */
static void wino_measure(wino_shape *s) {
    const winograd_axis *y = &s->v->y, *x = &s->v->x;
    s->squares = y->t * x->t;
    s->filter_squares = y->f * x->f;
    s->tiles_y = fc_ceil_div(s->skip_y + s->oh, y->m);
    s->tiles_x = fc_ceil_div(s->skip_x + s->ow, x->m);
    s->rows = s->n * s->tiles_y;
    s->strip_cols = (s->tiles_x - 1) * x->step + x->source;
    s->output_cols = s->tiles_x * x->m;
    s->strip = fc_max(y->source * s->strip_cols, y->m * s->output_cols) * VL;
    s->panels = outer_panels_of(s->k);
}

/* Even blocks of about `wanted` tiles, about a multiple of `of` blocks. */
static void wino_cut_blocks(wino_shape *s, int64_t wanted, int64_t of) {
    s->block_rows = fc_max(1, fc_min(wanted / s->tiles_x, s->rows));
    s->blocks = fc_round_up(fc_ceil_div(s->rows, s->block_rows), of);
    s->block_rows = fc_ceil_div(s->rows, s->blocks);
    s->blocks = fc_ceil_div(s->rows, s->block_rows);
    s->tiles = s->block_rows * s->tiles_x;
    s->plane_v = odd_lines(s->tiles * s->chunk);
    s->block_v = s->chunks * s->squares * s->plane_v;
}

/* From an element of a tile to the next one down, or, where a tile is one row, to the right. */
static int64_t wino_step(const winograd_variant *v, int64_t cols) {
    return v->y.t > 1 ? cols * VL : VL;
}

/* The rows of tiles of a block, and how many tiles those are. */
typedef struct {
    int64_t first, end, tiles;
} wino_block;

static wino_block wino_get_block(const wino_shape *s, int64_t i) {
    int64_t first = i * s->block_rows, end = fc_min(first + s->block_rows, s->rows);
    return (wino_block){first, end, (end - first) * s->tiles_x};
}

/* A pixel of `channels` <= VL planes. */
INLINE vr strip_pixel(const real *src, int64_t plane, int64_t channels) {
    real t[VL];
    for (int64_t l = 0; l < VL; l++) t[l] = l < channels ? src[l * plane] : 0;
    return v_load(t);
}

/* Some columns of a row of VL planes. */
INLINE void strip_columns(const int pieces, const real *from, int64_t plane, real *strip) {
    vr r[VL];
    v_load_transposed(pieces, from, plane, r);
    UNROLL for (int j = 0; j < pieces * PIECE; j++) v_store(strip + j * VL, r[j]);
}

/* rows x cols pixels from (y0, x0) on of `channels` <= VL planes, transposed to
 * [row][col][VL]; outside of the h x w planes zero, or the nearest pixel, and zero in the
 * lanes without a channel. */
static void strip_fill(const real *src, int64_t plane, int64_t channels, int64_t h, int64_t w,
                       int64_t y0, int64_t rows, int64_t x0, int64_t cols, int replicate,
                       real *strip) {
    int64_t lo = fc_min(fc_max(-x0, 0), cols), hi = fc_max(lo, fc_min(w - x0, cols));
    for (int64_t i = 0; i < rows; i++, strip += cols * VL) {
        int64_t y = replicate ? fc_min(fc_max(y0 + i, 0), h - 1) : y0 + i;
        if (y < 0 || y >= h) {
            fill(strip, cols * VL, 0);
            continue;
        }
        const real *from = src + y * w + x0;
        fill(strip, lo * VL, 0);
        int64_t b = lo;
        if (channels == VL && hi - lo >= PIECE) {
            /* short pieces of VL planes: the hardware does not see the next rows coming */
            for (int64_t at = lo; at < hi; at += LINE)
                UNROLL for (int l = 0; l < VL; l++) PREFETCH_L2(from + l * plane + at + 4 * w);
            for (; b + VL <= hi; b += VL)
                strip_columns(PIECES, from + b, plane, strip + b * VL);
            for (; b < hi; b += PIECE) { /* the last starts earlier */
                int64_t at = fc_min(b, hi - PIECE);
                strip_columns(1, from + at, plane, strip + at * VL);
            }
        }
        for (; b < hi; b += VL) {
            int64_t have = fc_min(VL, hi - b);
            vr r[VL];
            UNROLL for (int l = 0; l < VL; l++)
                r[l] = l < channels ? v_loadn(from + l * plane + b, have) : v_zero();
            v_transpose(r);
            UNROLL for (int l = 0; l < VL; l++)
                if (l < have) v_store(strip + (b + l) * VL, r[l]);
        }
        fill(strip + hi * VL, (cols - hi) * VL, 0);
        if (!replicate) continue;
        vr left = strip_pixel(src + y * w, plane, channels);
        vr right = strip_pixel(src + y * w + w - 1, plane, channels);
        for (int64_t b = 0; b < lo; b++) v_store(strip + b * VL, left);
        for (int64_t b = hi; b < cols; b++) v_store(strip + b * VL, right);
    }
}

/* The way back: rows x w pixels of a strip, `cols` wide, to `channels` planes, plus a
 * bias each, and finished. */
static void strip_drain(const real *strip, int64_t cols, int64_t rows, int64_t w, real *dst,
                        int64_t plane, int64_t channels, const real *bias,
                        const conv_epilogue *epilogue) {
    conv_epilogue e = *epilogue;
    for (int64_t i = 0; i < rows; i++, strip += cols * VL, dst += w) {
        for (int64_t b = 0; b < w; b += VL) {
            int64_t have = fc_min(VL, w - b);
            vr r[VL];
            UNROLL for (int l = 0; l < VL; l++)
                r[l] = l < have ? v_load(strip + (b + l) * VL) : v_zero();
            v_transpose(r);
            UNROLL for (int l = 0; l < VL; l++) {
                if (l >= channels) continue;
                vr value = bias != NULL ? v_add(r[l], v_set1(bias[l])) : r[l];
                real *to = dst + l * plane + b;
                PREFETCH(to + 2 * w);
                epilogue_prefetch(&e, to + 2 * w, have);
                if (e.used) value = epilogue_apply(e, value, to, have);
                if (have == VL)
                    v_store(to, value);
                else
                    v_storen(to, value, have);
            }
        }
    }
}

/* V of channels c0 .. c0 + VL - 1 of a group in a block; pv is the block's group's. */
static void wino_input(const wino_shape *s, int64_t block, int64_t g, int64_t c0, real *pv,
                       real *strip) {
    const winograd_variant *v = s->v;
    wino_block b = wino_get_block(s, block);
    int64_t plane = s->h * s->w, step = wino_step(v, s->strip_cols);
    real *to = pv + c0 / s->chunk * s->squares * s->plane_v + c0 % s->chunk;
    for (int64_t row = b.first; row < b.end; row++) {
        int64_t n = row / s->tiles_y, y = row % s->tiles_y * v->y.step + s->y0;
        const real *src = s->src + ((n * s->groups + g) * s->c + c0) * plane;
        strip_fill(src, plane, fc_min(VL, s->c - c0), s->h, s->w, y, v->y.source, s->x0,
                   s->strip_cols, s->replicate, strip);
        for (int64_t x = 0; x < s->tiles_x; x++, to += s->chunk)
            v->input(strip + x * v->x.step * VL, step, to, s->plane_v);
    }
}

/* Channels of V that one task writes: threads that wrote parts of a cache line would
 * take it from each other again and again. (Where a tile's channels are not whole lines,
 * some are still shared.) */
enum { WINO_LINE = VL < (int)LINE ? (int)LINE : VL };

/* Some channels' V, of WINO_LINE at a time. */
static void wino_input_line(const wino_shape *s, int64_t block, int64_t g, int64_t line, real *pv,
                            real *strip) {
    int64_t c0 = line * WINO_LINE, c1 = fc_min(c0 + WINO_LINE, s->c);
    for (int64_t c = c0; c < c1; c += VL) wino_input(s, block, g, c, pv, strip);
}
