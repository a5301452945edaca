/* conv2d.c - entry points of the conv2d family: validate, pick the tier's table, call. */
#include "dispatch.h"
