/* pool2d.c - entry points of the pool2d family: validate, pick the tier's table, call. */
#include "dispatch.h"
