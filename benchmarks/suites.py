"""The suites: which layers and passes of each family are measured, and in which unit."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

from . import shapes
from .peers import Case
from .peers_affine import AffineCase
from .peers_batch_norm import BatchNormCase
from .peers_conv import ColumnsCase, ConvCase, DirectCase
from .peers_conv_transpose import ConvTransposeCase
from .peers_dropout import DropoutCase
from .peers_linear import LinearCase
from .peers_lrn import LrnCase
from .peers_models import LenetCase
from .peers_nets import NetCase
from .peers_pointwise import PASSES, PointwiseCase
from .peers_pool import PoolCase
from .peers_rectifiers import RectifierCase
from .peers_regions import RoiCase, WeightedPoolCase
from .peers_rows import Conv1dCase, Pool1dCase


class Suite(NamedTuple):
    """One family: `work(case)` over the seconds of a call is its speed in `unit`."""

    title: str
    case: type[Case]
    pairs: tuple[tuple[Any, str], ...]  # (layer, pass)
    unit: str
    work: Callable[[Any], float]
    seconds: float = 0.4  # of timing, for a cell of the table
    mean_over: tuple[Any, ...] = ()  # the layers of the geometric mean; () for all

    def passes(self) -> list[str]:
        return list(dict.fromkeys(wrt for _, wrt in self.pairs))


def chosen(suite: Suite, layers: Sequence[str], passes: Sequence[str]) -> list[tuple[Any, str]]:
    """The pairs whose layer's key or name, and whose pass, start with one of the words."""
    return [
        (layer, wrt)
        for layer, wrt in suite.pairs
        if (not layers or any(s.startswith(tuple(layers)) for s in (layer.key, layer.name)))
        and (not passes or wrt.startswith(tuple(passes)))
    ]


SUITES = {
    "conv": Suite(
        "Convolution",
        ConvCase,
        tuple(product(shapes.CONV_LAYERS + shapes.CONV_EXTRAS, shapes.CONV_PASSES)),
        "GFLOP/s",
        lambda case: case.layer.flops / 1e9,
        seconds=0.8,
        mean_over=shapes.CONV_LAYERS,
    ),
    "direct": Suite(
        "Convolution by direct kernels",
        DirectCase,
        tuple(product(shapes.CONV_LAYERS, shapes.CONV_PASSES)),
        "GFLOP/s",
        lambda case: case.layer.flops / 1e9,
        seconds=0.8,
    ),
    "conv_transpose": Suite(
        "Transposed convolution",
        ConvTransposeCase,
        tuple(product(shapes.CONV_TRANSPOSE_LAYERS, shapes.CONV_TRANSPOSE_PASSES)),
        "GFLOP/s",
        lambda case: case.layer.flops / 1e9,
    ),
    "columns": Suite(
        "im2col and col2im",
        ColumnsCase,
        tuple(product(shapes.COLUMN_LAYERS, shapes.COLUMN_PASSES)),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "pool": Suite(
        "Pooling",
        PoolCase,
        tuple(product(shapes.POOL_LAYERS, shapes.POOL_PASSES)),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "conv1d": Suite(
        "1-D convolution",
        Conv1dCase,
        tuple(product(shapes.CONV1D_LAYERS, shapes.CONV_PASSES)),
        "GFLOP/s",
        lambda case: case.layer.flops / 1e9,
    ),
    "pool1d": Suite(
        "1-D pooling",
        Pool1dCase,
        tuple(product(shapes.POOL1D_LAYERS, shapes.POOL_PASSES)),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "weighted_pool": Suite(
        "Weighted-average pooling",
        WeightedPoolCase,
        tuple(product(shapes.WEIGHTED_POOL_LAYERS, shapes.CONV_PASSES)),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "roi": Suite(
        "RoI pooling",
        RoiCase,
        tuple(product(shapes.ROI_LAYERS, shapes.POOL_PASSES)),
        "boxes/s",
        lambda case: case.layer.boxes,
    ),
    "linear": Suite(
        "Fully connected layers",
        LinearCase,
        tuple(product(shapes.LINEAR_LAYERS, shapes.LINEAR_PASSES)),
        "GFLOP/s",
        lambda case: case.layer.flops / 1e9,
    ),
    "batch_norm": Suite(
        "Batch normalisation",
        BatchNormCase,
        tuple(product(shapes.BATCH_NORM_LAYERS, shapes.BATCH_NORM_PASSES)),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "lrn": Suite(
        "Local response normalisation",
        LrnCase,
        tuple(product(shapes.LRN_LAYERS, shapes.LRN_PASSES)),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "affine": Suite(
        "Affine maps of images",
        AffineCase,
        tuple((layer, "forward") for layer in shapes.AFFINE_LAYERS),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "pointwise": Suite(
        "Pointwise",
        PointwiseCase,
        tuple((layer, name) for name, one in PASSES.items() for layer in one.layers),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "rectifiers": Suite(
        "PReLU, ELU and step",
        RectifierCase,
        tuple(product(shapes.ACTIVATION_LAYERS, shapes.RECTIFIER_PASSES)),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "dropout": Suite(
        "Dropout",
        DropoutCase,
        tuple((layer, "forward") for layer in shapes.ACTIVATION_LAYERS),
        "GB/s",
        lambda case: case.bytes / 1e9,
    ),
    "training": Suite(
        "LeNet-5 training on MNIST",
        LenetCase,
        tuple(product(shapes.TRAINING_RUNS, shapes.TRAINING_PASSES)),
        "images/s",
        lambda case: case.layer.images,
        seconds=3.0,
    ),
    "nets": Suite(
        "Whole nets",
        NetCase,
        shapes.NET_RUNS,
        "images/s",
        lambda case: case.layer.batch,
        seconds=8.0,
    ),
}
