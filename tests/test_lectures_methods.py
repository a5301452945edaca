"""The lectures' layers, losses and methods; what else they have: see test_lectures.py."""

import itertools

import numpy as np
import pytest
from helpers import assert_same, distinct

from fastcnn import data, models, nn, optim, testing, training
from fastcnn.data import augment
from fastcnn.models import algorithm_4_1
from fastcnn.nn import init

F4 = np.float32


# ------------------------------------------------------------------------------------ layers

LAYERS = {
    "channels, filters, bias": (lambda: nn.Conv2d(3, 2, 3, seed=0), (3, 5, 5)),
    "stride, dilation, groups": (lambda: nn.Conv2d(4, 2, 3, 2, 2, 2, 2, seed=0), (4, 6, 6)),
    "1-D": (lambda: nn.Conv1d(2, 3, 3, seed=0), (2, 7)),
    "copied borders": (
        lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="replicate", seed=0), (1, 4, 5),
    ),
    "four sides": (lambda: nn.Conv2d(1, 2, 3, padding=((0, 2), (1, 0)), seed=0), (1, 4, 5)),
    "same": (lambda: nn.Conv2d(1, 2, 4, padding="same", seed=0), (1, 4, 5)),
    "1x1": (lambda: nn.Conv2d(4, 2, 1, seed=0), (4, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, 1, seed=0), (2, 3, 4)),
    "max pool": (lambda: nn.MaxPool2d(2), (2, 4, 4)),
    "average pool": (lambda: nn.AvgPool2d(2), (2, 4, 4)),
    "weighted average pool": (lambda: nn.WeightedAvgPool2d(2, channels=2), (2, 4, 4)),
    "global average pool": (nn.GlobalAvgPool2d, (2, 4, 4)),
    "fully connected": (lambda: nn.Linear(6, 4, seed=0), (6,)),
    "flatten": (nn.Flatten, (2, 3, 3)),
    "ReLU": (nn.ReLU, (3, 4)),
    "leaky ReLU": (nn.LeakyReLU, (3, 4)),
    "parametric ReLU": (lambda: nn.PReLU(3), (3, 4)),
    "ELU": (nn.ELU, (3, 4)),
    "sigmoid": (nn.Sigmoid, (3, 4)),
    "tanh": (nn.Tanh, (3, 4)),
    "softmax": (nn.Softmax, (5,)),
    "dropout": (lambda: nn.Dropout(0.5, seed=1), (3, 4)),
    "local response normalisation": (lambda: nn.LocalResponseNorm(3, 1.0), (5, 2, 2)),
    "batch normalisation": (lambda: nn.BatchNorm2d(2), (2, 3, 3)),
    "residual": (lambda: nn.blocks.basic_block(2, 3, 2, seed=0), (2, 4, 4)),
    "inception": (lambda: nn.blocks.inception(2, 2, (1, 2), (1, 1), 1, seed=0), (2, 4, 3)),
    "dense block": (lambda: nn.blocks.dense_block(2, 2, 1, seed=0), (2, 3, 3)),
    "transition": (lambda: nn.blocks.transition(3, 2, seed=0), (3, 4, 4)),
    "bottleneck": (lambda: nn.blocks.bottleneck(8, 2, seed=0), (8, 3, 3)),
    "auxiliary head": (
        lambda: nn.AuxiliaryGraph(
            "x",
            {"fc": (nn.Linear(5, 4, seed=0), "x"), "tanh": (nn.Tanh(), "fc"),
             "main": (nn.Linear(4, 3, seed=1), "tanh"), "aux": (nn.Linear(4, 2, seed=2), "tanh")},
            ("main", "aux"),
        ),
        (5,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_their_gradients(name):
    make, shape = LAYERS[name]
    x = distinct(np.random.default_rng(5), (2, *shape), np.float64)
    testing.gradcheck(make(), x * 0.03 + 0.015)  # no ties, nothing near 0


def test_the_step_has_no_way_back():
    """L2's first perceptron: 1 above 0; its true gradient is 0 everywhere."""
    step = nn.Step(gradient="zero")
    y, ctx = step.forward(np.array([-2, 0, 3], F4))
    assert y.tolist() == [0, 0, 1]
    assert step.backward(np.ones(3, F4), ctx).tolist() == [0, 0, 0]


def test_dropout_acts_in_training_alone():
    x, drop = np.ones((4, 100), F4), nn.Dropout(0.5, seed=0)
    assert drop(x) is x
    assert set(np.unique(drop.forward(x)[0])) == {0, 2}


def test_alpha_of_local_response_normalisation_is_divided_by_n():
    """AlexNet's alpha = 1e-4 with n = 5 is not: it is alpha = 5e-4 here."""
    x = np.arange(1, 6, dtype=np.float64).reshape(1, 5)
    paper = x / (2 + 1e-4 * np.array([[14, 30, 55, 54, 50]])) ** 0.75
    np.testing.assert_allclose(nn.LocalResponseNorm(5, 5e-4, 0.75, 2)(x), paper, rtol=1e-12)
    alexnet = models.alexnet(init=init.zeros())
    (first, _) = [m for _, m in alexnet.named_layers() if isinstance(m, nn.LocalResponseNorm)]
    assert (first.size, first.alpha, first.beta, first.k) == (5, 5e-4, 0.75, 2)


def test_roi_pooling_gives_boxes_of_any_size_one_size():
    x = np.arange(64, dtype=F4).reshape(1, 1, 8, 8)
    boxes = np.array([[0, 0, 0, 3, 3], [0, 2, 1, 7, 7]], F4)
    assert_same(nn.RoIPool(2)((x, boxes))[0, 0], np.array([[9, 11], [25, 27]]))
    assert nn.RoIPool(2)((x, boxes)).shape == (2, 1, 2, 2)


def test_a_net_without_a_fully_connected_layer_takes_any_size(rng):
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, seed=0), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Flatten(),
        nn.Linear(4, 2, seed=1),
    )  # fmt: skip
    for size in ((8, 8), (13, 30)):
        assert net(rng.random((2, 1, *size)).astype(F4)).shape == (2, 2)


# -------------------------------------------------- losses, regularisation, optimisation


def test_losses_by_hand():
    y, t = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 0.0], [0.0, 5.0]])
    assert nn.MSELoss()(y, t)[0] == 13 / 4
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    likelihood = -(np.log(0.25) + np.log(0.8)) / 2
    assert nn.NLLLoss()(np.log(p), np.array([1, 2]))[0] == pytest.approx(likelihood)
    assert nn.CrossEntropyLoss()(np.log(p), np.array([1, 2]))[0] == pytest.approx(likelihood)
    # per pixel: the same numbers as a map of two pixels
    maps = np.log(p).T.reshape(1, 3, 1, 2)
    focal = -(0.75**2 * np.log(0.25) + 0.2**2 * np.log(0.8)) / 2
    assert nn.FocalLoss()(maps, np.array([[[1, 2]]]))[0] == pytest.approx(focal)


def test_weight_decay_is_the_gradient_of_an_l2_penalty():
    """w - rate * (g + decay * w), the gradient of loss + decay / 2 * |w|^2."""
    w = nn.Parameter(np.array([2.0, -4.0]))
    w.grad = np.array([1.0, 1.0])
    optim.SGD([w], lr=0.5, weight_decay=0.25).step()
    assert w.data.tolist() == [2 - 0.5 * 1.5, -4 - 0.5 * 0]


def test_early_stopping_brings_the_best_weights_back():
    """20 samples against labels of chance: validation soon gets worse, and the fit stops."""
    train, _ = data.mnist(subset=True)
    x, y = train.x[:120], np.random.default_rng(0).integers(0, 10, 100)
    net = models.dmlp(seed=0)
    trainer = training.Trainer(
        net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.5), seed=0
    )
    history = trainer.fit(
        (x[:20], train.y[:20]), epochs=50, batch_size=5, validation=(x[20:], y), progress=False,
        callbacks=[training.EarlyStopping(patience=3)],
    )  # fmt: skip
    best = min(history.validation_loss)
    assert len(history) < 50 and history.validation_loss[-1] > best
    assert trainer.evaluate((x[20:], y)).loss == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("name", ["shift", "rotate", "scale", "brightness", "crop", "flip"])
def test_augmentation_changes_images_the_same_way_for_a_seed(name, rng):
    change = {
        "shift": augment.RandomShift(3),
        "rotate": augment.RandomRotation(20),
        "scale": augment.RandomScale((0.8, 1.2)),
        "brightness": augment.ColorJitter(brightness=0.5),
        "crop": augment.RandomCrop(28, padding=4),
        "flip": augment.RandomHorizontalFlip(),
    }[name]
    x = rng.random((16, 1, 28, 28)).astype(F4)
    y = change(x, seed=1)
    assert y.shape == x.shape and (y != x).any()
    assert (change(x, seed=1) == y).all() and (change(x, seed=2) != y).any()


def augmented(change, rng, low=0.1):
    """Images without zeros, and what a change makes of them."""
    x = rng.uniform(low, 1, (16, 1, 9, 9)).astype(F4)
    return x, change(x, seed=1)


def one_of(image, candidates):
    """Index of the only candidate that is the image; 0 and more of them are errors."""
    (found,) = (i for i, candidate in enumerate(candidates) if np.array_equal(candidate, image))
    return found


def test_a_flip_mirrors_columns_or_nothing(rng):
    x, y = augmented(augment.RandomHorizontalFlip(), rng)
    assert {one_of(b, [a, a[..., ::-1]]) for a, b in zip(x, y, strict=True)} == {0, 1}


def test_a_shift_moves_the_picture_and_a_crop_is_a_window_of_it(rng):
    """Both are windows of the picture in a frame of zeros; inside it no value is another."""
    for change, frame, size in (
        (augment.RandomShift(2), 2, 9), (augment.RandomCrop(9, padding=3), 3, 9),
        (augment.RandomCrop(6), 0, 6),
    ):  # fmt: skip
        x, y = augmented(change, rng)
        framed = np.pad(x, ((0, 0), (0, 0), (frame, frame), (frame, frame)))
        places = range(9 + 2 * frame - size + 1)
        found = set()
        for a, b in zip(framed, y, strict=True):
            windows = [a[:, i : i + size, j : j + size] for i in places for j in places]
            found.add(one_of(b, windows))
        assert len(found) > 5


def test_a_rotation_by_right_angles_is_exact(rng):
    for quarter in (-1, 1, 2):
        x, y = augmented(augment.RandomRotation((90 * quarter, 90 * quarter)), rng)
        np.testing.assert_allclose(y, np.rot90(x, quarter, axes=(2, 3)), atol=1e-5)


def test_a_scale_enlarges_or_shrinks_about_the_middle(rng):
    """By 2 every second pixel is one of x and the others are means; by 1/2 zeros come in."""
    x, y = augmented(augment.RandomScale((2, 2)), rng)
    middle = x[..., 2:7, 2:7]
    np.testing.assert_allclose(y[..., ::2, ::2], middle, atol=1e-5)
    between = (middle[..., 1:] + middle[..., :-1]) / 2
    np.testing.assert_allclose(y[..., ::2, 1::2], between, atol=1e-5)
    x, y = augmented(augment.RandomScale((0.5, 0.5)), rng)
    framed = np.pad(x[..., ::2, ::2], ((0, 0), (0, 0), (2, 2), (2, 2)))
    np.testing.assert_allclose(y, framed, atol=1e-5)


def test_brightness_scales_all_pixels_of_an_image_alike(rng):
    x, y = augmented(augment.ColorJitter(brightness=0.5), rng)
    factors = (y / x).reshape(16, -1)
    dark = y.reshape(16, -1).max(axis=1) < 1  # those of which nothing was cut off at 1
    assert dark.sum() > 3
    np.testing.assert_allclose(factors[dark], factors[dark][:, :1] * np.ones(81), rtol=1e-6)
    assert 0.5 <= factors[dark].min() < factors[dark].max() <= 1.5
    bright = np.minimum(x * factors.max(axis=1).reshape(16, 1, 1, 1), 1)
    np.testing.assert_allclose(y, bright, rtol=1e-6)


def test_feature_extraction_and_fine_tuning():
    """Frozen base and new head; then the late layers too, at a small rate."""
    net = models.lenet5(seed=0).replace("fc3", nn.Linear(84, 5, seed=1)).freeze(before="fc3")
    assert net.num_parameters(trainable=True) == 85 * 5
    net.unfreeze(since="fc1")
    optimizer = optim.SGD(net.parameter_groups({"fc3": 0.01}), lr=1e-4)
    rates = {p.name: optimizer.lr * rate for p, rate, _ in optimizer.entries() if p.requires_grad}
    assert rates["fc3.weight"] == pytest.approx(0.01) and rates["fc1.bias"] == 1e-4
    assert not any(name.startswith("conv") for name in rates)


def test_L2_algorithm_4_1_literally_vectorised_and_by_layers(rng):
    """Number by number, by matrix products, and by the layers of nn: the same weights."""
    sizes = (7, 5, 4, 3)
    u = [rng.normal(size=(o, i + 1)) for i, o in itertools.pairwise(sizes)]
    layers = []
    for matrix in u:
        fc = nn.Linear(matrix.shape[1] - 1, len(matrix), seed=0).double()
        fc.weight.data[...], fc.bias.data[...] = matrix[:, 1:], matrix[:, 0]
        layers += [fc, nn.Sigmoid()]
    net = nn.Sequential(*layers)
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    literal = vectorised = u
    for _ in range(3):
        x, y = rng.normal(size=(6, 7)), rng.random((6, 3))
        literal = algorithm_4_1.step_literally(literal, x, y, 0.5)
        vectorised = algorithm_4_1.step_vectorised(vectorised, x, y, 0.5)
        o, ctx = net.forward(x)
        net.zero_grad()
        net.backward((o - y) / len(x), ctx)
        optimizer.step()
    for a, b, fc in zip(literal, vectorised, layers[::2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        np.testing.assert_allclose(fc.weight.data, a[:, 1:], rtol=1e-12)
        np.testing.assert_allclose(fc.bias.data, a[:, 0], rtol=1e-12)


def test_momentum_and_adam_by_hand():
    w = nn.Parameter(np.array([1.0]))
    momentum = optim.SGD([w], lr=0.1, momentum=0.9)
    for expected in (1 - 0.1, 0.9 - 0.19, 0.71 - 0.271):  # velocity 1, 1.9, 2.71
        w.grad = np.array([1.0])
        momentum.step()
        assert w.data[0] == pytest.approx(expected)
    adam = optim.Adam([w])
    assert adam.lr == 0.001 and adam.betas == (0.9, 0.999)
    before = w.data[0]
    w.grad = np.array([123.0])
    adam.step()
    assert before - w.data[0] == pytest.approx(0.001)  # the first step, whatever the gradient


def test_schedules():
    steps, cosine = training.schedules.step(0.1, 3), training.schedules.cosine
    assert [steps(t) for t in (0.0, 0.4, 0.9)] == pytest.approx([1.0, 0.1, 0.01])
    assert [cosine(t) for t in (0.0, 0.5)] == pytest.approx([1.0, 0.5])
    google = training.schedules.googlenet(40)  # 4 % less each 8 epochs
    assert [google(e / 40) for e in (0, 7, 8, 16, 39)] == pytest.approx(
        [1, 1, 0.96, 0.96**2, 0.96**4]
    )


def test_the_rate_falls_on_a_plateau():
    """Labels of chance: what the net learns is no use for others, so validation gets worse."""
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 1, 28, 28)).astype(F4), rng.integers(0, 10, 60)
    net = models.dmlp(20, seed=0)
    optimizer = optim.SGD(net.parameter_groups({"fc2": 0.05}), lr=0.1)
    trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=0)
    callback = training.ReduceLROnPlateau(factor=0.5, patience=1)
    history = trainer.fit(
        (x[:20], y[:20]), epochs=12, batch_size=5, validation=(x[20:], y[20:]), progress=False,
        callbacks=[callback],
    )  # fmt: skip
    assert history.learning_rate[0] == 0.1 and history.learning_rate[-1] < 0.05
    shares = {p.name: rate for p, rate, _ in optimizer.entries()}
    assert (shares["fc1.weight"], shares["fc2.weight"]) == (1.0, 0.5)  # of whatever the rate is


def test_initialisations(rng):
    """N(0, 0.01^2); Xavier's 2 / (fan_in + fan_out), He's 2 / fan_in as variances."""
    shape = (200, 50, 3, 3)
    fan_in, fan_out = 450, 1800
    for initializer, variance in (
        (init.normal(0.01), 0.01**2),
        (init.xavier(), 2 / (fan_in + fan_out)),
        (init.he(), 2 / fan_in),
    ):
        w = initializer(shape, rng)
        assert abs(w.mean()) < 0.02 * np.sqrt(variance)
        assert w.var() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("progress", ["step + MSE", "sigmoid + MSE", "ReLU + cross-entropy"])
def test_the_progression_of_activations_and_losses(progress):
    """All three run, and learn 100 digits; the step by the straight-through convention."""
    activation, _, loss = progress.partition(" + ")
    layer = {"step": nn.Step, "sigmoid": nn.Sigmoid, "ReLU": nn.ReLU}[activation]
    digits_100, _ = data.mnist(subset=True)
    x, labels = digits_100.x[:100].reshape(100, 784), digits_100.y[:100]
    net = nn.Sequential(nn.Linear(784, 50, seed=0), layer(), nn.Linear(50, 10, seed=1))
    function = nn.CrossEntropyLoss() if loss == "cross-entropy" else nn.MSELoss()
    target = labels if loss == "cross-entropy" else np.eye(10, dtype=F4)[labels]
    optimizer, values = optim.Adam(net.parameters(), lr=0.01), []
    for _ in range(25):
        y, ctx = net.forward(x)
        value, gradient = function(y, target)
        optimizer.zero_grad()
        net.backward(gradient, ctx, need_dx=False)
        optimizer.step()
        values.append(value)
    assert values[-1] < values[0] / 3
