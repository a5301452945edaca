"""Pictures: the right things are drawn, and something is to be seen."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcnn import models, viz
from fastcnn.training import History

matplotlib = pytest.importorskip("matplotlib")


def pixels(figure: Any) -> np.ndarray:
    """The figure as Agg draws it, (H, W, 4)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def assert_drawn(figure: Any, least_share: float = 0.02) -> None:
    """Not an empty page: some share of the pixels is not the background."""
    picture = pixels(figure)
    share = np.mean((picture != picture[0, 0]).any(axis=2))
    assert share > least_share


def history(epochs: int = 3, validation: bool = True) -> History:
    result = History()
    for i in range(epochs):
        extra = {"validation_loss": 1 / (i + 2), "validation_accuracy": 0.8} if validation else {}
        result.append(train_loss=1 / (i + 1), train_accuracy=0.9, seconds=1.0, **extra)
    return result


def test_nothing_global_is_touched() -> None:
    """No pyplot, no figure that stays open, no change of settings."""
    before = dict(matplotlib.rcParams)
    viz.learning_curves(history())
    assert dict(matplotlib.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_learning_curves() -> None:
    figure = viz.learning_curves(history())
    loss, accuracy = figure.axes
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), [0.8] * 3)
    assert_drawn(figure)
    assert len(viz.learning_curves(history(validation=False)).axes[0].lines) == 1
    with pytest.raises(ValueError, match="at least one epoch"):
        viz.learning_curves(History())


def test_curves_can_be_told_apart_without_colours() -> None:
    train, validation = viz.learning_curves(history()).axes[0].lines
    assert train.get_linestyle() != validation.get_linestyle()
    assert train.get_marker() != validation.get_marker()


def test_curves_of_several_runs() -> None:
    figure = viz.curves({"once": [1, 2, 4], "twice": [[1, 2], [3, 6]]}, ylabel="loss")
    (axes,) = figure.axes
    once, twice = axes.lines
    np.testing.assert_array_equal(once.get_ydata(), [1, 2, 4])
    np.testing.assert_array_equal(twice.get_ydata(), [2, 4])  # the mean
    np.testing.assert_array_equal(twice.get_xdata(), [1, 2])
    (band,) = axes.collections  # none around a single run
    corners = {tuple(point) for point in band.get_paths()[0].vertices}
    assert {(1, 1), (1, 3), (2, 2), (2, 6)} <= corners
    assert once.get_linestyle() != twice.get_linestyle()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["once", "twice"]
    assert_drawn(figure)
    moved = viz.curves({"a": [5, 6]}, x=[10, 20]).axes[0].lines[0]
    np.testing.assert_array_equal(moved.get_xdata(), [10, 20])
    with pytest.raises(ValueError, match="1 to 8 series, got 0"):
        viz.curves({})
    with pytest.raises(ValueError, match=r"'a' to be \(T,\) or \(R, T\).*got \(3,\)"):
        viz.curves({"a": [1, 2, 3]}, x=[1, 2])
    with pytest.raises(ValueError, match="not empty"):
        viz.curves({"a": []})


def grid_of(axes: Any) -> np.ndarray:
    return np.ma.filled(axes.images[0].get_array(), np.nan)


def test_filters_are_the_lecture_s_grid_of_30() -> None:
    """5 x 6 tiles of 5 x 5 with a line between, each filter in its place."""
    model = models.simple_convnet(seed=0)
    weights = model.state_dict()["conv1.weight"]
    figure = viz.filters(model)
    grid = grid_of(figure.axes[0])
    assert grid.shape == (5 * 6 - 1, 6 * 6 - 1)
    for i in range(30):
        top, left = 6 * (i // 6), 6 * (i % 6)
        np.testing.assert_array_equal(grid[top : top + 5, left : left + 5], weights[i, 0])
    assert np.isnan(grid[5::6]).all() and np.isnan(grid[:, 5::6]).all()
    assert_drawn(figure, 0.3)


def test_filters_before_and_after() -> None:
    before, after = (models.simple_convnet(seed=s).state_dict()["conv1.weight"] for s in (0, 1))
    figure = viz.filters(after, before)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["before", "after"]
    first, second = (grid_of(axes) for axes in figure.axes[:2])
    np.testing.assert_array_equal(first[:5, :5], before[0, 0])
    np.testing.assert_array_equal(second[:5, :5], after[0, 0])


def test_filters_of_several_channels_and_odd_numbers() -> None:
    weights = np.random.default_rng(0).standard_normal((7, 3, 2, 4))
    figure = viz.filters(weights)
    assert "mean of 3 channels" in figure.axes[0].get_title()
    grid = grid_of(figure.axes[0])
    np.testing.assert_allclose(grid[:2, :4], weights[0].mean(axis=0))
    assert np.isnan(grid[-2:, -4:]).all()  # 7 filters in 2 x 4 places
    assert viz.filters(models.lenet5()["conv1"]).axes[0].get_title() == "6 filters, 5x5"


def test_filters_refuse() -> None:
    with pytest.raises(ValueError, match="Sequential has none"):
        viz.filters(models.dmlp())
    with pytest.raises(ValueError, match=r"shape \(K, C, KH, KW\): \(3, 3\)"):
        viz.filters(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="before to have the shape"):
        viz.filters(np.zeros((2, 1, 3, 3)), np.zeros((3, 1, 3, 3)))
    with pytest.raises(ValueError, match="at least one filter"):
        viz.filters(np.zeros((0, 1, 3, 3)))


def test_feature_maps_show_every_layer() -> None:
    model = models.lenet5(seed=0)
    image = np.random.default_rng(0).random((1, 28, 28), np.float32)
    figure = viz.feature_maps(model, image)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == ["input: 1 x 28 x 28", "conv1: 6 x 28 x 28"]
    assert len(titles) == 1 + len(model) and titles[-1] == "fc3: 10"
    np.testing.assert_array_equal(grid_of(figure.axes[0]), image[0])
    maps = model.activations(image[None])
    np.testing.assert_array_equal(grid_of(figure.axes[1])[:28, 29:57], maps["conv1"][0, 1])
    [bars] = figure.axes[-1].patches
    np.testing.assert_array_equal(bars.get_data().values, maps["fc3"][0])
    assert_drawn(figure)


def test_feature_maps_refuse() -> None:
    for shape in ((28, 28), (2, 1, 28, 28)):
        with pytest.raises(ValueError, match=r"one image \(C, H, W\), got shape"):
            viz.feature_maps(models.lenet5(), np.zeros(shape, np.float32))


def test_confusion_refuses() -> None:
    with pytest.raises(ValueError, match="expected y"):
        viz.confusion_matrix([0, 1], [0])
    with pytest.raises(ValueError, match=r"0\.\.1, got 0\.\.3"):
        viz.confusion_matrix([0], [3], classes=["cat", "dog"])


def test_confusion_matrix() -> None:
    y, p = [0, 0, 1, 2], [0, 1, 1, 2]
    figure = viz.confusion_matrix(y, p, classes=["cat", "dog", "mouse"])
    [axes] = figure.axes
    assert axes.get_title() == "3 of 4 right (75.00 %)"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog", "mouse"]
    texts = {t.get_position(): t.get_text() for t in axes.texts}
    assert texts == {(0, 0): "1", (1, 0): "1", (1, 1): "1", (2, 2): "1"}
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array())[0], [0.5, 0.5, 0])
    assert_drawn(figure, 0.1)


def test_save_png(tmp_path: Path) -> None:
    viz.save_png(viz.learning_curves(history()), tmp_path / "curves.png", dpi=50)
    content = (tmp_path / "curves.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    from matplotlib.image import imread

    assert imread(tmp_path / "curves.png").shape[:2] == (180, 450)


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m.startswith("matplotlib")]:
        monkeypatch.setitem(sys.modules, name, None)
    for draw in (
        lambda: viz.learning_curves(history()),
        lambda: history().plot(),
        lambda: viz.filters(np.zeros((2, 1, 3, 3))),
        lambda: viz.feature_maps(models.dmlp(), np.zeros((1, 28, 28), np.float32)),
        lambda: viz.confusion_matrix([0], [0]),
    ):
        with pytest.raises(ImportError, match=r'matplotlib.*pip install "fastcnn\[viz\]"'):
            draw()


def test_images_are_drawn_as_they_are() -> None:
    """Grays, colours and classes; the rows under their names, the columns under their titles."""
    rng = np.random.default_rng(0)
    gray, colour = rng.random((2, 1, 4, 6)), rng.random((2, 3, 4, 6))
    classes = rng.integers(0, 3, size=(2, 4, 6))
    classes[0, 0, :3] = 0, 1, 2
    rows = {"gray": gray, "colour": colour, "classes": classes}
    figure = viz.images(rows, titles=["a", "b"], classes=["background", "one", "two"])
    axes = figure.axes
    assert [ax.get_ylabel() for ax in axes[::2]] == ["gray", "colour", "classes"]
    assert [ax.get_title() for ax in axes] == ["a", "b", "", "", "", ""]
    shown = [np.asarray(ax.images[0].get_array()) for ax in axes]
    np.testing.assert_array_equal(shown[1], gray[1, 0])
    np.testing.assert_array_equal(shown[2], colour[0].transpose(1, 2, 0))
    black, one, two = shown[4][0, :3]
    assert not black.any() and one.any() and not np.array_equal(one, two)
    patches = figure.legends[0].get_patches()
    assert [text.get_text() for text in figure.legends[0].get_texts()][1] == "one"
    np.testing.assert_allclose(patches[1].get_facecolor()[:3], one)
    assert_drawn(figure)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": np.zeros((2, 4, 4)), "b": np.zeros((3, 4, 4))}, r"got \[2, 3\]"),
        ({"a": np.zeros((0, 4, 4))}, "same number"),
        ({}, "same number"),
        ({"a": np.zeros((2, 2, 4, 4))}, r"'a' as \(N, H, W\)"),
    ],
)
def test_images_that_do_not_fit(rows: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.images(rows)
