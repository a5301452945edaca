/* check_lrn.c - local response normalisation, forward and backward. */
#include "harness.h"

#include <math.h>

static double tolerance(const setting *s) { return s->dtype == FC_FLOAT32 ? 5e-6 : 1e-14; }

static int64_t first(int64_t c, int64_t window) { return c < window / 2 ? 0 : c - window / 2; }
static int64_t last(int64_t c, int64_t window, int64_t channels) {
    int64_t above = (window - 1) / 2;
    return above > channels - 1 - c ? channels - 1 : c + above;
}

static void lrn(const setting *s, int64_t n, int64_t c, int64_t size, int64_t window,
                double beta) {
    begin(s, "lrn %lld x %lld x %lld window=%lld beta=%g", (long long)n, (long long)c,
          (long long)size, (long long)window, beta);
    int64_t total = n * c * size;
    fc_lrn_desc d = {s->dtype, n, c, size, window, 0.5, beta, 2.0};
    double scale = d.alpha / (double)window;
    void *x = input(total), *dy = input(total);
    double *strength = zeros(total), *y = zeros(total), *dx = zeros(total);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < c; k++)
            for (int64_t p = 0; p < size; p++) {
                int64_t e = (i * c + k) * size + p;
                double sum = 0;
                for (int64_t j = first(k, window); j <= last(k, window, c); j++) {
                    double v = at(x, (i * c + j) * size + p);
                    sum += v * v;
                }
                strength[e] = d.k + scale * sum;
                y[e] = at(x, e) * pow(strength[e], -beta);
                dx[e] += at(dy, e) * pow(strength[e], -beta);
                double r = at(dy, e) * at(x, e) * pow(strength[e], -beta - 1);
                for (int64_t j = first(k, window); j <= last(k, window, c); j++) {
                    int64_t other = (i * c + j) * size + p;
                    dx[other] -= 2 * beta * scale * at(x, other) * r;
                }
            }
    void *out = output(total), *dx_out = output(total);
    expect_status(fc_lrn_forward(&d, x, out, s->threads), FC_OK, "forward");
    expect_close(out, y, total, tolerance(s), "y");
    int64_t bytes = -1;
    expect_status(fc_lrn_backward_workspace_bytes(&d, s->threads, &bytes), FC_OK, "workspace");
    expect_status(fc_lrn_backward(&d, dy, x, dx_out, workspace(bytes), s->threads), FC_OK,
                  "backward");
    expect_near(dx_out, dx, total, tolerance(s), "dx");
    end();
}

static void bad_descriptors(const setting *s) {
    begin(s, "lrn, bad descriptors");
    const struct {
        fc_lrn_desc d;
        fc_status status;
    } BAD[] = {
        {{s->dtype, -1, 2, 3, 5, 1, 1, 1}, FC_ERROR_SHAPE},
        {{s->dtype, 1, -2, 3, 5, 1, 1, 1}, FC_ERROR_SHAPE},
        {{s->dtype, 1, 2, -3, 5, 1, 1, 1}, FC_ERROR_SHAPE},
        {{s->dtype, 1, 2, 3, 0, 1, 1, 1}, FC_ERROR_SHAPE},
        {{(fc_dtype)7, 1, 2, 3, 5, 1, 1, 1}, FC_ERROR_UNSUPPORTED},
        {{s->dtype, INT64_C(1) << 31, INT64_C(1) << 31, 4, 5, 1, 1, 1}, FC_ERROR_OVERFLOW},
        {{s->dtype, 0, INT64_MAX, 1, 5, 1, 1, 1}, FC_ERROR_OVERFLOW},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        const fc_lrn_desc *d = &BAD[i].d;
        int64_t bytes;
        expect_status(fc_lrn_forward(d, NULL, NULL, 1), BAD[i].status, "forward");
        expect_status(fc_lrn_backward_workspace_bytes(d, 1, &bytes), BAD[i].status, "workspace");
        expect_status(fc_lrn_backward(d, NULL, NULL, NULL, NULL, 1), BAD[i].status, "backward");
    }
    end();
}

void check_lrn(const setting *s) {
    static const int64_t SHAPES[][3] = {
        {1, 1, 1}, {0, 3, 4},  {2, 3, 0},  {2, 0, 3},   {3, 7, 1},   {2, 9, 2},
        {2, 6, 7}, {1, 12, 8}, {2, 5, 49}, {1, 3, 513}, {2, 7, 515},
    };
    static const int64_t WINDOWS[] = {1, 2, 3, 5, 9, 1000};
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        for (size_t j = 0; j < sizeof WINDOWS / sizeof WINDOWS[0]; j++) {
            lrn(s, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], WINDOWS[j], 0.75);
            if (j == 2 || j == 3) lrn(s, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], WINDOWS[j], 1.5);
        }
    bad_descriptors(s);
}
