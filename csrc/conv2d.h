/* conv2d.h - the conv2d family's inside: the shift problem, and the functions in a tier's table.
 *
 * The shift problem. Forward convolution, and backward with respect to the input, are one
 * computation: with the source copied into zero-padded planes, every kernel tap is a constant
 * shift, so a run of consecutive output pixels is a sum of consecutive source pixels:
 *
 *     out[m][q] = bias[m] + sum over channels c and taps t of  a[m][c][t] * plane[c][q + shift(t)]
 *
 * where q counts pixels along rows of `pitch` elements, across row ends: the few columns between
 * the rows are computed and thrown away. Nothing is gathered, no im2col matrix exists.
 *   - forward, stride s: the source is split into its s x s phases (every s-th row and column), on
 *     each of which a tap is again a constant shift;
 *   - backward input: the source is dy, the taps run backwards, and with stride s each of the s x s
 *     phases of dx has its own exact list of taps.
 * The backward pass for the weights uses forward's planes: dw[k][c][t] = sum over q of
 * dy[k][q] * plane[c][q + shift(t)].
 *
 * Bands. The output is cut into bands (some rows of an image, or some whole small images), sized by
 * the shapes alone; a band's planes are packed for a block of channels at a time, into scratch that
 * stays in the cache.
 */
#ifndef FC_CONV2D_H
#define FC_CONV2D_H

#include "fastcnn.h"

/* One axis (H or W) of a shift problem. Packed element a of source phase p is source element
 * a * step + shift_phase_start(p) - origin. */
typedef struct {
    int64_t source;     /* source size */
    int64_t step;       /* source step of one q: the stride forward, 1 backward */
    int64_t origin;     /* padding before the first source element; negative crops */
    int64_t phases;     /* source phases in use */
    int64_t taps;       /* kernel size */
    int64_t max_shift;
    int64_t out;        /* output size */
    int64_t out_step;   /* output step of one q: 1 forward, the stride backward */
    int64_t out_phases; /* min(out_step, out) */
    int64_t q;          /* q positions: ceil(out / out_step) */
    int64_t dilation, pad;
    int reversed;       /* backward input: taps run the other way */
} shift_axis;

/* Of tap i: its source phase, its shift there, and the output phase that it contributes to. */
static inline int64_t shift_phase(const shift_axis *a, int64_t i) { return i % a->phases; }
static inline int64_t shift_phase_start(const shift_axis *a, int64_t phase) {
    return phase * a->dilation % a->step;
}
int64_t shift_of(const shift_axis *a, int64_t i);
int64_t shift_out_phase(const shift_axis *a, int64_t i);

typedef struct {
    int64_t n, groups, channels, m; /* per group: source channels, output channels */
    shift_axis y, x;
    int replicate;                  /* padding copies the border instead of being zero */
    int64_t pitch;                  /* elements from one row of q to the next */
    int64_t image_rows;             /* rows of q from one image to the next in a band of images */
    int64_t band_images, band_rows, band_cols;    /* the largest band */
    int64_t image_bands, row_bands, col_bands;    /* how many of them: n * h * w wise */
    int64_t plane;                  /* elements of one packed plane */
    int64_t channel_stride;         /* elements from one channel's planes to the next's */
    /* Taps by output phase p = py * x.out_phases + px: number first[p] .. first[p + 1] - 1, each
     * with its place in the kernel, kh * KW + kw, and its shift inside a channel's planes. */
    int32_t *first, *tap_kernel, *tap_shift;
} shift_problem;

/* Made in three steps: the sizes; the bands, of about q_target pixels, for vectors of `lanes`
 * pixels; and the list of taps, in `tables`, which has shift_table_ints(s) elements. */
void shift_forward(const fc_conv2d_desc *d, shift_problem *s);
void shift_backward_input(const fc_conv2d_desc *d, shift_problem *s);
int64_t shift_line(const shift_problem *s, const shift_axis *a); /* of all rows, or columns */
void shift_cut_bands(shift_problem *s, int64_t q_target, int64_t lanes);
int64_t shift_table_ints(const shift_problem *s);
void shift_list_taps(shift_problem *s, int32_t *tables);
static inline int64_t shift_out_phases(const shift_problem *s) {
    return s->y.out_phases * s->x.out_phases;
}

typedef struct {
    int64_t n0, images; /* images n0 .. n0 + images - 1 */
    int64_t y0, rows;   /* of each: q rows y0 .. y0 + rows - 1 */
    int64_t x0, cols;   /* and q columns */
    int64_t q;          /* run length: from the band's first pixel to its last, gaps included */
} shift_band;
int64_t shift_bands(const shift_problem *s);
shift_band shift_get_band(const shift_problem *s, int64_t i);
/* Rows that a band's packed planes have. */
int64_t shift_packed_rows(const shift_problem *s, const shift_band *b);

typedef struct {
    int64_t (*forward_workspace)(const fc_conv2d_desc *d, int prepared, int n_threads);
    void (*forward)(const fc_conv2d_desc *d, const fc_conv2d_inference *how, const void *x,
                    const void *w, const void *b, void *y, void *workspace, int n_threads);
    int64_t (*prepared_bytes)(const fc_conv2d_desc *d);
    void (*prepare)(const fc_conv2d_desc *d, const void *w, void *prepared, int n_threads);
    int64_t (*backward_input_workspace)(const fc_conv2d_desc *d, int n_threads);
    void (*backward_input)(const fc_conv2d_desc *d, const void *dy, const void *w, const void *b,
                           void *dx, void *workspace, int n_threads);
    int64_t (*backward_weight_workspace)(const fc_conv2d_desc *d, int n_threads);
    void (*backward_weight)(const fc_conv2d_desc *d, const void *dy, const void *x, void *dw,
                            void *db, void *workspace, int n_threads);
    void (*im2col)(const fc_conv2d_desc *d, const void *x, void *cols, int n_threads);
    void (*col2im)(const fc_conv2d_desc *d, const void *cols, void *x, int n_threads);
} conv2d_kernels;

#endif
