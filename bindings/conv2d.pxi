# conv2d.pxi - the conv2d family: fastcnn.h's entry points as Python functions.

cdef extern from "fastcnn.h" nogil:
    ctypedef enum fc_pad_mode:
        FC_PAD_ZEROS
        FC_PAD_REPLICATE
    ctypedef enum fc_conv_algorithm:
        FC_CONV_AUTO
        FC_CONV_DIRECT
        FC_CONV_WINOGRAD
    ctypedef struct fc_conv2d_desc:
        fc_dtype dtype
        fc_pad_mode pad_mode
        fc_conv_algorithm algorithm
        int64_t n, c, h, w, k, kh, kw, oh, ow
        int64_t stride_h, stride_w
        int64_t pad_top, pad_bottom, pad_left, pad_right
        int64_t dilation_h, dilation_w
        int64_t groups
    fc_status fc_conv2d_forward_workspace_bytes(const fc_conv2d_desc *d, int n_threads, size_t *bytes)
    ctypedef struct fc_conv2d_inference:
        int relu
        const void *residual
        const void *prepared
    fc_status fc_conv2d_prepared_bytes(const fc_conv2d_desc *d, size_t *bytes)
    fc_status fc_conv2d_prepare(const fc_conv2d_desc *d, const void *w, void *prepared, int n_threads)
    fc_status fc_conv2d_prepared_workspace_bytes(const fc_conv2d_desc *d, int n_threads,
                                                 size_t *bytes)
    fc_status fc_conv2d_infer(const fc_conv2d_desc *d, const fc_conv2d_inference *how, const void *x,
                              const void *w, const void *b, void *y, void *workspace, int n_threads)
    fc_status fc_conv2d_backward_input_workspace_bytes(const fc_conv2d_desc *d, int n_threads,
                                                       size_t *bytes)
    fc_status fc_conv2d_backward_input(const fc_conv2d_desc *d, const void *dy, const void *w,
                                       const void *b, void *dx, void *workspace, int n_threads)
    fc_status fc_conv2d_backward_weight_workspace_bytes(const fc_conv2d_desc *d, int n_threads,
                                                        size_t *bytes)
    fc_status fc_conv2d_backward_weight(const fc_conv2d_desc *d, const void *dy, const void *x,
                                        void *dw, void *db, void *workspace, int n_threads)
    fc_status fc_im2col(const fc_conv2d_desc *d, const void *x, void *cols, int n_threads)
    fc_status fc_col2im(const fc_conv2d_desc *d, const void *cols, void *x, int n_threads)


cdef class Conv2dDesc:
    """fc_conv2d_desc, filled from the checked sizes of the ops floor."""

    cdef fc_conv2d_desc d

    def __init__(self, cnp.ndarray like, x_shape, w_shape, stride, padding, dilation, out, int groups,
                 bint replicate, int algorithm):
        self.d.dtype = dtype_of(like)
        self.d.pad_mode = FC_PAD_REPLICATE if replicate else FC_PAD_ZEROS
        self.d.algorithm = <fc_conv_algorithm>algorithm
        self.d.n, self.d.c, self.d.h, self.d.w = x_shape
        self.d.k, _, self.d.kh, self.d.kw = w_shape
        self.d.stride_h, self.d.stride_w = stride
        self.d.pad_top, self.d.pad_bottom, self.d.pad_left, self.d.pad_right = padding
        self.d.dilation_h, self.d.dilation_w = dilation
        self.d.oh, self.d.ow = out
        self.d.groups = groups


def conv2d_workspace_bytes(Conv2dDesc desc, str which, int n_threads):
    """Bytes of scratch that a pass needs; `which` is forward, prepared (forward with prepared weights),
    backward_input or backward_weight."""
    cdef size_t n = 0
    if which == "forward":
        check(fc_conv2d_forward_workspace_bytes(&desc.d, n_threads, &n))
    elif which == "prepared":
        check(fc_conv2d_prepared_workspace_bytes(&desc.d, n_threads, &n))
    elif which == "backward_input":
        check(fc_conv2d_backward_input_workspace_bytes(&desc.d, n_threads, &n))
    else:
        check(fc_conv2d_backward_weight_workspace_bytes(&desc.d, n_threads, &n))
    return n


def conv2d_forward(Conv2dDesc desc, cnp.ndarray x, cnp.ndarray w, cnp.ndarray b, cnp.ndarray y,
                   cnp.ndarray workspace, int n_threads, cnp.ndarray residual=None,
                   bint relu=False, cnp.ndarray prepared=None):
    """y = w * x + b [+ residual], then ReLU if wanted; the residual may be y itself. With prepared
    weights, w may be None."""
    cdef fc_conv2d_inference how = fc_conv2d_inference(relu, data(residual), data(prepared))
    cdef void *xp = data(x)
    cdef void *wp = data(w)
    cdef void *bp = data(b)
    cdef void *yp = data(y)
    cdef size_t nbytes = 0
    if workspace is None and prepared is None:
        check(fc_conv2d_forward_workspace_bytes(&desc.d, n_threads, &nbytes))
    elif workspace is None:
        check(fc_conv2d_prepared_workspace_bytes(&desc.d, n_threads, &nbytes))
    cdef _Block block = scratch_block(workspace, nbytes)
    cdef void *sp = scratch_data(workspace, block)
    cdef fc_status status
    with nogil:
        status = fc_conv2d_infer(&desc.d, &how, xp, wp, bp, yp, sp, n_threads)
    check(status)


def conv2d_prepared_bytes(Conv2dDesc desc):
    """What prepared weights take, whatever n; 0 if there is nothing to prepare: give w then."""
    cdef size_t n = 0
    check(fc_conv2d_prepared_bytes(&desc.d, &n))
    return n


def conv2d_prepare(Conv2dDesc desc, cnp.ndarray w, cnp.ndarray prepared, int n_threads):
    """Weights for many forward passes, into `prepared`, which is aligned to 64 bytes."""
    cdef void *wp = data(w)
    cdef void *pp = data(prepared)
    cdef fc_status status
    with nogil:
        status = fc_conv2d_prepare(&desc.d, wp, pp, n_threads)
    check(status)


def conv2d_backward_input(Conv2dDesc desc, cnp.ndarray dy, cnp.ndarray w, cnp.ndarray dx,
                          cnp.ndarray workspace, int n_threads, cnp.ndarray b=None):
    """dx of dy and w; of a transposed convolution these are x and y, and b is its bias."""
    cdef void *dyp = data(dy)
    cdef void *wp = data(w)
    cdef void *bp = data(b)
    cdef void *dxp = data(dx)
    cdef size_t nbytes = 0
    if workspace is None:
        check(fc_conv2d_backward_input_workspace_bytes(&desc.d, n_threads, &nbytes))
    cdef _Block block = scratch_block(workspace, nbytes)
    cdef void *sp = scratch_data(workspace, block)
    cdef fc_status status
    with nogil:
        status = fc_conv2d_backward_input(&desc.d, dyp, wp, bp, dxp, sp, n_threads)
    check(status)


def conv2d_backward_weight(Conv2dDesc desc, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dw,
                           cnp.ndarray db, cnp.ndarray workspace, int n_threads):
    cdef void *dyp = data(dy)
    cdef void *xp = data(x)
    cdef void *dwp = data(dw)
    cdef void *dbp = data(db)
    cdef size_t nbytes = 0
    if workspace is None:
        check(fc_conv2d_backward_weight_workspace_bytes(&desc.d, n_threads, &nbytes))
    cdef _Block block = scratch_block(workspace, nbytes)
    cdef void *sp = scratch_data(workspace, block)
    cdef fc_status status
    with nogil:
        status = fc_conv2d_backward_weight(&desc.d, dyp, xp, dwp, dbp, sp, n_threads)
    check(status)


def im2col(Conv2dDesc desc, cnp.ndarray x, cnp.ndarray cols, int n_threads):
    cdef void *xp = data(x)
    cdef void *cp = data(cols)
    cdef fc_status status
    with nogil:
        status = fc_im2col(&desc.d, xp, cp, n_threads)
    check(status)


def col2im(Conv2dDesc desc, cnp.ndarray cols, cnp.ndarray x, int n_threads):
    cdef void *cp = data(cols)
    cdef void *xp = data(x)
    cdef fc_status status
    with nogil:
        status = fc_col2im(&desc.d, cp, xp, n_threads)
    check(status)
