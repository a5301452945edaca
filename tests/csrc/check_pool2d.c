/* check_pool2d.c - max, average and global average pooling. */
#include "harness.h"

#include <math.h>
#include <string.h>

typedef struct {
    int n, c, h, w, kh, kw, stride_h, stride_w, top, bottom, left, right, dil_h, dil_w, ceil;
} shape;

static const shape SHAPES[] = {
    /* n  c   h   w  kh kw sh sw  t  b  l  r  dh dw  ceil */
    {  0, 3,  4,  4,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  0},
    {  2, 0,  4,  4,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  0},
    {  1, 1,  1,  1,  1, 1, 1, 1,  0, 0, 0, 0,  1, 1,  0},
    {  2, 3, 28, 28,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  0},
    { 40, 20, 5,  2,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  0}, /* narrow: many planes a task */
    { 40, 20, 4,  7,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  0},
    { 40, 20, 5, 13,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  0},
    {  9, 20, 5, 15,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  0},
    {  9, 20, 5, 31,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  0},
    {  1, 3, 13, 70,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  0}, /* the last row is in no window */
    {  1, 2, 37, 70,  2, 2, 2, 2,  0, 0, 0, 0,  1, 1,  1}, /* more rows than strips of 14 have */
    {  1, 2, 40, 75,  3, 3, 2, 2,  0, 1, 1, 0,  1, 1,  1},
    {  1, 2, 61, 70,  3, 3, 2, 2,  1, 1, 1, 1,  1, 1,  0}, /* and forward, of large images */
    {  1, 1, 23, 510, 3, 3, 2, 2,  1, 1, 1, 1,  1, 1,  0}, /* of the fewest rows */
    {  1, 1, 31, 131, 3, 3, 1, 1,  1, 1, 1, 1,  1, 1,  0}, /* long rows ask for the next */
    {  2, 2, 14, 15,  3, 3, 2, 2,  1, 1, 1, 1,  1, 1,  0}, /* overlapping */
    {  1, 2, 13, 13,  3, 3, 2, 2,  0, 0, 0, 0,  1, 1,  0},
    {  1, 2, 14, 14,  3, 3, 2, 2,  0, 0, 0, 0,  1, 1,  1}, /* ceil: hangs over */
    {  2, 3,  9, 37,  3, 3, 1, 1,  1, 1, 1, 1,  1, 1,  0},
    {  1, 3, 33, 50,  3, 3, 1, 1,  1, 0, 0, 1,  1, 1,  0}, /* several strips of rows */
    {  2, 2, 16,  5,  3, 3, 1, 1,  0, 1, 1, 0,  1, 1,  0},
    {  1, 2, 10, 11,  5, 4, 3, 2,  2, 1, 0, 2,  1, 1,  1},
    {  1, 2,  7,  7,  7, 7, 1, 1,  0, 0, 0, 0,  1, 1,  0}, /* global */
    {  1, 2, 17, 16,  3, 3, 2, 1,  1, 1, 1, 1,  2, 3,  0}, /* dilated */
    {  3, 1,  6,  5,  1, 1, 2, 2,  0, 0, 0, 0,  1, 1,  0}, /* stride beyond the kernel */
    {  1, 1,  5,  5,  2, 2, 4, 4,  1, 1, 1, 1,  1, 1,  1},
    {  1, 1,  2, 200, 2, 2, 2, 2,  1, 1, 1, 1,  1, 1,  0},
};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0], N_RANDOM = 40 };

static int64_t out_size(int n, int before, int after, int extent, int stride, int ceil) {
    int room = n + before + after - extent;
    int o = (ceil ? room + stride - 1 : room) / stride + 1;
    if (ceil && (o - 1) * stride >= n + before) o--;
    return o;
}

static fc_pool2d_desc describe(const setting *s, const shape *p) {
    return (fc_pool2d_desc){
        .dtype = s->dtype, .n = p->n, .c = p->c, .h = p->h, .w = p->w,
        .oh = out_size(p->h, p->top, p->bottom, (p->kh - 1) * p->dil_h + 1, p->stride_h, p->ceil),
        .ow = out_size(p->w, p->left, p->right, (p->kw - 1) * p->dil_w + 1, p->stride_w, p->ceil),
        .kh = p->kh, .kw = p->kw, .stride_h = p->stride_h, .stride_w = p->stride_w,
        .pad_top = p->top, .pad_bottom = p->bottom, .pad_left = p->left, .pad_right = p->right,
        .dilation_h = p->dil_h, .dilation_w = p->dil_w, .count_include_pad = 1,
    };
}

static void name(const setting *s, const char *op, const shape *p) {
    begin(s, "%s %d,%d,%d,%d %dx%d stride %d,%d pad %d,%d,%d,%d dilation %d,%d ceil %d", op, p->n,
          p->c, p->h, p->w, p->kh, p->kw, p->stride_h, p->stride_w, p->top, p->bottom, p->left,
          p->right, p->dil_h, p->dil_w, p->ceil);
}

static void max_pool(const setting *s, const shape *p, int with_nan) {
    name(s, with_nan ? "max_pool2d, NaN," : "max_pool2d", p);
    fc_pool2d_desc d = describe(s, p);
    int64_t planes = d.n * d.c, nx = planes * d.h * d.w, ny = planes * d.oh * d.ow, o = 0;
    double *values = zeros(nx), *y_expected = zeros(ny), *dx_expected = zeros(nx);
    for (int64_t i = 0; i < nx; i++) {
        values[i] = (double)random_int(-4, 4); /* many ties */
        if (with_nan && random_int(0, 9) == 0) values[i] = NAN;
        if (with_nan && random_int(0, 9) == 0) values[i] = -INFINITY;
    }
    int32_t *expected = output_int(ny), *indices = output_int(ny);
    void *y = output(ny), *dx = output(nx), *dy = input(ny);
    for (int64_t plane = 0; plane < planes; plane++)
        for (int64_t i = 0; i < d.oh; i++)
            for (int64_t j = 0; j < d.ow; j++, o++) {
                int64_t best = -1;
                for (int64_t tap = 0; tap < d.kh * d.kw; tap++) {
                    int64_t r = i * d.stride_h - d.pad_top + tap / d.kw * d.dilation_h;
                    int64_t c = j * d.stride_w - d.pad_left + tap % d.kw * d.dilation_w;
                    if (r < 0 || r >= d.h || c < 0 || c >= d.w) continue;
                    const double *image = values + plane * d.h * d.w;
                    double v = image[r * d.w + c], so_far = best < 0 ? 0 : image[best];
                    if (best < 0 || (!isnan(so_far) && (isnan(v) || v > so_far)))
                        best = r * d.w + c;
                }
                expected[o] = (int32_t)best;
                y_expected[o] = values[plane * d.h * d.w + best];
                dx_expected[plane * d.h * d.w + best] += at(dy, o);
            }
    void *x = copy_of(values, nx);
    expect_status(fc_max_pool2d_forward(&d, x, y, indices, s->threads), FC_OK, "forward");
    expect_equal(y, y_expected, ny, "y");
    expect_equal_int(indices, expected, ny, "indices");
    int32_t *given = copy_of_int(expected, ny);
    expect_status(fc_max_pool2d_backward(&d, dy, given, dx, s->threads), FC_OK, "backward");
    expect_equal(dx, dx_expected, nx, "dx");
    static const int32_t BAD[] = {-1, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 3 && ny > 0; i++) { /* refused, and nothing outside dx is written */
        expected[ny - 1] = BAD[i];
        expect_status(fc_max_pool2d_backward(&d, dy, copy_of_int(expected, ny), output(nx),
                                             s->threads),
                      FC_ERROR_VALUE, "bad index");
    }
    end();
}

/* float sums of small integers are exact, but 1 / size is rounded: close, not equal. */
static double tolerance(const setting *s) { return s->dtype == FC_FLOAT32 ? 1e-6 : 1e-14; }

static void avg_pool(const setting *s, const shape *given, int count_include_pad) {
    shape q = *given;
    q.dil_h = q.dil_w = 1;
    const shape *p = &q;
    name(s, count_include_pad ? "avg_pool2d" : "avg_pool2d without padding", p);
    fc_pool2d_desc d = describe(s, p);
    d.count_include_pad = count_include_pad;
    int64_t planes = d.n * d.c, nx = planes * d.h * d.w, ny = planes * d.oh * d.ow, o = 0;
    void *x = input(nx), *y = output(ny), *dy = input(ny), *dx = output(nx);
    double *y_expected = zeros(ny), *dx_expected = zeros(nx);
    for (int64_t plane = 0; plane < planes; plane++)
        for (int64_t i = 0; i < d.oh; i++)
            for (int64_t j = 0; j < d.ow; j++, o++) {
                double sum = 0.0, divisor = 0.0;
                for (int pass = 0; pass < 2; pass++)
                    for (int64_t tap = 0; tap < d.kh * d.kw; tap++) {
                        int64_t r = i * d.stride_h - d.pad_top + tap / d.kw;
                        int64_t c = j * d.stride_w - d.pad_left + tap % d.kw;
                        int inside = r >= 0 && r < d.h && c >= 0 && c < d.w;
                        int padded = r < d.h + d.pad_bottom && c < d.w + d.pad_right;
                        int64_t e = (plane * d.h + r) * d.w + c;
                        if (pass == 0 && inside) sum += at(x, e);
                        if (pass == 0) divisor += count_include_pad ? padded : inside;
                        if (pass == 1 && inside) dx_expected[e] += at(dy, o) / divisor;
                    }
                y_expected[o] = sum / divisor;
            }
    expect_status(fc_avg_pool2d_forward(&d, x, y, s->threads), FC_OK, "forward");
    expect_close(y, y_expected, ny, tolerance(s), "y");
    expect_status(fc_avg_pool2d_backward(&d, dy, dx, s->threads), FC_OK, "backward");
    expect_close(dx, dx_expected, nx, 4 * tolerance(s), "dx");
    end();
}

static void global_avg_pool(const setting *s, int64_t planes, int64_t size) {
    begin(s, "global_avg_pool2d %lld planes of %lld", (long long)planes, (long long)size);
    void *x = input(planes * size), *y = output(planes), *dy = input(planes);
    void *dx = output(planes * size);
    double *y_expected = zeros(planes), *dx_expected = zeros(planes * size);
    for (int64_t i = 0; i < planes * size; i++) {
        y_expected[i / size] += at(x, i) / (double)size;
        dx_expected[i] = at(dy, i / size) / (double)size;
    }
    expect_status(fc_global_avg_pool2d_forward(s->dtype, planes, size, x, y, s->threads), FC_OK,
                  "forward");
    expect_close(y, y_expected, planes, tolerance(s), "y");
    expect_status(fc_global_avg_pool2d_backward(s->dtype, planes, size, dy, dx, s->threads), FC_OK,
                  "backward");
    expect_close(dx, dx_expected, planes * size, tolerance(s), "dx");
    end();
}

static int in(int lo, int hi) { return (int)random_int(lo, hi); }

/* A small shape each of whose windows sees the image. */
static shape random_shape(void) {
    for (;;) {
        int kh = in(1, 5), kw = in(1, 5), dilated = in(0, 3) == 0;
        shape p = {in(1, 2), in(1, 3), in(1, 14), in(1, 40), kh, kw, in(1, 4), in(1, 4),
                   in(0, kh / 2), in(0, kh / 2), in(0, kw / 2), in(0, kw / 2),
                   dilated ? in(1, 3) : 1, dilated ? in(1, 3) : 1, in(0, 1)};
        if (p.h + p.top + p.bottom > (kh - 1) * p.dil_h &&
            p.w + p.left + p.right > (kw - 1) * p.dil_w &&
            p.h >= (kh / 2) * p.dil_h && p.w >= (kw / 2) * p.dil_w &&
            p.h >= p.dil_h && p.w >= p.dil_w)
            return p;
    }
}

static void bad_descriptors(const setting *s) {
    begin(s, "pool2d, bad descriptors");
    const shape fine = {1, 2, 8, 8, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 0};
    const fc_pool2d_desc good = describe(s, &fine);
    static const int64_t VALUES[] = {-1, INT64_MIN, INT64_MAX, INT64_C(1) << 31, INT64_C(1) << 62};
    static const size_t FIELDS[] = {
        offsetof(fc_pool2d_desc, h), offsetof(fc_pool2d_desc, w), offsetof(fc_pool2d_desc, oh),
        offsetof(fc_pool2d_desc, ow), offsetof(fc_pool2d_desc, kh), offsetof(fc_pool2d_desc, kw),
        offsetof(fc_pool2d_desc, stride_h), offsetof(fc_pool2d_desc, stride_w),
        offsetof(fc_pool2d_desc, dilation_h), offsetof(fc_pool2d_desc, dilation_w),
        offsetof(fc_pool2d_desc, pad_top), offsetof(fc_pool2d_desc, pad_bottom),
        offsetof(fc_pool2d_desc, pad_left), offsetof(fc_pool2d_desc, pad_right),
    };
    for (size_t f = 0; f < sizeof FIELDS / sizeof FIELDS[0]; f++)
        for (int v = 0; v < 5; v++) {
            fc_pool2d_desc d = good;
            memcpy((char *)&d + FIELDS[f], &VALUES[v], sizeof VALUES[v]);
            expect_true(fc_max_pool2d_forward(&d, NULL, NULL, NULL, 1) != FC_OK, "max");
            expect_true(fc_max_pool2d_backward(&d, NULL, NULL, NULL, 1) != FC_OK, "max backward");
            expect_true(fc_avg_pool2d_forward(&d, NULL, NULL, 1) != FC_OK, "avg");
            expect_true(fc_avg_pool2d_backward(&d, NULL, NULL, 1) != FC_OK, "avg backward");
        }
    static const int64_t COUNTS[] = {-1, INT64_MIN, INT64_MAX, INT64_C(1) << 62};
    for (int v = 0; v < 4; v++) {
        fc_pool2d_desc d = good;
        d.n = COUNTS[v];
        expect_true(fc_max_pool2d_forward(&d, NULL, NULL, NULL, 1) != FC_OK, "n");
        fc_dtype t = s->dtype;
        expect_true(fc_global_avg_pool2d_forward(t, COUNTS[v], 4, NULL, NULL, 1) != FC_OK,
                    "planes");
        expect_true(fc_global_avg_pool2d_backward(t, 4, COUNTS[v], NULL, NULL, 1) != FC_OK, "size");
    }
    fc_pool2d_desc d = good;
    d.dtype = (fc_dtype)9;
    expect_status(fc_max_pool2d_forward(&d, NULL, NULL, NULL, 1), FC_ERROR_UNSUPPORTED, "dtype");
    d = good;
    d.dilation_h = 2;
    expect_true(fc_avg_pool2d_forward(&d, NULL, NULL, 1) != FC_OK, "avg, dilated");
    end();
}

void check_pool2d(const setting *s) {
    for (int i = 0; i < N_SHAPES + N_RANDOM; i++) {
        shape p = SHAPES[i % N_SHAPES];
        if (i >= N_SHAPES) {
            begin(s, "pool2d, random shape %d", i);
            p = random_shape();
            end();
        }
        max_pool(s, &p, 0);
        max_pool(s, &p, 1);
        if (p.dil_h > 1 || p.dil_w > 1) continue;
        avg_pool(s, &p, 0);
        avg_pool(s, &p, 1);
    }
    static const int64_t PLANES[][2] = {{0, 4}, {1, 1}, {3, 7}, {2, 49}, {65, 16}, {5, 1000}};
    for (size_t i = 0; i < sizeof PLANES / sizeof PLANES[0]; i++)
        global_avg_pool(s, PLANES[i][0], PLANES[i][1]);
    bad_descriptors(s);
}
