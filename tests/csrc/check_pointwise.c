/* check_pointwise.c - activations, softmax and losses. */
#include "harness.h"

#include <math.h>

static const int64_t SIZES[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 16384, 50001};

static void relu(const setting *s, int64_t n) {
    begin(s, "relu n=%lld", (long long)n);
    double *values = zeros(n), *expected = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        values[i] = random_int(0, 9) == 0 ? NAN : (double)random_int(-4, 4);
        expected[i] = values[i] < 0 ? 0 : values[i];
    }
    void *y = output(n);
    expect_status(fc_activation_forward(FC_RELU, s->dtype, n, 0, copy_of(values, n), y, s->threads),
                  FC_OK, "status");
    expect_equal(y, expected, n, "y");
    end();
}

void check_pointwise(const setting *s) {
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) relu(s, SIZES[i]);

    begin(s, "relu bad descriptors");
    expect_status(fc_activation_forward(FC_RELU, s->dtype, -1, 0, NULL, NULL, 1), FC_ERROR_SHAPE,
                  "n = -1");
    expect_status(fc_activation_forward(FC_RELU, (fc_dtype)7, 1, 0, NULL, NULL, 1),
                  FC_ERROR_UNSUPPORTED, "dtype 7");
    expect_status(fc_activation_forward(FC_ACTIVATIONS, s->dtype, 1, 0, NULL, NULL, 1),
                  FC_ERROR_UNSUPPORTED, "no such activation");
    end();
}
