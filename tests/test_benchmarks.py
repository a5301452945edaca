"""The benchmarks' own parts: shapes, the check before every timing, NumPy baselines, coverage."""
# ruff: noqa: E402 - away from the source tree there are no benchmarks to import

import re
from pathlib import Path

import numpy as np
import pytest

from fastcnn import models, nn, ops
from fastcnn._checks import window
from fastcnn.cli.recipes import RECIPES

ROOT = Path(__file__).parent.parent
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("needs the source tree", allow_module_level=True)

from benchmarks import full_size, numpy_blas, peers, peers_table, shapes, timing
from benchmarks.peers_affine import AffineCase
from benchmarks.peers_batch_norm import BatchNormCase
from benchmarks.peers_conv import ColumnsCase, ConvCase, DirectCase
from benchmarks.peers_conv_transpose import ConvTransposeCase
from benchmarks.peers_dropout import DropoutCase
from benchmarks.peers_linear import LinearCase
from benchmarks.peers_lrn import LrnCase
from benchmarks.peers_pointwise import PASSES, PointwiseCase
from benchmarks.peers_pool import PoolCase
from benchmarks.peers_rectifiers import RectifierCase
from benchmarks.peers_regions import RoiCase, WeightedPoolCase
from benchmarks.peers_rows import Conv1dCase, Pool1dCase
from benchmarks.suites import SUITES, chosen

ALL_CONVS = shapes.CONV_LAYERS + shapes.CONV_EXTRAS


def test_there_are_24_layers_and_every_name_is_unique() -> None:
    assert len(shapes.CONV_LAYERS) == 24
    for suite in SUITES.values():
        layers = list(dict.fromkeys(layer for layer, _ in suite.pairs))
        for attribute in ("key", "name"):
            assert len({getattr(layer, attribute) for layer in layers}) == len(layers)


@pytest.mark.parametrize("layer", ALL_CONVS, ids=lambda x: x.name)
def test_output_sizes_are_those_of_the_library(layer: shapes.Conv) -> None:
    win = window(
        "conv2d", (layer.H, layer.W), (layer.KH, layer.KW),
        stride=layer.stride, padding=layer.padding, dilation=layer.dilation,
    )  # fmt: skip
    assert win.out == (layer.OH, layer.OW)
    assert layer.C % layer.groups == layer.K % layer.groups == 0


@pytest.mark.parametrize("name", ops.__all__)
def test_every_op_is_benchmarked(name: str) -> None:
    sources = "".join(p.read_text() for p in (ROOT / "benchmarks").glob("peers_*.py"))
    assert name in PASSES or re.search(rf"\blibrary\.{name}\(", sources), name


def test_parameters_counted_by_hand() -> None:
    """Every net that is measured is held against a count, and those by hand are right."""
    assert full_size.PUBLISHED.keys() | full_size.BY_HAND.keys() == RECIPES.keys()
    for name, count in full_size.BY_HAND.items():
        options = {} if name == "autoencoder" else {"init": nn.init.zeros()}
        assert models.create(name, **options).num_parameters(trainable=True) == count, name


def _tiny(case_type: type, layer: object, wrt: str) -> None:
    """The NumPy baseline gives the reference's outputs, and a wrong element would be noticed."""
    case = case_type(layer, wrt)
    expected = case.expected()
    got = case.candidates(["numpy"])["numpy"]
    outputs = [a.copy() for a in got.outputs(got.run())]
    timing.check_outputs("numpy", outputs, expected)
    for output in outputs:
        spoiled = output.reshape(-1)
        spoiled[spoiled.size // 2] += 0.1 * (np.std(output) + np.abs(output).max())
        with pytest.raises(timing.Disagreement, match="numpy"):
            timing.check_outputs("numpy", outputs, expected)
        if output.dtype.kind != "f":
            continue
        spoiled[spoiled.size // 2] = np.nan
        with pytest.raises(timing.Disagreement, match="numpy"):
            timing.check_outputs("numpy", outputs, expected)


@pytest.mark.parametrize("wrt", shapes.CONV_PASSES)
@pytest.mark.parametrize("options", [
    {}, {"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding": (0, 2), "stride": 3},
    {"padding": (2, 1), "padding_mode": "replicate"},
], ids=str)  # fmt: skip
def test_numpy_convolution(options: dict, wrt: str) -> None:
    layer = shapes.Conv("t", "tiny", 3, 4, 9, 8, 6, 3, 2, **{"padding": (1, 1), **options})
    _tiny(ConvCase, layer, wrt)


@pytest.mark.parametrize("wrt", shapes.CONV_PASSES)
def test_direct_kernels_beside_their_multiply_adds(wrt: str) -> None:
    layer = shapes.Conv("t", "tiny", 2, 16, 9, 8, 20, 3, 3)
    case = DirectCase(layer, wrt)
    ours = case.candidates(["fastcnn"])["fastcnn"]
    timing.check_outputs("fastcnn", ours.outputs(ours.run()), case.expected())
    assert case.multiply_adds == layer.flops // 2 == (2 * 20 * 7 * 6) * (16 * 3 * 3)
    row = peers_table.measure(SUITES["direct"], case, ["fastcnn"], 2, case.expected(), 0.0)
    assert row.speed.keys() == {"fastcnn", "peak"} and not row.failures
    halved = row._replace(speed={"fastcnn": 1.5, "peak": 3.0})
    assert halved.cell("peak") == "50 %"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_peaks_multiply_adds_are_done(threads: int) -> None:
    """Each brings values that begin at 0, 1, 2, ... closer to 1."""
    assert peers.multiply_adds(0, threads)() > 5.0
    assert peers.multiply_adds(10**6, threads)() == 1.0


def test_numpy_convolution_in_blocks_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_blas, "_COLUMN_BYTES", 1)
    for wrt in shapes.CONV_PASSES:
        _tiny(ConvCase, shapes.Conv("t", "tiny", 3, 2, 6, 7, 4, 3, 3), wrt)


@pytest.mark.parametrize("wrt", shapes.CONV_TRANSPOSE_PASSES)
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "output_padding": 1}, {"groups": 2}], ids=str
)
def test_numpy_transposed_convolution(options: dict, wrt: str) -> None:
    layer = shapes.ConvTranspose("t", "tiny", 3, 4, 5, 6, 6, 3, 2, **{"padding": (1, 0), **options})
    _tiny(ConvTransposeCase, layer, wrt)


@pytest.mark.parametrize("wrt", shapes.COLUMN_PASSES)
def test_numpy_columns(wrt: str) -> None:
    _tiny(ColumnsCase, shapes.Conv("t", "tiny", 2, 3, 7, 8, 1, 3, 2, 2, (1, 1)), wrt)


@pytest.mark.parametrize("wrt", shapes.POOL_PASSES)
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 0), (3, 1, 1)])
@pytest.mark.parametrize("kind", ["max", "avg", "global"])
def test_numpy_pooling(kind: str, window: tuple[int, int, int], wrt: str) -> None:
    _tiny(PoolCase, shapes.Pool("t", "tiny", kind, 2, 3, 8, 9, *window), wrt)


@pytest.mark.parametrize("wrt", shapes.CONV_PASSES)
def test_numpy_convolution_of_rows(wrt: str) -> None:
    _tiny(Conv1dCase, shapes.Conv("t", "tiny", 3, 4, 1, 19, 6, 1, 3, 1, (0, 2), 2), wrt)


@pytest.mark.parametrize("wrt", shapes.POOL_PASSES)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_numpy_pooling_of_rows(kind: str, wrt: str) -> None:
    _tiny(Pool1dCase, shapes.Pool("t", "tiny", kind, 2, 3, 1, 13, 3, 3), wrt)


@pytest.mark.parametrize("wrt", shapes.CONV_PASSES)
def test_numpy_weighted_pooling(wrt: str) -> None:
    _tiny(WeightedPoolCase, shapes.Pool("t", "tiny", "weighted", 2, 3, 8, 9, 3, 2, 1), wrt)


@pytest.mark.parametrize("wrt", shapes.POOL_PASSES)
def test_numpy_roi_pooling(wrt: str) -> None:
    _tiny(RoiCase, shapes.Roi("t", "tiny", 2, 3, 6, 7, 9, 2), wrt)


@pytest.mark.parametrize("wrt", shapes.LINEAR_PASSES)
def test_numpy_linear(wrt: str) -> None:
    _tiny(LinearCase, shapes.Linear("t", "tiny", 5, 7, 3), wrt)


@pytest.mark.parametrize("wrt", shapes.BATCH_NORM_PASSES)
def test_numpy_batch_norm(wrt: str) -> None:
    _tiny(BatchNormCase, shapes.BatchNorm("t", "tiny", 4, 3, 5, 6), wrt)


@pytest.mark.parametrize("wrt", shapes.LRN_PASSES)
def test_numpy_local_response_norm(wrt: str) -> None:
    _tiny(LrnCase, shapes.Lrn("t", "tiny", 2, 7, 3, 4), wrt)


def test_numpy_affine() -> None:
    _tiny(AffineCase, shapes.Affine("t", "tiny", 3, 2, 9, 7), "forward")


@pytest.mark.parametrize("wrt", PASSES)
def test_numpy_pointwise(wrt: str) -> None:
    shape = (6, 5) if PASSES[wrt].layers == shapes.CLASS_LAYERS else (2, 3, 4, 5)
    _tiny(PointwiseCase, shapes.Pointwise("t", "tiny", shape), wrt)


@pytest.mark.parametrize("wrt", shapes.RECTIFIER_PASSES)
def test_numpy_rectifiers(wrt: str) -> None:
    layer = shapes.Pointwise("t", "tiny", (2, 3, 4, 5))
    _tiny(RectifierCase, layer, wrt)
    case = RectifierCase(layer, wrt)
    ours = case.candidates(["fastcnn"])["fastcnn"]
    timing.check_outputs("fastcnn", ours.outputs(ours.run()), case.expected())


def test_numpy_dropout() -> None:
    layer = shapes.Pointwise("t", "tiny", (2, 3, 4, 5))
    _tiny(DropoutCase, layer, "forward")
    case = DropoutCase(layer, "forward")
    ours = case.candidates(["fastcnn"])["fastcnn"]
    timing.check_outputs("fastcnn", ours.outputs(ours.run()), case.expected())
    with pytest.raises(AssertionError, match="elements were dropped"):
        case._whole(np.zeros(4))


def test_check_outputs_refuses_what_proves_nothing() -> None:
    good = np.arange(6.0).reshape(2, 3)
    assert timing.check_outputs("me", [good], [good]) == 0.0
    for got, want in [
        ([good], [good, good]),
        ([good.T], [good]),
        ([np.ones((2, 3))], [np.ones((2, 3))]),
        ([good], [np.full((2, 3), np.inf)]),
        ([np.array(1.1)], [np.array(1.0)]),
    ]:
        with pytest.raises(timing.Disagreement, match="me"):
            timing.check_outputs("me", got, want)


def test_interleave_takes_turns() -> None:
    order = []
    runs = {name: (lambda n=name: order.append(n)) for name in "ab"}
    times = timing.interleave(runs, budget=0.0, least_rounds=4, slice_seconds=0.0)
    assert "".join(order) == "aabb" + "abbaabba"
    assert all(t.calls == 4 and 0 <= t.minimum <= t.median for t in times.values())


def test_a_cell_measured_twice_keeps_the_faster_times_and_every_failure() -> None:
    one = peers_table.Row("layer", "forward", 2, {"fastcnn": 2.0, "torch": 3.0, "numpy": 1.0}, {})
    two = one._replace(speed={"fastcnn": 4.0, "torch": 1.0}, failures={"numpy": "wrong"})
    both = one.or_faster(two)
    assert both.speed == {"fastcnn": 4.0, "torch": 3.0} and both.failures == {"numpy": "wrong"}
    assert both.cell("numpy") == "failed" and both == two.or_faster(one)


def test_layers_are_chosen_by_the_start_of_key_or_name() -> None:
    conv = SUITES["conv"]
    assert {x.key for x, _ in chosen(conv, ["lenet", "vgg16.conv5"], [])} == {
        "lenet1", "lenet2", "vgg5",
    }  # fmt: skip
    assert {wrt for _, wrt in chosen(conv, [], ["backward"])} == set(shapes.CONV_PASSES[1:])
