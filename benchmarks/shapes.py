"""The named layers of real nets that fastcnn is measured on; pure data, shared with the tests.

Every layer has a short `key` (the row in tables, the word for `--layers`) and the `name` of the net
and layer it comes from (the id in test names, as in ``vgg16.conv3_2-backward_weight-avx2-t1``).

N images, C input channels, H W input size, K output channels, KH KW kernel size, OH OW output size.
"""

from typing import NamedTuple

CONV_PASSES = ("forward", "backward_input", "backward_weight")
CONV_TRANSPOSE_PASSES = ("forward", "backward_input", "backward_weight")
POOL_PASSES = ("forward", "backward")
LINEAR_PASSES = ("forward", "backward_input", "backward_weight")
COLUMN_PASSES = ("im2col", "col2im")
TRAINING_PASSES = ("train", "train_plan")
LRN_PASSES = ("forward", "backward")
BATCH_NORM_PASSES = ("inference", "forward", "backward")


def _out(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


class Conv(NamedTuple):
    """A convolution layer at a batch size."""

    key: str
    name: str
    N: int
    C: int
    H: int
    W: int
    K: int
    KH: int
    KW: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    groups: int = 1
    padding_mode: str = "zeros"

    @property
    def OH(self) -> int:
        return _out(self.H, self.KH, self.stride, self.padding[0], self.dilation)

    @property
    def OW(self) -> int:
        return _out(self.W, self.KW, self.stride, self.padding[1], self.dilation)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.C, self.H, self.W

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        return self.K, self.C // self.groups, self.KH, self.KW

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.K, self.OH, self.OW

    @property
    def flops(self) -> int:
        """Of the direct formulation, the same for each pass; padding counts as work."""
        return 2 * self.N * self.K * self.OH * self.OW * (self.C // self.groups) * self.KH * self.KW

    @property
    def options(self) -> dict[str, int | str | tuple[int, int]]:
        """The keyword arguments that `ops.conv2d` and its backward passes share."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.padding_mode,
        }

    @property
    def padded(self) -> "Conv":
        """The convolution of images that have their borders already."""
        (h, w), none = self.padding, (0, 0)
        return self._replace(H=self.H + 2 * h, W=self.W + 2 * w, padding=none, padding_mode="zeros")

    def __str__(self) -> str:
        text = f"{self.N},{self.C},{self.H},{self.W} -> {self.K} {self.KH}x{self.KW}"
        text += f" s{self.stride}" if self.stride != 1 else ""
        if self.padding != (0, 0):
            h, w = self.padding
            text += f" p{h}" if h == w else f" p{h},{w}"
        text += f" {self.padding_mode}" if self.padding_mode != "zeros" else ""
        text += f" d{self.dilation}" if self.dilation != 1 else ""
        return text + (f" g{self.groups}" if self.groups != 1 else "")


def _conv(
    key: str, name: str, x: tuple[int, int, int, int], K: int, kernel: int | tuple[int, int],
    stride: int = 1, padding: int | tuple[int, int] = 0, dilation: int = 1, groups: int = 1,
) -> Conv:  # fmt: skip
    """A Conv from square shorthands."""
    KH, KW = (kernel, kernel) if isinstance(kernel, int) else kernel
    pad = (padding, padding) if isinstance(padding, int) else padding
    return Conv(key, name, *x, K, KH, KW, stride, pad, dilation, groups)


# fmt: off
# The 24 layers whose ratios make the geometric means.
CONV_LAYERS = (
    _conv("lenet1", "lenet5.conv1", (64, 1, 28, 28), 6, 5, 1, 2),
    _conv("lenet2", "lenet5.conv2", (64, 6, 14, 14), 16, 5),
    _conv("seed_conv30", "simple_convnet.conv1", (100, 1, 28, 28), 30, 5),
    _conv("alex1", "alexnet.conv1", (8, 3, 227, 227), 96, 11, 4),
    _conv("alex2", "alexnet.conv2", (8, 96, 27, 27), 256, 5, 1, 2),
    _conv("alex3", "alexnet.conv3", (8, 256, 13, 13), 384, 3, 1, 1),
    _conv("vgg1_1", "vgg16.conv1_1", (4, 3, 224, 224), 64, 3, 1, 1),
    _conv("vgg1_2", "vgg16.conv1_2", (4, 64, 224, 224), 64, 3, 1, 1),
    _conv("vgg2_2", "vgg16.conv2_2", (4, 128, 112, 112), 128, 3, 1, 1),
    _conv("vgg3_2", "vgg16.conv3_2", (4, 256, 56, 56), 256, 3, 1, 1),
    _conv("vgg4_2", "vgg16.conv4_2", (4, 512, 28, 28), 512, 3, 1, 1),
    _conv("vgg5", "vgg16.conv5_1", (4, 512, 14, 14), 512, 3, 1, 1),
    _conv("res_stem", "resnet50.conv1", (8, 3, 224, 224), 64, 7, 2, 3),
    _conv("res2_1x1a", "resnet50.conv2_expand", (8, 64, 56, 56), 256, 1),
    _conv("res2_1x1b", "resnet50.conv2_reduce", (8, 256, 56, 56), 64, 1),
    _conv("res2_3x3", "resnet50.conv2_3x3", (8, 64, 56, 56), 64, 3, 1, 1),
    _conv("res3_3x3s2", "resnet50.conv3_3x3_stride2", (8, 128, 56, 56), 128, 3, 2, 1),
    _conv("res4_3x3", "resnet50.conv4_3x3", (8, 256, 14, 14), 256, 3, 1, 1),
    _conv("res5_3x3", "resnet50.conv5_3x3", (8, 512, 7, 7), 512, 3, 1, 1),
    _conv("res5_1x1", "resnet50.conv5_reduce", (8, 2048, 7, 7), 512, 1),
    _conv("goog_5x5", "googlenet.inception3b_5x5", (8, 32, 28, 28), 96, 5, 1, 2),
    _conv("dense_3x3", "densenet121.block2_3x3", (8, 128, 28, 28), 32, 3, 1, 1),
    _conv("cifar_res", "resnet20.stage1_3x3", (128, 16, 32, 32), 16, 3, 1, 1),
    _conv("cifar_res3", "resnet20.stage3_3x3", (128, 64, 8, 8), 64, 3, 1, 1),
)

# Other shapes that users have: outside the geometric means.
CONV_EXTRAS = (
    _conv("depthwise", "mobilenet.conv4_depthwise", (8, 256, 28, 28), 256, 3, 1, 1, groups=256),
    _conv("depthwise_s2", "mobilenet.conv3_depthwise_stride2", (8, 128, 56, 56), 128, 3, 2, 1,
          groups=128),
    _conv("depthwise_112", "mobilenet.conv1_depthwise", (8, 32, 112, 112), 32, 3, 1, 1, groups=32),
    _conv("depthwise_112s2", "mobilenet.conv2_depthwise_stride2", (8, 64, 112, 112), 64, 3, 2, 1,
          groups=64),
    _conv("depthwise_14", "mobilenet.conv5_depthwise", (8, 512, 14, 14), 512, 3, 1, 1, groups=512),
    _conv("depthwise_7", "mobilenet.conv6_depthwise", (8, 1024, 7, 7), 1024, 3, 1, 1, groups=1024),
    _conv("depthwise_5x5", "efficientnet_b0.block4_depthwise", (8, 480, 14, 14), 480, 5, 1, 2,
          groups=480),
    _conv("depthwise_7x7", "convnext_t.stage1_depthwise", (8, 96, 56, 56), 96, 7, 1, 3, groups=96),
    _conv("pointwise", "mobilenet.conv4_pointwise", (8, 256, 28, 28), 256, 1),
    _conv("shortcut", "resnet50.conv3_shortcut", (8, 256, 56, 56), 512, 1, 2),
    _conv("grouped", "alexnet.conv2_grouped", (8, 96, 27, 27), 256, 5, 1, 2, groups=2),
    _conv("dilated", "deeplab.conv5_dilated", (2, 512, 28, 28), 512, 3, 1, 2, dilation=2),
    _conv("row_1x7", "inception_v3.mixed6_1x7", (8, 128, 17, 17), 128, (1, 7), 1, (0, 3)),
    _conv("col_7x1", "inception_v3.mixed6_7x1", (8, 128, 17, 17), 128, (7, 1), 1, (3, 0)),
    _conv("odd", "odd.conv3x3", (5, 13, 37, 29), 11, 3, 2, 1),
    _conv("replicate", "vgg16.conv3_2_replicate", (4, 256, 56, 56), 256, 3, 1, 1)._replace(
        padding_mode="replicate"),
)
# fmt: on

# Those on which im2col and col2im are measured.
COLUMN_LAYERS = tuple(x for x in CONV_LAYERS if x.key in ("lenet1", "alex1", "vgg3_2"))


class ConvTranspose(NamedTuple):
    """A transposed convolution layer at a batch size."""

    key: str
    name: str
    N: int
    C: int
    H: int
    W: int
    K: int
    KH: int
    KW: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    output_padding: int = 0
    groups: int = 1

    @property
    def adjoint(self) -> Conv:
        """The convolution that goes the other way, from K channels to C."""
        oh, ow = (
            (n - 1) * self.stride - 2 * p + k + self.output_padding
            for n, k, p in zip((self.H, self.W), (self.KH, self.KW), self.padding, strict=True)
        )
        return Conv(
            self.key, self.name, self.N, self.K, oh, ow, self.C, self.KH, self.KW,
            self.stride, self.padding, 1, self.groups,
        )  # fmt: skip

    @property
    def flops(self) -> int:
        """Each number of the input times its kernel; what is cut off counts as work."""
        return self.adjoint.flops

    @property
    def options(self) -> dict[str, int | tuple[int, int]]:
        """The keyword arguments that all passes of `ops.conv_transpose2d` share."""
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    def __str__(self) -> str:
        text = f"{self.N},{self.C},{self.H},{self.W} -> {self.K} {self.KH}x{self.KW}"
        text += f" s{self.stride}" if self.stride != 1 else ""
        text += f" p{self.padding[0]}" if self.padding != (0, 0) else ""
        return text + (f" g{self.groups}" if self.groups != 1 else "")


CONV_TRANSPOSE_LAYERS = (
    ConvTranspose("dcgan2", "dcgan.up2", 16, 512, 8, 8, 256, 4, 4, 2, (1, 1)),
    ConvTranspose("dcgan4", "dcgan.up4", 16, 128, 32, 32, 64, 4, 4, 2, (1, 1)),
    ConvTranspose("unet_up", "unet.up3", 2, 256, 56, 56, 128, 2, 2, 2),
    ConvTranspose("fcn_up2", "fcn8s.score_up2", 4, 21, 16, 16, 21, 4, 4, 2, (1, 1)),
    ConvTranspose("fcn_up8", "fcn8s.score_up8", 2, 21, 32, 32, 21, 16, 16, 8, (4, 4)),
    ConvTranspose("auto_up", "autoencoder.up2", 64, 16, 14, 14, 8, 3, 3, 2, (1, 1), 1),
    ConvTranspose("segnet_3x3", "deconvnet.deconv4", 2, 256, 28, 28, 256, 3, 3, 1, (1, 1)),
)


class Pool(NamedTuple):
    """A pooling layer at a batch size; `kind` is "max", "avg" or "global"."""

    key: str
    name: str
    kind: str
    N: int
    C: int
    H: int
    W: int
    kernel: int = 0
    stride: int = 1
    padding: int = 0

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.C, self.H, self.W

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        if self.kind == "global":
            return self.N, self.C, 1, 1
        oh = _out(self.H, self.kernel, self.stride, self.padding, 1)
        ow = _out(self.W, self.kernel, self.stride, self.padding, 1)
        return self.N, self.C, oh, ow

    @property
    def bytes(self) -> int:
        """What a float32 pass, either way, must move: x, y, and the int32 indices of max."""
        n, c, oh, ow = self.y_shape
        per_output = 8 if self.kind == "max" else 4
        return 4 * self.N * self.C * self.H * self.W + per_output * n * c * oh * ow

    def __str__(self) -> str:
        shape = f"{self.N},{self.C},{self.H},{self.W}"
        if self.kind == "global":
            return f"{shape} global average"
        text = f"{shape} {self.kind} {self.kernel}x{self.kernel}/{self.stride}"
        return text + (f" p{self.padding}" if self.padding else "")


POOL_LAYERS = (
    Pool("max2", "max2x2_stride2", "max", 64, 64, 56, 56, 2, 2),
    Pool("max3s2", "max3x3_stride2", "max", 64, 64, 56, 56, 3, 2),
    Pool("max3s1", "max3x3_stride1", "max", 64, 64, 56, 56, 3, 1, 1),
    Pool("avg2", "avg2x2_stride2", "avg", 64, 64, 56, 56, 2, 2),
    Pool("avg3s2", "avg3x3_stride2", "avg", 64, 64, 56, 56, 3, 2),
    Pool("avg3s1", "avg3x3_stride1", "avg", 64, 64, 56, 56, 3, 1, 1),
    Pool("global", "global", "global", 64, 64, 56, 56),
    Pool("lenet_pool1", "lenet5.pool1", "max", 64, 6, 28, 28, 2, 2),
    Pool("lenet_pool2", "lenet5.pool2", "max", 64, 16, 10, 10, 2, 2),
    Pool("resnet_pool", "resnet50.pool1", "max", 8, 64, 112, 112, 3, 2, 1),
)


# Rows: images one pixel high, for the 1-D layers.
CONV1D_LAYERS = (
    Conv("text3", "textcnn.conv3", 32, 128, 1, 56, 100, 1, 3),
    Conv("m5_2", "m5.conv2", 16, 32, 1, 500, 64, 1, 3, 1, (0, 1)),
    Conv("tcn", "tcn.block3", 8, 64, 1, 1024, 64, 1, 5, 1, (0, 8), 4),
)
POOL1D_LAYERS = (
    Pool("max1d", "m5.pool1", "max", 16, 64, 1, 1000, 4, 4),
    Pool("avg1d", "avg_rows", "avg", 16, 64, 1, 1000, 2, 2),
)


WEIGHTED_POOL_LAYERS = (
    Pool("blur3", "blur3x3_stride2", "weighted", 32, 64, 56, 56, 3, 2, 1),
    Pool("weighted2", "weighted2x2_stride2", "weighted", 64, 16, 28, 28, 2, 2),
)


class Roi(NamedTuple):
    """RoI pooling: boxes on the maps of N images, a grid of cells each."""

    key: str
    name: str
    N: int
    C: int
    H: int
    W: int
    boxes: int
    grid: int

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.C, self.H, self.W

    def __str__(self) -> str:
        return f"{self.N},{self.C},{self.H},{self.W}, {self.boxes} boxes {self.grid}x{self.grid}"


ROI_LAYERS = (Roi("fast_rcnn", "fast_rcnn.roi_pool", 2, 512, 38, 50, 128, 7),)


class Linear(NamedTuple):
    """A fully connected layer at a batch size: x (N, I), w (O, I)."""

    key: str
    name: str
    N: int
    I: int
    O: int

    @property
    def flops(self) -> int:
        """The same for each pass."""
        return 2 * self.N * self.I * self.O

    def __str__(self) -> str:
        return f"{self.N},{self.I} -> {self.O}"


LINEAR_LAYERS = (
    Linear("lenet_fc1", "lenet5.fc1", 64, 400, 120),
    Linear("lenet_fc2", "lenet5.fc2", 64, 120, 84),
    Linear("lenet_fc3", "lenet5.fc3", 64, 84, 10),
    Linear("dmlp_fc1", "dmlp.fc1", 64, 784, 100),
    Linear("seed_fc1", "simple_convnet.fc1", 100, 4320, 100),
    Linear("alex_fc6", "alexnet.fc6", 16, 9216, 4096),
    Linear("vgg_fc7", "vgg16.fc7", 16, 4096, 4096),
    Linear("resnet_fc", "resnet50.fc", 32, 2048, 1000),
)


class BatchNorm(NamedTuple):
    """Batch normalisation of (N, C, H, W)."""

    key: str
    name: str
    N: int
    C: int
    H: int
    W: int

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.C, self.H, self.W

    def __str__(self) -> str:
        return ",".join(map(str, self.x_shape))


BATCH_NORM_LAYERS = (
    BatchNorm("bn_stem", "resnet50.bn1", 8, 64, 112, 112),
    BatchNorm("bn2", "resnet50.layer1_bn3", 8, 256, 56, 56),
    BatchNorm("bn4", "resnet50.layer3_bn2", 8, 256, 14, 14),
    BatchNorm("bn5", "resnet50.layer4_bn3", 8, 2048, 7, 7),
    BatchNorm("cifar_bn1", "resnet20.layer1_bn1", 128, 16, 32, 32),
    BatchNorm("cifar_bn3", "resnet20.layer3_bn1", 128, 64, 8, 8),
)


class Lrn(NamedTuple):
    """Local response normalisation over five channels, at a batch size."""

    key: str
    name: str
    N: int
    C: int
    H: int
    W: int

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.C, self.H, self.W

    def __str__(self) -> str:
        return f"{self.N},{self.C},{self.H},{self.W}"


LRN_LAYERS = (
    Lrn("alex_lrn1", "alexnet.norm1", 8, 96, 55, 55),
    Lrn("alex_lrn2", "alexnet.norm2", 8, 256, 27, 27),
    Lrn("goog_lrn1", "googlenet.norm1", 8, 64, 56, 56),
    Lrn("goog_lrn2", "googlenet.norm2", 8, 192, 56, 56),
)


class Affine(NamedTuple):
    """A batch of images to shift and turn."""

    key: str
    name: str
    N: int
    C: int
    H: int
    W: int

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.C, self.H, self.W

    def __str__(self) -> str:
        return f"{self.N},{self.C},{self.H},{self.W}"


AFFINE_LAYERS = (
    Affine("affine_mnist", "mnist.affine", 256, 1, 28, 28),
    Affine("affine_cifar", "cifar10.affine", 128, 3, 32, 32),
    Affine("affine_imagenet", "imagenet.affine", 8, 3, 224, 224),
)


class Pointwise(NamedTuple):
    """An array that pointwise passes go over; rows of classes if `shape` has two dimensions."""

    key: str
    name: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return ",".join(str(n) for n in self.shape)


ACTIVATION_LAYERS = (
    Pointwise("lenet_act", "lenet5.conv1_out", (64, 6, 28, 28)),
    Pointwise("vgg_act", "vgg16.conv2_2_out", (4, 128, 112, 112)),
)
RECTIFIER_PASSES = ("prelu", "prelu_backward", "elu", "elu_backward", "step")
CLASS_LAYERS = (
    Pointwise("lenet_out", "lenet5.logits", (64, 10)),
    Pointwise("imagenet_out", "resnet50.logits", (256, 1000)),
)
PARAMETER_LAYERS = (
    Pointwise("lenet_params", "lenet5.fc1_weight", (120, 400)),
    Pointwise("vgg_params", "vgg16.fc7_weight", (4096, 4096)),
)


class Training(NamedTuple):
    """Training steps of a net at a batch size, over enough images for what a run begins with (the
    optimizer, the plan) to be little beside them."""

    key: str
    name: str
    batch: int
    images: int = 2560

    def __str__(self) -> str:
        return f"batch {self.batch}"


class Net(NamedTuple):
    """A net of fastcnn.models at a batch size."""

    key: str
    name: str
    model: str
    batch: int
    shape: tuple[int, int, int]
    classes: int

    def __str__(self) -> str:
        return f"batch {self.batch}, {'x'.join(map(str, self.shape))}"


def _net(model: str, batch: int, shape: tuple[int, int, int], classes: int) -> Net:
    return Net(f"{model}_b{batch}", f"{model}.batch{batch}", model, batch, shape, classes)


_LENET, _CIFAR = ((1, 28, 28), 10), ((3, 32, 32), 10)
_IMAGENET = ((3, 224, 224), 1000)
NET_PASSES = ("training", "inference")
NET_RUNS = (
    *((_net("resnet20", 128, *_CIFAR), "training"),),
    *((_net("resnet18", 8, *_IMAGENET), "training"),),
    *((_net("vgg16", 4, *_IMAGENET), "training"),),
    *((_net("lenet5", n, *_LENET), "inference") for n in (1, 32)),
    *((_net("resnet20", n, *_CIFAR), "inference") for n in (1, 32)),
    *((_net("resnet18", n, *_IMAGENET), "inference") for n in (1, 32)),
    *((_net("vgg16", n, *_IMAGENET), "inference") for n in (1, 32)),
)

TRAINING_RUNS = (
    Training("lenet_b32", "lenet5.batch32", 32),
    Training("lenet_b128", "lenet5.batch128", 128),
)
