/* harness_main.h - the part of the harness that only main.c uses. */
#ifndef HARNESS_MAIN_H
#define HARNESS_MAIN_H

void harness_start(int from_malloc);
long harness_cases(void);
long harness_checks(void);
long harness_failures(void);

#endif
