/* main.c - runs every family's checks for every tier, dtype and thread count.
 *
 *   csrc_tests            arrays between protected pages, at the end of theirs with one thread, at
 *                         the start with three, both with two; --float32 or --float64: one dtype
 *   csrc_tests --malloc   arrays from malloc, for ASan and valgrind
 *   csrc_tests --brief    two threads and one placement only, float64 on the best tier only; for
 *                         sanitizers and emulators; also after --malloc
 *   csrc_tests --briefest and the best tier and float32 only
 *   csrc_tests --self     makes each kind of mistake on purpose: all of them must be caught
 */
#include "harness.h"
#include "harness_main.h"

#include <stdio.h>
#include <string.h>

void check_affine(const setting *s);
void check_batch_norm(const setting *s);
void check_conv2d(const setting *s);
void check_linear(const setting *s);
void check_lrn(const setting *s);
void check_optim(const setting *s);
void check_plan(const setting *s);
void check_pointwise(const setting *s);
void check_pool2d(const setting *s);
void check_isa(void);
void check_threads(void);
int check_harness(void);

static const struct {
    const char *name;
    void (*run)(const setting *s);
} FAMILIES[] = {
    {"affine", check_affine},
    {"batch_norm", check_batch_norm},
    {"conv2d", check_conv2d},
    {"linear", check_linear},
    {"lrn", check_lrn},
    {"optim", check_optim},
    {"plan", check_plan},
    {"pointwise", check_pointwise},
    {"pool2d", check_pool2d},
};

int main(int argc, char **argv) {
    int from_malloc = argc > 1 && strcmp(argv[1], "--malloc") == 0;
    int briefest = argc > 1 && strcmp(argv[argc - 1], "--briefest") == 0;
    int brief = briefest || (argc > 1 && strcmp(argv[argc - 1], "--brief") == 0);
    int only32 = briefest || (argc > 1 && strcmp(argv[1], "--float32") == 0);
    int only64 = argc > 1 && strcmp(argv[1], "--float64") == 0;
    int first = brief ? 2 : 1, last = brief ? 2 : 3; /* threads */
    int placements = from_malloc || brief ? 1 : PLACEMENTS;
    harness_start(from_malloc);
    if (argc > 1 && strcmp(argv[1], "--self") == 0) return check_harness();
    check_isa();
    check_threads();
    int best = fc_isa_active();
    for (int tier = briefest ? best : 0; tier < fc_isa_count(); tier++) {
        if (!fc_isa_available(tier)) continue;
        fc_isa_select(tier);
        for (size_t f = 0; f < sizeof FAMILIES / sizeof FAMILIES[0]; f++) {
            long cases = harness_cases(), failures = harness_failures();
            int most = only32 || (brief && tier != best) ? FC_FLOAT32 : FC_FLOAT64;
            for (int dtype = only64 ? FC_FLOAT64 : FC_FLOAT32; dtype <= most; dtype++)
                for (int threads = first; threads <= last; threads++)
                    for (int where = 0; where < placements; where++) {
                        if (placements > 1 && threads == (where == AT_END ? 3 : 1)) continue;
                        setting s = {(fc_dtype)dtype, threads, (placement)where};
                        FAMILIES[f].run(&s);
                    }
            printf("%-8s %-10s %6ld cases, %ld failed checks\n", fc_isa_name(tier),
                   FAMILIES[f].name, harness_cases() - cases, harness_failures() - failures);
            fflush(stdout);
        }
    }
    printf("%ld cases, %ld checks, %ld failed\n", harness_cases(), harness_checks(),
           harness_failures());
    fc_threads_pause(); /* valgrind would ask what became of them */
    return harness_failures() != 0;
}
