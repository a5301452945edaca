# _kernels.pyx - the binding floor: one thin Python function per C entry point (`sgd_update` calls its
# own for each parameter of a net).
#
# The ops floor has checked and allocated everything before it calls here: arrays are
# C-contiguous, aligned, of one float dtype and of the sizes that the call says. Nothing is computed
# here; each function releases the GIL, calls C and turns the status into an exception. Scratch comes
# with the call (`workspace`, aligned to 64, of at least as many bytes as the function beside it
# says), or, for None, from the buffer pool.

from libc.stdint cimport int32_t, int64_t, uint64_t

cimport numpy as cnp

cnp.import_array()

include "common.pxi"
include "buffers.pxi"
include "affine.pxi"
include "batch_norm.pxi"
include "conv2d.pxi"
include "pool2d.pxi"
include "linear.pxi"
include "lrn.pxi"
include "pointwise.pxi"
include "optim.pxi"
include "plan.pxi"
