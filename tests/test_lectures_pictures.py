"""The lectures' pictures, drawn from nets that learned: how many there are, and of what numbers."""

import numpy as np
import pytest

from fastcnn import data, metrics, models, nn, optim, training, viz

pytest.importorskip("matplotlib")
F4 = np.float32


@pytest.fixture(scope="module")
def run():
    """SimpleConvNet on 800 digits: the net, its filters before, the history, and new digits."""
    train, test = data.mnist(subset=True)
    net = models.SimpleConvNet(seed=0)
    before = net.params["W1"].copy()
    trainer = training.Trainer(net, nn.CrossEntropyLoss(), optim.Adam(net.parameters()), seed=0)
    history = trainer.fit(train[:800], epochs=2, batch_size=50, validation=0.25, progress=False)
    return net, before, history, test[:100]


def drawn(axes):
    """The numbers of the one picture of these axes, NaN where nothing is."""
    (image,) = axes.images
    return np.ma.filled(image.get_array(), np.nan)


def tiles(picture, size, count):
    """The first `count` tiles of a mosaic of square tiles with gaps of one pixel."""
    step = size + 1
    rows, columns = ((n + 1) // step for n in picture.shape)
    places = [(step * i, step * j) for i in range(rows) for j in range(columns)]
    return np.stack([picture[i : i + size, j : j + size] for i, j in places[:count]])


def test_grid_of_30_filters_before_and_after(run):
    net, before, _, _ = run
    figure = viz.filters(net, before)
    first, second, *bars = figure.axes
    assert (first.get_title(), second.get_title(), len(bars)) == ("before", "after", 2)
    np.testing.assert_array_equal(tiles(drawn(first), 5, 30), before[:, 0])
    np.testing.assert_array_equal(tiles(drawn(second), 5, 30), net.params["W1"][:, 0])
    assert (drawn(first) != drawn(second)).any()


def test_feature_maps_of_a_digit(run):
    net, _, _, digits = run
    figure = viz.feature_maps(net, digits.x[0])
    maps = net.activations(digits.x[:1])
    assert len(figure.axes) == 1 + len(maps)
    rows = dict(zip(maps, figure.axes[1:], strict=True))
    np.testing.assert_array_equal(drawn(figure.axes[0]), digits.x[0, 0])
    for name, size in (("conv1", 24), ("relu1", 24), ("pool1", 12)):
        shown = tiles(drawn(rows[name]), size, 1 << 30)
        known = shown[~np.isnan(shown).all(axis=(1, 2))]
        np.testing.assert_array_equal(known, maps[name][0][: len(known)])
        assert len(known) >= 16
    (bars,) = rows["fc2"].patches
    np.testing.assert_array_equal(bars.get_data().values, maps["fc2"][0])


def test_learning_curves_of_a_run(run):
    _, _, history, _ = run
    loss, accuracy = viz.learning_curves(history).axes
    for axes, kind in ((loss, "loss"), (accuracy, "accuracy")):
        train, validation = axes.lines
        np.testing.assert_array_equal(train.get_ydata(), getattr(history, f"train_{kind}"))
        expected = getattr(history, f"validation_{kind}")
        np.testing.assert_array_equal(validation.get_ydata(), expected)
        assert list(train.get_xdata()) == [1, 2]


def test_confusion_matrix_of_ten_digits(run):
    net, _, _, digits = run
    scores = net(digits.x)
    (axes,) = viz.confusion_matrix(digits.y, scores).axes
    counts = metrics.confusion_matrix(digits.y, scores, 10)
    shown = np.zeros((10, 10), int)
    for text in axes.texts:
        column, row = text.get_position()
        shown[row, column] = int(text.get_text())
    np.testing.assert_array_equal(shown, counts)
    np.testing.assert_allclose(drawn(axes), counts / np.maximum(counts.sum(1, keepdims=True), 1))
    assert counts.trace() > 50


def test_heat_map_of_a_class_over_a_scene(run):
    """Its fully connected layers as convolutions: a probability at every place of a wider image."""
    net, _, _, digits = run
    conv = nn.Sequential(
        net.until("pool1"), models.as_convolution(net["fc1"], (30, 12, 12)), nn.ReLU(),
        models.as_convolution(net["fc2"]), nn.Softmax(),
    )  # fmt: skip
    at = int(np.argmax(net(digits.x)[np.arange(100), digits.y]))  # the surest one
    scene = np.zeros((1, 1, 28, 68), F4)
    scene[..., 36:64] = digits.x[at]
    heat = conv(scene)[0, digits.y[at]]
    alone = nn.Softmax()(net(digits.x[[at]]))[0, digits.y[at]]
    assert heat.shape == (1, 21)  # 40 pixels more, by steps of 2
    assert heat[0, 18] == pytest.approx(alone, abs=1e-4) and alone > 0.5
    figure = viz.images({"heat": heat[None]})
    assert len(figure.axes) == 1
    np.testing.assert_array_equal(drawn(figure.axes[0]), heat)


def test_segmentation_map_under_its_scene(run):
    *_, digits = run
    net = models.fcn8s(
        3, in_channels=1, channels=(4, 4, 4, 4, 4), hidden=4, init=nn.init.he(), seed=0
    )
    x = digits.x[:2]
    classes = net(x).argmax(axis=1)
    figure = viz.images({"scene": x, "classes": classes}, classes=["background", "one", "two"])
    assert len(figure.axes) == 4
    np.testing.assert_array_equal(drawn(figure.axes[1]), x[1, 0])
    colours = [patch.get_facecolor()[:3] for patch in figure.legends[0].get_patches()]
    for axes, expected in zip(figure.axes[2:], classes, strict=True):
        np.testing.assert_allclose(drawn(axes), np.array(colours)[expected])
    assert len(np.unique(classes)) > 1
