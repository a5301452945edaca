/* check_isa.c - the table of tiers and its selection. */
#include "harness.h"

#include <string.h>

void check_isa(void) {
    setting s = {FC_FLOAT32, 1, AT_END};
    begin(&s, "isa");
    expect_true(strcmp(fc_isa_name(0), "scalar") == 0 && fc_isa_available(0), "scalar is there");
    expect_true(fc_isa_name(-1) == NULL && fc_isa_name(fc_isa_count()) == NULL, "names end");
    expect_status(fc_isa_select(-1), FC_ERROR_UNSUPPORTED, "select -1");
    expect_status(fc_isa_select(fc_isa_count()), FC_ERROR_UNSUPPORTED, "select past the last");
    for (int i = 0; i < fc_isa_count(); i++) {
        fc_status expected = fc_isa_available(i) ? FC_OK : FC_ERROR_UNSUPPORTED;
        expect_status(fc_isa_select(i), expected, fc_isa_name(i));
        expect_true((fc_isa_active() == i) == (expected == FC_OK), "active after select");
        for (fc_dtype dtype = FC_FLOAT32; dtype <= FC_FLOAT64; dtype++) {
            double none = 0, many = 0; /* the first values are 0, 1, ... */
            expect_status(fc_isa_multiply_adds(dtype, 0, 1, &none), FC_OK, "no multiply-adds");
            expect_status(fc_isa_multiply_adds(dtype, 1 << 20, 2, &many), FC_OK, "multiply-adds");
            expect_true(none > 5 && many == 1, "values after multiply-adds");
        }
    }
    double mean;
    expect_status(fc_isa_multiply_adds(FC_FLOAT32, -1, 1, &mean), FC_ERROR_SHAPE, "-1 of them");
    expect_status(fc_isa_multiply_adds(FC_FLOAT32, 1, 0, &mean), FC_ERROR_SHAPE, "no threads");
    expect_status(fc_isa_multiply_adds(2, 1, 1, &mean), FC_ERROR_UNSUPPORTED, "no such dtype");
    expect_true(strcmp(fc_threading(), "pool") == 0 || strcmp(fc_threading(), "openmp") == 0 ||
                    strcmp(fc_threading(), "none") == 0,
                "fc_threading");
    end();
}
