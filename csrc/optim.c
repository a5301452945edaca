/* optim.c - entry points of the optim family: validate, pick the tier's table, call. */
#include "dispatch.h"
