/* linear.c - entry points of the linear family: validate, pick the tier's table, call. */
#include "dispatch.h"
