/* check_conv2d.c - convolution forward, both backward passes, im2col and col2im. */
#include "harness.h"

#include <math.h>
#include <string.h>

/* Sizes of one case; the output's follow. */
typedef struct {
    int n, c, h, w, k, kh, kw, stride_h, stride_w, top, bottom, left, right, dil_h, dil_w, groups;
} shape;

static const shape SHAPES[] = {
    /* n   c   h   w   k kh kw  sh sw   t  b  l  r  dh dw  g */
    {  0,  3,  5,  5,  4, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* no images */
    {  1,  1,  1,  1,  1, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1,  1},
    {  2,  1, 28, 28,  6, 5, 5,  1, 1,  2, 2, 2, 2,  1, 1,  1}, /* lenet1 */
    {  2,  6, 14, 14, 16, 5, 5,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* lenet2 */
    {  1,  3, 35, 33,  7, 11, 11, 4, 4,  2, 2, 2, 2,  1, 1,  1}, /* alexnet's first, smaller */
    {  1,  3, 23, 25,  9, 7, 7,  2, 2,  3, 3, 3, 3,  1, 1,  1}, /* resnet's stem, smaller */
    {  3,  5, 20, 23, 18, 5, 5,  2, 2,  2, 1, 0, 3,  1, 1,  1}, /* 5x5 with stride 2 */
    {  2,  2, 41, 47, 17, 14, 14, 3, 3, 0, 5, 4, 1,  1, 1,  1}, /* 14x14 with stride 3 */
    {  1, 40,  9, 10, 17, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* 360 taps, K = 16 + 1 */
    {  3, 33,  7,  7, 35, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* 7x7 maps */
    {  2, 16, 12, 12, 48, 3, 3,  2, 2,  1, 1, 1, 1,  1, 1,  1},
    {  2,  4, 52, 50, 18, 2, 2,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* few weights, many pixels */
    {  3,  4, 45, 44, 20, 3, 2,  1, 1,  1, 1, 0, 1,  1, 1,  2}, /* the same, grouped */
    {  2, 70,  7,  7, 50, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* 1x1 */
    {  1, 330, 3,  5, 20, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* 1x1, deep */
    {  2,  8,  9, 11, 12, 1, 1,  2, 2,  0, 0, 0, 0,  1, 1,  1}, /* 1x1 with stride 2 */
    {  1,  5,  8,  8,  6, 1, 1,  1, 1,  2, 1, 0, 3,  1, 1,  1}, /* 1x1 with padding */
    {  5, 290, 7,  7, 26, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* 1x1: tiles across images */
    {  4, 800, 5,  5, 70, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* 1x1: blocks, small tasks */
    { 16,  9, 16, 16, 26, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* bands of images are the tasks */
    {  3, 10,  9, 11, 50, 1, 1,  2, 2,  0, 0, 0, 0,  1, 1,  2}, /* 1x1 with stride 2, lines */
    {  9, 20,  1,  1, 26, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* 1x1, images of a pixel */
    { 50, 20,  1,  1, 30, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* the same, tiles of many images */
    {  7, 11,  1,  3, 40, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* 1x1, images below a vector */
    {  1,  3, 65, 67,  5, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* 1x1, bands of columns */
    {  3, 20,  7,  9, 30, 1, 1,  1, 1,  0, 2, 0, 3,  1, 1,  1}, /* 1x1, rows that end early */
    {  3, 10,  4,  6, 30, 2, 2,  2, 2,  0, 2, 0, 2,  1, 1,  1}, /* 2x2, the same */
    {  1, 64,  3,  5, 8320, 1, 1, 1, 1, 0, 0, 0, 0,  1, 1, 32}, /* 1x1, wide: two passes a band */
    {  1, 64,  3,  5, 8320, 3, 3, 1, 1, 1, 1, 1, 1,  1, 1, 32}, /* the same of lines from planes */
    {  1, 8320, 3, 5, 64, 1, 1,  1, 1,  0, 0, 0, 0,  1, 1, 32}, /* the same backward */
    {  4,  3,  6,  7, 26, 2, 1,  2, 1,  0, 0, 0, 0,  1, 1,  1}, /* strides of two and one */
    {  2, 10,  9, 40, 26, 1, 1,  1, 2,  0, 0, 0, 0,  1, 1,  2}, /* of one and two */
    {  2, 33, 18, 70, 37, 2, 2,  2, 2,  0, 0, 0, 0,  1, 1,  1}, /* kernel = stride: no planes */
    {  5, 40,  6,  6, 30, 2, 2,  2, 2,  0, 0, 0, 0,  1, 1,  1}, /* the same, tiles across images */
    {  2,  9, 15, 41, 26, 2, 1,  3, 2,  0, 1, 0, 0,  2, 1,  1}, /* kernel < stride, dilated */
    {  1,  1, 135, 146, 24, 2, 2, 2, 2,  0, 0, 0, 0, 1, 1,  1}, /* bands that fit, whole vectors */
    {  1,  2, 17, 272, 3, 16, 16, 16, 16, 0, 0, 0, 0, 1, 1, 1}, /* a phase a lane */
    {  3, 30,  7,  7, 26, 3, 3,  1, 1,  2, 2, 2, 2,  2, 2,  1}, /* dilated, tiles across images */
    {  2, 31, 13, 17, 25, 3, 3,  2, 2,  1, 1, 1, 1,  1, 1,  1}, /* stride 2, phases in lines */
    {  2, 35, 19, 30, 37, 3, 3,  2, 2,  1, 1, 1, 1,  1, 1,  1}, /* stride 2, tiles cut off */
    {  3, 34, 16, 17, 40, 3, 3,  2, 2,  0, 1, 2, 3,  1, 1,  2}, /* the same, even padding, groups */
    {  2, 33, 17, 32, 35, 4, 4,  2, 2,  1, 1, 1, 1,  1, 1,  1}, /* 4x4 with stride 2 */
    {  1, 36,  3, 40, 33, 3, 3,  2, 2,  3, 0, 0, 0,  1, 1,  1}, /* the same, a row of tiles */
    {  2, 27, 14, 13, 28, 2, 4,  3, 3,  0, 1, 1, 0,  1, 1,  1}, /* stride 3, phases in lines */
    {  2, 257, 4, 3, 257, 2, 2, 2, 1,  0, 0, 1, 0,  1, 1,  1}, /* few pixels, many channels */
    {  2, 26, 17, 19, 24, 1, 7,  1, 1,  0, 0, 3, 3,  1, 1,  1}, /* a row */
    {  2, 12, 10, 11, 12, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1, 12}, /* depthwise */
    { 20, 12,  7,  7, 12, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1, 12}, /* depthwise, 7x7 maps */
    {  3,  5, 66,  7,  5, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  5}, /* the same, odd planes, bands */
    {  3,  1,  9,  7,  1, 5, 5,  1, 1,  2, 2, 2, 2,  1, 1,  1}, /* the same, 5x5, one channel */
    {  1,  5,  8,  8,  5, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  5}, /* depthwise, 8x8 maps */
    {  1,  3, 16, 16,  3, 5, 5,  1, 1,  2, 2, 2, 2,  1, 1,  3}, /* depthwise, 16x16 maps */
    {  1,  3, 12, 13,  3, 7, 7,  1, 1,  2, 4, 3, 3,  1, 1,  3}, /* depthwise, 7x7, short rows */
    {  2,  3,  9,  9,  3, 7, 7,  1, 1,  0, 0, 3, 3,  1, 1,  3}, /* tiles that begin at the end, */
    {  1,  3,  8,  8,  3, 7, 7,  1, 1,  1, 6, 3, 3,  1, 1,  3}, /* of two planes, full rows, */
    {  1,  3,  1,  8,  3, 5, 5,  1, 1,  0, 4, 2, 2,  1, 1,  3}, /* and of a single row */
    {  1,  3,  4,  8,  3, 5, 5,  1, 1,  9, 1, 2, 2,  1, 1,  3}, /* and tiles before the source */
    {  1,  3,  9,  8,  3, 3, 3,  1, 1,  1, 1, 1, 0,  1, 1,  3}, /* fewer windows than columns */
    {  3,  3,  9,  7,  3, 7, 7,  1, 1,  3, 3, 3, 3,  1, 1,  3}, /* 7x7 on two planes */
    {  1,  3,  8,  8,  3, 7, 7,  1, 1,  3, 3, 3, 3,  1, 1,  3}, /* the same, full rows */
    {  1,  3,  8,  8,  3, 5, 5,  1, 1,  2, 2, 2, 2,  1, 1,  3}, /* the same, 5x5 */
    {  1,  3, 16, 16,  3, 7, 7,  1, 1,  3, 3, 3, 3,  1, 1,  3}, /* 7x7, full rows */
    {  1,  3, 15, 14,  3, 7, 7,  2, 2,  3, 3, 3, 3,  1, 1,  3}, /* 7x7, stride 2 */
    {  3,  5,  6,  4,  5, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  5}, /* two planes of doubles */
    {  2,  3,  5,  3,  3, 5, 5,  1, 1,  2, 2, 2, 2,  1, 1,  3}, /* the same, 5x5 */
    {  2,  3, 11, 14,  3, 3, 3,  2, 2,  1, 1, 1, 1,  1, 1,  3}, /* the same, stride 2, odd planes */
    {  1,  4, 16, 16,  4, 5, 5,  2, 2,  2, 2, 2, 2,  1, 1,  4}, /* the same, 5x5 */
    {  1,  3,  8,  8,  3, 2, 2,  2, 2,  0, 0, 0, 0,  1, 1,  3}, /* the same, 2x2 */
    {  2,  3, 41, 38,  3, 3, 3,  2, 2,  1, 1, 1, 1,  1, 1,  3}, /* depthwise, stride 2 */
    {  2,  3, 37, 67,  3, 5, 5,  2, 2,  2, 2, 2, 2,  1, 1,  3}, /* depthwise, 5x5, bands */
    {  1,  3, 18, 33,  3, 7, 7,  1, 1,  3, 3, 3, 3,  1, 1,  3}, /* depthwise, 7x7 */
    {  1,  4,  6,  1,  4, 2, 3,  1, 2,  4, 1, 2, 3,  2, 1,  4}, /* depthwise, one column */
    {  3,  5,  1,  1,  5, 3, 3,  2, 2,  1, 1, 1, 1,  1, 1,  5}, /* depthwise, a pixel, stride 2 */
    {  1,  3,  9, 45,  3, 3, 3,  1, 1,  5, 4, 7, 9,  1, 1,  3}, /* depthwise, padding > kernel */
    {  1,  2, 70, 40,  2, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  2}, /* depthwise, bands of rows */
    {  2,  3, 13, 50,  3, 7, 7,  2, 2,  3, 3, 3, 3,  1, 1,  3}, /* depthwise, 7x7, stride 2 */
    {  1,  3,  8,  9,  3, 3, 3,  1, 1,  1, 1, 60, 70, 1, 1, 3}, /* depthwise, wide padding */
    {  1,  9,  9,  9, 18, 3, 3,  2, 2,  1, 0, 0, 1,  1, 1,  9}, /* depthwise, two each, stride 2 */
    {  2, 12,  8,  9, 20, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  4}, /* groups */
    {  1,  4, 16, 17,  5, 3, 3,  1, 1,  2, 2, 2, 2,  2, 2,  1}, /* dilated */
    {  1,  4, 17, 16,  5, 3, 5,  2, 3,  4, 1, 0, 5,  3, 2,  1},
    {  2,  3,  6,  7,  4, 3, 3,  1, 1,  5, 4, 3, 6,  1, 1,  1}, /* padding beyond the kernel */
    {  1,  2, 10, 10,  3, 3, 3,  3, 4,  0, 0, 0, 0,  1, 1,  1}, /* (H - F) not a multiple of S */
    {  1,  2,  9,  9,  3, 2, 2,  5, 5,  0, 0, 0, 0,  1, 1,  1}, /* stride beyond the kernel */
    {  1,  3,  1, 40,  5, 1, 7,  1, 1,  0, 0, 3, 3,  1, 1,  1}, /* 1x7 */
    {  1,  3, 40,  1,  5, 7, 1,  1, 1,  3, 3, 0, 0,  1, 1,  1}, /* 7x1 */
    {  1,  3,  8,  8,  4, 8, 8,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* kernel = image */
    {  1,  2,  2,  2,  2, 4, 4,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* kernel > image */
    {  1,  9, 58, 60, 10, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* Winograd's large tiles */
    {  1,  3, 13, 70, 33, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* several vectors a row */
    {  1,  2,  6, 300, 3, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* a wide row */
    { 17,  2,  3,  3, 11, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* many small images */
    { 18,  3,  9, 10,  5, 3, 3,  2, 2,  1, 1, 1, 1,  1, 1,  1}, /* the same, stride 2 */
    { 17,  2, 13, 11,  4, 2, 3,  3, 1,  0, 1, 2, 0,  2, 1,  1}, /* the same, stride 3, dilated */
    { 16,  1,  3,  3,  2, 3, 3,  1, 1,  1, 1, 1, 1,  2, 2,  1}, /* dilated: rows that no tap reaches */
    { 17,  2,  3,  1,  2, 3, 1,  1, 1,  1, 1, 0, 0,  2, 1,  1}, /* the same, one column */
    {  1,  3, 44, 70, 21, 16, 16, 8, 8,  4, 4, 4, 4,  1, 1,  1}, /* stride 8, 64 phases */
    {  2,  3, 45, 52, 33, 7, 7,  2, 2,  3, 3, 3, 3,  1, 1,  1}, /* 5x5 by the phases of stride 2 */
    {  3,  2, 71, 67, 19, 11, 11, 4, 4,  2, 2, 2, 2,  1, 1,  1}, /* 3x3 by those of stride 4 */
    { 16,  1, 12, 13,  6, 5, 5,  1, 1,  2, 2, 2, 2,  1, 1,  1}, /* images in lanes */
    { 14,  6,  9,  8, 16, 5, 5,  1, 1,  0, 0, 0, 0,  1, 1,  1}, /* the same, two lanes idle */
    { 16,  4,  9,  7,  2, 3, 2,  1, 1,  3, 0, 1, 2,  2, 1,  2}, /* the same, groups, dilated */
    { 31, 20,  7, 90,  3, 3, 3,  1, 1,  1, 1, 1, 1,  1, 1,  1}, /* the same, some rows at a time */
};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0], N_RANDOM = 40 };

/* Described as direct. */
static fc_conv2d_desc describe(const setting *s, const shape *p, fc_pad_mode mode) {
    return (fc_conv2d_desc){
        .dtype = s->dtype, .pad_mode = mode, .algorithm = FC_CONV_DIRECT,
        .n = p->n, .c = p->c, .h = p->h, .w = p->w, .k = p->k, .kh = p->kh, .kw = p->kw,
        .oh = (p->h + p->top + p->bottom - (p->kh - 1) * p->dil_h - 1) / p->stride_h + 1,
        .ow = (p->w + p->left + p->right - (p->kw - 1) * p->dil_w - 1) / p->stride_w + 1,
        .stride_h = p->stride_h, .stride_w = p->stride_w,
        .pad_top = p->top, .pad_bottom = p->bottom, .pad_left = p->left, .pad_right = p->right,
        .dilation_h = p->dil_h, .dilation_w = p->dil_w, .groups = p->groups,
    };
}

/* Index in x of tap (r, q) of output pixel (i, j) of channel c of image n; -1 in zero padding. */
static int64_t tap_of(const fc_conv2d_desc *d, int64_t n, int64_t c, int64_t i, int64_t j,
                      int64_t r, int64_t q) {
    int64_t y = i * d->stride_h - d->pad_top + r * d->dilation_h;
    int64_t x = j * d->stride_w - d->pad_left + q * d->dilation_w;
    if (d->pad_mode == FC_PAD_REPLICATE) {
        y = y < 0 ? 0 : y >= d->h ? d->h - 1 : y;
        x = x < 0 ? 0 : x >= d->w ? d->w - 1 : x;
    } else if (y < 0 || y >= d->h || x < 0 || x >= d->w) {
        return -1;
    }
    return ((n * d->c + c) * d->h + y) * d->w + x;
}

/* All three sums of the convolution in one naive loop; y starts as the bias. */
static void naive(const fc_conv2d_desc *d, const void *x, const void *w, const void *dy, double *y,
                  double *dx, double *dw, double *db) {
    int64_t cg = d->c / d->groups, kg = d->k / d->groups, o = 0;
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t k = 0; k < d->k; k++)
            for (int64_t i = 0; i < d->oh; i++)
                for (int64_t j = 0; j < d->ow; j++, o++) {
                    db[k] += at(dy, o);
                    for (int64_t c = 0; c < cg; c++)
                        for (int64_t r = 0; r < d->kh; r++)
                            for (int64_t q = 0; q < d->kw; q++) {
                                int64_t e = tap_of(d, n, k / kg * cg + c, i, j, r, q);
                                int64_t f = ((k * cg + c) * d->kh + r) * d->kw + q;
                                if (e < 0) continue;
                                y[o] += at(x, e) * at(w, f);
                                dx[e] += at(dy, o) * at(w, f);
                                dw[f] += at(dy, o) * at(x, e);
                            }
                }
}

typedef fc_status workspace_bytes(const fc_conv2d_desc *d, int n_threads, size_t *bytes);

/* Exactly as much as the function asks for. */
static void *scratch(const setting *s, const fc_conv2d_desc *d, workspace_bytes *bytes_of) {
    size_t bytes = 0;
    expect_status(bytes_of(d, s->threads, &bytes), FC_OK, "workspace");
    return workspace((int64_t)bytes);
}

/* Direct kernels add integers and are exact. Winograd's transforms divide: its error, of
 * some 1e-5 in float, is a promise of the library's Python tests; here a wrong index is
 * what is looked for. */
static void expect_sums(const fc_conv2d_desc *d, const void *got, const double *expected, int64_t n,
                        const char *what) {
    if (d->algorithm == FC_CONV_DIRECT) expect_equal(got, expected, n, what);
    else expect_near(got, expected, n, d->dtype == FC_FLOAT32 ? 1e-3 : 1e-11, what);
}

static int in(int lo, int hi) { return (int)random_int(lo, hi); }

/* Starts a case of a pass, and describes it. */
static fc_conv2d_desc begin_shape(const setting *s, const char *pass, const shape *p,
                                  fc_pad_mode mode, fc_conv_algorithm algorithm) {
    static const char *const NAMES[] = {"auto", "direct", "winograd"};
    begin(s,
          "%s %s %d,%d,%d,%d -> %d %dx%d stride %d,%d pad %d,%d,%d,%d dilation %d,%d groups %d%s",
          pass, NAMES[algorithm], p->n, p->c, p->h, p->w, p->k, p->kh, p->kw, p->stride_h,
          p->stride_w, p->top, p->bottom, p->left, p->right, p->dil_h, p->dil_w, p->groups,
          mode == FC_PAD_REPLICATE ? " replicate" : "");
    fc_conv2d_desc d = describe(s, p, mode);
    d.algorithm = algorithm;
    return d;
}

static void convolution(const setting *s, const shape *p, fc_pad_mode mode,
                        fc_conv_algorithm algorithm) {
    fc_conv2d_desc d = begin_shape(s, "conv2d", p, mode, algorithm);
    int64_t nx = d.n * d.c * d.h * d.w, nw = d.k * d.c / d.groups * d.kh * d.kw;
    int64_t ny = d.n * d.k * d.oh * d.ow;
    void *x = input(nx), *w = input(nw), *b = input(d.k), *dy = input(ny);
    void *y = output(ny), *dx = output(nx), *dw = output(nw), *db = output(d.k);
    double *y_plain = zeros(ny), *y_bias = zeros(ny), *dx_expected = zeros(nx);
    double *dw_expected = zeros(nw), *db_expected = zeros(d.k);
    naive(&d, x, w, dy, y_plain, dx_expected, dw_expected, db_expected);
    for (int64_t i = 0; i < ny; i++) y_bias[i] = y_plain[i] + at(b, i / (d.oh * d.ow) % d.k);

    void *work = scratch(s, &d, fc_conv2d_forward_workspace_bytes);
    expect_status(fc_conv2d_forward(&d, x, w, b, y, work, s->threads), FC_OK, "forward");
    expect_sums(&d, y, y_bias, ny, "y");
    void *y2 = output(ny);
    expect_status(fc_conv2d_forward(&d, x, w, NULL, y2, work, s->threads), FC_OK, "no bias");
    expect_sums(&d, y2, y_plain, ny, "y without bias");

    work = scratch(s, &d, fc_conv2d_backward_weight_workspace_bytes);
    expect_status(fc_conv2d_backward_weight(&d, dy, x, dw, db, work, s->threads), FC_OK, "weight");
    expect_sums(&d, dw, dw_expected, nw, "dw");
    expect_equal(db, db_expected, d.k, "db");
    void *dw2 = output(nw);
    expect_status(fc_conv2d_backward_weight(&d, dy, x, dw2, NULL, work, s->threads), FC_OK,
                  "weight, no bias");
    expect_sums(&d, dw2, dw_expected, nw, "dw without db");

    if (mode == FC_PAD_ZEROS) {
        work = scratch(s, &d, fc_conv2d_backward_input_workspace_bytes);
        expect_status(fc_conv2d_backward_input(&d, dy, w, NULL, dx, work, s->threads), FC_OK,
                      "input");
        expect_sums(&d, dx, dx_expected, nx, "dx");
        void *shift = input(d.c), *dx2 = output(nx); /* the bias of a transposed convolution */
        for (int64_t i = 0; i < nx; i++) dx_expected[i] += at(shift, i / (d.h * d.w) % d.c);
        expect_status(fc_conv2d_backward_input(&d, dy, w, shift, dx2, work, s->threads), FC_OK,
                      "input, bias");
        expect_sums(&d, dx2, dx_expected, nx, "dx with bias");
    } else {
        expect_status(fc_conv2d_backward_input(&d, dy, w, NULL, dx, NULL, s->threads),
                      FC_ERROR_UNSUPPORTED, "backward input, replicate");
    }
    end();
}

/* Inference has the bits of convolution, addition and ReLU one after the other. */
static void inference(const setting *s, const shape *p, fc_pad_mode mode,
                      fc_conv_algorithm algorithm) {
    fc_conv2d_desc d = begin_shape(s, "conv2d inference", p, mode, algorithm);
    int64_t nx = d.n * d.c * d.h * d.w, nw = d.k * d.c / d.groups * d.kh * d.kw;
    int64_t ny = d.n * d.k * d.oh * d.ow, bytes = ny * (d.dtype == FC_FLOAT32 ? 4 : 8);
    double *values = zeros(ny);
    for (int64_t i = 0; i < ny; i++)
        values[i] = in(0, 19) == 0 ? NAN : in(-40, 40);
    void *x = input(nx), *w = input(nw), *b = input(d.k), *residual = copy_of(values, ny);
    void *work = scratch(s, &d, fc_conv2d_forward_workspace_bytes);
    void *sums = output(ny), *apart = output(ny);
    expect_status(fc_conv2d_forward(&d, x, w, b, sums, work, s->threads), FC_OK, "forward");
    for (int way = 1; way < 6; way++) { /* ReLU or not; nothing, an array, or y itself is added */
        int relu = way % 2, adds = way / 2;
        void *y = output(ny);
        if (adds == 2) memcpy(y, residual, (size_t)bytes);
        fc_conv2d_inference how = {.relu = relu,
                                   .residual = adds == 1 ? residual
                                               : adds    ? y
                                                         : NULL};
        expect_status(fc_conv2d_infer(&d, &how, x, w, b, y, work, s->threads), FC_OK, "infer");
        if (adds) fc_add_forward(d.dtype, ny, relu, sums, residual, apart, s->threads);
        else fc_activation_forward(FC_RELU, d.dtype, ny, 0, sums, apart, s->threads);
        static const char *const WAYS[] = {"", "relu", "sum", "sum, relu", "in place",
                                           "in place, relu"};
        expect_equal(y, values_of(apart, ny), ny, WAYS[way]);
    }

    /* Prepared weights: of any number of images, in exactly as much memory as they ask for. */
    size_t room = 0, same = 0;
    fc_conv2d_desc other = d;
    other.n = d.n == 0 ? 3 : d.n - 1;
    expect_status(fc_conv2d_prepared_bytes(&other, &room), FC_OK, "bytes");
    expect_status(fc_conv2d_prepared_bytes(&d, &same), FC_OK, "bytes");
    expect_true(room == same, "the same bytes for any n");
    void *prepared = room > 0 ? workspace((int64_t)room) : NULL, *y = output(ny);
    expect_status(fc_conv2d_prepare(&other, w, prepared, s->threads), FC_OK, "prepare");
    work = scratch(s, &d, fc_conv2d_prepared_workspace_bytes);
    fc_conv2d_inference how = {.relu = 1, .residual = residual, .prepared = prepared};
    expect_status(fc_conv2d_infer(&d, &how, x, prepared != NULL ? NULL : w, b, y, work, s->threads),
                  FC_OK, "infer, prepared");
    fc_add_forward(d.dtype, ny, 1, sums, residual, apart, s->threads);
    expect_equal(y, values_of(apart, ny), ny, "prepared");
    end();
}

static void columns(const setting *s, const shape *p, fc_pad_mode mode) {
    begin(s, "im2col %d,%d,%d,%d %dx%d stride %d,%d pad %d,%d,%d,%d dilation %d,%d%s", p->n, p->c,
          p->h, p->w, p->kh, p->kw, p->stride_h, p->stride_w, p->top, p->bottom, p->left, p->right,
          p->dil_h, p->dil_w, mode == FC_PAD_REPLICATE ? " replicate" : "");
    fc_conv2d_desc d = describe(s, p, mode);
    d.k = d.groups = 1;
    int64_t nx = d.n * d.c * d.h * d.w, pixels = d.oh * d.ow;
    int64_t n_cols = d.n * d.c * d.kh * d.kw * pixels, o = 0;
    void *x = input(nx), *cols = output(n_cols), *dcols = input(n_cols), *sums = output(nx);
    double *cols_expected = zeros(n_cols), *sums_expected = zeros(nx);
    for (int64_t n = 0; n < d.n; n++)
        for (int64_t c = 0; c < d.c; c++)
            for (int64_t tap = 0; tap < d.kh * d.kw; tap++)
                for (int64_t pixel = 0; pixel < pixels; pixel++, o++) {
                    int64_t e = tap_of(&d, n, c, pixel / d.ow, pixel % d.ow, tap / d.kw,
                                       tap % d.kw);
                    if (e < 0) continue;
                    cols_expected[o] = at(x, e);
                    sums_expected[e] += at(dcols, o);
                }
    expect_status(fc_im2col(&d, x, cols, s->threads), FC_OK, "im2col");
    expect_equal(cols, cols_expected, n_cols, "cols");
    expect_status(fc_col2im(&d, dcols, sums, s->threads), FC_OK, "col2im");
    expect_equal(sums, sums_expected, nx, "sums");
    end();
}

/* A small shape whose window fits. */
static shape random_shape(void) {
    for (;;) {
        int groups = in(1, 3);
        shape p = {in(1, 3), groups * in(1, 6), in(1, 14), in(1, 20), groups * in(1, 9),
                   in(1, 5), in(1, 5), in(1, 3), in(1, 3),
                   in(0, 3), in(0, 3), in(0, 3), in(0, 3), in(1, 2), in(1, 2), groups};
        if ((p.kh - 1) * p.dil_h < p.h + p.top + p.bottom &&
            (p.kw - 1) * p.dil_w < p.w + p.left + p.right)
            return p;
    }
}

static void bad_descriptors(const setting *s) {
    const shape fine = {1, 4, 8, 8, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2};
    const fc_conv2d_desc good = describe(s, &fine, FC_PAD_ZEROS);

    /* Each field in turn gets values that cannot be right. */
    static const int64_t VALUES[] = {-1, INT64_MIN, INT64_MAX, INT64_C(1) << 31, INT64_C(1) << 62};
    static const size_t FIELDS[] = {
        offsetof(fc_conv2d_desc, c), offsetof(fc_conv2d_desc, h), offsetof(fc_conv2d_desc, w),
        offsetof(fc_conv2d_desc, k), offsetof(fc_conv2d_desc, kh), offsetof(fc_conv2d_desc, kw),
        offsetof(fc_conv2d_desc, oh), offsetof(fc_conv2d_desc, ow),
        offsetof(fc_conv2d_desc, stride_h), offsetof(fc_conv2d_desc, stride_w),
        offsetof(fc_conv2d_desc, pad_top), offsetof(fc_conv2d_desc, pad_bottom),
        offsetof(fc_conv2d_desc, pad_left), offsetof(fc_conv2d_desc, pad_right),
        offsetof(fc_conv2d_desc, dilation_h), offsetof(fc_conv2d_desc, dilation_w),
        offsetof(fc_conv2d_desc, groups), offsetof(fc_conv2d_desc, n),
    };
    enum {
        N_FIELDS = sizeof FIELDS / sizeof FIELDS[0],
        N_VALUES = sizeof VALUES / sizeof VALUES[0]
    };
    size_t bytes;
    for (int f = 0; f < N_FIELDS; f++)
        for (int v = 0; v <= N_VALUES; v++) {
            fc_conv2d_desc d = good;
            int64_t value = v == N_VALUES ? 0 : VALUES[v];
            int is_count = FIELDS[f] == offsetof(fc_conv2d_desc, c) ||
                           FIELDS[f] == offsetof(fc_conv2d_desc, k) ||
                           FIELDS[f] == offsetof(fc_conv2d_desc, n);
            if (is_count && value == INT64_C(1) << 31) continue; /* big, but it fits */
            if (FIELDS[f] == offsetof(fc_conv2d_desc, n) && value == 0) continue;
            if (value == 0 && FIELDS[f] >= offsetof(fc_conv2d_desc, pad_top) &&
                FIELDS[f] <= offsetof(fc_conv2d_desc, pad_right))
                value = -7; /* no padding is a size that does not fit, -7 no padding at all */
            memcpy((char *)&d + FIELDS[f], &value, sizeof value);
            begin(s, "conv2d, bad descriptor: field %d is %lld", f, (long long)value);
            expect_true(fc_conv2d_check(&d) != FC_OK, "check");
            expect_true(fc_conv2d_forward(&d, NULL, NULL, NULL, NULL, NULL, 1) != FC_OK, "forward");
            expect_true(fc_conv2d_backward_input(&d, NULL, NULL, NULL, NULL, NULL, 1) != FC_OK,
                        "input");
            expect_true(fc_conv2d_backward_weight(&d, NULL, NULL, NULL, NULL, NULL, 1) != FC_OK,
                        "weight");
            expect_true(fc_conv2d_forward_workspace_bytes(&d, 1, &bytes) != FC_OK, "bytes");
            if (FIELDS[f] != offsetof(fc_conv2d_desc, n)) {
                expect_true(fc_conv2d_prepared_bytes(&d, &bytes) != FC_OK, "prepared bytes");
                expect_true(fc_conv2d_prepare(&d, NULL, NULL, 1) != FC_OK, "prepare");
            }
            expect_true(fc_im2col(&d, NULL, NULL, 1) != FC_OK, "im2col");
            expect_true(fc_col2im(&d, NULL, NULL, 1) != FC_OK, "col2im");
            end();
        }
    begin(s, "conv2d, bad descriptors");
    expect_status(fc_conv2d_check(&good), FC_OK, "the good one");
    fc_conv2d_desc d = good;
    d.algorithm = (fc_conv_algorithm)9;
    expect_status(fc_conv2d_check(&d), FC_ERROR_UNSUPPORTED, "algorithm");
    d = good;
    d.pad_mode = (fc_pad_mode)9;
    expect_status(fc_conv2d_check(&d), FC_ERROR_UNSUPPORTED, "pad mode");
    d = good;
    d.dtype = (fc_dtype)9;
    expect_status(fc_conv2d_forward(&d, NULL, NULL, NULL, NULL, NULL, 1), FC_ERROR_UNSUPPORTED,
                  "dtype");
    end();
}

void check_conv2d(const setting *s) {
    for (int i = 0; i < N_SHAPES; i++)
        for (int mode = FC_PAD_ZEROS; mode <= FC_PAD_REPLICATE; mode++) {
            for (int a = FC_CONV_AUTO; a <= FC_CONV_WINOGRAD; a++) {
                convolution(s, &SHAPES[i], (fc_pad_mode)mode, (fc_conv_algorithm)a);
                inference(s, &SHAPES[i], (fc_pad_mode)mode, (fc_conv_algorithm)a);
            }
            columns(s, &SHAPES[i], (fc_pad_mode)mode);
        }
    for (int i = 0; i < N_RANDOM; i++) {
        begin(s, "conv2d, random shape %d", i);
        shape p = random_shape();
        int mode = in(0, 3) == 0 ? FC_PAD_REPLICATE : FC_PAD_ZEROS;
        end();
        convolution(s, &p, (fc_pad_mode)mode, FC_CONV_DIRECT);
        inference(s, &p, (fc_pad_mode)mode, FC_CONV_DIRECT);
        columns(s, &p, (fc_pad_mode)mode);
        /* A shape that Winograd serves: 3x3, 5x5, with stride 2 3x3 and 4x4, and lines. */
        p.kh = p.kw = i % 4 == 2 ? 5 : i % 4 == 1 ? 4 : 3;
        p.stride_h = p.stride_w = i % 2 + 1;
        p.dil_h = p.dil_w = 1;
        p.h += 2, p.w += 4, p.top += 1, p.bottom += 1;
        if (i % 3 == 0) {
            int taps = 3 + 2 * in(0, 2), down = in(0, 1);
            p.kh = down ? taps : 1, p.kw = down ? 1 : taps;
            p.stride_h = p.stride_w = 1;
            p.h += 2, p.w += 2;
        }
        convolution(s, &p, (fc_pad_mode)mode, FC_CONV_WINOGRAD);
        inference(s, &p, (fc_pad_mode)mode, FC_CONV_WINOGRAD);
    }
    bad_descriptors(s);
}
