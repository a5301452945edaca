/* check_affine.c - images through affine maps. */
#include "harness.h"

#include <math.h>
#include <string.h>

static double pixel(const void *x, const fc_affine_desc *d, int64_t plane, int64_t row,
                    int64_t column) {
    int inside = row >= 0 && row < d->h && column >= 0 && column < d->w;
    return inside ? at(x, (plane * d->h + row) * d->w + column) : d->fill;
}

/* Maps with halves and quarters: exact in float, places and sums alike. */
static void affine(const setting *s, int64_t n, int64_t c, int64_t h, int64_t w, int64_t oh,
                   int64_t ow, int64_t reach) {
    begin(s, "affine %lld x %lld x %lld x %lld to %lld x %lld, reach %lld", (long long)n,
          (long long)c, (long long)h, (long long)w, (long long)oh, (long long)ow,
          (long long)reach);
    fc_affine_desc d = {s->dtype, n, c, h, w, oh, ow, 3.0};
    void *x = input(n * c * h * w);
    double *m = zeros(6 * n), *y = zeros(n * c * oh * ow);
    for (int64_t i = 0; i < 6 * n; i++)
        m[i] = (double)random_int(-reach, reach) / 4 * (i % 3 == 2 ? (double)(h + w) : 1);
    for (int64_t k = 1; k < n; k += 2) { /* every other one is a shift by whole pixels */
        double across = (double)random_int(-w - 2, w + 2), down = (double)random_int(-h - 2, h + 2);
        double shift[6] = {1, 0, across, 0, 1, down};
        memcpy(m + 6 * k, shift, sizeof shift);
    }
    for (int64_t k = 0; k < n; k++)
        for (int64_t p = 0; p < c; p++)
            for (int64_t i = 0; i < oh; i++)
                for (int64_t j = 0; j < ow; j++) {
                    const double *a = m + 6 * k;
                    double across = a[0] * (double)j + a[1] * (double)i + a[2];
                    double down = a[3] * (double)j + a[4] * (double)i + a[5];
                    int64_t column = (int64_t)floor(across), row = (int64_t)floor(down);
                    double u = across - (double)column, v = down - (double)row;
                    double sum = 0;
                    for (int e = 0; e < 4; e++)
                        sum += (e % 2 ? u : 1 - u) * (e / 2 ? v : 1 - v) *
                               pixel(x, &d, k * c + p, row + e / 2, column + e % 2);
                    y[((k * c + p) * oh + i) * ow + j] = sum;
                }
    void *out = output(n * c * oh * ow);
    int64_t bytes = -1;
    expect_status(fc_affine_workspace_bytes(&d, s->threads, &bytes), FC_OK, "workspace");
    expect_status(fc_affine(&d, x, m, out, workspace(bytes), s->threads), FC_OK, "affine");
    expect_equal(out, y, n * c * oh * ow, "y");
    end();
}

/* No place, however far or however little a number, leads outside. */
static void wild(const setting *s) {
    begin(s, "affine, wild maps");
    const double WILD[] = {1e300, -1e300, 1e30, -1e9, NAN, INFINITY, -INFINITY, 1e-300};
    enum { MAPS = sizeof WILD / sizeof WILD[0] };
    fc_affine_desc d = {s->dtype, MAPS, 1, 5, 7, 4, 19, 0.0};
    void *x = input(MAPS * 35);
    double m[6 * MAPS];
    for (int i = 0; i < 6 * MAPS; i++) m[i] = WILD[(i / 6 + i % 6) % MAPS];
    int64_t bytes = 0;
    expect_status(fc_affine_workspace_bytes(&d, s->threads, &bytes), FC_OK, "workspace");
    void *out = output(MAPS * 76);
    expect_status(fc_affine(&d, x, m, out, workspace(bytes), s->threads), FC_OK, "affine");
    int numbers = 1;
    for (int64_t i = 0; i < MAPS * 76; i++) numbers &= fabs(at(out, i)) <= 4;
    expect_true(numbers, "a mean of pixels and border each");
    end();
}

static void bad_descriptors(const setting *s) {
    begin(s, "affine, bad descriptors");
    const struct {
        fc_affine_desc d;
        fc_status status;
    } BAD[] = {
        {{s->dtype, -1, 2, 3, 3, 3, 3, 0}, FC_ERROR_SHAPE},
        {{s->dtype, 1, -2, 3, 3, 3, 3, 0}, FC_ERROR_SHAPE},
        {{s->dtype, 1, 2, 0, 3, 3, 3, 0}, FC_ERROR_SHAPE},
        {{s->dtype, 1, 2, 3, 0, 3, 3, 0}, FC_ERROR_SHAPE},
        {{s->dtype, 1, 2, 3, 3, -3, 3, 0}, FC_ERROR_SHAPE},
        {{s->dtype, 1, 2, 3, 3, 3, -3, 0}, FC_ERROR_SHAPE},
        {{(fc_dtype)7, 1, 2, 3, 3, 3, 3, 0}, FC_ERROR_UNSUPPORTED},
        {{s->dtype, 1, 1, 4096, 4096, 3, 3, 0}, FC_ERROR_OVERFLOW},
        {{s->dtype, 1, 1, INT64_MAX, 1, 3, 3, 0}, FC_ERROR_OVERFLOW},
        {{s->dtype, 1, 1, 3, 3, INT64_C(1) << 40, INT64_C(1) << 40, 0}, FC_ERROR_OVERFLOW},
        {{s->dtype, INT64_C(1) << 40, INT64_C(1) << 40, 3, 3, 3, 3, 0}, FC_ERROR_OVERFLOW},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        int64_t bytes;
        expect_status(fc_affine_workspace_bytes(&BAD[i].d, 1, &bytes), BAD[i].status, "workspace");
        expect_status(fc_affine(&BAD[i].d, NULL, NULL, NULL, NULL, 1), BAD[i].status, "affine");
    }
    end();
}

void check_affine(const setting *s) {
    static const int64_t SHAPES[][6] = {
        {1, 1, 1, 1, 1, 1},  {0, 2, 3, 3, 3, 3},   {2, 0, 3, 3, 3, 3},   {2, 2, 3, 4, 0, 4},
        {2, 2, 3, 4, 4, 0},  {3, 2, 5, 7, 6, 8},   {2, 1, 1, 9, 3, 15},  {1, 3, 28, 28, 28, 28},
        {2, 2, 9, 1, 5, 17}, {1, 1, 17, 33, 2, 65}, {5, 1, 12, 11, 7, 16},
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        for (int64_t reach = 0; reach < 6; reach++) {
            const int64_t *e = SHAPES[i];
            affine(s, e[0], e[1], e[2], e[3], e[4], e[5], reach);
        }
    wild(s);
    bad_descriptors(s);
}
