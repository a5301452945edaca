/* check_linear.c - fully connected layers and the matrix product under them. */
#include "harness.h"

static void *scratch(const setting *s, int64_t m, int64_t n, int64_t k) {
    return workspace(fc_linear_workspace_bytes(s->dtype, m, n, k, s->threads));
}

static void linear(const setting *s, int64_t n, int64_t i, int64_t o) {
    begin(s, "linear %lld x %lld -> %lld", (long long)n, (long long)i, (long long)o);
    fc_linear_desc d = {n, i, o};
    void *x = input(n * i), *w = input(o * i), *b = input(o), *dy = input(n * o);
    void *y = output(n * o), *y2 = output(n * o), *dx = output(n * i), *dw = output(o * i);
    void *db = output(o), *work = scratch(s, n, i, o);
    double *plain = zeros(n * o), *biased = zeros(n * o), *dx_expected = zeros(n * i);
    double *dw_expected = zeros(o * i), *db_expected = zeros(o);
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < o; c++) {
            double g = at(dy, r * o + c);
            db_expected[c] += g;
            for (int64_t k = 0; k < i; k++) {
                plain[r * o + c] += at(x, r * i + k) * at(w, c * i + k);
                dx_expected[r * i + k] += g * at(w, c * i + k);
                dw_expected[c * i + k] += g * at(x, r * i + k);
            }
            biased[r * o + c] = plain[r * o + c] + at(b, c);
        }
    int t = s->threads;
    expect_status(fc_linear_forward(&d, s->dtype, x, w, b, y, work, t), FC_OK, "forward");
    expect_equal(y, biased, n * o, "y");
    expect_status(fc_linear_forward(&d, s->dtype, x, w, NULL, y2, work, t), FC_OK, "no bias");
    expect_equal(y2, plain, n * o, "y without bias");
    expect_status(fc_linear_backward_input(&d, s->dtype, dy, w, dx, work, t), FC_OK, "input");
    expect_equal(dx, dx_expected, n * i, "dx");
    expect_status(fc_linear_backward_weight(&d, s->dtype, dy, x, dw, db, work, t), FC_OK, "weight");
    expect_equal(dw, dw_expected, o * i, "dw");
    expect_equal(db, db_expected, o, "db");
    end();
}

/* C = A B and C += A B; each matrix stored by rows or transposed. */
static void gemm(const setting *s, int64_t m, int64_t n, int64_t k, int layout) {
    int a_transposed = layout & 1, b_transposed = layout >> 1 & 1, accumulate = layout >> 2 & 1;
    begin(s, "gemm %lld x %lld x %lld, layout %d", (long long)m, (long long)n, (long long)k,
          layout);
    fc_gemm_desc d = {.m = m, .n = n, .k = k,
                      .a_row = a_transposed ? 1 : k, .a_col = a_transposed ? m : 1,
                      .b_row = b_transposed ? 1 : n, .b_col = b_transposed ? k : 1,
                      .accumulate = accumulate};
    void *a = input(m * k), *b = input(k * n), *c = output(m * n);
    double *expected = zeros(m * n);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t l = 0; l < k; l++)
                expected[i * n + j] +=
                    at(a, i * d.a_row + l * d.a_col) * at(b, l * d.b_row + j * d.b_col);
    void *work = scratch(s, m, n, k);
    if (accumulate) { /* onto the product itself: twice the product */
        d.accumulate = 0;
        expect_status(fc_gemm(&d, s->dtype, a, b, c, work, s->threads), FC_OK, "first");
        d.accumulate = 1;
        for (int64_t i = 0; i < m * n; i++) expected[i] *= 2;
    }
    expect_status(fc_gemm(&d, s->dtype, a, b, c, work, s->threads), FC_OK, "gemm");
    expect_equal(c, expected, m * n, "C");
    end();
}

static void bad_descriptors(const setting *s) {
    begin(s, "linear, bad descriptors");
    static const int64_t VALUES[] = {-1, INT64_MIN, INT64_MAX, INT64_C(1) << 62};
    for (int v = 0; v < 4; v++)
        for (int field = 0; field < 3; field++) {
            fc_linear_desc d = {3, 4, 5};
            (field == 0 ? &d.n : field == 1 ? &d.i : &d.o)[0] = VALUES[v];
            fc_dtype t = s->dtype;
            expect_true(fc_linear_forward(&d, t, NULL, NULL, NULL, NULL, NULL, 1) != FC_OK, "y");
            expect_true(fc_linear_backward_input(&d, t, NULL, NULL, NULL, NULL, 1) != FC_OK, "dx");
            expect_true(fc_linear_backward_weight(&d, t, NULL, NULL, NULL, NULL, NULL, 1) != FC_OK,
                        "dw");
            fc_gemm_desc g = {
                .m = 3, .n = 4, .k = 5, .a_row = 5, .a_col = 1, .b_row = 4, .b_col = 1};
            (field == 0 ? &g.m : field == 1 ? &g.n : &g.k)[0] = VALUES[v];
            expect_true(fc_gemm(&g, t, NULL, NULL, NULL, NULL, 1) != FC_OK, "gemm");
        }
    fc_linear_desc d = {1, 1, 1};
    expect_status(fc_linear_forward(&d, (fc_dtype)9, NULL, NULL, NULL, NULL, NULL, 1),
                  FC_ERROR_UNSUPPORTED, "dtype");
    end();
}

void check_linear(const setting *s) {
    static const int64_t SHAPES[][3] = {
        {0, 3, 4}, {1, 1, 1},   {2, 5, 3},    {3, 400, 120}, {7, 84, 10}, {16, 16, 16}, {17, 33, 31},
        {1, 1, 70}, {70, 1, 1}, {5, 300, 9},  {33, 17, 50},  {4, 0, 3},   {3, 4, 0},    {9, 515, 26},
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++) {
        linear(s, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2]);
        for (int layout = 0; layout < 8; layout++)
            gemm(s, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], layout);
    }
    bad_descriptors(s);
}
